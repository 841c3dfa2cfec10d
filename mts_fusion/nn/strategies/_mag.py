"""Multimodal adaptation gate: a main modality, shifted by the others.

Sizes: B batch, M modalities, D width.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import ModalityLinear
from mts_fusion.nn.strategies._base import (
    Fusion,
    FusionOutput,
    Tokens,
    make_head,
    masked_softmax,
    missing_rescale,
)

__all__ = ["MAGFusion"]


class MAGFusion(Fusion):
    """Logits from a main embedding shifted by gated displacements of the other modalities.

    Section 3 of [1]_: ``z' = z + alpha h``, ``h = sum_m g_m * W_m a_m``, ``g_m = relu(W_gm [z,
    a_m])``, ``alpha = min(beta |z| / |h|, 1)``.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    d_model : int
        Width D of the embeddings.
    n_outputs : int
        Width of the logits.
    dropout : float, default=0.1
        Dropout on the shifted embedding.
    beta : float, default=1.0
        Largest shift, as a multiple of the length of the main embedding. 0 is no shift.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``; output :class:`FusionOutput`. Record:
    ``weight (B, M)``, how much each modality is the main one.

    References
    ----------
    .. [1] Rahman et al., "Integrating Multimodal Information in Large Pretrained Transformers",
       ACL, 2020. https://arxiv.org/abs/1908.05787

    Examples
    --------
    >>> fusion = MAGFusion(3, 8, 5)
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
        beta: float = 1.0,
    ) -> None:
        super().__init__()
        if beta < 0:
            raise ValueError(f"beta is at least 0, got {beta}.")
        self.beta = beta
        self.embed = ModalityLinear(n_modalities, d_model, d_model)
        self.main = nn.Linear(d_model, 1)
        self.gate_main = ModalityLinear(n_modalities, d_model, d_model)
        self.gate_own = ModalityLinear(n_modalities, d_model, d_model)
        self.displace = ModalityLinear(n_modalities, d_model, d_model)
        self.head = nn.Sequential(
            nn.LayerNorm(d_model), make_head(d_model, d_model, n_outputs, dropout)
        )

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        embeddings = embeddings.masked_fill(~available.unsqueeze(-1), 0.0)
        x = self.embed(embeddings.transpose(0, 1))  # (M, B, D)
        # NOTE[DIFF]: in the paper the main modality is the text. Here any may be missing: a softmax
        # over those available weighs them as the main one, and each shifts the main embedding with
        # the rest of its weight.
        weight = masked_softmax(self.main(x).squeeze(-1).T, available)
        share = weight.T.unsqueeze(-1)  # (M, B, 1)
        z = (share * x).sum(0)
        gate = (self.gate_main(z.expand_as(x)) + self.gate_own(x)).relu()
        shift = (1 - share) * gate * self.displace(x)
        shift = shift.masked_fill(~available.T.unsqueeze(-1), 0.0).sum(0)
        shift = shift * missing_rescale(available)
        length, moved = _length(z), _length(shift)
        alpha = (self.beta * length / moved).clamp(max=1.0)
        return FusionOutput(self.head(z + alpha * shift), {"weight": weight})


def _length(x: Tensor) -> Tensor:
    """Euclidean length of each row, with a finite gradient at 0."""
    return torch.sqrt(x.square().sum(-1, keepdim=True) + 1e-12)
