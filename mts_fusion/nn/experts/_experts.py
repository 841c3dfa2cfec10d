"""Two-layer networks side by side, of which each token passes through a few.

Sizes: N tokens in all, W width, F hidden width, E experts, k chosen, S tokens in a block.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import sorted_index, stable_argsort

__all__ = ["Experts"]


class Experts(nn.Module):
    """Weighted sum of the outputs of the experts chosen for each token.

    Parameters
    ----------
    n_experts : int
        Experts E, each a linear map, a ReLU and a linear map.
    d_model : int
        Width W of input and output.
    d_hidden : int
        Hidden width F.
    block : int
        Tokens S of one expert that are multiplied at once. Large blocks are faster, but those of a
        small batch are mostly empty.
    bias : bool
        Whether the second map adds something.

    Notes
    -----
    Input ``tokens (N, W)``, ``expert (N, k)`` int64 and ``weight (N, k)``; output ``(N, W)``. The
    time grows with ``k``, not with ``n_experts``, and no token is ever dropped, so that what
    happens to one does not depend on the others.

    The tokens are sorted by expert into blocks of one expert each, as many blocks as could be
    needed at most, so that no shape depends on the data.

    Examples
    --------
    >>> experts = Experts(4, 8, 16, block=128, bias=True)
    >>> chosen = torch.tensor([[0, 3], [1, 0], [2, 1]])
    >>> experts(torch.zeros(3, 8), chosen, torch.full((3, 2), 0.5)).shape
    torch.Size([3, 8])
    """

    def __init__(
        self, n_experts: int, d_model: int, d_hidden: int, *, block: int, bias: bool
    ) -> None:
        super().__init__()
        self.n_experts = n_experts
        self.block = block
        self.weight_in = nn.Parameter(_uniform(d_model, n_experts, d_model, d_hidden))
        self.bias_in = nn.Parameter(_uniform(d_model, n_experts, 1, d_hidden))
        self.weight_out = nn.Parameter(_uniform(d_hidden, n_experts, d_hidden, d_model))
        self.bias_out: nn.Parameter | None = None
        if bias:
            self.bias_out = nn.Parameter(_uniform(d_hidden, n_experts, 1, d_model))

    def forward(self, tokens: Tensor, expert: Tensor, weight: Tensor) -> Tensor:
        """Pass each token through its experts."""
        if self.n_experts == 1:
            return self._run(tokens.unsqueeze(0), slice(None))[0] * weight
        n_experts, block, k = self.n_experts, self.block, expert.shape[1]
        choice = expert.reshape(-1)  # (N k,)
        n_choices = choice.shape[0]
        n_blocks = n_choices // block + n_experts
        counts = F.one_hot(choice, n_experts).sum(0)
        last_block = ((counts + block - 1) // block).cumsum(0)
        first_slot = F.pad(last_block[:-1], (1, 0)) * block
        order = stable_argsort(choice, 0)
        in_order = choice[order]
        nth = torch.arange(n_choices, device=tokens.device) - (counts.cumsum(0) - counts)[in_order]
        slot = nth + first_slot[in_order]  # slots of the tokens, in sorted order
        # An empty slot holds token 0; its output is never read.
        source = torch.zeros(n_blocks, block, dtype=torch.int64, device=tokens.device)
        source = source.index_put((slot // block, slot % block), order // k)
        number = torch.arange(n_blocks, device=tokens.device)
        owner = sorted_index(last_block, number, right=True).clamp(max=n_experts - 1)
        y = self._run(F.embedding(source, tokens), owner).flatten(0, 1)
        where = torch.zeros_like(order).scatter(0, order, slot).view(-1, k)  # (N, k)
        if k == 1:
            return y.index_select(0, where[:, 0]) * weight
        return (y[where] * weight.unsqueeze(-1)).sum(1)

    def _run(self, blocks: Tensor, experts: Tensor | slice) -> Tensor:
        """Pass block b of ``(b, S, W)`` through expert ``experts[b]``."""
        hidden = torch.baddbmm(self.bias_in[experts], blocks, self.weight_in[experts])
        hidden = F.relu(hidden, inplace=True)
        if self.bias_out is None:
            return torch.bmm(hidden, self.weight_out[experts])
        return torch.baddbmm(self.bias_out[experts], hidden, self.weight_out[experts])


def _uniform(fan_in: int, *shape: int) -> Tensor:
    bound = 1 / math.sqrt(fan_in)
    return torch.empty(shape).uniform_(-bound, bound)
