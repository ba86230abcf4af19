"""The law of the house: a room imports only rooms below it, and no more than that."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "headstart"

#: From the roof to the ground; files of one room may import each other.
FLOORS = (
    "cli",
    "web",
    "deploy",
    "evidence",
    "scenarios",
    "transfer",
    "ranking",
    "steps",
    "bundle",
    "checks",
    "losses",
    "heads",
    "features",
    "sources",
    "metrics",
    "data",
    "ground",
)
GROUND = {
    "errors", "task", "extras", "machine", "progress", "registry", "drafts", "io", "lock",
    "tensors", "store", "runs", "jobs", "stopping", "units",
}  # fmt: skip
#: What may use a bundle and nothing that made it.
OVER_BUNDLE_ONLY = {"deploy": {"evidence", "scenarios", "transfer", "ranking", "steps"}}

#: Modules that must be importable where torch is not: `predict` needs no more.
TORCH_FREE = (
    "headstart.errors",
    "headstart.task",
    "headstart.extras",
    "headstart.machine",
    "headstart.progress",
    "headstart.registry",
    "headstart.io",
    "headstart.tensors",
    "headstart.store.database",
    "headstart.store.schema",
    "headstart.store.store",
    "headstart.store.leases",
    "headstart.runs",
    "headstart.checks.examine",
    "headstart.checks.shift",
    "headstart.data.dataset",
    "headstart.data.readers",
    "headstart.data.pictures",
    "headstart.sources.source",
    "headstart.sources.preprocess",
    "headstart.sources.catalog",
    "headstart.features.features",
    "headstart.features.inputs",
    "headstart.features.compile",
    "headstart.features.engine",
    "headstart.features.cache",
    "headstart.features.extract",
    "headstart.heads.linear",
    "headstart.heads.tags",
    "headstart.bundle.load",
    "headstart.transfer.transfer",
    "headstart.cli.app",
)

#: "headstart.heads.linear" or "headstart.heads.linear:LinearHead": a lookup by name is an import.
NAMED = re.compile(r"headstart(\.\w+)+(:\w+)?")

FILES = sorted(SOURCE.rglob("*.py"))


def room_of(module):
    """'headstart.heads.linear' → 'heads'; 'headstart.io' → 'ground'; 'headstart' → None."""
    parts = module.split(".")
    if len(parts) == 1:
        return None
    return "ground" if parts[1] in GROUND else parts[1]


def imports(tree):
    """Every (line, module) that is imported, early, late, for types only, or by name."""
    docstrings = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.lineno, "." * node.level + (node.module or "")
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if id(node) not in docstrings and NAMED.fullmatch(node.value):
                yield node.lineno, node.value.partition(":")[0]


def offences(path, text):
    """What a file does against the law, a sentence each."""
    module = ".".join(("headstart", *path.relative_to(SOURCE).with_suffix("").parts))
    here = room_of(module.removesuffix(".__init__"))
    for line, imported in imports(ast.parse(text)):
        if imported.startswith("."):
            yield f"{path}:{line}: relative import {imported}"
        elif imported == "headstart":
            yield f"{path}:{line}: imports the top; write 'from headstart.io import …'"
        elif imported.startswith("headstart."):
            there = room_of(imported)
            if there not in FLOORS:
                yield f"{path}:{line}: {imported} is in no known room"
            elif FLOORS.index(there) < FLOORS.index(here):
                yield f"{path}:{line}: {here} imports {there}, a room above it"
            elif there in OVER_BUNDLE_ONLY.get(here, ()):
                yield f"{path}:{line}: {here} stands on bundle and may not import {there}"


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(SOURCE)))
def test_imports_go_down(path):
    if path == SOURCE / "__init__.py":
        return
    assert list(offences(path, path.read_text(encoding="utf-8"))) == []


@pytest.mark.parametrize(
    "line",
    [
        "from headstart.transfer.plan import Plan",
        "def late():\n    import headstart.cli.app",
        "if TYPE_CHECKING:\n    from headstart.bundle.bundle import Bundle",
        "heads = Registry('headstart.losses')",
        "thing = 'headstart.steps.loop:run'",
        "from .linear import LinearHead",
        "from . import linear",
        "from headstart import read",
        "import headstart",
        "from headstart.attic import junk",
    ],
)
def test_the_law_is_enforced(line):
    assert len(list(offences(SOURCE / "heads" / "head.py", line))) == 1


@pytest.mark.parametrize(
    "line",
    [
        "from headstart.features.features import Features",
        "from headstart.heads.linear import LinearHead",
        "import headstart.io",
        "heads = Registry('headstart.heads', {'linear': 'headstart.heads.linear:LinearHead'})",
        '"""headstart.cli.app"""',
    ],
)
def test_what_is_allowed(line):
    assert list(offences(SOURCE / "heads" / "head.py", line)) == []


def test_deploy_stands_on_the_bundle():
    at = SOURCE / "deploy" / "onnx.py"
    assert list(offences(at, "from headstart.bundle.load import load")) == []
    assert len(list(offences(at, "from headstart.steps.loop import run"))) == 1


def test_every_init_but_the_top_is_empty():
    inits = [path for path in SOURCE.rglob("__init__.py") if path.parent != SOURCE]
    assert inits
    assert [path for path in inits if path.stat().st_size] == []


def test_every_room_is_known():
    rooms = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    files = {path.stem for path in SOURCE.glob("*.py")} - {"__init__"}
    assert rooms | files <= set(FLOORS) | GROUND


def there(module):
    at = SOURCE.joinpath(*module.split(".")[1:])
    return at.with_suffix(".py").exists()


def python(code):
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)


BLOCKED = """
import importlib, sys

class Blocker:
    # `sys.modules["torch"] = None` would not do: scipy takes that for a torch that is there.
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in ("torch", "timm", "transformers", "torchvision"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)

sys.meta_path.insert(0, Blocker())
"""


def test_what_needs_no_torch_is_importable_without_it():
    modules = [module for module in TORCH_FREE if there(module)]
    result = python(f"{BLOCKED}\nfor name in {modules!r}:\n    importlib.import_module(name)")
    assert result.returncode == 0, result.stderr


def test_the_block_blocks():
    assert "torch is blocked" in python(f"{BLOCKED}\nimport torch").stderr


def test_the_top_imports_nothing_heavy():
    result = python(
        "import sys, headstart\n"
        "print(sorted({'numpy', 'torch', 'sklearn', 'sqlalchemy', 'PIL'} & set(sys.modules)))"
    )
    assert result.stdout.strip() == "[]", result.stderr
