"""Words: a text cut into words that know where they stand.

The same cutting serves spans that are read, sentences that are learned from, and raw text at
predict. It knows no language: letters and digits run together, everything else stands alone, and
what only modifies a character (combining marks, variation selectors, joiners) stays with it.
"""

import hashlib
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np

from headstart.errors import DataError


@dataclass(frozen=True)
class Sentence:
    """A row of words.

    Parameters
    ----------
    words
        The words; each is what stands in the text at its place.
    text
        The text they stand in.
    starts
        Where each begins in the text, in characters.
    """

    words: tuple[str, ...]
    text: str
    starts: tuple[int, ...]

    def __len__(self) -> int:
        """How many words there are."""
        return len(self.words)

    def __str__(self) -> str:
        """Return the text."""
        return self.text

    def place(self, start: int, stop: int) -> tuple[int, int]:
        """Return where the words `start` to `stop` − 1 begin and end in the text.

        >>> sentence("in New York").place(1, 3)
        (3, 11)
        """
        return self.starts[start], self.starts[stop - 1] + len(self.words[stop - 1])


def sentence(text: str) -> Sentence:
    """Return a text as a row of words.

    >>> sentence("John's flat, l'été à São-Paulo.").words
    ('John', "'s", 'flat', ',', "l'", 'été', 'à', 'São-Paulo', '.')
    """
    places = [place for found in _WORD.finditer(_kinds(text)) for place in _parted(text, found)]
    words = tuple(text[start:stop] for start, stop in places)
    return Sentence(words, text, tuple(start for start, _ in places))


def spaced(words: Sequence[str]) -> Sentence:
    """Return words as a sentence whose text has a space between them.

    >>> spaced(["New", "York", "!"]).starts
    (0, 4, 9)
    """
    starts, at = [], 0
    for word in words:
        starts.append(at)
        at += len(word) + 1
    return Sentence(tuple(words), " ".join(words), tuple(starts))


def sentences(rows: Sequence[Any]) -> tuple[Sentence, ...]:
    """Return lists of words, or raw texts, as sentences.

    Raises
    ------
    DataError
        Where a row is neither.
    """
    wrong = next(
        (i for i, row in enumerate(rows) if not (is_words(row) or isinstance(row, str))), None
    )
    if wrong is not None:
        raise DataError(f"Row {wrong} is {rows[wrong]!r:.80}, expected a text or a list of words.")
    return tuple(map(_sentence, rows))


def _sentence(row: Any) -> Sentence:
    if isinstance(row, Sentence):
        return row
    return sentence(row) if isinstance(row, str) else spaced([str(word) for word in row])


def is_words(row: Any) -> bool:
    """Tell whether a row is a sentence, or words in a list, a tuple or an array.

    >>> is_words(np.array(["an", "ant"])), is_words("an ant"), is_words([])
    (True, False, False)
    """
    if isinstance(row, Sentence):
        return True
    is_list = isinstance(row, list | tuple) or (isinstance(row, np.ndarray) and row.ndim == 1)
    return is_list and len(row) > 0 and all(isinstance(word, str) for word in row)


# A text is read as a text of equal length in which every character is its kind, so that one
# pattern serves all scripts: l letter, d digit, i ideograph, m what modifies the character before
# it, j joiner of two, f half of a flag, s space, o other; . , - ' are themselves.
_ALONE = {".": ".", ",": ",", "-": "-", "'": "'", "\u2019": "'", "\u2010": "-", "\u200d": "j"}
_WORD = re.compile(
    r"(?:lm*\.){2,}"  # U.S.
    r"|[ld][ldmj]*(?:[-'][ld][ldmj]*|(?<=d)[.,](?=d)[ld][ldmj]*)*"  # well-known, O'Neill, 2.5
    r"|ff[mj]*"
    r"|[^s][mj]*(?:(?<=j)o[mj]*)*"  # with all that is joined to it, as in emoji
)


def _kinds(text: str) -> str:
    return "".join(map(_kind, text))


@cache
def _kind(character: str) -> str:
    if character in _ALONE:
        return _ALONE[character]
    category = unicodedata.category(character)
    if category[0] == "M" or category == "Cf" or "\U0001f3fb" <= character <= "\U0001f3ff":
        return "m"
    if "\U0001f1e6" <= character <= "\U0001f1ff":
        return "f"
    if character.isspace():
        return "s"
    if category == "Lo" and "\u2e80" <= character <= "\U0003ffff" and not _is_hangul(character):
        return "i"
    if category[0] == "L" or character == "_":
        return "l"
    return "d" if category[0] == "N" else "o"


def _is_hangul(character: str) -> bool:
    return "\uac00" <= character <= "\ud7a3"


#: What English puts at the end of a word, and French and Italian at its beginning.
_ENDING = re.compile(r"(?i)(?<=.)(?:['’](?:s|m|d|ll|re|ve)|n['’]t)$")
_BEGINNING = re.compile(r"(?i)^(?:[cdjlmnst]|[a-z]*qu|dell|nell|sull|all|un)['’](?=.)")


def splitting() -> str:
    """Return 16 hexadecimal digits that change when texts would be cut into other words."""
    rules = [pattern.pattern for pattern in (_WORD, _ENDING, _BEGINNING)]
    return hashlib.sha256("\n".join([*rules, *_ALONE, *_ALONE.values()]).encode()).hexdigest()[:16]


def _parted(text: str, found: "re.Match[str]") -> list[tuple[int, int]]:
    """Return the places of a word's parts: most words have one."""
    start, stop = found.span()
    if "'" not in _kinds(text[start:stop]):
        return [(start, stop)]
    word = text[start:stop]
    if ending := _ENDING.search(word):
        return [(start, start + ending.start()), (start + ending.start(), stop)]
    if beginning := _BEGINNING.search(word):
        return [(start, start + beginning.end()), (start + beginning.end(), stop)]
    return [(start, stop)]
