"""Every verb, option and public name is documented, and the documents show what is there."""

import ast
import contextlib
import importlib
import inspect
import json
import re
import shlex
import statistics
import typing
from pathlib import Path

import pytest
import typer.main

import headstart
from headstart.cli.app import app
from headstart.heads.head import HEADS
from headstart.sources import packages

ROOT = Path(__file__).parent.parent
REFERENCE = (ROOT / "docs" / "reference.md").read_text(encoding="utf-8")
README = (ROOT / "README.md").read_text(encoding="utf-8")

#: What the reference says of each verb, and what it says before and after these of several.
OF_VERBS, _, AFTER = REFERENCE.partition("### Going on")
BEFORE, *_PARTS = re.split(r"^### `headstart (\w+).*\n", OF_VERBS, flags=re.M)
SECTIONS = dict(zip(_PARTS[::2], _PARTS[1::2], strict=True))


def commands():
    return typer.main.get_command(app).commands


def options_of(command):
    """Return every long option of a verb, those that say no too."""
    return {
        option
        for parameter in command.params
        for option in (*parameter.opts, *parameter.secondary_opts)
        if option.startswith("--")
    }


def is_said(verb, option):
    """Tell whether the reference has an option where it speaks of a verb, alone or with others."""
    shared = [said for said in re.split(r"[.;:]\s", BEFORE + AFTER) if f"`{option}`" in said]
    of_it = any("Every verb" in said or f"`{verb}`" in said for said in shared)
    return of_it or re.search(rf"`{option}[`= ]", SECTIONS[verb]) is not None


def test_every_verb_and_option_is_in_the_reference():
    assert SECTIONS.keys() == commands().keys()
    for name, command in commands().items():
        for parameter in command.params:
            negated = any(is_said(name, option) for option in parameter.secondary_opts)
            for option in parameter.opts:
                if option.startswith("--") and option != "--help" and not negated:
                    assert is_said(name, option), f"{name} {option}"


def test_an_option_counts_where_its_verb_is_spoken_of():
    assert is_said("fit", "--head") and not is_said("prove", "--head")
    assert is_said("rank", "--fresh") and not is_said("predict", "--fresh")


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
    for name, command in commands().items():  # where a verb speaks of another's, it is of `fit`
        own = options_of(command) | options_of(commands()["fit"])
        for option in re.findall(r"`(--[a-z-]+)", SECTIONS[name]):
            assert option in own, f"{name} {option}"


def messages():
    """Return (file, text) of every text in the package that is no docstring."""
    for path in sorted((ROOT / "src" / "headstart").rglob("*.py")):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        alone = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                if id(node) not in alone:
                    yield path.name, node.value


def test_every_command_that_a_message_advises_exists():
    known = {"--help", "--debug", "--version", "--no-deps"}  # the last is one of pip
    for command in commands().values():
        known |= options_of(command)
    for file, text in messages():
        for option in re.findall(r"(?<![\w-])--[a-z][a-z-]*[a-z]", text):
            assert option in known, f"{file}: {option}"
        for verb, option in re.findall(r"headstart (\w+) [^`\n]*?(--[a-z][a-z-]*[a-z])", text):
            assert option in options_of(commands()[verb]), f"{file}: {verb} {option}"


