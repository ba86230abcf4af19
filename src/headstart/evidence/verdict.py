"""Verdict: did the transfer help, and what ships; by functions of numbers that anyone can call.

What ships is chosen by validation scores alone. The verdict is read off the test rows, once.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from headstart.metrics.interval import Interval, is_clear, one_standard_error

Word = Literal["positive", "negative", "undecided"]

#: Validation scores: arm → seed → score; a seed that diverged has none.
Scores = Mapping[str, Mapping[int, float]]


@dataclass(frozen=True)
class Verdict:
    """Whether the transfer helped, and what ships.

    Parameters
    ----------
    word
        "positive", "negative" or "undecided".
    gain
        Test score of the best transfer arm minus that of the best control arm.
    transfer, control
        Those two arms, chosen on validation.
    shipped
        The arm that validation prefers, be it a control.
    why
        Why that arm ships.
    n_seeds
        Seeds that the gain is a mean over.
    worth
        The gain from which the transfer is worth its trouble.
    smallest_gain
        The smallest true gain that this study would have found four times in five.
    is_at_most
        Whether the control could have gone on learning, so that the gain is at most this.
    notes
        What qualifies it, a sentence each.

    Examples
    --------
    >>> print(Verdict("positive", Interval(0.151, 0.184, 0.217), "probe", "scratch", "probe",
    ...               n_seeds=5))
    positive transfer: +0.184 [+0.151, +0.217] over 5 seeds
    """

    word: Word
    gain: Interval
    transfer: str
    control: str
    shipped: str
    why: str = ""
    n_seeds: int = 1
    worth: float = 0.0
    smallest_gain: float = math.inf
    is_at_most: bool = False
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        bound = "at most " if self.is_at_most else ""
        seeds = f"{self.n_seeds} seed" + ("" if self.n_seeds == 1 else "s")
        return f"{self.word} transfer: {bound}{self.gain} over {seeds}".replace(
            "undecided transfer", "undecided"
        )

    @property
    def is_shipped_control(self) -> bool:
        """Whether validation prefers an arm without transfer."""
        return self.shipped == self.control

    def to_json(self) -> dict[str, Any]:
        """Return it as plain JSON values."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        return values | {
            "gain": interval_json(self.gain),
            "smallest_gain": finite(self.smallest_gain),
            "notes": list(self.notes),
            "said": str(self),
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> "Verdict":
        """Read back what `to_json` wrote."""
        fields = {name: value for name, value in values.items() if name != "said"}
        gain = interval_from(values["gain"])
        assert gain is not None
        smallest = values["smallest_gain"]
        return cls(
            **fields
            | {
                "gain": gain,
                "smallest_gain": math.inf if smallest is None else smallest,
                "notes": tuple(values["notes"]),
            }
        )


@dataclass(frozen=True)
class Preferred:
    """An arm that validation prefers, and why."""

    arm: str
    why: str


def word_of(gain: Interval, worth: float = 0.0) -> Word:
    """Return the verdict on a gain.

    Parameters
    ----------
    gain
        Test score of transfer minus that of the control, with its interval.
    worth
        The gain from which the transfer is worth its trouble, at least 0.

    Examples
    --------
    >>> word_of(Interval(0.01, 0.05, 0.09)), word_of(Interval(0.01, 0.05, 0.09), worth=0.02)
    ('positive', 'undecided')
    >>> word_of(Interval(-0.09, -0.05, -0.01)), word_of(Interval(-math.inf, 0.05, math.inf))
    ('negative', 'undecided')
    """
    if gain.low > worth:
        return "positive"
    return "negative" if gain.high < -worth else "undecided"


def simplest(scores: Scores, arms: Sequence[str]) -> Preferred:
    """Return the simplest arm within one standard error of the best.

    Parameters
    ----------
    scores
        On validation.
    arms
        From the simplest to the most costly. Arms without a score are passed over.

    Notes
    -----
    Arms are compared over the seeds they share. The rule is that of Breiman et al. 1984 (CART,
    §3.4.3), read for pairs.

    Examples
    --------
    >>> tuned = {0: 0.91, 1: 0.89, 2: 0.91}
    >>> simplest({"probe": {0: 0.9, 1: 0.9, 2: 0.9}, "finetuned": tuned}, ["probe", "finetuned"])
    Preferred(arm='probe', why='probe, the simpler: finetuned − probe = +0.003 ± 0.007')
    """
    there = [arm for arm in arms if scores.get(arm)]
    top = best(scores, there)
    for arm in there[: there.index(top)]:
        gaps = _gaps(scores, top, arm)
        if len(gaps) and not is_clear(float(gaps.mean()), one_standard_error(gaps)):
            return Preferred(arm, f"{arm}, the simpler: {top} − {arm} = {_amount(gaps)}")
    return Preferred(top, f"{top}: best on validation")


