"""Tags: schemes, repairs and spans; and the files that hold them."""

import json
import random

import numpy as np
import pytest

from headstart.data.conll import blocks
from headstart.data.dataset import from_arrays
from headstart.data.readers import read
from headstart.data.tags import Span, coded, entities, illegal, read_tags, repaired, tags_of
from headstart.data.unlabelled import read_rows
from headstart.data.words import sentence
from headstart.errors import DataError, UsageError
from headstart.task import Kind, Modality

CONLL = "John\tB-PER\nlives\tO\nin\tO\nNew\tB-LOC\nYork\tI-LOC\n\nYes\tO\n\n"


def codes(text):
    return read_tags([text.split()]).values[0].tolist()


def random_codes(generator, n, k=5):
    return np.array([generator.randrange(k) for _ in range(n)], dtype=np.int64)


def test_repaired_tags_are_legal_and_hold_the_same_entities():
    generator = random.Random(0)
    for _ in range(300):
        broken = random_codes(generator, generator.randrange(1, 12))
        mended = repaired(broken)
        assert not illegal(mended).any()
        assert entities(mended) == entities(broken) == entities(mended, strict=True)


def test_spans_and_tags_are_the_same():
    generator = random.Random(1)
    for _ in range(300):
        legal = repaired(random_codes(generator, generator.randrange(1, 12)))
        assert coded(entities(legal), len(legal)).tolist() == legal.tolist()


def test_schemes_are_read_alike():
    bio = codes("B-PER I-PER O B-LOC B-PER")
    assert codes("B-PER E-PER O S-LOC S-PER") == bio
    assert codes("B-PER L-PER O U-LOC U-PER") == bio


def test_broken_tags_are_counted_not_changed():
    found = read_tags([["O"], ["I-PER", "I-PER", "B-LOC", "I-PER"]])
    assert (found.n_illegal, found.first_illegal) == (2, 1)
    assert found.values[1].tolist() == [4, 4, 1, 4]
    left_open = read_tags([["B-PER", "O", "S-PER", "E-PER"]])
    assert left_open.n_illegal == 2
    assert entities(left_open.values[0]) == [(1, 0, 1), (1, 2, 3), (1, 3, 4)]


@pytest.mark.parametrize("tag", ["NOUN", "B", "B-", "X-PER", "", "b-PER"])
def test_what_is_no_tag_is_named(tag):
    with pytest.raises(DataError, match="neither O nor B-"):
        read_tags([["O", tag]])


def test_spans_take_whole_words():
    row = sentence("He left New York, alas.")
    assert tags_of([Span("LOC", 8, 16)], row) == (["O", "O", "B-LOC", "I-LOC", "O", "O", "O"], 0)
    assert tags_of([Span("LOC", 7, 16)], row) == tags_of([Span("LOC", 8, 16)], row)
    assert tags_of([Span("LOC", 9, 14)], row)[0][2:4] == ["B-LOC", "I-LOC"]


def test_of_spans_that_overlap_the_longer_stays():
    tags, n = tags_of([Span("LOC", 8, 11), Span("ORG", 8, 16)], sentence("He left New York."))
    assert (tags[2:4], n) == (["B-ORG", "I-ORG"], 1)


@pytest.mark.parametrize("span", [(5, 5), (-1, 3), (0, 99), (2, 3)])
def test_a_span_of_nothing_is_an_error(span):
    with pytest.raises(DataError, match="span"):
        tags_of([Span("LOC", *span)], sentence("He left."))


# Files


def write(folder, text, name="news.conll"):
    path = folder / name
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return path


@pytest.mark.parametrize(
    "text",
    [
        CONLL,
        CONLL.replace("\t", " "),
        CONLL.replace("\t", "   "),
        CONLL.replace("\n", "\r\n"),
        CONLL.replace("\n", "\r"),
        "\ufeff" + CONLL,
        "\n\n" + CONLL.replace("\n\n", "\n\n\n\n"),
        CONLL.rstrip("\n"),
        "-DOCSTART- -X- -X- O\n\n" + CONLL.replace("\t", " NNP B-NP "),
        "# sent_id = 1\n" + CONLL,
        "0\tJohn\tB-PER\n1\tlives\tO\n2\tin\tO\n3\tNew\tB-LOC\n4\tYork\tI-LOC\n\n0\tYes\tO\n",
    ],
)
def test_one_file_in_many_spellings(tmp_path, text):
    data = read(write(tmp_path, text))
    assert [row.words for row in data.rows] == [("John", "lives", "in", "New", "York"), ("Yes",)]
    assert data.task.labels == ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    assert [tags.tolist() for tags in data.targets] == [[3, 0, 0, 1, 2], [0]]
    assert (data.modality, data.task.kind, data.notes) == (Modality.WORDS, Kind.TAGS, ())


