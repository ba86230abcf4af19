"""Words through the waist: no word is lost, and each has the vector of its own first piece."""

import random

import numpy as np
import pytest
from tokenizers import Regex, Tokenizer, models, pre_tokenizers

from headstart.data.dataset import Dataset, from_arrays
from headstart.data.words import sentence, spaced
from headstart.errors import UnreadableRow
from headstart.features.cache import feature_key
from headstart.features.extract import extract, extract_beside, forward
from headstart.features.inputs import WordInputs, inputs_for, word_places
from headstart.io import sha256_file
from headstart.sources.catalog import resolve
from headstart.sources.preprocess import TextPreprocess
from headstart.task import Modality
from tests.test_data_words import SAMPLES
from tests.toys import toy_text_source


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A toy encoder that knows 64 pieces at once."""
    return resolve(toy_text_source(tmp_path_factory.mktemp("words")))


def inputs(source) -> WordInputs:
    made = inputs_for(source.preprocess, Modality.WORDS)
    assert isinstance(made, WordInputs)
    return made


def rows(*texts: str) -> Dataset:
    return Dataset(Modality.WORDS, tuple(sentence(text) for text in texts))


def first_piece(source, word: str) -> int:
    """The id of a word's first piece, by the tokenizer itself."""
    made = inputs(source)
    ids = made.tokenizer.encode(word, add_special_tokens=False).ids
    return ids[0] if ids else made.unknown


LONG = " ".join(random.Random(0).choices(["good", "bad", "cat", "zebra", "x1!"], k=400))


@pytest.mark.parametrize("text", [*SAMPLES, LONG, "", "cat", "\u200b"])
def test_every_word_has_its_own_first_piece(source, text):
    row = sentence(text)
    pieces = inputs(source).row(row)
    flat = np.concatenate(pieces.windows)
    assert flat[pieces.first].tolist() == [first_piece(source, word) for word in row.words]
    assert all(len(window) <= source.preprocess.max_length for window in pieces.windows)


