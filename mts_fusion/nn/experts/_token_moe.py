"""Feed-forward layer of experts, of which each token passes through a few.

Sizes: N tokens in all, D width, F hidden width, E experts, k chosen, S tokens in a block.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Routing", "SparseMoE"]

# Tokens of one expert that are multiplied at once. Forward and backward of 20,480 tokens, width
# 64, hidden 128, E = 4, k = 1, on one core: all experts on all tokens 561 ms, blocks of 64, 128,
# 256, 512 tokens 59, 47, 44, 43 ms, one plain feed-forward layer 23 ms.
_BLOCK = 256


class Routing(NamedTuple):
    """Where each token went.

    Parameters
    ----------
    expert : Tensor of shape (..., k)
        Experts chosen, best first; int64.
    gate : Tensor of shape (..., E)
        Share of each expert before the choice; sums to 1.
    balance : Tensor of shape ()
        Load-balancing loss: 1 where all experts are used alike, E where one does everything.
    """

    expert: Tensor
    gate: Tensor
    balance: Tensor


class SparseMoE(nn.Module):
    """Feed-forward layer in which each token passes through its ``k`` best experts.

    ``y = sum_{e in top-k} g_e f_e(x)`` with ``g = softmax(W x)`` [1]_; for ``k > 1`` the gates of
    the chosen experts are scaled to sum to 1.

    Parameters
    ----------
    d_model : int
        Width D of input and output.
    n_experts : int, default=4
        Number of experts E. With ``n_experts=1`` this is a plain feed-forward layer.
    k : int, default=1
        Experts a token passes through. Cost grows in proportion to ``k``, not to ``n_experts``.
    d_hidden : int or None, default=None
        Hidden width F of each expert; None is ``2 * d_model``.

    Raises
    ------
    ValueError
        If ``k`` is not in ``[1, n_experts]``.

    Notes
    -----
    Input ``x (B, T, D)`` and ``observed (B, T)``; output ``(y (B, T, D), Routing)``. The load is
    counted over observed tokens. No token is ever dropped, so that what happens to one does not
    depend on the others.

    References
    ----------
    .. [1] Fedus et al., "Switch Transformers", JMLR, 2022. https://arxiv.org/abs/2101.03961

    Examples
    --------
    >>> seen = torch.ones(2, 5, dtype=bool)
    >>> y, routing = SparseMoE(8, n_experts=4)(torch.zeros(2, 5, 8), seen)
    >>> y.shape, routing.expert.shape, routing.gate.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 5, 1]), torch.Size([2, 5, 4]))
    """

    def __init__(
        self,
        d_model: int,
        n_experts: int = 4,
        k: int = 1,
        *,
        d_hidden: int | None = None,
    ) -> None:
        super().__init__()
        if not 1 <= k <= n_experts:
            raise ValueError(
                f"k is the number of experts a token passes through, between 1 and "
                f"n_experts={n_experts}; got {k}."
            )
        d_hidden = 2 * d_model if d_hidden is None else d_hidden
        self.n_experts = n_experts
        self.k = k
        self.router = nn.Linear(d_model, n_experts, bias=False) if n_experts > 1 else None
        inner, outer = 1 / math.sqrt(d_model), 1 / math.sqrt(d_hidden)
        self.weight_in = nn.Parameter(
            torch.empty(n_experts, d_model, d_hidden).uniform_(-inner, inner)
        )
        self.bias_in = nn.Parameter(torch.empty(n_experts, 1, d_hidden).uniform_(-inner, inner))
        self.weight_out = nn.Parameter(
            torch.empty(n_experts, d_hidden, d_model).uniform_(-outer, outer)
        )

    def forward(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Routing]:
        """Route each token, and pass it through its experts."""
        tokens = x.reshape(-1, x.shape[-1])
        if self.router is None:
            gate = torch.ones_like(tokens[:, :1])
            y = self._experts(tokens.unsqueeze(0), slice(None))[0]
            expert = torch.zeros_like(gate, dtype=torch.int64)
            return y.view_as(x), self._routing(x, expert, gate, observed)
        gate = self.router(tokens).float().softmax(-1)  # (N, E)
        weight, expert = gate.topk(self.k, dim=-1)
        # NOTE[DIFF] The released code of MAESTRO multiplies by the raw logit, which is often
        # negative. Here the gates are shares. With k = 1 a share scaled to sum to 1 would always
        # be 1 and cut the router's gradient, so it stays as it is.
        if self.k > 1:
            weight = weight / weight.sum(-1, keepdim=True)
        weight = weight.to(x.dtype)
        y = self._dispatch(tokens, expert, weight)
        return y.view_as(x), self._routing(x, expert, gate, observed)

    def _experts(self, blocks: Tensor, experts: Tensor | slice) -> Tensor:
        """Pass block b ``(b, S, D)`` through expert ``experts[b]``."""
        hidden = torch.baddbmm(self.bias_in[experts], blocks, self.weight_in[experts])
        return torch.bmm(F.relu(hidden, inplace=True), self.weight_out[experts])

    def _dispatch(self, tokens: Tensor, expert: Tensor, weight: Tensor) -> Tensor:
        """Sort the tokens by expert into blocks of one expert each, and put them back."""
        choice = expert.reshape(-1)  # (N k,)
        n_choices = choice.shape[0]
        n_blocks = n_choices // _BLOCK + self.n_experts
        counts = F.one_hot(choice, self.n_experts).sum(0)
        last_block = ((counts + _BLOCK - 1) // _BLOCK).cumsum(0)
        first_slot = F.pad(last_block[:-1], (1, 0)) * _BLOCK
        order = choice.argsort(stable=True)
        in_order = choice[order]
        nth = torch.arange(n_choices, device=tokens.device) - (counts.cumsum(0) - counts)[in_order]
        slot = nth + first_slot[in_order]  # where the tokens stand, in sorted order
        # An empty slot holds token 0; what becomes of it is never read.
        source = torch.zeros(n_blocks, _BLOCK, dtype=torch.int64, device=tokens.device)
        source = source.index_put((slot // _BLOCK, slot % _BLOCK), order // self.k)
        block = torch.arange(n_blocks, device=tokens.device)
        owner = torch.searchsorted(last_block, block, right=True).clamp(max=self.n_experts - 1)
        y = self._experts(F.embedding(source, tokens), owner).flatten(0, 1)
        where = torch.zeros_like(order).scatter(0, order, slot).view(-1, self.k)  # (N, k)
        if self.k == 1:
            return y.index_select(0, where[:, 0]) * weight
        return (y[where] * weight.unsqueeze(-1)).sum(1)

    def _routing(self, x: Tensor, expert: Tensor, gate: Tensor, observed: Tensor) -> Routing:
        seen = observed.reshape(-1, 1).to(gate.dtype)
        n_seen = seen.sum().clamp(min=1)
        load = (F.one_hot(expert[:, 0], self.n_experts) * seen).sum(0) / n_seen
        share = (gate * seen).sum(0) / n_seen
        shape = x.shape[:-1]
        return Routing(
            expert.view(*shape, -1), gate.view(*shape, -1), self.n_experts * (load * share).sum()
        )
