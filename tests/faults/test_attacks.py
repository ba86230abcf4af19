"""S1–S8, S15, S16: the whole corpora; nothing runs, nothing leaves its folder, nothing unfolds."""

import csv
import json
import shutil

import numpy as np
import pytest

from headstart.errors import HeadstartError, IntegrityError, UnreadableRow
from tests.faults import attacks
from tests.toys import toy_text_source


@pytest.fixture
def canary(tmp_path):
    """A file that only an attack makes."""
    path = tmp_path / "canary"
    yield path
    assert not path.exists(), "an attack ran"


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    from headstart.transfer.transfer import Transfer

    rows = np.random.default_rng(0).normal(size=(60, 4))
    fitted = Transfer().fit(rows, (rows[:, 0] > 0).astype(int))
    return fitted.save(tmp_path_factory.mktemp("fitted") / "model")


def refused(work, *arguments):
    """Say whether work raised an error of ours, and no other."""
    try:
        work(*arguments)
    except HeadstartError:
        return True
    return False


def test_s1_no_pickle_runs(canary, fresh_home, tmp_path):
    from headstart.data.readers import read
    from headstart.data.unlabelled import read_rows
    from headstart.sources.weights import READERS, read_file
    from headstart.task import Modality

    corpus = attacks.pickles(canary)
    assert len(corpus) >= 40
    for name, content in corpus.items():
        for suffix, disguise in attacks.disguised(content).items():
            path = tmp_path / f"x{suffix}"
            path.write_bytes(disguise)
            for format in READERS:
                if format != "hub":
                    found = []
                    work = refused(lambda *a, f=found: f.append(read_file(*a)), format, path, name)
                    assert work or found == [{}], (name, format)  # it may hold nothing
            assert refused(read_rows, [str(path)], Modality.VECTOR), name
            assert refused(read, path), name


def test_s1_the_corpus_would_run(tmp_path):
    """The corpus is no dud: an unpickler makes the canary."""
    import pickle

    for name in ("os.system 2", "exec 4", "Path.touch 5", "global text"):
        canary = tmp_path / name.replace(" ", "-")
        pickle.loads(attacks.pickles(canary)[name])
        assert canary.exists(), name


@pytest.mark.parametrize(
    "change",
    [
        {"auto_map": {"AutoModel": "evil.Model"}}, {"_target_": "os.system"},
        {"text_config": {"auto_map": {"AutoModel": "evil--x"}}}, {"class_path": "os.system"},
        {"x": [{"py/object": "os.system"}]}, {"model_type": "evil"}, {"model_type": 3},
        {"model_type": "../../evil"}, {"hidden_size": "os.system"},
    ],
)  # fmt: skip
def test_s2_a_configuration_names_no_code(change, tmp_path):
    from headstart.sources.catalog import open_backbone, resolve

    uri = toy_text_source(tmp_path)
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change), encoding="utf-8")
    with pytest.raises(HeadstartError):
        open_backbone(resolve(uri))


@pytest.mark.parametrize(
    "line",
    ['evil = "os.system"', '[architecture.options]\npretrained_cfg = {file = "/etc/passwd"}',
     '[architecture.options]\ncheckpoint_path = "/etc/passwd"', "trust_remote_code = true"],
)  # fmt: skip
def test_s2_a_card_names_no_code(line, tmp_path):
    from headstart.sources.catalog import open_backbone, resolve
    from tests.toys import toy_picture_source

    uri = toy_picture_source(tmp_path)
    card = tmp_path / "toy.toml"
    text = card.read_text()
    card.write_text(text + f"\n{line}\n" if line.startswith("[") else f"{line}\n{text}")
    with pytest.raises(HeadstartError):
        open_backbone(resolve(uri))


def test_s3_hostile_safetensors_are_refused(tmp_path):
    from headstart.io import read_safetensors
    from headstart.sources.weights import read_file

    for name, content in attacks.safetensors().items():
        path = tmp_path / "x.safetensors"
        path.write_bytes(content)
        for reader in (read_safetensors, lambda path: read_file("safetensors", path, "")):
            with pytest.raises(IntegrityError):
                reader(path)
                raise AssertionError(name)


