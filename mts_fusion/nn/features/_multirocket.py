"""Fixed features after MultiRocket: how often and how long responses of kernels exceed a bias.

Sizes beside the usual ones: G groups, K kernels per group, P taps per kernel, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mts_fusion.nn.layers import as_bytes, is_exporting
from mts_fusion.panel._schema import Modality

from ._convolution import RandomConvolutions, Response
from ._sorting import sort_values
from ._stacked import compute_stacked

__all__ = ["MultiRocketFeatures"]

# Biases are quantiles between these.
_QUANTILES = (0.05, 0.95)

# Responses of a kernel from which its quantile is learnt; of more, timepoints evenly apart.
_N_RESPONSES = 16_384

# Responses of a flat series differ by rounding, and by less than this.
_FLAT = 1e-4

# Spread of the logarithm of the weights with which a group adds its channels up.
_SPREAD = 1.5


class MultiRocketFeatures(RandomConvolutions):
    """Random-convolution features of one modality after MultiRocket, over observed timepoints only.

    Of each kernel: the proportion of positive values (PPV), that is the share of windows whose
    response is above a bias [1]_, and the run length of those below, after the longest run of
    [2]_. The biases are quantiles of the responses in training (:meth:`fit_biases`). Both
    statistics depend on when and how long a response exceeds its bias, not on its size, and so
    generalise to subjects whose signals are larger than any in training.

    Parameters
    ----------
    modality : Modality
        What the features are of. Its timepoints bound kernel size and dilations; samples of any
        other length can be passed. Its symbols, if any, become their centers, or equally spaced
        numbers in [-1.5, 1.5] where its vocabulary has none.
    n_groups : int
        Groups G, half of them on the series and half on its difference. Features grow linearly.
    scale : sequence of C float or None, default=None
        What the values of each channel have been divided by. Channels then add up as they were
        before, each with the weight of its unit. None draws the weight of each channel in each
        group.
    seed : int, default=0
        Seed of kernels and quantiles. The same seed and sizes give the same.

    Attributes
    ----------
    n_features : int
        Number of features F.
    block_widths : list of int
        Features of each dilation.

    Raises
    ------
    ValueError
        If ``n_groups`` is below 2 or odd, or there is not one scale above 0 a channel.

    Notes
    -----
    Input: ``values (B, L, C)`` numbers (any finite number where not observed) or integer tokens,
    ``observed (B, L, C)`` bool. Output: ``(B, F)``. Which windows are valid is described in
    :class:`RandomConvolutions`.

    References
    ----------
    .. [1] Dempster, Schmidt and Webb, "MiniRocket: a very fast (almost) deterministic transform
       for time series classification", KDD, 2021. https://arxiv.org/abs/2012.08791
    .. [2] Tan, Dempster, Bergmeir and Webb, "MultiRocket: multiple pooling operators and
       transformations for fast and effective time series classification", Data Mining and
       Knowledge Discovery, 2022. https://arxiv.org/abs/2102.00457

    Examples
    --------
    >>> block = MultiRocketFeatures(Modality("acc", 3, 50), n_groups=32)
    >>> x, observed = torch.randn(8, 50, 3), torch.ones(8, 50, 3, dtype=torch.bool)
    >>> block.fit_biases(x, observed)
    >>> block(x, observed).shape
    torch.Size([8, 1536])
    """

    _STATISTICS = ("ppv", "run_length")

    quantile: Tensor

    def __init__(
        self,
        modality: Modality,
        *,
        n_groups: int,
        scale: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(modality, n_groups=n_groups, seed=seed)
        if scale is not None:
            mixing = (self.mixing != 0) * _checked_scale(scale, self.n_channels)
            self.mixing.copy_(mixing / mixing.amax(-1, keepdim=True))
        generator = torch.Generator().manual_seed(seed + 1)
        low, high = _QUANTILES
        quantile = low + (high - low) * torch.rand(self.weight.shape[:4], generator=generator)
        self.register_buffer("quantile", quantile)

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
        # Three taps of 2 and six of -1, as in MiniRocket; with fewer taps, a third of them.
        n_high = max(1, self.n_taps // 3)
        order = torch.rand(*shape, self._N_KERNELS, self.n_taps, generator=generator).argsort(-1)
        weight = (order < n_high).float()
        if self.n_taps > 1:  # a lone tap cannot sum to zero
            weight = weight - weight.mean(-1, keepdim=True)

        exponent = torch.rand(shape, generator=generator)
        n_mixed = ((self.n_channels + 1) ** exponent).long().clamp(1, self.n_channels)
        chosen = torch.rand(*shape, self.n_channels, generator=generator).argsort(-1).argsort(-1)
        # NOTE[DIFF]: MultiRocket adds channels up as they come. Where they have been scaled
        # by unknown numbers, we draw weights: any of them may be the largest one.
        channel_weight = (torch.randn(*shape, self.n_channels, generator=generator) * _SPREAD).exp()
        return weight, (chosen < n_mixed.unsqueeze(-1)) * channel_weight

    @torch.no_grad()
    def fit_biases(self, values: Tensor, observed: Tensor) -> None:
        """Learn the biases, quantiles of the responses over the valid windows.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Some training samples: finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C), bool
            Where a value was observed.
        """
        observed, sources = self._series_and_difference(values, observed)
        step = math.ceil(values.shape[0] * values.shape[1] / _N_RESPONSES)
        for i in range(len(self.dilations)):
            for j, (x, coverage) in enumerate(sources):
                response = self._convolve(x, coverage, observed.any(1), i, j)
                valid = response.valid[:, ::step].flatten(1).unsqueeze(1)  # (G / 2, 1, B L)
                responses = response.values[:, :, ::step].flatten(2)
                ordered = sort_values(torch.where(valid, responses, torch.inf))
                n_valid = valid.sum(-1)  # (G / 2, 1)
                low = (self.quantile[i, j] * (n_valid - 1)).clamp(min=0).long()
                index = torch.stack([low, torch.minimum(low + 1, (n_valid - 1).clamp(min=0))])
                # Between two responses and off a flat stretch: rounding decides nothing.
                bias = ordered.gather(-1, index.permute(1, 2, 0)).mean(-1) + _FLAT
                self.bias[i, j] = torch.where(n_valid > 0, bias, 0.0)

    def _pool(self, response: Response, bias: Tensor) -> list[Tensor]:
        """Proportion of positive values, and the run length of the others."""
        values, valid, n_valid = response
        n = n_valid.clamp(min=1).unsqueeze(1)
        above = as_bytes(values.gt(bias[:, :, None, None]))
        valid = valid.unsqueeze(1).to(above.dtype)
        positive = above & valid
        ppv = _sum(positive, 1) / n
        # NOTE[DIFF]: MultiRocket has the longest run, which needs a scan over time and took most of
        # the time, and two statistics of the size of responses, which did worse on unseen people.
        return [ppv, _log_run_length(valid ^ positive) / n]


def _checked_scale(scale: Sequence[float], n_channels: int) -> Tensor:
    """The scales, (C,)."""
    checked = torch.as_tensor(scale, dtype=torch.float64)
    if checked.shape != (n_channels,) or not bool((checked > 0).all()):
        raise ValueError(
            f"scale of MultiRocketFeatures is one number above 0 for each of {n_channels} "
            f"channels, got {list(scale)}."
        )
    return checked


def _log_run_length(below: Tensor) -> Tensor:
    """Runs of ones along L of ``(G / 2, K, L, B)``, uint8: how many are as long as 2, 4, 8, ...

    Counted at each timepoint where a run of that length begins, and summed over the lengths: about
    the logarithm of the run length, without a scan over time.
    """
    # At each timepoint; adding bytes up costs less than summing.
    shape, n_timepoints = below.shape, below.shape[2]
    if shape[3] == 1:  # rows of one sample as samples of one row: slices along L are contiguous
        below = below.reshape(1, -1, n_timepoints).transpose(1, 2).contiguous().unsqueeze(1)
    n_runs = torch.zeros_like(below)
    length = 1
    while 2 * length <= n_timepoints:
        below = below[:, :, :-length] & below[:, :, length:]
        length *= 2
        if is_exporting():
            n_runs = n_runs + F.pad(below, (0, 0, 0, n_timepoints - below.shape[2]))
        else:
            n_runs[:, :, : below.shape[2]] += below
    counts = _sum(n_runs, max(1, n_timepoints.bit_length() - 1))
    return counts.view(shape[0], shape[1], 1) if shape[3] == 1 else counts


def _sum(x: Tensor, largest: int) -> Tensor:
    """Sums along L of ``(G / 2, K, L, B)``, uint8 up to ``largest``.

    Halves are added up as bytes while they fit into one, which is faster than a wider sum; not so
    for one sample, where L lies innermost.
    """
    if x.shape[3] == 1 or is_exporting():
        return x.sum(2, dtype=torch.int32)
    while 2 * largest <= torch.iinfo(torch.uint8).max and x.shape[2] > 1:
        n_timepoints = x.shape[2]
        half = (n_timepoints + 1) // 2
        folded = x[:, :, :half].clone()
        folded[:, :, : n_timepoints - half] += x[:, :, half:]
        x, largest = folded, 2 * largest
    return x.sum(2, dtype=torch.int32)
