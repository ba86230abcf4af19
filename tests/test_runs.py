"""runs.py: one owner, and checkpoints that are whole."""

import errno
import fcntl
import os
import platform
import re
import subprocess
import sys
import time

import numpy as np
import pytest

from headstart.errors import Busy, ResourceError, UsageError
from headstart.lock import own
from headstart.machine import this_machine
from headstart.runs import Run
from tests.drafts import draft_of

ARRAYS = {
    "weight": np.array([[1.0, 2.0]], dtype=np.float32),
    "state": np.arange(5, dtype=np.uint8),
    "step": np.array(3),
    "odd": np.arange(6, dtype=">f8").reshape(2, 3).T,
}


def test_a_checkpoint_comes_back(tmp_path):
    facts = {"epoch": 2, "best": float("inf"), "random": {"state": 2**127 + 1}}
    with Run(tmp_path / "run") as run:
        assert run.latest("train") is None
        run.checkpoint("train", ARRAYS, facts)
    with Run(tmp_path / "run") as run:
        arrays, found = run.latest("train")
    assert found == facts
    assert arrays.keys() == ARRAYS.keys()
    for name, array in ARRAYS.items():
        np.testing.assert_array_equal(arrays[name], array)
        assert arrays[name].shape == array.shape


def test_the_newest_two_stay_and_names_are_apart(tmp_path):
    with Run(tmp_path) as run:
        for step in range(5):
            run.checkpoint("train", {}, {"step": step})
        run.checkpoint("train-2", {}, {"step": 99})
        assert run.latest("train")[1] == {"step": 4}
        assert len(list((tmp_path / "checkpoints").iterdir())) == 3
        run.forget("train")
        assert run.latest("train") is None
        assert run.latest("train-2")[1] == {"step": 99}


@pytest.mark.parametrize("at", [20, -1])
def test_a_bad_checkpoint_is_set_aside_and_the_one_before_is_used(tmp_path, at):
    with Run(tmp_path) as run:
        run.checkpoint("train", ARRAYS, {"step": 1})
        run.checkpoint("train", ARRAYS, {"step": 2})
        newest = sorted((tmp_path / "checkpoints").iterdir())[-1]
        data = bytearray(newest.read_bytes())
        data[at] ^= 1
        newest.write_bytes(data)
        assert run.latest("train")[1] == {"step": 1}
        assert newest.with_suffix(".bad").exists()
        run.checkpoint("train", ARRAYS, {"step": 3})
        assert run.latest("train")[1] == {"step": 3}


def test_a_name_stays_in_its_folder(tmp_path):
    with Run(tmp_path) as run, pytest.raises(UsageError, match="checkpoint name"):
        run.checkpoint("../away", {}, {})


def test_a_second_owner_is_told_who_the_first_is(tmp_path):
    with Run(tmp_path):
        with pytest.raises(Busy, match=f"process {os.getpid()}") as caught, Run(tmp_path):
            raise AssertionError("two owners")
        assert caught.value.exit_code == 75
    with Run(tmp_path):
        pass


@pytest.mark.parametrize("seal", ["manifest.json", "bundle.json"])
def test_a_saved_model_is_no_folder_of_a_run(tmp_path, seal):
    (tmp_path / seal).write_text("{}")
    with pytest.raises(UsageError, match=f"saved model or proof .it holds {seal}"), Run(tmp_path):
        raise AssertionError("owned")
    assert [path.name for path in tmp_path.iterdir()] == [seal]  # a lock is in no manifest


def test_a_killed_owner_frees_the_folder(tmp_path):
    code = (
        "import sys, time\nfrom headstart.runs import Run\n"
        "with Run(sys.argv[1]) as run:\n"
        "    run.checkpoint('train', {}, {'step': 1})\n"
        "    print('mine', flush=True)\n"
        "    time.sleep(60)\n"
    )
    command = [sys.executable, "-c", code, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as owner:
        assert owner.stdout.readline() == "mine\n"
        with pytest.raises(Busy, match=str(owner.pid)), Run(tmp_path):
            raise AssertionError("two owners")
        owner.kill()
    time.sleep(0.05)
    leftover = draft_of(tmp_path / "checkpoints" / "x", owner.pid)
    leftover.write_bytes(b"half")
    with Run(tmp_path) as run:
        assert run.latest("train")[1] == {"step": 1}
    assert not leftover.exists()


@pytest.mark.parametrize("number", [errno.ENOTSUP, errno.ENOLCK])
def test_a_file_system_without_locks_is_told(tmp_path, monkeypatch, number):
    def refuse(*_):
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(ResourceError, match="cannot be locked") as caught:
        own(tmp_path / ".lock")
    assert os.strerror(number) in str(caught.value)


@pytest.mark.parametrize(
    ("said", "told"),
    [
        (f"{os.getpid()} {this_machine()}", f"(process {os.getpid()} on {platform.node()})"),
        (f"{os.getpid()}", f"(process {os.getpid()} on {platform.node()})"),
        ("999999999 build-1 boot pid:[4]", "(process 999999999 on build-1)"),
        (f"999999999 {this_machine()}", "(process unknown)"),
        ("", "(process unknown)"),
    ],
    ids=["alive", "of an older version", "of another machine", "the owner before", "not yet"],
)
def test_a_lock_says_who_has_it_and_where(tmp_path, monkeypatch, said, told):
    monkeypatch.setattr(time, "sleep", lambda _: None)
    with own(tmp_path / ".lock") as lock:
        assert (tmp_path / ".lock").read_text() == f"{os.getpid()} {this_machine()}"
        lock.truncate(0)
        lock.write(said)
        lock.flush()
        with pytest.raises(Busy, match=re.escape(told)):
            own(tmp_path / ".lock")
