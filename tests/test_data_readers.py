"""Readers: folders, tables and objects become datasets, or errors that help."""

import gzip
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from headstart.data.dataset import Dataset, Skipped, from_arrays
from headstart.data.readers import read
from headstart.data.targets import encode
from headstart.data.unlabelled import read_rows, rows_of
from headstart.errors import DataError, UnreadableRow, UsageError
from headstart.task import Kind, Modality


def picture(path: Path) -> Path:
    """Write a small picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (4, 4), "red").save(path)
    return path


def pets(folder: Path, *names: str) -> Path:
    """Write pictures under the given relative names."""
    for name in names:
        picture(folder / name)
    return folder


def table(folder: Path, text: str | bytes, name: str = "pets.csv") -> Path:
    """Write a table."""
    path = folder / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def classes(data: Dataset) -> list[str]:
    """Return the label of each row, by name."""
    assert data.task is not None
    return [data.task.labels[i] for i in data.targets]


# Tables


def test_a_csv_with_columns_that_name_themselves(tmp_path: Path) -> None:
    """Text and category; quotes, commas and line breaks inside of a cell."""
    data = read(table(tmp_path, 'text,category\n"an ant, small",ant\n"a ""bee""\nflies",bee\n'))
    assert data.rows == ("an ant, small", 'a "bee"\nflies')
    assert classes(data) == ["ant", "bee"]
    assert data.names == (f"{tmp_path}/pets.csv:2", f"{tmp_path}/pets.csv:3")
    assert "guessed" in data.notes[0]
    assert data.task.target == "category"


@pytest.mark.parametrize(("name", "mark"), [("a.tsv", "\t"), ("a.csv", ";"), ("a.csv", "|")])
def test_other_separators_of_columns(tmp_path: Path, name: str, mark: str) -> None:
    """Tabs, and what spreadsheets write where the comma is for decimals."""
    rows = [("text", "label"), ("one, two", "a"), ("three, four", "b")]
    assert read(table(tmp_path, "\n".join(map(mark.join, rows)), name)).rows[0] == "one, two"


def test_a_table_may_begin_with_many_blank_lines(tmp_path: Path) -> None:
    """Blank lines say nothing of the columns, however many."""
    text = "\n" * 60 + "text;label\none;a\ntwo;b\n"
    assert read(table(tmp_path, text)).rows == ("one", "two")


def test_json_lines(tmp_path: Path) -> None:
    """Broken lines are skipped by their number."""
    lines = [
        '{"text": "x", "label": "a"}',
        "",
        "{broken",
        '["no object"]',
        '{"text": "y", "label": "b"}',
    ]
    data = read(table(tmp_path, "\n".join(lines), "a.jsonl"), max_skipped=0.5)
    assert data.rows == ("x", "y")
    assert [row.row[-7:] for row in data.skipped] == ["jsonl:3", "jsonl:4"]


def test_whole_numbers_of_hundreds_of_digits_are_no_numbers(tmp_path: Path) -> None:
    """JSON holds whole numbers of any size; a column of them is no vector, and no quantity."""
    large = "9" * 400
    labels = "".join(f'{{"text": "x{i}", "label": {large}{i % 2}}}\n' for i in range(4))
    assert read(table(tmp_path, labels, "a.jsonl")).task.labels == (f"{large}0", f"{large}1")
    rows = "".join(f'{{"a": {large if i == 2 else i}, "label": "b"}}\n' for i in range(60))
    with pytest.raises(DataError, match="No column holds texts or pictures"):
        read(table(tmp_path, rows, "b.jsonl"))
    numbers = "".join(f'{{"text": "x", "label": {large if i == 2 else i}}}\n' for i in range(60))
    with pytest.raises(DataError, match="expected numbers to predict"):
        read(table(tmp_path, numbers, "c.jsonl"), kind="regression")


def test_whole_numbers_of_thousands_of_digits_cannot_be_read(tmp_path: Path) -> None:
    """Python refuses to make them; the line is named, or the file."""
    lines = [
        f'{{"text": "{c}", "label": {"9" * n}}}' for c, n in zip("xyz", (1, 5000, 2), strict=True)
    ]
    data = read(table(tmp_path, "\n".join(lines), "a.jsonl"), max_skipped=0.5)
    assert data.rows == ("x", "z")
    assert data.skipped[0].row.endswith("a.jsonl:2")
    assert data.skipped[0].reason.endswith("value has 5000 digits")
    with pytest.raises(DataError, match="cannot be read as JSON: Exceeds the limit"):
        read(table(tmp_path, f"[{','.join(lines)}]", "a.json"))


def test_an_object_is_no_label(tmp_path: Path) -> None:
    """JSON can hold it in any row."""
    rows = [{"text": f"x{i}", "label": {"a": 1} if i == 3 else "b"} for i in range(6)]
    path = table(tmp_path, "\n".join(map(json.dumps, rows)), "a.jsonl")
    with pytest.raises(DataError, match=r"holds \{'a': 1\}, which is no label"):
        read(path)


def test_json_as_one_list(tmp_path: Path) -> None:
    """With the list in an object, too."""
    rows = [{"text": "x", "label": 0}, {"text": "y", "label": 1}]
    for value in (rows, {"version": 1, "data": rows}):
        assert read(table(tmp_path, json.dumps(value), "a.json")).rows == ("x", "y")


def test_parquet(tmp_path: Path) -> None:
    """Needs the extra."""
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    columns = pyarrow.table({"text": ["x", "y"], "label": ["a", "b"]})
    parquet.write_table(columns, tmp_path / "a.parquet")
    assert classes(read(tmp_path / "a.parquet")) == ["a", "b"]
    with pytest.raises(DataError, match="Parquet"):
        read(table(tmp_path, b"PAR1 but not really", "b.parquet"))


def test_tables_named_by_split(tmp_path: Path) -> None:
    """train.csv and test.csv in one folder are one dataset."""
    table(tmp_path, "text,label\nx,a\ny,b\n", "train.csv")
    table(tmp_path, "label,text\nb,z\n", "test.csv")
    data = read(tmp_path)
    assert dict(zip(data.rows, data.split.tolist(), strict=True)) == {
        "x": "train",
        "y": "train",
        "z": "test",
    }


def test_what_trains_tells_what_columns_are_for(tmp_path: Path) -> None:
    """Though "dev" comes first in order; the error names the file that lacks a column."""
    table(tmp_path, "sentence,mood,text\nx,a,1\ny,b,2\n", "dev.csv")
    table(tmp_path, "sentence,mood\nv,a\nw,b\n", "train.csv")
    data = read(tmp_path)
    assert (data.columns, data.task.target) == (("sentence",), "mood")
    table(tmp_path, "sentence,label\nx,a\n", "dev.csv")
    told = r"(?s)no column \['mood'\].*columns of .*dev\.csv are.*to `headstart predict`\.$"
    with pytest.raises(DataError, match=told):
        read(tmp_path)
    table(tmp_path, "a,b,c\nx,y,z\n", "train.csv")
    with pytest.raises(DataError, match=r"(?s)one with the labels.*columns of .*train\.csv are"):
        read(tmp_path)
    table(tmp_path, "sentence,mood\n", "train.csv")
    with pytest.raises(DataError, match=r"train\.csv has 0 rows"):
        read(tmp_path)


def test_a_split_column_is_honored(tmp_path: Path) -> None:
    """Empty cells are rows to draw from."""
    data = read(table(tmp_path, "text,label,split\nx,a,train\ny,b,Dev\nz,b,\n"))
    assert data.split.tolist() == ["train", "validation", ""]


def test_a_split_column_with_half_known_names_is_refused(tmp_path: Path) -> None:
    """A misspelled test row must not become a training row."""
    with pytest.raises(DataError, match="'tset'"):
        read(table(tmp_path, "text,label,split\nx,a,train\ny,b,tset\n"))


def test_a_column_that_names_splits_is_the_split(tmp_path: Path) -> None:
    """Whatever its name, if it is the only one that could be; else that is said."""
    path = table(tmp_path, "text,group,mood,n\nx,train,a,dev\ny,Test,b,2\nz,train,b,\n")
    data = read(path, label="mood")
    assert data.split.tolist() == ["train", "test", "train"]
    assert data.notes[1] == "The split is in the column 'group' (guessed)."
    path = table(tmp_path, "text,set,fold,mood\nx,train,train,a\ny,test,dev,b\nz,train,test,a\n")
    data = read(path, label="mood")
    assert data.split is None
    assert "columns 'set', 'fold' could name one: call the one that does 'split'" in data.notes[1]


@pytest.mark.parametrize(
    "text", ["text,label\nx,train\ny,test\n", "text,label,by\nx,a,train\ny,b,bus\n"]
)
def test_labels_and_other_columns_are_no_split(tmp_path: Path, text: str) -> None:
    """A label may be "train", and so may a vehicle."""
    data = read(table(tmp_path, text))
    assert (data.split, len(data.notes), data.task.target) == (None, 1, "label")


def test_the_split_that_files_name_is_not_told_as_another(tmp_path: Path) -> None:
    """A column that names splits is passed over there, as one named "split" is."""
    table(tmp_path, "text,label,set\nx,a,train\ny,b,dev\n", "train.csv")
    table(tmp_path, "text,label\nz,a\n", "test.csv")
    data = read(tmp_path)
    assert data.split.tolist() == ["test", "train", "train"]
    assert not any("split" in note for note in data.notes)


def test_pictures_of_a_table_lie_beside_it(tmp_path: Path) -> None:
    """Relative paths; one that leads nowhere is named."""
    pets(tmp_path, "jpg/1.png", "jpg/2.png")
    path = table(tmp_path, "file,kind\njpg/1.png,ant\njpg/2.png,bee\njpg/3.png,bee\n")
    data = read(path, max_skipped=0.4)
    assert data.modality is Modality.IMAGE
    assert data.rows == (tmp_path / "jpg/1.png", tmp_path / "jpg/2.png")
    assert data.skipped[0].reason == "no such file"


def test_a_table_of_numbers_is_vectors(tmp_path: Path) -> None:
    """All columns but the labels; an empty cell is one row less."""
    data = read(table(tmp_path, "id,a,b,species\n1,1,2,x\n2,3,4,y\n3,,4,y\n"), max_skipped=0.5)
    assert data.rows.tolist() == [[1, 2], [3, 4]]
    assert data.skipped[0].reason == "no number in 'a'"


def test_a_date_or_a_city_among_numbers_is_no_text(tmp_path: Path) -> None:
    """Unless one says so, or its name does, or it holds sentences, or no number is beside it."""
    path = table(tmp_path, "city,x1,x2,target\nRome,1,2,a\nNew York,2,3,b\n")
    with pytest.raises(DataError, match=r"(?s)Is 'city' what is read\?.*'x1', 'x2'.*--text city"):
        read(path)
    assert read(path, text="city").columns == ("city",)
    for header, row in (("text,x1", "Rome,1"), ("a,x1", "I was in Rome,1"), ("city,id", "Rome,1")):
        text = f"{header},target\n{row},a\n{row},b\n"
        assert read(table(tmp_path, text)).modality is Modality.TEXT


@pytest.mark.parametrize(
    ("columns", "note"),
    [
        ("a,b,y\n1,2,u\n2,3,v\n", "Numbers are in 2 columns, the label is in 'y' (guessed)."),
        ("text,y\n1 or 2,u\n2 or 3,v\n", "Text is in the column 'text', the label is in 'y'"),
        ("text,a,y\n1 or,1,u\n2 or,2,v\n", "The column 'a' of numbers is left aside"),
    ],
)
def test_guesses_are_told(tmp_path: Path, columns: str, note: str) -> None:
    """In words that fit one column, and several."""
    assert any(said.startswith(note) for said in read(table(tmp_path, columns)).notes)


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "text,label\nx,a\n",
            {"label": "stars"},
            r"(?s)no column 'stars'.*'label', for example 'a'",
        ),
        ("text,label\nx,a\n", {"text": "body"}, "(?s)no column 'body'.*--text"),
        ("text,label,label\nx,a,b\n", {}, "names columns twice: 'label'"),
        ("text,label,class\nx,a,b\n", {}, r"(?s)\['label', 'class'\].*--label"),
        ("one,two,label\na b c d,e f g h,x\n", {}, "(?s)one, two.*--text"),
        ("image,caption,label\na.png,an ant here,x\n", {}, "(?s)image, caption.*--image"),
        ("a,b,c\nx,y,z\n", {}, "(?s)No column is clearly the one with the labels.*--label"),
        ("text,label\n", {}, "0 rows under the header"),
        ("", {}, "is empty: 0 rows"),
        (",,,\n", {}, "is empty: no cell"),
        ('"\n', {}, "a quote is opened in the record at line 1"),
        ("text,label\nx,a\n", {"text": "text", "image": "text"}, "Both a text column"),
        ("text,label\nx,a\n", {"text": "TEXT", "label": "text"}, "'text' is given both"),
        ('text,label\n"x\ny,b\n', {}, "line 2 and never closed"),
        ('"text,label\n"x"y,b\nz\n', {}, "line 1 and never closed"),
        ("text,label\nx,a\ny,a\n", {}, "same class 'a'"),
        (
            "text,label,split\nx,a,train\ny,b,train\nz,c,test\n",
            {},
            "No training row has the label 'c'",
        ),
    ],
)
def test_tables_that_cannot_be_understood(
    tmp_path: Path, text: str, options: dict[str, str], message: str
) -> None:
    """Each says what is there, and which option decides."""
    with pytest.raises(DataError, match=message):
        read(table(tmp_path, text), **options)


def test_columns_that_hold_no_rows_are_refused() -> None:
    """Objects inside of cells are neither texts nor pictures."""
    with pytest.raises(DataError, match=r"(?s)No column holds texts or pictures.*'x', for example"):
        read([{"x": {"deep": 1}, "label": "a"}, {"x": {"deep": 2}, "label": "b"}])


def test_lines_of_the_wrong_length_are_skipped(tmp_path: Path) -> None:
    """By their line."""
    data = read(table(tmp_path, "text,label\nx,a\ny\nz,b,c\nw,b\n"), max_skipped=0.5)
    assert data.rows == ("x", "w")
    assert [row.reason for row in data.skipped] == ["1 cells, expected 2", "3 cells, expected 2"]


def test_quotes_inside_of_a_cell_are_forgiven(tmp_path: Path) -> None:
    """As many programs write them; the note says so."""
    data = read(table(tmp_path, 'text,label\n"an" ant,a\n"a ""bee""",b\n'))
    assert data.rows == ('"an" ant', 'a "bee"')
    assert "each line was read as a row, and those inside of cells were kept" in data.notes[0]


