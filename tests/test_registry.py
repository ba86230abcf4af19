"""registry.py: names, ours and those of installed packages."""

import pytest

from headstart.errors import UsageError
from headstart.registry import Registry


def make():
    return Registry("headstart.heads", {"linear": "math:pi", "mlp": 2})


def test_own_names_are_loaded_when_asked():
    registry = make()
    assert registry.get("mlp") == 2
    assert registry.get("linear") == pytest.approx(3.14159, abs=1e-5)


def test_an_unknown_name_lists_the_nearest():
    with pytest.raises(UsageError, match=r"head='liner' is unknown(.|\n)*mean 'linear'"):
        make().get("liner")


def test_a_name_is_given_once():
    registry = make()
    assert registry.add("mine", 3) == registry.get("mine") == 3
    with pytest.raises(UsageError, match="exists already"):
        registry.add("linear", 3)


def test_packages_bring_their_own_and_shadow_nothing(tmp_path, monkeypatch):
    info = tmp_path / "plugin-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: plugin\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[headstart.heads]\ntau = math:tau\nmlp = math:e\n")
    monkeypatch.syspath_prepend(tmp_path)
    registry = make()
    assert registry.names() == ("linear", "mlp", "tau")
    assert registry.get("tau") == pytest.approx(6.28319, abs=1e-5)
    assert registry.get("mlp") == 2
