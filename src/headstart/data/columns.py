"""Which column of a table is what: by its name, by its content, or by the user's word."""

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headstart.data.dataset import TEST, TRAIN, UNASSIGNED, VALIDATION
from headstart.data.pictures import PICTURE_SUFFIXES
from headstart.data.tables import Table
from headstart.data.targets import NO_NUMBER, is_missing
from headstart.errors import DataError
from headstart.task import Kind, Modality

#: The names under which people keep splits.
SPLIT_NAMES = {
    "train": TRAIN,
    "training": TRAIN,
    "val": VALIDATION,
    "valid": VALIDATION,
    "validation": VALIDATION,
    "dev": VALIDATION,
    "test": TEST,
    "testing": TEST,
    "": UNASSIGNED,
}

LABEL_NAMES = frozenset(
    "label labels class classes category categories target y intent sentiment stars rating score "
    "genre genres tag tags species topic group".split()
)
TEXT_NAMES = frozenset(
    "text texts sentence content body review question query document message comment utterance "
    "headline description caption abstract title name tweet post summary subject".split()
)
IMAGE_NAMES = frozenset(
    "image images img picture photo path file filename file_name filepath file_path image_path "
    "image_file image_name".split()
)
WORD_NAMES = frozenset("tokens words".split())
TAG_NAMES = frozenset("tags ner_tags labels ner tag label".split())
SPAN_NAMES = frozenset("spans entities annotations labels label".split())
_INDEX_NAMES = re.compile(r"|id|idx|index|unnamed: ?\d+|.*_id|__index_level_\d+__", re.IGNORECASE)
_N_LOOKED_AT = 200


@dataclass(frozen=True)
class Roles:
    """What the columns are for.

    Parameters
    ----------
    modality
        What a row is.
    inputs
        The column of texts, pictures or lists of words, or the columns of numbers.
    labels
        The column of labels, tags or spans, or several columns of 0 and 1; empty without labels.
    split
        The column that names splits, or "".
    notes
        What was guessed.
    """

    modality: Modality
    inputs: tuple[str, ...]
    labels: tuple[str, ...] = ()
    split: str = ""
    notes: tuple[str, ...] = ()


def roles(
    table: Table,
    text: str | None = None,
    image: str | None = None,
    label: str | None = None,
    *,
    kind: Kind | str | None = None,
    is_labelled: bool = True,
) -> Roles:
    """Say what each column of a table is for.

    Parameters
    ----------
    table
        With at least one row.
    text, image, label
        What the user said; several label columns stand with commas between them.
    kind
        What the user said that labels are: where not tags, a label a row is taken before them.
    is_labelled
        False: labels are neither needed nor looked for.

    Examples
    --------
    >>> table = Table({"body": ["an ant", "a bee"], "label": ["ant", "bee"]}, ["row 0", "row 1"])
    >>> roles(table).notes
    ("Text is in the column 'body', the label is in 'label' (guessed).",)
    """
    if text is not None and image is not None:
        raise DataError(
            f"Both a text column '{text}' and an image column '{image}' are given; expected one."
        )
    text = None if text is None else _present(table, text, "text")
    image = None if image is None else _present(table, image, "image")
    labels = _given_labels(table, label)
    if (text or image) in labels:
        raise DataError(
            f"The column '{text or image}' is given both as what is read and as the label.\n"
            "Expected two columns: whoever reads the label has nothing to learn."
        )
    guessable = () if labels else _named(table, LABEL_NAMES, None)
    split = _split_column(table, taken={text, image, *labels, *guessable})
    if image is None and len(labels) < 2:
        words = _words(table, text) if not is_labelled else _tagged(table, text, labels)
        others = _row_labels(table, {split, *words[0], *words[1]}) if words and not label else []
        if words is not None and (not others or kind in (None, Kind.TAGS)):
            notes = _passed_over(table, words, others) if is_labelled and others else ()
            return Roles(Modality.WORDS, *words, split, notes)
    free = [name for name in table.columns if name not in {*labels, split}]
    if is_labelled and not labels:
        _check_has_tags(table, free)
        labels = _guessed_label(table, free, taken=text or image)
        free = [name for name in free if name not in labels]
    modality, inputs = _inputs(table, free, text, image, is_labelled=is_labelled)
    guessed = text is None and image is None, is_labelled and label is None
    notes = _notes(modality, inputs, labels, guessed)
    if guessed[0] and modality is not Modality.VECTOR:
        notes += _left_aside(table, [name for name in free if name not in inputs])
    return Roles(modality, inputs, labels, split, notes)


def _words(table: Table, text: str | None) -> tuple[tuple[str], tuple[str, ...]] | None:
    """Return the column of words, and no label; None if there is none."""
    found = [name for name in _named(table, WORD_NAMES, text) if _all(table, name, _is_words)]
    return ((found[0],), ()) if found else None