@pytest.mark.parametrize("n_open", [1, 2])
def test_a_quote_that_is_never_closed_takes_no_other_line(tmp_path: Path, n_open: int) -> None:
    """Where every line is as wide as the header, each is a row."""
    texts = ['"Well', "so", '"No' if n_open == 2 else "No", "it", '"is"']
    lines = ["text\tlabel", *(f"{text}\t{'ab'[i % 2]}" for i, text in enumerate(texts))]
    data = read(table(tmp_path, "\n".join(lines), "a.tsv"))
    assert data.rows == (*texts[:4], "is")
    assert data.skipped == ()


def test_lines_that_a_stray_quote_joins_are_skipped(tmp_path: Path) -> None:
    """Each counts; a cell with a line break in it stays one where its own quotes are right."""
    text = 'text,label\n"an, ant",a\n"Well,b\nso,a\n"No,b\n"a\nbee",b\n"a" fly,a\n'
    data = read(table(tmp_path, text), max_skipped=0.5)
    assert data.rows == ("an, ant", "a\nbee", "a fly")
    assert [row.row[-6:] for row in data.skipped] == [f".csv:{i}" for i in (3, 4, 5)]
    assert data.skipped[0].reason == "a stray quote joins the lines 3 to 5"
    assert "it and the next were left out" in data.notes[0]


