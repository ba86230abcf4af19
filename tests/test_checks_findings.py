"""What is told of classes, unreadable rows, overfitting, preprocessing; and all at once."""

import json

import numpy as np
import pytest
from PIL import Image
from scipy.stats import ttest_ind, ttest_rel

from headstart.checks.examine import examine
from headstart.checks.finding import Finding, unreadable
from headstart.checks.imbalance import imbalance
from headstart.checks.overfitting import Said, overfitting, paired_gap, welch
from headstart.checks.preprocessing import mismatch, unlike_source
from headstart.data.dataset import Dataset, Skipped
from headstart.data.ragged import ragged
from headstart.errors import UsageError
from headstart.features.features import Features
from headstart.sources.preprocess import PicturePreprocess, TextPreprocess, VectorPreprocess
from headstart.task import Kind, Modality, Task
from tests.toys import toy_tokenizer_json

THREE = Task(Kind.MULTICLASS, ("ant", "bee", "cat"))


def labeled(targets, split=None, task=THREE):
    rows = np.random.default_rng(0).normal(size=(len(targets), 4))
    split = None if split is None else np.array(split)
    return Dataset(Modality.VECTOR, rows, task, np.asarray(targets), split=split)


# Classes -------------------------------------------------------------------------------------


def test_even_classes_are_nothing_to_tell():
    assert imbalance(labeled([0, 1, 2] * 10)) == []


@pytest.mark.parametrize(("most", "severity"), [(15, None), (16, "note"), (51, "warning")])
def test_uneven_classes_from_three_to_one(most, severity):
    found = imbalance(labeled([0] * most + [1] * 10 + [2] * 5))
    assert [finding.severity for finding in found] == ([] if severity is None else [severity])
    if found:
        assert "'ant', 5 of 'cat'" in found[0].what
        assert found[0].facts["ratio"] == most / 5


def test_rare_classes_are_named_rarest_first():
    uneven, rare = imbalance(labeled([0] * 10 + [1] * 4 + [2] * 2))
    assert rare.what == "'cat', 'bee' have fewer than 5 training rows."
    assert (rare.n, uneven.kind) == (6, "imbalance")


def test_a_test_set_of_a_single_class():
    split = ["train"] * 30 + ["test"] * 4
    (found,) = imbalance(labeled([0, 1, 2] * 10 + [1] * 4, split))
    assert found.severity == "warning"
    assert "All test rows are of one class, 'bee'" in found.what


def test_a_class_that_is_never_judged():
    split = ["train"] * 30 + ["validation"] * 4
    (found,) = imbalance(labeled([0, 1, 2] * 10 + [1, 1, 0, 0], split))
    assert (found.severity, "No validation row has the label 'cat'" in found.what) == ("note", True)


def test_rare_labels_of_several_at_once():
    task = Task(Kind.MULTILABEL, ("ant", "bee"))
    targets = np.zeros((20, 2), dtype=np.int8)
    targets[:10, 0] = targets[:3, 1] = 1
    (found,) = imbalance(labeled(targets, task=task))
    assert found.what == "'bee' has fewer than 5 training rows."


def test_numbers_have_no_classes():
    assert imbalance(labeled(np.arange(9.0), task=Task(Kind.REGRESSION))) == []


# Unreadable rows -----------------------------------------------------------------------------


def test_unreadable_rows_are_counted_and_named():
    (found,) = unreadable([Skipped("a.jpg", "the file is empty")], 50)
    assert (found.severity, found.n) == ("warning", 1)
    assert found.rows == ("a.jpg: the file is empty",)
    assert found.what == "1 row of 50 cannot be read and took no part."
    assert unreadable([Skipped("a.jpg", "empty")], 500)[0].severity == "note"
    assert unreadable([], 5) == []


# Overfitting ---------------------------------------------------------------------------------


def said(targets, right):
    targets = np.asarray(targets)
    best = np.where(right, targets, (targets + 1) % 2)
    return Said(targets, np.eye(2)[best])


TWO = Task(Kind.MULTICLASS, ("ant", "bee"))


