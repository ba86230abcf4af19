"""R1 and R2: killed at any time, at any call; the same command again comes to the same bytes.

The long tier (`make chaos`) does the same with thousands of kills.
"""

import os
import shutil
import signal
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.faults.killer import killed, material
from tests.faults.points import swept
from tests.faults.server import Server

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="no strace here: apt-get install strace"
)


NAMES = ("probe", "finetune", "prove", "rank", "extract")


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    return material(tmp_path_factory.mktemp("material"))


@pytest.fixture(scope="module")
def tallies(jobs, tmp_path_factory):
    """What came of the kills of each job; they are killed side by side, a core a job."""

    def tally(name):
        with Server(HEADSTART_THREADS="1") as server:
            return killed(server, jobs[name], 12, tmp_path_factory.mktemp(name))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        yield {name: pool.submit(tally, name) for name in NAMES}


@pytest.mark.parametrize("name", NAMES)
def test_kill_9_at_a_random_time_loses_nothing(name, tallies):
    tally = tallies[name].result()
    assert tally.lost == []
    assert tally.n_kills >= 12


def test_a_stop_at_a_random_time_loses_nothing(server, jobs, tmp_path):
    """R4: SIGTERM and Ctrl-C exit with 143 and 130, and the same command goes on."""
    ways = ((signal.SIGTERM, 143), (signal.SIGINT, 130))
    tally = killed(server, jobs["finetune"], 6, tmp_path, ways=ways)
    assert tally.lost == []
    assert tally.n_kills >= 6


@needs_strace
def test_a_kill_at_every_call_of_a_save_leaves_the_old_model_or_the_new(tmp_path):
    found = swept("save", tmp_path)
    assert found.wrong == []
    assert found.n_points > 20
    assert found.n_old and found.n_new


@needs_strace
def test_a_disk_that_fails_is_never_taken_for_one_that_wrote(tmp_path):
    found = swept("save", tmp_path, fault="error=EIO", calls=("write", "fsync", "rename"), every=2)
    assert found.wrong == []
    assert found.n_old
