"""`headstart rank`, `sources` and their words on the command line."""

import json
import shlex
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from headstart.cli import ranked
from headstart.cli.app import app
from headstart.errors import DataError, UsageError
from headstart.sources.added import Addition
from tests.toys import toy_picture_source, toy_text_source


def run(*arguments):
    return CliRunner().invoke(app, [str(one) for one in arguments])


@pytest.fixture
def reviews(tmp_path):
    path = tmp_path / "reviews.csv"
    rows = [f"a {'bad good'.split()[i % 2]} film {i},{'no yes'.split()[i % 2]}" for i in range(40)]
    path.write_text("text,label\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def source(tmp_path, fresh_home):
    return toy_text_source(tmp_path / "bert")


def test_the_table_is_one_to_act_on(reviews, source, tmp_path):
    picture = toy_picture_source(tmp_path / "picture")
    done = run("rank", reviews, "--sources", f"{source},{picture}", "--quiet")
    assert done.exit_code == 0, done.output
    for said in ("accuracy, 95 %", "latency", "memory", "parameters", "license", "trained on",
                 "LogME", "H-score", "TransRate", "5-NN", "left out"):  # fmt: skip
        assert said in done.stdout
    assert f"next       headstart fit {reviews} --source {source}" in done.stdout


def test_json_holds_everything(reviews, source):
    done = run("rank", reviews, "--sources", source, "--json", "--quiet", "--budget", "10m")
    (row,) = json.loads(done.stdout)["rows"]
    names = "score difference by_boundary logme leep n_agreeing distance latency_ms memory_bytes"
    assert {*names.split(), "finetuned", "license", "trained_on"} <= set(row)


@pytest.mark.parametrize("option", ["--license", "--licence"])
def test_limits_are_read_with_their_units(reviews, source, option):
    done = run("rank", reviews, "--sources", source, option, "permissive", "--quiet")
    assert isinstance(done.exception, Exception) and "asked for: permissive" in str(done.exception)
    done = run("rank", reviews, "--sources", source, "--max-params", "10", "--quiet")
    assert "M parameters; at most" in str(done.exception)
    done = run("rank", reviews, "--sources", source, "--max-params", "10M",
               "--max-latency", "20s", "--quiet")  # fmt: skip
    assert done.exit_code == 0, done.output
    for wrong in (
        ("--max-params", "many"),
        ("--max-latency", "soon"),
        ("--budget", "later"),
        ("--budget", "0"),
    ):
        assert isinstance(run("rank", reviews, *wrong).exception, UsageError)


def test_sources_may_stand_after_a_space(reviews, monkeypatch):
    asked = []
    monkeypatch.setattr("headstart.ranking.rank.rank", lambda _, **more: asked.append(more))
    run("rank", reviews, "--sources", "pkg:one, pkg:two", "--quiet")
    assert [one["sources"] for one in asked] == [["pkg:one", "pkg:two"]]


def test_as_many_rows_may_be_left_out_as_is_said(reviews, source):
    reviews.write_text(reviews.read_text() + "a film of no opinion,\n")
    words = ("rank", reviews, "--sources", source, "--quiet")
    refused = run(*words).exception
    assert isinstance(refused, DataError) and "--max-skipped" in str(refused)
    done = run(*words, "--max-skipped", "0.05")
    assert done.exit_code == 0, done.output
    assert "took no part (1):\n  " in done.stdout and "reviews.csv:42: " in done.stdout


def test_a_source_is_added_searched_and_removed(source):
    assert json.loads(run("sources", "add", source, "--json").stdout)["uri"] == source
    assert source in [one["uri"] for one in json.loads(run("sources", "--json").stdout)]
    assert run("sources", "remove", source).stdout.startswith("removed")
    assert source not in run("sources", "--json").stdout
    for wrong in (("add",), ("remove", source), ("pkg:x", "y")):
        assert isinstance(run("sources", *wrong).exception, UsageError)


def test_what_a_package_brings_was_on_the_shelf(monkeypatch, tmp_path):
    source = SimpleNamespace(uri="pkg:one", weights_sha256="0" * 64)
    monkeypatch.setattr("headstart.sources.catalog.add", lambda _: Addition(source, tmp_path))
    said = run("sources", "add", "pkg:one").stdout
    assert "on the shelf already" in said and "now try it too" not in said


@pytest.mark.parametrize(("boundary", "is_said"), [(None, False), (3, True)])
def test_a_best_boundary_is_not_what_a_fit_would_use(boundary, is_said, monkeypatch, capsys):
    for part in ("_measured", "_computed"):
        monkeypatch.setattr(ranked, part, lambda _: None)
    row = SimpleNamespace(boundary=boundary, source=SimpleNamespace(uri="pkg:one"))
    found = SimpleNamespace(rows=[row], best=row.source, left_out=(), notes=())
    ranked.ranking(found, ["pets/"])
    said = capsys.readouterr().out
    assert "headstart fit pets/ --source pkg:one" in said
    assert ("all of it, not only up to its best boundary" in said) == is_said


def test_the_fit_that_is_advised_learns_what_was_ranked(tmp_path, monkeypatch):
    for part in ("_measured", "_computed"):
        monkeypatch.setattr(ranked, part, lambda _: None)
    row = SimpleNamespace(boundary=None, source=SimpleNamespace(uri="pkg:one"))
    found = SimpleNamespace(rows=[row], best=row.source, left_out=(), notes=())
    monkeypatch.setattr("headstart.ranking.rank.rank", lambda *_, **more: found)
    table = tmp_path / "two moods.csv"
    table.write_text("body,stars,of it\n" + "a film,1,good; long\na play,2,bad\n" * 10)
    data = f"headstart fit '{table}'"
    options = (
        ("--text", "body", "--label", "stars"),
        ("--text", "body", "--label", "of it", "--separator", "; ", "--kind", "multilabel",
         "--max-skipped", "0.05"),
    )  # fmt: skip
    for given in options:
        done = run("rank", table, *given, "--quiet")
        assert done.exit_code == 0, done.output
        assert f"next       {data} {shlex.join(given)} --source pkg:one\n" in done.stdout