def test_rows_that_share_a_quotation_stay_rows(tmp_path: Path) -> None:
    """It opens in one and closes in the next, as CSV has it; the labels tell that these are two."""
    pairs = ['"I went home.', 'It was late."', "so", "No"] * 2
    labels = ["neg", "pos"] * 4
    lines = ["text\tlabel", *(f"{t}\t{label}" for t, label in zip(pairs, labels, strict=True))]
    data = read(table(tmp_path, "\n".join(lines), "a.tsv"))
    assert data.rows == tuple(pairs)
    assert "join lines" in data.notes[0] and "each line was read as a row" in data.notes[0]


def test_a_cell_of_lines_as_wide_as_the_header_stays_one(tmp_path: Path) -> None:
    """Addresses; that they were read so is told."""
    cells = [f"{i} Main St, Rome\nItaly" for i in range(4)]
    rows = "".join(f'"{cell}",{label}\n' for cell, label in zip(cells, "abab", strict=True))
    data = read(table(tmp_path, f"text,label\n{rows}Paris,a\n"))
    assert data.rows == (*cells, "Paris")
    assert data.task.labels == ("a", "b")
    assert data.notes[0].endswith("they were read as cells of several lines.")


@pytest.mark.parametrize(
    ("cell", "labels"),
    [
        ("Calle Mayor, {0}\n28000 Madrid", [f"{2 * i}.5" for i in range(9)]),
        ("Dear Sir,\nthank you {0}", ["good", "bad", ""] * 3),
    ],
    ids=["numbers in the text", "a label that is missing"],
)
def test_cells_of_two_lines_are_not_torn(tmp_path: Path, cell: str, labels: list[str]) -> None:
    rows = "".join(f'"{cell.format(i)}",{label}\n' for i, label in enumerate(labels))
    data = read(table(tmp_path, f"text,label\n{rows}"), max_skipped=0.5)
    assert data.rows == tuple(cell.format(i) for i, label in enumerate(labels) if label)


def test_a_cell_may_be_a_long_document(tmp_path: Path) -> None:
    """Longer than the 131,072 characters at which Python's reader stops by default."""
    assert len(read(table(tmp_path, f"text,label\n{'x' * 200_000},a\ny,b\n")).rows[0]) == 200_000


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252"])
def test_encodings_and_byte_order_marks(tmp_path: Path, encoding: str) -> None:
    """The first column keeps its name, the text its accents."""
    data = read(table(tmp_path, "text,label\nété,a\nhiver,b\n".encode(encoding)))
    assert data.rows == ("été", "hiver")
    assert any("Windows-1252" in note for note in data.notes) == (encoding == "cp1252")


def test_two_encodings_in_one_file(tmp_path: Path) -> None:
    """Each line is read as what it is."""
    lines = "text,label\nété,a\n".encode() + "même,b\n".encode("latin-1")
    data = read(table(tmp_path, lines))
    assert data.rows == ("été", "même")
    assert data.notes[0].endswith("lines that are not UTF-8 and were read as Windows-1252: 1.")


@pytest.mark.parametrize("name", ["a.csv", "a.xlsx", "a.zip"])
def test_files_that_are_no_tables(tmp_path: Path, name: str) -> None:
    """Bytes that are no text, a spreadsheet, an archive."""
    with pytest.raises(DataError, match=r"Expected|Save it as CSV"):
        read(table(tmp_path, gzip.compress(b"text,label\n", mtime=0), name))


def test_a_path_that_does_not_exist_says_what_is_there(tmp_path: Path) -> None:
    """Beside it, the nearest name first."""
    table(tmp_path, "text,label\n")
    for name in "abcdefghi":
        table(tmp_path, "", f"{name}.csv")
    with pytest.raises(DataError, match=r"one of pets\.csv, "):
        read(tmp_path / "pet.csv")


