"""Tensor fusion: every product of entries of different modalities.

Sizes: B batch, M modalities, D width, d entries of a modality in the tensor.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mts_fusion.nn.layers import ModalityLinear
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, make_head

__all__ = ["TensorFusion"]

_LARGEST = 4096


class TensorFusion(Fusion):
    """Logits from the outer product of ``[1, h_m]`` over all modalities.

    Section 4.2 of [1]_. The ones keep the products of any lower order in the tensor.

    Parameters
    ----------
    n_modalities : int
        Modalities M, at most 12.
    d_model : int
        Width D of the embeddings.
    n_outputs : int
        Width of the logits.
    dropout : float, default=0.1
        Dropout on the tensor.

    Raises
    ------
    ValueError
        If there are so many modalities that even one entry of each makes too large a tensor.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``; output :class:`FusionOutput` with an empty
    record. A modality that is not available enters as ``[1, 0]``: only products without it remain.

    References
    ----------
    .. [1] Zadeh et al., "Tensor Fusion Network for Multimodal Sentiment Analysis", EMNLP, 2017.
       https://arxiv.org/abs/1707.07250

    Examples
    --------
    >>> fusion = TensorFusion(3, 8, 5)
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
    ) -> None:
        super().__init__()
        # NOTE[DIFF]: the paper takes the embeddings as they are (three modalities, up to 128
        # wide). We project them, so that the tensor has at most 4096 entries for any number.
        d_factor = max((d for d in range(33) if (d + 1) ** n_modalities <= _LARGEST), default=0)
        if d_factor < 1:
            raise ValueError(
                f"strategy='tensor' of {n_modalities} modalities has 2**{n_modalities} products, "
                f"but at most {_LARGEST} are kept. Use strategy='low_rank', which has the same "
                "products at a cost that grows linearly."
            )
        self.project = ModalityLinear(n_modalities, d_model, d_factor)
        size = (d_factor + 1) ** n_modalities
        self.head = make_head(size, d_model, n_outputs, dropout)

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        factors = self.project(embeddings.transpose(0, 1))  # (M, B, d)
        factors = factors.masked_fill(~available.T.unsqueeze(-1), 0.0)
        ones = torch.ones_like(factors[..., :1])
        factors = torch.cat([ones, factors], -1)
        product = factors[0]
        for factor in factors[1:]:
            product = (product.unsqueeze(2) * factor.unsqueeze(1)).flatten(1)
        # Of one size for any number of modalities that are available; the 1 is always in it.
        product = product * product.square().mean(-1, keepdim=True).rsqrt()
        return FusionOutput(self.head(product), {})
