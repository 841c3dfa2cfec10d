"""Residual convolutions over the observed timepoints of one modality.

Sizes: B batch, L timepoints, C channels, D width, T tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, masked_mean
from mts_fusion.panel._schema import Modality

from ._base import Encoder, EncoderOutput
from ._packing import TimepointEmbedding, observed_first, pool_to_tokens

__all__ = ["CNNEncoder"]

# Each layer doubles the dilation: after three of kernel size 7 the receptive field is 43.
_N_LAYERS = 3


class CNNEncoder(Encoder):
    """Residual convolutions of growing dilation, then mean and maximum over what was observed.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D.
    dropout : float, default=0.1
        Dropout on what is pooled.

    Notes
    -----
    A timepoint at which nothing was observed is zero in each layer, as padding is, and is left out
    of mean and maximum. The normalisation is over the channels of one timepoint.

    References
    ----------
    .. [1] Wang, Yan and Oates, "Time Series Classification from Scratch with Deep Neural Networks",
       IJCNN, 2017. https://arxiv.org/abs/1611.06455

    Examples
    --------
    >>> encoder = CNNEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=bool)).embedding.shape
    torch.Size([2, 16])
    """

    def __init__(self, modality: Modality, d_model: int, *, dropout: float = 0.1) -> None:
        super().__init__()
        self.embed = TimepointEmbedding(modality, d_model)
        self.convolutions = nn.ModuleList(
            nn.Conv1d(d_model, d_model, 7, padding=3 * 2**i, dilation=2**i)
            for i in range(_N_LAYERS)
        )
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(_N_LAYERS))
        self.dropout = Dropout(dropout)
        self.project = nn.Linear(2 * d_model, d_model)

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> EncoderOutput:
        """Encode."""
        any_observed = observed.any(-1)  # (B, L)
        mask = any_observed.unsqueeze(-1)
        x = self.embed(values, observed) * mask
        for convolution, norm in zip(self.convolutions, self.norms, strict=True):
            new = convolution(x.transpose(1, 2)).transpose(1, 2)
            x = (x + F.gelu(norm(new))) * mask
        largest = x.masked_fill(~mask, -math.inf).amax(1)
        largest = torch.where(any_observed.any(1, keepdim=True), largest, 0.0)
        pooled = self.dropout(torch.cat([masked_mean(x, mask, 1), largest], -1))
        order, n_observed = observed_first(any_observed)
        x = x.gather(1, order.unsqueeze(-1).expand_as(x))
        return EncoderOutput(self.project(pooled), *pool_to_tokens(x, n_observed))
