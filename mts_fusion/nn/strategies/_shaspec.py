"""ShaSpec: what all modalities share and what each has of its own.

Sizes: B batch, M modalities, D width.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, ModalityLinear, masked_mean
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, make_head

__all__ = ["ShaSpecFusion"]


class ShaSpecFusion(Fusion):
    """Logits from shared and specific features, those of missing modalities from the others.

    As in [1]_: of each modality m, an encoder with weights of its own gives specific features
    ``r_m``, and one with the same weights for all gives shared features ``s_m``. A residual fusion
    joins them, ``f_m = s_m + W [r_m, s_m]``; of a missing modality ``f_m`` is the mean of the ``s``
    of those available. The head reads all ``f_m`` side by side. Two losses are added to that of the
    task: from ``r_m`` a classifier has to tell the modality, and the ``s_m`` of a sample have to
    agree.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    d_model : int
        Width D of the embeddings.
    n_outputs : int
        Width of the logits.
    dropout : float, default=0.1
        Dropout on the embeddings and in the head.
    domain_weight : float, default=0.1
        Weight of the loss of the classifier of modalities (alpha); 0 leaves it out.
    alignment_weight : float, default=0.02
        Weight of the mean distance between the shared features of a sample (beta); 0 leaves it out.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``; output :class:`FusionOutput`. Record:
    ``specific (B, M, D)`` and ``shared (B, M, D)``, 0 where not available.

    References
    ----------
    .. [1] Wang et al., "Multi-modal Learning with Missing Modality via Shared-Specific Feature
       Modelling", CVPR, 2023. https://arxiv.org/abs/2307.14126

    Examples
    --------
    >>> fusion = ShaSpecFusion(3, 8, 5)
    >>> output = fusion(torch.randn(2, 3, 8), torch.tensor([[True, True, False]] * 2))
    >>> output.logits.shape, output.loss.shape
    (torch.Size([2, 5]), torch.Size([]))
    """

    def __init__(
        self,
        n_modalities: int,
        d_model: int,
        n_outputs: int,
        *,
        dropout: float = 0.1,
        domain_weight: float = 0.1,
        alignment_weight: float = 0.02,
    ) -> None:
        super().__init__()
        if min(domain_weight, alignment_weight) < 0:
            raise ValueError(
                "domain_weight and alignment_weight are at least 0, got "
                f"{domain_weight} and {alignment_weight}."
            )
        self.domain_weight = domain_weight
        self.alignment_weight = alignment_weight
        self.dropout = Dropout(dropout)
        # NOTE[DIFF]: in the paper all modalities are images of one shape, and both encoders read
        # them. Here modalities have their own channels and rates: both read the embedding of the
        # encoder of the modality, each through a layer.
        self.specific = ModalityLinear(n_modalities, d_model, d_model)
        self.shared = nn.Linear(d_model, d_model)
        self.project = nn.Linear(2 * d_model, d_model)
        self.domain = nn.Linear(d_model, n_modalities)
        self.head = make_head(n_modalities * d_model, d_model, n_outputs, dropout)

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        present = available.unsqueeze(-1)  # (B, M, 1)
        x = self.dropout(embeddings.masked_fill(~present, 0.0))
        specific = F.gelu(self.specific(x.transpose(0, 1))).transpose(0, 1) * present
        shared = F.gelu(self.shared(x)) * present  # (B, M, D)
        fused = shared + self.project(torch.cat([specific, shared], -1))
        # NOTE[DIFF]: a sample without any modality has zeros; the paper has no such sample.
        mean = masked_mean(shared, present, 1).unsqueeze(1)
        fused = torch.where(present, fused, mean)
        loss = self.domain_weight * self._domain_loss(specific, available)
        loss = loss + self.alignment_weight * self._alignment_loss(shared, available)
        record = {"specific": specific, "shared": shared}
        return FusionOutput(self.head(fused.flatten(1)), record, loss)

    def _domain_loss(self, specific: Tensor, available: Tensor) -> Tensor:
        """Cross-entropy of the modality that the specific features are of, mean over those here."""
        log_p = self.domain(specific).log_softmax(-1).diagonal(dim1=1, dim2=2)  # (B, M)
        return -(log_p * available).sum() / available.sum().clamp(min=1)

    def _alignment_loss(self, shared: Tensor, available: Tensor) -> Tensor:
        """Mean absolute difference between the shared features of two modalities of a sample."""
        pair = (available.unsqueeze(1) & available.unsqueeze(2)).triu(1)  # (B, M, M)
        distance = (shared.unsqueeze(1) - shared.unsqueeze(2)).abs().mean(-1)
        return (distance * pair).sum() / pair.sum().clamp(min=1)
