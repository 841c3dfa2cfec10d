"""Uncertainty-aware fusion: a late fusion that weighs modalities by the inverse uncertainty."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, ClassVar

from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, ModalityLinear
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, masked_softmax

__all__ = ["UncertaintyFusion"]

# Smallest uncertainty: a modality weighs at most 1 / 0.05 times as much as a uniform one.
_MIN_UNCERTAINTY = 0.05


class UncertaintyFusion(Fusion):
    """Mean of the logits of each modality, weighted by the inverse of its uncertainty.

    The uncertainty of a modality in a sample is the entropy of the probabilities from its logits
    alone, divided by that of a uniform distribution.

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
    learnt : bool, default=False
        Whether the uncertainty is a learned function of the embedding instead, in [0.05, 1]:
        for regression and for labels, where the logits are not those of one class among many.
        Always so if ``n_outputs`` is 1.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``; output :class:`FusionOutput`. Record:
    ``weight (B, M)``, ``modality_logits (B, M, n_outputs)``, 0 where not available, and
    ``uncertainty (B, M)`` in [0.05, 1], 1 where not available.

    Examples
    --------
    >>> import torch
    >>> fusion = UncertaintyFusion(3, 8, 5)
    >>> available = torch.tensor([[True, True, False]])
    >>> fusion(torch.randn(1, 3, 8), available).record["weight"].sum().round().item()
    1.0
    """

    # The entropy of a softmax has no meaning for numbers, or for labels that may occur together.
    params_without_softmax: ClassVar[Mapping[str, Any]] = {"learnt": True}

    def __init__(
        self,
        n_modalities: int,
        d_model: int,
        n_outputs: int,
        *,
        dropout: float = 0.1,
        learnt: bool = False,
    ) -> None:
        super().__init__()
        self.dropout = Dropout(dropout)
        self.classify = ModalityLinear(n_modalities, d_model, n_outputs)
        self.uncertainty: nn.Module | None = None
        if learnt or n_outputs == 1:
            self.uncertainty = ModalityLinear(n_modalities, d_model, 1)

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        x = self.dropout(embeddings).transpose(0, 1)
        logits = self.classify(x).transpose(0, 1)  # (M, B, n_outputs) -> (B, M, n_outputs)
        logits = logits.masked_fill(~available.unsqueeze(-1), 0.0)
        if self.uncertainty is not None:
            uncertainty = self.uncertainty(x).squeeze(-1).T.sigmoid()  # (B, M)
        else:
            log_p = logits.log_softmax(-1)
            uncertainty = -(log_p.exp() * log_p).sum(-1) / math.log(logits.shape[-1])
        uncertainty = _MIN_UNCERTAINTY + (1 - _MIN_UNCERTAINTY) * uncertainty.clamp(0.0, 1.0)
        uncertainty = uncertainty.masked_fill(~available, 1.0)
        weight = masked_softmax(
            -uncertainty.log(), available
        )  # softmax of -log u is 1 / u, renormalised
        record = {"weight": weight, "modality_logits": logits, "uncertainty": uncertainty}
        return FusionOutput((weight.unsqueeze(-1) * logits).sum(1), record)
