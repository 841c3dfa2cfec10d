"""Proper scores of predicted probabilities: log likelihood and Brier."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from mts_fusion.metrics._calibration import NanPolicy
from mts_fusion.metrics._probabilities import check_probabilities
from mts_fusion.panel._arguments import check_types

__all__ = ["brier_score", "negative_log_likelihood"]


def negative_log_likelihood(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    labels: ArrayLike | None = None,
    nan_policy: NanPolicy = "raise",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean of minus the log probability of the true class (NLL), in nats; 0 is perfect.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True classes.
    y_proba : array-like of shape (n, n_classes) or (n,)
        Probabilities; with one dimension, those of the second of two classes. A probability of 0
        for the true class counts as the machine epsilon of its float type, as in scikit-learn.
    labels : array-like of shape (n_classes,) or None, default=None
        The class of each column; None: the sorted classes of ``y_true``.
    nan_policy : {"raise", "omit"}, default="raise"
        Refuse samples with NaN, or leave them out.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the samples, which 0 leaves out; None for equal weights.

    Returns
    -------
    float
        The score, at least 0.

    Raises
    ------
    ValueError
        If the arguments do not fit together.

    Examples
    --------
    >>> round(negative_log_likelihood(["a", "b"], [[0.5, 0.5], [0.5, 0.5]]), 4)
    0.6931
    """
    check_types(negative_log_likelihood, locals())
    index, proba, weight = check_probabilities(
        y_true, y_proba, labels=labels, nan_policy=nan_policy, sample_weight=sample_weight
    )
    true_class = proba[np.arange(len(index)), index]
    epsilon = np.finfo(proba.dtype).eps
    loss = -np.log(true_class.astype(np.float64).clip(epsilon, 1))
    return float(np.average(loss, weights=weight))


def brier_score(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    scale_by_half: bool | Literal["auto"] = "auto",
    labels: ArrayLike | None = None,
    nan_policy: NanPolicy = "raise",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean squared distance between the probabilities and the true class; 0 is perfect.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True classes.
    y_proba : array-like of shape (n, n_classes) or (n,)
        Probabilities; with one dimension, those of the second of two classes.
    scale_by_half : bool or "auto", default="auto"
        Halve the sum over the classes, so that the score lies in [0, 1] and not in [0, 2]; "auto"
        halves it for two classes only, as ``sklearn.metrics.brier_score_loss`` does.
    labels : array-like of shape (n_classes,) or None, default=None
        The class of each column; None: the sorted classes of ``y_true``.
    nan_policy : {"raise", "omit"}, default="raise"
        Refuse samples with NaN, or leave them out.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the samples, which 0 leaves out; None for equal weights.

    Returns
    -------
    float
        The score.

    Raises
    ------
    ValueError
        If the arguments do not fit together.

    References
    ----------
    .. [1] Brier, "Verification of forecasts expressed in terms of probability", Monthly Weather
       Review, 1950.

    Examples
    --------
    >>> round(brier_score([0, 1], [0.1, 0.8]), 4)
    0.025
    """
    check_types(brier_score, locals())
    if isinstance(scale_by_half, str) and scale_by_half != "auto":
        raise ValueError(f"scale_by_half is 'auto', True or False, got {scale_by_half!r}.")
    index, proba, weight = check_probabilities(
        y_true, y_proba, labels=labels, nan_policy=nan_policy, sample_weight=sample_weight
    )
    error = proba.astype(np.float64)  # a copy: the input stays
    error[np.arange(len(index)), index] -= 1
    score = float(np.average((error**2).sum(axis=1), weights=weight))
    half = proba.shape[1] == 2 if scale_by_half == "auto" else bool(scale_by_half)
    return score / 2 if half else score
