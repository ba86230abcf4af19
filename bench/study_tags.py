"""Entities in English and French sentences; names of emoji in two languages.

One encoder of a hundred languages learns entities from English sentences and is asked about French
ones (zero-shot); a few French ones are added; and what Hugging Face's `Trainer` makes of the same
rows. Every fit is a process of its own: `python -m bench.study_tags finetuned 0` runs one. Where
an arm ran with fewer seeds than another, the two are compared on the seeds of both; the minutes
of each part are told with what was found.
"""

import json
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.against import PYTHON, peer
from bench.measure import (
    Row,
    Study,
    data_folder,
    itself,
    ratios,
    scratch_folder,
    seconds_of,
)
from headstart.transfer.plan import AUTO_OF_WORDS

#: French sentences that are added, and with how many of the seeds; None: with all.
FEW = ((200, None), (1000, 1))
SIZES = {
    "tiny": {"n": 200, "few": ((50, 1),), "n_tests": 100},
    "full": {"few": ((50, None), (200, None), (1000, None)), "trainers": 5},
}
SOURCE, ENGLISH_ONLY = "pkg:multilingual-e5-small", "pkg:all-minilm-l6-v2"
NAMES = (SOURCE, ENGLISH_ONLY, "tf-idf")
#: What step 5 moves: what it moves by itself, kept whatever validation says.
MOVED = f"only:{AUTO_OF_WORDS}"

#: What a process found, and the processes of an arm, a seed each, in the order of their seeds.
Run = dict[str, Any]
Runs = Mapping[str, Sequence[Run]]


def study(
    repeats: int, n: int = 6000, few: Sequence[tuple[int, int | None]] = FEW, n_tests: int = 3000,
    trainers: int = 1,
) -> Study:  # fmt: skip
    """Fit every arm with each seed; the test sentences are scored once a fit.

    Parameters
    ----------
    few
        How many French sentences, and with how many of the seeds.
    trainers
        With how many of the seeds the Trainer runs.
    """
    data_folder("wikineural")
    runs = _whole(repeats, trainers if PYTHON.exists() else 0, n, n_tests)
    for m, most in few:
        sizes = ("--n", n, "--tests", n_tests, "--few", m)
        for arm in ("alone", "both"):
            runs[f"{arm} {m}"] = [_run(arm, seed, *sizes) for seed in range(repeats)[:most]]
    runs |= {f"names {arm}": [_run(f"names:{arm}", 0)] for arm in NAMES}
    return Study(
        f"{n:,} English sentences, {n_tests:,} English and French to test on; {SOURCE}.",
        tuple(_rows(runs, [m for m, _ in few])),
        (
            "entity F1 as seqeval counts it, on the tags as the files have them; fits are cold",
            "the epoch is chosen on held-out English sentences alone",
            "intervals are over sentences and, where there are several, seeds",
            _minutes(runs),
            *(() if runs["trainer"] else ("without `.venv-peers` the Trainer was left out",)),
        ),
        {name: [_told(run) for run in of] for name, of in runs.items()},
    )


def _rows(runs: Runs, few: Sequence[int]) -> list[Row]:
    """Return what is asked of the processes that ran."""
    frozen, tuned = runs["frozen"], runs["finetuned"]
    return [
        _f1("frozen, chain: English", frozen, "en", at_least=0.80),
        _f1("frozen, chain: French, zero-shot", frozen, "fr", at_least=0.70),
        _f1("fine-tuned: English", tuned, "en", at_least=0.87),
        _f1("fine-tuned: French, zero-shot", tuned, "fr", at_least=0.77),
        _f1("fine-tuned: English, strict", tuned, "en", "strict"),
        Row("fine-tuned, seconds a seed", _seconds(tuned, "fit"), "s", at_most=360),
        ratios("frozen, cold, against fine-tuned, cold",
               _seconds(tuned, "fit"), _seconds(frozen, "fit"), at_least=4),
        ratios("frozen, features cached, against fine-tuned, cold",
               _seconds(tuned, "fit"), _seconds(frozen, "again"), at_least=10),
        *_beside(runs["trainer"], tuned),
        *(row for m in few for row in _few(m, runs)),
        *_names(runs),
    ]  # fmt: skip


def _whole(repeats: int, trainers: int, n: int, n_tests: int) -> dict[str, list[Run]]:
    """Run what learns from all English sentences; the arms of a seed next to each other."""
    sizes = ("--n", n, "--tests", n_tests)
    runs: dict[str, list[Run]] = {"frozen": [], "finetuned": [], "trainer": []}
    with scratch_folder() as network:
        if trainers:
            itself("study_tags", "network", "0", "--out", network)
        for seed in range(repeats):
            for arm in ("frozen", "finetuned"):
                runs[arm].append(_run(arm, seed, *sizes))
            if seed < trainers:
                runs["trainer"].append(_trainer(seed, network, *sizes))
    return runs


