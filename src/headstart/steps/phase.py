"""Phase: how long and how fast to learn; the options that vary together."""

from dataclasses import dataclass, replace
from numbers import Integral, Real
from typing import Literal

from headstart.errors import UsageError
from headstart.task import Modality


@dataclass(frozen=True)
class Phase:
    """How long and how fast to learn, for everything that is trained by gradient.

    Parameters
    ----------
    epochs
        Passes over the training rows, at most.
    rate
        The learning rate at its peak, after warm-up, of the topmost trained stage.
    head_rate
        The head's own rate; None: the same as `rate`.
    decay
        The rate of a stage is `decay` times that of the stage above it.
    batch
        Rows a step.
    views
        Augmented views cached a picture; 0: the plain picture alone.
    optimizer
        "adamw" or "sgd" (with Nesterov momentum 0.9).
    weight_decay
        Of the optimizer; biases and norms are left alone.
    warmup
        The share of the steps in which the rate rises from 0; then it falls along a cosine.
    patience
        Epochs without a better validation loss before the phase stops.
    contrast
        The weight of the contrastive term beside the loss, where a row is of one class.
    cache_gb
        Gigabytes that cached activations may take on disk; fewer views are kept where they would
        take more.
    """

    epochs: int = 20
    rate: float = 1e-4
    head_rate: float | None = None
    decay: float = 0.8
    batch: int = 32
    views: int = 0
    optimizer: Literal["adamw", "sgd"] = "adamw"
    weight_decay: float = 0.02
    warmup: float = 0.1
    patience: int = 5
    contrast: float = 0.0
    cache_gb: float = 20.0

    def check(self) -> "Phase":
        """Return the phase itself.

        Raises
        ------
        UsageError
            Where a value cannot be right; it names the value and the range.
        """
        self._check_numbers()
        wanted = {
            "epochs": self.epochs >= 1,
            "rate": self.rate > 0,
            "head_rate": self.head_rate is None or self.head_rate > 0,
            "decay": 0 < self.decay <= 1,
            "batch": self.batch >= 1,
            "views": self.views >= 0,
            "optimizer": self.optimizer in ("adamw", "sgd"),
            "weight_decay": self.weight_decay >= 0,
            "warmup": 0 <= self.warmup < 1,
            "patience": self.patience >= 1,
            "contrast": self.contrast >= 0,
            "cache_gb": self.cache_gb > 0,
        }
        wrong = [name for name, is_right in wanted.items() if not is_right]
        if wrong:
            given = ", ".join(f"{name}={getattr(self, name)!r}" for name in wrong)
            raise UsageError(
                f"Phase({given}) cannot be right.\nExpected epochs, batch, patience ≥ 1, "
                "rates and cache_gb > 0, 0 < decay ≤ 1, views, weight_decay and contrast ≥ 0, "
                "0 ≤ warmup < 1, optimizer 'adamw' or 'sgd'."
            )
        return self

    def _check_numbers(self) -> None:
        """Refuse what is no number, or no whole one where rows or passes are counted."""
        whole = ("epochs", "batch", "views", "patience")
        given = {name: value for name, value in vars(self).items() if name != "optimizer"}
        if self.head_rate is None:
            del given["head_rate"]
        wrong = [
            f"{name}={value!r}"
            for name, value in given.items()
            if isinstance(value, bool) or not isinstance(value, Integral if name in whole else Real)
        ]
        if wrong:
            raise UsageError(
                f"Phase({', '.join(wrong)}) cannot be right.\n"
                f"Expected numbers, and whole ones for {', '.join(whole)}."
            )

    def capped(self, row_bytes: int) -> "Phase":
        """Return the phase with as many views as fit in `cache_gb`, each of `row_bytes` in all.

        Raises
        ------
        UsageError
            Where not even the plain rows fit.

        >>> Phase(views=4, cache_gb=1.0).capped(300_000_000).views
        2
        """
        if row_bytes * (1 + self.views) <= self.cache_gb * 1e9:
            return self
        fit = int(self.cache_gb * 1e9 // row_bytes)
        if fit < 1:
            raise UsageError(
                f"The activations of step 5 take {row_bytes / 1e9:.1f} GB, more than the "
                f"{self.cache_gb:g} GB allowed.\nLet fewer stages move (--finetune last:1, say): "
                "a boundary nearer to the head has smaller activations; or allow more "
                "(`headstart fit --cache-max`, Phase(cache_gb=…) in Python)."
            )
        return replace(self, views=fit - 1)


#: Step 5 on pictures: gentle, a tenth of what a network learns from scratch with.
PICTURES = Phase(epochs=20, rate=1e-4, head_rate=1e-3, decay=0.8, views=4, patience=5)

#: Step 5 on texts: few epochs, an encoder forgets quickly.
TEXTS = Phase(epochs=5, rate=5e-5, head_rate=1e-4, decay=0.9, patience=2, contrast=3.0)

#: Step 5 on texts so few that none is held out to say when to stop: every pass is made, in
#: batches so large that most pairs meet.
FEW_TEXTS = Phase(epochs=10, rate=2e-4, head_rate=1e-3, decay=0.9, batch=64, contrast=3.0)

#: In how many parts they are held out in turn, to judge it; each is a training more.
FEW_FOLDS = 2

#: Step 5 on words: all layers that move learn at one rate.
WORDS = Phase(epochs=3, rate=2e-4, head_rate=1e-3, decay=1.0, batch=16, patience=2)

#: From scratch: one rate for all stages, and a longer way.
SCRATCH = Phase(
    epochs=100, rate=2e-3, decay=1.0, views=16, weight_decay=0.05, patience=10, warmup=0.05
)

#: An MLP head on cached features: small, so quick.
MLP = Phase(epochs=100, rate=1e-3, batch=64, weight_decay=0.05, patience=10)


def default_phase(uri: str, modality: Modality) -> Phase:
    """Return how step 5, or a training from scratch, learns unless told otherwise.

    >>> default_phase("scratch:pkg:efficientnet-lite0", Modality.IMAGE).decay
    1.0
    """
    if uri.startswith("scratch:"):
        return SCRATCH
    return {Modality.IMAGE: PICTURES, Modality.WORDS: WORDS}.get(modality, TEXTS)
