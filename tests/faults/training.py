"""R13, R14, R21: losses that break, memory that runs out, the same seed again."""

import contextlib
import hashlib
import os
import random
from dataclasses import dataclass, field
from unittest.mock import patch

import numpy as np
import torch

from headstart.data.dataset import Dataset
from headstart.errors import Diverged
from headstart.features.engine import OnnxEngine
from headstart.features.extract import extract
from headstart.features.features import Features
from headstart.losses.loss import Supervised
from headstart.progress import listen
from headstart.runs import Run
from headstart.sources.catalog import resolve
from headstart.steps.attach import Tail
from headstart.steps.batches import CachedRows, Examples
from headstart.steps.loop import descend
from headstart.steps.phase import Phase
from headstart.task import Kind, Modality, Task
from tests.listener import Notes
from tests.toys import toy_text_source

TASK = Task(Kind.MULTICLASS, ("low", "high"))
N_ROWS, BATCH, EPOCHS = 64, 8, 4
PHASE = Phase(epochs=EPOCHS, rate=0.02, batch=BATCH, patience=EPOCHS)


@dataclass
class Trained:
    """What came of disturbing a training."""

    what: str
    n: int = 0
    told: dict = field(default_factory=dict)
    wrong: list[str] = field(default_factory=list)

    def count(self, name):
        self.told[name] = self.told.get(name, 0) + 1


def examples(seed, rows=CachedRows):
    values = np.random.default_rng(seed).normal(size=(N_ROWS, 6)).astype(np.float32)
    targets = (values[:, 0] > 0).astype(np.int64)
    return Examples(rows([Features.of(values)]), targets, TASK)


def tail():
    torch.manual_seed(0)
    layers = [torch.nn.Linear(6, 16), torch.nn.ReLU(), torch.nn.Linear(16, 2)]
    return Tail(None, 0, torch.nn.Sequential(*layers))


def sha256(made):
    total = hashlib.sha256()
    for _, value in sorted(made.state_dict().items()):
        total.update(value.contiguous().numpy().tobytes())
    return total.hexdigest()


class Breaks(Supervised):
    """A loss that is not finite in some steps of the training."""

    def __init__(self, at, value):
        super().__init__(TASK.kind)
        self.__dict__.update(at=at, value=value, n=0, after=0)

    def __call__(self, step):
        loss = super().__call__(step)
        if not loss.requires_grad:
            return loss  # validation
        self.__dict__["n"] += 1
        is_broken = self.n in self.at
        self.__dict__["after"] = 0 if is_broken else self.after + 1
        return loss * self.value if is_broken else loss


