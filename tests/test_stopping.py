"""stopping.py: a signal waits for a safe point, and no longer than it must."""

import importlib
import os
import signal
import subprocess
import sys
import time

import pytest

from headstart import stopping


@pytest.fixture(autouse=True)
def listening():
    kept = {n: signal.getsignal(n) for n in (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)}
    stopping.listen()
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)


SIGNALS = [(signal.SIGTERM, stopping.Terminated), (signal.SIGINT, KeyboardInterrupt)]


@pytest.mark.parametrize(("sent", "raised"), SIGNALS)
def test_elsewhere_it_stops_at_once(sent, raised):
    with pytest.raises(raised):
        os.kill(os.getpid(), sent)
        time.sleep(1)


@pytest.mark.parametrize(("sent", "raised"), SIGNALS)
def test_it_waits_for_the_safe_point(sent, raised):
    done = []
    with pytest.raises(raised), stopping.safe_points():
        os.kill(os.getpid(), sent)
        done.append("the step under way")
        assert stopping.is_asked()
        stopping.stop_if_asked()
        done.append("another step")
    assert done == ["the step under way"]
    assert not stopping.is_asked()
    stopping.stop_if_asked()


def test_a_second_signal_does_not_wait():
    with pytest.raises(KeyboardInterrupt), stopping.safe_points():
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
        raise AssertionError("it waited")


def test_a_safe_point_that_does_not_come_is_not_waited_for(monkeypatch):
    monkeypatch.setattr(stopping, "PATIENCE_S", 0.05)
    with pytest.raises(stopping.Terminated), stopping.safe_points():
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(5)
        raise AssertionError("it waited")


def test_work_that_ends_meanwhile_stops_after_it():
    with pytest.raises(stopping.Terminated), stopping.safe_points():
        os.kill(os.getpid(), signal.SIGTERM)
    assert not stopping.is_asked()


def test_an_alarm_that_comes_too_late_stops_nothing():
    os.kill(os.getpid(), signal.SIGALRM)
    time.sleep(0.01)


STOPPED_HALF_MADE = """
import _imp, os, signal, sys, time
from headstart import stopping

make = _imp.create_dynamic

def made(spec, *rest):
    module = make(spec, *rest)
    if spec.name.startswith("onnx."):
        WHAT
    return module

def stop():
    os.kill(os.getpid(), signal.SIGINT)

_imp.create_dynamic = made
stopping.listen()
try:
    import onnx
    time.sleep(5)
except KeyboardInterrupt:
    print("stopped")
sys.exit(0)  # else CPython 3.11 sends itself the signal where the exception passed through `exec`
"""


@pytest.mark.parametrize("what", ["stop()", "stop(), stop()", "import stops"])
def test_a_native_module_is_not_left_half_made(what, tmp_path):
    """Taken down before it is filled, that of onnx ends the process with SIGSEGV."""
    code = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(0.001)\n"
    (tmp_path / "stops.py").write_text(code, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-c", STOPPED_HALF_MADE.replace("WHAT", what)],
        capture_output=True, text=True, timeout=60, cwd=tmp_path,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "stopped\n"), done.stderr


def test_the_code_of_a_module_stops_at_once(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    code = "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(1)\n1 / 0\n"
    (tmp_path / "slow_to_read.py").write_text(code, encoding="utf-8")
    with pytest.raises(KeyboardInterrupt):
        importlib.import_module("slow_to_read")


def test_an_import_that_hangs_is_not_waited_for(monkeypatch):
    class Hangs:
        def find_spec(self, name, path=None, target=None):
            os.kill(os.getpid(), signal.SIGTERM)
            time.sleep(0.02)
            found.append(name)
            time.sleep(5)

    found = []
    monkeypatch.setattr(stopping, "PATIENCE_S", 0.1)
    monkeypatch.setattr(sys, "meta_path", [Hangs()])
    with pytest.raises(stopping.Terminated):
        importlib.import_module("a_module_that_nobody_has")
    assert found == ["a_module_that_nobody_has"]
