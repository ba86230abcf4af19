"""Read: anything a person keeps labelled data in becomes a Dataset.

A guess is made only where it is unambiguous, and is said in `notes`; else the error lists what is
there and which option decides. What cannot be used is skipped up to a limit, and named.
"""

import dataclasses
import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.columns import (
    SPLIT_NAMES,
    Roles,
    column_error,
    learned_roles,
    roles,
    split_key,
    table_error,
)
from headstart.data.dataset import (
    UNASSIGNED,
    Dataset,
    Row,
    Skipped,
    from_arrays,
    limit_skipped,
    listed,
    pick,
)
from headstart.data.folders import Found, class_folders, pictures_in, split_folders, walk
from headstart.data.pictures import PICTURE_SUFFIXES, problem
from headstart.data.tables import TABLE_SUFFIXES, Table, decoded, lines_of, read_table, table_of
from headstart.data.tagged import encode_tags, named, words_row
from headstart.data.targets import Targets, encode, encode_columns, is_missing
from headstart.data.words import sentence
from headstart.errors import DataError, UnreadableRow, UsageError
from headstart.task import Kind, Modality


@dataclass(frozen=True)
class _Options:
    """What the user said about the data."""

    text: str | None = None
    image: str | None = None
    label: str | None = None
    separator: str | None = None
    kind: Kind | str | None = None
    max_skipped: float = 0.01
    columns: tuple[str, ...] = ()
    strict: bool = False


def read(  # noqa: PLR0913  (as many options as there are kinds of files)
    source: Any,
    *,
    text: str | None = None,
    image: str | None = None,
    label: str | None = None,
    separator: str | None = None,
    kind: Kind | str | None = None,
    max_skipped: float = 0.01,
    strict: bool = False,
) -> Dataset:
    """Read labelled data.

    Parameters
    ----------
    source
        A folder with a folder of pictures for each class, in splits (train, val, test) or not; a
        CSV, TSV, JSONL, JSON, Parquet or CoNLL file, or a folder of such files named by split; a
        DataFrame, a Hugging Face dataset, a list of records, columns, or a pair of rows and labels.
    text, image
        The column that is read; guessed if unambiguous.
    label
        The column of labels; guessed if unambiguous. Several columns of 0 and 1 stand with commas
        between them: "red,green,blue".
    separator
        What stands between the labels of a row that has several.
    kind
        "multiclass", "multilabel" or "regression", where the guess is wrong.
    max_skipped
        The share of rows that may be unusable, from 0 to 1. They are named in `Dataset.skipped`.
    strict
        Refuse tags that are no legal BIO (or BIOES), and spans that cut words or overlap, instead
        of mending them.

    Raises
    ------
    DataError
        What came, what was expected, and which option helps.

    Examples
    --------
    >>> read([{"body": "an ant", "label": "ant"}, {"body": "a bee", "label": "bee"}])
    Dataset(text, 2 rows, multiclass, 2 labels)
    """
    if not 0 <= max_skipped <= 1:
        raise UsageError(f"max_skipped={max_skipped}: expected a share from 0 to 1.")
    if kind is not None and kind not in tuple(Kind):
        raise UsageError(f"kind={kind!r}: expected one of {', '.join(Kind)}, or None to guess.")
    options = _Options(text, image, label, separator, kind, max_skipped, strict=strict)
    if isinstance(source, Dataset):
        return source.check()
    if isinstance(source, str | Path):
        return _read_path(_home_expanded(str(source)), options).check()
    return _read_object(source, options).check()