def _tagged(
    table: Table, text: str | None, labels: Sequence[str]
) -> tuple[tuple[str], tuple[str, ...]] | None:
    """Return the columns of words and tags, or of texts and spans; None if there are none."""
    given = labels[0] if labels else None
    words = _words(table, text)
    tags = [name for name in _named(table, TAG_NAMES, given) if _all(table, name, _is_list)]
    if words and tags:
        return words[0], (tags[0],)
    texts = [name for name in _named(table, TEXT_NAMES, text) if _holds(table, name, str)]
    spans = [name for name in _named(table, SPAN_NAMES, given) if _all(table, name, _is_spans)]
    return ((texts[0],), (spans[0],)) if texts and spans else None


def _check_has_tags(table: Table, free: Sequence[str]) -> None:
    """Refuse words that stand alone."""
    if len(free) == 1 and _is_named(free[0], WORD_NAMES) and _all(table, free[0], _is_words):
        raise DataError(
            f"The rows have words (in '{free[0]}') and nothing else.\nExpected a tag a word: in "
            "the last column of a CoNLL file, or a list a row in a column such as 'tags'."
        )


def _row_labels(table: Table, taken: set[str]) -> list[str]:
    """Return the columns named like labels that hold one a row."""
    named = [name for name in _named(table, LABEL_NAMES, None) if name not in taken]
    return [name for name in named if not _all(table, name, _is_list)]


def _passed_over(
    table: Table, words: tuple[tuple[str], tuple[str, ...]], labels: Sequence[str]
) -> tuple[str, ...]:
    """Say that tags are read, and not the label a row that is there too."""
    (row,), (tags,) = words
    kept = "spans" if _holds(table, row, str) else "tags"
    instead = f": --label {labels[0]} reads it instead" if _named(table, TEXT_NAMES, None) else ""
    return (
        f"Entities are learned, from the {kept} in '{tags}' (guessed by their names); the label a "
        f"row in '{labels[0]}' is not read{instead}.",
    )


def _named(table: Table, names: frozenset[str], given: str | None) -> list[str]:
    if given is not None:
        return [name for name in table.columns if name.lower() == given.lower()]
    return [name for name in table.columns if name.lower() in names]


def _all(table: Table, name: str, is_such: Callable[[Any], bool]) -> bool:
    """Tell whether cells are lists of such a kind, and not all of them are empty."""
    seen = [_listed(cell) for cell in _looked_at(table.columns[name])]
    return any(seen) and all(is_such(cell) for cell in seen)


def _listed(cell: Any) -> Any:
    return cell.tolist() if hasattr(cell, "tolist") else cell


def _is_list(cell: Any) -> bool:
    return isinstance(cell, list | tuple)


def _is_words(cell: Any) -> bool:
    return _is_list(cell) and all(isinstance(word, str) for word in cell)


def _is_spans(cell: Any) -> bool:
    return _is_list(cell) and all(_is_span(span) for span in cell)


def _is_span(span: Any) -> bool:
    if isinstance(span, dict):
        return "start" in span and "end" in span
    return _is_list(span) and len(span) == 3 and all(isinstance(n, int) for n in span[:2])


def column_error(table: Table, what: str, option: str) -> DataError:
    """Return the error for a column that an option can tell, with the columns there are."""
    return table_error(table, what, f"Say which with {option}.")


def table_error(table: Table, what: str, fix: str) -> DataError:
    """Return the error for a table, with the columns there are and what to do."""
    first = {name: cells[0] if len(cells) else None for name, cells in table.columns.items()}
    shown = "".join(f"\n  {name!r}, for example {cell!r:.60}" for name, cell in first.items())
    of = f" of {table.file}" if table.file else ""
    return DataError(f"{what}\nThe columns{of} are:{shown}\n{fix}")


def _present(table: Table, name: str, option: str) -> str:
    if name in table.columns:
        return name
    alike = [column for column in table.columns if column.lower() == name.lower()]
    if len(alike) == 1:
        return alike[0]
    hint = " Is the first line a header?" if table.folder != Path() else ""
    raise column_error(table, f"There is no column '{name}'.{hint}", f"--{option}")


def learned_roles(table: Table, modality: Modality, columns: Sequence[str]) -> Roles:
    """Return the input columns that a model learned from, in its order; all others are ignored.

    >>> table = Table({"y": [1], "b": [2], "a": [3]}, ["row 0"])
    >>> learned_roles(table, Modality.VECTOR, ["a", "b"]).inputs
    ('a', 'b')
    """
    lacking = [name for name in columns if name not in table.columns]
    if lacking:
        what = f"The model learned from {_several(columns)}; this table has no {_several(lacking)}."
        if modality is not Modality.VECTOR:
            raise column_error(table, what, f"--{modality} COLUMN")
        raise table_error(table, what, "Give a table with these columns, under these names.")
    return Roles(modality, tuple(columns))


