"""Proof: evidence and its report in a run's folder, for every verb that proves something."""

from pathlib import Path
from typing import Any

from headstart.data.dataset import Dataset
from headstart.errors import TransferRefused
from headstart.evidence.evidence import Evidence
from headstart.evidence.prove import prove
from headstart.evidence.report import write
from headstart.evidence.saved import keep
from headstart.runs import Run


def proved(model: Any, data: Dataset, folder: Path, **asked: Any) -> tuple[Evidence, Path]:
    """Prove a model, and keep evidence and report in the run's folder; return the page's path.

    Parameters
    ----------
    model, data
        As for `prove`.
    folder
        The run's folder.
    asked
        Options of `prove`: seeds, budget, remedies, and so on.
    """
    with Run(folder):  # nobody else writes into it meanwhile
        found = prove(model, data, **asked)
        rows = data.by_name()
        keep(found, folder, rows)
        return found, write(found, folder, run=str(folder), rows=rows)


def require_transfer(found: Evidence) -> None:
    """Refuse where validation prefers a control.

    Raises
    ------
    TransferRefused
        Naming the control.
    """
    if found.verdict.is_shipped_control:
        raise TransferRefused(
            f"Validation prefers {found.verdict.shipped}, which transfers nothing.\n"
            "Try another source (`headstart rank DATA`) or more rows, or leave out "
            "--require-transfer to ship it."
        )
