"""Sentences: their entities marked, right, wrong and missed."""

from collections.abc import Sequence
from typing import Any

from markupsafe import Markup, escape

from headstart.data.tags import Entity, entities
from headstart.data.words import Sentence
from headstart.evidence.page.svg import element

#: Words of a sentence that are shown before its first mark and behind its last.
AROUND = 12


def named(codes: Sequence[int], types: Sequence[str], row: Sentence | None) -> str:
    """Return the entities of a sentence in words.

    >>> from headstart.data.words import sentence
    >>> named([0, 1, 2], ["LOC"], sentence("in New York"))
    'LOC New York'
    """
    found = entities(codes)
    if not found:
        return "no entity"
    return ", ".join(f"{types[one.kind - 1]} {_text(row, one)}".strip() for one in found)


def _text(row: Sentence | None, one: Entity) -> str:
    if row is None:
        return ""
    start, stop = row.place(one.start, one.stop)
    return row.text[start:stop]


def marked(
    row: Sentence, truth: Sequence[int], said: Sequence[int], types: Sequence[str]
) -> Markup:
    """Return a sentence with a mark around every entity that is true or was said.

    Said and true is "right", said alone "wrong", true alone "missed". Where a wrong one lies over
    a missed one, the wrong one is marked: what is true is told beside it.

    >>> from headstart.data.words import sentence
    >>> print(marked(sentence("Ann left"), [1, 0], [1, 0], ["PER"]))
    <mark class="right">Ann <small>PER</small></mark> left
    """
    true, told = set(entities(truth)), set(entities(said))
    how = dict.fromkeys(true & told, "right") | dict.fromkeys(told - true, "wrong")
    taken = {i for one in how for i in range(one.start, one.stop)}
    missed = (one for one in true - told if taken.isdisjoint(range(one.start, one.stop)))
    how |= dict.fromkeys(missed, "missed")
    return _written(row, sorted(how.items(), key=lambda item: item[0].start), types)


def _written(row: Sentence, found: list[tuple[Entity, str]], types: Sequence[str]) -> Markup:
    first = max(0, found[0][0].start - AROUND) if found else 0
    last = min(len(row), found[-1][0].stop + AROUND) if found else min(len(row), 2 * AROUND)
    if not last:
        return Markup()
    at, end = row.place(first, last)
    parts: list[Any] = ["… "] if first else []
    for one, how in found:
        start, stop = row.place(one.start, one.stop)
        inside = Markup("{} {}").format(row.text[start:stop], element("small", types[one.kind - 1]))
        parts += [row.text[at:start], element("mark", inside, class_=how)]
        at = stop
    parts += [row.text[at:end], " …" if last < len(row) else ""]
    return Markup("").join(escape(part) for part in parts)
