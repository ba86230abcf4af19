"""Rank: which pretrained source suits these rows, measured by probes on a growing sample."""

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.dataset import Dataset
from headstart.data.pictures import known_hash
from headstart.data.readers import read
from headstart.errors import (
    DataError,
    IntegrityError,
    SourceUnavailable,
    UsageError,
    first_line,
)
from headstart.io import read_sealed_json, write_sealed_json
from headstart.jobs import n_workers, results
from headstart.machine import home, n_threads, whole
from headstart.progress import track
from headstart.ranking.candidates import Limits, candidates, n_parameters
from headstart.ranking.measure import Facts, facts_of
from headstart.ranking.probe import measure_of
from headstart.ranking.ranking import LeftOut, Ranked, Ranking
from headstart.ranking.schedule import MOST_ROWS, Round, cost, order, schedule
from headstart.ranking.search import Search
from headstart.ranking.standing import Asked, Prober
from headstart.sources.preprocess import preprocess_hash
from headstart.sources.source import Source
from headstart.steps.train import labelled, targets_of
from headstart.task import Kind, Modality
from headstart.units import count

VERSION = 4


def rank(  # noqa: PLR0913
    data: Any,
    *,
    sources: Sequence[str] | str | None = None,
    budget_s: float | None = None,
    license: str | None = None,
    max_params: float | str | None = None,
    max_latency_ms: float | None = None,
    finetune: bool = False,
    max_skipped: float = 0.01,
    seed: int = 0,
    fresh: bool = False,
) -> Ranking:
    """Return the sources that suit labelled rows, best first; only training rows are read.

    All sources are probed on a small stratified sample, those not known to be worse on a larger
    one, the last two with the head that step 4 trains. Features are kept: a second ranking
    computes none, and a fit of the winner begins with those of the sample.

    Parameters
    ----------
    data
        Labelled pictures or texts: a `Dataset`, or anything that `headstart.read` reads.
    sources
        URIs, or one; None: those of the shelf that read such rows.
    budget_s
        Seconds that forward passes may take; None: as long as it needs. Compiling a source for
        the first time is not counted.
    license
        "permissive", or names separated by commas; None: any.
    max_params, max_latency_ms
        Larger or slower sources are left out. Parameters may be said as "10M".
    finetune
        Whether the last two are also fine-tuned for a short while (upper quarter, few passes).
    max_skipped
        The share of rows that may be unreadable and left out.
    seed
        Of the sample and the folds.
    fresh
        Decide anew what was decided for the same question before.

    Raises
    ------
    DataError
        No labels, one class, numbers that are all the same, or too many rows that cannot be read.
    SourceUnavailable
        Where no source is left; it lists the reasons.
    """
    return _answer(
        read(data, max_skipped=max_skipped),
        [sources] if isinstance(sources, str) else sources,
        Limits(license, None if max_params is None else count(max_params), max_latency_ms),
        Asked(budget_s, whole("seed", seed), finetune=finetune, max_skipped=max_skipped),
        fresh=fresh,
    )


def rank_whole(
    data: Dataset,
    *,
    sources: Sequence[str] | None = None,
    budget_s: float | None = None,
    limits: Limits | None = None,
    seed: int = 0,
) -> Ranking:
    """Return the same for sources used as a whole: lower boundaries are shown, and do not count.

    This is what a fit does with a source, whose features it then finds.

    Parameters
    ----------
    data
        A `Dataset` of labelled pictures or texts.
    sources, budget_s, seed
        As in `rank`.
    limits
        What a source may be.
    """
    asked = Asked(budget_s, whole("seed", seed), is_whole=True)
    return _answer(data, sources, limits or Limits(), asked)


