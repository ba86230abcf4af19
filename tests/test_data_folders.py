"""Folders of class folders become datasets; what is passed over is told, or refused."""

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from headstart.data.folders import class_folders
from headstart.data.readers import read
from headstart.data.unlabelled import read_rows
from headstart.errors import DataError, UsageError
from headstart.task import Modality
from tests.test_data_readers import classes, pets, picture, table


def test_a_folder_of_class_folders(tmp_path: Path) -> None:
    """Classes and files in the order of their names; hidden files do not count."""
    pets(tmp_path, "bee/2.png", "bee/1.jpg", "ant/3.png", "ant/.hidden.png", ".git/4.png")
    data = read(tmp_path)
    assert data.task.labels == ("ant", "bee")
    assert [path.name for path in data.rows] == ["3.png", "1.jpg", "2.png"]
    assert classes(data) == ["ant", "bee", "bee"]
    assert data.split is None
    assert data.names[0] == str(tmp_path / "ant" / "3.png")


def test_splits_above_the_classes(tmp_path: Path) -> None:
    """The names people give to splits are understood."""
    pets(tmp_path, *(f"{s}/{c}/1.png" for s in ("train", "valid", "Test") for c in "ab"))
    data = read(tmp_path)
    assert data.split.tolist() == ["test"] * 2 + ["train"] * 2 + ["validation"] * 2


def test_classes_named_like_splits_stay_classes(tmp_path: Path) -> None:
    """As "test" beside "pass" is; below the splits of pictures, too."""
    for split in ("train", "test"):
        pets(tmp_path / "env", *(f"{split}/{name}/1.png" for name in ("dev", "test", "prod")))
    assert read(tmp_path / "env").task.labels == ("dev", "prod", "test")
    tmp_path = tmp_path / "flat"
    assert read(pets(tmp_path, "test/1.png", "pass/1.png")).task.labels == ("pass", "test")


@pytest.mark.parametrize("splits", [("train", "test"), ("train",), ("train", "val", "pass")])
def test_splits_without_class_folders_are_refused(tmp_path: Path, splits: tuple[str, ...]) -> None:
    """Their names are no classes, of pictures or of text files."""
    pets(tmp_path / "pictures", *(f"{split}/cat.0.png" for split in splits))
    for split in splits:
        (tmp_path / "texts" / split).mkdir(parents=True)
        table(tmp_path / "texts" / split, "a cat", "cat.0.txt")
    for data in ("pictures", "texts"):
        with pytest.raises(DataError, match=r"(?s)without class folders: .*train.*/CLASS/"):
            read(tmp_path / data)


def test_a_class_named_like_a_split_may_be_in_every_split(tmp_path: Path) -> None:
    """As "test" beside "pass", in train and in val."""
    pets(tmp_path, *(f"{s}/{c}/1.png" for s in ("train", "val") for c in ("pass", "test")))
    assert read(tmp_path).task.labels == ("pass", "test")


def test_classes_that_differ_in_spaces_are_told(tmp_path: Path) -> None:
    """They are two, as their folders are."""
    note = "'New York' and 'NewYork' are different classes: spell them alike if they are one."
    assert read(pets(tmp_path, "New York/1.png", "NewYork/1.png")).notes == (note,)


@pytest.mark.parametrize("kind", [None, "multiclass", "multilabel"])
def test_the_name_of_a_folder_is_a_class(tmp_path: Path, kind: str | None) -> None:
    """Though in a table it would say that there is no label."""
    data = read(pets(tmp_path, "nan/1.png", "NULL/2.png", "ant/3.png"), kind=kind)
    assert data.task.labels == ("NULL", "ant", "nan")
    assert len(data) == 3


def test_an_empty_class_folder_is_noted(tmp_path: Path) -> None:
    """It is not a class that could be learned."""
    pets(tmp_path, "ant/1.png", "bee/1.png")
    (tmp_path / "cat").mkdir()
    data = read(tmp_path)
    assert data.task.labels == ("ant", "bee")
    assert any("cat is empty" in note for note in data.notes)


