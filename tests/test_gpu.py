"""On a GPU the engine is PyTorch in bfloat16: the same features, within what bfloat16 can say."""

import numpy as np
import pytest

from headstart.data.dataset import Dataset
from headstart.features.extract import forward
from headstart.sources.catalog import resolve
from headstart.task import Modality
from tests.toys import toy_picture_source


@pytest.mark.gpu
def test_features_agree_with_the_processor(tmp_path, monkeypatch):
    torch = pytest.importorskip("torch")
    device = "cuda" if torch.cuda.is_available() else "mps"
    source = resolve(toy_picture_source(tmp_path))
    rng = np.random.default_rng(0)
    rows = tuple(rng.integers(0, 255, size=(40, 40, 3), dtype=np.uint8) for _ in range(8))
    data = Dataset(Modality.IMAGE, rows)
    found = {}
    for on in ("cpu", device):
        monkeypatch.setenv("HEADSTART_DEVICE", on)
        found[on] = forward(source, data).array()
    gap = np.abs(found[device] - found["cpu"]).max() / np.abs(found["cpu"]).max()
    assert gap <= 2e-2  # bfloat16 keeps 8 bits


@pytest.mark.gpu
def test_finetuning_learns_on_the_device(tmp_path, monkeypatch):
    import headstart as hs

    torch = pytest.importorskip("torch")
    monkeypatch.setenv("HEADSTART_DEVICE", "cuda" if torch.cuda.is_available() else "mps")
    rng = np.random.default_rng(0)
    y = np.arange(80) % 2
    rows = [rng.integers(0, 120, size=(36, 36, 3), dtype=np.uint8) + 100 * int(c) for c in y]
    uri = toy_picture_source(tmp_path)
    model = hs.Transfer(uri, finetune="last:1", phase=hs.Phase(epochs=2)).fit(rows, y.astype(str))
    assert model.score(rows, y.astype(str)) > 0.9
