"""Read: anything a person keeps labelled data in becomes a Dataset.

A guess is made only where it is unambiguous, and is said in `notes`; else the error lists what is
there and which option decides. What cannot be used is skipped up to a limit, and named.
"""

import dataclasses
import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Number
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.cells import rows_in
from headstart.data.columns import (
    SPLIT_NAMES,
    Roles,
    roles,
    split_key,
    split_notes,
    table_error,
)
from headstart.data.dataset import (
    TRAIN,
    UNASSIGNED,
    Dataset,
    Row,
    Skipped,
    from_arrays,
    limit_skipped,
    pick,
)
from headstart.data.folders import (
    Found,
    class_folders,
    home_expanded,
    inside,
    split_folders,
    text_files,
)
from headstart.data.tables import TABLE_SUFFIXES, Table, read_table, table_of
from headstart.data.tagged import are_numbers_of, encode_tags, named
from headstart.data.tags import is_tag
from headstart.data.targets import Targets, encode, encode_columns, refuse_separator
from headstart.errors import DataError, UsageError
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
        "multiclass", "multilabel" or "regression", where the guess is wrong. "tags" refuses what
        has no tag a word.
    max_skipped
        The share of rows that may be unusable, from 0 to 1. They are named in `Dataset.skipped`.
    strict
        Refuse tags that are no legal BIO (or BIOES), and spans that cut words or overlap, instead
        of mending them.

    Raises
    ------
    DataError
        What came, what was expected, and which option helps.
    UsageError
        An option that cannot be right, or a list of pairs for a pair of lists.

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
    if isinstance(source, str) and not source.strip():
        raise UsageError("The path of the data is empty.\nExpected a folder or a table.")
    if isinstance(source, str | Path):
        data = _read_path(home_expanded(str(source)), options)
    else:
        data = _read_object(source, options)
    _check_tagged(data, options)
    return data.check()


def _check_tagged(data: Dataset, options: _Options) -> None:
    """Refuse labels of another shape than was told: a tag a word is never guessed from one a row.

    Raises
    ------
    UsageError
        Where tags were told and the rows have none, or the other way round.
    """
    if data.task is None:
        return
    kind, is_tagged = options.kind, data.task.kind is Kind.TAGS
    if is_tagged:
        refuse_separator(options.separator, "the labels are tags, a list a row")
    if kind is None or (kind == Kind.TAGS) == is_tagged:
        return
    raise UsageError(
        f"kind={str(kind)!r}, but the labels of the data are {data.task.kind}.\n"
        "Tags are a list a row, one for each word of a list of words, or lines of a CoNLL file."
    )


def _read_path(path: Path, options: _Options) -> Dataset:
    if path.is_dir():
        files, notes = _split_files(path)
        if files:
            data = _read_splits({s: read_table(file) for s, file in files.items()}, options)
            return dataclasses.replace(data, notes=(*data.notes, *notes))
        found = class_folders(path)
        _refuse_columns(f"{path} is a folder of class folders, which", options, "separator")
        return _from_folder(found, options)
    if not path.exists():
        raise DataError(
            f"{path} does not exist.\nExpected a folder or a table; is it {_near(path)}"
        )
    return _from_table(read_table(path), options)


def _refuse_columns(what: str, options: _Options, *others: str) -> None:
    """Refuse options that only a table has a use for: the data would not be those that were meant.

    Raises
    ------
    UsageError
        Where a column, or one of the `others`, was told.
    """
    told = [n for n in ("text", "image", "label", *others) if getattr(options, n) is not None]
    if told:
        raise UsageError(
            f"{what} has no columns, but {' and '.join(f'--{name}' for name in told)} was given.\n"
            "Leave it out, or give the table that was meant."
        )


def _near(path: Path) -> str:
    """Return the end of a question: what lies beside a path that does not exist."""
    if not path.parent.is_dir():
        return f"in another folder? {path.parent} does not exist either."
    there = sorted(p.name for p in path.parent.iterdir() if not p.name.startswith("."))
    nearest = list(dict.fromkeys([*difflib.get_close_matches(path.name, there, n=8), *there]))
    return f"one of {', '.join(nearest[:8])}?" if there else "elsewhere? The folder is empty."


