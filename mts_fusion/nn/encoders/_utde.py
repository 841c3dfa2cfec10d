"""Unified temporal discretisation: imputation and attention over time, mixed by a gate.

Sizes: B batch, L timepoints, C channels, D width, Q reference times.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mts_fusion.nn.embedding import MTANDTimeEmbedding, MultiTimeAttention
from mts_fusion.nn.layers import check_heads, nearest_observed, running_max, sorted_index
from mts_fusion.panel._schema import Modality

from ._base import Encoder, EncoderOutput

__all__ = ["UTDEEncoder"]

_N_REFERENCE = 16
_D_SYMBOL = 8


class UTDEEncoder(Encoder):
    """Irregular series at common reference times in two ways, mixed by a learnt gate.

    Section 3.1 of [1]_: the last observed value (the next one before the first), through a linear
    map; multi-time attention [2]_; ``z = g * e_imputed + (1 - g) * e_attention``, where ``g`` is a
    function of both.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D, a multiple of ``n_heads``.
    n_heads : int, default=4
        Heads of the attention over time.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    The reference times span a sample from its first to its last observation. The embedding is the
    mean over them.

    References
    ----------
    .. [1] Zhang, Li, Chen, Yan and Petzold, "Improving Medical Predictions by Irregular Multimodal
       Electronic Health Records Modeling", ICML, 2023. https://arxiv.org/abs/2210.12156
    .. [2] Shukla and Marlin, "Multi-Time Attention Networks for Irregularly Sampled Time Series",
       ICLR, 2021. https://arxiv.org/abs/2101.10318

    Examples
    --------
    >>> encoder = UTDEEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=bool)).embedding.shape
    torch.Size([2, 16])
    """

    def __init__(self, modality: Modality, d_model: int, *, n_heads: int = 4) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        vocabulary = modality.vocabulary
        n_channels = modality.n_channels * (1 if vocabulary is None else _D_SYMBOL)
        self.symbols = None if vocabulary is None else nn.Embedding(vocabulary.n_tokens, _D_SYMBOL)
        self.time = MTANDTimeEmbedding(d_model, n_reference=_N_REFERENCE)
        self.attention = MultiTimeAttention(n_channels, d_model, d_model, n_heads=n_heads)
        self.imputed = nn.Linear(n_channels, d_model)
        self.gate = nn.Sequential(
            nn.Linear(2 * d_model, d_model), nn.ReLU(), nn.Linear(d_model, d_model), nn.Sigmoid()
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
        if self.symbols is not None:
            values = self.symbols(values).flatten(2)
            observed = observed.repeat_interleave(_D_SYMBOL, 2)
        values = torch.where(observed, values, 0.0)
        fraction = _fraction(observed.any(2), times)
        # Not linspace: 3/15 has to be the 1/5 at which a timepoint is, to the last bit.
        grid = torch.arange(_N_REFERENCE, device=values.device) / (_N_REFERENCE - 1)
        attended, _ = self.attention(
            self.time(grid), self.time(fraction), values, observed, observed
        )
        imputed = self.imputed(_carried(values, observed, fraction, grid))
        gate = self.gate(torch.cat([imputed, attended], dim=-1))
        z = self.norm(gate * imputed + (1 - gate) * attended)  # (B, Q, D)
        available = observed.flatten(1).any(1, keepdim=True)
        return EncoderOutput(z.mean(1), z, available.expand(-1, _N_REFERENCE))


def _fraction(there: Tensor, times: Tensor | None) -> Tensor:
    """Times ``(B, L)`` from 0, the first observed, to 1, the last; those between never fall."""
    if times is None:
        times = torch.arange(there.shape[1], device=there.device).expand(there.shape)
    t = times.float()
    first = t.masked_fill(~there, torch.inf).amin(1, keepdim=True)
    last = t.masked_fill(~there, -torch.inf).amax(1, keepdim=True)
    empty = first > last
    first, last = first.masked_fill(empty, 0.0), last.masked_fill(empty, 1.0)
    fraction = (t - first) / (last - first).masked_fill(last <= first, 1.0)
    # What was not observed has the time before it, so that neither gaps nor padding are read.
    return running_max(fraction.masked_fill(~there, 0.0), 1)


def _carried(values: Tensor, observed: Tensor, fraction: Tensor, grid: Tensor) -> Tensor:
    """Value of each channel at the reference times, carried on; 0 where there is none."""
    wanted = grid.expand(values.shape[0], -1).contiguous()
    at = sorted_index(fraction, wanted, right=True).sub(1).clamp(min=0)  # (B, Q)
    at = at.unsqueeze(-1).expand(-1, -1, values.shape[2])
    before, after = (index.gather(1, at) for index in nearest_observed(observed))
    index = torch.where(before >= 0, before, after)
    found = index < values.shape[1]
    return values.gather(1, index.clamp(max=values.shape[1] - 1)) * found
