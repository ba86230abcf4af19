"""Studies on a made-up estimator whose scores are known: what is chosen, kept, and read."""

import dataclasses
import hashlib
import math
import re
from types import ModuleType, SimpleNamespace

import numpy as np
import pytest
from sklearn.base import BaseEstimator
from sklearn.pipeline import make_pipeline

import headstart as hs
from headstart.data.dataset import Dataset, Skipped
from headstart.errors import DataError, Diverged, UsageError
from headstart.evidence.allot import Asked, Pace, allot
from headstart.evidence.arms import PENALTIES, Arm, Classical, fitted, roster, stand_in
from headstart.evidence.choice import choose
from headstart.evidence.evidence import Evidence, Outcome, Point
from headstart.evidence.fits import PILOT_SEED, Fits
from headstart.evidence.judge import labels, steepness, time_saved
from headstart.evidence.prove import prove
from headstart.evidence.sealed import Sealed
from headstart.evidence.study import prepare
from headstart.evidence.verdict import best, word_of
from headstart.evidence.worker import Job, Worker, _cuts, _with_effort
from headstart.features.features import Features
from headstart.metrics.curve import Curve
from headstart.metrics.interval import Interval
from headstart.metrics.scores import best_cuts
from headstart.sources.preprocess import VectorPreprocess
from headstart.sources.source import Source
from headstart.steps.phase import MLP, Phase
from headstart.store.store import open_store
from headstart.task import Kind, Modality, Task
from headstart.transfer.plan import automatic

CARD = Source("toy:source", Modality.TEXT, VectorPreprocess(), "", "none", trained_on="nothing")


class Toy(BaseEstimator):
    """Is right on a known share of rows: more with a source, with rows, with fine-tuning."""

    fits = 0

    def __init__(self, source="toy:source", finetune="auto", phase=None, seed=0, gain=0.3):
        self.source, self.finetune, self.phase, self.seed = source, finetune, phase, seed
        self.gain = gain

    def fit(self, X, y=None):
        type(self).fits += 1
        assert "test" not in X.split
        n = int((X.split == "train").sum())
        is_scratch = self.source.startswith("scratch:")
        self.right_ = 0.55 + 0.05 * np.log2(n) / 5 + (0.0 if is_scratch else self.gain)
        self.source_ = CARD
        if self.phase is not None and is_scratch:
            self._learn(n)
        return self

    def _learn(self, n):
        if self.phase.rate > 5e-3:
            raise Diverged("The loss is not finite.")
        score = self.right_ * (1 - 0.5 ** np.arange(1, 5))
        loss = (*np.linspace(0.9, 0.6, 4), *[0.7] * 12)
        curve = Curve(
            seen=tuple(n * (i + 1) for i in range(16)),
            score=(*score.tolist(), *[float(score[-1])] * 12),
            loss=loss,
        )
        n_epochs = min(16, self.phase.epochs)
        self.curve_ = Curve(*(values[:n_epochs] for values in (curve.seen, curve.score, loss)))
        self.plan_ = SimpleNamespace(phase=self.phase, taken_s={}, to_json=lambda: {"toy": 1})

    def predict_proba(self, X):
        said = np.zeros((len(X), 2))
        for i, row in enumerate(X.rows):
            digest = hashlib.sha256(f"{row} {self.seed % 3}".encode()).digest()
            is_right = int.from_bytes(digest[:4], "big") / 2**32 < self.right_
            said[i, is_b(row) if is_right else 1 - is_b(row)] = 1
        return said * 0.8 + 0.1


class Breaks(Toy):
    """Diverges whenever it is a scratch arm of the study."""

    def _learn(self, n):
        raise Diverged("The loss is not finite.")


def is_b(row):
    return int(row.removeprefix("row")) % 2


def toy_data(n=120, n_test=80):
    rows = tuple(f"row{i}" for i in range(n + n_test))
    targets = np.array([is_b(row) for row in rows])
    split = np.array(["train"] * n + ["test"] * n_test)
    return Dataset(Modality.TEXT, rows, Task(Kind.MULTICLASS, ("a", "b")), targets, split)


@pytest.fixture(autouse=True)
def no_trunk(monkeypatch, fresh_home):
    """The toy has no trunk: its features are two numbers a row."""

    def extract(source, data):
        return Features.of(np.random.default_rng(0).normal(size=(len(data), 2)))

    monkeypatch.setattr("headstart.evidence.study.extract", extract)
    monkeypatch.setattr("headstart.evidence.arms.take", lambda *_, **__: CARD)
    monkeypatch.setattr("headstart.evidence.prove.in_rows", lambda *_: ())
    monkeypatch.setattr("headstart.evidence.arms.PENALTIES", (1.0,))
    Toy.fits = 0


def test_rows_left_out_are_not_counted_again_in_every_part():
    parts = []

    class Counts(Toy):
        def fit(self, X, y=None):
            parts.append(X.skipped)
            return super().fit(X, y)

    prove(Counts(), dataclasses.replace(toy_data(), skipped=(Skipped("t.csv:9", "no label"),)))
    assert parts and not any(parts)


def test_rows_left_out_are_named_once(monkeypatch):
    """Those of the reader, and one that turned out to be cut short."""
    of_reader, cut = Skipped("t.csv:9", "no label"), Skipped("row 3", "it is cut short")

    def extract(source, data):
        kept = np.array([i for i, row in enumerate(data.rows) if row != "row3"])
        found, lost = Features.of(np.zeros((len(kept), 2))), (cut,) * (len(kept) < len(data))
        return dataclasses.replace(found, kept=kept, skipped=lost)

    monkeypatch.setattr("headstart.evidence.study.extract", extract)
    study = prepare(Toy(), dataclasses.replace(toy_data(), skipped=(of_reader,)), 2)
    assert study.skipped == (of_reader, cut)
    assert study.pool.skipped == study.test.skipped == study.features.skipped == ()


class Lenient(Toy):
    """Lets half of the rows be unreadable."""

    max_skipped = 0.5