def _several(columns: Sequence[str]) -> str:
    more = f" and {len(columns) - 8:,} more" if len(columns) > 8 else ""
    plural = "s" if len(columns) > 1 else ""
    return f"column{plural} {', '.join(map(repr, columns[:8]))}{more}"


def _given_labels(table: Table, label: str | None) -> tuple[str, ...]:
    if label is None:
        return ()
    if label in table.columns or "," not in label:
        return (_present(table, label, "label"),)
    names = [name.strip() for name in label.split(",") if name.strip()]
    return tuple(_present(table, name, "label") for name in names)


def _split_column(table: Table, taken: set[str | None]) -> str:
    """Return the column named "split" if it names splits, or the only other one that does."""
    found = [name for name in table.columns if name.lower() == "split" and name not in taken]
    if not found:
        others = _naming_splits(table, taken)
        return others[0] if len(others) == 1 else ""
    values = {split_key(cell) for cell in table.columns[found[0]]}
    unknown = sorted(values - SPLIT_NAMES.keys())
    if len(unknown) == len(values - {""}):
        return ""  # about something else
    if unknown:
        raise DataError(
            f"The column '{found[0]}' holds {', '.join(map(repr, unknown[:5]))}.\n"
            "Expected train, validation or test, or nothing."
        )
    return found[0]


def _naming_splits(table: Table, taken: Collection[str | None]) -> list[str]:
    """Return the columns in which every cell names a split: train, and another one."""
    return [
        name
        for name in table.columns
        if name not in taken and _holds(table, name, str) and _names_splits(table.columns[name])
    ]


def _names_splits(cells: Sequence[Any]) -> bool:
    for some in (_looked_at(cells), cells):  # a few first: most columns are long texts
        splits = {SPLIT_NAMES.get(split_key(cell), "other") for cell in some}
        if "other" in splits:
            return False
    return {TRAIN} < splits - {UNASSIGNED}


def split_notes(table: Table, chosen: Roles) -> tuple[str, ...]:
    """Say which column was taken for the split by its cells, or which ones could have been."""
    if chosen.split:
        is_told = chosen.split.lower() == "split"
        return () if is_told else (f"The split is in the column '{chosen.split}' (guessed).",)
    found = _naming_splits(table, {*chosen.inputs, *chosen.labels})
    if not found:
        return ()
    return (
        f"The rows are read without a split, though {_several(found)} could name one: call the "
        "one that does 'split'.",
    )


def split_key(cell: Any) -> str:
    """Return a cell of a split column as `SPLIT_NAMES` has it.

    >>> split_key(" Train"), split_key(None)
    ('train', '')
    """
    return "" if is_missing(cell) else str(cell).strip().lower()


def _guessed_label(table: Table, free: Sequence[str], taken: str | None) -> tuple[str, ...]:
    """Return the one column named like labels, or the only one left beside the input."""
    others = [name for name in free if name != taken]
    named = [name for name in others if name.lower() in LABEL_NAMES]
    if len(named) == 1:
        return (named[0],)
    left = [name for name in others if not _INDEX_NAMES.fullmatch(name)]
    if not named and taken is None:
        is_input = [_is_named(name, TEXT_NAMES | IMAGE_NAMES) for name in left]
        left = [name for name, known in zip(left, is_input, strict=True) if not known]
    if not named and len(left) == 1 and len(others) > (taken is None):
        return (left[0],)
    what = (
        f"Several columns could hold the labels: {named}."
        if named
        else ("No column is clearly the one with the labels.")
    )
    raise column_error(table, what, "--label COLUMN (several: --label a,b,c)")


def _is_named(name: str, names: frozenset[str]) -> bool:
    return name.lower() in names


def _inputs(
    table: Table, free: Sequence[str], text: str | None, image: str | None, *, is_labelled: bool
) -> tuple[Modality, tuple[str, ...]]:
    if image is not None:
        return Modality.IMAGE, (image,)
    if text is not None:
        return Modality.TEXT, (text,)
    columns = [name for name in free if not _INDEX_NAMES.fullmatch(name)] or list(free)
    pictures = [name for name in columns if _holds_pictures(table.columns[name])]
    texts = [name for name in columns if name not in pictures and _holds(table, name, str)]
    if pictures:
        rivals = [name for name in texts if _is_named(name, TEXT_NAMES)]
        return Modality.IMAGE, _only(table, pictures, rivals, "image")
    numbers = [name for name in columns if _holds_numbers(table.columns[name])]
    if texts:
        inputs = _only(table, _favored(table, texts), [], "text")
        if is_labelled:  # else a model is asked, which said already what it reads
            _refuse_doubtful(table, inputs[0], numbers)
        return Modality.TEXT, inputs
    if numbers and len(numbers) == len(columns):
        return Modality.VECTOR, tuple(numbers)
    raise column_error(table, "No column holds texts or pictures.", "--text or --image COLUMN")


