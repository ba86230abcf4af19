"""Shift: whether rows to judge, or new rows, are of the kind that was learned from."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.checks.finding import N_NAMED, Finding, Severity, counted
from headstart.data.dataset import TEST, VALIDATION, Dataset
from headstart.features.features import Features
from headstart.machine import seeds
from headstart.metrics.divergence import (
    TwoSample,
    classifier_test,
    conformal_p,
    cross_novelty,
    false_discovery,
    novelty,
)

#: How often a finding may come where nothing has shifted.
LEVEL = 0.05

#: Rows of a side that are compared, and the fewest that can be.
N_COMPARED, N_LEAST = 500, 8

#: The AUC from which a shift is more than a difference that many rows make visible.
PLAIN = 0.7

#: Numbers a reference keeps (2 MB), and the most rows of either kind.
N_NUMBERS, N_KEPT, N_SCORED = 2**20, 1024, 4096

_ANOTHER_MIX = "Another mix of classes alone would do this, too."

Array = NDArray[np.float32]


def between_splits(data: Dataset, features: Features, seed: int = 0) -> list[Finding]:
    """Return whether a classifier tells the rows to judge from those to learn from.

    Where nothing has shifted, anything is found in at most 5 % of the data sets.

    Parameters
    ----------
    data, features
        The rows, and what a trunk says of them, in the same order.
    """
    if data.split is None or features.is_ragged or len(features.shape) != 1:
        return []
    learned = np.flatnonzero(~np.isin(data.split, (VALIDATION, TEST)))
    parts = {name: np.flatnonzero(data.split == name) for name in (TEST, VALIDATION)}
    parts = {name: at for name, at in parts.items() if min(len(at), len(learned)) >= N_LEAST}
    tests = {name: compared(features, learned, at, seed) for name, at in parts.items()}
    level = LEVEL / max(1, len(tests))
    found = {name: test for name, test in tests.items() if test.p <= level}
    return [_between(name, test, len(parts[name])) for name, test in found.items()]


def compared(
    features: Features, a: NDArray[np.int64], b: NDArray[np.int64], seed: int = 0
) -> TwoSample:
    """Return the classifier two-sample test of two sets of rows, of at most 500 each."""
    rng = seeds(seed, "compared rows")
    first, second = (features.batch(_some(at, N_COMPARED, rng)) for at in (a, b))
    return classifier_test(first, second, seed=seed)


def _some(at: NDArray[np.int64], n: int, rng: np.random.Generator) -> NDArray[np.int64]:
    return at if len(at) <= n else np.sort(rng.choice(at, size=n, replace=False))


def _between(part: str, test: TwoSample, n: int) -> Finding:
    return Finding(
        "shift",
        "warning" if test.auc >= PLAIN else "note",
        f"The {part} rows are of another kind than the training rows: a classifier ranks a pair "
        f"of them rightly in {test.auc:.0%} of cases (half by guessing; p = {test.p:.3g}).",
        n,
        fix=f"The {part} score tells of such rows, not of rows like the training ones. "
        + _ANOTHER_MIX,
        facts=_facts(test),
    )


def _facts(test: TwoSample) -> dict[str, float]:
    return {"auc": test.auc, "p": test.p, "proxy_a_distance": test.distance}


@dataclass(frozen=True, eq=False)
class Reference:
    """What a saved model remembers of the rows it learned from, to know unlike ones.

    Parameters
    ----------
    vectors
        Features of a sample of rows, shape (m, d).
    scores
        The `novelty` of rows learned from, each beside others than itself, shape (n,).
    """

    vectors: NDArray[np.floating]
    scores: NDArray[np.float64]

    @classmethod
    def of(cls, features: Features, seed: int = 0) -> "Reference | None":
        """Remember rows that the trunk has not learned from; None where they are too few.

        Parameters
        ----------
        features
            Of training rows where the trunk stayed frozen. Where it was fine-tuned, of validation
            rows: it knows the others by heart, and new rows would look strange beside them.
        """
        if features.is_ragged or len(features.shape) != 1 or len(features) < N_LEAST:
            return None
        rng = seeds(seed, "reference")
        n_kept = max(N_LEAST, min(N_KEPT, N_NUMBERS // features.shape[0]))
        order = rng.permutation(len(features))[: n_kept + N_SCORED]
        # Rows in random order, twins left out: beside its twin a row would not look new at all.
        rows = _distinct(features.batch(order))
        kept, others = rows[:n_kept], rows[n_kept:]
        if len(kept) < N_LEAST:
            return None
        return cls(_half(kept), np.concatenate([cross_novelty(kept), novelty(kept, others)]))

    def judge(self, features: Features, seed: int = 0) -> "Shift":
        """Say of new rows whether, and which of them, are unlike those learned from.

        Where nothing has shifted, anything is found in at most 5 % of the calls: half of that is
        for the rows together, half for single rows. Where the rows together are of another kind,
        each row that only 5 % of the known ones are as unlike is flagged.
        """
        p = conformal_p(self.scores, novelty(self.vectors, features.array()))
        test = self._together(features, seed)
        if test is not None and test.p <= LEVEL / 2:
            return Shift(p, p <= LEVEL, test)
        return Shift(p, false_discovery(p, LEVEL / 2), test)

    def _together(self, new: Features, seed: int) -> TwoSample | None:
        if len(new) < N_LEAST:
            return None
        rng = seeds(seed, "compared rows")
        at = (_some(np.arange(len(rows)), N_COMPARED, rng) for rows in (self.vectors, new))
        return classifier_test(self.vectors[next(at)], new.batch(next(at)), seed=seed)

    def state(self) -> dict[str, NDArray[Any]]:
        """Return the arrays it is saved as."""
        return {"reference.vectors": self.vectors, "reference.scores": self.scores}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]]) -> "Reference | None":
        """Make it again; None from arrays that hold none."""
        if "reference.vectors" not in arrays:
            return None
        return cls(arrays["reference.vectors"], arrays["reference.scores"])


def _distinct(rows: Array) -> Array:
    """Return the first of the rows of each content, in their order."""
    return rows[sorted({row.tobytes(): i for i, row in reversed(list(enumerate(rows)))}.values())]


def _half(rows: Array) -> NDArray[np.floating]:
    """Return rows as float16 where that loses nothing, as with cached features."""
    with np.errstate(over="ignore"):
        half = rows.astype(np.float16)
    return half if np.array_equal(half, rows) else rows


@dataclass(frozen=True, eq=False)
class Shift:
    """What is known of new rows beside those that were learned from.

    Parameters
    ----------
    p
        How often a known row is as unlike the others, a row; shape (n,).
    unlike
        Which rows are flagged, shape (n,).
    together
        Whether a classifier tells the new rows from the known ones; None where they are too few.
    """

    p: NDArray[np.float64]
    unlike: NDArray[np.bool_]
    together: TwoSample | None = None

    def findings(self, names: Callable[[int], str]) -> list[Finding]:
        """Say it; `names` gives the name of a row by its place."""
        return [*self._all(), *self._single(names)]

    def _all(self) -> list[Finding]:
        test = self.together
        if test is None or test.p > LEVEL / 2:
            return []
        what = (
            "The new rows, taken together, are of another kind than those learned from: a "
            f"classifier ranks a pair of them rightly in {test.auc:.0%} of cases (half by "
            f"guessing; p = {test.p:.3g})."
        )
        fix = "The measured scores may not hold for them: label some and measure. " + _ANOTHER_MIX
        severity: Severity = "warning" if test.auc >= PLAIN else "note"
        return [Finding("shift", severity, what, len(self.p), fix=fix, facts=_facts(test))]

    def _single(self, names: Callable[[int], str]) -> list[Finding]:
        rows = np.flatnonzero(self.unlike)
        if not len(rows):
            return []
        rows = rows[np.argsort(self.p[rows], kind="stable")]
        verb = "is" if len(rows) == 1 else "are"
        what = f"{counted(len(rows), 'new row')} of {len(self.p):,} {verb} unlike any learned from."
        fix = "Look at them: what is predicted of such rows was never tested."
        return [
            Finding("unlike", "warning", what, len(rows),
                    tuple(names(int(i)) for i in rows[:N_NAMED]), fix=fix)
        ]  # fmt: skip
