"""Jobs: run what is missing, keep each result as it is finished.

Jobs are independent of one another. They run here, one after the other, unless
`joblib.parallel_config` says otherwise: `n_jobs=4` for processes on this machine, another backend
for a cluster.
"""

from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeVar

from headstart.progress import track
from headstart.store import Store

J = TypeVar("J")

#: What a job comes to: plain JSON values.
Facts = dict[str, Any]


def run(
    jobs: Mapping[str, J],
    do: Callable[[J], Facts],
    *,
    study: str,
    store: Store,
    is_whole: Callable[[Facts], bool] = lambda _: True,
    name: str = "fits",
) -> dict[str, Facts]:
    """Return what came of every job; only those without a kept result are run.

    Parameters
    ----------
    jobs
        Key → job. Equal keys mean equal results.
    do
        Runs one job; it may be called in another process.
    study
        What the jobs belong to.
    store
        Where results are kept, each as soon as it is there.
    is_whole
        Whether a kept result can still be used; others are computed again.
    name
        What the jobs are, for people.

    Examples
    --------
    >>> import tempfile
    >>> from headstart.store import open_store
    >>> with open_store(f"sqlite:///{tempfile.mkdtemp()}/store.sqlite") as store:
    ...     first = run({"a": 2}, lambda n: {"square": n * n}, study="squares", store=store)
    ...     again = run({"a": 2}, lambda n: {"square": 0}, study="squares", store=store)
    >>> first == again == {"a": {"square": 4}}
    True
    """
    kept = store.outcomes(study)
    done = {key: kept[key] for key in jobs if key in kept and is_whole(kept[key])}
    missing = {key: job for key, job in jobs.items() if key not in done}
    with track(name, len(jobs), unit="fits") as bar:
        bar.advance(len(done))
        for key, facts in _results(missing, do):
            store.put_outcome(study, key, facts)
            done[key] = facts
            bar.advance()
    return {key: done[key] for key in jobs}


def once(key: str, make: Callable[[], Facts], *, study: str, store: Store) -> Facts:
    """Return what was kept under a key; make it, and keep it, the first time."""
    kept = store.outcomes(study)
    if key not in kept:
        store.put_outcome(study, key, make())
        kept = store.outcomes(study)
    return kept[key]


def _results(jobs: Mapping[str, J], do: Callable[[J], Facts]) -> Iterable[tuple[str, Facts]]:
    from joblib import Parallel, delayed

    parallel = Parallel(return_as="generator_unordered")
    if parallel.n_jobs in (None, 1):
        return ((key, do(job)) for key, job in jobs.items())
    return parallel(delayed(_one)(key, job, do) for key, job in jobs.items())


def _one(key: str, job: J, do: Callable[[J], Facts]) -> tuple[str, Facts]:
    return key, do(job)
