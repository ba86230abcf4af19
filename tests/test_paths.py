"""Data as `read` reads them may be handed over: `rank` and `prove` read a path as a fit does."""

import pytest

import headstart as hs
from headstart.errors import DataError, UsageError
from headstart.task import Kind
from tests.toys import toy_text_source


def test_a_ranking_reads_a_path(tmp_path, fresh_home):
    source, table = toy_text_source(tmp_path / "bert"), tmp_path / "films.csv"
    lines = [f"a {'good' if i % 2 else 'bad'} film {i},{i % 2}" for i in range(24)]
    table.write_text("text,label\n" + "\n".join(lines) + "\n")
    found = hs.rank(str(table), sources=[source])
    assert found.rows == hs.rank(hs.read(table), sources=[source]).rows


def test_a_proof_reads_a_path_as_its_model_would(tmp_path, monkeypatch):
    seen = []

    def prepare(model, data, *_):
        seen.append(data)
        raise UsageError("enough")

    monkeypatch.setattr("headstart.evidence.prove.prepare", prepare)
    table = tmp_path / "stars.csv"
    table.write_text("text,stars\n" + "good,1\nbad,2\n" * 20 + "fair,\n")
    with pytest.raises(DataError, match="1 of 41"):
        hs.prove(hs.Transfer(), table)
    for model in (hs.Transfer(max_skipped=0.05), hs.TransferRegressor(max_skipped=0.05)):
        with pytest.raises(UsageError, match="enough"):
            hs.prove(model, str(table))
    assert [one.task.kind for one in seen] == [Kind.MULTICLASS, Kind.REGRESSION]
    assert [len(one.skipped) for one in seen] == [1, 1]
