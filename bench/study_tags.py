"""Entities in English and French sentences; names of emoji in two languages.

One encoder of a hundred languages learns entities from English sentences and is asked about French
ones (zero-shot); a few French ones are added; and what Hugging Face's `Trainer` makes of the same
rows. Every fit is a process of its own: `python -m bench.study_tags finetuned 0` runs one.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from bench.against import peer
from bench.measure import (
    Row,
    Skip,
    Study,
    data_folder,
    itself,
    own_home,
    ratios,
    scratch_folder,
    seconds_of,
)

SIZES = {
    "tiny": {"n": 200, "few": (50,), "n_tests": 100, "of_words": False},
    "full": {"few": (50, 200, 1000)},
}
SOURCE, ENGLISH_ONLY = "pkg:multilingual-e5-small", "pkg:all-minilm-l6-v2"
#: What step 5 moves: every layer, above the vectors of the pieces.
MOVED = "only:last:100%"


def study(
    repeats: int, n: int = 6000, few: Sequence[int] = (200,), n_tests: int = 3000,
    of_words: bool = True,
) -> Study:  # fmt: skip
    """Fit every arm with each seed; the test sentences are scored once a fit."""
    data_folder("wikineural")
    sizes = ("--n", n, "--tests", n_tests)
    frozen = [_run("frozen", seed, *sizes) for seed in range(repeats)]
    tuned = [_run("finetuned", seed, *sizes) for seed in range(repeats)]
    trainer = _trainer(repeats, n, n_tests)
    rows = [
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
        *_beside(trainer, tuned),
        *(row for m in few for row in _few(m, repeats, sizes)),
        *_names(repeats),
        *(_extraction(repeats, n) if of_words else ()),
    ]  # fmt: skip
    return Study(
        f"{n:,} English sentences, {n_tests:,} English and French to test on; {SOURCE}.",
        tuple(rows),
        (
            "entity F1 as seqeval counts it, on the tags as the files have them; fits are cold",
            "the epoch is chosen on held-out English sentences alone",
        ),
        {"frozen": _told(frozen), "finetuned": _told(tuned), "trainer": _told(trainer)},
    )


def _run(arm: str, seed: int, *more: object) -> dict[str, Any]:
    """Fit one arm in a process of its own, with a home of its own."""
    with scratch_folder() as home:
        env = {"HEADSTART_HOME": str(home)}
        found: dict[str, Any] = itself("study_tags", arm, str(seed), *map(str, more), env=env).json
    return found


def _f1(
    what: str, runs: Sequence[dict[str, Any]], language: str, kind: str = "f1", **target: float
) -> Row:
    """Return the mean over seeds, which is what is asked; each seed is in the facts."""
    values = [run[language][kind] for run in runs]
    spread = f" ({min(values):.3f} to {max(values):.3f})" if len(values) > 1 else ""
    return Row(f"{what}, F1, mean of {len(values)} seeds{spread}", (sum(values) / len(values),),
               **target)  # fmt: skip


def _seconds(runs: Sequence[dict[str, Any]], name: str) -> tuple[float, ...]:
    return tuple(run["seconds"][name] for run in runs)


def _told(runs: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return what is kept of runs: all but the counts of each sentence."""
    return [
        {
            name: {k: v for k, v in part.items() if k != "counts"}
            if isinstance(part, dict)
            else part
            for name, part in run.items()
        }
        for run in runs
    ]


# Against the Trainer -----------------------------------------------------------------------------


def _trainer(repeats: int, n: int, n_tests: int) -> list[dict[str, Any]]:
    """Run token classification as the documentation of transformers has it; [] without peers."""
    found = []
    with scratch_folder() as folder:
        try:
            itself("study_tags", "network", "0", "--out", folder)
            for seed in range(repeats):
                data = data_folder("wikineural")
                options = ("--seed", seed, "--network", folder, "--n", n, "--tests", n_tests)
                found.append(peer("trainer", data, *options))
        except Skip:
            return []
    return [
        {"en": _scored(one["en"]), "fr": _scored(one["fr"]), "seconds": {"fit": one["fit_seconds"]}}
        for one in found
    ]


def _scored(counts: list[list[int]]) -> dict[str, Any]:
    import numpy as np

    from headstart.metrics.entities import f1

    return {"f1": f1(np.array(counts)), "counts": counts}


def _beside(theirs: Sequence[dict[str, Any]], ours: Sequence[dict[str, Any]]) -> list[Row]:
    if not theirs:
        return []
    rows = [
        _f1("Trainer: English", theirs, "en"),
        _f1("Trainer: French, zero-shot", theirs, "fr"),
        ratios("the Trainer's seconds against ours", _seconds(theirs, "fit"),
               _seconds(ours, "fit"), at_least=1),
    ]  # fmt: skip
    for language, name in (("en", "English"), ("fr", "French")):
        low, mid, high = _gain(ours, theirs, language)
        rows.append(Row(f"{name}: ours − Trainer [{low:+.3f}, {high:+.3f}]", (mid,)))
        rows.append(Row(f"{name}: upper end of that interval", (high,), at_least=0.0))
    return rows


