"""Bundle: what ships. It predicts, and without torch."""

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from operator import itemgetter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.bundle.save import save
from headstart.checks.finding import Finding
from headstart.checks.preprocessing import unlike_source
from headstart.checks.shift import Reference
from headstart.data.dataset import Dataset, Skipped, in_order
from headstart.data.ragged import ragged
from headstart.data.tags import types_of
from headstart.data.targets import as_given
from headstart.data.unlabelled import rows_of
from headstart.errors import DataError, UnreadableRow
from headstart.features.compile import Boundaries, Graph
from headstart.features.engine import Engine, engine_for, engine_of
from headstart.features.extract import forward
from headstart.features.features import Features
from headstart.heads.head import Head, decided
from headstart.heads.tags import spans
from headstart.sources.source import Source
from headstart.task import Kind, Modality, Task

#: Sentences that are looked at together.
SENTENCES = 1024


@dataclass(frozen=True)
class Answers:
    """What a model says of rows, and what should be known of them.

    Parameters
    ----------
    records
        A record a row, in order; rows that cannot be read say why.
    findings
        Whether the rows, or some of them, are unlike those learned from.
    """

    records: list[dict[str, Any]]
    findings: tuple[Finding, ...] = ()


@dataclass(frozen=True, eq=False)
class Bundle:
    """What ships: a trunk, a head, and how rows become the trunk's input.

    Parameters
    ----------
    source
        The trunk's card; a fine-tuned trunk is a source of its own.
    task
        What is predicted.
    head
        The head.
    facts
        Scores, seed, plan, versions: what a person may ask about later; plain JSON values.
    graph
        The compiled trunk, where it came with the bundle.
    reference
        What it remembers of rows it learned from, to know unlike ones; None where they were few.
    """

    source: Source
    task: Task
    head: Head
    facts: dict[str, Any] = field(default_factory=dict)
    graph: Graph | None = None
    reference: Reference | None = None

    @cached_property
    def engine(self) -> Engine:
        """What runs the trunk here."""
        if self.graph is not None and self.graph.is_faithful:
            return engine_of(self.graph, self.source)
        boundaries, pooled = self.read_at
        return engine_for(self.source, boundaries, pooled)

    def __repr__(self) -> str:
        """Return what it is in a line."""
        return f"Bundle({self.source.uri!r}, {self.task.kind}, {type(self.head).__name__})"

    def __getstate__(self) -> dict[str, Any]:
        """Leave the engine here: it holds threads and open files, and is made again where used."""
        return {name: value for name, value in self.__dict__.items() if name != "engine"}

    @property
    def modality(self) -> Modality:
        """What a row is; a source of texts reads sentences, too."""
        return Modality.WORDS if self.task.kind is Kind.TAGS else self.source.modality

    @property
    def read_at(self) -> tuple[Boundaries | None, bool]:
        """Where the trunk is read, and whether it pools what it says there."""
        return self.head.reads, self.task.kind is not Kind.TAGS

    def features(self, rows: Any) -> Features:
        """Return what the trunk says of rows, as they were when the head learned; never cached."""
        return self._forward(self._dataset(rows))

    def _forward(self, data: Dataset) -> Features:
        return forward(self.source, data, boundaries=self.head.reads, engine=self.engine)

    def logits(self, rows: Any) -> NDArray[np.float32]:
        """Return what the head says of rows before it becomes probabilities; shape (n, k)."""
        return self._said(rows, self.head.logits)

    def outputs(self, rows: Any) -> NDArray[np.float32]:
        """Return probabilities (or numbers) of shape (n, k).

        Raises
        ------
        UnreadableRow
            Where a row cannot be read; `predictions` reports such rows instead.
        """
        return self._said(rows, self.head.outputs)

    def _said(
        self, rows: Any, ask: Callable[[NDArray[Any]], NDArray[np.float32]]
    ) -> NDArray[np.float32]:
        """Return what the head is asked of rows that can all be read; n may be 0."""
        parts = []
        for _, found in self._blocks(self._dataset(rows)):
            whole = _all_read(found)
            parts.append(ask(whole.array() if len(whole) else np.zeros((0, self._n_features))))
        return np.concatenate(parts)

    def _blocks(self, data: Dataset) -> Iterator[tuple[int, Features]]:
        """Yield features of all rows in order, and where they begin.

        Sentences come a block at a time: with a vector for each word of all of them, memory would
        be what bounds how many can be told something.
        """
        n = len(data)
        if self.task.kind is not Kind.TAGS or n <= SENTENCES:
            yield 0, self._forward(data)
            return
        named = dataclasses.replace(data, names=[data.name(i) for i in range(n)])
        for start in range(0, n, SENTENCES):
            yield start, self._forward(named.take(np.arange(start, min(start + SENTENCES, n))))

    @property
    def _n_features(self) -> int:
        return int(self.head.layers[0][0].shape[1])

    predict_proba = outputs

    def predict(self, rows: Any) -> NDArray[Any]:
        """Return the class name, the number, the 0/1 labels, or the words' tags of every row."""
        return self.decide(self.outputs(rows))

    def decide(self, outputs: NDArray[np.floating]) -> NDArray[Any]:
        """Return what is said for outputs of shape (n, k)."""
        said = decided(self.task.kind, outputs, self.head.thresholds)
        if self.task.kind is Kind.TAGS:
            return ragged([np.asarray(self.task.labels)[codes] for codes in said])
        return self._classes[said] if self.task.kind is Kind.MULTICLASS else said

    @property
    def _classes(self) -> NDArray[Any]:
        """The classes as they were given: texts, unless they came as numbers or truths."""
        return as_given(self.task.labels, self.facts.get("label_type", ""))

    def predictions(self, rows: Any, top: int = 3) -> list[dict[str, Any]]:
        """Return the records of `answers`."""
        return self.answers(rows, top).records

    def answers(self, rows: Any, top: int = 3) -> Answers:
        """Return a record a row, in order, and what should be known of the rows.

        Rows that the reader had to leave out are among them where they stood, or last where that
        is not known. A row that is unlike any learned from is flagged: its record says "unlike".

        Parameters
        ----------
        rows
            As of `predict`: a list, an array, a table, or a `Dataset`.
        top
            How many classes a record lists under "top".
        """
        rows = self._dataset(rows)
        records: dict[int, dict[str, Any]] = {}
        reasons: dict[str, str] = {}
        said: list[Finding] = []
        names = [rows.name(i) for i in range(len(rows))]
        for start, found in self._blocks(rows):
            at = start + found.kept
            outputs = self.head.outputs(found.array()) if len(found) else np.zeros((0, 1))
            for i, values in zip(at, outputs, strict=True):
                records[int(i)] = self._record(rows.rows[i], values, top)
            reasons |= {skipped.row: skipped.reason for skipped in found.skipped}
            if self.reference is not None and len(found):
                shift = self.reference.judge(found)
                for i in at[shift.unlike]:
                    records[int(i)]["unlike"] = True
                said += shift.findings([names[i] for i in at].__getitem__)
        told = [
            {"name": name} | records.get(i, {"error": reasons.get(name, "cannot be read")})
            for i, name in enumerate(names)
        ]
        if rows.modality is Modality.TEXT and len(rows):
            said += unlike_source(rows, self.source.preprocess)
        return Answers(_with_left_out(told, rows.skipped), tuple(said))

    def _record(self, row: Any, values: NDArray[np.floating], top: int) -> dict[str, Any]:
        if self.task.kind is Kind.TAGS:
            found = spans(row, values, types_of(self.task))
            said = ", ".join(f"{one['label']} {one['text']}" for one in found)
            return {"prediction": said, "text": row.text, "entities": found}
        said = self.decide(values[None])[0]
        if self.task.kind is Kind.REGRESSION:
            return {"prediction": float(said)}
        labels = self.task.labels
        order = np.argsort(-values, kind="stable")[:top]
        best = [{"label": labels[j], "score": float(values[j])} for j in order]
        outputs = {label: float(value) for label, value in zip(labels, values, strict=True)}
        if self.task.kind is Kind.MULTILABEL:
            chosen = [label for label, bit in zip(labels, said, strict=True) if bit]
            return {"prediction": ", ".join(chosen), "top": best, "outputs": outputs}
        return {"prediction": labels[int(values.argmax())], "top": best, "outputs": outputs}

    @property
    def columns(self) -> tuple[str, ...]:
        """The columns of a table it learned from, in order; empty where it was no table."""
        return tuple(self.facts.get("columns", ()))

    def _dataset(self, rows: Any) -> Dataset:
        if self.source.modality is Modality.VECTOR:
            return self._vectors(rows)
        return rows_of(rows, self.modality, self.columns)

    def _vectors(self, rows: Any) -> Dataset:
        """Return rows of finite numbers, as many in each as the head learned from.

        Raises
        ------
        DataError
            Where they are others.
        """
        data = in_order(rows, self.columns) if isinstance(rows, Dataset) else None
        given = rows if data is None else data.rows
        vectors = rows_of(given, Modality.VECTOR, self.columns)
        array = np.asarray(vectors.rows)
        if array.shape[1] != self._n_features:
            raise DataError(
                f"Rows of {array.shape[1]} numbers came, the model learned from "
                f"{self._n_features}.\n"
                "Give the same columns, in the same order, as in training."
            )
        return vectors if data is None else dataclasses.replace(data, rows=vectors.rows)

    def save(self, path: str | Path) -> Path:
        """Write the bundle as a folder whose every byte is in its manifest.

        An existing bundle at `path` is replaced, whole or not at all.
        """
        return save(self, path)


def _with_left_out(told: list[dict[str, Any]], skipped: Sequence[Skipped]) -> list[dict[str, Any]]:
    """Return the records, and one for each row that was left out, in the order of the rows."""
    placed = [((i, 1), record) for i, record in enumerate(told)]
    for row in skipped:
        before = len(told) if row.before is None else row.before
        placed.append(((before, 0), {"name": row.row, "error": row.reason}))
    return [record for _, record in sorted(placed, key=itemgetter(0))]


def _all_read(features: Features) -> Features:
    """Return the features if every row could be read."""
    if features.skipped:
        first: Skipped = features.skipped[0]
        raise UnreadableRow(first.row, first.reason)
    return features