def read_rows(
    inputs: Sequence[str | Path],
    modality: Modality | str,
    *,
    text: str | None = None,
    image: str | None = None,
    columns: Sequence[str] = (),
) -> Dataset:
    """Read rows without labels, to predict them.

    Parameters
    ----------
    inputs
        Files, folders and patterns of pictures; tables; text files with a row a line; or, where
        texts are read, the texts themselves.
    modality
        What the model reads.
    text, image
        The column of a table.
    columns
        The columns the model learned from (`Dataset.columns`): they are read from a table, in
        this order, where neither `text` nor `image` is said. Empty: guessed if unambiguous.

    Raises
    ------
    DataError
        Nothing to predict, a column that is not there, or rows the model does not read.

    Examples
    --------
    >>> read_rows(["I lost my card"], "text").rows
    ('I lost my card',)
    """
    wanted = Modality(modality)
    if isinstance(inputs, str | Path):
        inputs = [inputs]
    options = _Options(text=text, image=image, columns=tuple(columns))
    parts = [part for one in inputs for part in _input(str(one), wanted, options)]
    data = _joined_rows(wanted, parts)
    if len(data) == 0:
        shown = ", ".join(map(str, inputs)) or "no input"
        raise DataError(f"Nothing to predict in {shown}.{listed(data.skipped)}")
    return data


def rows_of(source: Any, modality: Modality | str, columns: Sequence[str] = ()) -> Dataset:
    """Return rows that are in memory, without labels, in their order and all of them.

    Parameters
    ----------
    source
        A list, an array, a column, a DataFrame, a Hugging Face dataset, a list of records, or a
        `Dataset`, which is returned as it is.
    modality
        What the model reads.
    columns
        The columns the model learned from; they are taken from a table by their names.

    Raises
    ------
    UnreadableRow
        Where a cell holds no row.
    DataError
        Where a column is not there, or the rows are of another kind.

    Examples
    --------
    >>> rows_of([{"body": "an ant", "n": 1}], "text").rows
    ('an ant',)
    """
    if isinstance(source, Dataset):
        return source
    if isinstance(source, str | bytes | Path):
        raise UsageError("Expected a list of rows, got a single one.\nPut it in a list: [row].")
    wanted = Modality(modality)
    table = table_of(source)
    if table is None or (wanted is Modality.VECTOR and not columns):
        return from_arrays(source, modality=wanted)
    part = _from_unlabelled(table, wanted, _Options(columns=tuple(columns)))
    if part[2]:
        raise UnreadableRow(part[2][0].row, part[2][0].reason)
    return _joined_rows(wanted, [part])


def _read_path(path: Path, options: _Options) -> Dataset:
    if path.is_dir():
        files = _split_files(path)
        if files:
            return _read_splits({s: read_table(file) for s, file in files.items()}, options)
        return _from_folder(class_folders(path), options)
    if not path.exists():
        raise DataError(
            f"{path} does not exist.\nExpected a folder or a table; is it {_near(path)}"
        )
    return _from_table(read_table(path), options)


def _near(path: Path) -> str:
    """Return the end of a question: what lies beside a path that does not exist."""
    if not path.parent.is_dir():
        return f"in another folder? {path.parent} does not exist either."
    there = sorted(p.name for p in path.parent.iterdir() if not p.name.startswith("."))
    return f"one of {', '.join(there[:8])}?" if there else "elsewhere? The folder is empty."


def _split_files(folder: Path) -> dict[str, Path]:
    """Return the tables of a folder that are named by a split: train.csv, test.csv."""
    files = [p for p in sorted(folder.iterdir()) if p.suffix.lower() in TABLE_SUFFIXES]
    named = [(SPLIT_NAMES.get(p.stem.lower()), p) for p in files]
    found = {split: p for split, p in named if split}
    if len(found) < sum(bool(split) for split, _ in named):
        raise DataError(
            f"{folder} has two tables for one split: {', '.join(p.name for p in files)}."
        )
    return found if "train" in found and not split_folders(folder) else {}


def _read_object(source: Any, options: _Options) -> Dataset:
    if isinstance(source, tuple) and len(source) == 2:
        return from_arrays(*source, kind=options.kind)
    if isinstance(source, Mapping) and source and all(map(_is_table, source.values())):
        named = {SPLIT_NAMES.get(str(name).lower(), ""): part for name, part in source.items()}
        if len(named) < len(source) or "" in named:
            raise DataError(f"Splits named {list(source)}: expected train, validation and test.")
        return _read_splits({s: _needed_table(part) for s, part in named.items()}, options)
    table = table_of(source)
    return from_arrays(source) if table is None else _from_table(table, options)