@pytest.mark.parametrize("path", ["", "  "])
def test_an_empty_path_is_not_this_folder(path: str) -> None:
    with pytest.raises(UsageError, match="path of the data is empty"):
        read(path)


def test_rows_without_label_or_text_are_skipped(tmp_path: Path) -> None:
    """NaN as a word, an empty cell, blank text; "NA" is a label."""
    path = table(tmp_path, "text,label\nx,a\ny,NaN\nz,\n ,a\nw,NA\n")
    data = read(path, max_skipped=0.6)
    assert classes(data) == ["a", "NA"]
    assert [row.reason for row in data.skipped] == ["no label", "no label", "no text"]
    with pytest.raises(DataError, match="3 of 5 rows"):
        read(path)


def test_a_class_of_unusable_rows_only_is_no_class(tmp_path: Path) -> None:
    """Nothing could be learned of it."""
    data = read(table(tmp_path, "text,label\nx,a\ny,b\n,c\n"), max_skipped=0.5)
    assert data.task.labels == ("a", "b")


def test_where_no_row_can_be_used_no_limit_helps(tmp_path: Path) -> None:
    """To allow more of them is no advice."""
    path = table(tmp_path, "a,label\n,x\n,y\n")
    with pytest.raises(DataError, match=r"No row of 2 can be used:\n.*:2: no ") as one:
        read(path, text="a")
    assert "max" not in str(one.value)


def test_a_limit_outside_of_zero_to_one_is_refused() -> None:
    """5 is not 5 %."""
    with pytest.raises(UsageError, match="share from 0 to 1"):
        read([{"text": "x", "label": "a"}], max_skipped=5)


# Labels


def read_labels(cells: Sequence[object], **options: str) -> Dataset:
    """Read texts with these labels."""
    rows = [{"text": f"text {i}", "label": cell} for i, cell in enumerate(cells)]
    return read(rows, **options)


def test_numbers_as_texts_are_classes_if_few() -> None:
    """Stars from 1 to 3; the guess is said, and can be corrected."""
    data = read_labels(["1", "2", "3", "3"])
    assert data.task.kind is Kind.MULTICLASS
    assert data.task.labels == ("1", "2", "3")
    assert any("3 different whole numbers: taken for classes" in note for note in data.notes)
    assert read_labels(["1", "2", "3", "3"], kind="regression").targets.tolist() == [1, 2, 3, 3]


def test_whole_numbers_read_as_fractions_are_one_class() -> None:
    """1 and 1.0 are; codes, versions and numbers too long for a float stay apart."""
    data = read_labels(["1", "1.0", "0.0", "0"])
    assert (classes(data), data.task.labels) == (["1", "1", "0", "0"], ("0", "1"))
    assert classes(read_labels([1, "1.0", "2"])) == ["1", "1", "2"]
    long = ["9" * 20 + "1", "9" * 20 + "2"]
    assert classes(read_labels(long, kind="multiclass")) == long
    for names in (["1", "1.0", "one"], ["01", "1", "2"], ["1.1", "1.10", "1.2"], ["1e3", "1000"]):
        assert classes(read_labels(names, kind="multiclass")) == names


def test_labels_that_differ_in_case_are_told() -> None:
    """They stay different classes: letters of the alphabet may be meant."""
    note = "'Good' and 'good' are different classes: spell them alike if they are one."
    data = read_labels(["Good", "good ", "bad", "bad"])
    assert data.task.labels == ("Good", "bad", "good")
    assert note in data.notes
    assert note in read_labels([["Good"], ["good", "bad"]]).notes


def test_numbers_with_fractions_are_a_quantity() -> None:
    """As texts or as floats; a missing one is skipped."""
    for cells in (["0.5", "2", "1.5"], [0.5, 2.0, 1.5]):
        data = read_labels(cells)
        assert data.task.kind is Kind.REGRESSION
        assert data.targets.tolist() == [0.5, 2.0, 1.5]


def test_many_different_whole_numbers_are_a_quantity() -> None:
    """Prices; but class numbers 0 to 29, each met often, are classes."""
    assert read_labels(list(range(100, 130))).task.kind is Kind.REGRESSION
    assert read_labels(list(range(30)) * 5).task.kind is Kind.MULTICLASS


def test_infinity_is_no_quantity() -> None:
    """Nothing can be fitted to it."""
    with pytest.raises(DataError, match="infinity"):
        read_labels([0.5, float("inf")])


def test_several_labels_with_a_separator() -> None:
    """Guessed where parts are met again, given where not; an empty cell has no label."""
    data = read_labels(["red;blue", "red", "blue", ""])
    assert data.task.labels == ("blue", "red")
    assert data.targets.tolist() == [[1, 1], [0, 1], [1, 0], [0, 0]]
    assert len(data.notes) == 3
    assert read_labels(["red/blue", "red"], separator="/").task.kind is Kind.MULTILABEL
    assert read_labels(["a,b", "a", "b"], kind="multiclass").task.labels == ("a", "a,b", "b")
    pair = read((["x", "y"], ["red/blue", "red"]), separator="/")
    assert pair.targets.tolist() == [[1, 1], [0, 1]]


NUMBERS = {
    "ratings": ["4,5", "3", "4,0", "2,5"] * 5,
    "prices": [f"{i % 30 + 1},{i % 4}5 €" for i in range(200)],
    "thousands": [f"{i % 9 + 1},{i % 7}00" for i in range(60)],
    "German": ["1.234,50", "999,95", "12,00"],
    "units": ["1,5 kg", "2,0 EUR", "~3,5", "4,5/5", "20,5 °C", "−1,5"],
    "gaps": ["4,5", "n/a", "-", "3,5", "?"] * 4,
}


@pytest.mark.parametrize("cells", NUMBERS.values(), ids=NUMBERS)
def test_numbers_with_a_comma_are_no_labels_in_silence(cells: Sequence[str]) -> None:
    """Who means labels, or classes, says so; a number is written with a point."""
    told = r"(?s)column 'label' holds '.*with a point.*--separator ,.*--kind multilabel"
    with pytest.raises(DataError, match=told):
        read_labels(cells)
    with pytest.raises(DataError, match=r"each written with a point: 12\.5"):
        read_labels(cells, kind="regression")
    assert read_labels(cells, kind="multiclass").task.kind is Kind.MULTICLASS
    assert read_labels(cells, separator=",").task.kind is Kind.MULTILABEL


def test_numbers_of_labels_are_labels() -> None:
    """Three in a row are no number, nor are two with a space between them."""
    for cells in (["1,5,7", "5", "1,7", "7"], ["4, 5", "4", "5"]):
        assert read_labels(cells).task.kind is Kind.MULTILABEL


