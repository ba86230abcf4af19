"""What Headstart is measured against: peers, each a process in an environment of their own."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import ROOT, Skip, process

PEERS = Path(__file__).parent / "peers"
PYTHON = ROOT / ".venv-peers" / "bin" / "python"

#: The accuracy that may be lost where a side is called not worse: two rows of a hundred.
MARGIN = 0.02
NOT_WORSE = (
    f"lower end: of the interval of (ours − theirs) over seeds and test rows crossed; not below "
    f"−{MARGIN:g} is not worse, and few rows do not show it"
)


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


def lower_end(ours: Sequence[Mapping[str, Any]], theirs: Sequence[Mapping[str, Any]]) -> float:
    """Return the lower end of the interval of ours − theirs, on the seeds that both saw.

    An interval's upper end would call everything not worse that few rows were asked about.

    >>> never, always = [{"right": [0] * 50}] * 2, [{"right": [1] * 50}] * 2
    >>> lower_end(never, always), lower_end(always, never)
    (-1.0, 1.0)
    """
    from headstart.metrics.crossed import crossed
    from headstart.metrics.interval import paired_interval

    pairs = list(zip(ours, theirs, strict=False))
    if len(pairs) == 1:
        return paired_interval(pairs[0][0]["right"], pairs[0][1]["right"]).low
    gains = [np.subtract(a["right"], b["right"], dtype=float) for a, b in pairs]
    return float(crossed(np.stack(gains, axis=1)).low)
