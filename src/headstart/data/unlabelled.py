"""Unlabelled: rows to predict, from files, from what is typed, and from what is in memory."""

import glob
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from itertools import accumulate
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.cells import gaps, rows_in
from headstart.data.columns import Roles, column_error, learned_roles, roles, table_error
from headstart.data.dataset import Dataset, Row, Skipped, as_sentences, from_arrays, listed
from headstart.data.folders import home_expanded, pictures_in, text_files, walk
from headstart.data.foreign import as_array
from headstart.data.pictures import PICTURE_SUFFIXES
from headstart.data.tables import TABLE_SUFFIXES, Table, lines_of, read_table, table_of
from headstart.data.words import sentence
from headstart.errors import DataError, UnreadableRow, UsageError
from headstart.task import Modality

#: Where what is piped in is found; its lines are read as those of a .txt file here.
STDIN = Path("/dev/stdin")

_SUFFIXES = [*TABLE_SUFFIXES, *PICTURE_SUFFIXES, ".txt"]


@dataclass(frozen=True, eq=False)
class _Part:
    """What one input holds: rows with their names, what could not be read, what is to be known.

    Every row of `skipped` says how many rows stand `before` it.
    """

    rows: Sequence[Row] = ()
    names: Sequence[str] = ()
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Columns:
    """Where the rows stand in a table: as a person said, or as the model learned them."""

    text: str | None = None
    image: str | None = None
    learned: tuple[str, ...] = ()


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
        texts are read, the texts themselves, if they are no single word that looks like a path.
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
    said = _Columns(text, image, tuple(columns))
    parts = [part for one in inputs for part in _input(str(one), wanted, said)]
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
        `Dataset`, which is returned as it is; texts are split where words are read.
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
    UsageError
        Where a single row came, or an array that may be one picture or several.

    Examples
    --------
    >>> rows_of([{"body": "an ant", "n": 1}], "text").rows
    ('an ant',)
    """
    if isinstance(source, Dataset):
        return as_sentences(source) if modality == Modality.WORDS else source
    wanted = Modality(modality)
    if _is_one(source, wanted):
        raise UsageError("Expected a list of rows, got a single one.\nPut it in a list: [row].")
    if wanted is Modality.IMAGE and hasattr(source, "detach"):
        _refuse_channels_first(_shape(source))
    table = table_of(source)
    if table is None or (wanted is Modality.VECTOR and not columns):
        return from_arrays(source, modality=wanted)
    part = _from_unlabelled(table, wanted, _Columns(learned=tuple(columns)))
    if part.skipped:
        raise UnreadableRow(part.skipped[0].row, part.skipped[0].reason)
    return _joined_rows(wanted, [part])


def _is_one(source: Any, wanted: Modality) -> bool:
    """Say whether this is one row: its lines, letters or fields would be taken for rows."""
    if isinstance(source, str | bytes | Path) or hasattr(source, "getbands"):
        return True
    if isinstance(source, Mapping):  # a record; a table has a column of values under each name
        return any(np.ndim(value) == 0 for value in source.values())
    return wanted is Modality.IMAGE and _is_picture(_shape(source))


def _shape(source: Any) -> tuple[int, ...]:
    """Return the shape of an array or a tensor of numbers; () of anything else."""
    given = as_array(source)
    is_numbers = isinstance(given, np.ndarray) and given.dtype.kind not in "OUT"
    return given.shape if is_numbers else ()


def _is_picture(shape: tuple[int, ...]) -> bool:
    return len(shape) == 2 or (len(shape) == 3 and shape[-1] in (1, 3, 4))


def _refuse_channels_first(shape: tuple[int, ...]) -> None:
    """Refuse a tensor that may be one picture, its channels first, as well as several gray ones.

    Raises
    ------
    UsageError
        It says how to give either.
    """
    if len(shape) != 3 or shape[0] not in (3, 4):
        return
    raise UsageError(
        f"Rows of shape {shape} may be {shape[0]} gray pictures, or the channels of one.\n"
        "Give list(rows) for gray pictures; for one, [picture] with its channels last, of shape "
        f"{(*shape[1:], shape[0])}."
    )


def _input(one: str, modality: Modality, columns: _Columns) -> list[_Part]:
    is_text = modality.read_as is Modality.TEXT
    if is_text and not one.strip():
        return [_Part(skipped=(Skipped(repr(one), "no text", before=0),))]
    path = home_expanded(one)
    if _exists(path):
        return [_from_file(path, modality, columns)]
    is_file = path.suffix.lower() in (*TABLE_SUFFIXES, ".txt") or _seems_path(one)
    if is_text and not is_file:
        return [_Part((one,), (one,))]
    matches = sorted(glob.glob(str(path), recursive=True))  # noqa: PTH207 (a pattern may be absolute)
    if not matches and is_text and len(one.split()) > 1:
        return [_Part((one,), (one,))]  # a sentence that ends in the name of a file
    if not matches:
        how = "\nA text that looks like a path is given in a .txt file, or through stdin: -"
        expected = f"Expected a file, a folder or a pattern.{how if is_text else ''}"
        raise DataError(f"{one} does not exist. {expected}")
    return [_from_file(Path(match), modality, columns) for match in matches]


def _seems_path(one: str) -> bool:
    """Tell whether a word that is typed is more like the name of a file than like a text.

    >>> [_seems_path(one) for one in ("new/", "./new", "new.cvs", "a.jpeg")]
    [True, True, True, True]
    >>> [_seems_path(one) for one in ("3.5", "and/or", "a/b or c", "https://a.example/b.csv")]
    [False, False, False, False]
    """
    if len(one.split()) != 1 or "://" in one or "@" in one:
        return False
    is_placed = one.endswith("/") or one.startswith((".", "/", "~"))
    suffix = Path(one.strip()).suffix.lower()
    return is_placed or bool(suffix and get_close_matches(suffix, _SUFFIXES, 1, 0.75))


def _exists(path: Path) -> bool:
    try:
        return path.exists()
    except (OSError, ValueError):  # too long for a name, or with a zero in it
        return False


def _from_file(path: Path, modality: Modality, columns: _Columns) -> _Part:
    if path.is_dir():
        return _from_plain_folder(path, modality)
    suffix = path.suffix.lower()
    if suffix in TABLE_SUFFIXES:
        return _from_unlabelled(read_table(path), modality, columns)
    if suffix == ".npy" and modality is Modality.VECTOR:
        return _from_npy(path)
    if modality is Modality.IMAGE and suffix != ".txt" and path != STDIN:
        return _Part((path,), (str(path),))
    if modality is Modality.VECTOR or suffix in PICTURE_SUFFIXES:
        raise DataError(f"{path} is no {modality}. This model reads {modality} rows.")
    lines, said = lines_of(path)
    place = Path() if path == STDIN else path.parent
    rows = [place / line if modality is Modality.IMAGE else line for _, line in lines]
    # Where a model learned from folders of text files, a file was a row.
    are_many = modality.read_as is Modality.TEXT and len(rows) > 1
    notes = (f"{path} was read a line a row: {len(rows):,} rows.",) if are_many else ()
    return _Part(rows, [name for name, _ in lines], notes=(*said, *notes))


def _from_npy(path: Path) -> _Part:
    try:
        vectors = np.load(path, allow_pickle=False)
    except Exception as error:  # the header is text, which breaks in any way
        raise DataError(f"{path} is no array of numbers: {error}.") from error
    if vectors.ndim != 2 or vectors.dtype.kind not in "fiub":
        raise DataError(
            f"{path} holds {vectors.dtype} of shape {vectors.shape}.\n"
            "Expected numbers of shape (n, d): one vector a row."
        )
    reasons = gaps(vectors, [f"column {i}" for i in range(vectors.shape[1])])
    return _readable(vectors, [f"{path}:{i}" for i in range(len(vectors))], reasons)


def _from_plain_folder(folder: Path, modality: Modality) -> _Part:
    if modality is Modality.IMAGE:
        paths = pictures_in(folder)
        return _Part(paths, [str(path) for path in paths])
    paths = sorted(path for path in walk(folder) if path.suffix.lower() == ".txt")
    if modality.read_as is not Modality.TEXT or not paths:
        raise DataError(f"{folder} is a folder without {modality} rows.")
    texts, reasons, notes = text_files(paths)
    return replace(_readable(texts, [str(path) for path in paths], reasons), notes=notes)


def _from_unlabelled(table: Table, modality: Modality, columns: _Columns) -> _Part:
    if len(table) == 0:
        return _Part(skipped=table.skipped, notes=table.notes)
    chosen = _unlabelled_roles(table, modality, columns)
    rows, reasons = rows_in(table, chosen)
    notes = (*table.notes, *chosen.notes)
    return replace(_readable(rows, table.names, reasons, table.skipped), notes=notes)


def _readable(
    rows: Sequence[Row],
    names: Sequence[str],
    reasons: Sequence[str],
    skipped: Sequence[Skipped] = (),
) -> _Part:
    """Return the rows of which nothing is wrong; the others, and those of `skipped`, in order."""
    at = [i for i, reason in enumerate(reasons) if not reason]
    n_before = [0, *accumulate(not reason for reason in reasons)]
    lost = [(_place(row), row.row, row.reason) for row in skipped]
    bad = [(i, names[i], reason) for i, reason in enumerate(reasons) if reason]
    # The sort is stable: what was lost before row i comes before it.
    in_order = sorted(lost + bad, key=itemgetter(0))
    left_out = tuple(Skipped(name, reason, n_before[i]) for i, name, reason in in_order)
    return _Part([rows[i] for i in at], [names[i] for i in at], left_out)


def _place(row: Skipped) -> int:
    assert row.before is not None, f"where {row.row} stood was not kept"
    return row.before


def _unlabelled_roles(table: Table, modality: Modality, columns: _Columns) -> Roles:
    is_told = columns.text is not None or columns.image is not None
    if columns.learned and not is_told and not _may_differ(table, modality, columns.learned):
        return learned_roles(table, modality, columns.learned)
    chosen = roles(table, columns.text, columns.image, is_labelled=False)
    if chosen.modality.read_as is modality.read_as:
        return chosen
    what = f"The model reads {modality} rows, this table seems to hold {chosen.modality} rows."
    if modality is Modality.VECTOR:
        raise table_error(table, what, "Expected a column of numbers for each feature.")
    raise column_error(table, what, f"--{modality.read_as} COLUMN")


def _may_differ(table: Table, modality: Modality, columns: Sequence[str]) -> bool:
    """Tell whether rows may come otherwise than they were learned: raw texts for lists of words."""
    return modality is Modality.WORDS and not set(columns) <= table.columns.keys()


def _joined_rows(modality: Modality, parts: Sequence[_Part]) -> Dataset:
    names = tuple(name for part in parts for name in part.names)
    starts = [0, *accumulate(len(part.rows) for part in parts)]
    skipped = tuple(
        replace(row, before=start + _place(row))
        for part, start in zip(parts, starts, strict=False)
        for row in part.skipped
    )
    notes = tuple(note for part in parts for note in part.notes)
    rows: Any = tuple(row for part in parts for row in part.rows)
    if modality is Modality.VECTOR and rows:
        rows = _stacked(rows)
    if modality is Modality.WORDS:
        rows = tuple(sentence(row) if isinstance(row, str) else row for row in rows)
    if modality is Modality.TEXT:
        rows = tuple(str(row) for row in rows)
    return Dataset(modality, rows, names=names, skipped=skipped, notes=notes)


def _stacked(rows: Sequence[Row]) -> NDArray[np.float64]:
    """Return vectors as one array of shape (n, d)."""
    widths = sorted({len(row) for row in rows})
    if len(widths) > 1:
        raise DataError(
            f"The rows have {' and '.join(map(str, widths))} numbers, expected as many in each.\n"
            "Give tables with the same columns."
        )
    return np.asarray(rows, dtype=np.float64)
