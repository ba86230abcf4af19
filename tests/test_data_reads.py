"""Whoever scores test rows is counted, once."""

import numpy as np
import pytest

from headstart.data.dataset import Dataset, untested
from headstart.data.pictures import row_hash
from headstart.data.reads import count_read
from headstart.store.store import open_store
from headstart.task import Kind, Modality, Task
from headstart.transfer.transfer import Transfer


@pytest.fixture
def numbers():
    """Forty rows of three numbers, ten of them to test on."""
    rows = np.random.default_rng(0).normal(size=(40, 3))
    split = np.array(["train"] * 30 + ["test"] * 10)
    task = Task(Kind.MULTICLASS, ("low", "high"))
    return Dataset(Modality.VECTOR, rows, task, (rows[:, 0] > 0).astype(np.int64), split)


def reads(data):
    with open_store() as store:
        return count_read(store, [row_hash(row) for row in data.only("test").rows], "me")


def test_a_fit_that_scores_the_test_rows_is_counted_once(numbers, fresh_home):
    Transfer().fit(numbers)
    Transfer().fit(numbers)
    assert reads(numbers) == 2


def test_fits_that_differ_are_counted_each(numbers, fresh_home):
    Transfer().fit(numbers)
    Transfer(seed=1).fit(numbers)
    assert reads(numbers) == 3


def test_without_its_test_rows_a_fit_reads_nothing(numbers, fresh_home):
    Transfer().fit(untested(numbers))
    assert reads(numbers) == 1


def test_the_order_of_the_rows_is_no_other_reading(numbers, fresh_home):
    assert reads(numbers) == reads(numbers.take(np.arange(40)[::-1])) == 1
