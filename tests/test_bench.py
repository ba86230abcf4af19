"""The bench itself: what a study must look like, what the runner makes of it; nothing is timed."""

import doctest
import inspect
import json

import numpy as np
import pytest

from bench import (
    against,
    chaos,
    measure,
    run,
    study_fewshot,
    study_finetune,
    study_frozen,
    study_proof,
    study_tags,
)
from bench.against import PEERS, n_lines
from bench.measure import Row, Skip, Study, machine_facts
from headstart.evidence.judge import Bench
from headstart.task import Kind, Task


@pytest.mark.parametrize("name", run.names())
def test_a_study_is_told_and_its_sizes_are_its_arguments(name):
    module = run.named(name)
    assert module.__doc__
    for size, arguments in run.sizes(name).items():
        assert size in run.REPEATS
        inspect.signature(module.study).bind(1, **arguments)
    for arguments in run.parts(name).values():
        inspect.signature(module.study).bind(1, **arguments)


@pytest.mark.parametrize("module", [measure, against])
def test_the_examples_of_the_bench_hold(module):
    found = doctest.testmod(module)
    assert found.attempted and not found.failed


def found(value):
    return Study("A title.", (Row("speed", (value, 2.0, 9.0), "×", at_least=2),), ("a note",))


@pytest.fixture
def study(monkeypatch, tmp_path):
    """A runner with one study, which finds what it is told."""

    class Module:
        SIZES = {"tiny": {"value": 1.0}, "quick": {"value": 2.0}}

        @staticmethod
        def study(repeats, value=5.0):
            if value < 0:
                raise Skip("no data")
            return found(value)

    monkeypatch.setattr(run, "named", lambda name: Module)
    monkeypatch.setattr(run, "RESULTS", tmp_path / "results")
    monkeypatch.setattr(run, "HERE", tmp_path)
    return Module


def test_a_quick_run_is_kept_and_told(study, tmp_path):
    assert run.run("toy", "quick", 3)
    kept = json.loads((tmp_path / "results" / "toy.json").read_text("utf-8"))
    assert kept["size"] == "quick"
    assert kept["rows"][0]["values"] == [2.0, 2.0, 9.0]
    assert kept["machine"]["threads"] >= 1
    run.write_report()
    told = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert "| speed | 2 × | 2 – 9 | 3 | ≥ 2 | yes |" in told
    assert "a note" in told


def test_a_quick_run_does_not_take_the_place_of_a_full_one(study, tmp_path, capsys):
    results = tmp_path / "results"
    assert run.run("toy", "full", 3) and run.run("toy", "quick", 3)
    kept = {path: json.loads(path.read_text("utf-8")) for path in results.rglob("*.json")}
    sizes = {path.relative_to(results).as_posix(): facts["size"] for path, facts in kept.items()}
    assert sizes == {"toy.json": "full", "quick/toy.json": "quick"}
    assert "| speed | 5 × | 2 – 9 |" in (tmp_path / "RESULTS.md").read_text("utf-8")
    assert "results/quick/toy.json" in capsys.readouterr().out


def test_a_full_study_in_parts_keeps_each_by_itself(study, tmp_path):
    study.PARTS = {"small": {"value": 3.0}, "large": {"value": 4.0}}
    assert run.in_parts("toy", "quick") == run.in_parts("toy/small", "full") == []
    for part in run.in_parts("toy", "full"):
        assert run.run(part, "full", 5)
    kept = {path.stem: json.loads(path.read_text("utf-8")) for path in
            (tmp_path / "results").iterdir()}  # fmt: skip
    assert {name: facts["rows"][0]["values"][0] for name, facts in kept.items()} == {
        "toy-small": 3.0,
        "toy-large": 4.0,
    }
    assert kept["toy-small"]["command"] == "python -m bench.run --full toy/small"
    assert "## toy-large" in (tmp_path / "RESULTS.md").read_text("utf-8")


def test_a_tiny_run_judges_nothing_and_keeps_nothing(study, tmp_path):
    assert run.run("toy", "tiny", 1)
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def long(study):
    """The runner with a study of a side whose outcomes are 0, 1, … and that breaks when told."""
    study.breaks_at = None
    study.ran = []

    def side(number):
        if number == study.breaks_at:
            raise RuntimeError("stopped")
        study.ran.append(number)
        return number

    def work(repeats, known=None):
        of_sides = measure.rounds(lambda n: {"a": lambda: side(n)}, repeats, known)
        return Study("Long.", (Row("a", tuple(map(float, of_sides["a"]))),), (), of_sides)

    study.study = staticmethod(work)
    return study


