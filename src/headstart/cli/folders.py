"""Where a run goes: a folder by the name of its data, that says which data they were."""

import os
from pathlib import Path

from headstart.errors import UsageError

#: Names that say nothing of the data they are of.
_COMMON_NAMES = frozenset(
    "train training test val valid validation dev data dataset datasets image images img imgs "
    "picture pictures photo photos text texts csv labels labeled labelled all raw".split()
)


#: What a run's folder may hold, and what that is called.
HELD = {"model": "a model", "evidence": "a proof"}


def default_folder(data: str) -> Path:
    """Return the run's folder by the name of the data, unless a model of other data is there."""
    from headstart.io import read_json

    folder = Path("runs") / _name_of(_absolute(data))
    record = folder / _RECORD
    held = next((what for what in HELD if (folder / what).exists()), "")
    if held and record.exists():
        other = read_json(record).get("data")
        if other != str(_absolute(data)):
            raise UsageError(
                f"{folder} holds {HELD[held]} of other data: {other}.\n"
                "Name the folder with --out (that one too, if what it holds is to be replaced)."
            )
    return folder


#: Says of a run which data it is about.
_RECORD = "run.json"


def record(data: str, folder: Path) -> None:
    """Write into the run's folder which data it is about."""
    from headstart.io import write_json

    write_json(folder / _RECORD, {"data": str(_absolute(data))})


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
