"""Tables: files and objects of named columns, read without guessing what a column is for.

CSV, TSV, JSON Lines, JSON, Parquet, CoNLL, DataFrames, Hugging Face datasets, lists of records.
What can be read is read; a line that cannot be is set aside and named.
"""

import codecs
import csv
import dataclasses
import io
import json
import re
from bisect import bisect
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

from headstart.data.conll import CONLL_SUFFIXES, blocks, line_list
from headstart.data.dataset import Skipped
from headstart.data.foreign import as_array, unwrapped
from headstart.errors import DataError
from headstart.extras import need

TABLE_SUFFIXES = (
    ".csv", ".tsv", ".tab", ".jsonl", ".ndjson", ".json", ".parquet", *CONLL_SUFFIXES
)  # fmt: skip

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_DELIMITERS = ",;\t|"
_LONGEST_CELL = 2**31 - 1
#: Types of cells that are as they are.
PLAIN = (str, int, float, bool, type(None))
_QUOTED = re.compile('"([^"]*(?:""[^"]*)*)"')

#: The first line, the last line and the cells of a record of a CSV file.
_Record: TypeAlias = tuple[int, int, list[str]]
#: A line that is left out, and why.
_Spoilt: TypeAlias = tuple[int, str]


@dataclass(frozen=True, eq=False)
class Table:
    """Named columns of equal length.

    Parameters
    ----------
    columns
        The cells of each column.
    names
        How a row is shown to a person: "pets.csv:17".
    folder
        What relative paths in cells are relative to.
    file
        The path it was read from; empty where it was no file.
    class_names
        The names behind class numbers, for columns that declare them.
    skipped
        Lines that could not be read, in their order; `before` counts the rows.
    notes
        What was guessed.
    """

    columns: Mapping[str, Sequence[Any]]
    names: Sequence[str]
    folder: Path = Path()
    file: str = ""
    class_names: dict[str, tuple[str, ...]] = field(default_factory=dict)
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        """How many rows there are."""
        return len(self.names)


def read_table(path: Path) -> Table:
    """Read a file of columns, by its suffix."""
    suffix = path.suffix.lower()
    if suffix in (".xlsx", ".xls", ".ods", ".xlsm"):
        raise DataError(f"{path} is a spreadsheet. Save it as CSV (UTF-8) and read that.")
    if suffix not in TABLE_SUFFIXES:
        raise DataError(
            f"{path} has a suffix that is not known.\nExpected {', '.join(TABLE_SUFFIXES)}, "
            "or a folder with a folder of pictures for each class; a file with a word and its tag "
            "a line is to be named .conll."
        )
    if suffix == ".parquet":
        return _parquet(path)
    text, notes = decoded(_bytes(path), str(path))
    if not text.strip():
        raise DataError(f"{path} is empty: 0 rows, expected a table.")
    table = _PARSERS.get(suffix, _csv)(text, path)
    return dataclasses.replace(
        table, folder=path.parent, file=str(path), notes=(*notes, *table.notes)
    )


def table_of(source: Any) -> Table | None:
    """Return a table made of a Python object; None if it is not one of columns.

    Examples
    --------
    >>> table_of([{"text": "an ant", "label": 0}, {"text": "a bee"}]).columns
    {'text': ['an ant', 'a bee'], 'label': [0, None]}
    """
    if hasattr(source, "column_names") and hasattr(source, "features"):
        return _hugging_face(source)
    if hasattr(source, "columns") and hasattr(source, "itertuples"):
        return _data_frame(source)
    if hasattr(source, "column_names") and hasattr(source, "to_pydict"):  # pyarrow
        return _of_columns(source.to_pydict(), "row ")
    if hasattr(source, "columns") and hasattr(source, "to_dicts"):  # polars
        return _of_columns({str(name): source[name].to_list() for name in source.columns}, "row ")
    if isinstance(source, Mapping):
        columns = {str(name): list(unwrapped(cells)) for name, cells in source.items()}
        return _of_columns(columns, "row ")
    if isinstance(source, list) and source and all(isinstance(row, Mapping) for row in source):
        records = [
            {key: cell if type(cell) in PLAIN else as_array(cell) for key, cell in row.items()}
            for row in source
        ]
        return _of_records(records, [f"row {i}" for i in range(len(source))])
    return None


def lines_of(path: Path) -> tuple[list[tuple[str, str]], tuple[str, ...]]:
    """Return the lines of a text file that are not blank, each with its "file:line", and notes."""
    text, notes = decoded(_bytes(path), str(path))
    lines = enumerate(line_list(text), start=1)
    return [(f"{path}:{number}", line.strip()) for number, line in lines if line.strip()], notes


