"""Bundle: trunk, head and preprocessing in one folder; saves, loads, predicts without torch."""

import dataclasses
import datetime
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.checks.finding import Finding
from headstart.checks.preprocessing import unlike_source
from headstart.checks.shift import Reference
from headstart.data.dataset import Dataset, Skipped
from headstart.data.ragged import ragged
from headstart.data.tags import types_of
from headstart.data.unlabelled import rows_of
from headstart.errors import (
    DataError,
    HeadstartError,
    IntegrityError,
    UnreadableRow,
    UsageError,
)
from headstart.features.compile import Boundaries, Graph, Seen, compiled, mark
from headstart.features.engine import Engine, engine_for, engine_of
from headstart.features.extract import forward
from headstart.features.features import Features
from headstart.heads.head import Head, decided, head_from
from headstart.heads.tags import spans
from headstart.io import (
    copy_file,
    read_json,
    read_safetensors,
    sealed_folder,
    sha256_file,
    verify_folder,
    write_json,
    write_safetensors,
    write_text,
)
from headstart.machine import n_threads, versions
from headstart.sources.preprocess import TextPreprocess, preprocess_hash
from headstart.sources.source import BUNDLE_FORMAT, Source, from_json, to_json
from headstart.store.store import open_store
from headstart.task import Kind, Modality, Task

#: The parts of a bundle's folder.
FACTS, HEAD, TRUNK, WEIGHTS, TOKENIZER, REFERENCE, CARD = (
    "bundle.json", "head.safetensors", "trunk.onnx", "trunk.safetensors", "tokenizer.json",
    "reference.safetensors", "README.md",
)  # fmt: skip

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
        boundaries, pooled = self._read_at
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
    def _read_at(self) -> tuple[Boundaries | None, bool]:
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
        names = np.asarray(self.task.labels)
        kind = self.facts.get("label_type", "str")
        if kind == "bool":
            return names == "True"
        return names if kind == "str" else names.astype(kind)

    def predictions(self, rows: Dataset, top: int = 3) -> list[dict[str, Any]]:
        """Return the records of `answers`."""
        return self.answers(rows, top).records

    def answers(self, rows: Dataset, top: int = 3) -> Answers:
        """Return a record a row, in order, and what should be known of the rows.

        Rows that the reader had to leave out come last: where they stood is not known. A row that
        is unlike any learned from is flagged: its record says "unlike".

        Parameters
        ----------
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
        left_out = [{"name": left.row, "error": left.reason} for left in rows.skipped]
        if rows.modality is Modality.TEXT and len(rows):
            said += unlike_source(rows, self.source.preprocess)
        return Answers(told + left_out, tuple(said))

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
        return {"prediction": str(said), "top": best, "outputs": outputs}

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
        data = rows if isinstance(rows, Dataset) else None
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
        path = Path(path)
        path.parent.mkdir(parents=True, exist_ok=True)
        with sealed_folder(path) as folder:
            graph = self._save_trunk(folder)
            arrays, head = self.head.state()
            write_safetensors(folder / HEAD, arrays, {})
            if self.reference is not None:
                write_safetensors(folder / REFERENCE, self.reference.state(), {})
            facts = {
                "format": BUNDLE_FORMAT,
                "source": self._card(folder),
                "preprocess": preprocess_hash(self.source.preprocess),
                "task": dataclasses.asdict(self.task),
                "head": head,
                "graph": None if graph is None else graph.facts(),
                "facts": self.facts,
                "versions": versions(),
                "threads": n_threads(),
                "created": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
            }
            write_json(folder / FACTS, facts)
            write_text(folder / CARD, model_card(self, facts))
        return path

    def _save_trunk(self, folder: Path) -> Graph | None:
        """Put the compiled trunk, and the weights if they moved, in the folder."""
        if self.source.modality is Modality.VECTOR:
            return None
        weights = Path(self.source.location.get("path", ""))
        if weights.suffix == ".safetensors":
            copy_file(weights, folder / WEIGHTS)
            self._check_copy(folder / WEIGHTS)
        if isinstance(self.source.preprocess, TextPreprocess):
            copy_file(Path(self.source.preprocess.tokenizer), folder / TOKENIZER)
        graph = self.graph
        if graph is None:
            with open_store() as store:
                boundaries, pooled = self._read_at
                graph = compiled(self.source, boundaries, pooled=pooled, store=store)
        if graph.is_faithful:
            copy_file(graph.path, folder / TRUNK)
            graph.check(folder / TRUNK)
        return graph

    def _check_copy(self, copy: Path) -> None:
        """Refuse weights that changed on disk since they were hashed: they are about to be sealed.

        Raises
        ------
        IntegrityError
            Where they did.
        """
        if sha256_file(copy) != self.source.weights_sha256:
            raise IntegrityError(
                f"{self.source.location['path']} is not as it was written; the model was not saved."
                "\nLoad the model again, or fit again: the weights are then read, or made, anew."
            )

    def _card(self, folder: Path) -> dict[str, Any]:
        """Return the source's card with the places its parts have in the folder."""
        card = to_json(self.source)
        if (folder / WEIGHTS).exists():
            card["location"] = {"path": WEIGHTS}
        if (folder / TOKENIZER).exists():
            card["preprocess"]["tokenizer"] = TOKENIZER
        return card