def test_other_packages_add_by_the_groups_that_are_read():
    contributing = (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    for page in (REFERENCE, contributing):
        assert set(re.findall(r"`(headstart\.\w+)`", page)) == {HEADS.group, packages.GROUP}


def test_what_make_installs_is_made_a_command():
    for page in ("README.md", "CONTRIBUTING.md", "docs/reference.md"):
        assert ". .venv/bin/activate" in (ROOT / page).read_text(encoding="utf-8"), page
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert "BIN = .venv/bin\n" in makefile and ". $(BIN)/activate" in makefile


def test_every_public_name_is_in_the_reference():
    for name in headstart.__all__:
        assert re.search(rf"`{name}[`(]", REFERENCE), name


def test_the_readme_names_rooms_that_are_there():
    for room in re.findall(r"^(\w+)/ ", README, re.M):
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


class Example(ast.NodeVisitor):
    """What the names of an example mean: things of the package, and instances of its classes.

    Visiting raises where one of these has no such name, or is called as it cannot be.
    """

    def __init__(self):
        self.things, self.kinds = {"hs": headstart}, {}

    def visit_ImportFrom(self, node):
        if node.module.partition(".")[0] == "headstart":
            module = importlib.import_module(node.module)
            self.things |= {one.asname or one.name: getattr(module, one.name) for one in node.names}

    def visit_Assign(self, node):
        _, kind = self.visit(node.value) or (None, None)
        self.kinds |= {one.id: kind for one in node.targets if isinstance(one, ast.Name)}

    def visit_Name(self, node):
        return self.things.get(node.id), self.kinds.get(node.id)

    def visit_Attribute(self, node):
        """Return the thing it is, None where that is unknown: what a fit learned, a field."""
        thing, kind = self.visit(node.value) or (None, None)
        if kind is not None and node.attr not in getattr(kind, "__dataclass_fields__", {}):
            return None if node.attr.endswith("_") else (getattr(kind, node.attr), kind)
        return None if thing is None else (getattr(thing, node.attr), None)

    def visit_Call(self, node):
        """Return the kind of thing that comes of it."""
        for inner in (*node.args, *node.keywords):
            self.visit(inner)
        thing, kind = self.visit(node.func) or (None, None)
        if thing is None:
            return None
        given = [None] * (len(node.args) + (kind is not None))  # a method has its instance first
        inspect.signature(thing).bind(*given, **{one.arg: None for one in node.keywords})
        if inspect.isclass(thing):
            return None, thing
        with contextlib.suppress(NameError):
            made = typing.get_type_hints(thing).get("return")
            return None, kind if made is typing.Self else made if inspect.isclass(made) else None
        return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_python_example_names_what_is_there(page):
    for body in blocks(page, "python"):
        Example().visit(ast.parse(body))


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("hs.nonsense()", AttributeError),
        ("hs.prove(model, data, seed=3)", TypeError),
        ("print(hs.load('runs/pets').foresee(['new.jpg']))", AttributeError),
        ("hs.Transfer(origin='auto')", TypeError),
        ("model = hs.Transfer('auto').fit(data)\nmodel.save()", TypeError),
        ("from headstart.data.readers import write", AttributeError),
    ],
)
def test_a_python_example_of_what_is_not_there_is_found(body, error):
    with pytest.raises(error):
        Example().visit(ast.parse(body))


@pytest.mark.parametrize(
    "name", ["when-to-transfer", "kinds-of-transfer", "transfer-against-training"]
)
def test_each_page_has_a_command_on_the_demo_data(name):
    demo = ("src/headstart/cli/demo_data/", "headstart demo", " emoji")
    shown = [line for page, line in shown_commands() if page == f"{name}.md"]
    assert [line for line in shown if any(part in line for part in demo)], shown


def measured(study, *whats):
    """Return the medians of what a study measured."""
    found = json.loads((ROOT / "bench" / "results" / f"{study}.json").read_text(encoding="utf-8"))
    rows = {row["what"]: statistics.median(row["values"]) for row in found["rows"]}
    return [rows[what] for what in whats]


def lost(way):
    """Return the points of accuracy that a way to choose a source loses, a set of data each."""
    pictures = ("hymenoptera", "pacs photo", "pacs cartoon", "pacs sketch", "emoji", "digits",
                "fashion-mnist")  # fmt: skip
    return [
        measured("rank", *(f"{name}: points lost by {way}" for name in names))
        for names in (pictures, ("banking77", "emoji names"))
    ]


@pytest.mark.parametrize(
    ("said", "way"),
    [
        ("by `headstart fit --source auto`", "ranking, whole sources"),
        ("by LogME", "LogME"),
        ("the largest model", "largest model"),
    ],
)
def test_the_readme_says_what_a_choice_of_source_was_measured_to_lose(said, way):
    pictures, texts = lost(way)
    mean, most, of_texts = statistics.mean(pictures), max(pictures), statistics.mean(texts)
    line = f"| {said} | {mean:.1f}, {most:.1f} | {of_texts:.1f} |".replace("-0", "−0")
    assert line in README


