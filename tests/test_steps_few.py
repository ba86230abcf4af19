"""Step 5 on few texts: every row teaches, and every row is judged as one that had not been seen."""

from dataclasses import replace

import numpy as np
import pytest

import headstart as hs
from headstart.data.dataset import from_arrays
from headstart.errors import UsageError
from headstart.evidence.arms import roster
from headstart.features.extract import extract
from headstart.sources.catalog import open_backbone, resolve
from headstart.steps import few
from headstart.steps.batches import DecodedRows, RunRows
from headstart.steps.few import HALVES, finetune_few, folds, vectors
from headstart.steps.finetune import finetune
from headstart.steps.freeze import fingerprint
from headstart.steps.phase import Phase
from tests.toys import toy_text_source

PHASE = Phase(epochs=2, rate=1e-3, batch=8, contrast=3.0)
TEXTS = [f"{'good fine' if i % 2 else 'bad poor'} thing {i}" for i in range(20)]
LABELS = [("down", "up")[i % 2] for i in range(20)]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return toy_text_source(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def rows():
    return hs.read([{"text": t, "label": k} for t, k in zip(TEXTS, LABELS, strict=True)])


def few_tuned(encoder, rows, **more):
    source = resolve(encoder)
    features = extract(source, rows)
    return finetune_few(source, "last:100%", features, rows, penalty=0.01, phase=PHASE, **more)


def test_each_row_is_judged_by_a_network_that_has_not_seen_it(encoder, rows, monkeypatch):
    learned, judged = [], []

    def noted(*given, **more):
        learned.append(set(given[3].rows))
        return finetune(*given, **more)

    def asked(backbone, data):
        judged.append((len(learned), set(data.rows)))
        return vectors(backbone, data)

    finetune = few.finetune
    monkeypatch.setattr(few, "finetune", noted)
    monkeypatch.setattr(few, "vectors", asked)
    made = few_tuned(encoder, rows)
    one, other, all_of_them = learned
    assert one | other == all_of_them == set(rows.rows) and not one & other
    own = [(1, one), (2, other), (3, all_of_them)]  # for the head that is solved on them
    assert [at for at in judged if at not in own] == [(1, other), (2, one)]
    assert made.outputs.shape == made.frozen.shape == (20, 2)
    assert np.allclose(made.outputs.sum(axis=1), 1, atol=1e-5)
    assert made.made.curve.seen == (20, 40) and not made.made.curve.loss  # nothing was watched
    assert made.made.curve.best == 1


def test_equal_texts_are_on_one_side():
    texts = ["good", "bad", "fine", "poor"] * 3
    data = hs.read([{"text": t, "label": str(i % 2)} for i, t in enumerate(texts)])
    for fit, out in folds(data, seed=0):
        assert len(fit) + len(out) == 12
        assert not {data.rows[i] for i in fit} & {data.rows[i] for i in out}


def test_all_heads_have_the_penalty_that_was_chosen_on_frozen_features(encoder, rows, monkeypatch):
    given, really = [], few.fit_linear

    def noted(*args, **more):
        given.append((more["penalties"], more["folds"]))
        return really(*args, **more)

    monkeypatch.setattr(few, "fit_linear", noted)
    few_tuned(encoder, rows)
    assert set(given) == {((0.01,), 0)} and len(given) == 6


def test_all_but_the_table_of_words_moves(encoder, rows):
    moved = few_tuned(encoder, rows).made
    before, after = open_backbone(resolve(encoder)), moved.backbone
    assert moved.boundary == 1
    assert fingerprint(before, 1) == fingerprint(after, 1)
    assert fingerprint(before, 2) != fingerprint(after, 2)


def test_the_same_rows_and_seed_give_the_same_bytes(encoder, rows):
    made = [few_tuned(encoder, rows, seed=3) for _ in range(2)]
    assert made[0].made.keep().weights_sha256 == made[1].made.keep().weights_sha256
    assert made[0].outputs.tobytes() == made[1].outputs.tobytes()


def test_below_the_first_block_rows_are_run_and_nothing_is_kept(encoder, rows, fresh_home):
    backbone = open_backbone(resolve(encoder))
    decoded = DecodedRows(rows, backbone.source.preprocess)
    tail = few.Tail(backbone, 1, few.nn.Identity())
    at = np.array([3, 0, 7])
    found, wanted = RunRows(decoded, tail).state(at, 0), backbone.run(decoded.state(at, 0), 0, 1)
    assert all((a == b).all() for a, b in zip(found, wanted, strict=True))
    assert not found[0].requires_grad
    head = hs.Transfer(encoder, finetune="no").fit(rows).bundle_.head
    shards = sorted(fresh_home.glob("features/**/*.npy"))
    finetune(resolve(encoder), "last:100%", head, rows, phase=PHASE)
    assert shards and sorted(fresh_home.glob("features/**/*.npy")) == shards


def test_the_vectors_of_a_network_in_memory_are_those_that_are_extracted(encoder, rows):
    source = resolve(encoder)
    wanted = np.asarray(extract(source, rows).array())
    assert np.abs(vectors(open_backbone(source), rows) - wanted).max() < 2e-3  # float16


def test_a_fit_on_few_texts_keeps_it_unless_it_is_worse(encoder, tmp_path):
    model = hs.Transfer(encoder, run=tmp_path / "run").fit(TEXTS, LABELS)
    plan = model.plan_
    assert plan.is_few and plan.finetune == "last:100%" and not plan.holds_out
    assert "10 epochs of 64 rows a step, judged on rows held out in turn" in str(plan)
    assert "finetuned − probe" in plan.outcome and "on 20 rows held out" in plan.outcome
    assert set(model.scores_) == {"out_of_fold"} and HALVES in plan.notes
    assert model.bundle_.facts["penalty"] > 0 and model.bundle_.facts["plan"]["is_few"]
    assert not list((tmp_path / "run").glob("**/descent*"))  # no moments of a network
    again = hs.load(model.save(tmp_path / "model"))
    assert (again.outputs(TEXTS) == model.predict_proba(TEXTS)).all()


def test_test_rows_and_weights_go_along(encoder):
    split = np.array(["train"] * 16 + ["test"] * 4)
    data = from_arrays(TEXTS, LABELS).with_split(split)
    weighed = replace(data, weight=np.linspace(0.5, 2.0, 20))
    models = [hs.Transfer(encoder).fit(one) for one in (data, weighed)]
    assert all(model.plan_.is_few and "test" in model.scores_ for model in models)
    assert models[0].plan_.n_rows == {"to train on": 16, "to validate on": 0, "to test on": 4}
    heads = [model.bundle_.head.weight for model in models]
    assert not np.array_equal(*heads)


def test_texts_that_count_nothing_do_not_judge(encoder, rows):
    said = few_tuned(encoder, replace(rows, weight=np.repeat([1.0, 0.0], [16, 4])))
    for outputs in (said.outputs, said.frozen):
        assert np.isfinite(outputs[:16]).all() and np.isnan(outputs[16:]).all()
    split = np.array(["train"] * 16 + ["test"] * 4)
    weight = np.array([1.0] * 14 + [0.0] * 2 + [1.0] * 4)
    data = replace(from_arrays(TEXTS, LABELS).with_split(split), weight=weight)
    model = hs.Transfer(encoder, phase=PHASE, finetune="few").fit(data)
    assert "on 14 rows held out" in model.plan_.outcome


def test_rows_that_the_data_validate_on_judge_a_network_moved_by_few(encoder):
    split = ["train"] * 16 + ["validation"] * 4
    data = from_arrays(TEXTS, LABELS).with_split(split)
    model = hs.Transfer(encoder, phase=PHASE, finetune="only:few").fit(data)
    said = (model.predict(TEXTS[16:]) == np.array(LABELS[16:])).mean()
    assert model.scores_["validation"]["accuracy"] == said


def test_one_that_is_worse_is_refused_and_the_probe_ships(encoder, monkeypatch):
    wild = Phase(epochs=8, rate=50.0, head_rate=1e-3, batch=4)  # nothing is left of the network
    monkeypatch.setattr("headstart.transfer.plan.FEW_TEXTS", wild)
    model = hs.Transfer(encoder).fit(TEXTS, LABELS)
    assert model.plan_.outcome.startswith("probe: finetuned − probe = -")
    given = resolve(encoder).weights_sha256
    assert model.bundle_.source.weights_sha256 == given
    asked = hs.Transfer(encoder, finetune="only:few").fit(TEXTS, LABELS)
    assert asked.bundle_.source.weights_sha256 != given
    assert asked.plan_.outcome.startswith("finetuned, as asked: finetuned − probe = -")


@pytest.mark.parametrize(
    ("texts", "labels", "why"),
    [
        ([*TEXTS, "odd one"], [*LABELS, "other"], "21 rows cannot tell"),  # one of a class
        (["good fine"] * 10 + ["bad poor"] * 10, ["up"] * 10 + ["down"] * 10, "20 rows cannot"),
        (TEXTS, [float(i % 4) for i in range(20)], "20 rows cannot tell"),
    ],
)
def test_rows_that_have_no_likeness_to_teach_leave_step_5_alone(encoder, texts, labels, why):
    kind = hs.TransferRegressor if isinstance(labels[0], float) else hs.Transfer
    model = kind(encoder).fit(texts, labels)
    assert why in model.plan_.finetune and model.plan_.phase is None


def test_a_phase_of_ones_own_is_for_rows_held_out(encoder):
    assert not hs.Transfer(encoder, phase=PHASE).fit(TEXTS, LABELS).plan_.is_few


def test_few_is_refused_where_it_means_nothing(encoder):
    for more in ({"head": "mlp"}, {}):
        labels = LABELS if more else [["a"], ["b", "a"]] * 10
        with pytest.raises(UsageError, match="finetune='few' is for texts of one class each"):
            hs.Transfer(encoder, finetune="few", **more).fit(TEXTS, labels)


@pytest.mark.parametrize("more", [["odd one"], ["odd one"] * 3])
def test_few_texts_of_which_a_class_has_one_are_refused_before_anything_runs(
    encoder, monkeypatch, more
):
    monkeypatch.setattr("headstart.transfer.fitting.extract_beside", None)
    with pytest.raises(UsageError, match=r"too few differ of the class 'other'\.\nExpected 2"):
        hs.Transfer(encoder, finetune="few").fit([*TEXTS, *more], [*LABELS, *["other"] * len(more)])
    with pytest.raises(UsageError, match="the class 'up'"):
        hs.Transfer(encoder, finetune="only:few").fit(
            TEXTS[::2] + TEXTS[:1], ["down"] * 10 + ["up"]
        )


def test_a_proof_compares_what_ships(encoder, rows):
    arms = {arm.name: arm.estimator for arm in roster(hs.Transfer(encoder), rows)}
    assert arms["finetuned"].finetune == "only:few"
    arms = {arm.name: arm.estimator for arm in roster(hs.Transfer(encoder, head="mlp"), rows)}
    assert arms["finetuned"].finetune == "only:last:25%"
