"""Bundles: what was saved says what was fitted, and nothing else is believed."""

import copy
import dataclasses
import json
import os
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import headstart as hs
from headstart import io
from headstart.bundle import load as loading
from headstart.bundle.bundle import Bundle
from headstart.bundle.save import CARD, FACTS, HEAD, REFERENCE, TRUNK
from headstart.data.dataset import Dataset, Skipped, from_arrays
from headstart.data.unlabelled import read_rows
from headstart.errors import DataError, IntegrityError, UsageError
from headstart.features import compile as compiling
from headstart.io import sealed_folder, sha256_file, write_json
from headstart.sources.catalog import resolve
from headstart.sources.source import from_json
from headstart.sources.weights import read_weights
from headstart.task import Modality
from headstart.transfer.transfer import Transfer
from tests.toys import toy_picture_source, toy_text_source


def pictures(n: int = 24) -> tuple[list[np.ndarray], list[str]]:
    """Return noisy pictures, dark and light."""
    rng = np.random.default_rng(0)
    rows = [rng.integers(90 * (i % 2), 160 + 90 * (i % 2), (40, 40, 3), np.uint8) for i in range(n)]
    return rows, ["light" if i % 2 else "dark" for i in range(n)]


def texts(n: int = 24) -> tuple[list[str], list[str]]:
    """Return good and bad films."""
    rows = [f"{'great good' if i % 2 else 'awful bad'} film {i}" for i in range(n)]
    return rows, ["up" if i % 2 else "down" for i in range(n)]


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    return toy_picture_source(tmp_path_factory.mktemp("network"))


@pytest.fixture(scope="module")
def probe(network: str) -> Transfer:
    """Pictures, the head alone trained."""
    return hs.Transfer(network, finetune="no").fit(*pictures())


def agree(model: Transfer, rows: list, folder: Path) -> Bundle:
    """Save, load, and check that both say the same; return what was loaded."""
    loaded = hs.load(model.save(folder))
    assert np.abs(loaded.outputs(rows) - model.predict_proba(rows)).max() <= 1e-5
    assert loaded.predict(rows).tolist() == model.predict(rows).tolist()
    return loaded


def test_pictures_say_the_same_fitted_and_loaded(probe, tmp_path):
    assert agree(probe, pictures()[0], tmp_path / "model").task == probe.bundle_.task


def test_texts_say_the_same_fitted_and_loaded(tmp_path):
    rows, labels = texts()
    encoder = toy_text_source(tmp_path / "encoder")
    agree(hs.Transfer(encoder, finetune="no").fit(rows, labels), rows, tmp_path / "model")


def test_a_finetuned_trunk_says_the_same_fitted_and_loaded(network, tmp_path):
    rows, labels = pictures()
    model = hs.Transfer(network, finetune="only:last:50%", phase=hs.Phase(epochs=2, batch=8))
    loaded = agree(model.fit(rows, labels), rows, tmp_path / "model")
    assert model.plan_.phase is not None and (tmp_path / "model" / "trunk.safetensors").exists()
    assert Path(loaded.source.location["path"]).parent == tmp_path / "model"


def test_other_preprocessing_than_the_head_learned_with_is_refused(probe, tmp_path):
    folder = probe.save(tmp_path / "model")
    facts = json.loads((folder / FACTS).read_text())
    facts["source"]["preprocess"]["mean"] = [0.1, 0.1, 0.1]
    kept = {p.name: p.read_bytes() for p in folder.iterdir() if p.name != "manifest.json"}
    with sealed_folder(folder) as changed:  # sealed again: every byte as its manifest says
        for name, content in kept.items():
            (changed / name).write_bytes(content)
        write_json(changed / FACTS, facts)
    with pytest.raises(IntegrityError, match="preprocessing"):
        hs.load(folder)


@pytest.mark.parametrize("name", [FACTS, HEAD, TRUNK, CARD])
def test_a_changed_byte_is_refused(probe, tmp_path, name):
    path = probe.save(tmp_path / "model") / name
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(IntegrityError, match=name):
        hs.load(tmp_path / "model")


def test_facts_that_are_no_facts_are_refused(probe, tmp_path):
    folder = probe.save(tmp_path / "model")
    (folder / "manifest.json").unlink()
    (folder / FACTS).write_text("[]")
    shutil.move(folder, tmp_path / "kept")
    with sealed_folder(folder) as changed:
        shutil.copytree(tmp_path / "kept", changed, dirs_exist_ok=True)
    with pytest.raises(IntegrityError, match="is no description of a model"):
        hs.load(folder)


