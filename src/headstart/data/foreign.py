"""Foreign: what other libraries keep values in, as NumPy arrays."""

from typing import Any

import numpy as np


def as_array(values: Any) -> Any:
    """Return a tensor or a sparse matrix as a NumPy array; anything else as it is.

    A tensor may lie on another device, or want a gradient; one of a single number is that number.

    >>> import scipy.sparse
    >>> as_array(scipy.sparse.eye_array(2)).tolist(), as_array(["an ant"])
    ([[1.0, 0.0], [0.0, 1.0]], ['an ant'])
    """
    if hasattr(values, "toarray"):  # SciPy's
        return values.toarray()
    if hasattr(values, "detach"):  # torch's
        values = values.detach().cpu()
        values = values.float() if str(values.dtype) == "torch.bfloat16" else values
    is_known = isinstance(values, np.ndarray | np.generic) or hasattr(values, "to_numpy")
    return np.asarray(values)[()] if hasattr(values, "__array__") and not is_known else values


def as_arrays(values: Any) -> Any:
    """Return the same of what is in a list or a tuple, too."""
    values = as_array(values)
    return [as_array(one) for one in values] if isinstance(values, list | tuple) else values


def unwrapped(values: Any) -> Any:
    """Return a DataFrame, a tensor or another column as an array of numbers or a list.

    >>> unwrapped(np.array([["an ant"], ["a bee"]]))
    ['an ant', 'a bee']
    """
    values = as_array(values.to_numpy() if hasattr(values, "to_numpy") else values)
    if not isinstance(values, np.ndarray):
        return as_arrays(list(values))
    is_one_column = values.ndim == 2 and values.shape[1] == 1 and values.dtype.kind in "OUT"
    values = values[:, 0] if is_one_column else values
    return as_arrays(values.tolist()) if values.dtype.kind in "OUT" else values