def test_rows_beside_are_read_and_named_as_those_of_the_data_are(tmp_path, monkeypatch):
    named = []
    monkeypatch.setattr(
        "headstart.evidence.prove.in_rows", lambda study, _: named.extend(study.skipped) or ()
    )
    also = tmp_path / "also.csv"
    also.write_text("text,label\na film 1,a\na film 2,b\na film 3,\n")
    prove(Lenient(), toy_data(60, 40), seeds=1, remedies_s=0, also=also)
    assert [one.row.rpartition("/")[2] for one in named] == ["also.csv:4"]


def test_a_transfer_that_helps_is_positive():
    found = prove(Toy(), toy_data(), seeds=3)
    assert str(found.verdict).startswith("positive transfer: +0.3")
    assert (found.verdict.transfer, found.verdict.shipped) == ("probe", "probe")
    assert found.verdict.n_seeds == 3
    assert [arm.name for arm in found.arms] == [
        "majority", "classical", "random-probe", "scratch", "probe", "finetuned",
    ]  # fmt: skip
    assert found.n_test_reads == 1
    assert found.arm("majority").test_scores["accuracy"] == 0.5


def test_one_that_hurts_is_negative_and_a_control_ships():
    found = prove(Toy(gain=-0.2), toy_data(), seeds=3)
    assert found.verdict.word == "negative"
    assert found.verdict.is_shipped_control
    assert found.judged.arm == found.verdict.control


def test_worth_is_what_a_gain_must_exceed_either_way():
    assert prove(Toy(), toy_data(), seeds=3, worth=0.5).verdict.word == "undecided"
    assert prove(Toy(), toy_data(), seeds=3, worth=0.05).verdict.word == "positive"
    for high, said in ((-0.01, "undecided"), (-0.03, "negative")):
        assert word_of(Interval(-0.09, -0.05, high), worth=0.02) == said


def test_test_labels_change_no_choice(monkeypatch, tmp_path):
    data = toy_data()
    turned = data.targets.copy()
    turned[data.split == "test"] = np.random.default_rng(1).permutation(
        1 - turned[data.split == "test"]
    )
    found = []
    for name, targets in (("right", data.targets), ("turned", turned)):
        monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / name))
        found.append(prove(Toy(), dataclasses.replace(data, targets=targets), seeds=3))
    right, other = found
    assert [chosen(one) for one in right.outcomes] == [chosen(one) for one in other.outcomes]
    for name in ("transfer", "control", "shipped", "why"):
        assert getattr(right.verdict, name) == getattr(other.verdict, name)
    assert right.plan == other.plan
    assert str(right.verdict) != str(other.verdict)


def chosen(outcome):
    return outcome.arm, outcome.seed, outcome.n_rows, outcome.scores, outcome.outputs


def test_labels_are_opened_once_after_the_last_fit(monkeypatch):
    opened = []
    really = Sealed.open

    def open_(self, *args):
        opened.append(Toy.fits)
        return really(self, *args)

    monkeypatch.setattr(Sealed, "open", open_)
    prove(Toy(), toy_data(), seeds=2)
    assert opened == [Toy.fits]


def test_a_budget_that_could_not_be_kept_is_told_of():
    found = prove(Toy(), toy_data(), seeds=2, budget_s=1e-3)
    (note,) = (note for note in found.verdict.notes if "were given" in note)
    whole = (one for one in found.outcomes if one.is_whole)
    assert f"one of {max(whole, key=lambda one: one.cost_s).arm} takes" in note
    assert not any("were given" in note for note in
                   prove(Toy(), toy_data(), seeds=2, budget_s=600.0).verdict.notes)  # fmt: skip


def test_remedies_are_not_charged_to_the_budget_of_the_fits():
    study = prepare(Toy(), toy_data(60, 40), 1)
    with open_store() as store:
        fits = Fits(study, roster(Toy(), study.pool, source=study.source), store, 1, 600.0)
        fits.fit()
        fits.spent_s += 1e6  # as remedies do
        assert fits.overspent() == []


def test_a_second_call_computes_nothing_and_reads_nothing_new():
    first = prove(Toy(), toy_data(), seeds=2, budget_s=60.0)
    fits = Toy.fits
    again = prove(Toy(), toy_data(), seeds=2, budget_s=60.0)
    assert Toy.fits == fits
    assert again.n_test_reads == 1
    assert {**again.to_json(), "created": ""} == {**first.to_json(), "created": ""}


def test_a_killed_study_goes_on(monkeypatch):
    whole = []

    def dies(*given):
        if Toy.fits == 7:
            raise KeyboardInterrupt
        return fitted(*given)

    monkeypatch.setattr("headstart.evidence.worker.fitted", dies)
    with pytest.raises(KeyboardInterrupt):
        prove(Toy(), toy_data(), seeds=2)
    monkeypatch.setattr("headstart.evidence.worker.fitted", fitted)
    prove(Toy(), toy_data(), seeds=2)
    whole.append(Toy.fits)
    Toy.fits = 0
    prove(Toy(gain=0.29), toy_data(), seeds=2)
    assert whole == [Toy.fits]  # none twice


def test_lost_outputs_are_computed_again(fresh_home):
    prove(Toy(), toy_data(), seeds=2)
    fits = Toy.fits
    files = sorted((fresh_home / "outcomes").rglob("*.safetensors"))
    for path in files:
        path.write_bytes(b"spoiled")
    prove(Toy(), toy_data(), seeds=2)
    assert Toy.fits > fits


def test_another_study_on_the_same_test_rows_is_counted():
    prove(Toy(), toy_data(), seeds=2)
    found = prove(Toy(gain=0.2), toy_data(), seeds=2)
    assert found.n_test_reads == 2
    assert any("optimistic" in note for note in found.verdict.notes)


