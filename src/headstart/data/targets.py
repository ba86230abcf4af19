"""What a column of labels says: classes, several labels a row, or numbers."""

import dataclasses
import math
import re
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.written import SEPARATORS, consistent_separator, parted, read_lists
from headstart.errors import DataError, UsageError
from headstart.task import Kind, Task

#: Cells that hold no label. "NA" and "None" are not among them: they name Namibia and a class.
MISSING = frozenset(("", "nan", "NaN", "NAN", "null", "NULL", "<NA>", "#N/A"))

#: What `float` raises of what it cannot hold: no number, or one of 400 digits.
NO_NUMBER = (TypeError, ValueError, OverflowError)

#: Whole numbers of more different values than this are taken for quantities.
MOST_NUMBERED_CLASSES = 20

#: Labels that are no texts, by the kind of their dtype.
LABEL_TYPES = {"i": "int64", "u": "uint64", "f": "float64", "b": "bool"}

#: A number as people write it, with a comma and a unit, too: "4,5", "1,234.50", "~12,95 €",
#: "4,5/5". Not so "1,5,7" and "4, 5", which are labels and nothing else.
_WRITTEN = re.compile(
    r"[^\d,;|]{0,8}(\d{1,3}([.,\s]\d{3})+|\d+)([.,]\d+)?(\s?/\s?\d+)?[^\d,;|]{0,12}"
)
#: What a whole number ends in where its column was read as fractions.
_WHOLE = re.compile(r"(?<=\d)\.0+$")


@dataclass(frozen=True, eq=False)
class Targets:
    """Labels made into numbers.

    Parameters
    ----------
    task
        What is asked, and the names of the labels.
    values
        As `Dataset.targets`, of the rows that have a label; shape (n − missing, …).
    missing
        The indices of the rows that have none.
    notes
        What was guessed, a sentence each.
    label_type
        What classes that are no texts were, as `as_given` reads it; empty for texts.
    """

    task: Task
    values: NDArray[Any]
    missing: NDArray[np.int64]
    notes: tuple[str, ...] = ()
    label_type: str = ""


def encode(
    cells: Sequence[Any] | NDArray[Any],
    *,
    kind: Kind | str | None = None,
    separator: str | None = None,
    name: str = "",
    are_names: bool = False,
) -> Targets:
    """Make a column of labels into numbers.

    Parameters
    ----------
    cells
        Labels, numbers, texts that hold them, lists of labels; or 0 and 1 of shape (n, labels), as
        an array or as lists of equal length.
    kind
        Guessed if None. Lists, also written as texts, or texts joined by a consistent separator,
        are several labels, but numbers with a comma are refused; numbers with a fraction, or whole
        numbers of many different values, are quantities; the rest are classes.
    separator
        What stands between the labels of a row; it makes them several labels. Without it, such
        labels are parted at the ";", "|" or "," in them.
    name
        The column's name, for the notes and the task.
    are_names
        Every text is the name of a class, "nan" and "null" too, and nothing is guessed of it: as
        of folders, and of columns that declare their classes.

    Raises
    ------
    DataError
        Labels that cannot be read, or may be read in two ways.
    UsageError
        A kind, or a separator, that the labels have no use for.

    Examples
    --------
    >>> encode(["10", "9", "10"]).task.labels
    ('10', '9')
    >>> encode(["red;blue", "red", "blue"], separator=";").values.tolist()  # blue, red
    [[1, 1], [0, 1], [1, 0]]
    """
    wanted = Kind(kind) if kind else None
    if wanted in (Kind.MULTICLASS, Kind.REGRESSION):
        refuse_separator(separator, f"kind={str(wanted)!r} is one label a row")
    if isinstance(cells, np.ndarray) and cells.ndim == 2 and cells.shape[1] > 1:
        _refuse_single(wanted, separator)
        return _indicators(cells, tuple(map(str, range(cells.shape[1]))), name)
    values = list(np.ravel(cells)) if isinstance(cells, np.ndarray) else list(cells)
    notes: tuple[str, ...] = ()
    if not are_names:
        values = [None if is_missing(value) else value for value in values]
        if separator is None and wanted in (None, Kind.MULTILABEL):
            values, notes = _with_lists(values, name)
    present = [value for value in values if value is not None]
    if _are_indicators(present):
        _refuse_single(wanted, separator)
        found = _indicators(np.array(present), tuple(map(str, range(len(present[0])))), name)
        gaps = np.flatnonzero([value is None for value in values])
        found = dataclasses.replace(found, missing=gaps)
    else:
        guess = _Guess(wanted, separator) if wanted else _guess(values, separator, name, are_names)
        found = _encoded(values, guess, name)
    return dataclasses.replace(found, notes=(*notes, *found.notes))


