"""Cells: what stands in the columns of a table, as the raw rows they hold."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.columns import Roles
from headstart.data.dataset import Row
from headstart.data.pictures import problem
from headstart.data.tables import Table
from headstart.data.tagged import words_row
from headstart.data.targets import NO_NUMBER, is_missing
from headstart.task import Modality


def rows_in(table: Table, chosen: Roles) -> tuple[Any, list[str]]:
    """Return the raw rows, and what is wrong with each ("" if nothing)."""
    if chosen.modality is Modality.VECTOR:
        return _vector_rows(table, chosen.inputs)
    cells = table.columns[chosen.inputs[0]]
    one = _ROW_OF[chosen.modality]
    pairs = [one(cell, table.folder) for cell in cells]
    return [row for row, _ in pairs], [reason for _, reason in pairs]


def _text_row(cell: Any, _folder: Path) -> tuple[Row, str]:
    is_text = isinstance(cell, str)  # "nan" may be a text
    is_empty = not cell.strip() if is_text else is_missing(cell) or not str(cell).strip()
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
    return values, gaps(values, [f"'{name}'" for name in names])


def gaps(values: NDArray[Any], names: Sequence[str]) -> list[str]:
    """Return what is wrong with each row of numbers ("" if nothing), by the names of the columns.

    >>> gaps(np.array([[1.0, 2.0], [1.0, np.nan]]), ["'a'", "'b'"])
    ['', "no number in 'b'"]
    """
    finite = np.isfinite(values)
    return ["" if row.all() else f"no number in {names[row.argmin()]}" for row in finite]


def _number(cell: Any) -> float:
    try:
        return float(cell)
    except NO_NUMBER:
        return float("nan")
