"""Step 5 on few texts: every row teaches, and every row is judged as one that had not been seen."""

import numpy as np
import pytest

import headstart as hs
from headstart.features.extract import extract
from headstart.sources.catalog import open_backbone, resolve
from headstart.steps import few
from headstart.steps.batches import DecodedRows, RunRows
from headstart.steps.few import finetune_few, vectors
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


def test_each_row_is_judged_by_a_network_that_has_not_seen_it(encoder, rows, monkeypatch):
    source, seen = resolve(encoder), []

    def noted(*given, **more):
        seen.append(set(given[3].rows))
        return finetune(*given, **more)

    finetune = few.finetune
    monkeypatch.setattr(few, "finetune", noted)
    made = finetune_few(source, "last:100%", extract(source, rows), rows, phase=PHASE)
    one, other, all_of_them = seen
    assert one | other == all_of_them == set(rows.rows) and not one & other
    assert made.outputs.shape == made.frozen.shape == (20, 2)
    assert np.allclose(made.outputs.sum(axis=1), 1, atol=1e-5)
    assert made.made.curve.seen == (20, 40) and not made.made.curve.loss  # nothing was watched


def test_all_but_the_table_of_words_moves(encoder, rows):
    source = resolve(encoder)
    moved = finetune_few(source, "last:100%", extract(source, rows), rows, phase=PHASE).made
    before, after = open_backbone(source), moved.backbone
    assert moved.boundary == 1
    assert fingerprint(before, 1) == fingerprint(after, 1)
    assert fingerprint(before, 2) != fingerprint(after, 2)


def test_the_same_rows_and_seed_give_the_same_bytes(encoder, rows):
    source = resolve(encoder)
    features = extract(source, rows)
    made = [
        finetune_few(source, "last:100%", features, rows, phase=PHASE, seed=3) for _ in range(2)
    ]
    assert made[0].made.keep().weights_sha256 == made[1].made.keep().weights_sha256
    assert made[0].outputs.tobytes() == made[1].outputs.tobytes()


def test_below_the_first_block_rows_are_run_and_nothing_is_kept(encoder, rows):
    backbone = open_backbone(resolve(encoder))
    decoded = DecodedRows(rows, backbone.source.preprocess)
    tail = few.Tail(backbone, 1, few.nn.Identity())
    at = np.array([3, 0, 7])
    found, wanted = RunRows(decoded, tail).state(at, 0), backbone.run(decoded.state(at, 0), 0, 1)
    assert all((a == b).all() for a, b in zip(found, wanted, strict=True))
    assert not found[0].requires_grad


def test_the_vectors_of_a_network_in_memory_are_those_that_are_extracted(encoder, rows):
    source = resolve(encoder)
    wanted = np.asarray(extract(source, rows).array())
    assert np.abs(vectors(open_backbone(source), rows) - wanted).max() < 2e-3  # float16


def test_a_fit_on_few_texts_keeps_it_unless_it_is_worse(encoder, tmp_path):
    model = hs.Transfer(encoder, phase=PHASE).fit(TEXTS, LABELS)
    plan = model.plan_
    assert plan.is_few and plan.finetune == "last:100%" and not plan.holds_out
    assert "2 epochs of 8 rows a step, judged on rows held out in turn" in str(plan)
    assert "finetuned − probe" in plan.outcome and "on 20 rows held out" in plan.outcome
    assert set(model.scores_) == {"out_of_fold"}
    again = hs.load(model.save(tmp_path / "model"))
    assert (again.outputs(TEXTS) == model.predict_proba(TEXTS)).all()


def test_one_that_is_worse_is_refused_and_the_probe_ships(encoder):
    wild = Phase(epochs=8, rate=5.0, head_rate=1e-3, batch=4)  # nothing is left of the network
    model = hs.Transfer(encoder, phase=wild).fit(TEXTS, LABELS)
    assert model.plan_.outcome.startswith("probe: finetuned − probe = -")
    assert model.bundle_.source.uri == encoder


@pytest.mark.parametrize(
    ("texts", "labels", "why"),
    [
        (TEXTS[:11], [*LABELS[:10], "other"], "11 rows cannot tell"),  # one of a class
        (TEXTS, [float(i % 4) for i in range(20)], "20 rows cannot tell"),
    ],
)
def test_rows_that_have_no_likeness_to_teach_leave_step_5_alone(encoder, texts, labels, why):
    kind = hs.TransferRegressor if isinstance(labels[0], float) else hs.Transfer
    model = kind(encoder).fit(texts, labels)
    assert why in model.plan_.finetune and model.plan_.phase is None
