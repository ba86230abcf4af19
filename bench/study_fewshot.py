"""Few labelled texts: accuracy and time, from a row a class to all, beside what a user would pick.

A side is a process that reads `train.csv`, learns, and says what each row of `test.csv` is; the
same MiniLM for all that have a network. Ours are the default fit (step 5 where it pays) and the
frozen one, in an empty home each time: the export of the trunk is paid for again and again.
Run as `python -m bench.study_fewshot FOLDER FINETUNE SEED`, this file is our side.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import cases
from bench.against import peer
from bench.measure import Row, Study, alternate, itself, own_home, scratch_folder

SOURCE = "pkg:all-minilm-l6-v2"
#: Our side → what it is told of step 5.
OURS = {"ours": "auto", "ours, frozen": "no"}
#: Side → the peer's script.
PEERS = {
    "SetFit": "setfit_texts",
    "sentence-transformers + logistic regression": "sentence_lr",
    "Trainer": "trainer_texts",
    "TF-IDF + logistic regression": "tfidf_texts",
}
QUICKEST = ("sentence-transformers + logistic regression", "TF-IDF + logistic regression")
#: SetFit pairs every row with every row; with more rows it is told how much of that is enough.
ITERATIONS = {8: ("--iterations", 20), 16: ("--iterations", 20)}
CAPPED = ("--steps", 1000)
N_CAPPED = 64


@dataclass(frozen=True)
class Case:
    """Some rows a class of one data set, and who learns from them.

    Parameters
    ----------
    data
        "banking77" or "names".
    a_class
        Rows a class; None: all.
    peers
        The names of the peers.
    seeds
        How many draws of the rows; SetFit sees at most three, and one where its steps are capped.
    """

    data: str
    a_class: int | None
    peers: tuple[str, ...] = tuple(PEERS)
    seeds: int = 5

    @property
    def is_capped(self) -> bool:
        """Whether SetFit's own number of steps would take hours."""
        return self.a_class is None or self.a_class >= N_CAPPED

    def __str__(self) -> str:
        return f"{self.data}, {'all rows' if self.a_class is None else f'{self.a_class} a class'}"


FULL = (
    *(Case("banking77", n) for n in (1, 4, 8, 16, 64, None)),
    *(Case("names", n) for n in (1, 4, 8, 16, None)),
)
SIZES = {
    "tiny": {"asked": (Case("names", 1, ("TF-IDF + logistic regression",), 1),)},
    "quick": {"asked": (Case("names", 4, seeds=3), Case("banking77", 8, QUICKEST, 3))},
    "full": {},
}


def study(repeats: int, asked: Sequence[Case] = FULL) -> Study:
    """Run every case; the seeds are its repeats."""
    del repeats
    rows: list[Row] = []
    facts = {}
    for case in asked:
        with scratch_folder() as folder:
            found = _run(case, folder)
        facts[str(case)] = found
        rows += _told(case, found)
    return Study(
        f"Few labelled texts, {SOURCE}, process start to exit.",
        tuple(rows),
        (
            "upper end: of the interval of (ours − theirs) over seeds and test rows crossed; not "
            "below 0 is not worse",
            "the times are to beat tenfold where the frozen fit is not worse, else twofold by the "
            "default fit",
            f"SetFit: its defaults up to 4 a class, num_iterations=20 at 8 and 16 with three "
            f"seeds, from {N_CAPPED} a class one seed and {CAPPED[1]} steps",
        ),
        facts,
    )


def _run(case: Case, folder: Path) -> dict[str, list[dict[str, Any]]]:
    """Run all sides in turn on each draw of the rows."""
    found: dict[str, list[dict[str, Any]]] = {}
    for seed in range(case.seeds):
        data = cases.texts(case.data, folder / str(seed), case.a_class, seed=seed)
        sides = _sides(case, data, seed)
        once = alternate(sides if seed % 2 == 0 else dict(reversed(sides.items())), 1)
        for name, runs in once.items():
            found.setdefault(name, []).extend(runs)
    return found