def decoded(data: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    r"""Return bytes as text, with a note where they are not plain UTF-8.

    A byte-order mark decides. Without one, each line is UTF-8 if it can be, else Windows-1252:
    files pasted together from two worlds hold both.

    Examples
    --------
    >>> decoded("é\n".encode() + "é".encode("latin-1"), "a.csv")[0]
    'é\né'
    """
    for mark, encoding in _BOMS:
        if data.startswith(mark):
            return _by_mark(data, encoding, name)
    if b"\0" in data[:4096]:
        raise DataError(
            f"{name} holds zero bytes: it is no text, or UTF-16 without a byte-order mark.\n"
            "Expected a text file; save it as UTF-8."
        )
    try:
        return data.decode(), ()
    except UnicodeDecodeError:
        return _line_by_line(data, name)


def _by_mark(data: bytes, encoding: str, name: str) -> tuple[str, tuple[str, ...]]:
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        if encoding == "utf-8-sig":
            return _line_by_line(data[len(codecs.BOM_UTF8) :], name)
        raise DataError(
            f"{name} begins as {encoding} and goes on as something else: {error.reason} at byte "
            f"{error.start:,}.\nSave it as UTF-8."
        ) from error
    return text, () if encoding == "utf-8-sig" else (f"{name} was read as {encoding.upper()}.",)


def _line_by_line(data: bytes, name: str) -> tuple[str, tuple[str, ...]]:
    lines, n_foreign = [], 0
    for line in data.split(b"\n"):
        try:
            lines.append(line.decode())
        except UnicodeDecodeError:
            lines.append(_western(line))
            n_foreign += 1
    note = f"{name}: lines that are not UTF-8 and were read as Windows-1252: {n_foreign:,}."
    return "\n".join(lines), (note,)


def _western(line: bytes) -> str:
    try:
        return line.decode("cp1252")
    except UnicodeDecodeError:  # five bytes mean nothing there
        return line.decode("latin-1")


def _bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror or error}.") from error


def _csv(text: str, path: Path) -> Table:
    csv.field_size_limit(_LONGEST_CELL)  # a cell may be a whole document
    delimiter = _delimiter(text, path)
    records, spoilt, notes = _records(text, delimiter, path)
    if not records:
        raise DataError(f"{path} is empty: no cell holds anything, expected a table.")
    header = [name.strip() for name in records[0][2]]
    refuse_duplicates(header, str(path))
    rows, lines = [], []
    for line, _, cells in records[1:]:
        if len(cells) == len(header):
            rows.append(cells)
            lines.append(line)
        else:
            spoilt.append((line, f"{len(cells)} cells, expected {len(header)}"))
    columns = dict(zip(header, map(list, zip(*rows, strict=True)), strict=False))
    if not rows:
        columns = {name: [] for name in header}
    if delimiter != "," and path.suffix.lower() == ".csv":
        notes.append(f"{path}: columns are separated by {delimiter!r}.")
    return Table(
        columns,
        [f"{path}:{line}" for line in lines],
        skipped=tuple(
            Skipped(f"{path}:{line}", reason, bisect(lines, line))
            for line, reason in sorted(spoilt)
        ),
        notes=tuple(notes),
    )


def _delimiter(text: str, path: Path) -> str:
    """Return what separates the columns: the same number in most of the first rows."""
    if path.suffix.lower() in (".tsv", ".tab"):
        return "\t"
    head = "\n".join([line for line in line_list(text) if line.strip()][:50])

    def fit(delimiter: str) -> tuple[bool, int, int]:
        widths = [len(row) for row in csv.reader(io.StringIO(head), delimiter=delimiter) if row]
        n_equal = sum(width == widths[0] for width in widths)
        return widths[0] > 1, n_equal, widths[0]

    return max(_DELIMITERS, key=fit)  # the comma, where nothing is better


def _records(
    text: str, delimiter: str, path: Path
) -> tuple[list[_Record], list[_Spoilt], list[str]]:
    """Return the records that are not blank, the lines that stray quotes spoil, and the notes.

    Where quotes are not as CSV has them, each line is a row if all lines are as wide as the header.
    """
    try:
        records = list(_parsed(text, delimiter, strict=True))
    except csv.Error as error:
        return _despite_quotes(error, text, delimiter, path)
    are_joined = any(line < last for line, last, _ in records)
    rows = _line_a_row(text, delimiter) if are_joined else []
    if not rows:
        return records, [], []
    # By its form alone, it may be either: a quotation that two rows share, or a cell of two lines.
    note = f"{path} has quotes that join lines, each of which is as wide as the header"
    if _are_of_a_kind(rows, records):
        return rows, [], [f"{note}: each line was read as a row."]
    return records, [], [f"{note}: they were read as cells of several lines."]


