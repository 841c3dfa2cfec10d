"""Linear maps: with other weights for each modality, and with the same bits in any batch.

Sizes: M modalities, B batch, T tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["AlignedLinear", "ModalityLinear", "normalise"]


class ModalityLinear(nn.Module):
    """A linear map for each modality, all of them in one batched matrix product.

    Parameters
    ----------
    n_modalities : int
        Modalities M, each with weights of its own.
    d_in : int
        Width of the input.
    d_out : int
        Width of the output.
    bias : bool, default=True
        Whether a bias is added.

    Notes
    -----
    Input ``x (m, ..., d_in)``; output ``(m, ..., d_out)``. ``modalities`` is the slice of the M
    modalities that the input holds; all of them by default. The weights start as those of
    ``torch.nn.Linear`` do.

    Examples
    --------
    >>> import torch
    >>> linear = ModalityLinear(3, 4, 8)
    >>> linear(torch.zeros(3, 2, 5, 4)).shape
    torch.Size([3, 2, 5, 8])
    >>> linear(torch.zeros(2, 7, 4), modalities=slice(1, 3)).shape
    torch.Size([2, 7, 8])
    """

    def __init__(self, n_modalities: int, d_in: int, d_out: int, *, bias: bool = True) -> None:
        super().__init__()
        bound = 1 / math.sqrt(d_in)
        self.weight = nn.Parameter(torch.empty(n_modalities, d_in, d_out).uniform_(-bound, bound))
        self.bias: nn.Parameter | None = None
        if bias:
            self.bias = nn.Parameter(torch.empty(n_modalities, 1, d_out).uniform_(-bound, bound))

    def forward(self, x: Tensor, modalities: slice = slice(None)) -> Tensor:
        """Map each modality by its own weights."""
        weight = self.weight[modalities]
        flat = x if x.dim() == 3 else x.reshape(x.shape[0], -1, x.shape[-1])
        if self.bias is None:
            y = torch.bmm(flat, weight)
        else:
            y = torch.baddbmm(self.bias[modalities], flat, weight)
        return y if x.dim() == 3 else y.view(*x.shape[:-1], weight.shape[-1])


class AlignedLinear(nn.Linear):
    """Linear map of any number of features, with the same bits for a row at any position.

    On some processors a matrix product into few columns takes other code for the last rows of a
    block unless the number of features is a multiple of 4: it is filled up with zeros.

    Parameters
    ----------
    in_features : int
        Features of the input.
    out_features : int
        Width of the output.
    bias : bool, default=True
        Whether a bias is added.

    Examples
    --------
    >>> AlignedLinear(7, 3)(torch.zeros(5, 7)).shape
    torch.Size([5, 3])
    """

    def __init__(self, in_features: int, out_features: int, bias: bool = True) -> None:
        self.gap = -in_features % 4
        super().__init__(in_features + self.gap, out_features, bias)

    def forward(self, x: Tensor) -> Tensor:
        """Map the last dimension."""
        return super().forward(F.pad(x, (0, self.gap)))


def normalise(x: Tensor) -> Tensor:
    """Layer norm without scale and shift, which the following linear map can learn.

    Parameters
    ----------
    x : Tensor of shape (..., D)
        Tokens.

    Returns
    -------
    Tensor of shape (..., D)
        Mean 0 and variance 1 over D.

    Examples
    --------
    >>> normalise(torch.tensor([1.0, 3.0]))
    tensor([-1.0000,  1.0000])
    """
    return F.layer_norm(x, x.shape[-1:])