def test_s4_graphs_read_no_other_file(tmp_path):
    from headstart.features.graphs import cut, session
    from headstart.sources.weights import read_file

    for name, content in attacks.graphs(tmp_path).items():
        path = tmp_path / "x.onnx"
        path.write_bytes(content)
        for work, arguments in ((session, (content,)), (cut, (path, "y", "out"))):
            with pytest.raises(IntegrityError, match="other files"):
                work(*arguments)
                raise AssertionError(name)
        arrays = {} if refused(read_file, "onnx", path, "") else read_file("onnx", path, "")
        assert "w" not in arrays


def test_s5_no_archive_leaves_its_folder(tmp_path):
    from headstart.cli.demo import unpack

    for name, content in attacks.archives().items():
        inside = tmp_path / "in" / "side"
        inside.mkdir(parents=True)
        archive = tmp_path / "x.zip"
        archive.write_bytes(content)
        is_refused = refused(unpack, archive, inside)
        written = [path for path in tmp_path.rglob("*") if path.is_file() and path != archive]
        assert is_refused or name == "link", name
        assert all(path.is_relative_to(inside) and not path.is_symlink() for path in written), name
        assert sum(path.stat().st_size for path in written) < 100_000, name
        shutil.rmtree(tmp_path / "in")


def test_s6_bombs_are_refused_by_their_header():
    from headstart.data.pictures import decode
    from headstart.machine import peak_memory_bytes

    corpus = attacks.bombs()
    before = peak_memory_bytes()
    for name, content in corpus.items():
        with pytest.raises(UnreadableRow):
            decode(content)
            raise AssertionError(name)
    assert peak_memory_bytes() - before < 50_000_000


def test_s7_no_name_runs_in_a_report():
    from html.parser import HTMLParser

    from headstart.evidence.report import html, markdown
    from tests.toy_study import toy_evidence

    class Tags(HTMLParser):
        def __init__(self):
            super().__init__()
            self.found = []

        def handle_starttag(self, tag, attributes):
            handlers = [name for name, _ in attributes if name.startswith("on")]
            links = [v for n, v in attributes if n in ("href", "src", "data", "action")]
            self.found.append((tag, handlers, links))

    labels = tuple(f"{text} {i}" for i, text in enumerate(attacks.MARKUP))
    names = tuple(f"{attacks.MARKUP[i % len(attacks.MARKUP)]}/{i}" for i in range(60))
    plain = Tags()
    plain.feed(html(toy_evidence(tuple(f"class {i}" for i in range(len(labels))))))
    hostile = Tags()
    page = html(toy_evidence(labels, names), run="<script>CANARY()</script>")
    hostile.feed(page)
    allowed = {tag for tag, _, _ in plain.found}
    assert {tag for tag, _, _ in hostile.found} <= allowed | {"mark"}
    assert not any(handlers for _, handlers, _ in hostile.found)
    assert not any("evil" in str(link) or "javascript" in str(link)
                   for _, _, links in hostile.found for link in links)  # fmt: skip
    assert page.count("<script") == html(toy_evidence()).count("<script")
    assert "<script" not in markdown(toy_evidence(labels, names))


def test_s8_no_cell_is_a_formula(tmp_path):
    from headstart.cli.show import write_csv

    found = [
        {"name": text, "prediction": text, "outputs": {text: 0.5}, "error": text}
        for text in attacks.FORMULAS
    ]
    write_csv(tmp_path / "out.csv", found)
    with (tmp_path / "out.csv").open(newline="", encoding="utf-8") as file:
        cells = [cell for row in csv.reader(file) for cell in row]
    assert len(cells) > 50
    assert not [cell for cell in cells if cell[:1] in tuple("=+-@\t\r\n＝\x00")]