def _refuse_doubtful(table: Table, text: str, numbers: Sequence[str]) -> None:
    """Refuse a date or a city among numbers: that the texts are what is read would be a guess."""
    if not numbers or _is_named(text, TEXT_NAMES) or _holds_sentences(table.columns[text]):
        return
    beside = "numbers stand" if len(numbers) > 1 else "a number stands"
    raise table_error(
        table,
        f"Is '{text}' what is read? It holds no sentences, and {beside} beside it, in "
        f"{_several(numbers)}.\nA source reads texts or pictures; a table of nothing but numbers "
        "is read as these.",
        f"Say --text {text} (text='{text}'); or leave '{text}' out, or make it numbers.",
    )


def _favored(table: Table, texts: Sequence[str]) -> list[str]:
    """Return the columns named like texts, else those that hold sentences, else all."""
    named = [name for name in texts if _is_named(name, TEXT_NAMES)]
    long = [name for name in texts if _holds_sentences(table.columns[name])]
    return named or long or list(texts)


def _only(
    table: Table, found: Sequence[str], rivals: Sequence[str], option: str
) -> tuple[str, ...]:
    if len(found) == 1 and not rivals:
        return (found[0],)
    what = f"Several columns could be what is read: {', '.join([*found, *rivals])}."
    raise column_error(table, what, f"--{option} COLUMN" + (" (or --text)" if rivals else ""))


def _looked_at(cells: Sequence[Any]) -> list[Any]:
    """Return some present cells from all over a column."""
    step = max(1, len(cells) // _N_LOOKED_AT)
    return [cell for cell in cells[::step] if not is_missing(cell)]


def _holds_pictures(cells: Sequence[Any]) -> bool:
    seen = _looked_at(cells)
    return bool(seen) and all(_is_picture(cell) for cell in seen)


def _is_picture(cell: Any) -> bool:
    if isinstance(cell, str):
        return "\n" not in cell and Path(cell.strip()).suffix.lower() in PICTURE_SUFFIXES
    is_encoded = isinstance(cell, dict) and "bytes" in cell and "path" in cell
    return is_encoded or isinstance(cell, bytes | Path) or hasattr(cell, "getbands")


def _holds(table: Table, name: str, kind: type) -> bool:
    seen = _looked_at(table.columns[name])
    return bool(seen) and all(isinstance(cell, kind) for cell in seen) and not _holds_numbers(seen)


def _holds_sentences(cells: Sequence[Any]) -> bool:
    seen = _looked_at(cells)
    return sum(map(_n_words, seen)) >= 3 * len(seen)


def _n_words(cell: str) -> float:
    """Return how many words a cell has, of scripts without blanks about how many.

    >>> _n_words("an old ant"), _n_words("2026-11-29"), _n_words("我昨天在公园里看到了")
    (3, 1, 5.0)
    """
    n = len(cell.split())
    return max(n, sum("\u0e00" <= letter for letter in cell if letter.isalpha()) / 2)


def _holds_numbers(cells: Sequence[Any]) -> bool:
    seen = _looked_at(cells)
    try:
        return bool(seen) and all(isinstance(float(cell), float) for cell in seen)
    except NO_NUMBER:
        return False


def _left_aside(table: Table, others: Sequence[str]) -> tuple[str, ...]:
    """Say which columns of numbers are not read, where the one that is was only guessed."""
    numbers = [
        repr(name)
        for name in others
        if not _INDEX_NAMES.fullmatch(name) and _holds_numbers(table.columns[name])
    ]
    if not numbers:
        return ()
    one, are = ("The column", "is") if len(numbers) == 1 else ("The columns", "are")
    more = " …" if len(numbers) > 5 else ""
    return (
        f"{one} {', '.join(numbers[:5])}{more} of numbers {are} left aside: a source reads texts "
        "or pictures, and a table of nothing but numbers is read as these.",
    )


def _notes(
    modality: Modality, inputs: Sequence[str], labels: Sequence[str], guessed: tuple[bool, bool]
) -> tuple[str, ...]:
    """Say what was guessed, in one sentence."""
    what = {
        Modality.TEXT: "text is", Modality.IMAGE: "the picture is", Modality.VECTOR: "numbers are"
    }  # fmt: skip
    place = f"the column '{inputs[0]}'" if len(inputs) == 1 else f"{len(inputs)} columns"
    input_part = f"{what[modality]} in {place}" if guessed[0] else ""
    label_part = f"the label is in '{', '.join(labels)}'" if guessed[1] and labels else ""
    said = ", ".join(part for part in (input_part, label_part) if part)
    return (f"{said[0].upper()}{said[1:]} (guessed).",) if said else ()