def _is_table(part: Any) -> bool:
    return hasattr(part, "columns") or hasattr(part, "column_names")


def _needed_table(part: Any) -> Table:
    table = table_of(part)
    if table is None:
        raise DataError(f"A split of type {type(part).__name__}: expected a table.")
    return table


def _read_splits(tables: dict[str, Table], options: _Options) -> Dataset:
    """Read several tables with the same columns as one; each is a split."""
    first = next(iter(tables.values()))
    chosen = roles(first, options.text, options.image, options.label)
    needed = (*chosen.inputs, *chosen.labels)
    for split, table in tables.items():
        lacking = [name for name in needed if name not in table.columns]
        if lacking:
            raise column_error(table, f"The {split} rows have no column {lacking}.", "--label")
    columns: dict[str, Sequence[Any]] = {
        name: [cell for table in tables.values() for cell in table.columns[name]] for name in needed
    }
    columns[_SPLIT] = [split for split, table in tables.items() for _ in range(len(table))]
    whole = Table(
        columns,
        [name for table in tables.values() for name in table.names],
        folder=first.folder,
        class_names=first.class_names,
        skipped=tuple(row for table in tables.values() for row in table.skipped),
        notes=tuple(note for table in tables.values() for note in table.notes),
    )
    return _with_roles(whole, dataclasses.replace(chosen, split=_SPLIT), options)


_SPLIT = "\0split"  # no file has a column of this name


def _from_folder(found: Found, options: _Options) -> Dataset:
    rows: Sequence[Row] = found.paths
    names = [str(path) for path in found.paths]
    notes = found.notes
    if found.modality is Modality.TEXT:
        read_files = [decoded(path.read_bytes(), str(path)) for path in found.paths]
        rows = [text for text, _ in read_files]
        notes += tuple(note for _, more in read_files for note in more)
    limit_skipped(found.skipped, len(rows) + len(found.skipped), options.max_skipped)
    encoded = encode(found.labels, kind=options.kind or Kind.MULTICLASS, name="folder")
    split = np.array(found.splits, dtype="<U10")
    return Dataset(
        found.modality,
        tuple(rows),
        encoded.task,
        encoded.values,
        split if (split != UNASSIGNED).any() else None,
        names,
        skipped=found.skipped,
        notes=notes,
    )


def _from_table(table: Table, options: _Options) -> Dataset:
    if len(table) == 0:
        limit_skipped(table.skipped, len(table.skipped), options.max_skipped)
        raise DataError(
            f"The table has 0 rows under the header {list(table.columns)}; expected at least one."
        )
    return _with_roles(table, roles(table, options.text, options.image, options.label), options)


def _with_roles(table: Table, chosen: Roles, options: _Options) -> Dataset:
    rows, reasons = _rows(table, chosen)
    readable = np.flatnonzero([not reason for reason in reasons])
    if chosen.modality is Modality.WORDS:
        rows = pick(rows, np.arange(len(rows)))
        encoded = encode_tags(table, chosen, rows, reasons, strict=options.strict)
        readable = np.flatnonzero([not reason for reason in reasons])
    else:
        encoded = _labels(table, chosen, options, readable.tolist())
    at = np.delete(readable, encoded.missing)
    for i in readable[encoded.missing].tolist():
        reasons[i] = "no label"
    bad = [Skipped(table.names[i], reason) for i, reason in enumerate(reasons) if reason]
    skipped = (*table.skipped, *bad)
    limit_skipped(skipped, len(table) + len(table.skipped), options.max_skipped)
    return Dataset(
        chosen.modality,
        pick(rows, at),
        encoded.task,
        encoded.values,
        _splits(table, chosen)[at] if chosen.split else None,
        pick(table.names, at),
        skipped=skipped,
        notes=(*table.notes, *chosen.notes, *encoded.notes),
        columns=chosen.inputs,
    )