def test_a_diverged_arm_is_its_own_outcome():
    found = prove(Breaks(), toy_data(), seeds=2)
    scratch = found.arm("scratch")
    assert (scratch.n_seeds, scratch.n_diverged, scratch.interval) == (2, 2, None)
    assert "scratch diverged with 2 of 2 seeds." in found.verdict.notes
    assert found.verdict.control != "scratch"
    assert next(one.error for one in found.outcomes if one.arm == "scratch")


def test_what_a_fit_takes_beside_its_epochs_is_not_charged_to_them():
    facts = {"plan": {"taken_s": {"scratch": 8.0}}}
    one = Outcome("scratch", 0, 9, curve=Curve(seen=(9, 18), score=(0.1, 0.2)), seconds=11.0,
                  facts=facts)  # fmt: skip
    assert Pace.of(one) == Pace(setup_s=3.0, epoch_s=4.0)


def test_the_pilot_leaves_out_a_rate_that_diverges():
    found = prove(Toy(), toy_data(), seeds=2)
    assert found.plan["pilot"]["0.008"] is None
    assert found.plan["pilot"]["0.0005"] is not None


@pytest.mark.parametrize(("scratch", "target", "is_told"), [
    (0.0, None, False), (0.5, None, True), (0.0, 0.4, False),
])  # fmt: skip
def test_no_time_is_saved_to_a_score_of_nothing(scratch, target, is_told):
    def outcome(arm, seed, end):
        curve = Curve(seen=(10, 20), score=(0.0, end), seconds=(1.0, 2.0 + seed))
        return Outcome(arm, seed, 10, scores={"entity_f1": end}, curve=curve)

    ours = [outcome("probe", seed, 0.9) for seed in range(2)]
    theirs = [outcome("scratch", seed, scratch) for seed in range(2)]
    found = time_saved(ours, theirs, target)
    assert (found.interval is not None) == is_told
    assert ("learned nothing" in found.note) == (scratch == 0 and target is None)


def test_no_time_is_saved_to_a_score_of_the_most_frequent_class():
    curve = Curve(seen=(10, 20), score=(0.0, 0.5), seconds=(1.0, 2.0))
    theirs = [Outcome("scratch", seed, 10, scores={"accuracy": 0.5}, curve=curve)
              for seed in range(2)]  # fmt: skip
    ours = [dataclasses.replace(one, arm="probe") for one in theirs]
    assert time_saved(ours, theirs, None, least=0.4).interval is not None
    assert "learned nothing" in time_saved(ours, theirs, None, least=0.5).note
    assert time_saved(ours, theirs, 0.45, least=0.5).interval is not None  # a person asked


def test_no_score_of_an_arm_is_above_one_or_below_zero():
    found = prove(Toy(), toy_data(60, 40), seeds=2, remedies_s=0)
    ends = [end for arm in found.arms for end in arm.interval]
    assert min(ends) >= 0 and max(ends) <= 1


@pytest.mark.parametrize("model", ["pkg:x", Toy])
def test_what_is_no_estimator_is_refused(model):
    with pytest.raises(UsageError, match="expected an estimator, such as"):
        prove(model, toy_data(60, 40))


def test_time_saved_is_told_where_every_seed_of_both_got_there():
    def outcome(arm, seed, end):
        curve = Curve(seen=(10, 20), score=(0.0, end), seconds=(1.0, 2.0))
        return Outcome(arm, seed, 10, scores={"accuracy": end}, curve=curve, preparation_s=0.5)

    ours = [outcome("probe", seed, end) for seed, end in enumerate((0.9, 0.9, 0.1))]
    theirs = [outcome("scratch", seed, 0.8) for seed in range(3)]
    found = time_saved(ours, theirs, 0.5, preparation_s=4.0)
    assert found.interval is None
    assert "transfer 2.0 s (6.5 s cold) in 2 of 3 seeds, scratch 2.0 s in 3" in found.note
    assert time_saved(ours[:2], theirs, 0.5).interval is not None


@pytest.mark.parametrize("order", [1, -1])
def test_an_arm_that_lacks_seeds_is_compared_with_the_best_of_the_others(order):
    scores = {
        "majority": dict.fromkeys(range(5), 0.5),
        "classical": {0: 0.9, 1: 0.9, 2: 0.6, 3: 0.6, 4: 0.6},
        "scratch": {0: 0.8, 1: 0.8},  # two easy seeds, and behind on both
    }
    assert best(scores, [*scores][::order]) == "classical"
    ahead = scores | {"scratch": {2: 0.7, 3: 0.7}}
    assert best(ahead, [*ahead][::order]) == "scratch"
    apart = {"a": {0: 0.9, 1: 0.5}, "b": {1: 0.6, 2: 0.6}}  # each diverged once: seed 1 tells
    assert best(apart, [*apart][::order]) == "b"


def test_all_that_a_fit_does_beside_its_passes_is_waited_for_at_every_point():
    curve = Curve(seen=(8, 16), score=(0.5, 0.7), seconds=(1.0, 3.0))
    plan = SimpleNamespace(phase=Phase(), taken_s={"extract": 2.0}, to_json=dict)
    fit = Outcome("finetuned", 0, 8, seconds=10.0)
    found = _with_effort(fit, SimpleNamespace(curve_=curve, plan_=plan))
    assert found.curve.seconds == (6.0, 8.0)  # 5 s beside the passes; 2 s prepared the trunk
    assert Outcome.from_json(found.to_json()).curve.seconds == found.curve.seconds
    untimed = SimpleNamespace(curve_=dataclasses.replace(curve, seconds=()), plan_=plan)
    assert _with_effort(fit, untimed).curve.seconds == (4.0, 8.0)


def test_the_curve_of_a_head_that_held_out_rows_itself_is_a_point_of_the_study():
    own = Curve(seen=(8, 16), score=(0.5, 0.9), seconds=(1.0, 3.0))
    plan = SimpleNamespace(phase=None, taken_s={"extract": 2.0}, to_json=dict)
    fit = Outcome("probe", 0, 10, scores={"accuracy": 0.7}, seconds=10.0)
    found = _with_effort(fit, SimpleNamespace(curve_=own, plan_=plan))
    assert found.curve == Curve(seen=(16,), score=(0.7,)) and found.curve.seconds == (8.0,)
    assert not found.is_converged  # the last pass was the best
    n = 2 + MLP.patience
    flat = Curve(seen=tuple(range(8, 8 * n + 1, 8)), score=(0.5,) + (0.9,) * (n - 1))
    assert _with_effort(fit, SimpleNamespace(curve_=flat, plan_=plan)).is_converged