def _gain(
    ours: Sequence[dict[str, Any]], theirs: Sequence[dict[str, Any]], language: str
) -> tuple[float, float, float]:
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


def _few(m: int, repeats: int, sizes: Sequence[object]) -> list[Row]:
    """Return what the English sentences add to a few French ones."""
    alone = [_run("alone", seed, *sizes, "--few", m) for seed in range(repeats)]
    both = [_run("both", seed, *sizes, "--few", m) for seed in range(repeats)]
    low, mid, high = _gain(both, alone, "fr")
    target = {"at_least": 0.10} if m == 200 else {}
    return [
        _f1(f"{m} French alone: French", alone, "fr"),
        _f1(f"English + {m} French: French", both, "fr"),
        Row(f"what English adds to {m} French [{low:+.3f}, {high:+.3f}]", (mid,), **target),
        Row(f"lower end of that interval, {m} French", (low,),
            **({"at_least": 0.0} if m == 200 else {})),
    ]  # fmt: skip


# Names -------------------------------------------------------------------------------------------


def _names(repeats: int) -> list[Row]:
    """Classify French names of emoji by what was learned from English ones; nothing is random."""
    import numpy as np

    from headstart.metrics.crossed import crossed

    runs = {arm: _run(f"names:{arm}", 0)["right"] for arm in (SOURCE, ENGLISH_ONLY, "tf-idf")}
    right = {arm: np.array(values, dtype=float) for arm, values in runs.items()}
    rows = [
        Row(f"names, English to French, {arm}: accuracy", (float(values.mean()),))
        for arm, values in right.items()
    ]
    for arm in (ENGLISH_ONLY, "tf-idf"):
        gain = crossed((right[SOURCE] - right[arm])[:, None])
        what = f"names: {SOURCE} − {arm} [{gain.low:+.3f}, {gain.high:+.3f}], lower end"
        rows.append(Row(what, (gain.low,), at_least=0.0))
    return rows


# Extraction --------------------------------------------------------------------------------------


def _extraction(repeats: int, n: int) -> list[Row]:
    found = [itself("study_tags", "extraction", str(i), "--n", str(n)).json for i in range(repeats)]
    ours, eager = ([one[name] for one in found] for name in ("ours", "eager"))
    return [
        Row("sentences a second, words of the last layer", tuple(ours)),
        ratios("the same against transformers, eager, padded to the longest", ours, eager,
               at_least=2),
    ]  # fmt: skip


# One fit, in a process of its own ----------------------------------------------------------------


def _sentences(name: str, n: int | None = None, seed: int | None = None) -> Any:
    """Return the first sentences of a file, or some drawn by a seed."""
    import numpy as np

    import headstart as hs

    data = hs.read(data_folder("wikineural") / f"{name}.conll")
    at = np.arange(len(data)) if seed is None else np.random.default_rng(seed).permutation(
        len(data))  # fmt: skip
    return data.take(np.sort(at[:n]))


def _judged(model: Any, n_tests: int) -> dict[str, Any]:
    from headstart.metrics.chain import legal_paths
    from headstart.metrics.entities import counts, f1

    found = {}
    for language in ("en", "fr"):
        data = _sentences(f"{language}.test", n_tests)
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
    rows = _sentences("en.train", asked.n)
    if arm in ("alone", "both"):
        few = _sentences("fr.train", asked.few, asked.seed)
        rows = few if arm == "alone" else beside(few, rows)
    seconds = {"fit": seconds_of(lambda: model.fit(rows))}
    if arm == "frozen":
        seconds["again"] = seconds_of(lambda: model.fit(rows))
    return {**_judged(model, asked.tests), "seconds": seconds, "plan": model.plan_.lines(),
            "notes": list(model.plan_.notes)}  # fmt: skip


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


def _extract(asked: Any) -> dict[str, Any]:
    """Time our extraction with a compiled trunk, and transformers as its documentation runs it."""
    import numpy as np
    import torch

    from headstart.features.extract import extract
    from headstart.features.inputs import inputs_for
    from headstart.sources.catalog import resolve
    from headstart.sources.networks import network_of
    from headstart.task import Modality

    source, data = resolve(SOURCE), _sentences("en.train", min(asked.n, 3000))
    with own_home():
        extract(source, data.take(np.arange(16)))  # compiles
        ours = len(data) / seconds_of(lambda: extract(source, data, cache=False))
    network = network_of(source).eval()
    inputs = inputs_for(source.preprocess, Modality.WORDS)

    def eager() -> None:
        with torch.inference_mode():
            for start in range(0, len(data), 16):
                rows = [inputs.row(row) for row in data.rows[start : start + 16]]
                arrays = inputs.batch([window for row in rows for window in row.windows])
                network(**{name: torch.from_numpy(value) for name, value in arrays.items()})

    return {"ours": ours, "eager": len(data) / seconds_of(eager)}


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
    elif asked.arm == "extraction":
        found = _extract(asked)
    elif asked.arm == "network":
        found = _write_network(asked.out)
    else:
        found = _fit(asked.arm, asked)
    print(json.dumps(found | {"process_s": time.perf_counter() - start}))


if __name__ == "__main__":
    main(sys.argv[1:])
