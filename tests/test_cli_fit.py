"""Options of `fit` that would do nothing are refused before anything is read."""

import dataclasses

import pytest
from typer.testing import CliRunner

from headstart.cli.app import app
from headstart.cli.options import columns_of
from headstart.cli.step5 import phase
from headstart.errors import DataError, UsageError
from headstart.steps.phase import FEW_TEXTS
from headstart.task import Modality
from headstart.transfer.transfer import Transfer


def failed(*words):
    """Return what `fit` raises of data that are not there: not a word of them, if it is refused."""
    return CliRunner().invoke(app, ["fit", "nowhere", *words]).exception


@pytest.mark.parametrize(
    "words", [("--budget", "banana"), ("--budget", "90s"), ("--remedies", "0s"), ("--seeds", "5")]
)
def test_how_to_prove_is_refused_where_nothing_is_proved(words):
    error = failed(*words)
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"{words[0]}: ") and f"--prove {words[0]}" in str(error)
    assert isinstance(failed(), DataError)


@pytest.mark.parametrize(
    "words",
    [("--epochs", "3"), ("--rate", "1e-4"), ("--optimizer", "sgd"), ("--cache-max", "1")],
)
@pytest.mark.parametrize(
    "asked", [("--finetune", "no"), ("--finetune", "head", "--source", "scratch:pkg:x")]
)
def test_how_step_5_learns_is_refused_where_it_is_left_out(words, asked):
    error = failed(*asked, *words)
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"{words[0]}: ") and f"--finetune {asked[1]}" in str(error)


@pytest.mark.parametrize(
    "words",
    [
        ("--finetune", "no"),
        ("--finetune", "last:25%", "--epochs", "3"),
        ("--finetune", "no", "--epochs", "3", "--source", "scratch:pkg:x"),
    ],
)
def test_what_does_something_is_taken(words):
    assert isinstance(failed(*words), DataError)


def test_columns_of_a_table_are_none_of_a_folder_beside_it(tmp_path, monkeypatch):
    columns = {"label": "mood", "separator": ";", "kind": None, "strict": True}
    table, folder = str(tmp_path / "t.csv"), str(tmp_path)
    monkeypatch.setenv("HOME", folder)
    for named in (folder, "~"):
        assert columns_of(named, table, columns) == {"kind": None, "strict": True}
    assert columns_of(table, table, columns) == columns
    assert columns_of(table, folder, columns) == columns  # they were told of the folder's tables


def test_rows_of_numbers_have_no_step_5_to_tell_how_to_learn(tmp_path):
    table = tmp_path / "numbers.csv"
    rows = [f"{i},{i % 7},{'ab'[i % 2]}" for i in range(30)]
    table.write_text("\n".join(["height,width,label", *rows]) + "\n")
    words = ["fit", str(table), "--label", "label", "--epochs", "3", "--out", str(tmp_path / "run")]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, UsageError)
    assert str(error).startswith("--epochs: ") and "rows of numbers" in str(error)
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words", [("--epochs", "0"), ("--rate", "-1"), ("--optimizer", "lion"), ("--cache-max", "0")]
)
def test_a_value_that_makes_no_sense_is_told_by_its_option(words):
    error = failed(*words)
    assert isinstance(error, UsageError)
    assert str(error).startswith(f"{words[0]} {words[1]}") and "Phase" not in str(error)


def test_few_learn_by_their_own_recipe_kept_or_not():
    given = {"epochs": 3}
    few, kept, usual = (
        phase("pkg:all-minilm-l6-v2", Modality.TEXT, asked, given)
        for asked in ("few", "only:few", "last:25%")
    )
    assert few == kept == dataclasses.replace(FEW_TEXTS, epochs=3) != usual


def test_an_unknown_head_is_told_before_anything_is_read():
    assert "head='svm' is unknown" in str(failed("--head", "svm"))


@pytest.mark.parametrize("name", ["", "file"])
def test_a_run_goes_to_a_folder_that_has_a_name(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "file").touch()
    done = CliRunner().invoke(app, ["fit", "nowhere", "--out", name])
    assert done.exit_code == 2 and "--out" in done.stderr


def test_a_model_that_is_none_is_told_before_the_fit(tmp_path, monkeypatch):
    monkeypatch.setattr(Transfer, "fit", lambda *_: pytest.fail("it was fitted"))
    (tmp_path / "numbers.csv").write_text("x,label\n" + "1,low\n2,high\n" * 10)
    (tmp_path / "run" / "model").mkdir(parents=True)
    (tmp_path / "run" / "model" / "notes.txt").touch()
    words = ["fit", str(tmp_path / "numbers.csv"), "--out", str(tmp_path / "run")]
    error = CliRunner().invoke(app, words).exception
    assert isinstance(error, UsageError) and "run/model exists and holds" in str(error)


def test_a_folder_in_ones_home_is_that_for_all_that_is_written(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path / "me"))
    monkeypatch.chdir(tmp_path)
    (tmp_path / "numbers.csv").write_text("x,label\n" + "1,low\n2,high\n" * 10)
    done = CliRunner().invoke(app, ["fit", "numbers.csv", "--quiet", "--out=~/run"])
    assert done.exit_code == 0, done.output
    run = tmp_path / "me" / "run"
    assert f"model      {run / 'model'}\n" in done.stdout
    assert (run / "run.json").is_file() and (run / "model").is_dir()
    assert not (tmp_path / "~").exists()
    lacking = CliRunner().invoke(app, ["report", "~/run"]).exception
    assert isinstance(lacking, UsageError) and str(lacking).startswith(f"{run} holds no evidence")
