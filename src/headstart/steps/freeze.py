"""Step 2, freeze: up to the boundary nothing moves; weights, buffers and behavior.

`requires_grad=False` alone does not freeze a network: under `.train()` BatchNorm still updates
its statistics and normalizes by the batch, and dropout still drops. So a frozen stage is held in
evaluation mode whatever is called above it, and the proof compares both its bytes and what it
says in training and in evaluation.
"""

import hashlib
import math
import re
import types
from collections.abc import Sequence
from typing import Any

from headstart.errors import HeadstartError, UsageError

#: What may stand after "last:": whole blocks, at least one, or a share of them.
LAST = r"0*[1-9]\d*|\d+(\.\d+)?%"


def boundary_of(spec: str | int, names: Sequence[str], blocks: range) -> int:
    """Return how many stages lie below the boundary: `names[:boundary]` are frozen.

    Parameters
    ----------
    spec
        "head": only the new head trains; "last:25%": the last quarter of the ordered blocks and
        what is above them train; "last:3": the last three; "stage:4" or "stage:NAME": that stage
        and all above it train; "all": everything trains. A number is taken as it is.
    names
        The ordered stages.
    blocks
        Which of them are the repeated blocks.

    Raises
    ------
    UsageError
        Where no such stage exists; it lists them.

    Examples
    --------
    >>> names = ("stem", "a", "b", "c", "d", "final")
    >>> [boundary_of(s, names, range(1, 5)) for s in ("head", "last:25%", "last:2", "all")]
    [6, 4, 3, 0]
    >>> boundary_of("stage:c", names, range(1, 5)), boundary_of("stage:3", names, range(1, 5))
    (3, 3)
    """
    if isinstance(spec, int) and 0 <= spec <= len(names):
        return spec
    fixed = {"head": len(names), "no": len(names), "all": 0}
    if spec in fixed:
        return fixed[str(spec)]
    kind, _, value = str(spec).partition(":")
    if kind == "last" and re.fullmatch(LAST, value):
        return _last(value, blocks)
    if kind == "stage" and value in names:
        return list(names).index(value)
    if kind == "stage" and value.isdigit() and int(value) < len(names):
        return int(value)
    raise UsageError(
        f"{spec!r} names no boundary of this source.\nExpected 'head', 'last:25%', 'last:3', "
        f"'stage:NAME', 'stage:NUMBER' or 'all'; its stages are\n  "
        + ", ".join(f"{i} {name}" for i, name in enumerate(names))
    )


def _last(value: str, blocks: range) -> int:
    count = len(blocks)
    if not count:
        raise UsageError(
            "This source has no blocks that could be counted from the head.\n"
            "Expected 'head', 'all', or 'stage:NAME' (`headstart sources URI` lists its stages)."
        )
    n = math.ceil(count * float(value[:-1]) / 100) if value.endswith("%") else int(value)
    if not 0 < n <= count:
        raise UsageError(
            f"'last:{value}' asks for {n} blocks; this source has {count}.\n"
            f"Expected from 'last:1' to 'last:{count}' or 'last:100%'; 'all' lets the whole "
            "network move, 'no' nothing but the head."
        )
    return blocks.stop - n


def freeze(backbone: Any, boundary: int) -> None:
    """Hold the stages below `boundary` still: no gradient, and evaluation mode for good."""
    for i in range(boundary):
        for parameter in backbone.stage(i).parameters():
            parameter.requires_grad_(False)
        for module in backbone.stage(i).modules():
            hold_in_evaluation(module)


def hold_in_evaluation(module: Any) -> None:
    """Put one module in evaluation mode and make its `.train()` leave it there."""
    module.eval()
    module.train = types.MethodType(_stay, module)


def _stay(module: Any, mode: bool = True) -> Any:
    """Take the place of `.train()`: the mode asked for is not taken."""
    module.training = False
    return module


def hold_batchnorm(module: Any) -> None:
    """Hold every BatchNorm of a trained part in inference mode; its affine weights still learn.

    Statistics of a small batch of new data are noise beside those of the source (Keras's guide on
    transfer learning says the same), so they stay those of the source.
    """
    from torch.nn.modules.batchnorm import _BatchNorm

    for part in module.modules():
        if isinstance(part, _BatchNorm):
            hold_in_evaluation(part)


def fingerprint(backbone: Any, boundary: int) -> str:
    """Return the SHA-256 of every weight and buffer below the boundary."""
    digest = hashlib.sha256()
    for i in range(boundary):
        for name, value in sorted(backbone.stage(i).state_dict().items()):
            digest.update(f"{i}/{name}".encode())
            digest.update(value.detach().cpu().contiguous().flatten().view(_bytes_type()).numpy())
    return digest.hexdigest()


def _bytes_type() -> Any:
    import torch

    return torch.uint8


def check_frozen(backbone: Any, boundary: int, before: str) -> None:
    """Prove that the frozen stages did not move and say the same in training and evaluation.

    Parameters
    ----------
    before
        The `fingerprint` from before the training.

    Raises
    ------
    HeadstartError
        Where a weight, a buffer or the behavior changed.
    """
    if boundary == 0:
        return
    moved = fingerprint(backbone, boundary) != before  # first: an unfrozen part moves when it runs
    gap = train_eval_gap(backbone, boundary)
    if moved or gap > 0:
        what = "its weights or buffers moved" if moved else f"its features differ by {gap:.2g}"
        raise HeadstartError(
            f"The frozen part of {backbone.source.uri} did not stay frozen: {what} in training.\n"
            "This is a fault of Headstart or of a custom stage that overrides `.train()`; the "
            "model was not kept. Please report it with the source's name."
        )


def train_eval_gap(backbone: Any, boundary: int, batch: int = 4) -> float:
    """Return the largest difference between train-time and eval-time features below a boundary."""
    import torch

    was_training = backbone.training
    inputs = backbone.example(batch)
    with torch.no_grad():
        backbone.train()
        training = backbone.run(inputs, 0, boundary)[0]
        backbone.eval()
        evaluation = backbone.run(inputs, 0, boundary)[0]
    backbone.train(was_training)
    return float((training - evaluation).abs().max())
