"""Processors of pictures: the declaration gives the pixels that transformers' own class gives."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors.torch import save_file

from headstart.errors import UsageError
from headstart.extras import import_transformers
from headstart.features.inputs import inputs_for
from headstart.progress import listen
from headstart.sources.hubs import read_folder
from headstart.sources.preprocess import PicturePreprocess
from headstart.sources.processors import PROCESSORS, picture_preprocess
from tests.listener import Notes

HERE = Path("preprocessor_config.json")
IMAGENET = {"image_mean": [0.485, 0.456, 0.406], "image_std": [0.229, 0.224, 0.225]}


def of(kind: str, **values) -> PicturePreprocess:
    return picture_preprocess({"image_processor_type": kind} | values, "vit", HERE)


@pytest.fixture(scope="module")
def picture() -> Image.Image:
    """A picture 600 wide and 300 high, of soft spots."""
    spots = np.random.default_rng(0).integers(0, 256, (30, 60, 3), dtype=np.uint8)
    return Image.fromarray(spots).resize((600, 300), Image.Resampling.BICUBIC)


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("Beit", {"size": 224, "do_center_crop": False}),
        ("Bit", {"size": {"shortest_edge": 256}, "crop_size": {"height": 224, "width": 224}}),
        ("CLIP", {"size": 224, "crop_size": 224}),
        ("ConvNext", {"size": 224, "crop_pct": 0.875, "resample": 3} | IMAGENET),
        ("ConvNext", {"size": {"shortest_edge": 384}, "crop_pct": None}),
        ("ConvNext", {"size": 224, "crop_pct": 0.9}),
        ("DeiT", {"size": 256, "crop_size": 224, "do_center_crop": True} | IMAGENET),
        ("MobileNetV2", {}),
        ("MobileViT", {"size": 288, "crop_size": 256, "resample": 2, "do_normalize": True}),
        ("MobileViT", {"size": 256, "crop_size": 256, "do_flip_channel_order": False}),
        ("Segformer", {"do_reduce_labels": True}),
        ("Siglip", {"size": {"height": 96, "width": 64}}),
        ("ViT", {}),
        ("ViT", {"do_normalize": False}),
        ("ViT", {"do_rescale": False}),
        ("ViT", {"do_rescale": False, "do_normalize": False}),
    ],
)
def test_pixels_are_those_of_transformers(name, values, picture):
    declared = of(f"{name}ImageProcessor", **values)
    inputs = inputs_for(declared)
    found = inputs.normalize(inputs.row(picture)[None])[0]
    theirs = getattr(import_transformers(), f"{name}ImageProcessorPil")(**values)
    wanted = np.asarray(theirs(picture)["pixel_values"][0])
    assert found.shape == wanted.shape
    # Resizing the whole and then cutting rounds twice where resizing the part rounds once.
    level = declared.scale / min(declared.std)
    assert np.abs(found - wanted).max() < 2.5 * level
    assert np.abs(found - wanted).mean() < 0.05 * level


def test_the_older_name_of_a_class_means_the_same():
    said = {"feature_extractor_type": "ConvNextFeatureExtractor", "size": 224}
    assert picture_preprocess(said, "vit", HERE) == of("ConvNextImageProcessorFast", size=224)


def test_the_kind_of_model_names_the_processor_where_the_file_does_not():
    assert picture_preprocess({}, "resnet", HERE) == of("ConvNextImageProcessor")
    models = [model for one in PROCESSORS.values() for model in one.models]
    assert len(models) == len(set(models))


@pytest.mark.parametrize("kind", ["LevitImageProcessor", "EfficientNetImageProcessor", "Mine"])
def test_a_processor_that_is_not_known_is_refused(kind):
    with pytest.raises(UsageError, match=rf"processor {kind} .*\n.*one of Beit, Bit"):
        of(kind, size=224)


def test_a_model_without_a_known_processor_is_refused():
    with pytest.raises(UsageError, match="of a levit does is not known"):
        picture_preprocess({"size": 224}, "levit", HERE)


@pytest.mark.parametrize(
    "values",
    [
        {"do_resize": False},
        {"do_pad": True},
        {"resample": 1},
        {"size": {"shortest_edge": 224}},  # as wide as it comes
        {"size": {"longest_edge": 224}},
        {"size": 224, "crop_size": 256, "do_center_crop": True},  # filled up with black
        {"size": 256, "crop_size": {"height": 224, "width": 128}, "do_center_crop": True},
    ],
)
def test_what_no_declaration_says_is_refused(values):
    with pytest.raises(UsageError, match="resized in a way that Headstart does not do"):
        of("ViTImageProcessor", **values)


def test_a_folder_without_the_file_says_what_is_taken(tmp_path):
    config = {"model_type": "vit", "image_size": 32, "hidden_size": 16}
    (tmp_path / "config.json").write_text(json.dumps(config))
    save_file({"x": torch.zeros(2, 3)}, tmp_path / "model.safetensors")
    notes = Notes()
    with listen(notes):
        assert read_folder(tmp_path, "hf:x").preprocess == of("ViTImageProcessor")
    (said,) = notes.said
    assert "lacks preprocessor_config.json; the usual values of its kind are taken" in said
