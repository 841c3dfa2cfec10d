"""Features of one modality from fixed random convolutions whose kernels compete in groups.

Sizes beside the usual ones: G groups, K kernels per group, P taps per kernel, F features.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.panel._schema import Vocabulary

__all__ = ["Hydra"]

# Responses this near to zero, or to each other, are rounding noise: no kernel wins there.
_FLAT = 1e-4
_N_LEVELS = 5

# Standardised features are cut here: one that was constant in training says nothing by its size.
_FAR = 10.0


class Hydra(nn.Module):
    """Random-convolution features of one modality, over its observed timepoints only.

    In each group of kernels the kernels compete at every window [1]_: the one with the largest
    response gets that response added to its count, the one with the smallest gets a one. Counts
    are taken at several dilations, on the series and on its first difference, and their square
    root is the feature. Nothing is trained: the kernels are drawn once, from ``seed``.

    Parameters
    ----------
    n_channels : int
        Channels C.
    n_timepoints : int
        Timepoints L of the longest sample. It bounds kernel size and dilations; samples of any
        other length can be passed.
    n_groups : int, default=64
        Groups G, half of them on the series and half on its difference. Features grow linearly.
    n_kernels : int, default=8
        Kernels K that compete in a group. With 1 there is no competition.
    max_channels : int, default=8
        Most channels that a group adds up. Each group draws its own channels and signs.
    pooled : bool, default=False
        Whether to add four statistics of every kernel [2]_: share of positive responses, their
        mean, their mean relative position, and the mean length of their runs.
    levels : bool, default=True
        Whether to add five statistics of every channel (mean, standard deviation, minimum,
        maximum, mean absolute difference).
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
        Features of each dilation, then those of the levels.

    Raises
    ------
    ValueError
        If a size is below 1, or ``n_groups`` is odd.

    Notes
    -----
    Input: ``values (B, L, C)`` numbers (any finite number where not observed) or integer tokens,
    ``observed (B, L, C)`` bool. Output: ``(B, F)``. Channels should be of comparable scale.

    A window counts where at least half of its taps were observed, averaged over the channels of
    the group that have anything observed. A sample without a counting window at some dilation has
    zeros there after standardisation: such features say nothing about it. Between two
    observations a series runs straight, before the first and after the last it is zero.

    References
    ----------
    .. [1] Dempster, Schmidt and Webb, "Hydra: competing convolutional kernels for fast and
       accurate time series classification", Data Mining and Knowledge Discovery, 2023.
       https://arxiv.org/abs/2203.13652
    .. [2] Tan, Dempster, Bergmeir and Webb, "MultiRocket: multiple pooling operators and
       transformations for fast and effective time series classification", Data Mining and
       Knowledge Discovery, 2022. https://arxiv.org/abs/2102.00457

    Examples
    --------
    >>> hydra = Hydra(n_channels=3, n_timepoints=50)
    >>> hydra(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=torch.bool)).shape
    torch.Size([2, 3087])
    """

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        *,
        n_groups: int = 64,
        n_kernels: int = 8,
        max_channels: int = 8,
        pooled: bool = False,
        levels: bool = True,
        vocabulary: Vocabulary | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        sizes = {
            "n_channels": n_channels,
            "n_timepoints": n_timepoints,
            "n_groups": n_groups,
            "n_kernels": n_kernels,
            "max_channels": max_channels,
        }
        for name, size in sizes.items():
            if size < 1:
                raise ValueError(f"Hydra needs {name} of at least 1, got {size}.")
        if n_groups % 2:
            raise ValueError(
                f"Half of the groups of Hydra see the difference: n_groups={n_groups} must be even."
            )
        self.n_channels = n_channels
        self.n_timepoints = n_timepoints
        self.n_groups = n_groups
        self.n_kernels = n_kernels
        self.pooled = pooled
        self.levels = levels
        self.n_taps = min(9, n_timepoints - 1 + n_timepoints % 2)
        self.dilations = _dilations(n_timepoints, self.n_taps)
        self._draw(min(max(n_channels // 2, 2), max_channels, n_channels), seed)

        n_counts = 6 if pooled else 2
        self.block_sizes = [n_counts * n_groups * n_kernels] * len(self.dilations)
        if levels:
            self.block_sizes.append(_N_LEVELS * n_channels)
        self.n_features = sum(self.block_sizes)
        self.register_buffer("mean", torch.zeros(self.n_features))
        self.register_buffer("scale", torch.ones(self.n_features))
        self.register_buffer("centers", None if vocabulary is None else _centers(vocabulary))

    mean: Tensor
    scale: Tensor
    weight: Tensor
    mixing: Tensor
    centers: Tensor | None

    def _draw(self, n_mixed: int, seed: int) -> None:
        """Draw kernels and channels for each dilation, of the series and of its difference."""
        generator = torch.Generator().manual_seed(seed)
        half = self.n_groups // 2
        shape = (len(self.dilations), 2, half)
        weight = torch.randn(*shape, self.n_kernels, self.n_taps, generator=generator)
        # NOTE[DIFF]: all kernels of the paper sum to zero; a quarter of ours (half of those on the
        # series) do not, so that they compete for levels too. A lone tap cannot sum to zero.
        level = torch.zeros(shape, dtype=torch.bool)
        level[:, 0, : half // 2] = True
        level |= self.n_taps == 1
        weight = torch.where(level[..., None, None], weight, weight - weight.mean(-1, keepdim=True))
        weight = weight / weight.abs().sum(-1, keepdim=True)
        self.register_buffer("weight", weight)

        order = torch.rand(*shape, self.n_channels, generator=generator).argsort(-1)
        signs = torch.randint(0, 2, (*shape, self.n_channels), generator=generator) * 2 - 1
        # NOTE[DIFF]: the authors' code draws channels with replacement and adds them up; we draw
        # without replacement and with random signs, so that differences of channels occur too.
        self.register_buffer("mixing", (order < n_mixed) * signs.float())

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
        if self.centers is not None:
            values = self.centers[values]
        observed = observed.permute(2, 0, 1)  # (B, L, C) -> (C, B, L)
        series, inside = _bridge(values.permute(2, 0, 1), observed)
        follows = F.pad(observed[..., 1:], (0, 1))
        covered = observed.to(series.dtype)
        changes = F.pad(series.diff(dim=-1) * (inside[..., 1:] & inside[..., :-1]), (0, 1))
        covered_changes = (covered + follows) / 2
        seen = observed.any(-1)  # (C, B)

        blocks: list[Tensor] = []
        counted: list[Tensor] = []
        for i, dilation in enumerate(self.dilations):
            for j, (x, o) in enumerate(((series, covered), (changes, covered_changes))):
                block, windows = self._count(x, o, seen, i, j, dilation)
                blocks.append(block)
                counted.append(windows)
        if self.levels:
            blocks.append(_levels(series, observed, changes, covered_changes))
            counted.append(seen.T.repeat(1, _N_LEVELS))
        return torch.where(torch.cat(counted, 1), torch.cat(blocks, 1), math.nan)

    def _count(
        self, series: Tensor, covered: Tensor, seen: Tensor, i: int, j: int, dilation: int
    ) -> tuple[Tensor, Tensor]:
        """Counts of the groups at one dilation, and where they rest on a counted window."""
        n_samples, n_timepoints = series.shape[1:]
        mixing = self.mixing[i, j]  # (G / 2, C)
        reach = (self.n_taps // 2) * dilation
        chosen = mixing.abs()
        n_seen = (chosen @ seen.to(series.dtype)).unsqueeze(-1)  # (G / 2, B, 1)

        # NOTE[DIFF]: in the paper every window counts. Half of the taps is what the first and the
        # last window of a complete series have, and what no window around padding has.
        taps = torch.ones(1, 1, self.n_taps, dtype=series.dtype, device=series.device)
        cover = F.conv1d(covered.flatten(0, 1).unsqueeze(1), taps, padding=reach, dilation=dilation)
        cover = (chosen @ cover.view(len(covered), -1)).view(-1, n_samples, n_timepoints)
        window = cover >= ((self.n_taps + 1) // 2 - 0.01) * n_seen.clamp(min=1)
        n_windows = window.sum(-1)  # (G / 2, B)

        # A channel that is silent throughout adds nothing; the others are scaled up for it.
        grown = torch.sqrt(chosen.sum(-1).view(-1, 1, 1) / n_seen.clamp(min=1))
        if reach:
            series = F.pad(series, (reach, reach))
        mixed = (mixing @ series.flatten(1)).view(-1, n_samples, n_timepoints + 2 * reach) * grown
        response = self._convolve(mixed, i, j, dilation)  # (G / 2, K, B, L)

        largest, smallest = response.amax(1, keepdim=True), response.amin(1, keepdim=True)
        window = window.unsqueeze(1)
        gain = torch.where(window & (largest > _FLAT), largest, math.inf)
        loss = torch.where(window & (largest - smallest > _FLAT), smallest, -math.inf)
        # In place and in floats: a third of the time of a comparison that gives booleans.
        soft = response.clone().eq_(gain).mul_(largest).sum(-1)  # (G / 2, K, B)
        hard = response.clone().eq_(loss).sum(-1)
        # NOTE[DIFF]: the paper counts; we count per window, times L, so that a gap or a shorter
        # sample does not read as fewer wins.
        per_window = (self.n_timepoints / n_windows.clamp(min=1)).unsqueeze(1)
        counts = [(soft * per_window).sqrt(), (hard * per_window).sqrt()]
        if self.pooled:
            counts += _pool(response, window, n_windows)
        block = torch.stack(counts).flatten(0, 2).T  # (counts, G / 2, K, B) -> (B, ...)
        known = (n_windows > 0).T.repeat_interleave(self.n_kernels, 1)
        return block, known.repeat(1, len(counts))

    def _convolve(self, mixed: Tensor, i: int, j: int, dilation: int) -> Tensor:
        """Responses of the kernels, (G / 2, B, L + padding) -> (G / 2, K, B, L)."""
        # A batched matrix product over the taps: three times as fast as conv1d with groups.
        taps = mixed.unfold(-1, (self.n_taps - 1) * dilation + 1, 1)[..., ::dilation]
        taps = taps.permute(0, 3, 1, 2)  # (G / 2, B, L, P) -> (G / 2, P, B, L)
        return torch.bmm(self.weight[i, j], taps.flatten(2)).unflatten(-1, taps.shape[2:])

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
            Finite; 0 where nothing is known.
        """
        scaled = (features - self.mean) * self.scale
        return torch.where(features.isnan(), 0.0, scaled.clamp(-_FAR, _FAR))

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
        return self.standardize(self.featurize(values, observed))


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
    """Straight lines over the gaps of each channel, zeros outside of them, and what is not outside.

    No window counts on the strength of a bridge: it keeps a gap from looking like a jump to zero.
    """
    n_timepoints = series.shape[-1]
    t = torch.arange(n_timepoints, device=series.device).expand_as(series)
    before = torch.where(observed, t, -1).cummax(-1).values
    after = torch.where(observed, t, n_timepoints).flip(-1).cummin(-1).values.flip(-1)
    left = series.gather(-1, before.clamp(min=0))
    right = series.gather(-1, after.clamp(max=n_timepoints - 1))
    share = (t - before) / (after - before).clamp(min=1)
    bridge = torch.where(observed, series, torch.lerp(left, right, share.to(series.dtype)))
    inside = (before >= 0) & (after < n_timepoints)
    return torch.where(inside, bridge, 0.0), inside


