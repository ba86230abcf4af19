"""The names of classes teach few texts, where they mean something and nowhere else."""

from dataclasses import replace

import numpy as np
import pytest

import headstart as hs
from headstart.data.also import beside, is_also
from headstart.data.dataset import TEST, TRAIN, VALIDATION, Skipped, from_arrays
from headstart.evidence.arms import Classical
from headstart.features.features import Features
from headstart.steps.few import folds
from headstart.steps.names import MOST_A_CLASS, Told, ask, names_of, teaching, told, with_names
from headstart.task import Kind, Modality
from headstart.transfer import fitting
from tests.toys import toy_text_source

CLASSES = ["bad film", "cat", "great", "red dog"]
TEXTS = {
    "bad film": ["the bad film", "bad bad film", "an awful bad film", "the film, bad"],
    "cat": ["the cat", "cat and cat", "a cat", "cat cat cat"],
    "great": ["so great", "the great", "great great", "how great"],
    "red dog": ["the red dog", "red red dog", "a dog, red", "dog red"],
}
PAIRS = [(text, name) for name in CLASSES for text in TEXTS[name]]
ROWS, LABELS = [text for text, _ in PAIRS], [name for _, name in PAIRS]
#: The same classes, in the same order, under names that are in no text.
CODES = dict(zip(CLASSES, ["jv", "qx", "wq", "zk"], strict=True))
CODED = [CODES[label] for label in LABELS]


@pytest.fixture(scope="module")
def encoder(tmp_path_factory) -> str:
    return toy_text_source(tmp_path_factory.mktemp("encoder"), n_layers=1, seed=3)


@pytest.fixture
def unasked(monkeypatch):
    """Fits as they are without any name."""

    def fit(*given, **options):
        with monkeypatch.context() as patch:
            patch.setattr(fitting, "with_names", lambda data: data)
            return fitted(*given, **options)

    return fit


def fitted(encoder, labels, rows=ROWS, **options):
    model = hs.Transfer(encoder, **{"finetune": "no", **options}).fit(rows, labels)
    return model, [note for note in model.plan_.notes if "name" in note]


def weights(model):
    return model.bundle_.head.weight


# What the names say ------------------------------------------------------------------------------


def test_names_near_the_rows_of_their_classes_tell_them():
    names, targets = np.eye(6), np.repeat(np.arange(6), 3)
    found = told(2.0 + names[targets], targets, 5.0 + 0.1 * names, np.arange(6))
    assert found == Told(18, 18, pytest.approx(1 / 6))
    assert found.is_clear


def test_names_of_other_classes_tell_nothing():
    names, targets = np.eye(6), np.repeat(np.arange(6), 3)
    found = told(names[targets], targets, np.roll(names, 1, axis=0), np.arange(6))
    assert found.n_right == 0 and not found.is_clear


def test_one_name_said_of_most_rows_is_no_evidence_however_often_it_is_right():
    """Nine rows in ten are of one class, and nine in ten, others, are nearest to its name."""
    near, far = np.array([1.0, 0.0]), np.array([-1.0, 0.0])
    targets = np.repeat([0, 1], [90, 10])
    rows = np.tile(near, (100, 1))
    rows[:10] = far
    found = told(rows, targets, np.array([near, far]), np.arange(2))
    assert found == Told(80, 100, pytest.approx(0.82))
    assert not found.is_clear
    assert Told(80, 100, 0.5).is_clear


def test_rows_that_are_judged_count_nothing_or_come_twice_are_not_asked():
    data = from_arrays(["a", "b", "b", "c", "d", "e"] * 2, ["ant", "bee"] * 6)
    parts = np.array([TRAIN, TRAIN, TRAIN, VALIDATION, TEST, TRAIN] * 2)
    weight = np.array([1.0, 1.0, 1.0, 1.0, 1.0, 0.0] * 2)
    named = with_names(replace(data, split=parts, weight=weight))
    assert ask(Features.of(np.random.default_rng(0).normal(size=(14, 3))), named).n == 2


def test_where_no_row_counts_nothing_is_asked():
    data = replace(from_arrays(["a", "b"], ["ant", "bee"]), weight=np.zeros(2))
    asked = ask(Features.of(np.eye(4)), with_names(data))
    assert asked == Told(0, 0, 0.0) and not asked.is_clear


# Whose names are asked ---------------------------------------------------------------------------