def test_gains_whose_intervals_count_seeds_alone_say_so():
    said = "interval over seeds, on these rows"
    rising = [Curve(seen=(10, 20), score=(0.1, end), seconds=(1.0, end * 10)) for end in (0.7, 0.9)]
    fast = dict(enumerate(rising))
    slow = {s: dataclasses.replace(c, seen=(20, 40), seconds=(9.0, 99.0)) for s, c in fast.items()}
    assert said in steepness(fast, {0: rising[1], 1: rising[0]}, "accuracy").note
    assert said not in steepness({0: fast[0]}, slow, "accuracy").note  # one seed: no interval
    ours, theirs = (
        [Outcome(arm, seed, 10, curve=curve) for seed, curve in curves.items()]
        for arm, curves in (("probe", fast), ("scratch", slow))
    )
    assert said in time_saved(ours, theirs, 0.5).note
    points = [
        [Point(n, both, Interval(0.2, 0.5, 0.9), seeds=(0, 1)) for n, both in found]
        for found in (((10, (0.4, 0.4)), (80, (0.9, 0.9))), ((10, (0.3, 0.3)), (80, (0.7, 0.8))))
    ]
    assert said in labels(*points).note
    found = {gain.name: gain for gain in prove(Toy(), toy_data(60, 40), seeds=2).gains}
    assert not any(said in found[name].note for name in ("jumpstart", "asymptote"))


def test_labels_of_another_domain_are_told_of():
    points = [Point(n, (end,), Interval(end, end, end)) for n, end in ((10, 0.4), (80, 0.9))]
    note = labels(points, points, n_beside=1234).note
    assert "transfer learned from 1,234 labelled rows of another domain" in note
    assert "another domain" not in labels(points, points).note


class Rises(Toy):
    """Its fine-tuned arm learns by steps."""

    def fit(self, X, y=None):
        super().fit(X, y)
        if self.finetune.startswith("only:"):
            n, right = int((X.split == "train").sum()), self.right_
            self.curve_ = Curve(seen=(n, 2 * n), score=(right - 0.1, right))
        return self


def test_whose_slope_it_is_is_said_where_it_is_not_that_of_the_chosen_arm():
    def slope_of(**arms):
        found = prove(Rises(gain=0.1), toy_data(60, 40), seeds=2, remedies_s=0, arms=arms)
        return found.verdict.transfer, next(g.note for g in found.gains if g.name == "slope")

    transfer, note = slope_of()
    assert transfer == "probe" and note.startswith("of finetuned; area")
    transfer, note = slope_of(better=Rises(gain=0.44, finetune="only:all"))
    assert transfer == "better" and note.startswith("area")
    assert (
        steepness({0: Curve((8,), (0.5,))}, {}, "accuracy").note == "no fit of scratch to compare"
    )


def test_the_network_that_stands_in_for_a_frozen_one_is_named(monkeypatch):
    frozen = dataclasses.replace(CARD, is_trainable=False)
    monkeypatch.setattr("headstart.evidence.arms.take", lambda *_, **__: frozen)
    found = prove(Toy(), toy_data(60, 40), seeds=2, remedies_s=0)
    notes = {gain.name: gain.note for gain in found.gains}
    for told in (notes["jumpstart"], notes["asymptote"], found.arm("random-probe").about):
        assert "random" in told
        assert re.search(r" of pkg:[\w.-]+, the smallest trainable network$", told)
    assert stand_in(CARD) == ""


def test_labels_saved_are_as_unsure_as_the_height_to_be_matched():
    def points(seeds, *rows):
        return [Point(n, scores, Interval(0, 0, 0), seeds=seeds) for n, scores in rows]

    ours = points((0, 1, 2), (10, (0.5, 0.5, 0.5)), (80, (0.9, 0.9, 0.9)))
    theirs = points((1, 2, 3), (10, (0.1, 0.1, 0.1)), (80, (0.6, 0.8, 0.7)))
    found = labels(ours, theirs).interval
    assert found.high - found.mid > 50  # seeds 1 and 2 have 18 and 46 of 80 to match .6 and .8
    near = [(p.n_rows, tuple(p.scores[0] + more for more in (0, 0.01, 0.02))) for p in theirs]
    assert labels(ours, points((0, 1, 2), *near)).interval.high - found.mid < 20
    few = points((0,), *((p.n_rows, p.scores[:1]) for p in theirs))
    assert labels(ours, few).interval.high == math.inf
    bound = points((0, 1, 2), (10, (0.8, 0.8, 0.8)), (80, (0.9, 0.9, 0.9)))
    assert labels(bound, theirs).interval.high == math.inf  # the fewest rows are enough: at least


def test_scratch_that_hits_the_cap_makes_the_gain_at_most():
    found = prove(Toy(), toy_data(), seeds=2)
    assert found.arm("scratch").is_converged
    assert not found.verdict.is_at_most
    short = allot(Asked(100, 4, 5, 100, {"probe": 1.0}, epoch_s=10.0, left_s=300.0))
    assert short.scratch_seeds == 2
    assert short.seeds == 5
    assert short.epochs < 25
    slow = Asked(100, 4, 5, 100, {"probe": 1.0}, epoch_s=1.0, left_s=300.0, setup_s=30.0)
    quick = dataclasses.replace(slow, setup_s=0.0)
    assert (allot(slow).scratch_seeds, allot(quick).scratch_seeds) == (3, 5)


class Endless(Toy):
    """From scratch it gets better with every pass, as many as there are."""

    def _learn(self, n):
        super()._learn(n)
        at = np.arange(1, self.phase.epochs + 1)
        self.curve_ = Curve(
            seen=tuple((n * at).tolist()), score=(0.5,) * len(at), loss=tuple((1 / at).tolist())
        )


