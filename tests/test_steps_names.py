"""The names of classes teach few texts, where they mean something and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

import headstart as hs
from headstart.data.also import beside, is_also
from headstart.data.dataset import TEST, TRAIN, VALIDATION, from_arrays
from headstart.features.features import Features
from headstart.steps.few import folds
from headstart.steps.names import MOST_A_CLASS, Told, ask, with_names
from headstart.task import Modality
from headstart.transfer import fitting
from tests.toys import toy_text_source

COLORS, ANIMALS = ["red", "blue"], ["cat", "dog"]
CLASSES = ["bad film", "cat", "great", "red dog"]
TEXTS = {
    "bad film": ["the bad film", "bad bad film", "an awful bad film", "the film, bad"],
    "cat": ["the cat", "cat and cat", "a cat", "cat cat cat"],
    "great": ["so great", "the great", "great great", "how great"],
    "red dog": ["the red dog", "red red dog", "a dog, red", "dog red"],
}
PAIRS = [(text, name) for name in CLASSES for text in TEXTS[name]]
ROWS, LABELS = [text for text, _ in PAIRS], [name for _, name in PAIRS]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return toy_text_source(tmp_path_factory.mktemp("encoder"))


def without_meaning(labels):
    """The same classes under names that are in no text."""
    codes = dict(zip(CLASSES, ["qx", "zk", "jv", "wq"], strict=True))
    return [codes[label] for label in labels]


def fitted(encoder, labels, rows=ROWS, **options):
    model = hs.Transfer(encoder, **{"finetune": "no", **options}).fit(rows, labels)
    return model, [note for note in model.plan_.notes if "name" in note]


# What the names say -------------------------------------------------------------------------------
def asked(rows, targets, names, **more):
    labels = [f"class {i}" for i in range(len(names))]
    data = from_arrays([f"row {i}" for i in range(len(rows))], [labels[i] for i in targets])
    named = with_names(replace(data, **more))
    return ask(Features.of(np.concatenate([rows, names]).astype(np.float32)), named)


def test_names_near_the_rows_of_their_classes_tell_them():
    names = np.eye(6)
    targets = np.repeat(np.arange(6), 3)
    told = asked(2.0 + names[targets], targets, 5.0 + 0.1 * names)
    assert told == Told(18, 18, pytest.approx(1 / 6))
    assert told.is_clear


def test_names_of_other_classes_tell_nothing():
    names = np.eye(6)
    targets = np.repeat(np.arange(6), 3)
    told = asked(names[targets], targets, np.roll(names, 1, axis=0))
    assert told.n_right == 0 and not told.is_clear


def test_one_name_said_of_all_rows_is_no_evidence_however_often_it_is_right():
    """Nine rows in ten are of the class that is said of all."""
    rows = np.tile([[1.0, 0.0, 0.0]], (40, 1)) + np.random.default_rng(0).normal(0, 0.01, (40, 3))
    targets = np.repeat([0, 1, 2], [36, 2, 2])
    near = np.array([[1.0, 0, 0], [-50.0, 20, 0], [-50.0, -20, 0]])
    data = from_arrays([str(i) for i in range(40)], [f"class {i}" for i in targets])
    features = Features.of(np.concatenate([rows, near]).astype(np.float32))
    told = ask(features, with_names(data))
    assert told.chance > 0.3
    assert not Told(36, 40, 0.9).is_clear and Told(36, 40, 0.3).is_clear


def test_rows_held_out_and_rows_that_count_nothing_are_not_asked():
    names, targets = np.eye(4), np.repeat(np.arange(4), 5)
    parts = np.array([TRAIN, TRAIN, TRAIN, VALIDATION, TEST] * 4)
    weight = np.array([0.0, 1.0, 2.0, 1.0, 1.0] * 4)
    assert asked(names[targets], targets, names, split=parts, weight=weight).n == 8


# Whose names are asked ----------------------------------------------------------------------------
def test_few_texts_get_the_names_of_their_classes_beside_them():
    named = with_names(
        from_arrays(["a lynx", "a beer", "a cat"], ["big_cats", "drinks", "big_cats"])
    )
    assert named.rows == ("a lynx", "a beer", "a cat", "big cats", "drinks")
    assert named.targets.tolist() == [0, 1, 0, 0, 1]
    assert is_also(named).tolist() == [False] * 3 + [True] * 2
    assert named.name(3) == "the name of 'big_cats'"


@pytest.mark.parametrize(
    ("rows", "labels", "why"),
    [
        ([f"text {i}" for i in range(2 * MOST_A_CLASS + 1)], None, "many"),
        (["one", "two"], [3, 4], "numbers"),
        (["one", "two"], ["1.", "2."], "no words"),
        (["one", "two"], ["a_b", "a-b"], "alike"),
        (["one", "two", "three"], [["a"], ["a", "b"], ["b"]], "several labels"),
        ([[1.0], [2.0]], ["ant", "bee"], "no texts"),
    ],
)
def test_others_do_not(rows, labels, why):
    data = from_arrays(rows, labels or ["ant" if i % 2 else "bee" for i in range(len(rows))])
    assert with_names(data) is data, why


def test_rows_to_judge_by_do_not_count_as_many():
    rows = [f"text {i}" for i in range(3 * MOST_A_CLASS)]
    data = from_arrays(rows, ["ant" if i % 2 else "bee" for i in range(len(rows))])
    parts = np.array([TRAIN, TRAIN, TEST] * MOST_A_CLASS)
    assert len(with_names(data.with_split(parts))) == len(rows) + 2
    assert with_names(data.with_split(np.full(len(rows), TRAIN))).rows == data.rows


def test_rows_beside_leave_the_names_out():
    data = beside(from_arrays(["one", "two"], ["ant", "bee"]), from_arrays(["un"], ["ant"]))
    assert with_names(data) is data


def test_a_text_to_test_on_that_is_a_name_does_not_teach():
    data = from_arrays(["an ant", "a bee", "bee"], ["ant", "bee", "bee"])
    named = with_names(data.with_split(np.array([TRAIN, TRAIN, TEST])))
    assert named.rows == ("an ant", "a bee", "bee", "ant")


# What comes of them -------------------------------------------------------------------------------
def test_names_that_mean_something_teach(encoder):
    model, (note,) = fitted(encoder, LABELS)
    assert note.startswith("the name of each class is a text of it, too: they alone tell 1")
    plain, (note,) = fitted(encoder, without_meaning(LABELS))
    assert note.startswith("the names of the classes teach nothing")
    assert not np.array_equal(model.bundle_.head.weight, plain.bundle_.head.weight)
    # Without another text of its class a name says where the class lies.
    one, _ = fitted(encoder, LABELS[::4], ROWS[::4])
    assert model.plan_.n_rows["to train on"] == 16 and one.plan_.n_rows["to train on"] == 4


def test_names_that_mean_nothing_change_nothing(encoder, monkeypatch):
    model, _ = fitted(encoder, without_meaning(LABELS))
    monkeypatch.setattr(fitting, "with_names", lambda data: data)
    unasked, notes = fitted(encoder, without_meaning(LABELS))
    assert not notes
    assert np.array_equal(model.bundle_.head.weight, unasked.bundle_.head.weight)
    assert model.scores_ == unasked.scores_


def test_names_teach_and_are_never_judged(encoder, monkeypatch):
    seen = []
    really = fitting.train
    monkeypatch.setattr(fitting, "train", lambda *a, **k: seen.append(really(*a, **k)) or seen[-1])
    remembered = []
    remember = staticmethod(lambda features, seed: remembered.append(len(features)))
    monkeypatch.setattr(fitting.Reference, "of", remember)
    model, _ = fitted(encoder, LABELS)
    (trained,) = seen
    assert trained.outputs.shape == (20, 4)
    assert np.isnan(trained.outputs).all(axis=1).tolist() == [False] * 16 + [True] * 4
    assert set(model.scores_) == {"out_of_fold"}
    assert remembered == [16]


def test_step_5_learns_from_names_and_is_stopped_by_rows(encoder, monkeypatch):
    from headstart.steps import finetune

    seen = []
    really = finetune.finetune
    monkeypatch.setattr(finetune, "finetune", lambda *a, **k: seen.append(a[3]) or really(*a, **k))
    fitted(encoder, LABELS, finetune="only:last:50%", phase=hs.Phase(epochs=1))
    (data,) = seen
    assert [row for row in data.training().rows if row in CLASSES][-4:] == CLASSES
    assert not is_also(data.only(VALIDATION)).any() and len(data.only(VALIDATION)) == 3


def test_of_few_texts_names_are_in_every_fold_and_judged_in_none(encoder):
    data = with_names(from_arrays(ROWS, LABELS))
    assert len(data) == 20
    for fit, out in folds(data, seed=0):
        assert set(range(16, 20)) <= set(fit.tolist()) and out.max() < 16
    phase = hs.Phase(epochs=1, batch=8, contrast=3.0)
    model, _ = fitted(encoder, LABELS, finetune="only:few", phase=phase)
    assert model.plan_.is_few and model.bundle_.facts["arm"] == "finetuned"
    assert np.isfinite(model.bundle_.head.temperature)
    assert 0 <= model.scores_["out_of_fold"]["accuracy"] <= 1


def test_pictures_have_no_names_to_learn_from():
    data = from_arrays(np.zeros((2, 8, 8, 3), dtype=np.uint8), ["ant", "bee"])
    assert data.modality is Modality.IMAGE and with_names(data) is data
