"""Exact conditional distribution of some entries, given others.

Sizes: B samples, S draws, N known entries, K wanted entries.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from ._entries import Entries
from ._kernel import CoregionalKernel

__all__ = ["Conditional", "conditional", "leave_one_out"]


class Conditional(NamedTuple):
    """Normal distribution of the wanted entries of each sample.

    Parameters
    ----------
    mean : Tensor of shape (B, S, K)
        One for each draw of the known values.
    variance : Tensor of shape (B, K)
        With noise.
    factor : Tensor of shape (B, K, K) or None
        Cholesky factor of the covariance; None if it was not asked for.
    """

    mean: Tensor
    variance: Tensor
    factor: Tensor | None

    def draw(self, normal: Tensor) -> Tensor:
        """Joint draws of the wanted entries.

        Parameters
        ----------
        normal : Tensor of shape (B, S, K)
            Independent standard normal numbers; S draws, of one mean or of S means.

        Returns
        -------
        Tensor of shape (B, S, K)
            S draws of each sample.
        """
        assert self.factor is not None
        return self.mean + normal @ self.factor.mT


def conditional(
    kernel: CoregionalKernel, known: Entries, wanted: Entries, *, joint: bool
) -> Conditional:
    """Distribution of the wanted entries given the values of the known ones.

    Parameters
    ----------
    kernel : CoregionalKernel
        Covariance.
    known : Entries
        With values.
    wanted : Entries
        Measurements to predict: their noise is part of the covariance.
    joint : bool
        Whether the covariance between the wanted entries is needed, for draws: time grows with
        ``K**3`` instead of K.

    Returns
    -------
    Conditional
        Exact, in float64. Padding has mean 0 and is independent of the other entries.

    Examples
    --------
    >>> kernel = CoregionalKernel(torch.eye(1), [1.0], rank=1, seed=0).float()
    >>> channel, exists, value = torch.zeros(1, 1).long(), torch.ones(1, 1) > 0, torch.ones(1, 1, 1)
    >>> at = {t: Entries(channel, torch.full((1, 1), t), exists, value) for t in (0.0, 1.0, 9.0)}
    >>> near = conditional(kernel, at[0.0], at[1.0], joint=False)
    >>> far = conditional(kernel, at[0.0], at[9.0], joint=False)
    >>> bool(near.mean > far.mean), bool(near.variance < far.variance)
    (True, True)
    """
    with torch.no_grad():
        factor = torch.linalg.cholesky(kernel.noisy_covariance(known))
        cross = kernel.covariance(known, wanted)  # (B, N, K)
        white = torch.linalg.solve_triangular(factor, cross, upper=False)
        value = torch.where(known.exists[:, None], known.value.double(), 0.0)
        mean = torch.linalg.solve_triangular(factor, value.mT, upper=False).mT @ white
        prior = kernel.variance()[wanted.channel]
        if not joint:
            variance = prior - (white**2).sum(1)
            return Conditional(mean, torch.where(wanted.exists, variance, 1.0), None)
        covariance = kernel.noisy_covariance(wanted) - white.mT @ white
        variance = covariance.diagonal(dim1=1, dim2=2)
        return Conditional(mean, variance, torch.linalg.cholesky(covariance))


def leave_one_out(kernel: CoregionalKernel, known: Entries) -> Conditional:
    """Distribution of each known entry given the values of all others.

    Parameters
    ----------
    kernel : CoregionalKernel
        Covariance.
    known : Entries
        With values of one draw, ``(B, 1, N)``.

    Returns
    -------
    Conditional
        Exact, in float64, without a factor. Padding has mean 0 and variance 1.

    Examples
    --------
    >>> kernel = CoregionalKernel(torch.eye(1), [1.0], rank=1, seed=0)
    >>> channel, time = torch.zeros(1, 2).long(), torch.tensor([[0.0, 0.1]]).double()
    >>> known = Entries(channel, time, channel == 0, torch.tensor([[[2.0, 0.0]]]))
    >>> left_out = leave_one_out(kernel, known)
    >>> left_out.mean[0, 0, 0] < left_out.mean[0, 0, 1]
    tensor(True)
    """
    with torch.no_grad():
        inverse = torch.cholesky_inverse(torch.linalg.cholesky(kernel.noisy_covariance(known)))
        value = torch.where(known.exists[:, None], known.value.double(), 0.0)
        variance = 1 / inverse.diagonal(dim1=1, dim2=2)
        return Conditional(value - (value @ inverse) * variance[:, None], variance, None)
