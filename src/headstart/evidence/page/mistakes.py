"""Mistakes: who is taken for whom, how well each class is known, and the rows that show it."""

import base64
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from markupsafe import Markup
from numpy.typing import ArrayLike, NDArray

from headstart.data.pictures import READABLE_SUFFIXES, decode
from headstart.data.ragged import ragged
from headstart.data.tags import types_of
from headstart.data.words import Sentence
from headstart.errors import HeadstartError
from headstart.evidence.evidence import Judged
from headstart.evidence.page import sentences, words
from headstart.evidence.page.svg import element
from headstart.evidence.page.words import share
from headstart.metrics.entities import counts as counts_of
from headstart.task import Kind, Task
from headstart.units import plural

#: More classes than this make no readable table; the pairs most often confused are listed.
MOST_CLASSES = 24

#: Pixels of a thumbnail's longer side.
THUMBNAIL = 160

#: How many single rows are shown, and how many classes and letters of each.
MOST_ROWS, MOST_LISTED, MOST_LETTERS = 8, 40, 400

#: What the three numbers of a class mean.
MEANING = (
    "“Found” (recall): of the rows that are of this class, the share the model says so of. "
    "“Trusted” (precision): of the rows the model says it of, the share that are. F1 is high only "
    "if both are. The worst classes come first."
)


def errors(task: Task, judged: Judged, rows: Mapping[str, Any], thing: str) -> dict[str, Any]:
    """Return where a model is right and where it errs.

    Parameters
    ----------
    task
        What was predicted.
    judged
        What was said of the test rows.
    rows
        Raw rows by name, as far as they are at hand; a picture is also looked for on disk.
    thing
        What a row is called.
    """
    found = _COUNTED[task.kind](task, judged, thing)
    shown = [_shown(task, judged, i, rows) for i in found.pop("worst")]
    has_pictures = any(row["picture"] for row in shown)
    empty: dict[str, Any] = {"grid": None, "pairs": None, "classes": [], "meaning": ""}
    return empty | found | {"rows": shown, "rows_style": "pictures" if has_pictures else "texts"}


def _of_classes(task: Task, judged: Judged, thing: str) -> dict[str, Any]:
    truth, said = np.asarray(judged.truth, dtype=int), np.asarray(judged.said, dtype=int)
    counts = confusion(truth, said, len(task.labels))
    right = int(np.diag(counts).sum())
    confused = [[pair.truth, pair.said, words.count(pair.n)] for pair in pairs(counts, task.labels)]
    return {
        "lead": f"Of {plural(len(truth), 'test ' + thing)}, {judged.arm} gets {right:,} "
        f"right ({share(right / max(1, len(truth)))}) with the first seed.",
        "grid": grid(counts, task.labels),
        "pairs": {
            "header": ["true", "said", "rows"],
            "rows": confused,
            "texts": 2,
            "is_small": True,
        }
        if confused
        else None,
        "classes": classes(counts, task.labels)[:MOST_LISTED],
        "meaning": MEANING,
        "worst": _surest(judged, truth != said),
    }


def _of_labels(task: Task, judged: Judged, thing: str) -> dict[str, Any]:
    truth, said = (np.asarray(v, dtype=bool).reshape(-1, len(task.labels))
                   for v in (judged.truth, judged.said))  # fmt: skip
    wrong = (truth != said).any(axis=1)
    return {
        "lead": f"Of {plural(len(truth), 'test ' + thing)}, {judged.arm} gets all labels of "
        f"{int((~wrong).sum()):,} right with the first seed.",
        "classes": _scored(
            (truth & said).sum(axis=0), truth.sum(axis=0), said.sum(axis=0), task.labels
        )[:MOST_LISTED],
        "meaning": MEANING,
        "worst": _surest(judged, wrong),
    }


