"""Few labelled texts: accuracy and time, from a row a class to all, beside what a user would pick.

A side is a process that reads `train.csv`, learns, and says what each row of `test.csv` is; the
same MiniLM for all that have a network. Ours are the default fit (step 5 where it pays) and the
frozen one, in an empty home each time: the export of the trunk is paid for again and again.
Run as `python -m bench.study_fewshot FOLDER FINETUNE SEED`, this file is our side.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from bench import cases
from bench.against import MARGIN, NOT_WORSE, lower_end, peer
from bench.measure import Row, Study, itself, own_home, rounds, scratch_folder

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
#: Our side → how many times as long SetFit is to take.
LEAST_TIMES = {"ours": 2.0, "ours, frozen": 10.0}
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
    n_setfit
        How many of the draws of rows SetFit sees; one where its steps are capped.
    """

    data: str
    a_class: int | None
    peers: tuple[str, ...] = tuple(PEERS)
    n_setfit: int = 3

    @property
    def is_capped(self) -> bool:
        """Whether SetFit's own number of steps would take hours."""
        return self.a_class is None or self.a_class >= N_CAPPED

    def __str__(self) -> str:
        return f"{self.data}, {'all rows' if self.a_class is None else f'{self.a_class} a class'}"


FULL = (
    Case("banking77", 1),
    Case("banking77", 4, n_setfit=1),  # 94,000 pairs of 308 texts: an hour
    *(Case("banking77", n) for n in (8, 16, 64, None)),
    *(Case("names", n, n_setfit=5) for n in (1, 4)),
    *(Case("names", n) for n in (8, 16, None)),
)
SIZES = {
    "tiny": {"asked": (Case("names", 1, ("TF-IDF + logistic regression",)),)},
    "quick": {"asked": (Case("names", 4, ("SetFit", *QUICKEST)),)},
    "full": {},
}
PARTS = {f"{case.data}-{case.a_class or 'all'}": {"asked": (case,)} for case in FULL}


def study(
    repeats: int, asked: Sequence[Case] = FULL, known: Mapping[str, Any] | None = None
) -> Study:
    """Run every case; its seeds are the rounds."""
    rows: list[Row] = []
    facts = {}
    for case in asked:
        with scratch_folder() as folder:
            found = rounds(
                lambda seed, case=case, folder=folder: _sides(case, folder, seed),
                repeats,
                (known or {}).get(str(case)),
            )
        facts[str(case)] = found
        rows += _told(case, found)
    return Study(
        f"Few labelled texts, {SOURCE}, process start to exit.",
        tuple(rows),
        (
            NOT_WORSE,
            "the frozen fit is judged where it is not worse, by a tenth of the time; elsewhere the "
            "default fit, by half of it",
            f"SetFit: its defaults up to 4 a class, num_iterations=20 at 8 and 16, from "
            f"{N_CAPPED} a class {CAPPED[1]} steps; n says with how many seeds",
        ),
        facts,
    )


def _sides(case: Case, folder: Path, seed: int) -> dict[str, Callable[[], dict[str, Any]]]:
    data = cases.texts(case.data, folder / str(seed), case.a_class, seed=seed)
    sides: dict[str, Callable[[], dict[str, Any]]] = {
        name: lambda how=how: _ours(data, how, seed) for name, how in OURS.items()
    }
    for name in case.peers:
        more = _setfit(case) if name == "SetFit" else ()
        if name == "SetFit" and seed >= (1 if case.is_capped else case.n_setfit):
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
    """Return accuracy and time against a peer; both targets are of one arm of ours."""
    ends = {ours: lower_end(found[ours], found[name]) for ours in OURS}
    judged = "ours, frozen" if ends["ours, frozen"] >= -MARGIN else "ours"
    rows = []
    for ours, end in ends.items():
        pairs = zip(found[name], found[ours], strict=False)
        times = tuple(theirs["seconds"] / own["seconds"] for theirs, own in pairs)
        lower = Row(f"{case}: lower end of {ours} − {name}", (end,))
        time = Row(f"{case}: time of {name} / {ours}", times, "×")
        if ours == judged:
            lower = replace(lower, at_least=-MARGIN)
            time = replace(time, at_least=LEAST_TIMES[ours] if name == "SetFit" else None)
        rows += [lower, time]
    return rows


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
