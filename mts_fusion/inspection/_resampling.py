"""Intervals of scores by resampling whole groups, such as people, of the same predictions."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.exceptions import UndefinedMetricWarning
from sklearn.pipeline import Pipeline

from mts_fusion.panel import Panel
from mts_fusion.panel._targets import check_groups

__all__ = ["draw_rows", "interval", "score_rows"]

_PREDICTIONS = ("predict", "predict_proba", "predict_log_proba", "decision_function")


class _Predicted:
    """An estimator that has predicted one X already; ``rows`` of it are asked for again."""

    def __init__(self, estimator: Any, X: Any) -> None:
        self._estimator = estimator
        self._X = X
        self._known: dict[str, Any] = {}
        self.rows: Any = slice(None)

    def __getattr__(self, name: str) -> Any:
        if name not in _PREDICTIONS:
            return getattr(self._estimator, name)
        predict = getattr(self._estimator, name)

        def known(X: Any) -> Any:
            if X is not self._X:
                raise ValueError("With groups, scoring reads predictions of the X it is given.")
            if name not in self._known:
                self._known[name] = np.asarray(predict(X))
            return self._known[name][self.rows]

        known.__name__ = name  # read by the scorers of scikit-learn
        return known

    def score(self, X: Any, y: ArrayLike) -> float:
        """The estimator's own score, from known predictions where it is that of a mixin."""
        last = self._estimator[-1] if isinstance(self._estimator, Pipeline) else self._estimator
        own = getattr(type(last), "score", None)
        if own in (ClassifierMixin.score, RegressorMixin.score):
            return own(self, X, y)
        return self._estimator.score(X[self.rows], y)


def draw_rows(groups: Any, panel: Panel, n_resamples: int, seed: int) -> list[NDArray[np.intp]]:
    """Rows of as many groups as there are, drawn with replacement, for each resample.

    Parameters
    ----------
    groups : array-like of shape (n,) or None
        Group of each sample; None for no resamples.
    panel : Panel
        n samples.
    n_resamples : int
        Number of resamples.
    seed : int
        Seed of the draws.

    Returns
    -------
    list of int array
        Rows of each resample.

    Raises
    ------
    ValueError
        If there is not one label a sample, of one type and in the order of X, there are fewer than
        two groups, or ``n_resamples`` is below 2.
    """
    if n_resamples < 2:
        raise ValueError(f"n_resamples is at least 2, got {n_resamples!r}.")
    labels = check_groups(groups, panel)
    if labels is None:
        return []
    code = np.unique(labels, return_inverse=True)[1]
    members = np.split(np.argsort(code, kind="stable"), np.cumsum(np.bincount(code))[:-1])
    if len(members) < 2:
        raise ValueError("groups has a single group; an interval needs at least two.")
    rng = np.random.default_rng(seed)
    drawn = rng.integers(len(members), size=(n_resamples, len(members)))
    return [np.concatenate([members[g] for g in some]) for some in drawn]


def score_rows(
    estimator: Any,
    X: Any,
    y: ArrayLike,
    scorer: Callable[[Any, Any, ArrayLike], dict[str, float]],
    rows: list[NDArray[np.intp]],
) -> dict[str, NDArray[np.float64]]:
    """Scores of all samples, then of each of the resamples, from one prediction."""
    if not rows:
        return {name: np.array([score]) for name, score in scorer(estimator, X, y).items()}
    predicted, targets = _Predicted(estimator, X), np.asarray(y)
    scores = [scorer(predicted, X, targets)]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UndefinedMetricWarning)  # a resample may lack a class
        for some in rows:
            predicted.rows = some
            scores.append(scorer(predicted, X, targets[some]))
    return {name: np.array([score[name] for score in scores]) for name in scores[0]}


def interval(values: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Ends of the 95 % interval over the resamples, which are the last axis after its first entry.

    Parameters
    ----------
    values : array of shape (..., 1 + n_resamples)
        NaN where a metric is not defined in a resample.

    Returns
    -------
    low, high : arrays of shape (...)
        Percentiles 2.5 and 97.5.
    """
    low, high = np.nanquantile(values[..., 1:], [0.025, 0.975], axis=-1)
    return low, high
