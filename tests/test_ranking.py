"""A ranking is measured once, says what it knows, and survives sources that cannot be used."""

import dataclasses
import json
from types import SimpleNamespace

import joblib
import numpy as np
import pytest
from joblib.externals.loky import get_reusable_executor
from PIL import Image

from headstart.data.dataset import TEST, TRAIN, Dataset, Skipped
from headstart.errors import DataError, IntegrityError, SourceUnavailable, UsageError
from headstart.features.engine import OnnxEngine
from headstart.features.extract import extract
from headstart.jobs import once
from headstart.metrics.interval import Interval
from headstart.ranking import candidates
from headstart.ranking.finetuned import _tuned, finetuned
from headstart.ranking.measure import N_TIMED, facts_of
from headstart.ranking.memory import memory_bytes
from headstart.ranking.probe import Probed
from headstart.ranking.rank import rank, rank_whole
from headstart.ranking.schedule import Round
from headstart.ranking.search import Belief, Search
from headstart.ranking.standing import Asked, Prober, Standing
from headstart.sources import catalog, oldhead
from headstart.store.store import open_store
from headstart.task import Kind, Modality, Task
from tests.toys import toy_picture_source, toy_text_source

WORDS = {"good": ("good", "great"), "bad": ("bad", "awful"), "cat": ("cat", "dog")}


@pytest.fixture(scope="module")
def toys(tmp_path_factory):
    folder = tmp_path_factory.mktemp("toys")
    small, other = (toy_text_source(folder / f"bert{n}", n_layers=n, seed=n) for n in (2, 4))
    return small, other, toy_picture_source(folder / "picture")


def _texts(n, seed=0, kind=Kind.MULTICLASS):
    """Return texts whose class is in their words."""
    rng = np.random.default_rng(seed)
    labels = tuple(sorted(WORDS))
    targets = np.arange(n) % len(labels)
    rows = [
        " ".join([*rng.choice(["the", "red", "blue", "film"], 5), rng.choice(WORDS[labels[t]])])
        + f" {i}"
        for i, t in enumerate(targets)
    ]
    if kind is Kind.REGRESSION:
        return Dataset(Modality.TEXT, tuple(rows), Task(kind), targets.astype(float))
    if kind is Kind.MULTILABEL:
        columns = np.eye(3, dtype=np.int8)[targets]
        return Dataset(Modality.TEXT, tuple(rows), Task(kind, labels), columns)
    return Dataset(Modality.TEXT, tuple(rows), Task(kind, labels), targets)


@pytest.mark.parametrize(("n", "seed"), [(24, 0), (60, 1), (240, 2)])
def test_two_sources_are_ranked_and_a_second_call_computes_nothing(toys, fresh_home, n, seed):
    data = _texts(n, seed)
    first = rank(data, sources=toys[:2], seed=seed)
    again = rank(data, sources=toys[:2], seed=seed)
    assert {row.source.uri for row in first.rows} == set(toys[:2])
    assert first.n_computed == 2 * n and again.n_computed == 0
    assert again.rows == first.rows and again.rounds == first.rounds
    best = max(first.rows, key=lambda row: row.score.mid)
    assert best.difference.mid == 0 and best.is_tied
    assert all(0 <= row.score.low <= row.score.mid <= row.score.high <= 1 for row in first.rows)
    assert all(row.latency_ms > 0 and row.memory_bytes > 0 for row in first.rows)
    json.dumps(first.to_json())
    assert first.best.uri in str(first)


def test_a_second_call_opens_no_network(toys, fresh_home, monkeypatch):
    data = _texts(30, seed=3)
    first = rank(data, sources=toys[:2])
    monkeypatch.setattr(catalog, "open_backbone", lambda _: pytest.fail("a network was opened"))
    assert rank(data, sources=toys[:2]).rows == first.rows
    more = rank(_texts(36, seed=13), sources=toys[:2])  # other data, the same sources
    assert more.n_computed == 72


def test_whole_sources_leave_their_features_for_the_fit(toys, fresh_home):
    data = _texts(30, seed=14)
    found = rank_whole(data, sources=toys[:2])
    assert all(row.boundary is None and len(row.by_boundary) > 1 for row in found.rows)
    assert extract(found.best, data).n_computed == 0


