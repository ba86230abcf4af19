"""Vectors of words: our extraction against transformers' eager forward, padded to the longest.

Each repeat is a process that runs both: ours with the trunk compiled before and nothing cached, as
a second fit in a session has it; theirs as its documentation has it, in batches of 16 as the
sentences come. Run as `python -m bench.study_tokens SEED N`, this file is one repeat.
"""

import json
import sys
from typing import Any

from bench.measure import Row, Study, data_folder, itself, own_home, ratios, seconds_of
from bench.study_tags import SOURCE, sentences

SIZES = {"tiny": {"n": 100}, "full": {"n": 6000}}
#: Sentences a batch of the eager side.
BATCH = 16


def study(repeats: int, n: int = 3000) -> Study:
    """Extract the words of the first English sentences, both ways, in each process."""
    data_folder("wikineural")
    runs = [itself("study_tokens", str(seed), str(n)).json for seed in range(repeats)]
    ours, eager, first = ([run[name] for run in runs] for name in ("ours", "eager", "first"))
    return Study(
        f"The words of {n:,} English sentences, last layer of {SOURCE}, float32.",
        (
            Row("`extract`, sentences a second", tuple(ours)),
            Row("transformers, eager, padded to the longest, sentences a second", tuple(eager)),
            ratios("`extract` / eager", ours, eager, at_least=2),
            ratios("`extract` / eager, its compiled trunk opened within the time", first, eager),
        ),
        ("eager batches are as the sentences come; its network is read before its time begins",),
    )


def main(seed: int, n: int) -> dict[str, Any]:
    """Time both sides, the first of them by the seed."""
    import numpy as np
    import torch

    from headstart.features.engine import close_last
    from headstart.features.extract import extract
    from headstart.features.inputs import inputs_for
    from headstart.sources.catalog import resolve
    from headstart.sources.networks import network_of
    from headstart.task import Modality

    source, data = resolve(SOURCE), sentences("en.train", n)
    network = network_of(source).eval()
    inputs = inputs_for(source.preprocess, Modality.WORDS)

    def eager() -> None:
        with torch.inference_mode():
            for start in range(0, len(data), BATCH):
                rows = [inputs.row(row) for row in data.rows[start : start + BATCH]]
                arrays = inputs.batch([window for row in rows for window in row.windows])
                network(**{name: torch.from_numpy(value) for name, value in arrays.items()})

    def ours() -> object:
        return extract(source, data, cache=False)

    with own_home():
        extract(source, data.take(np.arange(BATCH)))  # compiles, and opens
        sides = {"ours": ours, "eager": eager}
        order = list(sides) if seed % 2 == 0 else list(sides)[::-1]
        found = {name: n / seconds_of(sides[name]) for name in order}
        close_last()
        found["first"] = n / seconds_of(ours)
    return found


if __name__ == "__main__":
    print(json.dumps(main(int(sys.argv[1]), int(sys.argv[2]))))