def test_a_class_named_in_no_utf_8_comes_back_as_it_was(probe, tmp_path):
    """A folder of pictures, out of an old archive."""
    name = os.fsdecode(b"\xe9t\xe9")
    task = dataclasses.replace(probe.bundle_.task, labels=(name, "dark"))
    named = dataclasses.replace(probe.bundle_, task=task)
    assert hs.load(named.save(tmp_path / "model")).task.labels == (name, "dark")


@pytest.mark.parametrize("at", ["model", ""])
def test_a_model_whose_replacement_was_killed_half_way_is_there(probe, tmp_path, at):
    probe.save(tmp_path / "model")
    (tmp_path / "model").rename(tmp_path / ".model.old")  # between the two renames
    assert hs.load(tmp_path / at).task == probe.bundle_.task
    (tmp_path / "model").rename(tmp_path / ".model.old")
    assert resolve(f"run:{tmp_path / at}").modality is Modality.IMAGE


@pytest.fixture(scope="module")
def other(tmp_path_factory: pytest.TempPathFactory) -> Transfer:
    """Another trunk, and its head."""
    network = toy_picture_source(tmp_path_factory.mktemp("other"), seed=1)
    return hs.Transfer(network, finetune="no").fit(*pictures())


def test_a_trunk_that_was_replaced_since_it_was_loaded_is_refused(probe, other, tmp_path):
    rows = pictures()[0]
    probe.save(tmp_path / "model")
    opened, loaded = hs.load(tmp_path / "model"), hs.load(tmp_path / "model")
    before = opened.outputs(rows)
    other.save(tmp_path / "model")
    with pytest.raises(IntegrityError, match="was replaced since it was loaded; load it again"):
        loaded.outputs(rows)
    with pytest.raises(IntegrityError, match="Load the model again"):
        loaded.save(tmp_path / "copy")
    assert opened.outputs(rows).tolist() == before.tolist()  # what is open stays as it was
    again = hs.load(tmp_path / "model").outputs(rows)
    assert np.abs(again - other.predict_proba(rows)).max() <= 1e-5


@pytest.mark.parametrize("door", ["verify_folder", "read_json", "_head", "_reference"])
def test_a_model_that_is_replaced_while_it_is_loaded_is_one_of_both(
    probe, other, tmp_path, monkeypatch, door
):
    rows, read, times = pictures()[0], getattr(loading, door), iter([True])
    probe.save(tmp_path / "model")

    def replaced(*given):
        if next(times, False):
            other.save(tmp_path / "model")
        return read(*given)

    monkeypatch.setattr(loading, door, replaced)
    found = hs.load(tmp_path / "model").outputs(rows)
    assert np.abs(found - other.predict_proba(rows)).max() <= 1e-5


def test_a_trunk_that_was_replaced_since_it_was_loaded_is_not_saved(probe, other, tmp_path):
    loaded = hs.load(probe.save(tmp_path / "model"))
    trunk = other.save(tmp_path / "other") / TRUNK
    trunk.replace(tmp_path / "model" / TRUNK)
    with pytest.raises(IntegrityError, match="was replaced since it was loaded; load it again"):
        loaded.save(tmp_path / "copy")
    assert not (tmp_path / "copy").exists()


def test_a_trunk_that_was_replaced_by_itself_is_used(probe, tmp_path):
    rows = pictures()[0]
    loaded = hs.load(probe.save(tmp_path / "model"))
    loaded.save(tmp_path / "model")
    assert np.abs(loaded.outputs(rows) - probe.predict_proba(rows)).max() <= 1e-5


def test_a_trunk_is_hashed_once_between_loading_and_the_first_answer(probe, tmp_path, monkeypatch):
    folder, hashed = probe.save(tmp_path / "model"), []

    def counted(path: Path) -> str:
        hashed.append(path.name)
        return sha256_file(path)

    for module in (io, compiling):
        monkeypatch.setattr(module, "sha256_file", counted)
    hs.load(folder).outputs(pictures()[0])
    assert hashed.count(TRUNK) == 1


def test_a_record_for_every_row_that_came(probe, tmp_path):
    broken, good = tmp_path / "broken.png", tmp_path / "good.png"
    Image.fromarray(pictures()[0][0]).save(good)
    broken.write_bytes(good.read_bytes()[:60])
    left_out = Skipped("t.csv:3", "no picture")
    data = Dataset(Modality.IMAGE, (broken, good), skipped=(left_out,))
    first, second, last = probe.bundle_.predictions(data)
    assert first["name"] == str(broken) and "error" in first
    assert second["prediction"] == "dark"
    assert last == {"name": "t.csv:3", "error": "no picture"}