def _split_files(folder: Path) -> tuple[dict[str, Path], tuple[str, ...]]:
    """Return the tables of a folder that are named by a split, and a note on those that are not."""
    files = [p for p in inside(folder) if p.suffix.lower() in TABLE_SUFFIXES]
    named = [(SPLIT_NAMES.get(p.stem.lower()), p) for p in files]
    found = {split: p for split, p in named if split}
    if len(found) < sum(bool(split) for split, _ in named):
        raise DataError(
            f"{folder} has two tables for one split: {', '.join(p.name for p in files)}."
        )
    if "train" not in found or split_folders(folder):
        return {}, ()
    others = [p.name for split, p in named if not split]
    names = ", ".join(name for name in SPLIT_NAMES if name)
    note = f"Passed over, as no split is named so ({names}): {', '.join(others[:8])}."
    return found, (note,) if others else ()


def _read_object(source: Any, options: _Options) -> Dataset:
    if isinstance(source, tuple) and len(source) == 2:
        _refuse_columns("A pair of rows and labels", options)
        return from_arrays(*source, kind=options.kind, separator=options.separator)
    if isinstance(source, Mapping) and source and all(map(_is_table, source.values())):
        named = {SPLIT_NAMES.get(str(name).lower(), ""): part for name, part in source.items()}
        if len(named) < len(source) or "" in named:
            raise DataError(f"Splits named {list(source)}: expected train, validation and test.")
        return _read_splits({s: _needed_table(part) for s, part in named.items()}, options)
    table = table_of(source)
    if table is not None:
        return _from_table(table, options)
    _refuse_columns("A list or an array of rows", options)
    _refuse_pairs(source)
    return from_arrays(source)


def _refuse_pairs(rows: Any) -> None:
    """Refuse rows that come with their labels, as the data sets of torch give them.

    Raises
    ------
    UsageError
        It says what to give instead.
    """
    has_items = hasattr(rows, "__len__") and hasattr(rows, "__getitem__")
    if not has_items or hasattr(rows, "shape") or not len(rows):
        return
    # The first and the last: a data set decodes what it is asked for. Two numbers are a row.
    ends = [rows[i] for i in (0, len(rows) - 1)]
    are_pairs = all(isinstance(one, tuple) and len(one) == 2 for one in ends)
    if are_pairs and not isinstance(ends[0][0], Number):
        raise UsageError(
            "A list of pairs came: a row and its label each?\n"
            "Expected one pair of lists: rows, labels = zip(*pairs), and (list(rows), "
            "list(labels))."
        )


def _is_table(part: Any) -> bool:
    return hasattr(part, "columns") or hasattr(part, "column_names")


def _needed_table(part: Any) -> Table:
    table = table_of(part)
    if table is None:
        raise DataError(f"A split of type {type(part).__name__}: expected a table.")
    return table


def _read_splits(tables: dict[str, Table], options: _Options) -> Dataset:
    """Read several tables as one, each a split; what columns are for is told by what trains."""
    first = tables.get(TRAIN, next(iter(tables.values())))
    chosen = _roles(first, options)
    needed = (*chosen.inputs, *chosen.labels)
    for split, table in tables.items():
        lacking = [name for name in needed if name not in table.columns]
        if lacking:
            raise table_error(table, f"The {split} rows have no column {lacking}.", _LACKING)
    # Of each split its own: the same number may stand for another class in another one.
    declared = next((one.class_names for one in tables.values() if one.class_names), {})
    parts = [_with_names(table, chosen, declared) for table in tables.values()]
    columns: dict[str, Sequence[Any]] = {
        name: [cell for part in parts for cell in part.columns[name]] for name in needed
    }
    columns[_SPLIT] = [split for split, table in tables.items() for _ in range(len(table))]
    whole = Table(
        columns,
        [name for table in tables.values() for name in table.names],
        folder=first.folder,
        file=first.file,
        class_names=declared,
        skipped=tuple(row for table in tables.values() for row in table.skipped),
        notes=tuple(note for table in tables.values() for note in table.notes),
    )
    return _with_roles(whole, dataclasses.replace(chosen, split=_SPLIT), options)


_SPLIT = "\0split"  # no file has a column of this name
_LACKING = (
    "Expected the names of the training rows. Rows without labels cannot be judged: move them out, "
    "and give them to `headstart predict`."
)


