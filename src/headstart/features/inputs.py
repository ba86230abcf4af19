"""Inputs: a raw row becomes what the network reads, as its source declares."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Row
from headstart.data.ragged import padded
from headstart.data.words import Sentence
from headstart.errors import DataError, HeadstartError, IntegrityError, UnreadableRow
from headstart.sources.preprocess import (
    PicturePreprocess,
    Preprocess,
    TextPreprocess,
    VectorPreprocess,
)
from headstart.task import Modality

if TYPE_CHECKING:
    from PIL.Image import Image, Resampling
    from tokenizers import Tokenizer

#: About the smallest share of a picture's side an augmented view shows (half of its area, 3:4).
VIEW_SIDE = 0.6


class Inputs(Protocol):
    """What a source's declaration does to raw rows."""

    def row(self, row: Row, view: int = 0, key: bytes = b"") -> Any:
        """Return one row, ready to be batched; `view` ≥ 1 is an augmented one, seeded by `key`."""
        ...

    def windows(self, row: Any) -> Sequence[NDArray[Any]]:
        """Return what the trunk sees at once of a row, in order: most rows are one window."""
        ...

    def batch(self, rows: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Return several windows as the named inputs of the compiled trunk."""
        ...

    def joined(self, row: Any, parts: Sequence[NDArray[Any]], pooled: bool) -> NDArray[Any]:
        """Return what the trunk said of a row, given what it said of its windows."""
        ...

    def normalize(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return a batch as the network itself wants it."""
        ...


def inputs_for(preprocess: Preprocess, modality: Modality | None = None) -> Inputs:
    """Return what turns raw rows into the inputs that `preprocess` declares.

    Parameters
    ----------
    modality
        What the rows are: sentences of words are read as a text is, but word by word.
    """
    if isinstance(preprocess, PicturePreprocess):
        return PictureInputs(preprocess)
    if isinstance(preprocess, TextPreprocess):
        return (WordInputs if modality is Modality.WORDS else TextInputs)(preprocess)
    return VectorInputs(preprocess)


def view_seed(key: bytes, view: int) -> bytes:
    """Return the seed of one augmented view of the row whose content hash is `key`."""
    return hashlib.blake2b(key + view.to_bytes(4, "little"), digest_size=16).digest()


class _Whole:
    """Rows that the trunk sees as a whole."""

    def windows(self, row: Any) -> Sequence[NDArray[Any]]:
        """Return the row: it is one window."""
        return [row]

    def joined(self, row: Any, parts: Sequence[NDArray[Any]], pooled: bool) -> NDArray[Any]:
        """Return what the trunk said of the one window."""
        return parts[0]


class PictureInputs(_Whole):
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
        if p.resize not in ("crop", "squash-crop"):
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


def _squash_crop(picture: "Image", p: PicturePreprocess) -> "Image":
    w, h = picture.size
    left, top = w * (1 - p.crop_pct) / 2, h * (1 - p.crop_pct) / 2
    box = (max(left, 0.0), max(top, 0.0), min(w - left, w), min(h - top, h))
    return picture.resize((p.width, p.height), _filter(p.interpolation), box=box)


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


_FITS = {"crop": _crop, "squash": _squash, "squash-crop": _squash_crop, "pad": _pad}


def _filter(interpolation: str) -> "Resampling":
    from PIL.Image import Resampling

    return Resampling[interpolation.upper()]


class TextInputs(_Whole):
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

    def row(self, row: Row, view: int = 0, key: bytes = b"") -> Any:
        """Return the ids of one text, shape (tokens,); a text has no augmented views."""
        if not isinstance(row, str):
            raise UnreadableRow(repr(row)[:80], f"expected a text, got {type(row).__name__}")
        ids = self.tokenizer.encode(_encodable(self.preprocess.prefix + row)).ids
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
    try:
        tokenizer: Tokenizer = Tokenizer.from_buffer(content)
    except Exception as error:  # what its library raises is a bare Exception or a ValueError
        raise IntegrityError(
            f"{path} is no tokenizer: {error}.\n"
            "Expected a tokenizer.json of the tokenizers library: copy or download it again."
        ) from error
    tokenizer.enable_truncation(max_length) if max_length else tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _is_unspaced(tokenizer: "Tokenizer") -> bool:
    """Whether it cuts into bytes, and puts no space before what begins without one."""
    if tokenizer.pre_tokenizer is None:
        return False
    said = json.loads(tokenizer.pre_tokenizer.__getstate__())
    steps = said.get("pretokenizers", [said])
    return any(step["type"] == "ByteLevel" and not step["add_prefix_space"] for step in steps)


#: Characters of a word that are read: no vector depends on what lies hundreds of them away.
WORD_CHARACTERS = 200


@dataclass(frozen=True, eq=False)
class Pieces:
    """A sentence as the network reads it.

    Parameters
    ----------
    windows
        The ids of each window, which are at most as long as the network knows. They overlap, so
        that every word is seen among its neighbors.
    first
        Shape (words,): where the first piece of each word stands, with the windows one after
        another. It is that piece's vector that speaks for the word.
    """

    windows: tuple[NDArray[np.int64], ...]
    first: NDArray[np.int64]

    def __len__(self) -> int:
        """How many ids there are in all windows."""
        return sum(map(len, self.windows))

    @property
    def nbytes(self) -> int:
        """How many bytes it takes."""
        return sum(window.nbytes for window in self.windows) + self.first.nbytes


class WordInputs(TextInputs):
    """Sentences: each word cut into pieces by itself, and windows where there are too many.

    What a source puts before a text (`prefix`) is left out: it speaks of the whole.
    """

    @cached_property
    def tokenizer(self) -> "Tokenizer":
        """The tokenizer, which cuts nothing off."""
        p = self.preprocess
        return _tokenizer(p.tokenizer, p.tokenizer_sha256, 0)

    @cached_property
    def frame(self) -> tuple[list[int], list[int]]:
        """The ids that stand before and behind every window."""
        framed = self.tokenizer.encode("a").ids
        bare = self.tokenizer.encode("a", add_special_tokens=False).ids
        at = next(i for i in range(len(framed)) if framed[i : i + len(bare)] == bare)
        return framed[:at], framed[at + len(bare) :]

    @cached_property
    def unknown(self) -> int:
        """The id that stands for a word of which the tokenizer leaves nothing."""
        known = (self.tokenizer.token_to_id(name) for name in ("[UNK]", "<unk>"))
        return next((token for token in known if token is not None), self.pad_id)

    @cached_property
    def lead(self) -> str:
        """What a word is read behind: a space, where a byte-level tokenizer adds none itself.

        To it "cat" and " cat" are other pieces, and inside a text a word stands behind a space. The
        space is put before the word, rather than the tokenizer told to add it: where the word is
        split before it comes to bytes, one would be added to every part.
        """
        return " " if _is_unspaced(self.tokenizer) else ""

    def row(self, row: Row, view: int = 0, key: bytes = b"") -> Any:
        """Return the `Pieces` of one sentence; a sentence has no augmented views."""
        if not isinstance(row, Sentence):
            raise UnreadableRow(repr(row)[:80], f"expected words, got {type(row).__name__}")
        ids, first = self._aligned(row.words)
        before, behind = self.frame
        size = max(2, self.preprocess.max_length - len(before) - len(behind))
        starts, owner = _spread(len(ids), size)
        windows = tuple(
            np.array([*before, *ids[start : start + size], *behind], dtype=np.int64)
            for start in starts
        )
        begins = np.cumsum([0, *(len(window) for window in windows)])[owner[first]]
        return Pieces(windows, begins + len(before) + first - starts[owner[first]])

    def _aligned(self, words: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Return the ids of all words, and where the first piece of each stands; shape (words,)."""
        if not words:
            return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
        clean = [self.lead + _encodable(word[:WORD_CHARACTERS]) for word in words]
        encoded = self.tokenizer.encode(clean, is_pretokenized=True, add_special_tokens=False)
        ids = np.array(encoded.ids, dtype=np.int64)
        word_of = np.array(encoded.word_ids, dtype=np.int64)
        lost = np.setdiff1d(np.arange(len(words)), word_of)
        at = np.searchsorted(word_of, lost)
        ids, word_of = np.insert(ids, at, self.unknown), np.insert(word_of, at, lost)
        return ids, np.searchsorted(word_of, np.arange(len(words)))

    def windows(self, row: Any) -> Sequence[NDArray[Any]]:
        """Return the windows of a sentence."""
        return list(row.windows)

    def joined(self, row: Any, parts: Sequence[NDArray[Any]], pooled: bool) -> NDArray[Any]:
        """Return a vector a word, shape (words, d); if not `pooled` a vector a piece."""
        pieces = np.concatenate(parts)
        return pieces[row.first] if pooled else pieces


def word_places(rows: Sequence[Pieces], width: int) -> NDArray[np.int64]:
    """Return where the words of each sentence stand in a batch of its windows; −1 beyond the last.

    Parameters
    ----------
    rows
        The sentences, whose windows are the rows of the batch, in order.
    width
        How long the batch's rows are.

    Returns
    -------
    array
        Shape (n, most words): row of the batch · `width` + place in it.

    Examples
    --------
    >>> two = Pieces((np.zeros(3, int), np.zeros(2, int)), np.array([1, 4]))  # a window each
    >>> word_places([two, Pieces((np.zeros(3, int),), np.array([1]))], width=3)
    array([[ 1,  4],
           [ 7, -1]])
    """
    places, n_before = [], 0
    for row in rows:
        ends = np.cumsum([len(window) for window in row.windows])
        window = np.searchsorted(ends, row.first, side="right")
        within = row.first - np.concatenate([[0], ends])[window]
        places.append((n_before + window) * width + within)
        n_before += len(row.windows)
    return padded(places, -1)


def _spread(n: int, size: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where windows over `n` pieces begin, and which window speaks for each piece.

    Windows overlap by a quarter; a piece belongs to the one in which it stands less near the edge.

    >>> starts, owner = _spread(7, 4)
    >>> starts.tolist(), owner.tolist()
    ([0, 3], [0, 0, 0, 1, 1, 1, 1])
    """
    overlap = size // 4
    step = size - overlap
    starts = np.arange(0, max(1, n - overlap), step)
    owner = np.clip((np.arange(n) - overlap // 2) // step, 0, len(starts) - 1)
    return starts, owner


def _encodable(text: str) -> str:
    """Return a text without halves of characters, which JSON can spell and no tokenizer takes."""
    return text.encode("utf-8", "replace").decode()


class VectorInputs(_Whole):
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
