"""Embeddings of times, and of the step of a diffusion.

Sizes: B batch.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["StepEmbedding", "sinusoids"]


def sinusoids(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of times at geometric frequencies, the longest period about 60,000 units.

    Parameters
    ----------
    t : Tensor of shape (...,)
        Times, in units of the sampling interval.
    width : int
        Even number of features.

    Returns
    -------
    Tensor of shape (..., width)
        In [-1, 1].

    Examples
    --------
    >>> sinusoids(torch.zeros(2, 3), 8).shape
    torch.Size([2, 3, 8])
    """
    exponent = torch.arange(width // 2, device=t.device, dtype=torch.float32) / (width // 2)
    angle = t.float()[..., None] * 10_000.0**-exponent
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class StepEmbedding(nn.Module):
    """Embedding of the step of a diffusion: sinusoids and two layers, as in CSDI.

    Parameters
    ----------
    width : int
        Width of the embedding, even.

    Notes
    -----
    Input ``step (B,)`` int; output ``(B, width)``.

    Examples
    --------
    >>> StepEmbedding(16)(torch.tensor([0, 49])).shape
    torch.Size([2, 16])
    """

    def __init__(self, width: int) -> None:
        super().__init__()
        self.width = width
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, step: Tensor) -> Tensor:
        """Embed ``step``."""
        exponent = torch.arange(self.width // 2, device=step.device) / max(self.width // 2 - 1, 1)
        angle = step.float()[:, None] * 10.0 ** (4 * exponent)
        x = torch.cat([angle.sin(), angle.cos()], dim=1)
        return F.silu(self.out(F.silu(self.hidden(x))))
