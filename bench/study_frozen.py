"""Frozen transfer of pictures: Headstart beside what a user would pick, on the same weights.

A side is a process that reads `train/`, learns a new last layer, and says what each picture of
`test/` is. The peers look at the test pictures after every pass, and three keep their best pass by
them; ours never sees them. Ours starts in an empty home: the export of the trunk counts.
Run as `python -m bench.study_frozen FOLDER FINETUNE SEED`, this file is our side.
"""

import json
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from bench import cases
from bench.against import MARGIN, NOT_WORSE, lower_end, n_lines, peer
from bench.against import PEERS as SCRIPTS
from bench.measure import Row, Study, itself, own_home, ratios, rounds, scratch_folder

SOURCE = "pkg:efficientnet-lite0"
OURS = {"ours": "auto", "ours, frozen": "no"}
PEERS = {
    "tutorial": "loop_pictures",
    "Keras guide": "keras_pictures",
    "Trainer": "trainer_pictures",
    "fastai": "fastai_pictures",
    "scikit-learn": "sklearn_pictures",
}
#: Their 20 passes and more, each picture through the whole network, take most of an hour on 2,000
#: drawings.
SLOW = ("tutorial", "Keras guide")
#: The tutorial's recipe takes 25 passes, one picture at a time decoded anew: it is to be beaten so.
TIMES_TUTORIAL = 10


@dataclass(frozen=True)
class Case:
    """One data set, and who learns from it.

    Parameters
    ----------
    data
        "hymenoptera", "pacs photo" or "fashion".
    a_class, n_test
        Pictures a class, to learn from and to be judged by; None: all.
    peers
        The names of the peers.
    n_slow
        In how many of the rounds the slow ones of them take part; None: in all.
    """

    data: str
    a_class: int | None = None
    n_test: int | None = None
    peers: tuple[str, ...] = tuple(PEERS)
    n_slow: int | None = None


SIZES = {
    "tiny": {"asked": (Case("hymenoptera", 2, 2, ("scikit-learn",)),)},
    "quick": {"asked": (Case("hymenoptera", 8, 15, ("tutorial", "scikit-learn")),)},
    "full": {},
}
FULL = tuple(Case(name, n_slow=1 if name == "fashion" else None) for name in cases.PICTURES)
PARTS = {case.data.replace(" ", "-"): {"asked": (case,)} for case in FULL}
#: More rounds would take a day.
MOST_REPEATS = 3


def study(
    repeats: int, asked: Sequence[Case] = FULL, known: Mapping[str, Any] | None = None
) -> Study:
    """Run all sides in turn on every data set."""
    rows: list[Row] = []
    facts: dict[str, Any] = {}
    for case in asked:
        with scratch_folder() as folder:
            data = cases.pictures(case.data, folder / "data", case.a_class, case.n_test)
            found = rounds(
                lambda seed, case=case, data=data: _sides(case, data, seed),
                repeats,
                (known or {}).get(case.data),
            )
        facts[case.data] = found
        rows += _told(case, found)
    rows += [Row(f"lines to write: {name}", (float(n),)) for name, n in _lines(asked).items()]
    return Study(
        f"New last layers on {SOURCE}, process start to exit.",
        tuple(rows),
        (
            NOT_WORSE,
            "a peer's time to its own accuracy: the first pass at which it had reached it; ours is "
            "the whole process, where it reaches it",
            *(
                f"{case.data}: {' and '.join(SLOW)} take part in {case.n_slow} of the rounds"
                for case in asked
                if case.n_slow is not None
            ),
        ),
        facts,
    )


def _sides(case: Case, data: Path, seed: int) -> dict[str, Callable[[], dict[str, Any]]]:
    sides: dict[str, Callable[[], dict[str, Any]]] = {
        name: lambda how=how: _ours(data, how, seed) for name, how in OURS.items()
    }
    for name in case.peers:
        if name not in SLOW or case.n_slow is None or seed < case.n_slow:
            sides[name] = lambda name=name: peer(PEERS[name], data, "--seed", seed)
    return sides


