"""What Headstart is measured against: peers, each a process in an environment of their own."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.measure import ROOT, Skip, process

PEERS = Path(__file__).parent / "peers"
PYTHON = ROOT / ".venv-peers" / "bin" / "python"


def peer(name: str, *arguments: object) -> dict[str, Any]:
    """Run a peer to its end; what it found, and the seconds from its start to its exit."""
    if not PYTHON.exists():
        raise Skip("no .venv-peers; `make peers` installs what Headstart is measured against")
    done = process([PYTHON, PEERS / f"{name}.py", *map(str, arguments)], env=_own_paths())
    return {**json.loads(done.output.strip().splitlines()[-1]), "seconds": done.seconds}


def _own_paths() -> Mapping[str, str]:
    return {"PYTHONPATH": "", "HF_HUB_OFFLINE": "1"}


def n_lines(script: Path) -> int:
    """Return how many lines a user writes: those between `# user` and `# end`.

    Blank lines and comments do not count.
    """
    text = script.read_text(encoding="utf-8")
    written = text.partition("# user\n")[2].partition("# end\n")[0].splitlines()
    return sum(1 for line in written if line.strip() and not line.strip().startswith("#"))
