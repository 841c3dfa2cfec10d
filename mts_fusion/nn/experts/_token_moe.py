"""Feed-forward layer of experts, of which each token passes through a few.

Sizes: N tokens in all, D width, F hidden width, E experts, k chosen, S tokens in a block.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import masked_mean

from ._experts import Experts

__all__ = ["Routing", "SparseMoE"]

# Tokens of one expert that are multiplied at once. Forward and backward of 20,480 tokens, width
# 64, hidden 128, E = 4, k = 1, on one core: all experts on all tokens 561 ms, blocks of 64, 128,
# 256, 512 tokens 59, 47, 44, 43 ms, one plain feed-forward layer 23 ms.
_BLOCK = 256


class Routing(NamedTuple):
    """Routing of each token.

    Parameters
    ----------
    expert : Tensor of shape (..., k)
        Experts chosen, best first; int64.
    gate : Tensor of shape (..., E)
        Share of each expert before the choice; sums to 1.
    balance : Tensor of shape ()
        Load-balancing loss: 1 where all experts are used alike, E where one is used for all.
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
        Hidden width of an expert. None: ``2 * d_model``.

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
    >>> observed = torch.ones(2, 5, dtype=bool)
    >>> y, routing = SparseMoE(8, n_experts=4)(torch.zeros(2, 5, 8), observed)
    >>> y.shape, routing.expert.shape, routing.gate.shape
    (torch.Size([2, 5, 8]), torch.Size([2, 5, 1]), torch.Size([2, 5, 4]))
    """

    def __init__(
        self, d_model: int, n_experts: int = 4, k: int = 1, *, d_hidden: int | None = None
    ) -> None:
        super().__init__()
        if not 1 <= k <= n_experts:
            raise ValueError(
                f"k is the number of experts a token passes through, between 1 and "
                f"n_experts={n_experts}; got {k}."
            )
        self.n_experts = n_experts
        self.k = k
        router = nn.Linear(d_model, n_experts, bias=False) if n_experts > 1 else None
        self.experts = Experts(
            n_experts, d_model, d_hidden or 2 * d_model, block=_BLOCK, bias=False
        )
        self.router = router

    def forward(self, x: Tensor, observed: Tensor) -> tuple[Tensor, Routing]:
        """Route each token, and pass it through its experts."""
        tokens = x.reshape(-1, x.shape[-1])
        if self.router is None:
            gate = torch.ones_like(tokens[:, :1])
        else:
            gate = self.router(tokens).float().softmax(-1)  # (N, E)
        weight, expert = gate.topk(self.k, dim=-1)
        # NOTE[DIFF] The released code of MAESTRO multiplies by the raw logit, which is often
        # negative. Here the gates are shares. With k = 1 a share scaled to sum to 1 would always
        # be 1 and cut the router's gradient, so it stays as it is.
        if self.k > 1:
            weight = weight / weight.sum(-1, keepdim=True)
        y = self.experts(tokens, expert, weight.to(x.dtype))
        return y.view_as(x), self._routing(x, expert, gate, observed)

    def _routing(self, x: Tensor, expert: Tensor, gate: Tensor, observed: Tensor) -> Routing:
        counted = observed.reshape(-1, 1)
        first = F.one_hot(expert[:, 0], self.n_experts).to(gate.dtype)
        balance = masked_mean(first, counted, 0) * masked_mean(gate, counted, 0)
        shape = x.shape[:-1]
        return Routing(
            expert.view(*shape, -1), gate.view(*shape, -1), self.n_experts * balance.sum()
        )
