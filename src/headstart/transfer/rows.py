"""Rows as a person hands them to the estimator: told apart, and refused where they mean nothing."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils.validation import column_or_1d

from headstart.data.dataset import Dataset, from_arrays
from headstart.data.targets import is_missing
from headstart.data.words import is_words
from headstart.errors import DataError, UsageError
from headstart.steps.train import labelled
from headstart.task import Kind


def check_given(X: Any, y: Any) -> None:
    """Refuse rows and labels of which some would be lost.

    Raises
    ------
    UsageError
        Where they can be gone through only once, or labels came beside a `Dataset`.
    """
    for name, given in {"X": X, "y": y}.items():
        if isinstance(given, Iterator):
            raise UsageError(
                f"{name} is a {type(given).__name__}, which can be gone through only once.\n"
                f"Give a list: list({name})."
            )
    if isinstance(X, Dataset) and y is not None:
        raise UsageError(
            "X is a Dataset, and y came beside it: which labels are meant?\n"
            "Expected a Dataset with its labels and no y; or its rows as X, and their labels as y."
        )


def numbers(data: Dataset) -> Dataset:
    """Return data whose targets are numbers.

    Raises
    ------
    UsageError
        Where they are classes.
    """
    if labelled(data).kind is not Kind.REGRESSION:
        raise UsageError(
            f"TransferRegressor predicts numbers; the data hold {labelled(data).kind} labels.\n"
            "Use Transfer, which takes any Dataset, or read the data with kind='regression'."
        )
    return data


def holds_labels(rows: Any) -> bool:
    """Say whether this is labelled data by itself, as `read` takes it.

    That is a path, a table, named splits of tables, or a pair of rows and labels.

    >>> holds_labels((["an ant", "a bee"], ["ant", "bee"])), holds_labels(("an ant", "a bee"))
    (True, False)
    """
    if isinstance(rows, str | Path | Mapping):
        return True
    is_pair = isinstance(rows, tuple) and len(rows) == 2 and _are_rows(rows[0])
    is_records = isinstance(rows, list) and bool(rows) and isinstance(rows[0], Mapping)
    return is_pair or is_records or hasattr(rows, "columns") or hasattr(rows, "column_names")


def _are_rows(given: Any) -> bool:
    return hasattr(given, "__len__") and not isinstance(given, str | bytes)


def is_raw(rows: Any) -> bool:
    """Say whether rows are pictures, paths or texts, not numbers: scikit-learn checks the rest."""
    if hasattr(rows, "dtypes") and hasattr(rows, "columns"):
        return not all(map(_is_number, rows.dtypes))
    n_axes = getattr(rows, "ndim", 1)
    if n_axes == 2 and rows.shape[1:] == (1,) and len(rows):
        return isinstance(rows[0, 0], str)
    if n_axes == 2:
        return False
    if n_axes in (3, 4):  # gray pictures, shape (n, height, width), or colored ones
        return True
    try:
        first = next(iter(rows))
    except (TypeError, StopIteration):
        return False
    is_picture = hasattr(first, "convert") or getattr(first, "ndim", 0) in (2, 3)
    return is_picture or is_words(first) or isinstance(first, (str, bytes, Path))


def _is_number(dtype: Any) -> bool:
    """Say whether a column of a pandas or polars DataFrame holds numbers."""
    if hasattr(dtype, "is_numeric"):
        return bool(dtype.is_numeric()) or str(dtype) == "Boolean"
    return getattr(dtype, "kind", "O") in "biuf"


def raw_rows(rows: Any) -> Dataset:
    """Return pictures or texts as a dataset without labels.

    Raises
    ------
    UsageError
        Where a table has several columns: which one is read?
    """
    columns = tuple(map(str, getattr(rows, "columns", ())))
    if len(columns) > 1:
        raise UsageError(
            f"X has the columns {', '.join(map(repr, columns))}, and not all hold numbers.\n"
            f"Expected one column of texts or pictures: give X[{columns[0]!r}] or another, or the "
            "whole labelled table, without y."
        )
    return replace(from_arrays(rows), columns=columns)


def are_several(y: Any) -> bool:
    """Say whether rows have several labels each: lists of them, or a 0/1 row."""
    if is_one_column(y):
        return False
    lists = (list, tuple, set, frozenset, np.ndarray)
    return getattr(y, "ndim", 1) > 1 or any(isinstance(each, lists) for each in y)


def is_one_column(y: Any) -> bool:
    """Say whether labels are a column of one label a row, shape (n, 1)."""
    return getattr(y, "shape", ())[1:] == (1,)


def whole(y: Any) -> NDArray[Any]:
    """Return one label a row as an array of shape (n,).

    Raises
    ------
    DataError
        Where a row has none.
    """
    if is_one_column(y):
        y = column_or_1d(y, warn=True)
    missing = [i for i, each in enumerate(y) if not isinstance(each, str) and is_missing(each)]
    if missing:
        raise DataError(
            f"Input y contains NaN: {len(missing)} labels are missing, the first at row "
            f"{missing[0]}.\nExpected a label for every row."
        )
    return np.asarray(y)
