"""R1 and R2: killed at any time, at any call; the same command again comes to the same bytes.

The long tier (`make chaos`) does the same with thousands of kills.
"""

import shutil
import signal

import pytest

from tests.faults.killer import killed, material
from tests.faults.points import swept
from tests.faults.server import Server

needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="no strace here: apt-get install strace"
)


@pytest.fixture(scope="module")
def server():
    with Server() as server:
        yield server


@pytest.fixture(scope="module")
def jobs(tmp_path_factory):
    return material(tmp_path_factory.mktemp("material"))


@pytest.mark.parametrize("name", ["probe", "finetune", "prove", "rank", "extract"])
def test_kill_9_at_a_random_time_loses_nothing(name, server, jobs, tmp_path):
    tally = killed(server, jobs[name], 12, tmp_path)
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
