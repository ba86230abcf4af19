"""The MLP head: one hidden layer, trained by gradient; predicts without torch."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.features.features import Features
from headstart.heads.design import Scaler, level_and_spread, scaler_of
from headstart.heads.head import Layer, outputs_of, run_layers
from headstart.machine import seeds
from headstart.task import Kind, Task


@dataclass(frozen=True, eq=False)
class MlpHead:
    """Two affine layers with max(0, ·) between, on standardized features.

    Parameters
    ----------
    hidden, top
        Weight and bias of each layer: shapes (h, d) and (h,), (k, h) and (k,).
    kind
        What is asked of a row.
    scaler
        What standardizes the features.
    spread, level
        The top layer learns (y − level) / spread; 1 and 0 unless y is a number.
    dropout
        The share of hidden values dropped while it trains.
    temperature, thresholds
        As in `LinearHead`.
    """

    hidden: Layer
    top: Layer
    kind: Kind
    scaler: Scaler
    spread: float = 1.0
    level: float = 0.0
    dropout: float = 0.1
    temperature: float = 1.0
    thresholds: NDArray[np.float64] | None = None

    name: ClassVar[str] = "mlp"
    reads: ClassVar[None] = None

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The two layers, for raw features: all scales are folded in."""
        (weight, bias), (top, shift) = self.scaler.fold(*self.hidden), self.top
        # In float64: near 1e9 a number in float32 tells only every 64th apart.
        spread = np.float64(self.spread)
        return (weight, bias), (top * spread, shift * spread + self.level)

    def module(self) -> Any:
        """Return a torch module of the same weights, to be trained; its scales stay as they are."""
        from torch import nn

        from headstart.heads.module import Affine, affine

        k, scaler = len(self.top[1]), self.scaler
        return nn.Sequential(
            Affine(scaler.mean, scaler.inverse, np.zeros_like(scaler.mean)),
            affine(self.hidden),
            nn.ReLU(),
            nn.Dropout(self.dropout),
            affine(self.top),
            Affine(np.zeros(k), np.full(k, self.spread), np.full(k, self.level)),
        )

    def learned(self, module: Any) -> "MlpHead":
        """Return the same head with the weights that its module has now."""
        from headstart.heads.module import layer_of

        return dataclasses.replace(self, hidden=layer_of(module[1]), top=layer_of(module[4]))

    def logits(self, features: NDArray[np.floating]) -> NDArray[Any]:
        """Return what the top layer says, shape (n, k), before the temperature."""
        return run_layers(self.kind, self.layers, features)

    def outputs(self, features: NDArray[np.floating]) -> NDArray[Any]:
        """Return probabilities in float32, or numbers in float64 of shape (n, 1)."""
        return self.outputs_from(self.logits(features))

    def outputs_from(self, logits: NDArray[np.floating]) -> NDArray[Any]:
        """Return the outputs for what the last layer says."""
        return outputs_of(self.kind, logits, self.temperature)

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return everything needed to make it again: arrays, and facts that fit in JSON."""
        arrays: dict[str, NDArray[Any]] = {"mean": self.scaler.mean, "inverse": self.scaler.inverse}
        for part in ("hidden", "top"):
            arrays[f"{part}.weight"], arrays[f"{part}.bias"] = getattr(self, part)
        if self.thresholds is not None:
            arrays["thresholds"] = self.thresholds
        facts = {name: getattr(self, name) for name in _FACTS}
        return arrays, {"head": self.name, "kind": str(self.kind), **facts}

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> "MlpHead":
        """Make it again from its `state`."""
        return cls(
            hidden=(arrays["hidden.weight"], arrays["hidden.bias"]),
            top=(arrays["top.weight"], arrays["top.bias"]),
            kind=Kind(facts["kind"]),
            scaler=Scaler(arrays["mean"], arrays["inverse"]),
            thresholds=arrays.get("thresholds"),
            **{name: float(facts[name]) for name in _FACTS},
        )


_FACTS = ("spread", "level", "dropout", "temperature")


def fresh_mlp(
    features: Features,
    task: Task,
    *,
    targets: ArrayLike | None = None,
    weight: ArrayLike | None = None,
    hidden: int = 256,
    dropout: float = 0.1,
    seed: int = 0,
) -> MlpHead:
    """Return an MLP head that has learned nothing but the scale of its features.

    Parameters
    ----------
    features
        Shape (n, d): the training rows.
    targets
        Of these rows; needed where they are numbers, to learn their scale.
    weight
        How much each row counts, shape (n,); all the same if None.
    hidden, dropout
        How many hidden values there are, and the share of them dropped while it trains.

    References
    ----------
    The weights are drawn as in He et al., Delving Deep into Rectifiers, 2015, eq. 10.
    """
    d, k, draw = features.shape[0], task.n_outputs, seeds(seed, "mlp")
    below = draw.normal(0, np.sqrt(2 / d), (hidden, d)).astype(np.float32)
    above = draw.normal(0, 0.1 / np.sqrt(hidden), (k, hidden)).astype(np.float32)
    counts = np.ones(len(features)) if weight is None else np.asarray(weight, dtype=np.float64)
    level, spread = 0.0, 1.0
    if targets is not None and task.kind is Kind.REGRESSION:
        level, spread = level_and_spread(np.asarray(targets, dtype=np.float64), counts)
    return MlpHead(
        hidden=(below, np.zeros(hidden, dtype=np.float32)),
        top=(above, np.zeros(k, dtype=np.float32)),
        kind=task.kind,
        scaler=scaler_of(features, counts),
        spread=spread,
        level=level,
        dropout=dropout,
    )
