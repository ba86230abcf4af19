"""`source="auto"` is ranked on the rows it may learn from, and the plan and the bundle say so."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pytest

from headstart.bundle.load import load
from headstart.data.also import beside
from headstart.data.dataset import TEST, TRAIN, from_arrays, untested
from headstart.data.pictures import row_hash
from headstart.evidence.arms import roster
from headstart.evidence.prove import prove
from headstart.evidence.study import prepare
from headstart.evidence.worker import Job
from headstart.ranking.rank import rank_whole
from headstart.sources import packages
from headstart.transfer import auto
from headstart.transfer.auto import start
from headstart.transfer.transfer import Transfer
from tests.toys import toy_picture_source


@pytest.fixture
def shelf(tmp_path, monkeypatch, fresh_home):
    """Two toy sources are all the shelf there is."""
    cards = tmp_path / "cards"
    for name, seed in (("one", 1), ("two", 2)):
        toy_picture_source(tmp_path / name, seed=seed)
        cards.mkdir(exist_ok=True)
        text = (tmp_path / name / "toy.toml").read_text()
        (cards / f"{name}.toml").write_text(text.replace("toy.saf", f"../{name}/toy.saf"))
    monkeypatch.setattr(packages, "CARDS", cards)
    return "pkg:one", "pkg:two"


def pictures(n=40, seed=0):
    """Pictures of noise, half of them brighter."""
    rng = np.random.default_rng(seed)
    y = np.arange(n) % 2
    pixels = rng.integers(0, 90, (n, 32, 32, 3)) + 120 * y[:, None, None, None]
    return from_arrays(list(pixels.astype(np.uint8)), np.array(["dark", "light"])[y])


def test_auto_ranks_and_says_so_in_plan_and_bundle(shelf, tmp_path):
    data = pictures()
    model = Transfer(finetune="no").fit(data)
    assert model.plan_.ranking is not None
    assert {row.source.uri for row in model.plan_.ranking.rows} == set(shelf)
    assert model.source_ == model.plan_.ranking.best
    assert "of 2 ranked, accuracy 1.000 [0." in str(model.plan_) and "next pkg:" in str(model.plan_)
    assert model.bundle_.facts["n_computed"] == 0  # the ranking had run these rows already
    kept = load(model.save(tmp_path / "model")).facts["plan"]["ranking"]
    assert [row["uri"] for row in kept["rows"]] == [r.source.uri for r in model.plan_.ranking.rows]


def test_sources_are_ranked_on_the_rows_the_model_is_for(shelf, monkeypatch):
    seen = []
    monkeypatch.setattr(
        auto, "rank_whole", lambda data, **_: seen.append(data) or SimpleNamespace(best=None)
    )
    start("auto", beside(pictures(10), pictures(30, seed=1)), 0)
    assert [len(data) for data in seen] == [10]


def test_a_named_source_is_not_ranked(shelf, monkeypatch):
    monkeypatch.setattr(auto, "rank_whole", lambda *_, **__: pytest.fail("ranked"))
    model = Transfer(shelf[1], finetune="no").fit(pictures())
    assert model.source_.uri == shelf[1] and model.plan_.ranking is None


def test_rows_that_cannot_be_ranked_start_from_the_first_guess(shelf):
    data = pictures(6)
    lonely = dataclasses.replace(data, targets=np.array([0, 1, 1, 1, 1, 1]))
    begin = start("auto", lonely, 0)
    assert begin.source.uri == "pkg:one" and begin.ranking is None


def test_a_study_ranks_on_its_pool_and_never_on_test_rows(shelf):
    data = pictures(48).with_split([TRAIN] * 32 + [TEST] * 16)
    studies = []
    for flip in (False, True):
        targets = np.array(data.targets)
        targets[32:] = 1 - targets[32:] if flip else targets[32:]
        studies.append(prepare(Transfer(), dataclasses.replace(data, targets=targets), 1, True))
    assert studies[0].ranking.rows == studies[1].ranking.rows
    assert studies[0].ranking.rows[0].n_rows <= 32
    assert studies[0].source == studies[0].ranking.best


def test_the_evidence_keeps_the_ranking(shelf):
    data = pictures(60).with_split([TRAIN] * 40 + [TEST] * 20)
    found = prove(Transfer(finetune="no"), data, seeds=1, budget_s=5, best_effort=True)
    kept = found.source["ranking"]
    assert kept["rows"][0]["uri"] == found.source["uri"]


def test_a_study_that_draws_its_test_rows_ranks_again_without_them(shelf, monkeypatch):
    seen = []

    def ranked(data, **asked):
        seen.append(data)
        return rank_whole(data, **asked)

    monkeypatch.setattr(auto, "rank_whole", ranked)
    data = pictures(60)
    model = Transfer(finetune="no").fit(data)
    study = prepare(model, data, 1, True)
    assert [len(one) for one in seen] == [60, 48]
    assert {row_hash(row) for row in seen[1].rows} == set(study.hashes)
    assert {row_hash(row) for row in study.test.rows}.isdisjoint(study.hashes)
    assert study.source == study.ranking.best


def test_a_study_says_where_its_source_is_not_that_of_the_model(shelf, monkeypatch):
    data = pictures(60)
    model = Transfer(finetune="no").fit(data)
    (other,) = {*shelf} - {model.source_.uri}
    monkeypatch.setattr(auto, "rank_whole", lambda data, **_: rank_whole(data, sources=[other]))
    study = prepare(model, data, 1, True)
    assert study.source.uri == other
    assert any(f"The model was fitted from {model.source_.uri}" in note for note in study.notes)


def test_a_model_that_never_saw_the_test_rows_keeps_its_source(shelf, monkeypatch):
    data = pictures(48).with_split([TRAIN] * 32 + [TEST] * 16)
    model = Transfer(finetune="no").fit(untested(data))
    monkeypatch.setattr(auto, "rank_whole", lambda *_, **__: pytest.fail("ranked"))
    assert prepare(model, data, 1, True).ranking == model.plan_.ranking


def test_weights_trained_again_are_another_study(tmp_path, fresh_home):
    data = pictures(40)
    uri = toy_picture_source(tmp_path / "toy", seed=1)
    model = Transfer(uri, finetune="no").fit(data)
    first = prepare(model, data, 1, True)
    assert first.key == prepare(Transfer(uri, finetune="no"), data, 1, True).key
    mine = roster(model, data, {"mine": Transfer(uri)})[-1]
    assert toy_picture_source(tmp_path / "toy", seed=2) == uri
    again = prepare(model, data, 1, True)
    assert again.key != first.key and again.subject != first.subject
    assert again.source.weights_sha256 != first.source.weights_sha256
    assert Job(roster(model, data, {"mine": Transfer(uri)})[-1], 0).key != Job(mine, 0).key
