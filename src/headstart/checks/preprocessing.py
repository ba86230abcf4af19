"""Preprocessing: whether the source reads the rows as they are, and as the head learned them."""

import io
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from headstart.checks.finding import N_NAMED, Finding, Severity, counted
from headstart.data.dataset import Dataset
from headstart.data.pictures import FORMATS
from headstart.features.inputs import inputs_for
from headstart.machine import seeds
from headstart.sources.preprocess import (
    PicturePreprocess,
    Preprocess,
    TextPreprocess,
    preprocess_hash,
)
from headstart.task import Modality

#: Rows that are looked at.
N_LOOKED = 64

#: Enlarging a picture more than this adds pixels and no detail.
ENLARGED = 2.0

#: The share of a picture that may fall outside the center crop.
CUT_OFF = 0.5

#: The share of rows from which something is told.
SHARE = 0.1


def unlike_source(data: Dataset, preprocess: Preprocess, seed: int = 0) -> list[Finding]:
    """Return where the rows are not what the source was made to read, from a sample of them.

    Parameters
    ----------
    data
        The rows.
    preprocess
        How the source reads them.
    """
    at = np.sort(seeds(seed, "preprocessing").permutation(len(data))[:N_LOOKED])
    if isinstance(preprocess, PicturePreprocess):
        return _pictures(data, at.tolist(), preprocess)
    if isinstance(preprocess, TextPreprocess) and data.modality is Modality.TEXT:
        return _texts(data, at.tolist(), preprocess)
    return []


def mismatch(learned: Preprocess, served: Preprocess) -> list[Finding]:
    """Return where rows to predict are read in another way than the head learned them.

    >>> from headstart.sources.preprocess import VectorPreprocess
    >>> print(mismatch(VectorPreprocess(2), VectorPreprocess(3))[0])
    warning: Rows are read with n_features = 3, the head learned them with 2. Serve them as...
    """
    if preprocess_hash(learned) == preprocess_hash(served):
        return []
    ours, theirs = _fields(learned), _fields(served)
    said = [
        f"{name} = {theirs.get(name)!r}, the head learned them with {ours.get(name)!r}"
        for name in sorted(ours.keys() | theirs.keys())
        if ours.get(name) != theirs.get(name)
    ]
    what = f"Rows are read with {'; '.join(said)}."
    fix = "Serve them as they were learned: every prediction is wrong otherwise."
    return [Finding("preprocessing", "warning", what, fix=fix)]


def _fields(preprocess: Preprocess) -> dict[str, Any]:
    kind = "" if type(preprocess).__name__ == "VectorPreprocess" else type(preprocess).__name__
    fields = asdict(preprocess) | ({"kind": kind} if kind else {})
    fields.pop("tokenizer", None)  # a path; its bytes are hashed beside it
    return fields


def _pictures(data: Dataset, at: list[int], p: PicturePreprocess) -> list[Finding]:
    sizes = {i: size for i in at if (size := _size(data.rows[i])) is not None}
    if not sizes:
        return []
    return [*_enlarged(data, sizes, p), *_cut_off(data, sizes, p)]


def _size(row: Any) -> tuple[int, int] | None:
    """Return the (width, height) of a picture by its header; None where it has none."""
    from PIL import Image

    if hasattr(row, "getbands"):
        return int(row.size[0]), int(row.size[1])
    if not isinstance(row, str | Path | bytes):
        shape = np.shape(row)
        return (shape[1], shape[0]) if len(shape) >= 2 else None
    try:
        with Image.open(io.BytesIO(row) if isinstance(row, bytes) else row, formats=FORMATS) as it:
            return it.size
    except (OSError, ValueError, SyntaxError):
        return None


def _enlarged(
    data: Dataset, sizes: dict[int, tuple[int, int]], p: PicturePreprocess
) -> list[Finding]:
    factors = {i: min(p.width, p.height) / min(size) for i, size in sizes.items()}
    rows = sorted((i for i, f in factors.items() if f > ENLARGED), key=lambda i: -factors[i])
    if len(rows) <= SHARE * len(sizes):
        return []
    usual = float(np.median(list(factors.values())))
    what = (
        f"{counted(len(rows), 'picture')} of {len(sizes):,} looked at are enlarged more than "
        f"{ENLARGED:g} times to the {p.width} × {p.height} pixels the source reads; "
        f"half of those looked at {usual:.3g} times or more."
    )
    return [_told(data, rows, len(sizes), what, "A source made for small pictures may do better.")]


def _cut_off(
    data: Dataset, sizes: dict[int, tuple[int, int]], p: PicturePreprocess
) -> list[Finding]:
    if p.resize != "crop":
        return []
    aspect = p.width / p.height
    lost = {i: 1 - _kept(w / h / aspect) * p.crop_pct**2 for i, (w, h) in sizes.items()}
    rows = sorted((i for i, share in lost.items() if share > CUT_OFF), key=lambda i: -lost[i])
    if len(rows) <= SHARE * len(sizes):
        return []
    what = (
        f"{counted(len(rows), 'picture')} of {len(sizes):,} looked at lose more than half of "
        "their area to the center crop of the source."
    )
    return [_told(data, rows, len(sizes), what, "Cut them to what matters, or near to a square.")]


def _kept(aspect: float) -> float:
    """Return the share of a picture that a square of full height or width holds.

    >>> _kept(2.0), _kept(0.25)
    (0.5, 0.25)
    """
    return min(aspect, 1 / aspect)


def _texts(data: Dataset, at: list[int], p: TextPreprocess) -> list[Finding]:
    inputs = inputs_for(p)
    texts = [i for i in at if isinstance(data.rows[i], str)]
    rows = [i for i in texts if len(inputs.row(data.rows[i])) >= p.max_length]
    if len(rows) <= SHARE * len(texts):
        return []
    what = (
        f"{counted(len(rows), 'text')} of {len(texts):,} looked at are longer than the "
        f"{p.max_length} tokens the source reads; their ends are not seen."
    )
    return [_told(data, rows, len(texts), what, "Put what matters first, or split long texts.")]


def _told(data: Dataset, rows: list[int], n: int, what: str, fix: str) -> Finding:
    severity: Severity = "warning" if len(rows) > n / 2 else "note"
    named = tuple(data.name(i) for i in rows[:N_NAMED])
    return Finding("preprocessing", severity, what, len(rows), named, fix=fix,
                   facts={"share": len(rows) / n})  # fmt: skip