def _ours(data: Path, finetune: str, seed: int) -> dict[str, Any]:
    done = itself("study_frozen", data, finetune, str(seed))
    return {**done.json, "seconds": done.seconds}


def _lines(asked: Sequence[Case]) -> dict[str, int]:
    scripts = {"ours": Path(__file__)}
    for case in asked:
        scripts |= {name: SCRIPTS / f"{PEERS[name]}.py" for name in case.peers}
    return {name: n_lines(script) for name, script in scripts.items()}


def _told(case: Case, found: Mapping[str, list[dict[str, Any]]]) -> list[Row]:
    rows = []
    for name, runs in found.items():
        accuracies = tuple(float(np.mean(run["right"])) for run in runs)
        rows += [
            Row(f"{case.data}: {name}, accuracy", accuracies),
            Row(f"{case.data}: {name}", tuple(run["seconds"] for run in runs), "s"),
            Row(f"{case.data}: {name}, peak", tuple(run["peak_gb"] for run in runs), "GB"),
        ]
    for name in case.peers:
        rows += _against(case, name, found)
    return rows


def _against(case: Case, name: str, found: Mapping[str, list[dict[str, Any]]]) -> list[Row]:
    """Return accuracy and time against a peer; the targets are of the frozen fit."""
    theirs = found[name]
    ours, default = (found[side][: len(theirs)] for side in ("ours, frozen", "ours"))
    seconds, of_ours, of_default = ([run["seconds"] for run in runs] for runs in
                                    (theirs, ours, default))  # fmt: skip
    least = {"at_least": TIMES_TUTORIAL} if name == "tutorial" else {}
    what = f"{case.data}: time of {name} / ours, frozen"
    rows = [
        Row(f"{case.data}: lower end of ours, frozen − {name}", (lower_end(ours, theirs),),
            at_least=-MARGIN),
        ratios(what, seconds, of_ours, **least),
        Row(f"{case.data}: lower end of ours − {name}", (lower_end(default, theirs),)),
        ratios(f"{case.data}: time of {name} / ours", seconds, of_default),
    ]  # fmt: skip
    reached = [
        until(b["curve"], float(np.mean(b["right"]))) / a["seconds"]
        for a, b in zip(ours, theirs, strict=True)
        if b.get("curve") and np.mean(a["right"]) >= np.mean(b["right"])
    ]
    return [*rows, Row(f"{what}, to its accuracy", tuple(reached), "×")] if reached else rows


def until(curve: Sequence[Sequence[float]], accuracy: float) -> float:
    """Return the seconds at which a curve of (seconds, accuracy) first reached an accuracy.

    >>> until([(10, 0.5), (20, 0.9), (30, 0.8)], 0.8)
    20
    """
    return next((s for s, score in curve if score >= accuracy - 1e-9), curve[-1][0])


# Our side ----------------------------------------------------------------------------------------


def main(data: Path, finetune: str, seed: int) -> dict[str, Any]:
    """Fit on `train/` in an empty home; which pictures of `test/` are right."""
    files = sorted((data / "test").glob("*/*"))
    with own_home():
        # user
        import headstart as hs

        model = hs.Transfer(SOURCE, finetune=finetune, seed=seed).fit(hs.read(str(data / "train")))
        said = model.predict([str(file) for file in files])
        # end
    from headstart.machine import peak_memory_bytes

    right = [int(str(a) == file.parent.name) for a, file in zip(said, files, strict=True)]
    return {"right": right, "peak_gb": peak_memory_bytes() / 1e9, "arm": model.plan_.outcome}


if __name__ == "__main__":
    json.dump(main(Path(sys.argv[1]), sys.argv[2], int(sys.argv[3])), sys.stdout)
