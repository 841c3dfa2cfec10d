"""Tensor fusion: every product of entries of different modalities.

Sizes: B batch, M modalities, D width, d entries of a modality in the tensor.
"""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor

from mts_fusion.nn.layers import ModalityLinear
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, make_head

__all__ = ["TensorFusion"]

_LARGEST, _MOST = 4096, 12

# Narrowest projection of an embedding for which products of all modalities are kept.
_NARROWEST = 4


def _order_and_width(n_modalities: int) -> tuple[int, int]:
    """How many modalities the products have at most, and how wide each of them is."""
    for order in range(min(n_modalities, _MOST), 0, -1):
        sizes = [math.comb(n_modalities, k) for k in range(order + 1)]
        width = 0
        while sum(n * (width + 1) ** k for k, n in enumerate(sizes)) <= _LARGEST and width < 32:
            width += 1
        if width >= _NARROWEST or (order <= 2 and width):
            return order, width
    return 0, 0


class TensorFusion(Fusion):
    """Logits from the products of embeddings of different modalities.

    Section 4.2 of [1]_: the outer product of ``[1, h_m]`` over all modalities, which holds the
    products of any number of them.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    d_model : int
        Width D of the embeddings.
    n_outputs : int
        Width of the logits.
    dropout : float, default=0.1
        Dropout on the products.

    Raises
    ------
    ValueError
        If there are more than 4,095 modalities.

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
    >>> ten = TensorFusion(10, 8, 5)
    >>> ten.order, ten.width  # products of two modalities, nine numbers of each
    (2, 9)
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
        # NOTE[DIFF] The paper takes the embeddings as they are, of three modalities and up to 128
        # wide. Here they are projected, so that there are at most 4,096 products; from six
        # modalities on products of more than three, then two, of them are left out, since all
        # products of ten would leave one number of each.
        self.order, self.width = _order_and_width(n_modalities)
        if not self.order:
            raise ValueError(
                f"strategy='tensor' keeps at most {_LARGEST} products, and {n_modalities} "
                "modalities have more. Use strategy='low_rank', whose cost grows linearly."
            )
        self.project = ModalityLinear(n_modalities, d_model, self.width)
        size = 1
        for k in range(1, self.order + 1):
            sets = torch.tensor(list(itertools.combinations(range(n_modalities), k)))
            self.register_buffer(f"sets_{k}", sets, persistent=False)
            size += len(sets) * self.width**k
        self.head = make_head(size, d_model, n_outputs, dropout)

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        factors = self.project(embeddings.transpose(0, 1)).transpose(0, 1)  # (B, M, d)
        factors = factors.masked_fill(~available.unsqueeze(-1), 0.0)
        products = [torch.ones_like(factors[:, 0, :1])]
        for k in range(1, self.order + 1):
            sets = self.get_buffer(f"sets_{k}")  # (n, k)
            product = factors[:, sets[:, 0]]  # (B, n, d)
            for i in range(1, k):
                product = (product.unsqueeze(3) * factors[:, sets[:, i]].unsqueeze(2)).flatten(2)
            products.append(product.flatten(1))
        product = torch.cat(products, dim=1)
        # Of one size for any number of modalities that are available; the 1 is always in it.
        product = product * product.square().mean(-1, keepdim=True).rsqrt()
        return FusionOutput(self.head(product), {})
