"""io.py: whole or not at all, hashed, checked."""

import errno
import json
import os
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from headstart import io
from headstart.errors import Busy, IntegrityError, ResourceError, UsageError

FULL = Path("/dev/full")


def names(folder):
    return sorted(path.name for path in folder.iterdir())


def test_written_is_read_back(tmp_path):
    io.write_text(tmp_path / "deep" / "a.txt", "é\n")
    io.write_json(
        tmp_path / "a.json", {"a": np.float32(0.5), "b": (1, float("nan")), "c": tmp_path}
    )
    io.write_npy(tmp_path / "a.npy", np.arange(3, dtype=np.float16))
    assert (tmp_path / "deep" / "a.txt").read_bytes() == "é\n".encode()
    assert io.read_json(tmp_path / "a.json") == {"a": 0.5, "b": [1, None], "c": str(tmp_path)}
    assert np.load(tmp_path / "a.npy").tolist() == [0, 1, 2]
    assert names(tmp_path) == ["a.json", "a.npy", "deep"]


def test_texts_that_are_no_utf_8_are_read_back(tmp_path):
    name = os.fsdecode(b"\xe9t\xe9")  # a file's name as an old archive has it
    value = {name: [name, "\\udce9", "été"]}
    io.write_json(tmp_path / "a.json", value)
    assert io.read_json(tmp_path / "a.json") == value
    io.write_sealed_json(tmp_path / "b.json", value)
    assert io.read_sealed_json(tmp_path / "b.json") == value
    io.write_text(tmp_path / "a.txt", name)
    assert (tmp_path / "a.txt").read_text() == "\\udce9t\\udce9"


def test_a_failed_write_leaves_the_old_bytes_and_nothing_else(tmp_path):
    io.write_bytes(tmp_path / "a.npy", b"old")
    with pytest.raises(ValueError, match="allow_pickle"):
        io.write_npy(tmp_path / "a.npy", np.array([object()]))
    assert (tmp_path / "a.npy").read_bytes() == b"old"
    assert names(tmp_path) == ["a.npy"]


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_no_space_names_the_file_and_the_bytes(tmp_path):
    path = tmp_path / "a.bin"
    with pytest.raises(ResourceError, match=r"a\.bin: 1,234 bytes needed") as caught:
        with io._space_errors(path, 1234), FULL.open("wb", buffering=0) as full:
            full.write(b"x")
    assert caught.value.exit_code == 5


