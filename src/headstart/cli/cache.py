"""What Headstart keeps in its home: how much, what can go, and whether it is as it was written."""

import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from headstart.drafts import is_draft, remove, sweep
from headstart.errors import IntegrityError
from headstart.io import is_whole, read_sealed_json, sha256_file
from headstart.machine import home
from headstart.sources.files import is_kept_whole
from headstart.store.leases import is_under_way
from headstart.store.store import Shard, Store, open_store

#: The folders of the home, and what is in them.
KEPT = {
    "features": "features",
    "graphs": "compiled trunks",
    "sources": "moved and converted weights",
    "rankings": "what rankings decided",
    "outcomes": "what studies found",
}
#: A file that nothing names may be one that is being written: younger ones stay.
GRACE_S = 3600.0
#: Moved weights are copied into the model that is saved; until then only a running fit knows them.
MOVED_S = 86_400.0


@dataclass(frozen=True)
class Part:
    """One folder of the home.

    Parameters
    ----------
    name
        The folder.
    what
        What is in it, for people.
    n_files, n_bytes
        How much.
    """

    name: str
    what: str
    n_files: int
    n_bytes: int


@dataclass(frozen=True)
class Swept:
    """What was removed, the bytes that are free now, and what could not be removed."""

    removed: tuple[str, ...]
    n_bytes: int
    left: tuple[str, ...] = ()


@dataclass(frozen=True)
class Verified:
    """How many files were looked at, and those that are not as they were written.

    `left` names those of the damaged that could not be removed.
    """

    n_files: int
    damaged: tuple[str, ...]
    left: tuple[str, ...] = ()


def size() -> list[Part]:
    """Return what every folder of the home takes, and the store."""
    parts = [_part(name, what, list(_files(home() / name))) for name, what in KEPT.items()]
    return [*parts, _part("store", "facts", list(home().glob("store.sqlite*")))]


def collect(older_than_s: float | None = None) -> Swept:
    """Remove what nothing names: half-written and damaged files, files no fact speaks of.

    Parameters
    ----------
    older_than_s
        Remove too what was not read for so many seconds; it is made again where it is needed.
    """
    with open_store() as store:
        old = [] if older_than_s is None else [*_old(store, older_than_s)]
        found = dict.fromkeys([*_leftovers(), *_unnamed(store), *_moved(), *old])
        n_bytes = {path: _size(path) for path in found}
        for path in found:
            remove(path)
        _forget(store)
    _remove_empty(home())
    left = [path for path in found if path.exists()]
    gone = [path for path in found if path not in left]
    return Swept(_named(gone), sum(n_bytes.get(path, 0) for path in gone), _named(left))


def verify() -> Verified:
    """Read every byte that was written with its hash; what is damaged is removed, and made again.

    Cards of added sources have no hash: a person may change them.
    """
    damaged: list[str] = []
    left: list[Path] = []
    n_files = 0
    with open_store() as store:
        store.check()
        for path, is_whole in _looked_at(store):
            n_files += 1
            if not is_whole():
                damaged.append(str(path.relative_to(home())))
                remove(path)
                left += [path] if path.exists() else []
        _forget(store)
    return Verified(n_files, tuple(damaged), _named(left))


def _named(paths: Iterable[Path]) -> tuple[str, ...]:
    return tuple(str(path.relative_to(home())) for path in paths)


def _part(name: str, what: str, files: list[Path]) -> Part:
    return Part(name, what, len(files), sum(map(_size, files)))


def _size(path: Path) -> int:
    """Return the bytes of a file; 0 where it is gone meanwhile, as what is being written is."""
    try:
        return path.stat().st_size
    except FileNotFoundError:
        return 0


def _files(folder: Path) -> Iterator[Path]:
    yield from (path for path in sorted(folder.rglob("*")) if path.is_file())


def _leftovers() -> Iterator[Path]:
    """Remove what dead writers left, and yield files that were set aside as damaged."""
    for root in (home() / name for name in KEPT):
        for folder in [root, *(path for path in root.rglob("*") if path.is_dir())]:
            sweep(folder)
    yield from (path for name in KEPT for path in _files(home() / name) if path.suffix == ".bad")


