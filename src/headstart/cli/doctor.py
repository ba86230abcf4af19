"""What is wrong with this installation or these data, and the fix."""

import functools
import importlib.metadata
import importlib.util
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, ParamSpec

from headstart.cli.options import MAX_SKIPPED
from headstart.data.dataset import Dataset, Row, Skipped, limit_skipped, listed
from headstart.data.pictures import decode
from headstart.errors import (
    HeadstartError,
    IntegrityError,
    SourceUnavailable,
    UnknownSource,
    UnreadableRow,
)
from headstart.machine import device, free_space_bytes, has_bfloat16, home, n_threads
from headstart.progress import track
from headstart.task import Kind, Modality
from headstart.units import plural

#: What Headstart cannot do without, by the name it is imported under.
NEEDED = (
    "torch", "torchvision", "timm", "transformers", "tokenizers", "safetensors",
    "huggingface_hub", "onnxruntime", "onnx", "sklearn", "scipy", "PIL", "h5py", "sqlalchemy",
    "alembic",
)  # fmt: skip

#: What makes more inputs readable, and the extra that brings it.
OPTIONAL = {"pandas": "parquet", "pyarrow": "parquet", "datasets": "datasets"}

#: Below this, features of a middling data set may not fit.
SPACE_BYTES = 2 * 10**9

P = ParamSpec("P")


@dataclass(frozen=True)
class Complaint:
    """One thing that was looked at.

    Parameters
    ----------
    what
        What was seen.
    fix
        What to do; empty where all is well.
    is_bad
        Whether something will not work.
    """

    what: str
    fix: str = ""
    is_bad: bool = False

    @property
    def mark(self) -> str:
        """A sign that needs no color."""
        return "bad " if self.is_bad else ("note" if self.fix else "ok  ")


def examine() -> list[Complaint]:
    """Look at the installation; nothing raises, and what ends several looks is told once."""
    found = [*_python(), *_modules(), *_torchvision(), *_space(), *_store(), *_shelf()]
    return list(dict.fromkeys(found))


def _guarded(look: Callable[P, Iterator[Complaint]]) -> Callable[P, Iterator[Complaint]]:
    """Let what ends a look be what it found: the other looks go on."""

    @functools.wraps(look)
    def guarded(*args: P.args, **kwargs: P.kwargs) -> Iterator[Complaint]:
        try:
            yield from look(*args, **kwargs)
        except Exception as error:  # an installation may be broken in any way
            what, _, fix = str(error).strip().partition("\n")
            kind = "" if isinstance(error, HeadstartError) else f"{type(error).__name__}: "
            yield Complaint(f"{kind}{what}", fix, is_bad=True)

    return guarded


@_guarded
def _python() -> Iterator[Complaint]:
    version = ".".join(map(str, sys.version_info[:3]))
    is_old = sys.version_info < (3, 11)
    yield Complaint(f"Python {version}", "Headstart needs Python 3.11." if is_old else "", is_old)
    threads = plural(n_threads(), "thread")
    half = "has" if has_bfloat16() else "has no"
    yield Complaint(f"{threads}; the processor {half} bfloat16; runs on {device()}")


@_guarded
def _modules() -> Iterator[Complaint]:
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        fix = "Install Headstart again: pip install headstart"
        yield Complaint(f"missing: {', '.join(missing)}", fix, is_bad=True)
    else:
        yield Complaint(f"all {len(NEEDED)} needed packages are installed")
    for name, extra in OPTIONAL.items():
        if importlib.util.find_spec(name) is None:
            yield Complaint(f"{name} is not installed", f"pip install 'headstart[{extra}]'")


@_guarded
def _torchvision() -> Iterator[Complaint]:
    # The mismatch many know: a torchvision for another torch breaks timm and transformers.
    from headstart.extras import ensure_torchvision

    try:
        state = ensure_torchvision()
    except Exception as error:
        fix = "Install a torchvision built for your torch: https://pytorch.org/get-started"
        yield Complaint(f"torchvision does not import: {error}", fix, is_bad=True)
        return
    versions = f"torchvision {_version('torchvision')}, torch {_version('torch')}"
    if state == "repaired":
        fix = (
            "Headstart repairs this for itself while it runs. In your own code, call "
            "headstart.extras.ensure_torchvision() before you import timm or transformers, or "
            "install a torchvision built for this torch."
        )
        yield Complaint(f"{versions}: its compiled part does not load", fix)
    elif state == "absent":
        fix = "pip install torchvision (timm needs it)"
        yield Complaint("torchvision is not installed", fix, is_bad=True)
    else:
        yield Complaint(f"{versions} fit each other")