def test_several_labels_that_are_only_told_are_parted(tmp_path: Path) -> None:
    """At what stands in the cells, which is noted; the parts of most are rarely met again."""
    data = read_labels(["red,blue", "green,yellow", "red"], kind="multilabel")
    assert data.task.labels == ("blue", "green", "red", "yellow")
    assert data.targets.tolist() == [[1, 0, 1, 0], [0, 1, 0, 1], [0, 0, 1, 0]]
    assert data.notes[-1] == (
        "The column 'label' holds several labels a row, separated by ',' (--separator says "
        "otherwise)."
    )
    tags = [f"t{i % 80},t{7 * i % 80},t{31 * i % 80}" for i in range(300)]
    assert len(read_labels(tags, kind="multilabel").task.labels) == 80
    assert read_labels(["red", "blue"], kind="multilabel").task.labels == ("blue", "red")
    found = read_labels(["Food, drink;Travel", "Music;Arts, crafts", "Sport"], kind="multilabel")
    assert found.task.labels == ("Arts, crafts", "Food, drink", "Music", "Sport", "Travel")
    with pytest.raises(
        DataError, match=r"(?s)holds '\|' and ',': what stands between.*--separator"
    ):
        read_labels(["a b|c, d", "e|f", "g, h"], kind="multilabel")


def test_several_labels_in_several_columns(tmp_path: Path) -> None:
    """0 and 1, true and false; nothing else."""
    path = table(tmp_path, "text,red,blue\nx,1,True\ny,0,1\n")
    data = read(path, label="red, blue")
    assert data.task.labels == ("red", "blue")
    assert data.targets.tolist() == [[1, 1], [0, 1]]
    with pytest.raises(DataError, match="'red' holds '2'"):
        read(table(tmp_path, "text,red,blue\nx,2,1\n"), label="red,blue")


@pytest.mark.parametrize("kind", ["multiclass", "regression"])
def test_several_columns_are_several_labels_and_nothing_else(kind: str) -> None:
    """Another kind would be told in vain."""
    columns = {"text": ["x", "y"], "red": [1, 0], "blue": [1, 1]}
    told = f"kind='{kind}', but there are several columns"
    with pytest.raises(UsageError, match=told):
        read(columns, label="red,blue", kind=kind)
    for targets in (np.array([[1, 0], [1, 1]]), [[1, 0], [1, 1]]):
        with pytest.raises(UsageError, match=told):
            from_arrays(["x", "y"], targets, kind=kind)
    assert read(columns, label="red,blue", kind="multilabel").targets.tolist() == [[1, 1], [0, 1]]


def test_lists_of_labels() -> None:
    """As JSON has them."""
    assert read_labels([["red", "blue"], [], ["red"]]).targets.tolist() == [[1, 1], [0, 0], [0, 1]]


@pytest.mark.parametrize(
    ("cells", "labels", "targets"),
    [
        (["['comedy', 'drama']", "[]", "['drama']", ""], ("comedy", "drama"), [3, 0, 2, 0]),
        (['["it\'s", "b"]', ' ["b"] ', None], ("b", "it's"), [3, 1, 0]),
        (["[10, 9]", "[9]"], ("9", "10"), [3, 1]),
        (["[0, 1]", "[1, 1]"], ("0", "1"), [2, 3]),
    ],
    ids=["Python", "JSON", "numbers", "0 and 1"],
)
def test_lists_that_were_written_as_texts_are_lists(
    cells: list[str], labels: tuple[str, ...], targets: list[int]
) -> None:
    """As a DataFrame of lists writes them to a CSV; that they were read so is said."""
    for kind in (None, "multilabel"):
        data = read_labels(cells, kind=kind)
        assert data.task.labels == labels
        assert (data.targets @ [1, 2]).tolist() == targets
        assert any("lists that were written as texts" in note for note in data.notes)
    assert len(read_labels(cells, kind="multiclass", max_skipped=0.5).task.labels) > 1


@pytest.mark.parametrize("cell", ["[comedy, drama]", "['a' 'b']", "[1 2]", "['a'", "[[1]]"])
def test_lists_that_cannot_be_read_are_refused(cell: str) -> None:
    """Half of a name, or two in one, would be a label; a name in brackets is one."""
    told = r"(?s)column 'label' holds lists .*\['comedy', 'drama'\].*--separator.*--kind multiclass"
    with pytest.raises(DataError, match=told):
        read_labels([*["['a', 'b']", "['b']"] * 9, cell])
    assert read_labels(["[POS]", "[NEG]"]).task.labels == ("[NEG]", "[POS]")
    assert read_labels(["[a]|[b]", "[a]"], separator="|").task.labels == ("[a]", "[b]")


def test_a_separator_that_parts_nothing_is_refused() -> None:
    """One label a row, columns of 0 and 1, tags: something else was meant."""
    told = "separator=';', but "
    for kind in ("multiclass", "regression"):
        with pytest.raises(UsageError, match=f"{told}kind='{kind}' is one label a row"):
            read_labels(["1;2", "1"], kind=kind, separator=";")
    columns = {"text": ["x", "y"], "red": [1, 0], "blue": [1, 1]}
    with pytest.raises(UsageError, match=f"{told}there are several columns"):
        read(columns, label="red,blue", separator=";")
    for targets in (np.array([[1, 0], [1, 1]]), [[1, 0], [1, 1]]):
        with pytest.raises(UsageError, match=f"{told}there are several columns"):
            from_arrays(["x", "y"], targets, separator=";")
    for tagged in ([{"tokens": ["an"], "tags": ["B-X"]}], ([["an"]], [["B-X"]])):
        with pytest.raises(UsageError, match=f"{told}the labels are tags"):
            read(tagged, separator=";")


# Objects


def test_a_data_frame() -> None:
    """Columns as in a file; NaN is a missing label; columns named twice are refused."""
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame({"text": ["x", "y", "z"], "label": ["a", "b", None]})
    data = read(frame, max_skipped=0.5)
    assert classes(data) == ["a", "b"]
    assert data.skipped[0].row == "row 2"
    frame.columns = ["text", "text"]
    with pytest.raises(DataError, match="names columns twice"):
        read(frame)


def test_missing_texts_of_pandas_are_missing() -> None:
    """Its `string` columns have a missing value that is neither true nor false."""
    pandas = pytest.importorskip("pandas")
    texts = pandas.array(["x", "y", None], dtype="string")
    frame = pandas.DataFrame({"text": texts, "label": ["a", "b", "a"]})
    data = read(frame, max_skipped=0.5)
    assert (data.rows, data.skipped[0].reason) == (("x", "y"), "no text")
    for columns in ((), ("text",)):
        with pytest.raises(UnreadableRow, match="row 2: no text"):
            rows_of(frame[["text"]], "text", columns)