def test_test_rows_are_not_read(toys, fresh_home):
    data = _texts(60, seed=4)
    half = data.with_split([TRAIN if i < 30 else TEST for i in range(60)])
    other = dataclasses.replace(half, rows=(*half.rows[:30], *(["bad"] * 30)))
    found = [rank(one, sources=toys[:1]) for one in (half, other)]
    assert found[0].rows == found[1].rows
    assert (found[0].n_computed, found[1].n_computed) == (30, 0)


@pytest.mark.parametrize("kind", [Kind.REGRESSION, Kind.MULTILABEL])
def test_other_tasks(toys, fresh_home, kind):
    found = rank(_texts(45, seed=5, kind=kind), sources=toys[:2])
    assert len(found.rows) == 2
    assert found.measure == {Kind.REGRESSION: "R²", Kind.MULTILABEL: "F1 of a row"}[kind]
    assert all(row.trainless.h_score is None for row in found.rows)


def test_sources_that_cannot_be_used_are_listed_with_the_reason(toys, fresh_home, tmp_path):
    broken = toy_text_source(tmp_path / "broken")
    weights = tmp_path / "broken" / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-9])
    uris = [toys[0], toys[2], broken, "pkg:no-such-model", "file:/nowhere/at/all.toml"]
    found = rank(_texts(30), sources=uris)
    assert [row.source.uri for row in found.rows] == [toys[0]]
    reasons = {one.uri: one.reason for one in found.left_out}
    assert set(reasons) == set(uris[1:]) and all(reasons.values())
    assert "image" in reasons[toys[2]]


def test_limits(toys, fresh_home):
    data = _texts(30)
    with pytest.raises(SourceUnavailable, match="unknown; asked for: permissive"):
        rank(data, sources=toys[:1], license="permissive")
    with pytest.raises(SourceUnavailable, match="M parameters"):
        rank(data, sources=toys[:1], max_params=10)
    with pytest.raises(SourceUnavailable, match="ms a row"):
        rank(data, sources=toys[:1], max_latency_ms=1e-6)
    for wrong in ({"max_params": 0}, {"max_latency_ms": -1}, {"budget_s": 0}):
        with pytest.raises(UsageError, match=next(iter(wrong))):
            rank(data, sources=toys[:1], **wrong)


def test_a_source_too_large_for_the_machine_is_listed(toys, fresh_home, monkeypatch):
    monkeypatch.setattr("headstart.ranking.candidates._memory_bytes", lambda: 10)
    with pytest.raises(SourceUnavailable, match="this machine has"):
        rank(_texts(30), sources=toys[:1])


def test_what_cannot_be_ranked_is_said(toys):
    data = _texts(30)
    one_class = dataclasses.replace(data, targets=np.zeros(30, dtype=np.int64))
    lonely = dataclasses.replace(data, targets=np.array([2] + [0] * 29))
    constant = dataclasses.replace(data, task=Task(Kind.REGRESSION), targets=np.full(30, 2.5))
    vectors = Dataset(Modality.VECTOR, np.ones((30, 2)), data.task, data.targets)
    for wrong, words in (
        (one_class, "one class"), (lonely, "'good' has one training row"),
        (constant, "All 30 targets are 2.5"), (Dataset(Modality.TEXT, data.rows), "no labels"),
    ):  # fmt: skip
        with pytest.raises(DataError, match=words):
            rank(wrong, sources=toys[:1])
    with pytest.raises(UsageError, match="nothing to rank"):
        rank(vectors)
    tags = dataclasses.replace(data, task=Task(Kind.TAGS, ("O", "B-PER", "I-PER")))
    with pytest.raises(UsageError, match="A tag a word"):
        rank(tags)


def test_the_jobs_are_decided_once(toys, fresh_home, monkeypatch):
    data = _texts(40, seed=6)
    first = rank(data, sources=toys[:2], budget_s=100)
    monkeypatch.setattr("headstart.ranking.rank.schedule", lambda *_: pytest.fail("decided anew"))
    assert rank(data, sources=toys[:2], budget_s=100).rounds == first.rounds


