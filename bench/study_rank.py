"""Choosing the source: what is lost by the ranking's choice, beside three simpler ways to choose.

The ranking sees a quarter of the training rows. The truth is the mean test accuracy, over seeds,
of every source × boundary probed on the training rows. The best of them is picked on one half of
the test rows and what was lost is read on the other half, so that no one is its own judge.

Two choices of ours are judged: the source with the boundary that `rank` names, and the source that
a fit would take, used whole as the simpler ways use theirs.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import FASHION, idx
from bench.measure import Row, Skip, Study, data_folder, own_home

SHARE = 0.25
LARGE = "pkg:efficientnet-lite2"
SIZES: dict[str, dict[str, Any]] = {
    "full": {},
    "tiny": {"only": ("hymenoptera", "emoji"), "most": 60},
}
#: Ours: with the boundary it names, and as a fit uses it.
OURS = ("ranking", "ranking, whole sources")
BASELINE = "always Lite2"
OTHERS = ("largest model", "LogME", BASELINE)
HALVINGS = 50
MOST_TRAIN, MOST_TEST = 1000, 1500
Arm = tuple[str, int]
Scores = dict[str, dict[str, float]]
_NAMES = {
    "logme": "LogME",
    "h_score": "H-score",
    "transrate": "TransRate",
    "neighbors": "k-NN",
    "leep": "LEEP",
    "nce": "NCE",
}


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

    def at_top(self, uri: str) -> float:
        return float(self.right[self.top(uri)].mean())

    def best(self, uri: str) -> float:
        return max(float(v.mean()) for (u, _), v in self.right.items() if u == uri)


def study(repeats: int, only: Sequence[str] = (), most: int | None = None) -> Study:
    """Rank every data set `repeats` times, on other quarters of the rows.

    Parameters
    ----------
    only
        Names of data sets; all of them if empty.
    most
        Rows of each part at most, or ten a class; all of them if None.
    """
    found: dict[str, Any] = {}
    with own_home():
        for case in cases():
            if only and case.name not in only:
                continue
            if most is not None:
                case = _fewer(case, most)
            began = time.perf_counter()
            found[case.name] = one = _case(case, repeats)
            lost = {way: round(_mean(each), 2) for way, each in one["regret"].items()}
            print(f"{case.name}: {lost}, {time.perf_counter() - began:.0f} s", flush=True)
    return Study(
        f"Which source to start from: {SHARE:.0%} of the training rows are seen.",
        (*_each(found), *_sums(found), *_agreements(found)),
        (
            "Points of accuracy lost against the best source × boundary, which is picked on one "
            f"half of the test rows and judged on the other; mean over {HALVINGS} halvings and "
            f"{repeats} rankings, each on another quarter. A choice can be lucky: below zero.",
            f"Truth: linear heads on {repeats} draws of four fifths of the training rows, "
            f"at most {MOST_TRAIN} training and {MOST_TEST} test rows a data set.",
            "Worse than always Lite2: the rankings, of all picture sets, in which the source of "
            "highest score loses more than Lite2 does, both at their top.",
            "“whole sources”: the source that `fit --source auto` takes, at its top, as the other "
            "ways take theirs; the best may be at a lower boundary.",
        ),
        facts=found,
    )


def _mean(values: Sequence[float]) -> float:
    return float(np.mean(values))


def _each(found: Mapping[str, Any]) -> list[Row]:
    """Return what each way loses on each data set."""
    return [
        Row(
            f"{name}: points lost by {way}",
            (_mean(one["regret"][way]),),
            at_most=1.0 if way == OURS[0] else None,
        )
        for name, one in found.items()
        for way in OURS + OTHERS
        if way in one["regret"]
    ]


def _sums(found: Mapping[str, Any]) -> list[Row]:
    """Return the means over data sets, and where the largest picture source is not the best."""
    rows = []
    lost = {name: {w: _mean(v) for w, v in one["regret"].items()} for name, one in found.items()}
    for ours, way in product(OURS, OTHERS):
        sets = [one for one in lost.values() if way in one]
        gap = _mean([one[ours] - one[way] for one in sets])
        rows.append(Row(f"mean of {len(sets)} sets: {ours} − {way}", (gap,), at_most=0.0))
    for ours, (name, one) in product(OURS, found.items()):
        if BASELINE in lost[name] and one["best"] != LARGE:
            gap = lost[name][ours] - lost[name][BASELINE]
            rows.append(Row(f"{name} (best: {one['best']}): {ours} − {BASELINE}", (gap,),
                            at_most=-1e-9))  # fmt: skip
    return rows


def _agreements(found: Mapping[str, Any]) -> list[Row]:
    """Return how well each score orders the picture sources, and how often it chooses badly."""
    pictures = {name: one for name, one in found.items() if one["tau"]}
    rows = [
        Row(f"{name}: weighted tau of {score}", tuple(values))
        for name, one in pictures.items()
        for score, values in one["tau"].items()
    ]
    for score in next(iter(pictures.values()), {"tau": ()})["tau"]:
        worse = [one["worse"][score] for one in pictures.values()]
        n = sum(len(each) for each in worse)
        rows.append(Row(f"worse than {BASELINE}, of {n}: {score}", (float(np.sum(worse)),)))
    return rows


def _case(case: Case, repeats: int) -> dict[str, Any]:
    from headstart.ranking.rank import rank, rank_whole

    rankings, wholes, tops = [], [], []
    for seed in range(repeats):
        part = case.train.take(_pairs(case.train, int(len(case.train) * SHARE), seed))
        rankings.append(rank(part, seed=seed))
        wholes.append(rank_whole(part, seed=seed))
        tops.append(_at_the_top(rankings[-1], part))
    truth = _truth(case, rankings[0], repeats)
    ways = _ours(truth, rankings, wholes) | _others(truth, rankings[0], tops)
    is_picture = len(truth.tops) > 2
    return {
        "rows": [len(case.train), len(case.test)],
        "best": max(truth.right, key=lambda arm: truth.right[arm].mean())[0],
        "regret": {
            way: [round(100 * regret(truth.right, arm), 3) for arm in arms]
            for way, arms in ways.items()
        },
        "chosen": {way: [list(arm) for arm in arms] for way, arms in ways.items()},
        "tau": _taus(rankings, tops, truth) if is_picture else {},
        "worse": _worse(rankings, tops, truth) if is_picture else {},
        "truth": {f"{u}@{b}": float(v.mean()) for (u, b), v in truth.right.items()},
        "rankings": [r.to_json() for r in rankings],
    }


def _ours(truth: Truth, rankings: Any, wholes: Any) -> dict[str, list[Arm]]:
    """Return what each ranking starts from."""
    named = [(r.best.uri, r.rows[0].boundary or truth.tops[r.best.uri]) for r in rankings]
    return dict(zip(OURS, (named, [truth.top(r.best.uri) for r in wholes]), strict=True))


def _others(truth: Truth, ranking: Any, tops: Sequence[Scores]) -> dict[str, list[Arm]]:
    """Return what each simpler way would have started from, ranking by ranking."""
    sizes = _sizes(ranking)
    always = {"largest model": _first(sizes)} | ({BASELINE: LARGE} if LARGE in sizes else {})
    return {
        "LogME": [truth.top(_first(one["LogME"])) for one in tops],
        **{way: [truth.top(uri)] * len(tops) for way, uri in always.items()},
    }


def _first(scores: Mapping[str, float]) -> str:
    return max(scores, key=lambda uri: scores[uri])


def _sizes(ranking: Any) -> dict[str, float]:
    return {row.source.uri: row.source.n_parameters for row in ranking.rows}


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


def _at_the_top(ranking: Any, part: Any) -> Scores:
    """Return the scores that train no head, of features at the top: score → source → value."""
    from headstart.features.extract import extract
    from headstart.ranking.trainless import trainless

    found: Scores = {}
    for row in ranking.rows:
        features = extract(row.source, part)
        said = trainless(row.source, features, part.targets[features.kept], part.task)
        for name, score in _NAMES.items():
            if getattr(said, name) is not None:
                found.setdefault(score, {})[row.source.uri] = getattr(said, name)
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
    """Return the share of draws in which each test row is right; one draw chooses the penalty."""
    from headstart.data.sampling import folds
    from headstart.heads.linear import fit_linear

    total = np.zeros(len(case.test))
    targets, task = case.train.targets[fit.kept], case.train.task
    penalties = None
    for seed in range(repeats):
        some = folds(targets, task, 5, seed)[0][0]
        found = fit_linear(
            fit.take(some), targets[some], task, penalties=penalties,
            folds=0 if penalties else 3, seed=seed,
        )  # fmt: skip
        penalties = (found.penalty,)
        said = found.head.outputs(test.array()).argmax(axis=1)
        total[test.kept] += said == case.test.targets[test.kept]
    return total / repeats


def _said(ranking: Any, tops: Scores) -> Scores:
    """Return every score by which sources could be ordered: score → source → value."""
    probed = {row.source.uri: max(row.by_boundary.values()) for row in ranking.rows}
    priors = {row.source.uri: row.source.prior for row in ranking.rows}
    return {"probe": probed, "size": _sizes(ranking), "prior of the card": priors, **tops}


def _taus(rankings: Any, tops: Sequence[Scores], truth: Truth) -> dict[str, list[float]]:
    """Return the weighted tau of each score with the true order of the sources it has."""
    from scipy.stats import weightedtau

    found: dict[str, list[float]] = {}
    for ranking, top in zip(rankings, tops, strict=True):
        for name, said in _said(ranking, top).items():
            true = [truth.best(uri) if name == "probe" else truth.at_top(uri) for uri in said]
            tau = weightedtau(list(said.values()), true).statistic
            found.setdefault(name, []).append(float(tau))
    return found


def _worse(rankings: Any, tops: Sequence[Scores], truth: Truth) -> dict[str, list[int]]:
    """Return, ranking by ranking, whether a score's first source is worse than the baseline."""
    found: dict[str, list[int]] = {}
    for ranking, top in zip(rankings, tops, strict=True):
        for name, said in _said(ranking, top).items():
            is_worse = truth.at_top(_first(said)) < truth.at_top(LARGE)
            found.setdefault(name, []).append(int(is_worse))
    return found


