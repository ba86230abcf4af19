"""Choosing the source: what is lost by the ranking's choice, beside three simpler ways to choose.

The ranking sees a quarter of the training rows. The truth is the mean test accuracy, over seeds,
of every source × boundary probed on the training rows. The best of them is picked on one half of
the test rows and what was lost is read on the other half, so that no one is its own judge.
"""

import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.measure import Row, Skip, Study, data_folder, own_home

SHARE = 0.25
LARGE = "pkg:efficientnet-lite2"
HALVINGS = 50
MOST_TRAIN, MOST_TEST = 1500, 600
Arm = tuple[str, int]


@dataclass(frozen=True, eq=False)
class Case:
    """Rows to train on, and test rows that no choice reads."""

    name: str
    train: Any
    test: Any


@dataclass(frozen=True, eq=False)
class Truth:
    """What each source × boundary has right of the test rows, over seeds: (n_test,) each."""

    right: dict[Arm, NDArray[np.float64]]
    tops: dict[str, int]

    def top(self, uri: str) -> Arm:
        return uri, self.tops[uri]


def study(repeats: int) -> Study:
    """Rank every data set `repeats` times, on other quarters of the rows."""
    found: dict[str, Any] = {}
    with own_home():
        for case in cases():
            found[case.name] = one = _case(case, repeats)
            print(f"{case.name}: {one['regret']}", flush=True)
    ways = ("ranking", "largest model", "LogME", "always Lite2")
    rows = [
        Row(f"{name}: points lost by {way}", tuple(one["regret"][way]), "", at_most=most)
        for name, one in found.items()
        for way in ways
        if way in one["regret"]
        for most in (1.0 if way == "ranking" else None,)
    ]
    pictures = [one for one in found.values() if "always Lite2" in one["regret"]]
    for way in ways:
        lost = [float(np.mean(one["regret"][way])) for one in pictures]
        if lost:
            rows.append(Row(f"pictures: mean points lost by {way}", (float(np.mean(lost)),)))
    rows += [
        Row(f"{name}: weighted tau of {score}", tuple(values))
        for name, one in found.items()
        for score, values in one["tau"].items()
    ]
    return Study(
        f"Which source to start from: {SHARE:.0%} of the training rows are seen.",
        tuple(rows),
        (
            "Points of accuracy lost against the best source × boundary, which is picked on one "
            f"half of the test rows and judged on the other; mean over {HALVINGS} halvings.",
            f"Truth: linear heads on {repeats} draws of four fifths of the training rows, "
            f"at most {MOST_TRAIN} training and {MOST_TEST} test rows a data set.",
        ),
        facts=found,
    )


def _case(case: Case, repeats: int) -> dict[str, Any]:
    from headstart.ranking.rank import rank

    rankings, logmes, seconds = [], [], []
    for seed in range(repeats):
        n = int(len(case.train) * SHARE)
        part = case.train.take(_pairs(case.train, n, seed))
        began = time.perf_counter()
        rankings.append(rank(part, seed=seed))
        seconds.append(time.perf_counter() - began)
        logmes.append(_logmes(rankings[-1], part))
    truth = _truth(case, rankings[0], repeats)
    ways: dict[str, list[Arm]] = {
        "ranking": [(r.best.uri, r.rows[0].boundary or truth.tops[r.best.uri]) for r in rankings],
        "LogME": [truth.top(max(one, key=lambda uri: one[uri])) for one in logmes],
    }
    sizes = {row.source.uri: row.source.n_parameters for row in rankings[0].rows}
    ways["largest model"] = [truth.top(max(sizes, key=lambda uri: sizes[uri]))] * repeats
    if LARGE in sizes:
        ways["always Lite2"] = [truth.top(LARGE)] * repeats
    return {
        "rows": [len(case.train), len(case.test)],
        "regret": {
            way: [round(100 * regret(truth.right, arm), 3) for arm in arms]
            for way, arms in ways.items()
        },
        "chosen": {way: [list(arm) for arm in arms] for way, arms in ways.items()},
        "tau": _taus(rankings, logmes, truth) if len(sizes) > 2 else {},
        "truth": {f"{u}@{b}": float(v.mean()) for (u, b), v in truth.right.items()},
        "seconds": seconds,
        "rankings": [r.to_json() for r in rankings],
    }


def _pairs(data: Any, n: int, seed: int) -> NDArray[np.int64]:
    """Draw rows with at least two of every class."""
    from headstart.ranking.schedule import order

    return order(data.targets, data.task, seed)[: max(n, 2 * len(data.task.labels))]


def regret(right: dict[Arm, NDArray[np.float64]], chosen: Arm) -> float:
    """Return what is lost by an arm against the best, picked and judged on other rows.

    >>> right = {("a", 1): np.ones(10), ("b", 1): np.zeros(10)}
    >>> regret(right, ("b", 1)), regret(right, ("a", 1))
    (1.0, 0.0)
    """
    arms = list(right)
    table = np.stack([right[arm] for arm in arms])  # (arms, n)
    at, rng, lost = arms.index(chosen), np.random.default_rng(0), []
    for _ in range(HALVINGS):
        order = rng.permutation(table.shape[1])
        for half in (order[::2], order[1::2]):
            other = np.setdiff1d(order, half)
            best = int(table[:, half].mean(axis=1).argmax())
            lost.append(table[best, other].mean() - table[at, other].mean())
    return float(np.mean(lost))


