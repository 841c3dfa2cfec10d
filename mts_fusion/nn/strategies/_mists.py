"""MISTS: attention within each modality and across modalities, in turn.

Sizes: B batch, M modalities, T tokens, D width, H heads.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, ModalityLinear, check_heads, masked_mean
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, make_head, missing_rescale

__all__ = ["MISTSFusion"]

_N_LAYERS = 2


class MISTSFusion(Fusion):
    """Logits from tokens that attend to their own modality and to the others, layer after layer.

    Section 3.3 of [1]_: in each layer self-attention of a modality, then cross-attention to the
    other modalities, then a feed-forward layer. With ``encoder="utde"`` this is MISTS.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    d_model : int
        Width D of the tokens, a multiple of ``n_heads``.
    n_outputs : int
        Width of the logits.
    n_heads : int, default=4
        Heads of the attention.
    dropout : float, default=0.1
        Dropout after attention and in the head.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``, ``tokens``; without tokens the embeddings
    are the only ones. Output :class:`FusionOutput` with an empty record.

    References
    ----------
    .. [1] Zhang, Li, Chen, Yan and Petzold, "Improving Medical Predictions by Irregular Multimodal
       Electronic Health Records Modeling", ICML, 2023. https://arxiv.org/abs/2210.12156

    Examples
    --------
    >>> fusion = MISTSFusion(3, 8, 5)
    >>> fusion(torch.zeros(2, 3, 8), torch.ones(2, 3, dtype=bool)).logits.shape
    torch.Size([2, 5])
    """

    needs_tokens: ClassVar[bool] = True

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
        self.layers = nn.ModuleList(
            _InterleavedLayer(n_modalities, d_model, n_heads, dropout) for _ in range(_N_LAYERS)
        )
        self.norm = nn.LayerNorm(d_model)
        # The first layer over concatenated modalities, as a sum of which some may be left out.
        self.join = ModalityLinear(n_modalities, d_model, d_model)
        self.head = make_head(d_model, d_model, n_outputs, dropout)

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        if tokens is None:
            tokens = Tokens(embeddings.unsqueeze(2), available.unsqueeze(2))
        observed = (tokens.observed & available.unsqueeze(-1)).transpose(0, 1)  # (M, B, T)
        x = tokens.values.transpose(0, 1).masked_fill(~observed.unsqueeze(-1), 0.0)
        for layer in self.layers:
            x = layer(x, observed)
        # NOTE[DIFF] The paper reads the last token; with gaps any may be missing. The mean of the
        # tokens is read, and the embedding of the encoder.
        pooled = masked_mean(self.norm(x), observed.unsqueeze(-1), 2)  # (M, B, D)
        parts = self.join(pooled + embeddings.transpose(0, 1))
        parts = parts.masked_fill(~available.T.unsqueeze(-1), 0.0)
        return FusionOutput(self.head(F.gelu(parts.sum(0) * missing_rescale(available))), {})


class _InterleavedLayer(nn.Module):
    """Attention to the own modality, to the others, and a feed-forward layer, each residual."""

    def __init__(self, n_modalities: int, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.norms = nn.ModuleList(nn.LayerNorm(d_model) for _ in range(3))
        self.query = nn.ModuleList(ModalityLinear(n_modalities, d_model, d_model) for _ in range(2))
        self.pair = nn.ModuleList(
            ModalityLinear(n_modalities, d_model, 2 * d_model) for _ in range(2)
        )
        self.out = nn.ModuleList(ModalityLinear(n_modalities, d_model, d_model) for _ in range(2))
        self.feed_forward = nn.Sequential(
            nn.Linear(d_model, 2 * d_model), nn.GELU(), nn.Linear(2 * d_model, d_model)
        )
        self.dropout = Dropout(dropout)

    def forward(self, x: Tensor, observed: Tensor) -> Tensor:
        n_modalities, _, n_tokens, _ = x.shape
        owner = torch.arange(n_modalities, device=x.device).repeat_interleave(n_tokens)
        # NOTE[DIFF] The paper has two modalities; of more, each attends to all others at once.
        keys = observed.transpose(0, 1).flatten(1)  # (B, M * T)
        same = owner[:, None] == owner
        for i, allowed in enumerate((same, ~same)):
            mask = keys[:, None, None] & allowed  # (B, 1, M * T, M * T)
            y = self.norms[i](x)
            q = self._heads(self.query[i](y))
            k, v = (self._heads(part) for part in self.pair[i](y).chunk(2, -1))
            any_key = mask.any(-1, keepdim=True)
            # A row without keys reads all, and its result is dropped: no NaN, no branch.
            attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask | ~any_key)
            attended = attended.masked_fill(~any_key, 0.0).transpose(1, 2).flatten(2)
            attended = attended.unflatten(1, (n_modalities, n_tokens)).transpose(0, 1)
            x = x + self.dropout(self.out[i](attended))
            x = x.masked_fill(~observed.unsqueeze(-1), 0.0)
        return x + self.dropout(self.feed_forward(self.norms[2](x)))

    def _heads(self, x: Tensor) -> Tensor:
        """``(M, B, T, D)`` as ``(B, H, M * T, D / H)``."""
        return x.transpose(0, 1).flatten(1, 2).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