def cases() -> Iterator[Case]:
    """Yield what is at hand; a missing folder is no more than a missing data set."""
    for make in (_hymenoptera, _pacs, _emoji, _digits, _fashion, _banking, _names):
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


def _fashion() -> Iterator[Case]:
    """A sample of Fashion-MNIST, which the Debian package dataset-fashion-mnist holds."""
    from headstart.data.dataset import from_arrays

    if not FASHION.is_dir():
        raise Skip(f"no folder {FASHION}: apt-get install dataset-fashion-mnist")
    parts = []
    for name, most in (("train", MOST_TRAIN), ("t10k", MOST_TEST)):
        pixels = idx(FASHION / f"{name}-images-idx3-ubyte.gz", 16).reshape(-1, 28, 28)[:most]
        labels = idx(FASHION / f"{name}-labels-idx1-ubyte.gz", 8)[:most]
        colors = np.repeat(pixels[..., None], 3, axis=3)
        parts.append(from_arrays(list(colors), labels.astype(str)))
    yield _case_of("fashion-mnist", *parts)


def _names() -> Iterator[Case]:
    from headstart.cli.demo import names
    from headstart.data.readers import read

    data = read(str(names("en")))
    yield _case_of("emoji names", data.training(), data.only("test"))


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
    parts = (_some(train, MOST_TRAIN), _some(test, MOST_TEST))
    return Case(name, *(data.with_split([""] * len(data)) for data in parts))


def _fewer(case: Case, most: int) -> Case:
    parts = (case.train, case.test)
    return Case(case.name, *(_some(one, max(most, 10 * len(one.task.labels))) for one in parts))


def _some(data: Any, most: int) -> Any:
    from headstart.data.sampling import sample

    if len(data) <= most:
        return data
    return data.take(sample(data.targets, data.task, most, 0))