def test_a_hash_is_a_word_too(tmp_path):
    data = read(write(tmp_path, "# O\nParis B-LOC\n"))
    assert data.rows[0].words == ("#", "Paris")


def test_broken_tags_are_said_or_refused(tmp_path):
    path = write(tmp_path, "a\tO\n\nb\tO\nParis\tI-LOC\n")
    assert "1 tags continue" in read(path).notes[0]
    assert f"{path}:3" in read(path).notes[0]
    with pytest.raises(DataError, match="--strict"):
        read(path, strict=True)


def test_a_word_without_a_tag_is_skipped_and_named(tmp_path):
    path = write(tmp_path, CONLL * 200 + "lost\n\n" + CONLL)
    data = read(path)
    assert "has no tag: 'lost'" in data.skipped[0].reason
    with pytest.raises(DataError, match="max-skipped"):
        read(path, max_skipped=0)


def test_splits_with_other_types_are_refused(tmp_path):
    write(tmp_path, CONLL, "train.conll")
    write(tmp_path, CONLL.replace("PER", "ORG"), "test.conll")
    with pytest.raises(DataError, match="'ORG'"):
        read(tmp_path)


def test_splits_of_a_folder(tmp_path):
    write(tmp_path, CONLL, "train.conll")
    write(tmp_path, CONLL.replace("B-PER", "I-PER"), "test.conll")
    data = read(tmp_path)
    assert data.split.tolist() == ["test", "test", "train", "train"]
    assert data.targets[0].tolist() == [4, 0, 0, 1, 2]  # as the file has it


def test_nothing_tagged_is_an_error(tmp_path):
    with pytest.raises(DataError, match="every tag is O"):
        read(write(tmp_path, "a\tO\n\nb\tO\n"))


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.conll", "an\nant\n\nno\n", "words .* and nothing else"),
        ("train.txt", "an O\nant B-X\n", "to be named .conll"),
        ("words.csv", "word,tag\nAnn,B-PER\nleft,O\n", "a sentence a row"),
        ("a.jsonl", '{"tokens": ["Ann"], "tags": [1]}\n', "the tag 1 is no name such as O"),
    ],
)
def test_what_is_no_tagged_sentence_is_told_how_to_be_one(tmp_path, name, text, told):
    with pytest.raises(DataError, match=told):
        read(write(tmp_path, text, name))


def test_tags_a_row_may_be_said_to_be_classes(tmp_path):
    data = read(write(tmp_path, "word,tag\nAnn,B-PER\nleft,O\n", "words.csv"), kind="multiclass")
    assert data.task.labels == ("B-PER", "O")


@pytest.mark.parametrize("text", ["\n\n", " \n", "# only = comments\n"])
def test_a_file_of_no_words(tmp_path, text):
    with pytest.raises(DataError):
        read(write(tmp_path, text))


def test_a_sentence_of_ten_thousand_words(tmp_path):
    data = read(write(tmp_path, "Paris\tB-LOC\n" * 10_000))
    assert len(data.targets[0]) == 10_000


def test_json_lines_of_words_and_tags(tmp_path):
    rows = [
        {"id": 1, "tokens": ["in", "Paris"], "ner_tags": ["O", "B-LOC"]},
        {"id": 2, "tokens": [], "ner_tags": []},
        {"id": 3, "tokens": ["a"], "ner_tags": ["O", "O"]},
    ]
    path = write(tmp_path, "\n".join(map(json.dumps, rows)), "a.jsonl")
    data = read(path, max_skipped=0.7)
    assert data.targets[0].tolist() == [0, 1]
    assert [skipped.reason for skipped in data.skipped] == ["no words", "1 words and 2 tags"]


def test_json_lines_of_texts_and_spans(tmp_path):
    rows = [
        {"text": "He left New York.", "spans": [{"start": 8, "end": 16, "label": "LOC"}]},
        {"text": "hello you", "spans": []},
        {"text": "In Rome", "spans": [[3, 5, "LOC"]]},
    ]
    data = read(write(tmp_path, "\n".join(map(json.dumps, rows)), "a.jsonl"))
    assert [tags.tolist() for tags in data.targets] == [[0, 0, 1, 2, 0], [0, 0], [0, 1]]
    assert data.rows[0].text == "He left New York."
    assert "1 spans cut a word" in data.notes[0]
    with pytest.raises(DataError, match="--strict"):
        read(tmp_path / "a.jsonl", strict=True)


LABELED = [
    {"text": "In Rome", "category": "travel", "entities": [[3, 7, "LOC"]]},
    {"text": "He won", "category": "sport", "entities": []},
]