def _from_folder(found: Found, options: _Options) -> Dataset:
    rows: Sequence[Row] = found.paths
    if found.modality is Modality.TEXT:
        found, rows = _with_texts(found)
    limit_skipped(found.skipped, len(rows) + len(found.skipped), options.max_skipped)
    encoded = encode(found.labels, kind=options.kind, name="folder", are_names=True)
    split = np.array(found.splits, dtype="<U10")
    return Dataset(
        found.modality,
        tuple(rows),
        encoded.task,
        encoded.values,
        split if (split != UNASSIGNED).any() else None,
        [str(path) for path in found.paths],
        skipped=found.skipped,
        notes=(*found.notes, *encoded.notes),
    )


def _with_texts(found: Found) -> tuple[Found, list[str]]:
    """Return the text files that can be read, and their texts."""
    texts, reasons, notes = text_files(found.paths)
    at = np.flatnonzero([not reason for reason in reasons])
    pairs = zip(found.paths, reasons, strict=True)
    bad = (Skipped(str(path), reason) for path, reason in pairs if reason)
    readable = dataclasses.replace(
        found,
        paths=tuple(pick(found.paths, at)),
        labels=tuple(pick(found.labels, at)),
        splits=tuple(pick(found.splits, at)),
        skipped=(*found.skipped, *bad),
        notes=(*found.notes, *notes),
    )
    return readable, [texts[i] for i in at]


def _from_table(table: Table, options: _Options) -> Dataset:
    chosen = _roles(table, options)
    notes = (*chosen.notes, *split_notes(table, chosen))
    chosen = dataclasses.replace(chosen, notes=notes)
    return _with_roles(_with_names(table, chosen), chosen, options)


def _with_names(
    table: Table, chosen: Roles, declared: Mapping[str, tuple[str, ...]] | None = None
) -> Table:
    """Return a table with the names of the classes where its label holds their numbers.

    One that declares none has those of another split, `declared`, if it holds their numbers.
    """
    if len(chosen.labels) > 1:
        return table
    (label,) = chosen.labels
    cells, lent = table.columns[label], (declared or {}).get(label, ())
    names = table.class_names.get(label) or (lent if are_numbers_of(cells, lent) else ())
    if not names:
        return table
    cells = [named(cell, names) for cell in cells]
    return dataclasses.replace(table, columns={**table.columns, label: cells})


def _roles(table: Table, options: _Options) -> Roles:
    if len(table) == 0:
        limit_skipped(table.skipped, len(table.skipped), options.max_skipped)
        raise DataError(
            f"{table.file or 'The table'} has 0 rows under the header {list(table.columns)}; "
            "expected at least one."
        )
    return roles(table, options.text, options.image, options.label, kind=options.kind)


def _with_roles(table: Table, chosen: Roles, options: _Options) -> Dataset:
    rows, reasons = rows_in(table, chosen)
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
    # Rows of labelled data are parted and joined: where one stood is soon not true any more.
    skipped = (*(Skipped(row.row, row.reason) for row in table.skipped), *bad)
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
        label_type=encoded.label_type,
    )


def _labels(table: Table, chosen: Roles, options: _Options, at: Sequence[int]) -> Targets:
    """Encode the labels of the rows at `at`."""
    columns = {name: [table.columns[name][i] for i in at] for name in chosen.labels}
    if len(columns) > 1:
        return encode_columns(columns, options.kind, options.separator)
    ((name, cells),) = columns.items()
    if options.kind is None:
        _check_no_tags(cells, name)
    are_names = name in table.class_names
    return encode(
        cells, kind=options.kind, separator=options.separator, name=name, are_names=are_names
    )


def _check_no_tags(cells: Sequence[Any], name: str) -> None:
    """Refuse a table of words, a row each: by itself a word tells little of its tag."""
    labels = {cell for cell in cells if isinstance(cell, str)}
    if "O" in labels and len(labels) > 1 and all(map(is_tag, labels)):
        raise DataError(
            f"The column '{name}' holds tags of words, one a row: {', '.join(sorted(labels)[:4])}, "
            "….\nExpected a sentence a row, as lists of words and tags, or a CoNLL file with a "
            "blank line between sentences. --kind multiclass takes them as classes."
        )


def _splits(table: Table, chosen: Roles) -> NDArray[np.str_]:
    cells = table.columns[chosen.split]
    return np.array([SPLIT_NAMES[split_key(cell)] for cell in cells], dtype="<U10")