def _of_numbers(task: Task, judged: Judged, thing: str) -> dict[str, Any]:
    miss = np.abs(np.asarray(judged.truth, dtype=float) - np.asarray(judged.said, dtype=float))
    return {
        "lead": f"Half of the {plural(len(miss), 'test ' + thing)} are missed by less than "
        f"{np.median(miss):.3g}, one in ten by more than {np.quantile(miss, 0.9):.3g} "
        f"({judged.arm}, first seed).",
        "worst": np.argsort(-miss, kind="stable")[:MOST_ROWS].tolist(),
    }


def _of_tags(task: Task, judged: Judged, thing: str) -> dict[str, Any]:
    truth, said = (ragged([np.asarray(row) for row in v]) for v in (judged.truth, judged.said))
    types = types_of(task)
    tables = [counts_of(truth, said, kind=i + 1).sum(axis=0) for i in range(len(types))]
    table = np.array(tables).reshape(-1, 3)
    wrong = np.array([not np.array_equal(a, b) for a, b in zip(truth, said, strict=True)])
    right = int((~wrong).sum())
    hits, n_said, n_true = (int(n) for n in table.sum(axis=0))
    return {
        "lead": f"{judged.arm} finds {hits:,} of {n_true:,} entities in "
        f"{plural(len(truth), 'test ' + thing)} with their type and both ends, says "
        f"{n_said - hits:,} that are none, and has every word of {plural(right, 'row')} "
        "right (first seed). Below, green is right, red was said and is not so, dotted was missed.",
        "classes": _scored(table[:, 0], table[:, 2], table[:, 1], types)[:MOST_LISTED],
        "meaning": MEANING.replace("rows", "entities"),
        "worst": _surest(judged, wrong),
    }


_COUNTED = {
    Kind.TAGS: _of_tags,
    Kind.MULTICLASS: _of_classes,
    Kind.MULTILABEL: _of_labels,
    Kind.REGRESSION: _of_numbers,
}


def shown_names(task: Task, judged: Judged) -> list[str]:
    """Return the names of the rows that are shown, those where the model errs most."""
    return [judged.names[i] for i in _COUNTED[task.kind](task, judged, "row")["worst"]]


def _surest(judged: Judged, wrong: NDArray[np.bool_]) -> list[int]:
    """Return the wrong rows the model was surest of."""
    order = np.argsort(-np.asarray(judged.sure, dtype=float), kind="stable")
    return [int(i) for i in order if wrong[i]][:MOST_ROWS]


def _shown(task: Task, judged: Judged, i: int, rows: Mapping[str, Any]) -> dict[str, str]:
    """Return one row as it is shown: itself, what is true, what was said."""
    name = judged.names[i]
    row = rows.get(name)
    if row is None and Path(name).suffix.lower() in READABLE_SUFFIXES:
        row = Path(name)
    text = row if isinstance(row, str) else ""
    if task.kind is Kind.TAGS:
        return _shown_tags(task, judged, i, row if isinstance(row, Sentence) else None)
    return {
        "name": words.place(name),
        "truth": _in_words(task, judged.truth[i]),
        "said": _in_words(task, judged.said[i]),
        "sure": "" if task.kind is Kind.REGRESSION else f"{100 * judged.sure[i]:.0f}\u00a0%",
        "text": words.shorten(text, MOST_LETTERS),
        "plain": words.shorten(text, MOST_LETTERS),
        "picture": "" if row is None or isinstance(row, str) else thumbnail(row),
    }


def _shown_tags(task: Task, judged: Judged, i: int, row: Sentence | None) -> dict[str, str]:
    """Return a sentence as it is shown, with its entities marked."""
    truth, said, types = judged.truth[i], judged.said[i], types_of(task)
    return {
        "name": words.place(judged.names[i]),
        "truth": sentences.named(truth, types, row),
        "said": sentences.named(said, types, row),
        "sure": "",
        "text": "" if row is None else sentences.marked(row, truth, said, types),
        "plain": "" if row is None else sentences.plain(row, truth, said, types),
        "picture": "",
    }