def test_the_last_two_are_fine_tuned_where_asked_for_and_once(toys, fresh_home, monkeypatch):
    data = _texts(60, seed=9)
    first = rank(data, sources=toys[:2], finetune=True)
    assert all(0 <= row.finetuned.mid <= 1 for row in first.rows)
    monkeypatch.setattr("headstart.steps.finetune.finetune", lambda *_, **__: pytest.fail("again"))
    again = rank(data, sources=toys[:2], finetune=True)
    assert again.rows == first.rows and again.n_computed == 0
    assert all(row.finetuned is None for row in rank(data, sources=toys[:2]).rows)
    with pytest.raises(pytest.fail.Exception, match="again"):
        rank(data, sources=toys[:2], finetune=True, fresh=True)


@pytest.mark.parametrize("kind", [Kind.REGRESSION, Kind.MULTILABEL])
def test_what_fine_tuning_gave_is_on_the_scale_of_the_probe(toys, fresh_home, kind):
    """The same outputs give the same scores, whoever judges them."""
    data, source = _texts(60, kind=kind), catalog.resolve(toys[0])
    features = extract(source, data)
    tuned = finetuned(source, data, features, 0, "rank-key")
    with open_store() as store:
        kept = once(source.uri, dict, study="rank-key-60", store=store)
    said = np.array(kept["said"], dtype=np.float32).reshape(len(tuned.rows), -1)
    among = np.asarray(data.targets)
    again = Probed.of(tuned.rows, data.task, among, said)
    np.testing.assert_array_equal(tuned.scores, again.scores)
    if kind is Kind.REGRESSION:
        expected = 1 - (among[tuned.rows] - said[:, 0]) ** 2 / among.var()
        np.testing.assert_allclose(tuned.scores, expected)


def test_a_source_that_reads_its_rows_otherwise_is_measured_anew(toys, fresh_home, monkeypatch):
    asked, done = {"data": _texts(60), "sources": toys[:1], "finetune": True}, []
    resolve = candidates.resolve

    def edited(uri, **given):
        card = resolve(uri, **given)
        return dataclasses.replace(
            card, preprocess=dataclasses.replace(card.preprocess, max_length=5)
        )

    rank(**asked)
    for path, whole in (("rank.facts_of", facts_of), ("finetuned._tuned", _tuned)):
        monkeypatch.setattr(
            f"headstart.ranking.{path}",
            lambda *given, path=path, whole=whole: done.append(path) or whole(*given),
        )
    rank(**asked)
    assert not done
    monkeypatch.setattr(candidates, "resolve", edited)
    rank(**asked)
    assert done == ["rank.facts_of", "finetuned._tuned"]


def test_a_class_of_one_row_is_left_out_and_named(toys, fresh_home):
    data = _texts(60)
    targets = np.where(np.arange(60) == 7, 3, data.targets)
    task = Task(Kind.MULTICLASS, (*data.task.labels, "zebra"))
    found = rank(dataclasses.replace(data, task=task, targets=targets), sources=toys[0])
    assert len(found.rows) == 1 and found.rows[0].n_rows == 59
    assert found.notes[0] == "Ranked without a class of one row: 'zebra'."


def test_unreadable_rows_are_named_or_too_many(toys, fresh_home, tmp_path):
    for i in range(60):
        path = tmp_path / "pictures" / "ab"[i % 2] / f"{i}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(i).integers(0, 255, (32, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(path)
        if i < 16:
            path.write_bytes(path.read_bytes()[:60])
    asked = {"data": str(tmp_path / "pictures"), "sources": toys[2]}
    with pytest.raises(DataError, match="16 of 60 rows cannot be used"):
        rank(**asked)
    found = rank(**asked, max_skipped=0.5)
    assert found.rows[0].n_rows == 44
    assert any("(16)" in note and "5.png" in note for note in found.notes)


def test_rows_that_the_reader_left_out_are_named_too(toys, fresh_home):
    data = dataclasses.replace(_texts(60), skipped=(Skipped("t.csv:9", "no label"),))
    (note,) = rank(data, sources=toys[:1]).notes
    assert note == "Rows that cannot be read took no part (1):\n  t.csv:9: no label"


def test_a_budget_that_cannot_be_kept_is_said(toys, fresh_home):
    found = rank(_texts(60), sources=toys[:2], budget_s=1e-6)
    assert any("more than the 1e-06 s asked for" in note for note in found.notes)
    assert not rank(_texts(60), sources=toys[:2], budget_s=1000).notes


