"""Transformer over the observed timepoints of one modality.

Sizes: B batch, L timepoints, C channels, D width, S steps, T tokens.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mts_fusion.nn.attention import attend
from mts_fusion.nn.layers import Dropout, check_heads, masked_mean
from mts_fusion.panel._schema import Modality

from ._base import Encoder, EncoderOutput
from ._packing import PackedEmbedding, pool_to_tokens

__all__ = ["TransformerEncoder"]

_N_LAYERS = 2


class TransformerEncoder(Encoder):
    """Transformer over the observed timepoints.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D, a multiple of ``n_heads``.
    dropout : float, default=0.1
        Dropout in all layers.
    n_heads : int, default=4
        Heads of the attention.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    The embedding is the mean of the steps. Of a modality of more than 128 timepoints, several are
    joined into a step.

    References
    ----------
    .. [1] Vaswani et al., "Attention Is All You Need", NeurIPS, 2017.
       https://arxiv.org/abs/1706.03762

    Examples
    --------
    >>> encoder = TransformerEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=bool)).embedding.shape
    torch.Size([2, 16])
    """

    def __init__(
        self,
        modality: Modality,
        d_model: int,
        *,
        dropout: float = 0.1,
        n_heads: int = 4,
    ) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        self.packed = PackedEmbedding(modality, d_model)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(
            _TransformerLayer(d_model, n_heads, dropout) for _ in range(_N_LAYERS)
        )
        self.norm = nn.LayerNorm(d_model)

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> EncoderOutput:
        """Encode."""
        x, n_steps = self.packed(values, observed, times)
        valid = torch.arange(x.shape[1], device=x.device) < n_steps.unsqueeze(1)  # (B, S)
        x = self.dropout(x)
        for layer in self.layers:
            x = layer(x, valid)
        x = self.norm(x)
        return EncoderOutput(masked_mean(x, valid.unsqueeze(-1), 1), *pool_to_tokens(x, n_steps))


class _TransformerLayer(nn.Module):
    """Attention between the valid steps, then a feed-forward layer."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norm = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, 2 * d_model),
            nn.GELU(),
            nn.Linear(2 * d_model, d_model),
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, valid: Tensor) -> Tensor:
        parts = self.qkv(self.norm(x)).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (B, H, S, d)
        x = x + self.dropout(self.out(attend(q, k, v, valid).transpose(1, 2).flatten(2)))
        return x + self.dropout(self.feed_forward(x))
