"""What blocks of fixed random convolutions share: kernels over the observed timepoints.

Sizes beside the usual ones: G groups, K kernels per group, P taps per kernel, F features.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import ClassVar, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.panel._schema import Vocabulary

__all__ = ["RandomConvolutions", "Response"]

# Standardised features are cut here: one that was constant in training says nothing by its size.
_FAR = 10.0


class Response(NamedTuple):
    """What the kernels of one dilation say of the series, or of its difference.

    Parameters
    ----------
    values : Tensor of shape (G / 2, K, L, B)
        Responses.
    window : Tensor of shape (G / 2, L, B)
        Bool: where enough was observed for a response to count.
    n_windows : Tensor of shape (G / 2, B)
        How many count.
    """

    values: Tensor
    window: Tensor
    n_windows: Tensor


class RandomConvolutions(nn.Module):
    """Abstract: features of one modality from random kernels, over its observed timepoints only.

    Half of the groups see the series, half its first difference, at several dilations. Nothing is
    trained: kernels are drawn once, from ``seed``.

    Parameters
    ----------
    n_channels : int
        Channels C.
    n_timepoints : int
        Timepoints L of the longest sample. It bounds kernel size and dilations; samples of any
        other length can be passed.
    n_groups : int
        Groups G, even; the kernels of a group share their channels.
    n_kernels : int
        Kernels K of a group.
    vocabulary : Vocabulary or None, default=None
        The symbols of the values. Symbols become their centers, or equally spaced numbers in
        [-1, 1] where the vocabulary has none.
    seed : int, default=0
        Seed of the kernels. The same seed and sizes give the same kernels.

    Attributes
    ----------
    n_features : int
        Number of features F.
    block_sizes : list of int
        Features of each dilation, then others.

    Raises
    ------
    ValueError
        If a size is below 1, or ``n_groups`` is odd.

    Notes
    -----
    A window counts where at least half of its taps were observed, averaged over the channels of
    the group that have anything observed. A sample without a counting window at some dilation has
    zeros there after standardisation: such features say nothing about it. Between two
    observations a series runs straight, before the first and after the last it is zero.
    """

    # Statistics of each kernel.
    _N_STATISTICS: ClassVar[int]

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        *,
        n_groups: int,
        n_kernels: int,
        vocabulary: Vocabulary | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self._positive(
            n_channels=n_channels, n_timepoints=n_timepoints, n_groups=n_groups, n_kernels=n_kernels
        )
        if n_groups % 2:
            raise ValueError(
                f"Half of the groups of {type(self).__name__} see the difference: "
                f"n_groups={n_groups} must be even."
            )
        self.n_channels = n_channels
        self.n_timepoints = n_timepoints
        self.n_groups = n_groups
        self.n_kernels = n_kernels
        self.n_taps = min(9, n_timepoints - 1 + n_timepoints % 2)
        self.dilations = _dilations(n_timepoints, self.n_taps)
        shape = (len(self.dilations), 2, n_groups // 2)
        weight, mixing = self._draw(shape, torch.Generator().manual_seed(seed))
        self.register_buffer("weight", weight)
        self.register_buffer("mixing", mixing)
        self.block_sizes = [self._N_STATISTICS * n_groups * n_kernels] * len(self.dilations)
        self.block_sizes += self._others()
        self.n_features = sum(self.block_sizes)
        self.register_buffer("mean", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))
        self.register_buffer("centers", None if vocabulary is None else _centers(vocabulary))

    mean: Tensor
    scale: Tensor
    weight: Tensor
    mixing: Tensor
    centers: Tensor | None

    def _positive(self, **sizes: int) -> None:
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"{type(self).__name__} needs {name} of at least 1, got {size}.")

    @abstractmethod
    def _draw(
        self, shape: tuple[int, int, int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        """Kernels ``(*shape, K, P)`` and weights of the channels ``(*shape, C)``.

        ``shape`` is dilations, series and difference, half of the groups.
        """

    @abstractmethod
    def _summarise(self, response: Response, i: int, j: int) -> list[Tensor]:
        """Statistics of each kernel at dilation i of the series or difference j, (G / 2, K, B)."""

    def _others(self) -> list[int]:
        """Numbers of features that are not of kernels."""
        return []

    def _see_others(
        self, series: Tensor, observed: Tensor, changes: Tensor, covered: Tensor
    ) -> list[Tensor]:
        """Those features, each ``(B, F)``, NaN where nothing is known."""
        return []

    def featurize(self, values: Tensor, observed: Tensor) -> Tensor:
        """Features before standardisation: fixed, so that they can be kept.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C), bool
            Where a value was observed.

        Returns
        -------
        Tensor of shape (B, F)
            The features, NaN where one rests on no observation.
        """
        silent = ~observed.flatten(1).any(1)
        observed = observed | silent[:, None, None]  # its features are NaN in the end
        series, observed, sources = self._sources(values, observed)
        blocks: list[Tensor] = []
        seen = observed.any(1)
        for i in range(len(self.dilations)):
            for j, (x, covered) in enumerate(sources):
                response = self._respond(x, covered, seen, i, j)
                block = torch.stack(self._summarise(response, i, j)).flatten(0, 2).T
                known = (response.n_windows > 0).T.repeat_interleave(self.n_kernels, 1)
                blocks.append(torch.where(known.repeat(1, self._N_STATISTICS), block, math.nan))
        features = torch.cat(blocks + self._see_others(series, observed, *sources[1]), 1)
        return features.masked_fill(silent[:, None], math.nan)

    def _sources(
        self, values: Tensor, observed: Tensor
    ) -> tuple[Tensor, Tensor, list[tuple[Tensor, Tensor]]]:
        """Series and where it was observed, (C, L, B); it and its difference, with their cover.

        The cover is that of one sample, (C, L, 1), where all are complete.
        Samples come last: sums over time then run over all of them at once.
        """
        if self.centers is not None:
            values = self.centers[values]
        observed = observed.permute(2, 1, 0)  # (B, L, C) -> (C, L, B)
        series = values.permute(2, 1, 0)
        # The usual case, with the same numbers for less; a graph has no branch on data.
        if not torch.compiler.is_compiling() and bool(observed.all()):
            changes = F.pad(series.diff(dim=1), (0, 0, 0, 1))
            whole = torch.ones_like(series[:, :, :1])
            ended = torch.cat([whole[:, 1:], whole[:, :1] / 2], 1)
            return series, observed, [(series, whole), (changes, ended)]
        series, inside = _bridge(series, observed)
        covered = observed.to(series.dtype)
        follows = F.pad(covered[:, 1:], (0, 0, 0, 1))
        steps = series.diff(dim=1) * (inside[:, 1:] & inside[:, :-1])
        changes = F.pad(steps, (0, 0, 0, 1))
        return series, observed, [(series, covered), (changes, (covered + follows) / 2)]

    def _respond(self, series: Tensor, covered: Tensor, seen: Tensor, i: int, j: int) -> Response:
        """Responses of the kernels at one dilation, and which windows count."""
        n_timepoints, n_samples = series.shape[1:]
        n_covers = covered.shape[2]
        seen = seen[:, :n_covers]
        mixing = self.mixing[i, j]  # (G / 2, C)
        chosen = (mixing != 0).to(series.dtype)
        n_seen = (chosen @ seen.to(series.dtype)).unsqueeze(1)  # (G / 2, 1, B)

        # NOTE[DIFF]: in the papers every window counts. Half of the taps is what the first and the
        # last window of a complete series have, and what no window around padding has.
        cover = (chosen @ covered.flatten(1)).view(-1, n_timepoints, n_covers)
        first, *others = self._taps(cover, self.dilations[i])
        cover = first.clone()
        for tap in others:
            cover += tap
        window = cover >= ((self.n_taps + 1) // 2 - 0.01) * n_seen.clamp(min=1)

        # A channel that is silent throughout adds nothing; the others are scaled up for it.
        strength = mixing.square()
        heard = (strength @ seen.to(series.dtype)).unsqueeze(1)
        grown = torch.sqrt(strength.sum(-1).view(-1, 1, 1) / torch.where(heard > 0, heard, 1))
        mixed = (mixing @ series.flatten(1)).view(-1, n_timepoints, n_samples) * grown
        # A batched matrix product over the taps: faster than conv1d with groups.
        taps = torch.stack(self._taps(mixed, self.dilations[i]), 1)  # (G / 2, P, L, B)
        values = torch.bmm(self.weight[i, j], taps.flatten(2)).unflatten(-1, taps.shape[2:])
        n_windows = window.sum(1).expand(-1, n_samples)
        return Response(values, window.expand(-1, -1, n_samples), n_windows)

    def _taps(self, x: Tensor, dilation: int) -> list[Tensor]:
        """What each tap of a kernel sees of ``(., L, B)``; zeros before the start and behind."""
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
            From `featurize`.
        """
        for first in range(0, self.n_features, 512):  # a copy of some columns at a time
            columns = slice(first, first + 512)
            part = features[:, columns].to(self.mean.device)
            known = ~part.isnan()
            n_known = known.sum(0).clamp(min=1)
            mean = part.nansum(0) / n_known
            deviation = ((part - mean).square().nansum(0) / n_known).sqrt()
            # A count that is nearly always zero would grow huge in the few samples where it is not.
            rare = ((part == 0).sum(0) / n_known) ** 4
            self.mean[columns] = mean
            self.scale[columns] = 1 / (deviation + rare + 1e-6)

    def standardize(self, features: Tensor) -> Tensor:
        """Features with mean 0 and deviation 1 in the training samples.

        Parameters
        ----------
        features : Tensor of shape (B, F)
            From `featurize`.

        Returns
        -------
        Tensor of shape (B, F)
            NaN where nothing is known.
        """
        return ((features - self.mean) * self.scale).clamp(-_FAR, _FAR)

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """Features, standardised once `fit` has seen those of the training samples.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C), bool
            Where a value was observed.

        Returns
        -------
        Tensor of shape (B, F)
            Finite; 0 where nothing is known.
        """
        return self.standardize(self.featurize(values, observed)).nan_to_num(0.0)