def test_control_characters_move_no_cursor():
    from headstart.cli import show

    for text in attacks.CONTROLS:
        for shown in (show.printable(text), show.one_line(text)):
            assert all(c.isprintable() or c in "\n\t" for c in shown), text


def test_s15_names_do_not_leave_their_folder(canary, tmp_path):
    from headstart.runs import Run
    from headstart.sources.catalog import resolve

    before = sorted(tmp_path.rglob("*"))
    with Run(tmp_path / "run") as run:
        n_refused = sum(refused(run.checkpoint, name, {}, {}) for name in attacks.PATHS)
    assert n_refused >= len(attacks.PATHS) - 2  # ".." with a number behind it is a plain name
    for scheme in ("pkg", "timm", "hf", "run", "file"):
        for name in attacks.PATHS:
            assert refused(resolve, f"{scheme}:{name}"), (scheme, name)
    made = {path for path in tmp_path.rglob("*") if path not in before}
    assert all(path.is_relative_to(tmp_path / "run") for path in made)


def edit(name, change):
    def harm(folder):
        values = json.loads((folder / name).read_text())
        change(values)
        (folder / name).write_text(json.dumps(values))

    return harm


def add(name, content=b"x"):
    return lambda folder: (folder / name).write_bytes(content)


TAMPERED = {
    "a file more": add("extra.py"),
    "a hidden file": add(".hidden"),
    "a folder more": lambda f: ((f / "in").mkdir(), (f / "in" / "x").write_bytes(b"x")),
    "a file less": lambda f: (f / "README.md").unlink(),
    "renamed": lambda f: (f / "README.md").rename(f / "readme.md"),
    "swapped": lambda f: shutil.copy(f / "README.md", f / "head.safetensors"),
    "no manifest": lambda f: (f / "manifest.json").unlink(),
    "empty manifest": add("manifest.json", b"{}"),
    "manifest of nothing": add("manifest.json", b'{"files": {}}'),
    "manifest list": add("manifest.json", b"[]"),
    "deep manifest": add("manifest.json", b"[" * 100_000),
    "facts": edit("bundle.json", lambda v: v.update(format=99)),
    "labels": edit("bundle.json", lambda v: v["task"].update(labels=["a", "b"])),
    "linked folder": lambda f: (f / "linked").symlink_to("/etc"),
    "linked file": lambda f: (
        (f / "README.md").unlink(), (f / "README.md").symlink_to("/etc/hosts")),
}  # fmt: skip


@pytest.mark.parametrize("name", TAMPERED)
def test_s16_a_model_that_was_changed_is_refused(name, model, tmp_path):
    from headstart.bundle.load import load

    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    load(folder)
    TAMPERED[name](folder)
    with pytest.raises(HeadstartError) as caught:
        load(folder)
    assert caught.value.exit_code == 4 or name == "no manifest"


RESEALED = {
    "format": lambda v: v.update(format=99),
    "no source": lambda v: v.pop("source"),
    "source list": lambda v: v.update(source=[]),
    "unknown field": lambda v: v["source"].update(evil="os.system"),
    "unknown head": lambda v: v["head"].update(head="os:system"),
    "unknown kind": lambda v: v["task"].update(kind="evil"),
    "labels of numbers": lambda v: v["task"].update(labels=3),
    "unknown modality": lambda v: v["source"].update(modality="evil"),
    "another preprocess": lambda v: v["source"]["preprocess"].update(n_features=77),
}


@pytest.mark.parametrize("name", RESEALED)
def test_s16_a_hostile_model_with_a_manifest_of_its_own_is_refused(name, model, tmp_path):
    from headstart.bundle.load import load
    from headstart.io import sealed_folder

    with sealed_folder(tmp_path / "model") as draft:
        for path in model.iterdir():
            if path.name != "manifest.json":
                shutil.copy(path, draft / path.name)
        edit("bundle.json", RESEALED[name])(draft)
    with pytest.raises(HeadstartError):
        load(tmp_path / "model")
