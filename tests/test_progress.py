"""progress.py: events reach the listener of the block, and nobody else."""

import threading

import pytest

from headstart.progress import listen, track


class Notebook:
    def __init__(self):
        self.lines = []

    def start(self, name, total, unit):
        self.lines.append(f"start {name} {total} {unit}")
        return name

    def advance(self, token, n):
        self.lines.append(f"{token} +{n}")

    def note(self, token, text):
        self.lines.append(f"{token}: {text}")

    def finish(self, token):
        self.lines.append(f"finish {token}")


def test_events_in_their_order():
    notebook = Notebook()
    with listen(notebook), track("outer", 2) as outer:
        outer.advance()
        with track("inner", None, "steps") as inner:
            inner.note("hello")
    with track("unheard"):
        pass
    assert notebook.lines == [
        "start outer 2 rows",
        "outer +1",
        "start inner None steps",
        "inner: hello",
        "finish inner",
        "finish outer",
    ]


def test_a_failure_finishes_too():
    notebook = Notebook()
    with pytest.raises(ZeroDivisionError), listen(notebook), track("work"):
        _ = 1 / 0
    assert notebook.lines[-1] == "finish work"


def test_progress_may_be_handed_to_a_thread():
    notebook = Notebook()
    with listen(notebook), track("work") as progress:
        thread = threading.Thread(target=progress.advance, args=(5,))
        thread.start()
        thread.join()
    assert "work +5" in notebook.lines
