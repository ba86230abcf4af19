"""Tags end to end on a toy encoder: learned, fine-tuned, saved, asked about raw text."""

import dataclasses
import itertools
import json
import random
import subprocess
import sys

import numpy as np
import pytest
from scipy.special import logsumexp

import headstart as hs
from headstart.data.ragged import flat, lengths, ragged
from headstart.data.tags import illegal, repaired
from headstart.data.words import sentence
from headstart.errors import DataError, UsageError
from headstart.features import extract
from headstart.features.features import Features
from headstart.heads.chain import CHAIN_WORDS, fit_chain
from headstart.heads.head import head_from
from headstart.heads.tags import TagHead, fit_tags
from headstart.metrics.chain import Chain, legal_chain, legal_paths
from headstart.metrics.entities import counts, f1
from headstart.sources.catalog import open_backbone, resolve
from headstart.steps.attach import attach
from headstart.steps.batches import CachedSentences, DecodedRows
from tests.test_floors import BLOCKED
from tests.toys import toy_text_source

ANIMALS, COLORS = ("cat", "dog"), ("red", "blue")


def corpus(n=60, seed=0):
    """Sentences whose animals, with the color before them, are entities; films are others."""
    rng = random.Random(seed)
    rows, tags = [], []
    for _ in range(n):
        words, said = [], []
        for _ in range(rng.randrange(1, 5)):
            words += [rng.choice(("the", "good", "bad"))]
            said += ["O"]
            if rng.random() < 0.5:
                words += [rng.choice(COLORS), rng.choice(ANIMALS)]
                said += ["B-PET", "I-PET"]
            else:
                words += [rng.choice(("great", "awful")), "film"]
                said += ["O", "B-ART"]
        rows.append(words)
        tags.append(said)
    return rows, tags


@pytest.fixture(scope="module")
def encoder(tmp_path_factory):
    return toy_text_source(tmp_path_factory.mktemp("encoder"))


@pytest.fixture(scope="module")
def data():
    return hs.read([{"tokens": words, "tags": tags} for words, tags in zip(*corpus(), strict=True)])


@pytest.fixture(scope="module")
def model(encoder, data):
    return hs.Transfer(encoder, finetune="no").fit(data)


@pytest.fixture(scope="module")
def tuned(encoder, data):
    phase = hs.Phase(epochs=4, rate=2e-3, head_rate=1e-2, batch=8)
    return hs.Transfer(encoder, finetune="only:last:100%", phase=phase).fit(data)


def test_entities_are_learned(model):
    assert model.scores_["out_of_fold"]["entity_f1"] > 0.95
    said = model.predict([["the", "red", "dog"], ["awful", "film", "the", "blue", "cat"]])
    assert [tags.tolist() for tags in said] == [
        ["O", "B-PET", "I-PET"], ["O", "B-ART", "O", "B-PET", "I-PET"],
    ]  # fmt: skip


def test_the_layers_are_chosen_on_held_out_sentences(model):
    facts = model.plan_.to_json()
    assert facts["head"] == "linear"
    assert model.bundle_.head.reads in ((1.0,), (0.5, 0.75, 1.0))


@pytest.mark.parametrize("layers", [(1.0,), (0.5, 0.75, 1.0)])
def test_held_out_sentences_are_read_as_the_head_reads_them(encoder, data, monkeypatch, layers):
    def fit(candidates, *args, **how):
        return fit_tags({layers: candidates[layers]}, *args, **how)

    monkeypatch.setattr("headstart.steps.train.fit_tags", fit)
    parts = np.array(["validation"] * 10 + ["test"] * 10 + ["train"] * 40)
    model = hs.Transfer(encoder, finetune="no").fit(dataclasses.replace(data, split=parts))
    assert model.bundle_.head.reads == layers
    assert model.scores_["validation"]["entity_f1"] > 0.9
    asked = data.take(range(10, 20))
    own = f1(counts(asked.targets, legal_paths(model.bundle_.outputs(asked))))
    assert model.scores_["test"]["entity_f1"] == pytest.approx(own)