def test_what_is_too_slow_takes_no_time_of_the_others(toys, fresh_home, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "headstart.ranking.rank.schedule",
        lambda n, k, seconds, budget: seen.append(len(seconds)) or (Round(n, len(seconds)),),
    )
    monkeypatch.setattr("headstart.ranking.measure._latency_ms", lambda source, *_: (
        1000.0 if source.uri == toys[1] else 1.0))  # fmt: skip
    found = rank(_texts(60), sources=toys[:2], budget_s=10, max_latency_ms=500)
    assert seen == [1] and [one.uri for one in found.left_out] == [toys[1]]


def test_licenses_are_read_closed():
    allowed = ("MIT", "MIT License", "Apache 2.0", "BSD-3-Clause", "GPL-3.0 OR MIT",
               "(MIT OR Apache-2.0) AND BSD-2-Clause", "MIT (the package; no file)")  # fmt: skip
    refused = ("MIT and CC-BY-NC-4.0", "MIT; CC-BY-NC-4.0", "MIT/CC-BY-NC-4.0", "", "unknown",
               "MIT (weights CC-BY-NC-4.0)", "CC-BY-4.0-NC", "Apache-2.0 WITH Commons-Clause",
               "MIT (non-commercial)", "GPL-3.0")  # fmt: skip
    assert [one for one in allowed if not candidates.allows("Permissive", one)] == []
    assert [one for one in refused if candidates.allows("permissive", one)] == []
    assert candidates.allows("permissive,GPL-3.0", "GPL-3.0")


def test_outcomes_of_fewer_rows_are_others(toys, fresh_home):
    data, source = _texts(60, seed=9), catalog.resolve(toys[0])
    found = [finetuned(source, data.take(np.arange(n)), extract(source, data.take(np.arange(n))), 0,
                       "rank-key") for n in (60, 40)]  # fmt: skip
    assert [len(one.rows) for one in found] == [15, 10]


@pytest.mark.parametrize("error", [IntegrityError("damaged"), OSError("gone")])
def test_an_old_head_that_cannot_be_read_leaves_the_ranking(toys, fresh_home, monkeypatch, error):
    def broken(*_):
        raise error

    monkeypatch.setattr("headstart.ranking.trainless.old_head", broken)
    row = rank(_texts(40), sources=toys[:1]).rows[0]
    assert row.trainless.leep is None and row.trainless.logme is not None


def test_an_old_head_is_read_once(tmp_path, fresh_home, monkeypatch):
    source = catalog.resolve(toy_picture_source(tmp_path))
    stem, matrix = np.random.default_rng(0).normal(size=(2, 3, 4))
    weights, read = {"stem": stem, "head": matrix, "level": np.arange(3.0)}, []
    monkeypatch.setattr(oldhead, "read_weights", lambda one: read.append(one) or weights)
    source = dataclasses.replace(source, architecture=source.architecture | {"old_labels": 3})
    found = [oldhead.old_head(source, 4).probabilities(np.eye(4)) for _ in range(2)]
    np.testing.assert_array_equal(*found)
    logits = np.eye(4) @ matrix.T + np.arange(3.0)
    odds = np.exp(logits - logits.max(axis=1, keepdims=True))
    np.testing.assert_allclose(found[0], odds / odds.sum(axis=1, keepdims=True), rtol=1e-6)
    assert len(read) == 1
    (kept,) = fresh_home.glob("sources/*.head/head.safetensors")
    kept.write_bytes(kept.read_bytes()[:-1] + b"!")
    np.testing.assert_array_equal(oldhead.old_head(source, 4).probabilities(np.eye(4)), found[0])
    assert len(read) == 2
    assert oldhead.old_head(source, 5) is None and oldhead.old_head(source, 5) is None
    assert len(read) == 3  # that there is none is known too


def test_a_source_that_cannot_be_fine_tuned_keeps_its_probe(toys, fresh_home, monkeypatch):
    def breaking(*_, **__):
        raise RuntimeError("out of luck")

    monkeypatch.setattr("headstart.steps.finetune.finetune", breaking)
    found = rank(_texts(60, seed=9), sources=toys[:2], finetune=True)
    assert [row.finetuned for row in found.rows] == [None, None]
    assert sum("out of luck" in note for note in found.notes) == 2


