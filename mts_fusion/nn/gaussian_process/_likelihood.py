"""Marginal likelihood of samples, with its gradient in closed form.

Sizes: Q time scales, C channels, B samples, N entries.
"""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor

from ._entries import Entries
from ._kernel import CoregionalKernel

__all__ = ["negative_log_likelihood"]


def negative_log_likelihood(kernel: CoregionalKernel, entries: Entries) -> Tensor:
    """Minus the logarithm of the density of the entries, mean over the entries.

    Parameters
    ----------
    kernel : CoregionalKernel
        Covariance.
    entries : Entries
        With values ``(B, 1, N)``; the mean of the process is 0.

    Returns
    -------
    Tensor of shape ()
        In nats, differentiable in the parameters of the kernel.

    Notes
    -----
    The gradient of a sample in its covariance K is ``(K^-1 - a a') / 2`` with ``a = K^-1 z``. It is
    summed over the pairs of channels at once: backpropagation through K would hold several arrays
    of the size of K for each time scale.

    Examples
    --------
    >>> kernel = CoregionalKernel(torch.eye(2), [1.0], rank=1, seed=0)
    >>> one = torch.zeros(1, 3, dtype=torch.int64)
    >>> entries = Entries(one, one.double(), one == 0, torch.zeros(1, 1, 3))
    >>> loss = negative_log_likelihood(kernel, entries)
    >>> loss.backward()
    """
    total: Tensor = _Likelihood.apply(kernel.matrices(), kernel.noise(), kernel, entries)  # type: ignore[no-untyped-call]
    return total / entries.exists.sum()


class _Likelihood(torch.autograd.Function):
    """Sum over the entries, of the matrices B_q ``(Q, C, C)`` and the noise ``(C,)``."""

    @staticmethod
    def forward(
        ctx: Any, matrices: Tensor, noise: Tensor, kernel: CoregionalKernel, entries: Entries
    ) -> Tensor:
        n_channels, exists = kernel.n_channels, entries.exists
        channel, time = entries.channel, entries.time
        both = exists[:, :, None] & exists[:, None, :]
        pair = channel[:, :, None] * n_channels + channel[:, None, :]
        pair = torch.where(both, pair, n_channels**2)  # padding has a cell of its own
        distance = (time[:, :, None] - time[:, None, :]).abs()
        table = torch.nn.functional.pad(matrices.flatten(1), (0, 1))  # (Q, C * C + 1)
        covariance, decays = torch.zeros_like(distance), []
        for q, cells in enumerate(table):
            decays.append(kernel.decay(q, distance))
            covariance.addcmul_(cells[pair], decays[-1])
        covariance.diagonal(dim1=1, dim2=2).add_(torch.where(exists, noise[channel], 1.0))
        factor = torch.linalg.cholesky(covariance)
        value = torch.where(exists[:, None], entries.value.double(), 0.0).mT  # (B, N, 1)
        weight = torch.cholesky_solve(value, factor)
        log_determinant = 2 * factor.diagonal(dim1=1, dim2=2).log().sum()
        constant = math.log(2 * math.pi) * exists.sum()
        gradient = (torch.cholesky_inverse(factor) - weight * weight.mT) / 2
        grad_table, flat = torch.zeros_like(table), pair.flatten()
        for cells, decay in zip(grad_table, decays, strict=True):
            cells.index_add_(0, flat, (gradient * decay).flatten())
        own = torch.where(exists, gradient.diagonal(dim1=1, dim2=2), 0.0)
        grad_noise = torch.zeros_like(noise).index_add_(0, channel.flatten(), own.flatten())
        ctx.save_for_backward(grad_table[:, :-1].reshape(matrices.shape), grad_noise)
        return ((value * weight).sum() + log_determinant + constant) / 2

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, None, None]:
        grad_matrices, grad_noise = ctx.saved_tensors
        return grad * grad_matrices, grad * grad_noise, None, None
