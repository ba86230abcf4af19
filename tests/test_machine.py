"""machine.py: what the environment says, and what the machine says."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart import machine
from headstart.errors import UsageError


def test_home_is_where_the_environment_says(fresh_home):
    assert machine.home() == fresh_home.resolve()
    assert fresh_home.is_dir()


def test_home_is_in_the_cache_folder_otherwise(tmp_path, monkeypatch):
    monkeypatch.delenv("HEADSTART_HOME")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert machine.home() == (tmp_path / "headstart").resolve()


def test_a_home_that_is_a_file_is_explained(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "file"))
    with pytest.raises(UsageError, match="HEADSTART_HOME"):
        machine.home()


def test_without_a_home_of_the_user_ours_may_be_named(tmp_path, monkeypatch):
    """A container may run under a number that no user has."""

    def no_user(_):
        raise KeyError

    monkeypatch.setattr("pwd.getpwuid", no_user)
    monkeypatch.delenv("HOME")
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path))
    assert machine.home() == tmp_path.resolve()
    monkeypatch.delenv("HEADSTART_HOME")
    with pytest.raises(UsageError, match=r"home directory.\nExpected .* set HEADSTART_HOME"):
        machine.home()


def test_every_blas_runs_in_one_thread():
    # In a process of its own: SciPy's BLAS must be limited although nothing has loaded it yet.
    code = """
from headstart.machine import one_thread
from threadpoolctl import threadpool_info
with one_thread():
    import scipy.optimize
    threads = [pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"]
assert set(threads) == {1}, threads
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_overlapping_fits_leave_the_threads_as_they_were():
    """The first to leave limits nobody else; after the last all is as it was."""
    code = """
import scipy.linalg, scipy.optimize
from headstart.machine import one_thread
from threadpoolctl import threadpool_info
def threads():
    return sorted({pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"})
before = threads()
a, b = one_thread(), one_thread()
a.__enter__(); b.__enter__(); a.__exit__(None, None, None)
assert threads() == [1], threads()
b.__exit__(None, None, None)
assert threads() == before != [1], threads()
"""
    asked = {name: "2" for name in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS")}
    subprocess.run([sys.executable, "-c", code], check=True, env={**os.environ, **asked})


def test_a_process_may_hold_many_files():
    code = """
import resource
from headstart.machine import allow_many_files
hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
allow_many_files()
soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
assert soft >= min(hard if hard > 0 else 65536, 65536), (soft, hard)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_number_is_in_use_or_not():
    with subprocess.Popen([sys.executable, "-c", ""]) as child:
        assert machine.is_in_use(os.getpid()) and machine.is_in_use(child.pid)
    assert not machine.is_in_use(child.pid)  # it has ended, and was waited for


def test_threads(monkeypatch):
    monkeypatch.setenv("HEADSTART_THREADS", "3")
    assert machine.n_threads() == 3
    monkeypatch.delenv("HEADSTART_THREADS")
    assert 1 <= machine.n_threads() <= os.cpu_count()
    for wrong in ("0", "two", "-1"):
        monkeypatch.setenv("HEADSTART_THREADS", wrong)
        with pytest.raises(UsageError, match="HEADSTART_THREADS"):
            machine.n_threads()


def test_streams_are_named_and_apart():
    draw = [machine.seeds(*key).random() for key in ((0, "a"), (0, "a"), (1, "a"), (0, "a", "b"))]
    assert draw[0] == draw[1]
    assert len(set(draw)) == 3
    assert machine.seeds(0, "ab").random() != machine.seeds(0, "a", "b").random()


def test_streams_stay_the_same_from_version_to_version():
    # Recorded from the first version, not derived: a change here moves every split and score.
    assert machine.seeds(0, "split").integers(0, 1000, size=3).tolist() == [695, 659, 502]


def test_versions_are_found_without_importing():
    found = machine.versions()
    assert found["numpy"] == np.__version__
    assert {"python", "headstart", "torch", "onnxruntime"} <= found.keys()


def test_device(monkeypatch):
    monkeypatch.setenv("HEADSTART_DEVICE", "CPU")
    assert machine.device() == "cpu"
    monkeypatch.setenv("HEADSTART_DEVICE", "tpu")
    with pytest.raises(UsageError, match="HEADSTART_DEVICE"):
        machine.device()
    monkeypatch.delenv("HEADSTART_DEVICE")
    assert machine.device() in machine.DEVICES


def test_a_device_that_is_not_here_is_explained(monkeypatch):
    torch = pytest.importorskip("torch")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setenv("HEADSTART_DEVICE", "cuda")
    machine._checked_device.cache_clear()
    with pytest.raises(UsageError, match=r"HEADSTART_DEVICE='cuda', but .*\n.*unset"):
        machine.device()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.device() == "cuda"
    machine._checked_device.cache_clear()


@pytest.mark.gpu
def test_device_finds_the_accelerator(monkeypatch):
    monkeypatch.delenv("HEADSTART_DEVICE")
    assert machine.device() in ("cuda", "mps")


def test_memory_and_space(tmp_path):
    before = machine.peak_memory_bytes()
    held = np.ones(50_000_000, dtype=np.uint8)
    assert machine.peak_memory_bytes() >= max(before, held.nbytes)
    assert machine.free_space_bytes(tmp_path / "not" / "yet") > 0


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a child begins at its parent's peak")
def test_a_child_does_not_begin_at_the_peak_of_its_parent():
    held = np.ones(400_000_000, dtype=np.uint8)
    code = "from headstart import machine; print(machine.peak_memory_bytes())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < held.nbytes


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_bfloat16_is_what_the_processor_says():
    flags = Path("/proc/cpuinfo").read_text().split()
    assert machine.has_bfloat16() == ("avx512_bf16" in flags or "amx_bf16" in flags)


def test_resident_memory_grows_with_what_is_held():
    before = machine.resident_bytes()
    held = np.ones(8_000_000)
    assert machine.resident_bytes() - before > 0.9 * held.nbytes


TOUCHED = """
import contextlib, resource, sys
from headstart.machine import kept_memory

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

with kept_memory() if sys.argv[1] == "kept" else contextlib.nullcontext():
    for _ in range(3):
        start = faults()
        b"x" * 2**26  # more than glibc keeps by itself
        n = faults() - start
print(n)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="the allocator of glibc is tuned")
def test_memory_that_is_kept_is_not_asked_for_again():
    given_back, kept = (
        int(
            subprocess.run(
                [sys.executable, "-c", TOUCHED, how], capture_output=True, check=True
            ).stdout
        )
        for how in ("given back", "kept")
    )
    assert given_back > 1000  # 16,384 pages of 4 KiB, or fewer larger ones
    assert kept < given_back / 100


def test_kept_memory_is_given_back_at_the_end():
    before = machine.resident_bytes()
    with machine.kept_memory():
        held = [np.ones(2**23) for _ in range(4)]
        assert machine.resident_bytes() - before > 200e6
        del held
    assert machine.resident_bytes() - before < 100e6


def test_an_allocator_that_the_user_has_tuned_is_left_alone(monkeypatch):
    monkeypatch.setenv("MALLOC_ARENA_MAX", "2")
    monkeypatch.setattr("ctypes.CDLL", None)  # calling it would fail
    with machine.kept_memory():
        pass