def _answer(
    data: Dataset,
    sources: Sequence[str] | None,
    limits: Limits,
    asked: Asked,
    *,
    fresh: bool = False,
) -> Ranking:
    began = time.perf_counter()
    notes: list[str] = []
    sample = _sample(data, asked.seed, notes)
    found, left = candidates(data.modality, sources, limits, asked.seed)
    jobs = _decided(sample, found, asked, limits.max_latency_ms, fresh=fresh)
    left += jobs.left_out
    there = [one for one in found if one.uri in jobs.facts]
    quick = [one for one in there if jobs.facts[one.uri].is_within(limits.max_latency_ms)]
    left += [_too_slow(one, jobs, limits) for one in there if one not in quick]
    notes += _over_budget(jobs, quick, asked.budget_s)
    search = Search(Prober(sample, jobs.facts, asked, f"rank-{jobs.key}", fresh), notes)
    rows = search.go(quick, jobs.rounds)
    left += search.left_out
    return _ranking(rows, left, jobs, search, (began, asked.seed))


def _ranking(
    rows: list[Ranked], left: list[LeftOut], jobs: "Jobs", search: Search, run: tuple[float, int]
) -> Ranking:
    if not rows:
        reasons = "".join(f"\n  {one.uri}: {one.reason}" for one in left)
        raise SourceUnavailable(
            f"No source is left to rank.{reasons}\n"
            "`headstart sources` lists the shelf; pip install 'headstart[shelf]' brings some."
        )
    began, seed = run
    return Ranking(
        tuple(rows),
        tuple(left),
        measure_of(search.prober.task, targets_of(search.prober.sample)),
        jobs.rounds,
        search.n_computed,
        time.perf_counter() - began,
        seed,
        tuple(search.notes),
        len(search.prober.task.labels),
    )


def _sample(data: Dataset, seed: int, notes: list[str]) -> Dataset:
    """Return the rows that may be probed, in an order of which every beginning is a sample."""
    if data.modality is Modality.VECTOR:
        raise UsageError("Rows of numbers have no pretrained source to choose: nothing to rank.")
    data = data.training()
    task, targets = labelled(data), targets_of(data)
    if task.kind is Kind.TAGS:
        raise UsageError(
            "A tag a word has no quick probe, so there is nothing to rank sources by.\n"
            "Expected classes, labels or numbers; name a source: headstart fit DATA --source URI"
        )
    if task.kind is Kind.REGRESSION and np.ptp(targets) == 0:
        raise DataError(
            f"All {len(data)} targets are {targets[0]:g}, so every source predicts them.\n"
            "Expected numbers that differ."
        )
    if task.kind is Kind.MULTICLASS:
        data = _twice(data, notes)
    return data.take(order(targets_of(data), task, seed)[:MOST_ROWS])


def _twice(data: Dataset, notes: list[str]) -> Dataset:
    """Return the rows of classes that have two: one to learn from, one to judge by."""
    labels, targets = labelled(data).labels, targets_of(data)
    counts = np.bincount(targets, minlength=len(labels))
    few = [labels[i] for i in np.flatnonzero(counts == 1)]
    if not few:
        return data
    said = f"{', '.join(map(repr, few[:5]))}{' …' if len(few) > 5 else ''}"
    if (counts > 1).sum() < 2:
        raise DataError(
            f"{said} {'has' if len(few) == 1 else 'have'} one training row.\nExpected two rows a "
            "class: one to learn from, one to judge by. Add rows, or name a source."
        )
    one = "a class" if len(few) == 1 else "classes"
    notes.append(f"Ranked without {one} of one row: {said}.")
    return data.take(np.flatnonzero(counts[targets] > 1))


@dataclass(frozen=True)
class Jobs:
    """What is to be done, as it was decided the first time, and what names the question."""

    rounds: tuple[Round, ...]
    facts: dict[str, Facts] = field(hash=False)
    left_out: tuple[LeftOut, ...] = ()
    key: str = ""


def _decided(
    sample: Dataset,
    sources: Sequence[Source],
    asked: Asked,
    latency_ms: float | None,
    *,
    fresh: bool = False,
) -> Jobs:
    """Return the jobs that were decided for these rows and sources, or decide them now."""
    key = _key(sample, sources, asked, latency_ms)
    path = home() / "rankings" / f"{key}.json"
    known = None if fresh else _recorded(path)
    found = _looked_at_all(sample, sources, known.facts if known else {})
    left = tuple(one for one in found.values() if isinstance(one, LeftOut))
    facts = {uri: one for uri, one in found.items() if isinstance(one, Facts)}
    # A source that is too slow takes none of the others' time.
    quick = [one for one in facts.values() if one.is_within(latency_ms)]
    rounds = known.rounds if known else _rounds(sample, quick, asked.budget_s)
    if known is None or len(facts) > len(known.facts):
        _record(path, rounds, facts)
    return Jobs(rounds, facts, left, key)