def test_a_hugging_face_dataset(tmp_path: Path) -> None:
    """Class numbers get their names, pictures stay encoded, splits are kept."""
    datasets = pytest.importorskip("datasets")
    image = str(picture(tmp_path / "1.png"))
    features = datasets.Features(
        {"image": datasets.Image(), "label": datasets.ClassLabel(names=["ant", "bee"])}
    )
    part = datasets.Dataset.from_dict({"image": [image] * 2, "label": [1, 0]}, features=features)
    data = read(datasets.DatasetDict({"train": part, "test": part}))
    assert data.modality is Modality.IMAGE
    assert classes(data) == ["bee", "ant"] * 2
    assert data.split.tolist() == ["train"] * 2 + ["test"] * 2
    assert data.rows[0] == Path(image)


def declared(names: list[str], numbers: list[object], *, several: bool = False) -> object:
    """Return a Hugging Face dataset whose label declares its classes."""
    datasets = pytest.importorskip("datasets")
    label = datasets.ClassLabel(names=names)
    label = datasets.Sequence(label) if several else label
    features = {"text": datasets.Value("string"), "label": label}
    rows = {"text": [f"text {i}" for i in range(len(numbers))], "label": numbers}
    return datasets.Dataset.from_dict(rows, features=datasets.Features(features))


def test_class_numbers_are_those_of_their_own_split() -> None:
    """A split that was encoded by itself has other numbers; or the names themselves."""
    datasets = pytest.importorskip("datasets")

    def together(test: object) -> Dataset:
        train = declared(["ant", "bee", "cat"], [0, 1, 2])
        return read(datasets.DatasetDict({"train": train, "test": test}))

    assert classes(together(declared(["ant", "cat"], [0, 1, 0])))[3:] == ["ant", "cat", "ant"]
    texts = datasets.Dataset.from_dict({"text": ["x", "y"], "label": ["cat", "ant"]})
    assert classes(together(texts))[3:] == ["cat", "ant"]
    with pytest.raises(DataError, match="No training row has the label 'dog'"):
        together(declared(["ant", "bee", "cat", "dog"], [3]))


@pytest.mark.parametrize("declares", ["train", "test"])
def test_numbers_of_a_split_that_declares_nothing_are_those_of_the_other(declares):
    datasets = pytest.importorskip("datasets")
    parts = {
        part: datasets.Dataset.from_dict({"text": [f"{part} {i}" for i in range(40)],
                                          "label": [0, 1] * 20})
        for part in ("train", "test")
    }  # fmt: skip
    names = datasets.ClassLabel(names=["ant", "bee"])
    parts[declares] = parts[declares].cast_column("label", names)
    data = read(datasets.DatasetDict(parts))
    assert data.task.labels == ("ant", "bee")
    assert data.targets.tolist() == [0, 1] * 40


def test_rows_of_zeros_and_ones_with_a_gap_are_still_a_place_a_label():
    rows = ["[1, 0, 0]", "[0, 1, 0]", None, "[0, 0, 1]"] * 5
    found = encode(rows)
    assert found.task.labels == ("0", "1", "2") and found.missing.tolist() == [2, 6, 10, 14, 18]
    assert found.values.tolist() == [[1, 0, 0], [0, 1, 0], [0, 0, 1]] * 5


def test_one_list_among_numbers_makes_no_column_of_lists():
    found = encode([0, 1, 2, 3] * 10 + ["[4]"])
    assert found.task.kind is not Kind.MULTILABEL


@pytest.mark.parametrize(
    "names",
    [
        [str(number) for number in range(1001, 1041)],
        ["nan", "null", "ok"],
        ["Food", "Food, drink", "drink", "drink, sport", "sport"],
        ["['a']", "['b']"],
    ],
    ids=["numbers", "no label", "commas", "lists"],
)
def test_classes_that_are_declared_are_not_guessed(names: list[str]) -> None:
    """Whatever their names look like; -1 alone is no class."""
    data = read(declared(names, [*range(len(names)), -1]), max_skipped=0.5)
    assert (data.task.kind, data.task.labels) == (Kind.MULTICLASS, tuple(names))
    assert classes(data) == names
    assert [row.reason for row in data.skipped] == ["no label"]


def test_several_declared_classes_a_row_are_several_labels() -> None:
    """And what was told comes first."""
    data = read(declared(["nan", "ok"], [[0, 1], [1], []], several=True))
    assert (data.task.kind, data.task.labels) == (Kind.MULTILABEL, ("nan", "ok"))
    assert data.targets.tolist() == [[1, 1], [0, 1], [0, 0]]
    stars = declared(["1", "2", "5"], [0, 2, 1])
    assert read(stars, kind="regression").targets.tolist() == [1, 5, 2]


def test_columns_and_pairs() -> None:
    """A mapping of columns, and rows with labels."""
    assert classes(read({"text": ["x", "y"], "label": ["a", "b"]})) == ["a", "b"]
    assert classes(read((["x", "y"], ["a", "b"]))) == ["a", "b"]
    with pytest.raises(DataError, match="different lengths"):
        read({"text": ["x"], "label": ["a", "b"]})
    with pytest.raises(UsageError, match="no columns, but --label was given"):
        read((["x", "y"], ["a", "b"]), label="label")


def test_arrays_are_vectors_texts_or_pictures() -> None:
    """What rows are is told by their type."""
    assert from_arrays(np.eye(3)).modality is Modality.VECTOR
    assert from_arrays([[1, 2], [3, 4]]).rows.tolist() == [[1, 2], [3, 4]]
    assert from_arrays(np.array(["x", "y"])).rows == ("x", "y")
    assert from_arrays(["a.png", "b.JPG"]).rows == (Path("a.png"), Path("b.JPG"))
    assert from_arrays(["a.png", "b.JPG"], modality="text").rows == ("a.png", "b.JPG")
    assert from_arrays(np.zeros((2, 4, 4, 3), np.uint8)).modality is Modality.IMAGE
    assert from_arrays([Image.new("L", (2, 2))]).modality is Modality.IMAGE


def test_labels_of_arrays_are_ordered_as_numpy_orders_them() -> None:
    """So that an estimator's classes_ are in the same order."""
    for labels in ([10, 9, 10], ["10", "9", "10"], [True, False, True]):
        data = from_arrays(np.eye(3), labels)
        assert data.task.labels == tuple(str(label) for label in np.unique(labels).tolist())
        assert data.targets.tolist() == np.unique(labels, return_inverse=True)[1].tolist()


