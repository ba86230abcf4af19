"""Twins across splits, and twins with different labels, made by hand."""

import tracemalloc

import numpy as np
import pytest

from headstart.checks import duplicates as module
from headstart.checks.duplicates import duplicates
from headstart.data.dataset import Dataset
from headstart.features.features import Features
from headstart.metrics.neighbors import nearest_elsewhere, unit
from headstart.task import Kind, Modality, Task

ANTS = Task(Kind.MULTICLASS, ("ant", "bee"))


def texts(rows, split, targets=None, task=ANTS):
    targets = np.zeros(len(rows), dtype=np.int64) if targets is None else np.asarray(targets)
    return Dataset(Modality.TEXT, tuple(rows), task, targets, split=np.array(split))


def apart(n, d=64, seed=0):
    """Rows that have little in common."""
    return np.random.default_rng(seed).normal(size=(n, d)).astype(np.float32)


def of_kind(found, kind):
    return [finding for finding in found if finding.kind == kind]


def test_a_test_row_that_was_learned_from_is_named_with_its_twin():
    data = texts(["a", "b", "c", "a"], ["train", "train", "validation", "test"])
    (found,) = duplicates(data, Features.of(apart(4)))
    assert (found.kind, found.severity, found.n) == ("duplicates", "warning", 1)
    assert (found.rows, found.twins) == (("row 3",), ("row 0",))
    assert found.facts["share"] == 1


def test_twins_within_one_split_leak_nothing():
    data = texts(["a", "a", "b", "b"], ["train", "train", "test", "test"])
    assert duplicates(data, Features.of(apart(4))) == []


def test_extracted_features_tell_equal_content_by_its_place():
    data = texts(["x", "y", "z"], ["train", "test", "test"])
    features = Features.of(apart(2), key="some trunk").take([0, 0, 1])  # rows 0 and 1 share a place
    (found,) = duplicates(data, features)
    assert found.rows == ("row 1",)


def test_a_near_twin_in_another_split_is_found_once():
    rows = apart(40)
    rows[39] = rows[0] + 0.1 * rows[20]
    data = texts([str(i) for i in range(40)], ["train"] * 30 + ["validation"] * 5 + ["test"] * 5)
    (found,) = duplicates(data, Features.of(rows))
    assert (found.kind, found.rows, found.twins) == ("near-duplicates", ("row 39",), ("row 0",))
    assert found.facts["share"] == pytest.approx(1 / 5)


def test_a_burst_over_three_splits_is_found_from_validation_and_from_test():
    train, rng = apart(50), np.random.default_rng(1)
    validation = train + 0.1 * rng.normal(size=train.shape)
    test = validation + 0.05 * rng.normal(size=train.shape)  # nearer to them than they to train
    data = texts([str(i) for i in range(150)], np.repeat(["train", "validation", "test"], 50))
    found = duplicates(data, Features.of(np.concatenate([train, validation, test])))
    of_test, of_validation = found
    assert (of_test.kind, of_test.n, of_validation.kind, of_validation.n) == (
        "near-duplicates", 50, "near-duplicates", 50,
    )  # fmt: skip
    assert all(50 <= int(name.split()[1]) < 100 for name in of_test.twins)
    rows = [(int(row.split()[1]), int(twin.split()[1]))
            for row, twin in zip(of_validation.rows, of_validation.twins, strict=True)]  # fmt: skip
    assert all(50 <= row < 100 and twin == row - 50 for row, twin in rows)


@pytest.mark.parametrize(("modality", "n"), [(Modality.TEXT, 0), (Modality.IMAGE, 1)])
def test_texts_in_other_words_are_no_twins(modality, n):
    rows = apart(40)
    rows[39] = rows[0] + 0.35 * rows[20]  # a cosine of about 0.94
    split = np.repeat(["train", "test"], [30, 10])
    content = [str(i) if modality is Modality.TEXT else bytes([i]) for i in range(40)]
    data = Dataset(modality, tuple(content), split=split)
    assert len(duplicates(data, Features.of(rows))) == n


