"""Examine: everything that is looked at before a score is believed."""

from headstart.checks.duplicates import duplicates
from headstart.checks.finding import Finding, unreadable
from headstart.checks.imbalance import imbalance
from headstart.checks.preprocessing import unlike_source
from headstart.checks.shift import between_splits
from headstart.data.dataset import Dataset
from headstart.errors import UsageError
from headstart.features.features import Features
from headstart.sources.preprocess import Preprocess


def examine(
    data: Dataset,
    features: Features,
    *,
    preprocess: Preprocess | None = None,
    seed: int = 0,
) -> tuple[Finding, ...]:
    """Look at rows and features; return what a person should know, warnings first.

    Labels of test rows are counted and compared with those of their twins; no score is computed,
    and nothing that is found changes what is fitted or chosen.

    Parameters
    ----------
    data
        The rows that could be read, with their split.
    features
        A vector a row, in the same order; `features.skipped` names the rows that could not be.
    preprocess
        How the source reads rows; None: that is not looked at.
    seed
        Of samples, where rows are too many to look at all.
    """
    if len(data) != len(features):
        raise UsageError(
            f"{len(data)} rows and the features of {len(features)} came.\n"
            "Expected as many: take the rows `features.kept` of the data first."
        )
    skipped = (*data.skipped, *features.skipped)
    found = [
        *unreadable(skipped, len(data) + len(skipped)),
        *duplicates(data, features, seed),
        *between_splits(data, features, seed),
        *imbalance(data),
        *([] if preprocess is None else unlike_source(data, preprocess, seed)),
    ]
    return tuple(sorted(found, key=lambda finding: not finding.is_warning))