def test_the_records_of_a_table_stand_as_its_rows_do(remembering, tmp_path):
    """Also those of rows that hold no numbers: a column beside another is read by its place."""
    rows = np.random.default_rng(1).normal(size=(4, 8)).round(3)
    lines = [",".join(map(str, row)) for row in rows.tolist()]
    columns = [f"n{i}" for i in range(8)]
    table = tmp_path / "new.csv"
    spoilt = [lines[0], "1,2", lines[1], ",".join(["x"] * 8), lines[2], lines[3]]
    table.write_text("\n".join([",".join(columns), *spoilt]) + "\n")
    records = remembering.predictions(read_rows([table], "vector", columns=columns))
    assert [record["name"] for record in records] == [f"{table}:{i}" for i in range(2, 8)]
    assert [i for i, record in enumerate(records) if "error" in record] == [1, 3]


@pytest.fixture(scope="module")
def remembering() -> Bundle:
    """Three hundred rows of eight numbers about zero, told apart by the first."""
    rows = np.random.default_rng(0).normal(size=(300, 8))
    return hs.Transfer().fit(rows, np.where(rows[:, 0] > 0, "high", "low")).bundle_


def test_a_row_unlike_any_learned_from_is_flagged_by_what_was_saved(remembering, tmp_path):
    loaded = hs.load(remembering.save(tmp_path / "model"))
    assert (tmp_path / "model" / REFERENCE).exists()
    usual = np.random.default_rng(1).normal(size=(3, 8))
    answers = loaded.answers(from_arrays(np.concatenate([usual, np.full((1, 8), 60.0)])))
    assert [row.get("unlike", False) for row in answers.records] == [False] * 3 + [True]
    (found,) = answers.findings
    assert (found.kind, found.n) == ("unlike", 1)


def test_rows_like_those_learned_from_are_not_flagged(remembering):
    answers = remembering.answers(from_arrays(np.random.default_rng(1).normal(size=(40, 8))))
    assert answers.findings == ()
    assert not [row for row in answers.records if "unlike" in row]


def test_rows_of_another_kind_are_told_together(remembering):
    answers = remembering.answers(from_arrays(np.random.default_rng(1).normal(3, 1, (40, 8))))
    assert "shift" in {found.kind for found in answers.findings}


def test_a_model_of_few_rows_flags_none(tmp_path):
    few = hs.Transfer().fit(np.eye(4), ["a", "b", "a", "b"]).bundle_
    assert few.reference is None
    assert hs.load(few.save(tmp_path / "model")).answers(from_arrays(np.eye(4))).findings == ()


@pytest.fixture(scope="module")
def numbers() -> Bundle:
    """Two columns of numbers."""
    rng = np.random.default_rng(0)
    columns = {name: rng.normal(size=40).tolist() for name in ("b", "a")}
    labels = ["high" if b > 0 else "low" for b in columns["b"]]
    return hs.Transfer().fit(hs.read({**columns, "label": labels})).bundle_


def test_a_bundle_remembers_the_columns_it_learned_from(numbers, tmp_path):
    assert numbers.columns == ("b", "a")
    assert hs.load(numbers.save(tmp_path / "model")).columns == ("b", "a")
    assert dataclasses.replace(numbers, facts={}).columns == ()


@pytest.mark.parametrize(
    ("rows", "why"),
    [
        ([[1.0, 2.0, 3.0]], "3 numbers came, the model learned from 2"),
        ([[1.0, np.nan]], "NaN or infinity"),
        ([[1.0, np.inf]], "NaN or infinity"),
        ([["x", "y"]], "no numbers"),
        ([1.0, 2.0], "one vector a row"),
    ],
)
def test_vectors_that_the_head_cannot_read_are_refused(numbers, rows, why):
    with pytest.raises(DataError, match=why):
        numbers.predict(rows)
    with pytest.raises(DataError, match=why):
        numbers.predict(Dataset(Modality.VECTOR, np.asarray(rows)))


def test_a_card_comes_back_as_it_was(probe, tmp_path):
    folder = probe.save(tmp_path / "model")
    facts = json.loads((folder / FACTS).read_text())
    assert from_json(facts["source"], folder).preprocess == probe.source_.preprocess