def test_an_exact_twin_is_not_told_again_as_a_near_one():
    rows = apart(40)
    rows[39] = rows[0]
    names = [str(i) for i in range(39)] + ["0"]
    found = duplicates(texts(names, ["train"] * 30 + ["test"] * 10), Features.of(rows))
    assert [finding.kind for finding in found] == ["duplicates"]


def test_near_twins_with_different_labels():
    rows = apart(30)
    rows[1] = rows[0] * 1.01 + 0.05 * rows[2]
    targets = [0, 1] + [0] * 28
    data = texts([str(i) for i in range(30)], ["train"] * 30, targets)
    (found,) = duplicates(data, Features.of(rows))
    assert (found.kind, found.n, found.rows, found.twins) == ("labels", 2, ("row 0",), ("row 1",))
    same = texts([str(i) for i in range(30)], ["train"] * 30)
    assert duplicates(same, Features.of(rows)) == []


def test_labels_of_several_at_once_are_compared_as_sets():
    rows = apart(30)
    rows[1] = rows[0]
    targets = np.zeros((30, 2), dtype=np.int8)
    targets[1] = 1
    task = Task(Kind.MULTILABEL, ("ant", "bee"))
    data = texts([str(i) for i in range(30)], ["train"] * 30, targets, task)
    assert len(of_kind(duplicates(data, Features.of(rows)), "labels")) == 1


def test_numbers_have_no_disagreeing_labels():
    rows = apart(30)
    rows[1] = rows[0]
    task = Task(Kind.REGRESSION)
    data = texts([str(i) for i in range(30)], ["train"] * 30, np.arange(30.0), task)
    assert duplicates(data, Features.of(rows)) == []


def test_with_few_columns_only_equal_rows_are_twins():
    rows = np.array([[0.0, 1.0], [0.0, 1.0], [0.0, 1.0001], [1.0, 0.0]])
    data = Dataset(Modality.VECTOR, rows, ANTS, np.array([0, 1, 1, 1]))
    (found,) = duplicates(data, Features.of(rows))
    assert (found.kind, found.n, set(found.rows + found.twins)) == ("labels", 2, {"row 0", "row 1"})


def test_rows_all_equal_are_no_trouble():
    data = texts(["a"] * 50, ["train"] * 40 + ["test"] * 10)
    found = duplicates(data, Features.of(np.ones((50, 64), dtype=np.float32)))
    assert [(finding.kind, finding.n, len(finding.rows)) for finding in found] == [
        ("duplicates", 10, 10)
    ]


def test_where_work_is_short_rows_to_judge_are_looked_at_first(monkeypatch):
    rows = apart(40)
    rows[39] = rows[0] + 0.1 * rows[20]
    monkeypatch.setattr(module, "WORK", 40 * 64 * 10)  # ten rows
    data = texts([str(i) for i in range(40)], ["train"] * 30 + ["test"] * 10)
    (found,) = duplicates(data, Features.of(rows))
    assert found.rows == ("row 39",)


@pytest.mark.parametrize(("block", "chunk"), [(3, 5), (100, 100)])
def test_blocks_find_what_all_pairs_find(monkeypatch, block, chunk):
    monkeypatch.setattr("headstart.metrics.neighbors.BLOCK", block)
    rows = unit(apart(23))
    group = np.arange(23) % 3
    chunks = [(slice(at, min(at + chunk, 23)), rows[at : at + chunk]) for at in range(0, 23, chunk)]
    (found,) = nearest_elsewhere(rows, chunks, [(group, group)])
    cosine = np.where(group[:, None] == group, -np.inf, rows @ rows.T)
    assert np.array_equal(found.at, cosine.argmax(axis=1))
    assert found.similarity == pytest.approx(cosine.max(axis=1), abs=1e-6)


def test_memory_does_not_grow_with_the_square_of_the_rows():
    n = 8000
    features = Features.of(apart(n, 32))
    data = texts([str(i) for i in range(n)], ["train"] * n, np.arange(n) % 2)
    tracemalloc.start()
    duplicates(data, features)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < n * n * 4 / 3
