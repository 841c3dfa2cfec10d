"""Attention inside each modality, all modalities at once, and distilling of their tokens.

Sizes: m modalities computed together, B batch, T tokens, D width.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, ModalityLinear, normalise

from ._budgeted import BudgetedAttention, picking_saves

__all__ = ["Distilling", "IntraModalLayer", "distilled_times"]

_ALL = slice(None)


def _pairs(x: Tensor, dim: int) -> Tensor:
    """Pairs of tokens: the T entries of dimension ``dim`` as (T / 2, 2), padded with a zero."""
    if x.shape[dim] % 2:
        gap = torch.zeros_like(x.narrow(dim, 0, 1))
        x = torch.cat([x, gap], dim)
    return x.unflatten(dim, (-1, 2))


def distilled_times(encoded: Tensor, available: Tensor) -> Tensor:
    """Encoded times of the tokens after :class:`Distilling`.

    Parameters
    ----------
    encoded : Tensor of shape (m, 1, T, D) or (m, B, T, D)
        Encodings of the times before, the same for all samples or those of each.
    available : Tensor of shape (m, B, T)
        Bool.

    Returns
    -------
    Tensor of shape (m, B, T / 2, D)
        That of the first token of each pair, or of the second where the first is not available.

    Examples
    --------
    >>> available = torch.tensor([[[True, True, True, True], [False, True, True, True]]])
    >>> distilled_times(torch.arange(4.0).view(1, 1, 4, 1), available).squeeze(-1)
    tensor([[[0., 2.],
             [1., 2.]]])
    """
    first, second = _pairs(encoded, 2).unbind(-2)
    return torch.where(_pairs(available, 2)[..., :1], first, second)


class Distilling(nn.Module):
    """Half the tokens: the sum of a convolution and of a maximum, both of stride 2.

    ``z = conv(norm(s)) + maxpool(s)``, section 2 of [1]_. Tokens that are not available are in
    neither.

    Parameters
    ----------
    n_modalities : int
        Modalities, each with weights of its own.
    d_model : int
        Width D.

    Notes
    -----
    Input ``x (m, B, T, D)``, ``available (m, B, T)``; output ``(m, B, T/2, D)``, ``(m, B, T/2)``,
    rounded up.

    References
    ----------
    .. [1] Mohapatra et al., "MAESTRO: Adaptive Sparse Attention and Robust Learning for Multimodal
       Dynamic Time Series", NeurIPS, 2025. https://arxiv.org/abs/2509.25278

    Examples
    --------
    >>> x, available = torch.zeros(3, 2, 9, 8), torch.ones(3, 2, 9, dtype=bool)
    >>> Distilling(3, 8)(x, available)[0].shape
    torch.Size([3, 2, 5, 8])
    """

    def __init__(self, n_modalities: int, d_model: int) -> None:
        super().__init__()
        # NOTE[DIFF] Informer, whose distilling this is, convolves and pools windows of 3 tokens,
        # which overlap. Pairs need no copy, and padding adds no token behind the last.
        self.conv = ModalityLinear(n_modalities, 2 * d_model, d_model, bias=False)

    def forward(
        self, x: Tensor, available: Tensor, modalities: slice = _ALL
    ) -> tuple[Tensor, Tensor]:
        """Distil the tokens."""
        pairs = _pairs(torch.where(available.unsqueeze(-1), x, 0), 2)  # (m, B, T / 2, 2, D)
        pair_available = _pairs(available, 2)
        conv = self.conv(normalise(pairs).flatten(-2), modalities)
        first, second = pairs.unbind(-2)
        both = pair_available.all(-1, keepdim=True)
        # Where one of two is not available it is 0, and the sum is the other.
        peak = torch.where(both, torch.maximum(first, second), first + second)
        return conv + peak, pair_available.any(-1)


class IntraModalLayer(nn.Module):
    """Attention and a feed-forward layer inside each modality, all modalities at once.

    Parameters
    ----------
    n_modalities : int
        Modalities, each with weights of its own.
    d_model : int, default=64
        Width D.
    n_heads : int, default=8
        Heads.
    max_budget : float, default=5.0
        See :class:`BudgetedAttention`.
    n_tokens : sequence of int or None, default=None
        Tokens T that each modality can have. Modalities that are computed together have their
        queries picked where that saves products for one of them (:func:`picking_saves`); otherwise
        all attend by the fraction that the budget allows. None: they are picked.
    d_hidden : int or None, default=None
        Hidden width of the feed-forward layer. None: ``2 * d_model``.
    distil : bool, default=True
        Whether the number of tokens is halved (:class:`Distilling`).
    dropout : float, default=0.1
        Dropout after the attention and the feed-forward layer.

    Notes
    -----
    Input ``x (m, B, T, D)``, ``available (m, B, T)`` bool, ``budget (m, B)`` or None, and the run
    of the modalities that these are (default all). Output tokens and which are available.

    Examples
    --------
    >>> x, available = torch.zeros(3, 2, 9, 8), torch.ones(3, 2, 9, dtype=bool)
    >>> IntraModalLayer(3, 8, 2)(x, available, torch.ones(3, 2))[0].shape
    torch.Size([3, 2, 5, 8])
    """

    def __init__(
        self,
        n_modalities: int,
        d_model: int = 64,
        n_heads: int = 8,
        *,
        max_budget: float = 5.0,
        n_tokens: Sequence[int] | None = None,
        d_hidden: int | None = None,
        distil: bool = True,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.qkv = ModalityLinear(n_modalities, d_model, 3 * d_model, bias=False)
        self.attention = BudgetedAttention(n_heads, max_budget=max_budget)
        self.picks = [True] * n_modalities
        if n_tokens is not None:
            self.picks = [picking_saves(n, max_budget) for n in n_tokens]
        self.out = ModalityLinear(n_modalities, d_model, d_model, bias=False)
        hidden = d_hidden or 2 * d_model
        self.inner = ModalityLinear(n_modalities, d_model, hidden)
        self.outer = ModalityLinear(n_modalities, hidden, d_model, bias=False)
        self.dropout = Dropout(dropout)
        self.distilling: Distilling | None = None
        if distil:
            self.distilling = Distilling(n_modalities, d_model)

    def forward(
        self, x: Tensor, available: Tensor, budget: Tensor | None, modalities: slice = _ALL
    ) -> tuple[Tensor, Tensor]:
        """Encode the tokens of each modality."""
        # NOTE[DIFF] MAESTRO and Informer normalise after each residual sum, with learnt scales.
        # Here each part normalises its input, without parameters.
        m, batch = x.shape[:2]
        qkv = self.qkv(normalise(x), modalities).flatten(0, 1)  # (m B, T, 3 D)
        flat = None if budget is None else budget.flatten()
        picks = any(self.picks[modalities])
        mixed = self.attention(qkv, available.flatten(0, 1), flat, picks=picks)
        x = self.dropout.add(x, self.out(mixed.unflatten(0, (m, batch)), modalities))
        flat = normalise(x).flatten(1, 2)  # (m, B T, D): no view, so it can change in place
        hidden = F.relu(self.inner(flat, modalities), inplace=True)
        x = self.dropout.add(x, self.outer(hidden, modalities).view_as(x))
        if self.distilling is None:
            return x, available
        return self.distilling(x, available, modalities)
