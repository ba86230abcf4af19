"""Choice: which arms are compared, and what ships, by validation alone."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from headstart.errors import DataError
from headstart.evidence.arms import Arm
from headstart.evidence.evidence import Outcome
from headstart.evidence.verdict import Preferred, Scores, best, contender, ships


@dataclass(frozen=True)
class Chosen:
    """What validation prefers.

    Parameters
    ----------
    transfer, control
        The transfer arm and the control to compare.
    shipped
        What ships, and why.
    scores
        Of every arm: seed → validation score.
    notes
        Why an arm could not be chosen, a sentence each.
    """

    transfer: str
    control: str
    shipped: Preferred
    scores: Scores
    notes: tuple[str, ...] = ()


def choose(arms: Mapping[str, Arm], outcomes: Sequence[Outcome]) -> Chosen:
    """Choose the arms to compare, and what ships.

    Raises
    ------
    DataError
        Where every transfer arm diverged, or every control.
    """
    notes: list[str] = []
    found = {name: validation(outcomes, name) for name in arms}
    transfers = _eligible(arms, outcomes, "transfer", notes)
    controls = _eligible(arms, outcomes, "control", notes)
    control = best(found, controls)
    transfer = contender(found, transfers, control)
    shipped = ships(found, transfer.arm, control)
    if shipped.arm == transfer.arm:
        shipped = Preferred(shipped.arm, f"{transfer.why}; {shipped.why}")
    return Chosen(transfer.arm, control, shipped, found, tuple(notes))


def whole(outcomes: Iterable[Outcome], arm: str) -> list[Outcome]:
    """Return what came of an arm on all rows."""
    return [one for one in outcomes if one.arm == arm and one.is_whole]


def validation(outcomes: Iterable[Outcome], arm: str) -> dict[int, float]:
    """Return seed → validation score of an arm on all rows; a seed that diverged has none."""
    return {one.seed: one.score for one in whole(outcomes, arm) if not one.error}


def _eligible(
    arms: Mapping[str, Arm], outcomes: Sequence[Outcome], role: str, notes: list[str]
) -> list[str]:
    """Return the arms that can be chosen, and say of the others why not.

    A transfer arm that diverged once is not chosen; a control is, for its other seeds: both
    ways the gain is not made to look larger.
    """
    fits = {name: whole(outcomes, name) for name, arm in arms.items() if arm.role == role}
    diverged = {name: sum(bool(one.error) for one in ones) for name, ones in fits.items()}
    notes += [
        f"{name} diverged with {n} of {len(fits[name])} seeds." for name, n in diverged.items() if n
    ]
    there = [name for name, ones in fits.items() if len(ones) > diverged[name]]
    steady = [name for name in there if not diverged[name]]
    chosen = steady if role == "transfer" and steady else there
    if not chosen:
        raise DataError(f"Every {role} arm diverged: {' '.join(notes)}\nLook at the rows.")
    return chosen