def _logmes(ranking: Any, part: Any) -> dict[str, float]:
    from headstart.features.extract import extract
    from headstart.metrics.transferability import logme

    found = {}
    for row in ranking.rows:
        features = extract(row.source, part)
        found[row.source.uri] = logme(features.array(), part.targets[features.kept])
    return found


def _truth(case: Case, ranking: Any, repeats: int) -> Truth:
    right: dict[Arm, NDArray[np.float64]] = {}
    tops: dict[str, int] = {}
    for row in ranking.rows:
        for at, fit, test in _features(row, case):
            right[row.source.uri, at] = _right(case, fit, test, repeats)
            tops[row.source.uri] = at
    return Truth(right, tops)


def _features(row: Any, case: Case) -> Iterator[tuple[int, Any, Any]]:
    from headstart.features.extract import extract, extract_many

    names = list(row.by_boundary)
    if names == ["top"]:
        fit, test = (extract(row.source, data) for data in (case.train, case.test))
        yield fit.boundary, fit, test
        return
    at = [int(name) for name in names]
    fits, tests = (extract_many(row.source, data, at) for data in (case.train, case.test))
    for b in at:
        yield b, fits[b], tests[b]


def _right(case: Case, fit: Any, test: Any, repeats: int) -> NDArray[np.float64]:
    from headstart.data.sampling import folds
    from headstart.heads.linear import fit_linear

    total = np.zeros(len(case.test))
    targets, task = case.train.targets[fit.kept], case.train.task
    for seed in range(repeats):
        some = folds(targets, task, 5, seed)[0][0]
        head = fit_linear(fit.take(some), targets[some], task, folds=3, seed=seed).head
        said = head.outputs(test.array()).argmax(axis=1)
        total[test.kept] += said == case.test.targets[test.kept]
    return total / repeats


def _taus(rankings: Any, logmes: Any, truth: Truth) -> dict[str, list[float]]:
    from scipy.stats import weightedtau

    found: dict[str, list[float]] = {}
    for ranking, evidence in zip(rankings, logmes, strict=True):
        uris = [row.source.uri for row in ranking.rows]
        best = [max(v.mean() for (u, _), v in truth.right.items() if u == uri) for uri in uris]
        tops = [truth.right[truth.top(uri)].mean() for uri in uris]
        by = {
            "ranking": ([max(row.by_boundary.values()) for row in ranking.rows], best),
            "LogME": ([evidence[uri] for uri in uris], tops),
            "size": ([row.source.n_parameters for row in ranking.rows], best),
            "H-score": ([row.h_score for row in ranking.rows], best),
            "nearest neighbor": ([row.neighbors for row in ranking.rows], best),
        }
        for name, (said, true) in by.items():
            found.setdefault(name, []).append(float(weightedtau(said, true).statistic))
    return found


def cases() -> Iterator[Case]:
    """Yield what is at hand; a missing folder is no more than a missing data set."""
    for make in (_hymenoptera, _pacs, _emoji, _digits, _banking):
        try:
            yield from make()
        except Skip as reason:
            print(f"left out: {reason}")


def _hymenoptera() -> Iterator[Case]:
    from headstart.data.readers import read

    root = data_folder("hymenoptera")
    yield _case_of("hymenoptera", read(str(root / "train")), read(str(root / "val")))


def _pacs() -> Iterator[Case]:
    from headstart.data.readers import read

    for name in ("photo", "cartoon", "sketch"):
        yield _parted(f"pacs {name}", read(str(data_folder("pacs") / name)))


def _emoji() -> Iterator[Case]:
    from headstart.cli.demo import pictures
    from headstart.data.readers import read
    from headstart.machine import home

    data = read(str(pictures(home())))
    yield _case_of("emoji", data.training(), data.only("test"))


def _digits() -> Iterator[Case]:
    from sklearn.datasets import load_digits

    from headstart.data.dataset import from_arrays

    bunch = load_digits()
    pixels = np.repeat((bunch.images * 15.9).astype(np.uint8)[..., None], 3, axis=3)
    large = pixels.repeat(8, axis=1).repeat(8, axis=2)
    yield _parted("digits", from_arrays(list(large), bunch.target.astype(str)))


def _banking() -> Iterator[Case]:
    from headstart.data.readers import read

    root = data_folder("banking77")
    train, test = (
        read(str(root / f"{name}.csv"), text="text", label="category") for name in ("train", "test")
    )
    yield _case_of("banking77", train, test)


def _parted(name: str, data: Any) -> Case:
    from headstart.data.sampling import split

    parted = split(data, seed=0, validation=0, test=0.4)
    return _case_of(name, parted.training(), parted.only("test"))


def _case_of(name: str, train: Any, test: Any) -> Case:
    return Case(name, _some(train, MOST_TRAIN), _some(test, MOST_TEST))


def _some(data: Any, most: int) -> Any:
    from headstart.data.sampling import sample

    most = max(most, 10 * len(data.task.labels)) if most == MOST_TRAIN else most
    if len(data) > most:
        data = data.take(sample(data.targets, data.task, most, 0))
    return data.with_split([""] * len(data))