def test_a_long_study_is_kept_after_every_round_and_goes_on(long, tmp_path, capsys):
    long.breaks_at = 2
    assert not run.run("toy", "full", 4)
    path = tmp_path / "results" / "toy.json"
    assert json.loads(path.read_text("utf-8"))["facts"] == {"a": [0, 1]}
    long.breaks_at = None
    assert run.run("toy", "full", 4, more=True)
    kept = json.loads(path.read_text("utf-8"))
    assert kept["rows"][0]["values"] == long.ran == [0, 1, 2, 3]
    assert len(kept["rounds"]) == 4
    assert kept["command"] == "python -m bench.run --full --repeats 4 toy"
    assert (tmp_path / "RESULTS.md").read_text("utf-8").count(kept["rounds"][0]["date"]) == 4
    assert run.run("toy", "full", 4, more=True)
    assert "4 rounds are kept" in capsys.readouterr().out
    assert run.run("toy", "full", 1)  # without --more: anew
    assert long.ran == [0, 1, 2, 3, 0]


def test_a_result_kept_in_one_piece_counts_for_the_rounds_it_was(long, tmp_path, capsys):
    assert run.run("toy", "full", 3)
    path = tmp_path / "results" / "toy.json"
    kept = json.loads(path.read_text("utf-8"))
    kept["rounds"] = [kept["rounds"][0] | {"n": 3}]
    path.write_text(json.dumps(kept), "utf-8")
    assert run.run("toy", "full", 3, more=True)
    assert "3 rounds are kept" in capsys.readouterr().out
    assert run.run("toy", "full", 4, more=True)
    assert long.ran == [0, 1, 2, 3]


def test_our_sides_are_run_again_beside_what_the_others_came_to(study, tmp_path, capsys):
    ran = []

    def side(name, number):
        ran.append((name, number))
        return len(ran)

    def work(repeats, known=None):
        def sides(number):
            slow = {"slow": lambda: side("slow", number)} if number == 0 else {}
            names = ("ours", "ours, frozen", "theirs")
            return {name: lambda name=name: side(name, number) for name in names} | slow

        found = {"toys": measure.rounds(sides, repeats, (known or {}).get("toys"))}
        values = tuple(map(float, found["toys"]["ours"]))
        return Study("Two.", (Row("a", values),), (), found)

    study.study = staticmethod(work)
    assert not run.run("toy", "full", 2, ours=True)
    assert "no rounds of toy are kept" in capsys.readouterr().out and not ran
    assert run.run("toy", "full", 2)
    path = tmp_path / "results" / "toy.json"
    before = json.loads(path.read_text("utf-8"))["facts"]["toys"]
    ran.clear()
    assert run.run("toy", "full", ours=True)
    assert sorted(ran) == [(name, n) for name in ("ours", "ours, frozen") for n in (0, 1)]
    kept = json.loads(path.read_text("utf-8"))
    after = kept["facts"]["toys"]
    assert {name: after[name] == before[name] for name in after} == {
        "ours": False, "ours, frozen": False, "theirs": True, "slow": True,
    }  # fmt: skip
    assert [one["n"] for one in kept["rounds"]] == [1, 1, 0]
    assert (tmp_path / "RESULTS.md").read_text("utf-8").count("our sides alone, again") == 1
    assert run.run("toy", "full", 3, more=True)  # the rounds that are kept are two
    further = json.loads(path.read_text("utf-8"))["facts"]["toys"]
    assert {name: len(runs) for name, runs in further.items()} == {
        "ours": 3, "ours, frozen": 3, "theirs": 3, "slow": 1,
    }  # fmt: skip


def test_rounds_on_another_processor_are_told_of(long, tmp_path, monkeypatch):
    monkeypatch.setattr(run, "machine_facts", lambda: machine_facts() | {"processor": "One"})
    assert run.run("toy", "full", 1)
    path = tmp_path / "results" / "toy.json"
    kept = json.loads(path.read_text("utf-8"))
    del kept["rounds"][0]["processor"]  # as results were kept once
    path.write_text(json.dumps(kept), "utf-8")
    assert "on One" not in (tmp_path / "RESULTS.md").read_text("utf-8")
    monkeypatch.setattr(run, "machine_facts", lambda: machine_facts() | {"processor": "Two"})
    assert run.run("toy", "full", 2, more=True)
    assert long.ran == [0, 1]
    report = (tmp_path / "RESULTS.md").read_text("utf-8")
    assert "s on One; " in report
    assert "s on Two." in report


@pytest.mark.parametrize("other", [{"cores": 64}, {"versions": {"torch": "1.0"}}])
def test_rounds_of_another_machine_are_not_gone_on_with(long, tmp_path, monkeypatch, capsys, other):
    assert run.run("toy", "full", 1)
    monkeypatch.setattr(run, "machine_facts", lambda: machine_facts() | other)
    assert not run.run("toy", "full", 2, more=True)
    assert "another machine" in capsys.readouterr().out
    assert long.ran == [0]


