"""Attention over the times of all modalities, and experts to which modalities are routed.

Sizes: B batch, M modalities, Q times, D width, H heads, E experts.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.experts import ModalityMoE
from mts_fusion.nn.layers import Dropout, check_heads

__all__ = ["RoutedLayer"]


class RoutedLayer(nn.Module):
    """Self-attention over the times of all modalities, then routed experts, both residual.

    A layer of FuseMoE [1]_, on which TRACE builds.

    Parameters
    ----------
    moe : ModalityMoE
        The experts.
    d_model : int
        Width D, a multiple of ``n_heads``.
    n_heads : int
        Heads H of the attention.
    dropout : float
        Dropout after the attention and the experts.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    Inputs ``x (B, M, Q, D)``, ``available (B, M)`` bool and whether to record; outputs ``x``, the
    regulariser of the experts and the record: ``attention (B, M, M)``, the share of each modality
    (last axis) in the attention of each, averaged over heads and times, and ``routing`` and
    ``gate (B, M, E)`` of the experts, averaged over times. A modality that is not available is no
    key: it attends to the others, and they do not attend to it.

    References
    ----------
    .. [1] Han et al., "FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion", NeurIPS,
       2024. https://arxiv.org/abs/2402.03226

    Examples
    --------
    >>> layer = RoutedLayer(ModalityMoE(3, 8), 8, n_heads=2, dropout=0.1)
    >>> layer(torch.zeros(2, 3, 5, 8), torch.ones(2, 3, dtype=torch.bool), False)[0].shape
    torch.Size([2, 3, 5, 8])
    """

    # NOTE[DIFF] In the released code each modality attends to itself alone, and modalities meet
    # only in the joint router. Here attention spans all of them, as the papers draw it, so that
    # they meet with every router, and an absent one can read the others.

    def __init__(self, moe: ModalityMoE, d_model: int, *, n_heads: int, dropout: float) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        self.n_heads = n_heads
        self.norm_attention = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.project = nn.Linear(d_model, d_model)
        self.norm_moe = nn.LayerNorm(d_model)
        self.moe = moe
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, available: Tensor, record: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Attend, and pass through the experts."""
        _, n_modalities, length, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).flatten(1, 2)  # (B, M * Q, 3D)
        q, k, v = qkv.unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        mask = available.repeat_interleave(length, dim=1)[:, None, None]  # (B, 1, 1, M * Q)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        attended = attended.transpose(1, 2).flatten(2)  # (B, H, M * Q, D / H) -> (B, M * Q, D)
        x = x + self.dropout(self.project(attended)).unflatten(1, (n_modalities, length))
        y, loss, routed = self.moe(self.norm_moe(x), available)
        x = x + self.dropout(y)
        if not record:
            return x, loss, {}
        scores = (q @ k.transpose(-2, -1)) / (width / self.n_heads) ** 0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num(0.0)
        weights = weights.mean(1).unflatten(2, (n_modalities, length)).sum(-1)
        weights = weights.unflatten(1, (n_modalities, length)).mean(2)  # (B, M, M)
        return x, loss, {"attention": weights, **{key: z.mean(2) for key, z in routed.items()}}
