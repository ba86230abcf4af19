"""R12: whatever an input is, it is read or named; the counts agree."""

from tests.faults.mutants import counted, objects, pictures, tables


def test_damaged_pictures_are_read_or_named():
    found = pictures(200)
    assert found.wrong == []
    assert found.n_read and found.n_named
    assert found.n_read + found.n_named == found.n == 200


def test_damaged_tables_are_read_or_named(tmp_path):
    found = tables(200, tmp_path)
    assert found.wrong == []
    assert found.n_read and found.n_named
    assert found.n_read + found.n_named == found.n == 200


def test_json_of_any_kind_is_read_or_named(tmp_path):
    found = objects(500, tmp_path)
    assert found.wrong == []
    assert found.n_read and found.n_named
    assert found.n_read + found.n_named == found.n == 500


def test_the_unreadable_are_named_and_no_others(tmp_path):
    found = counted(tmp_path, n_bad=12, n_good=20)
    assert found.wrong == []
    assert (found.n_named, found.n_read) == (12, 20)
