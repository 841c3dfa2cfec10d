"""Fixed random convolutions over the observed timepoints, the base of both kinds.

Sizes beside the usual ones: G groups, K kernels per group, P taps per kernel, F features.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor

from mts_fusion.nn.layers import nearest_observed
from mts_fusion.panel._schema import Modality

from ._base import FeatureBlock
from ._symbols import symbol_values

__all__ = ["RandomConvolutions", "Response", "has_clock"]

# Standardised features are clipped here: one that was constant in training has no scale.
_LARGEST = 10.0


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


class Response(NamedTuple):
    """Responses of the kernels of one dilation to the series, or to its difference.

    Parameters
    ----------
    values : Tensor of shape (G / 2, K, L, B)
        Responses.
    valid : Tensor of shape (G / 2, L, B)
        Bool: windows in which enough was observed for a response to count.
    n_valid : Tensor of shape (G / 2, B)
        Number of valid windows.
    """

    values: Tensor
    valid: Tensor
    n_valid: Tensor


class RandomConvolutions(FeatureBlock):
    """Abstract: features of one modality from random kernels, over its observed timepoints only.

    Half of the groups see the series, half its first difference, at several dilations. Nothing is
    trained: kernels are drawn once, from ``seed``.

    Parameters
    ----------
    modality : Modality
        What the features are of. Its timepoints bound kernel size and dilations; samples of any
        other length can be passed. Its symbols, if any, become their centers, or equally spaced
        numbers in [-1.5, 1.5] where its vocabulary has none.
    n_groups : int
        Groups G, even, of 8 kernels each; the kernels of a group share their channels.
    seed : int, default=0
        Seed of the kernels. The same seed and sizes give the same kernels.

    Attributes
    ----------
    n_features : int
        Number of features F.
    block_widths : list of int
        Features of each dilation.

    Raises
    ------
    ValueError
        If ``n_groups`` is below 2 or odd.

    Notes
    -----
    A window is valid where at least half of its taps were observed, averaged over the channels of
    the group that have anything observed. A sample without a valid window at some dilation has NaN
    there. Between two observations a series is interpolated linearly; before the first and after
    the last it is zero.
    """

    # Kernels K of a group, and statistics of each kernel.
    _N_KERNELS: ClassVar[int] = 8
    _STATISTICS: ClassVar[tuple[str, str]]

    mean: Tensor
    scale: Tensor
    weight: Tensor
    mixing: Tensor
    bias: Tensor
    symbols: Tensor | None

    def __init__(self, modality: Modality, *, n_groups: int, seed: int = 0) -> None:
        super().__init__()
        if n_groups < 1 or n_groups % 2:
            raise ValueError(
                f"Half of the groups of {type(self).__name__} see the difference: "
                f"n_groups={n_groups} must be even and at least 2."
            )
        self.n_channels = modality.n_channels
        self.n_timepoints = n_timepoints = modality.n_timepoints
        self.n_groups = n_groups
        self.n_taps = min(9, n_timepoints - 1 + n_timepoints % 2)
        self.dilations = _dilations(n_timepoints, self.n_taps)
        shape = (len(self.dilations), 2, n_groups // 2)
        weight, mixing = self._draw(shape, torch.Generator().manual_seed(seed))
        self.register_buffer("weight", weight)
        self.register_buffer("mixing", mixing)
        self.register_buffer("bias", torch.zeros(weight.shape[:-1]))  # 0 where there is none
        n_block = len(self._STATISTICS) * n_groups * self._N_KERNELS
        self.block_widths = [n_block] * len(self.dilations)
        self.n_features = sum(self.block_widths)
        self.register_buffer("mean", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))
        vocabulary = modality.vocabulary
        self.register_buffer("symbols", None if vocabulary is None else symbol_values(vocabulary))

    @classmethod
    def suits(cls, modality: Modality) -> bool:
        """Whether a modality has a regular clock, see :func:`has_clock`.

        Parameters
        ----------
        modality : Modality
            A modality.

        Returns
        -------
        bool
            Whether it has.
        """
        return has_clock(modality)

    @abstractmethod
    def _draw(
        self, shape: tuple[int, int, int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Kernels ``(*shape, K, P)`` and weights of the channels ``(*shape, C)``.

        ``shape`` is dilations, series and difference, half of the groups.
        """

    @abstractmethod
    def _pool(self, response: Response, bias: Tensor) -> list[Tensor]:
        """Statistics of each kernel, (G / 2, K, B), from its responses and biases (G / 2, K)."""

    def compute(self, values: Tensor, observed: Tensor, times: Tensor | None = None) -> Tensor:
        """Raw features; ``times`` are not read.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C)
            Bool: where a value was observed.
        times : Tensor of shape (B, L) or None, default=None
            Ignored: a kernel counts timepoints.

        Returns
        -------
        Tensor of shape (B, F)
            The features, NaN where one rests on no observation.
        """
        absent = ~observed.flatten(1).any(1)
        observed = observed | absent[:, None, None]  # its features are NaN in the end
        observed, sources = self._series_and_difference(values, observed)
        channel_observed = observed.any(1)
        blocks: list[Tensor] = []
        for i in range(len(self.dilations)):
            for j, (x, coverage) in enumerate(sources):
                response = self._convolve(x, coverage, channel_observed, i, j)
                block = torch.stack(self._pool(response, self.bias[i, j])).flatten(0, 2).T
                valid = (response.n_valid > 0).T.repeat_interleave(self._N_KERNELS, 1)
                valid = valid.repeat(1, len(self._STATISTICS))
                blocks.append(torch.where(valid, block, math.nan))
        return torch.cat(blocks, 1).masked_fill(absent[:, None], math.nan)

    def feature_names(self) -> list[str]:
        """A name for each feature: dilation, source, statistic, group and kernel.

        Returns
        -------
        list of str
            Of length F.
        """
        return [
            f"dilation{dilation}__{source}__{statistic}__group{g}_kernel{k}"
            for dilation in self.dilations
            for source in ("series", "difference")
            for statistic in self._STATISTICS
            for g in range(self.n_groups // 2)
            for k in range(self._N_KERNELS)
        ]

    def _series_and_difference(
        self, values: Tensor, observed: Tensor
    ) -> tuple[Tensor, list[tuple[Tensor, Tensor]]]:
        """Where the series was observed, (C, L, B); it and its difference, with their coverage.

        The coverage is that of one sample, (C, L, 1), where all are complete.
        Samples come last: sums over time then run over all of them at once.
        """
        if self.symbols is not None:
            values = self.symbols[values]
        observed = observed.permute(2, 1, 0)  # (B, L, C) -> (C, L, B)
        series = values.permute(2, 1, 0)
        # The usual case, with the same numbers for less; a graph has no branch on data.
        if not torch.compiler.is_compiling() and bool(observed.all()):
            difference = F.pad(series.diff(dim=1), (0, 0, 0, 1))
            coverage = torch.ones_like(series[:, :, :1])
            pair_coverage = torch.cat([coverage[:, 1:], coverage[:, :1] / 2], 1)
            return observed, [(series, coverage), (difference, pair_coverage)]
        series, inside = _interpolate(series, observed)
        coverage = observed.to(series.dtype)
        following = F.pad(coverage[:, 1:], (0, 0, 0, 1))
        steps = series.diff(dim=1) * (inside[:, 1:] & inside[:, :-1])
        difference = F.pad(steps, (0, 0, 0, 1))
        return observed, [(series, coverage), (difference, (coverage + following) / 2)]

    def _convolve(
        self, series: Tensor, coverage: Tensor, channel_observed: Tensor, i: int, j: int
    ) -> Response:
        """Responses of the kernels at one dilation, and which windows are valid."""
        n_timepoints, n_samples = series.shape[1:]
        n_covers = coverage.shape[2]
        channel_observed = channel_observed[:, :n_covers]
        mixing = self.mixing[i, j]  # (G / 2, C)
        chosen = (mixing != 0).to(series.dtype)
        n_observed = (chosen @ channel_observed.to(series.dtype)).unsqueeze(1)  # (G / 2, 1, B)

        # NOTE[DIFF]: in the papers every window counts. Half of the taps is what the first and the
        # last window of a complete series have, and what no window around padding has.
        mixed_coverage = (chosen @ coverage.flatten(1)).view(-1, n_timepoints, n_covers)
        first, *others = self._taps(mixed_coverage, self.dilations[i])
        window_coverage = first.clone()
        for tap in others:
            window_coverage += tap
        valid = window_coverage >= ((self.n_taps + 1) // 2 - 0.01) * n_observed.clamp(min=1)

        # A channel that is never observed adds nothing; the others are scaled up for it.
        power = mixing.square()
        observed_power = (power @ channel_observed.to(series.dtype)).unsqueeze(1)
        observed_power = torch.where(observed_power > 0, observed_power, 1)
        missing_rescale = torch.sqrt(power.sum(-1).view(-1, 1, 1) / observed_power)
        mixed = (mixing @ series.flatten(1)).view(-1, n_timepoints, n_samples) * missing_rescale
        # A batched matrix product over the taps: faster than conv1d with groups.
        taps = torch.stack(self._taps(mixed, self.dilations[i]), 1)  # (G / 2, P, L, B)
        values = torch.bmm(self.weight[i, j], taps.flatten(2)).unflatten(-1, taps.shape[2:])
        n_valid = valid.sum(1).expand(-1, n_samples)
        return Response(values, valid.expand(-1, -1, n_samples), n_valid)

    def _taps(self, x: Tensor, dilation: int) -> list[Tensor]:
        """Input of each tap of a kernel, from ``(., L, B)``, padded with zeros at both ends."""
        n_timepoints = x.shape[1]
        reach = (self.n_taps // 2) * dilation
        padded = F.pad(x, (0, 0, reach, reach))
        return [padded[:, p * dilation :][:, :n_timepoints] for p in range(self.n_taps)]

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Learn mean and scale of the features from those of the training samples.

        Parameters
        ----------
        features : Tensor of shape (n, F)
            From `compute`.
        """
        for first in range(0, self.n_features, 512):  # a copy of some columns at a time
            columns = slice(first, first + 512)
            part = features[:, columns].to(self.mean.device)
            valid = ~part.isnan()
            n_valid = valid.sum(0).clamp(min=1)
            mean = part.nansum(0) / n_valid
            deviation = ((part - mean).square().nansum(0) / n_valid).sqrt()
            # A count that is nearly always zero would be huge in the few samples where it is not.
            rare = ((part == 0).sum(0) / n_valid) ** 4
            self.mean[columns] = mean
            self.scale[columns] = 1 / (deviation + rare + 1e-6)

    def standardize(self, features: Tensor) -> Tensor:
        """Features with mean 0 and deviation 1 in the training samples.

        Parameters
        ----------
        features : Tensor of shape (B, F)
            From `compute`.

        Returns
        -------
        Tensor of shape (B, F)
            NaN where nothing was observed.
        """
        return ((features - self.mean) * self.scale).clamp(-_LARGEST, _LARGEST)


def _dilations(n_timepoints: int, n_taps: int) -> tuple[int, ...]:
    """Powers of two at which a kernel still fits into the longest sample."""
    if n_taps == 1:
        return (1,)
    largest = (n_timepoints - 1) // (n_taps - 1)
    return tuple(2**i for i in range(largest.bit_length()))


def _interpolate(series: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """``(C, L, B)`` linear over the gaps, zero outside the observations, and where it is inside.

    No window is valid because of interpolated values: they keep a gap from looking like a jump to
    zero.
    """
    n_timepoints = series.shape[1]
    before, after = nearest_observed(observed)
    left = series.gather(1, before.clamp(min=0))
    right = series.gather(1, after.clamp(max=n_timepoints - 1))
    index = torch.arange(n_timepoints, device=series.device).view(1, -1, 1)
    fraction = (index - before) / (after - before).clamp(min=1)
    line = torch.where(observed, series, torch.lerp(left, right, fraction.to(series.dtype)))
    inside = (before >= 0) & (after < n_timepoints)
    return torch.where(inside, line, 0.0), inside
