"""Rows as people hand them over: every way is read alike, and nothing is guessed in silence."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from scipy.sparse import csr_array

import headstart as hs
from headstart.data.dataset import Dataset
from headstart.errors import DataError, UnreadableRow, UsageError
from headstart.transfer.rows import is_raw
from headstart.transfer.transfer import Transfer, TransferRegressor
from tests.toys import toy_picture_source, toy_text_source

TEXTS = [f"{'great good' if i % 2 else 'awful bad'} film {i}" for i in range(24)]
LABELS = ["up" if i % 2 else "down" for i in range(24)]
NEW = ["great good film", "awful bad film"]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory: pytest.TempPathFactory) -> str:
    return toy_text_source(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def model(encoder: str) -> Transfer:
    return Transfer(encoder, finetune="no").fit(TEXTS, LABELS)


@pytest.mark.parametrize(
    "wrap",
    [
        tuple,
        np.array,
        pd.Series,
        lambda rows: pd.Series(rows, index=range(7, 7 + len(rows))),
        lambda rows: np.array(rows)[:, None],
        lambda rows: pd.DataFrame({"body": rows}),
        lambda rows: [{"body": row} for row in rows],
    ],
)
def test_every_container_of_texts_says_the_same(model: Transfer, wrap: Callable[..., Any]) -> None:
    expected = model.predict_proba(NEW)
    assert np.array_equal(model.predict_proba(wrap(NEW)), expected)
    assert np.array_equal(model.bundle_.predict_proba(wrap(NEW)), expected)


def test_a_data_frame_is_not_its_column_names(encoder: str, model: Transfer) -> None:
    said = Transfer(encoder, finetune="no").fit(pd.DataFrame({"body": TEXTS}), pd.Series(LABELS))
    assert np.array_equal(said.predict_proba(NEW), model.predict_proba(NEW))
    assert len(said.predict(pd.DataFrame({"body": NEW}))) == 2
    with pytest.raises(DataError, match="learned from column 'body'"):
        said.predict(pd.DataFrame({"headline": NEW}))


def test_numbers_of_a_data_frame_are_read_by_name_once_loaded(tmp_path: Path) -> None:
    frame = pd.DataFrame({"a": np.arange(20.0), "b": np.arange(20.0) % 3})
    model = Transfer().fit(frame, ["low"] * 10 + ["high"] * 10)
    loaded = hs.load(model.save(tmp_path / "model"))
    assert list(loaded.predict(frame[["b", "a"]])) == list(model.predict(frame))


def test_numbers_of_a_data_frame_with_labels_beside_it_are_read_by_name(tmp_path: Path) -> None:
    frame = table_of_numbers(str)[["a", "b"]]
    labels = ["low" if b < 1 else "high" for b in frame["b"]]
    data = hs.read((frame, labels))
    assert data.columns == ("a", "b")
    model = Transfer().fit(data)
    assert model.predict(frame[["b", "a"]]).tolist() == labels
    assert model.predict(frame.to_numpy()).tolist() == labels
    twice = pd.DataFrame(frame.to_numpy(), columns=["a", "a"])
    assert hs.read((twice, labels)).columns == ()


@pytest.mark.parametrize("labelled", [pd.DataFrame, lambda columns: columns])
def test_labelled_data_need_no_y(encoder: str, labelled: Callable[..., Any]) -> None:
    made = Transfer(encoder, finetune="no").fit(labelled({"body": TEXTS, "label": LABELS}))
    assert list(made.classes_) == ["down", "up"]


def test_a_pair_of_rows_and_labels_needs_no_y(encoder: str, model: Transfer) -> None:
    made = Transfer(encoder, finetune="no").fit((TEXTS, LABELS))
    assert np.array_equal(made.predict_proba(NEW), model.predict_proba(NEW))
    table = table_of_numbers()
    numbers = TransferRegressor().fit((table[["a", "b"]], table["b"]))
    assert numbers.predict(table[["b", "a"]]).shape == (60,)
    with pytest.raises(DataError, match="no labels"):
        Transfer(encoder, finetune="no").fit(("a good film", "a bad film"))


def test_a_path_is_read(encoder: str, tmp_path: Path) -> None:
    pd.DataFrame({"body": TEXTS, "stars": np.arange(24)}).to_csv(tmp_path / "a.csv", index=False)
    made = TransferRegressor(encoder, finetune="no").fit(tmp_path / "a.csv")
    assert made.predict(NEW).shape == (2,)


def test_several_labels_as_lists_as_bits_and_by_name(encoder: str) -> None:
    bits = [[i % 2, int(i % 3 == 0)] for i in range(24)]
    lists = [[name for name, bit in zip("ab", row, strict=True) if bit] for row in bits]
    for y, names in (
        (bits, ["0", "1"]),
        (np.array(bits), ["0", "1"]),
        (lists, ["a", "b"]),
        ([set(row) for row in lists], ["a", "b"]),
        (pd.DataFrame(bits, columns=["a", "b"]), ["a", "b"]),
    ):
        made = Transfer(encoder, finetune="no").fit(TEXTS, y)
        assert list(made.classes_) == names
        assert made.predict(NEW).shape == (2, 2)


def test_several_labels_of_rows_of_numbers() -> None:
    X = np.random.default_rng(0).normal(size=(60, 3))
    bits = (X[:, :2] > 0).astype(int)
    expected = Transfer().fit(hs.read((X, bits))).predict_proba(X)
    for y, names in (
        (bits, ["0", "1"]),
        (bits.tolist(), ["0", "1"]),
        (pd.DataFrame(bits, columns=["a", "b"]), ["a", "b"]),
        ([[name for name, bit in zip("ab", row, strict=True) if bit] for row in bits], ["a", "b"]),
    ):
        made = Transfer().fit(X, y)
        assert list(made.classes_) == names and made.n_features_in_ == 3
        assert np.array_equal(made.predict_proba(X), expected)
        assert made.predict(X).shape == (60, 2) and made.score(X, bits) > 0.8
    for wrong in (bits[:-1], 2 * bits):
        with pytest.raises(DataError):
            Transfer().fit(X, wrong)


def test_columns_of_numbers_with_several_labels_are_read_by_name(tmp_path: Path) -> None:
    frame = pd.DataFrame(np.random.default_rng(0).normal(size=(40, 2)), columns=["a", "b"])
    model = Transfer().fit(frame, (frame.to_numpy() > 0).astype(int))
    loaded = hs.load(model.save(tmp_path / "model"))
    assert np.array_equal(loaded.predict(frame[["b", "a"]]), model.predict(frame))


def test_a_second_fit_knows_nothing_of_the_columns_of_the_first() -> None:
    rng, y = np.random.default_rng(0), ["low", "high"] * 20
    model = Transfer().fit(pd.DataFrame(rng.normal(size=(40, 3)), columns=list("abc")), y)
    wide = hs.read((rng.normal(size=(40, 5)), y))
    assert model.fit(wide).predict(wide).shape == model.predict(wide.rows).shape == (40,)
    assert not hasattr(model, "n_features_in_") and not hasattr(model, "feature_names_in_")


def test_no_rows_say_nothing(model: Transfer) -> None:
    assert model.predict([]).shape == (0,)
    assert model.predict_proba([]).shape == (0, 2)
    assert model.bundle_.predict([]).shape == (0,)


@pytest.mark.parametrize("nothing", [None, float("nan"), pd.NA])
def test_a_missing_label_is_no_class(encoder: str, nothing: object) -> None:
    with pytest.raises(DataError, match="first at row 23"):
        Transfer(encoder, finetune="no").fit(TEXTS, [*LABELS[:-1], nothing])


def test_quantities_are_no_classes(encoder: str) -> None:
    with pytest.raises(ValueError, match="continuous"):
        Transfer(encoder, finetune="no").fit(TEXTS, np.linspace(0, 1, 24))
    with pytest.raises(DataError, match="'down', expected numbers"):
        TransferRegressor(encoder, finetune="no").fit(TEXTS, LABELS)


def test_rows_that_mean_nothing_are_refused(model: Transfer, encoder: str) -> None:
    with pytest.raises(UsageError, match="list of rows"):
        model.predict("great good film")
    with pytest.raises(DataError, match="expected a text"):
        model.predict(["great", None])
    with pytest.raises(UnreadableRow, match="no text"):
        model.predict(pd.DataFrame({"body": ["great", None]}))
    with pytest.raises(UsageError, match=r"X\['body'\]"):
        Transfer(encoder).fit(pd.DataFrame({"body": TEXTS, "n": range(24)}), LABELS)


@pytest.mark.parametrize(
    "option",
    [
        {"seed": -1},
        {"seed": "a"},
        {"seed": True},
        {"finetune": None},
        {"finetune": False},
        {"source": None},
        {"head": 3},
        {"phase": 20},
        {"max_skipped": -1},
        {"max_skipped": "1 %"},
    ],
)
def test_options_that_cannot_be_right_are_told_before_any_work(option: dict[str, Any]) -> None:
    ((name, value),) = option.items()
    with pytest.raises(UsageError, match=f"{name}={value!r}: expected"):
        Transfer(**option).fit(["a", "b"], ["x", "y"])


def test_numbers_are_left_to_scikit_learn() -> None:
    assert not is_raw(np.ones((2, 1)))
    assert not is_raw(pd.DataFrame({"a": [1.0]}))
    assert is_raw(np.zeros((1, 4, 4, 3), np.uint8))


def test_one_column_of_labels_is_one_label_a_row(encoder: str, model: Transfer) -> None:
    column = pd.DataFrame({"mood": LABELS})
    with pytest.warns(UserWarning, match="column-vector"):
        found = Transfer(encoder, finetune="no").fit(TEXTS, column)
    assert found.plan_.task == model.plan_.task
    assert found.predict(NEW).tolist() == model.predict(NEW).tolist()


@pytest.mark.parametrize("kind", [int, float, bool])
def test_labels_that_are_no_texts_come_back_as_they_were(
    encoder: str, tmp_path: Path, kind: type
) -> None:
    labels = np.array([kind(i % 2) for i in range(24)])
    found = Transfer(encoder, finetune="no").fit(TEXTS, labels)
    loaded = hs.load(found.save(tmp_path / "model"))
    assert loaded.predict(NEW).tolist() == found.predict(NEW).tolist() == [kind(1), kind(0)]
    assert loaded.predict(NEW).dtype == labels.dtype


def test_gray_pictures_are_pictures(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    gray = rng.integers(0, 90, (24, 20, 20), np.uint8) + 150 * (np.arange(24) % 2)[:, None, None]
    gray = gray.astype(np.uint8)
    found = Transfer(toy_picture_source(tmp_path), finetune="no").fit(gray, LABELS)
    assert found.predict(gray).tolist() == found.predict(list(gray)).tolist() == LABELS


def test_tables_of_other_libraries_are_tables() -> None:
    pa = pytest.importorskip("pyarrow")
    table = pa.table({"text": TEXTS, "label": LABELS})
    found = hs.read(table)
    assert len(found) == 24 and found.task.labels == ("down", "up")
    pl = pytest.importorskip("polars")
    assert hs.read(pl.DataFrame({"text": TEXTS, "label": LABELS})).rows == found.rows


def test_columns_of_a_list_are_refused() -> None:
    with pytest.raises(UsageError, match="A list or an array of rows has no columns"):
        hs.read(TEXTS, text="body")


def test_numbers_beside_a_guessed_text_are_said_to_be_left_aside(tmp_path: Path) -> None:
    table = tmp_path / "houses.csv"
    where = ("near old Rome", "near old Oslo")
    rows = [f"{i},{100 + i},{i % 4},{where[i % 2]},{i * 10.5}" for i in range(40)]
    table.write_text("\n".join(["id,sqft,rooms,where,price", *rows]))
    notes = hs.read(str(table), label="price").notes
    assert any("'sqft', 'rooms' of numbers are left aside" in note for note in notes)
    named = hs.read(str(table), label="price", text="where").notes
    assert not any("left aside" in note for note in named)


def test_labels_may_be_tensors_or_sparse(encoder: str, model: Transfer) -> None:
    kinds = torch.arange(24) % 2
    bits = torch.stack([kinds, 1 - kinds], dim=1)
    for y in (kinds, list(kinds)):
        made = Transfer(encoder, finetune="no").fit(TEXTS, y)
        assert made.classes_.tolist() == [0, 1]
    for several in (bits, list(bits), csr_array(bits.numpy())):
        made = Transfer(encoder, finetune="no").fit(TEXTS, several)
        assert made.predict(NEW).tolist() == [[1, 0], [0, 1]]
    vectors = np.random.default_rng(0).normal(size=(24, 2))
    assert Transfer().fit(vectors, csr_array(bits.numpy())).predict(vectors).shape == (24, 2)


def test_words_in_arrays_are_words(encoder: str) -> None:
    rows = [np.array(text.split()) for text in TEXTS]
    tags = [np.array(["B-MOOD", "I-MOOD", "O", "O"]) for _ in rows]
    made = Transfer(encoder, finetune="no").fit(rows, tags)
    assert made.predict(["great good film"])[0].tolist() == ["B-MOOD", "I-MOOD", "O"]


@pytest.mark.parametrize(
    ("estimator", "y"),
    [(Transfer, [0, 1] * 12), (Transfer, LABELS), (TransferRegressor, [0.5] * 24)],
)
def test_lists_of_words_with_a_label_a_row_are_told_to_be_texts(estimator: Any, y: Any) -> None:
    with pytest.raises(DataError, match=r"tag a word.*\n?.*' '\.join"):
        estimator().fit([text.split() for text in TEXTS], y)


def table_of_numbers(label: Callable[[int], Any] = lambda i: i % 2) -> pd.DataFrame:
    """Return a large column, a small one that tells the classes apart, and a label."""
    columns = {
        "a": [1000.0 * (i % 7) for i in range(60)],
        "b": [i % 2 + i / 100 for i in range(60)],
    }
    return pd.DataFrame({**columns, "label": [label(i) for i in range(60)]})


@pytest.mark.parametrize("fitted_on", [hs.read, lambda table: table])
def test_numbers_of_a_dataset_are_read_by_name(fitted_on: Callable[..., Any]) -> None:
    table = table_of_numbers(lambda i: "ab"[i % 2])
    found = Transfer().fit(fitted_on(table))
    by_X_y = Transfer().fit(table[["a", "b"]], table["label"])
    turned = hs.read(table[["b", "a", "label"]])
    assert turned.columns == ("b", "a")
    for one in (found, found.bundle_, by_X_y):
        assert one.predict(turned).tolist() == table["label"].tolist()
        with pytest.raises(DataError, match="no column 'a'; they have 'b', 'c'"):
            one.predict(hs.read(table.rename(columns={"a": "c"})[["b", "c", "label"]]))
    nameless = Dataset(turned.modality, table[["a", "b"]].to_numpy())
    assert found.predict(nameless).tolist() == table["label"].tolist()


@pytest.mark.parametrize("kind", [int, bool, float, str])
def test_labels_of_a_table_come_back_as_they_were(tmp_path: Path, kind: type) -> None:
    table = table_of_numbers(lambda i: kind(i % 2))
    found = Transfer().fit(table)
    assert (found.predict(table) == table["label"]).all()
    assert found.score(table[["a", "b"]], table["label"]) == 1.0
    loaded = hs.load(found.save(tmp_path / "model"))
    assert loaded.predict(table).tolist() == table["label"].tolist()
    table.to_csv(tmp_path / "table.csv", index=False)
    assert Transfer().fit(tmp_path / "table.csv").classes_.dtype.kind == "U"


def test_a_record_names_a_class_as_its_labels_do() -> None:
    data = hs.read(table_of_numbers(lambda i: (0.5, 1.0)[i % 2]), kind="multiclass")
    found = Transfer().fit(data)
    assert found.predict(data)[:2].tolist() == [0.5, 1.0]
    said = found.bundle_.predictions(data)[:2]
    assert [one["prediction"] for one in said] == [one["top"][0]["label"] for one in said]


def test_labels_beside_labelled_data_are_refused() -> None:
    data = hs.read(table_of_numbers())
    for estimator in (Transfer(), TransferRegressor()):
        with pytest.raises(UsageError, match="X is a Dataset, and y came beside it"):
            estimator.fit(data, ["zzz"] * 60)
    with pytest.raises(DataError, match="Unknown split 'Test'"):
        Transfer().fit(data.with_split(["train"] * 30 + ["Test"] * 30))


def test_what_can_be_gone_through_only_once_is_refused() -> None:
    with pytest.raises(UsageError, match=r"X is a map.*\nGive a list: list\(X\)"):
        Transfer().fit(map(str, TEXTS), LABELS)
    with pytest.raises(UsageError, match="y is a generator"):
        Transfer().fit(TEXTS, (label for label in LABELS))


def test_what_a_fit_guessed_of_data_that_it_read_is_told() -> None:
    table = table_of_numbers(lambda i: 100 + i % 25)
    guess = "The column 'label' holds 25 different whole numbers: a quantity to predict"
    assert any(guess in note for note in Transfer().fit(table).plan_.notes)
    data = hs.read(table)
    assert any(guess in note for note in data.notes)
    assert not any(guess in note for note in Transfer().fit(data).plan_.notes)
