"""What a ranking costs: the whole picture shelf on 2,000 rows, against a forward pass a source."""

import shutil
import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import numpy as np

from bench.measure import Row, Study, alternate, data_folder, own_home, ratios, seconds_of

N_ROWS = 2000
SIZES: dict[str, dict[str, Any]] = {"full": {}, "tiny": {"n_rows": 40}}


def study(repeats: int, n_rows: int = N_ROWS) -> Study:
    """Rank, and run every source over the same rows, in turn; nothing but graphs is kept."""
    data = rows(n_rows)
    with own_home() as home:
        ranking = _rank(data)  # compiles, times, decides
        sources = [row.source for row in ranking.rows]
        _passes(data, sources)
        seconds = alternate(
            {
                "ranking": lambda: _timed(home, lambda: _rank(data)),
                "passes": lambda: _timed(home, lambda: _passes(data, sources)),
            },
            repeats,
        )
        _rank(data)
        again = [_rank(data) for _ in range(repeats)]
    return Study(
        f"Ranking {len(sources)} picture sources on {len(data):,} rows.",
        (
            Row("a ranking, features dropped", tuple(seconds["ranking"]), "s"),
            Row("one forward pass a source", tuple(seconds["passes"]), "s"),
            ratios(
                "ranking / passes", seconds["ranking"], seconds["passes"], at_most=1.5
            ),
            Row("rows computed by a second call", tuple(float(r.n_computed) for r in again),
                at_most=0),
            Row("a second call", tuple(r.seconds for r in again), "s"),
        ),
        (
            "Trunks were compiled before; both sides decode, hash, run and keep their features.",
            f"Rounds: {', '.join(f'{r.n_rows} rows' for r in ranking.rounds)}; "
            f"{ranking.n_computed:,} rows went through a trunk, of {len(sources) * len(data):,}.",
        ),
        facts={"ranking": ranking.to_json()},
    )  # fmt: skip


def _rank(data: Any) -> Any:
    from headstart.ranking.rank import rank

    return rank(data)


def _passes(data: Any, sources: Any) -> None:
    from headstart.features.extract import extract

    for source in sources:
        extract(source, data)


def _timed(home: Path, work: Any) -> float:
    """Time work that begins without a feature; compiled trunks and decided jobs are kept."""
    shutil.rmtree(home / "features", ignore_errors=True)
    with closing(sqlite3.connect(home / "store.sqlite")) as store, store:
        store.execute("DELETE FROM feature_rows")
        store.execute("DELETE FROM shards")
    return seconds_of(work)


def rows(n_rows: int) -> Any:
    """Return photographs, cartoons, sketches and insects, a class a folder."""
    from headstart.data.dataset import from_arrays
    from headstart.data.readers import read

    folders = [data_folder("pacs") / name for name in ("photo", "cartoon", "sketch")]
    parts = [read(str(folder)) for folder in (*folders, data_folder("hymenoptera"))]
    paths = [row for part in parts for row in part.rows]
    labels = [part.task.labels[int(t)] for part in parts if part.task for t in part.targets]
    some = np.random.default_rng(0).permutation(len(paths))[:n_rows]
    return from_arrays([paths[i] for i in some], [labels[i] for i in some])
