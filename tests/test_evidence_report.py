"""The report: a page that is whole, tells the truth, and cannot be broken by a name."""

import dataclasses
import itertools
import json
import math
import re
import shlex
from html.parser import HTMLParser

import pytest
from markdown_it import MarkdownIt
from PIL import Image
from typer.main import get_command

from headstart.checks.finding import Finding
from headstart.cli import step5
from headstart.cli.app import app
from headstart.data.words import sentence
from headstart.evidence import report
from headstart.evidence.evidence import YOURS, ArmRecord, Evidence, Gain, Judged, Outcome, Point
from headstart.evidence.page import figures
from headstart.evidence.page.figures import mean_curve
from headstart.evidence.page.mistakes import thumbnail
from headstart.evidence.page.network import Network
from headstart.evidence.page.story import facts
from headstart.evidence.page.svg import Scale, element, spread
from headstart.evidence.page.use import use
from headstart.evidence.saved import keep, kept, kept_rows
from headstart.evidence.verdict import Verdict
from headstart.io import write_json
from headstart.metrics.curve import Curve
from headstart.metrics.interval import Interval
from headstart.sources.catalog import resolve
from headstart.steps.phase import FEW_TEXTS, PICTURES, SCRATCH, TEXTS, WORDS
from headstart.task import Kind, Modality, Task
from headstart.transfer.plan import Plan
from tests.toy_study import LABELS, toy_evidence

#: Names as data may bring them.
HOSTILE = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onmouseover='alert(1)",
    "</title></style><script>alert(1)</script>",
    "{{ 7 * 7 }}{% raw %}",
    "javascript:alert(1)",
    "](javascript:alert(1))![x](http://evil.example/x.png)",
    "<svg onload=alert(1)><use href=http://evil.example/#x>",
    "a\nb\r\n# c | d `e` ***f***",
    "\u202eright to left\u0000null",
    "&lt;b&gt; &amp; <!-- --> ]]>",
    "x" * 5000,
    "null\u0000.jpg",
    "y" * 5000 + ".png",
    "../../../../etc/passwd.jpg",
)


class Reader(HTMLParser):
    """Lists every element with its attributes, and the text outside style."""

    def __init__(self, page):
        super().__init__()
        self.tags, self.texts, self.open = [], [], []
        self.feed(page)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in ("meta", "link", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        self.open.pop()

    def handle_data(self, data):
        if "style" not in self.open[-1:]:
            self.texts.append(data)

    @property
    def text(self):
        return " ".join(" ".join(self.texts).split())


@pytest.fixture(scope="module")
def page():
    return report.html(toy_evidence(), run="runs/pets")


def test_the_verdict_is_said_in_one_sentence(page):
    text = Reader(page).text
    assert "Positive transfer" in text
    assert "EfficientNet-Lite0 gets at most 26 more of every 100 pictures right than" in text
    assert "between +22.4 and +30.1, over 3 seeds" in text


def test_every_part_is_there(page):
    text = Reader(page).text
    for heading in (
        "How it learned", "How many labels it saves", "The five gains of transfer", "in five steps",
        "Where it is right", "What was found in the data", "What was tried", "How to use the model",
        "How this was measured",
    ):  # fmt: skip
        assert heading in text
    for name in ("Jumpstart", "Slope", "Asymptote", "Time to a good score", "Labels saved"):
        assert name in text
    assert "labels saved" in text and "95 % interval" in text
    assert "headstart predict runs/pets" in text


def test_the_page_is_whole_and_silent(page):
    reader = Reader(page)
    assert reader.open == []
    tags = {tag for tag, _ in reader.tags}
    assert not tags & {"script", "iframe", "object", "embed", "base", "form", "video", "audio"}
    for tag, attributes in reader.tags:
        assert "style" not in attributes, tag  # the policy would refuse it
        assert not [name for name in attributes if name.startswith("on")]
        for name in ("src", "href"):
            assert attributes.get(name, "data:").startswith(("data:", "#"))
    assert not re.search(r"url\(|@import|https?://", page)


def test_the_policy_allows_nothing_but_its_own_style(page):
    import base64
    import hashlib

    style = re.search(r"<style>(.*?)</style>", page, re.S).group(1)
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1)
    policy = policy.replace("&#39;", "'")
    assert "default-src 'none'" in policy
    assert f"style-src 'sha256-{digest}'" in policy
    assert "unsafe" not in policy and "script" not in policy