def test_a_scratch_that_was_still_learning_bounds_the_gain(monkeypatch):
    monkeypatch.setattr("headstart.evidence.choice.best", lambda *_: "scratch")
    found = prove(Endless(), toy_data(n_test=400), seeds=3, remedies_s=0)
    assert found.arm("scratch").n_not_converged == 3 and not found.arm("scratch").is_converged
    assert found.verdict.is_at_most and "positive transfer: at most +" in str(found.verdict)
    notes = {gain.name: gain.note for gain in found.gains}
    assert notes["asymptote"].startswith("at most: scratch had not converged")
    assert "provisional: scratch had not converged" in notes["labels saved"]


class Fickle(Toy):
    """As good as can be once it is fine-tuned, but with seed 1, when it breaks."""

    breaks_at = (1,)

    def fit(self, X, y=None):
        super().fit(X)
        if self.finetune.startswith("only:") and not self.source.startswith("scratch:"):
            if self.seed in self.breaks_at:
                raise Diverged("The loss is not finite.")
            self.right_ = 1.0
        return self


class AllBreak(Fickle):
    breaks_at = range(9)

    def fit(self, X, y=None):
        if not self.source.startswith("scratch:"):
            raise Diverged("The loss is not finite.")
        return super().fit(X)


def test_a_transfer_that_breaks_with_one_seed_is_not_chosen_for_the_others():
    found = prove(Fickle(), toy_data(), seeds=3, remedies_s=0)
    scores = {name: np.mean([*found.arm(name).validation.values()]) for name in
              ("finetuned", "probe")}  # fmt: skip
    assert scores["finetuned"] > scores["probe"] and found.arm("finetuned").n_diverged == 1
    assert found.verdict.transfer == "probe"
    assert "finetuned diverged with 1 of 3 seeds." in found.verdict.notes


def test_where_every_transfer_breaks_there_is_nothing_to_prove():
    with pytest.raises(DataError, match=r"Every transfer arm diverged: .*probe diverged with 2 of"):
        prove(AllBreak(), toy_data(), seeds=2, remedies_s=0)


def chosen_of(**scores):
    roles = {"classical": "control"}
    arms = {name: Arm(name, None, roles.get(name, "transfer")) for name in scores}
    return choose(arms, [
        Outcome(name, seed, 40, scores={"accuracy": score})
        for name, found in scores.items() for seed, score in enumerate(found)
    ])  # fmt: skip


def test_the_best_transfer_ships_where_the_simpler_is_behind_the_control():
    arms = {"probe": (0.79, 0.78, 0.80), "finetuned": (0.83, 0.77, 0.81)}
    found = chosen_of(classical=(0.795, 0.79, 0.80), **arms)
    assert (found.transfer, found.control, found.shipped.arm) == (
        "finetuned", "classical", "finetuned",
    )  # fmt: skip
    assert found.shipped.why == (
        "finetuned: probe, the simpler, is behind classical; "
        "finetuned − classical = +0.008 ± 0.016 on validation"
    )
    for control, shipped in (((0.78,) * 3, "probe"), ((0.81,) * 3, "classical")):
        found = chosen_of(classical=control, **arms)
        assert (found.transfer, found.shipped.arm) == ("probe", shipped)


def test_rows_that_are_twins_are_never_on_two_sides():
    data = toy_data(60, 0)
    twins = dataclasses.replace(data.take(np.tile(np.arange(60), 2)), split=None)
    study = prepare(Toy(), twins, 2)
    pool, tested = {*study.pool.rows}, {*study.test.rows}
    assert pool and tested and not pool & tested
    for seed in range(3):
        rows = study.rows(seed)
        learned, held_out = {*rows.training().rows}, {*rows.only("validation").rows}
        assert learned and held_out and not learned & held_out


def test_evidence_is_its_own_json():
    found = prove(Toy(), toy_data(), seeds=2)
    assert Evidence.from_json(found.to_json()).to_json() == found.to_json()


def test_yours_is_an_arm_like_any_other():
    found = prove(Toy(), toy_data(), seeds=2, arms={"better": Toy(gain=0.44, seed=5)})
    assert found.arm("better").role == "transfer"
    assert found.verdict.transfer == "better"
    with pytest.raises(UsageError, match="there already"):
        prove(Toy(), toy_data(), arms={"probe": Toy()})
    with pytest.raises(UsageError, match="unfitted estimator"):
        prove(Toy(), toy_data(), arms={"mine": 3})


class Weighs(BaseEstimator):
    """An arm of a caller's."""

    bias = 1

    def __init__(self, weight=None, rule=None):
        self.weight, self.rule = weight, rule

    def fit(self, X, y):
        bias = self.bias
        self.bias_ = bias
        return self


def edited(times):
    """Return the class as a cell of a notebook makes it, in which one number was changed."""

    class Mine(BaseEstimator):
        def fit(self, X, y):
            self.classes_ = np.unique(y) * times
            return self

    return Mine


def key(estimator, name="mine"):
    return Job(Arm(name, estimator, "control"), seed=0).key


def test_an_arm_whose_code_or_parameters_changed_is_another_one(monkeypatch):
    assert key(edited(1)()) == key(edited(1)()) != key(edited(-1)())
    one = np.zeros(2100)
    other = one.copy()
    other[1000] = 5.0
    assert repr(Weighs(one)) == repr(Weighs(other))
    assert key(Weighs(one)) == key(Weighs(one.copy())) != key(Weighs(other))
    assert key(Weighs(rule=lambda x: x + 1)) == key(Weighs(rule=lambda x: x + 1))
    assert key(Weighs(rule=lambda x: x + 1)) != key(Weighs(rule=lambda x: x + 2))
    assert key(make_pipeline(edited(1)())) != key(make_pipeline(edited(2)()))
    before = key(Weighs())
    monkeypatch.setattr(Weighs, "bias", 2)
    assert key(Weighs()) != before