def broken(n, seed=0):
    """Break the loss in one step, or from one on; it is found there, and no such model is left."""
    chance, found = random.Random(seed), Trained("losses that are not finite")
    for _ in range(n):
        first = chance.randrange(1, EPOCHS * N_ROWS // BATCH + 1)
        stays = chance.random() < 0.3
        at = set(range(first, first + 1000)) if stays else {first}
        term = Breaks(at, chance.choice([float("nan"), float("inf"), -float("inf")]))
        found.n += 1
        wrong = _lived_through(term, found, stays)
        found.wrong += [f"step {first}: {text}" for text in wrong]
    return found


def _lived_through(term, found, stays):
    """Train with a loss that breaks; return what is wrong with how it ended."""
    made = tail()
    try:
        descend(made, examples(0), examples(1), [(1.0, term)], PHASE)
    except Diverged as error:
        found.count("refused")
        said = str(error)
        return [
            *([] if stays else ["one broken step was not recovered from"]),
            *([] if "step" in said and "rows" in said else [f"it does not say where: {said}"]),
            *([f"it went on for {term.after} steps"] if term.after else []),
        ]
    found.count("rolled back, and ended")
    is_finite = all(torch.isfinite(value).all() for value in made.state_dict().values())
    return [
        *(["a loss that stays broken ended as if whole"] if stays else []),
        *([] if is_finite else ["weights that are not finite"]),
    ]


class Scarce(CachedRows):
    """Rows of which only `limit` fit into memory from some step on."""

    limit, after, n = N_ROWS, 0, 0
    error = MemoryError()

    def state(self, index, epoch):
        type(self).n += 1
        if type(self).n > self.after and len(index) > self.limit:
            raise self.error
        return super().state(index, epoch)


SHORTAGES = (
    MemoryError(),
    RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"),
    RuntimeError("CUDA out of memory."),
)


def scarce(n, seed=0):
    """Let memory run out at a random step; the loss curve stays within 1e-5."""
    chance, found = random.Random(seed), Trained("memory that runs out")
    terms = [(1.0, Supervised(TASK.kind))]
    whole = descend(tail(), examples(0), examples(1), terms, PHASE)
    for _ in range(n):
        Scarce.n, Scarce.after = 0, chance.randrange(EPOCHS * N_ROWS // BATCH)
        Scarce.limit, Scarce.error = chance.choice([1, 2, 3, 5, 7]), chance.choice(SHORTAGES)
        curve = descend(tail(), examples(0, Scarce), examples(1), terms, PHASE)
        found.n += 1
        worst = float(np.abs(np.subtract(curve.loss, whole.loss)).max())
        found.told["largest difference"] = max(worst, found.told.get("largest difference", 0.0))
        if len(curve.loss) != len(whole.loss) or worst > 1e-5:
            found.wrong.append(f"the curve is off by {worst:g}")
    return found


def starved(n, folder):
    """Let memory run out at random batches of an extraction; its files have the same bytes."""
    chance, found = random.Random(0), Trained("memory that runs out in an extraction")
    uri, run = toy_text_source(folder / "bert"), OnnxEngine.run
    whole = _extracted(uri, folder / "whole")
    for i in range(n):
        most, error = chance.choice([2, 3, 5, 9]), chance.choice(SHORTAGES)
        often = chance.random()

        def scarce(engine, inputs, most=most, error=error, often=often):
            if len(next(iter(inputs.values()))) > most and chance.random() < often:
                raise error
            return run(engine, inputs)

        with patch.object(OnnxEngine, "run", scarce):
            is_same = _extracted(uri, folder / f"scarce {i}") == whole
        found.n += 1
        if not is_same:
            found.wrong.append(f"other bytes with {most} rows at once")
    return found


def _extracted(uri, home):
    words = ("good", "film", "bad", "the", "cat", "red")
    rows = [" ".join(words[(i + j) % 6] for j in range(1 + i % 9)) + f" {i}" for i in range(70)]
    with patch.dict(os.environ, HEADSTART_HOME=str(home)):
        extract(resolve(uri), Dataset(Modality.TEXT, rows), boundary=2, pooled=False)
    files = (path for path in (home / "features").rglob("*") if path.is_file())
    return {path.name: path.read_bytes() for path in files}


def same(n, folder):
    """Train so often with one seed: one hash; going on with other threads says so."""
    found, terms = Trained("the same seed"), [(1.0, Supervised(TASK.kind))]
    hashes = set()
    for _ in range(n):
        made = tail()
        descend(made, examples(0), examples(1), terms, PHASE, seed=5)
        hashes.add(sha256(made))
        found.n += 1
    found.told["hashes"] = len(hashes)
    if len(hashes) != 1:
        found.wrong.append(f"{len(hashes)} hashes of one seed")
    said = _resumed_with_other_threads(folder)
    if not any("threads 2 → 1" in text for text in said):
        found.wrong.append(f"other threads were not told: {said}")
    return found


def _resumed_with_other_threads(folder):
    class Killed(BaseException):
        pass

    class Ends(Supervised):
        n = 0

        def __call__(self, step):
            type(self).n += 1
            if type(self).n == 40:
                raise Killed
            return super().__call__(step)

    notes, before = Notes(), os.environ.get("HEADSTART_THREADS")
    for term, threads in ((Ends(TASK.kind), "2"), (Supervised(TASK.kind), "1")):
        os.environ["HEADSTART_THREADS"] = threads
        with contextlib.suppress(Killed), Run(folder / "run") as run, listen(notes):
            descend(tail(), examples(0), examples(1), [(1.0, term)], PHASE, run=run)
    if before is None:
        del os.environ["HEADSTART_THREADS"]
    else:
        os.environ["HEADSTART_THREADS"] = before
    return notes.said