@pytest.mark.parametrize(
    ("rows", "targets", "message"),
    [
        ([], None, "0 rows"),
        ([[1.0, float("nan")]], None, "row 0"),
        ([[1, 2], [3]], None, "no numbers"),
        ([1, 2, 3], None, r"shape \(3,\)"),
        (["x", 3], None, "Row 1 is 3"),
        (["x", "y"], ["a"], "1 values for 2 rows"),
        (["x", "y"], ["a", None], "the first at row 1"),
        (["x"], np.array([[2, 3]]), r"shape \(1, 2\)"),
    ],
)
def test_arrays_that_cannot_be_used(rows: object, targets: object, message: str) -> None:
    """In memory nothing is skipped: what is wrong is said."""
    with pytest.raises(DataError, match=message):
        from_arrays(rows, targets)


def test_a_dataset_checks_itself() -> None:
    """An unknown split; and it tells what it holds."""
    data = from_arrays(["x", "y"], ["a", "b"])
    assert repr(data.with_split(["train", "test"])) == (
        "Dataset(text, 2 rows (1 train, 1 test), multiclass, 2 labels)"
    )
    with pytest.raises(DataError, match="Unknown split 'holdout'"):
        data.with_split(["train", "holdout"]).check()


# Rows to predict


def test_pictures_to_predict(tmp_path: Path) -> None:
    """A file, a folder with folders in it, a pattern."""
    pets(tmp_path, "1.png", "more/2.png", "more/deep/3.png")
    one = read_rows([str(tmp_path / "1.png")], "image")
    assert one.rows == (tmp_path / "1.png",)
    assert one.targets is None
    assert len(read_rows([str(tmp_path)], "image")) == 3
    assert read_rows([f"{tmp_path}/more/*.png"], "image").rows == (tmp_path / "more/2.png",)


def test_texts_to_predict(tmp_path: Path) -> None:
    """The text itself, lines of a file, a column of a table with or without labels."""
    lines = table(tmp_path, "one\n\ntwo\n", "a.txt")
    csv = table(tmp_path, "text,label\nthree,a\n")
    data = read_rows(["Where is it? *here*", str(lines), str(csv)], "text")
    assert data.notes == (
        f"{lines} was read a line a row: 2 rows.",
        "Text is in the column 'text' (guessed).",
    )
    assert data.rows == ("Where is it? *here*", "one", "two", "three")
    assert data.names[1:3] == (f"{lines}:1", f"{lines}:3")
    assert read_rows([str(csv)], "text", text="label").rows == ("a",)
    assert read_rows(["x" * 5000], "text").rows == ("x" * 5000,)


def test_how_the_lines_of_a_file_were_read_is_said(tmp_path: Path) -> None:
    """Where they are no UTF-8."""
    path = table(tmp_path, "été\nhiver\n".encode("cp1252"), "a.txt")
    data = read_rows([str(path)], "text")
    assert data.rows == ("été", "hiver")
    assert data.notes[0] == f"{path}: lines that are not UTF-8 and were read as Windows-1252: 1."


def test_a_line_of_a_file_ends_where_an_editor_says(tmp_path: Path) -> None:
    """A form feed, or Unicode's own mark of lines, is inside of one."""
    path = table(tmp_path, "one\ftwo\r\nthree\u2028four\rfive\n", "a.txt")
    data = read_rows([str(path)], "text")
    assert data.rows == ("one\ftwo", "three\u2028four", "five")
    assert data.names[-1] == f"{path}:3"


@pytest.mark.parametrize(
    "text", ["~ 20 of them", "~nobody of that name/x", "see the enclosed report.csv", "3.5", "a\0b"]
)
def test_a_text_that_looks_like_a_path_is_a_text(text: str) -> None:
    """A path is what exists."""
    assert read_rows([text], "text").rows == (text,)


@pytest.mark.parametrize("text", ["texts/", "./a", "~nobody-of-that-name/x", "new.cvs", "n.jpgg"])
def test_a_word_like_a_path_that_leads_nowhere_is_no_text(text: str) -> None:
    """Where it is typed: it would be predicted as a text. In memory it is one."""
    with pytest.raises(DataError, match=r"(?s)does not exist.*\.txt file, or through stdin"):
        read_rows([text], "text")
    assert rows_of([text], "text").rows == (text,)