def test_a_missed_target_fails_the_run(study):
    study.SIZES["quick"]["value"] = 1.0
    assert run.run("toy", "quick", 3)  # the median is 2
    study.study = staticmethod(
        lambda repeats, value: Study("", (Row("speed", (1.0,), at_least=2),))
    )
    assert not run.run("toy", "quick", 3)


def test_a_study_that_breaks_fails_and_one_without_data_does_not(study, capsys):
    study.SIZES["quick"]["value"] = -1.0
    assert run.run("toy", "quick", 3)
    assert "skipped: no data" in capsys.readouterr().out
    study.SIZES["quick"]["other"] = 1.0
    assert not run.run("toy", "quick", 3)


def outcome(right, seconds):
    """What a side says of itself: two of these on the same rows can be compared."""
    return {
        "right": [1] * right + [0] * (20 - right),
        "seconds": seconds,
        "rate": 100 / seconds,
        "peak_gb": 0.5,
        "curve": [(seconds / 2, 0.4), (seconds, right / 20)],
    }


def told(rows):
    return {row.what: row for row in rows}


def test_a_frozen_fit_that_is_not_worse_is_to_be_ten_times_as_fast():
    case = study_fewshot.Case("names", 4, ("SetFit",))
    runs = {"ours": [outcome(15, 3.0)] * 2, "ours, frozen": [outcome(15, 2.0)] * 2}
    good = told(study_fewshot._told(case, {**runs, "SetFit": [outcome(15, 30.0)] * 2}))
    time = good["names, 4 a class: time of SetFit / ours, frozen"]
    assert (time.values, time.at_least) == ((15.0, 15.0), 10)
    assert good["names, 4 a class: lower end of ours, frozen − SetFit"].is_reached
    assert good["names, 4 a class: lower end of ours − SetFit"].is_reached is None
    better = told(study_fewshot._told(case, {**runs, "SetFit": [outcome(20, 30.0)] * 2}))
    time = better["names, 4 a class: time of SetFit / ours"]
    assert (time.values, time.at_least) == ((10.0, 10.0), 2)
    assert better["names, 4 a class: lower end of ours − SetFit"].is_reached is False


def test_few_rows_do_not_show_that_a_side_is_not_worse():
    fewer, more = [outcome(15, 1.0)], [outcome(16, 1.0)]
    assert against.lower_end(fewer, more) < -against.MARGIN
    many = [{"right": (run["right"] * 500)} for run in (fewer[0], fewer[0])]
    many[1]["right"] = [1 - many[1]["right"][0], *many[1]["right"][1:]]
    assert -against.MARGIN < against.lower_end(many[:1], many[1:]) < 0.001


def test_seeds_that_disagree_show_nothing_however_many_rows_there_are():
    """The interval is for new seeds too: three of them that lie far apart leave it wide."""
    rng = np.random.default_rng(0)
    ours = [{"right": rng.binomial(1, p, 2000).tolist()} for p in (0.5, 0.6, 0.7)]
    theirs = [{"right": rng.binomial(1, 0.6, 2000).tolist()} for _ in range(3)]
    assert -0.35 < against.lower_end(ours, theirs) < -0.15
    assert against.lower_end(ours[1:2] * 3, theirs) > -0.05


def test_the_last_quarter_is_judged_by_the_whole_network_of_the_loop():
    sides = {"ours, all": 2.0, "ours, quarter": 0.5, "loop, all": 5.0, "loop, quarter": 2.5}
    found = {name: [outcome(10, seconds)] for name, seconds in sides.items()}
    rows = told(study_finetune._told("texts", found))
    assert rows["texts: whole network, ours / loop"].values == (2.5,)
    assert rows["texts: our last quarter / whole network of the loop"].values == (10.0,)
    assert rows["texts: last quarter, ours / loop"].values == (5.0,)
    assert rows["texts: lower end of ours − loop, all"].is_reached is False  # of twenty rows


def test_the_time_to_the_accuracy_of_a_peer_is_that_of_its_first_pass_there():
    case = study_frozen.Case("fashion", peers=("tutorial",))
    found = {"ours": [outcome(15, 3.0)], "ours, frozen": [outcome(15, 2.0)]}
    rows = told(study_frozen._told(case, {**found, "tutorial": [outcome(15, 40.0)]}))
    assert rows["fashion: time of tutorial / ours, frozen"].values == (20.0,)
    assert rows["fashion: time of tutorial / ours, frozen, to its accuracy"].values == (20.0,)
    better = told(study_frozen._told(case, {**found, "tutorial": [outcome(16, 40.0)]}))
    assert "fashion: time of tutorial / ours, frozen, to its accuracy" not in better
    thrice = {name: runs * 3 for name, runs in found.items()}
    again = told(study_frozen._told(case, {**thrice, "tutorial": [outcome(15, 40.0)]}))
    for name in (name for name in rows if "tutorial" in name):  # as in the one round it was in
        assert again[name] == rows[name]


