"""Fixed statistics of whole modalities, as tokens beside those learnt from their patches.

Sizes: M modalities, B batch, L timepoints, C channels, F statistics of a modality, D width.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.blocks._linear import AlignedLinear
from mts_fusion.nn.blocks._random import Dropout
from mts_fusion.nn.blocks._sorting import sort_values
from mts_fusion.panel._schema import Modality, Schema

__all__ = ["StatisticLogits", "StatisticTokens", "channel_statistics", "reveal"]

_QUANTILES = (0.0, 0.1, 0.25, 0.5, 0.75, 0.9, 1.0)
_LAGS = (1, 2, 4, 8, 16, 32)
_N_LOG_BANDS = 10
_N_LINEAR_BANDS = 4

# Spread below which a channel counts as still, in units of its spread in training: without it the
# shape statistics of a resting sensor are those of its noise.
_FLOOR = 0.05

# A series of so few timepoints is its own best summary: its values stand beside the statistics.
_SHORT = 16

# Quantiles of each statistic in training, and the share beyond which ranks are not told apart.
_N_KNOTS = 65
_TAIL = 0.01

# Correlations between channels grow with the square of C; above this many they are left out.
_MAX_CORRELATED = 24


class StatisticTokens(nn.Module):
    """One token a modality from statistics of its channels, taken over what was observed.

    What makes trees on summary statistics strong, as a token of the network: level, spread,
    quantiles, shape, autocorrelation, spectrum and correlations between channels
    (:func:`channel_statistics`), each as the normal score of its rank in training, mapped to
    width D. Ranks, as a tree's thresholds, do not care how far out a subject never seen lies.

    Parameters
    ----------
    schema : Schema
        The modalities.
    d_model : int
        Width D of the tokens.
    dropout : float, default=0.5
        Share of the statistics hidden in training. High: there are hundreds, and few samples.

    Notes
    -----
    The statistics are fixed, so they can be computed once for a whole training set:
    ``featurize(values, observed, times)`` gives a list of M Tensors ``(B, F)``, with NaN for what
    a silent channel does not tell; ``fit_features`` learns their quantiles, ``scale_features``
    gives the scores; after ``reveal``, ``forward`` makes tokens ``(B, M, D)`` of them.

    Examples
    --------
    >>> schema = Schema((Modality("acc", 3, 8),))
    >>> block = StatisticTokens(schema, 16).eval()
    >>> observed = [torch.ones(2, 8, 3, dtype=bool)]
    >>> features = block.featurize([torch.randn(2, 8, 3)], observed)
    >>> scaled = block.scale_features(features)
    >>> block(block.reveal(scaled, torch.ones(2, 1, dtype=bool))).shape
    torch.Size([2, 1, 16])
    """

    def __init__(self, schema: Schema, d_model: int, *, dropout: float = 0.5) -> None:
        super().__init__()
        self.schema = schema
        for m, modality in enumerate(schema):
            self.register_buffer(f"bands_{m}", _band_weights(modality.n_timepoints))
            if modality.vocabulary is not None:
                self.register_buffer(f"symbols_{m}", _symbol_values(modality))
        sizes = [self._raw(m, *_example(modality)).shape[1] for m, modality in enumerate(schema)]
        for m, size in enumerate(sizes):
            identity = torch.linspace(-4, 4, _N_KNOTS).repeat(size, 1)
            self.register_buffer(f"knots_{m}", identity)  # (F, Q): quantiles in training
            self.register_buffer(f"scores_{m}", identity.clone())  # their normal scores
        self.sizes = sizes
        self.places = list(range(len(schema)))
        self.project = nn.ModuleList(AlignedLinear(size, d_model) for size in sizes)
        self.norm = nn.LayerNorm(d_model)
        self.dropout = Dropout(dropout)

    def _raw(self, m: int, x: Tensor, seen: Tensor, times: Tensor | None = None) -> Tensor:
        if self.schema.modalities[m].vocabulary is not None:
            x = self.get_buffer(f"symbols_{m}")[x]
        found = channel_statistics(x, seen, self.get_buffer(f"bands_{m}"), times)
        n_timepoints = self.schema.modalities[m].n_timepoints
        if n_timepoints > _SHORT:
            return found
        points = torch.where(seen, x, torch.nan)[:, :n_timepoints]  # padding, if any, is cut
        missing = n_timepoints - points.shape[1]
        return torch.cat([found, F.pad(points, (0, 0, 0, missing), value=torch.nan).flatten(1)], 1)

    def featurize(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None] | None = None,
    ) -> list[Tensor]:
        """Statistics of each modality, ``(B, F)`` each."""
        clocks = [None] * len(values) if times is None else times
        return [
            self._raw(m, x, seen, clock)
            for m, (x, seen, clock) in enumerate(zip(values, observed, clocks, strict=True))
        ]

    def fit_features(self, features: Sequence[Tensor]) -> None:
        """Learn the quantiles of the statistics from those of the training set."""
        for m, raw in enumerate(features):
            knots = _knots(raw)
            size = raw.abs().nan_to_num(0.0).mean(0).unsqueeze(-1)
            # Equal quantiles share the mean of their ranks; what hardly moves says nothing.
            first = torch.searchsorted(knots, knots)
            last = torch.searchsorted(knots, knots, right=True) - 1
            share = ((first + last) / (2 * (_N_KNOTS - 1))).clamp(_TAIL, 1 - _TAIL)
            scores = math.sqrt(2) * torch.erfinv(2 * share - 1)
            still = knots[:, -1:] - knots[:, :1] <= 1e-4 * size + 1e-6
            self.get_buffer(f"knots_{m}").copy_(knots)
            self.get_buffer(f"scores_{m}").copy_(scores.masked_fill(still, 0.0))

    def scale_features(self, features: Sequence[Tensor]) -> list[Tensor]:
        """Normal scores of the statistics, NaN for what a silent channel does not tell."""
        each = []
        for m, raw in enumerate(features):
            x = _scores(raw, self.get_buffer(f"knots_{m}"), self.get_buffer(f"scores_{m}"))
            each.append(x.masked_fill(raw.isnan(), torch.nan))
        return each

    def reveal(self, scaled: Sequence[Tensor], available: Tensor) -> list[Tensor]:
        """Scores with 0 for what is absent; some hidden in training."""
        return [reveal(x, available[:, m], self.dropout) for m, x in enumerate(scaled)]

    def forward(self, features: Sequence[Tensor]) -> Tensor:
        """Tokens ``(B, M, D)`` of what :meth:`reveal` gave."""
        tokens = [project(x) for x, project in zip(features, self.project, strict=True)]
        return F.gelu(self.norm(torch.stack(tokens, 1)))


class StatisticLogits(nn.Module):
    """A vote of each modality, linear in its statistics; the mean over those that are there.

    The straight way beside the attention: it learns from few samples, and cannot learn by heart
    how modalities go together. Starts at 0.

    Parameters
    ----------
    sizes : sequence of int
        Statistics F of each of the M modalities.
    n_outputs : int
        Width of the votes.

    Notes
    -----
    Input: a list of M Tensors ``(B, F)`` and ``available (B, M)``; output ``(B, n_outputs)``,
    ``sqrt(M)`` times the mean of the votes.

    Examples
    --------
    >>> votes = StatisticLogits([7, 9], 3)
    >>> votes([torch.ones(2, 7), torch.ones(2, 9)], torch.ones(2, 2, dtype=bool)).shape
    torch.Size([2, 3])
    """

    def __init__(self, sizes: Sequence[int], n_outputs: int) -> None:
        super().__init__()
        self.vote = nn.ModuleList(AlignedLinear(size, n_outputs, bias=False) for size in sizes)
        for vote in self.vote:
            nn.init.zeros_(cast(AlignedLinear, vote).weight)

    def forward(self, features: Sequence[Tensor], available: Tensor) -> Tensor:
        """Votes of those that are there."""
        votes = torch.stack([vote(x) for x, vote in zip(features, self.vote, strict=True)], 1)
        there = available.to(votes.dtype)
        share = there / there.sum(1, keepdim=True).clamp(min=1)
        return math.sqrt(len(self.vote)) * (votes * share.unsqueeze(-1)).sum(1)


def channel_statistics(
    x: Tensor, seen: Tensor, bands: Tensor, times: Tensor | None = None
) -> Tensor:
    """Statistics of each channel, and correlations between them, over what was observed.

    Mean, spread, their logarithms, mean absolute difference, skewness, kurtosis, quantiles, first
    and last value, correlation with time, autocorrelations, log power in bands, spectral centroid
    and observed share.

    Parameters
    ----------
    x : Tensor of shape (B, L, C)
        Numbers in units of the spread of the channel.
    seen : Tensor of shape (B, L, C)
        Bool: what was observed. The rest of ``x`` is not read, and padding changes nothing.
    bands : Tensor of shape (n_fft // 2 + 1, n_bands)
        Weights of the frequencies in each band.
    times : Tensor of shape (B, L) or None, default=None
        Seconds; None for a regular clock.

    Returns
    -------
    Tensor of shape (B, F)
        NaN where a channel is silent.

    Examples
    --------
    >>> x = torch.randn(2, 8, 3)
    >>> channel_statistics(x, torch.ones(2, 8, 3, dtype=bool), _band_weights(8)).shape
    torch.Size([2, 120])
    """
    seen = seen.transpose(1, 2).contiguous()  # (B, L, C) -> (B, C, L)
    x = torch.where(seen, x.transpose(1, 2), 0).contiguous()
    mask = seen.to(x.dtype)
    n_channels, length = x.shape[1:]
    silent = ~seen.any(-1)
    count = mask.sum(-1)
    n = count.clamp(min=1)

    mean = x.sum(-1) / n
    c = (x - mean.unsqueeze(-1)) * mask
    square = c * c
    spread = (square.sum(-1) / n).sqrt()
    scale = spread + _FLOOR
    both = mask[..., 1:] * mask[..., :-1]
    step = ((x[..., 1:] - x[..., :-1]).abs() * both).sum(-1) / both.sum(-1).clamp(min=1)
    skew = (square * c).sum(-1) / n / scale**3
    # Squared twice: a fourth power has other last bits in a batch of another size.
    kurtosis = (square * square).sum(-1) / n / scale.square().square()
    place = torch.arange(length, device=x.device)
    first = x.gather(-1, torch.where(seen, place, length - 1).amin(-1, keepdim=True)).squeeze(-1)
    last = x.gather(-1, torch.where(seen, place, 0).amax(-1, keepdim=True)).squeeze(-1)
    clock = place.to(x.dtype).expand(x.shape[0], -1) if times is None else times
    clock = clock.unsqueeze(1)
    clock = (clock - (clock * mask).sum(-1, keepdim=True) / n.unsqueeze(-1)) * mask
    trend = (c * clock).sum(-1) / n / scale
    trend = trend / ((clock * clock).sum(-1) / n + 1e-12).sqrt()
    each = [mean, spread, scale.log(), step, (step + _FLOOR).log(), skew, (kurtosis + 1e-3).log()]
    each += [first, last, trend, count / _n_fft(bands)]
    for lag in _LAGS:
        if lag < min(length, _n_fft(bands)):
            pair = (mask[..., lag:] * mask[..., :-lag]).sum(-1).clamp(min=1)
            each.append((c[..., lag:] * c[..., :-lag]).sum(-1) / pair / scale**2)
        else:
            each.append(torch.zeros_like(mean))

    power = _power(c, _n_fft(bands)) / n.unsqueeze(-1)
    grid = torch.linspace(0, 1, power.shape[-1], device=x.device, dtype=x.dtype)
    each.append((power * grid).sum(-1) / (power.sum(-1) + _FLOOR**2))
    in_bands = (power @ bands.to(x.dtype) + _FLOOR**2).log()

    statistics = torch.cat([torch.stack(each, -1), _quantiles(x, seen, n), in_bands], -1)
    flat = statistics.masked_fill(silent.unsqueeze(-1), torch.nan).flatten(1)
    if not 1 < n_channels <= _MAX_CORRELATED:
        return flat
    above = torch.triu_indices(n_channels, n_channels, 1, device=x.device)
    together = (mask @ mask.transpose(1, 2))[:, above[0], above[1]]
    covariance = (c @ c.transpose(1, 2))[:, above[0], above[1]] / together.clamp(min=1)
    correlation = covariance / (scale[:, above[0]] * scale[:, above[1]])
    return torch.cat([flat, correlation.masked_fill(together == 0, torch.nan)], 1)


def reveal(scaled: Tensor, available: Tensor, dropout: nn.Module) -> Tensor:
    """Fixed features as a network sees them in a step.

    Parameters
    ----------
    scaled : Tensor of shape (B, F)
        Features of one modality, NaN where nothing is known.
    available : Tensor of shape (B,)
        Bool: whether the modality is there.
    dropout : Module
        What hides some of them in training.

    Returns
    -------
    Tensor of shape (B, F)
        Finite, 0 for what is absent.

    Examples
    --------
    >>> reveal(torch.tensor([[1.0, torch.nan]]), torch.tensor([True]), nn.Identity()).tolist()
    [[1.0, 0.0]]
    """
    shown = torch.where(available.unsqueeze(-1), scaled, 0.0).nan_to_num(0.0)
    return cast(Tensor, dropout(shown))


def _knots(raw: Tensor) -> Tensor:
    """Quantiles of each column over what is known, ``(F, Q)``; zeros where nothing is."""
    ordered = sort_values(raw.T)  # (F, B), NaN last
    last = ((~raw.isnan()).sum(0) - 1).clamp(min=0).unsqueeze(-1)
    place = torch.linspace(0, 1, _N_KNOTS, device=raw.device) * last
    low = place.floor().long()
    high = torch.minimum(low + 1, last)
    below = ordered.gather(1, low)
    knots = below + (ordered.gather(1, high) - below) * (place - low)
    return knots.nan_to_num(0.0)


def _scores(raw: Tensor, knots: Tensor, scores: Tensor) -> Tensor:
    """Scores of numbers ``(B, F)``, linear between knots ``(F, Q)``, constant beyond them."""
    column = raw.nan_to_num(0.0).T.contiguous()  # (F, B)
    high = torch.searchsorted(knots, column).clamp(1, knots.shape[1] - 1)
    left, right = knots.gather(1, high - 1), knots.gather(1, high)
    share = ((column - left) / (right - left).clamp(min=1e-12)).clamp(0, 1)
    return torch.lerp(scores.gather(1, high - 1), scores.gather(1, high), share).T


def _quantiles(x: Tensor, seen: Tensor, n: Tensor) -> Tensor:
    """Quantiles of the observed values, ``(B, C, 7)``, interpolated."""
    ordered = sort_values(torch.where(seen, x, torch.inf))
    place = torch.tensor(_QUANTILES, device=x.device, dtype=x.dtype) * (n.unsqueeze(-1) - 1)
    low = place.floor().long()
    high = torch.minimum(low + 1, (n.unsqueeze(-1) - 1).long())
    below = ordered.gather(-1, low)
    found = below + (ordered.gather(-1, high) - below) * (place - low)
    return torch.where(seen.any(-1, keepdim=True), found, 0)


def _n_fft(bands: Tensor) -> int:
    return max(1, 2 * (bands.shape[0] - 1))


def _power(c: Tensor, n_fft: int) -> Tensor:
    """Power at the frequencies of an ``n_fft``-point transform, however long the input is."""
    factor = -(-c.shape[-1] // n_fft)
    spectrum = torch.fft.rfft(c, n=factor * n_fft)[..., ::factor]  # longer, then every nth: same
    return spectrum.real.square() + spectrum.imag.square()


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


def _symbol_values(modality: Modality) -> Tensor:
    """The number for which each symbol stands; 0 for the missing one."""
    vocabulary = modality.vocabulary
    assert vocabulary is not None
    places = torch.linspace(-1.5, 1.5, vocabulary.size)
    centers = places if vocabulary.centers is None else torch.tensor(vocabulary.centers)
    values = torch.zeros(max(vocabulary.size, vocabulary.missing) + 1)
    values[1 : vocabulary.size + 1] = centers
    return values


def _example(modality: Modality) -> tuple[Tensor, Tensor]:
    shape = (1, modality.n_timepoints, modality.n_channels)
    kind = torch.float32 if modality.vocabulary is None else torch.int64
    return torch.zeros(shape, dtype=kind), torch.ones(shape, dtype=torch.bool)