def test_no_space_leaves_nothing(tmp_path):
    # A limit on file size is as good as a full disk, and needs no disk to fill.
    code = (
        "import errno, os, resource, signal, sys, pathlib\n"
        "from headstart import io\n"
        "from headstart.errors import ResourceError\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000))\n"
        "try: io.write_bytes(pathlib.Path(sys.argv[1]) / 'big', bytes(5000))\n"
        "except ResourceError as error: print('5,000 bytes needed' in str(error))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(tmp_path)], capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert names(tmp_path) == []


def test_a_killed_writer_leaves_no_finished_looking_file(tmp_path):
    code = (
        "import sys, pathlib, os, signal\n"
        "from headstart import io\n"
        "signal.signal(signal.SIGINT, signal.default_int_handler)\n"  # a job behind `&` has none
        "with io.sealed_folder(pathlib.Path(sys.argv[1]) / 'model') as draft:\n"
        "    io.write_text(draft / 'a.txt', 'a')\n"
        "    os.kill(os.getpid(), getattr(signal, sys.argv[2]))\n"
    )

    def run(how):
        command = [sys.executable, "-c", code, str(tmp_path), how]
        return subprocess.run(command, capture_output=True, check=False).returncode

    assert run("SIGINT") != 0
    assert names(tmp_path) == []
    assert run("SIGKILL") == -signal.SIGKILL
    assert [name.startswith(".model.") for name in names(tmp_path)] == [True]
    io.sweep(tmp_path)
    assert names(tmp_path) == []


@pytest.mark.parametrize("goes_on", [True, False])
def test_a_draft_that_was_removed_is_not_sealed(tmp_path, goes_on):
    path = tmp_path / "model"
    with io.sealed_folder(path) as draft:
        io.write_text(draft / "a.txt", "old")
    with (
        pytest.raises(IntegrityError, match=r"was removed while it was being written"),
        io.sealed_folder(path) as draft,
    ):
        io.write_text(draft / "a.txt", "new")
        shutil.rmtree(draft)
        if goes_on:  # which makes the folder again, without what was in it
            io.write_text(draft / "b.txt", "new")
    assert (path / "a.txt").read_text() == "old"
    assert io.verify_folder(path) == {"a.txt": io.sha256_bytes(b"old")}
    assert names(tmp_path) == ["model"]


def test_a_file_that_was_swept_while_it_was_written_is_told(tmp_path):
    with pytest.raises(IntegrityError, match=r"was removed while it was being written"):
        with io._writing(tmp_path / "a.txt", 1):
            (draft,) = tmp_path.iterdir()
            draft.unlink()
    assert names(tmp_path) == []


def test_a_draft_that_was_swept_while_it_was_sealed_is_told(sealed, monkeypatch):
    hashed = io.sha256_file

    def swept(path):
        shutil.rmtree(path.parent)
        return hashed(path)

    monkeypatch.setattr(io, "sha256_file", swept)
    with pytest.raises(IntegrityError, match=r"was removed while it was being written"):
        with io.sealed_folder(sealed) as draft:
            io.write_text(draft / "a.txt", "new")
    monkeypatch.undo()
    io.verify_folder(sealed)
    assert names(sealed.parent) == ["model"]


def test_a_file_that_is_missing_inside_is_not_told_as_swept(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"nothing\.txt"), io.sealed_folder(tmp_path / "a"):
        (tmp_path / "nothing.txt").read_text()


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP, errno.EIO])
def test_a_folder_that_cannot_be_synced_is_left_at_that(tmp_path, monkeypatch, number):
    def of_files_alone(handle, sync=os.fsync):
        if stat.S_ISDIR(os.fstat(handle).st_mode):
            raise OSError(number, os.strerror(number))
        sync(handle)

    monkeypatch.setattr(os, "fsync", of_files_alone)
    if number == errno.EIO:  # a disk that fails is told
        with pytest.raises(OSError, match=os.strerror(number)):
            io.write_text(tmp_path / "a.txt", "a")
        return
    io.write_text(tmp_path / "a.txt", "a")
    with io.sealed_folder(tmp_path / "model") as draft:
        io.write_text(draft / "a.txt", "a")
    io.verify_folder(tmp_path / "model")


# -- safetensors ----------------------------------------------------------------------------------

TENSORS = {
    "weight": np.array([[1.5, -2.0], [0.0, 3.0]], dtype=np.float32),
    "flags": np.array([True, False, True]),
    "scalar": np.array(7, dtype=np.int64),
    "empty": np.zeros((0, 4), dtype=np.float16),
}


def test_safetensors_round_trip(tmp_path):
    path = tmp_path / "a.safetensors"
    io.write_safetensors(path, TENSORS, {"who": "me"})
    arrays, metadata = io.read_safetensors(path)
    assert metadata == {"who": "me"}
    assert arrays.keys() == TENSORS.keys()
    for name, array in TENSORS.items():
        assert arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(arrays[name], array)


def test_safetensors_is_what_the_library_reads_and_writes(tmp_path):
    from safetensors.numpy import load_file, save_file

    io.write_safetensors(tmp_path / "ours", TENSORS)
    theirs = load_file(tmp_path / "ours")
    assert theirs.keys() == TENSORS.keys()
    np.testing.assert_array_equal(theirs["weight"], TENSORS["weight"])
    save_file(TENSORS, tmp_path / "theirs", metadata={"who": "they"})
    arrays, metadata = io.read_safetensors(tmp_path / "theirs")
    assert metadata == {"who": "they"}
    np.testing.assert_array_equal(arrays["weight"], TENSORS["weight"])


def test_safetensors_arrays_are_copies_on_write(tmp_path):
    path = tmp_path / "a.safetensors"
    io.write_safetensors(path, TENSORS)
    before = io.sha256_file(path)
    io.read_safetensors(path)[0]["weight"][0, 0] = 99
    assert io.sha256_file(path) == before


