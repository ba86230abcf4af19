"""Step 4: an MLP learns numbers of any unit, says what its scores are of, and parts no twins."""

from dataclasses import replace

import numpy as np
import pytest

from headstart.data.dataset import Dataset, from_arrays
from headstart.features.features import Features
from headstart.metrics.scores import r2
from headstart.steps import train as train_step
from headstart.steps.phase import Phase
from headstart.steps.train import TUNED, WATCHED, train
from headstart.task import Kind, Modality, Task

RNG = np.random.default_rng(0)
SHORT = Phase(epochs=2, rate=1e-3, batch=16)


def numbered(rows: np.ndarray, targets: np.ndarray, task: Task) -> tuple[Features, Dataset]:
    """Return rows with their targets."""
    data = Dataset(Modality.VECTOR, rows, task, targets)
    return Features.of(np.asarray(data.rows), key="identity"), data


@pytest.mark.parametrize(("spread", "level"), [(1.0, 0.0), (1e-6, 0.0), (30.0, 1.7e9)])
def test_an_mlp_learns_numbers_whatever_their_unit(spread, level):
    X = RNG.normal(size=(400, 4))
    y = level + spread * (X[:, 0] - X[:, 1])
    made = train("mlp", *numbered(X, y, Task(Kind.REGRESSION)))
    seen = np.isfinite(made.outputs[:, 0])
    assert made.outputs.dtype == np.float64
    assert r2(y[seen], made.outputs[seen, 0]) > 0.95
    assert r2(y, made.head.outputs(X)[:, 0]) > 0.95


def test_an_mlp_says_that_its_scores_are_of_rows_it_was_stopped_and_calibrated_by():
    X = RNG.normal(size=(40, 4))
    pair = Task(Kind.MULTILABEL, ("x", "y"))
    rows = numbered(X, (X[:, :2] > 0).astype(np.int8), pair)
    assert train("mlp", *rows, phase=SHORT).notes == (WATCHED, TUNED)
    assert train("linear", *rows).notes == (TUNED,)
    classes = from_arrays(X, np.where(X[:, 0] > 0, "a", "b"))
    assert train("mlp", rows[0], classes, phase=SHORT).notes == (WATCHED,)


def test_equal_rows_of_an_mlp_are_learned_from_or_held_out_together():
    X, y = RNG.normal(size=(30, 4)), np.arange(30) % 2
    rows = numbered(np.tile(X, (3, 1)), np.tile(y, 3), Task(Kind.MULTICLASS, ("a", "b")))
    held_out = np.isfinite(train("mlp", *rows, phase=SHORT).outputs).all(axis=1).reshape(3, 30)
    assert held_out.sum(axis=1).tolist() == [6, 6, 6]
    assert np.array_equal(held_out[0], held_out[1])
    assert np.array_equal(held_out[1], held_out[2])


def test_rows_that_count_nothing_neither_stop_nor_calibrate_an_mlp():
    X, y = RNG.normal(size=(60, 4)), np.arange(60) % 2
    features, data = numbered(X, y, Task(Kind.MULTICLASS, ("a", "b")))
    made = train("mlp", features, replace(data, weight=np.repeat([1.0, 0.0], 30)), phase=SHORT)
    seen = np.isfinite(made.outputs).all(axis=1)
    assert seen[:30].sum() == 6 and not seen[30:].any()


@pytest.mark.parametrize("head", ["linear", "mlp"])
def test_rows_that_count_nothing_teach_nothing(head):
    X = RNG.normal(size=(120, 4))
    y, wrong = (X[:, 0] > 0).astype(np.int64), np.arange(120) < 70
    features, data = numbered(X, np.where(wrong, 1 - y, y), Task(Kind.MULTICLASS, ("a", "b")))
    made = train(head, features, replace(data, weight=np.where(wrong, 0.0, 1.0)))
    assert (made.head.outputs(X).argmax(axis=1) == y).mean() > 0.85  # most labels are wrong


def test_held_out_rows_calibrate_an_mlp_by_what_they_count(monkeypatch):
    given, really = [], train_step.calibrated

    def noted(*args):
        given.append(args[3])
        return really(*args)

    monkeypatch.setattr(train_step, "calibrated", noted)
    X, y, weight = RNG.normal(size=(60, 4)), np.arange(60) % 2, np.linspace(0.1, 2, 60)
    features, data = numbered(X, y, Task(Kind.MULTICLASS, ("a", "b")))
    made = train("mlp", features, replace(data, weight=weight), phase=SHORT)
    assert given[0].tolist() == weight[np.isfinite(made.outputs).all(axis=1)].tolist()


def test_an_mlp_learns_from_numbers_far_from_zero_with_their_digits():
    times = 1.7e9 + np.arange(200.0)[:, None]  # float32 tells every 128th apart
    late = (times[:, 0] > times.mean()).astype(np.int64)
    made = train("mlp", *numbered(times, late, Task(Kind.MULTICLASS, ("a", "b"))))
    assert (made.head.outputs(times).argmax(axis=1) == late).mean() > 0.95
    assert made.curve.loss[-1] < 0.3  # what it saw in training too


def test_rows_that_count_nothing_set_no_scale_of_an_mlp():
    X = RNG.normal(size=(300, 4))
    y, is_filler = X[:, 0] - X[:, 1], np.arange(300) % 5 == 0
    X[is_filler], weight = 1e6, np.where(is_filler, 0.0, 1.0)
    features, data = numbered(X, np.where(is_filler, 1e6, y), Task(Kind.REGRESSION))
    made = train("mlp", features, replace(data, weight=weight))
    real = ~is_filler
    assert r2(y[real], made.head.outputs(X[real])[:, 0]) > 0.9