def _with_lists(cells: list[Any], name: str) -> tuple[list[Any], tuple[str, ...]]:
    """Return the cells with the lists that were written as texts, and a note if there are any."""
    lists = read_lists(cells, _column(name))
    if lists is None:
        return cells, ()
    note = "holds lists that were written as texts: read as several labels a row"
    return lists, (f"{_column(name)} {note} (--kind multiclass says otherwise).",)


def encode_columns(
    columns: Mapping[str, Sequence[Any]],
    kind: Kind | str | None = None,
    separator: str | None = None,
) -> Targets:
    """Make several columns of 0 and 1, a label each, into one array of shape (n, labels).

    Raises
    ------
    UsageError
        Where another kind of labels was told, or what stands between them.
    """
    _refuse_single(kind, separator)
    table = np.array(
        [[_zero_or_one(cell, name) for cell in cells] for name, cells in columns.items()]
    ).T  # (n, labels), NaN where empty
    empty = np.isnan(table).any(axis=1)
    task = Task(Kind.MULTILABEL, tuple(columns), ",".join(columns))
    return Targets(task, table[~empty].astype(np.int8), np.flatnonzero(empty))


def _refuse_single(kind: Kind | str | None, separator: str | None) -> None:
    """Refuse a kind of one label a row, or a separator, where there are several columns of them."""
    several = "there are several columns of labels"
    if kind not in (None, Kind.MULTILABEL):
        raise UsageError(
            f"kind={str(kind)!r}, but {several}.\n"
            "Expected one column; several of 0 and 1 are several labels a row: kind='multilabel'."
        )
    refuse_separator(separator, several)


def refuse_separator(separator: str | None, why: str) -> None:
    """Refuse to be told what stands between the labels of a cell where no cell is parted.

    Raises
    ------
    UsageError
        Saying why none is.
    """
    if separator is not None:
        raise UsageError(
            f"separator={separator!r}, but {why}: no cell would be parted by it.\n"
            "Leave out --separator; or, where cells hold several labels each, say so: "
            "--kind multilabel."
        )


def is_missing(cell: Any) -> bool:
    """Tell whether a cell holds no label.

    >>> is_missing(" "), is_missing(float("nan")), is_missing(None), is_missing("NA"), is_missing(0)
    (True, True, True, False, False)
    """
    if cell is None:
        return True
    if isinstance(cell, str):
        return cell.strip() in MISSING
    if isinstance(cell, float | np.floating):
        return math.isnan(cell)
    return type(cell).__name__ in ("NAType", "NaTType")  # pandas has its own


@dataclass(frozen=True)
class _Guess:
    kind: Kind
    separator: str | None = None
    note: str = ""
    option: str = "--kind"


def _guess(cells: list[Any], separator: str | None, name: str, are_names: bool) -> _Guess:
    if separator is not None or any(_is_several(cell) for cell in cells):
        return _Guess(Kind.MULTILABEL, separator)
    if are_names:
        return _Guess(Kind.MULTICLASS)
    present = [cell for cell in cells if cell is not None]
    numbers = _as_numbers(present)
    if numbers is not None and len(numbers):
        return _guess_numbers(present, numbers)
    texts = [str(cell).strip() for cell in present]
    _refuse_commas(texts, name)
    found = consistent_separator(texts)
    if found is None:
        return _Guess(Kind.MULTICLASS)
    return _Guess(Kind.MULTILABEL, found, _SEPARATED.format(found))


