"""Story: what a study found, as the sentences, tables and drawings of its page."""

import math
from collections.abc import Mapping
from typing import Any

from headstart.checks.finding import Finding
from headstart.evidence.evidence import BESIDE, ArmRecord, Evidence, Gain
from headstart.evidence.page import figures, words
from headstart.evidence.page.decision import (
    mean,
    metric_name,
    source_name,
    started_from,
    test_score,
    verdict,
)
from headstart.evidence.page.mistakes import errors
from headstart.evidence.page.network import Network
from headstart.evidence.page.sources import sources
from headstart.evidence.page.use import TUNED, use
from headstart.metrics.interval import Interval
from headstart.task import Kind
from headstart.units import plural


def story(evidence: Evidence, run: str, rows: Mapping[str, Any]) -> dict[str, Any]:
    """Return everything the page says, in the order it says it.

    Parameters
    ----------
    evidence
        What the study found.
    run
        The run's folder, as a person would type it; empty where nothing was saved.
    rows
        Raw rows by name, to show the mistakes.
    """
    judged = evidence.judged
    return {
        "title": run.rstrip("/").rpartition("/")[2] or source_name(evidence),
        "made": " · ".join(part for part in (run, evidence.created[:10]) if part),
        "verdict": verdict(evidence),
        "facts": facts(evidence),
        "effort": effort(evidence),
        "data": data(evidence),
        "gains": [gain(found, evidence.score) for found in evidence.gains],
        "network": network(evidence),
        "sources": sources(evidence),
        "errors": None
        if judged is None or not judged.names
        else errors(evidence.task, judged, rows, figures.row_word(evidence)),
        "findings": [finding(found) for found in evidence.findings],
        "no_findings": "The rows were searched for copies across splits, labels that disagree, "
        "imbalance and shift; nothing was found.",
        "arms": arms(evidence),
        "remedies": remedies(evidence),
        "use": use(evidence, run),
        "how": how(evidence),
    }


def facts(evidence: Evidence) -> list[dict[str, str]]:
    """Return the few numbers that most people came for."""
    found = evidence.verdict
    shipped = [
        {
            "name": f"test {metric_name(evidence.score)}",
            "value": test_score(evidence, found.shipped),
            "unit": "",
            "range": "",
            "note": f"{found.shipped}, which ships",
        }
    ]
    known = {key(g): g for g in evidence.gains if g.interval is not None}
    saved = figures.saving(evidence)
    is_provisional = "labels_saved" in known and "provisional" in known["labels_saved"].note
    provisional = ", provisional: scratch had not converged" if is_provisional else ""
    n_beside = evidence.n_rows.get(BESIDE)
    beside = f", and {n_beside:,} of another domain" if n_beside else ""
    of = f"of {saved.n:,}" if saved else ""
    notes = {
        "labels_saved": ("labels saved", of + beside + provisional),
        "time_to_threshold": ("time saved", "to a good score, each training"),
        "jumpstart": ("head start", "before any fine-tuning"),
    }
    told = {
        name: {"name": said, "note": note, "range": range_of(known[name])}
        | _with_unit(amount(known[name]))
        for name, (said, note) in notes.items()
        if name in known
    }
    if saved and saved.transfer.is_bound and "labels_saved" in told:
        told["labels_saved"] |= {"value": f"≥ {told['labels_saved']['value']}", "range": ""}
    return [*shipped, *told.values()]


def _with_unit(said: str) -> dict[str, str]:
    value, _, unit = said.partition(" ")
    return {"value": value, "unit": unit}


def key(found: Gain) -> str:
    """Return a gain's name as the definitions have it.

    >>> key(Gain("time to threshold", None, "s"))
    'time_to_threshold'
    """
    return found.name.replace(" ", "_").replace("-", "_")


def amount(found: Gain, value: float | None = None) -> str:
    """Say how much a gain is, in its unit.

    >>> amount(Gain("labels saved", Interval(10, 20, 30), "rows"))
    '20 rows'
    >>> amount(Gain("jumpstart", Interval(0.1, 0.25, 0.3), "accuracy"))
    '+25.0 points'
    """
    assert found.interval is not None
    number = found.interval.mid if value is None else value
    if not math.isfinite(number):
        return "unknown"
    sign = "−" if number < 0 else ""
    if found.unit.split()[:1] == ["s"]:
        return sign + words.duration(abs(number))
    if found.unit in ("rows", "labels"):
        return f"{sign}{words.count(abs(number))} {found.unit}"
    metric, _, per = found.unit.partition(" ")
    return words.difference(number, metric) + (f" {per}" if per else "")