def load(path: str | Path) -> Bundle:
    """Read a saved bundle; every byte is checked first.

    Parameters
    ----------
    path
        The bundle's folder, or the run's folder it lies in.

    Raises
    ------
    IntegrityError
        Where a file is missing, changed, or not the bundle's; or another version wrote it.
    UsageError
        Where there is no bundle.
    """
    # Parts are opened when they are asked for, wherever the process then stands.
    folder = _folder_of(Path(path)).absolute()
    trunk = mark(folder / TRUNK)  # first: what is put there from here on is not what was checked
    hashes = verify_folder(folder)
    facts = read_json(folder / FACTS)
    if facts.get("format") != BUNDLE_FORMAT:
        raise IntegrityError(
            f"{folder} has format {facts.get('format')!r}, this Headstart reads {BUNDLE_FORMAT}.\n"
            "Load it with the version that wrote it: bundle.json names it under versions."
        )
    try:
        return _read(folder, facts, Seen(trunk, hashes.get(TRUNK, "")))
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        if isinstance(error, HeadstartError):
            raise
        raise IntegrityError(
            f"{folder / FACTS} is no description of a model: {type(error).__name__}: {error}.\n"
            "Save the model again, or restore the folder."
        ) from error


def _read(folder: Path, facts: dict[str, Any], trunk: Seen) -> Bundle:
    source = from_json(facts["source"], folder)
    if "path" in source.location and (folder / WEIGHTS).exists():
        source = dataclasses.replace(source, location={"path": str(folder / WEIGHTS)})
    _check_inside(folder, source)
    if preprocess_hash(source.preprocess) != facts["preprocess"]:
        raise IntegrityError(
            f"The preprocessing in {folder} is not the one the head learned with.\n"
            "Save the model again, or restore the folder."
        )
    return Bundle(source, _task(facts["task"]), _head(folder, facts), facts["facts"],
                  _graph(folder, facts, trunk), _reference(folder))  # fmt: skip


def _folder_of(path: Path) -> Path:
    for folder in (path, path / "model"):
        if (folder / FACTS).exists() or (folder / "manifest.json").exists():
            return folder
    raise UsageError(
        f"{path} holds no model.\nExpected the folder that `headstart fit` named under "
        "'model', or the run's folder above it."
    )


def _check_inside(folder: Path, source: Source) -> None:
    """Refuse a tokenizer that lies outside the folder, where no manifest covers it."""
    named = Path(getattr(source.preprocess, "tokenizer", folder))
    if not named.resolve().is_relative_to(folder.resolve()):
        raise IntegrityError(f"{folder / FACTS} names {named}, which is not in the folder.")


def _task(values: dict[str, Any]) -> Task:
    return Task(Kind(values["kind"]), tuple(values["labels"]), values["target"])


def _head(folder: Path, facts: dict[str, Any]) -> Head:
    arrays, _ = read_safetensors(folder / HEAD)
    return head_from(arrays, facts["head"])


def _reference(folder: Path) -> Reference | None:
    path = folder / REFERENCE
    return Reference.from_state(read_safetensors(path)[0]) if path.exists() else None


def _graph(folder: Path, facts: dict[str, Any], trunk: Seen) -> Graph | None:
    if facts["graph"] is None:
        return None
    return dataclasses.replace(Graph.of(facts["graph"], folder / TRUNK), seen=trunk)


def _all_read(features: Features) -> Features:
    """Return the features if every row could be read."""
    if features.skipped:
        first: Skipped = features.skipped[0]
        raise UnreadableRow(first.row, first.reason)
    return features


def model_card(bundle: Bundle, facts: dict[str, Any]) -> str:
    """Return the model's README: what it is, how good, how to use it."""
    source, task = bundle.source, bundle.task
    scores = bundle.facts.get("scores", {})
    lines = [
        "---",
        f"license: {source.license}",
        "library_name: headstart",
        f"tags: [transfer-learning, {source.modality}, {task.kind}]",
        "---",
        "# A model made by transfer",
        "",
        f"Starts from `{source.uri}`: {source.title or 'a pretrained model'}, trained on "
        f"{source.trained_on}, license {source.license}.",
        "",
        f"Predicts {_predicts(task)}.",
        "",
        "## Scores",
        "",
        *_score_rows(scores),
        "",
        "## Use",
        "",
        "```python",
        "import headstart as hs",
        "",
        'model = hs.load("PATH OF THIS FOLDER")',
        "model.predict([…])  # and model.predict_proba([…])",
        "```",
        "",
        f"Seed {bundle.facts.get('seed')}, {facts['threads']} threads, {facts['created']}, with "
        + ", ".join(f"{name} {version}" for name, version in facts["versions"].items())
        + ".",
        "",
    ]
    return "\n".join(lines)


def _predicts(task: Task) -> str:
    if task.kind is Kind.REGRESSION:
        return "a number"
    shown = ", ".join(task.labels[:20]) + (" …" if len(task.labels) > 20 else "")
    if task.kind is Kind.TAGS:
        return f"entities in texts, of {len(types_of(task))} types: {', '.join(types_of(task))}"
    count = "one of" if task.kind is Kind.MULTICLASS else "any of"
    return f"{count} {len(task.labels)}: {shown}"


def _score_rows(scores: dict[str, dict[str, float]]) -> Iterable[str]:
    if not scores:
        return ["None were measured."]
    return [
        f"- {part.replace('_', ' ')}: "
        + ", ".join(f"{name.replace('_', ' ')} {value:.4f}" for name, value in found.items())
        for part, found in scores.items()
    ]
