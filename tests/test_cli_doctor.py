"""The doctor names what will not work and the fix, and says so where all is well."""

from pathlib import Path

import pytest

from headstart import extras
from headstart.cli import doctor
from headstart.sources import catalog, packages
from tests.toys import toy_picture_source


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
    cards = {"toy": card, "absent": tmp_path / "absent.toml"}
    monkeypatch.setattr(packages, "cards", lambda: cards)
    monkeypatch.setattr(catalog.packages, "cards", lambda: cards)
    assert "ok  pkg:toy: its SHA-256 is right" in said(doctor._shelf())
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
    assert "HEADSTART_STORE" in complaint.fix
