"""Hybrid fusion: logits of each modality, plus logits from attention between modalities.

Sizes: B batch, M modalities, D width, H heads.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, ModalityLinear, check_heads
from mts_fusion.nn.strategies._base import (
    Fusion,
    FusionOutput,
    Tokens,
    masked_softmax,
    missing_rescale,
)

__all__ = ["HybridFusion"]


class HybridFusion(Fusion):
    """Linear logits of each modality plus a gated network over attention between modalities.

    Each modality attends to the others that are available; learned gates, renormalised over what is
    available, weigh the results. The linear logits are summed over what is available and scaled by
    ``sqrt(M / available)``.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    d_model : int
        Width D of the embeddings, a multiple of ``n_heads``.
    n_outputs : int
        Width of the logits.
    n_heads : int, default=4
        Heads of the attention.
    dropout : float, default=0.1
        Dropout on embeddings and in the network.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``; output :class:`FusionOutput`. Record:
    ``weight (B, M)``, the gates; ``modality_logits (B, M, n_outputs)``, the linear ones, 0 where
    not available; ``attention (B, M, M)``, mean of the heads, row m how
    modality m attends to the others: it sums to 1, or to 0 where m is not available or is alone.

    Examples
    --------
    >>> fusion = HybridFusion(3, 8, 5)
    >>> output = fusion(torch.zeros(2, 3, 8), torch.ones(2, 3, dtype=bool))
    >>> output.logits.shape, output.record["attention"].shape
    (torch.Size([2, 5]), torch.Size([2, 3, 3]))
    """

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
        check_heads(d_model, n_heads)
        self.n_heads = n_heads
        self.dropout = Dropout(dropout)
        self.classify = ModalityLinear(n_modalities, d_model, n_outputs)
        self.norm = nn.LayerNorm(d_model)
        self.modality = nn.Parameter(torch.randn(n_modalities, d_model) * 0.1)
        self.query = ModalityLinear(n_modalities, d_model, d_model)
        self.key = ModalityLinear(n_modalities, d_model, d_model)
        self.value = ModalityLinear(n_modalities, d_model, d_model)
        self.project = nn.Linear(d_model, d_model)
        self.feed_forward = nn.Sequential(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, 2 * d_model),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(2 * d_model, d_model),
        )
        self.gate = nn.Linear(d_model, 1)
        self.head = nn.Sequential(
            nn.LayerNorm(d_model), Dropout(dropout), nn.Linear(d_model, n_outputs)
        )

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        embeddings = embeddings.masked_fill(~available.unsqueeze(-1), 0.0)
        linear = self.classify(self.dropout(embeddings).transpose(0, 1)).transpose(0, 1)
        linear = linear.masked_fill(~available.unsqueeze(-1), 0.0)  # (B, M, n_outputs)

        x = self.norm(embeddings) + self.modality
        attended, attention = self._attend(self.dropout(x), available)
        x = x + self.dropout(self.project(attended))
        x = x + self.dropout(self.feed_forward(x))
        weight = masked_softmax(self.gate(x).squeeze(-1), available)
        joint = self.head((weight.unsqueeze(-1) * x).sum(1))
        joint = joint * available.any(1, keepdim=True)

        logits = linear.sum(1) * missing_rescale(available) + joint
        record = {"weight": weight, "modality_logits": linear, "attention": attention}
        return FusionOutput(logits, record)

    def _attend(self, x: Tensor, available: Tensor) -> tuple[Tensor, Tensor]:
        """What each modality reads from the others, ``(B, M, D)``, and the attention."""
        # NOTE[DIFF]: the report attends pair by pair, where a softmax over one key is always 1; we
        # take the softmax over all other modalities. Keys that are not available are masked, and a
        # modality that is alone reads nothing.
        n_modalities = x.shape[1]
        x = x.transpose(0, 1)
        q, k, v = (
            part(x).unflatten(-1, (self.n_heads, -1)).permute(1, 2, 0, 3)  # (B, H, M, d)
            for part in (self.query, self.key, self.value)
        )
        other = ~torch.eye(n_modalities, dtype=torch.bool, device=x.device)
        pair = available.unsqueeze(1) & available.unsqueeze(2) & other  # (B, M, M)
        scores = (q @ k.transpose(-1, -2)) / math.sqrt(q.shape[-1])
        scores = scores.masked_fill(~pair.unsqueeze(1), torch.finfo(scores.dtype).min)
        attention = scores.softmax(-1) * pair.unsqueeze(1)  # (B, H, M, M)
        return (attention @ v).transpose(1, 2).flatten(2), attention.mean(1)
