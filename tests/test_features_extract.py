"""Rows go through the trunk once, and only those that must."""

import numpy as np
import pytest
from onnxruntime.capi.onnxruntime_pybind11_state import Fail
from PIL import Image

from headstart.data.dataset import Dataset
from headstart.errors import ResourceError, UnreadableRow, UsageError
from headstart.features import engine
from headstart.features import extract as extracting
from headstart.features.engine import OnnxEngine, TorchEngine
from headstart.features.extract import extract, extract_beside, extract_many, forward
from headstart.features.inputs import PictureInputs, inputs_for
from headstart.features.reading import Reading
from headstart.progress import listen
from headstart.sources.catalog import resolve
from headstart.task import Modality
from tests.listener import Notes
from tests.toys import toy_picture_source, toy_text_source

TEXTS = ("good film", "bad", "the cat and the red dog", "", "great blue film")


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return resolve(toy_picture_source(tmp_path_factory.mktemp("toy")))


@pytest.fixture(scope="module")
def texts(tmp_path_factory):
    return resolve(toy_text_source(tmp_path_factory.mktemp("toy") / "bert"))


def _pictures(n, seed=0):
    pixels = np.random.default_rng(seed).integers(0, 256, (n, 40, 36, 3), dtype=np.uint8)
    return Dataset(Modality.IMAGE, tuple(pixels))


def _by_torch(source, data, boundary, pooled=True):
    """Return what PyTorch says of each row alone."""
    inputs = inputs_for(source.preprocess)
    torch = TorchEngine(source, (boundary,), pooled, device="cpu")
    return [torch.run(inputs.batch([inputs.row(row)]))[0][0] for row in data.rows]


def test_features_are_those_of_the_network_in_the_order_of_the_rows(source):
    data = _pictures(11, seed=1)
    features = extract(source, data)
    expected = np.stack(_by_torch(source, data, features.boundary))
    np.testing.assert_allclose(features.array(), expected, rtol=1e-3, atol=1e-5)
    assert features.kept.tolist() == list(range(11))


def test_only_missing_rows_are_computed(source):
    data = _pictures(8, seed=2)
    first = extract(source, data.take(range(5)))
    more = extract(source, data.take([7, 6, 0, 1, 2, 3, 4, 5]))
    again = extract(source, data)
    assert (first.n_computed, more.n_computed, again.n_computed) == (5, 3, 0)
    assert np.array_equal(more.array()[2:7], first.array())
    assert np.array_equal(again.array()[[7, 6]], more.array()[:2])


def test_equal_rows_are_computed_once(source):
    features = extract(source, _pictures(2, seed=3).take([0, 1, 0, 0]))
    assert features.n_computed == 2
    assert np.array_equal(features.array()[0], features.array()[3])


def test_unreadable_rows_are_named_and_left_out(source, tmp_path):
    good, cut, empty = (tmp_path / name for name in ("good.png", "cut.png", "empty.png"))
    Image.fromarray(_pictures(1, seed=4).rows[0]).save(good)
    cut.write_bytes(good.read_bytes()[:300])
    empty.write_bytes(b"")
    paths = (cut, good, tmp_path / "absent.png", empty, cut)
    features = extract(source, Dataset(Modality.IMAGE, paths, names=[p.name for p in paths]))
    assert features.kept.tolist() == [1] and len(features) == 1
    names = [row.row for row in features.skipped]
    assert names == ["cut.png", "absent.png", "empty.png", "cut.png"]
    assert all(row.reason for row in features.skipped)