def test_a_model_that_knows_its_rows_by_heart():
    targets = np.arange(100) % 2
    learned = said(targets, np.ones(100, dtype=bool))
    unseen = said(targets, np.arange(100) % 4 != 0)
    (found,) = overfitting(TWO, learned, unseen, done="penalty 10 by cross-validation")
    assert found.severity == "warning"
    assert found.facts["gap"] == pytest.approx(0.25)
    assert found.facts["low"] > 0.1
    assert "penalty 10 by cross-validation" in found.fix


def test_a_gap_that_may_be_chance_says_so():
    learned = said([0, 1] * 10, [True] * 20)
    unseen = said([0, 1, 0, 1, 1], [True, True, True, True, False])
    (found,) = overfitting(TWO, learned, unseen)
    assert (found.severity, "may be chance" in found.what) == ("note", True)


def test_the_gap_of_a_number_is_in_r_squared():
    truth = np.arange(20.0)
    learned, unseen = Said(truth, truth[:, None]), Said(truth, truth[::-1, None])
    (found,) = overfitting(Task(Kind.REGRESSION), learned, unseen)
    assert found.facts["gap"] == pytest.approx(4)  # R² 1 against −3
    assert "R² 1.000 against -3.000" in found.what


def test_the_gap_of_tags_is_that_of_two_f1s():
    truth = ragged([np.array([1, 0]), np.array([0, 1]), np.array([1, 1])])
    by_heart = Said(truth, ragged([np.eye(3)[row] for row in truth]))
    others = ragged([np.array([0, 1, 0]), np.array([0, 0, 1])])  # one of two is found
    said = ragged([np.eye(3)[[0, 1, 0]], np.eye(3)[[0, 0, 0]]])
    (found,) = overfitting(Task(Kind.TAGS, ("LOC",)), by_heart, Said(others, said))
    assert "entity F1 1.000 against 0.667" in found.what


def test_one_row_has_no_gap():
    assert overfitting(TWO, said([0], [True]), said([1], [True])) == []


def test_a_model_that_is_right_everywhere_has_no_gap_whatever_the_classes_are():
    """The shares of classes differ a little from side to side; the score is of each its own."""
    learned, unseen = (np.repeat(range(5), n) for n in ([160, 40, 16, 7, 2], [40, 10, 4, 1, 1]))
    task = Task(Kind.MULTICLASS, tuple("abcde"))
    (found,) = overfitting(task, *(Said(one, np.eye(5)[one]) for one in (learned, unseen)))
    assert found.facts["gap"] == 0 and "(balanced accuracy 1.000 against 1.000)" in found.what
    missed = np.where(np.arange(56) >= 50, 0, unseen)  # the three rare classes
    (found,) = overfitting(task, Said(learned, np.eye(5)[learned]), Said(unseen, np.eye(5)[missed]))
    assert found.is_warning and found.facts["gap"] == pytest.approx(3 / 5)
    assert found.facts["high"] <= 1


def test_intervals_agree_with_scipy():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=20), rng.normal(size=20) * 3
    for ours, theirs in (
        (welch(a, b[:9]), ttest_ind(a, b[:9], equal_var=False)),
        (paired_gap(a, b), ttest_rel(a, b)),
    ):
        limits = theirs.confidence_interval()
        assert (ours.low, ours.high) == pytest.approx((limits.low, limits.high))


# Preprocessing -------------------------------------------------------------------------------


def pictures(*sizes):
    rows = tuple(np.zeros((h, w, 3), dtype=np.uint8) for w, h in sizes)
    return Dataset(Modality.IMAGE, rows)


def test_small_pictures_are_enlarged():
    (found,) = unlike_source(pictures(*[(8, 8)] * 10), PicturePreprocess())
    assert (found.kind, found.severity, found.n) == ("preprocessing", "warning", 10)
    assert "28 times" in found.what
    assert unlike_source(pictures(*[(200, 150)] * 10), PicturePreprocess()) == []


