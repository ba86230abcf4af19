"""stopping.py: a signal waits for a safe point, and no longer than it must."""

import os
import signal
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
