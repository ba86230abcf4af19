"""How much the gain shrinks when scratch may converge: `--budget none` beside less time.

Only in `make bench-full`: with no budget every seed of scratch, and every point of its data curve,
learns until validation has not improved for ten passes. The network reads pictures of 64 pixels a
side, where a pass is a twelfth of the work; at its own size that is hours on two cores:

    python -m bench.study_convergence 224     printed as JSON, not kept
"""

import json
import sys
from dataclasses import asdict
from typing import Any

from bench.cases import smaller
from bench.measure import Process, Row, Study, data_folder, headstart, scratch_folder

#: Left out of `make bench`.
SIZES: dict[str, dict[str, Any]] = {"full": {}}
#: Where every seed diverged.
NONE = (float("nan"),)
NETWORK, SEEDS = "efficientnet-lite0", 3
BUDGETS = ("90s", "none")


def study(repeats: int, pixels: int = 64) -> Study:
    """Prove the same data with little and with endless time; each in a home of its own."""
    del repeats
    found = {budget: _proved(budget, pixels) for budget in BUDGETS}
    return Study(
        f"Ants and bees, {NETWORK} at {pixels} px, {SEEDS} seeds: the gain by scratch's time.",
        tuple(row for budget, one in found.items() for row in _rows(budget, one)),
        tuple(_note(budget, one) for budget, one in found.items()),
        facts={budget: {k: one[k] for k in ("verdict", "plan", "arms", "gains", "seconds")}
               for budget, one in found.items()},
    )  # fmt: skip


def _proved(budget: str, pixels: int) -> dict[str, Any]:
    with scratch_folder() as folder:
        source = smaller(NETWORK, pixels, folder)
        options = ("--source", source, "--seeds", str(SEEDS), "--budget", budget)
        done: Process = headstart(
            "prove", data_folder("hymenoptera"), *options, "--out", "run", "--json",
            home=folder / "home", cwd=folder,
        )  # fmt: skip
        return done.json | {"wall_s": done.seconds}


def _rows(budget: str, one: dict[str, Any]) -> list[Row]:
    scratch = _arm(one, "scratch")
    scores = tuple(scratch["test"].values())
    learned = [o for o in one["outcomes"] if o["arm"] == "scratch" and o["is_whole"]]
    passes = tuple(float(len(o["curve"]["seen"])) for o in learned if not o["error"])
    return [
        Row(f"{budget}: gain over the best control", (one["verdict"]["gain"][1],)),
        Row(f"{budget}: gain over scratch", (_asymptote(one),)),
        Row(f"{budget}: test score of scratch", scores or NONE),
        Row(f"{budget}: passes of scratch", passes or NONE),
        Row(f"{budget}: seeds of scratch that had not converged",
            (float(scratch["n_not_converged"]),)),
        Row(f"{budget}: whole process", (one["wall_s"],), "s"),
    ]  # fmt: skip


def _arm(one: dict[str, Any], name: str) -> dict[str, Any]:
    return next(arm for arm in one["arms"] if arm["name"] == name)


def _asymptote(one: dict[str, Any]) -> float:
    interval = next(gain["interval"] for gain in one["gains"] if gain["name"] == "asymptote")
    return float("nan") if interval is None else interval[1]


def _note(budget: str, one: dict[str, Any]) -> str:
    labels = next(gain["note"] for gain in one["gains"] if gain["name"] == "labels saved")
    return f"budget {budget}: {one['verdict']['said']}; labels saved: {labels}"


if __name__ == "__main__":
    json.dump(asdict(study(1, int(sys.argv[1]))), sys.stdout, indent=1)
