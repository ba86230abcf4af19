"""R5, R15, R16: many at once, and some of them killed."""

from tests.faults.crowd import claims, owners, reclaims, writers


def test_of_many_claims_of_a_job_one_succeeds(tmp_path):
    crowd = claims(tmp_path, n_processes=4, n_jobs=25)
    assert crowd.wrong == []
    assert crowd.n == 100


def test_what_a_killed_writer_said_is_written_is_there(tmp_path):
    crowd = writers(tmp_path, n_kills=16)
    assert crowd.wrong == []
    assert crowd.n_kills >= 16 and crowd.n > 16


def test_a_run_folder_has_one_owner_and_the_dead_own_nothing(tmp_path):
    crowd = owners(tmp_path, n_races=10)
    assert crowd.wrong == []
    assert crowd.n_kills


def test_the_jobs_of_the_killed_are_done_once(tmp_path):
    crowd = reclaims(tmp_path, n_kills=6)
    assert crowd.wrong == []
    assert crowd.n == 8
