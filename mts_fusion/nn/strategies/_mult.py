"""Multimodal transformer (MulT): the tokens of each modality attend to those of every other.

Sizes: B batch, M modalities, P pairs of them, T tokens, D width, H heads, d width of a head.
"""

from __future__ import annotations

from functools import partial
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import (
    MANY_MODALITIES,
    Dropout,
    ModalityLinear,
    check_heads,
    masked_mean,
    normalise,
    recompute,
)
from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens, masked_softmax

__all__ = ["MulTFusion"]


class MulTFusion(Fusion):
    """Logits from a crossmodal transformer for every ordered pair of modalities.

    Section 3 of [1]_: for each target and each other modality, ``n_layers`` layers in which the
    tokens of the target attend to those of the other one, with weights of their own (Eq. 5 to 7);
    what the target got from all others is joined and goes through ``n_layers`` layers of
    self-attention. A weighted mean of the modalities goes to the head.

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
    n_layers : int, default=2
        Layers of each crossmodal transformer and of the self-attention; the paper has 4. The
        weights grow with ``M * (M - 1) * n_layers``.

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
    >>> import torch
    >>> fusion = MulTFusion(3, 8, 5)
    >>> fusion(torch.zeros(2, 3, 8), torch.ones(2, 3, dtype=torch.bool)).logits.shape
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
        n_layers: int = 2,
    ) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        if n_layers < 1:
            raise ValueError(f"n_layers is at least 1, got {n_layers}.")
        pairs = [
            (target, source)
            for target in range(n_modalities)
            for source in range(n_modalities)
            if source != target
        ]
        self.target = [target for target, _ in pairs]
        self.source = [source for _, source in pairs]
        self.cross = nn.ModuleList(
            _Layer(len(pairs), d_model, n_heads, dropout) for _ in range(n_layers * bool(pairs))
        )
        # NOTE[DIFF]: the paper goes on with the width (M - 1) D of what the sources gave side by
        # side. A linear map brings it back to D, so that the weights do not grow with M cubed.
        self.join: nn.Module | None = None
        if pairs:
            self.join = ModalityLinear(n_modalities, (n_modalities - 1) * d_model, d_model)
        self.within = nn.ModuleList(
            _Layer(n_modalities, d_model, n_heads, dropout) for _ in range(n_layers)
        )
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
        if self.join is not None:
            x = x + self.join(self._cross(x, token_available))
        for layer in self.within:
            x = layer(x, x, token_available)

        # NOTE[DIFF]: the paper reads the last token and joins the modalities side by side, but with
        # gaps any of them may be missing. We read the mean of the tokens and the embedding of the
        # encoder, and take a weighted mean of the modalities.
        pooled = masked_mean(x, token_available.unsqueeze(-1), 2)  # (M, B, T, D) -> (M, B, D)
        pooled = pooled + embeddings.transpose(0, 1).masked_fill(~available.T.unsqueeze(-1), 0.0)
        weight = masked_softmax(self.score(pooled).squeeze(-1).T, available)
        fused = (weight.T.unsqueeze(-1) * pooled).sum(0)
        return FusionOutput(self.head(fused), {"weight": weight})

    def _cross(self, x: Tensor, token_available: Tensor) -> Tensor:
        """What each modality read from the others, side by side, ``(M, B, T, (M - 1) D)``."""

        def read(pairs: slice) -> Tensor:
            sources = self.source[pairs]
            source, source_available = x[sources], token_available[sources]  # (P, B, T, D)
            y = x[self.target[pairs]]
            for layer in self.cross:  # each reads the tokens of the source as they came in
                y = layer(y, source, source_available, pairs)
            return y.masked_fill(~source_available.any(-1)[..., None, None], 0.0)

        if len(x) <= MANY_MODALITIES:
            y = read(slice(None))
        else:  # the pairs of one target at a time, and only what they give is kept
            n = len(x) - 1
            parts = [slice(first, first + n) for first in range(0, len(self.target), n)]
            y = torch.cat([recompute(self, partial(read, part)) for part in parts])
        y = y.unflatten(0, (len(x), -1))  # (M, M - 1, B, T, D)
        return y.permute(0, 2, 3, 1, 4).flatten(3)


class _Layer(nn.Module):
    """Attention of targets to sources and a feed-forward layer, with weights for each of N pairs.

    Input ``x (N, B, T, D)``, ``source (N, B, T, D)``, ``available (N, B, T)`` bool, of the sources;
    and the slice of the pairs that these are.
    """

    def __init__(self, n_pairs: int, d_model: int, n_heads: int, dropout: float) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.dropout = Dropout(dropout)
        self.query = ModalityLinear(n_pairs, d_model, d_model)
        self.key_value = ModalityLinear(n_pairs, d_model, 2 * d_model)
        self.out = ModalityLinear(n_pairs, d_model, d_model)
        self.hidden = ModalityLinear(n_pairs, d_model, 4 * d_model)
        self.back = ModalityLinear(n_pairs, 4 * d_model, d_model)

    def forward(
        self, x: Tensor, source: Tensor, available: Tensor, pairs: slice = slice(None)
    ) -> Tensor:
        # NOTE[DIFF]: in Eq. 7 the sums are over what was normalised; as in the released code, they
        # are over what came in. The scale of a norm is part of the linear map that follows.
        q = self._heads(self.query(normalise(x), pairs))
        k, v = (self._heads(part) for part in self.key_value(normalise(source), pairs).chunk(2, -1))
        attended = F.scaled_dot_product_attention(
            q, k, v, attn_mask=available.flatten(0, 1)[:, None, None]
        )
        x = x + self.dropout(self.out(attended.transpose(1, 2).reshape(x.shape), pairs))
        hidden = self.dropout(self.hidden(normalise(x), pairs).relu())
        return x + self.dropout(self.back(hidden, pairs))

    def _heads(self, x: Tensor) -> Tensor:
        # (N, B, T, D) -> (N B, H, T, d): ONNX has no attention of five dimensions
        return x.flatten(0, 1).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)