def _sides(case: Case, data: Path, seed: int) -> dict[str, Callable[[], dict[str, Any]]]:
    sides: dict[str, Callable[[], dict[str, Any]]] = {
        name: lambda how=how: _ours(data, how, seed) for name, how in OURS.items()
    }
    for name in case.peers:
        more = _setfit(case) if name == "SetFit" else ()
        if name == "SetFit" and seed >= (1 if case.is_capped else 3):
            continue
        sides[name] = lambda name=name, more=more: peer(PEERS[name], data, *more, "--seed", seed)
    return sides


def _setfit(case: Case) -> tuple[object, ...]:
    return CAPPED if case.is_capped else ITERATIONS.get(case.a_class or 0, ())


def _ours(data: Path, finetune: str, seed: int) -> dict[str, Any]:
    done = itself("study_fewshot", data, finetune, str(seed))
    return {**done.json, "seconds": done.seconds}


# What came of it ---------------------------------------------------------------------------------


def _told(case: Case, found: Mapping[str, list[dict[str, Any]]]) -> list[Row]:
    rows = []
    for name, runs in found.items():
        accuracies = tuple(float(np.mean(run["right"])) for run in runs)
        rows.append(Row(f"{case}: {name}, accuracy", accuracies))
        rows.append(Row(f"{case}: {name}", tuple(run["seconds"] for run in runs), "s"))
    for name in case.peers:
        if name in found:
            rows += _against(case, name, found)
    return rows


def _against(case: Case, name: str, found: Mapping[str, list[dict[str, Any]]]) -> list[Row]:
    theirs = found[name]
    ends = {ours: upper_end(found[ours], theirs) for ours in OURS}
    matches = ends["ours, frozen"] >= 0
    side, least = ("ours, frozen", 10.0) if matches else ("ours", 2.0)
    pairs = zip(theirs, found[side], strict=False)
    times = tuple(a["seconds"] / b["seconds"] for a, b in pairs)
    target = {"at_least": least} if name == "SetFit" else {}
    return [
        Row(f"{case}: upper end of ours − {name}", (ends["ours"],), at_least=0),
        Row(f"{case}: upper end of ours, frozen − {name}", (ends["ours, frozen"],)),
        Row(f"{case}: time of {name} / {side}", times, "×", **target),
    ]


def upper_end(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> float:
    """Return the upper end of the interval of ours − theirs, on the seeds that both saw.

    >>> never, always = [{"right": [0] * 50}] * 2, [{"right": [1] * 50}] * 2
    >>> upper_end(never, always), upper_end(always, never)
    (-1.0, 1.0)
    """
    from headstart.metrics.crossed import crossed
    from headstart.metrics.interval import paired_interval

    pairs = list(zip(ours, theirs, strict=False))
    if len(pairs) == 1:
        return paired_interval(pairs[0][0]["right"], pairs[0][1]["right"]).high
    gains = [np.subtract(a["right"], b["right"], dtype=float) for a, b in pairs]
    return float(crossed(np.stack(gains)).high)


# Our side ----------------------------------------------------------------------------------------


def main(data: Path, finetune: str, seed: int) -> dict[str, Any]:
    """Fit on `train.csv` in an empty home; which rows of `test.csv` are right."""
    import headstart as hs

    with own_home():
        rows = hs.read(str(data / "train.csv"), text="text", label="label")
        model = hs.Transfer(SOURCE, finetune=finetune, seed=seed).fit(rows)
        test = hs.read(str(data / "test.csv"), text="text", label="label")
        said = model.predict(list(test.rows))
    truth = cases.labels_of(data / "test.csv")
    right = [int(str(a) == b) for a, b in zip(said, truth, strict=True)]
    return {"right": right, "arm": model.plan_.outcome, "taken_s": model.plan_.taken_s}


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])), sys.stdout)
