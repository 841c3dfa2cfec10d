"""iTransformer as an encoder: each channel of a window is a token.

Sizes: B batch, L timepoints, C channels, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..nn.attention import attend
from ..nn.encoders import Encoder, EncoderOutput
from ..nn.layers import Dropout, check_heads
from ..panel import Modality

__all__ = ["ITransformerEncoder"]

_N_LAYERS = 2


class ITransformerEncoder(Encoder):
    """Attention between channels, of which the whole series is one token [1]_.

    Parameters
    ----------
    modality : Modality
        All channels, on one regular clock; numbers.
    d_model : int
        Width D, a multiple of ``n_heads``.
    n_heads : int, default=4
        Heads of the attention.
    dropout : float, default=0.1
        Dropout in all layers.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``, or windows are longer than in training:
        the token of a channel is a linear map of a fixed number of timepoints.

    Notes
    -----
    It is a baseline of the tables and no encoder of the library, whose windows may have any length.
    As for classification in the authors' code, the channels are joined side by side. A channel of
    which nothing was observed is left out of the attention; other gaps are 0, the mean.

    References
    ----------
    .. [1] Liu et al., "iTransformer: Inverted Transformers Are Effective for Time Series
       Forecasting", ICLR, 2024. https://arxiv.org/abs/2310.06625

    Examples
    --------
    >>> encoder = ITransformerEncoder(Modality("all", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=torch.bool)).tokens.shape
    torch.Size([2, 3, 16])
    """

    def __init__(
        self, modality: Modality, d_model: int, *, n_heads: int = 4, dropout: float = 0.1
    ) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        self.n_timepoints = modality.n_timepoints
        self.embed = nn.Linear(modality.n_timepoints, d_model)
        self.dropout = Dropout(dropout)
        self.layers = nn.ModuleList(_Layer(d_model, n_heads, dropout) for _ in range(_N_LAYERS))
        self.norm = nn.LayerNorm(d_model)
        self.join = nn.Linear(modality.n_channels * d_model, d_model)

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> EncoderOutput:
        """Encode."""
        if values.shape[1] != self.n_timepoints:
            raise ValueError(
                f"iTransformer was built for {self.n_timepoints} timepoints, got {values.shape[1]}."
            )
        available = observed.any(1)  # (B, C)
        x = torch.where(observed, values, 0.0).transpose(1, 2)  # (B, L, C) -> (B, C, L)
        x = self.dropout(self.embed(x))
        for layer in self.layers:
            x = layer(x, available)
        x = self.norm(x).masked_fill(~available.unsqueeze(-1), 0.0)
        # NOTE[DIFF]: for classification the authors' code maps the joined channels to the classes;
        # here a hidden layer of width D stands between them, so that any strategy can follow.
        return EncoderOutput(self.join(self.dropout(F.gelu(x)).flatten(1)), x, available)


class _Layer(nn.Module):
    """Attention between channels, then a feed-forward layer; norms after each sum, as published."""

    def __init__(self, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)
        self.inner = nn.Linear(d_model, 4 * d_model)
        self.outer = nn.Linear(4 * d_model, d_model)
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(2))
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, available: Tensor) -> Tensor:
        q, k, v = self.qkv(x).unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        attended = attend(q, k, v, available).transpose(1, 2).flatten(2)
        x = self.norms[0](x + self.dropout(self.out(attended)))
        inner = self.dropout(F.gelu(self.inner(x)))
        return self.norms[1](x + self.dropout(self.outer(inner)))
