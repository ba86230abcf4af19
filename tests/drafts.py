"""Drafts: what a writer that was killed leaves behind."""

import os
from pathlib import Path

from headstart.drafts import temporary


def draft_of(path: Path, pid: int) -> Path:
    """Return where a process of this machine puts what is to become `path`."""
    ours = temporary(path)
    return ours.with_name(ours.name.replace(f"-{os.getpid()}-", f"-{pid}-"))