def test_a_saved_model_says_the_same_of_raw_text(model, tmp_path):
    model.save(tmp_path / "model")
    loaded = hs.load(tmp_path / "model")
    text = "The red dog, the awful film!"
    (record,) = loaded.predictions(hs.data.dataset.from_arrays([text], modality="words"))
    found = [(one["label"], one["text"]) for one in record["entities"]]
    assert found == [("PET", "red dog"), ("ART", "film")]
    for one in record["entities"]:
        assert text[one["start"] : one["end"]] == one["text"]
        assert 0 < one["score"] <= 1
    for a, b in zip(loaded.outputs([text]), model.bundle_.outputs([text]), strict=True):
        assert a == pytest.approx(b, abs=1e-4)


def test_many_sentences_are_looked_at_a_block_at_a_time(model, monkeypatch):
    rows = [["the", "red", "dog"], ["the"], ["awful", "film"], ["good"] * 9, ["the", "blue", "cat"]]
    whole = model.bundle_
    data = hs.data.dataset.from_arrays(rows, modality="words")
    expected, outputs = whole.answers(data), whole.outputs(rows)
    seen = []

    def forward(source, data, **how):
        seen.append(len(data))
        return extract.forward(source, data, **how)

    monkeypatch.setattr("headstart.bundle.bundle.SENTENCES", 2)
    monkeypatch.setattr("headstart.bundle.bundle.forward", forward)
    found = whole.answers(data)
    assert [one["name"] for one in found.records] == [one["name"] for one in expected.records]
    assert [one["prediction"] for one in found.records] == [
        one["prediction"] for one in expected.records
    ]
    for a, b in zip(whole.outputs(rows), outputs, strict=True):
        assert a == pytest.approx(b, abs=1e-5)
    assert seen == [2, 2, 1] * 2


