"""Jobs in processes: the same as one after the other, each kept as soon as it is there."""

import os
import time

import joblib
import pytest

from headstart.jobs import run
from headstart.store.leases import Leases
from headstart.store.store import open_store

NUMBERS = {str(n): n for n in range(6)}


def square(n):
    return {"square": n * n, "process": os.getpid()}


def patient(waits):
    """Wait until the outcomes of so many other jobs have been kept in the store of a URL."""
    if waits is None:
        return {"saw": None}
    url, n_others = waits
    with open_store(url) as store:
        for _ in range(600):
            if len(seen := store.outcomes("s")) >= n_others:
                return {"saw": sorted(seen)}
            time.sleep(0.1)
    return {"saw": []}


@pytest.fixture
def store(tmp_path):
    with open_store(f"sqlite:///{tmp_path}/store.sqlite") as opened:
        yield opened


def squares(found):
    return {key: facts["square"] for key, facts in found.items()}


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_two_processes_come_to_what_one_does(store, backend):
    with joblib.parallel_config(backend, n_jobs=2):
        found = run(NUMBERS, square, study="two", store=store)
    assert os.getpid() not in {facts["process"] for facts in found.values()}
    assert list(found) == list(NUMBERS)
    assert squares(found) == squares(run(NUMBERS, square, study="one", store=store))
    assert store.outcomes("two") == found


@pytest.mark.parametrize("backend", ["loky", "multiprocessing"])
def test_what_is_done_is_kept_while_others_run(tmp_path, store, backend):
    jobs = {"quick": None, "patient": (f"sqlite:///{tmp_path}/store.sqlite", 1)}
    with joblib.parallel_config(backend, n_jobs=2):
        found = run(jobs, patient, study="s", store=store)
    assert found["patient"] == {"saw": ["quick"]}


def test_the_backend_of_the_user_is_left_as_it_was(store):
    from joblib.parallel import get_active_backend

    with joblib.parallel_config("multiprocessing", n_jobs=2):
        backend, _ = get_active_backend()
        assert run(NUMBERS, square, study="s", store=store)
        assert get_active_backend()[0] is backend and not backend.supports_return_generator


@pytest.fixture(scope="module")
def cluster():
    """Ray on this machine, two processors, asking for a token; joblib knows it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_AUTH_MODE", "token")  # read when Ray is imported
        patch.setenv("RAY_AUTH_TOKEN", "0" * 64)
        ray = pytest.importorskip("ray")
        from ray.util.joblib import register_ray

        ray.init(num_cpus=2, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
        register_ray()
        yield ray
        ray.shutdown()


@pytest.mark.slow
def test_a_ray_cluster_of_two(store, cluster):
    with joblib.parallel_config("ray", n_jobs=2):
        found = run(NUMBERS, square, study="s", store=store)
    assert squares(found) == {str(n): n * n for n in range(6)}
    assert os.getpid() not in {facts["process"] for facts in found.values()}


@pytest.mark.slow
def test_nothing_waits_behind_a_long_job_on_ray(tmp_path, store, cluster):
    quick = [f"quick {i}" for i in range(5)]
    jobs = {"long": (f"sqlite:///{tmp_path}/store.sqlite", 5)} | dict.fromkeys(quick)
    with joblib.parallel_config("ray", n_jobs=2):
        found = run(jobs, patient, study="s", store=store)
    assert found["long"] == {"saw": quick}


class SlowToRead:
    """What does jobs, and takes seconds to be read by all workers but the first of them."""

    def __init__(self, folder):
        self.folder = folder

    def __call__(self, job):
        if job is not None:
            time.sleep(60)
        time.sleep(1)  # until the others are being read
        raise ValueError("nothing to wait for")

    def __reduce__(self):
        return read_slowly, (self.folder,)


def read_slowly(folder):
    try:
        folder.mkdir()
    except FileExistsError:
        for _ in range(20):
            time.sleep(0.2)
    return SlowToRead(folder)


@pytest.mark.slow
@pytest.mark.parametrize("is_read", [True, False])
def test_a_job_that_fails_on_ray_ends_the_rest(tmp_path, store, cluster, is_read):
    """It is raised as it was, and what is under way beside it is stopped and given back."""
    jobs = {"broken": None, "long": (f"sqlite:///{tmp_path}/store.sqlite", 5)}
    do = SlowToRead(tmp_path / "read")
    if is_read:
        jobs, do = {"long": jobs["long"], "broken": "no pair at all"}, patient
    with joblib.parallel_config("ray", n_jobs=2), pytest.raises(ValueError) as raised:
        run(jobs, do, study="s", store=store)
    assert type(raised.value) is ValueError and "ray" not in str(raised.value)
    assert Leases(store, "s").take("long")
    for _ in range(200):  # left alone, the long job would hold a processor for a minute
        if cluster.available_resources().get("CPU") == 2:
            break
        time.sleep(0.1)
    else:
        pytest.fail("the long job still runs")
