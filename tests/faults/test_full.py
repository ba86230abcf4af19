"""R7: where a disk is full, the path and the bytes are said, and nothing is lost."""

import pytest

from tests.faults.full import filled, limited, may_mount


def test_no_room_at_any_size_of_file(tmp_path):
    found = limited("everything", [100, 2_000, 40_000, 100_000, 200_000, 10_000_000], tmp_path)
    assert found.wrong == []
    assert found.n_levels == 6
    assert 4 <= found.n_refused < 6


@pytest.mark.skipif(not may_mount(), reason="a tmpfs can be mounted by root only")
def test_a_full_disk_at_every_level(tmp_path):
    levels = [size << 10 for size in (96, 128, 160, 192, 224, 256, 320, 384, 448, 2048)]
    found = filled("everything", levels, tmp_path)
    assert found.wrong == []
    assert found.n_levels >= 5
    assert 3 <= found.n_refused < found.n_levels