def test_the_home_is_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ "~" stands for it where the file is there."""
    table(tmp_path, "one\n", "a.txt")
    monkeypatch.setenv("HOME", str(tmp_path))
    one = read_rows(["~/a.txt"], "text")
    assert (one.rows, one.notes) == (("one",), ())


def test_an_empty_text_is_left_out_and_is_not_this_folder() -> None:
    """It names the folder one stands in, were it a path."""
    data = read_rows(["good", " "], "text")
    assert data.rows == ("good",)
    assert data.skipped[0].reason == "no text"


def test_what_is_left_out_of_rows_to_predict_says_where_it_stood(tmp_path: Path) -> None:
    """Lines that are no row, rows that hold nothing: in the order of all that was given."""
    csv = table(tmp_path, "n,text\n0,an ant\n1\n2,\n3,a bee\n4,\n5,x,y\n6,a cow\n7\n", "a.csv")
    lines = table(tmp_path, '{"text": "a dog"}\nno JSON\n{"text": ""}\n', "b.jsonl")
    data = read_rows([" ", str(csv), str(lines)], "text", text="text")
    assert data.rows == ("an ant", "a bee", "a cow", "a dog")
    assert [(row.row.split("/")[-1], row.before) for row in data.skipped] == [
        ("' '", 0), ("a.csv:3", 1), ("a.csv:4", 1), ("a.csv:6", 2), ("a.csv:7", 2),
        ("a.csv:9", 3), ("b.jsonl:2", 4), ("b.jsonl:3", 4),
    ]  # fmt: skip


def test_what_is_left_out_of_labelled_rows_says_not_where_it_stood(tmp_path: Path) -> None:
    """They are shuffled, parted and joined."""
    data = read(table(tmp_path, "text,label\nan ant,x\nb\na bee,y\n"), max_skipped=0.5)
    assert [row.before for row in data.skipped] == [None]


# The columns a model learned from


def test_a_dataset_remembers_its_columns(tmp_path: Path) -> None:
    """Those that are read, in order: no label, no split; none where there was no table."""
    text = table(tmp_path, "id,body,stars\n1,an ant,x\n2,a bee,y\n", "t.csv")
    assert read(text, text="body", label="stars").columns == ("body",)
    numbers = read({"b": [1.0, 2.0], "a": [3.0, 4.0], "label": ["x", "y"]})
    assert numbers.columns == ("b", "a")
    assert numbers.take([0]).columns == ("b", "a")
    picture(tmp_path / "1.png")
    pictures = table(tmp_path, "label,shot\nx,1.png\ny,1.png\n", "p.csv")
    assert read(pictures).columns == ("shot",)
    assert from_arrays(["x", "y"], ["a", "b"]).columns == ()


def test_learned_columns_are_read_by_name_in_the_learned_order(tmp_path: Path) -> None:
    """Whatever else is there: labels, another order, another text."""
    csv = table(tmp_path, "stars,a,extra,b\n5,1,7,2\n4,3,8,4\n")
    data = read_rows([str(csv)], "vector", columns=("b", "a"))
    assert data.rows.tolist() == [[2, 1], [4, 3]]
    csv = table(tmp_path, "text,body\nnot this one,an ant\n")
    assert read_rows([str(csv)], "text", columns=("body",)).rows == ("an ant",)
    assert read_rows([str(csv)], "text", text="text", columns=("body",)).rows == ("not this one",)
    picture(tmp_path / "1.png")
    csv = table(tmp_path, "thumb,shot\n1.png,1.png\n")
    assert len(read_rows([str(csv)], "image", columns=("shot",))) == 1


def test_a_lacking_column_is_named(tmp_path: Path) -> None:
    """With the option that helps, and none where there is none."""
    csv = str(table(tmp_path, "a,c\n1,2\n"))
    with pytest.raises(DataError, match=r"(?s)learned from columns 'a', 'b'.*no column 'b'") as one:
        read_rows([csv], "vector", columns=("a", "b"))
    assert "--vector" not in str(one.value)
    with pytest.raises(DataError, match=r"(?s)no column 'body'.*--text COLUMN"):
        read_rows([csv], "text", columns=("body",))


def test_a_model_of_numbers_names_no_option_that_is_not_there(tmp_path: Path) -> None:
    """A table of texts for it."""
    with pytest.raises(DataError, match="column of numbers for each feature") as one:
        read_rows([str(table(tmp_path, "text\nan ant\n"))], "vector")
    assert "--vector" not in str(one.value)


def test_vectors_of_unequal_length_and_files_that_are_no_arrays(tmp_path: Path) -> None:
    """NumPy's own words help nobody."""
    np.save(tmp_path / "two.npy", np.eye(2))
    np.save(tmp_path / "three.npy", np.eye(3))
    np.save(tmp_path / "flat.npy", np.ones(3))
    (tmp_path / "broken.npy").write_bytes(b"nothing")
    with pytest.raises(DataError, match="2 and 3 numbers"):
        read_rows([str(tmp_path / "two.npy"), str(tmp_path / "three.npy")], "vector")
    with pytest.raises(DataError, match=r"shape \(3,\)"):
        read_rows([str(tmp_path / "flat.npy")], "vector")
    with pytest.raises(DataError, match="no array"):
        read_rows([str(tmp_path / "broken.npy")], "vector")


def test_the_path_of_a_picture_is_never_hashed_as_a_text(tmp_path: Path) -> None:
    """A `str` among pictures becomes a `Path`, so that its content is what counts."""
    path = picture(tmp_path / "1.png")
    data = Dataset(Modality.IMAGE, [str(path), path])
    assert data.rows == (path, path)
    assert Dataset(Modality.TEXT, ("a.png",)).rows == ("a.png",)


def test_a_cell_may_be_a_whole_document(tmp_path: Path) -> None:
    """200,000 characters, more than the 131,072 that Python's reader allows at first."""
    document = "word " * 40_000
    path = table(tmp_path, f"text,label\n{document},x\nshort,y\n")
    code = (
        "import sys; from headstart.data.readers import read\n"
        "assert len(read(sys.argv[1]).rows[0]) == 200_000"
    )
    subprocess.run([sys.executable, "-c", code, str(path)], check=True)


def test_vectors_to_predict(tmp_path: Path) -> None:
    """A table of numbers, and NumPy's own file."""
    np.save(tmp_path / "a.npy", np.eye(2))
    csv = table(tmp_path, "a,b\n1,2\n")
    data = read_rows([str(tmp_path / "a.npy"), str(csv)], "vector")
    assert data.rows.tolist() == [[1, 0], [0, 1], [1, 2]]


def test_a_gap_in_an_array_is_its_row_s_alone(tmp_path: Path) -> None:
    """The others are predicted, as of a table."""
    path = tmp_path / "a.npy"
    np.save(path, np.array([[1.0, 2.0], [3.0, np.nan], [np.inf, 4.0], [5.0, 6.0]]))
    data = read_rows([str(path)], "vector")
    assert data.rows.tolist() == [[1, 2], [5, 6]]
    assert data.names == (f"{path}:0", f"{path}:3")
    assert data.skipped == (
        Skipped(f"{path}:1", "no number in column 1"),
        Skipped(f"{path}:2", "no number in column 0"),
    )
    assert [row.before for row in data.skipped] == [1, 1]


@pytest.mark.parametrize(
    ("one", "modality"), [("gone.png", "image"), ("gone.csv", "text"), ("empty", "image")]
)
def test_nothing_to_predict_is_an_error(tmp_path: Path, one: str, modality: str) -> None:
    """A file that is not there, a folder without pictures."""
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"does not exist|Nothing to predict"):
        read_rows([str(tmp_path / one)], modality)


def test_rows_of_another_kind_are_refused(tmp_path: Path) -> None:
    """A table of texts for a model of pictures, a picture for a model of texts."""
    with pytest.raises(DataError, match="reads image rows"):
        read_rows([str(table(tmp_path, "text\nan ant\n"))], "image")
    with pytest.raises(DataError, match="is no text"):
        read_rows([str(picture(tmp_path / "1.png"))], "text")


@pytest.mark.parametrize(
    ("weight", "why"),
    [([1, -1, 1], "row 1 has -1"), ([1, np.nan, 1], "row 1 has nan"), ([0, 0, 0], "all are 0")],
)
def test_weights_that_are_no_weights_are_refused(weight, why):
    data = from_arrays(["a", "b", "c"], ["x", "y", "x"])
    with pytest.raises(DataError, match=f"Weights cannot be used: {why}"):
        replace(data, weight=np.array(weight, dtype=float)).check()


def test_a_table_without_texts_is_told_the_option_that_names_them(tmp_path: Path) -> None:
    """Of words too, which `--text` names: there is no `--words`."""
    table = tmp_path / "numbers.csv"
    table.write_text("a,b\n1,2\n3,4\n")
    for modality in ("text", "words"):
        with pytest.raises(DataError, match=f"reads {modality} rows(?s:.*)--text COLUMN"):
            read_rows([str(table)], modality)
