"""Step 1, take: the layers of a pretrained source, with its own preprocessing and its card."""

from headstart.data.dataset import Dataset
from headstart.errors import DataError, UsageError
from headstart.sources.catalog import default, resolve
from headstart.sources.source import Source
from headstart.task import Modality


def take(uri: str, data: Dataset, *, seed: int = 0) -> Source:
    """Return the source to start from; nothing of it is read into memory yet.

    Parameters
    ----------
    uri
        A source, or "auto": the best first guess of the shelf for this kind of data.
    data
        The rows it is to read.
    seed
        Of the random weights of a `scratch:` source.

    Raises
    ------
    UnknownSource
        Where the URI names none.
    UsageError
        Where the source reads something else than the rows are.
    """
    if data.modality is Modality.VECTOR:
        return _identity(uri)
    if len(data) == 0:
        raise DataError("There are 0 rows.\nExpected at least two rows of each class.")
    source = resolve(default(data.modality.read_as) if uri == "auto" else uri, seed=seed)
    if source.modality is not data.modality.read_as:
        raise UsageError(
            f"{source.uri} reads {source.modality} rows, the data hold {data.modality} rows.\n"
            f"Choose a source for {data.modality.read_as}: `headstart sources` lists them."
        )
    return source


def _identity(uri: str) -> Source:
    if uri not in ("auto", "identity:"):
        raise UsageError(
            f"source={uri!r} cannot read rows of numbers.\n"
            "Expected 'auto' or 'identity:' for a two-dimensional array; to transfer from a "
            "picture or text model, give paths, pictures or texts."
        )
    return resolve("identity:")
