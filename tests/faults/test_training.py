"""R13, R14, R21, and R4: what disturbs a training, and how it ends."""

from tests.faults.training import broken, same, scarce, starved


def test_a_loss_that_breaks_is_found_in_its_step():
    found = broken(30)
    assert found.wrong == []
    assert found.told["rolled back, and ended"] and found.told["refused"]


def test_memory_that_runs_out_changes_no_curve():
    found = scarce(10)
    assert found.wrong == []
    assert found.told["largest difference"] <= 1e-5


def test_memory_that_runs_out_changes_no_features(tmp_path):
    assert starved(3, tmp_path).wrong == []


def test_the_same_seed_gives_the_same_bytes_and_other_threads_are_told(tmp_path):
    found = same(3, tmp_path)
    assert found.wrong == []
    assert found.told["hashes"] == 1
