"""Multimodal transformer: the tokens of each modality attend to those of every other.

Sizes: B batch, M modalities, T tokens, D width, H heads, d width of a head.
"""

from __future__ import annotations

from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import Dropout, ModalityLinear, check_heads, masked_mean
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, masked_softmax

__all__ = ["MulTFusion"]


class MulTFusion(Fusion):
    """Logits from directed attention between the tokens of every ordered pair of modalities.

    Section 3 of [1]_: each modality attends to each other one, then to itself; a weighted mean of
    the modalities goes to the head.

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
        Dropout after attention and in the feed-forward layers.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    Input ``embeddings (B, M, D)``, ``available (B, M)``, ``tokens``; without tokens the embeddings
    are the only ones. Output :class:`FusionOutput`. Record: ``weight (B, M)``, the weights of
    that mean.

    References
    ----------
    .. [1] Tsai et al., "Multimodal Transformer for Unaligned Multimodal Language Sequences", ACL,
       2019. https://arxiv.org/abs/1906.00295

    Examples
    --------
    >>> fusion = MulTFusion(3, 8, 5)
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
        self.n_heads = n_heads
        self.dropout = Dropout(dropout)
        self.norm = nn.LayerNorm(d_model)
        # NOTE[DIFF]: the paper has a transformer for each ordered pair. Ours share the query map of
        # the target and the key and value maps of the source, so that the weights grow with M, not
        # M * M, and average over the sources that are available instead of concatenating them.
        self.cross_query = ModalityLinear(n_modalities, d_model, d_model)
        self.cross_source = ModalityLinear(n_modalities, d_model, 2 * d_model)
        self.cross_out = ModalityLinear(n_modalities, d_model, d_model)
        self.cross_feed_forward = _FeedForward(d_model, dropout)
        self.self_norm = nn.LayerNorm(d_model)
        self.self_qkv = ModalityLinear(n_modalities, d_model, 3 * d_model)
        self.self_out = ModalityLinear(n_modalities, d_model, d_model)
        self.self_feed_forward = _FeedForward(d_model, dropout)
        self.score = nn.Linear(d_model, 1)
        self.head = nn.Sequential(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, d_model),
            nn.GELU(),
            Dropout(dropout),
            nn.Linear(d_model, n_outputs),
        )

    def forward(
        self, embeddings: Tensor, available: Tensor, tokens: Tokens | None = None
    ) -> FusionOutput:
        """Fuse."""
        if tokens is None:
            tokens = Tokens(embeddings.unsqueeze(2), available.unsqueeze(2))
        token_available = (tokens.observed & available.unsqueeze(-1)).transpose(0, 1)  # (M, B, T)
        x = tokens.values.transpose(0, 1)  # (M, B, T, D)
        x = x.masked_fill(~token_available.unsqueeze(-1), 0.0)

        x = x + self.dropout(self.cross_out(self._cross(self.norm(x), token_available)))
        x = x + self.cross_feed_forward(x)
        x = x + self.dropout(self.self_out(self._within(self.self_norm(x), token_available)))
        x = x + self.self_feed_forward(x)

        # NOTE[DIFF]: the paper reads the last token, but with gaps any token may be missing. We
        # read their mean, and the embedding of the encoder.
        pooled = masked_mean(x, token_available.unsqueeze(-1), 2)  # (M, B, T, D) -> (M, B, D)
        pooled = pooled + embeddings.transpose(0, 1).masked_fill(~available.T.unsqueeze(-1), 0.0)
        weight = masked_softmax(self.score(pooled).squeeze(-1).T, available)
        fused = (weight.T.unsqueeze(-1) * pooled).sum(0)
        return FusionOutput(self.head(fused), {"weight": weight})

    def _heads(self, x: Tensor) -> Tensor:
        return x.unflatten(-1, (self.n_heads, -1)).transpose(-2, -3)  # (.., T, D) -> (.., H, T, d)

    def _cross(self, x: Tensor, token_available: Tensor) -> Tensor:
        """What the tokens of each modality read from the others, mean over those available."""
        n_modalities, n_samples, n_tokens, _ = x.shape
        q = self._heads(self.cross_query(x)).unsqueeze(1)  # (M, 1, B, H, T, d): by target
        k, v = (self._heads(part).unsqueeze(0) for part in self.cross_source(x).chunk(2, -1))
        other = ~torch.eye(n_modalities, dtype=torch.bool, device=x.device)
        pair = token_available.unsqueeze(0) & other[:, :, None, None]  # (target, source, B, T)
        shape = (n_modalities, n_modalities, n_samples, self.n_heads, n_tokens, q.shape[-1])
        attended = F.scaled_dot_product_attention(
            q.expand(shape), k.expand(shape), v.expand(shape), attn_mask=pair[:, :, :, None, None]
        )
        n_sources = pair.any(-1).sum(1).clamp(min=1)  # (M, B)
        mean = attended.sum(1) / n_sources[..., None, None, None]
        return mean.transpose(-2, -3).flatten(-2)  # (M, B, H, T, d) -> (M, B, T, D)

    def _within(self, x: Tensor, token_available: Tensor) -> Tensor:
        q, k, v = (self._heads(part) for part in self.self_qkv(x).chunk(3, -1))
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=token_available[:, :, None, None]
        )
        return attended.transpose(-2, -3).flatten(-2)


class _FeedForward(nn.Sequential):
    """Feed-forward layer on a residual path."""

    def __init__(self, d_model: int, dropout: float) -> None:
        super().__init__(
            nn.LayerNorm(d_model),
            nn.Linear(d_model, 2 * d_model),
            nn.GELU(),
            nn.Linear(2 * d_model, d_model),
            Dropout(dropout),
        )