_SEPARATED = "holds several labels a row, separated by {!r}"


def _refuse_commas(cells: Sequence[str], name: str) -> None:
    """Refuse numbers with commas in them, which may be two labels each."""
    joined = [cell for cell in cells if "," in cell]
    if joined and all(map(_WRITTEN.fullmatch, joined)):
        raise DataError(
            f"{_column(name)} holds {joined[0]!r:.60}: a number with a comma, or two labels?\n"
            "Write numbers with a point, and nothing else: 12.5. Several labels a row are told by "
            "--separator , (separator=',') or --kind multilabel, classes by --kind multiclass."
        )


def _joined_by(cells: list[Any], name: str) -> _Guess:
    """Return what stands between the labels of a row where nobody said, but that it has several."""
    texts = [cell for cell in cells if isinstance(cell, str)]
    there = [mark for mark in SEPARATORS if any(mark in text for text in texts)]
    found = consistent_separator(texts)
    if found is None and there[:1] != [";"] and len(there) > 1:  # a comma may stand in a label
        raise DataError(
            f"{_column(name)} holds {' and '.join(map(repr, there))}: what stands between labels?\n"
            "Say it with --separator (separator=…)."
        )
    if not there:  # lists, or one label a row
        return _Guess(Kind.MULTILABEL)
    mark = found or there[0]
    return _Guess(Kind.MULTILABEL, mark, _SEPARATED.format(mark), "--separator")


def _is_several(cell: Any) -> bool:
    return isinstance(cell, list | tuple | set | frozenset | np.ndarray)


def _are_indicators(cells: list[Any]) -> bool:
    """Tell whether the cells are rows of 0 and 1, a place a label, and no lists of labels.

    >>> _are_indicators([[0, 1], [1, 1]]), _are_indicators([[0, 1], [1]]), _are_indicators([["a"]])
    (True, False, False)
    """
    if not cells or not all(_is_several(cell) and len(cell) > 1 for cell in cells):
        return False
    is_even = len({len(cell) for cell in cells}) == 1
    return is_even and all(_is_bit(value) for cell in cells for value in cell)


def _is_bit(value: Any) -> bool:
    return isinstance(value, int | float | np.number | np.bool_) and value in (0, 1)


def _as_numbers(cells: Sequence[Any]) -> NDArray[np.float64] | None:
    """Return the cells as numbers; None if one is not."""
    if any(isinstance(cell, bool | np.bool_) for cell in cells):
        return None
    try:
        return np.array([float(cell) for cell in cells], dtype=np.float64)
    except NO_NUMBER:
        return None


def _guess_numbers(cells: list[Any], numbers: NDArray[np.float64]) -> _Guess:
    """Whole numbers of few different values are classes, other numbers quantities."""
    different = np.unique(numbers)
    if not (np.isfinite(different).all() and (different == np.round(different)).all()):
        return _Guess(Kind.REGRESSION, note="holds numbers with fractions: a quantity to predict")
    if len(different) <= MOST_NUMBERED_CLASSES or _are_class_numbers(different, len(cells)):
        is_doubtful = len(different) > 2
        note = f"holds {len(different)} different whole numbers: taken for classes"
        return _Guess(Kind.MULTICLASS, note=note if is_doubtful else "")
    note = f"holds {len(different):,} different whole numbers: a quantity to predict"
    return _Guess(Kind.REGRESSION, note=note)


def _are_class_numbers(different: NDArray[np.float64], n: int) -> bool:
    """Tell whether the values run 0, 1, 2, … or 1, 2, 3, … without a gap, each in many rows."""
    is_run = different[0] in (0, 1) and different[-1] - different[0] + 1 == len(different)
    return bool(is_run and n >= 5 * len(different))


