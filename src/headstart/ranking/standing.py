"""Standing: how a source did in a round, and the prober that finds out, here or elsewhere."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Dataset, Skipped
from headstart.errors import HeadstartError, UsageError, first_line
from headstart.features.extract import extract, extract_many
from headstart.features.features import Features
from headstart.metrics.interval import Interval, is_clear, one_standard_error
from headstart.ranking.finetuned import finetuned
from headstart.ranking.measure import Facts
from headstart.ranking.probe import Probed, distinct, logistic, ridge
from headstart.ranking.ranking import LeftOut
from headstart.ranking.trainless import Trainless, distance, side_by_side, trainless
from headstart.sources.source import Source
from headstart.steps.train import labelled, targets_of
from headstart.task import Task

#: What one source may break with while the others are ranked.
BREAKS = (HeadstartError, OSError, RuntimeError, MemoryError)


@dataclass(frozen=True)
class Asked:
    """How a ranking is to be made: budget, seed, whether sources are cut or fine-tuned, and so on.

    >>> Asked(budget_s=0)
    Traceback (most recent call last):
    headstart.errors.UsageError: budget_s=0; expected seconds above 0, or none.
    """

    budget_s: float | None = None
    seed: int = 0
    is_whole: bool = False
    finetune: bool = False
    max_skipped: float = 1.0

    def __post_init__(self) -> None:
        if self.budget_s is not None and not self.budget_s > 0:
            raise UsageError(f"budget_s={self.budget_s!r}; expected seconds above 0, or none.")


@dataclass(frozen=True, eq=False)
class Standing:
    """How a source did in the last round it took part in.

    Parameters
    ----------
    round, n_rows
        Which round, and on how many rows.
    at
        The place of its best boundary among those tried.
    ridges
        What was probed at each boundary.
    features, top
        At the best boundary and at the top, one of each group of equal rows; None where it comes
        from another process (`Prober.whole`).
    n_computed
        How many rows went through the trunk for it.
    skipped
        The rows that could not be read.
    final
        The logistic probe; None for all but the last two.
    tuned
        What a short fine-tuning gave, where it was asked for and tried.
    note
        Why there is none, or no columns.
    trainless, distance
        Columns beside the probe (`Prober.describe`).
    """

    source: Source
    round: int
    n_rows: int
    at: int
    ridges: tuple[Probed, ...]
    features: Features | None = None
    top: Features | None = None
    n_computed: int = 0
    skipped: tuple[Skipped, ...] = ()
    final: Probed | None = None
    tuned: Probed | None = None
    note: str = ""
    trainless: Trainless = dataclasses.field(default_factory=Trainless)
    distance: float | None = None

    def __getstate__(self) -> dict[str, Any]:
        """Leave the features at home: they are maps of kept files, which any process finds."""
        return self.__dict__ | {"features": None, "top": None}

    @property
    def ridge(self) -> Probed:
        """The closed-form probe at the best boundary."""
        return self.ridges[self.at]

    @property
    def score(self) -> float:
        """By the best probe there is, and what fine-tuning adds where that is clear (`lift`)."""
        return (self.final or self.ridge).mean + self.lift

    @property
    def lift(self) -> float:
        """What fine-tuning adds on the rows held out from it; 0 within one standard error."""
        if self.tuned is None or self.final is None:
            return 0.0
        gains = self.tuned.gains(self.final)
        gain = float(gains.mean())
        return gain if is_clear(gain, one_standard_error(gains)) else 0.0

    @property
    def merit(self) -> tuple[bool, int, float, float]:
        """What sources are sorted by; the card's prior only breaks ties."""
        return self.final is not None, self.round, self.score, self.source.prior

    def minus(self, other: "Standing") -> Interval:
        """Return the difference in score, by the same probe on the same rows."""
        if self.final is None or other.final is None:
            return self.ridge.minus(other.ridge)
        if self.lift or other.lift:
            return self.tuned_or_final.minus(other.tuned_or_final)
        return self.final.minus(other.final)

    @property
    def tuned_or_final(self) -> Probed:
        """What fine-tuning gave where it clearly adds (`lift`), else the probe."""
        return self.tuned if self.tuned is not None and self.lift else self.final or self.ridge


@dataclass(frozen=True, eq=False)
class Probe:
    """What is to be probed: a source, in which round, on how many rows."""

    source: Source
    round: int
    n_rows: int


