"""Tokens and logits from the fixed features of each modality.

Sizes: M modalities, B batch, F features of a modality, D width, T tokens.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import AlignedLinear, Dropout, mean_weights

__all__ = ["FeatureLogits", "FeatureTokens", "mask_and_drop"]


class FeatureTokens(nn.Module):
    """One token a modality from its fixed features, mapped to width D.

    Parameters
    ----------
    widths : sequence of M int
        Features F of each modality; one of width 0 has no token.
    d_model : int
        Width D of the tokens.
    dropout : float, default=0.5
        Share of the features hidden in training. High: there are hundreds, and few samples.

    Attributes
    ----------
    indices : list of int
        Indices of the modalities that have a token.

    Notes
    -----
    Input: a list of M Tensors ``(B, F)`` from :meth:`mask_and_drop`; output ``(B, T, D)``.

    Examples
    --------
    >>> block = FeatureTokens([7, 0, 9], 16).eval()
    >>> features = [torch.randn(2, 7), torch.zeros(2, 0), torch.randn(2, 9)]
    >>> block(block.mask_and_drop(features, torch.ones(2, 3, dtype=torch.bool))).shape
    torch.Size([2, 2, 16])
    """

    def __init__(self, widths: Sequence[int], d_model: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.indices = [m for m, width in enumerate(widths) if width]
        self.project = nn.ModuleList(AlignedLinear(widths[m], d_model) for m in self.indices)
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)

    def mask_and_drop(self, features: Sequence[Tensor], available: Tensor) -> list[Tensor]:
        """Features with 0 for what is absent; some hidden in training.

        Parameters
        ----------
        features : list of M Tensors of shape (B, F)
            Of comparable scale, NaN where nothing was observed.
        available : Tensor of shape (B, M)
            Bool: which modalities each sample has.

        Returns
        -------
        list of M Tensors of shape (B, F)
            Finite.
        """
        return [mask_and_drop(x, available[:, m], self.dropout) for m, x in enumerate(features)]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Tokens of the modalities in ``indices``."""
        tokens = [
            project(features[m]) for m, project in zip(self.indices, self.project, strict=True)
        ]
        return F.gelu(self.norm(torch.stack(tokens, 1)))


class FeatureLogits(nn.Module):
    """Logits of each modality, linear in its features; the mean over those available.

    A linear model beside the attention: it learns from few samples, and cannot memorise
    combinations of modalities. It starts at 0.

    Parameters
    ----------
    widths : sequence of M int
        Features F of each modality; one of width 0 has no logits.
    n_outputs : int
        Width of the logits.

    Notes
    -----
    Input: a list of M Tensors ``(B, F)`` and ``available (B, M)``; output ``(B, n_outputs)``,
    the mean of the logits times the root of the number of modalities that have some.

    Examples
    --------
    >>> head = FeatureLogits([7, 9], 3)
    >>> head([torch.ones(2, 7), torch.ones(2, 9)], torch.ones(2, 2, dtype=bool)).shape
    torch.Size([2, 3])
    """

    def __init__(self, widths: Sequence[int], n_outputs: int) -> None:
        super().__init__()
        self.indices = [m for m, width in enumerate(widths) if width]
        self.maps = nn.ModuleList(
            AlignedLinear(widths[m], n_outputs, bias=False) for m in self.indices
        )
        for linear in self.maps:
            nn.init.zeros_(cast(AlignedLinear, linear).weight)

    def forward(self, features: Sequence[Tensor], available: Tensor) -> Tensor:
        """Mean of the logits of the modalities available."""
        logits = [linear(features[m]) for m, linear in zip(self.indices, self.maps, strict=True)]
        stacked = torch.stack(logits, 1)
        weight = mean_weights(available[:, self.indices]).to(stacked.dtype)
        return math.sqrt(len(self.maps)) * (stacked * weight.unsqueeze(-1)).sum(1)


def mask_and_drop(features: Tensor, available: Tensor, dropout: nn.Module) -> Tensor:
    """Fixed features of one modality as the input of a network in a step.

    Parameters
    ----------
    features : Tensor of shape (B, F)
        Of comparable scale, NaN where nothing was observed.
    available : Tensor of shape (B,)
        Bool: whether the modality is available.
    dropout : Module
        What hides some of them in training.

    Returns
    -------
    Tensor of shape (B, F)
        Finite, 0 for what is absent.

    Examples
    --------
    >>> available = torch.tensor([True])
    >>> mask_and_drop(torch.tensor([[1.0, torch.nan]]), available, nn.Identity()).tolist()
    [[1.0, 0.0]]
    """
    finite = torch.where(available.unsqueeze(-1), features, 0.0).nan_to_num(0.0)
    return cast(Tensor, dropout(finite))
