"""Rows of another domain beside those a model is for: joined, weighed, left out, alone."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import headstart as hs
from headstart.data.also import beside, is_also, only_also, with_tests, without_also
from headstart.data.dataset import Dataset, from_arrays, untested
from headstart.errors import DataError, UsageError
from headstart.evidence.arms import roster
from headstart.evidence.crossing import crossings
from headstart.features.extract import extract_beside
from headstart.features.features import Features
from headstart.heads.choose import PENALTIES
from headstart.heads.solve import Logistic
from headstart.sources.catalog import resolve
from headstart.steps import weigh as weighing
from headstart.steps.train import reads_of, train
from headstart.steps.weigh import FOLDS, WEIGHTS, weigh, weighted
from tests.test_tags import corpus
from tests.toys import toy_text_source


def vectors(n, shift, seed, wrong=False):
    """Two classes told apart by the first number; `wrong`: the other way round."""
    rng = np.random.default_rng(seed)
    targets = np.arange(n) % 2
    rows = rng.normal(size=(n, 4)) + shift
    rows[:, 0] += 2.5 * (1 - 2 * targets if wrong else 2 * targets - 1)
    return from_arrays(rows, np.array(["a", "b"])[targets])


def features(data: Dataset) -> Features:
    return Features.of(np.asarray(data.rows), key="identity")


def test_rows_that_help_count_and_rows_that_mislead_do_not():
    few = vectors(30, 0.0, 0)
    helpful, misleading = vectors(300, 0.0, 1), vectors(300, 0.0, 2, wrong=True)
    both = beside(few, helpful)
    assert weigh(features(both), both).weight >= 0.1
    both = beside(few, misleading)
    found = weigh(features(both), both)
    assert found.weight == 0
    assert list(found.losses) == list(WEIGHTS)
    assert len(weighted(both, found)) == 30


def test_many_rows_that_mislead_do_not_keep_the_own_ones_from_speaking():
    """Under the penalty that they ask for, the head of the own rows alone would say nothing."""
    rng, classes = np.random.default_rng(0), np.array(["a", "b"])
    rows, beside_rows, tests = (rng.normal(size=(n, 5)) for n in (40, 4000, 500))
    sides = [(rows, 0), (beside_rows, 1), (tests, 0)]
    own, others, new = (from_arrays(x, classes[(x[:, k] > 0).astype(int)]) for x, k in sides)
    both = beside(own, others)
    found = weigh(features(both), both)
    assert found.weight == 0 and found.losses[0] < 0.5 < 0.68 < found.losses[0.1]
    alone = weighing._trial(features(both), replace(both, weight=np.ones(len(both))), 0).alone.job
    assert len(alone.targets) == 40  # as they are fitted where nothing is beside them
    model = hs.Transfer().fit(both)
    assert model.score(new.rows, classes[new.targets]) > 0.8


@pytest.fixture
def solved(monkeypatch):
    """How many rows each problem had that was solved, in order."""
    sizes, solve = [], Logistic.solve

    def counted(self, *given):
        sizes.append(len(self.rows))
        return solve(self, *given)

    monkeypatch.setattr(Logistic, "solve", counted)
    return sizes


@pytest.mark.parametrize("seed", [0, 1])
def test_a_weight_is_chosen_with_few_solves_of_few_rows(solved, monkeypatch, fresh_home, seed):
    monkeypatch.setattr(weighing, "TARGETS", 60)
    monkeypatch.setattr(weighing, "OTHERS", 40)
    both = beside(vectors(200, 0.0, 0), vectors(300, 0.0, 1))
    found = weigh(features(both), both, seed)
    assert set(solved) == {40, 40 + 40}  # two thirds of those looked at; and with the others
    assert solved.count(80) <= FOLDS * (len(PENALTIES) + len(WEIGHTS) - 2)
    assert solved.count(40) <= FOLDS * len(PENALTIES)  # under 0 the others are no rows
    n_solved = len(solved)
    assert weigh(features(both), both, seed) == found
    assert len(solved) == n_solved


def test_a_killed_choice_goes_on_with_what_is_left(solved, monkeypatch, fresh_home):
    both = beside(vectors(40, 0.0, 0), vectors(60, 0.0, 1))
    loss, tried = weighing._Trial.loss, []

    def killed(self, weight, penalty):
        tried.append(weight)
        if len(tried) == 3:
            raise KeyboardInterrupt
        return loss(self, weight, penalty)

    monkeypatch.setattr(weighing._Trial, "loss", killed)
    with pytest.raises(KeyboardInterrupt):
        weigh(features(both), both)
    del solved[:]
    weigh(features(both), both)
    assert tried == [0.0, 0.03, 0.3, 0.3, 1.0]
    assert len(solved) == 2 * FOLDS


def test_rows_that_are_looked_at_stand_for_all(monkeypatch, fresh_home):
    made, trials = weighing._trial, []

    def trial(*given):
        trials.append(made(*given))
        return trials[-1]

    monkeypatch.setattr(weighing, "_trial", trial)
    monkeypatch.setattr(weighing, "TARGETS", 30)
    monkeypatch.setattr(weighing, "OTHERS", 60)
    both = beside(vectors(300, 0.0, 0), vectors(600, 0.0, 1))
    weigh(features(both), both)
    job, others = trials[0].both.job, trials[0].beside
    assert others.tolist() == [False] * 30 + [True] * 60
    assert (job.weight[~others].sum(), job.weight[others].sum()) == pytest.approx((300, 600))
    assert np.bincount(job.targets[~others]).tolist() == [15, 15]


def test_equal_rows_of_the_target_are_held_out_together():
    few = vectors(15, 0.0, 0).take(np.tile(np.arange(15), 2))
    both = replace(beside(few, vectors(20, 0.0, 1)), weight=np.ones(50))
    trial = weighing._trial(features(both), both, seed=0)
    for fit, out in trial.both.folds:
        assert not set(fit[fit < 30] % 15) & set(out % 15)
        assert set(range(30, 50)) <= set(fit)
    assert [out.tolist() for _, out in trial.alone.folds] == [
        out.tolist() for _, out in trial.both.folds
    ]


def test_a_fit_says_what_rows_beside_count():
    both = beside(vectors(40, 0.0, 0), vectors(60, 0.0, 1))
    model = hs.Transfer().fit(both)
    assert any("rows beside count" in note for note in model.plan_.notes)


def test_rows_that_judge_a_fit_do_not_say_what_those_beside_count(fresh_home):
    split = np.repeat(["train", "validation", "test"], [30, 15, 15])
    own = vectors(60, 0.0, 0).with_split(split)
    turned = replace(own, targets=np.where(split == "train", own.targets, 1 - own.targets))
    boths = [beside(data, vectors(60, 0.3, 1)) for data in (own, turned, untested(own))]
    found = [weigh(features(both), both) for both in boths]
    assert found[0].losses and found[0] == found[1] == found[2]


def test_too_few_rows_to_choose_by_count_as_the_others():
    both = beside(vectors(4, 0.0, 0), vectors(60, 0.0, 1))
    assert weigh(features(both), both).weight == 1.0
    both = beside(vectors(4, 0.0, 0).take(np.tile(np.arange(4), 5)), vectors(60, 0.0, 1))
    assert weigh(features(both), both).losses == {}  # twenty, but four that differ


def test_labels_of_both_sides_are_joined():
    a = from_arrays(["un", "deux", "trois"], ["x", "y", "y"])
    b = from_arrays(["one", "two"], ["z", "y"])
    both = beside(a, b)
    assert both.task.labels == ("x", "y", "z")
    assert [both.task.labels[i] for i in both.targets] == ["x", "y", "y", "z", "y"]
    assert "'x', 'z'" in both.notes[-1]
    assert without_also(both).rows == a.rows and only_also(both).rows == b.rows
    assert is_also(both).tolist() == [False] * 3 + [True] * 2


def test_tags_of_both_sides_are_joined():
    a = from_arrays([["a", "b"]], [["B-PER", "O"]])
    b = from_arrays([["c", "d"]], [["B-LOC", "I-LOC"]])
    both = beside(a, b)
    assert both.task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert [codes.tolist() for codes in both.targets] == [[3, 0], [1, 2]]
    assert both.notes == ("Types of entities of one side only: 'LOC', 'PER'.",)


def test_other_kinds_of_rows_are_refused():
    with pytest.raises(DataError, match="same kind"):
        beside(from_arrays(["un"], ["a"]), from_arrays([["un"]], [["B-X"]]))
    with pytest.raises(DataError, match="without labels"):
        beside(from_arrays(["un"], ["a"]), from_arrays(["one"]))


def test_rows_to_test_on_take_the_place_of_those_of_the_data():
    own = from_arrays(["un", "deux"], ["a", "b"]).with_split(["train", "test"])
    both = with_tests(own, from_arrays(["one"], ["a"]))
    assert (both.rows, both.split.tolist()) == (("un", "one"), ["train", "test"])


def test_vectors_are_joined_by_the_names_of_their_columns():
    target = replace(vectors(4, 0.0, 0), columns=tuple("wxyz"))
    turned = replace(vectors(4, 0.0, 1), columns=tuple("zyxw"))
    for both in (beside(target, turned), with_tests(target, turned)):
        np.testing.assert_array_equal(both.rows[4:], np.asarray(turned.rows)[:, ::-1])
    for join in (beside, with_tests):
        with pytest.raises(DataError, match=r"'w', 'x', 'y', 'z' of the data, 'a', 'x', 'y', 'z'"):
            join(target, replace(turned, columns=tuple("axyz")))
        with pytest.raises(DataError, match=r"'w', .* of the data, 2 without names beside"):
            join(target, from_arrays([[1.0, 2.0]] * 2, ["a", "b"]))


def test_copies_of_what_is_judged_do_not_teach():
    own = from_arrays(["un", "deux", "trois"], list("aba")).with_split(
        ["train", "test", "validation"]
    )
    both = beside(own, from_arrays(["deux", "trois", "one"], list("baa")))
    assert both.rows == ("un", "deux", "trois", "one")
    assert both.notes[-1] == "2 rows beside that the data have too are left out."
    both = with_tests(own, from_arrays(["un", "deux"], list("ab")))
    assert (both.rows, both.split.tolist()) == (
        ("trois", "un", "deux"), ["validation", "test", "test"],
    )  # fmt: skip
    assert both.notes == ("1 rows of the data that are rows to test on too are left out.",)
    with pytest.raises(DataError, match="All 3 rows of the data are rows to test on"):
        with_tests(own.with_split([""] * 3), own)


def test_rows_that_cannot_be_read_stay_to_be_named_later():
    gone, other = (from_arrays([Path(name)], ["a"]) for name in ("gone.png", "lost.png"))
    assert len(beside(gone, other)) == 2


def test_what_own_rows_count_is_kept():
    few, others = vectors(30, 0.0, 0), vectors(60, 0.0, 1)
    own = np.linspace(0.5, 2, 30)
    both = beside(replace(few, weight=own), others)
    np.testing.assert_array_equal(both.weight, [*own, *np.ones(60)])
    assert beside(few, others).weight is None
    light = weigh(features(both), replace(both, weight=np.append(np.full(30, 1e-3), np.ones(60))))
    assert light.losses != weigh(features(both), both).losses


def test_rows_that_count_nothing_do_not_weigh_the_others():
    few, wrong, others = vectors(30, 0.0, 0), vectors(30, 0.0, 3, wrong=True), vectors(60, 0.0, 1)
    own = beside(few, others)
    more = beside(replace(few.take(np.arange(30)), weight=None), others)
    rows = np.concatenate([np.asarray(few.rows), np.asarray(wrong.rows)])
    both = from_arrays(rows, np.array(["a", "b"])[np.concatenate([few.targets, wrong.targets])])
    both = beside(replace(both, weight=np.repeat([1.0, 0.0], 30)), others)
    assert len(more) == len(own)
    assert weigh(features(both), both).losses == pytest.approx(
        weigh(features(own), own).losses, rel=1e-6
    )


def test_many_rows_beside_leave_all_own_ones_to_judge(monkeypatch):
    monkeypatch.setattr("headstart.heads.choose.SPLIT_ABOVE", 50)
    both = beside(vectors(40, 0.0, 0), vectors(60, 0.0, 1))
    trained = train("linear", features(both), both)
    assert np.isfinite(trained.outputs).all(axis=1).tolist() == [True] * 40 + [False] * 60


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_rows_of_another_domain_are_in_every_fit_and_never_held_out(head):
    both = beside(vectors(40, 0.0, 0), vectors(60, 0.0, 1))
    trained = train(head, features(both), both)
    seen = np.isfinite(trained.outputs).all(axis=1)
    assert not seen[is_also(both)].any()
    assert seen[:40].sum() == (40 if head == "linear" else 8)


def test_rows_that_all_count_the_same_are_held_out_no_more_than_others(monkeypatch):
    seen = []

    def training(*given, **options):
        seen.append(train(*given, **options))
        return seen[-1]

    monkeypatch.setattr("headstart.transfer.fitting.train", training)
    both = beside(vectors(40, 0.0, 0), vectors(60, 0.0, 1))
    model = hs.Transfer(also="all").fit(both)
    assert np.isfinite(seen[0].outputs).all(axis=1).tolist() == [True] * 40 + [False] * 60
    assert not any("rows beside count" in note for note in model.plan_.notes)


def test_a_class_that_the_others_teach_may_be_held_out():
    one = from_arrays(np.eye(4), list("abab"))
    lonely = from_arrays(np.eye(4) + 1, list("abac"))
    assert train("linear", features(lonely), lonely).outputs is None
    both = beside(lonely, vectors(20, 0.0, 0))
    assert train("linear", features(both), both).outputs is None  # none of the others is a "c"
    both = beside(one, vectors(20, 0.0, 0))
    assert np.isfinite(train("linear", features(both), both).outputs).all(axis=1).sum() == 4


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return toy_text_source(tmp_path_factory.mktemp("encoder"))


def tagged(n, seed):
    rows, tags = corpus(n, seed)
    return from_arrays(rows, tags)


def test_tags_beside_tags(encoder):
    both = with_tests(beside(tagged(24, 1), tagged(60, 2)), tagged(40, 3))
    scores = {
        also: hs.Transfer(encoder, finetune="no", also=also).fit(both).scores_["test"]["entity_f1"]
        for also in ("weighed", "no", "only")
    }
    assert min(scores.values()) > 0.8
    with pytest.raises(UsageError, match="also="):
        hs.Transfer(encoder, also="some").fit(both)


@pytest.mark.parametrize("above", [20_000, 50])
def test_sentences_of_another_domain_are_never_held_out(encoder, monkeypatch, above):
    monkeypatch.setattr("headstart.heads.tags.SPLIT_ABOVE", above)
    both = beside(tagged(20, 1), tagged(60, 2))
    reads = reads_of(both.task)
    trained = train("linear", extract_beside(resolve(encoder), both, reads), both)
    seen = np.array([bool(np.isfinite(row).all()) for row in trained.outputs])
    assert not seen[is_also(both)].any()
    assert seen[~is_also(both)].sum() == (20 if above == 20_000 else 10)


def test_finetuning_holds_out_rows_of_the_target(encoder):
    both = beside(tagged(40, 1), tagged(60, 2))
    phase = hs.Phase(epochs=2, rate=1e-3, head_rate=1e-2, batch=8)
    model = hs.Transfer(encoder, finetune="only:last:100%", phase=phase).fit(both)
    assert model.plan_.n_rows["to validate on"] == 4
    assert model.scores_["validation"]["entity_f1"] > 0.5


def test_what_rows_of_another_domain_are_worth_is_proved():
    few, others = vectors(40, 0.0, 0), vectors(300, 0.1, 1)
    tests = vectors(200, 0.0, 2)
    found = hs.prove(
        hs.Transfer(), with_tests(few, tests), seeds=2, also=others, best_effort=True, remedies_s=0
    )
    arms = {arm.name: np.mean(list(arm.test.values())) for arm in found.arms}
    assert {"zero-shot", "beside", "probe", "classical"} <= set(arms)
    assert arms["beside"] > 0.9 and arms["zero-shot"] > 0.9
    assert found.n_rows.get("beside", 0) == (0 if found.verdict.transfer == "probe" else 300)


def conll(folder, name, n, seed):
    rows, tags = corpus(n, seed)
    sentences = ("".join(f"{w}\t{t}\n" for w, t in zip(*pair, strict=True))
                 for pair in zip(rows, tags, strict=True))  # fmt: skip
    (folder / name).write_text("\n".join(sentences), encoding="utf-8")
    return str(folder / name)


def test_the_command_line_reads_all_three(encoder, tmp_path):
    import json

    from typer.testing import CliRunner

    from headstart.cli.app import app

    own, also = conll(tmp_path, "fr.conll", 20, 1), conll(tmp_path, "en.conll", 40, 2)
    tests, out = conll(tmp_path, "test.conll", 20, 3), str(tmp_path / "run")
    options = ("--also", also, "--test", tests, "--source", encoder, "--finetune", "no")
    done = CliRunner().invoke(app, ["fit", own, *options, "-o", out, "--json", "--quiet"])
    found = json.loads(done.stdout)
    # Nine of the sixty sentences to learn from are copies of others.
    assert found["plan"]["n_rows"] == {"to train on": 51, "to validate on": 0, "to test on": 20}
    assert found["scores"]["test"]["entity_f1"] > 0.8
    assert any("rows beside count" in note for note in found["plan"]["notes"])


def test_a_seed_of_numpy_weighs_as_python_s_own():
    both = beside(vectors(40, 0.0, 0), vectors(60, 0.0, 1))
    own, numpy_s = (hs.Transfer(seed=seed).fit(both).bundle_ for seed in (3, np.int64(3)))
    assert numpy_s.facts["seed"] == 3 and type(numpy_s.facts["seed"]) is int
    np.testing.assert_array_equal(own.head.weight, numpy_s.head.weight)


def test_learning_from_other_rows_alone_needs_some():
    with pytest.raises(UsageError, match="there are none"):
        hs.Transfer(also="only").fit(vectors(30, 0.0, 0))


@pytest.mark.parametrize("also", ["only", "no"])
def test_arms_learn_from_what_they_say_whatever_the_model_does(also):
    few, others = vectors(40, 0.0, 0), vectors(300, 0.1, 1)
    model, card = hs.Transfer(also=also), resolve("identity:")
    data = with_tests(few, vectors(60, 0.0, 2))
    more = crossings(model, card, data, others)
    arms = {arm.name: arm for arm in roster(model, data, more, card)}
    assert arms["zero-shot"].estimator.model.also == "only"
    assert arms["beside"].estimator.model.also == arms["probe"].estimator.also == "weighed"