def test_the_page_is_small(page):
    assert len(page.encode()) < 300_000


@pytest.mark.parametrize("name", HOSTILE)
def test_no_name_gets_out_of_its_place(name):
    labels = (name, *LABELS[1:])
    clean = toy_evidence()
    found = dataclasses.replace(
        toy_evidence(labels, names=(name,) * 60),
        source=clean.source | {"title": name, "trained_on": name, "license": name, "uri": name},
        transfer_plan=clean.transfer_plan | {"source": name},
        findings=(Finding("labels", "warning", name, 1, (name,), (name,), name),),
        remedies=({"remedy": name, "what": name, "outcome": name, name: name},),
        notes=(name,),
        versions={name: name},
        arms=tuple(dataclasses.replace(arm, about=name) for arm in clean.arms),
        created=name,
    )
    said = report.html(found, run=name, rows={name: name})
    plain = report.html(clean, run="runs/pets", rows=dict.fromkeys(clean.judged.names, "a text"))
    mine, theirs = Reader(said), Reader(plain)
    assert mine.open == []
    allowed = {tag for tag, _ in theirs.tags}
    assert {tag for tag, _ in mine.tags} <= allowed
    attributes = {key for _, found in theirs.tags for key in found}
    assert {key for _, found in mine.tags for key in found} <= attributes
    assert "alert(1)" not in "".join(v or "" for t, a in mine.tags for k, v in a.items()
                                     if k in ("href", "src"))  # fmt: skip


@pytest.mark.parametrize("name", HOSTILE)
def test_markdown_shows_names_as_they_are(name):
    found = toy_evidence((name, *LABELS[1:]), names=(name,) * 60)
    text = report.markdown(dataclasses.replace(found, notes=(name,)), run=name)
    reader = Reader(MarkdownIt("commonmark", {"html": True}).enable("table").render(text))
    tags = [tag for tag, _ in reader.tags]
    assert not set(tags) & {"script", "img", "svg", "a", "title", "use", "style", "iframe", "b"}
    assert tags.count("h1") == 1 and tags.count("h2") == 9


def test_markdown_says_what_the_page_says(page):
    text = report.markdown(toy_evidence(), run="runs/pets")
    assert text.startswith("# Positive transfer: pets")
    assert "| Jumpstart | +38.1 points |" in text
    assert "between +22.4 and +30.1" in text
    assert "    headstart predict runs/pets" in text
    assert "None" not in text and "nan" not in text


def test_what_else_was_tried_is_listed(page):
    text = Reader(page).text
    assert "1 try of 2 scored above the best control." in text
    assert "pkg:efficientnet-lite2 beats the best control (+0.004) +1.2 points" in text
    assert "not tried: the time was over" in report.markdown(toy_evidence())


def test_json_holds_all_and_reads_back():
    evidence = toy_evidence()
    values = json.loads(json.dumps(report.document(evidence), allow_nan=False))
    assert Evidence.from_json(values["evidence"]) == evidence
    assert values["said"].startswith("positive transfer")


def test_a_folder_gets_all_three(tmp_path):
    path = report.write(toy_evidence(), tmp_path / "evidence", run="runs/pets")
    assert path.name == "report.html"
    assert sorted(p.name for p in path.parent.glob("report.*")) == [
        "report.html", "report.json", "report.md",
    ]  # fmt: skip


def test_a_notebook_shows_the_page_in_a_frame_that_may_do_nothing():
    shown = Reader(report.notebook(toy_evidence()))
    frame = next(attributes for tag, attributes in shown.tags if tag == "iframe")
    assert frame["sandbox"] == ""
    assert "Content-Security-Policy" in frame["srcdoc"]
    assert "at most 26 more of every 100" in shown.text


@pytest.mark.parametrize(
    ("word", "said"),
    [("negative", "26 fewer of every 100 pictures"), ("undecided", "cannot be told")],
)
def test_other_verdicts(word, said):
    assert said in Reader(report.html(toy_evidence(word=word))).text


