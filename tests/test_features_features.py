"""A handle reads the right rows from the right shards."""

import numpy as np
import pytest

from headstart.features.features import Features


def _two_shards() -> Features:
    first = np.array([[0.0, 1.0], [2.0, 3.0]], dtype=np.float16)
    second = np.array([[4.0, 5.0]], dtype=np.float32)
    where = np.array([[1, 0], [0, 0], [0, 1]])
    return Features((first, second), where, 3, "key", kept=np.array([0, 2, 5]))


def test_rows_come_in_the_order_asked_from_any_shard():
    features = _two_shards()
    assert features.batch([2, 0]).tolist() == [[2, 3], [4, 5]]
    assert features.array().tolist() == [[4, 5], [0, 1], [2, 3]]
    assert features.array().dtype == np.float32
    assert features.shape == (2,) and len(features) == 3


def test_chunks_cover_every_row_once():
    parts = list(_two_shards().chunks(2))
    assert [part for part, _ in parts] == [slice(0, 2), slice(2, 3)]
    assert [values.tolist() for _, values in parts] == [[[4, 5], [0, 1]], [[2, 3]]]


def test_take_keeps_which_rows_they_were():
    taken = _two_shards().take(np.array([True, False, True]))
    assert taken.kept.tolist() == [0, 5]
    assert taken.array().tolist() == [[4, 5], [2, 3]]


def test_other_rows_do_not_stand_beside_these():
    features = _two_shards()
    assert features.beside(features).array().tolist()[0] == [4, 5, 4, 5]
    for index in ([0, 1], [0, 2, 1]):
        with pytest.raises(ValueError, match="other rows"):
            features.beside(features.take(index))


def test_ragged_rows_come_one_by_one():
    shard = np.arange(6.0).reshape(3, 2)
    where = np.array([[0, 0], [0, 1]])
    features = Features((shard,), where, 1, "key", np.arange(2), offsets=(np.array([0, 2, 3]),))
    assert [row.tolist() for row in features.pieces([1, 0])] == [[[4, 5]], [[0, 1], [2, 3]]]
    with pytest.raises(ValueError, match="ragged"):
        features.batch([0])


def test_no_rows_are_an_empty_array():
    assert _two_shards().take([]).array().shape == (0, 2)


def test_rows_are_read_in_the_precision_they_came_in_from_float32_up():
    for given, read in (("f2", "f4"), ("f4", "f4"), ("u1", "f4"), ("f8", "f8"), ("i8", "f8")):
        features = Features.of(np.ones((2, 1), dtype=given))
        assert features.array().dtype == features.take([0]).array().dtype == np.dtype(read)
    exact = Features.of(np.array([[1.7e9 + 1]]))
    assert exact.batch([0])[0, 0] == exact.pieces([0])[0][0] == 1.7e9 + 1