def _run(arm: str, seed: int, *more: object) -> Run:
    """Run one arm in a process of its own, with a home of its own."""
    with scratch_folder() as home:
        env = {"HEADSTART_HOME": str(home)}
        found: Run = itself("study_tags", arm, str(seed), *map(str, more), env=env).json
    return found


def _f1(
    what: str, runs: Sequence[Run], language: str, kind: str = "f1", **target: float
) -> Row:  # fmt: skip
    """Return the mean over seeds, which is what is asked; each seed is in the facts."""
    values = [run[language][kind] for run in runs]
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return Row(f"{what}, F1, mean of {_seeds(values)}{spread}", (sum(values) / len(values),),
               **target)  # fmt: skip


def _seeds(runs: Sequence[Any]) -> str:
    return f"{len(runs)} seed{'s' if len(runs) > 1 else ''}"


def _seconds(runs: Sequence[Run], name: str) -> tuple[float, ...]:
    return tuple(run["seconds"][name] for run in runs)


def _minutes(runs: Runs) -> str:
    """Say how long the processes of each arm took, in all."""
    each = {name: sum(run["process_s"] for run in of) / 60 for name, of in runs.items() if of}
    return "minutes: " + ", ".join(f"{name} {minutes:.1f}" for name, minutes in each.items())


def _told(run: Run) -> Run:
    """Return what is kept of a process: all but what it says of each row."""
    return {
        name: {k: v for k, v in part.items() if k != "counts"} if isinstance(part, dict) else part
        for name, part in run.items()
        if name != "right"
    }


# Against the Trainer -----------------------------------------------------------------------------


def _trainer(seed: int, network: Path, *sizes: object) -> Run:
    """Run token classification as the documentation of transformers has it."""
    data = data_folder("wikineural")
    found = peer("trainer", data, "--seed", seed, "--network", network, *sizes)
    return {
        "en": _scored(found["en"]),
        "fr": _scored(found["fr"]),
        "seconds": {"fit": found["fit_seconds"]},
        "process_s": found["seconds"],
    }


def _scored(counts: list[list[int]]) -> dict[str, Any]:
    import numpy as np

    from headstart.metrics.entities import f1

    return {"f1": f1(np.array(counts)), "counts": counts}


def _beside(theirs: Sequence[Run], ours: Sequence[Run]) -> list[Row]:
    """Compare with the Trainer on the seeds that it ran with."""
    if not theirs:
        return []
    same = ours[: len(theirs)]
    rows = [
        _f1("Trainer: English", theirs, "en"),
        _f1("Trainer: French, zero-shot", theirs, "fr"),
        ratios("the Trainer's seconds against ours", _seconds(theirs, "fit"),
               _seconds(same, "fit"), at_least=1),
    ]  # fmt: skip
    for language, name in (("en", "English"), ("fr", "French")):
        low, mid, high = _gain(same, theirs, language)
        what = f"{name}: ours − Trainer, {_seeds(same)} of each"
        rows.append(Row(f"{what} [{low:+.3f}, {high:+.3f}]", (mid,)))
        rows.append(Row(f"{name}: upper end of that interval", (high,), at_least=0.0))
    return rows


def _gain(ours: Sequence[Run], theirs: Sequence[Run], language: str) -> tuple[float, float, float]:
    """Return the mean gain in F1 with its interval, over sentences and seeds."""
    import numpy as np

    from headstart.metrics.crossed import jackknifed
    from headstart.metrics.entities import f1, f1_left_out

    pairs = [
        (np.array(a[language]["counts"]), np.array(b[language]["counts"]))
        for a, b in zip(ours, theirs, strict=True)
    ]
    whole = [f1(a) - f1(b) for a, b in pairs]
    without = np.stack([f1_left_out(a) - f1_left_out(b) for a, b in pairs], axis=1)
    found = jackknifed(whole, without).interval()
    return found.low, found.mid, found.high


def _few(m: int, runs: Runs) -> list[Row]:
    """Return what the English sentences add to a few French ones."""
    alone, both = runs[f"alone {m}"], runs[f"both {m}"]
    low, mid, high = _gain(both, alone, "fr")
    targets: dict[str, float] = {"mid": 0.10, "low": 0.0} if m == 200 else {}
    return [
        _f1(f"{m:,} French alone: French", alone, "fr"),
        _f1(f"English + {m:,} French: French", both, "fr"),
        Row(f"what English adds to {m:,} French [{low:+.3f}, {high:+.3f}]", (mid,),
            at_least=targets.get("mid")),
        Row(f"lower end of that interval, {m:,} French", (low,), at_least=targets.get("low")),
    ]  # fmt: skip


# Names -------------------------------------------------------------------------------------------


