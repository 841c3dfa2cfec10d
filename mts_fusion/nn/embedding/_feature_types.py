"""Fixed features as two types of tokens: statistics, and all other kinds.

Sizes: M modalities, B batch, F features of a modality, D width, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from ._feature_tokens import FeatureTokens

__all__ = ["FeatureTypes", "MaskedFeatures"]

_STATISTICS = "statistics"


class MaskedFeatures(NamedTuple):
    """Features of each type as the input of a network in a step.

    Parameters
    ----------
    statistics : list of M Tensors of shape (B, F)
        Finite; of no width where a modality has none.
    convolutions : list of M Tensors of shape (B, F)
        Finite; of no width where a modality has none.
    """

    statistics: list[Tensor]
    convolutions: list[Tensor]


class FeatureTypes(nn.Module):
    """One token a modality from its statistics, and one from its features of all other kinds.

    Parameters
    ----------
    feature_widths : sequence of M dicts of str to sequence of int
        By modality and kind, the widths of the parts of its features, in the order of the columns.
    d_model : int
        Width D of the tokens.
    dropout : float
        Share of the features hidden in training.

    Attributes
    ----------
    n_statistics : list of M int
        Statistics of each modality.
    n_tokens : int
        Tokens of all modalities.

    Examples
    --------
    >>> widths = [{"hydra": [4, 4], "statistics": [7]}, {"hydra": [4]}]
    >>> block = FeatureTypes(widths, 16, dropout=0.5)
    >>> available = torch.ones(2, 2, dtype=torch.bool)
    >>> masked = block.mask_and_drop([torch.randn(2, 15), torch.randn(2, 4)], available)
    >>> [(tokens.shape, indices) for tokens, indices in block(masked)]
    [(torch.Size([2, 1, 16]), [0]), (torch.Size([2, 2, 16]), [0, 1])]
    """

    def __init__(
        self,
        feature_widths: Sequence[Mapping[str, Sequence[int]]],
        d_model: int,
        *,
        dropout: float,
    ) -> None:
        super().__init__()
        self.widths = [
            [(kind, sum(parts)) for kind, parts in kinds.items()] for kinds in feature_widths
        ]
        self.n_statistics = [
            sum(width for kind, width in parts if kind == _STATISTICS) for parts in self.widths
        ]
        n_convolutions = [
            sum(width for kind, width in parts if kind != _STATISTICS) for parts in self.widths
        ]
        self.statistics: FeatureTokens | None = None
        if any(self.n_statistics):
            self.statistics = FeatureTokens(self.n_statistics, d_model, dropout=dropout)
        self.convolutions: FeatureTokens | None = None
        if any(n_convolutions):
            self.convolutions = FeatureTokens(n_convolutions, d_model, dropout=dropout)
        self.n_tokens = sum(width > 0 for width in [*self.n_statistics, *n_convolutions])

    def mask_and_drop(self, features: Sequence[Tensor], available: Tensor) -> MaskedFeatures:
        """Features of each type with 0 for what is absent; some hidden in training.

        Parameters
        ----------
        features : sequence of M Tensors of shape (B, F)
            Of comparable scale, NaN where nothing was observed.
        available : Tensor of shape (B, M)
            Bool: which modalities each sample has.

        Returns
        -------
        MaskedFeatures
            Statistics and convolutions.
        """
        statistics, convolutions = [], []
        for parts, x in zip(self.widths, features, strict=True):
            split = x.split([width for _, width in parts], 1) if parts else ()
            by_kind = list(zip((kind for kind, _ in parts), split, strict=True))
            empty = [x[:, :0]]
            statistics.append(torch.cat([p for k, p in by_kind if k == _STATISTICS] or empty, 1))
            convolutions.append(torch.cat([p for k, p in by_kind if k != _STATISTICS] or empty, 1))
        if self.statistics is not None:
            statistics = self.statistics.mask_and_drop(statistics, available)
        if self.convolutions is not None:
            convolutions = self.convolutions.mask_and_drop(convolutions, available)
        return MaskedFeatures(statistics, convolutions)

    def forward(self, features: MaskedFeatures) -> list[tuple[Tensor, list[int]]]:
        """Tokens ``(B, T, D)`` of each type, and the indices of their modalities."""
        blocks = zip((self.statistics, self.convolutions), features, strict=True)
        return [(block(x), block.indices) for block, x in blocks if block is not None]
