"""Saved: evidence in a run's folder, sealed like everything that is kept."""

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from headstart.data.words import Sentence
from headstart.errors import IntegrityError, UsageError
from headstart.evidence.evidence import FORMAT, Evidence
from headstart.evidence.page.mistakes import shown_names
from headstart.io import (
    read_json,
    read_sealed_folder,
    recover,
    sealed_folder,
    verify_folder,
    write_json,
)

FOLDER, FILE, ROWS = "evidence", "evidence.json", "rows.json"


def keep(evidence: Evidence, run: Path, rows: Mapping[str, Any] | None = None) -> Path:
    """Write the evidence into the run's folder, whole or not at all; return where it lies.

    Parameters
    ----------
    rows
        Raw rows by name; the texts that a report shows are kept beside the evidence.
    """
    run.mkdir(parents=True, exist_ok=True)
    with sealed_folder(run / FOLDER) as folder:
        write_json(folder / FILE, evidence.to_json())
        write_json(folder / ROWS, _shown(evidence, rows or {}))
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
    recover(folder)
    if not folder.is_dir():
        raise UsageError(
            f"{run} holds no evidence.\nExpected a folder that `headstart prove DATA` named; "
            "prove the data first."
        )
    return read_sealed_folder(folder, _read)


def _read(folder: Path) -> Evidence:
    verify_folder(folder)
    values = read_json(folder / FILE)
    if values.get("format") != FORMAT:
        raise IntegrityError(
            f"{folder} has format {values.get('format')!r}, this Headstart reads {FORMAT}.\n"
            "Prove the data again, or read it with the version that wrote it."
        )
    return Evidence.from_json(values)


def kept_rows(run: Path) -> dict[str, Any]:
    """Return the texts that were kept beside the evidence of a run, by the rows' names."""
    path = run / FOLDER / ROWS
    recover(run / FOLDER)
    if not path.exists():  # an older proof
        return {}
    return {
        name: row if isinstance(row, str) else Sentence(**{k: _frozen(v) for k, v in row.items()})
        for name, row in read_json(path).items()
    }


def _shown(evidence: Evidence, rows: Mapping[str, Any]) -> dict[str, Any]:
    names = [] if evidence.judged is None else shown_names(evidence.task, evidence.judged)
    there = {name: rows[name] for name in names if name in rows}
    return {
        name: row if isinstance(row, str) else asdict(row)
        for name, row in there.items()
        if isinstance(row, str | Sentence)
    }


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
