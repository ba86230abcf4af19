"""The verbs, as a person runs them: one process each, real files, real exit codes."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner

from headstart.cli.app import app
from headstart.cli.verbs.predict import _files_of, _refuse_inputs
from headstart.data.unlabelled import read_rows
from headstart.errors import UsageError
from headstart.task import Kind, Task
from tests.toys import toy_picture_source, toy_text_source

TORCH_BLOCKED = """
import sys
class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "timm", "transformers"):
            raise ImportError(f"{name} is blocked")
sys.meta_path.insert(0, Blocked())
"""


def headstart(*words: object, before: str = "", **more: object) -> subprocess.CompletedProcess[str]:
    """Run the command line in a process of its own."""
    code = f"{before}\nfrom headstart.cli.app import main\nmain()"
    command = [sys.executable, "-c", code, *map(str, words)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **more}
    return subprocess.run(command, text=True, timeout=120, **streams)


@pytest.fixture(scope="session")
def pets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Forty small pictures in two classes that differ in color; train and test."""
    root, rng = tmp_path_factory.mktemp("pets"), np.random.default_rng(0)
    for part, n in (("train", 14), ("test", 6)):
        for label, color in (("red", (200, 60, 60)), ("blue", (60, 60, 200))):
            folder = root / part / label
            folder.mkdir(parents=True)
            for i in range(n):
                noise = rng.integers(-50, 50, size=(40, 40, 3))
                pixels = np.clip(np.array(color) + noise, 0, 255).astype(np.uint8)
                Image.fromarray(pixels).save(folder / f"{i}.png")
    return root


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    return toy_picture_source(tmp_path_factory.mktemp("source"))


@pytest.fixture
def points(tmp_path: Path) -> Path:
    """A table of numbers, 40 rows in two classes: the quickest fit there is."""
    table = tmp_path / "points.csv"
    rows = (f"{i},{i % 7},{'low' if i < 20 else 'high'}" for i in range(40))
    table.write_text("a,b,label\n" + "\n".join(rows) + "\n")
    return table


