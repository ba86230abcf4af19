"""Few: of which texts all teach step 5 and are held out in turn (`headstart.steps.few`)."""

from collections import Counter

from headstart.data.also import is_also
from headstart.data.dataset import Dataset
from headstart.data.pictures import row_hash
from headstart.errors import UsageError
from headstart.sources.source import Source
from headstart.steps.phase import FEW_FOLDS
from headstart.steps.train import labelled, targets_of
from headstart.task import Kind, Modality

#: With fewer texts a fifth of them tells little: they are judged on all, held out in turn, where
#: all together are not longer than so many characters: two minutes or so.
TEXTS_TO_HOLD_OUT, CHARACTERS_OF_FEW = 256, 50_000

#: Different texts a class from which few teach step 5: each half of them has two of every class.
TEXTS_A_CLASS = 2 * FEW_FOLDS


def check_few(source: Source, data: Dataset, head: str) -> None:
    """Refuse what "few" is not for.

    Raises
    ------
    UsageError
        It says what came.
    """
    if given := unlike_few(source, data, head):
        raise UsageError(
            f"finetune='few' is for texts of one class each, a source that can be trained and a "
            f"linear head; got {given}.\nExpected 'auto', or a boundary such as 'last:25%'."
        )
    labels, n_texts = labelled(data).labels, _texts_a_class(data.training())
    if lacking := [labels[k] for k, n in sorted(n_texts.items()) if n < FEW_FOLDS]:
        raise UsageError(
            f"finetune='few' holds out half of the texts in turn, and too few differ of the class "
            f"{', '.join(map(repr, lacking))}.\nExpected {FEW_FOLDS} different texts of every "
            "class at least; or 'no', 'auto', or a boundary such as 'last:25%'."
        )


def unlike_few(source: Source, data: Dataset, head: str) -> str:
    """Return what keeps rows from teaching step 5 by being like and unlike; empty if nothing."""
    if source.modality is not Modality.TEXT or data.modality is not Modality.TEXT:
        return f"{data.modality} rows"
    if not source.is_trainable:
        return "a source that can only be used frozen"
    if labelled(data).kind is not Kind.MULTICLASS:
        return f"{labelled(data).kind} labels"
    if is_also(data).any():
        return "rows of another domain beside them"
    return "" if head == "linear" else f"head={head!r}"


def are_few(data: Dataset) -> bool:
    """Return whether there are few texts, short enough, and different ones of every class."""
    if len(data) >= TEXTS_TO_HOLD_OUT or sum(map(len, data.rows)) > CHARACTERS_OF_FEW:
        return False
    return min(_texts_a_class(data).values(), default=0) >= TEXTS_A_CLASS


def _texts_a_class(data: Dataset) -> Counter[int]:
    """Return how many different texts there are of each class that has some."""
    texts = {(int(k), row_hash(row)) for k, row in zip(targets_of(data), data.rows, strict=True)}
    return Counter(k for k, _ in texts)
