"""drafts.py: what a dead writer left goes, what a living one writes stays."""

import os
import time

from headstart import drafts, io
from headstart.drafts import sweep
from tests.drafts import draft_of


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_sweep_spares_the_living(tmp_path):
    living = draft_of(tmp_path / "a.txt", os.getpid())
    living.write_text("half")
    (tmp_path / ".mine.tmp").write_text("a user's own")
    sweep(tmp_path)
    assert names(tmp_path) == [living.name, ".mine.tmp"]


def left_elsewhere(folder, monkeypatch):
    """Return a file and a folder that another machine is writing, and a file of an older version.

    No process here has their numbers.
    """
    with monkeypatch.context() as elsewhere:
        elsewhere.setattr(drafts, "this_machine", lambda: "another machine")
        left = [draft_of(folder / name, 999999999) for name in ("a.txt", "model")]
    left.append(folder / ".a.txt.999999999-00000000.tmp")
    for file in (left[0], left[1] / "deep" / "a.txt", left[2]):
        io.write_text(file, "half")
    return left


def age(path, days):
    at = time.time() - days * 86_400
    os.utime(path, (at, at))


def test_sweep_spares_for_a_day_what_other_machines_write(tmp_path, monkeypatch):
    left = left_elsewhere(tmp_path, monkeypatch)
    sweep(tmp_path)
    assert names(tmp_path) == sorted(draft.name for draft in left)
    for path in tmp_path.rglob("*"):
        age(path, 0.9)
    sweep(tmp_path)
    assert names(tmp_path) == sorted(draft.name for draft in left)
    for path in tmp_path.rglob("*"):
        age(path, 1.1)
    io.write_text(left[1] / "deep" / "b.txt", "the folder above it is as old as before")
    sweep(tmp_path)
    assert names(tmp_path) == [left[1].name]
    for path in tmp_path.rglob("*"):
        age(path, 1.1)
    sweep(tmp_path)
    assert names(tmp_path) == []


def test_what_is_swept_is_out_of_the_way_before_it_is_removed(tmp_path, monkeypatch):
    draft = draft_of(tmp_path / "model", 999999999)
    io.write_text(draft / "a.txt", "half")
    with monkeypatch.context() as stopped:  # as if the sweep were killed here
        stopped.setattr(drafts, "remove", lambda path: None)
        sweep(tmp_path)
    (aside,) = tmp_path.iterdir()
    assert aside != draft and names(aside) == ["a.txt"]
    aside.rename(draft_of(tmp_path / "model", 999999999))
    sweep(tmp_path)
    assert names(tmp_path) == []