def test_the_slowest_peers_see_drawings_once(tmp_path):
    whole = {case.data: case for case in study_frozen.FULL}
    for seed, there in ((0, True), (1, False), (4, False)):
        sides = study_frozen._sides(whole["fashion"], tmp_path, seed)
        assert ({*study_frozen.SLOW} <= sides.keys()) == there
        assert {"ours", "ours, frozen", "Trainer", "fastai", "scikit-learn"} <= sides.keys()
        others = study_frozen._sides(whole["hymenoptera"], tmp_path, seed)
        assert {*study_frozen.PEERS} < others.keys()


def tagger(right, seconds=1.0):
    """What a process of the study of tags prints: forty sentences of one entity, so many right."""
    scored = study_tags._scored([[int(i < right), 1, 1] for i in range(40)])
    return {
        "en": scored | {"strict": scored["f1"]},
        "fr": scored | {"strict": scored["f1"]},
        "seconds": {"fit": seconds, "again": seconds / 2},
        "process_s": 60 * seconds,
    }


def of_tags(**more):
    names = {f"names {arm}": [{"right": [1, 0], "process_s": 6.0}] for arm in study_tags.NAMES}
    frozen = [tagger(34)] * 3
    return {"frozen": frozen, "finetuned": [tagger(n, 5.0) for n in (36, 20, 20)], **names, **more}


def test_taggers_are_compared_on_the_seeds_of_both():
    runs = of_tags(trainer=[tagger(32, 15.0)])
    rows = told(study_tags._rows(runs, []))
    assert rows["the Trainer's seconds against ours"].values == (3.0,)
    (gain,) = (row for what, row in rows.items() if what.startswith("English: ours − Trainer, 1 s"))
    assert gain.values == pytest.approx((0.1,))  # the first seed alone: 36 and 32 of 40
    assert rows["English: upper end of that interval"].is_reached
    assert "fine-tuned: English, F1, mean of 3 seeds (0.500 to 0.900)" in rows
    assert "minutes: frozen 3.0, finetuned 15.0, names" in study_tags._minutes(runs)


def test_what_a_few_sentences_gain_is_judged_for_200_and_told_for_1000():
    few = {f"{arm} {m}": [tagger(n)] * (3 if m == 200 else 1)
           for m in (200, 1000) for arm, n in (("alone", 20), ("both", 30))}  # fmt: skip
    rows = study_tags._rows(of_tags(trainer=[], **few), [200, 1000])
    at = {row.what: row.at_least for row in rows if "French" in row.what and "inter" in row.what}
    assert at == {
        "lower end of that interval, 200 French": 0.0,
        "lower end of that interval, 1,000 French": None,
    }
    (gain,) = (row for row in rows if row.what.startswith("what English adds to 200 French"))
    assert (gain.values, gain.at_least) == (pytest.approx((0.25,)), 0.10)


@pytest.mark.parametrize("path", sorted(PEERS.glob("[a-z]*_*.py")), ids=lambda path: path.stem)
def test_a_peer_says_what_a_user_writes(path):
    assert 1 <= n_lines(path) <= 80
    assert "headstart" not in path.read_text("utf-8").lower()


def test_every_peer_that_is_asked_for_is_there():
    for named in (*study_fewshot.PEERS.values(), *study_frozen.PEERS.values()):
        assert (PEERS / f"{named}.py").exists()


def test_a_trial_that_cannot_run_here_leaves_what_was_kept(tmp_path, monkeypatch):
    kept = tmp_path / "rivals.json"
    kept.write_text('{"lines": ["of another machine"]}', encoding="utf-8")
    monkeypatch.setattr(chaos, "RESULTS", tmp_path)
    monkeypatch.setenv("HEADSTART_RIVALS_PYTHON", "false")
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "home"))
    assert chaos.run("rivals", 0.01)
    assert kept.read_text(encoding="utf-8") == '{"lines": ["of another machine"]}'


def test_the_long_run_of_a_proof_is_judged_as_the_product_judges():
    truth = np.arange(60) % 2
    judge = Bench(Task(Kind.MULTICLASS, ("a", "b")), "accuracy", truth, truth)
    right, half = (
        {seed: (np.eye(2, dtype=np.float32)[said], None) for seed in seeds}
        for seeds, said in ((range(3), truth), (range(1, 4), np.zeros(60, int)))
    )
    low, gain, high = study_proof._gain(judge, right, half)
    assert gain == 0.5 and 0 < low < 0.5 < high
