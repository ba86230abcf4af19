"""What is shown fits the terminal it is shown on, and a pipe gets it whole."""

import csv
import io
from types import SimpleNamespace

import pytest
from rich.console import Console
from rich.progress import Progress

from headstart.cli import show
from headstart.cli.bars import columns
from headstart.cli.cache import Swept, Verified

ROWS = [("pkg:one", "image", "a" * 60), ("pkg:two", "text", "")]


def shown(capsys: pytest.CaptureFixture[str]) -> list[str]:
    show.table(("source", "reads", "license"), ROWS)
    return capsys.readouterr().out.splitlines()


def test_a_table_is_aligned_where_there_is_room(capsys: pytest.CaptureFixture[str]) -> None:
    assert shown(capsys) == [
        "source   reads  license",
        f"pkg:one  image  {'a' * 60}",
        "pkg:two  text",
    ]


def test_a_narrow_terminal_gets_a_block_a_row(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(show, "room", lambda: 40.0)
    assert shown(capsys) == [
        "pkg:one",
        "  reads    image",
        f"  license  {'a' * 60}",
        "pkg:two",
        "  reads    text",
    ]


@pytest.mark.parametrize("width", [50, 60, 89, 90, 120])
def test_the_time_left_is_never_cut(width: int) -> None:
    text = io.StringIO()
    console = Console(file=text, width=width, force_terminal=True, color_system=None)
    with Progress(*columns(width), console=console) as bars:
        token = bars.add_task("train", total=1000, unit="epochs", last="validation loss 0.1234")
        bars.update(token, completed=1)
        console.print(*bars.get_renderables())
    line = [line for line in text.getvalue().splitlines() if "train" in line][-1]
    assert "1/1000" in line
    assert "-:--:--" in line  # what is said before the speed is known, as wide as 0:00:00


def test_one_file_is_no_files(capsys: pytest.CaptureFixture[str]) -> None:
    show.verified(Verified(1, ()))
    show.verified(Verified(2, ("features/b.npy",)))
    show.swept(Swept(("features/a.npy",), 10))
    said = capsys.readouterr().out
    assert "checked    1 file, 0 damaged" in said
    assert "more, of 1 file\n" in said
    assert "damaged    features/b.npy: removed; it is made again" in said


def test_classes_that_are_called_as_the_table_calls_its_columns_lose_nothing(tmp_path):
    found = [
        {"name": "row 0", "prediction": "error", "outputs": {"error": 0.9, "name": 0.1},
         "unlike": True},
        {"name": "row 1", "error": "cannot be read"},
    ]  # fmt: skip
    show.write_csv(tmp_path / "out.csv", found)
    with (tmp_path / "out.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert list(first.values()) == ["row 0", "error", "0.9", "0.1", "yes", ""]
    assert list(first) == ["name", "prediction", "p(error)", "p(name)", "unlike", "error"]
    assert second["name"] == "row 1" and second["error"] == "cannot be read"


def test_a_command_to_copy_is_quoted(capsys):
    plan = SimpleNamespace(outcome_lines=list, notes=())
    show.fit({"run": "my runs/$it", "model": "m", "scores": {}, "skipped": []}, plan)
    assert "predict    headstart predict 'my runs/$it' NEW…\n" in capsys.readouterr().out