@pytest.mark.parametrize("closed", ["", "bee", "ant/more"])
def test_a_folder_that_cannot_be_read_is_not_called_empty(
    tmp_path: Path, closed: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of the data, a class, or below one: its pictures would be lost, and the class with them."""
    pets(tmp_path, "ant/1.png", "ant/more/2.png", "bee/1.png", "cat/1.png")

    def refusing(real: Callable[..., Any]) -> Callable[..., Any]:
        def look(path: Any = ".") -> Any:
            if Path(path) == tmp_path / closed:
                raise PermissionError(errno.EACCES, "Permission denied", str(path))
            return real(path)

        return look

    for name in ("scandir", "listdir"):
        monkeypatch.setattr(os, name, refusing(getattr(os, name)))
    with pytest.raises(DataError, match=rf"{tmp_path / closed} cannot be read: Permission denied"):
        read(tmp_path)


def test_empty_and_renamed_pictures_are_skipped_and_named(tmp_path: Path) -> None:
    """Two of four: allowed here, and each says why."""
    pets(tmp_path, "ant/1.png", "bee/1.png")
    table(tmp_path / "ant", b"", "2.jpg")
    table(tmp_path / "bee", b"not a picture", "2.jpg")
    data = read(tmp_path, max_skipped=0.5)
    assert len(data) == 2
    assert [row.reason[:17] for row in data.skipped] == ["the file is empty", "not a picture by "]
    assert data.skipped[0].row == str(tmp_path / "ant" / "2.jpg")


def test_more_unreadable_rows_than_allowed_are_an_error(tmp_path: Path) -> None:
    """One of three is more than 1 %."""
    pets(tmp_path, "ant/1.png", "bee/1.png")
    table(tmp_path / "ant", b"", "2.jpg")
    with pytest.raises(DataError, match=r"(?s)1 of 3 rows.*2\.jpg: the file is empty.*max-skipped"):
        read(tmp_path)


def test_formats_that_cannot_be_read_are_not_lost_silently(tmp_path: Path) -> None:
    """A HEIC photo is a picture to a person."""
    pets(tmp_path, "ant/1.png", "bee/1.png")
    table(tmp_path / "ant", b"\0\0\0\x18ftypheic", "2.heic")
    with pytest.raises(DataError, match="expected JPEG, PNG"):
        read(tmp_path)


def test_other_files_are_passed_over_with_a_note(tmp_path: Path) -> None:
    """Notes of the photographer."""
    pets(tmp_path, "ant/1.png", "bee/1.png")
    table(tmp_path / "ant", "nice", "notes.md")
    assert read(tmp_path).notes == ("Passed over by their suffix: 1 .md.",)


@pytest.mark.parametrize("name", ["photo/ant/1.png", "1.png", "notes.md"])
def test_folders_without_clear_classes_are_refused(tmp_path: Path, name: str) -> None:
    """Folders of folders, pictures without classes, no pictures."""
    pets(tmp_path / "data", "photo/bee/1.png") if "/" in name else None
    picture(tmp_path / "data" / name) if ".png" in name else (tmp_path / "data").mkdir()
    with pytest.raises(DataError, match="Expected"):
        read(tmp_path / "data")


def test_one_class_is_refused(tmp_path: Path) -> None:
    """There is nothing to tell apart."""
    with pytest.raises(DataError, match="same class 'ant'"):
        read(pets(tmp_path, "ant/1.png", "ant/2.png"))


def test_one_row_a_class_is_enough_to_read(tmp_path: Path) -> None:
    """What can be learned from it is another question."""
    assert len(read(pets(tmp_path, "ant/1.png", "bee/1.png"))) == 2


def test_a_class_in_test_that_train_lacks_is_refused(tmp_path: Path) -> None:
    """It could only be judged, never learned."""
    pets(tmp_path, "train/ant/1.png", "train/bee/1.png", "test/ant/1.png", "test/cat/1.png")
    with pytest.raises(DataError, match="No training row has the label 'cat'"):
        read(tmp_path)


def test_a_folder_of_text_files(tmp_path: Path) -> None:
    """One text a file."""
    for label in ("neg", "pos"):
        (tmp_path / label).mkdir()
        table(tmp_path / label, f"a {label} review\n", "1.txt")
    data = read(tmp_path)
    assert data.rows == ("a neg review\n", "a pos review\n")
    assert classes(data) == ["neg", "pos"]


@pytest.mark.parametrize("name", ["evaluation", "holdout"])
def test_class_folders_beside_the_splits_are_refused(tmp_path: Path, name: str) -> None:
    """A misspelled test split must not be lost."""
    pets(tmp_path, *(f"{s}/{c}/1.png" for s in ("train", "val", name) for c in "ab"))
    with pytest.raises(DataError, match=rf"(?s){name} has class folders.*train/ and val/.*dev, te"):
        read(tmp_path)


def test_pictures_in_no_class_folder_are_told(tmp_path: Path) -> None:
    """Beside the classes, or where a split has none; a folder of other things says nothing."""
    pets(tmp_path / "one", "a/1.png", "b/1.png", "c.png")
    table(tmp_path / "one", "nice", "notes.md")
    told = "Passed over, in no class folder:"
    first = f"the first is {tmp_path / 'one' / 'c.png'}."
    assert read(tmp_path / "one").notes == (f"{told} 1, {first}",)
    pets(tmp_path / "two", "train/a/1.png", "train/b/1.png", "train/3.png", "test/4.png")
    pets(tmp_path / "two", "5.png", "more/6.png", "more/of/such/7.png", "docs/.hidden/8.png")
    first = f"the first is {tmp_path / 'two' / '5.png'}."
    assert read(tmp_path / "two").notes == (f"{told} 5, {first}",)


def test_columns_of_a_folder_are_refused(tmp_path: Path) -> None:
    """Whoever names the label of a folder means another one, or a table in it."""
    pets(tmp_path, "a/1.png", "b/1.png")
    for option in ("text", "image", "label", "separator"):
        with pytest.raises(UsageError, match=f"no columns, but --{option} was given"):
            read(tmp_path, **{option: "x"})


def reviews(folder: Path, *contents: bytes) -> Path:
    """Write a folder of text files in two classes."""
    for i, content in enumerate(contents):
        (folder / "ab"[i % 2]).mkdir(exist_ok=True)
        table(folder / "ab"[i % 2], content, f"{i}.txt")
    return folder


def test_a_picture_among_text_files_makes_them_no_pictures(tmp_path: Path) -> None:
    """More of the files are texts; the picture is passed over, which is said."""
    reviews(tmp_path, b"bad", b"good")
    table(tmp_path / "a", "<svg/>", "logo.svg")
    data = read(tmp_path)
    assert data.rows == ("bad", "good")
    assert data.notes == ("Passed over by their suffix: 1 .svg.",)


def test_text_files_among_pictures_make_them_no_texts(tmp_path: Path) -> None:
    """Notes, and a caption beside each picture."""
    pets(tmp_path, "a/1.png", "b/2.png")
    for name in ("a/1.txt", "b/2.txt", "a/notes.txt", "b/notes.txt"):
        (tmp_path / name).write_text("a pet")
    data = read(tmp_path)
    assert [path.name for path in data.rows] == ["1.png", "2.png"]
    assert data.notes == ("Passed over by their suffix: 4 .txt.",)


def test_text_files_that_hold_no_text_are_skipped_and_named(tmp_path: Path) -> None:
    """Zero bytes, nothing, blanks, broken UTF-16; they count, as the rows of a table do."""
    reviews(tmp_path, b"bad", b"good", b"\0\1", b"", b" \n", b"\xff\xfea")
    data = read(tmp_path, max_skipped=0.7)
    assert (data.rows, classes(data)) == (("bad", "good"), ["a", "b"])
    reasons = {row.row[-5:]: row.reason[:20] for row in data.skipped}
    zeros, broken = "the file holds zero ", "the file begins as u"
    assert reasons == {"2.txt": zeros, "3.txt": "no text", "4.txt": "no text", "5.txt": broken}
    with pytest.raises(DataError, match="4 of 6 rows cannot be used"):
        read(tmp_path)
    predicted = read_rows([str(tmp_path)], "text")
    assert predicted.rows == ("bad", "good")
    assert {row.row: row.reason for row in predicted.skipped} == {
        row.row: row.reason for row in data.skipped
    }


def test_a_text_file_that_cannot_be_read_is_skipped(tmp_path: Path) -> None:
    """A link that leads nowhere; root may read all else."""
    reviews(tmp_path, b"bad", b"good")
    (tmp_path / "a" / "gone.txt").symlink_to(tmp_path / "nowhere")
    assert read(tmp_path, max_skipped=0.5).skipped[0].reason == "No such file or directory"
    assert len(read_rows([str(tmp_path)], "text").skipped) == 1


def test_another_encoding_of_text_files_is_noted_once(tmp_path: Path) -> None:
    """However many files are in it."""
    reviews(tmp_path, b"good", *["été".encode("cp1252")] * 3)
    (note,) = read(tmp_path).notes
    assert note.startswith(f"Not plain UTF-8: 3, the first is {tmp_path / 'a' / '2.txt'}; read as")
    assert "Windows-1252" in note
    assert read_rows([str(tmp_path)], "text").notes == (note,)


def test_tables_beside_the_splits_are_told(tmp_path: Path) -> None:
    """A misspelled test split is not lost in silence."""
    for name in ("train.csv", "test.csv", "holdout.csv"):
        (tmp_path / name).write_text("text,label\none,a\ntwo,b\n")
    *_, note = read(tmp_path).notes
    assert note.startswith("Passed over") and note.endswith("holdout.csv.")
    (tmp_path / "holdout.csv").unlink()
    assert not any("Passed over" in note for note in read(tmp_path).notes)


def test_texts_named_after_pictures_do_not_outvote_them(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
        for i in range(3):
            Image.new("RGB", (8, 8)).save(tmp_path / name / f"{i}.png")
            for what in ("caption", "boxes"):
                (tmp_path / name / f"{i}_{what}.txt").write_text("of it")
    assert class_folders(tmp_path).modality is Modality.IMAGE


def test_a_picture_named_as_the_texts_are_does_not_make_them_captions(tmp_path):
    for name in ("ham", "spam"):
        (tmp_path / name).mkdir()
        for i in range(12):
            (tmp_path / name / f"{name}_{i}.txt").write_text(f"{name} {i}")
    Image.new("RGB", (8, 8)).save(tmp_path / "spam" / "spam.png")
    assert class_folders(tmp_path).modality is Modality.TEXT
