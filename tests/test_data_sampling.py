"""Splits, folds and samples: shares kept, twins together, the same for a seed."""

import numpy as np
import pytest

from headstart.data.dataset import Dataset
from headstart.data.sampling import _dealt_by_labels, folds, sample, split
from headstart.errors import UsageError
from headstart.task import Kind, Modality, Task

CLASSES = Task(Kind.MULTICLASS, ("ant", "bee"))
LABELS = Task(Kind.MULTILABEL, ("red", "green", "rare"))
NUMBER = Task(Kind.REGRESSION)


def texts(targets: np.ndarray, task: Task = CLASSES, **columns: object) -> Dataset:
    """Return a dataset of numbered texts."""
    return Dataset(
        Modality.TEXT, [f"text {i}" for i in range(len(targets))], task, targets, **columns
    )


def counts(data: Dataset, part: str) -> list[int]:
    """Return how many rows of each class a split has."""
    return np.bincount(data.only(part).targets, minlength=2).tolist()


def test_a_split_keeps_the_shares_of_the_classes() -> None:
    """80 ants and 20 bees: a fifth of each to validation, a tenth to test."""
    data = split(texts(np.repeat([0, 1], [80, 20])), seed=0, validation=0.2, test=0.1)
    assert counts(data, "validation") == [16, 4]
    assert counts(data, "test") == [8, 2]
    assert counts(data, "train") == [56, 14]


def test_a_seed_names_a_split() -> None:
    """The same twice, another for another seed."""
    data = texts(np.repeat([0, 1], 50))
    one, same, other = (split(data, seed=seed).split for seed in (1, 1, 2))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)


def test_no_class_loses_its_last_training_row() -> None:
    """Twenty classes of two rows and one of one: four rows judged, of four classes."""
    targets = np.append(np.repeat(np.arange(20), 2), 20)
    task = Task(Kind.MULTICLASS, tuple(map(str, range(21))))
    data = split(texts(targets, task), seed=0, validation=0.1)
    assert len(data.only("validation")) == 4
    assert set(data.only("train").targets.tolist()) == set(range(21))


def test_one_row_a_class_leaves_all_in_training() -> None:
    """There is nothing that could be judged."""
    data = split(texts(np.array([0, 1])), seed=0)
    assert data.split.tolist() == ["train", "train"]


def test_splits_that_came_with_the_data_are_kept() -> None:
    """Only what is missing is drawn, and not from the test rows."""
    given = np.array(["train"] * 10 + ["test"] * 4)
    data = split(texts(np.arange(14) % 2, split=given), seed=0, validation=0.2, test=0.5)
    assert (data.split[10:] == "test").all()
    assert sorted(data.split[:10].tolist()) == ["train"] * 8 + ["validation"] * 2


