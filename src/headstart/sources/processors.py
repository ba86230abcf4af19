"""Processors: what transformers' own processors of pictures do, as a declaration.

A `preprocessor_config.json` says values; which of them are read, and how, is in the class of the
processor. Of the classes known here it is written down; others are refused, not guessed.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from headstart.errors import UsageError
from headstart.sources.preprocess import PicturePreprocess

RESAMPLING = {0: "nearest", 2: "bilinear", 3: "bicubic"}

#: ConvNeXt squashes to this size and above; below, it cuts out the center.
WHOLE_FROM = 384

Values = dict[str, Any]


@dataclass(frozen=True)
class Processor:
    """A class of transformers.

    Parameters
    ----------
    models
        The kinds of model whose processor it is where their file names none.
    values
        What the class takes where the file is silent. Where its size is the short side, so is a
        bare number in the file.
    """

    models: tuple[str, ...]
    values: Values


_PLAIN: Values = {
    "do_resize": True,
    "do_rescale": True,
    "rescale_factor": 1 / 255,
    "do_normalize": True,
}
_HALF: Values = {"image_mean": (0.5,) * 3, "image_std": (0.5,) * 3}
_IMAGENET: Values = {"image_mean": (0.485, 0.456, 0.406), "image_std": (0.229, 0.224, 0.225)}
_CLIP: Values = {
    "image_mean": (0.48145466, 0.4578275, 0.40821073),
    "image_std": (0.26862954, 0.26130258, 0.27577711),
}


def _whole(size: int, resample: int, normal: Values) -> Values:
    return {"size": {"height": size, "width": size}, "resample": resample} | normal


def _short(size: int, resample: int, normal: Values, crop: int = 0) -> Values:
    values = {"size": {"shortest_edge": size}, "resample": resample} | normal
    return values | ({"do_center_crop": True, "crop_size": crop} if crop else {})


#: By the name without "ImageProcessor". Of transformers 5; a file that is silent is an old one.
PROCESSORS = {
    "Beit": Processor(("beit", "data2vec-vision"), _whole(224, 3, _HALF) | {"crop_size": 224}),
    "Bit": Processor(
        ("bit", "dinov2", "dinov2_with_registers", "focalnet", "hiera"),
        _short(224, 3, _CLIP, crop=224),
    ),
    "Blip": Processor((), _whole(384, 3, _CLIP)),
    "CLIP": Processor(("clip_vision_model",), _short(224, 3, _CLIP, crop=224)),
    "ChineseCLIP": Processor(("chinese_clip_vision_model",), _short(224, 3, _CLIP, crop=224)),
    "ConvNext": Processor(
        ("convnext", "convnextv2", "regnet", "resnet"),
        _short(384, 3, _HALF) | {"crop_pct": 224 / 256},
    ),
    "DINOv3ViT": Processor(("dinov3_convnext", "dinov3_vit"), _whole(224, 2, _IMAGENET)),
    "DeiT": Processor(
        ("deit",), _whole(256, 3, _HALF) | {"do_center_crop": True, "crop_size": 224}
    ),
    "MobileNetV1": Processor(("mobilenet_v1",), _short(256, 2, _HALF, crop=224)),
    "MobileNetV2": Processor(("mobilenet_v2",), _short(256, 2, _HALF, crop=224)),
    "MobileViT": Processor(
        ("mobilevit", "mobilevitv2"),
        _short(224, 3, _HALF, crop=256) | {"do_flip_channel_order": True},
    ),
    "Pvt": Processor(("pvt", "pvt_v2"), _whole(224, 3, _IMAGENET)),
    "Segformer": Processor(("segformer",), _whole(512, 2, _IMAGENET)),
    "Siglip": Processor(("siglip_vision_model",), _whole(224, 3, _HALF)),
    "ViT": Processor(
        ("dinat", "ijepa", "swiftformer", "swin", "swinv2", "vit", "vit_msn"),
        _whole(224, 2, _HALF),
    ),
}

#: How one vector comes from the last hidden ones where it is not their first: their mean, or by the
#: part of the network of that name, as their own classifiers (of CLIP, the texts) read it.
POOLINGS = {
    "beit": "pooler",
    "chinese_clip_vision_model": "post_layernorm",
    "clip_vision_model": "post_layernorm",
    "data2vec-vision": "pooler",
    "hiera": "pooler",
    "ijepa": "mean",
    "siglip_vision_model": "head",
}


def picture_pooling(model_type: str, where: Path) -> str:
    """Return how the vector of a picture comes from a model's last hidden ones.

    Parameters
    ----------
    model_type
        The kind of model.
    where
        Its configuration, for messages.

    Raises
    ------
    UsageError
        Where that is not known of the kind.

    Examples
    --------
    >>> [picture_pooling(kind, Path("config.json")) for kind in ("vit", "ijepa", "hiera")]
    ['cls', 'mean', 'pooler']
    """
    known = sorted(kind for one in PROCESSORS.values() for kind in one.models)
    if model_type not in known:
        raise UsageError(
            f"{where}: which vector the head of a {model_type} reads is not known here.\n"
            f"Expected model_type to be one of {', '.join(known)}: choose another source."
        )
    return POOLINGS.get(model_type, "cls")


def picture_preprocess(said: Values, model_type: str, where: Path) -> PicturePreprocess:
    """Return what the processor of a model does, as a declaration.

    Parameters
    ----------
    said
        The values of its `preprocessor_config.json`.
    model_type
        The kind of model, which tells the processor where the file names none.
    where
        The file, for messages.

    Raises
    ------
    UsageError
        Where the processor is not known, or does what a `PicturePreprocess` cannot say.

    Examples
    --------
    >>> said = {"feature_extractor_type": "DeiTFeatureExtractor", "size": 256, "crop_size": 224}
    >>> found = picture_preprocess(said, "deit", Path("preprocessor_config.json"))
    >>> found.resize, found.height, found.crop_pct
    ('squash-crop', 224, 0.875)
    """
    name = _name(said, model_type, where)
    values = _PLAIN | PROCESSORS[name].values
    values |= {key: value for key, value in said.items() if value is not None}
    fit = _fit(name, values)
    is_normal = values["do_normalize"] and name != "MobileViT"  # whose class reads no mean
    interpolation = RESAMPLING.get(values["resample"])
    if fit is None or interpolation is None or not values["do_resize"] or values.get("do_pad"):
        _refuse(values, where)
    return PicturePreprocess(
        **fit,
        interpolation=interpolation,  # type: ignore[arg-type]
        scale=values["rescale_factor"] if values["do_rescale"] else 1.0,
        mean=tuple(values["image_mean"]) if is_normal else (0.0,) * 3,
        std=tuple(values["image_std"]) if is_normal else (1.0,) * 3,
        channels="BGR" if values.get("do_flip_channel_order") else "RGB",
    )


def _name(said: Values, model_type: str, where: Path) -> str:
    kind = said.get("image_processor_type") or said.get("feature_extractor_type") or ""
    name = re.sub(r"(ImageProcessor(Fast|Pil)?|FeatureExtractor)$", "", kind)
    by_model = (one for one, known in PROCESSORS.items() if model_type in known.models)
    name = name or next(by_model, "")
    if name not in PROCESSORS:
        raise UsageError(
            f"{where}: what the processor {kind or 'of a ' + model_type} does is not known here.\n"
            f"Expected image_processor_type to be one of {', '.join(PROCESSORS)} (ImageProcessor): "
            "name it there if one does the same, or choose another source."
        )
    return name


def _fit(name: str, values: Values) -> Values | None:
    """Return height, width, resize and crop_pct; None where they cannot say what is done."""
    is_short = "shortest_edge" in PROCESSORS[name].values["size"]
    size = values["size"]
    if isinstance(size, int):
        size = {"shortest_edge": size} if is_short else {"height": size, "width": size}
    if name == "ConvNext":
        size, crop = _convnext(size, values["crop_pct"])
    else:
        crop = values.get("crop_size") if values.get("do_center_crop") else None
        crop = {"height": crop, "width": crop} if isinstance(crop, int) else crop
    if set(size) == {"shortest_edge"}:
        return _center(size["shortest_edge"], crop) if crop else None
    return _squashed(size, crop or size) if set(size) == {"height", "width"} else None


def _convnext(size: Values, crop_pct: float) -> tuple[Values, Values | None]:
    """Return the size and the crop that ConvNeXt's one size stands for."""
    short = size.get("shortest_edge", 0)
    if not short:
        return {}, None
    square = {"height": short, "width": short}
    if short >= WHOLE_FROM:
        return square, None
    return {"shortest_edge": int(short / crop_pct)}, square


