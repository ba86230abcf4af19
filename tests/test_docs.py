"""Every verb, option and public name is documented, and the documents show what is there."""

import re
from pathlib import Path

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
