"""Proofs on the command line: what is printed and written, and what is refused at once."""

import json
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from headstart.cli import demo, proof
from headstart.cli.app import app
from headstart.cli.folders import default_folder, record
from headstart.data.dataset import Dataset, untested
from headstart.errors import DataError, TransferRefused, UsageError
from headstart.evidence.saved import kept
from headstart.io import write_json
from headstart.task import Kind, Modality, Task
from headstart.transfer.transfer import Transfer
from tests.test_cli import headstart, pets, source  # noqa: F401
from tests.toy_study import toy_evidence


@pytest.fixture(scope="module")
def proved(pets, source, tmp_path_factory) -> tuple[dict, Path]:  # noqa: F811
    """A model, fitted and proved in one go: what was printed, and the run's folder."""
    folder = tmp_path_factory.mktemp("proved") / "pets"
    done = headstart(
        "fit", pets, "--source", source, "--finetune", "no", "--prove", "--seeds", "2",
        "--budget", "8s", "--json", "-o", folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout), folder


def test_fit_proves_what_it_fitted(proved):
    said, folder = proved
    evidence = kept(folder)
    assert said["evidence"]["verdict"]["said"] == str(evidence.verdict)
    assert (evidence.seeds, evidence.budget_s) == (2, 8.0)
    assert {arm.name for arm in evidence.arms} == {
        "majority", "classical", "random-probe", "scratch", "probe",
    }  # fmt: skip
    assert (folder / "model").is_dir()
    assert {path.suffix for path in folder.glob("report.*")} == {".html", ".md", ".json"}


def test_the_same_proof_again_computes_nothing(proved, pets, source):  # noqa: F811
    said, folder = proved
    done = headstart(
        "prove", pets, "--source", source, "--finetune", "no", "--seeds", "2", "--budget", "8s",
        "--remedies", "0s", "--json", "-o", folder,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    again = json.loads(done.stdout)
    assert again["outcomes"] == said["evidence"]["outcomes"]
    assert again["n_test_reads"] == said["evidence"]["n_test_reads"]


def test_the_report_is_written_again(proved):
    _, folder = proved
    (folder / "report.html").unlink()
    done = headstart("report", folder)
    assert done.returncode == 0, done.stderr
    assert Path(done.stdout.strip()).is_file()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("fit", "PETS", "--prove", "--source", "scratch:SOURCE"), "transfer nothing"),
        (("fit", "PETS", "--prove", "--budget", "soon"), "is no time"),
        (("fit", "PETS", "--prove", "--remedies", "some"), "is no time"),
        (("prove", "PETS", "--remedies", "some"), "is no time"),
        (("prove", "PETS", "--seeds", "0"), "--seeds"),
        (("prove", "PETS", "--budget", "0"), "--budget 0 leaves no time"),
        (("prove", "PETS", "--worth", "-1"), "--worth"),
        (("prove", "PETS", "--worth", "2"), "0.02 is two points"),
        (("prove", "PETS", "--worth", "inf"), "0.02 is two points"),
        (("prove", "PETS", "--worth", "nan"), "--worth"),
        (("prove", "PETS", "--finetune", "nonsense"), "finetune='nonsense'"),
    ],
)
def test_what_cannot_be_proved_is_told_at_once(words, said, pets, source, tmp_path):  # noqa: F811
    given = [word.replace("PETS", str(pets)).replace("SOURCE", source) for word in words]
    done = headstart(*given, "-o", tmp_path / "run")
    assert (done.returncode, said in done.stderr) == (2, True), done.stderr
    assert not (tmp_path / "run").exists()


def test_rows_too_few_to_prove_by_are_told_before_anything_is_fitted(tmp_path, monkeypatch):
    table = tmp_path / "few.csv"
    many = "".join(f"{i},{i % 7},{'low' if i % 2 else 'high'}\n" for i in range(18))
    table.write_text(f"x,y,label\n{many}50,6,rare\n51,6,rare\n")
    fitted = []
    monkeypatch.setattr(Transfer, "fit", lambda self, rows: fitted.append(rows))
    words = ["fit", str(table), "--label", "label", "--prove", "-o", str(tmp_path / "run")]
    refused = CliRunner().invoke(app, words).exception
    assert isinstance(refused, DataError) and "'rare'" in str(refused), refused
    assert not fitted and not (tmp_path / "run").exists()


@pytest.mark.parametrize(("word", "asked", "code"), [
    ("negative", True, 6), ("negative", False, 0), ("positive", True, 0),
])  # fmt: skip
def test_a_transfer_that_hurts_is_refused_where_one_is_required(
    word, asked, code, tmp_path, monkeypatch
):
    monkeypatch.setattr(proof, "prove", lambda *_, **__: toy_evidence(word=word))
    table, folder = tmp_path / "rows.csv", tmp_path / "run"
    table.write_text("x,label\n" + "1,low\n2,high\n" * 10)
    words = ["prove", str(table), "--quiet", "-o", str(folder)] + ["--require-transfer"] * asked
    done = CliRunner().invoke(app, words)
    assert getattr(done.exception, "exit_code", 0) == code, done.output
    assert isinstance(done.exception, TransferRefused) == (code == 6)
    assert code == 0 or "Validation prefers scratch" in str(done.exception)
    assert f"verdict    {kept(folder).verdict}" in done.output
    assert (folder / "report.html").is_file()


