"""The bench itself: what a study must look like, what the runner makes of it; nothing is timed."""

import doctest
import inspect
import json

import pytest

from bench import measure, run
from bench.measure import Row, Skip, Study


@pytest.mark.parametrize("name", run.names())
def test_a_study_is_told_and_its_sizes_are_its_arguments(name):
    module = run.named(name)
    assert module.__doc__
    for size, arguments in run.sizes(name).items():
        assert size in run.REPEATS
        inspect.signature(module.study).bind(1, **arguments)


def test_the_examples_of_measure_hold():
    assert doctest.testmod(measure).failed == 0


def found(value):
    return Study("A title.", (Row("speed", (value, 2.0, 9.0), "×", at_least=2),), ("a note",))


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A runner with one study, which finds what it is told."""

    class Module:
        SIZES = {"tiny": {"value": 1.0}, "quick": {"value": 2.0}}

        @staticmethod
        def study(repeats, value=5.0):
            if value < 0:
                raise Skip("no data")
            return found(value)

    monkeypatch.setattr(run, "named", lambda name: Module)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run, "HERE", tmp_path)
    return Module


def test_a_quick_run_is_kept_and_told(study, tmp_path):
    assert run.run("toy", "quick", 3)
    kept = json.loads((tmp_path / "results" / "toy.json").read_text("utf-8"))
    assert kept["size"] == "quick"
    assert kept["rows"][0]["values"] == [2.0, 2.0, 9.0]
    assert kept["machine"]["threads"] >= 1
    run.write_report()
    told = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert "| speed | 2 × | 2 – 9 | 3 | ≥ 2 | yes |" in told
    assert "a note" in told


def test_a_tiny_run_judges_nothing_and_keeps_nothing(study, tmp_path):
    assert run.run("toy", "tiny", 1)
    assert list(tmp_path.iterdir()) == []


def test_a_missed_target_fails_the_run(study):
    study.SIZES["quick"]["value"] = 1.0
    assert run.run("toy", "quick", 3)  # the median is 2
    study.study = staticmethod(
        lambda repeats, value: Study("", (Row("speed", (1.0,), at_least=2),))
    )
    assert not run.run("toy", "quick", 3)


def test_a_study_that_breaks_fails_and_one_without_data_does_not(study, capsys):
    study.SIZES["quick"]["value"] = -1.0
    assert run.run("toy", "quick", 3)
    assert "skipped: no data" in capsys.readouterr().out
    study.SIZES["quick"]["other"] = 1.0
    assert not run.run("toy", "quick", 3)
