"""Search: probes round after round; who is known to be worse leaves, the last two are measured."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from headstart.data.dataset import Skipped, limit_skipped, listed
from headstart.jobs import n_workers, results
from headstart.metrics.interval import Interval, wilson
from headstart.progress import track
from headstart.ranking.candidates import n_parameters
from headstart.ranking.ranking import LeftOut, Ranked
from headstart.ranking.schedule import Round
from headstart.ranking.standing import Probe, Prober, Standing
from headstart.ranking.trainless import side_by_side
from headstart.sources.source import Source

#: A smaller source within noise is listed first if no more than this is likely given up for it.
GIVEN_UP = 0.005
#: How far off the difference of two cards' priors may be, one standard deviation. With 0.05 they
#: overruled what was measured: 0.46 points lost on average, and 0.12 so (NOTES.md of the bench).
PRIOR_NOISE = 0.2
#: Half the width of a 95 % interval, in standard errors.
HALF_WIDTH = 1.96
#: How many reach the probe that step 4 trains.
N_FINALISTS = 2


class Search:
    """Probes on a growing sample.

    Parameters
    ----------
    prober
        What finds out how sources do.
    notes
        What a person should know by now; more is added.
    """

    def __init__(self, prober: Prober, notes: Iterable[str] = ()) -> None:
        self.prober = prober
        self.n_computed = 0
        self.left_out: list[LeftOut] = []
        self.notes = list(notes)
        self.standings: dict[str, Standing] = {}

    def go(self, sources: Sequence[Source], rounds: Sequence[Round]) -> list[Ranked]:
        """Run the rounds; return the sources, the one to start from first."""
        staying = list(sources)
        for i, one in enumerate(rounds):
            staying = self._kept(staying, one.n_sources)
            self._round(i, staying, one.n_rows)
            staying = [source for source in staying if source.uri in self.standings]
        self._finish()
        ranked = self._ranked()
        if skipped := (*self.prober.sample.skipped, *self._skipped()):
            self.notes.append(
                f"Rows that cannot be read took no part ({len(skipped):,}):{listed(skipped)}"
            )
        return ranked

    def _skipped(self) -> tuple[Skipped, ...]:
        """Return the rows that could not be read, of the largest round."""
        last = max(self.standings.values(), key=lambda one: one.round, default=None)
        return () if last is None else last.skipped

    def _check_readable(self, n_rows: int) -> None:
        """Refuse to rank where surely more rows are unreadable than may be: these are a sample."""
        if not (skipped := self._skipped()):
            return
        most = self.prober.asked.max_skipped
        if wilson(len(skipped), n_rows).low > most:
            limit_skipped(skipped, n_rows, most)

    def _kept(self, sources: list[Source], most: int) -> list[Source]:
        """Return the sources that stay: at most so many, and none known to be worse."""
        standings = [self.standings[s.uri] for s in sources if s.uri in self.standings]
        if not standings:
            return sources
        best = sorted(standings, key=lambda one: one.merit, reverse=True)[:most]
        may_win = [s for i, s in enumerate(best) if i < N_FINALISTS or s.minus(best[0]).high >= 0]
        return [one.source for one in may_win]

    def _round(self, i: int, sources: Sequence[Source], n_rows: int) -> None:
        # The slowest first: nobody is left with it at the end.
        slowest = sorted(sources, key=lambda s: -self.prober.facts[s.uri].latency_ms)
        jobs = ((source.uri, Probe(source, i, n_rows)) for source in slowest)
        found: dict[str, Standing | LeftOut] = {}
        with track(f"ranking on {n_rows:,} rows", len(sources), "sources") as bar:
            for uri, one in results(jobs, self.prober.probe):
                found[uri] = one
                bar.advance()
        for source in sources:
            one = found[source.uri]
            if isinstance(one, LeftOut):
                self.standings.pop(source.uri, None)
                self.left_out.append(one)
            else:
                self.standings[source.uri] = one
                self.n_computed += one.n_computed
        self._check_readable(n_rows)

    def _finish(self) -> None:
        """Give the last two the probe that step 4 trains."""
        finalists = {one.source.uri: one for one in self._finalists()}
        done = dict(results(finalists.items(), self.prober.finish))
        for uri in finalists:
            self.standings[uri] = done[uri]

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
        return [
            self._row(one, gaps[one.source.uri], is_best=one.source.uri == best.source.uri)
            for one in self._described(ordered)
        ]

    def _described(self, ordered: Sequence[Standing]) -> Sequence[Standing]:
        """Return the standings with the columns beside their probes."""
        if n_workers() == 1:
            described = side_by_side(self.prober.describe, ordered)
        else:
            found = dict(results([(one.source.uri, one) for one in ordered], self.prober.describe))
            described = tuple(found[one.source.uri] for one in ordered)
        self.notes += [one.note for one in described if one.note]
        return described

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
        facts, probed = self.prober.facts[one.source.uri], one.final or one.ridge
        is_top = one.at == len(one.ridges) - 1
        boundaries = facts.boundaries or ()
        names = [str(at) for at in boundaries] or ["top"]
        return Ranked(
            source=one.source,
            score=probed.interval(),
            difference=Interval(0.0, 0.0, 0.0) if is_best else gap,
            is_tied=is_best or gap.high >= 0,
            boundary=None if is_top else boundaries[one.at],
            by_boundary={name: p.mean for name, p in zip(names, one.ridges, strict=True)},
            probe="ridge" if one.final is None else "logistic",
            n_rows=len(probed.rows),
            trainless=one.trainless,
            distance=one.distance,
            latency_ms=facts.latency_ms,
            memory_bytes=facts.memory_bytes,
            finetuned=None if one.tuned is None else one.tuned.interval(),
        )


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
