"""A proof about tags: every arm, entity F1 with intervals, a page with marked sentences."""

import dataclasses

import numpy as np
import pytest

import headstart as hs
from headstart.data.dataset import from_arrays
from headstart.data.ragged import ragged
from headstart.data.tags import coded, entities
from headstart.data.words import sentence
from headstart.evidence.arms import Majority
from headstart.evidence.page.sentences import marked
from headstart.evidence.report import markdown, write
from headstart.evidence.tagger import Tagger
from headstart.metrics.chain import legal_paths
from headstart.metrics.entities import counts, f1
from headstart.task import Kind
from tests.test_tags import corpus
from tests.toys import toy_text_source


@pytest.fixture(scope="module")
def data():
    return from_arrays(*corpus(90, seed=3))


@pytest.fixture(scope="module")
def evidence(data, tmp_path_factory):
    encoder = toy_text_source(tmp_path_factory.mktemp("encoder"), n_layers=1)
    phase = hs.Phase(epochs=2, rate=1e-3, head_rate=1e-2, batch=16)
    model = hs.Transfer(encoder, phase=phase)
    return hs.prove(model, data, seeds=2, budget_s=8, best_effort=True, remedies_s=0)


def test_all_arms_are_judged_by_entities(evidence):
    assert evidence.score == "entity_f1"
    arms = {arm.name: arm for arm in evidence.arms}
    assert {"majority", "classical", "random-probe", "scratch", "probe", "finetuned"} <= set(arms)
    assert np.mean(list(arms["majority"].test.values())) == 0
    assert np.mean(list(arms["classical"].test.values())) > 0.8
    assert evidence.verdict.gain.low <= evidence.verdict.gain.mid <= evidence.verdict.gain.high


def test_evidence_is_kept_and_read_again(evidence, tmp_path):
    from headstart.evidence.saved import keep, kept

    keep(evidence, tmp_path)
    assert kept(tmp_path).to_json() == evidence.to_json()


def test_the_page_shows_sentences_with_their_entities(evidence, data, tmp_path):
    page = write(evidence, tmp_path, rows=data.by_name()).read_text(encoding="utf-8")
    assert "entities" in page
    assert "Entity F1" in page or "entity F1" in page
    if any(a != b for a, b in zip(evidence.judged.truth, evidence.judged.said, strict=True)):
        assert "<mark class=" in page


def test_marks_tell_right_wrong_and_missed():
    row = sentence("Ann saw <b> Paris and Rome")
    n = len(row)
    truth = coded([(2, 0, 1), (1, n - 3, n - 2)], n)
    said = coded([(2, 0, 1), (1, n - 1, n)], n)
    shown = str(marked(row, truth.tolist(), said.tolist(), ["LOC", "PER"]))
    assert '<mark class="right">Ann' in shown
    assert '<mark class="missed">Paris' in shown
    assert '<mark class="wrong">Rome' in shown
    assert "<b>" not in shown
    assert len(entities(said)) == 2


def test_markdown_shows_sentences_without_markup(evidence, data):
    said = tuple((0,) * len(codes) for codes in evidence.judged.truth)
    judged = dataclasses.replace(evidence.judged, said=said)
    text = markdown(dataclasses.replace(evidence, judged=judged), rows=data.by_name())
    rows = text.partition("## Where it is right")[2].partition("\n## ")[0]
    assert "“" in rows and " PET\\]" in rows
    assert "mark" not in rows and "small" not in rows


def test_the_tagger_learns_what_words_look_like(data):
    fitted = Tagger(5).fit(data.rows[:60], data.targets[:60])
    said = legal_paths(fitted.predict_proba(data.rows[60:]))
    assert f1(counts(data.targets[60:], said)) > 0.9
    assert [len(row) for row in fitted.predict_proba([sentence("")])] == [0]


def test_the_majority_says_the_shares_at_every_word():
    model = Majority(Kind.TAGS).fit(["ab"], ragged([np.array([0, 0, 0, 1])]))
    (row,) = model.predict_proba([sentence("a b")])
    assert row.tolist() == [[0.75, 0.25]] * 2