def test_safetensors_reads_odd_layouts_and_order(tmp_path):
    turned = np.asfortranarray(np.arange(6, dtype=">f8").reshape(2, 3))
    io.write_safetensors(tmp_path / "a", {"a": turned})
    np.testing.assert_array_equal(io.read_safetensors(tmp_path / "a")[0]["a"], turned)


def test_safetensors_brain_floats_become_float32(tmp_path):
    # 1.0 is 0x3f80 and -2.0 is 0xc000 in bfloat16, low byte first.
    write_raw(tmp_path / "a", entry("BF16", [2], 0, 4), bytes([0x80, 0x3F, 0x00, 0xC0]))
    assert io.read_safetensors(tmp_path / "a")[0]["a"].tolist() == [1.0, -2.0]


def test_safetensors_refuses_what_it_cannot_write(tmp_path):
    with pytest.raises(UsageError, match="complex"):
        io.write_safetensors(tmp_path / "a", {"a": np.zeros(2, dtype=complex)})


def entry(kind, shape, start, stop, name="a"):
    fields = {"dtype": kind, "shape": shape, "data_offsets": [start, stop]}
    return f'"{name}":{json.dumps(fields)}'


def write_raw(path, entries, body, length=None):
    header = ("{" + entries + "}").encode()
    size = len(header) if length is None else length
    path.write_bytes(size.to_bytes(8, "little") + header + body)


@pytest.mark.parametrize(
    ("entries", "body"),
    [
        (entry("F32", [2], 0, 8) + "," + entry("F32", [2], 4, 12, "b"), bytes(12)),  # overlap
        (entry("F32", [1], 0, 4) + "," + entry("F32", [1], 8, 12, "b"), bytes(12)),  # gap
        (entry("F32", [1], 0, 4) + "," + entry("F32", [1], 0, 4), bytes(4)),  # twice one name
        (entry("F32", [2], 0, 8), bytes(4)),  # cut short
        (entry("F32", [2], 0, 8), bytes(9)),  # too long
        (entry("F32", [3], 0, 8), bytes(8)),  # shape and bytes differ
        (entry("F32", [-2, -1], 0, 8), bytes(8)),  # negative
        (entry("F32", [True, 2], 0, 8), bytes(8)),  # not a number
        (entry("P64", [1], 0, 8), bytes(8)),  # unknown dtype
        ('"a":3', b""),  # no entry
        ("nonsense", b""),  # no JSON
    ],
)
def test_safetensors_refuses_a_bad_header(tmp_path, entries, body):
    write_raw(tmp_path / "a", entries, body)
    with pytest.raises(IntegrityError, match="not a whole"):
        io.read_safetensors(tmp_path / "a")


def test_safetensors_refuses_a_huge_header_before_reading_it(tmp_path):
    write_raw(tmp_path / "a", "", b"", length=1 << 60)
    with pytest.raises(IntegrityError, match="claims"):
        io.read_safetensors(tmp_path / "a")
    (tmp_path / "b").write_bytes(b"abc")
    with pytest.raises(IntegrityError, match="not a whole"):
        io.read_safetensors(tmp_path / "b")


def test_reading_what_is_not_there(tmp_path):
    with pytest.raises(IntegrityError, match="missing"):
        io.read_safetensors(tmp_path / "a")
    with pytest.raises(IntegrityError, match="missing"):
        io.read_json(tmp_path / "a")
    (tmp_path / "a").write_text('{"cut":')
    with pytest.raises(IntegrityError, match="cut short"):
        io.read_json(tmp_path / "a")


# -- sealed folders -------------------------------------------------------------------------------


@pytest.fixture
def sealed(tmp_path):
    path = tmp_path / "model"
    with io.sealed_folder(path) as draft:
        io.write_text(draft / "a.txt", "aaaa")
        io.write_text(draft / "deep" / "b.txt", "bbbb")
    return path


def test_a_sealed_folder_is_as_its_manifest_says(sealed):
    io.verify_folder(sealed)
    files = io.read_json(sealed / "manifest.json")["files"]
    assert files["a.txt"] == {"sha256": io.sha256_bytes(b"aaaa"), "size": 4}
    assert sorted(files) == ["a.txt", "deep/b.txt"]
    assert names(sealed.parent) == ["model"]