def test_equal_rows_never_stand_on_both_sides() -> None:
    """Fifty texts, each three times."""
    hashes = [bytes([i // 3]) for i in range(150)]
    data = split(texts(np.arange(150) // 3 % 2), seed=0, validation=0.3, hashes=hashes)
    sides = [set(data.split[i : i + 3].tolist()) for i in range(0, 150, 3)]
    assert all(len(side) == 1 for side in sides)
    assert (data.split == "validation").sum() == 45


def test_an_unassigned_row_follows_its_twin() -> None:
    """The third row equals a test row: it is no training row."""
    given = np.array(["train", "test", "", ""])
    data = split(
        texts(np.array([0, 1, 1, 0]), split=given), seed=0, hashes=[b"a", b"b", b"b", b"c"]
    )
    assert data.split[2] == "test"


def test_rows_without_targets_are_split_too() -> None:
    """A fifth of ten."""
    data = split(Dataset(Modality.TEXT, list("abcdefghij")), seed=0)
    assert (data.split == "validation").sum() == 2


@pytest.mark.parametrize("share", [-0.1, 1.0, float("nan")])
def test_impossible_shares_are_refused(share: float) -> None:
    """Nothing would be left, or less than nothing taken."""
    with pytest.raises(UsageError, match="shares from 0 to 1"):
        split(texts(np.array([0, 1])), seed=0, validation=share)


@pytest.mark.parametrize(
    ("task", "targets"),
    [
        (CLASSES, np.repeat([0, 1], [13, 7])),
        (NUMBER, np.linspace(0, 1, 20)),
        (LABELS, np.tile([[1, 0, 0], [0, 1, 0], [1, 1, 0], [0, 0, 0]], (5, 1))),
    ],
)
def test_each_row_is_judged_once(task: Task, targets: np.ndarray) -> None:
    """Folds of twenty rows: five, equal in size, none fitted and judged at once."""
    pairs = folds(targets, task, k=5, seed=3)
    assert np.array_equal(np.sort(np.concatenate([judged for _, judged in pairs])), np.arange(20))
    for fitted, judged in pairs:
        assert len(judged) == 4
        assert np.array_equal(np.sort(np.concatenate([fitted, judged])), np.arange(20))


def test_folds_spread_a_class() -> None:
    """Ten bees in five folds: two in each."""
    targets = np.repeat([0, 1], [40, 10])
    assert all(targets[judged].sum() == 2 for _, judged in folds(targets, CLASSES, 5, seed=0))


def test_folds_spread_a_rare_label() -> None:
    """Five rows of a hundred have the rare label: one in each fold."""
    targets = np.random.default_rng(0).integers(0, 2, (100, 3))
    targets[:, 2] = np.arange(100) % 20 == 0
    pairs = folds(targets, LABELS, k=5, seed=0)
    assert [targets[judged, 2].sum() for _, judged in pairs] == [1] * 5
    assert [len(judged) for _, judged in pairs] == [20] * 5


def dealt_anew(targets: np.ndarray, shares: np.ndarray, seed: int) -> np.ndarray:
    """Deal as `_dealt_by_labels` does; each label looks at all rows that are left."""
    has = np.column_stack([targets > 0, np.ones(len(targets), dtype=bool)])
    lacking = has.sum(axis=0)[:, None] * shares[None, :]
    at = np.full(len(has), -1)
    order = np.random.default_rng(seed).permutation(len(has))
    while (at < 0).any():
        left = has[at < 0].sum(axis=0).astype(float)
        label = np.where(left == 0, np.inf, left).argmin()
        for row in [row for row in order if at[row] < 0 and has[row, label]]:
            at[row] = np.lexsort((-lacking[-1], -lacking[label]))[0]
            lacking[has[row], at[row]] -= 1
    return at


def test_labels_are_dealt_rarest_first() -> None:
    """Of random labels, frequent and rare ones, and rows that have none."""
    for seed in range(20):
        rng = np.random.default_rng(seed)
        n, k = rng.integers(1, 60), rng.integers(1, 12)
        targets = (rng.random((n, k)) < rng.random(k) ** 3).astype(np.int8)
        shares = rng.dirichlet(np.ones(rng.integers(2, 6)))
        dealt = _dealt_by_labels(targets, shares, np.random.default_rng(seed))
        assert np.array_equal(dealt, dealt_anew(targets, shares, seed))


def test_a_split_spreads_labels() -> None:
    """Ten rows have the rare label: two of them are judged, and a fifth of all."""
    targets = np.random.default_rng(0).integers(0, 2, (100, 3)).astype(np.int8)
    targets[:, 2] = np.arange(100) % 10 == 0
    data = split(texts(targets, LABELS), seed=0)
    judged = data.only("validation").targets
    assert len(judged) == 20
    assert judged[:, 2].sum() == 2


@pytest.mark.parametrize(
    ("task", "targets"),
    [
        (CLASSES, np.tile([0, 1, 0, 0, 1, 0, 0, 1, 0, 0], 3)),
        (NUMBER, np.linspace(0, 1, 30)),
        (LABELS, np.tile(np.eye(3, dtype=int)[[0, 1, 2, 0, 1, 2, 0, 1, 2, 0]], (3, 1))),
    ],
)
def test_equal_rows_are_judged_together(task: Task, targets: np.ndarray) -> None:
    """Ten rows, each three times: two of the ten a fold."""
    groups = np.tile(np.arange(10), 3)
    pairs = folds(targets, task, 5, seed=0, groups=groups)
    for fitted, judged in pairs:
        assert len(set(groups[judged])) == 2
        assert len(judged) == 6
        assert not set(groups[fitted]) & set(groups[judged])
    assert np.array_equal(np.sort(np.concatenate([judged for _, judged in pairs])), np.arange(30))


def test_equal_rows_of_other_classes_are_judged_together() -> None:
    """Each of ten rows stands once as an ant and once as a bee: it counts as what it is first."""
    groups, targets = np.tile(np.arange(10), 2), np.repeat([0, 1], 10)
    for fitted, judged in folds(targets, CLASSES, 5, seed=0, groups=groups):
        assert targets[judged].tolist() == [0, 0, 1, 1]
        assert not set(groups[fitted]) & set(groups[judged])


def test_rows_that_all_differ_are_dealt_as_if_none_had_asked() -> None:
    """For a seed the folds stay what they were."""
    targets = np.repeat([0, 1], [13, 7])
    plain = folds(targets, CLASSES, 5, seed=3)
    for one, other in zip(plain, folds(targets, CLASSES, 5, 3, np.arange(20)), strict=True):
        assert np.array_equal(one[0], other[0])
        assert np.array_equal(one[1], other[1])


def test_too_many_folds_are_refused() -> None:
    """Three rows cannot be judged in five folds, nor can nine of which but three differ."""
    with pytest.raises(UsageError, match="5 folds of 3 rows"):
        folds(np.array([0, 1, 0]), CLASSES, 5, seed=0)
    with pytest.raises(UsageError, match="5 folds of 3 rows"):
        folds(np.arange(9.0), NUMBER, 5, seed=0, groups=np.arange(9) // 3)


def test_a_sample_keeps_shares_and_every_class() -> None:
    """Ten of 97 ants and 3 bees: at least one bee, no row twice."""
    targets = np.repeat([0, 1], [97, 3])
    drawn = sample(targets, CLASSES, 10, seed=0)
    assert len(set(drawn.tolist())) == 10
    assert targets[drawn].sum() == 1


def test_a_sample_has_some_of_every_class_as_far_as_it_goes() -> None:
    """88 ants and 32 bees: two of each in four rows, one of each in three."""
    targets = np.repeat([0, 1], [88, 32])
    for n, least, found in ((4, 2, [2, 2]), (3, 2, [2, 1]), (1, 2, [1, 0]), (4, 1, [3, 1])):
        drawn = targets[sample(targets, CLASSES, n, 0, least)]
        assert np.bincount(drawn, minlength=2).tolist() == found
    few = np.repeat([0, 1], [9, 1])
    assert few[sample(few, CLASSES, 4, 0, least=2)].sum() == 1


def test_a_sample_of_all_is_all() -> None:
    """Whatever the task."""
    labels = np.array([[1, 0, 0], [0, 0, 0], [1, 1, 1]])
    assert sample(labels, LABELS, 3, seed=0).tolist() == [0, 1, 2]
    assert sample(np.array([0, 1, 1]), CLASSES, 3, seed=0).tolist() == [0, 1, 2]
    assert sample(np.array([0.5, 1, 2]), NUMBER, 3, seed=0).tolist() == [0, 1, 2]
