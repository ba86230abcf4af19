"""Search: probes round after round; who is known to be worse leaves, the last two are measured."""

import dataclasses
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headstart.data.dataset import Dataset
from headstart.errors import HeadstartError, UsageError
from headstart.features.extract import extract, extract_many
from headstart.features.features import Features
from headstart.metrics.interval import Interval, one_standard_error
from headstart.progress import track
from headstart.ranking.candidates import first_line, n_parameters
from headstart.ranking.finetuned import finetuned
from headstart.ranking.measure import Facts
from headstart.ranking.probe import Probed, distinct, logistic, ridge
from headstart.ranking.ranking import LeftOut, Ranked
from headstart.ranking.schedule import Round
from headstart.ranking.trainless import distance, side_by_side, trainless
from headstart.sources.source import Source
from headstart.steps.train import labelled, targets_of

#: A smaller source within noise is listed first if no more than this is likely given up for it.
GIVEN_UP = 0.005
#: How far off the difference of two cards' priors may be, one standard deviation. With 0.05 they
#: overruled what was measured: 0.46 points lost on average, and 0.12 so (NOTES.md of the bench).
PRIOR_NOISE = 0.2
#: Half the width of a 95 % interval, in standard errors.
HALF_WIDTH = 1.96
#: How many reach the probe that step 4 trains.
N_FINALISTS = 2


@dataclass(frozen=True)
class Asked:
    """How a ranking is to be made: budget, seed, whether sources are cut or fine-tuned.

    >>> Asked(budget_s=0)
    Traceback (most recent call last):
    headstart.errors.UsageError: budget_s=0; expected seconds above 0, or none.
    """

    budget_s: float | None = None
    seed: int = 0
    is_whole: bool = False
    finetune: bool = False

    def __post_init__(self) -> None:
        if self.budget_s is not None and not self.budget_s > 0:
            raise UsageError(f"budget_s={self.budget_s!r}; expected seconds above 0, or none.")


@dataclass(frozen=True, eq=False)
class Standing:
    """How a source did in the last round it took part in.

    Parameters
    ----------
    at
        The place of its best boundary among those tried.
    ridges
        What was probed at each boundary.
    features, top
        At the best boundary and at the top, one of each group of equal rows.
    final
        The logistic probe; None for all but the last two.
    tuned
        What a short fine-tuning gave, where it was asked for and tried.
    """

    source: Source
    round: int
    at: int
    ridges: tuple[Probed, ...]
    features: Features
    top: Features
    final: Probed | None = None
    tuned: Probed | None = None

    @property
    def ridge(self) -> Probed:
        """The closed-form probe at the best boundary."""
        return self.ridges[self.at]

    @property
    def score(self) -> float:
        """By the best probe there is, and what fine-tuning adds where it surely does."""
        return (self.final or self.ridge).mean + self.lift

    @property
    def lift(self) -> float:
        """What fine-tuning adds on the rows held out from it; 0 within one standard error."""
        if self.tuned is None or self.final is None:
            return 0.0
        gains = _gains(self.tuned, self.final)
        return float(gains.mean()) if gains.mean() > one_standard_error(gains) else 0.0

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
        """What fine-tuning gave where it surely adds, else the probe."""
        return self.tuned if self.tuned is not None and self.lift else self.final or self.ridge


