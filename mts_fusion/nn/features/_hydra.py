"""Fixed features after Hydra: random convolutions whose kernels compete in groups.

Sizes beside the usual ones: G groups, K kernels per group, P taps per kernel, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from ._convolution import RandomConvolutions, Response
from ._stacked import compute_stacked

__all__ = ["HydraFeatures"]

# Responses this near to zero, or to each other, are rounding noise: no kernel wins there.
_FLAT = 1e-4

# Most channels that a group adds up.
_MAX_CHANNELS = 8


class HydraFeatures(RandomConvolutions):
    """Random-convolution features of one modality after Hydra, over observed timepoints only.

    In each group of kernels the kernels compete at every window [1]_: the one with the largest
    response gets that response added to its count, the one with the smallest gets a one. Counts
    are taken at several dilations, on the series and on its first difference, and their square
    root is the feature. Nothing is trained: the kernels are drawn once, from ``seed``.

    Parameters
    ----------
    modality : Modality
        What the features are of. Its timepoints bound kernel size and dilations; samples of any
        other length can be passed. Its symbols, if any, become their centers, or equally spaced
        numbers in [-1.5, 1.5] where its vocabulary has none.
    n_groups : int
        Groups G, half of them on the series and half on its difference. Features grow linearly.
        Each adds up channels of its own, half of them and at most 8, with signs of its own.
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
    Input: ``values (B, L, C)`` numbers (any finite number where not observed) or integer tokens,
    ``observed (B, L, C)`` bool. Output: ``(B, F)``. Channels should be of comparable scale. Which
    windows are valid is described in :class:`RandomConvolutions`.

    References
    ----------
    .. [1] Dempster, Schmidt and Webb, "Hydra: competing convolutional kernels for fast and
       accurate time series classification", Data Mining and Knowledge Discovery, 2023.
       https://arxiv.org/abs/2203.13652

    Examples
    --------
    >>> from mts_fusion.panel._schema import Modality
    >>> block = HydraFeatures(Modality("acc", 3, 50), n_groups=64)
    >>> block(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=torch.bool)).shape
    torch.Size([2, 3072])
    """

    _STATISTICS = ("soft_maximum", "hard_minimum")

    @classmethod
    def compute_together(
        cls,
        blocks: Sequence[Any],
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None],
    ) -> list[Tensor] | None:
        """Raw features of one complete sample of several modalities, see :class:`FeatureBlock`."""
        return compute_stacked(blocks, values)

    def _draw(
        self, shape: tuple[int, int, int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        weight = torch.randn(*shape, self._N_KERNELS, self.n_taps, generator=generator)
        # NOTE[DIFF]: all kernels of the paper sum to zero; a quarter of ours (half of those on the
        # series) do not, so that they compete for levels too. A lone tap cannot sum to zero.
        level = torch.zeros(shape, dtype=torch.bool)
        level[:, 0, : shape[2] // 2] = True
        level |= self.n_taps == 1
        weight = torch.where(level[..., None, None], weight, weight - weight.mean(-1, keepdim=True))
        weight = weight / weight.abs().sum(-1, keepdim=True)

        order = torch.rand(*shape, self.n_channels, generator=generator).argsort(-1)
        signs = torch.randint(0, 2, (*shape, self.n_channels), generator=generator) * 2 - 1
        # NOTE[DIFF]: the authors' code draws channels with replacement and adds them up; we draw
        # without replacement and with random signs, so that differences of channels occur too.
        n_mixed = min(max(self.n_channels // 2, 2), _MAX_CHANNELS)
        return weight, (order < n_mixed) * signs.float()

    def _pool(self, response: Response, bias: Tensor) -> list[Tensor]:
        """Soft count of the largest response, hard count of the smallest."""
        values, valid, n_valid = response
        largest, smallest = values.amax(1, keepdim=True), values.amin(1, keepdim=True)
        valid = valid.unsqueeze(1)
        gain = torch.where(valid & (largest > _FLAT), largest, math.inf)
        loss = torch.where(valid & (largest - smallest > _FLAT), smallest, -math.inf)
        # In place and in floats: a third of the time of a comparison that gives booleans.
        soft = values.clone().eq_(gain).mul_(largest).sum(2)  # (G / 2, K, B)
        hard = values.eq_(loss).sum(2)
        # NOTE[DIFF]: the paper counts; we count per window, times L, so that a gap or a shorter
        # sample does not read as fewer wins.
        per_window = (self.n_timepoints / n_valid.clamp(min=1)).unsqueeze(1)
        return [(soft * per_window).sqrt(), (hard * per_window).sqrt()]
