"""Attention along the time and along the channels of grids of tokens.

Sizes: B batch, M modalities, P patches along time, G groups of channels, N tokens of all
modalities (the sum of P * G), D width, H heads, E experts. Tokens of all modalities are
concatenated along one axis, modality after modality, time before channels: layers that work token
by token run once, and only attention splits them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, check_heads

__all__ = ["AxisTransformerLayer", "Grid", "GridAttention", "GridEncoderLayer", "grid_attend"]


class Grid(NamedTuple):
    """Tokens of a modality.

    Parameters
    ----------
    n_patches : int
        Patches P along time.
    n_groups : int
        Groups of channels G.
    own : bool Tensor of shape (B, P), default=None
        Patches up to the end of each sample. Later ones are there since another sample is longer:
        they see all patches, and no patch of the sample sees them. None: all are its own.
    """

    n_patches: int
    n_groups: int
    own: Tensor | None = None

    @property
    def n_tokens(self) -> int:
        """Tokens P * G."""
        return self.n_patches * self.n_groups


def grid_attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of ``q, k, v (..., H, N, d)``; in float32 on a processor, whatever the precision.

    There, the backward pass of torch 2.13 in bf16 is 17 times slower than in float32. A mask of
    bools says who is seen, one of numbers is added.
    """
    if q.device.type != "cpu":
        if mask is not None and mask.is_floating_point():
            mask = mask.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask)


class GridAttention(nn.Module):
    """Self-attention along the time or along the channels of each modality.

    Parameters
    ----------
    d_model : int
        Width D.
    n_heads : int
        Heads H.
    axis : {"time", "feature"}
        Which tokens see each other: those of one group of channels, or those of one patch.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    Input ``x (R, N, D)``, R a multiple of the samples B and the rows of a sample side by side,
    and the grids of the modalities; output like ``x``. Where the axis has one token, that token
    attends to itself.

    Examples
    --------
    >>> grids = [Grid(5, 2), Grid(1, 1)]
    >>> GridAttention(8, 2, "time")(torch.zeros(3, 5 * 2 + 1, 8), grids).shape
    torch.Size([3, 11, 8])
    """

    def __init__(self, d_model: int, n_heads: int, axis: str) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        self.n_heads = n_heads
        self.axis = axis
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Attend within each modality."""
        rows, width = x.shape[0], x.shape[2]
        mixed = []
        parts = self.qkv(x).split([grid.n_tokens for grid in grids], 1)
        for part, (p, g, own) in zip(parts, grids, strict=True):
            if (p if self.axis == "time" else g) == 1:
                mixed.append(part[..., 2 * width :])
                continue
            # (R, P G, 3 D) -> 3 x (R, P, G, H, d), then the axis before the width
            heads = part.reshape(rows, p, g, 3, self.n_heads, width // self.n_heads)
            if self.axis == "time":
                heads = heads.permute(3, 0, 2, 4, 1, 5)  # (3, R, G, H, P, d)
                samples, mask = rows * g, None
                if own is not None:
                    samples, mask = len(own), (own[:, None] | ~own[:, :, None])[:, None]
                heads = heads.reshape(3, samples, -1, *heads.shape[4:])  # (3, B, R G H / B, P, d)
                y = grid_attend(heads[0], heads[1], heads[2], mask)
                y = y.reshape(rows, g, self.n_heads, p, -1).permute(0, 3, 1, 2, 4)
            else:
                heads = heads.permute(3, 0, 1, 4, 2, 5).flatten(1, 2)  # (3, R P, H, G, d)
                y = grid_attend(heads[0], heads[1], heads[2])
                y = y.view(rows, p, self.n_heads, g, -1).permute(0, 1, 3, 2, 4)
            mixed.append(y.reshape(rows, p * g, width))
        return self.out(mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1))


class GridEncoderLayer(nn.Module):
    """Time attention, feature attention and a feed-forward layer, each normed and added.

    Parameters
    ----------
    d_model : int
        Width D.
    n_heads : int
        Heads H.
    d_hidden : int
        Width of the feed-forward layer; 0 leaves it out.

    Notes
    -----
    Input ``x (R, N, D)`` and the grids of the modalities; output like ``x``.

    Examples
    --------
    >>> GridEncoderLayer(8, 2, 16)(torch.zeros(3, 10, 8), [Grid(5, 2)]).shape
    torch.Size([3, 10, 8])
    """

    def __init__(self, d_model: int, n_heads: int, d_hidden: int) -> None:
        super().__init__()
        self.time_norm = nn.LayerNorm(d_model)
        self.time = GridAttention(d_model, n_heads, "time")
        self.feature_norm = nn.LayerNorm(d_model)
        self.feature = GridAttention(d_model, n_heads, "feature")
        self.feed_forward: nn.Module | None = None
        if d_hidden:
            self.feed_forward = nn.Sequential(
                nn.LayerNorm(d_model),
                nn.Linear(d_model, d_hidden),
                nn.GELU(),
                nn.Linear(d_hidden, d_model),
            )

    def forward(self, x: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Encode ``x``."""
        x = x + self.time(self.time_norm(x), grids)
        x = x + self.feature(self.feature_norm(x), grids)
        if self.feed_forward is not None:
            x = x + self.feed_forward(x)
        return x


class AxisTransformerLayer(nn.Module):
    """Transformer layer of CSDI [1]_ along one axis: each part is added, then normed.

    Parameters
    ----------
    d_model : int
        Width D.
    n_heads : int
        Heads H.
    axis : {"time", "feature"}
        Which tokens see each other, as in :class:`GridAttention`.
    d_hidden : int
        Width of the feed-forward layer.
    dropout : float
        Dropout after the attention and twice in the feed-forward layer.

    Notes
    -----
    Input ``x (R, N, D)`` and the grids of the modalities; output like ``x``.

    References
    ----------
    .. [1] Tashiro et al., "CSDI: Conditional Score-based Diffusion Models for Probabilistic Time
       Series Imputation", NeurIPS, 2021, figure 6. https://arxiv.org/abs/2107.03502

    Examples
    --------
    >>> layer = AxisTransformerLayer(8, 2, "time", 16, dropout=0.1)
    >>> layer(torch.zeros(3, 10, 8), [Grid(5, 2)]).shape
    torch.Size([3, 10, 8])
    """

    def __init__(
        self, d_model: int, n_heads: int, axis: str, d_hidden: int, *, dropout: float
    ) -> None:
        super().__init__()
        self.attention = GridAttention(d_model, n_heads, axis)
        self.attention_norm = nn.LayerNorm(d_model)
        self.inner = nn.Linear(d_model, d_hidden)
        self.outer = nn.Linear(d_hidden, d_model)
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Encode ``x``."""
        x = self.attention_norm(x + self.dropout(self.attention(x, grids)))
        y = self.outer(self.dropout(F.gelu(self.inner(x))))
        return self.norm(x + self.dropout(y))
