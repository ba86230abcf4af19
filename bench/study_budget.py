"""`headstart prove --budget 15m` on ants and bees: is the budget kept, and is a second call free?

Whole processes, from start to exit, in an empty home: export, extraction, every arm with 5 seeds,
the data curves, the report. The second call is the same command once more.
"""

import json
from pathlib import Path

from bench.measure import Process, Row, Study, data_folder, headstart, scratch_folder

SOURCE = "pkg:efficientnet-lite0"
SEEDS = 5


def study(repeats: int) -> Study:
    """Prove once within the budget, then again; one repeat: it takes a quarter of an hour."""
    del repeats
    data = data_folder("hymenoptera")
    with scratch_folder() as folder:
        first, second = (_proved(data, folder, "15m") for _ in range(2))
    evidence = first.json
    fits = {arm["name"]: float(arm["n_seeds"]) for arm in evidence["arms"]}
    return Study(
        f"Ants and bees, {SOURCE}, {SEEDS} seeds, `prove --budget 15m`, process start to exit.",
        (
            Row("first call", (first.seconds,), "s", at_most=900),
            Row("second call", (second.seconds,), "s", at_most=10),
            Row("arms", (float(len(fits)),), at_least=6),
            *(Row(f"seeds of {name}", (n,)) for name, n in fits.items()),
            Row("passes of scratch, at most", (float(evidence["plan"]["epochs"]),)),
        ),
        (
            evidence["verdict"]["said"],
            *(_gain(gain) for gain in evidence["gains"]),
        ),
        facts={"verdict": evidence["verdict"], "plan": evidence["plan"], "n_rows":
               evidence["n_rows"], "arms": evidence["arms"], "gains": evidence["gains"]},
    )  # fmt: skip


def _proved(data: Path, folder: Path, budget: str) -> Process:
    options = ("--source", SOURCE, "--seeds", str(SEEDS), "--budget", budget)
    return headstart(
        "prove", data, *options, "--out", "run", "--json", home=folder / "home", cwd=folder
    )


def _gain(gain: dict[str, object]) -> str:
    return f"{gain['name']}: {json.dumps(gain['interval'])} {gain['unit']}; {gain['note']}"
