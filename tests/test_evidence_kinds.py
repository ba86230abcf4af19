"""Proofs of numbers and of several labels: scores are of what each arm said, by its own cuts."""

import dataclasses

import numpy as np
import pytest

import headstart as hs
from headstart.data.dataset import Skipped, from_arrays
from headstart.evidence.evidence import Evidence
from headstart.evidence.study import prepare
from headstart.evidence.worker import Worker
from headstart.heads.head import decided
from headstart.metrics.scores import multilabel_macro_f1, r2

X = np.random.default_rng(0).normal(size=(160, 4))
NOISE = np.random.default_rng(1).normal(size=(160, 3))
SPLIT = np.repeat(["train", "test"], 80)


def checked(found):
    """Return the evidence, once what is written of it says the same."""
    assert Evidence.from_json(found.to_json()).to_json() == found.to_json()
    assert {arm.name for arm in found.arms} == {"majority", "classical", "probe"}
    return found


def test_a_proof_of_numbers(fresh_home):
    y = 30 * X[:, 0] + NOISE[:, 0]
    data = from_arrays(X, y).with_split(SPLIT)
    found = checked(hs.prove(hs.TransferRegressor(), data, seeds=2, remedies_s=0))
    assert found.score == "r2" and found.judged.truth == pytest.approx(tuple(y[80:]))
    shipped = found.arm(found.judged.arm)
    assert shipped.test[0] == pytest.approx(r2(y[80:], np.array(found.judged.said)))
    assert 0.9 < shipped.test[0] < 1
    assert found.arm("majority").interval.high < 0.1 < 0.8 < shipped.interval.low
    assert found.verdict.gain.mid == pytest.approx(
        np.mean([found.arm("probe").test[seed] - found.arm(found.verdict.control).test[seed]
                 for seed in range(2)])
    )  # fmt: skip


def test_a_proof_of_several_labels_by_the_cuts_of_each_arm(fresh_home):
    truth = (X[:, :3] + 0.5 * NOISE > 1).astype(np.int8)  # one in five
    data = from_arrays(X, truth).with_split(SPLIT)
    found = checked(hs.prove(hs.Transfer(), data, seeds=2, remedies_s=0))
    assert found.score == "macro_f1"
    worker, differ = Worker.of(prepare(hs.Transfer(), data, 2)), []
    for one in (one for one in found.outcomes if one.is_whole):
        outputs = worker.tested(one)
        by = [multilabel_macro_f1(truth[80:], decided(found.task.kind, outputs, cuts))
              for cuts in (one.thresholds, None)]  # fmt: skip
        assert found.arm(one.arm).test[one.seed] == pytest.approx(by[0])
        differ.append(by[0] != by[1])
    assert any(differ)


def test_what_the_reader_left_out_is_found(fresh_home):
    data = from_arrays(X, np.where(X[:, 0] > 0, "high", "low")).with_split(SPLIT)
    data = dataclasses.replace(data, skipped=(Skipped("t.csv:9", "no label"),))
    found = hs.prove(hs.Transfer(), data, seeds=1, remedies_s=0)
    (lost,) = (one for one in found.findings if one.kind == "unreadable")
    assert lost.rows == ("t.csv:9: no label",)