@pytest.mark.parametrize("ahead", [True, False], ids=["decoded first", "hashed first"])
def test_a_picture_that_is_replaced_while_it_is_read_is_kept_under_no_other_name(
    source, tmp_path, monkeypatch, ahead
):
    old, new = _pictures(3, seed=30 + ahead).rows, _pictures(3, seed=32 + ahead).rows[0][:-1]
    paths = tuple(tmp_path / f"{i}.png" for i in range(3))
    for path, pixels in zip(paths, old, strict=True):
        Image.fromarray(pixels).save(path)
    data = Dataset(Modality.IMAGE, paths)

    def replaced_between(reading, rows, hashed=Reading.contents):
        reading.ahead = {1: reading.pool.submit(reading._read, 1)} if ahead else {}
        contents = None if ahead else hashed(reading, rows)
        for waiting in reading.ahead.values():
            waiting.result()
        Image.fromarray(new).save(paths[1])
        return contents or hashed(reading, rows)

    with monkeypatch.context() as patched:
        patched.setattr(Reading, "contents", replaced_between)
        features = extract(source, data)
    # What was decoded before is decoded anew; what was hashed before is no longer there.
    lost = [] if ahead else ["it was changed while it was read"]
    assert features.kept.tolist() == ([0, 1, 2] if ahead else [0, 2])
    assert [row.reason for row in features.skipped] == lost
    again = extract(source, data)
    assert (again.kept.tolist(), again.n_computed) == ([0, 1, 2], len(lost))
    np.testing.assert_allclose(again.array(), forward(source, data).array(), rtol=2e-3, atol=1e-3)


def test_a_picture_that_is_touched_while_it_is_read_stays(source, tmp_path, monkeypatch):
    path = tmp_path / "1.png"
    Image.fromarray(_pictures(1, seed=40).rows[0]).save(path)

    def linked_between(reading, rows, hashed=Reading.contents):
        contents = hashed(reading, rows)
        (tmp_path / "backup.png").hardlink_to(path)  # the file's ctime is another one
        return contents

    monkeypatch.setattr(Reading, "contents", linked_between)
    features = extract(source, Dataset(Modality.IMAGE, (path,)))
    assert features.kept.tolist() == [0] and not features.skipped


@pytest.mark.parametrize("cache", [True, False], ids=["kept", "in memory"])
def test_stretch_after_stretch_comes_to_what_one_does(source, fresh_home, monkeypatch, cache):
    """Equal rows, and equal ones that cannot be read, stand in one stretch and in several."""
    pictures = _pictures(12, seed=9).rows
    broken = [np.zeros((4, 4, 7), dtype=np.uint8), np.ones((3, 3, 9), dtype=np.uint8)]
    order = [0, 1, 0, -1, 2, 3, -1, 4, -2, 5, 1, 6, 7, 5, 8, -1, 9, 10, 11, 0]
    rows = tuple(broken[i] if i < 0 else pictures[i] for i in order)
    data = Dataset(Modality.IMAGE, rows, names=[f"row {i}" for i in range(len(rows))])
    whole = extract(source, data, cache=False)
    monkeypatch.setattr(extracting, "SHARD_ROWS", 2)
    monkeypatch.setattr(extracting, "STRETCH_ROWS", 8)
    parts = extract(source, data, cache=cache)
    assert parts.kept.tolist() == whole.kept.tolist() and len(whole) == 16
    assert parts.skipped == whole.skipped and len(whole.skipped) == 4
    assert np.array_equal(parts.array(), whole.array())
    assert whole.n_computed == parts.n_computed == 12
    equal = [i for i, row in enumerate(whole.kept) if order[row] == 0]
    assert len(np.unique(parts.where[equal], axis=0)) == 1
    if cache:
        assert extract(source, data).n_computed == 0


def test_ragged_texts_at_several_boundaries_go_in_stretches_too(texts, fresh_home, monkeypatch):
    data = Dataset(
        Modality.TEXT, tuple(f"{text} film {i % 9}" for i in range(12) for text in TEXTS)
    )
    whole = extract_many(texts, data, (1, 2), pooled=False, cache=False)
    monkeypatch.setattr(extracting, "SHARD_ACTIVATIONS", 4)
    monkeypatch.setattr(extracting, "STRETCH_ROWS", 16)
    known = extract(texts, data.take(range(30)), boundary=1, pooled=False)
    parts = extract_many(texts, data, (1, 2), pooled=False)
    assert known.n_computed == 30 and parts[1].n_computed == 45
    for at in (1, 2):
        pairs = zip(parts[at].pieces(slice(None)), whole[at].pieces(slice(None)), strict=True)
        assert all(np.allclose(a, b, atol=2e-3) and a.shape == b.shape for a, b in pairs)


