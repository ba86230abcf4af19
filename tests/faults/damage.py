"""R10 and R11: every kind of file we write is damaged; what is damaged is never used.

After a flipped bit, a cut, zeros, or a tail of garbage, whatever reads the file must either refuse
it (or count it as not there), or say what it said before: the bit did not matter. A third answer
is a silent error.
"""

import os
import random
import shutil
from collections import Counter
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headstart.errors import HeadstartError


@dataclass
class Damaged:
    """What came of damaging one kind of file."""

    what: str
    found: Counter = field(default_factory=Counter)
    wrong: list[str] = field(default_factory=list)

    @property
    def n(self):
        return sum(self.found.values()) + len(self.wrong)


# -- ways of damage -------------------------------------------------------------------------------


def flip(content, chance):
    """One bit."""
    at = chance.randrange(len(content) * 8)
    changed = bytearray(content)
    changed[at // 8] ^= 1 << at % 8
    return bytes(changed)


def truncate(content, chance):
    return content[: chance.randrange(len(content))]


def zero(content, chance):
    """A block of zeros, as a disk leaves them that lost power."""
    size = min(len(content), 4096)
    at = chance.randrange(max(1, len(content) - size + 1))
    return content[:at] + bytes(size) + content[at + size :]


def append(content, chance):
    return content + chance.randbytes(chance.randrange(1, 64))


FLIPS, CUTS = (flip,), (truncate, zero, append)


# -- kinds of files -------------------------------------------------------------------------------


@contextmanager
def home_at(folder):
    before = os.environ["HEADSTART_HOME"]
    os.environ["HEADSTART_HOME"] = str(folder)
    try:
        yield
    finally:
        os.environ["HEADSTART_HOME"] = before


class Model:
    """A saved model: weights, graph, facts, card, manifest."""

    def __init__(self, model):
        self.model = model

    def make(self, folder):
        shutil.copytree(self.model, folder / "model")

    def read(self, folder):
        from headstart.bundle.load import load

        bundle = load(folder / "model")
        return [layer.tobytes() for pair in bundle.head.layers for layer in pair]


class Shard:
    """Features, alike or ragged, which are computed again."""

    def __init__(self, ragged=False):
        self.ragged = ragged

    def make(self, folder):
        from headstart.features.cache import Block, FeatureCache

        rows = [np.full((1 + i % 3, 4), i, np.float32) for i in range(64)]
        block = Block.of(rows if self.ragged else np.stack([row[0] for row in rows]))
        with self._store(folder) as store:
            FeatureCache(store, folder / "features").add("key", block, HASHES)

    def read(self, folder):
        from headstart.features.cache import FeatureCache

        with self._store(folder) as store:
            cache = FeatureCache(store, folder / "features")
            found = cache.find("key", HASHES)
            if (found < 0).all():
                return None
            block = cache.open(int(found[:, 0].max()))
            return found[:, 1].tolist(), block.values.tobytes()

    def _store(self, folder):
        from headstart.store.store import open_store

        return open_store(f"sqlite:///{folder / 'store.sqlite'}")

    only = "features"


class Store(Shard):
    """The database: shards, graphs, outcomes; what is damaged there is as if it were not there."""

    def make(self, folder):
        super().make(folder)
        with self._store(folder) as store:
            store.put_graph("g", "g.onnx", "y" * 64, {"parity": 1e-6, "reason": ""})
            for i in range(20):
                store.put_outcome("study", f"job{i}", {"score": i / 7, "arm": "probe"})

    def read(self, folder):
        with self._store(folder) as store:
            outcomes, graph = store.outcomes("study"), store.get_graph("g")
        at, values = super().read(folder) or ([], None)
        return {
            **{f"outcome {name}": facts for name, facts in outcomes.items()},
            **({} if graph is None else {"graph": (graph.file, graph.sha256, graph.meta)}),
            # A row that is not found is computed again; one that is has to be where it was.
            **{f"row {i}": (place, values) for i, place in enumerate(at) if place >= 0},
        }

    only = "store.sqlite"


class Checkpoint:
    """What a run resumes from: the one before is taken."""

    def make(self, folder):
        from headstart.runs import Run

        with Run(folder / "run") as run:
            run.checkpoint("train", {"w": np.arange(64, dtype=np.float32)}, {"step": 7})

    def read(self, folder):
        from headstart.runs import Run

        with Run(folder / "run") as run:
            found = run.latest("train")
        return None if found is None else (found[0]["w"].tobytes(), found[1])

    only = "run/checkpoints"


class Moved:
    """Weights that a fit moved, until the model is saved."""

    def make(self, folder):
        from headstart.io import write_safetensors
        from headstart.sources.files import _name_of

        arrays = {"w": np.arange(64, dtype=np.float32)}
        write_safetensors(folder / f"{_name_of(arrays)}.safetensors", arrays)

    def read(self, folder):
        from headstart.sources.files import is_kept_whole

        (path,) = folder.iterdir()
        return True if is_kept_whole(path) else None


class State:
    """Converted weights, made again from the original."""

    def make(self, folder):
        from headstart.sources.formats import pth

        pth._keep(folder / "w.state", {"a": np.arange(64, dtype=np.float32)})

    def read(self, folder):
        from headstart.io import is_whole

        return True if is_whole(folder / "w.state") else None


class Sealed:
    """What a ranking decided."""

    def make(self, folder):
        from headstart.io import write_sealed_json

        write_sealed_json(folder / "r.json", {"rounds": [[1, 2.5, None]], "facts": {"a": "é"}})

    def read(self, folder):
        from headstart.io import read_sealed_json

        return read_sealed_json(folder / "r.json")


class Evidence:
    """What a proof found."""

    def make(self, folder):
        from headstart.evidence.saved import keep
        from tests.toy_study import toy_evidence

        keep(toy_evidence(), folder)

    def read(self, folder):
        from headstart.evidence.saved import kept

        return kept(folder).to_json()


class Graph:
    """A compiled trunk: another one is made."""

    def make(self, folder):
        from headstart.io import sha256_bytes, write_bytes

        content = random.Random(0).randbytes(4000)
        write_bytes(folder / "graphs" / "k.onnx", content)
        facts = {"key": "k", "boundaries": [1], "n_stages": 1, "outputs": ["x"], "shapes": [[3]],
                 "parity": 0.0, "reason": "", "versions": {}}  # fmt: skip
        with Shard()._store(folder) as store:
            store.put_graph("k", "k.onnx", sha256_bytes(content), facts)

    def read(self, folder):
        from headstart.features.compile import _known

        with Shard()._store(folder) as store, home_at(folder):
            found = _known("k", store)
        return None if found is None else found.facts()

    only = "graphs"


class Outcome:
    """What a fit said of the test rows: it is fitted again."""

    def make(self, folder):
        from headstart.io import write_safetensors

        write_safetensors(folder / "job.safetensors", {"outputs": np.ones((30, 3), np.float32)})
        self.sha256 = _sha256(folder / "job.safetensors")

    def read(self, folder):
        from types import SimpleNamespace

        from headstart.evidence.worker import Worker

        worker = Worker(SimpleNamespace(), folder)
        facts = {"error": "", "facts": {"job": "job"}, "outputs": self.sha256}
        return True if worker.is_whole(facts) else None


def _sha256(path):
    from headstart.io import sha256_file

    return sha256_file(path)


HASHES = np.array([bytes([i]) * 16 for i in range(64)], dtype="V16")


def kinds(model):
    """Every kind of file, by name."""
    return {
        "model": Model(model), "features": Shard(), "ragged features": Shard(ragged=True),
        "store": Store(), "checkpoint": Checkpoint(), "moved weights": Moved(),
        "converted weights": State(), "ranking": Sealed(), "evidence": Evidence(),
        "compiled trunk": Graph(), "outcome": Outcome(),
    }  # fmt: skip


# -- damage ---------------------------------------------------------------------------------------


def damaged(name, kind, ways, n, folder):
    """Damage a kind of file so often; count what its reader made of it."""
    chance, tally = random.Random(f"{name} {ways}"), Damaged(name)
    start = folder / "start"
    start.mkdir(parents=True)
    kind.make(start)
    expected = kind.read(_copied(start, folder / "whole"))
    for i in range(n):
        here = _copied(start, folder / "here")
        path, way = _harm(here, getattr(kind, "only", "."), ways[i % len(ways)], chance)
        answer = _answer(kind, here, expected)
        if answer:
            tally.found[answer] += 1
        else:
            tally.wrong.append(f"{path} {way.__name__}: another answer")
        shutil.rmtree(here)
    return tally


def _copied(start, folder):
    return Path(shutil.copytree(start, folder))


def _harm(folder, only, way, chance):
    from headstart.features import cache

    cache._checked.clear()
    base = folder / only
    files = [base] if base.is_file() else sorted(p for p in base.rglob("*") if p.is_file())
    path = chance.choices(files, [max(1, p.stat().st_size) for p in files])[0]
    if len(files) > 1 and chance.random() < 0.5:
        path = chance.choice(files)  # small files too
    path.write_bytes(way(path.read_bytes(), chance))
    return path.relative_to(folder), way


def _answer(kind, folder, expected):
    """ "refused", "made again" or "the same"; "" for a silent error."""
    try:
        found = kind.read(folder)
    except HeadstartError as error:
        return "refused" if error.exit_code == 4 else ""
    if found == expected:
        return "the same"
    if found is None:
        return "made again"
    if isinstance(found, dict) and isinstance(expected, dict):  # a store that lost some facts
        is_less = all(expected.get(name) == value for name, value in found.items())
        return "made again" if is_less else ""
    return ""