def test_long_pictures_lose_their_ends_to_the_crop():
    wide = pictures(*[(900, 300)] * 3, *[(300, 300)] * 7)
    (found,) = unlike_source(wide, PicturePreprocess(crop_pct=1.0))
    assert (found.severity, found.n, found.rows[0]) == ("note", 3, "row 0")
    assert unlike_source(wide, PicturePreprocess(resize="squash")) == []


def test_sizes_are_read_from_headers(tmp_path):
    Image.new("RGB", (10, 10)).save(tmp_path / "small.png")
    (tmp_path / "broken.png").write_bytes(b"no picture")
    rows = (tmp_path / "small.png", (tmp_path / "small.png").read_bytes(), tmp_path / "broken.png")
    (found,) = unlike_source(Dataset(Modality.IMAGE, rows), PicturePreprocess())
    assert found.n == 2


def test_texts_that_are_cut(tmp_path):
    import hashlib

    (tmp_path / "tokenizer.json").write_text(toy_tokenizer_json(), encoding="utf-8")
    sha = hashlib.sha256((tmp_path / "tokenizer.json").read_bytes()).hexdigest()
    p = TextPreprocess(str(tmp_path / "tokenizer.json"), sha, max_length=6)
    data = Dataset(Modality.TEXT, ("the cat " * 9, "the dog", "red film"))
    (found,) = unlike_source(data, p)
    assert (found.n, found.rows) == (1, ("row 0",))


def test_another_preprocessing_is_told_by_its_fields():
    learned, served = PicturePreprocess(), PicturePreprocess(resize="squash", channels="BGR")
    (found,) = mismatch(learned, served)
    assert "resize = 'squash', the head learned them with 'crop'" in found.what
    assert "channels = 'BGR'" in found.what
    assert mismatch(learned, PicturePreprocess()) == []
    assert mismatch(learned, VectorPreprocess(3))[0].is_warning


def test_another_place_of_the_same_tokenizer_is_no_mismatch():
    assert mismatch(TextPreprocess("a.json", "00"), TextPreprocess("b.json", "00")) == []


# All at once ---------------------------------------------------------------------------------


def test_warnings_come_first_and_all_survive_json():
    rng = np.random.default_rng(0)
    rows = rng.normal(size=(60, 40)).astype(np.float32)
    rows[50] = rows[0]
    rows[40:] += 3
    rows[50] -= 3
    targets = np.array([0] * 45 + [1] * 10 + [2] * 5)
    data = Dataset(Modality.VECTOR, rows, THREE, targets, np.array(["train"] * 40 + ["test"] * 20),
                   skipped=(Skipped("x", "empty"),))  # fmt: skip
    found = examine(data, Features.of(rows))
    severities = [finding.severity for finding in found]
    assert severities == sorted(severities, reverse=True)
    assert {"unreadable", "imbalance", "shift"} <= {finding.kind for finding in found}
    again = [
        Finding.from_json(value) for value in json.loads(json.dumps([f.to_json() for f in found]))
    ]
    assert tuple(again) == found


def test_examining_twice_finds_the_same():
    rows = np.random.default_rng(0).normal(size=(60, 40)).astype(np.float32)
    data = Dataset(Modality.VECTOR, rows, split=np.array(["train"] * 40 + ["test"] * 20))
    assert examine(data, Features.of(rows)) == examine(data, Features.of(rows))


def test_rows_and_features_must_be_as_many():
    with pytest.raises(UsageError, match="3 rows and the features of 2"):
        examine(labeled([0, 1, 2]), Features.of(np.ones((2, 4))))


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_handful_of_rows_is_no_trouble(n):
    data = Dataset(Modality.VECTOR, np.ones((n, 2)), TWO, np.arange(n) % 2)
    assert all(
        finding.kind in ("labels", "imbalance") for finding in examine(data, Features.of(data.rows))
    )


def test_unlabeled_rows_can_be_examined():
    rows = np.random.default_rng(0).normal(size=(30, 40)).astype(np.float32)
    assert examine(Dataset(Modality.VECTOR, rows), Features.of(rows)) == ()
