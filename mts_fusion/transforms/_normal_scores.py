"""NormalScores: each channel to a standard normal variable and back, by a monotone map."""

from __future__ import annotations

from typing import NamedTuple, Self

import numpy as np
from scipy.special import ndtri

from mts_fusion.panel import Panel, PanelLike

from ._base import PanelTransformer, filled_masks

__all__ = ["NormalScores"]

# Points of the map of a channel: all its values if they are fewer.
_N_POINTS = 1024
# Of these, the lowest and the highest values, between which levels are far apart.
_N_EXTREMES = 64
# Beyond the values seen in training the map goes on for so many standard deviations.
_BEYOND = 4.0


class _Map(NamedTuple):
    """Points of one channel, increasing: value -> score, and score -> value."""

    values: np.ndarray
    scores: np.ndarray
    inverse_scores: np.ndarray
    inverse_values: np.ndarray


class NormalScores(PanelTransformer):
    """Channels as normal scores: the standard normal quantile of the rank of each value.

    Values that are often equal, as on a coarse scale, keep their probability: scores anywhere in
    the range of such a value are mapped back to it exactly. Only observed values are read.

    Attributes
    ----------
    maps_ : dict of str to list
        Points of the map of each channel, by modality.
    schema_ : Schema
        What X was in ``fit``.

    Notes
    -----
    Beyond the values seen in training the map is a straight line over four more standard deviations
    of the scores, then constant: an outlier of any size is a score of about 8 at most. Where the
    lowest (highest) value was seen twice or more, it is taken for a limit, and scores below (above)
    are mapped back to it.

    Examples
    --------
    >>> X = {"hr": np.array([[[60.0, 70.0, 80.0, np.nan]]])}
    >>> scores = NormalScores().fit(X)
    >>> scores.transform(X).values["hr"][0, 0, [0, 2]].round(2)
    array([-1.09,  1.09], dtype=float32)
    >>> scores.inverse("hr", np.array([0, 0]), np.array([-0.97, 0.0])).round(1)
    array([60., 70.])
    """

    def __init__(self) -> None:
        pass

    def fit(self, X: PanelLike, y: object = None) -> Self:
        """Learn the distribution of each channel.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Training samples; each channel is observed somewhere.
        y : None
            Ignored.

        Returns
        -------
        NormalScores
            The fitted transformer.
        """
        panel = self._check_fit(X)
        self.maps_ = {
            name: [
                _learn_map(values[:, c][panel.observed[name][:, c]])
                for c in range(values.shape[1])  # each channel has its own number of values
            ]
            for name, values in panel.values.items()
        }
        return self

    def transform(self, X: PanelLike) -> Panel:
        """Scores of the values.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Samples of the schema seen in ``fit``.

        Returns
        -------
        Panel
            Scores in place of values, NaN where they were; ``observed`` as in X.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the schema differs from that of ``fit``; the message names the modality.
        """
        panel = self._check_transform(X)
        values = {}
        for name, maps in self.maps_.items():
            scores = np.full(panel.values[name].shape, np.nan, np.float32)
            for c, one in enumerate(maps):
                x = panel.values[name][:, c]
                exists = ~np.isnan(x)
                scores[:, c][exists] = np.interp(x[exists], one.values, one.scores)
            values[name] = scores
        return panel.replace(values=values, observed=filled_masks(panel))

    def inverse(self, name: str, channel: np.ndarray, scores: np.ndarray) -> np.ndarray:
        """Values of scores.

        Parameters
        ----------
        name : str
            Of the modality.
        channel : int array of shape (k,)
            The channel of each score.
        scores : array of shape (..., k)
            Scores.

        Returns
        -------
        float64 array of shape (..., k)
            In the unit of each channel.
        """
        values = np.empty(scores.shape)
        for c in np.unique(channel):
            one, of_c = self.maps_[name][c], channel == c
            values[..., of_c] = np.interp(scores[..., of_c], one.inverse_scores, one.inverse_values)
        return values


def _learn_map(values: np.ndarray) -> _Map:
    """Map of a channel from its observed values, at least one."""
    x, count = np.unique(values.astype(np.float64), return_counts=True)
    last = np.cumsum(count)
    first, n = last - count, last[-1]
    # The mean of a standard normal variable between the quantiles that enclose the value.
    density = np.exp(-(ndtri(np.concatenate([[0], last]) / n) ** 2) / 2) / np.sqrt(2 * np.pi)
    scores = (density[:-1] - density[1:]) * n / count
    low, high = ndtri((first + 0.5) / n), ndtri((last - 0.5) / n)
    kept = _points(last / n)
    x, scores, low, high, count = (part[kept] for part in (x, scores, low, high, count))
    below, above = _tails(x, low, high, count)
    return _Map(
        np.concatenate([[x[0] - below], x, [x[-1] + above]]),
        np.concatenate(
            [[scores[0] - _BEYOND * (below > 0)], scores, [scores[-1] + _BEYOND * (above > 0)]]
        ),
        np.concatenate(
            [[low[0] - _BEYOND], np.stack([low, high], 1).ravel(), [high[-1] + _BEYOND]]
        ),
        np.concatenate([[x[0] - below], np.repeat(x, 2), [x[-1] + above]]),
    )


def _points(level: np.ndarray) -> np.ndarray:
    """Which values are points of the map: all, or some at even levels and the extremes."""
    if len(level) <= _N_POINTS:
        return np.arange(len(level))
    even = np.searchsorted(level, np.linspace(0, 1, _N_POINTS - 2 * _N_EXTREMES))
    ends = np.arange(_N_EXTREMES)
    chosen = np.concatenate([even, ends, len(level) - 1 - ends])
    return np.unique(chosen.clip(0, len(level) - 1))


def _tails(
    x: np.ndarray, low: np.ndarray, high: np.ndarray, count: np.ndarray
) -> tuple[float, float]:
    """How far the map goes on below the lowest and above the highest value."""
    scores, values = np.stack([low, high], 1).ravel(), np.repeat(x, 2)
    median, least, most = np.interp([0.0, -2.0, 2.0], scores, values)
    below = 0.0 if count[0] > 1 else _BEYOND * (median - least) / 2
    above = 0.0 if count[-1] > 1 else _BEYOND * (most - median) / 2
    return below, above