def test_memory_is_that_of_a_process_of_its_own(toys, fresh_home):
    from headstart.features.engine import engine_for

    graph = engine_for(catalog.resolve(toys[0])).graph
    found = memory_bytes(graph)
    assert graph.path.stat().st_size <= found < 500e6
    assert memory_bytes(dataclasses.replace(graph, path=graph.path / "gone")) == found  # kept
    assert memory_bytes(dataclasses.replace(graph, key="other", path=graph.path)) > 0


@pytest.mark.parametrize(
    ("wrong", "reason"),
    [
        ("unreadable", "not the file its card speaks of"),
        ("modality", "it reads image rows"),
        ("license", "its license is GPL-3.0; asked for: unknown"),
        ("memory", "its weights take"),
    ],
)
def test_a_wrong_source_leaves_the_others_ranked(
    toys, fresh_home, tmp_path, monkeypatch, wrong, reason
):
    uri = toys[2] if wrong == "modality" else toy_text_source(tmp_path / "other", seed=5)
    changed = {"license": {"license": "GPL-3.0"}, "memory": {"n_parameters": 10**15},
               "unreadable": {"weights_sha256": "0" * 64}}.get(wrong, {})  # fmt: skip
    resolve = candidates.resolve

    def told(asked, **given):
        return dataclasses.replace(resolve(asked, **given), **(changed if asked == uri else {}))

    monkeypatch.setattr(candidates, "resolve", told)
    license = "unknown" if wrong == "license" else None
    found = rank(_texts(30, seed=15), sources=[toys[0], uri], license=license)
    assert [row.source.uri for row in found.rows] == [toys[0]]
    assert [(one.uri, reason in one.reason) for one in found.left_out] == [(uri, True)]


# Cost, and what a killed ranking leaves ---------------------------------------------------------


class _Counted:
    """Counts rows that go through any trunk."""

    def __init__(self, monkeypatch):
        self.n = 0
        whole = OnnxEngine.run

        def run(engine, inputs):
            self.n += len(next(iter(inputs.values())))
            return whole(engine, inputs)

        monkeypatch.setattr(OnnxEngine, "run", run)


def test_every_row_goes_through_every_trunk_once(toys, fresh_home, monkeypatch):
    """Three boundaries and two rounds cost one forward pass a row and source."""
    monkeypatch.setattr(
        "headstart.ranking.rank.schedule", lambda *_: (Round(20, 2), Round(40, 2), Round(80, 2))
    )
    monkeypatch.setattr("headstart.ranking.search.N_FINALISTS", 2)
    monkeypatch.setattr(Standing, "minus", lambda *_: Interval(0, 0, 0))
    counted = _Counted(monkeypatch)
    data = _texts(80, seed=16)
    found = rank(data, sources=toys[:2])
    timed = 2 * (N_TIMED + 1)  # rows that latency is measured on
    assert all(len(row.by_boundary) > 1 for row in found.rows)
    assert counted.n == 2 * 80 + timed and found.n_computed == 2 * 80
    rank(data, sources=toys[:2])
    assert counted.n == 2 * 80 + timed  # the second call computes nothing


def test_a_killed_ranking_goes_on_and_ends_the_same(toys, tmp_path, monkeypatch):
    data = _texts(80, seed=17)
    monkeypatch.setattr("headstart.ranking.rank._rounds", lambda *_: (Round(40, 2), Round(80, 2)))
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "whole"))
    whole = rank(data, sources=toys[:2], budget_s=60)

    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "killed"))
    probe, asked = Prober.probe, []

    def killing(self, job):
        asked.append(job.round)
        if asked.count(1) == 2:
            raise KeyboardInterrupt
        return probe(self, job)

    with monkeypatch.context() as patch:
        patch.setattr(Prober, "probe", killing)
        with pytest.raises(KeyboardInterrupt):
            rank(data, sources=toys[:2], budget_s=60)
    monkeypatch.setattr("headstart.ranking.rank._rounds", lambda *_: pytest.fail("decided anew"))
    resumed = rank(data, sources=toys[:2], budget_s=60)
    assert resumed.n_computed == 40  # the second source's rows of the second round
    for a, b in zip(whole.rows, resumed.rows, strict=True):
        assert (a.source.uri, a.score, a.trainless) == (b.source.uri, b.score, b.trainless)


