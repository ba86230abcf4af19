"""Crossing: arms that learn from rows of another domain or language too, or from them alone.

What they gain over the arms that have the data's own rows alone is what the others are worth.
"""

from typing import Any

from headstart.data.dataset import Dataset
from headstart.evidence.arms import Arm, finetunes, like
from headstart.evidence.curation import More, name_of
from headstart.sources.source import Source
from headstart.transfer.plan import automatic_boundary

ZERO_SHOT, BESIDE, BESIDE_FINETUNED = "zero-shot", "beside", "beside-finetuned"


def crossings(model: Any, source: Source, data: Dataset, also: Dataset) -> dict[str, Arm]:
    """Return the arms that other rows make possible, by name.

    Parameters
    ----------
    model
        The estimator that is to be proved.
    source
        What the study transfers from.
    data, also
        The rows it is about, and the others.
    """
    if "also" not in model.get_params(deep=False):
        return {}
    frozen = like(model, source.uri, "no")
    n = f"{len(also):,} rows beside"
    made = {
        ZERO_SHOT: (frozen.set_params(also="only"), f"frozen trunk, a head on the {n} alone"),
        BESIDE: (like(model, source.uri, "no"), f"frozen trunk, a head on all, {n} weighed"),
    }
    if boundary := finetunes(model, source, automatic_boundary(data)):
        tuned = like(model, source.uri, f"only:{boundary}", model.get_params()["phase"])
        made[BESIDE_FINETUNED] = (tuned, f"upper stages ({boundary}) move too, {n} weighed")
    name = name_of(also)
    return {
        arm: Arm(arm, More(learner, also, name, source.uri), "transfer", about)
        for arm, (learner, about) in made.items()
    }


def n_beside(arm: Arm) -> int:
    """Return how many labelled rows an arm learns from beside those of the study."""
    return len(arm.estimator.also) if isinstance(arm.estimator, More) else 0
