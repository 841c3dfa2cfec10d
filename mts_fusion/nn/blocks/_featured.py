"""Encoders and tokens from fixed features: random convolutions and summary statistics.

Sizes: B batch, L timepoints, C channels, D width, T tokens.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.blocks._convolution import RandomConvolutions
from mts_fusion.nn.blocks._encoded import Encoded, Encoder
from mts_fusion.nn.blocks._hydra import Hydra
from mts_fusion.nn.blocks._random import Dropout
from mts_fusion.nn.blocks._rocket import Rocket
from mts_fusion.nn.blocks._statistics import StatisticTokens, reveal
from mts_fusion.panel._schema import Modality, Schema

__all__ = [
    "ConvolutionEncoder",
    "ConvolutionTokens",
    "HydraEncoder",
    "RocketEncoder",
    "has_clock",
]


def has_clock(modality: Modality) -> bool:
    """Whether timepoints are as far apart in all samples, so that a kernel spans the same time.

    Parameters
    ----------
    modality : Modality
        A modality.

    Returns
    -------
    bool
        False where samples have their own times, or only one timepoint.

    Examples
    --------
    >>> has_clock(Modality("laboratory", 6, 40, irregular=True))
    False
    """
    return not modality.irregular and modality.n_timepoints > 1


class ConvolutionEncoder(Encoder):
    """Linear map of fixed random-convolution features, and a map of summary statistics.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D.
    blocks : sequence of RandomConvolutions
        What gives the features. None of them is used on a modality without a clock
        (:func:`has_clock`): then there are statistics only.
    dropout : float, default=0.1
        Not used: features have a rate of their own.
    feature_dropout : float, default=0.5
        Share of the features and of the statistics hidden in training. High: there are thousands.
    kind_dropout : float, default=0.8
        Rate at which a sample goes without one kind of features in training: without convolutions
        mostly, without statistics sometimes. Neither kind may lean on the other; thousands of
        convolutions would otherwise learn the training samples by heart.

    Notes
    -----
    One token for each dilation of each block, in rising order of the time that a kernel spans, and
    one for the statistics (:class:`StatisticTokens`); the embedding is their sum.
    """

    # Of the samples that go without a kind of features, how many go without convolutions.
    _SHARE_OF_CONVOLUTIONS: ClassVar[float] = 0.9

    def __init__(
        self,
        modality: Modality,
        d_model: int,
        blocks: Sequence[RandomConvolutions],
        *,
        dropout: float = 0.1,
        feature_dropout: float = 0.5,
        kind_dropout: float = 0.8,
    ) -> None:
        super().__init__()
        blocks = blocks if has_clock(modality) else []
        self.blocks = nn.ModuleList(blocks)
        self.block_sizes = [size for block in blocks for size in block.block_sizes]
        n_convolved = sum(self.block_sizes)
        self.statistics = StatisticTokens(Schema((modality,)), d_model, dropout=feature_dropout)
        n_statistics = self.statistics.sizes[0]
        self.sizes = [*(block.n_features for block in blocks), n_statistics]
        self.n_features = sum(self.sizes)
        # A step of Adam moves each weight alike, and so a sum over F features by F times as much.
        # Ten times as many of them as statistics would be learnt by heart before those are learnt.
        self.scale = min(1.0, n_statistics / max(n_convolved, 1))
        self.kind_dropout = kind_dropout
        self.generator: torch.Generator | None = None
        self.dropout = Dropout(feature_dropout)
        self.project = nn.Linear(n_convolved, d_model) if blocks else None

    def prepare(self, values: Tensor, observed: Tensor) -> None:
        """Learn the biases of the convolutions, where a block has any."""
        for block in self.blocks:
            if isinstance(block, Rocket):
                block.fit_biases(values, observed)

    def featurize(self, values: Tensor, observed: Tensor, times: Tensor | None = None) -> Tensor:
        """Features before standardisation; NaN where one rests on nothing."""
        with torch.no_grad():
            parts = [cast(RandomConvolutions, b).featurize(values, observed) for b in self.blocks]
            if times is None:
                place = torch.arange(values.shape[1], dtype=torch.float32, device=values.device)
                times = place.expand(values.shape[0], -1)
            return torch.cat([*parts, *self.statistics.featurize([values], [observed], [times])], 1)

    def fit_features(self, features: Tensor) -> None:
        """Keep mean and scale of the features."""
        *convolved, statistics = features.split(self.sizes, 1)
        for block, part in zip(self.blocks, convolved, strict=True):
            cast(RandomConvolutions, block).fit(part)
        self.statistics.fit_features([statistics])

    def scale_features(self, features: Tensor) -> Tensor:
        """Features of comparable scale, NaN where one rests on nothing."""
        *convolved, statistics = features.split(self.sizes, 1)
        parts = [
            cast(RandomConvolutions, block).standardize(part)
            for block, part in zip(self.blocks, convolved, strict=True)
        ]
        return torch.cat([*parts, *self.statistics.scale_features([statistics])], 1)

    def forward(
        self,
        values: Tensor,
        observed: Tensor,
        times: Tensor | None = None,
        *,
        features: Tensor | None = None,
    ) -> Encoded:
        """Encode; ``values`` and ``times`` are not read where features are given."""
        if features is None:
            features = self.scale_features(self.featurize(values, observed, times))
        *blocks, statistics = features.split([*self.block_sizes, self.sizes[-1]], 1)
        known = [(~part.isnan()).any(1) for part in [*blocks, statistics]]
        weights = () if self.project is None else self.project.weight.split(self.block_sizes, 1)
        tokens = [
            F.linear(self.dropout(part.nan_to_num(0.0)) * self.scale, weight)
            for part, weight in zip(blocks, weights, strict=True)
        ]
        scores = self.statistics.reveal([statistics], known[-1].unsqueeze(1))
        tokens.append(self.statistics(scores).squeeze(1))
        if self.training and self.kind_dropout and self.project is not None:
            tokens = self._hide_a_kind(tokens)
        stacked = torch.stack(tokens, 1)
        embedding = stacked.sum(1)
        if self.project is not None:
            embedding = embedding + self.project.bias
        return Encoded(embedding, stacked, torch.stack(known, 1))

    def _hide_a_kind(self, tokens: list[Tensor]) -> list[Tensor]:
        """Hide the convolutions, or less often the statistics, of some samples; never both."""
        convolved, statistics = tokens[:-1], tokens[-1]
        draw = torch.rand(len(statistics), 1, generator=self.generator, device=statistics.device)
        kept = draw >= self.kind_dropout * self._SHARE_OF_CONVOLUTIONS
        sure = draw < 1 - self.kind_dropout * (1 - self._SHARE_OF_CONVOLUTIONS)
        return [*(token * kept for token in convolved), statistics * sure]


class HydraEncoder(ConvolutionEncoder):
    """Convolutions whose kernels compete (:class:`Hydra`), and summary statistics.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D.
    pooled : bool, default=False
        Whether to add shares and runs of other convolutions (:class:`Rocket`).
    n_groups : int, default=32
        Groups of kernels.
    scale : sequence of C float or None, default=None
        What the values of each channel have been divided by (:class:`Rocket`).
    seed : int, default=0
        Seed of the kernels.
    **kwargs
        As for :class:`ConvolutionEncoder`.

    Examples
    --------
    >>> encoder = HydraEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=torch.bool)).tokens.shape
    torch.Size([2, 4, 16])
    """

    def __init__(
        self,
        modality: Modality,
        d_model: int,
        *,
        pooled: bool = False,
        n_groups: int = 32,
        scale: Sequence[float] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        sizes = (modality.n_channels, modality.n_timepoints)
        given: dict[str, Any] = {
            "n_groups": n_groups,
            "vocabulary": modality.vocabulary,
            "seed": seed,
        }
        blocks: list[RandomConvolutions] = [Hydra(*sizes, levels=False, **given)]
        if pooled:
            blocks.append(Rocket(*sizes, scale=scale, **given))
        super().__init__(modality, d_model, blocks, **kwargs)


class RocketEncoder(ConvolutionEncoder):
    """Shares and runs of convolutions above learnt biases (:class:`Rocket`), and statistics.

    Parameters
    ----------
    modality : Modality
        What is encoded.
    d_model : int
        Width D.
    n_groups : int, default=32
        Groups of kernels.
    scale : sequence of C float or None, default=None
        What the values of each channel have been divided by (:class:`Rocket`).
    seed : int, default=0
        Seed of the kernels.
    **kwargs
        As for :class:`ConvolutionEncoder`.

    Examples
    --------
    >>> encoder = RocketEncoder(Modality("acc", 3, 50), 16)
    >>> encoder(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=torch.bool)).tokens.shape
    torch.Size([2, 4, 16])
    """

    def __init__(
        self,
        modality: Modality,
        d_model: int,
        *,
        n_groups: int = 32,
        scale: Sequence[float] | None = None,
        seed: int = 0,
        **kwargs: Any,
    ) -> None:
        block = Rocket(
            modality.n_channels,
            modality.n_timepoints,
            n_groups=n_groups,
            vocabulary=modality.vocabulary,
            scale=scale,
            seed=seed,
        )
        super().__init__(modality, d_model, [block], **kwargs)


class ConvolutionTokens(nn.Module):
    """One token a modality from the shares and runs of random convolutions (:class:`Rocket`).

    A modality without a clock (:func:`has_clock`) has no such token.

    Parameters
    ----------
    schema : Schema
        The modalities.
    d_model : int
        Width D of the tokens.
    dropout : float, default=0.5
        Share of the features hidden in training.
    n_groups : int, default=8
        Groups of kernels.
    scales : dict of str to sequence of C float or None, default=None
        By modality, what the values of each channel have been divided by (:class:`Rocket`).
    seed : int, default=0
        Seed of the kernels, other ones for each modality.

    Attributes
    ----------
    places : list of int
        Places in the schema of the modalities that have a token.

    Notes
    -----
    Used as :class:`StatisticTokens`, after ``prepare(values, observed)`` has learnt the biases.

    Examples
    --------
    >>> block = ConvolutionTokens(Schema((Modality("acc", 3, 50),)), 16).eval()
    >>> x, seen = [torch.randn(8, 50, 3)], [torch.ones(8, 50, 3, dtype=torch.bool)]
    >>> block.prepare(x, seen)
    >>> features = block.featurize(x, seen)
    >>> scaled = block.scale_features(features)
    >>> block(block.reveal(scaled, torch.ones(8, 1, dtype=torch.bool))).shape
    torch.Size([8, 1, 16])
    """

    def __init__(
        self,
        schema: Schema,
        d_model: int,
        *,
        dropout: float = 0.5,
        n_groups: int = 8,
        scales: Mapping[str, Sequence[float]] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        modalities = schema.modalities
        self.places = [m for m, modality in enumerate(modalities) if has_clock(modality)]
        self.blocks = nn.ModuleDict(
            {
                str(m): Rocket(
                    modalities[m].n_channels,
                    modalities[m].n_timepoints,
                    n_groups=n_groups,
                    vocabulary=modalities[m].vocabulary,
                    scale=(scales or {}).get(modalities[m].name),
                    seed=seed + m,
                )
                for m in self.places
            }
        )
        sizes = {m: self._block(m).n_features for m in self.places}
        self.project = nn.ModuleList(nn.Linear(size, d_model) for size in sizes.values())
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)

    def _block(self, m: int) -> Rocket:
        return cast(Rocket, self.blocks[str(m)])

    def prepare(self, values: Sequence[Tensor], observed: Sequence[Tensor]) -> None:
        """Learn the biases from some training samples."""
        for m in self.places:
            self._block(m).fit_biases(values[m], observed[m])

    def featurize(self, values: Sequence[Tensor], observed: Sequence[Tensor]) -> list[Tensor]:
        """Features of each modality, ``(B, F)`` each; ``F = 0`` where there is no clock."""
        none = values[0].new_empty(len(values[0]), 0, dtype=torch.float32)
        with torch.no_grad():
            return [
                self._block(m).featurize(x, seen) if m in self.places else none
                for m, (x, seen) in enumerate(zip(values, observed, strict=True))
            ]

    def fit_features(self, features: Sequence[Tensor]) -> None:
        """Keep mean and scale of the features."""
        for m in self.places:
            self._block(m).fit(features[m])

    def scale_features(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Features with mean 0 and deviation 1, NaN where one rests on nothing."""
        return [
            self._block(m).standardize(part) if m in self.places else part
            for m, part in enumerate(features)
        ]

    def reveal(self, scaled: Sequence[Tensor], available: Tensor) -> list[Tensor]:
        """Features with 0 for what is absent; some hidden in training."""
        return [reveal(x, available[:, m], self.dropout) for m, x in enumerate(scaled)]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Tokens of ``places``, ``(B, T, D)``, from what :meth:`reveal` gave."""
        tokens = [
            project(features[m]) for m, project in zip(self.places, self.project, strict=True)
        ]
        return F.gelu(self.norm(torch.stack(tokens, 1)))
