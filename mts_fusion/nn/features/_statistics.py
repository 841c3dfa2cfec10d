"""Summary statistics of a modality as fixed features, each as the normal score of its rank.

Sizes: B batch, L timepoints, C channels, F statistics of a modality, Q quantiles.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor

from mts_fusion.nn.layers import is_exporting, sorted_index
from mts_fusion.panel._schema import Modality

from ._base import FeatureBlock
from ._sorting import sort_values
from ._symbols import symbol_values

__all__ = ["RankedFeatures", "StatisticFeatures", "channel_statistics"]

_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_LAGS = (1, 2, 4, 8, 16, 32)
_N_LOG_BANDS = 10
_N_LINEAR_BANDS = 4

# Spread below which a channel counts as constant, in units of its spread in training: without it
# the shape statistics of a resting sensor are those of its noise.
_MIN_SPREAD = 0.05

# The values of a series of so few timepoints are features too.
_SHORT = 16

# Quantiles of each statistic in training, and the tail in which all ranks count as equal.
_N_KNOTS = 65
_TAIL = 0.01

# Values of a statistic are equal if they differ by less than this share of its mean size: far more
# than sums in another order do.
_ROUNDING = 1e-4

# The number of correlations is the square of C; above this many channels they are left out.
_MAX_CORRELATED = 24

# Statistics of a channel, in the order of `channel_statistics`.
_NAMES = (
    *("mean", "sd", "log_sd", "mean_abs_diff", "log_mean_abs_diff", "skewness", "log_kurtosis"),
    *("first", "last", "trend", "observed_fraction"),
    *(f"autocorrelation{lag}" for lag in _LAGS),
    "spectral_centroid",
    *(f"q{round(100 * q):02d}" for q in _QUANTILES),
    *(f"log_power_log_band{band}" for band in range(_N_LOG_BANDS)),
    *(f"log_power_linear_band{band}" for band in range(_N_LINEAR_BANDS)),
)


class RankedFeatures(FeatureBlock):
    """Abstract: features each of which becomes the normal score of its rank in training.

    Ranks, as the thresholds of a tree, do not depend on how far beyond the training samples a
    subject lies.
    """

    knots: Tensor
    scores: Tensor

    def _make_ranks(self, n_features: int) -> None:
        """Buffers for so many features; the identity within four deviations until `fit`."""
        self.n_features = n_features
        self.block_widths = [n_features]
        identity = torch.linspace(-4, 4, _N_KNOTS).repeat(n_features, 1)
        self.register_buffer("knots", identity)  # (F, Q): quantiles in training
        self.register_buffer("scores", identity.clone())  # their normal scores

    @torch.no_grad()
    def fit(self, features: Tensor) -> None:
        """Learn the quantiles of the statistics in training.

        Parameters
        ----------
        features : Tensor of shape (n, F)
            From `compute`.
        """
        knots = _knots(features)
        size = features.abs().nan_to_num(0.0).mean(0).unsqueeze(-1)
        # Quantiles that are equal but for rounding have the mean of their ranks; a nearly constant
        # statistic scores 0.
        equal = _ROUNDING * size + 1e-7
        first = torch.searchsorted(knots, knots - equal)
        last = torch.searchsorted(knots, knots + equal, right=True) - 1
        rank = ((first + last) / (2 * (_N_KNOTS - 1))).clamp(_TAIL, 1 - _TAIL)
        scores = math.sqrt(2) * torch.erfinv(2 * rank - 1)
        constant = knots[:, -1:] - knots[:, :1] <= 1e-4 * size + 1e-6
        self.knots.copy_(knots)
        self.scores.copy_(scores.masked_fill(constant, 0.0))

    def standardize(self, features: Tensor) -> Tensor:
        """Normal scores of the statistics.

        Parameters
        ----------
        features : Tensor of shape (B, F)
            From `compute`.

        Returns
        -------
        Tensor of shape (B, F)
            NaN where they were.
        """
        scores = _normal_scores(features, self.knots, self.scores)
        return scores.masked_fill(features.isnan(), torch.nan)


class StatisticFeatures(RankedFeatures):
    """Summary statistics of the channels of one modality, taken over what was observed.

    Level, spread, quantiles, shape, autocorrelation, spectrum and correlations between channels
    (:func:`channel_statistics`), each as the normal score of its rank in training. Ranks, as the
    thresholds of a tree, do not depend on how far beyond the training samples a subject lies.

    Parameters
    ----------
    modality : Modality
        What the statistics are of.

    Attributes
    ----------
    n_features : int
        Number of features F.
    block_widths : list of int
        ``[F]``.

    Notes
    -----
    Input: ``values (B, L, C)`` numbers in units of the spread of the channel, or integer tokens;
    ``observed (B, L, C)`` bool; ``times (B, L)`` seconds or None. Output: ``(B, F)``. A modality of
    at most 16 timepoints has its values as features too.

    Examples
    --------
    >>> block = StatisticFeatures(Modality("acc", 3, 8))
    >>> raw = block.compute(torch.randn(20, 8, 3), torch.ones(20, 8, 3, dtype=torch.bool))
    >>> block.fit(raw)
    >>> block.standardize(raw).shape
    torch.Size([20, 144])
    """

    bands: Tensor
    symbols: Tensor | None

    def __init__(self, modality: Modality) -> None:
        super().__init__()
        self.modality = modality
        vocabulary = modality.vocabulary
        self.register_buffer("bands", _band_weights(modality.n_timepoints))
        self.register_buffer("symbols", None if vocabulary is None else symbol_values(vocabulary))
        self._make_ranks(len(self.feature_names()))

    def compute(self, values: Tensor, observed: Tensor, times: Tensor | None = None) -> Tensor:
        """Raw statistics.

        Parameters
        ----------
        values : Tensor of shape (B, L, C)
            Finite numbers, or integer tokens.
        observed : Tensor of shape (B, L, C)
            Bool: where a value was observed.
        times : Tensor of shape (B, L) or None, default=None
            Seconds; None for a regular clock.

        Returns
        -------
        Tensor of shape (B, F)
            NaN for a channel that was not observed.
        """
        x = values if self.symbols is None else self.symbols[values]
        statistics = channel_statistics(x, observed, self.bands, times)
        n_timepoints = self.modality.n_timepoints
        if n_timepoints > _SHORT:
            return statistics
        points = torch.where(observed, x, torch.nan)[:, :n_timepoints]  # padding, if any, is cut
        points = F.pad(points, (0, 0, 0, n_timepoints - points.shape[1]), value=torch.nan)
        return torch.cat([statistics, points.flatten(1)], 1)

    @classmethod
    def compute_together(
        cls,
        blocks: Sequence[Any],
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None],
    ) -> list[Tensor] | None:
        """Raw features of one complete sample of several modalities, see :class:`FeatureBlock`."""
        if any(t is not None for t in times):
            return None
        # Modalities become samples: their statistics are all alike.
        together = blocks[0].compute(torch.cat(list(values)), torch.cat(list(observed)))
        return list(together.unsqueeze(1).unbind(0))

    def feature_names(self) -> list[str]:
        """A name for each feature: channel and statistic, pair of channels, or timepoint.

        Returns
        -------
        list of str
            Of length F.
        """
        channels = range(self.modality.n_channels)
        names = [f"{c}__{statistic}" for c in channels for statistic in _NAMES]
        if 1 < len(channels) <= _MAX_CORRELATED:
            names += [f"{a}_{b}__correlation" for a in channels for b in channels if a < b]
        if self.modality.n_timepoints <= _SHORT:
            names += [f"{c}__value{t}" for t in range(self.modality.n_timepoints) for c in channels]
        return names


def channel_statistics(
    x: Tensor, observed: Tensor, bands: Tensor, times: Tensor | None = None
) -> Tensor:
    """Statistics of each channel, and correlations between them, over what was observed.

    Mean, spread, their logarithms, mean absolute difference, skewness, kurtosis, quantiles, first
    and last value, correlation with time, autocorrelations, log power in bands, spectral centroid
    and observed share.

    Parameters
    ----------
    x : Tensor of shape (B, L, C)
        Numbers in units of the spread of the channel.
    observed : Tensor of shape (B, L, C)
        Bool. The rest of ``x`` is not read, and padding changes nothing.
    bands : Tensor of shape (n_fft // 2 + 1, n_bands)
        Weights of the frequencies in each band.
    times : Tensor of shape (B, L) or None, default=None
        Seconds; None for a regular clock.

    Returns
    -------
    Tensor of shape (B, F)
        NaN where a channel was not observed.

    Examples
    --------
    >>> x = torch.randn(2, 8, 3)
    >>> channel_statistics(x, torch.ones(2, 8, 3, dtype=bool), _band_weights(8)).shape
    torch.Size([2, 120])
    """
    observed = observed.transpose(1, 2).contiguous()  # (B, L, C) -> (B, C, L)
    x = torch.where(observed, x.transpose(1, 2), 0).contiguous()
    mask = observed.to(x.dtype)
    n_channels, length = x.shape[1:]
    absent = ~observed.any(-1)
    count = mask.sum(-1)
    n = count.clamp(min=1)

    mean = x.sum(-1) / n
    c = (x - mean.unsqueeze(-1)) * mask
    square = c * c
    spread = (square.sum(-1) / n).sqrt()
    scale = spread + _MIN_SPREAD
    both = mask[..., 1:] * mask[..., :-1]
    step = ((x[..., 1:] - x[..., :-1]).abs() * both).sum(-1) / both.sum(-1).clamp(min=1)
    skew = (square * c).sum(-1) / n / scale**3
    # Squared twice: a fourth power has other last bits in a batch of another size.
    kurtosis = (square * square).sum(-1) / n / scale.square().square()
    index = torch.arange(length, device=x.device)
    first = x.gather(-1, torch.where(observed, index, length - 1).amin(-1, keepdim=True)).squeeze(
        -1
    )
    last = x.gather(-1, torch.where(observed, index, 0).amax(-1, keepdim=True)).squeeze(-1)
    clock = index.to(x.dtype).expand(x.shape[0], -1) if times is None else times
    clock = clock.unsqueeze(1)
    clock = (clock - (clock * mask).sum(-1, keepdim=True) / n.unsqueeze(-1)) * mask
    trend = (c * clock).sum(-1) / n / scale
    trend = trend / ((clock * clock).sum(-1) / n + 1e-12).sqrt()
    each = [
        mean,
        spread,
        scale.log(),
        step,
        (step + _MIN_SPREAD).log(),
        skew,
        (kurtosis + 1e-3).log(),
    ]
    each += [first, last, trend, count / _n_fft(bands)]
    for lag in _LAGS:
        if lag < min(length, _n_fft(bands)):
            pair = (mask[..., lag:] * mask[..., :-lag]).sum(-1).clamp(min=1)
            each.append((c[..., lag:] * c[..., :-lag]).sum(-1) / pair / scale**2)
        else:
            each.append(torch.zeros_like(mean))

    power = _power(c, _n_fft(bands)) / n.unsqueeze(-1)
    grid = torch.linspace(0, 1, power.shape[-1], device=x.device, dtype=x.dtype)
    each.append((power * grid).sum(-1) / (power.sum(-1) + _MIN_SPREAD**2))
    in_bands = (power @ bands.to(x.dtype) + _MIN_SPREAD**2).log()

    statistics = torch.cat([torch.stack(each, -1), _quantiles(x, observed, n), in_bands], -1)
    flat = statistics.masked_fill(absent.unsqueeze(-1), torch.nan).flatten(1)
    if not 1 < n_channels <= _MAX_CORRELATED:
        return flat
    above = torch.triu_indices(n_channels, n_channels, 1, device=x.device)
    together = (mask @ mask.transpose(1, 2))[:, above[0], above[1]]
    covariance = (c @ c.transpose(1, 2))[:, above[0], above[1]] / together.clamp(min=1)
    correlation = covariance / (scale[:, above[0]] * scale[:, above[1]])
    return torch.cat([flat, correlation.masked_fill(together == 0, torch.nan)], 1)


def _knots(raw: Tensor) -> Tensor:
    """Quantiles of each column over what is not NaN, ``(F, Q)``; zeros where all is NaN."""
    ordered = sort_values(raw.T)  # (F, B), NaN last
    last = ((~raw.isnan()).sum(0) - 1).clamp(min=0).unsqueeze(-1)
    position = torch.linspace(0, 1, _N_KNOTS, device=raw.device) * last
    low = position.floor().long()
    high = torch.minimum(low + 1, last)
    below = ordered.gather(1, low)
    knots = below + (ordered.gather(1, high) - below) * (position - low)
    return knots.nan_to_num(0.0)


def _normal_scores(raw: Tensor, knots: Tensor, scores: Tensor) -> Tensor:
    """Scores of numbers ``(B, F)``, linear between knots ``(F, Q)``, constant beyond them."""
    column = raw.nan_to_num(0.0).T.contiguous()  # (F, B)
    high = sorted_index(knots, column).clamp(1, knots.shape[1] - 1)
    left, right = knots.gather(1, high - 1), knots.gather(1, high)
    fraction = ((column - left) / (right - left).clamp(min=1e-12)).clamp(0, 1)
    return torch.lerp(scores.gather(1, high - 1), scores.gather(1, high), fraction).T


def _quantiles(x: Tensor, observed: Tensor, n: Tensor) -> Tensor:
    """Quantiles of the observed values, ``(B, C, 7)``, interpolated."""
    ordered = sort_values(torch.where(observed, x, torch.inf))
    position = torch.tensor(_QUANTILES, device=x.device, dtype=x.dtype) * (n.unsqueeze(-1) - 1)
    low = position.floor().long()
    high = torch.minimum(low + 1, (n.unsqueeze(-1) - 1).long())
    below = ordered.gather(-1, low)
    quantiles = below + (ordered.gather(-1, high) - below) * (position - low)
    return torch.where(observed.any(-1, keepdim=True), quantiles, 0)


def _n_fft(bands: Tensor) -> int:
    return max(1, 2 * (bands.shape[0] - 1))


def _power(c: Tensor, n_fft: int) -> Tensor:
    """Power at the frequencies of an ``n_fft``-point transform, however long the input is."""
    if is_exporting():
        return _power_by_products(c, n_fft)
    factor = -(-c.shape[-1] // n_fft)
    spectrum = torch.fft.rfft(c, n=factor * n_fft)[..., ::factor]  # longer, then every nth: same
    return spectrum.real.square() + spectrum.imag.square()


def _power_by_products(c: Tensor, n_fft: int) -> Tensor:
    """As `_power`, without complex numbers; in float64, since the sums have another order."""
    index = torch.arange(c.shape[-1], device=c.device).unsqueeze(1)
    turns = index * torch.arange(n_fft // 2 + 1, device=c.device) % n_fft
    angle = turns.double() * (2 * math.pi / n_fft)
    power = (c.double() @ angle.cos()).square() + (c.double() @ angle.sin()).square()
    return power.to(c.dtype)


def _band_weights(n_timepoints: int) -> Tensor:
    """Weights ``(n_fft // 2 + 1, 14)``: ten bands even in log frequency, then four even ones."""
    n_fft = n_timepoints + n_timepoints % 2
    n_bins = n_fft // 2 + 1
    weights = torch.zeros(n_bins, _N_LOG_BANDS + _N_LINEAR_BANDS)
    if n_bins < 2:
        return weights
    frequency = torch.arange(1, n_bins) / n_fft
    centers = torch.linspace(math.log(1 / n_fft), math.log(0.5), _N_LOG_BANDS)
    width = max(float(centers[1] - centers[0]), 1e-6)
    near = (frequency.log().unsqueeze(1) - centers).abs()
    triangles = (1 - near / width).clamp(min=0)
    nearest = F.one_hot(near.argmin(0), n_bins - 1).T.to(triangles.dtype)
    weights[1:, :_N_LOG_BANDS] = torch.where(triangles.sum(0) > 1e-6, triangles, nearest)
    parts = torch.arange(1, n_bins).tensor_split(_N_LINEAR_BANDS)
    for band, part in enumerate(parts, start=_N_LOG_BANDS):
        weights[part, band] = 1
    return weights / weights.sum(0).clamp(min=1e-6)
