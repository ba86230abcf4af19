"""Augment: other views of a picture that a person would call the same thing."""

import hashlib
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from PIL.Image import Image

_SCALE = (0.5, 1.0)  # the share of the area a crop keeps
_RATIO = (3 / 4, 4 / 3)  # of width to height, relative to what is asked for
_JITTER = 0.15  # brightness, contrast and saturation change by this much at most

Box = tuple[float, float, float, float]


def view(image: "Image", size: tuple[int, int], seed: bytes | int) -> "Image":
    """Return a random crop, resized, perhaps mirrored, its colors slightly changed.

    Parameters
    ----------
    image
        An RGB picture.
    size
        (height, width) of the view.
    seed
        Names the view: the same seed gives the same view of the same picture.

    References
    ----------
    Szegedy et al., Going deeper with convolutions, 2015, section 6 (the random crop).
    """
    from PIL.Image import Resampling, Transpose

    rng = _random(seed)
    box = crop_box((image.height, image.width), size, rng)
    shown = image.resize((size[1], size[0]), Resampling.BICUBIC, box=box, reducing_gap=3.0)
    if rng.random() < 0.5:
        shown = shown.transpose(Transpose.FLIP_LEFT_RIGHT)
    return _recolored(shown, rng)


def crop_box(picture: tuple[int, int], size: tuple[int, int], rng: np.random.Generator) -> Box:
    """Return (left, top, right, bottom) of a random crop, in pixels of the picture.

    Parameters
    ----------
    picture, size
        (height, width) of the picture and of the view.
    rng
        Draws the share of the area, the ratio of the sides and the place.
    """
    height, width = picture
    area = height * width * rng.uniform(*_SCALE)
    log_ratio = rng.uniform(*np.log(_RATIO))
    ratio = float(np.exp(log_ratio)) * size[1] / size[0]  # width over height
    crop_width = min(width, (area * ratio) ** 0.5)
    crop_height = min(height, (area / ratio) ** 0.5)
    left = rng.uniform(0, width - crop_width)
    top = rng.uniform(0, height - crop_height)
    return left, top, min(width, left + crop_width), min(height, top + crop_height)


def _random(seed: bytes | int) -> np.random.Generator:
    """Return the stream of a seed; close seeds give unlike streams."""
    named = seed if isinstance(seed, bytes) else str(seed).encode()
    digest = hashlib.blake2b(named, digest_size=16).digest()
    return np.random.default_rng(int.from_bytes(digest, "little"))


def _recolored(image: "Image", rng: np.random.Generator) -> "Image":
    from PIL import ImageEnhance

    for change in (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color):
        image = change(image).enhance(1 + rng.uniform(-_JITTER, _JITTER))
    return image
