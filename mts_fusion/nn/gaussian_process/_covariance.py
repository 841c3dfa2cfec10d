"""Covariance of channels from entries at irregular times, where a fit may start.

Sizes: C channels, B samples, N entries.
"""

from __future__ import annotations

import torch
from torch import Tensor

from ._entries import Entries

__all__ = ["near_products", "shrunk_covariance"]

# Weight, in pairs of values, of the prior opinion that two channels are not correlated.
_PRIOR_PAIRS = 50.0


def near_products(entries: Entries, n_channels: int) -> tuple[Tensor, Tensor]:
    """Sums over pairs of entries of one sample, weighted by how near they are in time.

    Parameters
    ----------
    entries : Entries
        With values ``(B, 1, N)``; the weight of a pair is ``exp(-|t - u|)``.
    n_channels : int
        Number of channels C.

    Returns
    -------
    products : Tensor of shape (C, C)
        Weighted sum of the products of the values.
    weights : Tensor of shape (C, C)
        Sum of the weights.

    Examples
    --------
    >>> one = torch.tensor([[0, 1]])
    >>> entries = Entries(one, torch.zeros(1, 2), one < 2, torch.tensor([[[1.0, 3.0]]]))
    >>> near_products(entries, 2)[0].tolist()
    [[1.0, 3.0], [3.0, 9.0]]
    """
    value = torch.where(entries.exists, entries.value[:, 0].double(), 0.0)
    weight = torch.exp(-(entries.time[:, :, None] - entries.time[:, None, :]).abs().double())
    weight = weight * (entries.exists[:, :, None] & entries.exists[:, None, :])
    pair = (entries.channel[:, :, None] * n_channels + entries.channel[:, None, :]).flatten()
    table = weight.new_zeros(2, n_channels**2)
    table[0].index_add_(0, pair, (weight * value[:, :, None] * value[:, None, :]).flatten())
    table[1].index_add_(0, pair, weight.flatten())
    products, weights = table.view(2, n_channels, n_channels)
    return products, weights


def shrunk_covariance(products: Tensor, weights: Tensor) -> Tensor:
    """Positive semidefinite covariance from the sums of :func:`near_products`.

    Parameters
    ----------
    products : Tensor of shape (C, C)
        Weighted sums of products.
    weights : Tensor of shape (C, C)
        Sums of the weights. Few of them draw a covariance to 0, and a variance to 1.

    Returns
    -------
    Tensor of shape (C, C)
        Covariance.

    Examples
    --------
    >>> shrunk_covariance(torch.zeros(2, 2), torch.zeros(2, 2)).tolist()
    [[1.0, 0.0], [0.0, 1.0]]
    """
    prior = _PRIOR_PAIRS * torch.eye(len(products), dtype=products.dtype)
    size, direction = torch.linalg.eigh((products + prior) / (weights + _PRIOR_PAIRS))
    return (direction * size.clamp(min=0.0)) @ direction.mT
