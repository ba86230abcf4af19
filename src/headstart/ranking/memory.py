"""Memory: what a process takes to hold a compiled trunk and run it on one row.

It is measured in a process of its own: in this one, memory that was free already hides growth.
"""

import subprocess
import sys
from pathlib import Path

from headstart.errors import IntegrityError
from headstart.features.compile import Graph
from headstart.io import read_sealed_json, write_sealed_json
from headstart.machine import home

#: Tokens of the text that is run; pictures have their own size.
N_TOKENS = 64
#: Seconds after which the measurement is given up.
PATIENCE_S = 60


def memory_bytes(graph: Graph) -> int:
    """Return the bytes, measured once a graph; what its file takes where that cannot be done."""
    path = home() / "rankings" / f"{graph.key}.grown.json"
    try:
        return int(read_sealed_json(path))
    except (OSError, IntegrityError):
        found = _measured(graph.path)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed_json(path, found)
        return found


def _measured(path: Path) -> int:
    command = [sys.executable, "-m", "headstart.ranking.memory", str(path)]
    least = path.stat().st_size
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=PATIENCE_S, check=True
        )
        return max(least, int(done.stdout))
    except (OSError, ValueError, subprocess.SubprocessError):
        return least


def grown(path: Path) -> int:
    """Return how much this process grows by opening a graph and running it on one row."""
    import numpy as np

    from headstart.features.graphs import session
    from headstart.machine import resident_bytes

    kinds = {"tensor(uint8)": np.uint8, "tensor(int64)": np.int64, "tensor(float)": np.float32}
    before = resident_bytes()
    opened = session(path)
    row = {}
    for given in opened.get_inputs():
        sizes = [n if isinstance(n, int) else N_TOKENS for n in given.shape]
        row[given.name] = np.ones([1, *sizes[1:]], dtype=kinds[given.type])
    opened.run(None, row)
    return resident_bytes() - before


if __name__ == "__main__":
    # What opens a graph is read first: it is not the trunk's.
    import onnxruntime  # noqa: F401

    sys.stdout.write(str(grown(Path(sys.argv[1]))))
