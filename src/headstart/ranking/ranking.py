"""Ranking: what was measured of each source on these rows, best first, and why others were not."""

from dataclasses import dataclass, field
from typing import Any

from headstart.metrics.interval import Interval
from headstart.ranking.schedule import Round
from headstart.ranking.trainless import Trainless
from headstart.sources.source import Source, to_json


@dataclass(frozen=True)
class Ranked:
    """What was measured of one source.

    Parameters
    ----------
    source
        Its card.
    score
        The expected score after frozen transfer, of rows the probe had not seen.
    difference
        The score minus that of the best, on the same rows and by the same probe.
    is_tied
        Whether that difference is within noise.
    boundary
        How many stages lie below the features that did best; None: all of them.
    by_boundary
        The score at each boundary that was tried, by closed-form probes.
    probe
        "logistic" for the last two, else "ridge".
    n_rows
        How many rows it was last probed on.
    trainless
        Scores that train no head, of features at that boundary.
    distance
        How far the rows lie from what the source was trained on, in units of the spread there;
        None where the card brings no reference.
    latency_ms
        To read one row and run the whole trunk, on one thread of this machine.
    memory_bytes
        What a process grows by when it opens the trunk and runs it on one row.
    finetuned
        The score after a short fine-tuning, where one was asked for and tried.
    """

    source: Source
    score: Interval
    difference: Interval
    is_tied: bool
    boundary: int | None
    by_boundary: dict[str, float] = field(hash=False)
    probe: str
    n_rows: int
    trainless: Trainless
    distance: float | None
    latency_ms: float
    memory_bytes: int
    finetuned: Interval | None = None

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values; the card's main facts stand beside the measures."""
        values = {n: v for n, v in vars(self).items() if n not in ("source", "trainless")}
        card = to_json(self.source)
        names = ("uri", "n_parameters", "license", "trained_on", "is_trainable", "prior")
        tuned = None if self.finetuned is None else list(self.finetuned)
        return {name: card[name] for name in names} | values | vars(self.trainless) | {
            "score": list(self.score),
            "difference": list(self.difference),
            "finetuned": tuned,
        }  # fmt: skip


@dataclass(frozen=True)
class LeftOut:
    """A source that was not ranked, and why."""

    uri: str
    reason: str


@dataclass(frozen=True)
class Ranking:
    """The sources, the one to start from first.

    Parameters
    ----------
    rows
        One a source that was measured.
    left_out
        Those that were not.
    measure
        What `score` is: "accuracy", "balanced accuracy", "F1 of a row" or "R²".
    rounds
        The jobs, as they were decided before the first probe.
    n_computed
        How many rows went through a trunk, over all sources; 0 where everything was cached.
    seconds
        How long it took.
    seed
        Of the sample and the folds.
    notes
        What a person should know, a sentence each.
    n_classes
        Of the data; 0 for numbers.
    """

    rows: tuple[Ranked, ...]
    left_out: tuple[LeftOut, ...] = ()
    measure: str = "accuracy"
    rounds: tuple[Round, ...] = ()
    n_computed: int = 0
    seconds: float = 0.0
    seed: int = 0
    notes: tuple[str, ...] = ()
    n_classes: int = 0

    @property
    def best(self) -> Source:
        """The source to start from."""
        return self.rows[0].source

    def in_a_line(self) -> str:
        """Say why the first was chosen, and what comes next."""
        first, *others = self.rows
        said = (
            f"of {len(self.rows)} ranked, {self.measure} {first.score:.3f} on {first.n_rows} rows"
        )
        if not others:
            return said
        tied = ", within noise" if others[0].is_tied else ""
        return f"{said}; next {others[0].source.uri}, {others[0].score:.3f}{tied}"

    def __str__(self) -> str:
        """Return a line a source."""
        lines = [
            f"{place}. {row.source.uri}  {self.measure} {row.score:.3f}"
            + ("  within noise of the best" if row.is_tied and place > 1 else "")
            for place, row in enumerate(self.rows, 1)
        ]
        lines += [f"-  {one.uri}: {one.reason}" for one in self.left_out]
        return "\n".join([*lines, *(f"note: {note}" for note in self.notes)])

    def to_json(self) -> dict[str, Any]:
        """Return what a plan, a bundle or a report keeps of it, as plain JSON values."""
        return {
            "rows": [row.to_json() for row in self.rows],
            "left_out": [vars(one).copy() for one in self.left_out],
            "measure": self.measure,
            "rounds": [vars(one).copy() for one in self.rounds],
            "n_computed": self.n_computed,
            "seconds": self.seconds,
            "seed": self.seed,
            "notes": list(self.notes),
            "n_classes": self.n_classes,
        }
