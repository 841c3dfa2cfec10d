"""What :class:`Maestro` records of a batch.

Sizes: M modalities, B batch, T tokens, E experts, k chosen.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from mts_fusion.nn.attention import CrossModalOutput
from mts_fusion.nn.layers import mean_weights

__all__ = ["MAX_RECORDED_TOKENS", "maestro_record"]

MAX_RECORDED_TOKENS = 256
"""So many tokens have their attention to each other recorded; it grows with the square."""


def maestro_record(
    available: Tensor,
    one_hot: Tensor,
    budget: Tensor | None,
    outputs: Sequence[CrossModalOutput],
) -> dict[str, Tensor]:
    """The record of a batch, as :class:`Maestro` describes it.

    Parameters
    ----------
    available : Tensor of shape (B, T)
        Bool: which tokens are available.
    one_hot : Tensor of shape (T, M)
        To which modality each token belongs.
    budget : Tensor of shape (B, M) or None
        Attention budgets; None if all tokens attend.
    outputs : sequence of CrossModalOutput
        Of each layer, with its attention.

    Returns
    -------
    dict of str to Tensor
        Each of first dimension B.
    """
    n_samples, n_tokens = available.shape
    tensors = {"available": available, "modality": one_hot.argmax(1).expand(n_samples, -1)}
    if budget is not None:
        tensors["budget"] = budget
    if not outputs:
        return tensors
    routing = outputs[-1].routing
    tensors["expert"] = routing.expert.masked_fill(~available.unsqueeze(-1), -1)
    tensors["gate"] = routing.gate * available.unsqueeze(-1)
    # Mean over the available tokens of each modality, and over the layers.
    attention = torch.stack([x.attention for x in outputs if x.attention is not None]).mean(0)
    if n_tokens <= MAX_RECORDED_TOKENS:
        tensors["token_attention"] = attention * available.unsqueeze(-1)  # (B, T, T)
        attention = attention @ one_hot.to(attention.dtype)  # (B, T, M)
    rows = mean_weights(one_hot.T * available.unsqueeze(1))  # (B, M, T)
    tensors["attention"] = rows.to(attention.dtype) @ attention
    return tensors