def _names(runs: Runs) -> list[Row]:
    """Classify French names of emoji by what was learned from English ones; nothing is random."""
    import numpy as np

    from headstart.metrics.crossed import crossed

    right = {arm: np.array(runs[f"names {arm}"][0]["right"], dtype=float) for arm in NAMES}
    rows = [
        Row(f"names, English to French, {arm}: accuracy", (float(values.mean()),))
        for arm, values in right.items()
    ]
    for arm in NAMES[1:]:
        gain = crossed((right[SOURCE] - right[arm])[:, None])
        what = f"names: {SOURCE} − {arm} [{gain.low:+.3f}, {gain.high:+.3f}], lower end"
        rows.append(Row(what, (gain.low,), at_least=0.0))
    return rows


# One fit, in a process of its own ----------------------------------------------------------------


def sentences(name: str, n: int | None = None, seed: int | None = None) -> Any:
    """Return the first sentences of a file, or some drawn by a seed."""
    import numpy as np

    import headstart as hs

    data = hs.read(data_folder("wikineural") / f"{name}.conll")
    at = np.arange(len(data)) if seed is None else np.random.default_rng(seed).permutation(
        len(data))  # fmt: skip
    return data.take(np.sort(at[:n]))


def _judged(model: Any, n_tests: int, languages: Sequence[str]) -> dict[str, Any]:
    from headstart.metrics.chain import legal_paths
    from headstart.metrics.entities import counts, f1

    found = {}
    for language in languages:
        data = sentences(f"{language}.test", n_tests)
        said = legal_paths(model.bundle_.outputs(data))
        table, strict = counts(data.targets, said), counts(data.targets, said, strict=True)
        found[language] = {"f1": f1(table), "strict": f1(strict), "counts": table.tolist()}
    return found


def _fit(arm: str, asked: Any) -> dict[str, Any]:
    import dataclasses

    import headstart as hs
    from headstart.data.also import beside
    from headstart.steps.phase import WORDS

    moved = {"frozen": "no", "finetuned": MOVED}.get(arm, MOVED.removeprefix("only:"))
    # A few rows are few steps: alone they may take more epochs, and validation may keep the probe.
    phase = dataclasses.replace(WORDS, epochs=10) if arm == "alone" else None
    model = hs.Transfer(SOURCE, finetune=moved, phase=phase, seed=asked.seed)
    rows = sentences("en.train", asked.n)
    if arm in ("alone", "both"):
        few = sentences("fr.train", asked.few, asked.seed)
        rows = few if arm == "alone" else beside(few, rows)
    seconds = {"fit": seconds_of(lambda: model.fit(rows))}
    if arm == "frozen":
        seconds["again"] = seconds_of(lambda: model.fit(rows))
    languages = ("fr",) if arm in ("alone", "both") else ("en", "fr")
    plan = {"plan": model.plan_.lines(), "notes": list(model.plan_.notes)}
    return {**_judged(model, asked.tests, languages), "seconds": seconds, **plan}


def _fit_names(arm: str) -> dict[str, Any]:
    import numpy as np

    import headstart as hs
    from headstart.data.also import with_tests

    folder = Path(hs.__file__).parent / "cli" / "demo_data"
    english, french = (hs.read(folder / f"names_{x}.csv") for x in ("en", "fr"))
    both = with_tests(_all_train(english), french)
    train, test = both.training(), both.only("test")
    if arm == "tf-idf":
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.pipeline import make_pipeline

        words = TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 4), sublinear_tf=True)
        model = make_pipeline(words, LogisticRegression(C=10, max_iter=1000))
        said = model.fit(list(train.rows), train.targets).predict(list(test.rows))
    else:
        fitted = hs.Transfer(arm, finetune="no").fit(train)
        said = fitted.bundle_.outputs(test).argmax(axis=1)
    return {"right": (np.asarray(said) == test.targets).astype(int).tolist()}


def _all_train(data: Any) -> Any:
    import dataclasses

    return dataclasses.replace(data, split=None)


def _write_network(folder: Path) -> dict[str, Any]:
    """Write the encoder as the hub keeps one, for a peer to read."""
    from headstart.sources.catalog import resolve
    from headstart.sources.networks import network_of

    source = resolve(SOURCE)
    network_of(source).save_pretrained(folder)
    tokenizer = Path(source.preprocess.tokenizer).read_bytes()
    (folder / "tokenizer.json").write_bytes(tokenizer)
    return {}


def main(arguments: Sequence[str]) -> None:
    """Do what one process does, and print what it found."""
    import argparse

    parser = argparse.ArgumentParser()
    parser.add_argument("arm")
    parser.add_argument("seed", type=int)
    parser.add_argument("--n", type=int, default=6000)
    parser.add_argument("--tests", type=int, default=3000)
    parser.add_argument("--few", type=int, default=200)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args(arguments)
    start = time.perf_counter()
    if asked.arm.startswith("names:"):
        found = _fit_names(asked.arm.removeprefix("names:"))
    elif asked.arm == "network":
        found = _write_network(asked.out)
    else:
        found = _fit(asked.arm, asked)
    print(json.dumps(found | {"process_s": time.perf_counter() - start}))


if __name__ == "__main__":
    main(sys.argv[1:])
