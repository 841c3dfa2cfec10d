"""Numbers to symbols and back: vocabularies, and the distance between symbols."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from mts_fusion.panel import Vocabulary

__all__ = [
    "MISSING",
    "find_symbols",
    "gaussian_vocabulary",
    "quantile_vocabulary",
    "squared_gaps",
    "symbol_values",
]

MISSING = 0  # the symbol of what was not observed
_MOST_COUNTED = 120  # fits int8


def find_symbols(means: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Symbol s where ``bounds[s - 2] <= mean < bounds[s - 1]``, as in Lin et al.; 1 for NaN or low.

    Counting the bounds that are passed takes a tenth of the time of a binary search at 19 bounds
    (4 against 45 microseconds for 1,792 means) and more time only from about 200.
    """
    if len(bounds) > _MOST_COUNTED:
        return np.searchsorted(bounds, np.nan_to_num(means, nan=-np.inf), side="right") + 1
    symbols = np.ones(means.shape, np.int8)
    for bound in bounds:
        symbols += (means >= bound).view(np.int8)
    return symbols


def gaussian_vocabulary(size: int) -> Vocabulary:
    """Equally likely symbols of a standard normal variable; centers are their means."""
    normal = NormalDist()
    bounds = [normal.inv_cdf(k / size) for k in range(1, size)]
    density = np.array([0.0, *(normal.pdf(bound) for bound in bounds), 0.0])
    centers = size * (density[:-1] - density[1:])  # mean of a normal variable in an interval
    return Vocabulary(size, MISSING, tuple(bounds), tuple(centers.tolist()))


def quantile_vocabulary(size: int, means: np.ndarray) -> Vocabulary:
    """Equally frequent symbols; centers are the means of the numbers that have them."""
    bounds = np.quantile(means, np.arange(1, size) / size)
    symbols = np.searchsorted(bounds, means, side="right")
    counts = np.bincount(symbols, minlength=size)
    sums = np.bincount(symbols, weights=means, minlength=size)
    between = (np.r_[bounds[0], bounds] + np.r_[bounds, bounds[-1]]) / 2
    centers = np.where(counts > 0, sums / np.maximum(counts, 1), between)
    return Vocabulary(size, MISSING, tuple(bounds.tolist()), tuple(centers.tolist()))


def squared_gaps(vocabulary: Vocabulary) -> np.ndarray:
    """Squared gap between the intervals of two symbols; 0 to the missing one."""
    edges = np.array([-np.inf, *(vocabulary.breakpoints or ()), np.inf])
    low, high = edges[:-1], edges[1:]
    gaps = np.zeros((vocabulary.n_tokens, vocabulary.n_tokens))
    gaps[1:, 1:] = np.maximum(0.0, np.maximum(low[:, None] - high, low - high[:, None]))
    return gaps**2


def symbol_values(vocabulary: Vocabulary) -> np.ndarray:
    """The value of each symbol, ``(n_tokens,)`` in float64; NaN for the missing one."""
    values = np.full(max(vocabulary.size, vocabulary.missing) + 1, np.nan)
    values[1 : vocabulary.size + 1] = vocabulary.centers or np.nan
    return values
