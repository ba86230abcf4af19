"""Duplicates: rows that stand on both sides of a split, and twins with different labels."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.checks.finding import N_NAMED, Finding, counted
from headstart.data.dataset import TEST, VALIDATION, Dataset
from headstart.data.pictures import row_hash
from headstart.features.features import Features
from headstart.machine import seeds
from headstart.metrics.neighbors import Nearest, nearest_elsewhere, unit
from headstart.task import Kind, Modality

#: The cosine of centered features from which two rows are near-duplicates. Pictures saved anew,
#: mirrored, or cut by a few percent stand above it, different ones of one class below.
ALIKE = 0.9

#: The same for texts of two splits: a question asked in other words, which is no leak, is below.
ALIKE_TEXTS = 0.97

#: The splits whose rows are compared with those of lower ones: training rows are 0.
JUDGED = ((2, TEST), (1, VALIDATION))

#: With fewer features a direction says too little of a row.
N_FEATURES = 32

#: Multiplications that the search may take (a second or two), and rows it may hold at once.
WORK = 10**11
N_HELD = 2**26

#: Rows read at once, and rows that say where the center is.
CHUNK, N_CENTER = 1024, 2048


@dataclass(frozen=True, eq=False)
class Search:
    """Which rows were compared with all others, and what was closest to each.

    Parameters
    ----------
    asked
        The rows that were looked at, shape (q,): those to judge before those to learn from.
    across
        By the number of a split: the closest row of a lower one, for rows of that split.
    against
        The closest row of another label.
    """

    asked: NDArray[np.int64]
    across: dict[int, Nearest]
    against: Nearest


def duplicates(data: Dataset, features: Features, seed: int = 0) -> list[Finding]:
    """Return twins across splits, exact and near, and near twins with different labels.

    Parameters
    ----------
    data, features
        The rows, and what a trunk says of them, in the same order.
    seed
        Of the sample that is searched where the rows are too many.
    """
    content, split, label = _content(data, features), _splits(data), _labels(data)
    found = list(_exact(data, content, split))
    if not _has_directions(features):
        return found + _disagreeing_twins(data, content, label)
    search = _search(features, split, label, seed)
    return [*found, *_near(data, search, content, split), *_disagreeing(data, search, label)]


def _has_directions(features: Features) -> bool:
    is_vector = not features.is_ragged and len(features.shape) == 1
    return is_vector and features.shape[0] >= N_FEATURES and len(features) > 1


def _content(data: Dataset, features: Features) -> NDArray[np.int64]:
    """Return a number for the content of each row, equal where the content is; shape (n,)."""
    if data.modality is Modality.VECTOR or features.key == "memory":
        number: dict[bytes, int] = {}
        return np.array([number.setdefault(row_hash(row), len(number)) for row in data.rows])
    # Extraction finds rows by their hash: equal content has one place, and is not read again.
    return np.unique(features.where, axis=0, return_inverse=True)[1].reshape(-1)


def _splits(data: Dataset) -> NDArray[np.int64]:
    """Return 2 for test rows, 1 for validation rows, 0 for the others; shape (n,)."""
    if data.split is None:
        return np.zeros(len(data), dtype=np.int64)
    return np.where(data.split == TEST, 2, np.where(data.split == VALIDATION, 1, 0))


def _labels(data: Dataset) -> NDArray[np.int64]:
    """Return a number for what each row is labeled; one for all where labels are no classes."""
    if data.targets is None or data.task is None or data.task.kind in (Kind.REGRESSION, Kind.TAGS):
        return np.zeros(len(data), dtype=np.int64)
    targets: NDArray[Any] = np.asarray(data.targets)
    return np.unique(targets, axis=0, return_inverse=True)[1].reshape(-1)


def _exact(
    data: Dataset, content: NDArray[np.int64], split: NDArray[np.int64]
) -> Iterator[Finding]:
    for part, name in JUDGED:
        here, lower = np.flatnonzero(split == part), np.flatnonzero(split < part)
        twin = dict(zip(content[lower].tolist(), lower.tolist(), strict=True))
        rows = [i for i in here.tolist() if int(content[i]) in twin]
        if rows:
            yield Finding(
                "duplicates",
                "warning",
                f"{counted(len(rows), f'{name} row')} of {len(here):,} also stand among the rows "
                "that were learned from or chosen by.",
                len(rows),
                tuple(data.name(i) for i in rows[:N_NAMED]),
                tuple(data.name(twin[int(content[i])]) for i in rows[:N_NAMED]),
                fix=f"Remove them: the {name} score is too good by them.",
                facts={"share": len(rows) / len(here)},
            )


def _search(
    features: Features, split: NDArray[np.int64], label: NDArray[np.int64], seed: int
) -> Search:
    n, d = len(features), features.shape[0]
    n_asked = min(n, max(1, WORK // (n * d)), max(1, N_HELD // d))
    rng = seeds(seed, "duplicates")
    order = rng.permutation(n)
    asked = np.sort(order[np.argsort(-split[order], kind="stable")][:n_asked])
    center = features.batch(np.sort(order[:N_CENTER])).mean(axis=0)  # (d,)
    chunks = ((at, unit(rows, center)) for at, rows in features.chunks(CHUNK))
    # To a row of a split every row of it or above is of its own group: what is left is lower.
    groups = [*((split >= part).astype(np.int64) for part, _ in JUDGED), label]
    *across, against = nearest_elsewhere(
        unit(features.batch(asked), center), chunks, [(group[asked], group) for group in groups]
    )
    parts = (part for part, _ in JUDGED)
    return Search(asked, dict(zip(parts, across, strict=True)), against)


def _near(
    data: Dataset, search: Search, content: NDArray[np.int64], split: NDArray[np.int64]
) -> Iterator[Finding]:
    alike = ALIKE_TEXTS if data.modality is Modality.TEXT else ALIKE
    for part, name in JUDGED:
        near, here = search.across[part], split[search.asked] == part
        is_told = here & (content[search.asked] != content[near.at])  # equal ones are told already
        rows = _strongest(np.flatnonzero(is_told & (near.similarity >= alike)), near)
        if len(rows):
            yield Finding(
                "near-duplicates",
                "warning" if len(rows) > 0.01 * here.sum() else "note",
                f"{counted(len(rows), f'{name} row')} of {here.sum():,} looked at nearly equal a "
                f"row of another split (cosine ≥ {alike}).",
                len(rows),
                *_names(data, search.asked[rows], near.at[rows]),
                fix=f"Look at the pairs; if they show the same thing, the {name} score is too "
                "good: keep what belongs together in one split.",
                facts={"share": len(rows) / int(here.sum())},
            )


def _disagreeing(data: Dataset, search: Search, label: NDArray[np.int64]) -> list[Finding]:
    rows = _strongest(np.flatnonzero(search.against.similarity >= ALIKE), search.against)
    pairs = [(int(search.asked[i]), int(search.against.at[i])) for i in rows]
    return _labeled_apart(data, pairs, len(search.asked))


def _disagreeing_twins(
    data: Dataset, content: NDArray[np.int64], label: NDArray[np.int64]
) -> list[Finding]:
    """Return rows of equal content and different labels, where features say too little."""
    first: dict[int, int] = {}
    pairs = [(i, first.setdefault(c, i)) for i, c in enumerate(content.tolist())]
    return _labeled_apart(data, [(i, j) for i, j in pairs if label[i] != label[j]], len(data))


def _labeled_apart(data: Dataset, pairs: list[tuple[int, int]], n_asked: int) -> list[Finding]:
    if not pairs:
        return []
    rows = {i for pair in pairs for i in pair}
    once = list({frozenset(pair): pair for pair in reversed(pairs)}.values())[::-1][:N_NAMED]
    return [
        Finding(
            "labels",
            "warning" if len(rows) > 0.01 * n_asked else "note",
            f"{counted(len(rows), 'row')} nearly equal a row with another label.",
            len(rows),
            *_names(data, np.array([i for i, _ in once]), np.array([j for _, j in once])),
            fix="Look at the pairs: one of the two labels may be wrong.",
            facts={"share": len(rows) / n_asked},
        )
    ]


def _strongest(at: NDArray[np.int64], near: Nearest) -> NDArray[np.int64]:
    return at[np.argsort(-near.similarity[at], kind="stable")]


def _names(
    data: Dataset, rows: NDArray[np.int64], twins: NDArray[np.int64]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    named = [[data.name(int(i)) for i in index[:N_NAMED]] for index in (rows, twins)]
    return tuple(named[0]), tuple(named[1])