def test_labels_saved_that_are_a_bound_are_told_as_one():
    """The fewest rows that were tried are enough already: the saving is at least that."""
    found = toy_evidence()
    points = [Point(n, (score,), Interval(0, 0, 0)) for n, score in ((24, 0.9), (655, 0.95))]
    low = [Point(n, (score,), Interval(0, 0, 0)) for n, score in ((24, 0.1), (655, 0.5))]
    gains = [g for g in found.gains if g.name != "labels saved"]
    gains.append(Gain("labels saved", Interval(-math.inf, 631.0, math.inf), "rows"))
    shown = facts(dataclasses.replace(
        found, data={"finetuned": tuple(points), "scratch": tuple(low)}, gains=tuple(gains)
    ))  # fmt: skip
    (saved,) = (fact for fact in shown if fact["name"] == "labels saved")
    assert (saved["value"], saved["unit"], saved["range"]) == ("≥ 631", "rows", "")


def test_labels_saved_that_the_gain_refuses_to_tell_are_told_nowhere():
    """Where scratch learned nothing, any curve is above it from the first point on."""
    found = toy_evidence()
    why = "scratch learned nothing that can be told from one answer for every row"
    gains = tuple(
        dataclasses.replace(gain, interval=None, note=why) if gain.unit == "rows" else gain
        for gain in found.gains
    )
    refused = dataclasses.replace(found, gains=gains)
    assert "On these means, scratch needs" in report.markdown(found)
    assert "On these means" not in report.markdown(refused)
    assert 'class="saved"' in report.html(found)
    assert 'class="saved"' not in report.html(refused)
    assert why in Reader(report.html(refused)).text


def test_the_numbers_of_a_data_curve_are_those_that_were_measured():
    """Each point is a training of its own; between two of them nothing was trained."""
    found = toy_evidence()
    ends = found.data["scratch"][:1] + found.data["scratch"][-1:]
    short = figures.data(dataclasses.replace(found, data=found.data | {"scratch": ends}))
    rows = {name: cells for name, *cells in short["table"]["rows"]}
    assert rows["scratch"] == ["17.0 %", "", "", "", "", "", "61.9 %"]
    assert "" not in rows["finetuned"]


def test_a_control_that_ships_against_a_positive_verdict_is_pointed_out():
    found = toy_evidence()
    verdict = dataclasses.replace(found.verdict, shipped="scratch")
    text = Reader(report.html(dataclasses.replace(found, verdict=verdict))).text
    assert "do not agree" in text


def test_test_rows_read_twice_are_confessed():
    found = dataclasses.replace(toy_evidence(), n_test_reads=4)
    assert "the interval is optimistic" in Reader(report.html(found)).text
    assert "the interval is optimistic" not in Reader(report.html(toy_evidence())).text


def test_a_study_that_found_little_still_has_a_page():
    bare = Evidence(
        task=Task(Kind.MULTICLASS, ("a", "b")),
        score="accuracy",
        source={},
        n_rows={},
        arms=(ArmRecord("probe", "transfer"), ArmRecord("majority", "control")),
        outcomes=(),
        effort={"probe": (Curve(),), "scratch": ()},
        data={"probe": ()},
        gains=(Gain("jumpstart", None, "accuracy", "no random-probe arm"),),
        verdict=Verdict(
            "undecided", Interval(-math.inf, math.nan, math.inf), "probe", "majority", "probe"
        ),
    )
    text = Reader(report.html(bare)).text
    assert "not measured" in text and "cannot be told" in text
    assert "nan" not in text and "None" not in text and "inf" not in text.split()
    assert "nan" not in report.markdown(bare)


def with_arms(found, **tests):
    """Return evidence in which arms have these test scores by seed."""
    arms = tuple(dataclasses.replace(arm, test=tests.get(arm.name, arm.test)) for arm in found.arms)
    return dataclasses.replace(found, arms=arms)


