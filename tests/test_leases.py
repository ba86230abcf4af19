"""leases.py and jobs.py: one owner a job, whoever dies."""

import subprocess
import sys
import threading
import time

import pytest

from headstart import jobs
from headstart.progress import listen
from headstart.store import leases
from headstart.store.leases import Leases, Owner
from headstart.store.store import open_store
from tests.listener import Notes


@pytest.fixture
def store(fresh_home):
    with open_store() as store:
        yield store


def test_a_job_has_one_owner(store):
    with Leases(store, "study") as mine, Leases(store, "study") as yours:
        assert mine.take("a") and not yours.take("a") and yours.take("b")
        mine.give_back("a")
        assert yours.take("a")
    with Leases(store, "study") as later:  # what was held was given back at the end
        assert later.take("a") and later.take("b")


HOLDER = """
import sys, time
from headstart.store.leases import Leases
from headstart.store.store import open_store
with open_store() as store, Leases(store, "study") as leases:
    print(leases.take("job"), flush=True)
    time.sleep(60)
"""


def test_the_job_of_a_killed_process_is_free_at_once(store):
    with subprocess.Popen([sys.executable, "-c", HOLDER], stdout=subprocess.PIPE) as holder:
        assert holder.stdout.readline() == b"True\n"
        with Leases(store, "study") as mine:
            assert not mine.take("job")
            holder.kill()
            holder.wait()
            assert mine.take("job")


def test_a_process_number_that_was_given_out_again_is_another_process():
    now = Owner.here()
    assert Owner(now.machine, now.pid, "1", "x").is_dead()
    assert Owner("another machine", 1, "1", "x").is_dead() is False  # nobody here knows


def test_what_was_not_given_back_is_free_for_the_same_process(store, monkeypatch):
    def fail(*_):
        raise OSError("no space left")

    with monkeypatch.context() as broken, pytest.raises(OSError, match="no space"):
        broken.setattr(store, "release", fail)
        with Leases(store, "study") as mine:
            assert mine.take("job")
    assert store.claim("study", "job", "x").owner == mine.owner  # its lease is there still
    with Leases(store, "study") as mine, Leases(store, "study") as yours:
        assert mine.take("job") and not yours.take("job")


def test_who_is_stopped_while_it_takes_a_job_gives_it_back(store, monkeypatch):
    claim = store.claim

    def stopped(*asked, **more):
        claim(*asked, **more)
        raise KeyboardInterrupt

    with monkeypatch.context() as broken, pytest.raises(KeyboardInterrupt):
        broken.setattr(store, "claim", stopped)
        with Leases(store, "study") as mine:
            mine.take("job")
    assert store.claim("study", "job", "x") is None


def test_who_waits_long_says_for_whom(store, monkeypatch):
    ears, pauses = Notes(), []

    def sleep(pause):
        pauses.append(pause)
        assert sum(pauses) < 60, "it says nothing"
        if ears.said:
            store.put_outcome("s", "a", {"n": 1})

    monkeypatch.setattr(jobs.time, "sleep", sleep)
    there = Owner("build-1 boot ns", 345, "12", "name")
    store.claim("s", "a", str(there))
    with listen(ears):
        assert jobs.run({"a": 1}, lambda n: {"n": n}, study="s", store=store) == {"a": {"n": 1}}
    assert ears.said == ["waiting for process 345 on build-1"]


def test_an_owner_elsewhere_is_dead_when_it_is_silent(store, monkeypatch):
    store.claim("study", "job", "elsewhere boot ns 12 345 name")
    clock = [100.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: clock[0])
    with Leases(store, "study") as mine:
        assert not mine.take("job")
        clock[0] += leases.SILENT_S + 1
        store.beat("study", "elsewhere boot ns 12 345 name")  # it lives
        assert not mine.take("job")
        clock[0] += leases.SILENT_S + 1
        assert mine.take("job")


def test_where_a_number_says_nothing_an_owner_is_dead_when_it_is_silent(store, monkeypatch):
    """As on macOS: a killed owner's number is in use again, maybe since the machine was started."""
    monkeypatch.setattr(leases, "_began", lambda pid: "alive" if leases.is_in_use(pid) else "")
    for job, pid in (("again", 1), ("free", 999999999)):
        store.claim("study", job, f"{leases.this_machine()} {pid} alive name")
    clock = [100.0]
    monkeypatch.setattr(leases.time, "monotonic", lambda: clock[0])
    with Leases(store, "study") as mine, Leases(store, "study") as yours:
        assert mine.take("free") and not mine.take("again")
        assert not yours.take("free")
        clock[0] += leases.SILENT_S + 1
        assert mine.take("again")
        store.beat("study", mine.owner)
        assert not yours.take("free")


def test_without_proc_a_number_in_use_is_all_that_is_known(monkeypatch):
    class Nowhere:
        def __init__(self, _):
            pass

        def read_text(self, **_):
            raise FileNotFoundError

        def exists(self):
            return False

    monkeypatch.setattr(leases, "Path", Nowhere)
    assert not Owner.here().is_known()
    assert not Owner.here().is_known()
    assert Owner(leases.this_machine(), 999999999, "alive", "x").is_dead()
    assert not Owner(leases.this_machine(), 1, "alive", "x").is_dead()


def test_a_lease_that_cannot_be_read_is_nobodys(store):
    store.claim("study", "job", "a damaged \ufffd owner")
    with Leases(store, "study") as mine:
        assert mine.take("job")


def test_a_clock_that_jumps_ends_no_lease(store, monkeypatch):
    store.claim("study", "job", "elsewhere boot ns 12 345 name")
    with Leases(store, "study") as mine:
        for day in (-86_400, 86_400):
            monkeypatch.setattr(time, "time", lambda day=day: day)
            assert not mine.take("job")


def test_an_owner_says_that_it_lives(store, monkeypatch):
    monkeypatch.setattr(leases, "BEAT_S", 0.01)
    with Leases(store, "study") as mine:
        assert mine.take("job")
        deadline = time.monotonic() + 20
        while not store.claim("study", "job", "x").beats and time.monotonic() < deadline:
            time.sleep(0.01)
        assert store.claim("study", "job", "x").beats


def test_two_that_share_a_study_do_each_job_once(fresh_home):
    done = []

    def do(n):
        time.sleep(0.01)
        done.append(n)
        return {"square": n * n}

    def work(found, name):
        with open_store() as store:
            found[name] = jobs.run({str(n): n for n in range(20)}, do, study="s", store=store)

    found = {}
    threads = [threading.Thread(target=work, args=(found, name)) for name in "ab"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert sorted(done) == list(range(20))
    assert found["a"] == found["b"] == {str(n): {"square": n * n} for n in range(20)}


def test_a_job_that_fails_is_free_for_another_try(store):
    def fail(_):
        raise RuntimeError("no")

    with pytest.raises(RuntimeError):
        jobs.run({"a": 1}, fail, study="s", store=store)
    assert jobs.run({"a": 1}, lambda n: {"n": n}, study="s", store=store) == {"a": {"n": 1}}


def test_what_is_not_whole_is_done_again(store):
    store.put_outcome("s", "a", {"n": 0})
    found = jobs.run({"a": 1}, lambda n: {"n": n}, study="s", store=store,
                     is_whole=lambda facts: facts["n"] > 0)  # fmt: skip
    assert found == {"a": {"n": 1}}
