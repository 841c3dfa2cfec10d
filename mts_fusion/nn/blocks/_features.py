"""Tokens from features of a whole modality, beside those learnt from its patches.

A branch is a module of ``(values, observed)``, the lists a network gets, that returns
:class:`FeatureTokens`. A network adds them to its own tokens before modalities meet.

Sizes: B batch, L timepoints, C channels, D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mts_fusion.panel._schema import Modality, Schema

__all__ = ["FeatureTokens", "SummaryTokens"]


class FeatureTokens(NamedTuple):
    """Tokens of a branch.

    Parameters
    ----------
    tokens : Tensor of shape (B, N, D)
        N tokens.
    available : Tensor of shape (B, N)
        Bool: False where the modality was silent.
    modality : list of N ints
        The modality of each token, by its place in the schema.
    """

    tokens: Tensor
    available: Tensor
    modality: list[int]


class SummaryTokens(nn.Module):
    """One token a modality from statistics of its channels.

    Mean, standard deviation, smallest, largest, mean absolute difference and observed share of each
    channel, mapped by weights of each modality. Symbols count as their place in the vocabulary,
    from -1 to 1.

    Parameters
    ----------
    schema : Schema
        The modalities.
    d_model : int
        Width D.

    Notes
    -----
    Input: lists ``values`` and ``observed`` of ``(B, L, C)``; output :class:`FeatureTokens`.

    Examples
    --------
    >>> branch = SummaryTokens(Schema((Modality("acc", 3, 8),)), 16)
    >>> branch([torch.zeros(2, 8, 3)], [torch.ones(2, 8, 3, dtype=bool)]).tokens.shape
    torch.Size([2, 1, 16])
    """

    _N_STATISTICS = 6

    def __init__(self, schema: Schema, d_model: int) -> None:
        super().__init__()
        self.schema = schema
        self.project = nn.ModuleList(
            nn.Linear(self._N_STATISTICS * m.n_channels, d_model) for m in schema
        )

    def forward(self, values: Sequence[Tensor], observed: Sequence[Tensor]) -> FeatureTokens:
        """Summarise each modality."""
        tokens, available = [], []
        for modality, project, x, seen in zip(
            self.schema, self.project, values, observed, strict=True
        ):
            tokens.append(project(_summary(_numbers(x, modality), seen)))
            available.append(seen.flatten(1).any(1))
        stacked = torch.stack(available, 1)
        return FeatureTokens(torch.stack(tokens, 1), stacked, list(range(len(tokens))))


def _numbers(x: Tensor, modality: Modality) -> Tensor:
    """Symbols 1 to size as numbers from -1 to 1; numbers as they are."""
    if modality.vocabulary is None:
        return x
    return (2 * x - 1 - modality.vocabulary.size) / modality.vocabulary.size


def _summary(x: Tensor, seen: Tensor) -> Tensor:
    """``(B, L, C)`` to ``(B, 6 C)``; 0 where a channel is silent."""
    n_seen = seen.sum(1).clamp(min=1)
    silent = ~seen.any(1)
    x = torch.where(seen, x, 0)
    mean = x.sum(1) / n_seen
    spread = torch.where(seen, x - mean[:, None], 0).square().sum(1) / n_seen
    low = torch.where(seen, x, torch.inf).amin(1).masked_fill(silent, 0)
    high = torch.where(seen, x, -torch.inf).amax(1).masked_fill(silent, 0)
    both = seen[:, 1:] & seen[:, :-1]
    step = torch.where(both, x[:, 1:] - x[:, :-1], 0).abs().sum(1) / both.sum(1).clamp(min=1)
    share = seen.to(x.dtype).mean(1)
    return torch.cat([mean, (spread + 1e-12).sqrt(), low, high, step, share], -1)