@dataclass(frozen=True, eq=False)
class Prober:
    """Finds out how sources do; it may be sent to other processes that share the home.

    Parameters
    ----------
    sample
        The rows, in an order of which every beginning is a stratified sample.
    facts
        What is known of each source, by its URI.
    asked
        How the ranking is to be made.
    study
        What a short fine-tuning is kept under.
    fresh
        Do that fine-tuning anew.
    """

    sample: Dataset
    facts: dict[str, Facts]
    asked: Asked
    study: str = ""
    fresh: bool = False

    @property
    def task(self) -> Task:
        """What the rows are labelled with."""
        return labelled(self.sample)

    def probe(self, job: Probe) -> Standing | LeftOut:
        """Return how a source does on the first rows, or why it cannot be probed."""
        try:
            found = self.features(job.source, job.n_rows)
            kept = [distinct(one) for one in found]
            among = targets_of(self.sample)
            ridges = side_by_side(lambda one: ridge(one, among, self.task), kept)
        except BREAKS as error:
            return LeftOut(job.source.uri, first_line(error))
        at = len(ridges) - 1 if self.asked.is_whole else preferred(ridges)
        return Standing(
            job.source, job.round, job.n_rows, at, ridges, kept[at], kept[-1],
            found[-1].n_computed, found[-1].skipped,
        )  # fmt: skip

    def finish(self, one: Standing) -> Standing:
        """Give a finalist the probe that step 4 trains, and a short fine-tuning where asked."""
        one = self.whole(one)
        assert one.features is not None
        final = logistic(one.features, targets_of(self.sample), self.task, self.asked.seed)
        tuned, note = self._tuned(one) if self.asked.finetune else (None, "")
        return dataclasses.replace(one, final=final, tuned=tuned, note=note)

    def _tuned(self, one: Standing) -> tuple[Probed | None, str]:
        """Let the upper stages move for a while; a source that breaks then keeps its probe."""
        assert one.top is not None
        try:
            return finetuned(
                one.source, self.sample, one.top, self.asked.seed, self.study, fresh=self.fresh
            ), ""
        except BREAKS as error:
            return None, f"{one.source.uri} could not be fine-tuned: {first_line(error)}"

    def describe(self, one: Standing) -> Standing:
        """Add the columns beside the probe; a source that breaks now has none."""
        try:
            one = self.whole(one)
            assert one.features is not None and one.top is not None
            targets = self.targets(one.features)
            columns = trainless(one.source, one.features, targets, self.task, one.top)
            return dataclasses.replace(
                one, trainless=columns, distance=distance(one.source, one.top)
            )
        except BREAKS as error:
            note = f"{one.source.uri} could not be described: {first_line(error)}"
            return dataclasses.replace(one, note=f"{one.note} {note}".strip())

    def whole(self, one: Standing) -> Standing:
        """Return a standing with its features, which are in the cache."""
        if one.features is not None:
            return one
        found = self.features(one.source, one.n_rows)
        return dataclasses.replace(one, features=distinct(found[one.at]), top=distinct(found[-1]))

    def features(self, source: Source, n_rows: int) -> list[Features]:
        """Return the features of the first rows at the boundaries that are tried."""
        rows, at = self.sample.take(np.arange(n_rows)), self.facts[source.uri].boundaries
        if at is None:
            return [extract(source, rows)]
        return [*extract_many(source, rows, at).values()]

    def targets(self, features: Features) -> NDArray[Any]:
        """Return the targets of the rows that features are of."""
        return targets_of(self.sample)[features.kept]


def preferred(ridges: Sequence[Probed]) -> int:
    """Return the place of the boundary to take: the top, unless another is above its noise.

    The best of several scores is too high by chance; a lower boundary must beat the top by more
    than one standard error of the paired difference.

    >>> top = Probed(np.arange(4), np.array([1.0, 0.0, 1.0, 0.0]))
    >>> low = Probed(np.arange(4), np.array([0.0, 1.0, 1.0, 1.0]))
    >>> preferred([low, top]), preferred([Probed(np.arange(4), np.ones(4)), top])
    (1, 0)
    """
    top = len(ridges) - 1
    best = max(range(len(ridges)), key=lambda i: (ridges[i].mean, i))
    gains = ridges[best].gains(ridges[top])
    return best if is_clear(float(gains.mean()), one_standard_error(gains)) else top