def best(scores: Scores, arms: Sequence[str]) -> str:
    """Return the arm with the highest mean score; of equal ones the first.

    Seeds differ in how hard their validation rows are, so an arm that lacks seeds is compared
    with the best of those that have most, on the seeds that both have; the largest lead wins.

    >>> best({"a": {0: 0.5, 1: 0.9}, "b": {0: 0.6}}, ["a", "b"])
    'b'
    >>> some = {"always": {0: 0.5, 1: 0.5}, "a": {0: 0.9, 1: 0.4}, "b": {0: 0.8}}
    >>> best(some, ["always", "a", "b"])  # on seed 0, an easy one, b is behind a
    'a'
    """
    most = max(len(scores[arm]) for arm in arms)
    full = [arm for arm in arms if len(scores[arm]) == most]
    shared = [seed for seed in scores[full[0]] if all(seed in scores[arm] for arm in full)]
    top = max(full, key=lambda arm: _mean(scores[arm], shared))
    return max(arms, key=lambda arm: _lead(scores, arm, top))


def _mean(scores: Mapping[int, float], seeds: Sequence[int]) -> float:
    """Return the mean over some seeds; over all where there are none of these."""
    return float(np.mean([scores[seed] for seed in seeds or scores]))


def _lead(scores: Scores, arm: str, other: str) -> float:
    """Return by how much an arm is ahead on the seeds that both have; without any it is not."""
    gaps = _gaps(scores, arm, other)
    return float(gaps.mean()) if len(gaps) else -math.inf


def contender(scores: Scores, arms: Sequence[str], control: str) -> Preferred:
    """Return the transfer arm to compare with the control: the simplest near the best (`simplest`).

    Where that one is behind the control and the best is not, it is the best: what is near enough
    to it is not good enough.

    Parameters
    ----------
    scores
        On validation.
    arms
        Those that transfer, from the simplest to the most costly.
    control
        The control that validation prefers.

    Examples
    --------
    >>> scores = {"probe": {0: 0.79, 1: 0.78}, "finetuned": {0: 0.83, 1: 0.77}}
    >>> contender(scores | {"classical": {0: 0.77, 1: 0.77}}, ["probe", "finetuned"], "classical")
    Preferred(arm='probe', why='probe, the simpler: finetuned − probe = +0.015 ± 0.025')
    >>> contender(scores | {"classical": {0: 0.79, 1: 0.79}}, ["probe", "finetuned"], "classical")
    Preferred(arm='finetuned', why='finetuned: probe, the simpler, is behind classical')
    """
    near, top = simplest(scores, arms), best(scores, arms)
    if _leads(scores, near.arm, control) or not _leads(scores, top, control):
        return near
    return Preferred(top, f"{top}: {near.arm}, the simpler, is behind {control}")


def _leads(scores: Scores, transfer: str, control: str) -> bool:
    return ships(scores, transfer, control).arm == transfer


def ships(scores: Scores, transfer: str, control: str) -> Preferred:
    """Return what ships: the transfer arm, unless validation prefers the control.

    Parameters
    ----------
    scores
        On validation.
    transfer, control
        The arm of each kind that validation prefers.

    Examples
    --------
    >>> ships({"probe": {0: 0.9}, "scratch": {0: 0.8}}, "probe", "scratch")
    Preferred(arm='probe', why='probe − scratch = +0.100 (one seed) on validation')
    """
    gaps = _gaps(scores, transfer, control)
    if not len(gaps):
        return Preferred(transfer, f"{control} came to no score")
    said = f"{transfer} − {control} = {_amount(gaps)}"
    return Preferred(transfer if gaps.mean() >= 0 else control, f"{said} on validation")


def wins(scores: Scores, transfer: str, control: str) -> bool:
    """Say whether the transfer arm is better than the control by more than one standard error.

    Parameters
    ----------
    scores
        On validation.

    Examples
    --------
    >>> wins({"probe": {0: 0.9, 1: 0.8}, "scratch": {0: 0.5, 1: 0.5}}, "probe", "scratch")
    True
    >>> wins({"probe": {0: 0.9, 1: 0.5}, "scratch": {0: 0.6, 1: 0.6}}, "probe", "scratch")
    False
    """
    gaps = _gaps(scores, transfer, control)
    return not len(gaps) or is_clear(float(gaps.mean()), one_standard_error(gaps))


def _amount(gaps: np.ndarray[Any, np.dtype[np.float64]]) -> str:
    """Say how large a gain is, and how sure that is."""
    noise = f"± {one_standard_error(gaps):.3f}" if len(gaps) > 1 else "(one seed)"
    return f"{gaps.mean():+.3f} {noise}"


def _gaps(scores: Scores, arm: str, other: str) -> np.ndarray[Any, np.dtype[np.float64]]:
    shared = [seed for seed in scores[arm] if seed in scores[other]]
    return np.array([scores[arm][seed] - scores[other][seed] for seed in shared])


def finite(value: float) -> float | None:
    """Return a number that JSON can say, or None."""
    return float(value) if math.isfinite(value) else None


def interval_json(interval: Interval | None) -> list[float | None] | None:
    """Return an interval as JSON values; None for an end that is not finite."""
    return None if interval is None else [finite(value) for value in interval]


def interval_from(values: Sequence[float | None] | None) -> Interval | None:
    """Read back what `interval_json` wrote.

    >>> interval_from(interval_json(Interval(-math.inf, 0.1, 0.3)))
    Interval(low=-inf, mid=0.1, high=0.3)
    """
    if values is None:
        return None
    low, mid, high = values
    return Interval(
        -math.inf if low is None else low,
        math.nan if mid is None else mid,
        math.inf if high is None else high,
    )
