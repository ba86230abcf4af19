"""How a source wants its input: declared, hashed, without torch."""

import dataclasses
import hashlib
import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from headstart.errors import UsageError

#: What a network may ask for: more is a slip of the pen, and would fill the memory.
MOST_PIXELS = 8192
MOST_TOKENS = 1_000_000

_PICTURES = (
    f"height and width whole numbers from 1 to {MOST_PIXELS:,}, crop_pct and scale > 0, as many "
    "numbers in mean and std as channels, std > 0"
)


@dataclass(frozen=True)
class PicturePreprocess:
    """A picture becomes `height` × `width` pixels, then (value · scale − mean) / std a channel.

    Parameters
    ----------
    height, width
        Pixels the network sees.
    resize
        "crop": the short side becomes `height / crop_pct`, then the center is cut out;
        "squash": both sides are resized, the shape is not kept;
        "squash-crop": both sides become `height / crop_pct` and `width / crop_pct`, the shape is
        not kept, then the center is cut out;
        "pad": the long side fits, the rest is filled with the mean.
    crop_pct
        The share of the resized short side, or of both sides, that the center crop keeps.
    interpolation
        "bilinear", "bicubic" or "nearest" (Pillow's, with antialiasing).
    scale
        What a uint8 value is multiplied with first: 1/255, or 1.
    mean, std
        Per channel, in the channel order of `channels`.
    channels
        "RGB", "BGR", or "L" (one channel).
    layout
        "NCHW" or "NHWC".
    """

    height: int = 224
    width: int = 224
    resize: Literal["crop", "squash", "squash-crop", "pad"] = "crop"
    crop_pct: float = 0.875
    interpolation: Literal["bilinear", "bicubic", "nearest"] = "bicubic"
    scale: float = 1 / 255
    mean: tuple[float, ...] = (0.485, 0.456, 0.406)
    std: tuple[float, ...] = (0.229, 0.224, 0.225)
    channels: Literal["RGB", "BGR", "L"] = "RGB"
    layout: Literal["NCHW", "NHWC"] = "NCHW"

    def check(self, where: str) -> "PicturePreprocess":
        """Return the declaration itself.

        Parameters
        ----------
        where
            Who declares it, for the message: a card, a URI.

        Raises
        ------
        UsageError
            Where a value cannot be right; it names the values and the ranges.
        """
        n = 1 if self.channels == "L" else 3
        wanted = {
            "height": _is_whole(self.height, MOST_PIXELS),
            "width": _is_whole(self.width, MOST_PIXELS),
            "crop_pct": _is_positive(self.crop_pct),
            "scale": _is_positive(self.scale),
            "mean": len(self.mean) == n and all(map(_is_finite, self.mean)),
            "std": len(self.std) == n and all(map(_is_positive, self.std)),
        }
        _refuse_wrong(self, wanted, where, _PICTURES)
        return self


@dataclass(frozen=True)
class TextPreprocess:
    """A text becomes the ids of a `tokenizers` file.

    Parameters
    ----------
    tokenizer
        The path of a `tokenizer.json`; not part of the hash, its bytes are.
    tokenizer_sha256
        The SHA-256 of that file.
    max_length
        Tokens a row may have; longer rows are cut.
    prefix
        What is put before every text ("query: " for E5).
    """

    tokenizer: str
    tokenizer_sha256: str
    max_length: int = 256
    prefix: str = ""

    def check(self, where: str) -> "TextPreprocess":
        """Return the declaration itself; refuse it as that of pictures is."""
        wanted = {"max_length": _is_whole(self.max_length, MOST_TOKENS)}
        _refuse_wrong(self, wanted, where, f"max_length a whole number from 1 to {MOST_TOKENS:,}")
        return self


@dataclass(frozen=True)
class VectorPreprocess:
    """Rows are vectors already; nothing is done."""

    n_features: int = 0


def _is_whole(value: Any, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 1 <= value <= most


def _is_finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def _is_positive(value: Any) -> bool:
    return _is_finite(value) and value > 0


def _refuse_wrong(record: Any, wanted: dict[str, bool], where: str, expected: str) -> None:
    wrong = [name for name, is_right in wanted.items() if not is_right]
    if wrong:
        given = ", ".join(f"{name} = {getattr(record, name)!r}" for name in wrong)
        raise UsageError(f"{where}: the preprocessing has {given}.\nExpected {expected}.")


Preprocess = PicturePreprocess | TextPreprocess | VectorPreprocess

_KINDS = {"image": PicturePreprocess, "text": TextPreprocess, "vector": VectorPreprocess}


def to_json(preprocess: Preprocess) -> dict[str, Any]:
    """Return the declaration as plain JSON values, its kind under "kind"."""
    kind = next(name for name, record in _KINDS.items() if isinstance(preprocess, record))
    return {"kind": kind, **dataclasses.asdict(preprocess)}


def from_json(values: dict[str, Any], folder: Path | None = None) -> Preprocess:
    """Read back what `to_json` wrote; a relative tokenizer path is looked up in `folder`."""
    fields: dict[str, Any] = {
        key: tuple(v) if isinstance(v, list) else v for key, v in values.items()
    }
    record = _KINDS[fields.pop("kind")]
    if folder is not None and "tokenizer" in fields:
        fields["tokenizer"] = str(folder / fields["tokenizer"])
    return record(**fields)


def preprocess_hash(preprocess: Preprocess) -> str:
    """Return 16 hexadecimal digits that change when the model would see other numbers."""
    values = to_json(preprocess)
    values.pop("tokenizer", None)
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:16]