def gain(found: Gain, metric: str) -> dict[str, Any]:
    """Return one of the five gains as a row."""
    title, question, meaning = words.GAINS.get(
        key(found), (found.name.capitalize(), "", "A number of the study.")
    )
    shown = {"title": title, "question": question, "meaning": meaning, "note": found.note}
    if found.interval is None:
        return shown | {"value": "not measured", "range": "", "glyph": ""}
    return shown | {
        "value": f"{'at most ' if found.note.startswith('at most') else ''}{amount(found)}",
        "range": range_of(found),
        "glyph": figures.interval_glyph(found.interval)
        if math.isfinite(found.interval.mid)
        else "",
    }


def range_of(found: Gain) -> str:
    """Say from where to where a gain may reach.

    >>> range_of(Gain("labels saved", Interval(10, 20, 30), "rows"))
    '10 rows to 30 rows'
    """
    interval = found.interval
    assert interval is not None
    if not (math.isfinite(interval.low) and math.isfinite(interval.high)):
        return "interval unknown"
    low, high = (
        amount(found, end).partition(" points")[0] for end in (interval.low, interval.high)
    )
    return f"{low} to {high}"


def effort(evidence: Evidence) -> dict[str, Any] | None:
    """Return the effort curves with what to read in them."""
    found = figures.effort(evidence)
    if found is None:
        return None
    scale = " Each step to the right multiplies the rows." if found["is_log"] else ""
    return found | {
        "lead": "Each line is one way of making a model. Higher is better; further left is sooner.",
        "caption": "Validation score against training rows processed, repeats counted. Line: mean "
        f"of the seeds; band: from the lowest to the highest seed.{scale}",
        "meaning": "A row is processed each time the training looks at it, so passes over the data "
        "add up. An arm whose head is solved in one go is a single point. The score is of "
        "validation rows: test rows are not looked at while learning.",
    }


def data(evidence: Evidence) -> dict[str, Any] | None:
    """Return the data curves with what to read in them."""
    found = figures.data(evidence)
    if found is None:
        return None
    saved = found["saved"]
    is_whole = all(point.is_converged for points in evidence.data.values() for point in points)
    return found | {
        "lead": "Every point is a training of its own, on so many labeled rows"
        + (
            ", run to its end."
            if is_whole
            else ". Some were stopped before they had converged, and might get better: what is "
            "read off here is provisional."
        ),
        "caption": "Test score against labeled training rows; bands are 95 % intervals for new "
        f"seeds and new rows{_of_one_seed(evidence)}."
        + ("" if saved is None else f" On these means, {saved}.")
        + _of_another_domain(evidence),
        "meaning": "Where the two curves reach the same height, the distance between them is what "
        "the pretrained network is worth in labels. “> n” means that it was not reached with all n "
        "rows; “≤ n” that the smallest training already reached it.",
    }


def _of_one_seed(evidence: Evidence) -> str:
    lone = any(len(point.scores) == 1 for points in evidence.data.values() for point in points)
    return ", of points with one seed for new rows alone" if lone else ""


def _of_another_domain(evidence: Evidence) -> str:
    n = evidence.n_rows.get(BESIDE)
    if not n:
        return ""
    arm = evidence.verdict.transfer
    return f" Every point of {arm} learned from {n:,} labeled rows of another domain, not counted."


def network(evidence: Evidence) -> dict[str, Any]:
    """Return the network's picture and the five steps beside it."""
    drawn = figures.network(evidence)
    trained_on = started_from(evidence).get("trained_on") or "unknown data"
    return figures.both(drawn.draw) | {
        "lead": f"{source_name(evidence)} was trained on {trained_on}. What it learned there is "
        "kept where it is frozen, and only the colored parts learned from these rows.",
        "caption": "Gray: frozen, not a number in it changed. Colored: learned here.",
        "said": drawn.in_words(),
        "steps": steps(evidence, drawn),
    }


