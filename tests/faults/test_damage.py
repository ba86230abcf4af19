"""R10 and R11: no damaged byte of ours is used, whichever file it is in."""

import numpy as np
import pytest

from headstart.transfer.transfer import Transfer
from tests.faults.damage import CUTS, FLIPS, damaged, kinds

NAMES = (
    "model", "features", "ragged features", "store", "checkpoint", "moved weights",
    "converted weights", "ranking", "evidence", "compiled trunk", "outcome",
)  # fmt: skip


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    rows = np.random.default_rng(0).normal(size=(60, 4))
    fitted = Transfer().fit(rows, (rows[:, 0] > 0).astype(int))
    return fitted.save(tmp_path_factory.mktemp("fitted") / "model")


def test_every_kind_of_file_is_tried(model):
    assert tuple(kinds(model)) == NAMES


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("ways", [FLIPS, CUTS], ids=["bits", "cuts"])
def test_damage_is_never_used(name, ways, model, tmp_path):
    tally = damaged(name, kinds(model)[name], ways, 100, tmp_path)
    assert tally.wrong == []
    assert tally.n == 100
    if name != "store":  # most pages of a small database are empty
        assert tally.found["the same"] <= 2


def test_the_measure_would_notice(model, tmp_path):
    """A reader that checks nothing is found out."""

    class Trusting:
        def make(self, folder):
            (folder / "values.bin").write_bytes(bytes(range(256)))

        def read(self, folder):
            return (folder / "values.bin").read_bytes()

    assert len(damaged("trusting", Trusting(), FLIPS, 20, tmp_path).wrong) == 20
