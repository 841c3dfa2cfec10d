"""Flex-MoE: a bank for what is missing, and an expert for each combination of modalities.

Sizes: B batch, M modalities, D width, H heads, E experts, F hidden width of an expert.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, check_heads
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, make_head

__all__ = ["FlexMoEFusion"]

# Most modalities: the bank has 2**M * M vectors.
_MOST_MODALITIES = 12

# Most experts; with more combinations than that, some share one.
_MOST_EXPERTS = 32


class FlexMoEFusion(Fusion):
    """Logits of completed embeddings, by experts of the combination that a sample has.

    Section 3 of [1]_. The embedding of a missing modality comes from a bank of learnt vectors, one
    for each combination of observed modalities and each that it lacks. The completed embeddings
    attend to each other; each is then processed by two experts: the one of the combination, and the
    best of all as the router says.

    Parameters
    ----------
    n_modalities : int
        Modalities M, at most 12.
    d_model : int
        Width D of the embeddings, a multiple of ``n_heads``.
    n_outputs : int
        Width of the logits.
    n_heads : int, default=4
        Heads of the attention.
    dropout : float, default=0.1
        Dropout after attention and experts, and in the head.

    Raises
    ------
    ValueError
        If there are more than 12 modalities, or ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``; output :class:`FusionOutput`. Record:
    ``attention (B, M, M)``, mean over heads.

    References
    ----------
    .. [1] Yun et al., "Flex-MoE: Modeling Arbitrary Modality Combination via the Flexible
       Mixture-of-Experts", NeurIPS, 2024. https://arxiv.org/abs/2410.08245

    Examples
    --------
    >>> fusion = FlexMoEFusion(3, 8, 5)
    >>> fusion(torch.zeros(2, 3, 8), torch.ones(2, 3, dtype=bool)).logits.shape
    torch.Size([2, 5])
    """

    # NOTE[DIFF] The paper trains the router with a cross entropy to choose the expert of the
    # combination. The combination is known in prediction too, so here that expert is chosen, with
    # the router's weight; the second is the router's choice, as in the paper. With more than 32
    # combinations, those of one number modulo 32 share an expert.

    def __init__(
        self,
        n_modalities: int,
        d_model: int,
        n_outputs: int,
        *,
        n_heads: int = 4,
        dropout: float = 0.1,
    ) -> None:
        super().__init__()
        self.bit: Tensor
        if n_modalities > _MOST_MODALITIES:
            raise ValueError(
                f"strategy='flex_moe' has a bank of 2**M * M vectors for M modalities, at most "
                f"{_MOST_MODALITIES}, but there are {n_modalities}. Use strategy='early'."
            )
        check_heads(d_model, n_heads)
        self.n_heads = n_heads
        self.n_experts = min(2**n_modalities, _MOST_EXPERTS)
        self.bank = nn.Parameter(torch.randn(2**n_modalities, n_modalities, d_model) * 0.02)
        self.register_buffer("bit", 2 ** torch.arange(n_modalities), persistent=False)
        self.modality = nn.Parameter(torch.randn(n_modalities, d_model) * 0.02)
        self.norm_attention = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.project = nn.Linear(d_model, d_model)
        self.norm_experts = nn.LayerNorm(d_model)
        self.router = nn.Linear(d_model, self.n_experts, bias=False)
        bound = d_model**-0.5
        shape = (self.n_experts, d_model, d_model)
        self.weight_in = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.weight_out = nn.Parameter(torch.empty(shape).uniform_(-bound, bound))
        self.dropout = Dropout(dropout)
        self.head = nn.Sequential(
            nn.LayerNorm(n_modalities * d_model),
            make_head(n_modalities * d_model, d_model, n_outputs, dropout),
        )

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        combination = (available * self.bit).sum(1)  # (B,)
        x = torch.where(available.unsqueeze(-1), embeddings, self.bank[combination])
        x = x + self.modality
        parts = self.qkv(self.norm_attention(x)).unflatten(-1, (3, self.n_heads, -1))
        q, k, v = parts.permute(2, 0, 3, 1, 4)  # each (B, H, M, D / H)
        attention = (q @ k.transpose(-2, -1) / q.shape[-1] ** 0.5).softmax(-1)
        x = x + self.dropout(self.project((attention @ v).transpose(1, 2).flatten(2)))
        x = x + self.dropout(self._experts(self.norm_experts(x), combination))
        return FusionOutput(self.head(x.flatten(1)), {"attention": attention.mean(1)})

    def _experts(self, x: Tensor, combination: Tensor) -> Tensor:
        """The expert of the combination, and the best of the router, ``(B, M, D)``."""
        probability = self.router(x).softmax(-1)  # (B, M, E)
        own = (combination % self.n_experts)[:, None, None].expand(-1, x.shape[1], 1)
        best = probability.argmax(-1, keepdim=True)
        chosen = torch.cat([own, best], dim=-1)  # (B, M, 2)
        weight = probability.gather(-1, chosen)
        weight = weight / weight.sum(-1, keepdim=True)
        mixed = torch.zeros_like(probability).scatter_add(-1, chosen, weight)
        # All experts on the M tokens of a sample: fewer operations than a gather of their weights.
        hidden = F.gelu(torch.einsum("bmd,edf->bemf", x, self.weight_in))
        y = torch.einsum("bemf,efd->bemd", hidden, self.weight_out)
        return torch.einsum("bme,bemd->bmd", mixed, y)