def steps(evidence: Evidence, drawn: Network) -> list[dict[str, Any]]:
    """Return the five steps, and whether each was done."""
    plan, source = evidence.transfer_plan, started_from(evidence)
    taken = plan.get("taken_s") or {}
    millions = (
        f", {source['n_parameters'] / 1e6:.1f} M numbers" if source.get("n_parameters") else ""
    )
    frozen = f"{drawn.n_frozen} of {drawn.n_stages} stages" if drawn.n_stages else "all of it"
    took = f" It took {words.duration(taken['train'])}." if taken.get("train", 0) >= 0.05 else ""
    return [
        {"name": "Take", "on": True, "text": f"{source_name(evidence)}{millions}."},
        {"name": "Freeze", "on": True, "text": f"{frozen}: weights, statistics, behavior."},
        {"name": "Attach", "on": True,
         "text": f"A new {plan.get('head', 'linear')} head: {_asked(evidence)}."},
        {"name": "Train", "on": True, "text": f"The head alone, until it has converged.{took}"},
        _fifth(evidence, drawn),
    ]  # fmt: skip


def _asked(evidence: Evidence) -> str:
    n = len(evidence.task.labels)
    if evidence.task.kind is Kind.REGRESSION:
        return "a number"
    if evidence.task.kind is Kind.TAGS:
        return f"entities of {n // 2} types"
    return f"{'any' if evidence.task.kind is Kind.MULTILABEL else 'one'} of {n}"


def _fifth(evidence: Evidence, drawn: Network) -> dict[str, Any]:
    plan, n = evidence.transfer_plan, drawn.n_stages - drawn.n_frozen
    if n <= 0:
        is_tried = plan.get("phase") or any(arm.name in TUNED for arm in evidence.arms)
        tried = "Tried, and not kept." if is_tried else "Left out."
        return {"name": "Fine-tune", "on": False, "text": tried}
    seconds = (plan.get("taken_s") or {}).get("finetune")
    took = f" It took {words.duration(seconds)}." if seconds else ""
    return {
        "name": "Fine-tune",
        "on": True,
        "text": f"The upper {plural(n, 'stage')}, gently, from the trained head on.{took}",
    }


def finding(found: Finding) -> dict[str, Any]:
    """Return one thing found in the data; its rows by name, with their twins."""
    twins = dict(zip(found.rows, found.twins, strict=False))
    named = [
        " = ".join(map(words.place, (row, twins[row]) if row in twins else (row,)))
        for row in found.rows[:20]
    ]
    return {
        "what": found.what,
        "fix": found.fix,
        "is_bad": found.is_warning,
        "rows": "; ".join(named),
    }


def arms(evidence: Evidence) -> dict[str, Any]:
    """Return every arm with its scores, what ships first."""
    ranked = sorted(evidence.arms, key=lambda arm: -(mean(arm.validation) or -math.inf))
    ranked.sort(key=lambda arm: arm.name != evidence.verdict.shipped)
    name, meaning = words.SCORES.get(evidence.score, (evidence.score, ""))
    return {
        "lead": f"Scores are {name}, means over seeds. What ships is chosen by the validation "
        "column; the test column only says how good it is.",
        "rows": [arm_row(arm, evidence) for arm in ranked],
        "meaning": [
            meaning,
            "Beside a test score stands its 95 % interval. Two of them may overlap though "
            "one is surely better: the seeds are paired, so the gain has a smaller interval.",
            "Time is that of one whole fit.",
        ],
    }


def arm_row(arm: ArmRecord, evidence: Evidence) -> dict[str, Any]:
    """Return one arm as a row of the table."""
    found, most = evidence.verdict, max(len(one.test) for one in evidence.arms)
    marks = ((found.shipped, "ships", True), (found.transfer, "best transfer", True),
             (found.control, "best control", False))  # fmt: skip
    return {
        "name": arm.name,
        "is_shipped": arm.name == found.shipped,
        "tags": [{"text": text, "on": on} for name, text, on in marks if name == arm.name],
        "what": arm.about or words.ARMS.get(arm.name, ""),
        "problem": _problem(arm, most),
        "validation": words.score(mean(arm.validation), evidence.score),
        "test": words.score(mean(arm.test), evidence.score),
        "range": _score_range(arm.interval, evidence.score),
        "seconds": words.duration(arm.seconds),
    }


