"""Encoder of one modality from its fixed features: random convolutions and summary statistics.

Sizes: B batch, L timepoints, C channels, D width, F features, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.embedding import FeatureTokens
from mts_fusion.nn.layers import Dropout
from mts_fusion.panel._schema import Modality

from ._base import Encoder, EncoderOutput

__all__ = ["ConvolutionEncoder"]

_STATISTICS = "statistics"


class ConvolutionEncoder(Encoder):
    """Linear map of fixed random-convolution features, and a map of summary statistics.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D.
    widths : dict of str to sequence of int
        By kind, the widths of the parts of its features, in the order of the columns; one of the
        kinds is ``"statistics"``, and the others, if any, are convolutions.
    feature_dropout : float, default=0.5
        Share of the features and of the statistics hidden in training. High: there are thousands.
    token_type_dropout : float, default=0.8
        Rate at which one kind of features is hidden from a sample in training: mostly the
        convolutions, sometimes the statistics. Thousands of convolutions would otherwise memorise
        the training samples.

    Raises
    ------
    ValueError
        If ``widths`` has no statistics, or ``forward`` is given no features.

    Notes
    -----
    One token for each part of the convolutions, such as a dilation, and one for the statistics; the
    embedding is their sum.

    Examples
    --------
    >>> widths = {"multirocket": [64, 64], "statistics": [40]}
    >>> encoder = ConvolutionEncoder(Modality("acc", 1, 50), 16, widths=widths)
    >>> observed = torch.ones(2, 50, 1, dtype=torch.bool)
    >>> encoder(torch.zeros(2, 50, 1), observed, features=torch.randn(2, 168)).tokens.shape
    torch.Size([2, 3, 16])
    """

    # Of the samples from which a kind of features is hidden, the fraction without convolutions.
    _SHARE_OF_CONVOLUTIONS: ClassVar[float] = 0.9

    def __init__(
        self,
        modality: Modality,
        d_model: int,
        *,
        widths: Mapping[str, Sequence[int]],
        feature_dropout: float = 0.5,
        token_type_dropout: float = 0.8,
    ) -> None:
        super().__init__()
        if not sum(widths.get(_STATISTICS, ())):
            raise ValueError(
                f"The encoder of modality {modality.name!r} takes fixed features with statistics "
                f"among them, but their declared widths are {dict(widths)}. Give those of "
                "FixedFeatures."
            )
        self.name = modality.name
        self.widths = [(kind, width) for kind, parts in widths.items() for width in parts]
        self.n_features = sum(width for _, width in self.widths)
        n_statistics = sum(widths[_STATISTICS])
        n_convolved = self.n_features - n_statistics
        self.block_widths = [width for kind, width in self.widths if kind != _STATISTICS]
        self.statistics = FeatureTokens([n_statistics], d_model, dropout=feature_dropout)
        # A step of Adam moves each weight alike, and so a sum over F features by F times as much.
        # Ten times as many of them as statistics would be memorised before those are learnt.
        self.scale = min(1.0, n_statistics / max(n_convolved, 1))
        self.token_type_dropout = token_type_dropout
        self.generator: torch.Generator | None = None
        self.dropout = Dropout(feature_dropout)
        self.project = nn.Linear(n_convolved, d_model) if n_convolved else None

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> EncoderOutput:
        """Encode the features; nothing else is read."""
        if features is None:
            raise ValueError(
                f"The encoder of modality {self.name!r} takes features: those that FixedFeatures "
                "gives for these samples."
            )
        convolved, statistics = self._split(features)
        valid = [(~part.isnan()).any(1) for part in [*convolved, statistics]]
        weights = () if self.project is None else self.project.weight.split(self.block_widths, 1)
        tokens = [
            F.linear(self.dropout(part.nan_to_num(0.0)) * self.scale, weight)
            for part, weight in zip(convolved, weights, strict=True)
        ]
        scores = self.statistics.mask_and_drop([statistics], valid[-1].unsqueeze(1))
        tokens.append(self.statistics(scores).squeeze(1))
        if self.training and self.token_type_dropout and self.project is not None:
            tokens = self._drop_kind(tokens)
        stacked = torch.stack(tokens, 1)
        embedding = stacked.sum(1)
        if self.project is not None:
            embedding = embedding + self.project.bias
        return EncoderOutput(embedding, stacked, torch.stack(valid, 1))

    def _split(self, features: Tensor) -> tuple[list[Tensor], Tensor]:
        """The parts of the convolutions, and the statistics."""
        parts = features.split([width for _, width in self.widths], 1)
        convolved: list[Tensor] = []
        statistics: list[Tensor] = []
        for (kind, _), part in zip(self.widths, parts, strict=True):
            (statistics if kind == _STATISTICS else convolved).append(part)
        return convolved, statistics[0] if len(statistics) == 1 else torch.cat(statistics, 1)

    def _drop_kind(self, tokens: list[Tensor]) -> list[Tensor]:
        """Hide the convolutions, or less often the statistics, of some samples; never both."""
        convolved, statistics = tokens[:-1], tokens[-1]
        draw = torch.rand(len(statistics), 1, generator=self.generator, device=statistics.device)
        with_convolutions = draw >= self.token_type_dropout * self._SHARE_OF_CONVOLUTIONS
        with_statistics = draw < 1 - self.token_type_dropout * (1 - self._SHARE_OF_CONVOLUTIONS)
        hidden = [token * with_convolutions for token in convolved]
        return [*hidden, statistics * with_statistics]
