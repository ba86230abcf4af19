"""Tags: entities as spans of words, and as one tag a word.

Inside there is one scheme, BIO, as numbers: 0 is O, 2t − 1 begins an entity of type t and 2t goes
on with it, so that what may follow what is known from the numbers alone. Other schemes (BIOES,
BILOU, IOB1) are read into it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from headstart.data.ragged import ragged
from headstart.data.words import Sentence
from headstart.errors import DataError
from headstart.task import Kind, Task

Codes = NDArray[np.int64]

OUTSIDE = "O"
_BEGINS, _INSIDE, _ENDS, _SINGLE = "B", "I", "E", "S"
#: BILOU says L and U for E and S; IOE and others are not read.
_PREFIXES = {"B": _BEGINS, "I": _INSIDE, "E": _ENDS, "S": _SINGLE, "L": _ENDS, "U": _SINGLE}


class Entity(NamedTuple):
    """Words `start` to `stop` − 1, of type number `kind` (from 1)."""

    kind: int
    start: int
    stop: int


def entities(codes: Sequence[int] | Codes, *, strict: bool = False) -> list[Entity]:
    """Return the entities of one sentence.

    Parameters
    ----------
    codes
        One a word; they need not be legal BIO.
    strict
        False: an I that continues nothing begins an entity (the default of CoNLL's and seqeval's
        scoring). True: it is no part of any.

    Examples
    --------
    >>> entities([0, 2, 2, 1, 4])  # O I-1 I-1 B-1 I-2
    [Entity(kind=1, start=1, stop=3), Entity(kind=1, start=3, stop=4), Entity(kind=2, start=4, stop=5)]
    >>> entities([0, 2, 2, 1, 4], strict=True)
    [Entity(kind=1, start=3, stop=4)]
    """  # noqa: E501
    found: list[Entity] = []
    kind, start = 0, 0
    for i, code in enumerate([*codes, 0]):
        if kind and code == 2 * kind:
            continue
        if kind:
            found.append(Entity(kind, start, i))
        begins = code % 2 == 1 or (code > 0 and not strict)
        kind, start = ((int(code) + 1) // 2, i) if begins else (0, i)
    return found


def illegal(codes: Codes) -> NDArray[np.bool_]:
    """Return which words continue an entity that is not there; shape (words,).

    >>> illegal(np.array([2, 2, 0, 1, 4])).tolist()
    [True, False, False, False, True]
    """
    before = np.concatenate([[0], codes[:-1]])
    goes_on = (codes > 0) & (codes % 2 == 0)
    return np.asarray(goes_on & (before != codes) & (before != codes - 1))


def repaired(codes: Codes) -> Codes:
    """Return legal BIO with the same entities: an I that continues nothing becomes a B.

    >>> repaired(np.array([0, 2, 2, 4])).tolist()
    [0, 1, 2, 3]
    """
    return codes - illegal(codes)


def coded(found: Iterable[Entity], n_words: int) -> Codes:
    """Return the tags of a sentence with these entities.

    >>> coded([Entity(1, 1, 3)], 4).tolist()
    [0, 1, 2, 0]
    """
    codes = np.zeros(n_words, dtype=np.int64)
    for kind, start, stop in found:
        codes[start:stop] = 2 * kind
        codes[start] -= 1
    return codes


def tag_task(types: Iterable[str], target: str = "") -> Task:
    """Return the task of tagging entities of these types.

    >>> tag_task(["PER", "LOC"]).labels
    ('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER')
    """
    names = (f"{prefix}-{kind}" for kind in sorted(set(types)) for prefix in (_BEGINS, _INSIDE))
    return Task(Kind.TAGS, (OUTSIDE, *names), target)


def types_of(task: Task) -> tuple[str, ...]:
    """Return the names of the entity types; type number t is the t-th.

    >>> types_of(tag_task(["PER", "LOC"]))
    ('LOC', 'PER')
    """
    return tuple(label[2:] for label in task.labels[1::2])


# Tags as files hold them --------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Tagged:
    """The tags of all sentences, read.

    Parameters
    ----------
    task
        The entity types that occur.
    values
        Codes as the file has them, legal or not; ragged, shape (n,).
    n_illegal
        Tags that continue an entity that is not there, or leave one open.
    first_illegal
        The number of the first sentence with such a tag; −1 if there is none.
    """

    task: Task
    values: NDArray[Any]
    n_illegal: int
    first_illegal: int


def tag_lists(rows: Iterable[Any]) -> list[list[Any]]:
    """Return the tags of each sentence as a list.

    >>> tag_lists([np.array(["O", "B-LOC"]), ("O",)])
    [['O', 'B-LOC'], ['O']]

    Raises
    ------
    DataError
        Where a sentence has one label, and no list of tags.
    """
    return [_tag_list(tags) for tags in rows]


def _tag_list(tags: Any) -> list[Any]:
    tags = tags.tolist() if isinstance(tags, np.ndarray) else tags
    if not isinstance(tags, list | tuple):
        raise DataError(
            f"The rows are lists of words, with the label {tags!r:.40} a row.\n"
            "Expected a tag a word, such as ['O', 'B-LOC']; for one label a row give texts: "
            "[' '.join(words) for words in rows]."
        )
    return list(tags)


def read_tags(sentences: Sequence[Sequence[str]], target: str = "") -> Tagged:
    """Read the tags of sentences, one text a word, in BIO, IOB1, BIOES or BILOU.

    Raises
    ------
    DataError
        Where a tag is of no such scheme.

    Examples
    --------
    >>> found = read_tags([["O", "I-LOC"], ["B-PER", "O"]])
    >>> found.task.labels, [codes.tolist() for codes in found.values], found.n_illegal
    (('O', 'B-LOC', 'I-LOC', 'B-PER', 'I-PER'), [[0, 2], [3, 0]], 1)
    """
    met = {tag for tags in sentences for tag in tags}
    parts = {tag: _part(tag) for tag in met}
    task = tag_task((kind for _, kind in parts.values() if kind), target)
    number = {kind: i + 1 for i, kind in enumerate(types_of(task))}
    closes = any(prefix in (_ENDS, _SINGLE) for prefix, _ in parts.values())
    values, counts = [], []
    for tags in sentences:
        codes, n_bad = _codes([parts[tag] for tag in tags], number, closes)
        values.append(codes)
        counts.append(n_bad)
    first = int(np.argmax(np.array(counts) > 0)) if any(counts) else -1
    return Tagged(task, ragged(values), sum(counts), first)


def is_tag(cell: Any) -> bool:
    """Tell whether a cell holds a tag of an entity, or O.

    >>> is_tag("O"), is_tag("B-PER"), is_tag("NN"), is_tag(3)
    (True, True, False, False)
    """
    if not isinstance(cell, str):
        return False
    prefix, dash, kind = cell.partition("-")
    return cell == OUTSIDE or (prefix in _PREFIXES and bool(dash and kind))


def _part(tag: str) -> tuple[str, str]:
    """Return (prefix, type) of a tag.

    >>> _part("B-PER"), _part("O"), _part("U-per-son")
    (('B', 'PER'), ('O', ''), ('S', 'per-son'))
    """
    if tag == OUTSIDE:
        return OUTSIDE, ""
    if not is_tag(tag):
        raise DataError(
            f"The tag {tag!r:.40} is neither O nor B-… or I-… of an entity type.\n"
            "Expected BIO, BIOES or BILOU tags, one a word; is the last column another one?"
        )
    prefix, _, kind = tag.partition("-")
    return _PREFIXES[prefix], kind


def _codes(
    parts: Sequence[tuple[str, str]], number: Mapping[str, int], closes: bool
) -> tuple[Codes, int]:
    """Return the codes of one sentence, and how many tags are illegal in their scheme.

    Parameters
    ----------
    closes
        Whether the scheme marks the ends of entities, as BIOES does.
    """
    codes, n_illegal = np.zeros(len(parts), dtype=np.int64), 0
    before, kind_before = OUTSIDE, ""
    for i, (prefix, kind) in enumerate(parts):
        is_open = before in (_BEGINS, _INSIDE)
        continues = prefix in (_INSIDE, _ENDS)
        follows = is_open and kind == kind_before
        wrong = (continues and not follows) or (closes and is_open and not (continues and follows))
        n_illegal += wrong
        # In a scheme with ends nothing goes on behind one; in BIO what looks wrong is kept.
        begins = not continues or (closes and not follows)
        if kind:
            codes[i] = 2 * number[kind] - begins
        before, kind_before = prefix, kind
    n_illegal += closes and before in (_BEGINS, _INSIDE)
    return codes, n_illegal


class Span(NamedTuple):
    """Characters `start` to `stop` − 1 of a text are an entity."""

    label: str
    start: int
    stop: int


def tags_of(found: Sequence[Span], row: Sentence) -> tuple[list[str], int]:
    """Return the BIO tags of a sentence with spans of characters, and how many spans were mended.

    A span that cuts a word takes all of it; of two that overlap the longer one stays, of two of
    the same length the first.

    Raises
    ------
    DataError
        Where a span lies outside the text or holds no word.

    Examples
    --------
    >>> from headstart.data.words import sentence
    >>> tags_of([Span("LOC", 3, 9)], sentence("in New York"))  # cuts York
    (['O', 'B-LOC', 'I-LOC'], 1)
    """
    tags, n_mended = [OUTSIDE] * len(row), 0
    ends = [start + len(word) for start, word in zip(row.starts, row.words, strict=True)]
    for span in sorted(found, key=lambda span: (span.start - span.stop, span.start)):
        at = _words_in(span, row, ends)
        if any(tags[i] != OUTSIDE for i in at):
            n_mended += 1
            continue
        text = row.text[span.start : span.stop]
        lead, trail = len(text) - len(text.lstrip()), len(text) - len(text.rstrip())
        exact = (row.starts[at[0]], ends[at[-1]])
        n_mended += exact != (span.start + lead, span.stop - trail)
        for i in at:
            tags[i] = f"{_BEGINS if i == at[0] else _INSIDE}-{span.label}"
    return tags, n_mended


def _words_in(span: Span, row: Sentence, ends: Sequence[int]) -> range:
    """Return the words that a span touches."""
    if not 0 <= span.start < span.stop <= len(row.text):
        raise DataError(
            f"the span {span.start} to {span.stop} is none of a text of {len(row.text)} characters"
        )
    first = int(np.searchsorted(ends, span.start, side="right"))
    last = int(np.searchsorted(row.starts, span.stop, side="left"))
    if first >= last:
        raise DataError(f"the span {span.start} to {span.stop} holds no word")
    return range(first, last)