@pytest.fixture
def demo_part(monkeypatch, fresh_home, tmp_path):
    """The demo in a second: rows of numbers in place of pictures and names."""
    rows = np.random.default_rng(0).normal(size=(120, 4))
    split = np.array(["train"] * 80 + ["test"] * 40)
    task = Task(Kind.MULTICLASS, ("low", "high"))
    data = Dataset(Modality.VECTOR, rows, task, (rows[:, 0] > 0).astype(np.int64), split)

    def run(out, tell, proved=""):
        kept = untested(data) if proved else data
        yield demo.Part(demo.NAMES, data, Transfer().fit(kept), out / demo.NAMES)

    monkeypatch.setattr(demo, "run", run)
    monkeypatch.setattr(demo, "pictures", lambda home: Path("my home/pictures"))
    return tmp_path / "runs"


def test_the_demo_proves_and_says_with_how_many_seeds(demo_part):
    done = CliRunner().invoke(app, ["demo", "--quiet", "--json", "-o", str(demo_part)])
    assert done.exit_code == 0, done.output
    (part,) = json.loads(done.stdout)
    assert part["evidence"]["seeds"] == 3 and part["evidence"]["budget_s"] == 90.0
    assert part["evidence"]["n_test_reads"] == 1  # the fit left the test rows to the proof
    assert "test" not in part["scores"]
    assert "up to 3 seeds of every arm, 90s for all fits" in done.stderr
    assert "headstart prove 'my home/pictures'\n" in done.stderr
    assert (demo_part / demo.NAMES / "report.html").is_file()


def test_the_demo_without_a_proof_scores_the_test_rows_itself(demo_part):
    done = CliRunner().invoke(app, ["demo", "--no-prove", "--json", "-o", str(demo_part)])
    (part,) = json.loads(done.stdout)
    assert "evidence" not in part and "test" in part["scores"]


def test_a_demo_without_time_for_its_proof_is_refused_before_the_fits(demo_part):
    error = CliRunner().invoke(app, ["demo", "--budget", "0s", "-o", str(demo_part)]).exception
    assert isinstance(error, UsageError) and "--budget 0s" in str(error)
    assert not demo_part.exists()


def test_the_budget_of_a_fit_is_all_the_time_its_proof_has(pets, source, tmp_path, monkeypatch):  # noqa: F811
    seen = []

    def proved(*_, **asked):
        seen.append(asked)
        raise UsageError("enough")

    monkeypatch.setattr(proof, "proved", proved)
    words = ["fit", str(pets), "--source", source, "--finetune", "no", "--prove", "--quiet"]
    for given in ([], ["--budget", "90s"], ["--budget", "90s", "--remedies", "1m"]):
        CliRunner().invoke(app, [*words, *given, "-o", str(tmp_path / "run")])
    assert [(one["budget_s"], one["remedies_s"]) for one in seen] == [
        (900.0, 600.0), (90.0, 0.0), (90.0, 60.0),
    ]  # fmt: skip


def test_a_proof_goes_on_without_as_many_rows_as_it_may(tmp_path, monkeypatch):
    seen = []

    def proved(model, rows, *_, also, **asked):
        seen.append((model.max_skipped, len(rows.skipped), len(also.skipped)))
        raise UsageError("enough")

    monkeypatch.setattr(proof, "proved", proved)
    table = tmp_path / "miss.csv"
    table.write_text("x,label\n" + "1,low\n2,high\n" * 10 + "3,\n")
    words = ["prove", str(table), "--also", str(table)]
    refused = CliRunner().invoke(app, words).exception
    assert isinstance(refused, DataError) and "--max-skipped" in str(refused)
    CliRunner().invoke(app, [*words, "--max-skipped", "0.05"])
    assert seen == [(0.05, 1, 1)]


def test_a_proof_of_other_data_is_not_replaced_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind = Task(Kind.MULTICLASS, target="kind")
    folder = default_folder("a/iris.csv", kind)
    (folder / "evidence").mkdir(parents=True)
    record("a/iris.csv", folder, kind, "auto")
    assert default_folder("a/iris.csv", kind) == folder
    with pytest.raises(UsageError, match="holds a proof of other data"):
        default_folder("b/iris.csv", kind)


def test_a_proof_of_another_task_of_the_data_is_not_replaced_by_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    kind = Task(Kind.MULTICLASS, target="kind")
    folder = default_folder("iris.csv", kind)
    (folder / "evidence").mkdir(parents=True)
    record("iris.csv", folder, kind, "auto")
    for other in (Task(Kind.MULTICLASS, target="color"), Task(Kind.REGRESSION, target="kind")):
        with pytest.raises(UsageError, match=r"another task of these data: 'kind' .multiclass"):
            default_folder("iris.csv", other)
    write_json(folder / "run.json", {"data": str(tmp_path / "iris.csv")})  # as older versions did
    assert default_folder("iris.csv", other) == folder
