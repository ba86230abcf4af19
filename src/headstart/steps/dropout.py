"""Dropout on a processor: eight masks a random number, instead of a number a mask."""

import math
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode

#: A mask is a byte compared with a threshold: rates are multiples of one in so many.
LEVELS = 256
#: Whole numbers by how many bytes they take.
INTEGERS = {2: torch.int16, 4: torch.int32, 8: torch.int64}


def quick(on: str) -> AbstractContextManager[Any]:
    """Draw the masks of dropout quickly within, on a processor.

    There `torch` draws them one by one, and its attention takes a slow way where there is dropout:
    a fifth of a training step of a small encoder (NOTES.md of the bench).
    """
    return QuickDropout() if on == "cpu" else nullcontext()


class QuickDropout(TorchFunctionMode):
    """Compute dropout, and attention with dropout, by masks of our own.

    What is kept is scaled so that the mean stays. The masks follow from torch's generator: the same
    seed gives the same ones.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        """Run a function; `torch` calls this for each."""
        kwargs = kwargs or {}
        if func is functional.dropout:
            return dropped(*args, **kwargs)
        if func is functional.scaled_dot_product_attention:
            return attended(*args, **kwargs)
        return func(*args, **kwargs)


def dropped(input: Tensor, p: float = 0.5, training: bool = True, inplace: bool = False) -> Tensor:
    """Return `torch.nn.functional.dropout`, its rate rounded to one in `LEVELS`."""
    if not training or not 0 < _threshold(p) < LEVELS:
        return functional.dropout(input, p, training, inplace)
    found = input * _mask(input.shape, _threshold(p), input.dtype)
    return input.copy_(found) if inplace else found


def attended(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attn_mask: Tensor | None = None,
    dropout_p: float = 0.0,
    is_causal: bool = False,
    **more: Any,
) -> Tensor:
    """Return `torch.nn.functional.scaled_dot_product_attention`; torch's own if nothing is dropped.

    So it is where each token sees those before it alone, or keys are shared by several queries.

    Parameters
    ----------
    query, key, value
        Shape (…, tokens, d).
    attn_mask
        What is added to the scores, or (boolean) where they count; it broadcasts to theirs.
    """
    scale = more.get("scale")
    is_plain = not is_causal and not more.get("enable_gqa")
    if not (is_plain and 0 < _threshold(dropout_p) < LEVELS):
        return functional.scaled_dot_product_attention(
            query, key, value, attn_mask, dropout_p, is_causal, **more
        )
    scores = (query * (scale or query.shape[-1] ** -0.5)) @ key.transpose(-2, -1)
    if attn_mask is not None:
        scores = scores + _added(attn_mask, scores.dtype)
    return dropped(scores.softmax(-1), dropout_p).to(value.dtype) @ value


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what is added to the scores; finite, so that a row that sees nothing is no NaN."""
    lowest = torch.finfo(dtype).min
    if mask.dtype == torch.bool:
        return torch.zeros(mask.shape, dtype=dtype).masked_fill_(~mask, lowest)
    return mask.to(dtype).clamp(min=lowest)


def _threshold(rate: float) -> int:
    return round(rate * LEVELS)


def _mask(shape: Sequence[int], threshold: int, dtype: torch.dtype) -> Tensor:
    """Return 0 where a value is dropped, and else what keeps the mean."""
    n = math.prod(shape)
    seed = int(torch.randint(2**62, (1,)))
    numbers = np.random.SFC64(seed).random_raw(-(-n // 8))
    is_kept = torch.from_numpy(numbers).view(torch.uint8)[:n].view(*shape) >= threshold
    # Whole numbers are quicker: 0 or 1 times the bits of the factor.
    factor = torch.tensor(LEVELS / (LEVELS - threshold), dtype=dtype)
    bits = INTEGERS[dtype.itemsize]
    return is_kept.to(bits).mul_(factor.view(bits)).view(dtype)
