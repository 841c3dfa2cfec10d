"""Scores of whole gaps: whether draws hang together, and whether bands hold what they promise.

Scores entry by entry, such as the CRPS, cannot see whether the draws of neighbouring entries go
together. What is computed from a filled gap (its mean, its maximum, a class) depends on it.

Sizes: S draws, n samples, C channels, L timepoints, G gaps.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..panel._arguments import as_floats, check_types
from ._imputation import _check_finite, _check_shape, _check_target

__all__ = [
    "band_coverage",
    "band_width",
    "energy_score",
    "gap_means",
    "lag_correlation",
    "variogram_score",
]

_CELLS = 2**24  # numbers held at a time


def energy_score(
    truth: ArrayLike, samples: ArrayLike, missing: ArrayLike, *, fair: bool = False
) -> float:
    """Mean energy score of the gaps of each sample; lower is better.

    ``E|X - y| - E|X - X'| / 2`` with the Euclidean distance between all missing entries of a sample
    at once [1]_: a continuous ranked probability score of joint draws.

    Parameters
    ----------
    truth : array-like of shape (n, ...)
        What the values were.
    samples : array-like of shape (S, n, ...)
        S draws of each value.
    missing : array-like of bool of shape (n, ...)
        The entries to score.
    fair : bool, default=False
        False: the score of the empirical distribution of the draws, which is worse the fewer they
        are. True: an unbiased estimate of the score of the distribution that they are drawn from,
        which does not count the distance of a draw from itself [2]_. Needs at least 2 draws.

    Returns
    -------
    float
        In units of the values, mean over the samples that miss something. It grows with the number
        of missing entries: compare it on the same gaps only, on channels in comparable units.

    Raises
    ------
    ValueError
        If shapes do not fit, nothing is missing, a scored value is not finite, or ``fair`` has a
        single draw.

    References
    ----------
    .. [1] Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation",
       Journal of the American Statistical Association, 2007.
    .. [2] Ferro, "Fair Scores for Ensemble Forecasts", Quarterly Journal of the Royal
       Meteorological Society, 2014.

    Examples
    --------
    >>> float(energy_score([[0.0, 0.0]], [[[3.0, 4.0]]], [[True, True]]))
    5.0
    """
    check_types(energy_score, locals())
    target, draws, scored = _check_draws(truth, samples, missing)
    n_draws, n = draws.shape[:2]
    if fair and n_draws < 2:
        raise ValueError("samples has 1 draw, but fair=True needs 2. Draw more, or set fair=False.")
    n_pairs = n_draws * (n_draws - 1 if fair else n_draws)
    total, n_scored = 0.0, 0
    chunk = max(_CELLS // max(n_draws * (n_draws + target.reshape(n, -1).shape[1]), 1), 1)
    for start in range(0, n, chunk):
        part = slice(start, start + chunk)
        mask = scored[part].reshape(len(scored[part]), -1)
        error = np.where(scored[part], draws[:, part] - target[part], 0.0)
        error = np.moveaxis(error.reshape(n_draws, len(mask), -1), 0, 1)  # (n, S, entries)
        square = (error**2).sum(2)
        products = error @ error.transpose(0, 2, 1)
        between = np.sqrt(np.maximum(square[:, :, None] + square[:, None] - 2 * products, 0.0))
        between[:, np.arange(n_draws), np.arange(n_draws)] = 0.0  # rounding, under the root
        score = np.sqrt(square).mean(1) - between.sum((1, 2)) / (2 * n_pairs)
        some = mask.any(1)
        total, n_scored = total + float(score[some].sum()), n_scored + int(some.sum())
    return total / n_scored


def variogram_score(
    truth: ArrayLike,
    samples: ArrayLike,
    missing: ArrayLike,
    *,
    p: float = 0.5,
    max_lag: int | None = None,
) -> float:
    """Mean variogram score of pairs of missing entries of one channel; lower is better.

    ``(|y_t - y_u|^p - E|X_t - X_u|^p)^2`` [1]_: whether neighbouring draws differ by as much as
    neighbouring values do.

    Parameters
    ----------
    truth : array-like of shape (n, C, L)
        What the values were.
    samples : array-like of shape (S, n, C, L)
        S draws of each value.
    missing : array-like of bool of shape (n, C, L)
        The entries to score.
    p : float, default=0.5
        Power of the differences, above 0.
    max_lag : int or None, default=None
        Pairs further apart in timepoints are left out; None takes all pairs.

    Returns
    -------
    float
        Mean over the pairs.

    Raises
    ------
    ValueError
        If shapes do not fit, ``p`` is not positive, no channel misses two entries near enough, or a
        scored value is not finite.

    References
    ----------
    .. [1] Scheuerer and Hamill, "Variogram-based proper scoring rules for probabilistic forecasts
       of multivariate quantities", Monthly Weather Review, 2015.

    Examples
    --------
    >>> variogram_score([[[0.0, 4.0]]], [[[[0.0, 1.0]]]], [[[True, True]]])
    1.0
    """
    check_types(variogram_score, locals())
    target, draws, scored = _check_draws(truth, samples, missing, n_axes=3)
    if not 0 < p < np.inf:
        raise ValueError(f"p is above 0, got {p!r}.")
    last = target.shape[2] - 1 if max_lag is None else min(max_lag, target.shape[2] - 1)
    total, n_pairs = 0.0, 0
    for lag in range(1, last + 1):
        pair = scored[..., lag:] & scored[..., :-lag]
        y = np.abs(target[..., lag:] - target[..., :-lag])[pair]
        x = np.abs(draws[..., lag:] - draws[..., :-lag])[:, pair]
        total += float(((y**p - (x**p).mean(0)) ** 2).sum())
        n_pairs += len(y)
    if not n_pairs:
        raise ValueError(
            "No channel misses two entries of one sample within max_lag, so there is no pair to "
            "score. Hide blocks, for instance with MissingnessMasker(pattern='block')."
        )
    return total / n_pairs


def lag_correlation(samples: ArrayLike, missing: ArrayLike, *, lag: int = 1) -> float:
    """Correlation of the draws of two entries of a gap, ``lag`` timepoints apart.

    Of what differs between the draws: their mean over the draws is taken off each entry first.
    Draws that are independent from entry to entry give about 0.

    Parameters
    ----------
    samples : array-like of shape (S, n, C, L)
        S draws of each value, at least 2.
    missing : array-like of bool of shape (n, C, L)
        The entries to compare.
    lag : int, default=1
        Distance in timepoints, at least 1.

    Returns
    -------
    float
        In [-1, 1], over all pairs of missing entries of one channel and sample; NaN where the draws
        do not differ.

    Raises
    ------
    ValueError
        If shapes do not fit, there are fewer than 2 draws, or no pair of missing entries.

    Examples
    --------
    >>> lag_correlation([[[[0.0, 1.0]]], [[[2.0, 5.0]]]], [[[True, True]]])
    1.0
    """
    check_types(lag_correlation, locals())
    draws = as_floats("samples", samples)
    if draws.ndim != 4:
        raise ValueError(f"samples has shape {draws.shape}, but (n_draws, n, C, L) was wanted.")
    if len(draws) < 2:
        raise ValueError(f"samples has {len(draws)} draws, but at least 2 were wanted. Draw more.")
    _, draws, scored = _check_draws(draws[0], draws, missing, n_axes=3)
    if not 1 <= lag < scored.shape[2]:
        raise ValueError(f"lag is from 1 to {scored.shape[2] - 1}, got {lag}.")
    pair = scored[..., lag:] & scored[..., :-lag]
    if not pair.any():
        raise ValueError(f"No channel misses two entries {lag} timepoints apart.")
    spread = draws - draws.mean(axis=0)
    first, second = spread[..., :-lag][:, pair], spread[..., lag:][:, pair]
    scale = np.sqrt((first**2).sum() * (second**2).sum())
    return float((first * second).sum() / scale) if scale > 0 else float("nan")


def gap_means(values: ArrayLike, missing: ArrayLike) -> NDArray[np.float64]:
    """Mean of each gap: each run of consecutive missing entries of a channel.

    Parameters
    ----------
    values : array-like of shape (..., n, C, L)
        Values, or draws or quantiles of them.
    missing : array-like of bool of shape (n, C, L)
        The entries of the gaps.

    Returns
    -------
    ndarray of shape (..., G)
        In the order of samples, channels and time.

    Raises
    ------
    ValueError
        If shapes do not fit, or nothing is missing.

    Examples
    --------
    >>> gap_means([[[1.0, 2.0, 4.0, 9.0]]], [[[True, False, True, True]]])
    array([1. , 6.5])
    """
    scored, x = np.asarray(missing, dtype=bool), as_floats("values", values)
    if scored.ndim != 3:
        raise ValueError(f"missing has shape {scored.shape}, but (n, C, L) was wanted.")
    _check_shape("values", x[(0,) * (x.ndim - 3)] if x.ndim > 3 else x, scored.shape)
    if not scored.any():
        raise ValueError("No entry is missing, so that there is no gap.")
    starts = scored & ~np.pad(scored, ((0, 0), (0, 0), (1, 0)))[..., :-1]
    first = np.flatnonzero(starts[scored])  # of each gap, among all missing entries
    length = np.diff(np.append(first, scored.sum()))
    return np.add.reduceat(x[..., scored], first, axis=-1) / length


def band_coverage(truth: ArrayLike, low: ArrayLike, high: ArrayLike) -> float:
    """Fraction of the values inside their band; right bands of 90 % hold about .9.

    Parameters
    ----------
    truth : array-like of any shape
        What the values were, such as ``panel.values[name][missing]`` or their :func:`gap_means`.
    low, high : array-like of that shape
        Ends of the bands, which belong to them.

    Returns
    -------
    float
        In [0, 1].

    Raises
    ------
    ValueError
        If shapes differ, there is nothing to score, or a value is not finite.

    Examples
    --------
    >>> band_coverage([1.0, 2.0], [0.0, 0.0], [1.0, 1.0])
    0.5
    """
    target, _ = _check_target(truth, None)
    lowest, highest = _check_band(low, high, target.shape)
    return float(((lowest <= target) & (target <= highest)).mean())


def band_width(low: ArrayLike, high: ArrayLike) -> float:
    """Mean width of bands: of two that cover as much, the narrower one says more.

    Parameters
    ----------
    low, high : array-like of one shape
        Ends of the bands.

    Returns
    -------
    float
        In units of the values.

    Raises
    ------
    ValueError
        If shapes differ, an end is not finite, or the lower one is above the higher one.

    Examples
    --------
    >>> band_width([0.0, 0.0], [1.0, 3.0])
    2.0
    """
    lowest, highest = _check_band(low, high, np.shape(low))
    return float((highest - lowest).mean())


def _check_band(
    low: ArrayLike, high: ArrayLike, shape: tuple[int, ...]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    lowest, highest = as_floats("low", low), as_floats("high", high)
    for name, one in (("low", lowest), ("high", highest)):
        _check_shape(name, one, shape)
        _check_finite(name, one, "Estimate both ends of every band.")
    if (lowest > highest).any():
        raise ValueError("low is above high somewhere. Pass the lower end of the bands first.")
    return lowest, highest


def _check_draws(
    truth: ArrayLike, samples: ArrayLike, missing: ArrayLike, n_axes: int | None = None
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
    """Truth, draws and scored entries, 0 where nothing is scored."""
    target, scored = _check_target(truth, missing)
    if n_axes is not None and target.ndim != n_axes:
        raise ValueError(f"truth has shape {target.shape}, but (n, C, L) was wanted.")
    draws = np.atleast_1d(as_floats("samples", samples))
    _check_shape("samples", draws, (max(len(draws), 1), *target.shape))
    _check_finite("samples", draws[:, scored], "Draw a value for every missing entry.")
    return np.where(scored, target, 0.0), np.where(scored, draws, 0.0), scored
