"""Plan: what will be done, said before anything runs, and what was done."""

import dataclasses
import re
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.also import is_also
from headstart.data.dataset import TEST, TRAIN, VALIDATION, Dataset
from headstart.data.pictures import known_hash
from headstart.data.sampling import split
from headstart.errors import ResourceError, UsageError
from headstart.heads.head import HEADS
from headstart.machine import device, n_threads
from headstart.ranking.ranking import Ranking
from headstart.runs import Run
from headstart.sources.source import Source
from headstart.steps.freeze import LAST
from headstart.steps.phase import FEW_FOLDS, FEW_TEXTS, Phase, default_phase
from headstart.steps.train import check_head, labelled
from headstart.task import Kind, Modality, Task
from headstart.transfer.few import are_few, check_few, unlike_few

#: The share of the rows held out to choose between the arms, where the data name none.
HELD_OUT = 0.2

#: With fewer training rows `auto` leaves step 5 alone: it could not tell whether it pays.
ROWS_TO_FINETUNE = 64

#: What asks for step 5 on few texts (`transfer/few.py`).
FEW = "few"

#: Seconds step 5 may be expected to take before `auto` leaves it alone.
SECONDS_TO_FINETUNE = 900.0

#: What `auto` tries.
AUTO_BOUNDARY = "last:25%"

#: The same for words, whose tags lie in the middle layers too; to move the lowest quarter as well
#: takes longer, and gained less than seeds differ by (NOTES.md of the bench).
AUTO_OF_WORDS = "last:75%"

#: The same for few texts: all but the table of words, which so few say nothing of.
AUTO_OF_FEW = "last:100%"

#: The share of sentences held out: each has many words to judge by.
HELD_OUT_OF_WORDS = 0.1

#: Before a boundary: the fine-tuned network is kept, whatever validation says.
ONLY = "only:"

#: What a run keeps of the timed step until the fit is done.
REHEARSAL = "rehearsal"

#: What may be asked of step 5; which stages a source has is known once it is opened.
_ASKED = re.compile(rf"auto|no|head|({ONLY})?({FEW}|all|last:({LAST})|stage:.+)")