def test_spans_beside_a_class_are_said_to_be_read():
    found = read(LABELED)
    assert found.task.labels == ("O", "B-LOC", "I-LOC")
    assert found.notes == (
        "Entities are learned, from the spans in 'entities' (guessed by their names); the label a "
        "row in 'category' is not read: --label category reads it instead.",
    )
    assert read(LABELED, kind="tags").task == found.task
    assert read(LABELED, label="entities").notes == ()
    for said in ({"label": "category"}, {"kind": "multiclass"}):
        assert read(LABELED, **said).task.labels == ("sport", "travel")


def test_tags_beside_a_class_are_said_to_be_read():
    rows = [{"tokens": ["in", "Rome"], "tags": ["O", "B-LOC"], "intent": 1, "domain": "x"}] * 2
    (note,) = read(rows).notes
    assert "from the tags in 'tags'" in note and note.endswith("in 'intent' is not read.")


def declared(names, **rows):
    datasets = pytest.importorskip("datasets")
    features = datasets.Features(
        {
            "tokens": datasets.Sequence(datasets.Value("string")),
            "ner_tags": datasets.Sequence(datasets.ClassLabel(names=names)),
        }
    )
    return datasets.Dataset.from_dict(rows, features=features)


def test_a_hugging_face_dataset():
    rows = {"tokens": [["Ann", "Lee"], ["no"]], "ner_tags": [[1, 2], [0]]}
    data = read(declared(["O", "B-PER", "I-PER"], **rows))
    assert data.task.labels == ("O", "B-PER", "I-PER")
    assert [tags.tolist() for tags in data.targets] == [[1, 2], [0]]


def test_tag_numbers_are_those_of_their_own_split():
    train = declared(["O", "B-LOC", "B-PER"], tokens=[["Ann"], ["Rome"]], ner_tags=[[2], [1]])
    test = declared(["O", "B-PER", "B-LOC"], tokens=[["Lee", "left"]], ner_tags=[[1, 0]])
    data = read({"train": train, "test": test})
    assert data.task.labels[1::2] == ("B-LOC", "B-PER")
    assert [tags.tolist() for tags in data.targets] == [[3], [1], [3, 0]]


def test_lists_in_memory():
    data = from_arrays([["in", "Paris"], ["no"]], [["O", "B-LOC"], ["O"]])
    assert data.targets[0].tolist() == [0, 1]
    with pytest.raises(DataError, match="2 words and 1 tags"):
        from_arrays([["in", "Paris"]], [["B-LOC"]])


def test_rows_to_predict(tmp_path):
    path = write(tmp_path, CONLL)
    rows = read_rows([str(path), "Ann left.", "  "], "words")
    assert [row.words for row in rows.rows][1:] == [("Yes",), ("Ann", "left", ".")]
    assert rows.skipped[0].reason == "no text"


def test_tags_that_are_no_texts_are_refused_in_words():
    with pytest.raises(DataError, match="The tag 0 is neither O nor"):
        from_arrays([["an", "ant"]], [[0, 1]])


def test_a_span_of_another_length_leaves_its_row_out():
    right = {"text": "in Rome", "spans": [[3, 7, "LOC"]]}
    wrong = [{"text": "in Paris", "spans": [[3, 8]]}, {"text": "at Delphi", "spans": [3]}]
    found = read([right, wrong[0], right, wrong[1], *[right] * 400], max_skipped=0.1)
    assert len(found) == 402
    with pytest.raises(DataError, match="which is no label"):
        read([right, *wrong])
    assert [row.reason for row in found.skipped] == [
        "the span [3, 8] has no start, end and label",
        "the span 3 has no start, end and label",
    ]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("# newdoc\nin O\nParis B-LOC\n", [["in", "Paris"]]),
        ("#\nin O\nParis B-LOC\n", [["in", "Paris"]]),
        ("# O\nin O\n", [["#", "in"]]),
        ("no. NN B-NP O\n# NN B-NP O\n", [["no.", "#"]]),
        ("# id = a b\nno. NN B-NP O\n", [["no."]]),
        ("# sent O\nin O\n", [["in"]]),
        ("# NN O\n", [["#"]]),
    ],
)
def test_a_number_sign_is_a_word_where_it_has_a_tag(text, words):
    assert blocks(text, "a.conll").words == words


def test_tags_are_told_only_of_tags():
    with pytest.raises(UsageError, match="the labels of the data are multiclass"):
        read([{"body": "an ant", "label": "B-X"}, {"body": "a bee", "label": "O"}], kind="tags")
    tagged = [{"tokens": ["an", "ant"], "tags": ["O", "B-X"]}] * 2
    assert read(tagged, kind="tags").task.kind is Kind.TAGS
    with pytest.raises(UsageError, match="the labels of the data are tags"):
        read(tagged, kind="multiclass")
