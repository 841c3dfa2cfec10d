"""Numbers in order, fast on a processor."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["sort_values"]


def sort_values(x: Tensor) -> Tensor:
    """Values along the last axis in rising order, NaN last.

    Parameters
    ----------
    x : Tensor of shape (..., n)
        Floating-point numbers.

    Returns
    -------
    Tensor of shape (..., n)
        A new tensor.

    Notes
    -----
    As ``x.sort(-1).values``, which also finds the indices and takes some twenty times as long as
    numpy on a CPU. Where a gradient or a graph is wanted, and on a GPU, it is torch's.

    Examples
    --------
    >>> sort_values(torch.tensor([[3.0, torch.nan, 1.0]])).tolist()
    [[1.0, 3.0, nan]]
    """
    wants_torch = x.device.type != "cpu" or x.dtype not in (torch.float32, torch.float64)
    if wants_torch or x.requires_grad or torch.compiler.is_compiling():
        return x.sort(-1).values
    return torch.from_numpy(np.sort(x.numpy(), axis=-1))