@dataclass(frozen=True)
class Plan:
    """What is taken, frozen, attached and trained; how long it should take and did.

    Parameters
    ----------
    source
        The card of what is started from.
    task
        What is predicted, in words.
    n_rows
        Rows to train on, rows held out to choose by, and test rows.
    head
        The head's kind.
    stages
        The ordered stages; empty where the network was not opened (nothing but the head trains).
    boundary
        How many of them stay frozen in step 5; equal to the number of stages without a step 5.
    rates
        The peak rate of each trained stage, and of the head, by name.
    phase
        How step 5 learns; None without one.
    finetune
        What was asked for, and why it is or is not tried.
    expected_s
        Seconds each step should take; measured on one batch.
    taken_s
        Seconds each step took.
    cache_bytes
        What the activations of step 5 take on disk.
    outcome
        Which arm was kept, and why.
    notes
        What a person should know of the rows and the solver.
    holds_out
        Whether the validation rows were held out by the plan, not by the data.
    keeps_finetuned
        Whether the fine-tuned network is kept whatever validation says.
    is_few
        Whether rows are so few that step 5 is judged on all of them, held out in turn.
    is_open
        Whether nobody asked for step 5: where it breaks, the probe is kept.
    ranking
        How the source was chosen, with its runners-up; None where it was named.
    """

    source: Source
    task: str
    n_rows: dict[str, int]
    head: str
    stages: tuple[str, ...] = ()
    boundary: int = 0
    rates: dict[str, float] = field(default_factory=dict)
    phase: Phase | None = None
    finetune: str = "no"
    expected_s: dict[str, float] = field(default_factory=dict)
    taken_s: dict[str, float] = field(default_factory=dict)
    cache_bytes: int = 0
    outcome: str = ""
    notes: tuple[str, ...] = ()
    holds_out: bool = False
    keeps_finetuned: bool = False
    is_few: bool = False
    is_open: bool = False
    ranking: Ranking | None = None

    @property
    def is_scratch(self) -> bool:
        """Whether the whole network is trained from random weights."""
        return self.source.is_scratch and self.phase is not None

    def __str__(self) -> str:
        """Return the plan as five steps a person can read."""
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """Return one line a step, and what is expected of time and disk."""
        rows = ", ".join(f"{n} {name}" for name, n in self.n_rows.items() if n)
        if self.is_scratch:
            return [
                f"task       {self.task}; rows: {rows}",
                f"scratch    {self.source.uri}: random weights, everything trains, at most "
                f"{self.phase.epochs if self.phase else 0} epochs{self._seconds('scratch')}",
                *self.outcome_lines(),
            ]
        lines = [
            f"task       {self.task}; rows: {rows}",
            f"1 take     {self.source.uri} ({self.source.trained_on}; {self.source.license})",
            *self._chosen(),
            f"2 freeze   {self._frozen()}",
            f"3 attach   a {self.head} head",
            f"4 train    the head to convergence on cached features{self._seconds('train')}",
            f"5 finetune {self._finetuned()}",
        ]
        if self.expected_s:
            lines.append(f"expected   about {_duration(sum(self.expected_s.values()))}")
        return lines + self.outcome_lines()

    def outcome_lines(self) -> list[str]:
        """Return what came of it; nothing before it was done."""
        if not self.taken_s:
            return []
        steps = [f"{step} {_duration(s)}" for step, s in self.taken_s.items() if s >= 0.05]
        total = _duration(sum(self.taken_s.values()))
        return [
            f"taken      {': '.join(filter(None, (total, ', '.join(steps))))}",
            f"kept       {self.outcome}",
        ]

    def _chosen(self) -> list[str]:
        """Say how the source was chosen, and what else might have been."""
        return [] if self.ranking is None else [f"           {self.ranking.in_a_line()}"]

    def _frozen(self) -> str:
        n = self.source.n_parameters
        size = f", {n / 1e6:.1f} M parameters" if n else ""
        return f"the whole trunk{size}, in evaluation mode"

    def _finetuned(self) -> str:
        if self.phase is None:
            return self.finetune
        names = self.stages[self.boundary :]
        rates = [self.rates[name] for name in names if name in self.rates]
        span = f"rates {min(rates):.1e} … {max(rates):.1e}, " if rates else ""
        head = f"head {self.rates['head']:.1e}, " if "head" in self.rates else ""
        disk = f", {self.cache_bytes / 1e6:.0f} MB of activations" if self.cache_bytes else ""
        shown = f"{names[0]} … {names[-1]}" if len(names) > 1 else "".join(names)
        most = "" if self.is_few else "at most "
        judged = ", judged on rows held out in turn" if self.is_few else ""
        return (
            f"{self.finetune}: {shown} of {len(self.stages)} stages train, {span}{head}"
            f"{most}{self.phase.epochs} epochs of {self.phase.batch} rows a step{judged}{disk}"
            f"{self._seconds('finetune')}"
        )

    def _seconds(self, step: str) -> str:
        seconds = self.expected_s.get(step)
        return "" if seconds is None else f", about {_duration(seconds)}"

    def to_json(self) -> dict[str, Any]:
        """Return what a report or a bundle keeps of the plan."""
        return {
            "source": self.source.uri,
            "task": self.task,
            "n_rows": self.n_rows,
            "head": self.head,
            "stages": list(self.stages),
            "boundary": self.boundary,
            "rates": self.rates,
            "phase": None if self.phase is None else vars(self.phase).copy(),
            "finetune": self.finetune,
            "expected_s": self.expected_s,
            "taken_s": self.taken_s,
            "is_few": self.is_few,
            "outcome": self.outcome,
            "notes": list(self.notes),
            "ranking": None if self.ranking is None else self.ranking.to_json(),
        }


def _duration(seconds: float) -> str:
    """Say a duration as people do.

    >>> _duration(0.4), _duration(42.2), _duration(150)
    ('0.4 s', '42 s', '2.5 min')
    """
    if seconds < 10:
        return f"{seconds:.1f} s"
    return f"{seconds:.0f} s" if seconds < 100 else f"{seconds / 60:.1f} min"