def test_what_code_writes_to_is_no_part_of_it():
    before = key(Toy())
    Toy().fit(SimpleNamespace(split=np.array(["train"])))
    assert Toy.fits == 1 and key(Toy()) == before


feats = ModuleType("feats")  # another module of the caller's, and one within it
feats.SIZES, feats.inner = (1, 2), ModuleType("feats.inner")
feats.make = feats.inner.make = lambda x: len(x) + 2
GRID = {"C": [1, 10], "names": {"a", "b"}}
SEEN = {}


class Asks(BaseEstimator):
    """An arm of a caller's whose code is about other modules, and about lists."""

    rates, met = [0.1, 0.2], []

    def fit(self, X, y):
        SEEN.setdefault("sizes", []).extend(feats.SIZES)
        SEEN["n"] = len(X)
        self.met.append("X")
        self.made_ = [feats.make(x) + feats.inner.make(x) for x in X], GRID["C"], self.rates
        return self


def test_modules_and_lists_that_code_is_about_are_part_of_it(monkeypatch):
    before = key(Asks())
    for where, name, value in (
        (feats, "SIZES", (1, 3)),
        (feats, "make", lambda x: len(x)),
        (feats.inner, "make", lambda x: len(x) + 1),
        (Asks, "rates", [0.1, 0.3]),
        (GRID, "C", [1, 100]),
        (GRID, "names", {"a", "c"}),
    ):
        with monkeypatch.context() as patch:
            (patch.setitem if where is GRID else patch.setattr)(where, name, value)
            assert key(Asks()) != before, name
    monkeypatch.setattr(feats, "other", (7,), raising=False)  # which nobody asks for
    assert key(Asks()) == before


def test_lists_that_code_adds_to_are_no_part_of_it():
    before = key(Asks())
    Asks().fit(["one"], [0])
    assert SEEN == {"sizes": [1, 2], "n": 1} and Asks.met == ["X"]
    assert key(Asks()) == before


def test_what_cannot_be_named_is_fitted_again():
    made = Weighs(rule=(i for i in range(3)))
    job = Job(Arm("mine", made, "control"), seed=0)
    assert job.key == job.key != key(made)


def test_keys_of_own_arms_stay_what_they_were():
    assert key(Classical(), "classical") == "22aca190fd6dc0e6dbf5cca1"


def test_an_unknown_arm_is_refused_with_the_names():
    with pytest.raises(UsageError, match=r"'x' is no arm.\nExpected one of majority, classical"):
        prove(Toy(), toy_data(), seeds=1, remedies_s=0).arm("x")


def test_the_data_curves_begin_at_two_rows_a_class():
    found = prove(Toy(), toy_data(n_test=400), seeds=2)
    assert set(found.data) == {"probe", "scratch"}
    assert [p.n_rows for p in found.data["probe"]] == sorted(
        {p.n_rows for p in found.data["probe"]}
    )
    assert found.data["probe"][0].n_rows == 4
    assert found.data["probe"][-1].n_rows == found.n_rows["train"]
    gains = {gain.name: gain for gain in found.gains}
    assert "saved" in gains["labels saved"].note
    assert gains["jumpstart"].interval.mid > 0.2


def test_the_fewest_rows_are_two_of_every_class():
    data = toy_data(220, 40)
    some = data.take([i for i in range(260) if not i % 2 or i < 80 or i >= 220])  # 110 and 40
    study = prepare(Toy(), some, 2)
    for seed in range(3):
        learned = study.rows(seed, study.least).training()
        assert np.bincount(learned.targets).tolist() == [2, 2]


class Picky(Toy):
    """Refuses to learn from a few rows."""

    least = 6

    def fit(self, X, y=None):
        if (X.split == "train").sum() < self.least:
            raise UsageError(f"Too few rows.\nExpected {self.least}.")
        return super().fit(X)


class Refuses(Picky):
    least = 1000


def test_rows_too_few_for_an_arm_leave_a_point_of_the_data_curve_out():
    found = prove(Picky(), toy_data(), seeds=2, remedies_s=0)
    for arm in ("probe", "scratch"):
        assert found.data[arm][0].n_rows == 8
        said = f"The data curve of {arm} is without 2 fits of 4 rows: Too few rows."
        assert said in found.notes
    with pytest.raises(UsageError, match="Too few rows"):
        prove(Refuses(), toy_data(), seeds=2, remedies_s=0)


def test_too_few_rows_say_how_many_are_needed():
    data = toy_data()
    rare = data.take([i for i, t in enumerate(data.targets) if t == 0 or i < 4 or i > 150])
    with pytest.raises(DataError, match=r"'b' 2; needed are 3 of each class"):
        prove(Toy(), rare, seeds=2)
    assert prove(Toy(), rare, seeds=2, best_effort=True).notes


def test_test_rows_of_one_class_decide_nothing():
    data = toy_data()
    one = data.take((data.split == "train") | (data.targets == 0))
    found = prove(Toy(), one, seeds=2)
    assert found.verdict.word == "undecided"
    assert any("one class" in note for note in found.verdict.notes)


def test_one_seed_decides_nothing():
    found = prove(Toy(), toy_data(), seeds=1, remedies_s=0)
    assert found.verdict.word == "undecided"
    assert found.verdict.gain.low == -math.inf and found.verdict.smallest_gain == math.inf
    assert any("One seed" in note for note in found.verdict.notes)


def test_one_row_drawn_to_test_on_is_no_test():
    data = toy_data(7, 0)
    with pytest.raises(DataError, match=r"Of 7 rows 20% is no two"):
        prove(Toy(), dataclasses.replace(data, split=None), best_effort=True)


def test_gains_of_one_seed_have_no_interval():
    found = prove(Toy(), toy_data(), seeds=1, remedies_s=0)
    gains = {gain.name: gain for gain in found.gains}
    for name in ("jumpstart", "asymptote"):
        assert gains[name].interval.high == math.inf
        assert "interval unknown" in str(gains[name])
    assert found.arm("probe").interval.high <= 1


