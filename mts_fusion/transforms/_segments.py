"""Segments of consecutive timepoints: how many there are, their means and their times.

Sizes: n samples, C channels, L timepoints, S segments.
"""

from __future__ import annotations

import numpy as np

__all__ = ["count_segments", "least_observed", "segment_means", "segment_times"]


def least_observed(length: int, min_observed: float) -> int:
    """Timepoints that a segment has to have for a mean, at a share ``min_observed`` of them."""
    return max(1, int(np.ceil(min_observed * length - 1e-9)))


def count_segments(n_timepoints: int, length: int, least: int) -> int:
    """Segments of a series; the last may be shorter, with at least ``least`` timepoints."""
    whole, rest = divmod(n_timepoints, length)
    return whole + int(rest >= least)


def segment_means(
    values: np.ndarray, observed: np.ndarray, length: int, n_segments: int, least: int
) -> np.ndarray:
    """Means over the observed timepoints of each segment, ``(n, C, L) -> (n, C, S)``.

    NaN where fewer than ``least`` are observed.
    """
    if observed.all():
        counts = np.full(n_segments, float(length))
        counts[-1] = min(length, values.shape[2] - (n_segments - 1) * length)
        return _sums(values, length, n_segments) / counts
    counts = _sums(observed.astype(np.float64), length, n_segments)
    counts[counts < least] = np.nan
    return _sums(np.where(observed, values, 0.0), length, n_segments) / counts


def segment_times(times: np.ndarray, length: int, n_segments: int) -> np.ndarray:
    """Mean time of each segment ``(n, S)``, NaN where a segment is padding only."""
    given = ~np.isnan(times)
    counts = _sums(given[:, None].astype(np.float64), length, n_segments)[:, 0]
    sums = _sums(np.where(given, times, 0.0)[:, None], length, n_segments)[:, 0]
    with np.errstate(invalid="ignore"):
        return sums / counts


def _sums(array: np.ndarray, length: int, n_segments: int) -> np.ndarray:
    """Sums over segments of the last axis, ``(n, C, L) -> (n, C, S)``; the last may be shorter."""
    whole = min(n_segments, array.shape[2] // length)
    sums = np.zeros((*array.shape[:2], n_segments))
    for offset in range(length):  # strided sums: numpy reduces a short last axis slowly
        sums[..., :whole] += array[..., offset : whole * length : length]
    if whole < n_segments:
        sums[..., -1] = array[..., whole * length :].sum(2)
    return sums