def _score_range(interval: Interval | None, metric: str) -> str:
    if interval is None or not math.isfinite(interval.high - interval.low):
        return ""
    low, high = (words.score(value, metric) for value in (interval.low, interval.high))
    return f"{low.removesuffix(' %')} to {high}"


def _problem(arm: ArmRecord, most: int) -> str:
    """Say what keeps its scores from being those of the others, which have up to `most` seeds."""
    n = len(arm.test)
    said = [f"means over {plural(n, 'seed')}"] if 0 < n < most else []
    if arm.n_diverged:
        said.append(f"{arm.n_diverged} of {plural(arm.n_seeds, 'seed')} diverged")
    if arm.n_not_converged:
        cut = f"{arm.n_not_converged} of {plural(arm.n_seeds, 'seed')}"
        said.append(f"{cut} stopped before converging: it might get better")
    return "; ".join(said)


def remedies(evidence: Evidence) -> dict[str, Any] | None:
    """Return what else was tried; None where nothing was."""
    if not evidence.remedies:
        return None
    n_won = sum((one.get("over_control") or 0.0) > 0 for one in evidence.remedies)
    best = "" if n_won == 0 else (
        " The best of many tries looks better than it is: prove it in a study of its own."
    )  # fmt: skip
    return {
        "lead": "Validation did not clearly prefer transfer, so what else is known to help was "
        "tried in turn, by validation rows alone; the verdict above is not touched by it. "
        f"{plural(n_won, 'try') if n_won == 1 else f'{n_won} tries'} of "
        f"{len(evidence.remedies)} scored above the best control.{best}",
        "table": {
            "header": ["remedy", "what was done", "what came of it", "beside the transfer arm"],
            "rows": [_remedy(one, evidence.score) for one in evidence.remedies],
            "texts": 3,
        },
    }


def _remedy(one: Mapping[str, Any], metric: str) -> list[str]:
    gave = one.get("gave")
    told = [words.shorten(str(one.get(name) or ""), 200) for name in ("remedy", "what", "outcome")]
    return [*told, words.difference(gave, metric) if isinstance(gave, float) else "—"]


def _seeds(evidence: Evidence) -> str:
    """Say with how many seeds the arms were trained, which may be fewer than were asked for."""
    n = {arm.name: arm.n_seeds for arm in evidence.arms}
    most = max(n.values(), default=evidence.seeds)
    said = f"Every arm was trained with {plural(most, 'seed')}"
    if most < evidence.seeds:
        said += f" (there was no time for the {evidence.seeds} asked for)"
    said += "".join(f", {arm} with {plural(k, 'seed')}" for arm, k in n.items() if k < most)
    return f"{said}, on the same splits."


def how(evidence: Evidence) -> dict[str, Any]:
    """Return how it was measured, and every term of the page."""
    reads = evidence.n_test_reads
    sentences = [
        f"{_seeds(evidence)} "
        + (
            "The test rows were read once, by the verdict."
            if reads == 1
            else f"The test rows have been read {reads:,} times over their life. Each reading may "
            "have influenced a choice, so the interval is optimistic."
        ),
        *evidence.notes,
    ]
    name, meaning = words.SCORES.get(evidence.score, (evidence.score, ""))
    terms = {name.capitalize() if name.islower() else name: meaning} if meaning else {}
    return {
        "sentences": sentences,
        "facts": [(name, value) for name, value in _method(evidence).items() if value],
        "words": list((terms | words.TERMS).items()),
    }


def _method(evidence: Evidence) -> dict[str, str]:
    source = evidence.source
    budget = evidence.budget_s
    return {
        "source": str(source.get("uri", "")),
        "its license": str(source.get("license", "")),
        "rows": ", ".join(
            f"{n:,} {'of another domain' if part == BESIDE else part}"
            for part, n in evidence.n_rows.items()
            if n
        ),
        "asked": f"{metric_name(evidence.score)}; {evidence.task.kind}, {_asked(evidence)}",
        "time taken": words.duration(evidence.seconds),
        "budget": words.duration(budget) if budget else "none",
        "made": evidence.created.replace("T", " ").replace("+00:00", " UTC"),
        "versions": ", ".join(f"{k} {v}" for k, v in evidence.versions.items()),
    }