def intend(
    source: Source,
    data: Dataset,
    head: str,
    finetune: str,
    phase: Phase | None,
    seed: int,
    run: Run | None = None,
) -> tuple[Plan, Dataset]:
    """Decide what will be done, before any of it is.

    Parameters
    ----------
    source
        What is started from. Random weights (`scratch:`) are trained as a whole whatever
        `finetune` says, unless it is "head": then their features are used as they are.
    data
        Labelled rows.
    head, finetune, phase, seed
        As in `Transfer`.
    run
        Where what was timed is kept, so that a fit that goes on decides as it did before.

    Returns
    -------
    plan, data
        The plan, and the rows with their split: where step 5 is tried (or all is trained from
        scratch) and the data name no validation rows, a fifth is held out.
    """
    task = labelled(data)
    said = _in_words(task)
    HEADS.get(head)  # what cannot be is told now, not after the extraction
    check_head(head, task)
    data = _judged_by_what_counts(data)
    if source.is_scratch and finetune != "head":
        data, holds_out = _holding_out(data, seed)
        plan = _rehearsed(Plan(source, said, {}, head), "all", data, phase, run)
        return _counted(plan, data, holds_out), data
    is_open = finetune == "auto"
    boundary = automatic(source, data, head, phase) if is_open else finetune.removeprefix(ONLY)
    is_few = boundary == FEW
    why_not = "" if is_few else _why_not(source, data, finetune)
    if why_not:
        return _counted(Plan(source, said, {}, head, finetune=why_not), data, False), data
    if is_few:
        check_few(source, data, head)
        boundary, phase = AUTO_OF_FEW, phase or FEW_TEXTS
    try:
        parted, holds_out = (data, False) if is_few else _holding_out(data, seed)
        keeps = finetune.startswith(ONLY)
        plan = Plan(source, said, {}, head, finetune=boundary, keeps_finetuned=keeps,
                    is_few=is_few, is_open=is_open)  # fmt: skip
        plan = _rehearsed(plan, boundary, parted, phase, run)
        if is_open:
            _check_patience(plan)
    except (UsageError, ResourceError) as error:
        if not is_open:
            raise
        why_not = f"no: {str(error).splitlines()[0]}"
        return _counted(Plan(source, said, {}, head, finetune=why_not), data, False), data
    return _counted(plan, parted, holds_out), parted


def check_finetune(finetune: str) -> None:
    """Refuse what means nothing of any source: not every fit opens one that could say so.

    Raises
    ------
    UsageError
        It says what came and what is understood.
    """
    if not _ASKED.fullmatch(finetune):
        raise UsageError(
            f"finetune={finetune!r} says nothing of step 5.\nExpected 'auto', 'no', 'head', 'few', "
            "'last:25%', 'last:3', 'stage:NAME', 'stage:NUMBER' or 'all' (`headstart sources URI` "
            "lists the stages); 'only:' before the last six keeps it whatever held-out rows say."
        )


def automatic(source: Source, data: Dataset, head: str, phase: Phase | None) -> str:
    """Return what step 5 does where that is left open: "few", or what it moves.

    Few are moved by a phase of their own; who gives another has rows held out to stop it by.
    """
    is_open = phase is None and not _count(data, VALIDATION)
    if is_open and not unlike_few(source, data, head) and are_few(data.training()):
        return FEW
    return automatic_boundary(data)


def automatic_boundary(data: Dataset) -> str:
    """Return what step 5 moves where that is left open."""
    return AUTO_OF_WORDS if data.modality is Modality.WORDS else AUTO_BOUNDARY


def _check_patience(plan: Plan) -> None:
    """Refuse a step 5 that `auto` should not begin unasked."""
    seconds = sum(plan.expected_s.values())
    if seconds > SECONDS_TO_FINETUNE:
        raise UsageError(f"about {_duration(seconds)}; --finetune {plan.finetune} asks for it")


def _why_not(source: Source, data: Dataset, finetune: str) -> str:
    """Return why step 5 is left alone; empty where it is tried."""
    if finetune in ("no", "head"):
        return "no: not asked for"
    if source.modality is Modality.VECTOR:
        return "no: rows of numbers have no trunk to move"
    if finetune != "auto":
        return ""
    n = int(np.count_nonzero(_learns(data) & data.counted()))
    if not source.is_trainable:
        return "no: this source can only be used frozen"
    if n < ROWS_TO_FINETUNE:
        return f"no: {n} rows cannot tell whether it pays"
    return ""