def test_what_is_subtracted_are_means_over_the_seeds_that_both_have():
    found = with_arms(
        toy_evidence(), finetuned={0: 0.9, 1: 0.8, 2: 0.4}, scratch={0: 0.6, 1: 0.5}
    )  # fmt: skip
    told = "85.0 % with transfer (finetuned), 55.0 % without (scratch)"
    text = report.markdown(found)
    assert told in text
    told = [row for row in text.splitlines() if "means over " in row and row.startswith("|")]
    assert len(told) == 1 and told[0].startswith("| scratch ")
    assert "means over 2 seeds" in told[0]


def test_a_fine_tuning_that_lost_was_tried():
    found = toy_evidence()
    verdict = dataclasses.replace(found.verdict, transfer="probe", shipped="probe")
    plan = found.transfer_plan | {"phase": None, "outcome": "probe: nothing else was tried"}
    lost = dataclasses.replace(found, verdict=verdict, transfer_plan=plan)
    assert "**Fine-tune.** Tried, and not kept." in report.markdown(lost)
    arms = tuple(arm for arm in found.arms if arm.name != "finetuned")
    never = dataclasses.replace(lost, arms=arms)
    assert "**Fine-tune.** Left out." in report.markdown(never)


@pytest.mark.parametrize(
    ("outcome", "told", "untold"),
    [
        ("finetuned: finetuned − probe = +0.050", "The upper 5 stages, gently", "Tried, and"),
        ("finetuned, not worse: finetuned − probe = +0.010", "fine-tuned: 5", "Tried, and"),
        ("probe, the simpler: finetuned − probe = +0.001", "Tried, and not kept.", "fine-tuned: 5"),
    ],
)
def test_an_arm_of_yours_is_told_by_its_own_source_and_what_it_moved(outcome, told, untold):
    found = toy_evidence()
    mine = dataclasses.replace(found.arms[-1], name="lite2", about=YOURS)
    plan = found.transfer_plan | {"source": "pkg:efficientnet-lite2", "outcome": outcome}
    text = Reader(report.html(dataclasses.replace(
        found,
        arms=(*found.arms, mine),
        verdict=dataclasses.replace(found.verdict, transfer="lite2", shipped="lite2"),
        transfer_plan=plan,
    ))).text  # fmt: skip
    assert "pkg:efficientnet-lite2 gets at most 26 more of every 100 pictures right" in text
    assert "EfficientNet-Lite0" not in text and "ImageNet-1k" not in text and "3.4 M" not in text
    assert told in text and untold not in text


def test_rows_of_another_domain_are_told_beside_the_labels_saved():
    found = toy_evidence()
    beside = dataclasses.replace(found, n_rows=found.n_rows | {"beside": 1234})
    (saved,) = (fact for fact in facts(beside) if fact["name"] == "labels saved")
    assert saved["note"] == "of 600, and 1,234 of another domain"
    text = report.markdown(beside)
    assert "Every point of finetuned learned from 1,234 labeled rows of another domain" in text
    assert "is beside" not in report.markdown(found)


def test_a_seed_that_stopped_keeps_the_score_of_the_weights_it_kept():
    short = Curve(seen=(10, 20), score=(0.5, 0.75), loss=(0.4, 0.6))
    longer = Curve(seen=(10, 20, 30), score=(0.5, 0.75, 1.0))
    assert mean_curve("probe", "best", (short, longer)).y == (0.5, 0.75, 0.75)


def test_gains_that_rest_on_seeds_alone_are_told_with_the_interval():
    assert "Those of slope, time and labels saved count that in seeds alone" in Reader(
        report.html(toy_evidence())
    ).text  # fmt: skip


def test_one_seed_has_no_interval():
    found = toy_evidence(n_seeds=1)
    gain = Interval(-math.inf, 0.262, math.inf)
    verdict = dataclasses.replace(found.verdict, gain=gain, word="undecided", n_seeds=1)
    gains = (Gain("jumpstart", gain, "accuracy"),)
    text = Reader(report.html(dataclasses.replace(found, verdict=verdict, gains=gains))).text
    assert "with one seed nothing can be said" in text
    assert "interval unknown" in text