# The search itself, on probes made by hand ------------------------------------------------------


def test_what_fine_tuning_surely_adds_decides_which_source_is_best(toys):
    a, b = _sources(toys, ["a", "b"])

    def right(n):
        return Probed(np.arange(100), (np.arange(100) < n).astype(float))

    def standing(source, probe, tuned):
        return Standing(source, 1, 100, 0, (right(probe),), final=right(probe), tuned=right(tuned))

    first, second = standing(a, 70, 70), standing(b, 60, 90)
    assert (first.lift, second.lift) == (0, pytest.approx(0.3))
    assert max(first, second, key=lambda one: one.merit).source.uri == "b"
    assert second.minus(first).mid == pytest.approx(0.2)
    by_a_row = standing(b, 60, 61)  # within the noise of a row
    assert by_a_row.lift == 0 and by_a_row.score == 0.6
    assert max(first, by_a_row, key=lambda one: one.merit).source.uri == "a"


class _Hand(Prober):
    """A prober whose answers are given: the share of rows each source has right."""

    def __init__(self, sample, sources, shares):
        quick = SimpleNamespace(latency_ms=1.0)
        super().__init__(sample, {one.uri: quick for one in sources}, Asked())
        vars(self).update(shares=shares, asked=[])

    def describe(self, one):
        return one

    def probe(self, job):
        source, n = job.source, job.n_rows
        self.asked.append((job.round, source.uri))
        place = np.random.default_rng(len(source.uri)).permutation(n)
        right = (place < self.shares[source.uri] * n).astype(float)
        return Standing(source, job.round, n, 0, (Probed(np.arange(n), right),))


def _sources(toys, names):
    card = catalog.resolve(toys[0])
    return [dataclasses.replace(card, uri=name) for name in names]


def test_the_worse_leave_and_the_best_is_never_lost(toys):
    names = ["a", "bb", "ccc", "dddd"]
    shares = {"a": 0.5, "bb": 0.94, "ccc": 0.6, "dddd": 0.93}
    sources = _sources(toys, names)
    prober = _Hand(_texts(800), sources, shares)
    search = Search(prober)
    staying = list(sources)
    for i, n_rows in enumerate((200, 800)):
        staying = search._kept(staying, 4)
        search._round(i, staying, n_rows)
    assert [uri for i, uri in prober.asked if i == 1] == ["bb", "dddd"]
    assert search._sorted()[0].source.uri == "bb"


def test_the_slowest_is_begun_first(toys):
    names = ["a", "bb", "ccc"]
    sources = _sources(toys, names)
    prober = _Hand(_texts(60), sources, dict.fromkeys(names, 0.9))
    prober.facts["bb"] = SimpleNamespace(latency_ms=7.0)
    Search(prober)._round(0, sources, 60)
    assert prober.asked == [(0, "bb"), (0, "a"), (0, "ccc")]


def test_halving_lets_half_leave(toys):
    names = ["a", "bb", "ccc", "dddd"]
    sources = _sources(toys, names)
    prober = _Hand(_texts(800), sources, dict.fromkeys(names, 0.9))
    search = Search(prober)
    staying = list(sources)
    for i, one in enumerate((Round(200, 4), Round(400, 2))):
        staying = search._kept(staying, one.n_sources)
        search._round(i, staying, one.n_rows)
    assert sum(i == 1 for i, _ in prober.asked) == 2


def test_two_processes_rank_as_one_does(toys, fresh_home, tmp_path, monkeypatch):
    """The numbers are the same; the time that a source takes is measured anew."""
    data = _texts(60, seed=21)

    def ranked(home, n_jobs):
        monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / home))
        with joblib.parallel_config("loky", n_jobs=n_jobs):
            found = rank(data, sources=[toys[0], "pkg:no-such-thing", toys[1]], finetune=True)
        rows = [dataclasses.replace(one, latency_ms=0.0, memory_bytes=0) for one in found.rows]
        return rows, found.left_out, found.rounds, found.n_computed, found.notes

    get_reusable_executor().shutdown()  # a worker has the home of the day it was born
    two = ranked("two", 2)
    get_reusable_executor().shutdown()
    assert two == ranked("one", 1)
    assert two[3] == 120


