"""Late fusion: each modality has logits of its own, and the logits are averaged."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, ModalityLinear
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, masked_softmax

__all__ = ["LateFusion"]


class LateFusion(Fusion):
    """Convex combination of the logits of each modality, with learned weights.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    d_model : int
        Width D of the embeddings.
    n_outputs : int
        Width of the logits.
    dropout : float, default=0.1
        Dropout on the embeddings.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``; output :class:`FusionOutput`. Record:
    ``weight (B, M)``, the same for all samples but renormalised over what is available, and
    ``modality_logits (B, M, n_outputs)``, 0 where not available.

    Examples
    --------
    >>> fusion = LateFusion(3, 8, 5)
    >>> available = torch.tensor([[True, True, False]])
    >>> fusion(torch.zeros(1, 3, 8), available).record["weight"].tolist()
    [[0.5, 0.5, 0.0]]
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
        self.dropout = Dropout(dropout)
        self.classify = ModalityLinear(n_modalities, d_model, n_outputs)
        self.score = nn.Parameter(torch.zeros(n_modalities))

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        x = self.dropout(embeddings).transpose(0, 1)
        logits = self.classify(x).transpose(0, 1)  # (M, B, n_outputs) -> (B, M, n_outputs)
        logits = logits.masked_fill(~available.unsqueeze(-1), 0.0)
        weight = masked_softmax(self.score.expand(available.shape), available)
        record = {"weight": weight, "modality_logits": logits}
        return FusionOutput((weight.unsqueeze(-1) * logits).sum(1), record)