def test_several_boundaries_in_one_pass_are_those_of_one_each(source):
    data = _pictures(5, seed=5)
    alone = extract(source, data.take([0, 1]), boundary=2)
    both = extract_many(source, data, (2, 4))
    assert both[2].n_computed == 5 and both[4].boundary == 4
    assert np.array_equal(both[2].array()[:2], alone.array())
    assert extract(source, data, boundary=4).n_computed == 0


def test_a_row_that_fails_above_a_kept_boundary_is_left_out_of_all(source, monkeypatch):
    data = _pictures(4, seed=15)
    extract(source, data.take([0, 1]), boundary=2)

    def row(inputs, given, *_):
        if given is data.rows[1]:
            raise UnreadableRow("1", "it is gone")
        return read(inputs, given)

    read = PictureInputs.row
    monkeypatch.setattr(PictureInputs, "row", row)
    both = extract_many(source, data, (2, 4))
    assert [one.kept.tolist() for one in both.values()] == [[0, 2, 3]] * 2
    assert [one.reason for one in both[2].skipped] == ["it is gone"]
    beside = extract_beside(source, data, (2, 4)).array()
    assert np.array_equal(beside, np.hstack([both[2].array(), both[4].array()]))


def test_activations_keep_their_places(source):
    data = _pictures(3, seed=6)
    features = extract(source, data, boundary=2, pooled=False)
    expected = np.stack(_by_torch(source, data, 2, pooled=False))
    assert features.shape == expected.shape[1:] and len(features.shape) == 3
    np.testing.assert_allclose(features.array(), expected, rtol=2e-3, atol=1e-3)


def test_views_differ_come_back_and_are_kept_apart(source):
    data = _pictures(3, seed=7)
    plain, first, second = extract(source, data, views=3)
    again = extract(source, data, views=3)
    assert [handle.n_computed for handle in again] == [0, 0, 0]
    assert np.array_equal(again[2].array(), second.array())
    assert not np.allclose(plain.array(), first.array(), rtol=1e-2)
    assert not np.allclose(first.array(), second.array(), rtol=1e-2)


def test_texts_of_like_length_go_together_as_many_as_so_many_tokens_hold(texts, monkeypatch):
    seen, run = [], OnnxEngine.run

    def counted(engine, inputs):
        seen.append(inputs["input_ids"].shape)
        return run(engine, inputs)

    monkeypatch.setattr(OnnxEngine, "run", counted)
    monkeypatch.setattr(OnnxEngine, "tokens", 24)
    monkeypatch.setenv("HEADSTART_THREADS", "1")
    extract(texts, Dataset(Modality.TEXT, ("good film " * 5, *(f"{i} bad" for i in range(9)))))
    n, length = zip(*seen, strict=True)
    assert sum(n) == 10 and length == tuple(sorted(length, reverse=True))
    assert [a for a, b in seen if b == min(length)][-1] == 24 // min(length)


def test_the_trunk_that_ran_last_is_not_opened_again(source, texts, fresh_home, monkeypatch):
    opened, session = [], engine.session
    monkeypatch.setattr(engine, "session", lambda path: opened.append(path.name) or session(path))
    for i in range(3):
        extract(source, _pictures(2, seed=20 + i))
    assert len(opened) == 1
    extract(texts, Dataset(Modality.TEXT, TEXTS))
    extract(source, _pictures(2, seed=23))
    assert len(opened) == 3 and len(set(opened)) == 2  # one alone is kept


def test_texts_are_those_of_the_network_whatever_their_neighbors(texts):
    data = Dataset(Modality.TEXT, TEXTS)
    features = extract(texts, data)
    expected = np.stack(_by_torch(texts, data, features.boundary))
    np.testing.assert_allclose(features.array(), expected, rtol=2e-3, atol=2e-3)


def test_texts_below_the_pooling_are_ragged(texts):
    data = Dataset(Modality.TEXT, TEXTS)
    features = extract(texts, data, boundary=2, pooled=False)
    expected = _by_torch(texts, data, 2, pooled=False)
    assert features.is_ragged
    pieces = features.pieces(range(len(TEXTS)))
    assert [len(piece) for piece in pieces] == [len(value) for value in expected]
    for piece, value in zip(pieces, expected, strict=True):
        np.testing.assert_allclose(piece, value, rtol=2e-3, atol=2e-3)


