"""Is the verdict right? Studies whose answer is known, and many whose answer is measured.

A *case* is a source, a pool of labelled rows, a few test rows that the study reads (`near`), and
others that it never sees (`far`). `prove` gets the pool and the near rows, few seeds and little
time. The truth is what the same arms do on the far rows with many seeds that the study had not:
the long run. Asked of every case: is what shipped wholly below the best control in the long run?
Asked of those whose answer is known beforehand: is that the verdict?

    python -m bench.study_proof [CASE …]     some of the cases, printed as JSON

`HEADSTART_BENCH_HOME` names a folder to keep every fit in, so that a killed study goes on.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.cases import smaller
from bench.measure import Row, Skip, Study, data_folder, own_home

SEEDS = 3
LONG_SEEDS = 6
#: Of the long run; those of the study are smaller.
FIRST_LONG_SEED = 1_000
#: Pixels a side at which networks for large pictures read most cases: a twelfth of the work.
PIXELS = 64
#: Pixels of the shorter side of the pictures themselves.
STORED = 96
MOST_FAR = 400

POSITIVE, NEGATIVE, NOT_POSITIVE, ANY = "positive", "negative", "not positive", ""


@dataclass(frozen=True, eq=False)
class Rows:
    """Rows to learn from, test rows of the study, and test rows of the long run (or none)."""

    pool: Any
    near: Any
    far: Any = None


@dataclass(frozen=True)
class Case:
    """One source on one data set.

    Parameters
    ----------
    source
        Makes the URI in a folder.
    rows
        Makes the rows.
    answer
        What the verdict is known to be; empty where it is not known.
    budget_s
        Of the study.
    finetune
        What may move.
    """

    source: Callable[[Path], str]
    rows: Callable[[], Rows]
    answer: str = ANY
    budget_s: float = 120.0
    finetune: str = "auto"


def study(repeats: int) -> Study:
    """Prove every case, then look at the long run; the repeats are the seeds within."""
    del repeats
    found: dict[str, dict[str, Any]] = {}
    with home():
        for name, case in CASES.items():
            try:
                found[name] = _told(name, case)
            except Skip as reason:
                print(f"left out: {reason}")
    known = {name: one for name, one in found.items() if one["answer"]}
    long = {name: one for name, one in found.items() if one["long"]}
    worse = [name for name, one in long.items() if one["long"]["shipped"][2] < 0]
    wrong = [name for name, one in long.items() if one["is_wrong"]]
    return Study(
        f"Verdicts of {SEEDS} seeds beside the long run of {LONG_SEEDS} others.",
        (
            Row("cases", (float(len(found)),), at_least=12),
            Row("known answers", (float(len(known)),)),
            Row("known answers that were given", (float(sum(map(_is_given, known.values()))),),
                at_least=len(known)),
            Row("shipped wholly below the best control in the long run", (float(len(worse)),),
                at_most=0),
            Row("verdicts that the long run contradicts", (float(len(wrong)),), at_most=0),
            *(Row(f"{name}: shipped − best control", (one["long"]["shipped"][1],))
              for name, one in long.items()),
        ),
        (
            "study: pool and near test rows; long run: the same pool, other test rows, other seeds",
            "“contradicts”: a verdict of one sign where the long-run interval has the other",
            *(_said(name, one) for name, one in found.items()),
        ),
        facts=found,
    )  # fmt: skip


def _is_given(one: Mapping[str, Any]) -> bool:
    """Say whether the verdict is the known answer; a positive one must tell the labels saved."""
    if one["answer"] == NOT_POSITIVE:
        return bool(one["word"] != POSITIVE)
    return one["word"] == one["answer"] and (one["answer"] != POSITIVE or bool(one["labels"]))


def _said(name: str, one: Mapping[str, Any]) -> str:
    known = f", known: {one['answer']}" if one["answer"] else ""
    said = f"{name}: {one['said']} ({one['transfer']} against {one['control']}{known})"
    if one["labels"]:
        said += f"; labels saved: {one['labels']}"
    if not one["long"]:
        return said
    low, mid, high = one["long"]["verdict"]
    a, b, c = one["long"]["shipped"]
    return (
        f"{said}. Long run: {mid:+.3f} [{low:+.3f}, {high:+.3f}]; shipped {one['shipped']} − best "
        f"control {one['long']['best']}: {b:+.3f} [{a:+.3f}, {c:+.3f}]"
    )


@contextlib.contextmanager
def home() -> Iterator[None]:
    """Work in an empty home, or in the one that is kept."""
    if kept := os.environ.get("HEADSTART_BENCH_HOME"):
        os.environ["HEADSTART_HOME"] = kept
        yield
        return
    with own_home():
        yield


def _told(name: str, case: Case) -> dict[str, Any]:
    """Return what the study said of a case, and the long run."""
    from headstart.evidence.prove import prove
    from headstart.machine import home as headstart_home
    from headstart.transfer.transfer import Transfer

    folder = headstart_home() / "bench-sources"
    folder.mkdir(parents=True, exist_ok=True)
    model, rows = Transfer(case.source(folder), finetune=case.finetune), case.rows()
    found = prove(
        model, together(rows.pool, rows.near), seeds=SEEDS, budget_s=case.budget_s, remedies_s=0
    )
    verdict = found.verdict
    labels = next(gain for gain in found.gains if gain.name == "labels saved")
    told: dict[str, Any] = {
        "answer": case.answer,
        "word": verdict.word,
        "said": str(verdict),
        "transfer": verdict.transfer,
        "control": verdict.control,
        "shipped": verdict.shipped,
        "labels": labels.note if labels.interval is not None else "",
        "test": {arm.name: arm.test_scores for arm in found.arms},
        "plan": found.plan,
        "seconds": found.seconds,
        "long": {},
        "is_wrong": False,
    }
    if rows.far is not None:
        told["long"] = long_run(model, rows, found)
        low, _, high = told["long"]["verdict"]
        sign = {POSITIVE: high <= 0, NEGATIVE: low >= 0}
        told["is_wrong"] = sign.get(verdict.word, False)
    print(_said(name, told), flush=True)
    return told


def together(pool: Any, test: Any) -> Any:
    """Return the pool without a split of its own, and the test rows, as one data set."""
    rows = [*pool.rows, *test.rows]
    return dataclasses.replace(
        pool,
        rows=tuple(rows),
        targets=np.concatenate([pool.targets, test.targets]),
        names=None,
        split=np.array(["train"] * len(pool) + ["test"] * len(test)),
    )


# The long run ------------------------------------------------------------------------------------


def long_run(model: Any, rows: Rows, found: Any) -> dict[str, Any]:
    """Return intervals of verdict and shipped arm over new seeds and the far test rows."""
    from headstart.evidence.arms import roster
    from headstart.evidence.evidence import Outcome
    from headstart.evidence.judge import Bench
    from headstart.evidence.study import prepare
    from headstart.evidence.worker import Job, Worker
    from headstart.jobs import run
    from headstart.store.store import open_store

    truth = prepare(model, together(rows.pool, rows.far), LONG_SEEDS)
    worker = Worker.of(truth)
    wanted = {found.verdict.transfer, found.verdict.shipped}
    arms = [a for a in roster(model, truth.pool) if a.role == "control" or a.name in wanted]
    arms = [a.with_phase(_recipe(found)) if a.name == "scratch" else a for a in arms]
    said: dict[str, dict[int, Any]] = {}
    with open_store() as store:
        for arm in arms:
            jobs = [Job(arm, FIRST_LONG_SEED + seed) for seed in range(LONG_SEEDS)]
            kept = run({job.key: job for job in jobs}, worker, study=truth.key, store=store,
                       is_whole=worker.is_whole)  # fmt: skip
            outcomes = [Outcome.from_json(facts) for facts in kept.values()]
            said[arm.name] = {
                one.seed: (worker.tested(one), one.thresholds) for one in outcomes if not one.error
            }
        labels, _ = truth.sealed.open(store, "long run")
    bench = Bench(truth.task, truth.score, labels, np.asarray(truth.pool.targets))
    means = {
        name: float(np.mean([bench.score_of(one) for one in fits.values()]))
        for name, fits in said.items() if fits
    }  # fmt: skip
    best = max((a.name for a in arms if a.role == "control"), key=lambda n: means.get(n, -np.inf))
    verdict = found.verdict
    return {
        "verdict": _gain(bench, said[verdict.transfer], said[verdict.control]),
        "shipped": _gain(bench, said[verdict.shipped], said[best]),
        "best": best,
        "scores": means,
        "rows": len(rows.far),
    }


def _recipe(found: Any) -> Any:
    """Return how scratch learned in the study: the rate its pilot chose, and as long."""
    from headstart.steps.phase import SCRATCH

    losses = {float(rate): loss for rate, loss in found.plan["pilot"].items() if loss is not None}
    rate = min(losses, key=lambda rate: losses[rate]) if losses else SCRATCH.rate
    return dataclasses.replace(SCRATCH, rate=rate, epochs=found.plan["epochs"])


def _gain(bench: Any, ours: dict[int, Any], theirs: dict[int, Any]) -> tuple[float, ...]:
    shared = [seed for seed in sorted(ours) if seed in theirs]
    gain = bench.gain([ours[s] for s in shared], [theirs[s] for s in shared]).interval()
    return tuple(gain)


# Sources -----------------------------------------------------------------------------------------


def _shelf(name: str, pixels: int | None = None) -> Callable[[Path], str]:
    """Return a source of the shelf, or its network reading smaller pictures."""
    if pixels is None:
        return lambda _: f"pkg:{name}"
    return partial(smaller, name, pixels)


def _random(folder: Path) -> str:
    """Write a network of random weights, and a card that offers it as any other source."""
    from safetensors.numpy import save_file

    from headstart.sources.catalog import open_backbone, resolve

    weights = folder / "random.safetensors"
    if not weights.exists():
        backbone = open_backbone(resolve("scratch:pkg:efficientnet-lite0", seed=7))
        save_file({k: np.array(v.detach()) for k, v in backbone.weights().items()}, weights)
    card = folder / "random.toml"
    card.write_text(
        f'title = "EfficientNet-Lite0 of random weights"\nmodality = "image"\n'
        f'format = "safetensors"\ntrained_on = "nothing"\n'
        f'weights_sha256 = "{hashlib.sha256(weights.read_bytes()).hexdigest()}"\n'
        f'[location]\npath = "random.safetensors"\n'
        f'[architecture]\nlibrary = "timm"\nname = "tf_efficientnet_lite0"\n'
        f"[preprocess]\nheight = {PIXELS}\nwidth = {PIXELS}\n",
        encoding="utf-8",
    )
    return f"file:{card}"


# Rows --------------------------------------------------------------------------------------------


def _parted(read: Callable[[], Any], n_pool: int, n_near: int) -> Rows:
    """Draw pool, near and far rows at random; the same ones always."""
    data = read()
    order = np.random.default_rng(0).permutation(len(data))
    ends = (n_pool, n_pool + n_near, n_pool + n_near + MOST_FAR)
    return Rows(*(_at(data, order[a:b]) for a, b in zip((0, *ends[:2]), ends, strict=True)))


def _at(data: Any, at: NDArray[np.int64]) -> Any:
    return dataclasses.replace(data.take(np.sort(at)), split=None)


def _hymenoptera_whole() -> Rows:
    from headstart.data.readers import read

    root = data_folder("hymenoptera")
    return Rows(read(str(root / "train")), read(str(root / "val")))


def _hymenoptera() -> Any:
    from headstart.data.readers import read

    return _shrunk(read(str(data_folder("hymenoptera"))))


def _pacs(domain: str) -> Any:
    from headstart.data.readers import read

    return _shrunk(read(str(data_folder("pacs") / domain)))


def _shrunk(data: Any) -> Any:
    """Return small pictures: a training of many passes need not decode large ones."""
    from headstart.data.pictures import decode

    rows = []
    for row in data.rows:
        picture = decode(row)
        scale = STORED / min(picture.size)
        rows.append(np.asarray(picture.resize([round(side * scale) for side in picture.size])))
    return dataclasses.replace(data, rows=tuple(rows))


def _digits() -> Any:
    from sklearn.datasets import load_digits

    from headstart.data.dataset import from_arrays

    bunch = load_digits()
    pixels = np.repeat((bunch.images * 15.9).astype(np.uint8)[..., None], 3, axis=3)  # (n, 8, 8, 3)
    return from_arrays(list(pixels), bunch.target.astype(str))


def _banking(n_intents: int = 10) -> Any:
    from headstart.data.readers import read

    data = read(str(data_folder("banking77") / "train.csv"), text="text", label="category")
    some = data.take(data.targets < n_intents)
    return dataclasses.replace(
        some, task=dataclasses.replace(some.task, labels=some.task.labels[:n_intents])
    )


def _names(language: str) -> Any:
    from headstart.cli.demo import names
    from headstart.data.readers import read

    return read(names(language))


def _emoji() -> Any:
    from headstart.cli.demo import pictures
    from headstart.data.readers import read
    from headstart.machine import home as headstart_home

    return _shrunk(read(str(pictures(headstart_home()))))


LITE0, OCR = "efficientnet-lite0", "ppocr-recognizer"
MINILM, E5 = "all-minilm-l6-v2", "multilingual-e5-small"

_insects = partial(_parted, _hymenoptera, 200, 80)
_drawn = {name: partial(_parted, partial(_pacs, name), 200, 120)
          for name in ("photo", "cartoon", "sketch")}  # fmt: skip
_numerals = partial(_parted, _digits, 600, 600)
_few_numerals = partial(_parted, _digits, 300, 150)
_intents = partial(_parted, _banking, 200, 150)
_english, _french = (partial(_parted, partial(_names, which), 250, 150) for which in ("en", "fr"))
_icons = partial(_parted, _emoji, 250, 120)

CASES = {
    "ants and bees, whole × Lite0": Case(
        _shelf(LITE0), _hymenoptera_whole, POSITIVE, budget_s=300.0
    ),
    "ants and bees × Lite0 at 64 px": Case(_shelf(LITE0, PIXELS), _insects),
    "ants and bees × random weights": Case(_random, _insects, NOT_POSITIVE),
    "ants and bees × OCR": Case(_shelf(OCR), _insects, NOT_POSITIVE),
    "PACS photo × Lite0 at 64 px": Case(_shelf(LITE0, PIXELS), _drawn["photo"]),
    "PACS photo × OCR": Case(_shelf(OCR), _drawn["photo"]),
    "PACS cartoon × Lite0 at 64 px": Case(_shelf(LITE0, PIXELS), _drawn["cartoon"]),
    "PACS sketch × Lite0 at 64 px": Case(_shelf(LITE0, PIXELS), _drawn["sketch"]),
    "digits × Lite0 at 64 px, frozen": Case(
        _shelf(LITE0, PIXELS), _numerals, NEGATIVE, finetune="no"
    ),
    "digits × Lite0 at 64 px": Case(_shelf(LITE0, PIXELS), _numerals, NEGATIVE),
    "300 digits × OCR": Case(_shelf(OCR), _few_numerals),
    "emoji × Lite0 at 64 px": Case(_shelf(LITE0, PIXELS), _icons),
    "English names × MiniLM": Case(_shelf(MINILM), _english),
    "French names × MiniLM": Case(_shelf(MINILM), _french),
    "French names × E5": Case(_shelf(E5), _french),
    "10 intents × MiniLM": Case(_shelf(MINILM), _intents),
}


def main() -> None:
    """Prove the named cases and print what was found as JSON."""
    with home():
        found = {name: _told(name, CASES[name]) for name in sys.argv[1:] or CASES}
    json.dump(found, sys.stdout, indent=1)


if __name__ == "__main__":
    main()
