"""Folders: a folder of pictures (or of text files) for each class, with or without splits above."""

import os
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from headstart.data.columns import SPLIT_NAMES
from headstart.data.dataset import TRAIN, UNASSIGNED, Skipped
from headstart.data.pictures import PICTURE_SUFFIXES, problem
from headstart.data.tables import decoded
from headstart.errors import DataError
from headstart.machine import LITTER
from headstart.task import Modality

#: Folders that systems make where a disk begins, or in an archive; people may not read some.
_OF_THE_SYSTEM = ("__MACOSX", "lost+found", "System Volume Information", "$RECYCLE.BIN")

#: Text files that may be named after one picture, on average.
MOST_TEXTS = 10


@dataclass(frozen=True)
class Found:
    """The files of a folder of class folders.

    Parameters
    ----------
    modality
        Pictures or text files.
    paths, labels, splits
        One a file.
    skipped
        Files that no reader can read, by their first bytes.
    notes
        What was passed over.
    """

    modality: Modality
    paths: tuple[Path, ...]
    labels: tuple[str, ...]
    splits: tuple[str, ...]
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


def class_folders(folder: Path) -> Found:
    """Find the files of a folder of class folders; nothing is decoded."""
    splits = split_folders(folder)
    tops = splits or {UNASSIGNED: folder}
    places = [
        (split, name, inner)
        for split, top in tops.items()
        for name, inner in sorted(_subfolders(top).items())
    ]
    files = {place: sorted(walk(place[2])) for place in places}
    suffixes = Counter(path.suffix.lower() for paths in files.values() for path in paths)
    modality = _modality([path for paths in files.values() for path in paths])
    wanted = PICTURE_SUFFIXES if modality is Modality.IMAGE else frozenset((".txt",))
    kept = {place: [p for p in files[place] if p.suffix.lower() in wanted] for place in places}
    if not any(kept.values()):
        raise DataError(_nothing(folder, suffixes))
    _refuse_deep(folder, kept)
    _refuse_bare_splits(kept)
    beside = set(_subfolders(folder).values()) - set(tops.values()) if splits else set()
    loose = [p for p in _outside({folder, *tops.values()}, beside) if p.suffix.lower() in wanted]
    _refuse_unknown(folder, splits, beside & {path.parent.parent for path in loose})
    return _found(modality, kept, [*_passed_over(suffixes, wanted), *_left_loose(loose)])


def _modality(files: Sequence[Path]) -> Modality:
    """Return what more of the files are: pictures, or texts that are named after none of them.

    >>> _modality([Path("1.jpg"), Path("1.txt"), Path("1_boxes.txt"), Path("notes.txt")])
    <Modality.IMAGE: 'image'>
    >>> _modality([Path("1.txt"), Path("2.txt"), Path("logo.svg")])
    <Modality.TEXT: 'text'>
    """
    pictures = [path for path in files if path.suffix.lower() in PICTURE_SUFFIXES]
    named = {(path.parent, path.stem) for path in pictures}
    texts = [path for path in files if path.suffix.lower() == ".txt"]
    n_texts = sum(named.isdisjoint((p.parent, stem) for stem in _stems(p)) for p in texts)
    # Of one picture hardly more than a few tell: its caption, its boxes.
    least = max(1, n_texts, len(texts) / MOST_TEXTS)
    return Modality.IMAGE if len(pictures) >= least else Modality.TEXT


def _stems(path: Path) -> list[str]:
    """Return the stems of what a file may be named after.

    >>> _stems(Path("img_1.jpg.txt"))
    ['img', 'img_1', 'img_1.jpg']
    """
    return [*(path.stem[: mark.start()] for mark in re.finditer(r"[\W_]", path.stem)), path.stem]


def split_folders(folder: Path) -> dict[str, Path]:
    """Return the folders inside that are splits, by the name of the split."""
    found: dict[str, Path] = {}
    for name, inner in sorted(_subfolders(folder).items()):
        split = SPLIT_NAMES.get(name.lower())
        if split in found:
            raise DataError(f"{found[split]} and {inner} are both the {split} rows: keep one.")
        if split is not None:
            found[split] = inner
    return found if any(_subfolders(inner) for inner in found.values()) else {}


def walk(folder: Path) -> Iterator[Path]:
    """Yield every file below a folder that is not hidden; links to folders are not followed.

    Raises
    ------
    DataError
        Where a folder cannot be read: what is in it would be lost without a word.
    """
    for place, inner, files in os.walk(folder, onerror=_refuse_closed):
        inner[:] = [name for name in inner if not _is_hidden(name)]
        yield from (Path(place, name) for name in files if not _is_hidden(name))


def _subfolders(folder: Path) -> dict[str, Path]:
    try:
        with os.scandir(folder) as entries:
            return {e.name: Path(e.path) for e in entries if e.is_dir() and not _is_hidden(e.name)}
    except OSError as error:
        _refuse_closed(error)