def _are_of_a_kind(rows: Sequence[_Record], records: Sequence[_Record]) -> bool:
    """Tell whether lines are rows like the records: some column holds but what theirs holds.

    A label of a row is a label elsewhere, too; the lines of a text put words, or nothing, under
    every column. Numbers are no evidence: a line of an address holds some.
    """
    width = len(rows[0][2])
    columns = zip(*(cells for *_, cells in rows[1:]), strict=True)
    theirs = zip(*(cells for *_, cells in records[1:] if len(cells) == width), strict=True)
    return any(
        set(cells) <= set(others) - {""}
        for cells, others in zip(columns, theirs, strict=False)  # of no record there are none
    )


def _despite_quotes(
    error: csv.Error, text: str, delimiter: str, path: Path
) -> tuple[list[_Record], list[_Spoilt], list[str]]:
    """Return the same where quotes are not as CSV has them."""
    if rows := _line_a_row(text, delimiter):
        note = "each line was read as a row, and those inside of cells were kept"
        return rows, [], [f"{path} has quotes that are not closed or not doubled: {note}."]
    if "unexpected end" in str(error):
        line = max((line for line, *_ in _parsed(text, delimiter)), default=1)
        raise DataError(_open_quote(path, line)) from error
    records, spoilt = _mended(text, delimiter, path)
    note = "where a cell begins with one, it and the next were left out"
    return records, spoilt, [f"{path} has quotes inside of cells that are not doubled: {note}."]


def _parsed(text: str, delimiter: str, **dialect: Any) -> Iterator[_Record]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, **dialect)
    line = 1
    for cells in reader:
        if any(cell.strip() for cell in cells):
            yield line, reader.line_num, cells
        line = reader.line_num + 1


def _line_a_row(text: str, delimiter: str) -> list[_Record]:
    """Return each line as a record, whatever its quotes; none where one is not like the header."""
    records = list(_parsed(text, delimiter, quoting=csv.QUOTE_NONE))
    widths = {len(cells) for *_, cells in records}
    if len(widths) > 1 or 1 in widths:  # the lines of a single column would always fit
        return []
    return [(line, last, [_unquoted(cell) for cell in cells]) for line, last, cells in records]


def _unquoted(cell: str) -> str:
    """Return a cell without the quotes around all of it.

    >>> _unquoted('"an ""ant"" flies"'), _unquoted('"an" ant')
    ('an "ant" flies', '"an" ant')
    """
    found = _QUOTED.fullmatch(cell)
    return found[1].replace('""', '"') if found else cell


def _mended(text: str, delimiter: str, path: Path) -> tuple[list[_Record], list[_Spoilt]]:
    """Return the records of a lenient parse, without the lines that a stray quote joins."""
    lines = io.StringIO(text, newline="").readlines()
    records: list[_Record] = []
    spoilt: list[_Spoilt] = []
    for line, last, cells in _parsed(text, delimiter):
        if line == last or _is_sound(lines[line - 1 : last], delimiter):
            records.append((line, last, cells))
            continue
        if not records:  # else the first row would pass for the header
            raise DataError(_open_quote(path, line))
        reason = f"a stray quote joins the lines {line} to {last}"
        spoilt += [(i, reason) for i in range(line, last + 1)]
    return records, spoilt


def _is_sound(lines: Sequence[str], delimiter: str) -> bool:
    """Tell whether lines are what CSV allows: a cell may hold line breaks."""
    try:
        return bool(list(csv.reader(lines, delimiter=delimiter, strict=True)))
    except csv.Error:
        return False


def _open_quote(path: Path, line: int) -> str:
    return (
        f"{path}: a quote is opened in the record at line {line} and never closed.\n"
        'Expected every " to have its twin; a quote inside of a cell is written "".'
    )


def refuse_duplicates(header: Sequence[str], name: str) -> None:
    """Refuse a header that names two columns alike."""
    twice = [column for column, n in Counter(header).items() if n > 1 and column]
    if twice:
        raise DataError(
            f"{name} names columns twice: {', '.join(map(repr, twice))}.\n"
            f"It has {', '.join(map(repr, header))}; expected a name of its own for each."
        )


