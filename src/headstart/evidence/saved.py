"""Saved: evidence in a run's folder, sealed like everything that is kept."""

from pathlib import Path

from headstart.errors import IntegrityError, UsageError
from headstart.evidence.evidence import FORMAT, Evidence
from headstart.io import read_json, sealed_folder, verify_folder, write_json

FOLDER, FILE = "evidence", "evidence.json"


def keep(evidence: Evidence, run: Path) -> Path:
    """Write the evidence into the run's folder, whole or not at all; return where it lies."""
    run.mkdir(parents=True, exist_ok=True)
    with sealed_folder(run / FOLDER) as folder:
        write_json(folder / FILE, evidence.to_json())
    return run / FOLDER


def kept(run: Path) -> Evidence:
    """Read the evidence of a run; every byte is checked first.

    Raises
    ------
    UsageError
        Where nothing was proved in that folder.
    IntegrityError
        Where the file was changed, or another version wrote it.
    """
    folder = run / FOLDER
    if not folder.is_dir():
        raise UsageError(
            f"{run} holds no evidence.\nExpected a folder that `headstart prove DATA` named; "
            "prove the data first."
        )
    verify_folder(folder)
    values = read_json(folder / FILE)
    if values.get("format") != FORMAT:
        raise IntegrityError(
            f"{folder} has format {values.get('format')!r}, this Headstart reads {FORMAT}.\n"
            "Prove the data again, or read it with the version that wrote it."
        )
    return Evidence.from_json(values)