def _rows(table: Table, chosen: Roles) -> tuple[Any, list[str]]:
    """Return the raw rows, and what is wrong with each ("" if nothing)."""
    if chosen.modality is Modality.VECTOR:
        return _vector_rows(table, chosen.inputs)
    cells = table.columns[chosen.inputs[0]]
    one = _ROW_OF[chosen.modality]
    pairs = [one(cell, table.folder) for cell in cells]
    return [row for row, _ in pairs], [reason for _, reason in pairs]


def _text_row(cell: Any, _folder: Path) -> tuple[Row, str]:
    is_empty = cell is None or not str(cell).strip() or (not isinstance(cell, str) and cell != cell)
    return ("", "no text") if is_empty else (str(cell), "")


def _picture_row(cell: Any, folder: Path) -> tuple[Row, str]:
    if isinstance(cell, dict):  # as Hugging Face keeps them
        cell = cell.get("bytes") or cell.get("path")
    if isinstance(cell, str | Path):
        path = folder / (cell.strip() if isinstance(cell, str) else cell)
        return (path, problem(path)) if str(cell).strip() else (path, "no picture")
    return cell, "no picture" if is_missing(cell) else ""


_ROW_OF = {Modality.TEXT: _text_row, Modality.IMAGE: _picture_row, Modality.WORDS: words_row}


def _vector_rows(table: Table, names: Sequence[str]) -> tuple[NDArray[np.float64], list[str]]:
    columns = [[_number(cell) for cell in table.columns[name]] for name in names]
    values = np.array(columns, dtype=np.float64).T  # (n, d)
    finite = np.isfinite(values)
    return values, ["" if row.all() else f"no number in '{names[row.argmin()]}'" for row in finite]


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except (TypeError, ValueError):
        return float("nan")


def _labels(table: Table, chosen: Roles, options: _Options, at: Sequence[int]) -> Targets:
    """Encode the labels of the rows at `at`."""
    columns = {name: [table.columns[name][i] for i in at] for name in chosen.labels}
    if len(columns) > 1:
        return encode_columns(columns)
    name = chosen.labels[0]
    cells = _named_classes(columns[name], table.class_names.get(name))
    return encode(cells, kind=options.kind, separator=options.separator, name=name)


def _named_classes(cells: Sequence[Any], names: tuple[str, ...] | None) -> Sequence[Any]:
    """Return class numbers as their names; -1 says that there is none."""
    if names is None:
        return cells
    return [named(cell, names) for cell in cells]


def _splits(table: Table, chosen: Roles) -> NDArray[np.str_]:
    cells = table.columns[chosen.split]
    return np.array([SPLIT_NAMES[split_key(cell)] for cell in cells], dtype="<U10")


Part = tuple[Sequence[Row], Sequence[str], tuple[Skipped, ...]]  # rows, names, skipped


def _input(one: str, modality: Modality, options: _Options) -> list[Part]:
    is_text = modality.read_as is Modality.TEXT
    if is_text and not one.strip():
        return [((), (), (Skipped(repr(one), "no text"),))]
    path = _home_expanded(one)
    if _exists(path):
        return [_from_file(path, modality, options)]
    is_table = path.suffix.lower() in (*TABLE_SUFFIXES, ".txt")
    if is_text and not is_table:
        return [((one,), (one,), ())]
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (a pattern may be absolute)
    if not matches and is_text and len(one.split()) > 1:
        return [((one,), (one,), ())]  # a sentence that ends in the name of a file
    if not matches:
        raise DataError(f"{one} does not exist. Expected a file, a folder or a pattern.")
    return [_from_file(Path(match), modality, options) for match in matches]


def _home_expanded(one: str) -> Path:
    try:
        return Path(one).expanduser()
    except RuntimeError:  # "~ 20 of them": nobody's home
        return Path(one)


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        return False


