"""HAIM: numbers of each series by rules, side by side, then boosted trees."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.pipeline import make_pipeline

from ..panel import Panel

__all__ = ["HaimFeatures", "haim"]


class HaimFeatures(TransformerMixin, BaseEstimator):
    """Eleven numbers of the observed values of each channel, as HAIM describes a series.

    Maximum, minimum, mean, variance; mean, mean absolute, largest absolute and summed absolute
    difference of neighbours; last less first value; number of peaks; slope over the number of the
    observation (Soenksen et al., "Integrated multimodal artificial intelligence framework for
    healthcare applications", npj Digital Medicine, 2022, https://doi.org/10.1038/s41746-022-00689-4).
    """

    def fit(self, X: Panel, y: Any = None) -> Self:
        """Nothing is learnt.

        Parameters
        ----------
        X : Panel
            Samples.
        y : None
            Ignored.

        Returns
        -------
        HaimFeatures
            Itself.
        """
        self.is_fitted_ = True
        return self

    def transform(self, X: Panel) -> NDArray[np.float64]:
        """The numbers of all channels of all modalities.

        Parameters
        ----------
        X : Panel
            n samples.

        Returns
        -------
        ndarray of shape (n, 11 * C)
            NaN where a channel was not observed.
        """
        parts = [_describe(X.values[m.name], X.observed[m.name]) for m in X.schema]
        return np.concatenate([part.reshape(len(X), -1) for part in parts], axis=1)


def _describe(values: NDArray[Any], observed: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``(n, C, L)`` to ``(n, C, 11)``."""
    n_timepoints = values.shape[2]
    count = observed.sum(axis=2, keepdims=True)
    order = np.argsort(~observed, axis=2, kind="stable")  # what was observed first, in its order
    index = np.arange(n_timepoints)
    x = np.where(index < count, np.take_along_axis(values, order, axis=2), np.nan)
    x = x.astype(np.float64)
    step = np.diff(x, axis=2)  # NaN where there is no next value
    last = np.take_along_axis(x, np.maximum(count - 1, 0), axis=2)[..., 0]
    peaks = (step[..., :-1] > 0) & (step[..., 1:] < 0)
    place = np.where(np.isnan(x), np.nan, index)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # means of nothing are NaN, as they should
        away = place - np.nanmean(place, axis=2, keepdims=True)
        slope = np.nansum(away * x, axis=2) / np.nansum(away**2, axis=2)
        numbers = [
            np.nanmax(x, axis=2),
            np.nanmin(x, axis=2),
            np.nanmean(x, axis=2),
            np.nanvar(x, axis=2),
            *(
                [
                    np.nanmean(step, axis=2),
                    np.nanmean(np.abs(step), axis=2),
                    np.nanmax(np.abs(step), axis=2),
                    np.nansum(np.abs(step), axis=2),
                ]
                if n_timepoints > 1
                else [np.full(x.shape[:2], np.nan)] * 4
            ),
            last - x[..., 0],
            peaks.sum(axis=2).astype(float),
            slope,
        ]
    table = np.stack(numbers, axis=2)
    table[count[..., 0] == 0] = np.nan
    return table


def haim(*, seed: int, quick: bool) -> Any:
    """HAIM's numbers and boosted trees.

    Parameters
    ----------
    seed : int
        Of the trees.
    quick : bool
        Fewer trees.

    Returns
    -------
    Pipeline
        Unfitted.
    """
    # NOTE[DIFF] The released code has XGBoost with a grid search; here scikit-learn's histogram
    # boosting with its defaults, as in the other rows of trees.
    trees = HistGradientBoostingClassifier(max_iter=20 if quick else 100, random_state=seed)
    return make_pipeline(HaimFeatures(), VarianceThreshold(), trees)
