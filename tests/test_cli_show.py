"""What is shown fits the terminal it is shown on, and a pipe gets it whole."""

import io

import pytest
from rich.console import Console
from rich.progress import Progress

from headstart.cli import show
from headstart.cli.bars import columns

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
