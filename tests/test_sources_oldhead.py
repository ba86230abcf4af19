"""Old heads are kept beside the weights, and made again where the copy is damaged."""

import dataclasses

import numpy as np
import pytest

from headstart import io
from headstart.sources import catalog, oldhead
from tests.toys import toy_picture_source


@pytest.mark.parametrize("damage", ["{", "{}", None])
def test_a_head_whose_manifest_is_damaged_is_made_again(damage, fresh_home, tmp_path, monkeypatch):
    source = catalog.resolve(toy_picture_source(tmp_path))
    source = dataclasses.replace(source, architecture=source.architecture | {"old_labels": 3})
    monkeypatch.setattr(oldhead, "read_weights", lambda _: {"head": np.ones((3, 4))})
    oldhead.old_head(source, 4)
    (manifest,) = fresh_home.glob("sources/*.head/manifest.json")
    manifest.unlink() if damage is None else manifest.write_text(damage)
    assert oldhead.old_head(source, 4).weight.shape == (3, 4)
    assert io.is_whole(manifest.parent)
