"""Raw rows become what a source's declaration says."""

import dataclasses
import hashlib

import numpy as np
import pytest
from PIL import Image

from headstart.errors import DataError, IntegrityError, UnreadableRow
from headstart.features.inputs import inputs_for
from headstart.sources.preprocess import PicturePreprocess, TextPreprocess, VectorPreprocess
from tests.toys import toy_tokenizer_json, toy_vocabulary


def _picture(**options) -> PicturePreprocess:
    return PicturePreprocess(**{"height": 4, "width": 4, "interpolation": "nearest"} | options)


def _stripes() -> np.ndarray:
    """A picture 8 high and 16 wide whose column number is its red value; blue is 200."""
    pixels = np.zeros((8, 16, 3), dtype=np.uint8)
    pixels[:, :, 0] = np.arange(16)
    pixels[:, :, 2] = 200
    return pixels


def test_crop_keeps_the_center_of_the_long_side():
    # The short side, 8, becomes 8; the middle 4 of 16 columns remain.
    row = inputs_for(_picture(crop_pct=0.5)).row(_stripes())
    assert row.shape == (4, 4, 3) and row.dtype == np.uint8
    assert row[0, :, 0].tolist() == [6, 7, 8, 9]


def test_squash_sees_all_of_the_picture():
    row = inputs_for(_picture(resize="squash")).row(_stripes())
    assert row[0, :, 0].tolist() == [2, 6, 10, 14]


def test_squash_crop_keeps_the_center_of_both_sides():
    # 8 and 16 become 8; the middle 4 of each remain, of the columns every other one.
    row = inputs_for(_picture(resize="squash-crop", crop_pct=0.5)).row(_stripes())
    assert row.shape == (4, 4, 3)
    assert row[0, :, 0].tolist() == [5, 7, 9, 11]


def test_padding_becomes_zero_when_normalized():
    inputs = inputs_for(_picture(resize="pad", mean=(0.2, 0.4, 0.6), std=(1, 1, 1)))
    row = inputs.row(_stripes())
    values = inputs.normalize(row[None])[0]  # (3, 4, 4)
    assert np.abs(values[:, 0]).max() == pytest.approx(0, abs=1e-6)  # above the picture
    assert row[1, :, 2].tolist() == [200] * 4


def test_channels_and_layout_are_those_of_the_source():
    blue_first = inputs_for(_picture(channels="BGR", scale=1, mean=(0, 0, 0), std=(2, 2, 2)))
    row = blue_first.row(_stripes())
    assert row[0, 0, 0] == 200
    assert blue_first.normalize(row[None])[0, 0, 0, 0] == 100  # (n, channels, height, width)
    gray = inputs_for(_picture(channels="L", mean=(0,), std=(1,), layout="NHWC"))
    assert gray.row(_stripes()).shape == (4, 4, 1)
    assert gray.normalize(gray.row(_stripes())[None]).shape == (1, 4, 4, 1)


def test_normalize_is_the_declared_formula():
    inputs = inputs_for(_picture(mean=(0.5, 0.4, 0.3), std=(0.1, 0.2, 0.3)))
    pixels = np.random.default_rng(0).integers(0, 256, (2, 4, 4, 3), dtype=np.uint8)
    expected = (pixels / 255 - [0.5, 0.4, 0.3]) / [0.1, 0.2, 0.3]
    np.testing.assert_allclose(inputs.normalize(pixels), expected.transpose(0, 3, 1, 2), atol=1e-5)


def test_a_view_is_the_same_for_the_same_row_and_another_for_another():
    inputs = inputs_for(_picture(height=16, width=16))
    picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (40, 60, 3), np.uint8))
    first = inputs.row(picture, view=1, key=b"a")
    assert first.shape == (16, 16, 3)
    assert np.array_equal(first, inputs.row(picture, view=1, key=b"a"))
    assert not np.array_equal(first, inputs.row(picture, view=2, key=b"a"))
    assert not np.array_equal(first, inputs.row(picture, view=1, key=b"b"))


@pytest.fixture
def text(tmp_path) -> TextPreprocess:
    path = tmp_path / "tokenizer.json"
    path.write_text(toy_tokenizer_json(), encoding="utf-8")
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    return TextPreprocess(str(path), sha256, max_length=4, prefix="the ")


def test_texts_are_prefixed_cut_and_padded(text):
    words = toy_vocabulary()
    inputs = inputs_for(text)
    rows = [inputs.row("good film dog"), inputs.row("")]
    assert [[words[i] for i in row] for row in rows] == [
        ["[CLS]", "the", "good", "[SEP]"],
        ["[CLS]", "the", "[SEP]"],
    ]
    batch = inputs.batch(rows)
    assert batch["attention_mask"].tolist() == [[1, 1, 1, 1], [1, 1, 1, 0]]
    assert words[batch["input_ids"][1, 3]] == "[PAD]"


def test_a_row_that_is_no_text_is_unreadable(text):
    with pytest.raises(UnreadableRow, match="expected a text, got float"):
        inputs_for(text).row(float("nan"))


def test_half_a_character_is_no_fault(text):
    words = toy_vocabulary()
    row = inputs_for(dataclasses.replace(text, max_length=5)).row("bad \ud83d")
    assert [words[i] for i in row] == ["[CLS]", "the", "bad", "?", "[SEP]"]


def test_another_tokenizer_is_refused(text, tmp_path):
    (tmp_path / "tokenizer.json").write_text(toy_tokenizer_json() + " ", encoding="utf-8")
    with pytest.raises(IntegrityError, match=r"tokenizer\.json"):
        inputs_for(text).row("good")


def test_vectors_of_another_length_are_refused():
    with pytest.raises(DataError, match=r"\(3,\) was expected"):
        inputs_for(VectorPreprocess(n_features=3)).batch([np.zeros(2)])


def test_vectors_that_are_not_finite_are_refused():
    with pytest.raises(DataError, match="NaN or infinity"):
        inputs_for(VectorPreprocess()).batch([np.array([1.0, np.nan])])