def _from_file(path: Path, modality: Modality, options: _Options) -> Part:
    if path.is_dir():
        return _from_plain_folder(path, modality)
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return _from_unlabelled(read_table(path), modality, options)
    if suffix == ".npy" and modality is Modality.VECTOR:
        return _from_npy(path)
    if modality is Modality.IMAGE and suffix != ".txt":
        return (path,), (str(path),), ()
    if modality is Modality.VECTOR or suffix in PICTURE_SUFFIXES:
        raise DataError(f"{path} is no {modality}. This model reads {modality} rows.")
    lines = lines_of(path)
    rows = [path.parent / line if modality is Modality.IMAGE else line for _, line in lines]
    return rows, [name for name, _ in lines], ()


def _from_npy(path: Path) -> Part:
    try:
        vectors = np.load(path, allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} is no array of numbers: {error}.") from error
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiub":
        raise DataError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape}.\n"
            "Expected numbers of shape (n, d): one vector a row."
        )
    return vectors, [f"{path}:{i}" for i in range(len(vectors))], ()


def _from_plain_folder(folder: Path, modality: Modality) -> Part:
    if modality is Modality.IMAGE:
        paths = pictures_in(folder)
        return paths, [str(path) for path in paths], ()
    paths = sorted(path for path in walk(folder) if path.suffix.lower() == ".txt")
    if modality.read_as is not Modality.TEXT or not paths:
        raise DataError(f"{folder} is a folder without {modality} rows.")
    return [decoded(p.read_bytes(), str(p))[0] for p in paths], [str(p) for p in paths], ()


def _from_unlabelled(table: Table, modality: Modality, options: _Options) -> Part:
    if len(table) == 0:
        return (), (), table.skipped
    chosen = _unlabelled_roles(table, modality, options)
    rows, reasons = _rows(table, chosen)
    at = [i for i, reason in enumerate(reasons) if not reason]
    bad = tuple(Skipped(table.names[i], reason) for i, reason in enumerate(reasons) if reason)
    return [rows[i] for i in at], [table.names[i] for i in at], (*table.skipped, *bad)


def _unlabelled_roles(table: Table, modality: Modality, options: _Options) -> Roles:
    is_told = options.text is not None or options.image is not None
    if options.columns and not is_told and not _may_differ(table, modality, options.columns):
        return learned_roles(table, modality, options.columns)
    chosen = roles(table, options.text, options.image, is_labelled=False)
    if chosen.modality.read_as is modality.read_as:
        return chosen
    what = f"The model reads {modality} rows, this table seems to hold {chosen.modality} rows."
    if modality is Modality.VECTOR:
        raise table_error(table, what, "Expected a column of numbers for each feature.")
    raise column_error(table, what, f"--{modality} COLUMN")


def _may_differ(table: Table, modality: Modality, columns: Sequence[str]) -> bool:
    """Tell whether rows may come otherwise than they were learned: raw texts for lists of words."""
    return modality is Modality.WORDS and not set(columns) <= table.columns.keys()


def _joined_rows(modality: Modality, parts: Sequence[Part]) -> Dataset:
    names = tuple(name for _, part, _ in parts for name in part)
    skipped = tuple(row for _, _, part in parts for row in part)
    rows: Any = tuple(row for part, _, _ in parts for row in part)
    if modality is Modality.VECTOR and rows:
        rows = _stacked(rows)
    if modality is Modality.WORDS:
        rows = tuple(sentence(row) if isinstance(row, str) else row for row in rows)
    if modality is Modality.TEXT:
        rows = tuple(str(row) for row in rows)
    return Dataset(modality, rows, names=names, skipped=skipped)


def _stacked(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return vectors as one array of shape (n, d)."""
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1:
        raise DataError(
            f"The rows have {' and '.join(map(str, widths))} numbers, expected as many in each.\n"
            "Give tables with the same columns."
        )
    return np.asarray(rows, dtype=np.float64)
