"""ResidualShapes: how the errors of a Gaussian process are distributed, in place of the normal.

Sizes: C channels, N residuals, K levels or draws of them, W groups of widths.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from scipy.special import ndtr

__all__ = ["ResidualShapes", "Residuals"]

# Standard normal quantiles at which a distribution is kept; between them it is interpolated.
_KNOTS = np.linspace(-2.5, 2.5, 21)
# The straight lines beyond the knots end here, in standard deviations.
_OUTERMOST = 10.0
_ALL_KNOTS = np.concatenate([[-_OUTERMOST], _KNOTS, [_OUTERMOST]])
# Groups of predicted widths of a channel at most, and residuals of a group at least.
_MAX_GROUPS, _MIN_RESIDUALS = 6, 200
# Residuals that a distribution known beforehand counts for.
_PRIOR = 50


class Residuals(NamedTuple):
    """Errors of predictions of entries whose values are known.

    Parameters
    ----------
    channel : int array of shape (N,)
        Number of the channel, counted over all modalities.
    width : array of shape (N,)
        Predicted standard deviation.
    error : array of shape (N,)
        True less predicted value, in predicted standard deviations.
    """

    channel: np.ndarray
    width: np.ndarray
    error: np.ndarray


class ResidualShapes:
    """Quantiles of the standardised errors of each channel, as they change with its width.

    Errors of a channel are sorted by predicted width and cut into groups; the quantiles of a group
    belong to its median width, and between two groups they are interpolated. Few errors are drawn
    towards the errors of all channels, and these, where they are few, towards the normal
    distribution.

    Parameters
    ----------
    residuals : Residuals
        Of entries that were hidden in training samples.
    n_channels : int
        Number of channels C.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> channel, width = np.zeros(1000, dtype=int), np.ones(1000)
    >>> shapes = ResidualShapes(Residuals(channel, width, 2 * rng.normal(size=1000)), 1)
    >>> shapes.quantiles(np.ones((1, 1)), channel[:1], width[:1]).round()
    array([[2.]])
    """

    def __init__(self, residuals: Residuals, n_channels: int) -> None:
        of_all = _shrunk_quantiles(residuals.error, _KNOTS)
        self.log_widths: list[np.ndarray] = []  # (W,) of each channel
        self.tables: list[np.ndarray] = []  # (W, knots)
        for c in range(n_channels):
            own = residuals.channel == c
            error, log_width = residuals.error[own], np.log(residuals.width[own])
            groups = _groups(log_width)
            middles = [np.median(log_width[g]) if len(g) else 0.0 for g in groups]
            self.log_widths.append(np.array(middles))
            self.tables.append(np.stack([_shrunk_quantiles(error[g], of_all) for g in groups]))

    def quantiles(self, normal: np.ndarray, channel: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Standardised errors in place of standard normal numbers, at the same levels.

        Parameters
        ----------
        normal : array of shape (K, N)
            Standard normal numbers.
        channel : int array of shape (N,)
            Channel of each entry.
        width : array of shape (N,)
            Predicted standard deviation of each entry.

        Returns
        -------
        float64 array of shape (K, N)
            Not decreasing in ``normal``; beyond 10 standard deviations constant.
        """
        shaped = np.zeros(normal.shape)
        for c in np.unique(channel):
            own = channel == c
            z = normal[:, own]
            for weight, table in self._mixture(c, width[own]):
                shaped[:, own] += weight * np.interp(z, _ALL_KNOTS, table)
        return shaped

    def scores(self, error: np.ndarray, channel: np.ndarray, width: np.ndarray) -> np.ndarray:
        """Standard normal numbers in place of standardised errors: the inverse of ``quantiles``.

        Parameters
        ----------
        error : array of shape (N,)
            Standardised errors.
        channel : int array of shape (N,)
            Channel of each entry.
        width : array of shape (N,)
            Predicted standard deviation of each entry.

        Returns
        -------
        float64 array of shape (N,)
            Between -10 and 10.
        """
        normal = np.zeros(error.shape)
        for c in np.unique(channel):
            own = np.flatnonzero(channel == c)
            # Quantiles at the knots of each entry, (N, knots)
            at = sum(w[:, None] * table for w, table in self._mixture(c, width[own]))
            wanted = error[own][:, None]
            below = (at[:, 1:-1] <= wanted).sum(1)
            start, end = (np.take_along_axis(at, below[:, None] + i, axis=1)[:, 0] for i in (0, 1))
            gap = np.where(end > start, end - start, 1.0)
            share = ((wanted[:, 0] - start) / gap).clip(0.0, 1.0)
            normal[own] = _ALL_KNOTS[below] + share * np.diff(_ALL_KNOTS)[below]
        return normal

    def _mixture(self, c: int, width: np.ndarray) -> Iterator[tuple[np.ndarray, np.ndarray]]:
        """Weights ``(N,)`` of the tables of a channel, each with its tails, at some widths."""
        log_width, middles = np.log(width), self.log_widths[c]
        for table, share in zip(self.tables[c], np.eye(len(middles)), strict=True):
            yield np.interp(log_width, middles, share), _with_tails(table)


def _groups(log_width: np.ndarray) -> list[np.ndarray]:
    """Indices of the residuals of each group, by rising width; equal widths are not parted."""
    n_groups = max(min(_MAX_GROUPS, len(log_width) // _MIN_RESIDUALS), 1)
    if n_groups == 1:
        return [np.arange(len(log_width))]
    edges = np.quantile(log_width, np.arange(1, n_groups) / n_groups)
    group = np.searchsorted(edges, log_width)
    return [np.flatnonzero(group == g) for g in np.unique(group)]


def _shrunk_quantiles(error: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Quantiles at the knots, drawn towards those that are known beforehand."""
    if not len(error):
        return known
    share = len(error) / (len(error) + _PRIOR)
    return share * np.quantile(error, ndtr(_KNOTS)) + (1 - share) * known


def _with_tails(table: np.ndarray) -> np.ndarray:
    """Quantiles beyond the knots too, on the line from 0 to the last one."""
    low, high = table[0], table[-1]
    beyond = _OUTERMOST / _KNOTS[-1] - 1
    return np.concatenate([[low - beyond * abs(low)], table, [high + beyond * abs(high)]])
