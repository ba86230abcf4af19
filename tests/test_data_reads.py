"""Whoever scores test rows is counted, once."""

from hashlib import sha256

import numpy as np
import pytest

from headstart.data.dataset import Dataset, untested
from headstart.data.pictures import row_hash
from headstart.data.reads import N_KEPT, PREFIX, count_read
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


def test_a_row_more_or_less_does_not_make_the_others_unseen(numbers, fresh_home):
    assert reads(numbers) == 1
    assert reads(numbers.take(np.arange(39))) == 2
    other = numbers.take(np.concatenate([np.arange(30), np.arange(5)]))
    parts = np.array(["train"] * 30 + ["test"] * 5)
    assert reads(other.with_split(parts)) == 1  # none of them was read


def test_of_many_rows_as_many_as_are_kept_tell_that_sets_overlap(fresh_home):
    rows = [str(i).encode() for i in range(5 * N_KEPT)]
    with open_store() as store:
        assert count_read(store, rows, "me") == 1
        (facts,) = store.outcomes_under(PREFIX).values()
        marks = sorted(sha256(row).digest()[:8] for row in rows)
        assert bytes.fromhex(facts["rows"]) == b"".join(marks[:N_KEPT])
        assert count_read(store, rows[1:], "me") == 2
        assert count_read(store, rows, "me") == 2


@pytest.mark.parametrize("is_first", [True, False])
def test_a_set_within_a_much_larger_one_was_seen_with_it(fresh_home, is_first):
    larger = [str(i).encode() for i in range(50_000)]
    within, beside = larger[:2000], [f"other {i}".encode() for i in range(2000)]
    with open_store() as store:
        first, second = (larger, within) if is_first else (within, larger)
        assert count_read(store, first, "me") == 1
        assert count_read(store, beside, "me") == 1
        assert count_read(store, second, "me") == 2


def test_rows_that_any_set_may_hold_make_no_two_of_many_the_same(fresh_home):
    larger = [str(i).encode() for i in range(5 * N_KEPT)]
    kept = sorted(larger, key=lambda row: sha256(row).digest())[:2]
    with open_store() as store:
        assert count_read(store, larger, "me") == 1
        assert count_read(store, [b"ant", *kept], "me") == 1


def test_a_row_that_any_set_may_hold_makes_no_two_the_same(fresh_home):
    with open_store() as store:
        for name in ("a", "b"):
            rows = [f"{name}{i}".encode() for i in range(20)] + [b"ok"]
            assert count_read(store, rows, "me") == 1


def test_counts_that_were_kept_without_their_rows_count(fresh_home):
    with open_store() as store:
        count_read(store, [b"ant"], "me")
        ((study, _),) = store.outcomes_under(PREFIX)
        store.put_outcome(study, "older", {})
        assert count_read(store, [b"ant"], "me") == 2
        assert count_read(store, [b"bee"], "me") == 1
