"""Scores: how right outputs are; every function is pure and returns one number or one a label."""

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.machine import seeds
from headstart.metrics.chain import legal_paths
from headstart.metrics.entities import counts, f1, f1_rows, precision, recall
from headstart.task import Kind, Task

#: The largest class over the smallest from which macro-F1, not accuracy, is the primary score.
IMBALANCE = 3.0
#: Parts that rows are put in, so that each is judged by the cuts of the others.
CUT_FOLDS = 5


def scores(
    task: Task,
    targets: ArrayLike,
    outputs: ArrayLike,
    thresholds: ArrayLike | None = None,
    learned_from: ArrayLike | None = None,
) -> dict[str, float]:
    """Return the scores of a task by name; the first is the primary one.

    Parameters
    ----------
    targets
        As in a dataset: shape (n,), or (n, k) for several labels.
    outputs
        Shape (n, k): probabilities, or (n, 1) numbers; for tags ragged, (words, k) each.
    thresholds
        Shape (k,), or (n, k) with a row's own: for several labels, the probability from which a
        label is said; 0.5 if None.
    learned_from
        The training targets: whether they are balanced says which score is primary, the same for
        every part of the data; the targets themselves if None.

    Examples
    --------
    >>> task = Task(Kind.MULTICLASS, ("ant", "bee"))
    >>> said = scores(task, [0, 1, 1, 0], [[0.9, 0.1], [0.2, 0.8], [0.6, 0.4], [0.7, 0.3]])
    >>> list(said), said["accuracy"]
    (['accuracy', 'macro_f1', 'log_loss', 'calibration_error'], 0.75)
    >>> list(scores(Task(Kind.REGRESSION), [1.0, 2.0], [[1.0], [2.0]]).items())
    [('r2', 1.0), ('mae', 0.0)]
    """
    if task.kind is Kind.TAGS:
        return _entity_scores(np.asarray(targets), legal_paths(np.asarray(outputs)))
    truth, said = np.asarray(targets), np.asarray(outputs, dtype=np.float64)
    if task.kind is Kind.REGRESSION:
        return {"r2": r2(truth, said[:, 0]), "mae": mae(truth, said[:, 0])}
    if task.kind is Kind.MULTILABEL:
        cut = 0.5 if thresholds is None else np.asarray(thresholds)
        return {
            "macro_f1": multilabel_macro_f1(truth, said >= cut),
            "mean_average_precision": mean_average_precision(truth, said),
        }
    best = said.argmax(axis=1)
    found = {"accuracy": accuracy(truth, best), "macro_f1": macro_f1(truth, best)}
    if is_imbalanced(truth if learned_from is None else learned_from):
        found = dict(reversed(found.items()))
    return found | {
        "log_loss": log_loss(truth, said),
        "calibration_error": expected_calibration_error(truth, said),
    }


def _entity_scores(truth: NDArray[Any], said: NDArray[Any]) -> dict[str, float]:
    table = counts(truth, said)
    return {
        "entity_f1": f1(table),
        "precision": precision(table),
        "recall": recall(table),
        "strict_f1": f1(counts(truth, said, strict=True)),
    }