def _levels(series: Tensor, observed: Tensor, changes: Tensor, covered: Tensor) -> Tensor:
    """Statistics of each channel over its observed timepoints, (B, 5 C)."""
    n = observed.sum(-1).clamp(min=1)
    mean = (series * observed).sum(-1) / n
    variance = ((series - mean.unsqueeze(-1)).square() * observed).sum(-1) / n
    smallest = torch.where(observed, series, math.inf).amin(-1)
    largest = torch.where(observed, series, -math.inf).amax(-1)
    pairs = covered == 1
    change = (changes.abs() * pairs).sum(-1) / pairs.sum(-1).clamp(min=1)
    statistics = torch.stack([mean, variance.sqrt(), smallest, largest, change])  # (5, C, B)
    return torch.where(observed.any(-1), statistics, 0.0).flatten(0, 1).T


def _pool(response: Tensor, window: Tensor, n_windows: Tensor) -> list[Tensor]:
    """MultiRocket's statistics of the positive responses of each kernel, four of (G / 2, K, B)."""
    t = torch.arange(response.shape[-1], device=response.device, dtype=response.dtype)
    first = torch.where(window, t, math.inf).amin(-1)
    last = torch.where(window, t, -math.inf).amax(-1)
    n_windows = n_windows.unsqueeze(1)
    extent = torch.where(n_windows > 0, (last - first).clamp(min=1), 1.0)
    first = torch.where(n_windows > 0, first, 0.0)

    positive = response.gt(_FLAT) & window
    n_positive = positive.sum(-1)
    n_runs = (positive & ~F.pad(positive[..., :-1], (1, 0))).sum(-1)
    share = n_positive / n_windows.clamp(min=1)
    value = (response * positive).sum(-1) / n_positive.clamp(min=1)
    position = ((positive * t).sum(-1) / n_positive.clamp(min=1) - first) / extent
    position = torch.where(n_positive > 0, position, 0.5)
    # NOTE[DIFF]: MultiRocket takes the longest run; the mean run needs no scan over time.
    length = n_positive / n_runs.clamp(min=1) / n_windows.clamp(min=1)
    return [share, value, position, length.sqrt()]