def test_a_loaded_model_predicts_without_torch(model, tmp_path):
    model.save(tmp_path / "model")
    code = f"""{BLOCKED}
import headstart as hs
print(hs.load({str(tmp_path / "model")!r}).predict(["the red dog"])[0].tolist())
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "['O', 'B-PET', 'I-PET']" in done.stdout, done.stderr


def test_finetuning_goes_through_the_loop(tuned, data):
    assert tuned.bundle_.facts["arm"] == "finetuned"
    assert tuned.plan_.boundary == 1  # the vectors of pieces stay as they are
    assert len(tuned.curve_) <= 4
    assert tuned.scores_["validation"]["entity_f1"] > 0.8


def test_a_finetuned_model_is_saved_and_says_the_same(tuned, tmp_path):
    tuned.save(tmp_path / "model")
    text = ["the red dog and the awful film"]
    for a, b in zip(hs.load(tmp_path / "model").outputs(text), tuned.bundle_.outputs(text),
                    strict=True):  # fmt: skip
        assert a == pytest.approx(b, abs=1e-4)


@pytest.mark.parametrize("boundary", [0, 1, 3])
def test_finetuning_starts_from_what_the_head_says(encoder, data, boundary):
    """LP-FT: step 0 gives the logits of step 4, also where a sentence has several windows."""
    import torch

    from headstart.features.extract import extract

    long = hs.read([{"tokens": ["the", "red", "dog"] * 60, "tags": ["O", "B-PET", "I-PET"] * 60}])
    source = resolve(encoder)
    top = fit_tags(extract(source, data), data.targets, data.task).head
    tail = attach(open_backbone(source), boundary, top).eval()
    for rows in (data.take(range(5)), long):
        wanted = top.logits(extract(source, rows).array())
        if boundary:
            cached = extract(source, rows, boundary=boundary, pooled=False)
            read = CachedSentences([cached], rows, source.preprocess)
        else:
            read = DecodedRows(rows, source.preprocess)
        with torch.no_grad():
            said = tail(*read.state(np.arange(len(rows)), 0))[1].numpy()
        for a, b in zip(wanted, said, strict=True):
            assert b[: len(a)] == pytest.approx(a, abs=float(3e-3 * np.abs(a).max()))  # float16


def test_scratch_learns_tags_too(encoder, data):
    phase = hs.Phase(epochs=6, rate=5e-3, decay=1.0, batch=8)
    model = hs.Transfer(f"scratch:{encoder}", phase=phase).fit(data)
    assert model.scores_["validation"]["entity_f1"] > 0.5


def test_other_heads_do_not_tag(encoder, data):
    with pytest.raises(UsageError, match="does not tag"):
        hs.Transfer(encoder, head="mlp", finetune="no").fit(data)


# The head


def words_of(truth, seed=0, noise=0.3):
    """Features that tell the tag of each word, with noise."""
    rng = np.random.default_rng(seed)
    return ragged([np.eye(5)[row] + rng.normal(size=(len(row), 5)) * noise for row in truth])


def handle(rows):
    """Ragged features in memory."""
    at = np.arange(len(rows), dtype=np.int64)
    where = np.stack([np.zeros_like(at), at], axis=1)
    offsets = np.cumsum([0, *lengths(rows)])
    return Features((flat(rows),), where, 0, "memory", at, offsets=(offsets,))


def chains(n=80, seed=0):
    """Legal tags in which type 1 always goes on for one word, and type 2 never does."""
    rng = np.random.default_rng(seed)
    parts = ([0], [1, 2], [3], [0, 0])
    rows = [np.concatenate([parts[i] for i in rng.integers(4, size=rng.integers(1, 6))])
            for _ in range(n)]  # fmt: skip
    return ragged([row.astype(np.int64) for row in rows])


def test_the_chain_learns_what_follows_what():
    from headstart.data.tags import tag_task

    truth = chains()
    features, new = words_of(truth, noise=0.7), chains(seed=1)
    head = fit_tags(handle(features), truth, tag_task(["A", "B"])).head
    chain = head.chain
    assert chain.transition[1, 2] > chain.transition[1, 0]
    assert chain.transition[3, 0] > chain.transition[3, 4]
    seen = words_of(new, seed=2, noise=0.7)
    from headstart.metrics.chain import legal_paths

    with_chain = f1(counts(new, legal_paths(head.outputs(seen))))
    plain = TagHead(head.weight, head.bias, legal_chain(5), head.temperature)
    without = f1(counts(new, legal_paths(plain.outputs(seen))))
    assert with_chain > without + 0.02


@pytest.mark.parametrize("split_above", [20_000, 1])  # folds, and one split
def test_equal_sentences_are_held_out_together(monkeypatch, split_above):
    from headstart.data.tags import tag_task

    monkeypatch.setattr("headstart.heads.tags.SPLIT_ABOVE", split_above)
    truth, twice = chains(40), np.tile(np.arange(40), 2)
    features = handle(words_of(truth)).take(twice)
    said = fit_tags(features, truth[twice], tag_task(["A", "B"])).oof_outputs
    for first, second in zip(said[:40], said[40:], strict=True):
        assert np.array_equal(first, second, equal_nan=True)


@pytest.mark.parametrize("seed", range(4))
def test_the_chain_costs_what_a_loop_over_sentences_says(seed):
    from headstart.heads.chain import _ChainProblem

    rng = np.random.default_rng(seed)
    truth = list(chains(9, seed))
    rows = [rng.normal(size=(len(path), 5)) for path in truth]
    problem = _ChainProblem(rows, truth, legal_chain(5), np.ones(len(rows)))
    x = rng.normal(size=31)
    temperature, chain = problem.parts(x)
    likely = 0.0
    for row, path in zip(rows, truth, strict=True):
        score = row[np.arange(len(path)), path].sum() / temperature + chain.start[path[0]]
        score += sum(chain.transition[a, b] for a, b in itertools.pairwise(path))
        ahead = chain.start + row[0] / temperature
        for said in row[1:]:
            ahead = logsumexp(ahead[:, None] + chain.transition, axis=0) + said / temperature
        likely += score - logsumexp(ahead)
    assert problem(x)[0] == pytest.approx(x @ x / 2 - likely)


def test_the_gradient_of_the_chain_is_right():
    from scipy.optimize import check_grad

    from headstart.heads.chain import _ChainProblem

    truth = chains(8)
    rows = list(words_of(truth))
    problem = _ChainProblem(rows, list(truth), legal_chain(5), np.ones(len(rows)))
    x = np.random.default_rng(0).normal(size=31) * 0.3
    legal = np.concatenate([[True], np.isfinite(legal_chain(5).start),
                            np.isfinite(legal_chain(5).transition).ravel()])  # fmt: skip
    x = np.where(legal, x, 0)
    gap = check_grad(lambda y: problem(np.where(legal, y, 0))[0],
                     lambda y: np.where(legal, problem(y)[1], 0), x)  # fmt: skip
    assert gap < 1e-3


def test_a_sentence_teaches_the_chain_as_often_as_it_counts():
    from headstart.heads.chain import _ChainProblem

    truth, often = chains(12), np.array([0, 1, 2] * 4)
    rows, again, x = words_of(truth), np.repeat(np.arange(12), often), np.full(31, 0.2)
    weighted = _ChainProblem(list(rows), list(truth), legal_chain(5), often.astype(float))
    repeated = _ChainProblem(list(rows[again]), list(truth[again]), legal_chain(5), np.ones(12))
    assert weighted(x)[0] == pytest.approx(repeated(x)[0])
    np.testing.assert_allclose(weighted(x)[1], repeated(x)[1])
    seen = np.flatnonzero(often == 1)
    wrong = ragged(
        [row if n == 1 else np.zeros_like(row) for row, n in zip(truth, often, strict=True)]
    )
    found = fit_chain(rows, wrong, (often == 1).astype(float))
    wanted = fit_chain(rows[seen], truth[seen])
    assert found[0] == wanted[0]
    np.testing.assert_array_equal(found[1].transition, wanted[1].transition)


def test_sentences_that_count_nothing_are_not_held_out():
    from headstart.data.tags import tag_task

    truth, weight = chains(40), np.repeat([1.0, 0.0], 20)
    features, task = handle(words_of(truth)), tag_task(["A", "B"])
    wrong = ragged([row if n else np.zeros_like(row) for row, n in zip(truth, weight, strict=True)])
    whole = fit_tags(features, wrong, task, weight=weight)
    alone = fit_tags(features.take(np.arange(20)), truth[:20], task)
    judged = [bool(np.isfinite(row).all()) for row in whole.oof_outputs]
    assert judged == [True] * 20 + [False] * 20
    assert whole.head.temperature == pytest.approx(alone.head.temperature, rel=0.05)


def test_broken_gold_is_repaired_before_it_is_learned():
    truth = chains()
    after_o = [np.concatenate([[0], row[:-1]]) == 0 for row in truth]
    broken = ragged(
        [np.where((row == 1) & o, 2, row) for row, o in zip(truth, after_o, strict=True)]
    )
    assert any(illegal(row).any() for row in broken)
    _, chain = fit_chain(words_of(truth), broken)
    assert np.isfinite(chain.transition[1, 2])
    assert all((repaired(a) == b).all() for a, b in zip(broken, truth, strict=True))


def test_a_head_is_saved_and_made_again():
    chain = Chain(np.array([0.0, 1.0, -np.inf]), legal_chain(3).transition)
    head = TagHead(np.ones((3, 2)), np.zeros(3), chain, 2.0, (0.5, 1.0))
    arrays, facts = head.state()
    again = head_from(arrays, json.loads(json.dumps(facts)))
    assert again.reads == (0.5, 1.0)
    rows = [np.ones((2, 2)), np.zeros((0, 2))]
    for a, b in zip(head.outputs(rows), again.outputs(rows), strict=True):
        assert np.array_equal(a, b)


def test_rows_without_words():
    head = TagHead(np.ones((3, 2)), np.zeros(3), legal_chain(3))
    assert [row.shape for row in head.outputs([np.zeros((0, 2))])] == [(0, 3)]
    assert len(sentence("")) == 0


def test_the_command_line_shows_and_tells(model, tmp_path):
    from typer.testing import CliRunner

    from headstart.cli.app import app

    model.save(tmp_path / "run" / "model")
    text = "The red dog"
    done = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), text, "--json", "--quiet"])
    (row,) = json.loads(done.stdout)
    assert [(one["label"], one["start"], one["end"]) for one in row["entities"]] == [("PET", 4, 11)]
    plain = CliRunner().invoke(app, ["predict", str(tmp_path / "run"), text, "", "--quiet"])
    assert plain.stdout.startswith("The [red dog PET ")
    assert "no text" in plain.stdout


def test_texts_without_words_have_no_tags(model):
    assert [row.shape for row in model.predict(["  ", ""])] == [(0,), (0,)]


def test_a_type_has_the_same_color_in_every_text(model, tmp_path, monkeypatch, capsys):
    from headstart.cli import show

    monkeypatch.setattr(show, "is_colored", lambda: True)
    types = ("ART", "PET")
    for text in ("The red dog", "The red dog saw the great film"):
        rows = hs.data.dataset.from_arrays([text], modality="words")
        show.predictions(model.bundle_.predictions(rows), types)
        assert "\x1b[30;42mred dog" in capsys.readouterr().out


def test_one_sentence_is_too_few(encoder):
    with pytest.raises(DataError, match="A blank line ends a sentence"):
        hs.Transfer(encoder).fit(hs.data.dataset.from_arrays([["a", "dog"]], [["O", "B-PET"]]))


def test_the_chain_is_learned_from_the_beginning_of_long_sentences():
    long = ragged([np.concatenate([row] * 90) for row in chains(4)])
    assert max(map(len, long)) > CHAIN_WORDS
    rows = words_of(long)
    cut = [ragged([row[:CHAIN_WORDS] for row in one]) for one in (rows, long)]
    found, wanted = fit_chain(rows, long), fit_chain(*cut)
    assert found[0] == wanted[0]
    np.testing.assert_array_equal(found[1].transition, wanted[1].transition)


def test_colors_are_for_terminals():
    from headstart.cli.show import marked

    said = [{"label": "PET", "start": 4, "end": 11, "score": 0.5}]
    assert "\x1b[30;44mred dog" in marked("The red dog\x1b[2J", said, ["PET"], True)
    assert "\x1b[2J" not in marked("The red dog\x1b[2J", said, ["PET"], True)


def test_what_is_decided_is_the_best_path():
    from headstart.metrics.chain import best_paths, legal_paths

    rng = np.random.default_rng(0)
    legal = legal_chain(5)
    chain = Chain(legal.start + rng.normal(size=5), legal.transition + rng.normal(size=(5, 5)) * 2)
    rows = [rng.normal(size=(n, 5)) for n in rng.integers(1, 12, size=200)]
    head = TagHead(np.eye(5), np.zeros(5), chain, temperature=0.7)
    outputs = head.outputs(rows)
    wanted = best_paths([row / 0.7 for row in head.logits(rows)], chain)
    for said, path in zip(legal_paths(outputs), wanted, strict=True):
        assert said.tolist() == path.tolist()
    assert flat(outputs).sum(axis=1) == pytest.approx(np.ones(len(flat(outputs))), abs=1e-5)


def test_a_model_that_learned_from_other_words_is_refused(model, tmp_path, monkeypatch):
    from headstart.errors import IntegrityError

    model.save(tmp_path / "model")
    monkeypatch.setattr("headstart.heads.tags.splitting", lambda: "0" * 16)
    with pytest.raises(IntegrityError, match="cut by the rules"):
        hs.load(tmp_path / "model")


def test_texts_are_split_into_words_for_the_model(model):
    texts = hs.data.dataset.from_arrays(["the red dog"])
    (record,) = model.bundle_.predictions(texts)
    assert [one["text"] for one in record["entities"]] == ["red dog"]