def test_two_seeds_are_said_to_be_few():
    notes = prove(Toy(), toy_data(), seeds=2, remedies_s=0).verdict.notes
    assert any("Two seeds" in note for note in notes)
    assert not any("seeds hardly" in n for n in prove(Toy(), toy_data(), seeds=3).verdict.notes)


def test_a_third_seed_may_take_more_than_half_of_the_time():
    each = Asked(100, 4, 3, 100, {"probe": 10.0}, epoch_s=1.0, left_s=32.0)
    assert allot(each).seeds == 3  # 20 s of 32
    assert allot(dataclasses.replace(each, left_s=25.0)).seeds == 2
    assert allot(dataclasses.replace(each, seeds=5)).seeds == 3


def test_no_labels_are_saved_where_nothing_was_learned():
    def points(*rows):
        return [
            Point(n, (score,) * 2, Interval(score - 0.03, score, score + 0.03), seeds=(0, 1))
            for n, score in rows
        ]

    ours, flat = points((10, 0.3), (80, 0.9)), points((10, 0.09), (80, 0.094))
    found = labels(ours, flat, least=0.09)  # 0.094 is not surely more
    assert found.interval is None and "scratch" in found.note and "nothing" in found.note
    assert labels(ours, flat, least=0.05).interval.mid == 70
    assert "20 to validate on" in labels(ours, flat, 0.05, n_validation=20).note
    assert labels(flat, ours, least=0.1).note.startswith("transfer")


@pytest.mark.parametrize(
    ("ours", "theirs", "note", "is_at_most"),
    [
        (True, True, "transfer minus scratch", False),
        (True, False, "at most", True),
        (False, True, "at least", False),
        (False, False, "provisional: neither", False),
    ],
)
def test_who_had_not_converged_says_which_bound_a_gain_is(
    monkeypatch, ours, theirs, note, is_at_most
):
    monkeypatch.setattr(
        "headstart.evidence.opened.Opened._converged",
        lambda _, arm: theirs if arm == "scratch" else ours,
    )
    monkeypatch.setattr("headstart.evidence.choice.best", lambda *_: "scratch")
    found = prove(Toy(), toy_data(60, 40), seeds=2, remedies_s=0)
    asymptote = next(gain for gain in found.gains if gain.name == "asymptote")
    assert asymptote.note.startswith(note)
    assert found.verdict.is_at_most is is_at_most
    told = any("Neither arm had converged" in one for one in found.verdict.notes)
    assert told == (not ours and not theirs)


def test_step_5_is_proved_as_a_fit_of_the_rows_does_it():
    """260 texts are not few; the 208 of them that a study learns from would be."""
    rows = tuple(f"row{i}" for i in range(260))
    task, targets = Task(Kind.MULTICLASS, ("a", "b")), np.arange(260) % 2
    whole = Dataset(Modality.TEXT, rows, task, targets)
    model = hs.Transfer("toy:source")
    arms = roster(model, whole.take(np.arange(208)), source=CARD, given=whole)
    assert arms[-1].estimator.finetune == f"only:{automatic(CARD, whole, 'linear', None)}"
    assert automatic(CARD, whole.take(np.arange(208)), "linear", None) == "few"


def test_arms_of_several_labels_without_cuts_are_given_those_of_validation():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(80, 3))
    y = (x + rng.normal(size=x.shape) > 1.5).astype(np.int8)
    task = Task(Kind.MULTILABEL, ("a", "b", "c"))
    model = Classical(Modality.VECTOR, Kind.MULTILABEL).fit(x[:40], y[:40])
    assert model.model_.best_params_["onevsrestclassifier__estimator__C"] in PENALTIES
    said = model.predict_proba(x[40:])
    cuts = _cuts(model, task, y[40:], said)
    assert cuts.tolist() == best_cuts(y[40:], said).tolist() != [0.5] * 3
    own = SimpleNamespace(bundle_=SimpleNamespace(head=SimpleNamespace(thresholds=[0.1] * 3)))
    assert _cuts(own, task, y[40:], said).tolist() == [0.1] * 3


def test_test_rows_are_drawn_once_where_the_data_name_none():
    data = dataclasses.replace(toy_data(), split=None)
    found = prove(Toy(), data, seeds=2)
    assert found.n_rows["test"] == 40
    assert any("no test rows" in note for note in found.notes)


def test_validation_rows_are_tested_on_where_there_are_no_others():
    data = toy_data()
    named = data.with_split(np.where(data.split == "test", "validation", "train"))
    found = prove(Toy(), named, seeds=2)
    assert found.n_rows == {"train": 96, "validation": 24, "test": 80}
    assert found.n_test_reads == 1


def test_a_fit_that_chose_by_the_rows_that_are_tested_on_is_counted():
    data = toy_data()
    named = data.with_split(np.where(data.split == "test", "validation", "train"))
    found = prove(Toy().fit(named), named, seeds=2)
    assert found.n_test_reads == 2
    assert any("read 2 times" in note for note in found.verdict.notes)


@pytest.mark.parametrize(
    "wrong",
    [{"seeds": 0}, {"budget_s": 0.0}, *({"worth": one} for one in (-1.0, 1.0, 2.0, math.nan))],
)
def test_options_that_cannot_be_right(wrong):
    with pytest.raises(UsageError):
        prove(Toy(), toy_data(), **wrong)


def test_overfitting_is_told_of_what_ships_and_of_what_it_is_compared_with():
    found = prove(Toy(), toy_data(), seeds=2)
    told = {one.what.partition(":")[0]: one for one in found.findings if one.kind == "overfitting"}
    assert set(told) == {found.verdict.shipped, found.verdict.control}
    probe = told["probe"]
    assert {"low", "gap", "high"} <= set(probe.facts)
    assert probe.facts["low"] <= probe.facts["gap"] <= probe.facts["high"]