class Search:
    """Probes on a growing sample.

    Parameters
    ----------
    sample
        The rows, in an order of which every beginning is a stratified sample.
    facts
        What is known of each source, by its URI.
    asked
        How the ranking is to be made.
    key
        Names the question; a short fine-tuning is kept under it.
    fresh
        Do that fine-tuning anew.
    """

    def __init__(
        self,
        sample: Dataset,
        facts: dict[str, Facts],
        asked: Asked,
        key: str = "",
        *,
        fresh: bool = False,
    ) -> None:
        self.sample, self.facts, self.asked, self.key = sample, facts, asked, key
        self.fresh = fresh
        self.task, self.targets = labelled(sample), targets_of(sample)
        self.n_computed = 0
        self.left_out: list[LeftOut] = []
        self.notes: list[str] = []
        self.standings: dict[str, Standing] = {}

    def go(self, sources: Sequence[Source], rounds: Sequence[Round]) -> list[Ranked]:
        """Run the rounds; return the sources, the one to start from first."""
        staying = list(sources)
        for i, one in enumerate(rounds):
            staying = self._kept(staying, one.n_sources)
            self._round(i, staying, one.n_rows)
            staying = [source for source in staying if source.uri in self.standings]
        self._finish()
        return self._ranked()

    def _kept(self, sources: list[Source], most: int) -> list[Source]:
        """Return the sources that stay: at most so many, and none known to be worse."""
        standings = [self.standings[s.uri] for s in sources if s.uri in self.standings]
        if not standings:
            return sources
        best = sorted(standings, key=lambda one: one.merit, reverse=True)[:most]
        may_win = [s for i, s in enumerate(best) if i < N_FINALISTS or s.minus(best[0]).high >= 0]
        return [one.source for one in may_win]

    def _round(self, i: int, sources: Sequence[Source], n_rows: int) -> None:
        rows = self.sample.take(np.arange(n_rows))
        with track(f"ranking on {n_rows:,} rows", len(sources), "sources") as bar:
            for source in sources:
                try:
                    self.standings[source.uri] = self._probed(i, source, rows)
                except (HeadstartError, OSError, RuntimeError, MemoryError) as error:
                    self.standings.pop(source.uri, None)
                    self.left_out.append(LeftOut(source.uri, first_line(error)))
                bar.advance()

    def _probed(self, i: int, source: Source, rows: Dataset) -> Standing:
        found = [distinct(one) for one in self._features(source, rows)]
        ridges = side_by_side(lambda one: ridge(one, self._targets(one), self.task), found)
        at = len(ridges) - 1 if self.asked.is_whole else preferred(ridges)
        return Standing(source, i, at, ridges, found[at], found[-1])

    def _features(self, source: Source, rows: Dataset) -> list[Features]:
        at = self.facts[source.uri].boundaries
        found = (
            [extract(source, rows)] if at is None else [*extract_many(source, rows, at).values()]
        )
        self.n_computed += found[-1].n_computed
        return found

    def _targets(self, features: Features) -> NDArray[Any]:
        return self.targets[features.kept]

    def _finish(self) -> None:
        """Give the last two the probe that step 4 trains."""
        for one in self._finalists():
            final = logistic(one.features, self._targets(one.features), self.task, self.asked.seed)
            self.standings[one.source.uri] = dataclasses.replace(
                one, final=final, tuned=self._tuned(one)
            )

    def _tuned(self, one: Standing) -> Probed | None:
        """Let the upper stages move for a while; a source that breaks then keeps its probe."""
        if not self.asked.finetune:
            return None
        try:
            study = f"rank-{self.key}"
            return finetuned(
                one.source, self.sample, one.top, self.asked.seed, study, fresh=self.fresh
            )
        except (HeadstartError, OSError, RuntimeError, MemoryError) as error:
            self.notes.append(f"{one.source.uri} could not be fine-tuned: {first_line(error)}")
            return None

    def _finalists(self) -> list[Standing]:
        """Return those of the last round that are likely best, the cards' priors weighed in."""
        standings = self._sorted()
        last = [one for one in standings if one.round == standings[0].round]
        ordered = sorted(last, key=lambda one: weighed(one, last[0]).mean, reverse=True)
        return ordered[:N_FINALISTS]

    def _sorted(self) -> list[Standing]:
        return sorted(self.standings.values(), key=lambda one: one.merit, reverse=True)

    def _ranked(self) -> list[Ranked]:
        standings = self._sorted()
        if not standings:
            return []
        best = standings[0]
        gaps = {one.source.uri: one.minus(best) for one in standings}
        first = self._first(standings, gaps)
        ordered = [first, *(one for one in standings if one is not first)]
        return list(side_by_side(
            lambda one: self._row(one, gaps[one.source.uri], is_best=one is best), ordered
        ))  # fmt: skip

    def _first(self, standings: Sequence[Standing], gaps: dict[str, Interval]) -> Standing:
        """Return the one to start from: within noise of the best, the likely one or a smaller.

        Rows too few to tell sources apart do not make them equal, so a smaller one is taken only
        where little is likely lost by it.
        """
        best = standings[0]
        tied = [one for one in standings if one.final and gaps[one.source.uri].high >= 0]
        likely = max(tied, key=lambda one: weighed(one, best).mean, default=best)
        near = [one for one in tied if weighed(one, likely).loss <= GIVEN_UP]
        first = min((likely, *near), key=_size)
        if first is not best:
            is_smaller = n_parameters(first.source) < n_parameters(best.source)
            why = "the smaller one" if is_smaller else "the one whose card promises more"
            self.notes.append(
                f"{first.source.uri} and {best.source.uri} are within noise "
                f"({gaps[first.source.uri]}); {why} is listed first."
            )
        return first

    def _row(self, one: Standing, gap: Interval, *, is_best: bool) -> Ranked:
        facts = self.facts[one.source.uri]
        probed = one.final or one.ridge
        names = [str(at) for at in facts.boundaries or ("top",)]
        is_top = one.at == len(one.ridges) - 1
        return Ranked(
            source=one.source,
            score=probed.interval(),
            difference=Interval(0.0, 0.0, 0.0) if is_best else gap,
            is_tied=is_best or gap.high >= 0,
            boundary=None if is_top else one.features.boundary,
            by_boundary={name: p.mean for name, p in zip(names, one.ridges, strict=True)},
            probe="ridge" if one.final is None else "logistic",
            n_rows=len(probed.rows),
            trainless=trainless(
                one.source, one.features, self._targets(one.features), self.task, one.top
            ),
            distance=distance(one.source, one.top),
            latency_ms=facts.latency_ms,
            memory_bytes=facts.memory_bytes,
            finetuned=None if one.tuned is None else one.tuned.interval(),
        )


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
    gains = _gains(ridges[best], ridges[top])
    return best if gains.mean() > one_standard_error(gains) else top