def test_a_model_loaded_by_a_relative_path_is_used_from_anywhere(probe, tmp_path, monkeypatch):
    probe.save(tmp_path / "model")
    text = hs.Transfer(toy_text_source(tmp_path / "bert"), finetune="no").fit(*texts())
    text.save(tmp_path / "text")
    monkeypatch.chdir(tmp_path)
    loaded, read = hs.load("model"), hs.load("text")
    monkeypatch.chdir("/")
    assert loaded.predict(pictures()[0]).tolist() == probe.predict(pictures()[0]).tolist()
    assert read.predict(texts()[0]).tolist() == text.predict(texts()[0]).tolist()


def test_a_model_that_was_moved_away_is_not_called_replaced(probe, tmp_path):
    loaded = hs.load(probe.save(tmp_path / "model"))
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    with pytest.raises(IntegrityError, match="is gone: it was moved or removed"):
        loaded.predict(pictures()[0])


def test_a_model_that_has_answered_is_copied_and_sent(probe):
    rows = pictures()[0]
    said = probe.predict_proba(rows)
    for twin in (copy.deepcopy(probe), pickle.loads(pickle.dumps(probe))):
        np.testing.assert_array_equal(twin.predict_proba(rows), said)


@pytest.mark.parametrize("one", ["path", "pixels", "gray", "picture"])
def test_one_picture_is_not_taken_for_many(probe, tmp_path, one):
    pixels = np.zeros((40, 50, 3), np.uint8)
    given = {
        "path": str(tmp_path / "a.png"), "pixels": pixels, "gray": pixels[..., 0],
        "picture": Image.fromarray(pixels),
    }  # fmt: skip
    with pytest.raises(UsageError, match=r"Put it in a list: \[row\]"):
        probe.predict(given[one])
    assert len(probe.predict(np.stack([pixels, pixels]))) == 2


def test_a_record_is_not_taken_for_a_table(tmp_path):
    model = hs.Transfer(toy_text_source(tmp_path / "bert"), finetune="no").fit(*texts())
    with pytest.raises(UsageError, match=r"Put it in a list: \[row\]"):
        model.predict({"text": "good"})
    assert len(model.predict({"text": ["good", "bad"]})) == 2


def test_texts_that_are_cut_short_are_told_of(tmp_path):
    """The toy reads 64 pieces; what is told apart stands behind them."""
    rows, labels = texts()
    long = ["film " * 200 + row for row in rows]
    source = toy_text_source(tmp_path / "bert")
    model = hs.Transfer(source, finetune="no").fit(long, labels)
    assert any("longer than the" in note and "tokens" in note for note in model.plan_.notes)
    found = model.bundle_.answers(from_arrays(long)).findings
    assert any("longer than the" in one.what for one in found)
    short = hs.Transfer(source, finetune="no").fit(rows, labels)
    assert not any("longer than" in note for note in short.plan_.notes)
    assert not any(
        "longer than" in one.what for one in short.bundle_.answers(from_arrays(rows)).findings
    )


@pytest.mark.parametrize("form", ["state dictionary", "shards"])
def test_weights_of_another_form_are_in_the_folder(form, tmp_path):
    uri = toy_text_source(tmp_path / "bert")
    state, _ = io.read_safetensors(tmp_path / "bert" / "model.safetensors")
    if form == "shards":
        (tmp_path / "bert" / "model.safetensors").rename(tmp_path / "bert" / "one.safetensors")
        index = {"weight_map": dict.fromkeys(state, "one.safetensors")}
        write_json(tmp_path / "bert" / "model.safetensors.index.json", index)
    else:
        (tmp_path / "bert" / "model.safetensors").unlink()
        tensors = {name: torch.from_numpy(array.copy()) for name, array in state.items()}
        torch.save(tensors, tmp_path / "bert" / "pytorch_model.bin")
    model = hs.Transfer(uri, finetune="no").fit(*texts())
    said = model.predict_proba(texts()[0])
    model.save(tmp_path / "model")
    shutil.rmtree(tmp_path / "bert")
    (tmp_path / "model").rename(tmp_path / "elsewhere")
    np.testing.assert_allclose(hs.load(tmp_path / "elsewhere").outputs(texts()[0]), said, atol=1e-5)
    kept = read_weights(resolve(f"run:{tmp_path / 'elsewhere'}"))
    assert kept.keys() == state.keys()
    assert all(np.array_equal(kept[name], state[name]) for name in state)
    assert str(tmp_path) not in (tmp_path / "elsewhere" / FACTS).read_text().replace(uri, "")
