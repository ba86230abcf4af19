"""Jobs: run what is missing, keep each result as it is finished.

Jobs are independent of one another. Several processes may work on a study at once: each job is
done by one of them, and the others wait for what it comes to. They run here, one after the other,
unless `joblib.parallel_config` says otherwise: `n_jobs=4` for processes on this machine, another
backend for a cluster, such as Ray's (`ray.util.joblib.register_ray`, then "ray").
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from itertools import chain, islice
from typing import Any, TypeVar

from headstart.extras import need
from headstart.progress import track
from headstart.store.leases import Leases, waits
from headstart.store.store import Store

J = TypeVar("J")
R = TypeVar("R")

#: Seconds that a job has to stop in, before its process is ended.
STOPS_S = 3.0

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
    >>> from headstart.store.store import open_store
    >>> with open_store(f"sqlite:///{tempfile.mkdtemp()}/store.sqlite") as store:
    ...     first = run({"a": 2}, lambda n: {"square": n * n}, study="squares", store=store)
    ...     again = run({"a": 2}, lambda n: {"square": 0}, study="squares", store=store)
    >>> first == again == {"a": {"square": 4}}
    True
    """
    done: dict[str, Facts] = {}
    with track(name, len(jobs), unit="fits") as bar, Leases(store, study) as leases:
        pauses = waits(lambda: bar.note(f"waiting for {leases.other and leases.other.whom()}"))
        while len(done) < len(jobs):
            kept = store.outcomes(study)
            found = {k: kept[k] for k in jobs if k in kept and k not in done and is_whole(kept[k])}
            done |= found
            bar.advance(len(found))
            missing = {key: job for key, job in jobs.items() if key not in done}
            free = _free(missing, leases, is_whole)
            n_before = len(done)
            for key, facts in results(free, do):
                store.put_outcome(study, key, facts)
                leases.give_back(key)
                done[key] = facts
                bar.advance()
            if missing and len(done) == n_before:  # others are at all that is left
                time.sleep(next(pauses))
    return {key: done[key] for key in jobs}


def once(
    key: str, make: Callable[[], Facts], *, study: str, store: Store, fresh: bool = False
) -> Facts:
    """Return what was kept under a key; make it, and keep it, the first time or if `fresh`."""
    if fresh:
        made = make()
        store.put_outcome(study, key, made)
        return made
    kept = store.outcomes(study)
    return kept[key] if key in kept else store.first_outcome(study, key, make())


def _free(
    jobs: Mapping[str, J], leases: Leases, is_whole: Callable[[Facts], bool]
) -> Iterator[tuple[str, J]]:
    """Yield the jobs that nobody else does, each taken just before; not those done meanwhile."""
    for key, job in jobs.items():
        if not leases.take(key):
            continue
        done = leases.store.outcomes(leases.study).get(key)
        if done is None or not is_whole(done):
            yield key, job
        else:
            leases.give_back(key)


def n_workers() -> int:
    """Return how many jobs joblib runs at once; 1: here, one after the other.

    Where that is said to be Ray's to tell, and it is not running yet, it is started.

    >>> n_workers()
    1
    """
    from joblib.parallel import get_active_backend

    backend, n_jobs = get_active_backend()
    if n_jobs in (None, 1):
        return 1
    if _is_of_ray(backend) and not (ray := need("ray", "ray")).is_initialized():
        ray.init()
    return int(backend.effective_n_jobs(n_jobs))


def results(jobs: Iterable[tuple[str, J]], do: Callable[[J], R]) -> Iterable[tuple[str, R]]:
    """Yield (key, what came of the job) as each ends; nothing is kept.

    >>> dict(results([("a", 2), ("b", 3)], lambda n: n * n))
    {'a': 4, 'b': 9}
    """
    from joblib import Parallel, delayed
    from joblib.parallel import get_active_backend

    backend, n_jobs = get_active_backend()
    if n_jobs in (None, 1):
        return ((key, do(job)) for key, job in jobs)
    if _is_of_ray(backend):
        options = getattr(backend, "ray_remote_args", None) or {}
        return _on_ray(iter(jobs), do, n_workers(), options)
    with _one_by_one(backend):
        parallel = Parallel(return_as="generator_unordered")
    return parallel(delayed(_one)(key, job, do) for key, job in jobs)


@contextmanager
def _one_by_one(backend: Any) -> Iterator[None]:
    """Let joblib hand over results one by one, where its backend says that it cannot.

    It says so of a pool of processes; yet that tells of each as it ends, which is all that it
    takes. joblib asks once; the backend is the user's own.
    """
    if backend.supports_return_generator or not backend.supports_retrieve_callback:
        yield
        return
    backend.supports_return_generator = True
    try:
        yield
    finally:
        backend.supports_return_generator = False


def _is_of_ray(backend: Any) -> bool:
    return type(backend).__module__.startswith("ray.")


def _on_ray(
    jobs: Iterator[tuple[str, J]], do: Callable[[J], R], n: int, options: Mapping[str, Any]
) -> Iterator[tuple[str, R]]:
    """Yield (key, what came of the job) as each ends, `n` tasks of Ray under way at a time.

    Ray's own pool for joblib deals jobs to its workers in turn, whether they are free or not, so
    that one with a long job has others waiting behind it; and it starts its workers anew each time.
    """
    first = next(jobs, None)
    if first is None:  # nothing is sent to the cluster
        return
    ray = need("ray", "ray")
    # A fit that kills its process would kill another.
    task, shared = ray.remote(_one).options(**{"max_retries": 0, **options}), ray.put(do)
    jobs = chain([first], jobs)
    under_way: list[Any] = []
    try:
        while True:
            for key, job in islice(jobs, n - len(under_way)):
                under_way.append(task.remote(key, job, shared))
            if not under_way:
                return
            (ended,), under_way = ray.wait(under_way)
            try:
                done = ray.get(ended)
            except ray.exceptions.RayTaskError as error:
                raise error.cause from error  # its own text is a traceback
            yield done
    finally:
        _stop_on_ray(under_way)


def _stop_on_ray(tasks: list[Any]) -> None:
    """Stop what is under way on Ray: asked to, then by ending its process.

    A task that its worker is still reading does not hear that it is asked.
    """
    if not tasks:
        return
    ray = need("ray", "ray")
    for task in tasks:
        ray.cancel(task)
    _, deaf = ray.wait(tasks, num_returns=len(tasks), timeout=STOPS_S)
    for task in deaf:
        ray.cancel(task, force=True)


def _one(key: str, job: J, do: Callable[[J], R]) -> tuple[str, R]:
    return key, do(job)
