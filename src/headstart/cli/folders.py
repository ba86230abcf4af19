"""Where a run goes: a folder by the name of its data, that says what was learned of which data."""

import os
from pathlib import Path

from headstart.errors import UsageError
from headstart.task import Task

#: Names that say nothing of the data they are of.
_COMMON_NAMES = frozenset(
    "train training test val valid validation dev data dataset datasets image images img imgs "
    "picture pictures photo photos text texts csv labels labeled labelled all raw".split()
)


#: What a run's folder may hold, and what that is called.
HELD = {"model": "a model", "evidence": "a proof"}

#: Says of a run which data it is about, what is learned of them, and from what.
_RECORD = "run.json"


def run_folder(out: Path | None, data: str, task: Task, *parts: str) -> Path:
    """Return the run's folder, the one that was named or the default one, before any work is done.

    Parameters
    ----------
    out
        What was named; None: nothing.
    data, task
        As of `default_folder`.
    parts
        What will be written there, of `HELD`.

    Raises
    ------
    UsageError
        Where what is there may not be replaced.
    """
    from headstart.io import check_replaceable

    folder = out or default_folder(data, task)
    for part in parts:
        check_replaceable(folder / part)
    return folder


def default_folder(data: str, task: Task) -> Path:
    """Return the run's folder by the name of the data, if it is not another run's.

    Parameters
    ----------
    data
        Where the data are, as a person typed it.
    task
        What is learned of them.

    Raises
    ------
    UsageError
        Where it holds a model or a proof of other data, or of another task of these.
    """
    from headstart.io import read_json

    folder = Path("runs") / _name_of(_absolute(data))
    record = folder / _RECORD
    held = next((what for what in HELD if (folder / what).exists()), "")
    other = _other(read_json(record), _facts(data, task)) if held and record.exists() else ""
    if other:
        raise UsageError(
            f"{folder} holds {HELD[held]} of {other}.\n"
            "Name the folder with --out (that one too, if what it holds is to be replaced)."
        )
    return folder


def record(data: str, folder: Path, task: Task, source: str) -> None:
    """Write into the run's folder which data it is about, what is learned, and from what."""
    from headstart.io import write_json

    write_json(folder / _RECORD, {**_facts(data, task), "source": source})


def _facts(data: str, task: Task) -> dict[str, str]:
    """Return what tells one run from another."""
    return {"data": str(_absolute(data)), "label": task.target, "kind": task.kind.value}


def _other(recorded: dict[str, str], ours: dict[str, str]) -> str:
    """Say which other data, or other task, a record is of; older ones say nothing of the task.

    >>> ours = {"data": "a.csv", "label": "stars", "kind": "multiclass"}
    >>> _other(ours | {"kind": "regression"}, ours), _other({"data": "a.csv"}, ours)
    ("another task of these data: 'stars' (regression)", '')
    """
    there = ours | recorded
    if there["data"] != ours["data"]:
        return f"other data: {there['data']}"
    if any(there[name] != ours[name] for name in ours):
        named = f"{there['label']!r} " if there["label"] else ""
        return f"another task of these data: {named}({there['kind']})"
    return ""


def started(folder: Path, fresh: bool) -> Path:
    """Return the run's folder, its checkpoints removed if it is to start anew.

    A model that is there stays until it is replaced.
    """
    from headstart.runs import Run

    if fresh:
        with Run(folder) as run:
            run.forget_unused()
    return folder


def _absolute(data: str) -> Path:
    """Return a path with neither "~" nor ".." in it; links keep their names."""
    return Path(os.path.abspath(os.path.expanduser(data)))  # noqa: PTH100, PTH111 (never raises)


def _name_of(path: Path) -> str:
    """Return the name of the data, after the folders' that tell it from others of that name.

    >>> _name_of(Path("/work/pets/train.csv")), _name_of(Path("/work/reviews.csv"))
    ('pets-train', 'reviews')
    """
    names = [path.name if path.is_dir() else path.stem]
    for parent in path.parents:
        if names[-1].lower() not in _COMMON_NAMES or not parent.name:
            break
        names.append(parent.name)
    return "-".join(reversed(names)).strip(".") or "data"