class ByHeart(Toy):
    """Knows the rows it learned from, and half of the others."""

    def fit(self, X, y=None):
        self.known_ = set(X.training().rows)
        super().fit(X)
        self.right_ = 0.5
        return self

    def predict_proba(self, X):
        said = super().predict_proba(X)
        for i, row in enumerate(X.rows):
            if row in self.known_:
                said[i] = np.eye(2)[is_b(row)]
        return said


def test_an_arm_that_learned_by_heart_is_warned_of():
    found = prove(Toy(gain=-0.3), toy_data(), seeds=2, arms={"parrot": ByHeart()}, remedies_s=0)
    facts = [one.facts["overfitting"] for one in found.outcomes if one.arm == "parrot" and not
             one.seed and one.is_whole]  # fmt: skip
    (gap,) = facts[0]
    assert gap["severity"] == "warning" and gap["facts"]["low"] > 0.1


def test_rows_without_labels_prove_nothing():
    data = dataclasses.replace(toy_data(), task=None, targets=None)
    with pytest.raises(DataError, match="no labels"):
        prove(Toy(), data)


def test_a_class_of_three_rows_does_not_stop_a_study():
    data = toy_data()
    rare = data.take([i for i, t in enumerate(data.targets) if t == 0 or i < 6 or i > 130])
    found = prove(Toy(), rare, seeds=3, remedies_s=0)  # 3 rows of 'b' in the pool
    assert found.score == "macro_f1"
    assert all(not one.error for one in found.outcomes)
    for name in ("classical", "probe"):
        assert found.arm(name).interval is not None


def test_a_fold_of_one_class_is_its_own_answer(monkeypatch):
    """A draw without a class (rows that are twins move together) still gives a study."""
    from headstart.evidence.study import Study

    whole = Study.rows

    def without(self, seed, n_rows=None):
        data = whole(self, seed, n_rows)
        keep = (data.split != "validation") | (data.targets == 0)
        return data.take(keep)

    monkeypatch.setattr(Study, "rows", without)
    found = prove(Toy(), toy_data(), seeds=2, remedies_s=0)
    assert found.verdict.word in ("positive", "negative", "undecided")
    assert all(np.isfinite(one.score) for one in found.outcomes if not one.error)


def other_studies():
    data = toy_data(60, 40)
    targets, weight, split = np.array(data.targets), np.ones(100), data.split.astype("U10")
    targets[0], weight[0], split[:20] = 1 - targets[0], 0.5, "validation"
    return {
        "labels": dataclasses.replace(data, targets=targets),
        "weights": dataclasses.replace(data, weight=weight),
        "validation": data.with_split(split),
        "fewer rows": data.take(np.arange(1, 100)),
    }


@pytest.mark.parametrize("what", ["labels", "weights", "validation", "fewer rows"])
def test_another_pool_is_another_study_and_another_reading(what):
    asked = {"seeds": 1, "remedies_s": 0}
    assert prove(Toy(), toy_data(60, 40), **asked).n_test_reads == 1
    before = Toy.fits
    assert prove(Toy(), other_studies()[what], **asked).n_test_reads == 2
    assert Toy.fits > before


def test_the_number_of_threads_is_no_other_reading(monkeypatch):
    asked = {"seeds": 1, "remedies_s": 0}
    prove(Toy(), toy_data(60, 40), **asked)
    before = Toy.fits
    monkeypatch.setattr("headstart.evidence.study.n_threads", lambda: 77)
    assert prove(Toy(), toy_data(60, 40), **asked).n_test_reads == 1
    assert Toy.fits > before  # the outcomes are others, the question is not


def test_the_same_weights_in_another_architecture_are_another_study(monkeypatch):
    asked = {"seeds": 1, "remedies_s": 0}
    prove(Toy(), toy_data(60, 40), **asked)
    before = Toy.fits
    card = dataclasses.replace(CARD, architecture={"pooling": "cls"})
    monkeypatch.setattr("headstart.evidence.arms.take", lambda *_, **__: card)
    prove(Toy(), toy_data(60, 40), **asked)
    assert Toy.fits > before


@pytest.mark.parametrize("budget_s", [None, 600.0])
def test_the_costliest_fits_are_begun_first_and_kept_in_the_order_of_arms(monkeypatch, budget_s):
    begun, really = [], Worker.__call__

    def noted(self, job):
        begun.append((job.arm.name, job.seed, job.n_rows))
        return really(self, job)

    monkeypatch.setattr(Worker, "__call__", noted)
    found = prove(Toy(), toy_data(), seeds=3, budget_s=budget_s, remedies_s=0)
    whole = [(name, seed) for name, seed, n_rows in begun if n_rows is None and seed != PILOT_SEED]
    names = list(dict.fromkeys(one.arm for one in found.outcomes if one.seed == 0))
    firsts = [name for name in names if name != "scratch"]
    assert whole[: len(firsts)] == [(name, 0) for name in reversed(firsts)]
    rest = [name for name, _ in whole[len(firsts) :]]
    assert rest[:3] == ["scratch"] * 3 and rest[3] == "finetuned" and rest[-1] == "majority"
    kept = [one.arm for one in found.outcomes if one.is_whole and one.seed == 0]
    assert kept == [*firsts, "scratch"]


def test_trying_nothing_forgets_nothing():
    study = prepare(Toy(), toy_data(60, 40), 1)
    with open_store() as store:
        fits = Fits(study, roster(Toy(), study.pool, source=study.source), store, 1, None)
        fits.fit()
        n = len(fits.outcomes)
        assert fits._pilot([], 1) == [] and len(fits.outcomes) == n > 0


def test_test_rows_keep_the_names_they_have_in_the_data():
    data = toy_data(60, 40)
    assert prove(Toy(), data, seeds=1, remedies_s=0).judged.names[0] == data.name(60) == "row 60"


@pytest.mark.parametrize("seeds", [0, 2.5, "3", True])
def test_seeds_are_a_whole_number_from_one(seeds):
    with pytest.raises(UsageError, match=r"seeds=.*expected a whole number from 1 up"):
        prove(None, None, seeds=seeds)