@pytest.mark.parametrize(
    ("said", "study", "whats", "scale"),
    [
        ("`headstart --help` takes {:.2f} s, `import headstart` {:.0f} ms", "startup",
         ("`headstart --help`, whole process", "`import headstart`, inside Python"), (1e-3, 1)),
        ("a processor with bfloat16) | the tutorial takes {:.0f} × as long", "tutorial",
         ("peer / trunk kept",), (1,)),
        ("takes {:.2f} × one forward pass a source", "rank_cost", ("ranking / passes",), (1,)),
        ("(a verdict of two seeds says so) | {:.0f} % |", "statistics",
         ("seeds are 85 %, 2 seeds: A/A, arms given",), (100,)),
        ("{:.0f} s (a processor without bfloat16) | the tutorial takes {:.0f} × as long, Keras's "
         "guide {:.0f} ×, fastai {:.0f} ×, scikit-learn {:.1f} × |", "frozen-hymenoptera",
         ("hymenoptera: ours, frozen", *(f"hymenoptera: time of {peer} / ours, frozen" for peer in
          ("tutorial", "Keras guide", "fastai", "scikit-learn"))), (1,) * 5),
        ("{:.0f} s (a processor with AVX-512 BF16) | the tutorial takes {:.0f} × as long, Keras's "
         "guide {:.0f} ×, fastai {:.0f} ×, scikit-learn {:.1f} × |", "frozen-pacs-photo",
         ("pacs photo: ours, frozen", *(f"pacs photo: time of {peer} / ours, frozen" for peer in
          ("tutorial", "Keras guide", "fastai", "scikit-learn"))), (1,) * 5),
        ("(PACS), 280 others to learn from (`--full frozen/pacs-photo`) | {:.0f}; scikit-learn on "
         "the same network's features: {:.0f}; the tutorial's recipe and fastai: {:.0f}; Keras's "
         "guide: {:.0f} |", "frozen-pacs-photo",
         tuple(f"pacs photo: {side}, accuracy" for side in
               ("ours, frozen", "scikit-learn", "tutorial", "Keras guide")), (280,) * 4),
        ("{:.0f} s | the tutorial takes {:.0f} × as long, Keras's guide {:.0f} ×, fastai {:.0f} ×, "
         "scikit-learn {:.1f} × |", "frozen-fashion",
         ("fashion: ours, frozen", *(f"fashion: time of {peer} / ours, frozen" for peer in
          ("tutorial", "Keras guide", "fastai", "scikit-learn"))), (1,) * 5),
        ("in one round) | {:.0f}; scikit-learn on the same network's features: {:.0f}; Keras's "
         "guide: {:.0f}; the tutorial's recipe: {:.0f}; fastai: {:.0f} |", "frozen-fashion",
         tuple(f"fashion: {side}, accuracy" for side in
               ("ours, frozen", "scikit-learn", "Keras guide", "tutorial", "fastai")),
         (1000,) * 5),
        ("{:.1f} ×, {:.1f} ×, {:.1f} × |", "extraction",
         tuple(f"`extract` / {peer}" for peer in
               ("raw ONNX Runtime", "PyTorch compiled", "PyTorch eager, untuned")), (1,) * 3),
        ("frozen: accuracy {:.3f}; TF-IDF with logistic regression {:.3f}", "banking77",
         ("accuracy", "TF-IDF with logistic regression, accuracy"), (1, 1)),
    ],
)  # fmt: skip
def test_the_readme_says_what_was_measured(said, study, whats, scale):
    values = [one * by for one, by in zip(measured(study, *whats), scale, strict=True)]
    assert said.format(*values) in " ".join(README.split())


def test_the_readme_says_when_the_tutorial_was_timed():
    path = ROOT / "bench" / "results" / "tutorial.json"
    date = json.loads(path.read_text(encoding="utf-8"))["rounds"][-1]["date"]
    assert f"the trunk compiled by an earlier fit, frozen ({date}," in README