def _gains(a: Probed, b: Probed) -> NDArray[np.float64]:
    """Return how much more each row gave to `a`, of the rows that both have."""
    _, here, there = np.intersect1d(a.rows, b.rows, return_indices=True)
    return a.scores[here] - b.scores[there]


@dataclass(frozen=True)
class Belief:
    """What is believed of a difference: a normal distribution.

    >>> round(Belief(0.0, 0.01).loss, 6)  # as likely worse as better
    0.003989
    >>> Belief(-0.02, 0.0).loss, Belief(0.02, 0.0).loss
    (0.02, 0.0)
    """

    mean: float
    noise: float

    @property
    def loss(self) -> float:
        """How much is lost, on average, if it is negative: E[max(0, −x)]."""
        if not self.noise:
            return max(0.0, -self.mean)
        from scipy.special import ndtr

        z = self.mean / self.noise
        density = math.exp(-(z**2) / 2) / math.sqrt(2 * math.pi)
        return float(self.noise * density - self.mean * ndtr(-z))


def weighed(one: Standing, other: Standing) -> Belief:
    """Return a measured difference, and as far as it is noise, what the cards say of it.

    Where much was measured the priors hardly count; a card without a prior says nothing.
    """
    if one is other:
        return Belief(0.0, 0.0)
    gap, priors = one.minus(other), (one.source.prior, other.source.prior)
    noise = (gap.high - gap.low) / (2 * HALF_WIDTH)
    if not all(priors):
        return Belief(gap.mid, noise)
    return shrunk(Belief(gap.mid, noise), priors[0] - priors[1])


def shrunk(measured: Belief, guess: float) -> Belief:
    """Return what is believed of a difference that was guessed before it was measured.

    >>> shrunk(Belief(0.0, 0.0), -0.02)  # measured exactly
    Belief(mean=0.0, noise=0.0)
    >>> round(shrunk(Belief(0.0, 0.2), -0.02).mean, 6)  # as noisy as the guess
    -0.01
    """
    trust = PRIOR_NOISE**2 / (PRIOR_NOISE**2 + measured.noise**2)
    mean = trust * measured.mean + (1 - trust) * guess
    return Belief(mean, measured.noise * math.sqrt(trust))


def _size(one: Standing) -> tuple[int, float]:
    return n_parameters(one.source), -one.source.prior