def _in_words(task: Task, value: Any) -> str:
    """Say a target.

    >>> task = Task(Kind.MULTILABEL, ("ant", "bee", "cat"))
    >>> _in_words(task, (1, 0, 1)), _in_words(task, (0, 0, 0))
    ('ant, cat', 'no label')
    """
    if task.kind is Kind.REGRESSION:
        return words.minus(f"{float(value):.4g}")
    if task.kind is Kind.MULTICLASS:
        return task.labels[int(value)]
    return ", ".join(n for n, bit in zip(task.labels, value, strict=True) if bit) or "no label"


@dataclass(frozen=True)
class Pair:
    """How often rows of one class were said to be of another."""

    truth: str
    said: str
    n: int


def confusion(targets: ArrayLike, said: ArrayLike, k: int) -> NDArray[np.int64]:
    """Return how often class i was said to be class j, shape (k, k).

    >>> confusion([0, 0, 1], [0, 1, 1], 2)
    array([[1, 1],
           [0, 1]])
    """
    flat = np.asarray(targets, dtype=np.int64) * k + np.asarray(said, dtype=np.int64)
    return np.bincount(flat, minlength=k * k).reshape(k, k)


def pairs(counts: NDArray[np.int64], labels: Sequence[str], at_most: int = 6) -> list[Pair]:
    """Return the pairs most often confused, worst first.

    >>> pairs(np.array([[3, 1], [2, 5]]), ["ant", "bee"])
    [Pair(truth='bee', said='ant', n=2), Pair(truth='ant', said='bee', n=1)]
    """
    wrong = counts - np.diag(np.diag(counts))
    order = np.argsort(-wrong, axis=None, kind="stable")[:at_most]
    places = (np.unravel_index(at, wrong.shape) for at in order)
    return [Pair(labels[i], labels[j], int(wrong[i, j])) for i, j in places if wrong[i, j]]


def grid(counts: NDArray[np.int64], labels: Sequence[str]) -> dict[str, Any] | None:
    """Return the table of who is taken for whom; None for more classes than can be read."""
    if len(labels) > MOST_CLASSES:
        return None
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)  # of each true class
    heats = np.where(counts > 0, np.ceil(5 * shares), 0).astype(int)
    rows = [
        {
            "name": label,
            "cells": [
                {"n": int(n), "heat": int(heat), "right": i == j}
                for j, (n, heat) in enumerate(zip(counts[i], heats[i], strict=True))
            ],
        }
        for i, label in enumerate(labels)
    ]
    return {"names": list(labels), "rows": rows}


def classes(counts: NDArray[np.int64], labels: Sequence[str]) -> list[dict[str, Any]]:
    """Return recall, precision and F1 of each class, the worst first."""
    return _scored(np.diag(counts), counts.sum(axis=1), counts.sum(axis=0), labels)


def _scored(
    hits: NDArray[np.int64], true: NDArray[np.int64], said: NDArray[np.int64], labels: Sequence[str]
) -> list[dict[str, Any]]:
    recall, precision = hits / np.maximum(true, 1), hits / np.maximum(said, 1)
    f1 = 2 * hits / np.maximum(true + said, 1)
    return [
        {
            "name": labels[i],
            "n": int(true[i]),
            "recall": share(float(recall[i])),
            "precision": share(float(precision[i])) if said[i] else "—",
            "f1": f"{f1[i]:.2f}",
            "bar": bar(float(f1[i])),
        }
        for i in np.argsort(f1, kind="stable")
    ]


def bar(part: float) -> Markup:
    """Return a bar that is filled in part."""
    return element(
        "svg",
        element("rect", class_="all", width=100, height=6),
        element("rect", class_="part", width=100 * part, height=6),
        viewBox="0 0 100 6",
        class_="bar",
        preserveAspectRatio="none",
        aria_hidden="true",
    )


def thumbnail(row: Any) -> str:
    """Return a small picture as a `data:` address; empty where the row is no readable picture."""
    try:
        small = decode(row, at_least=(THUMBNAIL, THUMBNAIL))
    except (HeadstartError, OSError, ValueError, TypeError):
        return ""
    small.thumbnail((THUMBNAIL, THUMBNAIL))
    file = io.BytesIO()
    small.save(file, "JPEG", quality=80, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(file.getvalue()).decode()
