"""Low-rank tensor fusion: the products of tensor fusion at a cost linear in the modalities.

Sizes: B batch, M modalities, D width, R rank.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, ModalityLinear
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens

__all__ = ["LowRankFusion"]


class LowRankFusion(Fusion):
    """Logits from a sum of elementwise products of one linear map of each modality.

    Eq. 7 of [1]_: ``h = sum_r prod_m W_m^(r) [1, h_m]``.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    d_model : int
        Width D of the embeddings.
    n_outputs : int
        Width of the logits.
    dropout : float, default=0.1
        Dropout on embeddings and products.
    rank : int, default=4
        Terms R of the sum. The cost grows linearly.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``; output :class:`FusionOutput` with an empty
    record. A modality that is not available is the factor 1.

    References
    ----------
    .. [1] Liu et al., "Efficient Low-rank Multimodal Fusion with Modality-Specific Factors", ACL,
       2018. https://arxiv.org/abs/1806.00064

    Examples
    --------
    >>> fusion = LowRankFusion(3, 8, 5)
    >>> fusion(torch.zeros(2, 3, 8), torch.ones(2, 3, dtype=bool)).logits.shape
    torch.Size([2, 5])
    """

    def __init__(
        self,
        n_modalities: int,
        d_model: int,
        n_outputs: int,
        *,
        dropout: float = 0.1,
        rank: int = 4,
    ) -> None:
        super().__init__()
        if rank < 1:
            raise ValueError(f"rank is at least 1, got {rank}.")
        self.rank = rank
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(d_model)
        self.factor = ModalityLinear(n_modalities, d_model, rank * d_model)
        self.weight = nn.Parameter(torch.full((rank,), 1 / rank))
        self.head = nn.Sequential(
            nn.LayerNorm(d_model), nn.GELU(), Dropout(dropout), nn.Linear(d_model, n_outputs)
        )

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        embeddings = embeddings.masked_fill(~available.unsqueeze(-1), 0.0)
        x = self.dropout(self.norm(embeddings)).transpose(0, 1)
        # NOTE[DIFF]: in the paper the factors start near 0, and so does the product of many. Ours
        # start near 1, which is also the factor of a modality that is not available; the rest is
        # divided by sqrt(M), so that a product of many has the size of one.
        change = self.factor(x) / available.shape[-1] ** 0.5
        factors = 1 + change.masked_fill(~available.T.unsqueeze(-1), 0.0)  # (M, B, R D)
        product = factors.prod(0).unflatten(-1, (self.rank, -1))
        fused = torch.einsum("r,brd->bd", self.weight, product)
        return FusionOutput(self.head(fused), {})