def test_several_labels_and_numbers_have_their_own_mistakes():
    many = toy_evidence()
    judged = Judged("probe", ("r0", "r1"), ((1, 0, 1), (0, 1, 0)), ((1, 0, 0), (0, 1, 0)), (0.9, 1))
    task = Task(Kind.MULTILABEL, ("red", "big", "old"))
    text = Reader(
        report.html(dataclasses.replace(many, task=task, judged=judged, score="macro_f1"))
    ).text
    assert "gets all labels of 1 right" in text and "red, old" in text
    judged = Judged("probe", ("r0", "r1"), (1.5, 2.0), (1.4, 5.0), (1.0, 1.0))
    task = Task(Kind.REGRESSION)
    text = Reader(report.html(dataclasses.replace(many, task=task, judged=judged, score="r2"))).text
    assert "are missed by less than" in text


def test_many_classes_give_pairs_and_no_table_that_cannot_be_read():
    labels = tuple(f"class {i}" for i in range(60))
    page = report.html(toy_evidence(labels))
    assert 'class="grid"' not in page.replace('line class="grid"', "").replace(
        'path class="grid"', ""
    )
    assert "Most often confused" in page


def test_mistakes_show_the_pictures_themselves(tmp_path):
    path = tmp_path / "wrong.png"
    Image.new("RGB", (400, 300), (200, 30, 30)).save(path)
    page = report.html(toy_evidence(names=(str(path),) * 60))
    assert page.count('<img src="data:image/jpeg;base64,') == 8
    assert str(tmp_path) not in page  # a page that is mailed names no folder of its maker
    assert len(page) < 300_000


def test_mistakes_show_texts_that_are_given():
    found = toy_evidence()
    page = report.html(found, rows=dict.fromkeys(found.judged.names, "snow & <ice>"))
    assert "<blockquote>snow &amp; &lt;ice&gt;</blockquote>" in page


def test_a_report_made_again_shows_the_same_texts(tmp_path):
    """And no other text of the data is kept: eight rows are shown."""
    found = toy_evidence()
    rows = {name: f"text of {name}" for name in found.judged.names}
    rows[found.judged.names[0]] = sentence("text of words")
    keep(found, tmp_path, rows)
    again = kept_rows(tmp_path)
    assert report.html(kept(tmp_path), rows=again) == report.html(found, rows=rows)
    assert 0 < len(again) <= 8 < len(rows)
    assert all(rows[name] == row for name, row in again.items())
    keep(found, tmp_path)
    assert kept_rows(tmp_path) == {}


def test_evidence_whose_replacement_was_killed_half_way_is_there(tmp_path):
    found = toy_evidence()
    keep(found, tmp_path, dict.fromkeys(found.judged.names, "a text"))
    (tmp_path / "evidence").rename(tmp_path / ".evidence.old")
    assert kept_rows(tmp_path)
    (tmp_path / "evidence").rename(tmp_path / ".evidence.old")
    assert kept(tmp_path).to_json() == found.to_json()


def test_what_is_no_picture_gives_no_thumbnail(tmp_path):
    (tmp_path / "x.jpg").write_text("no picture")
    assert thumbnail(tmp_path / "x.jpg") == ""
    assert thumbnail(tmp_path / "missing.jpg") == ""


def test_the_frozen_part_is_drawn_and_told():
    net = Network(16, 12, "a picture", "1 of 3")
    drawn = net.draw()
    assert drawn.count('class="still"') - drawn.count('text class="still"') == 10
    assert "12 of 16 pretrained stages are frozen" in net.in_words()
    assert Network(3, 3, "a text", "1 of 2").bars(14) == (3, 0)


def test_labels_never_stand_over_each_other():
    places = spread([50, 51, 52, 200], 16, 0, 210)
    assert all(b - a >= 16 - 1e-9 for a, b in itertools.pairwise(places))
    assert places[-1] == 200 and spread([205, 206], 16, 0, 210)[1] <= 210


def test_scales_hold_what_lies_outside_at_their_edge():
    assert Scale(0, 1, 0, 100)(math.inf) == 100
    assert Scale(0, 1, 0, 100)(-5) == 0
    assert Scale(2, 2, 0, 100)(2) == 50


