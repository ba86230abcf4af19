"""Decision: the verdict in words, and what stands behind it."""

import math
from collections.abc import Mapping
from typing import Any

from headstart.evidence.evidence import ArmRecord, Evidence
from headstart.evidence.page import figures, words
from headstart.units import plural

LABELS = {
    "positive": "Positive transfer",
    "negative": "Negative transfer",
    "undecided": "Undecided",
}


def started_from(evidence: Evidence) -> Mapping[str, Any]:
    """Return the card of what the transfer arm starts from; of a caller's arm the URI alone."""
    uri = evidence.transfer_plan.get("source")
    return {"uri": uri} if uri not in (None, evidence.source.get("uri")) else evidence.source


def source_name(evidence: Evidence) -> str:
    """Return what the transfer arm starts from is called."""
    source = started_from(evidence)
    named = source.get("title") or source.get("uri") or "the source"
    return str(named).partition(",")[0]


def metric_name(metric: str) -> str:
    """Return what a score is called."""
    return words.SCORES.get(metric, (metric.replace("_", " "), ""))[0]


def headline(evidence: Evidence) -> str:
    """Return the verdict in one sentence that anyone understands."""
    found, source = evidence.verdict, source_name(evidence)
    if found.word == "undecided":
        return f"Whether starting from {source} helps cannot be told from this study."
    if found.word == "positive":
        gained = _gained(evidence, "more", "at most ")
        return f"Starting from {source} {gained} the best model made without it."
    gained = _gained(evidence, "fewer", "at least ")
    return f"Starting from {source} hurts: it {gained} the best model made without it."


def _gained(evidence: Evidence, way: str, bound: str) -> str:
    size = abs(evidence.verdict.gain.mid)
    bound = bound if evidence.verdict.is_at_most else ""
    if evidence.score == "accuracy" and round(100 * size) >= 1:
        thing = figures.row_word(evidence)
        return f"gets {bound}{100 * size:.0f} {way} of every 100 {thing}s right than"
    said = words.difference(size, evidence.score).removeprefix("+")
    joint = "of" if "points" in said else "in"
    side = "above" if way == "more" else "below"
    return f"scores {bound}{said} {joint} {metric_name(evidence.score)} {side}"


def verdict(evidence: Evidence) -> dict[str, Any]:
    """Return the decision: a word, a sentence, what stands behind it."""
    found = evidence.verdict
    return {
        "word": found.word,
        "label": LABELS[found.word],
        "headline": headline(evidence),
        "sentences": [_scores_in_words(evidence), _gain_in_words(evidence), _shipped(evidence)],
        "ruler": figures.ruler(found.gain, found.worth, evidence.score)
        if math.isfinite(found.gain.mid)
        else None,
        "how": [*_decided(evidence), *found.notes],
    }


def _scores_in_words(evidence: Evidence) -> str:
    found = evidence.verdict
    mine, other = _paired(evidence)
    n = evidence.n_rows.get("test", 0)
    n = n or evidence.n_rows.get("to test on", 0)
    unseen = " that no choice has seen" if evidence.n_test_reads == 1 else ""
    on = f" on {n:,} test {figures.row_word(evidence)}s{unseen}" if n else ""
    return (
        f"{metric_name(evidence.score).capitalize()}{on}: {mine} with transfer "
        f"({found.transfer}), {other} without ({found.control})."
    )


def _paired(evidence: Evidence) -> list[str]:
    """Say the mean test scores of the two arms over the seeds that both have, as the gain is."""
    found = evidence.verdict
    tests = [arm_of(evidence, name).test for name in (found.transfer, found.control)]
    shared = set.intersection(*map(set, tests))
    return [
        words.score(mean({seed: test[seed] for seed in shared}), evidence.score) for test in tests
    ]


def test_score(evidence: Evidence, name: str) -> str:
    """Say the mean test score of an arm."""
    return words.score(mean(arm_of(evidence, name).test), evidence.score)


def arm_of(evidence: Evidence, name: str) -> ArmRecord:
    """Return the arm of that name; an empty record where there is none."""
    return next((arm for arm in evidence.arms if arm.name == name), ArmRecord(name, "control"))


def mean(scores: Mapping[int, float]) -> float | None:
    """Return the mean over seeds; None without any."""
    return sum(scores.values()) / len(scores) if scores else None


def _gain_in_words(evidence: Evidence) -> str:
    found = evidence.verdict
    bound = "at most " if found.is_at_most else ""
    size = words.difference(found.gain.mid, evidence.score)
    if not (math.isfinite(found.gain.low) and math.isfinite(found.gain.high)):
        why = "with one seed" if found.n_seeds == 1 else "where no row tells the two apart"
        return f"The gain is {bound}{size}; {why} nothing can be said of its reliability."
    return (
        f"The gain is {bound}{size}; with 95 % confidence it lies "
        f"{words.bounds(found.gain, evidence.score)}, over {plural(found.n_seeds, 'seed')}."
    )


def _shipped(evidence: Evidence) -> str:
    found = evidence.verdict
    if (found.word == "positive") == (not found.is_shipped_control) or found.word == "undecided":
        return f"Shipped: {found.shipped}."
    return (
        f"Shipped: {found.shipped}. Validation, which decides what ships, and the test rows do not "
        "agree here; both are shown below."
    )


def _decided(evidence: Evidence) -> list[str]:
    found = evidence.verdict
    worth, minus = (
        words.difference(sign * found.worth, evidence.score) if found.worth else "zero"
        for sign in (1, -1)
    )
    said = [
        f"{found.transfer} is the best arm that transfers and {found.control} the best that does "
        "not; both were chosen on validation rows. The gain is the difference of their test "
        "scores over the seeds that both have. Positive means that its whole interval lies above "
        f"{worth}, negative that it lies wholly below {minus}, undecided all else.",
        f"What ships: {found.why or found.shipped}.",
    ]
    if math.isfinite(found.smallest_gain):
        least = words.difference(found.smallest_gain, evidence.score)
        said.append(f"A true gain of {least} would have been found four times in five.")
    if found.is_at_most:
        said.append(f"{found.control} was stopped before it had converged: it might get better.")
    return said
