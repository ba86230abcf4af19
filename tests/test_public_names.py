"""What `import headstart` offers is what it says, and comes when asked for."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import headstart


def test_every_name_is_there_and_has_words():
    for name in headstart.__all__:
        if name != "__version__":
            assert getattr(headstart, name).__doc__, name


def test_all_is_sorted():
    names = [name for name in headstart.__all__ if name != "__version__"]
    assert names == sorted(names)


def test_windows_is_told_where_to_run_it():
    code = "import sys; sys.platform = 'win32'; import headstart.io"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert "ImportError: Headstart runs on Linux and macOS" in done.stderr
    assert "WSL" in done.stderr


def test_importing_headstart_imports_nothing_heavy():
    code = "import sys, headstart; print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'headstart'" in done.stdout
    for heavy in ("torch", "numpy", "sklearn", "scipy", "PIL", "onnxruntime"):
        assert f"'{heavy}'" not in done.stdout, heavy


def test_a_type_checker_knows_which_names_there_are():
    """With a `__getattr__` in sight it would take a misspelled name for one of ours."""
    tree = ast.parse(Path(headstart.__file__).read_text(encoding="utf-8"))
    assert not [node for node in tree.body if getattr(node, "name", "") == "__getattr__"]
    with pytest.raises(AttributeError, match="no attribute 'Tranfer'"):
        headstart.Tranfer  # noqa: B018
