"""Every verb, option and public name is documented, and the documents show what is there."""

import re
import shlex
from pathlib import Path

import pytest
import typer.main

import headstart
from headstart.cli.app import app

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")


def commands():
    return typer.main.get_command(app).commands


def test_every_verb_and_option_is_in_the_reference():
    for name, command in commands().items():
        assert f"headstart {name}" in REFERENCE, name
        for parameter in command.params:
            for option in parameter.opts:
                if option.startswith("--") and option != "--help":
                    assert f"`{option}" in REFERENCE, f"{name} {option}"


def test_every_option_says_what_it_is_for():
    for name, command in commands().items():
        assert command.help, name
        for parameter in command.params:
            assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_every_option_in_the_reference_exists():
    known = {"--help", "--debug", "--version"}
    for command in commands().values():
        for parameter in command.params:
            known |= {*parameter.opts, *parameter.secondary_opts}
    for option in re.findall(r"`(--[a-z-]+)", REFERENCE):
        assert option in known, option


def test_every_public_name_is_in_the_reference():
    for name in headstart.__all__:
        assert re.search(rf"`{name}[`(]", REFERENCE), name


def test_the_readme_names_rooms_that_are_there():
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    for room in re.findall(r"^(\w+)/ ", readme, re.M):
        assert (ROOT / "src" / "headstart" / room).is_dir(), room


def test_links_lead_somewhere():
    for page in (ROOT / "README.md", ROOT / "docs" / "reference.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert link.startswith("http") or (page.parent / link).exists(), link


PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md"])


def blocks(page, language):
    """Return the fenced blocks of a page that are in a language ("" for a shell)."""
    text = page.read_text(encoding="utf-8")
    return [body for said, body in re.findall(r"^```(\w*)\n(.*?)^```", text, re.M | re.S)
            if said == language]  # fmt: skip


def shown_commands():
    """Return every `headstart` command that a document tells a person to type."""
    for page in PAGES:
        for body in blocks(page, ""):
            for line in body.splitlines():
                if line.startswith("headstart "):
                    yield page.name, re.split(r"\s{3,}", line)[0]


@pytest.mark.parametrize(("page", "line"), list(shown_commands()))
def test_every_command_that_is_shown_can_be_typed(page, line):
    verb, *words = shlex.split(line)[1:]
    context = commands()[verb].make_context(verb, words)
    assert not context.args
    for word in words:
        if word.startswith("src/headstart"):
            assert (ROOT / word).exists(), word


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_example_is_python(page):
    for body in blocks(page, "python"):
        compile(body, page.name, "exec")


@pytest.mark.parametrize(
    "name", ["when-to-transfer", "kinds-of-transfer", "transfer-against-training"]
)
def test_each_page_has_a_command_on_the_demo_data(name):
    demo = ("src/headstart/cli/demo_data/", "headstart demo", " emoji")
    shown = [line for page, line in shown_commands() if page == f"{name}.md"]
    assert [line for line in shown if any(part in line for part in demo)], shown