def test_a_source_that_breaks_half_way_is_listed(toys, fresh_home, monkeypatch):
    whole = Prober.features

    def breaking(self, source, n_rows):
        if source.uri == toys[1]:
            raise MemoryError
        return whole(self, source, n_rows)

    monkeypatch.setattr(Prober, "features", breaking)
    found = rank(_texts(30, seed=8), sources=toys[:2])
    assert [row.source.uri for row in found.rows] == [toys[0]]
    assert [one.uri for one in found.left_out] == [toys[1]]


def _two(toys, monkeypatch, n, shares, sizes=(10, 20), priors=(0.0, 0.0)):
    """Return the first of two sources whose probes are given, and the notes of the ranking."""
    sources = [
        dataclasses.replace(one, n_parameters=size, prior=prior)
        for one, size, prior in zip(_sources(toys, ["a", "bb"]), sizes, priors, strict=True)
    ]
    prober = _Hand(_texts(n), sources, dict(zip(("a", "bb"), shares, strict=True)))
    search = Search(prober)
    search._round(0, sources, n)
    search.standings = {
        uri: dataclasses.replace(one, final=one.ridge) for uri, one in search.standings.items()
    }
    monkeypatch.setattr(search, "_row", lambda one, gap, *, is_best: one.source.uri)
    return search._ranked()[0], search.notes


@pytest.mark.parametrize(
    ("n", "small", "large", "first"),
    [
        (20_000, 0.898, 0.9, "a"),
        (20_000, 0.9, 0.9, "a"),
        (20_000, 0.85, 0.9, "bb"),
        (60, 0.88, 0.9, "bb"),  # few rows do not make two sources equal
    ],
)
def test_of_two_alike_the_smaller_is_listed_first(toys, monkeypatch, n, small, large, first):
    found, notes = _two(toys, monkeypatch, n, (small, large))
    assert found == first
    assert bool(notes) == (first == "a" and small < large)


@pytest.mark.parametrize("mean", [-0.03, 0.0, 0.02])
def test_the_loss_is_the_mean_of_what_is_lost(mean):
    draws = np.random.default_rng(0).normal(mean, 0.02, 400_000)
    slow = np.maximum(0, -draws).mean()
    assert Belief(mean, 0.02).loss == pytest.approx(slow, rel=0.02)


@pytest.mark.parametrize(
    ("n", "priors", "first"),
    [
        (100, (0.95, 0.45), "a"),  # within noise: a card that promises much more decides
        (100, (0.85, 0.75), "bb"),  # one that promises a little more does not
        (100, (0.75, 0.85), "bb"),
        (100, (0.0, 0.85), "bb"),  # a card that promises nothing is not held against the source
        (20_000, (0.95, 0.45), "bb"),  # known to be worse: no promise helps
    ],
)
def test_priors_only_break_ties(toys, monkeypatch, n, priors, first):
    found, notes = _two(toys, monkeypatch, n, (0.89, 0.90), (10, 10), priors)
    assert found == first
    assert bool(notes) == (first == "a")


def test_finalists_are_weighed_too_and_come_from_the_last_round(toys):
    names = ["a", "bb", "ccc", "dddd"]
    priors = dict(zip(names, (0.1, 0.1, 0.95, 0.95), strict=True))
    sources = [dataclasses.replace(s, prior=priors[s.uri]) for s in _sources(toys, names)]
    prober = _Hand(_texts(60), sources, {"a": 0.9, "bb": 0.88, "ccc": 0.87, "dddd": 0.86})
    search = Search(prober)
    search._round(0, [sources[3]], 20)
    search._round(1, sources[:3], 60)
    assert [one.source.uri for one in search._finalists()] == ["ccc", "a"]


def test_a_seed_may_be_a_number_of_numpy(toys, fresh_home):
    data, sources = _texts(60), toys[:1]
    found = rank(data, sources=sources, seed=np.int64(1))
    assert found.seed == 1 and rank(data, sources=sources, seed=1).n_computed == 0
    assert rank_whole(data, sources=sources, seed=np.int64(1)).seed == 1
    with pytest.raises(UsageError, match=r"seed=1\.5: expected a whole number from 0"):
        rank(data, sources=sources, seed=1.5)