@pytest.mark.parametrize(
    ("name", "damage", "reason"),
    [
        ("a.txt", lambda path: path.write_text("aaab"), "was changed"),
        ("a.txt", lambda path: path.write_text("a"), "has 1 bytes"),
        ("a.txt", lambda path: path.unlink(), "is missing"),
        ("c.txt", lambda path: path.write_text("new"), "is not in the manifest"),
        ("manifest.json", lambda path: path.unlink(), "is missing"),
        ("manifest.json", lambda path: path.write_text("[]"), "not a manifest"),
        (
            "manifest.json",
            lambda path: path.write_text('{"files": {"a.txt": 1}}'),
            "not a manifest",
        ),
    ],
)
def test_a_damaged_folder_is_refused_by_name(sealed, name, damage, reason):
    damage(sealed / name)
    with pytest.raises(IntegrityError, match=reason) as caught:
        io.verify_folder(sealed)
    assert name in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    with pytest.raises(IntegrityError, match="missing"):
        io.verify_folder(tmp_path / "nothing")


def test_sealing_again_replaces_the_whole(sealed):
    with io.sealed_folder(sealed) as draft:
        io.write_text(draft / "c.txt", "c")
    io.verify_folder(sealed)
    assert names(sealed) == ["c.txt", "manifest.json"]
    assert names(sealed.parent) == ["model"]


def test_a_failure_inside_leaves_the_old_folder(sealed):
    with pytest.raises(RuntimeError), io.sealed_folder(sealed) as draft:
        io.write_text(draft / "a.txt", "new")
        raise RuntimeError
    io.verify_folder(sealed)
    assert (sealed / "a.txt").read_text() == "aaaa"
    assert names(sealed.parent) == ["model"]


def test_death_between_the_two_renames_loses_nothing(sealed):
    sealed.rename(io._old(sealed))
    io.verify_folder(sealed)
    assert names(sealed.parent) == ["model"]


def test_a_folder_half_replaced_is_whole(sealed):
    sealed.rename(io._old(sealed))
    assert io.is_whole(sealed)
    assert not io.is_whole(sealed / "nothing")


def seal_again(path):
    with io.sealed_folder(path) as draft:
        io.write_text(draft / "a.txt", f"{(path / 'a.txt').read_text()}!")


def test_a_folder_is_read_again_where_it_was_replaced_meanwhile(sealed):
    looks = []

    def read(path):
        before = (path / "a.txt").read_text()
        looks.append(before)
        if len(looks) < 4:
            seal_again(path)
        if len(looks) == 2:
            raise IntegrityError("a mix of both")
        return before, (path / "a.txt").read_text()

    assert io.read_sealed_folder(sealed, read) == ("aaaa!!!", "aaaa!!!")
    assert looks == ["aaaa", "aaaa!", "aaaa!!", "aaaa!!!"]


def test_a_folder_that_never_stays_is_told(sealed):
    with pytest.raises(Busy, match="was replaced 5 times while it was read"):
        io.read_sealed_folder(sealed, seal_again)


def test_a_folder_that_nobody_replaced_is_read_once(sealed):
    looks = []
    (sealed / "a.txt").write_text("aaab")
    with pytest.raises(IntegrityError, match="was changed"):
        io.read_sealed_folder(sealed, lambda path: looks.append(path) or io.verify_folder(path))
    assert looks == [sealed]
    with pytest.raises(IntegrityError, match="missing"):
        io.read_sealed_folder(sealed / "nothing", io.verify_folder)


def test_a_folder_that_is_read_while_it_is_sealed_again_is_replaced(sealed, monkeypatch):
    looks = []

    def moved(self, target, rename=Path.rename):
        done = rename(self, target)
        if self == sealed and len(looks) < 3:  # between the two renames
            looks.append(io.verify_folder(sealed))
        return done

    monkeypatch.setattr(Path, "rename", moved)
    with io.sealed_folder(sealed) as draft:
        io.write_text(draft / "c.txt", "c")
    assert [sorted(look) for look in looks] == [["a.txt", "deep/b.txt"]] * 3
    assert list(io.verify_folder(sealed)) == ["c.txt"]
    assert names(sealed.parent) == ["model"]