def test_elements_escape_what_they_are_given():
    assert element("text", '<b>"', x='"><script>') == (
        '<text x="&#34;&gt;&lt;script&gt;">&lt;b&gt;&#34;</text>'
    )


@pytest.mark.parametrize(
    ("shipped", "said", "unsaid"),
    [
        (
            "probe",
            "headstart fit DATA --source pkg:efficientnet-lite0 --finetune no",
            "scratch:pkg",
        ),
        ("random-probe", "--source scratch:pkg:efficientnet-lite0 --finetune head", "no network"),
        ("classical", "What ships is no network", "headstart predict"),
        ("beside", "DATA --source pkg:efficientnet-lite0 --also ALSO --finetune no", "scikit"),
        ("beside-finetuned", "DATA --source pkg:efficientnet-lite0 --also ALSO --out", "scikit"),
        ("zero-shot", "fit ALSO --source pkg:efficientnet-lite0 --finetune no", "scikit"),
        ("zero-shot", "none of this study taught it", "fit DATA"),
    ],
)
def test_what_ships_can_be_made(shipped, said, unsaid):
    found = toy_evidence()
    verdict = dataclasses.replace(found.verdict, shipped=shipped)
    text = Reader(report.html(dataclasses.replace(found, verdict=verdict), run="runs/pets")).text
    assert said in text and unsaid not in text


def a_model_of(folder, arm, **plan):
    (folder / "model").mkdir(parents=True)
    plan = toy_evidence().transfer_plan | plan
    write_json(folder / "model" / "bundle.json", {"facts": {"arm": arm, "plan": plan}})


@pytest.mark.parametrize(("arm", "is_it"), [("finetuned", True), ("probe", False)])
def test_the_model_that_was_fitted_is_offered_where_it_is_what_ships(tmp_path, arm, is_it):
    a_model_of(tmp_path / "pets", arm)
    run, found = str(tmp_path / "pets"), toy_evidence()
    assert found.verdict.shipped == "finetuned"
    text = Reader(report.html(found, run=run)).text
    assert (f"headstart predict {run} " in text) == is_it
    assert (f"--out {run}-finetuned" in text) == (not is_it)


@pytest.mark.parametrize(
    "other",
    [
        {"source": "pkg:all-minilm-l6-v2"},
        {"source": "scratch:pkg:efficientnet-lite0"},
        {"head": "mlp"},
        {"finetune": "all"},
        {"phase": {"epochs": 3}},
    ],
)
def test_an_arm_of_that_name_that_was_made_otherwise_is_not_what_ships(tmp_path, other):
    a_model_of(tmp_path / "pets", "finetuned", **other)
    run = str(tmp_path / "pets")
    text = Reader(report.html(toy_evidence(), run=run)).text
    assert "--source pkg:efficientnet-lite0 --epochs 5 --out" in text
    assert f"headstart predict {run}-finetuned" in text
    assert f"headstart predict {run} " not in text


def test_a_model_that_says_nothing_of_its_making_is_not_what_ships(tmp_path):
    (tmp_path / "pets" / "model").mkdir(parents=True)
    run = str(tmp_path / "pets")
    for said in ({"arm": "finetuned"}, {"arm": "finetuned", "plan": []}, []):
        write_json(tmp_path / "pets" / "model" / "bundle.json", {"facts": said})
        assert f"--out {run}-finetuned" in Reader(report.html(toy_evidence(), run=run)).text


def a_study_that_ships(arm, rows, **plan):
    """A study in which that arm ships; what is known of it is the plan of one of its fits."""
    found = toy_evidence()
    return dataclasses.replace(
        found,
        task=Task(Kind.TAGS if rows is Modality.WORDS else Kind.MULTICLASS),
        source=found.source | {"modality": str(rows.read_as)},
        verdict=dataclasses.replace(found.verdict, transfer="probe", shipped=arm),
        outcomes=(Outcome(arm, 0, 600, facts={"plan": found.transfer_plan | plan}),),
    )