def _json_lines(text: str, path: Path) -> Table:
    records, names, skipped = [], [], []
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        name = f"{path}:{number}"
        try:
            records.append(_record(json.loads(line)))
            names.append(name)
        except (ValueError, RecursionError) as error:  # also a number of 5,000 digits
            skipped.append(Skipped(name, f"no JSON object: {_why(error)}", len(names)))
    return dataclasses.replace(_of_records(records, names), skipped=tuple(skipped))


def _conll(text: str, path: Path) -> Table:
    found = blocks(text, str(path))
    columns: dict[str, Sequence[Any]] = {"tokens": found.words}
    if found.tags is not None:
        columns["tags"] = found.tags
    return Table(columns, found.names, skipped=found.skipped)


def _json(text: str, path: Path) -> Table:
    try:
        values = json.loads(text)
    except (ValueError, RecursionError) as error:
        if isinstance(error, json.JSONDecodeError) and error.msg == "Extra data":
            return _json_lines(text, path)
        raise DataError(
            f"{path} cannot be read as JSON: {_why(error)}.\nExpected a list of objects."
        ) from error
    lists = [v for v in values.values() if isinstance(v, list)] if _is_object(values) else [values]
    if len(lists) != 1 or not isinstance(lists[0], list):
        raise DataError(
            f"{path} holds no list of rows.\nExpected [{{…}}, {{…}}], one object a row."
        )
    names = [f"{path}[{i}]" for i in range(len(lists[0]))]
    return _of_records([_record(row) for row in lists[0]], names)


def _why(error: Exception) -> str:
    """Return what is wrong with JSON, without Python's advice on its own limits."""
    return str(error).partition("; use ")[0]


_PARSERS = {".jsonl": _json_lines, ".ndjson": _json_lines, ".json": _json} | dict.fromkeys(
    CONLL_SUFFIXES, _conll
)


def _is_object(value: Any) -> bool:
    return isinstance(value, dict)


def _record(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise DataError(f"{value!r:.60} is no object, expected {{…}} with a key for each column")
    return value


def _of_records(records: Sequence[Mapping[Any, Any]], names: Sequence[str]) -> Table:
    keys = dict.fromkeys(key for record in records for key in record)
    columns = {str(key): [record.get(key) for record in records] for key in keys}
    return Table(columns, names)


def _of_columns(columns: dict[str, list[Any]], prefix: str) -> Table:
    lengths = {name: len(cells) for name, cells in columns.items()}
    if len(set(lengths.values())) > 1:
        raise DataError(f"Columns of different lengths: {lengths}. Expected one length.")
    n = next(iter(lengths.values()), 0)
    return Table(dict(columns), [f"{prefix}{i}" for i in range(n)])


def _data_frame(frame: Any) -> Table:
    header = [str(name) for name in frame.columns]
    refuse_duplicates(header, "The DataFrame")
    cells = [frame.iloc[:, i].tolist() for i in range(len(header))]
    return _of_columns(dict(zip(header, cells, strict=True)), "row ")


def _parquet(path: Path) -> Table:
    parquet = need("pyarrow.parquet", "parquet")
    try:
        file = parquet.read_table(path)
        columns = {name: file.column(name).to_pylist() for name in file.column_names}
    except (OSError, ValueError) as error:  # pyarrow's errors are of these, and broken UTF-8
        raise DataError(f"{path} cannot be read as Parquet: {error}") from error
    refuse_duplicates(file.column_names, str(path))
    names = [f"{path}:{i + 1}" for i in range(file.num_rows)]
    return Table(columns, names, folder=path.parent, file=str(path))


def _hugging_face(data: Any) -> Table:
    """Read a `datasets.Dataset`; its pictures stay encoded, its class numbers get their names."""
    if not hasattr(data, "__len__"):
        raise DataError("A streaming dataset has no length; expected one that is on disk.")
    if data.format["type"] != "custom":  # cells as tensors or arrays; a transform makes others
        data = data.with_format(None)
    features = data.features
    for name, feature in features.items():
        if type(feature).__name__ == "Image":
            data = data.cast_column(name, type(feature)(decode=False))
    each = {name: getattr(feature, "feature", feature) for name, feature in features.items()}
    named = {name: tuple(one.names) for name, one in each.items() if _is_named(one)}
    columns = {name: list(data[name]) for name in data.column_names}
    return dataclasses.replace(_of_columns(columns, "row "), class_names=named)


def _is_named(feature: Any) -> bool:
    return type(feature).__name__ == "ClassLabel"