def _unnamed(store: Store) -> Iterator[Path]:
    """Yield features, graphs and outcomes that no fact of the store speaks of."""
    features, graphs = home() / "features", home() / "graphs"
    named = {features / shard.file for shard in store.shards()}
    named |= {graphs / graph.file for graph in store.graphs()}
    studies = {home() / "outcomes" / study for study in store.studies()}
    for path in [*_files(features), *_files(graphs), *_files(home() / "outcomes")]:
        is_known = path in named or path.parent in studies or is_draft(path)
        if not is_known and _unused_s(path) > GRACE_S:
            yield path


def _moved() -> Iterator[Path]:
    """Yield weights that a fit moved, once no fit can be under way with them."""
    yield from (p for p in _files(home() / "sources" / "moved") if _unused_s(p) > MOVED_S)


def _old(store: Store, older_than_s: float) -> Iterator[Path]:
    """Yield every file of the home that was not used for so long, and forget old studies.

    Cards of added sources stay: a person wrote what they say, and nothing makes them again. What a
    study found goes as a whole: one under way reads at its end what it found at its beginning.
    """
    cards = home() / "sources" / "added"
    for path in (path for name in KEPT if name != "outcomes" for path in _files(home() / name)):
        if path.parent != cards and _unused_s(path) > older_than_s:
            yield path
    for study in store.studies():
        files = list(_files(home() / "outcomes" / study))
        is_old = bool(files) and all(_unused_s(path) > older_than_s for path in files)
        if is_old and not is_under_way(store, study):
            store.drop_study(study)
            yield from files


def _unused_s(path: Path) -> float:
    try:
        status = path.stat()
    except FileNotFoundError:  # someone else was quicker
        return 0.0
    return time.time() - max(status.st_mtime, status.st_atime)


def _forget(store: Store) -> None:
    """Drop the facts whose files are gone."""
    for shard in store.shards():
        if not (home() / "features" / shard.file).exists():
            store.drop_shard(shard.id)
    for graph in store.graphs():
        if graph.meta.get("reason", "") == "" and not (home() / "graphs" / graph.file).exists():
            store.drop_graph(graph.key)


def _remove_empty(folder: Path) -> None:
    for name in KEPT:
        folders = [path for path in (folder / name).rglob("*") if path.is_dir()]
        for path in sorted(folders, reverse=True):
            if not is_draft(path) and not any(path.iterdir()):
                remove(path)


def _looked_at(store: Store) -> Iterator[tuple[Path, Callable[[], bool]]]:
    """Yield every file that can be checked, and the check."""
    sources = home() / "sources"
    for shard in store.shards():
        yield home() / "features" / shard.file, partial(_is_shard_whole, store, shard)
    for graph in store.graphs():
        if graph.meta.get("reason", "") == "":
            path = home() / "graphs" / graph.file
            yield path, partial(_has_sha256, path, graph.sha256)
    for path, sha256 in _outputs(store):
        yield path, partial(_has_sha256, path, sha256)
    for path in _finished(sources / "moved"):
        yield path, partial(is_kept_whole, path)
    for path in sorted([*sources.glob("*.state"), *sources.glob("*.head")]):
        yield path, partial(is_whole, path)
    for path in [*_finished(home() / "rankings"), *_finished(sources / "hashes")]:
        yield path, partial(_passes, read_sealed_json, path)


def _finished(folder: Path) -> Iterator[Path]:
    """Yield the files of a folder that nobody is writing."""
    yield from (path for path in _files(folder) if not is_draft(path))


def _outputs(store: Store) -> Iterator[tuple[Path, str]]:
    """Yield every file of what a fit said of the test rows, and its hash; gone ones harm nobody."""
    for study in store.studies():
        for job, facts in store.outcomes(study).items():
            path = home() / "outcomes" / study / f"{job}.safetensors"
            if facts.get("outputs") and path.exists():
                yield path, facts["outputs"]


def _is_shard_whole(store: Store, shard: Shard) -> bool:
    path = home() / "features" / shard.file
    return store.shard(shard.id) is not None and _has_sha256(path, shard.sha256)


def _has_sha256(path: Path, sha256: str) -> bool:
    return path.exists() and sha256_file(path) == sha256


def _passes(check: Callable[[Path], object], path: Path) -> bool:
    try:
        check(path)
    except IntegrityError:
        return False
    return True
