"""Covariance of channels and times: a sum of time scales, each with its own channel covariance.

Sizes: Q time scales, C channels of all modalities, R rank, B samples, N and K entries.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._entries import Entries

__all__ = ["CoregionalKernel"]

_MIN_NOISE = 1e-4
_MIN_DIAGONAL = 0.05
# Cells of the covariance of all channels at all times, up to which it is computed once for the
# samples of a batch: so many in all, and for each cell that is wanted.
_TABLE_CELLS, _TABLE_RATIO = 2**24, 16


class CoregionalKernel(nn.Module):
    """Linear model of coregionalisation: covariance between any two channels at any two times.

    ``k((c, t), (d, u)) = sum_q B_q[c, d] r_q(|t - u| / scale_q)`` with ``B_q = A_q A_q' +
    diag(D_q)``, plus independent noise of each channel [1]_. The first, third, ... r_q are
    ``exp(-x)``, rough as a random walk; the others ``(1 + sqrt(3) x) exp(-sqrt(3) x)``, smooth
    (Matern 3/2). The last of the B_q has no scale: it is the covariance of the levels of a sample.

    Parameters
    ----------
    covariance : Tensor of shape (C, C)
        Covariance of the channels at one time, to start from; positive semidefinite.
    scales : sequence of Q - 1 float
        Time scales, in the unit of the times. They stay fixed: many are a grid that the B_q weight.
    rank : int
        Rank R of the shared part A_q A_q' of each B_q, at most C.
    seed : int
        Of the small differences between the A_q at the start.

    Raises
    ------
    ValueError
        If a scale is not positive or the rank is below 1.

    Notes
    -----
    Parameters and results are float64.

    References
    ----------
    .. [1] Bonilla, Chai and Williams, "Multi-task Gaussian process prediction", NeurIPS, 2007.

    Examples
    --------
    >>> kernel = CoregionalKernel(torch.eye(3), [1.0, 10.0], rank=2, seed=0)
    >>> [tuple(parameter.shape) for parameter in kernel.parameters()]
    [(3, 3, 2), (3, 3), (3,)]
    """

    rates: Tensor

    def __init__(
        self, covariance: Tensor, scales: Sequence[float], *, rank: int, seed: int
    ) -> None:
        super().__init__()
        if rank < 1 or min(scales) <= 0:
            raise ValueError(
                f"rank is at least 1 and scales are positive, got rank={rank} and scales={scales}."
            )
        covariance = covariance.double()
        n_channels, n_parts = len(covariance), len(scales) + 1
        rank = min(rank, n_channels)
        size, direction = torch.linalg.eigh(covariance)
        largest = slice(n_channels - rank, n_channels)
        factors = direction[:, largest] * size[largest].clamp(min=1e-4).sqrt()
        own = (covariance.diagonal() - (factors**2).sum(1)).clamp(min=_MIN_DIAGONAL)
        generator = torch.Generator().manual_seed(seed)
        noise = torch.randn(n_parts, n_channels, rank, generator=generator, dtype=torch.float64)
        self.register_buffer(
            "rates", torch.tensor([*(1 / s for s in scales), 0.0], dtype=torch.float64)
        )
        self.factors = nn.Parameter(0.9 * factors / n_parts**0.5 + 0.01 * noise)
        self.log_diagonal = nn.Parameter((own / (2 * n_parts)).log().repeat(n_parts, 1))
        self.log_noise = nn.Parameter((own / 2).log())

    @property
    def n_channels(self) -> int:
        """Number of channels C."""
        return self.factors.shape[1]

    def matrices(self) -> Tensor:
        """Covariance B_q of the channels at each time scale, ``(Q, C, C)``."""
        return self.factors @ self.factors.mT + torch.diag_embed(self.log_diagonal.exp())

    def noise(self) -> Tensor:
        """Variance of the noise of each channel, ``(C,)``."""
        return self.log_noise.exp() + _MIN_NOISE

    def variance(self) -> Tensor:
        """Variance of an entry of each channel with its noise, ``(C,)``."""
        return self.matrices().sum(0).diagonal() + self.noise()

    def decay(self, q: int, distance: Tensor) -> Tensor:
        """Correlation r_q at some distances in time.

        Parameters
        ----------
        q : int
            Number of the time scale.
        distance : Tensor of any shape
            At least 0.

        Returns
        -------
        Tensor of that shape
            In [0, 1].
        """
        if q % 2 == 0:
            return torch.exp(-self.rates[q] * distance)
        x = math.sqrt(3) * self.rates[q] * distance
        return torch.exp(-x).mul_(x + 1)

    def covariance(self, first: Entries, second: Entries) -> Tensor:
        """Covariance of the entries of each sample without their noise; 0 for padding.

        Parameters
        ----------
        first : Entries
            N of each of B samples.
        second : Entries
            K of each of them.

        Returns
        -------
        Tensor of shape (B, N, K)
            Not differentiable.
        """
        with torch.no_grad():
            exists = first.exists[:, :, None] & second.exists[:, None, :]
            times, place = torch.unique(
                torch.cat([first.time, second.time], 1), return_inverse=True
            )
            size = self.n_channels * len(times)
            if size**2 <= min(_TABLE_RATIO * exists.numel(), _TABLE_CELLS):
                distance = (times[:, None] - times).abs()
                decays = torch.stack([self.decay(q, distance) for q in range(len(self.rates))])
                table = torch.einsum("qcd,qtu->ctdu", self.matrices(), decays).flatten()
                cell = torch.cat([first.channel, second.channel], 1) * len(times) + place
                one, other = cell.split([first.n, second.n], dim=1)
                return table[one[:, :, None] * size + other[:, None, :]] * exists
            pair = first.channel[:, :, None] * self.n_channels + second.channel[:, None, :]
            distance = (first.time[:, :, None] - second.time[:, None, :]).abs()
            total = torch.zeros_like(distance)
            for q, matrix in enumerate(self.matrices()):
                total.addcmul_(matrix.flatten()[pair], self.decay(q, distance))
            return total * exists

    def noisy_covariance(self, entries: Entries) -> Tensor:
        """Covariance of the entries of each sample with their noise; 1 on the diagonal of padding.

        Parameters
        ----------
        entries : Entries
            N of each of B samples.

        Returns
        -------
        Tensor of shape (B, N, N)
            Positive definite.
        """
        covariance = self.covariance(entries, entries)
        noise = torch.where(entries.exists, self.noise().detach()[entries.channel], 1.0)
        covariance.diagonal(dim1=1, dim2=2).add_(noise)
        return covariance