def _version(package: str) -> str:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return "(absent)"


@_guarded
def _space() -> Iterator[Complaint]:
    place = home()
    free = free_space_bytes(place)
    is_little = free < SPACE_BYTES
    fix = f"Free some space, or set HEADSTART_HOME to another disk than {place}." * is_little
    yield Complaint(f"{free / 1e9:.1f} GB free for features in {place}", fix, is_little)


@_guarded
def _store() -> Iterator[Complaint]:
    from headstart.store.store import open_store

    open_store().close()
    yield Complaint("the store opens")


@_guarded
def _shelf() -> Iterator[Complaint]:
    from headstart.sources.catalog import shelf

    for entry in shelf():
        yield from _source(entry.source.uri)


@_guarded
def _source(uri: str) -> Iterator[Complaint]:
    from headstart.sources.catalog import resolve, verify
    from headstart.sources.hubs import looking

    try:
        with looking():
            verify(resolve(uri))
    except (SourceUnavailable, UnknownSource) as error:
        yield Complaint(f"{uri} is not here", str(error))
    except IntegrityError as error:
        yield Complaint(f"{uri}: wrong bytes", str(error), is_bad=True)
    else:
        yield Complaint(f"{uri}: its SHA-256 is right")


@_guarded
def examine_data(path: str, **options: Any) -> Iterator[Complaint]:
    """Read labelled data and decode every picture of them; nothing raises.

    Parameters
    ----------
    path
        As for `fit`.
    options
        As of `headstart.read`: the columns, the separator, the kind of labels.
    """
    from headstart.data.readers import read

    try:
        data = read(path, max_skipped=1.0, **options)
    except HeadstartError as error:
        yield Complaint(f"{path} cannot be used", str(error), is_bad=True)
        return
    bad = (*data.skipped, *_undecodable(data))
    n_classes = 0 if data.task is None else len(data.task.labels)
    named = f"{n_classes} classes or labels" if n_classes else "a number each"
    yield Complaint(f"{path}: {plural(len(data), 'row')}, {named}")
    yield from _single(data)
    yield from (Complaint(note) for note in data.notes)
    if bad:
        yield _unreadable(path, bad, len(data) + len(data.skipped))


def _single(data: Dataset) -> Iterator[Complaint]:
    """Say that most classes have one row: few examples, or a column that holds no classes."""
    if data.task is None or data.task.kind is not Kind.MULTICLASS:
        return
    targets: Any = data.targets
    n_single = Counter(Counter(targets.tolist()).values())[1]
    if 2 * n_single > len(data.task.labels):
        yield Complaint(
            f"{n_single:,} of {len(data.task.labels):,} classes have a single row",
            "A class is learned from several rows. Is the label in another column (--label), or a "
            "number? One is written with a point: 12.5.",
        )


def _unreadable(path: str, bad: Sequence[Skipped], n_rows: int) -> Complaint:
    """Say which rows cannot be used, and whether `fit` would go on without them."""
    try:
        limit_skipped(bad, n_rows, MAX_SKIPPED)
    except HeadstartError as error:
        return Complaint(f"{path}: too many rows cannot be used", str(error), is_bad=True)
    named = listed(bad, at_most=len(bad)).strip("\n")
    n = plural(len(bad), "row")
    return Complaint(f"{path}: {n} cannot be used", f"Mend or remove:\n{named}")


def _undecodable(data: Dataset) -> list[Skipped]:
    """Return the pictures that no reader can decode."""
    if data.modality is not Modality.IMAGE:
        return []
    with track("decoding", len(data)) as bar, ThreadPoolExecutor(n_threads()) as pool:
        found = []
        for i, reason in enumerate(pool.map(_reason, data.rows)):
            bar.advance()
            if reason:
                found.append(Skipped(data.name(i), reason))
    return found


def _reason(row: Row) -> str:
    """Return why a picture cannot be decoded; empty where it can."""
    try:
        decode(row, at_least=(32, 32))
    except UnreadableRow as error:
        return error.reason
    return ""
