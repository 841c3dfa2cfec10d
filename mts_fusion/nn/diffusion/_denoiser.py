"""Layers of a denoiser on grids of tokens, and the embedding of its step.

Sizes: B batch, S draws, N tokens of all modalities, D width, H heads; for the order of the tokens
see ``_grid.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._grid import Grid, GridEncoderLayer

__all__ = ["ResidualDenoiserLayer", "StepEmbedding", "sinusoids"]


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
    width : int, default=128
        Width of the embedding.

    Notes
    -----
    Input ``step (B,)`` int; output ``(B, width)``.

    Examples
    --------
    >>> StepEmbedding(16)(torch.tensor([0, 49])).shape
    torch.Size([2, 16])
    """

    def __init__(self, width: int = 128) -> None:
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


class ResidualDenoiserLayer(nn.Module):
    """Residual layer of CSDI: attention along time and channels, then a gate that sees the side.

    The projection of the side information does not depend on the step: :meth:`prepare` makes it
    once for all steps and draws.

    Parameters
    ----------
    d_model : int
        Width D.
    n_heads : int
        Heads H.
    d_side : int
        Width of the side information.
    d_step : int
        Width of the embedding of the step.
    d_hidden : int
        Width of the feed-forward layer within; 0 leaves it out.

    Notes
    -----
    Input ``x (B, S, N, D)`` for S draws, ``step (B, d_step)``, the prepared side ``(B, N, 2 D)``
    and the grids; output: the new ``x`` and what the layer adds to the output, both like ``x``.

    References
    ----------
    .. [1] Tashiro et al., "CSDI: Conditional Score-based Diffusion Models for Probabilistic Time
       Series Imputation", NeurIPS, 2021, figure 6. https://arxiv.org/abs/2107.03502

    Examples
    --------
    >>> layer = ResidualDenoiserLayer(8, 2, d_side=6, d_step=4, d_hidden=0)
    >>> side = layer.prepare(torch.zeros(3, 10, 6))
    >>> x, skip = layer(torch.zeros(3, 1, 10, 8), torch.zeros(3, 4), side, [(5, 2)])
    >>> x.shape, skip.shape
    (torch.Size([3, 1, 10, 8]), torch.Size([3, 1, 10, 8]))
    """

    def __init__(
        self, d_model: int, n_heads: int, *, d_side: int, d_step: int, d_hidden: int
    ) -> None:
        super().__init__()
        self.step = nn.Linear(d_step, d_model)
        # NOTE[DIFF] CSDI has one generic encoder layer (norm behind, ReLU, dropout .1) for each of
        # the two axes. Here both attentions share one feed-forward layer, with the norm in front,
        # and go through scaled_dot_product_attention.
        self.attention = GridEncoderLayer(d_model, n_heads, d_hidden)
        self.middle = nn.Linear(d_model, 2 * d_model)
        self.side = nn.Linear(d_side, 2 * d_model)
        self.out = nn.Linear(d_model, 2 * d_model)

    def prepare(self, side: Tensor) -> Tensor:
        """Project the side information, ``(B, N, d_side) -> (B, N, 2 D)``."""
        return self.side(side)

    def forward(
        self, x: Tensor, step: Tensor, side: Tensor, grids: Sequence[Grid]
    ) -> tuple[Tensor, Tensor]:
        """Pass ``x`` on and give the layer's part of the output."""
        y = x + self.step(step)[:, None, None]
        y = self.attention(y.flatten(0, 1), grids).view_as(x)
        gate, content = (self.middle(y) + side[:, None]).chunk(2, dim=-1)
        residual, skip = self.out(torch.sigmoid(gate) * torch.tanh(content)).chunk(2, dim=-1)
        return (x + residual) / math.sqrt(2), skip