def row_scores(
    task: Task,
    targets: ArrayLike,
    outputs: ArrayLike,
    thresholds: ArrayLike | None = None,
    among: ArrayLike | None = None,
) -> NDArray[np.float64]:
    """Return what each row gives to a score that is a mean over rows, shape (n,).

    Accuracy for classes; balanced accuracy where they are unbalanced, so that every class counts
    the same as in macro-F1; the F1 of a row's labels for several labels; R² for numbers; what a
    sentence gives to the F1 of entities. Pairs of rows can then be compared where the primary
    score itself is no mean over rows.

    Parameters
    ----------
    targets, outputs, thresholds
        As in `scores`.
    among
        The targets of all the rows that these are some of: their classes and their variance are the
        scale, so that scores of different rows of the same data can be compared. `targets` if None.

    Examples
    --------
    >>> task = Task(Kind.MULTICLASS, ("ant", "bee"))
    >>> row_scores(task, [0, 1], [[0.9, 0.1], [0.8, 0.2]])
    array([1., 0.])
    >>> row_scores(task, [0, 0, 0, 0, 1], [[0.9, 0.1]] * 4 + [[0.2, 0.8]])  # 1/2 a class
    array([0.625, 0.625, 0.625, 0.625, 2.5 ])
    >>> row_scores(Task(Kind.REGRESSION), [1.0, 3.0], [[1.0], [2.0]])  # R² is 1/2
    array([1., 0.])
    """
    if task.kind is Kind.TAGS:
        return f1_rows(counts(np.asarray(targets), legal_paths(np.asarray(outputs))))
    truth, said = np.asarray(targets), np.asarray(outputs, dtype=np.float64)
    whole = truth if among is None else np.asarray(among)
    if task.kind is Kind.REGRESSION:
        variance = whole.var() or 1.0
        return np.asarray(1 - (truth - said[:, 0]) ** 2 / variance)
    if task.kind is Kind.MULTILABEL:
        chosen = said >= (0.5 if thresholds is None else np.asarray(thresholds))
        hits, either = (chosen & (truth > 0)).sum(axis=1), chosen.sum(axis=1) + truth.sum(axis=1)
        return np.where(either > 0, 2 * hits / np.maximum(either, 1), 1.0)
    right = (said.argmax(axis=1) == truth).astype(np.float64)
    if not is_imbalanced(whole):
        return right
    classes, sizes = np.unique(whole, return_counts=True)
    which = np.searchsorted(classes, truth)
    return np.asarray(right * len(whole) / (len(sizes) * sizes[which]))


