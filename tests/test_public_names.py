"""What `import headstart` offers is what it says, and comes when asked for."""

import subprocess
import sys

import headstart


def test_every_name_is_there_and_has_words():
    for name in headstart.__all__:
        if name != "__version__":
            assert getattr(headstart, name).__doc__, name


def test_all_is_sorted():
    names = [name for name in headstart.__all__ if name != "__version__"]
    assert names == sorted(names)


def test_importing_headstart_imports_nothing_heavy():
    code = "import sys, headstart; print(sorted(m for m in sys.modules if '.' not in m))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "'headstart'" in done.stdout
    for heavy in ("torch", "numpy", "sklearn", "scipy", "PIL", "onnxruntime"):
        assert f"'{heavy}'" not in done.stdout, heavy
