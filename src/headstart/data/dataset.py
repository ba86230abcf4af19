"""Dataset: rows, labels and split, never changed once made."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.data.foreign import unwrapped
from headstart.data.pictures import PICTURE_SUFFIXES
from headstart.data.ragged import flat, is_ragged
from headstart.data.tags import read_tags, tag_lists
from headstart.data.targets import Targets, encode, encode_columns
from headstart.data.words import is_words, sentences
from headstart.errors import DataError, UsageError
from headstart.task import Kind, Modality, Task

#: A raw row: a picture (path, bytes, array of shape (h, w, 3), PIL picture), a text, a vector.
Row: TypeAlias = Any

TRAIN, VALIDATION, TEST, UNASSIGNED = "train", "validation", "test", ""
SPLITS = (TRAIN, VALIDATION, TEST, UNASSIGNED)


@dataclass(frozen=True)
class Skipped:
    """A row that was left out, why, and how many that were kept stand before it, if known."""

    row: str
    reason: str
    before: int | None = field(default=None, compare=False)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Labelled (or unlabelled) rows.

    Parameters
    ----------
    modality
        What a row is.
    rows
        The raw rows: paths, bytes or arrays of shape (h, w, 3) for pictures, texts, sentences of
        words, or one array of shape (n, d) for vectors.
    task
        What is to be predicted; None without labels.
    targets
        Multiclass: int64 of shape (n,), an index in `task.labels`. Multilabel: int8 of shape
        (n, k), 0 or 1. Regression: float64 of shape (n,). Tags: ragged, an int64 array a row, as
        the data have them, legal or not. None without labels.
    split
        Shape (n,): "train", "validation", "test", or "" where the reader found none.
    names
        How a row is shown to a person: a path, or a file and line; shape (n,).
    domain, weight
        Optional, shape (n,).
    skipped
        Rows the reader had to leave out.
    columns
        The names of the input columns of a table, or of a DataFrame of numbers, in order; empty for
        other data.
    notes
        What the reader guessed, a sentence each; the command line prints them.
    label_type
        What classes that came as numbers or truths were (`as_given`); empty for texts.
    """

    modality: Modality
    rows: Sequence[Row]
    task: Task | None = None
    targets: NDArray[Any] | None = None
    split: NDArray[np.str_] | None = None
    names: Sequence[str] | None = None
    domain: NDArray[np.str_] | None = None
    weight: NDArray[np.float64] | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    columns: tuple[str, ...] = ()
    label_type: str = ""

    def __post_init__(self) -> None:
        """Make a picture that is named by a `str` a `Path`: a `str` is hashed as a text."""
        object.__setattr__(self, "modality", _known(self.modality))
        if self.modality is not Modality.IMAGE or not _may_hold_paths(self.rows):
            return
        if any(isinstance(row, str) for row in self.rows):
            object.__setattr__(self, "rows", _pictures(self.rows))

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.rows)

    def __repr__(self) -> str:
        """Say what it holds, in one line."""
        return f"Dataset({self.describe()})"

    def describe(self) -> str:
        """Return one line for people: what a row is, how many in each split, what is asked."""
        parts = Counter(() if self.split is None else self.split.tolist())
        counts = [f"{parts[part]:,} {part}" for part in SPLITS[:3] if parts[part]]
        rows = f"{len(self):,} rows" + (f" ({', '.join(counts)})" if counts else "")
        asked = "no labels" if self.task is None else _asked(self.task)
        left_out = [f"{len(self.skipped):,} skipped"] if self.skipped else []
        return ", ".join([str(self.modality), rows, asked, *left_out])

    def name(self, i: int) -> str:
        """Return how row `i` is shown to a person."""
        if self.names is not None:
            return str(self.names[i])
        row = self.rows[i]
        return str(row) if isinstance(row, Path) else f"row {i}"

    def by_name(self) -> dict[str, Row]:
        """Return the raw rows by the names they are shown under."""
        return {self.name(i): row for i, row in enumerate(self.rows)}

    def counted(self) -> NDArray[np.bool_]:
        """Return which rows count at all, shape (n,): those whose weight is not 0."""
        if self.weight is None:
            return np.ones(len(self), dtype=bool)
        return np.asarray(self.weight) > 0

    def with_split(self, split: ArrayLike) -> "Dataset":
        """Return the same rows in other splits; shape (n,)."""
        return dataclasses.replace(self, split=np.asarray(split, dtype=np.str_))

    def check(self) -> "Dataset":
        """Return itself, if it can be learned from.

        Raises
        ------
        DataError
            No rows, arrays of other lengths than the rows, weights that are no weights, an unknown
            split, a single class, or a class to judge that there is nothing to learn from.
        """
        if len(self) == 0:
            raise DataError("The data have 0 rows, expected at least one." + listed(self.skipped))
        self._check_lengths()
        self._check_splits()
        if self.task is not None and self.task.kind is not Kind.REGRESSION:
            self._check_classes(self.task)
        return self

    def _check_lengths(self) -> None:
        for name in ("targets", "split", "names", "domain", "weight"):
            values = getattr(self, name)
            if values is not None and len(values) != len(self):
                raise DataError(
                    f"{name} has {len(values)} values for {len(self)} rows: expected one a row."
                )
        if self.weight is not None:
            self._check_weight(np.asarray(self.weight, dtype=np.float64))
        if self.modality is Modality.WORDS and self.targets is not None:
            self._check_tags(self.targets)

    def _check_weight(self, weight: NDArray[np.float64]) -> None:
        wrong = np.flatnonzero(~np.isfinite(weight) | (weight < 0)).tolist()
        if wrong or not weight.sum() > 0:
            came = f"{self.name(wrong[0])} has {weight[wrong[0]]:g}" if wrong else "all are 0"
            raise DataError(
                f"Weights cannot be used: {came}.\n"
                "Expected finite numbers from 0, not all of them 0."
            )

    def _check_tags(self, targets: NDArray[Any]) -> None:
        pairs = enumerate(zip(self.rows, targets, strict=True))
        wrong = [(i, len(row), len(tags)) for i, (row, tags) in pairs if len(row) != len(tags)]
        if wrong:
            i, n_words, n_tags = wrong[0]
            raise DataError(
                f"{self.name(i)} has {n_words} words and {n_tags} tags: expected one a word."
            )

    def _check_splits(self) -> None:
        unknown = set() if self.split is None else set(self.split.tolist()) - set(SPLITS)
        if unknown:
            raise DataError(
                f"Unknown split {_quoted(sorted(unknown))}.\n"
                "Expected 'train', 'validation', 'test', or '' for rows to be drawn from."
            )

    def _check_classes(self, task: Task) -> None:
        n_needed = {Kind.MULTICLASS: 2, Kind.TAGS: 3}.get(task.kind, 1)
        if task.kind is Kind.TAGS and len(task.labels) < n_needed:
            raise DataError(
                "No word of the rows is tagged as an entity: every tag is O.\n"
                "Expected B-… and I-… tags of at least one type; is the tag's column another one?"
            )
        if len(task.labels) < n_needed:
            raise DataError(
                f"All rows have the same class {_quoted(task.labels)}; expected at least two "
                "classes.\nAdd rows of another class, or choose another label column."
            )
        lacking = self._unlearnable(task)
        if lacking:
            raise DataError(
                f"No training row has the label {_quoted(lacking)}, but rows to judge have it.\n"
                "Expected every class of the validation and test rows among the training rows: "
                "add such rows, or leave that class out."
            )

    def _unlearnable(self, task: Task) -> list[str]:
        """Return the labels that some rows have, and no row that could train."""
        if self.split is None or self.targets is None:
            return []
        trains = np.isin(self.split, (TRAIN, UNASSIGNED))
        if not trains.any():
            return []
        if task.kind is Kind.TAGS:  # of an entity type one tag is enough
            learned = {(i + 1) // 2 for i in _labels_in(self.targets[trains])}
            met = {(i + 1) // 2 for i in _labels_in(self.targets)}
            return [task.labels[2 * kind][2:] for kind in sorted(met - learned - {0})]
        learned = _labels_in(self.targets[trains])
        return [task.labels[i] for i in sorted(_labels_in(self.targets) - learned)]

    def take(self, index: ArrayLike) -> "Dataset":
        """Return the rows at `index` (integers or a mask of shape (n,)), in that order."""
        at = np.asarray(index)
        at = np.flatnonzero(at) if at.dtype == bool else at.astype(np.int64)
        # Beside other rows nothing stands where it stood.
        skipped = self.skipped
        if any(row.before is not None for row in skipped):
            skipped = tuple(Skipped(row.row, row.reason) for row in skipped)
        return dataclasses.replace(
            self,
            rows=pick(self.rows, at),
            targets=None if self.targets is None else self.targets[at],
            split=None if self.split is None else self.split[at],
            names=None if self.names is None else pick(self.names, at),
            domain=None if self.domain is None else self.domain[at],
            weight=None if self.weight is None else self.weight[at],
            skipped=skipped,
        )

    def training(self) -> "Dataset":
        """Return the rows to learn from: those in neither the validation nor the test split."""
        if self.split is None:
            return self
        return self.take(~np.isin(self.split, (VALIDATION, TEST)))

    def only(self, split: str) -> "Dataset":
        """Return the rows of one split."""
        if self.split is None:
            return self.take(np.zeros(0, dtype=np.int64))
        return self.take(self.split == split)


def untested(data: Dataset) -> Dataset:
    """Return the data without their test rows."""
    return data if data.split is None else data.take(data.split != TEST)


def as_sentences(data: Dataset) -> Dataset:
    """Return texts as sentences of words, under the same names.

    >>> as_sentences(from_arrays(["an ant"])).rows[0].words
    ('an', 'ant')
    """
    if data.modality is Modality.WORDS:
        return data
    names = tuple(data.name(i) for i in range(len(data)))
    return dataclasses.replace(
        data, modality=Modality.WORDS, rows=sentences(data.rows), task=None, targets=None,
        names=names,
    )  # fmt: skip


def in_order(data: Dataset, columns: Sequence[str]) -> Dataset:
    """Return vectors with the numbers of these columns, in this order, where both have names.

    Raises
    ------
    DataError
        Where a name is lacking.

    Examples
    --------
    >>> ab = dataclasses.replace(from_arrays([[1.0, 2.0]]), columns=("a", "b"))
    >>> in_order(ab, ("b", "a")).rows.tolist()
    [[2.0, 1.0]]
    """
    if data.modality is not Modality.VECTOR or not (data.columns and columns):
        return data
    lacking = [name for name in columns if name not in data.columns]
    if lacking:
        raise DataError(
            f"The data have no column {_quoted(lacking)}; they have {_quoted(data.columns)}.\n"
            "Give data with the columns that were learned from, under their names."
        )
    at = [data.columns.index(name) for name in columns]
    rows: Any = np.asarray(data.rows)[:, at]
    return dataclasses.replace(data, rows=rows, columns=tuple(columns))


def pick(values: Sequence[Any], at: NDArray[np.int64]) -> Sequence[Any]:
    """Return the values at `at`: an array of an array, a tuple of anything else."""
    if isinstance(values, np.ndarray):
        return cast(Sequence[Any], values[at])
    return tuple(values[i] for i in at.tolist())


def from_arrays(
    rows: Any,
    targets: Any = None,
    modality: Modality | str | None = None,
    kind: Kind | str | None = None,
    separator: str | None = None,
) -> Dataset:
    """Return a dataset of things that are in memory.

    Parameters
    ----------
    rows
        An array or DataFrame of numbers of shape (n, d); a list, array or column of texts; lists of
        words; paths, encoded bytes, PIL pictures or arrays of shape (h, w, 3), or one array of
        such.
    targets
        One label or number a row, a list of labels a row, an array of 0 and 1 of shape
        (n, labels), or for lists of words a list of tags. Labels are named by their text and
        ordered as `numpy.unique` orders them. Tensors and sparse matrices are read as arrays.
    modality
        Guessed if None: strings are texts, unless all end like the name of a picture.
    kind
        Guessed if None, as for a file.
    separator
        What stands between the labels of a row that has several.

    Examples
    --------
    >>> from_arrays(["an ant", "a bee", "a bee!"], ["ant", "bee", "bee"])
    Dataset(text, 3 rows, multiclass, 2 labels)
    >>> from_arrays([[1.0, 2.0], [3.0, 4.0]], [0.5, 0.7])
    Dataset(vector, 2 rows, regression)
    """
    given = unwrapped(rows)
    kind_of_rows = _known(modality) if modality else _modality(given)
    ready = _ROWS_OF[kind_of_rows](given)
    columns = _names_of(rows) if kind_of_rows is Modality.VECTOR else ()
    if targets is None:
        return Dataset(kind_of_rows, ready, columns=columns)
    if kind_of_rows is Modality.WORDS:
        tagged = read_tags(tag_lists(unwrapped(targets)))
        made = Dataset(kind_of_rows, ready, tagged.task, tagged.values)
        made._check_lengths()
        return made
    encoded = _encoded(targets, kind, separator)
    if len(encoded.missing):
        raise DataError(
            f"Input y contains NaN: {len(encoded.missing)} of {len(ready)} labels are missing, "
            f"the first at row {encoded.missing[0]}.\nExpected a label for every row."
        )
    made = Dataset(
        kind_of_rows, ready, encoded.task, encoded.values, notes=encoded.notes, columns=columns,
        label_type=encoded.label_type,
    )  # fmt: skip
    made._check_lengths()
    return made


def _names_of(rows: Any) -> tuple[str, ...]:
    """Return the names of the columns of a DataFrame; none where two are alike, or only numbers."""
    names = tuple(getattr(rows, "column_names", getattr(rows, "columns", ())))
    are_names = all(isinstance(name, str) for name in names) and len(set(names)) == len(names)
    return names if are_names else ()


def _encoded(targets: Any, kind: Kind | str | None, separator: str | None) -> Targets:
    """Return targets as numbers; several columns of a DataFrame are labels by their names."""
    columns = getattr(targets, "columns", ())
    if len(columns) > 1:
        return encode_columns({str(c): targets[c].tolist() for c in columns}, kind, separator)
    return encode(unwrapped(targets), kind=kind, separator=separator)


def listed(skipped: Sequence[Skipped], at_most: int = 5) -> str:
    r"""Return the first skipped rows, a line each, for the end of a message.

    >>> listed([Skipped("a.jpg", "the file is empty")])
    '\n  a.jpg: the file is empty'
    """
    lines = [f"\n  {row.row}: {row.reason}" for row in skipped[:at_most]]
    n_more = len(skipped) - len(lines)
    return "".join(lines) + (f"\n  and {n_more:,} more" if n_more else "")


def limit_skipped(skipped: Sequence[Skipped], n_rows: int, max_skipped: float) -> None:
    """Refuse to go on without more than a share of the rows.

    Parameters
    ----------
    skipped
        The rows left out.
    n_rows
        How many there were, the skipped ones among them.
    max_skipped
        The share that may be left out, from 0 to 1.
    """
    if len(skipped) <= max_skipped * n_rows:
        return
    if len(skipped) == n_rows:
        raise DataError(f"No row of {n_rows:,} can be used:{listed(skipped)}\nRepair them.")
    raise DataError(
        f"{len(skipped):,} of {n_rows:,} rows cannot be used, "
        f"more than the {max_skipped:.3g} allowed:{listed(skipped)}\n"
        f"Repair or remove them, or allow more with --max-skipped "
        f"(max_skipped={min(1.0, len(skipped) / n_rows + 0.005):.2f})."
    )


def _quoted(names: Sequence[str]) -> str:
    shown = ", ".join(repr(str(name)) for name in names[:5])
    return shown + (f" and {len(names) - 5:,} more" if len(names) > 5 else "")


def _asked(task: Task) -> str:
    n_labels = f", {len(task.labels):,} labels" if task.labels else ""
    return f"{task.kind}{n_labels}"


def _labels_in(targets: NDArray[Any]) -> set[int]:
    if is_ragged(targets):
        targets = flat(targets)
    present = np.unique(targets) if targets.ndim == 1 else np.flatnonzero(targets.any(axis=0))
    return set(present.tolist())


def _known(modality: Modality | str) -> Modality:
    """Return what rows are, of its word.

    Raises
    ------
    UsageError
        Where the word is none.
    """
    if modality not in tuple(Modality):
        raise UsageError(f"modality={modality!r}: expected one of {', '.join(Modality)}.")
    return Modality(modality)


def _modality(rows: Any) -> Modality:
    """Guess what rows are by the first of them."""
    if len(rows) == 0:
        raise DataError("The data have 0 rows, expected at least one.")
    if isinstance(rows, np.ndarray):
        return Modality.VECTOR if rows.ndim <= 2 else Modality.IMAGE
    first = rows[0]
    if isinstance(first, str):
        are_pictures = all(Path(str(row)).suffix.lower() in PICTURE_SUFFIXES for row in rows)
        return Modality.IMAGE if are_pictures else Modality.TEXT
    if is_words(first):
        return Modality.WORDS
    is_picture = isinstance(first, Path | bytes) or hasattr(first, "getbands")
    return Modality.IMAGE if is_picture or np.ndim(first) >= 2 else Modality.VECTOR


def _vectors(rows: Any) -> NDArray[Any]:
    try:
        values = np.asarray(rows)
        values = values if values.dtype.kind == "f" else values.astype(np.float64)
    except (ValueError, TypeError) as error:
        raise DataError(f"Rows that are no numbers: {error}.\nExpected shape (n, d).") from error
    if values.ndim != 2:
        raise DataError(f"Rows of shape {values.shape}, expected (n, d): one vector a row.")
    bad = np.flatnonzero(~np.isfinite(values).all(axis=1))
    if len(bad):
        raise DataError(
            f"Input X contains NaN or infinity in {len(bad):,} of {len(values):,} rows, the first "
            f"is row {bad[0]}.\nExpected numbers: fill the gaps or remove those rows."
        )
    return values


def _texts(rows: Any) -> tuple[str, ...]:
    wrong = next((i for i, row in enumerate(rows) if not isinstance(row, str)), None)
    if wrong is not None:
        raise DataError(f"Row {wrong} is {rows[wrong]!r:.80}, expected a text.")
    return tuple(str(row) for row in rows)


def _may_hold_paths(rows: Any) -> bool:
    is_array = isinstance(rows, np.ndarray) and rows.ndim == 1
    return isinstance(rows, tuple | list) or is_array


def _pictures(rows: Any) -> tuple[Row, ...]:
    return tuple(Path(row) if isinstance(row, str) else row for row in rows)


_ROWS_OF: dict[Modality, Callable[[Any], Any]] = {
    Modality.VECTOR: _vectors,
    Modality.TEXT: _texts,
    Modality.WORDS: sentences,
    Modality.IMAGE: _pictures,
}