def held_out_scores(
    task: Task, targets: ArrayLike, outputs: ArrayLike, among: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the `row_scores` of rows not learned from, shape (n,), to compare models by.

    Several labels are cut as `cuts_of_others` says: by 0.5 a model that is right and timid says
    nothing, by cuts found on these rows it would look better than it is.

    Parameters
    ----------
    targets, outputs, among
        As in `row_scores`.
    """
    is_cut = task.kind is Kind.MULTILABEL
    cuts = cuts_of_others(targets, outputs) if is_cut else None
    return row_scores(task, targets, outputs, cuts, among)


def is_imbalanced(targets: ArrayLike) -> bool:
    """Return whether the largest class is over three times the smallest one present.

    >>> is_imbalanced([0, 0, 0, 1]), is_imbalanced([0, 0, 0, 0, 1])
    (False, True)
    """
    counts = np.unique(np.asarray(targets), return_counts=True)[1]
    return bool(len(counts) and counts.max() > IMBALANCE * counts.min())


def accuracy(targets: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of rows whose predicted class is right; both of shape (n,).

    >>> accuracy([0, 1, 2, 2], [0, 1, 1, 2])
    0.75
    """
    return float((np.asarray(targets) == np.asarray(predicted)).mean())


def macro_f1(targets: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean over classes of F1; a class counts if it occurs on either side.

    >>> macro_f1([0, 0, 1, 1], [0, 0, 0, 1])  # F1 of class 0 is 4/5, of class 1 2/3
    0.7333333333333334
    """
    truth, said = np.asarray(targets), np.asarray(predicted)
    names, flat = np.unique(np.concatenate([truth, said]), return_inverse=True)
    k = len(names)
    truth, said = flat[: len(truth)], flat[len(truth) :]
    hits = np.bincount(truth[truth == said], minlength=k)
    either = np.bincount(truth, minlength=k) + np.bincount(said, minlength=k)
    return float((2 * hits / either).mean())


def multilabel_macro_f1(targets: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean over labels of F1; 0 for a label neither true nor said anywhere.

    Parameters
    ----------
    targets, predicted
        Shape (n, k), 0 or 1.

    Examples
    --------
    >>> multilabel_macro_f1([[1, 0], [1, 1]], [[1, 0], [0, 1]])  # F1 2/3 and 1
    0.8333333333333333
    """
    truth, said = np.asarray(targets, dtype=bool), np.asarray(predicted, dtype=bool)
    hits = (truth & said).sum(axis=0)  # (k,)
    either = truth.sum(axis=0) + said.sum(axis=0)
    return float((2 * hits / np.maximum(either, 1)).mean())


def log_loss(targets: ArrayLike, probabilities: ArrayLike) -> float:
    """Return the mean of −log of the probability given to the right class.

    Parameters
    ----------
    targets
        Shape (n,), the index of the class.
    probabilities
        Shape (n, k).

    Examples
    --------
    >>> round(log_loss([0, 1], [[0.5, 0.5], [0.75, 0.25]]), 4)  # (log 2 + log 4) / 2
    1.0397
    """
    given = np.asarray(probabilities, dtype=np.float64)
    right = given[np.arange(len(given)), np.asarray(targets)]
    return float(-np.log(np.maximum(right, np.finfo(np.float64).tiny)).mean())


def expected_calibration_error(
    targets: ArrayLike, probabilities: ArrayLike, bins: int = 15
) -> float:
    """Return the mean gap between the confidence in the best class and how often it is right.

    Rows are put in `bins` equal intervals of confidence; the gap of a bin counts by its rows.

    References
    ----------
    Guo et al., On Calibration of Modern Neural Networks, 2017, eq. 3.
    https://arxiv.org/abs/1706.04599

    Examples
    --------
    >>> expected_calibration_error([0, 0, 1, 1], [[0.75, 0.25]] * 4)  # sure at 3/4, right at 1/2
    0.25
    """
    given = np.asarray(probabilities, dtype=np.float64)
    sure = given.max(axis=1)  # (n,)
    right = given.argmax(axis=1) == np.asarray(targets)
    which = np.clip(np.ceil(sure * bins).astype(int) - 1, 0, bins - 1)
    gaps = np.bincount(which, weights=right - sure, minlength=bins)
    return float(np.abs(gaps).sum() / len(given))


def average_precision(targets: ArrayLike, score: ArrayLike) -> float:
    """Return the area under precision by recall, as a sum of steps; equal scores are one step.

    Parameters
    ----------
    targets, score
        Shape (n,); targets are 0 or 1.

    Examples
    --------
    >>> average_precision([1, 0, 1, 0], [0.9, 0.8, 0.7, 0.1])  # 1/2 · 1 + 1/2 · 2/3
    0.8333333333333333
    """
    hits, said = _steps(targets, score)[:2]
    found = np.diff(hits, prepend=0.0)
    return float((found * hits / said).sum() / hits[-1]) if hits[-1] else 0.0


def mean_average_precision(targets: ArrayLike, outputs: ArrayLike) -> float:
    """Return the mean of `average_precision` over the labels that are true somewhere.

    Parameters
    ----------
    targets, outputs
        Shape (n, k).

    Examples
    --------
    >>> mean_average_precision([[1, 0], [0, 0]], [[0.9, 0.1], [0.2, 0.3]])
    1.0
    """
    truth, said = np.asarray(targets), np.asarray(outputs)
    some = np.flatnonzero(truth.sum(axis=0))
    each = [average_precision(truth[:, i], said[:, i]) for i in some]
    return float(np.mean(each)) if each else 0.0


def best_threshold(targets: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None) -> float:
    """Return the cut with the highest F1, midway between two scores; 0.5 where there is none.

    Of cuts with equal F1 the highest is taken. A label is said at most twice as often as it is
    true: where a score tells nothing, F1 is highest if the label is said always (Lipton, Elkan &
    Naryanaswamy 2014), and rare labels that no one can tell would be said of every row.

    >>> best_threshold([0, 1, 1, 0], [0.1, 0.3, 0.6, 0.2])
    0.25
    >>> best_threshold([1, 0, 0, 0], [0.2, 0.4, 0.6, 0.5])  # not below 0.2, for all of them
    0.55
    """
    hits, said, values = _steps(targets, score, weight)
    allowed = (said <= 2 * hits[-1]) & (said > 0)
    if not allowed.any():
        return 0.5
    best = int(np.where(allowed, 2 * hits / (said + hits[-1]), -1).argmax())
    below = values[best + 1] if best + 1 < len(values) else 0.0
    return float((values[best] + below) / 2)


def best_cuts(
    targets: ArrayLike, outputs: ArrayLike, weight: ArrayLike | None = None
) -> NDArray[np.float64]:
    """Return the `best_threshold` of every label, shape (k,).

    Parameters
    ----------
    targets, outputs
        Shape (n, k).
    weight
        How much each row counts, shape (n,); 1 if None.

    Examples
    --------
    >>> best_cuts([[0, 1], [1, 1], [1, 0]], [[0.1, 0.9], [0.3, 0.8], [0.6, 0.2]])
    array([0.2, 0.5])
    """
    pairs = zip(np.asarray(targets).T, np.asarray(outputs).T, strict=True)
    return np.array([best_threshold(truth, said, weight) for truth, said in pairs])


def cuts_of_others(targets: ArrayLike, outputs: ArrayLike) -> NDArray[np.float64]:
    """Return for each row the `best_cuts` of rows other than it, shape (n, k).

    Cuts flatter the rows that they were found on, the more the fewer they are. Models are compared
    by cuts of this kind, each by its own, so that none has seen what it is judged by.

    Parameters
    ----------
    targets, outputs
        Shape (n, k): of rows that were not learned from.

    Examples
    --------
    >>> truth = np.array([[1], [0]] * 5)
    >>> cuts_of_others(truth, truth * 0.5 + 0.25).ravel()
    array([0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5])
    """
    truth, said = np.asarray(targets), np.asarray(outputs, dtype=np.float64)
    part = seeds(0, "cuts").permutation(len(truth)) % CUT_FOLDS
    cuts = np.full(said.shape, 0.5)
    for fold in np.unique(part) if len(truth) > 1 else ():
        cuts[part == fold] = best_cuts(truth[part != fold], said[part != fold])
    return cuts


def r2(targets: ArrayLike, predicted: ArrayLike) -> float:
    """Return the share of the variance explained: 1 − Σ(y − z)² / Σ(y − ȳ)².

    Where the targets do not vary it is 1 if all are met, else 0, as in scikit-learn.

    >>> r2([1.0, 2.0, 3.0], [1.0, 2.0, 4.0])
    0.5
    """
    truth, said = np.asarray(targets, dtype=np.float64), np.asarray(predicted, dtype=np.float64)
    left = float(((truth - said) ** 2).sum())
    whole = float(((truth - truth.mean()) ** 2).sum())
    # A mean is rounded: numbers that are all the same need not be exactly their mean.
    varies = whole > 1e-24 * float((truth**2).sum())
    return 1 - left / whole if varies else float(left == 0)


def mae(targets: ArrayLike, predicted: ArrayLike) -> float:
    """Return the mean absolute error.

    >>> mae([1.0, 2.0], [2.0, 2.0])
    0.5
    """
    return float(np.abs(np.asarray(targets, dtype=np.float64) - np.asarray(predicted)).mean())


def _steps(
    targets: ArrayLike, score: ArrayLike, weight: ArrayLike | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    # From the highest score down, at each distinct one: true rows so far, rows so far, the score.
    said = np.asarray(score, dtype=np.float64)
    counts = np.ones(len(said)) if weight is None else np.asarray(weight, dtype=np.float64)
    order = np.argsort(-said, kind="stable")
    values = said[order]
    last = np.append(np.flatnonzero(np.diff(values)), len(values) - 1)
    true = np.asarray(targets, dtype=np.float64) * counts
    return np.cumsum(true[order])[last], np.cumsum(counts[order])[last], values[last]
