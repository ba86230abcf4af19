"""The doctor names what will not work and the fix, and says so where all is well."""

import dataclasses
import shutil
import sys
from pathlib import Path

import pytest
from PIL import Image

from headstart import extras
from headstart.cli import doctor
from headstart.sources import catalog, packages
from headstart.sources.added import keep
from tests.test_sources_catalog import save_bundle
from tests.toys import toy_picture_source, toy_text_source


def said(complaints: object) -> str:
    return "\n".join(f"{c.mark}{c.what}: {c.fix}" for c in complaints)  # type: ignore[attr-defined]


def test_a_needed_package_that_is_missing_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "NEEDED", ("torch", "no_such_package"))
    monkeypatch.setattr(doctor, "OPTIONAL", {"no_such_extra": "parquet"})
    missing, extra = doctor._modules()
    assert missing.is_bad
    assert "no_such_package" in missing.what
    assert not extra.is_bad
    assert extra.fix == "pip install 'headstart[parquet]'"


@pytest.mark.parametrize(
    ("state", "mark", "fix"),
    [
        ("ok", "ok  ", ""),
        ("repaired", "note", "repairs this for itself"),
        ("absent", "bad ", "pip install torchvision"),
    ],
)
def test_torchvision_beside_torch(
    monkeypatch: pytest.MonkeyPatch, state: str, mark: str, fix: str
) -> None:
    monkeypatch.setattr(extras, "ensure_torchvision", lambda: state)
    (complaint,) = doctor._torchvision()
    assert complaint.mark == mark
    assert fix in complaint.fix


def test_a_torchvision_that_does_not_import_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> str:
        raise ImportError("undefined symbol")

    monkeypatch.setattr(extras, "ensure_torchvision", broken)
    (complaint,) = doctor._torchvision()
    assert complaint.is_bad
    assert "undefined symbol" in complaint.what


def test_little_space_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(doctor, "free_space_bytes", lambda _: 10**8)
    (complaint,) = doctor._space()
    assert complaint.is_bad
    assert "HEADSTART_HOME" in complaint.fix


def test_wrong_bytes_of_the_shelf_are_bad_and_absent_ones_a_note(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    card = Path(toy_picture_source(tmp_path).removeprefix("file:"))
    absent = card.read_text(encoding="utf-8").replace("toy.safetensors", "none.safetensors")
    (tmp_path / "absent.toml").write_text(absent, encoding="utf-8")
    lines = card.read_text(encoding="utf-8").splitlines()
    bare = "\n".join(line for line in lines if "sha256" not in line)
    (tmp_path / "bare.toml").write_text(bare, encoding="utf-8")
    cards = {name: tmp_path / f"{name}.toml" for name in ("toy", "absent", "bare")}
    monkeypatch.setattr(packages, "cards", lambda: cards)
    monkeypatch.setattr(catalog.packages, "cards", lambda: cards)
    for name in ("toy", "bare"):  # a card need not say the hash
        assert f"ok  pkg:{name}: its SHA-256 is right" in said(doctor._shelf())
    weights = tmp_path / "toy.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    found = said(doctor._shelf())
    assert "bad pkg:toy: wrong bytes" in found
    assert "notepkg:absent is not here" in found


@pytest.mark.parametrize(("label", "n_notes"), [("price", 1), ("mood", 0)])
def test_classes_of_a_single_row_are_told(tmp_path: Path, label: str, n_notes: int) -> None:
    """A column of prices in words holds a class a row."""
    rows = [f"text {i};about {i} and a half;{'ab'[i % 2]}" for i in range(6)]
    (tmp_path / "a.csv").write_text("\n".join(["text;price;mood", *rows]), encoding="utf-8")
    found = said(doctor.examine_data(str(tmp_path / "a.csv"), label=label))
    assert found.count("note6 of 6 classes have a single row: A class is learned") == n_notes


def test_a_store_that_cannot_be_opened_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADSTART_STORE", "nonsense")
    (complaint,) = doctor._store()
    assert complaint.is_bad
    assert "HEADSTART_STORE" in complaint.what


@pytest.fixture
def no_shelf(fresh_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shelf without packages, which are long to verify."""
    monkeypatch.setattr(packages, "cards", dict)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("HEADSTART_THREADS", "x"),
        ("HEADSTART_HOME", "/proc/home"),
        ("HEADSTART_STORE", "postgresql://me@host:port/db"),
    ],
)
def test_a_variable_that_cannot_be_right_is_told_once(
    monkeypatch: pytest.MonkeyPatch, no_shelf: None, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    (bad,) = [one for one in doctor.examine() if one.is_bad and name in one.what + one.fix]
    assert bad.what.startswith(name) and "xpected" in bad.what + bad.fix


def test_what_ends_a_look_is_told_and_the_others_go_on(
    monkeypatch: pytest.MonkeyPatch, no_shelf: None, fresh_home: Path
) -> None:
    monkeypatch.setitem(sys.modules, "headstart.store.store", None)
    card = fresh_home / "sources" / "added" / "x.toml"
    card.parent.mkdir(parents=True)
    card.write_text("nonsense", encoding="utf-8")
    found = said(doctor.examine())
    assert "ok  Python" in found and "GB free for features" in found
    assert "bad ModuleNotFoundError: import of headstart.store.store" in found
    assert f"bad {card} is no card of an added source" in found


def test_data_are_looked_at_as_far_as_it_goes(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in ("ant", "bee"):
        (tmp_path / name).mkdir()
        Image.new("RGB", (40, 40)).save(tmp_path / name / "0.png")
    monkeypatch.setenv("HEADSTART_THREADS", "x")
    assert "bad HEADSTART_THREADS='x'" in said(doctor.examine_data(str(tmp_path)))


def test_added_sources_that_changed_are_bad(
    monkeypatch: pytest.MonkeyPatch, no_shelf: None, tmp_path: Path
) -> None:
    text, picture = toy_text_source(tmp_path / "bert"), toy_picture_source(tmp_path / "toy")
    save_bundle(tmp_path / "run" / "model", catalog.resolve(picture))
    for uri in (text, f"run:{tmp_path / 'run'}"):
        catalog.add(uri)
    assert said(doctor._shelf()).count("ok  ") == 2
    toy_text_source(tmp_path / "bert", seed=9)
    (tmp_path / "run" / "model" / "bundle.json").write_text("{}", encoding="utf-8")
    found = said(doctor._shelf())
    assert f"bad {text}: wrong bytes: {text} has other weights than" in found
    assert f"bad run:{tmp_path / 'run'}: wrong bytes" in found
    shutil.rmtree(tmp_path / "bert")
    assert f"note{text} is not here" in said(doctor._shelf())


def test_the_doctor_downloads_nothing(
    monkeypatch: pytest.MonkeyPatch, no_shelf: None, tmp_path: Path
) -> None:
    source = catalog.resolve(toy_text_source(tmp_path / "bert"))
    keep(dataclasses.replace(source, uri="hf:me/gone"))
    asked: list[str] = []
    monkeypatch.setattr("huggingface_hub.snapshot_download", lambda name, **_: asked.append(name))
    monkeypatch.setenv("HF_HUB_OFFLINE", "0")
    monkeypatch.setenv("HF_HOME", str(tmp_path / "huggingface"))
    assert "notehf:me/gone is not here" in said(doctor._shelf()) and asked == []