def _looked_at_all(
    sample: Dataset, sources: Sequence[Source], known: Mapping[str, Facts]
) -> dict[str, Facts | LeftOut]:
    """Return what is known of each source, in their order; those not known yet are looked at."""
    missing = [(source.uri, source) for source in sources if source.uri not in known]
    missing.sort(key=lambda one: -n_parameters(one[1]))  # the largest likely takes longest
    found: dict[str, Facts | LeftOut] = {}
    with track("looking at sources", len(missing), "sources") as bar:
        for uri, one in results(missing, partial(_looked_at, sample)):
            found[uri] = one
            bar.advance()
    return {one.uri: known[one.uri] if one.uri in known else found[one.uri] for one in sources}


def _looked_at(sample: Dataset, source: Source) -> Facts | LeftOut:
    """Return what is known of a source, or why it cannot be ranked; it may run elsewhere."""
    try:
        return facts_of(source, sample)
    except DataError:
        raise
    except (Exception, MemoryError) as error:  # one bad source leaves the others ranked
        return LeftOut(source.uri, first_line(error))


def _rounds(sample: Dataset, facts: Sequence[Facts], budget_s: float | None) -> tuple[Round, ...]:
    seconds = _seconds(facts)
    task = labelled(sample)
    n_classes = len(np.unique(targets_of(sample))) if task.kind is Kind.MULTICLASS else 0
    return schedule(len(sample), n_classes, seconds, budget_s)


def _seconds(facts: Sequence[Facts]) -> list[float]:
    """Return the seconds that a row takes each source here."""
    return [one.latency_ms / 1000 / n_threads() for one in facts]


def _over_budget(jobs: Jobs, sources: Sequence[Source], budget_s: float | None) -> list[str]:
    """Say that the least that ranks sources takes longer than was asked."""
    seconds = cost(jobs.rounds, _seconds([jobs.facts[one.uri] for one in sources]))
    if budget_s is None or seconds <= budget_s:
        return []
    return [
        f"{jobs.rounds[0].n_rows:,} rows a source are the least that ranks them: about "
        f"{seconds:.0f} s, more than the {budget_s:g} s asked for."
    ]


def _record(path: Path, rounds: Sequence[Round], facts: dict[str, Facts]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    write_sealed_json(
        path,
        {
            "rounds": [vars(one) for one in rounds],
            "facts": {uri: one.to_json() for uri, one in facts.items()},
        },
    )


def _recorded(path: Path) -> Jobs | None:
    """Return what was decided; nothing where no one has, or the file cannot be read."""
    try:
        values = read_sealed_json(path)
        facts = {uri: Facts.of(one) for uri, one in values["facts"].items()}
        return Jobs(tuple(Round(**one) for one in values["rounds"]), facts)
    except (IntegrityError, ValueError, KeyError, TypeError):
        return None


def _key(sample: Dataset, sources: Sequence[Source], asked: Asked, latency_ms: float | None) -> str:
    """Return the name of a question: another one is decided anew."""
    # Workers beside each other are slower each, and what a source takes is part of the answer.
    settings = [VERSION, vars(asked), latency_ms, n_threads(), n_workers()]
    digest = hashlib.sha256(json.dumps(settings).encode())
    for source in sources:
        reads = preprocess_hash(source.preprocess)
        facts = [source.uri, source.weights_sha256, source.architecture, reads]
        digest.update(json.dumps(facts, sort_keys=True).encode())
    digest.update(targets_of(sample).tobytes())
    for row in sample.rows:
        digest.update(known_hash(row) or b"unreadable")
    return digest.hexdigest()[:32]


def _too_slow(source: Source, jobs: Jobs, limits: Limits) -> LeftOut:
    taken = jobs.facts[source.uri].latency_ms
    return LeftOut(source.uri, f"{taken:.0f} ms a row; at most {limits.max_latency_ms:g} asked")
