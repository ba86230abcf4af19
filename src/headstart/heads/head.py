"""Head: what turns features into outputs; and the heads by name."""

from collections.abc import Mapping
from typing import Any, ClassVar, Protocol, Self, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from headstart.data.ragged import flat, like
from headstart.features.compile import Boundaries
from headstart.metrics.chain import legal_paths
from headstart.registry import Registry
from headstart.task import Kind

#: One affine layer: weight of shape (out, in), bias of shape (out,). The first one may be float64:
#: with the scaler folded in, it takes large numbers from each other where a column is far from 0.
Layer: TypeAlias = tuple[NDArray[np.floating], NDArray[np.floating]]

#: Rows a head looks at together.
BLOCK = 4096


class Head(Protocol):
    """What turns features of shape (n, d) into outputs of shape (n, k).

    Where a row is a sentence both are ragged, of shape (words, d) and (words, k) a row.

    A head is a stack of affine layers with max(0, ·) between them, and is never changed once made.
    Whatever scaled the features while it was fitted is folded into its first layer.
    """

    #: The name it is saved and found under.
    name: ClassVar[str]

    @property
    def kind(self) -> Kind:
        """What is asked of a row."""
        ...

    @property
    def temperature(self) -> float:
        """What logits are divided by before they become probabilities."""
        ...

    @property
    def thresholds(self) -> NDArray[np.float64] | None:
        """For several labels, the probability from which each is said; None: 0.5."""
        ...

    @property
    def reads(self) -> Boundaries | None:
        """The boundaries whose features stand side by side in what it reads; None: the top."""
        ...

    @property
    def layers(self) -> tuple[Layer, ...]:
        """The affine layers, from the features up; max(0, ·) stands between them."""
        ...

    def module(self) -> Any:
        """Return a trainable torch module from (n, d) to logits (n, k), of the same weights."""
        ...

    def learned(self, module: Any) -> Self:
        """Return the same head with the weights that its module has now."""
        ...

    def logits(self, features: NDArray[np.floating]) -> NDArray[Any]:
        """Return what the last layer says, shape (n, k), before the temperature."""
        ...

    def outputs(self, features: NDArray[np.floating]) -> NDArray[Any]:
        """Return probabilities in float32, or numbers in float64 of shape (n, 1)."""
        ...

    def outputs_from(self, logits: NDArray[np.floating]) -> NDArray[Any]:
        """Return the outputs for what the last layer says."""
        ...

    def state(self) -> tuple[dict[str, NDArray[Any]], dict[str, Any]]:
        """Return everything needed to make it again: arrays, and facts that fit in JSON."""
        ...

    @classmethod
    def from_state(cls, arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Self:
        """Make it again from its `state`."""
        ...


#: Heads by name; others are added by the entry point group `headstart.heads`.
HEADS: Registry[type[Head]] = Registry(
    "headstart.heads",
    {
        "linear": "headstart.heads.linear:LinearHead",
        "mlp": "headstart.heads.mlp:MlpHead",
        "tags": "headstart.heads.tags:TagHead",
    },
)


def head_named(name: str) -> type[Head]:
    """Return the class of the heads called `name`.

    Raises
    ------
    UsageError
        Where there is none; it lists the names.

    Examples
    --------
    >>> head_named("linear").__name__
    'LinearHead'
    """
    return HEADS.get(name)


def head_from(arrays: Mapping[str, NDArray[Any]], facts: Mapping[str, Any]) -> Head:
    """Return the head whose `state` this is.

    >>> from headstart.heads.linear import LinearHead
    >>> head = LinearHead(np.ones((1, 1)), np.zeros(1), Kind.REGRESSION)
    >>> head_from(*head.state()).kind
    <Kind.REGRESSION: 'regression'>
    """
    return head_named(facts["head"]).from_state(arrays, facts)


def run_layers(
    kind: Kind, layers: tuple[Layer, ...], features: NDArray[np.floating]
) -> NDArray[Any]:
    """Return what the last layer says of features of shape (n, d): float32, numbers float64.

    It is summed in double precision, a block of rows at a time, so that a row is told the same
    whatever rows stand beside it.

    >>> twice = (np.array([[2.0]]), np.array([-1.0]))
    >>> run_layers(Kind.REGRESSION, (twice, twice), np.array([[0.0], [3.0]]))
    array([[-1.],
           [ 9.]])
    """
    dtype = np.float64 if kind is Kind.REGRESSION else np.float32
    blocks = [features[at : at + BLOCK] for at in range(0, max(1, len(features)), BLOCK)]
    return np.concatenate([_run(layers, block).astype(dtype, copy=False) for block in blocks])


def _run(layers: tuple[Layer, ...], block: NDArray[np.floating]) -> NDArray[np.float64]:
    values = block.astype(np.float64)
    for i, (weight, bias) in enumerate(layers):
        below = values if i == 0 else np.maximum(values, 0)
        values = below @ weight.T.astype(np.float64) + bias
    return values


def outputs_of(kind: Kind, logits: NDArray[np.floating], temperature: float = 1.0) -> NDArray[Any]:
    """Return probabilities (or the numbers themselves) for logits of shape (n, k).

    >>> outputs_of(Kind.MULTICLASS, np.log([[1.0, 3.0]])).tolist()
    [[0.25, 0.75]]
    >>> outputs_of(Kind.MULTILABEL, np.array([[0.0, 50.0]])).tolist()
    [[0.5, 1.0]]
    """
    if kind is Kind.REGRESSION:
        return np.asarray(logits, dtype=np.float64)
    if kind is Kind.TAGS:  # each word by itself
        said = outputs_of(Kind.MULTICLASS, flat(logits), temperature)
        return like(said, logits)
    scaled = np.asarray(logits, dtype=np.float64) / temperature
    if kind is Kind.MULTILABEL:
        return (0.5 * (1 + np.tanh(scaled / 2))).astype(np.float32)  # never overflows
    odds = np.exp(scaled - scaled.max(axis=1, keepdims=True))
    return (odds / odds.sum(axis=1, keepdims=True)).astype(np.float32)


def decided(kind: Kind, outputs: ArrayLike, thresholds: ArrayLike | None = None) -> NDArray[Any]:
    """Return what is said of each row, in the form of a dataset's targets.

    Parameters
    ----------
    outputs
        Shape (n, k).
    thresholds
        For several labels, shape (k,); 0.5 if None.

    Examples
    --------
    >>> decided(Kind.MULTICLASS, [[0.2, 0.8], [0.6, 0.4]])
    array([1, 0])
    >>> decided(Kind.MULTILABEL, [[0.2, 0.8]], [0.1, 0.9])
    array([[1, 0]], dtype=int8)
    """
    said: NDArray[Any] = np.asarray(outputs)
    if kind is Kind.MULTICLASS:
        return said.argmax(axis=1)
    if kind is Kind.TAGS:
        return legal_paths(said)
    if kind is Kind.REGRESSION:
        return said[:, 0].astype(np.float64)
    return (said >= (0.5 if thresholds is None else np.asarray(thresholds))).astype(np.int8)
