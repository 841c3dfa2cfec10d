"""Prediction sets and intervals from held-out predictions: cross-validation+ (CV+).

Sizes: n test samples, C classes or targets, B folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._pattern_model import PatternModel
from ._patterns import PatternModels

__all__ = ["conformal_intervals", "conformal_sets"]

_N_BISECTIONS = 50

# Relative rounding error of a sum of weights.
_ROUNDING = 1e-9


def conformal_sets(
    models: PatternModels,
    features: Sequence[np.ndarray],
    available: np.ndarray,
    coverage: float,
) -> np.ndarray:
    """Prediction sets of classes by CV+ ([1]_, section 5; [2]_, theorem 4).

    Parameters
    ----------
    models : PatternModels
        Models with a :class:`SoftmaxLink`.
    features : list of M arrays of shape (n, F)
        NaN where the modality is missing.
    available : bool array of shape (n, M)
        Modalities that each sample has.
    coverage : float
        Fraction of the samples whose set is to contain their class.

    Returns
    -------
    bool array of shape (n, C)
        All classes where there is no model.

    References
    ----------
    .. [1] Romano, Sesia and Candes, "Classification with valid and adaptive coverage", NeurIPS,
       2020. https://arxiv.org/abs/2006.02544
    .. [2] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+", Annals
       of Statistics, 2021. https://arxiv.org/abs/1905.02928
    """
    n_classes = models.kept.targets.shape[1]
    sets = np.ones((len(available), n_classes), dtype=bool)
    for rows, model, predictions in _fold_predictions(models, features, available):
        valid, weight, wanted = _calibration(models, model, coverage)
        if not valid.any():
            continue
        truth = models.kept.targets[valid] > 0
        errors = 1 - models.link.predictions(model.held_out[valid])[truth]
        below = np.zeros((len(rows), n_classes))
        for b, predicted in predictions:
            of_fold = models.kept.fold[valid] == b
            below += _weight_below(errors[of_fold], weight[of_fold], 1 - predicted)
        sets[rows] = below < wanted
        empty = ~sets[rows].any(1)
        sets[rows[empty], np.argmin(below[empty], axis=1)] = True
    return sets


def conformal_intervals(
    models: PatternModels,
    features: Sequence[np.ndarray],
    available: np.ndarray,
    coverage: float,
) -> np.ndarray:
    """Prediction intervals by CV+ ([1]_, theorem 4).

    Parameters
    ----------
    models : PatternModels
        Models with an :class:`IdentityLink`.
    features : list of M arrays of shape (n, F)
        NaN where the modality is missing.
    available : bool array of shape (n, M)
        Modalities that each sample has.
    coverage : float
        Fraction of the samples whose interval is to contain their number.

    Returns
    -------
    array of shape (n, C, 2)
        Lower and upper ends, in the unit of y; infinite where there is no model.

    References
    ----------
    .. [1] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+", Annals
       of Statistics, 2021. https://arxiv.org/abs/1905.02928
    """
    n_targets = models.kept.targets.shape[1]
    ends = np.empty((len(available), n_targets, 2))
    ends[...] = -np.inf, np.inf
    for rows, model, predictions in _fold_predictions(models, features, available):
        valid, weight, wanted = _calibration(models, model, coverage)
        if not valid.any():
            continue
        truth = models.link.predictions(models.kept.targets[valid])
        residuals = np.abs(truth - models.link.predictions(model.held_out[valid]))
        fold = models.kept.fold[valid]
        parts = [
            (residuals[fold == b], weight[fold == b], predicted) for b, predicted in predictions
        ]
        if wanted > weight.sum():
            continue
        for c in range(n_targets):
            one = [(part[:, c], w, predicted[:, c]) for part, w, predicted in parts]
            ends[rows, c, 1] = _upper_quantile(one, wanted)
            ends[rows, c, 0] = -_upper_quantile([(r, w, -p) for r, w, p in one], wanted)
    return ends


def _fold_predictions(
    models: PatternModels, features: Sequence[np.ndarray], available: np.ndarray
) -> list[tuple[np.ndarray, PatternModel, list[tuple[int, np.ndarray]]]]:
    """Rows of each set of modalities, and their predictions by the model without each fold."""
    scores = models.fold_scores(features, available)
    result = []
    for rows, model in models.models_of(available):
        folds = np.unique(models.kept.fold).tolist()
        result.append((rows, model, [(b, models.link.predictions(scores[b, rows])) for b in folds]))
    return result


def _calibration(
    models: PatternModels, model: PatternModel, coverage: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Kept rows to calibrate on, their weights, and the weight that a set has to reach.

    They are the rows that have all of the sensors, or any of them if those are too few.
    """
    valid = np.isfinite(model.held_out).all(1)
    # Exchangeable with the sample to predict; rows that lack some of the sensors are harder.
    complete = valid & models.kept.available[:, list(model.members)].all(1)
    weight, wanted = _weights(models, complete, coverage)
    if complete.any() and wanted <= weight.sum():
        return complete, weight, wanted
    return valid, *_weights(models, valid, coverage)


def _weights(models: PatternModels, valid: np.ndarray, coverage: float) -> tuple[np.ndarray, float]:
    """Weights of some kept rows, and ``coverage`` times their sum and that of a new sample.

    With enough groups for the coverage, all groups have the same weight [1]_: the coverage is then
    that of a sample of a new group.

    References
    ----------
    .. [1] Lee, Barber and Willett, "Distribution-free inference with hierarchical data", 2023.
       https://arxiv.org/abs/2306.06342
    """
    weight, group = models.kept.weight[valid], models.kept.group[valid]
    groups, inverse = np.unique(group, return_inverse=True)
    if (group >= 0).all() and len(groups) >= coverage * (len(groups) + 1) - _ROUNDING:
        weight = weight / np.bincount(inverse, weights=weight)[inverse]
        return weight, (coverage - _ROUNDING) * float(weight.sum() + 1)
    # The sample to predict counts as one more row, with the largest weight.
    total = float(weight.sum() + weight.max(initial=0.0))
    return weight, (coverage - _ROUNDING) * total


def _weight_below(errors: np.ndarray, weight: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Total weight of the errors below each bound, in the shape of the bounds."""
    order = np.argsort(errors)
    sums = np.concatenate([[0.0], weight[order].cumsum()])
    return sums[np.searchsorted(errors[order], bounds)]


def _upper_quantile(
    parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], wanted: float
) -> np.ndarray:
    """The smallest t with ``weight{prediction + residual <= t} >= wanted``, ``(n,)``."""
    ordered = []
    for residual, weight, predicted in parts:
        order = np.argsort(residual)
        sums = np.concatenate([[0.0], weight[order].cumsum()])
        ordered.append((residual[order], sums, predicted))
    largest = max(float(residual[-1]) for residual, _, _ in ordered if len(residual))
    predictions = np.stack([predicted for _, _, predicted in ordered])
    low, high = predictions.min(0) - 1e-12, predictions.max(0) + largest
    for _ in range(_N_BISECTIONS):
        middle = (low + high) / 2
        below = sum(
            sums[np.searchsorted(residual, middle - predicted, side="right")]
            for residual, sums, predicted in ordered
        )
        enough = below >= wanted
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high