@pytest.mark.parametrize(
    ("usual", "rows", "arm", "plan"),
    [
        (PICTURES, Modality.IMAGE, "finetuned", {"finetune": "last:25%"}),
        (TEXTS, Modality.TEXT, "beside-finetuned", {"finetune": "all"}),
        (WORDS, Modality.WORDS, "finetuned", {"finetune": "last:75%"}),
        (FEW_TEXTS, Modality.TEXT, "finetuned", {"finetune": "last:100%", "is_few": True}),
        (SCRATCH, Modality.IMAGE, "scratch", {"source": "scratch:pkg:efficientnet-lite0"}),
    ],
)
@pytest.mark.parametrize(
    "changed", [{}, {"epochs": 7, "rate": 3e-5}, {"optimizer": "sgd", "cache_gb": 50.0}]
)
def test_the_command_that_makes_what_ships_asks_for_what_the_study_had(
    usual, rows, arm, plan, changed
):
    phase = dataclasses.replace(usual, **changed)
    found = a_study_that_ships(arm, rows, head="mlp", phase=vars(phase), **plan)
    line = shlex.split(use(found, "runs/new")[0]["code"])
    read = get_command(app).commands["fit"].make_context("fit", line[2:]).params
    learned = {name: read[option[2:].replace("-", "_")] for name, option in step5.OPTIONS.items()}
    given = step5.asked(read["source"], read["finetune"], **learned)
    assert given == changed and read["head"] == "mlp"
    assert (step5.phase(read["source"], rows, read["finetune"], given) or usual) == phase


@pytest.mark.parametrize(
    ("plan", "told"),
    [
        (Plan(None, "", {}, "linear", finetune="last:25%", keeps_finetuned=True), "last:25%"),
        (Plan(None, "", {}, "linear", finetune="last:100%", is_few=True), "few"),
    ],
)
def test_a_fine_tuned_arm_is_made_as_the_study_made_it(tmp_path, plan, told):
    plan = dataclasses.replace(plan, source=resolve("identity:")).to_json()
    found = dataclasses.replace(toy_evidence(), transfer_plan=plan)
    text = Reader(report.html(found, run=str(tmp_path / "pets"))).text
    assert f"--finetune only:{told} --out" in text


def test_a_control_that_ships_goes_beside_the_model_that_was_fitted(tmp_path):
    a_model_of(tmp_path / "pets", "finetuned")
    run = str(tmp_path / "pets")
    assert "headstart fit" not in Reader(report.html(toy_evidence(), run=run)).text
    text = Reader(report.html(toy_evidence(word="negative"), run=run)).text
    assert f"--source scratch:pkg:efficientnet-lite0 --out {run}-scratch" in text
    assert f"headstart predict {run}-scratch" in text


def test_what_learned_from_other_rows_alone_is_not_the_model_that_was_fitted(tmp_path):
    a_model_of(tmp_path / "pets", "probe")
    run, found = str(tmp_path / "pets"), toy_evidence()
    verdict = dataclasses.replace(found.verdict, shipped="zero-shot")
    text = Reader(report.html(dataclasses.replace(found, verdict=verdict), run=run)).text
    assert f"headstart predict {run}-zero-shot" in text


def test_an_arm_of_yours_is_not_said_to_be_of_scikit_learn():
    found = toy_evidence()
    arms = (*found.arms, dataclasses.replace(found.arms[-1], name="mine", about="yours"))
    verdict = dataclasses.replace(found.verdict, shipped="mine")
    text = report.markdown(dataclasses.replace(found, arms=arms, verdict=verdict))
    assert "What ships is an arm of yours" in text and "scikit-learn" not in text


def test_points_that_had_not_converged_are_provisional():
    found = toy_evidence()
    assert "on so many labeled rows, run to its end." in Reader(report.html(found)).text
    cut = tuple(dataclasses.replace(point, is_converged=False) for point in found.data["scratch"])
    gains = tuple(
        dataclasses.replace(gain, note=f"{gain.note}; provisional") if gain.unit == "rows" else gain
        for gain in found.gains
    )
    short = dataclasses.replace(found, data=found.data | {"scratch": cut}, gains=gains)
    text = Reader(report.html(short)).text
    assert "stopped before they had converged" in text and "run to its end" not in text
    assert "of 600, provisional: scratch had not converged" in text