def _encoded(cells: list[Any], guess: _Guess, name: str) -> Targets:
    """Encode labels whose kind is known; a cell that is None has none."""
    if guess.kind is Kind.MULTILABEL:
        return _several(cells, guess, name)
    present = [cell for cell in cells if cell is not None]
    missing = np.flatnonzero([cell is None for cell in cells])
    notes = _said(guess, name)
    if guess.kind is Kind.REGRESSION:
        return Targets(Task(Kind.REGRESSION, target=name), _numbers(present, name), missing, notes)
    _refuse_nested(present, name)
    labels, index = _classes(present)
    task = Task(Kind.MULTICLASS, labels, name)
    return Targets(task, index, missing, (*notes, *_alike(labels)), _label_type(present))


def _said(guess: _Guess, name: str) -> tuple[str, ...]:
    said = f"{_column(name)} {guess.note} ({guess.option} says otherwise)."
    return (said,) if guess.note else ()


def _column(name: str) -> str:
    return f"The column '{name}'" if name else "The labels' column"


def _classes(cells: Sequence[Any]) -> tuple[tuple[str, ...], NDArray[np.int64]]:
    """Return the names of the classes, in order, and the class of each cell.

    >>> _classes([10, 9, 10.0])
    (('9', '10'), array([1, 0, 1]))
    """
    keys = _one_spelling(
        [cell.strip() if isinstance(cell, str) else _plain(cell) for cell in cells]
    )
    order = _sorted(set(keys))
    labels = tuple(str(key) for key in order)
    if len(set(labels)) < len(labels):  # 1 and "1" are one class to a person
        return _classes([str(key) for key in keys])
    at = {key: i for i, key in enumerate(order)}
    return labels, np.array([at[key] for key in keys], dtype=np.int64)


def _one_spelling(keys: Sequence[Any]) -> Sequence[Any]:
    """Return keys that are all numbers with those that end in ".0" as the whole ones beside them.

    A table was read as fractions where a cell was empty. "01" and "1.10" are left as they are: of
    such names people make codes and versions.

    >>> _one_spelling(["1.0", "1", "2.50"]), _one_spelling(["1.0", "2.0"]), _one_spelling(["01", 1])
    (['1', '1', '2.50'], ['1.0', '2.0'], ['01', 1])
    """
    texts, there = {key for key in keys if isinstance(key, str)}, {str(key) for key in keys}
    if not texts or _as_numbers(sorted(set(keys), key=str)) is None:
        return keys
    whole = {key: _WHOLE.sub("", key) for key in texts}
    return [whole[key] if whole.get(key) in there else key for key in keys]


def _alike(labels: Sequence[str]) -> tuple[str, ...]:
    """Say which classes differ only in case or spaces.

    >>> _alike(["Good", "bad", "good"])
    ("'Good' and 'good' are different classes: spell them alike if they are one.",)
    """
    groups: dict[str, list[str]] = {}
    for label in labels:
        groups.setdefault("".join(label.split()).casefold(), []).append(label)
    alike = [" and ".join(map(repr, group)) for group in groups.values() if len(group) > 1]
    if not alike:
        return ()
    more = f" (and {len(alike) - 3:,} more such)" if len(alike) > 3 else ""
    return (
        f"{', '.join(alike[:3])}{more} are different classes: spell them alike if they are one.",
    )


def _label_type(cells: Sequence[Any]) -> str:
    """Return what classes were, if they were all numbers, or all truths.

    >>> _label_type([1, 2.0]), _label_type([True, False]), _label_type([True, 2]), _label_type("ab")
    ('int64', 'bool', '', '')
    """
    keys = {_plain(cell) for cell in cells}
    kinds = {type(key) for key in keys}
    are_alike = kinds == {bool} or (bool(kinds) and kinds <= {int, float})
    return LABEL_TYPES.get(np.array(list(keys)).dtype.kind, "") if are_alike else ""


def as_given(labels: Sequence[str], label_type: str) -> NDArray[Any]:
    """Return the names of classes as they were given: texts, unless they were numbers or truths.

    >>> as_given(("False", "True"), "bool"), as_given(("9", "10"), "int64"), as_given(("9",), "")
    (array([False,  True]), array([ 9, 10]), array(['9'], dtype='<U1'))
    """
    names = np.asarray(labels)
    if label_type == "bool" and set(labels) <= {"False", "True"}:
        return names == "True"
    if not label_type or label_type == "bool" or _as_numbers(labels) is None:
        return names  # a person may have named them since
    return names.astype(label_type)


