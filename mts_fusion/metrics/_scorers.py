"""Scorers of probabilities for ``cross_validate`` and ``GridSearchCV``."""

from __future__ import annotations

from collections.abc import Callable
from copy import copy
from typing import Any

from numpy.typing import ArrayLike
from sklearn.utils.metadata_routing import MetadataRequest

from mts_fusion.metrics._calibration import (
    expected_calibration_error,
    maximum_calibration_error,
)
from mts_fusion.metrics._proper_scores import brier_score, negative_log_likelihood
from mts_fusion.panel._arguments import check_types

__all__ = [
    "make_probability_scorer",
    "neg_brier_score_scorer",
    "neg_expected_calibration_error_scorer",
    "neg_log_likelihood_scorer",
    "neg_maximum_calibration_error_scorer",
]


class _ProbabilityScorer:
    """Minus a metric of ``predict_proba``, with the classes that the estimator was fitted on.

    ``sklearn.metrics.make_scorer`` cannot hand ``estimator.classes_`` to the metric, so that it
    fails on a fold in which a class is absent.
    """

    def __init__(self, metric: Callable[..., float], kwargs: dict[str, Any]) -> None:
        self._metric = metric
        self._kwargs = kwargs
        self._sample_weight: bool | str | None = None

    def set_score_request(self, *, sample_weight: bool | str | None) -> _ProbabilityScorer:
        """A copy that asks for sample weights, where scikit-learn routes metadata."""
        new = copy(self)
        new._sample_weight = sample_weight
        return new

    def get_metadata_routing(self) -> MetadataRequest:
        """What scikit-learn may pass to this scorer."""
        request = MetadataRequest(owner=self)
        request.score.add_request(param="sample_weight", alias=self._sample_weight)
        return request

    def __call__(
        self, estimator: Any, X: Any, y: ArrayLike, sample_weight: ArrayLike | None = None
    ) -> float:
        if not hasattr(estimator, "predict_proba"):
            raise ValueError(
                f"{self!r} needs predict_proba, which {type(estimator).__name__} has not. "
                "Wrap it in sklearn.calibration.CalibratedClassifierCV."
            )
        proba = estimator.predict_proba(X)
        weighted = {} if sample_weight is None else {"sample_weight": sample_weight}
        return -self._metric(y, proba, labels=estimator.classes_, **weighted, **self._kwargs)

    def __repr__(self) -> str:
        extra = "".join(f", {name}={value!r}" for name, value in self._kwargs.items())
        return f"make_probability_scorer({self._metric.__name__}{extra})"


def make_probability_scorer(metric: Callable[..., float], **kwargs: Any) -> Callable[..., float]:
    """Scorer that returns minus a metric of probabilities, so that greater is better.

    Unlike ``sklearn.metrics.make_scorer`` it hands the classes of the estimator to the metric: a
    fold in which a class is absent is scored too.

    Parameters
    ----------
    metric : callable
        ``metric(y_true, y_proba, *, labels, **kwargs) -> float``, smaller is better: any function
        of this package that takes ``y_proba``.
    **kwargs : dict
        Handed to the metric, such as ``n_bins=10``.

    Returns
    -------
    callable
        ``scorer(estimator, X, y, sample_weight=None) -> float``; can be pickled. It raises
        ValueError for an estimator without ``predict_proba``. With scikit-learn's metadata routing,
        ``scorer.set_score_request(sample_weight=True)`` is a scorer that is given weights.

    Examples
    --------
    >>> from sklearn.datasets import load_iris
    >>> from sklearn.linear_model import LogisticRegression
    >>> from sklearn.model_selection import cross_val_score
    >>> from mts_fusion.metrics import brier_score, make_probability_scorer
    >>> X, y = load_iris(return_X_y=True)
    >>> scorer = make_probability_scorer(brier_score, scale_by_half=True)
    >>> scores = cross_val_score(LogisticRegression(max_iter=500), X, y, scoring=scorer)
    >>> bool((scores <= 0).all())
    True
    """
    check_types(make_probability_scorer, locals())
    return _ProbabilityScorer(metric, kwargs)


neg_expected_calibration_error_scorer = make_probability_scorer(expected_calibration_error)
neg_maximum_calibration_error_scorer = make_probability_scorer(maximum_calibration_error)
neg_log_likelihood_scorer = make_probability_scorer(negative_log_likelihood)
neg_brier_score_scorer = make_probability_scorer(brier_score)
