"""Two workers: a proof and a ranking on one, on two joblib processes, and on Ray's cluster of two.

The fits are those that `prove` gives out, by the same door (`headstart.jobs`), scratch left out:
how long it may learn is measured, so that no two proofs with a budget are the same. The ranking is
of the whole shelf, with nothing compiled before. Every side has a process and an empty home, and a
thread a worker; outcomes are compared bit for bit.
Run as `python -m bench.study_workers WHAT FOLDER HOW SEEDS FINETUNE`, this file is one side.
"""

import contextlib
import importlib.util
import json
import os
import secrets
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import cases
from bench.measure import Row, Study, alternate, itself, own_home, ratios, scratch_folder

SOURCE = "pkg:efficientnet-lite0"
SIZES = {
    "tiny": {"a_class": 6, "seeds": 2, "finetune": "no"},
    "full": {},
}
PARTS: dict[str, dict[str, Any]] = {
    "fits": {"whats": ("fits",), "a_class": 30},
    "ranking": {"whats": ("ranking",)},
    "ranking-photos": {"whats": ("ranking",), "data": "pacs photo"},
    "ranking-fashion": {"whats": ("ranking",), "data": "fashion"},
}
N = 2
SAID = {"fits": f"{{n}} fits of a proof, {SOURCE}", "ranking": "a ranking of {n} sources"}
SIDES = {"one worker": "serial", "two joblib workers": "loky", "Ray, cluster of two": "ray"}


def study(
    repeats: int,
    a_class: int | None = None,
    seeds: int = 8,
    finetune: str = "last:25%",
    whats: Sequence[str] = ("fits", "ranking"),
    data: str = "hymenoptera",
) -> Study:
    """Run the sides in turn; each must come to the same outcomes."""
    has_ray = importlib.util.find_spec("ray") is not None
    hows = {name: how for name, how in SIDES.items() if has_ray or how != "ray"}
    with scratch_folder() as folder:
        files = cases.pictures(data, folder / "data", a_class)
        found = {
            what: alternate({
                name: lambda what=what, how=how: itself(
                    "study_workers", what, files, how, str(seeds), finetune, env=_env()
                ).json
                for name, how in hows.items()
            }, repeats)
            for what in whats
        }  # fmt: skip
    counts = {what: len(sides["one worker"][0]["outcomes"]) for what, sides in found.items()}
    said = " and ".join(SAID[what].format(n=n) for what, n in counts.items())
    return Study(
        f"{data.capitalize()}: {said}; a thread a worker.",
        tuple(row for what, sides in found.items() for row in _rows(what, sides)),
        () if has_ray else ("Ray is not installed: pip install 'headstart[ray]'",),
        facts={what: {name: runs[0] for name, runs in of.items()} for what, of in found.items()},
    )


def _rows(what: str, found: dict[str, list[dict[str, Any]]]) -> list[Row]:
    """Return the seconds of every side, and how those of two workers compare with one."""
    one, *others = found
    seconds = {name: [run["seconds"] for run in runs] for name, runs in found.items()}
    rows = [Row(f"{what}, {name}", tuple(of_side), "s") for name, of_side in seconds.items()]
    for name in others:
        many = [N * s for s in seconds[name]]
        rows.append(ratios(f"{what}, {name}: efficiency", seconds[one], many, at_least=0.85))
        differing = tuple(_differing(a, b) for a, b in zip(found[one], found[name], strict=True))
        rows.append(Row(f"{what}, {name}: outcomes unlike one worker's", differing, at_most=0))
    return rows


def _env() -> dict[str, str]:
    return {"HEADSTART_THREADS": "1", "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


def _differing(one: dict[str, Any], other: dict[str, Any]) -> float:
    keys = set(one["outcomes"]) | set(other["outcomes"])
    return float(sum(one["outcomes"].get(k) != other["outcomes"].get(k) for k in keys))


# One side ----------------------------------------------------------------------------------------


def main(what: str, data: Path, how: str, seeds: int, finetune: str) -> dict[str, Any]:
    """Do the work; seconds, and what each part of it came to."""
    import headstart as hs

    with own_home(), workers(how):
        rows = hs.read(str(data))
        return _ranking(rows) if what == "ranking" else _fits(rows, seeds, finetune)


def _fits(rows: Any, seeds: int, finetune: str) -> dict[str, Any]:
    import headstart as hs
    from headstart.evidence.arms import SCRATCH, roster
    from headstart.evidence.fits import longest_first
    from headstart.evidence.study import prepare
    from headstart.evidence.worker import Job, Worker
    from headstart.jobs import run
    from headstart.store.store import open_store

    model = hs.Transfer(SOURCE, finetune=finetune)
    study = prepare(model, rows, seeds)
    arms = [arm for arm in roster(model, study.pool, None) if arm.name != SCRATCH]
    jobs = longest_first([Job(arm, seed) for arm in arms for seed in range(seeds)])
    start = time.perf_counter()
    with open_store() as store:
        keyed = {job.key: job for job in jobs}
        outcomes = run(keyed, Worker.of(study), study=study.key, store=store)
    seconds = time.perf_counter() - start
    told = ("arm", "seed", "scores", "thresholds", "outputs", "error")
    return {
        "seconds": seconds,
        "outcomes": {key: [facts[name] for name in told] for key, facts in outcomes.items()},
    }


def _ranking(rows: Any) -> dict[str, Any]:
    import headstart as hs

    start = time.perf_counter()
    found = hs.rank(rows)
    seconds = time.perf_counter() - start
    told = {
        one.source.uri: [i, repr((one.score, one.difference, one.by_boundary, one.trainless))]
        for i, one in enumerate(found.rows)
    }
    return {"seconds": seconds, "outcomes": told | {one.uri: [] for one in found.left_out}}


@contextlib.contextmanager
def workers(how: str) -> Iterator[None]:
    """Have joblib use one process, two of its own, or Ray's cluster of two."""
    import joblib

    if how == "serial":
        yield
    elif how == "loky":
        with joblib.parallel_config("loky", n_jobs=N, inner_max_num_threads=1):
            yield
    else:
        with _cluster(), joblib.parallel_config("ray", n_jobs=N):
            yield


@contextlib.contextmanager
def _cluster() -> Iterator[None]:
    """Start a Ray cluster here that asks for a token; stop it at the end."""
    os.environ |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": secrets.token_hex(32)}
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DEDUP_LOGS": "0"}
    import ray
    from ray.util.joblib import register_ray

    ray.init(num_cpus=N, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    register_ray()
    try:
        yield
    finally:
        ray.shutdown()


if __name__ == "__main__":
    given = sys.argv[1:]
    print(json.dumps(main(given[0], Path(given[1]), given[2], int(given[3]), given[4])))
