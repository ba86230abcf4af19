"""Remedies: what is tried where transfer does not win, within its time, and kept."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from headstart.data.also import beside
from headstart.data.dataset import Dataset
from headstart.data.pictures import row_hash
from headstart.errors import DataError, UsageError
from headstart.evidence import curation
from headstart.evidence import remedies as module
from headstart.evidence.arms import Arm
from headstart.evidence.curation import Representative, apart, name_of, unknown
from headstart.evidence.evidence import Outcome
from headstart.evidence.prove import prove
from headstart.evidence.remedies import Remedy, attempt, remedies
from headstart.features.features import Features
from headstart.steps.phase import Phase
from headstart.task import Kind, Modality, Task
from headstart.transfer.transfer import Transfer
from tests.test_evidence_prove import CARD, Toy, no_trunk, toy_data  # noqa: F401

OTHERS = (
    dataclasses.replace(CARD, uri="toy:twin"),
    dataclasses.replace(CARD, uri="toy:other", trained_on="something"),
    dataclasses.replace(CARD, uri="toy:photos", modality=Modality.IMAGE),
)


@pytest.fixture(autouse=True)
def shelf(no_trunk, monkeypatch):  # noqa: F811
    """Three sources are on the shelf; the fourth is not on disk."""
    there = [SimpleNamespace(source=one, on_disk=True) for one in OTHERS]
    gone = SimpleNamespace(source=dataclasses.replace(CARD, uri="toy:gone"), on_disk=False)
    monkeypatch.setattr(module, "shelf", lambda: (*there, gone))
    monkeypatch.setattr(curation.Representative, "_curated", lambda _, data: data)


def test_they_come_in_the_order_of_the_survey():
    listed = remedies(Transfer("toy:source"), CARD)
    names = list(dict.fromkeys(one.name for one in listed))
    assert names == [
        "other data", "another model", "boundary", "optimizer and rate", "architecture",
        "more regularization",
    ]  # fmt: skip
    assert [one.what.partition(" ")[0] for one in listed if one.name == "another model"] == [
        "toy:twin"
    ]
    assert listed[0].what == "toy:other (something)"
    for one in listed:
        assert one.arm is not None and one.arm.role == "transfer"


def test_a_source_that_is_frozen_only_says_what_cannot_be_tried():
    frozen = dataclasses.replace(CARD, is_trainable=False)
    cannot = {one.name for one in remedies(Transfer("toy:source"), frozen) if one.arm is None}
    assert cannot == {"boundary", "optimizer and rate", "more regularization"}


def test_each_changes_one_thing_of_the_phase():
    mine = Phase(rate=3e-4, weight_decay=0.01)
    listed = remedies(Transfer("toy:source", phase=mine), CARD)
    phases = {one.what: one.arm.estimator.phase for one in listed if "rates" in one.what}
    assert phases["a third of the rates"].rate == pytest.approx(1e-4)
    assert phases["three times the rates"].rate == pytest.approx(9e-4)
    heavier = next(one for one in listed if one.name == "more regularization").arm.estimator
    assert heavier.phase.weight_decay == pytest.approx(0.1)
    assert heavier.finetune == "only:last:25%"


def test_transfer_that_wins_needs_none():
    assert prove(Toy(), toy_data(), seeds=2).remedies == ()


def test_transfer_that_loses_is_helped_and_a_second_call_computes_nothing():
    hurt = Toy(gain=-0.2)
    first = prove(hurt, toy_data(), seeds=2)
    assert {one["remedy"] for one in first.remedies} >= {"other data", "boundary"}
    tried = [one for one in first.remedies if one["gave"] is not None]
    assert tried and all("does not beat" in one["outcome"] for one in tried)
    assert all(one["n_seeds"] == 2 for one in tried)
    assert not [one for one in first.outcomes if one.arm == "remedy"]
    fits = Toy.fits
    again = prove(hurt, toy_data(), seeds=2)
    assert (Toy.fits, again.remedies) == (fits, first.remedies)


def test_test_labels_change_no_remedy(monkeypatch, tmp_path):
    data = toy_data()
    turned = np.where(data.split == "test", 1 - data.targets, data.targets)
    found = []
    for name, targets in (("right", data.targets), ("turned", turned)):
        monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / name))
        one = prove(Toy(gain=-0.2), dataclasses.replace(data, targets=targets), seeds=2)
        found.append([{**remedy, "seconds": 0} for remedy in one.remedies])
    assert found[0] == found[1] != []


def test_no_time_is_no_remedy():
    assert prove(Toy(gain=-0.2), toy_data(), seeds=2, remedies_s=0).remedies == ()


def test_they_change_neither_verdict_nor_what_ships(monkeypatch):
    plain = prove(Toy(gain=-0.2), toy_data(), seeds=2, remedies_s=0)
    wonder = Arm("wonder", Toy(gain=0.4), "transfer")
    monkeypatch.setattr(
        "headstart.evidence.prove.remedies", lambda *_: [Remedy("another model", "wonder", wonder)]
    )
    found = prove(Toy(gain=-0.2), toy_data(), seeds=2)
    assert "beats the best control" in found.remedies[0]["outcome"]
    assert found.verdict == plain.verdict
    assert found.n_test_reads == 1


ARM = Arm("any", None, "transfer")
BOTH = [{0: 0.5, 1: 0.5, 2: 0.5}] * 2


def outcome(seed, score=0.75, seconds=4.0, error=""):
    scores = {} if error else {"accuracy": score}
    return Outcome("any", seed, 10, scores=scores, seconds=seconds, error=error)


def test_the_time_bounds_how_much_is_tried():
    listed = [Remedy("boundary", str(i), ARM) for i in range(3)]
    found = list(attempt(listed, lambda _, seed: outcome(seed), *BOTH, budget_s=16.0))
    assert [one.n_seeds for one in found] == [3, 1, 0]
    assert found[2].outcome == "not tried: the time was over"
    assert sum(one.seconds for one in found) <= 16.0


def test_one_that_diverges_is_its_own_outcome():
    found = attempt(
        [Remedy("boundary", "all", ARM)], lambda _, seed: outcome(seed, error="Diverged.\n…"),
        *BOTH, budget_s=60.0,
    )  # fmt: skip
    (one,) = found
    assert (one.gave, one.n_seeds) == (None, 1)
    assert one.outcome == "came to no score: Diverged."


def test_one_that_cannot_be_fitted_says_why():
    def fit(*_):
        raise UsageError("No such stage.\nExpected another.")

    (one,) = attempt([Remedy("boundary", "all", ARM)], fit, *BOTH, budget_s=60.0)
    assert one.outcome == "cannot be tried: No such stage."


# More rows -----------------------------------------------------------------------------------


def extra(rows, labels, names=("b", "a")):
    targets = np.array([names.index(label) for label in labels])
    return Dataset(Modality.TEXT, tuple(rows), Task(Kind.MULTICLASS, names), targets)


def test_more_rows_are_those_that_the_data_lack():
    data = toy_data()
    also = unknown(extra(["row0", "new1", "new2"], "aba"), data, [row_hash("row0")])
    assert also.rows == ("new1", "new2")


def test_rows_beside_those_a_model_is_for_take_no_part_in_the_study():
    data = toy_data()
    own, others = apart(beside(data, extra(["new1", "new2"], "ab")))
    assert own.rows == data.rows and own.split.tolist() == data.split.tolist()
    assert others.rows == ("new1", "new2")
    assert apart(data) == (data, None)


def test_the_same_rows_with_other_labels_or_weights_are_others():
    also = extra(["x", "y"], "ab", ("a", "b"))
    others = (
        extra(["x", "z"], "ab", ("a", "b")),
        extra(["x", "y"], "ba", ("a", "b")),
        extra(["x", "y"], "bc", ("b", "c")),
        dataclasses.replace(also, weight=np.array([1.0, 0.5])),
    )
    assert len({name_of(one) for one in (also, *others)}) == 5
    assert name_of(also) == name_of(extra(["x", "y"], "ab", ("a", "b")))


def test_more_rows_of_other_labels_are_refused():
    with pytest.raises(DataError, match="no labels"):
        unknown(dataclasses.replace(extra(["x"], "a"), task=None, targets=None), toy_data(), [])
    with pytest.raises(DataError, match="the label 'c'"):
        unknown(extra(["x"], "c", ("c",)), toy_data(), [])


def test_more_rows_that_the_data_have_all_are_refused():
    for also in (extra(["row0", "row130"], "ab"), extra(["row0"], "a")):
        with pytest.raises(DataError, match="is in the data already"):
            prove(Toy(gain=-0.2), toy_data(), seeds=1, also=also)


def test_more_rows_are_the_first_remedy_and_teach_only_it():
    also = extra(["row1000", "row1001", "row3"], "abb")
    found = prove(Toy(gain=-0.2), toy_data(), seeds=2, also=also)
    first = found.remedies[0]
    assert (first["remedy"], first["what"]) == ("other data", "2 more rows to learn from")
    assert first["gave"] is not None
    assert found.n_rows["train"] == 96


# Rows that are like others -------------------------------------------------------------------


class Remembers(Toy):
    """Keeps the rows it was given."""

    def fit(self, X, y=None):
        self.given_ = X
        return super().fit(X)


@pytest.fixture
def curated(monkeypatch):
    """Twenty-one rows on two rays, a ray a label, and one row between them; what a rule makes."""
    monkeypatch.undo()
    angle = np.where(np.arange(21) % 2, 0.0, np.pi / 2)
    angle[20] = np.pi / 4
    vectors = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    monkeypatch.setattr(
        curation, "extract", lambda _, data: Features.of(vectors[[int(r[3:]) for r in data.rows]])
    )
    monkeypatch.setattr("headstart.evidence.curation.take", lambda *_, **__: CARD)
    rows = tuple(f"row{i}" for i in range(26))
    targets = np.arange(26) % 2
    split = np.array(["train"] * 21 + ["validation"] * 5)
    data = Dataset(Modality.TEXT, rows, Task(Kind.MULTICLASS, ("a", "b")), targets, split)

    def made(rule):
        return Representative(Remembers(), rule=rule).fit(data).model_.given_

    return made


def test_the_row_unlike_its_label_is_dropped(curated):
    given = curated("drop")
    assert "row20" not in given.rows
    assert (given.split == "train").sum() == 19  # a tenth of 21
    assert (given.split == "validation").sum() == 5


def test_the_row_unlike_its_label_counts_least(curated):
    given = curated("weigh")
    assert given.weight[20] == pytest.approx(0.2)
    assert given.weight[:20].min() > 0.2
    assert (given.weight[21:] == 1).all()