def _dilations(n_timepoints: int, n_taps: int) -> tuple[int, ...]:
    """Powers of two at which a kernel still fits into the longest sample."""
    if n_taps == 1:
        return (1,)
    largest = (n_timepoints - 1) // (n_taps - 1)
    return tuple(2**i for i in range(largest.bit_length()))


def _centers(vocabulary: Vocabulary) -> Tensor:
    """The number that each token stands for, (n_tokens,)."""
    if vocabulary.centers is not None:
        centers = torch.tensor(vocabulary.centers, dtype=torch.float32)
    else:
        centers = torch.linspace(-1, 1, vocabulary.size)
    table = torch.zeros(vocabulary.n_tokens)
    symbols = [s for s in range(vocabulary.n_tokens) if s != vocabulary.missing]
    table[symbols] = centers
    return table


def _bridge(series: Tensor, observed: Tensor) -> tuple[Tensor, Tensor]:
    """Straight lines over the gaps of ``(C, L, B)``, zeros outside, and what is not outside.

    No window counts on the strength of a bridge: it keeps a gap from looking like a jump to zero.
    """
    n_timepoints = series.shape[1]
    t = torch.arange(n_timepoints, device=series.device).view(1, -1, 1).expand_as(series)
    before = torch.where(observed, t, -1).cummax(1).values
    after = torch.where(observed, t, n_timepoints).flip(1).cummin(1).values.flip(1)
    left = series.gather(1, before.clamp(min=0))
    right = series.gather(1, after.clamp(max=n_timepoints - 1))
    share = (t - before) / (after - before).clamp(min=1)
    bridge = torch.where(observed, series, torch.lerp(left, right, share.to(series.dtype)))
    inside = (before >= 0) & (after < n_timepoints)
    return torch.where(inside, bridge, 0.0), inside
