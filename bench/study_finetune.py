"""Step 5: the last quarter from cached activations, against the whole network.

Both sides are our own gradient loop on the same rows, batch size and number type. The cached side
pays for everything: export of the trunk, extraction of the activations of all views, 10 epochs.
The whole network is measured per epoch (3 epochs less 1), which leaves its start-up out.
"""

import dataclasses
from typing import Any

import numpy as np

from bench.measure import Row, Study, alternate, data_folder, own_home, ratios, seconds_of

SOURCE = "pkg:efficientnet-lite0"
EPOCHS = 10
N_HELD_OUT = 32  # both sides look at a few rows after each epoch


def study(repeats: int) -> Study:
    """Time the two sides in turn, each in an empty home."""
    folder = data_folder("hymenoptera")
    sides = {"cached": lambda: _cached(folder), "whole": lambda: _whole(folder)}
    rates = alternate(sides, repeats)
    return Study(
        f"{SOURCE}, ants and bees, training rows a second.",
        (
            Row(f"last quarter, cached, {EPOCHS} epochs", tuple(rates["cached"]), "rows/s"),
            Row("whole network", tuple(rates["whole"]), "rows/s"),
            ratios("cached / whole", rates["cached"], rates["whole"], at_least=4),
        ),
    )


def _cached(folder: Any) -> float:
    with own_home():
        start = _Start(folder)
        return EPOCHS * len(start.train) / start.seconds("last:25%", EPOCHS)


def _whole(folder: Any) -> float:
    with own_home():
        start = _Start(folder)
        once, thrice = start.seconds("all", 1), start.seconds("all", 3)
        return 2 * len(start.train) / (thrice - once)


class _Start:
    """Where both sides start: a converged head on cached top features; not timed."""

    def __init__(self, folder: Any) -> None:
        from headstart.data.readers import read
        from headstart.features.extract import extract
        from headstart.sources.catalog import resolve
        from headstart.steps.train import train

        data = read(folder)
        self.source = resolve(SOURCE)
        self.train = data.only("train")
        held_out = np.flatnonzero(data.split == "validation")
        few = held_out[:: len(held_out) // N_HELD_OUT]
        self.data = data.take(np.concatenate([np.flatnonzero(data.split == "train"), few]))
        self.head = train("linear", extract(self.source, self.train), self.train).head

    def seconds(self, spec: str, epochs: int) -> float:
        """Return the seconds of fine-tuning `spec` for exactly `epochs`."""
        from headstart.steps.finetune import finetune
        from headstart.steps.phase import default_phase

        phase = default_phase(self.source.uri, self.source.modality)
        phase = dataclasses.replace(phase, epochs=epochs, patience=epochs)
        if spec == "all":  # one view, so that only the first epoch decodes
            phase = dataclasses.replace(phase, views=1)
        return seconds_of(
            lambda: finetune(self.source, spec, self.head, self.data, phase=phase, seed=0)
        )