def test_an_interrupted_extraction_ends_with_the_same_bytes(source, tmp_path, monkeypatch):
    monkeypatch.setattr(extracting, "SHARD_ROWS", 4)
    data = _pictures(10, seed=8)

    def shards(home, *parts):
        monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / home))
        for rows in parts:
            extract(source, data.take(rows))
        files = (tmp_path / home / "features").rglob("*.npy")
        return {file.name: file.read_bytes() for file in files}

    whole = shards("whole", range(10))
    assert len(whole) == 3
    assert shards("killed", range(8), range(10)) == whole  # it had written two shards of three
    monkeypatch.setattr(extracting, "STRETCH_ROWS", 8)
    assert shards("stretched", range(4), range(10)) == whole


class Scarce(Notes):
    """Lets memory run out where a compiled trunk is given more than `most` rows."""

    def __init__(self, monkeypatch, most, error):
        super().__init__()
        self.sizes = []
        whole = OnnxEngine.run

        def run(engine, inputs):
            n = len(next(iter(inputs.values())))
            self.sizes.append(n)
            if n > most:
                raise error
            return whole(engine, inputs)

        monkeypatch.setattr(OnnxEngine, "run", run)


SHORT = [
    MemoryError(),
    RuntimeError("CUDA out of memory."),
    Fail("bfc_arena.cc:360 Failed to allocate memory for requested buffer of size 31457280"),
]


@pytest.mark.parametrize("error", SHORT, ids=lambda error: type(error).__name__)
@pytest.mark.parametrize("most", [2, 3])
def test_where_memory_runs_out_smaller_batches_give_the_same_bytes(
    source, texts, tmp_path, monkeypatch, error, most
):
    pictures = _pictures(11, seed=12)
    sentences = Dataset(
        Modality.TEXT, tuple(f"{text} film {i}" for i in range(7) for text in TEXTS)
    )

    def kept(home):
        monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / home))
        extract(source, pictures)
        extract(texts, sentences, boundary=2, pooled=False)
        files = [path for path in (tmp_path / home / "features").rglob("*") if path.is_file()]
        return {path.name: path.read_bytes() for path in files}

    whole = kept("whole")
    scarce = Scarce(monkeypatch, most, error)
    with listen(scarce):
        assert kept("scarce") == whole
    assert len(whole) == 2 and min(scarce.sizes) >= 2
    told = [int(note.rstrip(".").rsplit(" ", 1)[1]) for note in scarce.said]
    assert told[0] == 2 and told[1:] == sorted(set(told[1:]), reverse=True) and told[-1] <= most


def test_where_not_one_row_fits_it_says_so(source, monkeypatch):
    Scarce(monkeypatch, 0, MemoryError())
    with pytest.raises(ResourceError, match="a single row"):
        extract(source, _pictures(5, seed=13), cache=False)


def test_other_errors_are_not_taken_for_memory(source, monkeypatch):
    scarce = Scarce(monkeypatch, 2, RuntimeError("shape mismatch"))
    with pytest.raises(RuntimeError, match="shape"):
        extract(source, _pictures(4, seed=14), cache=False)
    assert scarce.sizes == [4]


def test_new_rows_are_rounded_as_kept_ones(source):
    data = _pictures(6, seed=9)
    kept = extract(source, data)
    assert np.array_equal(forward(source, data).array(), kept.array())
    assert np.array_equal(extract(source, data, cache=False).array(), kept.array())
    assert forward(source, data).n_computed == 6


def test_vectors_pass_as_they_are():
    identity = resolve("identity:")
    rows = np.arange(6.0).reshape(3, 2)
    features = extract(identity, Dataset(Modality.VECTOR, rows))
    assert features.array().tolist() == rows.tolist() and features.n_computed == 0
    assert forward(identity, Dataset(Modality.VECTOR, rows)).array().tolist() == rows.tolist()


def test_no_rows_are_no_features(source):
    assert len(extract(source, _pictures(0, seed=10))) == 0


def test_the_input_is_no_boundary(source):
    with pytest.raises(UsageError, match="boundary=0"):
        extract(source, _pictures(1, seed=11), boundary=0)