@pytest.fixture(scope="session")
def run(pets: Path, source: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished run."""
    folder = tmp_path_factory.mktemp("runs") / "pets"
    done = headstart("fit", pets, "--source", source, "--finetune", "no", "-o", folder)
    assert done.returncode == 0, done.stderr
    return folder


def test_fit_prints_the_plan_the_scores_and_where_the_model_is(pets, source, tmp_path):
    done = headstart("fit", pets, "--source", source, "--finetune", "no", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    for step in ("1 take", "2 freeze", "3 attach", "4 train", "5 finetune"):
        assert step in done.stderr
    assert "score      test" in done.stdout
    assert str(tmp_path / "run" / "model") in done.stdout


def test_fit_says_the_same_as_json_and_a_second_one_computes_nothing(pets, source, tmp_path):
    words = ("fit", pets, "--source", source, "--finetune", "no", "--json", "-o", tmp_path / "run")
    found = json.loads(headstart(*words).stdout)
    assert found["scores"]["test"]["accuracy"] >= 0.9
    assert json.loads(headstart(*words).stdout)["n_computed"] == 0


def test_ten_new_rows_compute_ten(pets, source, tmp_path):
    from shutil import copytree

    words = ("fit", tmp_path / "pets", "--source", source, "--finetune", "no", "--json")
    copytree(pets, tmp_path / "pets")
    headstart(*words, "-o", tmp_path / "run")
    for i in range(10):
        pixels = np.full((40, 40, 3), (200, 60, 60 + i), dtype=np.uint8)
        Image.fromarray(pixels).save(tmp_path / "pets" / "train" / "red" / f"new{i}.png")
    assert json.loads(headstart(*words, "-o", tmp_path / "run").stdout)["n_computed"] == 10


def test_fit_with_a_compiled_trunk_and_predict_never_import_torch(pets, source, run, tmp_path):
    words = ("fit", pets, "--source", source, "--finetune", "no", "-o", tmp_path / "again")
    done = headstart(*words, before=TORCH_BLOCKED)
    assert done.returncode == 0, done.stderr
    said = headstart("predict", run, pets / "test" / "red", "--json", before=TORCH_BLOCKED)
    assert [row["prediction"] for row in json.loads(said.stdout)] == ["red"] * 6


def test_predict_names_what_it_could_not_read_and_goes_on(pets, run, tmp_path):
    broken = tmp_path / "broken.png"
    broken.write_bytes((pets / "test" / "red" / "0.png").read_bytes()[:200])
    table = tmp_path / "out.csv"
    good = pets / "test" / "blue" / "0.png"
    said = headstart("predict", run, broken, good, "--json", "--csv", table)
    first, second = json.loads(said.stdout)
    assert "error" in first and second["prediction"] == "blue"
    assert abs(sum(second["outputs"].values()) - 1) < 1e-5
    assert table.read_text().splitlines()[0] == "name,prediction,blue,red,unlike,error"
    said = headstart("predict", run, broken, "--json")
    assert said.returncode == 3 and "error" in json.loads(said.stdout)[0]


def test_lines_of_stdin_name_pictures_below_the_current_folder(pets, run):
    lines = "test/red/0.png\n\ntest/blue/0.png\n"
    said = headstart("predict", run, "-", "--json", input=lines, cwd=pets)
    assert said.returncode == 0, said.stderr
    assert [row["prediction"] for row in json.loads(said.stdout)] == ["red", "blue"]


def run_into(where: str, unbuffered: str) -> subprocess.CompletedProcess[str]:
    """Run the shortest command with its stdout led elsewhere by a shell."""
    line = f'"{sys.executable}" -c "from headstart.cli.app import main; main()" --version {where}'
    known = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    return subprocess.run(["bash", "-c", line], env=known, capture_output=True, text=True)


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize(
    ("where", "code", "said"),
    [
        ("> >(exec <&-; sleep 1)", 0, ""),
        ("> /dev/full", 5, "the results cannot be written: No space left"),
        (">&-", 0, ""),
    ],
)
def test_output_that_nobody_takes_is_no_fault(where, code, said, unbuffered):
    done = run_into(where, unbuffered)
    assert done.returncode == code, done.stderr
    assert said in done.stderr and ("error" in done.stderr) == bool(said)


def end_of(where: str) -> int:
    """Return where writing fails: the end of a pipe that nobody reads, or of a full disk."""
    if where == "full":
        return os.open("/dev/full", os.O_WRONLY)
    read, write = os.pipe()
    os.close(read)
    return write


@pytest.mark.parametrize(("where", "unbuffered"), [("unread", ""), ("full", "1")])
def test_notes_that_nobody_takes_stop_no_fit(where, unbuffered, points, tmp_path):
    words = ("fit", points, "-o", tmp_path / "run")
    stderr = end_of(where)
    known = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = headstart(*words, stderr=stderr, env=known)
    assert done.returncode == 0
    assert f"model      {tmp_path / 'run' / 'model'}" in done.stdout
    again = headstart("predict", tmp_path / "run", points, stderr=stderr)
    assert again.returncode == 0 and len(again.stdout.splitlines()) == 40
    os.close(stderr)


def test_where_there_is_no_stderr_notes_are_written_into_no_file(pets, source, tmp_path):
    """The number of a closed stream is that of the next file that is opened: of a lock, say."""
    run = tmp_path / "run"
    words = ("fit", pets, "--source", source, "--finetune", "no", "-o", run)
    done = headstart(*words, stderr=None, preexec_fn=lambda: os.close(2))
    assert done.returncode == 0
    assert f"model      {run / 'model'}" in done.stdout
    assert (run / ".lock").read_text().split()[0].isdecimal()
    for path in run.rglob("*"):
        assert path.is_dir() or b"1 take" not in path.read_bytes()


def test_a_stderr_that_is_full_for_now_stops_no_fit(points, tmp_path):
    read, write = os.pipe()
    os.set_blocking(write, False)
    with contextlib.suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    done = headstart("fit", points, "-o", tmp_path / "run", stderr=write)
    os.close(read)
    os.close(write)
    assert done.returncode == 0
    assert "model      " in done.stdout


@pytest.mark.parametrize(
    ("words", "code"), [(("fit", "nowhere"), 3), (("fit", "--nonsense"), 2), (("--help",), 0)]
)
def test_an_exit_code_is_told_where_nobody_reads_the_error(words, code):
    stderr = end_of("unread")
    assert headstart(*words, stderr=stderr).returncode == code
    os.close(stderr)


@pytest.mark.parametrize("words", [("sources",), ("sources", "--json"), ("--help",)])
def test_results_that_nobody_takes_are_no_fault(words):
    stdout = end_of("unread")
    done = headstart(*words, stdout=stdout)
    assert (done.returncode, done.stderr) == (0, "")
    os.close(stdout)


def test_debug_shows_where_and_changes_no_exit_code():
    done = headstart("--debug", "sources", "paint", "pkg:one")
    assert done.returncode == 2
    assert "Traceback" in done.stderr and "\nerror: 'paint' is nothing to do" in done.stderr


@pytest.mark.parametrize("named", ["few.csv", "./few.csv", "f*.csv"])
def test_predictions_are_not_written_over_what_they_are_of(named, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "few.csv").write_text("x\n1\n")
    monkeypatch.setenv("HOME", str(tmp_path))
    for csv in ("few.csv", "~/few.csv"):
        done = CliRunner().invoke(app, ["predict", "model", named, "--csv", csv])
        assert isinstance(done.exception, UsageError) and "over an input" in str(done.exception)
    done = CliRunner().invoke(app, ["predict", "model", named, "--csv", "other.csv"])
    assert "holds no model" in str(done.exception)


@pytest.mark.parametrize("given", ["new", "rows.txt"])
def test_predictions_are_not_written_over_a_picture_that_was_read(given, pets, run, tmp_path):
    (tmp_path / "new").mkdir()
    row = tmp_path / "new" / "0.png"
    row.write_bytes((pets / "test" / "red" / "0.png").read_bytes())
    (tmp_path / "rows.txt").write_text("new/0.png\n")
    before = row.read_bytes()
    done = CliRunner().invoke(app, ["predict", f"{run}", f"{tmp_path / given}", "--csv", f"{row}"])
    assert isinstance(done.exception, UsageError) and "over an input" in str(done.exception)
    assert row.read_bytes() == before


def test_predictions_are_not_written_over_a_text_of_a_folder(tmp_path):
    (tmp_path / "a.txt").write_text("an ant")
    (tmp_path / "nothing.txt").write_text("")
    (tmp_path / "other.csv").write_text("name,prediction")
    rows = read_rows([tmp_path], "text")
    for name in ("a.txt", "nothing.txt"):
        with pytest.raises(UsageError, match=f"over an input, .*{name}"):
            _refuse_inputs(tmp_path / name, _files_of(rows))
    _refuse_inputs(tmp_path / "other.csv", _files_of(rows))


def test_finetune_moves_the_upper_stages_and_a_bundle_is_a_source(pets, source, tmp_path):
    run = tmp_path / "run"
    words = ("fit", pets, "--source", source, "--finetune", "last:25%", "--epochs", "2", "--json")
    found = json.loads(headstart(*words, "-o", run).stdout)
    plan = found["plan"]
    assert 0 < plan["boundary"] < len(plan["stages"])
    assert plan["rates"]["final"] > plan["rates"][plan["stages"][plan["boundary"]]]
    again = headstart("fit", pets, "--source", f"run:{run}", "--finetune", "no", "--json",
                      "-o", tmp_path / "second")  # fmt: skip
    assert again.returncode == 0, again.stderr
    assert json.loads(again.stdout)["scores"]["test"]["accuracy"] >= 0.9


def test_from_scratch_is_another_recipe(pets, source, tmp_path):
    words = ("fit", pets, "--source", f"scratch:{source}", "--epochs", "3", "--json")
    found = json.loads(headstart(*words, "-o", tmp_path / "run").stdout)
    assert found["arm"] == "scratch"
    assert found["plan"]["phase"]["decay"] == 1.0


def test_texts_with_a_label_column(tmp_path):
    uri = toy_text_source(tmp_path / "encoder")
    table = tmp_path / "reviews.csv"
    rows = [f"{'good fine' if i % 2 else 'bad poor'} thing {i},{'up' if i % 2 else 'down'}"
            for i in range(30)]  # fmt: skip
    table.write_text("body,stars\n" + "\n".join(rows) + "\n")
    words = ("fit", table, "--text", "body", "--label", "stars", "--source", uri, "--json")
    done = headstart(*words, "--finetune", "last:1", "--epochs", "1", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    said = headstart("predict", tmp_path / "run", "good fine thing", "--json")
    assert set(json.loads(said.stdout)[0]["outputs"]) == {"up", "down"}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("fit", "nowhere"), 3, "nowhere"),
        (("fit", "{pets}", "--source", "pkg:eficientnet-lite0"), 2, "pkg:efficientnet-lite0"),
        (("fit", "{pets}", "--source", "{source}", "--finetune", "last:half"), 2, "last:25%"),
        (("fit", "{pets}", "--source", "{source}", "--epochs", "0"), 2, "--epochs 0"),
        (("predict", "{pets}", "x.png"), 2, "holds no model"),
        (("predict", "{run}", "x.png"), 3, "x.png"),
        (("fit", "{pets}", "--nonsense"), 2, "--nonsense"),
        (("fit", "{pets}", "--seed", "-1"), 2, "--seed"),
        (("fit", "{pets}", "--max-skipped", "2"), 2, "--max-skipped"),
        (("fit", "{pets}", "--kind", "regresion"), 2, "'regression'"),
        (("fit", "{pets}", "--source", "{source}", "--finetune", "last:25"), 2, "last:100%"),
        (("fit", "{pets}", "--source", "{source}", "-o", "/proc/run"), 1, "/proc/run"),
        (("predict", "{run}", "x.png", "--top", "0"), 2, "--top"),
        (("predict", "{run}", "x.png", "--csv", "{pets}"), 2, "is a directory"),
        (("paint",), 2, "paint"),
    ],
)
def test_errors_say_what_came_and_how_to_go_on(words, code, said, pets, source, run):
    filled = [word.format(pets=pets, source=source, run=run) for word in words]
    done = headstart(*filled)
    assert done.returncode == code, done.stderr
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_changed_model_is_refused(run, tmp_path):
    from shutil import copytree

    model = copytree(run / "model", tmp_path / "model")
    with (model / "head.safetensors").open("r+b") as file:
        file.seek(-1, os.SEEK_END)
        last = file.read(1)
        file.seek(-1, os.SEEK_END)
        file.write(bytes([last[0] ^ 1]))
    done = headstart("predict", model, "x.png")
    assert done.returncode == 4
    assert "head.safetensors" in done.stderr


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_fit_leaves_no_half_written_file_and_goes_on(sent, code, pets, source, tmp_path):
    words = ("fit", pets, "--source", source, "--finetune", "all", "--epochs", "5000",
             "--rate", "1e-7", "-o", tmp_path / "run")  # fmt: skip
    command = [sys.executable, "-c", "from headstart.cli.app import main\nmain()", *map(str, words)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    deadline = time.monotonic() + 90
    while not list((tmp_path / "run").rglob("descent*")) and time.monotonic() < deadline:
        assert process.poll() is None, process.communicate()[1]
        time.sleep(0.05)
    process.send_signal(sent)
    _, err = process.communicate(timeout=30)
    assert process.returncode == code, err
    assert "Stopped" in err and "Traceback" not in err
    assert not list((tmp_path / "run").rglob("*.tmp"))
    assert not (tmp_path / "run" / "model").exists()


def test_a_second_run_in_the_same_folder_is_told_who_owns_it(pets, source, tmp_path):
    from headstart.runs import Run

    with Run(tmp_path / "run"):
        done = headstart("fit", pets, "--source", source, "-o", tmp_path / "run")
    assert done.returncode == 75
    assert str(os.getpid()) in done.stderr


def test_the_version_is_that_of_the_package():
    import headstart as hs

    assert headstart("--version").stdout.strip() == f"headstart {hs.__version__}"


def test_sources_lists_the_shelf():
    found = json.loads(headstart("sources", "--json").stdout)
    assert {"uri", "trained_on", "license", "n_parameters", "on_disk"} <= set(found[0])
    assert "pkg:efficientnet-lite0" in {row["uri"] for row in found}


def test_doctor_finds_unreadable_data_and_says_the_fix(tmp_path):
    done = headstart("doctor", tmp_path / "nowhere", "--json")
    assert done.returncode == 1
    assert any(row["is_bad"] and "nowhere" in row["what"] for row in json.loads(done.stdout))


def test_doctor_decodes_every_picture_and_names_what_fit_would_not_read(pets, tmp_path):
    from shutil import copytree

    copytree(pets, tmp_path / "pets")
    whole = (pets / "train" / "red" / "0.png").read_bytes()
    (tmp_path / "pets" / "train" / "red" / "half.png").write_bytes(whole[: len(whole) // 2])
    done = headstart("doctor", tmp_path / "pets")
    assert done.returncode == 1
    assert "half.png: image file is truncated" in done.stdout


def test_whole_numbers_are_a_quantity_if_told(tmp_path):
    table = tmp_path / "reviews.csv"
    lines = [f"{'good fine' if i % 2 else 'bad poor'} {i},{i % 5}" for i in range(30)]
    table.write_text("body,stars\n" + "\n".join(lines) + "\n")
    words = ("doctor", table, "--kind", "regression", "--json")
    said = json.loads(headstart(*words).stdout)
    assert any("30 rows, a number each" in row["what"] for row in said)


def test_a_bundle_of_columns_reads_them_by_name(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(a, b, "high" if a > b else "low") for a, b in rng.normal(size=(60, 2))]
    table = tmp_path / "points.csv"
    table.write_text("a,b,label\n" + "".join(f"{a},{b},{c}\n" for a, b, c in rows))
    done = headstart("fit", table, "--label", "label", "-o", tmp_path / "run")
    assert done.returncode == 0, done.stderr
    (tmp_path / "new.csv").write_text("label,b,note,a\nlow,-3,x,3\n?,3,x,-3\n?,,x,1\n")
    said = headstart("predict", tmp_path / "run", tmp_path / "new.csv", "--json")
    found = json.loads(said.stdout)
    assert [row.get("prediction") for row in found] == ["high", "low", None]
    assert found[2] == {"name": f"{tmp_path / 'new.csv'}:4", "error": "no number in 'b'"}
    (tmp_path / "other.csv").write_text("a,c\n1,2\n")
    said = headstart("predict", tmp_path / "run", tmp_path / "other.csv")
    assert said.returncode == 3 and "no column 'b'" in said.stderr
    np.save(tmp_path / "wide.npy", np.eye(3))
    said = headstart("predict", tmp_path / "run", tmp_path / "wide.npy")
    assert said.returncode == 3 and "learned from 2" in said.stderr
    said = headstart("predict", tmp_path / "run", "-", input="1,2\n")
    assert said.returncode == 2 and "this model reads numbers" in said.stderr


def test_models_of_other_data_are_not_replaced_unasked(tmp_path):
    rows = "".join(f"{i},{'low' if i < 10 else 'high'}\n" for i in range(20))
    for name in ("first", "second", "third/first"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name / "train.csv").write_text("x,label\n" + rows)
        assert headstart("fit", f"{name}/train.csv", "-q", cwd=tmp_path).returncode in (0, 2)
    assert {path.name for path in (tmp_path / "runs").iterdir()} == {"first-train", "second-train"}
    recorded = json.loads((tmp_path / "runs" / "first-train" / "run.json").read_text())
    data = str(tmp_path / "first" / "train.csv")
    assert recorded == {"data": data, "label": "label", "kind": "multiclass", "source": "auto"}
    again = headstart("fit", "train.csv", "-o", "../runs/first-train", cwd=tmp_path / "first")
    assert again.returncode == 0, again.stderr
    refused = headstart("fit", "third/first/train.csv", cwd=tmp_path)
    assert refused.returncode == 2 and "--out" in refused.stderr
    words = ("fit", "third/first/train.csv", "-o", "runs/first-train")
    assert headstart(*words, cwd=tmp_path).returncode == 0


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ("..", "work"),
        (".", "pets"),
        ("train.csv", "pets-train"),
        ("../data/train", "work-data-train"),
        ("~/reviews.csv", "reviews"),
        ("/", "data"),
    ],
)
def test_a_run_is_named_by_its_data(data, name, tmp_path, monkeypatch):
    from headstart.cli.folders import default_folder

    (tmp_path / "work" / "pets").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "pets")
    assert default_folder(data, Task(Kind.MULTICLASS)) == Path("runs") / name


def test_the_name_of_a_file_moves_no_cursor_and_breaks_no_table(pets, run, tmp_path):
    from shutil import copy

    name = "=1\x1b[2J\x9b\n\tx.png"
    row = copy(pets / "test" / "red" / "0.png", tmp_path / name)
    said = headstart("predict", run, row, "--csv", tmp_path / "out.csv")
    assert said.returncode == 0, said.stderr
    (line,) = said.stdout.splitlines()
    assert line.count("\t") == 2 and r"=1\x1b[2J\x9b\n\tx.png" in line
    told = headstart("predict", run, row, "--json").stdout
    assert not {"\x1b", "\x9b"} & set(told)
    assert json.loads(told)[0]["name"] == str(row)


def test_numbers_in_a_table_stay_numbers_and_texts_run_nowhere(tmp_path):
    import csv

    from headstart.cli.show import write_csv

    found = [
        {"name": "-1", "prediction": -2.5},
        {"name": "@x", "error": "=HYPERLINK()"},
        {"name": "b", "prediction": "+A1", "outputs": {"-up": -0.5}},
    ]
    write_csv(tmp_path / "out.csv", found)
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.reader(file))
    assert rows == [
        ["name", "prediction", "'-up", "unlike", "error"],
        ["-1", "-2.5", "", "", ""],
        ["'@x", "", "", "", "'=HYPERLINK()"],
        ["b", "'+A1", "-0.5", "", ""],
    ]


def test_fresh_starts_anew(pets, source, tmp_path):
    from headstart.runs import Run

    run = tmp_path / "run"
    with Run(run) as owned:
        owned.checkpoint("descent-of-before", {}, {"epoch": 1})
    words = ("fit", pets, "--source", source, "--finetune", "no", "-q", "-o", run)
    assert headstart(*words, "--fresh").returncode == 0
    assert not list(run.rglob("descent-of-before*"))
