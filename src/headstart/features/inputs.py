"""Inputs: a raw row becomes what the network reads, as its source declares."""

import hashlib
from collections.abc import Sequence
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Row
from headstart.errors import DataError, HeadstartError, IntegrityError, UnreadableRow
from headstart.sources.preprocess import (
    PicturePreprocess,
    Preprocess,
    TextPreprocess,
    VectorPreprocess,
)

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling
    from tokenizers import Tokenizer

#: About the smallest share of a picture's side an augmented view shows (half of its area, 3:4).
VIEW_SIDE = 0.6


class Inputs(Protocol):
    """What a source's declaration does to raw rows."""

    def row(self, row: Row, view: int = 0, key: bytes = b"") -> NDArray[Any]:
        """Return one row, ready to be batched; `view` ≥ 1 is an augmented one, seeded by `key`."""
        ...

    def batch(self, rows: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return several of those rows as the named inputs of the compiled trunk."""
        ...

    def normalize(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a batch as the network itself wants it."""
        ...


def inputs_for(preprocess: Preprocess) -> Inputs:
    """Return what turns raw rows into the inputs that `preprocess` declares."""
    if isinstance(preprocess, PicturePreprocess):
        return PictureInputs(preprocess)
    if isinstance(preprocess, TextPreprocess):
        return TextInputs(preprocess)
    return VectorInputs(preprocess)


def view_seed(key: bytes, view: int) -> bytes:
    """Return the seed of one augmented view of the row whose content hash is `key`."""
    return hashlib.blake2b(key + view.to_bytes(4, "little"), digest_size=16).digest()


class PictureInputs:
    """Pictures: decoded, resized, cut; values stay uint8 until the network.

    Parameters
    ----------
    preprocess
        The declaration of the source.
    """

    def __init__(self, preprocess: PicturePreprocess) -> None:
        self.preprocess = preprocess

    def row(self, row: Row, view: int = 0, key: bytes = b"") -> NDArray[np.uint8]:
        """Return uint8 pixels of shape (height, width, channels), in the order the source wants."""
        from headstart.data.pictures import decode

        p = self.preprocess
        if view:
            return self._pixels(self._view(row, view_seed(key, view)))
        picture = decode(row, at_least=self._at_least())
        return self._pixels(_FITS[p.resize](picture, p))

    def _at_least(self) -> tuple[int, int]:
        """Return the (height, width) that decoding must not fall short of."""
        p = self.preprocess
        if p.resize != "crop":
            return p.height, p.width
        return round(p.height / p.crop_pct), round(p.width / p.crop_pct)

    def _view(self, row: Row, seed: bytes) -> "Image":
        from headstart.data.augment import view
        from headstart.data.pictures import decode

        size = self.preprocess.height, self.preprocess.width
        # The view may cut out a part, which must not be enlarged for having been decoded small.
        picture = decode(row, at_least=(round(size[0] / VIEW_SIDE), round(size[1] / VIEW_SIDE)))
        return view(picture, size, seed)

    def _pixels(self, picture: "Image") -> NDArray[np.uint8]:
        if self.preprocess.channels == "L":
            return np.asarray(picture.convert("L"))[:, :, None]
        pixels = np.asarray(picture)
        return pixels if self.preprocess.channels == "RGB" else pixels[:, :, ::-1]

    def batch(self, rows: Sequence[NDArray[Any]]) -> dict[str, NDArray[np.uint8]]:
        """Return {"pixels": uint8 of shape (n, height, width, channels)}."""
        return {"pixels": np.stack(rows)}

    def normalize(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return pixels · scale as the network reads them: float32, in the source's layout."""
        factor, offset = affine(self.preprocess)
        values = pixels.astype(np.float32) * factor + offset  # (n, height, width, channels)
        nchw = self.preprocess.layout == "NCHW"
        return np.ascontiguousarray(values.transpose(0, 3, 1, 2)) if nchw else values


def affine(preprocess: PicturePreprocess) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Return (factor, offset) a channel: (value · scale − mean) / std = value · factor + offset.

    >>> [x.tolist() for x in affine(PicturePreprocess(scale=1, mean=(3,), std=(2,), channels="L"))]
    [[0.5], [-1.5]]
    """
    std = np.asarray(preprocess.std, dtype=np.float64)
    mean = np.asarray(preprocess.mean, dtype=np.float64)
    return (preprocess.scale / std).astype(np.float32), (-mean / std).astype(np.float32)


def _crop(picture: "Image", p: PicturePreprocess) -> "Image":
    # Resizing only the part that is kept gives the same pixels as resizing all, then cutting.
    w, h = picture.size
    shrink = min(w * p.crop_pct / p.width, h * p.crop_pct / p.height)
    left, top = (w - p.width * shrink) / 2, (h - p.height * shrink) / 2
    box = (max(left, 0.0), max(top, 0.0), min(w - left, w), min(h - top, h))
    return picture.resize((p.width, p.height), _filter(p.interpolation), box=box)


def _squash(picture: "Image", p: PicturePreprocess) -> "Image":
    return picture.resize((p.width, p.height), _filter(p.interpolation))


def _pad(picture: "Image", p: PicturePreprocess) -> "Image":
    from PIL import Image

    ratio = min(p.width / picture.width, p.height / picture.height)
    size = max(1, round(picture.width * ratio)), max(1, round(picture.height * ratio))
    canvas = Image.new("RGB", (p.width, p.height), _mean_color(p))
    at = (p.width - size[0]) // 2, (p.height - size[1]) // 2
    canvas.paste(picture.resize(size, _filter(p.interpolation)), at)
    return canvas


def _mean_color(p: PicturePreprocess) -> tuple[int, int, int]:
    """Return the RGB color that the normalization turns into zero."""
    mean = [int(min(max(round(value / p.scale), 0), 255)) for value in p.mean]
    red, green, blue = mean * 3 if len(mean) == 1 else mean
    return (blue, green, red) if p.channels == "BGR" else (red, green, blue)


_FITS = {"crop": _crop, "squash": _squash, "pad": _pad}


def _filter(interpolation: str) -> "Resampling":
    from PIL.Image import Resampling

    return Resampling[interpolation.upper()]


class TextInputs:
    """Texts: cut to the length the source knows, as the ids of its own tokenizer.

    Parameters
    ----------
    preprocess
        The declaration of the source.
    """

    def __init__(self, preprocess: TextPreprocess) -> None:
        self.preprocess = preprocess

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer, read at first use and checked against its hash."""
        p = self.preprocess
        return _tokenizer(p.tokenizer, p.tokenizer_sha256, p.max_length)

    @cached_property
    def pad_id(self) -> int:
        """The id that fills short rows; it is masked, so any known id would do."""
        known = (self.tokenizer.token_to_id(name) for name in ("[PAD]", "<pad>"))
        return next((token for token in known if token is not None), 0)

    def row(self, row: Row, view: int = 0, key: bytes = b"") -> NDArray[np.int64]:
        """Return the ids of one text, shape (tokens,); a text has no augmented views."""
        if not isinstance(row, str):
            raise UnreadableRow(repr(row)[:80], f"expected a text, got {type(row).__name__}")
        ids = self.tokenizer.encode(self.preprocess.prefix + row).ids
        return np.asarray(ids or [self.pad_id], dtype=np.int64)

    def batch(self, rows: Sequence[NDArray[Any]]) -> dict[str, NDArray[np.int64]]:
        """Return ids and mask of shape (n, longest), filled up at the right."""
        longest = max(len(row) for row in rows)
        ids = np.full((len(rows), longest), self.pad_id, dtype=np.int64)
        mask = np.zeros((len(rows), longest), dtype=np.int64)
        for i, row in enumerate(rows):
            ids[i, : len(row)] = row
            mask[i, : len(row)] = 1
        return {"input_ids": ids, "attention_mask": mask}

    def normalize(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Refuse: texts have no pixels."""
        raise HeadstartError("A text source has no pixels to normalize; use `batch`.")


@cache
def _tokenizer(path: str, sha256: str, max_length: int) -> "Tokenizer":
    from tokenizers import Tokenizer

    content = Path(path).read_bytes()
    if hashlib.sha256(content).hexdigest() != sha256:
        raise IntegrityError(
            f"{path} is not the tokenizer this source was declared with.\n"
            f"Expected SHA-256 {sha256}; put the original file back, or install the source again."
        )
    tokenizer: Tokenizer = Tokenizer.from_buffer(content)
    tokenizer.enable_truncation(max_length)
    tokenizer.no_padding()
    return tokenizer


class VectorInputs:
    """Vectors: taken as they are.

    Parameters
    ----------
    preprocess
        The declaration; a known `n_features` is checked.
    """

    def __init__(self, preprocess: VectorPreprocess) -> None:
        self.preprocess = preprocess

    def row(self, row: Row, view: int = 0, key: bytes = b"") -> NDArray[np.float32]:
        """Return one vector, shape (d,)."""
        return np.asarray(row, dtype=np.float32)

    def batch(self, rows: Sequence[NDArray[Any]]) -> dict[str, NDArray[np.float32]]:
        """Return {"vectors": float32 of shape (n, d)}."""
        vectors = np.asarray(rows, dtype=np.float32)
        expected = self.preprocess.n_features
        if expected and vectors.shape[1:] != (expected,):
            raise DataError(
                f"Rows of shape {vectors.shape[1:]} came, ({expected},) was expected.\n"
                "Give the same columns, in the same order, as in training."
            )
        if not np.isfinite(np.asarray(rows)).all():  # before float32 makes large ones infinite
            raise DataError(
                "Rows of numbers hold NaN or infinity.\nFill the gaps or leave those rows out."
            )
        return {"vectors": vectors}

    def normalize(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return the values as float32."""
        return pixels.astype(np.float32)
