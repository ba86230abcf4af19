"""S3, S20: whatever a file holds, its parser reads it or raises an error of ours."""

from tests.faults.fuzz import fuzzed


def test_parsers_of_changed_files_raise_errors_of_ours(fresh_home, tmp_path):
    found = fuzzed(tmp_path, 60)
    assert {tally.what: tally.wrong[:3] for tally in found if tally.wrong} == {}
    assert len(found) == 11
    assert all(tally.n == 60 and tally.n_named > 10 for tally in found)
