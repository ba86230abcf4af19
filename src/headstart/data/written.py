"""Written: several labels of a row that stand in one cell, as a text."""

import ast
import re
from collections import Counter
from collections.abc import Sequence
from typing import Any

from headstart.errors import DataError

#: What may stand between the labels of a cell.
SEPARATORS = (";", "|", ",")

#: A column is one of lists where this share of its cells stands in brackets.
_NEARLY_ALL = 0.9
_BRACKETS = re.compile(r"\s*\[.*\]\s*", re.DOTALL)
#: What tells a list from a name in brackets: a comma, a quote, numbers side by side.
_OF_A_LIST = re.compile(r"""[,'"]|\d\s+\d""")
#: Texts side by side, as NumPy writes them; Python would join them.
_SIDE_BY_SIDE = re.compile(r"""['"]\s+['"]""")
#: What Python raises of a text that is no literal, or too deep to be read.
_NO_LITERAL = (ValueError, SyntaxError, TypeError, MemoryError, RecursionError)


def consistent_separator(cells: Sequence[str]) -> str | None:
    """Return the separator of a column of several labels a row, None if it is no such column.

    The parts of a joined cell must mostly be met in other cells too: "New York, NY" is one label.

    >>> consistent_separator(["red;blue", "red", "blue"])
    ';'
    >>> consistent_separator(["New York, NY", "Boston, MA", "Albany, NY"]) is None
    True
    """
    different = sorted(set(cells))
    for separator in SEPARATORS:
        joined = [cell for cell in different if separator in cell]
        if not joined:
            continue
        met = Counter(part for cell in different for part in set(parted(cell, separator)))
        parts = {part for cell in joined for part in parted(cell, separator)}
        n_shared = sum(met[part] > 1 for part in parts)
        if parts and n_shared > len(parts) / 2 and len(parts) <= max(20, len(cells) // 5):
            return separator
    return None


def parted(cell: str, separator: str) -> list[str]:
    """Return the labels of a cell.

    >>> parted(" red ;blue;", ";")
    ['red', 'blue']
    """
    return [part.strip() for part in cell.split(separator) if part.strip()]


def read_lists(cells: Sequence[Any], column: str) -> list[Any] | None:
    """Return a column of lists that were written as texts, with the lists; None if it is none.

    Parameters
    ----------
    cells
        The labels of the rows; None where there is none.
    column
        How the column is called, where a sentence begins.

    Raises
    ------
    DataError
        Where the texts look like lists, and one cannot be read as one.

    Examples
    --------
    >>> read_lists(["['ant', 'bee']", None, "[]"], "The column 'label'")
    [['ant', 'bee'], None, []]
    """
    texts = [cell for cell in cells if isinstance(cell, str)]
    in_brackets = [text for text in texts if _BRACKETS.fullmatch(text)]
    n_there = sum(cell is not None for cell in cells)
    if not in_brackets or len(in_brackets) < _NEARLY_ALL * n_there:
        return None
    lists = {text: _list(text) for text in dict.fromkeys(texts)}
    wrong = [text for text, found in lists.items() if found is None]
    if not wrong:
        return [lists[cell] if isinstance(cell, str) else cell for cell in cells]
    if not any(_OF_A_LIST.search(text) for text in in_brackets):
        return None  # names in brackets
    raise DataError(
        f"{column} holds lists that were written as texts, and {wrong[0]!r:.60} is none.\n"
        "Expected texts or whole numbers as Python or JSON writes them: ['comedy', 'drama'] (of "
        "an array: .tolist()). Or put one mark between the labels, without brackets, and say it "
        "with --separator (separator=…); --kind multiclass takes each cell as one class."
    )


def _list(text: str) -> list[Any] | None:
    """Return the list of texts and whole numbers that is written there; None if it is none.

    >>> _list("['ant', 2]"), _list("['ant' 'bee']"), _list("[ant]")
    (['ant', 2], None, None)
    """
    if _SIDE_BY_SIDE.search(text):
        return None
    try:
        found = ast.literal_eval(text.strip())
    except _NO_LITERAL:
        return None
    is_list = isinstance(found, list) and all(isinstance(label, str | int) for label in found)
    return found if is_list else None
