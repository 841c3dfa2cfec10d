"""Means over the entries that a mask allows, and where the nearest of them are."""

from __future__ import annotations

import torch
from torch import Tensor

from ._portable import running_max

__all__ = ["masked_mean", "mean_weights", "nearest_observed"]


def masked_mean(x: Tensor, mask: Tensor, dim: int) -> Tensor:
    """Mean over the entries that a mask allows.

    Parameters
    ----------
    x : Tensor
        Of any shape. Entries outside the mask are not read: they may be NaN.
    mask : Tensor
        Bool, of a shape that broadcasts to that of ``x``; along ``dim`` of the same size.
    dim : int
        Dimension over which the mean is taken, and which is removed.

    Returns
    -------
    Tensor
        0 where the mask allows nothing.

    Examples
    --------
    >>> masked_mean(torch.tensor([1.0, 3.0, 9.0]), torch.tensor([True, True, False]), 0)
    tensor(2.)
    """
    return torch.where(mask, x, 0.0).sum(dim) / mask.sum(dim).clamp(min=1)


def mean_weights(mask: Tensor, dim: int = -1) -> Tensor:
    """Weights with which a weighted sum is the mean over the entries that a mask allows.

    Parameters
    ----------
    mask : Tensor
        Bool, of any shape.
    dim : int, default=-1
        Dimension over which the mean is taken.

    Returns
    -------
    Tensor of the shape of mask
        Float32. They sum to 1 along ``dim``, and are all 0 where the mask allows nothing.

    Examples
    --------
    >>> mean_weights(torch.tensor([[True, True, False], [False, False, False]]))
    tensor([[0.5000, 0.5000, 0.0000],
            [0.0000, 0.0000, 0.0000]])
    """
    weights = mask.float()
    return weights / weights.sum(dim, keepdim=True).clamp(min=1)


def nearest_observed(observed: Tensor) -> tuple[Tensor, Tensor]:
    """Indices of the last observation up to each timepoint, and of the next one from there on.

    Parameters
    ----------
    observed : Tensor of shape (., L, .)
        Bool.

    Returns
    -------
    before : Tensor of shape (., L, .)
        int64; the timepoint itself where it was observed, -1 where there is none up to it.
    after : Tensor of shape (., L, .)
        int64; the timepoint itself where it was observed, L where there is none from it on.

    Examples
    --------
    >>> before, after = nearest_observed(torch.tensor([False, True, False]).view(1, 3, 1))
    >>> before.flatten().tolist(), after.flatten().tolist()
    ([-1, 1, 1], [1, 1, 3])
    """
    n_timepoints = observed.shape[1]
    index = torch.arange(n_timepoints, device=observed.device).view(1, -1, 1).expand_as(observed)
    before = running_max(torch.where(observed, index, -1), 1)
    after = -running_max(torch.where(observed, -index, -n_timepoints).flip(1), 1).flip(1)
    return before, after