def test_few_texts_get_the_names_of_their_classes_beside_them():
    named = with_names(from_arrays(["a lynx", "a beer", "cat"], ["big_cats", "drinks", "big_cats"]))
    assert named.rows == ("a lynx", "a beer", "cat", "big cats", "drinks")
    assert named.targets.tolist() == [0, 1, 0, 0, 1]
    assert is_also(named).tolist() == [False] * 3 + [True] * 2
    assert named.name(3) == "the name of 'big_cats'"


@pytest.mark.parametrize(
    ("rows", "labels", "why"),
    [
        ([f"text {i}" for i in range(2 * MOST_A_CLASS + 1)], None, "many"),
        (["one", "two"], [3, 4], "numbers"),
        (["one", "two"], ["1.", "2."], "no words"),
        (["one", "two"], ["a_b", "A-B"], "alike"),
        (["one", "two", "three"], [["a"], ["a", "b"], ["b"]], "several labels"),
        ([[1.0], [2.0]], ["ant", "bee"], "no texts"),
        (np.zeros((2, 8, 8, 3), dtype=np.uint8), ["ant", "bee"], "pictures"),
    ],
)
def test_others_do_not(rows, labels, why):
    data = from_arrays(rows, labels or ["ant" if i % 2 else "bee" for i in range(len(rows))])
    assert with_names(data) is data, why


def test_what_counts_as_many_are_different_texts_to_learn_from():
    rows = [f"text {i}" for i in range(3 * MOST_A_CLASS)]
    data = from_arrays(rows, ["ant" if i % 2 else "bee" for i in range(len(rows))])
    parts = np.array([TRAIN, TRAIN, TEST] * MOST_A_CLASS)
    assert names_of(data.with_split(parts)) == ["ant", "bee"]
    assert names_of(data.with_split(np.full(len(rows), TRAIN))) == []
    copies = replace(data, rows=tuple(f"text {i % 20}" for i in range(len(rows))))
    assert names_of(copies) == ["ant", "bee"]


def test_rows_beside_leave_the_names_out():
    data = beside(from_arrays(["one", "two"], ["ant", "bee"]), from_arrays(["un"], ["ant"]))
    assert with_names(data) is data


def test_a_name_that_is_a_row_is_asked_and_teaches_no_more():
    data = from_arrays(["an ant", "a bee", "bee"], ["ant", "bee", "bee"])
    named = with_names(data.with_split(np.array([TRAIN, TRAIN, TEST])))
    assert teaching(named).tolist() == [True, True, True, True, False]
    features = Features.of(np.array([[1.0, 0], [0, 1.0], [0, 1.0], [1.0, 0], [0, 1.0]]))
    assert ask(features, named).n_right == 2


def test_a_name_counts_as_much_as_a_row_does_on_average():
    data = from_arrays(["an ant", "a bee", "bees", "ants"], ["ant", "bee", "bee", "ant"])
    parts = np.array([TRAIN, TRAIN, TRAIN, VALIDATION])
    named = with_names(replace(data, split=parts, weight=np.array([2.0, 4.0, 0.0, 50.0])))
    assert named.weight.tolist() == [2.0, 4.0, 0.0, 50.0, 3.0, 3.0]
    nothing = with_names(replace(data, weight=np.zeros(4)))
    assert nothing.weight.tolist() == [0.0] * 4 + [1.0] * 2
    assert with_names(data).weight is None


# What comes of them ------------------------------------------------------------------------------


def test_names_that_mean_something_teach(encoder, unasked):
    model, (note,) = fitted(encoder, LABELS)
    assert note.startswith("the names of the classes are texts of them, too: they alone tell 15 of")
    plain, notes = unasked(encoder, LABELS)
    assert not notes
    assert not np.allclose(weights(model), weights(plain), rtol=1e-3)
    assert model.plan_.n_rows == plain.plan_.n_rows  # they are no labelled rows


def test_one_text_a_class_gains_by_them(encoder, unasked):
    rows, labels = ["an awful bad film", "a cat", "so great", "a dog, red"], CLASSES
    others = [i for i, row in enumerate(ROWS) if row not in rows]
    right = [
        np.mean(fit(encoder, labels, rows)[0].predict([ROWS[i] for i in others])
                == np.array(LABELS)[others])
        for fit in (fitted, unasked)
    ]  # fmt: skip
    assert right[0] > right[1]


