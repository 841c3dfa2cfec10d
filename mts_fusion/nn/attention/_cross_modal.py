"""Attention across all modalities, followed by experts.

Sizes: B batch, M modalities, T tokens of all modalities, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mts_fusion.nn.experts import Routing, SparseMoE
from mts_fusion.nn.layers import Dropout, normalise

from ._budgeted import BudgetedAttention, picking_saves

__all__ = ["CrossModalLayer", "CrossModalOutput"]


class CrossModalOutput(NamedTuple):
    """Tokens, their routing, and the attention between modalities.

    Parameters
    ----------
    tokens : Tensor of shape (B, T, D)
        The tokens after the layer.
    routing : Routing
        Where each token went.
    attention : Tensor of shape (B, T, M) or None
        Share of each token's attention that goes to each modality; None unless asked for.
    """

    tokens: Tensor
    routing: Routing
    attention: Tensor | None

    @classmethod
    def join(cls, parts: Sequence[CrossModalOutput]) -> CrossModalOutput:
        """Outputs for several sequences of tokens as one.

        Parameters
        ----------
        parts : sequence of CrossModalOutput
            With T tokens in all.

        Returns
        -------
        CrossModalOutput
            Their tokens one after the other, and the mean of their balance.
        """
        if len(parts) == 1:
            return parts[0]
        routings = [part.routing for part in parts]
        shown = [part.attention for part in parts if part.attention is not None]
        return cls(
            torch.cat([part.tokens for part in parts], 1),
            Routing(
                torch.cat([routing.expert for routing in routings], 1),
                torch.cat([routing.gate for routing in routings], 1),
                torch.stack([routing.balance for routing in routings]).mean(),
            ),
            torch.cat(shown, 1) if shown else None,
        )


class CrossModalLayer(nn.Module):
    """Attention over the tokens of all modalities, and a sparse mixture of experts.

    Parameters
    ----------
    d_model : int, default=64
        Width D.
    n_heads : int, default=8
        Heads.
    n_experts : int, default=4
        See :class:`SparseMoE`.
    n_active_experts : int, default=1
        Experts a token passes through.
    d_hidden : int or None, default=None
        Hidden width of an expert. None: ``2 * d_model``.
    budget : float or None, default=None
        ``budget * log(T)`` of T tokens attend, the others get the mean; None or ``inf``: all do.
    n_tokens : int or None, default=None
        Tokens T there can be: where picking those that attend does not save products, all attend by
        the fraction that the budget allows (:func:`picking_saves`). None: they are picked.
    dropout : float, default=0.1
        Dropout after the attention and the experts.

    Raises
    ------
    ValueError
        If the budget is negative or not a number.

    Notes
    -----
    Input ``x (B, T, D)``, ``available (B, T)`` bool, and for the record the one-hot modality of
    each token ``(T, M)``; output :class:`CrossModalOutput`.

    Examples
    --------
    >>> x, available = torch.zeros(2, 9, 8), torch.ones(2, 9, dtype=bool)
    >>> CrossModalLayer(8, 2)(x, available).tokens.shape
    torch.Size([2, 9, 8])
    """

    def __init__(
        self,
        d_model: int = 64,
        n_heads: int = 8,
        *,
        n_experts: int = 4,
        n_active_experts: int = 1,
        d_hidden: int | None = None,
        budget: float | None = None,
        n_tokens: int | None = None,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        if budget is not None and not budget >= 0:
            raise ValueError(f"The budget across modalities is at least 0, got {budget}.")
        budget = None if budget == math.inf else budget
        self.budget = budget
        self.picks = n_tokens is None or budget is None or picking_saves(n_tokens, budget)
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.attention = BudgetedAttention(n_heads, max_budget=5.0 if budget is None else budget)
        self.out = nn.Linear(d_model, d_model, bias=False)
        self.experts = SparseMoE(d_model, n_experts, n_active_experts, d_hidden=d_hidden)
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, available: Tensor, modality: Tensor | None = None
    ) -> CrossModalOutput:
        """Attend across modalities, and pass through the experts."""
        budget = None
        if self.budget is not None:
            budget = torch.full((x.shape[0],), self.budget, device=x.device)
        attention = None
        qkv = self.qkv(normalise(x))
        if modality is not None:
            # Attention to a modality: the output if its tokens have the value 1 and others 0.
            columns = modality.to(x.dtype).expand(x.shape[0], -1, -1)
            attention = self.attention(qkv, available, budget, columns, picks=self.picks)
        mixed = self.attention(qkv, available, budget, picks=self.picks)
        x = self.dropout.add(x, self.out(mixed))
        y, routing = self.experts(normalise(x), available)
        return CrossModalOutput(self.dropout.add(x, y), routing, attention)
