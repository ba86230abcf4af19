"""Auto: the source of a fit that names none, by the ranking of the shelf on the fit's own rows."""

from dataclasses import dataclass

from headstart.data.also import without_also
from headstart.data.dataset import Dataset
from headstart.errors import DataError, SourceUnavailable
from headstart.progress import track
from headstart.ranking.rank import rank_whole
from headstart.ranking.ranking import Ranking
from headstart.sources.catalog import at_hand
from headstart.sources.source import Source
from headstart.steps.take import take
from headstart.task import Kind, Modality

AUTO = "auto"


@dataclass(frozen=True)
class Start:
    """What a fit starts from, and the ranking that chose it; None where nothing was to choose."""

    source: Source
    ranking: Ranking | None = None


def start(uri: str, data: Dataset, seed: int) -> Start:
    """Return the source that a URI names, or, of "auto", the one that suits the training rows.

    Where rows cannot be ranked (too few, or tags), it is the best first guess of the shelf.

    Parameters
    ----------
    uri
        A source, or "auto".
    data
        Labelled rows; only those to train on are read, and of them those of the target domain.
    seed
        Of a `scratch:` source, of the ranking's sample and folds.
    """
    if uri != AUTO or not _is_choice(data):
        return Start(take(uri, data, seed=seed))
    try:
        found = rank_whole(without_also(data), seed=seed)
    except (DataError, SourceUnavailable) as error:
        with track("ranking", None) as bar:
            bar.note(f"The sources were not ranked: {str(error).splitlines()[0]}")
        return Start(take(uri, data, seed=seed))
    return Start(found.best, found)


def _is_choice(data: Dataset) -> bool:
    """Return whether there is more than one source for such rows, and a way to rank them."""
    if data.task is None or data.task.kind is Kind.TAGS or len(data) == 0:
        return False
    if data.modality not in (Modality.IMAGE, Modality.TEXT):
        return False
    return len(at_hand(data.modality)) > 1
