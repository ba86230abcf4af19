"""Tagged: cells of words and tags, or of texts and spans, as sentences with a tag a word."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.columns import Roles
from headstart.data.ragged import ragged
from headstart.data.tables import Table
from headstart.data.tags import Span, read_tags, tags_of
from headstart.data.targets import Targets, is_missing
from headstart.data.words import Sentence, sentence, spaced
from headstart.errors import DataError


def words_row(cell: Any, _folder: Path = Path()) -> tuple[Sentence, str]:
    """Return a text, or a list of words, as a sentence; and what is wrong with it ("" if nothing).

    >>> words_row(["New", "York"])[0].text, words_row(" ")[1]
    ('New York', 'no words')
    """
    cell = cell.tolist() if hasattr(cell, "tolist") else cell
    if isinstance(cell, str):
        row = sentence(cell)
    elif isinstance(cell, list | tuple) and all(isinstance(word, str) for word in cell):
        row = spaced(cell)
    else:
        return sentence(""), "no words"
    return row, "" if len(row) else "no words"


def named(cell: Any, names: Sequence[str]) -> Any:
    """Return class numbers as their names, one or a list; -1 says that there is none.

    >>> named([0, 1], ("O", "B-LOC")), named(-1, ("O", "B-LOC"))
    (['O', 'B-LOC'], None)
    """
    if isinstance(cell, list | tuple) or np.ndim(cell):
        return [named(one, names) for one in cell]
    return None if cell is None or cell < 0 else names[cell]


def are_numbers_of(cells: Sequence[Any], names: Sequence[str]) -> bool:
    """Say whether cells are the numbers of classes of these names.

    >>> are_numbers_of([0, 1, -1], ("ant", "bee")), are_numbers_of([0, 2], ("ant", "bee"))
    (True, False)
    """
    return bool(names) and all(
        isinstance(cell, int | np.integer) and -1 <= cell < len(names) for cell in cells
    )


def encode_tags(
    table: Table, chosen: Roles, rows: Sequence[Sentence], reasons: list[str], *, strict: bool
) -> Targets:
    """Return the tags of the readable rows, and put into `reasons` why a row is not.

    Parameters
    ----------
    rows, reasons
        Every row of the table, and what is wrong with it.
    strict
        Refuse what is otherwise mended and counted.
    """
    name = chosen.labels[0]
    texts: list[list[str]] = []
    n_mended, first_mended = 0, ""
    for i, cell in enumerate(table.columns[name]):
        if reasons[i]:
            continue
        try:
            if isinstance(table.columns[chosen.inputs[0]][i], str):
                tags, n_bad = tags_of([_span(one) for one in _list(cell)], rows[i])
            else:
                tags, n_bad = _tags(_list(cell), rows[i]), 0
        except DataError as error:
            reasons[i] = str(error)
            continue
        texts.append(tags)
        first_mended = first_mended or (table.names[i] if n_bad else "")
        n_mended += n_bad
    if not texts:
        return Targets(read_tags([]).task, ragged([]), np.zeros(0, dtype=np.int64))
    found = read_tags(texts, name)
    notes = []
    if found.n_illegal:
        kept = [name for name, reason in zip(table.names, reasons, strict=True) if not reason]
        bad = f"{found.n_illegal:,} tags continue an entity that is not there or leave one open"
        notes += [_mended(bad, kept[found.first_illegal], "read as entities of their own", strict)]
    if n_mended:
        bad = f"{n_mended:,} spans cut a word or overlap"
        notes += [
            _mended(bad, first_mended, "whole words, of two the longer one, are taken", strict)
        ]
    return Targets(found.task, found.values, np.zeros(0, dtype=np.int64), tuple(notes))


def _mended(what: str, where: str, how: str, strict: bool) -> str:
    """Return the note of what was mended.

    Raises
    ------
    DataError
        Where nothing is to be mended.
    """
    if strict:
        raise DataError(f"{what}, the first in {where}.\nMend them, or leave out --strict.")
    return f"{what}, the first in {where}: {how} (--strict refuses them)."


def _list(cell: Any) -> list[Any]:
    cell = cell.tolist() if hasattr(cell, "tolist") else cell
    if not isinstance(cell, list | tuple):
        raise DataError("no tags")
    return list(cell)


def _tags(tags: list[Any], row: Sentence) -> list[str]:
    """Return the tags of a row, if they are texts, and one a word."""
    if len(tags) != len(row):
        raise DataError(f"{len(row)} words and {len(tags)} tags")
    if any(is_missing(tag) for tag in tags):
        raise DataError("a word has no tag")
    if other := [tag for tag in tags if not isinstance(tag, str)]:
        raise DataError(f"the tag {other[0]!r:.40} is no name such as O or B-PER")
    return tags


def _is_triple(value: Any) -> bool:
    return isinstance(value, list | tuple) and len(value) == 3


def _span(value: Any) -> Span:
    """Return {"start", "end", "label"}, or [start, end, label], as a span."""
    if isinstance(value, Mapping):
        label = value.get("label", value.get("type", value.get("entity")))
        parts = (label, value.get("start"), value.get("end"))
    else:
        parts = (value[2], value[0], value[1]) if _is_triple(value) else (None, None, None)
    label, start, stop = parts
    if not isinstance(label, str) or not isinstance(start, int) or not isinstance(stop, int):
        raise DataError(f"the span {value!r:.60} has no start, end and label")
    return Span(label, start, stop)