def _judged_by_what_counts(data: Dataset) -> Dataset:
    """Return the data without rows to validate on that count nothing: they join those that teach.

    There they count nothing either.
    """
    if data.split is None or data.counted().all():
        return data
    is_idle = (data.split == VALIDATION) & ~data.counted()
    return data.with_split(np.where(is_idle, TRAIN, data.split))


def _holding_out(data: Dataset, seed: int) -> tuple[Dataset, bool]:
    if _count(data, VALIDATION):
        return data, False
    share = HELD_OUT_OF_WORDS if data.modality is Modality.WORDS else HELD_OUT
    # Others teach, if they count at all; it is the rows the model is for that choose.
    judges = ~is_also(data) & data.counted()
    own = data.take(judges)
    parts = np.full(len(data), TRAIN, dtype="<U10")
    parts[_is(data, TEST)] = TEST
    parts[judges] = split(own, seed=seed, validation=share, hashes=_hashes(own)).split
    parted = data.with_split(parts)
    if not _count(parted, VALIDATION):
        raise UsageError(
            f"none of {len(data)} rows can be held out to choose by\n"
            "Expected at least two rows of a class, or a validation split; or --finetune no."
        )
    return parted, True


def _hashes(data: Dataset) -> list[bytes]:
    """Return what tells rows apart, so that equal ones stay on one side of a split."""
    # A row that cannot be read is left out later, and named.
    return [known_hash(row) or i.to_bytes(8) for i, row in enumerate(data.rows)]


def _rehearsed(
    plan: Plan, boundary: str, data: Dataset, phase: Phase | None, run: Run | None
) -> Plan:
    """Fill in what one timed step on a few rows tells: stages, rates, seconds, bytes."""
    from headstart.steps.finetune import rehearse

    phase = (phase or default_phase(plan.source.uri, data.modality)).check()
    seen = rehearse(plan.source, boundary, phase, data)
    n = int(np.count_nonzero(_learns(data)))
    asked = (plan.source.weights_sha256, seen.boundary, phase, n, device(), n_threads())
    seconds_a_row = _as_timed_first(seen.seconds_a_row, repr(asked), run)
    passes = phase.epochs * (FEW_FOLDS if plan.is_few else 1)  # each fold leaves one part out
    phase = phase.capped(seen.bytes_a_row * n)
    step = "scratch" if plan.is_scratch else "finetune"
    return dataclasses.replace(
        plan,
        stages=seen.stages,
        boundary=seen.boundary,
        rates=seen.rates,
        phase=phase,
        expected_s={step: seconds_a_row * n * passes},
        cache_bytes=seen.bytes_a_row * n * (1 + phase.views),
    )


def _as_timed_first(seconds: float, asked: str, run: Run | None) -> float:
    """Return what was measured when the run began: a stopwatch does not tell the same twice."""
    if run is None:
        return seconds
    found = run.latest(REHEARSAL)
    if found is not None and found[1]["asked"] == asked:
        return float(found[1]["seconds_a_row"])
    run.checkpoint(REHEARSAL, {}, {"asked": asked, "seconds_a_row": seconds})
    return seconds


def _counted(plan: Plan, data: Dataset, holds_out: bool) -> Plan:
    n_test, n_held_out = _count(data, TEST), _count(data, VALIDATION)
    n_rows = {
        "to train on": len(data) - n_test - n_held_out,
        "to validate on": n_held_out,
        "to test on": n_test,
    }
    return dataclasses.replace(plan, n_rows=n_rows, holds_out=holds_out)


def _learns(data: Dataset) -> NDArray[np.bool_]:
    return ~(_is(data, TEST) | _is(data, VALIDATION))


def _count(data: Dataset, part: str) -> int:
    return int(np.count_nonzero(_is(data, part)))


def _is(data: Dataset, part: str) -> NDArray[np.bool_]:
    return np.zeros(len(data), dtype=bool) if data.split is None else data.split == part


def _in_words(task: Task) -> str:
    """Say the task as people do.

    >>> _in_words(Task(Kind.MULTICLASS, ("ant", "bee")))
    'one of 2 classes'
    """
    n = len(task.labels)
    if task.kind is Kind.TAGS:
        return f"entities of {n // 2} types among words"
    if task.kind is Kind.MULTICLASS:
        return f"one of {n} classes"
    return f"any of {n} labels" if task.kind is Kind.MULTILABEL else "a number"