def _center(short: int, crop: Values) -> Values | None:
    """Return the square cut out of a picture whose short side was resized.

    None where it is no square, whose share differs by side, or larger than the picture, where
    transformers fills up with black.
    """
    side = crop["height"]
    if side != crop["width"] or side > short:
        return None
    return {"height": side, "width": side, "resize": "crop", "crop_pct": side / short}


def _squashed(size: Values, crop: Values) -> Values | None:
    """Return what is cut out of a picture whose sides were both resized; None as in `_center`."""
    height, width = crop["height"], crop["width"]
    if height * size["width"] != width * size["height"] or height > size["height"]:
        return None
    resize = "squash" if height == size["height"] else "squash-crop"
    share = height / size["height"]
    return {"height": height, "width": width, "resize": resize, "crop_pct": share}


def _refuse(values: Values, where: Path) -> NoReturn:
    keys = ("do_resize", "size", "do_center_crop", "crop_size", "do_pad", "resample")
    given = ", ".join(f"{key} = {values[key]!r}" for key in keys if key in values)
    raise UsageError(
        f"{where}: pictures are resized in a way that Headstart does not do: {given}.\n"
        "Expected do_resize; a size of height and width, alone or with a center crop of the same "
        "shape inside, or of shortest_edge with a square inside; no do_pad; a resample of "
        f"{', '.join(map(str, RESAMPLING))}. Choose another source, or correct the file."
    )
