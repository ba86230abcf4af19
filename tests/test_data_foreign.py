"""Foreign: tensors, sparse matrices and data sets of other libraries are read as what they hold."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy.sparse import csr_array

from headstart.data.dataset import Dataset
from headstart.data.pictures import decode, row_hash
from headstart.data.readers import read
from headstart.data.unlabelled import rows_of
from headstart.errors import UnreadableRow, UsageError
from headstart.task import Modality


@pytest.mark.parametrize("make", [torch.tensor, lambda y: [torch.tensor(one) for one in y]])
def test_labels_that_are_tensors_are_numbers(make: Callable[..., Any]) -> None:
    """In the order of numbers, and by their names."""
    texts = [f"text {i}" for i in range(24)]
    y = [i % 12 for i in range(24)]
    expected = tuple(map(str, range(12)))
    assert read((texts, make(y))).task.labels == expected
    assert read({"text": texts, "label": make(y)}).task.labels == expected
    bits = np.array([[1, 0], [0, 1]] * 12)
    for several in (make(bits), csr_array(bits)):
        assert read((texts, several)).targets.tolist() == bits.tolist()


def test_records_may_hold_tensors() -> None:
    """A number in one is a number."""
    rows = [{"text": f"text {i}", "label": torch.tensor(i % 11)} for i in range(22)]
    assert read(rows).task.labels == tuple(map(str, range(11)))


def test_tensors_that_numpy_does_not_take_are_read() -> None:
    """A gradient is left, and narrow numbers are widened."""
    picture = torch.ones(4, 4, 3)
    for one in (picture.clone().requires_grad_(), picture.bfloat16()):
        assert rows_of([one], "image").rows[0].tolist() == picture.tolist()
        assert row_hash(one) == row_hash(picture)
        assert decode(one).getpixel((0, 0)) == (255, 255, 255)
    assert read((torch.rand(4, 2, requires_grad=True), [0, 1] * 2)).modality is Modality.VECTOR
    with pytest.raises(UnreadableRow, match="inhomogeneous"):
        row_hash([[1, 2], [3]])


@pytest.mark.parametrize("make", [np.array, torch.tensor])
def test_one_picture_is_not_as_many_as_it_has_lines(make: Callable[..., Any]) -> None:
    """By its shape; where that may be two things, it says how to give either."""
    for shape in ((6, 6, 3), (6, 6)):
        with pytest.raises(UsageError, match="a single one"):
            rows_of(make(np.zeros(shape, np.uint8)), "image")
    three = make(np.zeros((3, 6, 6), np.uint8))
    if make is np.array:  # a batch of three gray ones, as of any other number
        assert len(rows_of(three, "image")) == 3
        return
    with pytest.raises(UsageError, match=r"3 gray pictures, or the channels of one") as caught:
        rows_of(three, "image")
    assert "list(rows)" in str(caught.value) and "(6, 6, 3)" in str(caught.value)
    for n in (1, 2, 5):
        assert len(rows_of(make(np.zeros((n, 6, 6), np.uint8)), "image")) == n
    assert len(rows_of(list(make(np.zeros((3, 6, 6), np.uint8))), "image")) == 3


@pytest.mark.parametrize("form", ["torch", "numpy", "pandas"])
def test_a_hugging_face_dataset_of_another_format(form: str) -> None:
    """What its cells come as is of no account."""
    datasets = pytest.importorskip("datasets")
    names = datasets.ClassLabel(names=["ant", "bee"])
    features = datasets.Features({"text": datasets.Value("string"), "label": names})
    rows = {"text": ["a bee", "an ant"], "label": [1, 0]}
    made = datasets.Dataset.from_dict(rows, features=features).with_format(form)
    data = read(made)
    assert [data.task.labels[i] for i in data.targets] == ["bee", "ant"]


class Items:
    """A data set as torch has them."""

    def __len__(self) -> int:
        """Two."""
        return 2

    def __getitem__(self, i: int) -> tuple[Image.Image, int]:
        """Return a picture and its class."""
        return Image.new("RGB", (4, 4)), i


@pytest.mark.parametrize("pairs", [Items(), [("a b", "x"), ("c d", "y")], [("a b", 1), ("c", 0)]])
def test_pairs_of_a_row_and_a_label_are_told_to_be_a_pair_of_lists(pairs: Any) -> None:
    """Two words are no sentence without labels."""
    with pytest.raises(UsageError, match=r"rows, labels = zip"):
        read(pairs)


def test_a_modality_may_be_its_word() -> None:
    """And is one that there is."""
    assert Dataset("text", ("an ant",)).modality is Modality.TEXT
    with pytest.raises(UsageError, match="modality='txt': expected one of image, text"):
        Dataset("txt", ("an ant",))