def _plain(cell: Any) -> Any:
    """Return a NumPy value as Python's own, and 1.0 as 1."""
    value = cell.item() if isinstance(cell, np.generic) else cell
    return int(value) if isinstance(value, float) and value.is_integer() else value


def _sorted(keys: Iterable[Any]) -> list[Any]:
    try:
        return sorted(keys)
    except TypeError:  # texts and numbers mixed
        return sorted(keys, key=str)


def _numbers(cells: Sequence[Any], name: str) -> NDArray[np.float64]:
    numbers = _as_numbers(cells)
    if numbers is None:
        wrong = next(cell for cell in cells if _as_numbers([cell]) is None)
        raise DataError(
            f"{_column(name)} holds {wrong!r:.60}, expected numbers to predict, each written with "
            "a point: 12.5."
        )
    infinite = np.flatnonzero(~np.isfinite(numbers))
    if len(infinite):
        raise DataError(
            f"Input y contains infinity: {len(infinite)} values of {_column(name).lower()}, "
            f"the first is value {infinite[0]}. Expected finite numbers."
        )
    return numbers


def _several(cells: list[Any], guess: _Guess, name: str) -> Targets:
    """Encode rows of several labels; an empty cell says that none of them applies."""
    guess = guess if guess.separator else _joined_by(cells, name)
    rows = [_labels_of(cell, guess.separator or SEPARATORS[0]) for cell in cells]
    _refuse_nested([label for row in rows for label in row], name)
    order = _sorted({label for row in rows for label in row})
    at = {label: i for i, label in enumerate(order)}
    values = np.zeros((len(rows), len(order)), dtype=np.int8)  # (n, labels)
    for i, row in enumerate(rows):
        values[i, [at[label] for label in row]] = 1
    notes = (*_said(guess, name), *_alike([str(label) for label in order]))
    n_empty = sum(not row for row in rows)
    if n_empty:
        notes += (f"{n_empty:,} rows have no label: read as 'none of the labels applies'.",)
    task = Task(Kind.MULTILABEL, tuple(str(label) for label in order), name)
    return Targets(task, values, np.zeros(0, dtype=np.int64), notes)


def _refuse_nested(labels: Sequence[Any], name: str) -> None:
    """Refuse what JSON can hold and no label can be: an object, or a list within a list."""
    nested = [label for label in labels if not isinstance(label, Hashable)]
    if nested:
        raise DataError(
            f"{_column(name)} holds {nested[0]!r:.60}, which is no label.\n"
            "Expected texts, numbers, or lists of texts; or spans, each [start, end, label] or "
            "{start, end, label}."
        )


def _labels_of(cell: Any, separator: str) -> list[Any]:
    if _is_several(cell):
        return [_plain(label) for label in cell]
    return [] if cell is None else parted(str(cell), separator)


def _indicators(table: NDArray[Any], labels: tuple[str, ...], name: str) -> Targets:
    if not np.isin(table, (0, 1)).all():
        raise DataError(
            f"Targets of shape {table.shape} hold other values than 0 and 1.\n"
            "Expected shape (n,), or 0 and 1 of shape (n, labels); predict several numbers one "
            "by one."
        )
    nothing = np.zeros(0, dtype=np.int64)
    return Targets(Task(Kind.MULTILABEL, labels, name), table.astype(np.int8), nothing)


_ONES = {"1": 1.0, "1.0": 1.0, "true": 1.0, "yes": 1.0}
_ZEROS = {"0": 0.0, "0.0": 0.0, "false": 0.0, "no": 0.0}


def _zero_or_one(cell: Any, column: str) -> float:
    if is_missing(cell):
        return math.nan
    value = (_ONES | _ZEROS).get(str(cell).strip().lower())
    if value is None:
        raise DataError(
            f"The label column '{column}' holds {cell!r:.60}.\n"
            "With several label columns each must hold 0 or 1."
        )
    return value