def test_whoever_puts_a_folder_back_too_late_changes_nothing(sealed, monkeypatch):
    def moved(self, target, rename=Path.rename):
        if self == io._old(sealed):  # the new one is put in place just before
            io.write_text(sealed / "new.txt", "new")
        return rename(self, target)

    sealed.rename(io._old(sealed))
    monkeypatch.setattr(Path, "rename", moved)
    io.recover(sealed)
    assert names(sealed) == ["new.txt"]


def test_a_folder_that_never_gets_its_place_leaves_the_old_one(sealed, monkeypatch):
    def moved(self, target, rename=Path.rename):
        done = rename(self, target)
        if self == sealed:
            io.verify_folder(sealed)
        return done

    monkeypatch.setattr(Path, "rename", moved)
    with pytest.raises(OSError, match="not empty"), io.sealed_folder(sealed) as draft:
        io.write_text(draft / "c.txt", "c")
    assert sorted(io.verify_folder(sealed)) == ["a.txt", "deep/b.txt"]
    assert names(sealed.parent) == ["model"]


def test_a_model_that_is_saved_to_a_link_lies_where_it_leads(sealed, tmp_path):
    links = tmp_path / "links"
    links.mkdir()
    (links / "model").symlink_to("../model")
    with io.sealed_folder(links / "model") as draft:
        io.write_text(draft / "c.txt", "c")
    assert (links / "model").is_symlink()
    assert list(io.verify_folder(sealed)) == list(io.verify_folder(links / "model")) == ["c.txt"]
    assert names(links) == ["model"]
    assert names(tmp_path) == ["links", "model"]


def test_a_file_in_the_place_of_a_link_leaves_alone_what_it_leads_to(tmp_path):
    """In a folder that somebody sent, a report's name may lead anywhere."""
    (tmp_path / "own.txt").write_text("years of work")
    (tmp_path / "report.html").symlink_to(tmp_path / "own.txt")
    io.write_text(tmp_path / "report.html", "a page")
    assert (tmp_path / "own.txt").read_text() == "years of work"
    assert (tmp_path / "report.html").read_text() == "a page"


def test_a_folder_half_replaced_behind_a_link_is_whole(sealed):
    link = sealed.parent / "link"
    link.symlink_to(sealed)
    sealed.rename(io._old(sealed))
    assert io.is_whole(link)
    assert names(sealed.parent) == ["link", "model"]


def test_a_folder_of_the_users_own_behind_a_link_is_never_replaced(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.txt").write_text("years of work")
    (tmp_path / "link").symlink_to(tmp_path / "own")
    with pytest.raises(UsageError, match="did not write"), io.sealed_folder(tmp_path / "link"):
        raise AssertionError("the work must not start")
    assert names(tmp_path / "own") == ["thesis.txt"]


def test_what_file_managers_leave_is_passed_over(sealed, tmp_path):
    for name in (".DS_Store", "deep/Thumbs.db", "desktop.ini"):
        (sealed / name).write_text("a view")
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / ".DS_Store").write_text("a view")
    io.verify_folder(sealed)
    for path in (sealed, tmp_path / "empty"):
        with io.sealed_folder(path) as draft:
            io.write_text(draft / "a.txt", "new")
            (draft / ".DS_Store").write_text("a view, of the draft too")
        assert list(io.verify_folder(path)) == ["a.txt"]
    (sealed / ".DS_Store.txt").write_text("no such name")
    with pytest.raises(IntegrityError, match="is not in the manifest"):
        io.verify_folder(sealed)


def test_a_folder_of_the_users_own_is_never_replaced(tmp_path, sealed):
    own = tmp_path / "own"
    own.mkdir()
    (own / "thesis.txt").write_text("years of work")
    (sealed / "notes.txt").write_text("also")
    for path in (own, sealed, own / "thesis.txt"):
        with pytest.raises(UsageError, match="did not write"), io.sealed_folder(path):
            raise AssertionError("the work must not start")
    assert (own / "thesis.txt").read_text() == "years of work"
    assert (sealed / "notes.txt").exists()