def test_names_that_mean_nothing_change_nothing(encoder, unasked, tmp_path, monkeypatch):
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "one"))
    model, (note,) = fitted(encoder, CODED)
    assert note.startswith("the names of the classes teach nothing")
    monkeypatch.setenv("HEADSTART_HOME", str(tmp_path / "other"))  # beside names rows are padded
    plain, _ = unasked(encoder, CODED)
    assert np.allclose(weights(model), weights(plain), rtol=1e-3, atol=1e-5)
    assert model.scores_["out_of_fold"] == pytest.approx(plain.scores_["out_of_fold"], rel=1e-3)


def test_names_teach_and_are_never_judged(encoder, monkeypatch):
    seen, remembered = [], []
    really = fitting.train
    monkeypatch.setattr(fitting, "train", lambda *a, **k: seen.append(really(*a, **k)) or seen[-1])
    remember = staticmethod(lambda features, seed: remembered.append(len(features)))
    monkeypatch.setattr(fitting.Reference, "of", remember)
    model, _ = fitted(encoder, LABELS)
    (trained,) = seen
    assert trained.outputs.shape == (20, 4)
    assert np.isnan(trained.outputs).all(axis=1).tolist() == [False] * 16 + [True] * 4
    assert set(model.scores_) == {"out_of_fold"}
    assert remembered == [16]


def test_the_only_text_of_a_class_is_not_held_out_from_its_name(encoder):
    """Heads that know every class by its name alone say nothing of one that knows a text too."""
    model, _ = fitted(encoder, LABELS[::4], ROWS[::4])
    assert model.scores_ == {} and model.bundle_.head.temperature == 1


def test_a_name_that_cannot_be_read_ends_no_fit(encoder, monkeypatch):
    """Of sixteen rows one that cannot be read would be too many."""
    really = fitting.extract_beside

    def without_the_last(source, data, reads):
        found = really(source, data, reads)
        lost = (Skipped(data.name(len(data) - 1), "not finite"),)
        return replace(found.take(np.arange(len(found) - 1)), skipped=lost)

    monkeypatch.setattr(fitting, "extract_beside", without_the_last)
    model, (note,) = fitted(encoder, LABELS)
    assert note.startswith("the names of the classes are texts of them, too")
    assert model.bundle_.facts["skipped"] == []


def test_step_5_learns_from_names_and_is_stopped_by_rows(encoder, monkeypatch):
    from headstart.steps import finetune

    seen, scored = [], []
    really, scores = finetune.finetune, hs.steps.loop.scores
    monkeypatch.setattr(finetune, "finetune", lambda *a, **k: seen.append(a[3]) or really(*a, **k))
    monkeypatch.setattr(
        hs.steps.loop, "scores",
        lambda *a, **k: scored.append(len(k["learned_from"])) or scores(*a, **k),
    )  # fmt: skip
    fitted(encoder, LABELS, finetune="only:last:50%", phase=hs.Phase(epochs=1))
    (data,) = seen
    assert list(data.training().rows[-4:]) == CLASSES
    assert not is_also(data.only(VALIDATION)).any() and len(data.only(VALIDATION)) == 3
    assert set(scored) == {13}


def test_of_few_texts_names_are_in_every_fold_and_judged_in_none(encoder):
    data = with_names(from_arrays(ROWS, LABELS))
    assert len(data) == 20
    for fit, out in folds(data, seed=0):
        assert set(range(16, 20)) <= set(fit.tolist()) and out.max() < 16
    phase = hs.Phase(epochs=1, batch=8, contrast=3.0)
    model, _ = fitted(encoder, LABELS, finetune="only:few", phase=phase)
    assert model.plan_.is_few and model.bundle_.facts["arm"] == "finetuned"
    assert np.isfinite(model.bundle_.head.temperature)
    assert np.isfinite(model.scores_["out_of_fold"]["log_loss"])


def test_the_classical_control_learns_from_them_too(monkeypatch):
    """By its own features: it would else be beaten by what no network knows."""
    control = Classical(Modality.TEXT, Kind.MULTICLASS)
    rows, targets = ROWS[::4], np.arange(4)
    learned = []
    monkeypatch.setattr(
        "headstart.evidence.arms._searched",
        lambda pipeline, targets, kind: learned.append(len(targets)) or pipeline,
    )
    control.fit(rows, targets, names=CLASSES)
    control.fit(rows, targets, names=list(CODES.values()))
    control.fit(rows, targets)
    assert learned == [8, 4, 4]