def test_windows_lose_no_piece_and_overlap(source):
    made = inputs(source)
    pieces = made.row(sentence(LONG))
    assert len(pieces.windows) > 3
    before, behind = made.frame
    bodies = [window[len(before) : len(window) - len(behind)].tolist() for window in pieces.windows]
    whole = made.tokenizer.encode(
        list(sentence(LONG).words), is_pretokenized=True, add_special_tokens=False
    ).ids
    size = source.preprocess.max_length - len(before) - len(behind)
    step = size - size // 4
    put = bodies[0] + [i for body in bodies[1:] for i in body[size // 4 :]]
    assert put == whole
    assert all(bodies[w] == whole[w * step : w * step + size] for w in range(len(bodies)))


def test_no_word_stands_at_a_cut(source):
    pieces = inputs(source).row(sentence(LONG))
    ends = np.cumsum([len(window) for window in pieces.windows])
    window = np.searchsorted(ends, pieces.first, side="right")
    within = pieces.first - np.concatenate([[0], ends])[window]
    inner = (window > 0) & (window < len(ends) - 1)
    sizes = np.array([len(one) for one in pieces.windows])[window]
    margin = np.minimum(within, sizes - 1 - within)
    assert inner.any()
    assert margin[inner].min() >= source.preprocess.max_length // 10


def test_the_vector_of_a_word_is_that_of_its_piece(source):
    data = rows("the good cat", LONG)
    pooled = extract(source, data, cache=False).pieces([0, 1])
    whole = extract(source, data, pooled=False, boundary=4, cache=False).pieces([0, 1])
    for row, vectors, pieces in zip(data.rows, pooled, whole, strict=True):
        first = inputs(source).row(row).first
        assert np.array_equal(vectors, pieces[first])


def test_a_word_has_the_same_vector_whatever_stands_beside_its_row(source):
    alone = extract(source, rows("the good cat"), cache=False).pieces([0])[0]
    beside = extract(source, rows(LONG, "bad", "the good cat"), cache=False).pieces([2])[0]
    assert alone == pytest.approx(beside, abs=1e-3)


def test_boundaries_stand_side_by_side(source):
    data = rows("the good cat", "a dog")
    both = extract_beside(source, data, (0.5, 1.0))
    top = extract(source, data)
    assert both.shape == (64,)
    assert np.array_equal(both.pieces([1])[0][:, 32:], top.pieces([1])[0])
    assert np.array_equal(both.flat().array(), np.concatenate(both.pieces([0, 1])))
    assert both.sizes().tolist() == [3, 2]
    assert np.array_equal(both.take([1]).flat().array(), both.pieces([1])[0])


def test_words_are_kept_and_found_again(source, fresh_home):
    data = rows("the good cat", "", LONG)
    first, again = extract(source, data), extract(source, data)
    assert (first.n_computed, again.n_computed) == (3, 0)
    assert first.sizes().tolist() == [3, 0, len(data.rows[2])]
    for a, b in zip(first.pieces([0, 1, 2]), again.pieces([0, 1, 2]), strict=True):
        assert np.array_equal(a, b)


def test_served_words_are_those_that_were_learned_from(source):
    data = rows("the good cat", LONG)
    learned, served = extract(source, data), forward(source, data)
    for a, b in zip(learned.pieces([0, 1]), served.pieces([0, 1]), strict=True):
        assert a == pytest.approx(b, abs=1e-3)


def test_a_text_and_its_words_share_no_features(source, fresh_home):
    extract(source, rows("good"))
    assert extract(source, Dataset(Modality.TEXT, ("good",))).n_computed == 1


def test_places_in_a_batch(source):
    made = inputs(source)
    pieces = [made.row(spaced(words)) for words in (["cat"], LONG.split(), ["the", "dog"])]
    windows = [window for row in pieces for window in row.windows]
    ids = made.batch(windows)["input_ids"]
    places = word_places(pieces, ids.shape[1])
    for row, at in zip(pieces, places, strict=True):
        flat = np.concatenate(row.windows)[row.first]
        assert ids.ravel()[at[at >= 0]].tolist() == flat.tolist()


def byte_level(folder, *steps) -> WordInputs:
    """Inputs of a tokenizer that cuts into bytes, and knows " cat" as one piece."""
    merges = [("Ġ", "c"), ("Ġc", "a"), ("Ġca", "t")]
    pieces = [*sorted(pre_tokenizers.ByteLevel.alphabet()), *("".join(pair) for pair in merges)]
    model = models.BPE(vocab={piece: at for at, piece in enumerate(pieces)}, merges=merges)
    tokenizer = Tokenizer(model)
    tokenizer.pre_tokenizer = steps[0] if len(steps) == 1 else pre_tokenizers.Sequence([*steps])
    path = folder / "tokenizer.json"
    tokenizer.save(str(path))
    made = inputs_for(TextPreprocess(str(path), sha256_file(path)), Modality.WORDS)
    assert isinstance(made, WordInputs)
    return made


SPLIT = pre_tokenizers.Split(Regex(r"'s| ?\p{L}+"), "isolated")


@pytest.mark.parametrize(
    "steps",
    [
        (pre_tokenizers.ByteLevel(add_prefix_space=False),),
        (pre_tokenizers.ByteLevel(add_prefix_space=True),),
        (SPLIT, pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)),
    ],
)
def test_words_have_the_pieces_they_have_inside_a_text(steps, tmp_path):
    made = byte_level(tmp_path, *steps)
    (window,) = made.row(spaced(["the", "cat's", "cat"])).windows
    wanted = made.tokenizer.encode(" the cat's cat")
    assert window.tolist() == wanted.ids
    assert wanted.tokens.count("Ġcat") == 2


def test_what_is_kept_of_words_has_a_version_of_its_own(source, monkeypatch):
    units = [(2, "words"), (2, False), (2, True), (None, True)]

    def keys():
        return [feature_key(source, at, unit, 0, "float32") for at, unit in units]

    before = keys()
    monkeypatch.setattr("headstart.features.cache.WORDS_VERSION", 0)
    assert [a == b for a, b in zip(before, keys(), strict=True)] == [False, False, True, True]


def test_a_megabyte_in_one_line(source):
    made = inputs(source)
    pieces = made.row(sentence("good, " * 170_000))
    assert len(pieces.first) == 340_000
    assert len(made.row(sentence("x" * 1_000_000)).first) == 1  # a word is cut, not lost


def test_half_a_character_is_no_fault(source):
    assert len(inputs(source).row(sentence("\ud800 cat")).first) == 2


def test_what_is_no_sentence_is_named(source):
    with pytest.raises(UnreadableRow, match="expected words"):
        inputs(source).row("a text")
    assert from_arrays([["a", "b"]]).modality is Modality.WORDS
