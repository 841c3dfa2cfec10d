"""Features of one modality from random convolutions: how much of a sample lies above a bias.

Sizes beside the usual ones: G groups, K kernels per group, P taps per kernel, F features.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

from mts_fusion.panel._schema import Vocabulary

from ._convolution import RandomConvolutions, Response
from ._sorting import sort_values

__all__ = ["Rocket"]

# Biases are quantiles between these.
_QUANTILES = (0.05, 0.95)

# Responses of a kernel from which its quantile is learnt; of more, timepoints evenly apart.
_N_RESPONSES = 16_384

# Responses of a flat series differ by rounding, and by less than this.
_FLAT = 1e-4

# Spread of the logarithm of the weights with which a group adds its channels up.
_SPREAD = 1.5


class Rocket(RandomConvolutions):
    """Shares and runs of random convolutions of one modality, over its observed timepoints only.

    Of each kernel: the share of windows whose response is above a bias [1]_, and how long the
    others last, after the longest run of [2]_. The biases are quantiles of the responses in
    training (:meth:`fit_biases`). Both say where and how long, not how much, so that a subject
    who moves harder than all others is no stranger.

    Parameters
    ----------
    n_channels : int
        Channels C.
    n_timepoints : int
        Timepoints L of the longest sample. It bounds kernel size and dilations; samples of any
        other length can be passed.
    n_groups : int, default=32
        Groups G, half of them on the series and half on its difference. Features grow linearly.
    n_kernels : int, default=8
        Kernels K of a group.
    vocabulary : Vocabulary or None, default=None
        The symbols of the values. Symbols become their centers, or equally spaced numbers in
        [-1, 1] where the vocabulary has none.
    scale : sequence of C float or None, default=None
        What the values of each channel have been divided by. Channels then add up as they were
        before, each as loud as its unit makes it. None draws how loud each is in each group.
    seed : int, default=0
        Seed of kernels and quantiles. The same seed and sizes give the same.

    Attributes
    ----------
    n_features : int
        Number of features F.
    block_sizes : list of int
        Features of each dilation.

    Raises
    ------
    ValueError
        If a size is below 1, ``n_groups`` is odd, or there is not one scale above 0 a channel.

    Notes
    -----
    Input: ``values (B, L, C)`` numbers (any finite number where not observed) or integer tokens,
    ``observed (B, L, C)`` bool. Output: ``(B, F)``. Which windows count is said in
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
    >>> rocket = Rocket(n_channels=3, n_timepoints=50)
    >>> x, seen = torch.randn(8, 50, 3), torch.ones(8, 50, 3, dtype=torch.bool)
    >>> rocket.fit_biases(x, seen)
    >>> rocket(x, seen).shape
    torch.Size([8, 1536])
    """

    _N_STATISTICS = 2

    bias: Tensor
    quantile: Tensor

    def __init__(
        self,
        n_channels: int,
        n_timepoints: int,
        *,
        n_groups: int = 32,
        n_kernels: int = 8,
        vocabulary: Vocabulary | None = None,
        scale: Sequence[float] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__(
            n_channels,
            n_timepoints,
            n_groups=n_groups,
            n_kernels=n_kernels,
            vocabulary=vocabulary,
            seed=seed,
        )
        if scale is not None:
            mixing = (self.mixing != 0) * _checked(scale, n_channels)
            self.mixing.copy_(mixing / mixing.amax(-1, keepdim=True))
        generator = torch.Generator().manual_seed(seed + 1)
        low, high = _QUANTILES
        quantile = low + (high - low) * torch.rand(self.weight.shape[:4], generator=generator)
        self.register_buffer("quantile", quantile)
        self.register_buffer("bias", torch.zeros_like(quantile))

    def _draw(
        self, shape: tuple[int, int, int], generator: torch.Generator
    ) -> tuple[Tensor, Tensor]:
        # Three taps of 2 and six of -1, as in MiniRocket; with fewer taps, a third of them.
        n_high = max(1, self.n_taps // 3)
        order = torch.rand(*shape, self.n_kernels, self.n_taps, generator=generator).argsort(-1)
        weight = (order < n_high).float()
        if self.n_taps > 1:  # a lone tap cannot sum to zero
            weight = weight - weight.mean(-1, keepdim=True)

        exponent = torch.rand(shape, generator=generator)
        n_mixed = ((self.n_channels + 1) ** exponent).long().clamp(1, self.n_channels)
        chosen = torch.rand(*shape, self.n_channels, generator=generator).argsort(-1).argsort(-1)
        # NOTE[DIFF]: MultiRocket adds channels up as they come. Where they have been scaled and
        # nobody knows by how much, we draw weights: any of them may be the loud one.
        loudness = (torch.randn(*shape, self.n_channels, generator=generator) * _SPREAD).exp()
        return weight, (chosen < n_mixed.unsqueeze(-1)) * loudness

    @torch.no_grad()
    def fit_biases(self, values: Tensor, observed: Tensor) -> None:
        """Learn the biases, quantiles of the responses where a window counts.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Some training samples: finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C), bool
            Where a value was observed.
        """
        _, seen, sources = self._sources(values, observed)
        step = math.ceil(values.shape[0] * values.shape[1] / _N_RESPONSES)
        for i in range(len(self.dilations)):
            for j, (x, covered) in enumerate(sources):
                response = self._respond(x, covered, seen.any(1), i, j)
                window = response.window[:, ::step].flatten(1).unsqueeze(1)  # (G / 2, 1, B L)
                responses = response.values[:, :, ::step].flatten(2)
                ordered = sort_values(torch.where(window, responses, torch.inf))
                n_windows = window.sum(-1)  # (G / 2, 1)
                place = (self.quantile[i, j] * (n_windows - 1)).clamp(min=0).long()
                place = torch.stack([place, torch.minimum(place + 1, (n_windows - 1).clamp(min=0))])
                # Between two responses and off a flat stretch: rounding decides nothing.
                found = ordered.gather(-1, place.permute(1, 2, 0)).mean(-1) + _FLAT
                self.bias[i, j] = torch.where(n_windows > 0, found, 0.0)

    def _summarise(self, response: Response, i: int, j: int) -> list[Tensor]:
        """Share of windows above the bias, and how long the others last."""
        values, window, n_windows = response
        n = n_windows.clamp(min=1).unsqueeze(1)
        window = window.unsqueeze(1).to(torch.uint8)
        above = values.gt(self.bias[i, j, :, :, None, None]).view(torch.uint8) & window
        share = _sum(above, 1) / n
        # NOTE[DIFF]: MultiRocket has the longest run, which needs a scan over time and took most of
        # the time, and two statistics of the size of responses, which did worse on unseen people.
        return [share, _lasting(window ^ above) / n]


def _checked(scale: Sequence[float], n_channels: int) -> Tensor:
    """The scales, (C,)."""
    checked = torch.as_tensor(scale, dtype=torch.float64)
    if checked.shape != (n_channels,) or not bool((checked > 0).all()):
        raise ValueError(
            f"scale of Rocket is one number above 0 for each of {n_channels} channels, got "
            f"{list(scale)}."
        )
    return checked


def _lasting(below: Tensor) -> Tensor:
    """Runs of ones along L of ``(G / 2, K, L, B)``, uint8: how many are as long as 2, 4, 8, ...

    Counted at each place where a run of that length begins, and summed over the lengths: about the
    logarithm of how long a run lasts, without a scan over time.
    """
    longest = torch.zeros_like(below)  # at each place; adding bytes up costs less than summing
    length, n_timepoints = 1, below.shape[2]
    while 2 * length <= n_timepoints:
        below = below[:, :, :-length] & below[:, :, length:]
        length *= 2
        longest[:, :, : below.shape[2]] += below
    return _sum(longest, max(1, n_timepoints.bit_length() - 1))


def _sum(x: Tensor, largest: int) -> Tensor:
    """Sums along L of ``(G / 2, K, L, B)``, uint8 up to ``largest``.

    Halves are added up as bytes while they fit into one, which is faster than a wider sum.
    """
    while 2 * largest <= torch.iinfo(torch.uint8).max and x.shape[2] > 1:
        n_timepoints = x.shape[2]
        half = (n_timepoints + 1) // 2
        folded = x[:, :, :half].clone()
        folded[:, :, : n_timepoints - half] += x[:, :, half:]
        x, largest = folded, 2 * largest
    return x.sum(2, dtype=torch.int32)
