"""CoNLL: a word a line, its tag in the last column, a blank line between sentences."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import mode

from headstart.data.dataset import Skipped
from headstart.data.tags import is_tag
from headstart.errors import DataError

CONLL_SUFFIXES = (".conll", ".conllu", ".bio", ".iob", ".iob2", ".bioes")


@dataclass(frozen=True, eq=False)
class Blocks:
    """The sentences of a file.

    Parameters
    ----------
    words
        The words of each sentence.
    tags
        Their tags; None where no line has a second column.
    names
        The file and line each begins at.
    skipped
        Sentences with a line that cannot be read.
    """

    words: list[list[str]]
    tags: list[list[str]] | None
    names: list[str]
    skipped: tuple[Skipped, ...]


def blocks(text: str, name: str) -> Blocks:
    r"""Read a file's text; columns stand between tabs, or between spaces where there are none.

    Lines of comments and of documents (`-DOCSTART-`) are passed over: `# …` is a comment unless it
    ends with a tag and has as many columns as other lines. Where lines begin with the number of the
    word, the word is the second column.

    Examples
    --------
    >>> found = blocks("in\tO\nParis\tB-LOC\n\n\nyes O\n", "a.conll")
    >>> found.words, found.tags, found.names
    ([['in', 'Paris'], ['yes']], [['O', 'B-LOC'], ['O']], ['a.conll:1', 'a.conll:5'])
    """
    groups = list(_groups(text))
    if not groups:
        raise DataError(f"{name} holds no words.\nExpected a word and its tag a line.")
    widths = [len(cells) for _, group in groups for cells in group]
    is_tagged = max(widths) > 1
    at = 1 if is_tagged and _is_numbered(groups) else 0
    words, tags, skipped = [], [], []
    names: list[str] = []
    for line, group in groups:
        lacking = [i for i, cells in enumerate(group) if len(cells) < 1 + at + is_tagged]
        if lacking:
            reason = f"line {line + lacking[0]} has no tag: {group[lacking[0]][-1]!r:.40}"
            skipped.append(Skipped(f"{name}:{line}", reason, len(names)))
            continue
        words.append([cells[at] for cells in group])
        tags.append([cells[-1] for cells in group])
        names.append(f"{name}:{line}")
    return Blocks(words, tags if is_tagged else None, names, tuple(skipped))


def line_list(text: str) -> list[str]:
    r"""Return the lines as editors count them; `str.splitlines` also cuts inside of some.

    >>> line_list("one\ftwo\r\nthree\u2028four")
    ['one\x0ctwo', 'three\u2028four']
    """
    return re.split("\r\n|\r|\n", text)


Group = tuple[int, list[list[str]]]  # the first line's number, and the cells of each line


def _groups(text: str) -> Iterator[Group]:
    begun, group = 0, list[list[str]]()
    lines = [_cells(line) for line in [*line_list(text), ""]]
    usual = _usual_width(lines)
    for number, cells in enumerate(lines, start=1):
        if cells and cells[0] != "-DOCSTART-" and not _is_comment(cells, usual):
            begun = begun if group else number
            group.append(cells)
        elif not cells and group:
            yield begun, group
            group = []


def _cells(line: str) -> list[str]:
    if not line.strip():
        return []
    parts = line.split("\t") if "\t" in line else re.split(" +", line.strip(" "))
    return [part.strip(" ") for part in parts]


def _usual_width(lines: Sequence[Sequence[str]]) -> int:
    """Return how many cells most lines have; those that begin with # only where there is no other.

    >>> _usual_width([["in", "O"], [], ["#", "a", "comment"], ["#", "another", "comment"]])
    2
    """
    filled = [cells for cells in lines if cells]
    plain = [cells for cells in filled if not cells[0].startswith("#")]
    return mode([len(cells) for cells in plain or filled] or [0])


def _is_comment(cells: Sequence[str], usual: int) -> bool:
    # Between spaces "# O" is a word and its tag, "# newdoc" and "# text = an ant" are comments.
    if cells[0] != "#":
        return cells[0].startswith("# ")
    return len(cells) != usual or (usual > 1 and not is_tag(cells[-1]))


def _is_numbered(groups: Sequence[Group]) -> bool:
    """Tell whether every sentence counts its words in the first column, from 0 or 1."""
    return all(
        len(cells) > 2 and cells[0] in (str(i), str(i + 1))
        for _, group in groups
        for i, cells in enumerate(group)
    )