def inside(folder: Path) -> list[Path]:
    """Return what lies right in a folder, in order.

    Raises
    ------
    DataError
        Where it cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        _refuse_closed(error)


def _refuse_closed(error: OSError) -> NoReturn:
    raise DataError(
        f"The folder {error.filename} cannot be read: {error.strerror}.\n"
        "Let it be read, or move it out of the data."
    ) from error


def _is_hidden(name: str) -> bool:
    return name.startswith(".") or name in (*_OF_THE_SYSTEM, *LITTER)


Place = tuple[str, str, Path]


def _found(modality: Modality, kept: dict[Place, list[Path]], notes: list[str]) -> Found:
    paths, labels, splits, skipped = [], [], [], []
    for (split, label, inner), files in kept.items():
        if not files:
            notes.append(f"The class folder {inner} is empty and was left out.")
        for path in files:
            reason = problem(path) if modality is Modality.IMAGE else ""
            if reason:
                skipped.append(Skipped(str(path), reason))
                continue
            paths.append(path)
            labels.append(label)
            splits.append(split)
    columns = tuple(paths), tuple(labels), tuple(splits)
    return Found(modality, *columns, tuple(skipped), tuple(notes))


def _nothing(folder: Path, suffixes: Counter[str]) -> str:
    there = ", ".join(f"{n} × {suffix or 'no suffix'}" for suffix, n in suffixes.most_common(5))
    return (
        f"{folder} has no pictures in class folders"
        + (f" (what is there: {there})" if there else "")
        + f".\nExpected {folder}/CLASS/picture.jpg with a folder for each class, "
        f"or {folder}/train/CLASS/picture.jpg; also a CSV, TSV, JSONL or Parquet file."
    )


def _refuse_deep(folder: Path, kept: dict[Place, list[Path]]) -> None:
    """Refuse folders of folders of classes, where the class is a guess."""
    if any(path.parent == place[2] for place, files in kept.items() for path in files):
        return
    names = sorted({path.relative_to(folder).parts[0] for files in kept.values() for path in files})
    raise DataError(
        f"{folder} has folders inside of its folders: which ones are the classes?\n"
        f"Expected pictures right in the class folders; read one of them, for example "
        f"{folder / names[0]}."
    )


def _refuse_bare_splits(kept: dict[Place, list[Path]]) -> None:
    """Refuse splits that have no class folders: "train" and "test" are no classes."""
    named = {name: inner for (split, name, inner), files in kept.items() if files and not split}
    found = {SPLIT_NAMES.get(name.lower(), "") for name in named}
    bare = [inner for name, inner in named.items() if name.lower() in SPLIT_NAMES]
    if TRAIN in found and (len(found - {""}) > 1 or found == {TRAIN}):
        raise DataError(
            f"Named like splits, and without class folders: {', '.join(map(str, bare))}. What are "
            f"the classes?\nExpected a folder for each class in them, as {bare[0]}/CLASS/…, or a "
            "table with a column that names the files and one of their labels."
        )


def _outside(tops: Collection[Path], beside: Collection[Path]) -> list[Path]:
    """Return the files that are in no class folder."""
    files = [path for top in tops for path in top.iterdir() if path.is_file()]
    files += [path for folder in beside for path in walk(folder)]
    return sorted(path for path in files if not _is_hidden(path.name))


def _refuse_unknown(folder: Path, splits: dict[str, Path], unknown: Collection[Path]) -> None:
    """Refuse class folders beside the splits: a misspelled test split must not be lost."""
    if unknown:
        known = ", ".join(name for name in SPLIT_NAMES if name)
        raise DataError(
            f"{min(unknown)} has class folders, and lies beside "
            f"{' and '.join(f'{path.name}/' for path in splits.values())}: which split is it?\n"
            f"The names that are known are {known}. Rename it to one, or move it out of {folder}."
        )


def _left_loose(loose: Sequence[Path]) -> list[str]:
    if not loose:
        return []
    return [f"Passed over, in no class folder: {len(loose):,}, the first is {loose[0]}."]


def _passed_over(suffixes: Counter[str], wanted: frozenset[str]) -> list[str]:
    others = {suffix: n for suffix, n in suffixes.items() if suffix not in wanted}
    if not others:
        return []
    shown = ", ".join(f"{n:,} {suffix or 'without suffix'}" for suffix, n in others.items())
    return [f"Passed over by their suffix: {shown}."]


def text_files(paths: Sequence[Path]) -> tuple[list[str], list[str], tuple[str, ...]]:
    """Return a text a file, what is wrong with each ("" if nothing), and a note on all."""
    found = [_text_file(path) for path in paths]
    foreign = [path for path, (*_, notes) in zip(paths, found, strict=True) if notes]
    how = "as their byte-order mark says or, without one, as Windows-1252"
    said = f"Not plain UTF-8: {len(foreign):,}, the first is {min(foreign, default='')}"
    notes = (f"{said}; read {how}.",) if foreign else ()
    return [text for text, *_ in found], [reason for _, reason, _ in found], notes


def _text_file(path: Path) -> tuple[str, str, tuple[str, ...]]:
    try:
        text, notes = decoded(path.read_bytes(), "the file")
    except OSError as error:
        return "", error.strerror or str(error), ()
    except DataError as error:
        return "", str(error).partition("\n")[0], ()
    return text, "" if text.strip() else "no text", notes


def pictures_in(folder: Path) -> Sequence[Path]:
    """Return every picture below a folder, in order."""
    return sorted(path for path in walk(folder) if path.suffix.lower() in PICTURE_SUFFIXES)


def home_expanded(one: str) -> Path:
    """Return a path with the home that its "~" means; a text that only begins so stays."""
    try:
        return Path(one).expanduser()
    except RuntimeError:  # "~ 20 of them": nobody's home
        return Path(one)
