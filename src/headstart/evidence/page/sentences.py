"""Sentences: their entities marked, right, wrong and missed."""

from collections.abc import Callable, Sequence

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

    def mark(text: str, kind: str, how: str) -> Markup:
        inside = Markup("{} {}").format(text, element("small", kind))
        return element("mark", inside, class_=how)

    return Markup("").join(map(escape, _parts(row, _found(truth, said), types, mark)))


def plain(row: Sentence, truth: Sequence[int], said: Sequence[int], types: Sequence[str]) -> str:
    """Return the same without markup: what is marked stands in brackets.

    >>> from headstart.data.words import sentence
    >>> plain(sentence("Ann left"), [1, 0], [1, 0], ["PER"])
    '[Ann PER] left'
    """

    def mark(text: str, kind: str, _: str) -> str:
        return f"[{text} {kind}]"

    return "".join(_parts(row, _found(truth, said), types, mark))


def _found(truth: Sequence[int], said: Sequence[int]) -> list[tuple[Entity, str]]:
    """Return the entities to mark, and how, in their order."""
    true, told = set(entities(truth)), set(entities(said))
    how = dict.fromkeys(true & told, "right") | dict.fromkeys(told - true, "wrong")
    taken = {i for one in how for i in range(one.start, one.stop)}
    missed = (one for one in true - told if taken.isdisjoint(range(one.start, one.stop)))
    how |= dict.fromkeys(missed, "missed")
    return sorted(how.items(), key=lambda item: item[0].start)


def _parts(
    row: Sentence,
    found: list[tuple[Entity, str]],
    types: Sequence[str],
    mark: Callable[[str, str, str], str],
) -> list[str]:
    """Return a sentence in pieces, from before its first entity to behind its last."""
    first = max(0, found[0][0].start - AROUND) if found else 0
    last = min(len(row), found[-1][0].stop + AROUND) if found else min(len(row), 2 * AROUND)
    if not last:
        return []
    at, end = row.place(first, last)
    parts = ["… "] if first else []
    for one, how in found:
        start, stop = row.place(one.start, one.stop)
        parts += [row.text[at:start], mark(row.text[start:stop], types[one.kind - 1], how)]
        at = stop
    return [*parts, row.text[at:end], " …" if last < len(row) else ""]
