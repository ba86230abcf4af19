"""Measure: where a source can be cut, and what one row costs on this machine."""

import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headstart.data.dataset import Dataset
from headstart.errors import DataError, IntegrityError, UnreadableRow
from headstart.features.compile import graph_key
from headstart.features.engine import Engine, OnnxEngine, engine_for
from headstart.features.inputs import inputs_for
from headstart.features.reading import Reading
from headstart.io import read_sealed_json, write_sealed_json
from headstart.machine import home
from headstart.ranking.candidates import n_parameters
from headstart.ranking.memory import memory_bytes
from headstart.sources.source import Source

#: Forward passes of one row; their median is the latency.
N_TIMED = 7
#: Rows that may be tried to find one that can be read.
N_TRIED = 32
#: The shares of the repeated blocks that may lie above a lower boundary.
ABOVE = (0.25, 0.5)


@dataclass(frozen=True)
class Facts:
    """What is known of a source on this machine.

    Parameters
    ----------
    boundaries
        Where its features are tried, the top last; None: it can be used only as a whole.
    latency_ms
        To read one row and run the whole trunk, on one thread.
    memory_bytes
        What a process grows by when it opens the trunk and runs it on one row.
    """

    boundaries: tuple[int, ...] | None
    latency_ms: float
    memory_bytes: int

    def is_within(self, latency_ms: float | None) -> bool:
        """Say whether a row takes no longer than is asked; None: any time."""
        return latency_ms is None or self.latency_ms <= latency_ms

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def of(cls, values: dict[str, Any]) -> "Facts":
        """Read back what `to_json` wrote."""
        at = values["boundaries"]
        return cls(**(values | {"boundaries": None if at is None else tuple(at)}))


def facts_of(source: Source, data: Dataset) -> Facts:
    """Compile a source at the boundaries to try, and time it on a row of the data.

    Parameters
    ----------
    source, data
        The source, and rows it reads.
    """
    at = boundaries_of(source)
    with Reading(source, data) as reading:
        engine = engine_for(source, at, data_sample=reading.sample)
    return Facts(at, _latency_ms(source, data, engine), _memory_bytes(source, engine))


def boundaries_of(source: Source) -> tuple[int, ...] | None:
    """Return the top of a source and two places below it; None if it cannot be cut.

    The answer is kept: the network is opened, and torch imported, once for all data.
    """
    if not source.is_trainable:
        return None
    path = home() / "rankings" / f"{graph_key(source, None, pooled=True)}.boundaries.json"
    found = _kept(path)
    if not found:
        found = _looked_up(source)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_sealed_json(path, found)
    return found


def _kept(path: Path) -> tuple[int, ...]:
    try:
        return tuple(int(at) for at in read_sealed_json(path))
    except (IntegrityError, ValueError, TypeError):
        return ()


def _looked_up(source: Source) -> tuple[int, ...]:
    from headstart.sources.catalog import open_backbone

    backbone = open_backbone(source)
    return lower(backbone.blocks, backbone.n_stages)


def lower(blocks: Sequence[int], n_stages: int) -> tuple[int, ...]:
    """Return the boundaries to try, the top last.

    >>> lower(range(1, 17), 18)  # with 4 and with 8 of the 16 blocks above
    (9, 13, 18)
    >>> lower(range(0), 5)
    (5,)
    """
    n, stop = len(blocks), (blocks[-1] + 1 if len(blocks) else 0)
    found = {stop - round(n * share) for share in ABOVE if round(n * share) >= 1}
    return (*sorted(at for at in found if 1 <= at < n_stages), n_stages)


def _latency_ms(source: Source, data: Dataset, engine: Engine) -> float:
    inputs = inputs_for(source.preprocess)
    row = _readable(inputs, data)

    def once() -> float:
        began = time.perf_counter()
        engine.run(inputs.batch([inputs.row(row)]))
        return 1000 * (time.perf_counter() - began)

    once()  # opens the session
    return float(np.median([once() for _ in range(N_TIMED)]))


def _readable(inputs: Any, data: Dataset) -> Any:
    for row in data.rows[:N_TRIED]:
        try:
            inputs.row(row)
        except UnreadableRow:
            continue
        return row
    raise DataError(f"None of the first {N_TRIED} rows can be read: see `headstart doctor DATA`.")


def _memory_bytes(source: Source, engine: Engine) -> int:
    if isinstance(engine, OnnxEngine):
        return memory_bytes(engine.graph)
    return 4 * n_parameters(source)
