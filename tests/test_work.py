"""How much work is done, counted: rows through the trunk, passes, bytes. Time is for the bench.

Each number is what must be done and no more; a change that does something twice is found here, on
any machine, however busy.
"""

import gc
import tracemalloc

import numpy as np
import pytest

import headstart as hs
from headstart.data.dataset import Dataset
from headstart.features import extract as extracting
from headstart.features.cache import FeatureCache
from headstart.features.engine import ONNX_BATCH, OnnxEngine
from headstart.features.extract import extract
from headstart.sources.catalog import resolve
from headstart.steps.loop import Descent
from headstart.steps.phase import Phase
from headstart.store import store
from headstart.task import Kind, Modality, Task
from tests.toys import toy_picture_source

N, N_TEST = 40, 8
BATCH = ONNX_BATCH[Modality.IMAGE]


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    return toy_picture_source(tmp_path_factory.mktemp("toy"))


@pytest.fixture
def ran(monkeypatch):
    """The sizes of the batches that go through compiled trunks, in order."""
    sizes, run = [], OnnxEngine.run

    def counted(self, inputs):
        sizes.append(len(next(iter(inputs.values()))))
        return run(self, inputs)

    monkeypatch.setattr(OnnxEngine, "run", counted)
    return sizes


def pictures(n=N, seed=0, split=None):
    random = np.random.default_rng(seed)
    targets = np.arange(n) % 2
    pixels = random.integers(0, 200, (n, 36, 36, 3), dtype=np.uint8)
    pixels[targets == 1, :, :, 0] += 50
    task = Task(Kind.MULTICLASS, ("dark", "red"))
    return Dataset(Modality.IMAGE, tuple(pixels), task, targets, split=split)


def split():
    return np.array(["test"] * N_TEST + ["validation"] * N_TEST + ["train"] * (N - 2 * N_TEST))


def size_of(folder):
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


def test_a_frozen_fit_runs_every_row_once_and_a_second_none(uri, fresh_home, ran):
    data = pictures(split=split())
    model = hs.Transfer(uri, finetune="no").fit(data)
    assert sum(ran) == N
    assert len(ran) == N // BATCH
    ran.clear()
    hs.Transfer(uri, finetune="no", seed=1).fit(data)
    hs.Transfer(uri, finetune="no", head="mlp").fit(data)
    assert ran == []
    model.predict(pictures(3, seed=9).rows)
    assert ran == [3]


def test_a_fit_whose_trunk_is_compiled_does_not_compile_it_again(uri, fresh_home):
    hs.Transfer(uri, finetune="no").fit(pictures())
    graphs = {path: path.stat().st_mtime_ns for path in (fresh_home / "graphs").iterdir()}
    assert graphs
    hs.Transfer(uri, finetune="no").fit(pictures(seed=1))
    assert graphs == {path: path.stat().st_mtime_ns for path in (fresh_home / "graphs").iterdir()}


def test_finetuning_runs_the_frozen_part_once_a_view_and_the_rest_once_an_epoch(
    uri, fresh_home, ran, monkeypatch
):
    steps, forward = [], Descent.forward

    def counted(self, examples, rows):
        steps.append((self.tail.training, len(rows)))
        return forward(self, examples, rows)

    monkeypatch.setattr(Descent, "forward", counted)
    phase = Phase(epochs=3, views=2, batch=8, patience=3)
    model = hs.Transfer(uri, finetune="only:last:1", phase=phase).fit(pictures(split=split()))
    n_train = N - 2 * N_TEST
    assert len(model.curve_) == phase.epochs
    trained = [n for training, n in steps if training]
    watched = [n for training, n in steps if not training]
    assert sum(trained) == phase.epochs * n_train
    assert len(trained) == phase.epochs * n_train // phase.batch
    assert sum(watched) == phase.epochs * N_TEST
    # Pooled features of all rows; then activations: each view of the training rows, the plain one
    # of those that say when to stop. The moved network is run on validation and test rows.
    frozen = N + (1 + phase.views) * n_train + N_TEST
    assert sum(ran) <= frozen + 2 * N_TEST
    assert sum(ran) >= frozen


def test_what_is_written_is_what_the_features_take(uri, fresh_home):
    source, data = resolve(uri), pictures()
    features = extract(source, data)
    shards = fresh_home / "features"
    first, values = size_of(shards), 2 * N * features.shape[-1]  # float16
    assert values <= first <= values + 256  # the header of a .npy
    extract(source, data)
    assert size_of(shards) == first


def test_new_rows_are_all_that_is_written(uri, fresh_home):
    source, data = resolve(uri), pictures(N + 4)
    extract(source, data.take(range(N)))
    before = {path for path in (fresh_home / "features").rglob("*") if path.is_file()}
    grown = extract(source, data)
    after = {path for path in (fresh_home / "features").rglob("*") if path.is_file()}
    assert grown.n_computed == 4
    (new,) = after - before
    assert new.stat().st_size <= 2 * 4 * grown.shape[-1] + 256


class Made:
    """Pictures made when asked for, so that they take no memory themselves."""

    def __init__(self, start, n):
        self.start, self.n = start, n
        self.noise = np.random.default_rng(0).integers(0, 256, 8 * 8 * 3, dtype=np.uint8)

    def __len__(self):
        return self.n

    def __getitem__(self, i):
        if i >= self.n:
            raise IndexError(i)
        row = self.noise.copy()
        row[:4] = np.frombuffer((self.start + i).to_bytes(4, "little"), dtype=np.uint8)
        return row.reshape(8, 8, 3)


def held(source, data, n_computed, monkeypatch):
    """Return the bytes that Python and numpy hold at the start of every stretch of an extraction.

    Nothing is under way there: how far threads ran ahead does not count.
    """
    told = []
    find = FeatureCache.find

    def noted(self, key, hashes):
        gc.collect()
        told.append(tracemalloc.get_traced_memory()[0])
        return find(self, key, hashes)

    tracemalloc.start()
    try:
        with monkeypatch.context() as patch:
            patch.setattr(FeatureCache, "find", noted)
            assert extract(source, data).n_computed == n_computed
    finally:
        tracemalloc.stop()
    return told


def test_a_row_that_is_done_or_known_takes_few_bytes(uri, fresh_home, monkeypatch):
    """Rows more hold where their features are: no pixels, no hash, no Python objects."""
    n, stretch = 2048, 256
    monkeypatch.setattr(extracting, "SHARD_ROWS", 128)
    monkeypatch.setattr(extracting, "STRETCH_ROWS", stretch)
    monkeypatch.setattr(store, "_AT_ONCE", 100)
    source, data = resolve(uri), Dataset(Modality.IMAGE, Made(0, n))
    for n_computed, at_most in ((n, 50), (0, 20)):
        # The first stretch opens and imports what is opened and imported once.
        _, first, *_, last = held(source, data, n_computed, monkeypatch)
        assert (last - first) / (n - 2 * stretch) <= at_most
