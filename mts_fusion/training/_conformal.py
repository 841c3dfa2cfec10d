"""Prediction sets and intervals from held-out answers: cross-validation+ (CV+).

Sizes: n test samples, C classes or targets, B folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ._pattern_model import PatternModel
from ._patterns import PatternModels

__all__ = ["conformal_intervals", "conformal_sets"]

_N_BISECTIONS = 50

# Share of the weight by which a sum may be wrong in its last bits.
_ROUNDING = 1e-9


def conformal_sets(
    models: PatternModels,
    features: Sequence[np.ndarray],
    available: np.ndarray,
    coverage: float,
) -> np.ndarray:
    """Sets of classes by CV+ ([1]_, section 5; [2]_, theorem 4).

    Parameters
    ----------
    models : PatternModels
        Of a :class:`SoftmaxLink`.
    features : list of M arrays of shape (n, F)
        NaN where nothing is known.
    available : array of shape (n, M)
        Bool.
    coverage : float
        Share of the samples whose set shall hold their class.

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
    for rows, model, answers in _fold_answers(models, features, available):
        valid, weight, wanted = _calibration(models, model, coverage)
        if not valid.any():
            continue
        truth = models.kept.targets[valid] > 0
        errors = 1 - models.link.answers(model.held_out[valid])[truth]
        below = np.zeros((len(rows), n_classes))
        for b, answer in answers:
            of_fold = models.kept.fold[valid] == b
            below += _weight_below(errors[of_fold], weight[of_fold], 1 - answer)
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
    """Intervals by CV+ ([1]_, theorem 4).

    Parameters
    ----------
    models : PatternModels
        Of an :class:`IdentityLink`.
    features : list of M arrays of shape (n, F)
        NaN where nothing is known.
    available : array of shape (n, M)
        Bool.
    coverage : float
        Share of the samples whose interval shall hold their number.

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
    for rows, model, answers in _fold_answers(models, features, available):
        valid, weight, wanted = _calibration(models, model, coverage)
        if not valid.any():
            continue
        truth = models.link.answers(models.kept.targets[valid])
        residuals = np.abs(truth - models.link.answers(model.held_out[valid]))
        fold = models.kept.fold[valid]
        parts = [(residuals[fold == b], weight[fold == b], answer) for b, answer in answers]
        if wanted > weight.sum():
            continue
        for c in range(n_targets):
            one = [(part[:, c], w, answer[:, c]) for part, w, answer in parts]
            ends[rows, c, 1] = _upper_quantile(one, wanted)
            ends[rows, c, 0] = -_upper_quantile([(r, w, -a) for r, w, a in one], wanted)
    return ends


def _fold_answers(
    models: PatternModels, features: Sequence[np.ndarray], available: np.ndarray
) -> list[tuple[np.ndarray, PatternModel, list[tuple[int, np.ndarray]]]]:
    """Rows of each set of modalities, and what the model without each fold says of them."""
    scores = models.fold_scores(features, available)
    result = []
    for rows, model in models.models_of(available):
        folds = np.unique(models.kept.fold).tolist()
        result.append((rows, model, [(b, models.link.answers(scores[b, rows])) for b in folds]))
    return result


def _calibration(
    models: PatternModels, model: PatternModel, coverage: float
) -> tuple[np.ndarray, np.ndarray, float]:
    """Which kept rows have a held-out answer, their weights, and how much of it has to agree.

    The rows are those that have all of the sensors, where there are enough of them.
    """
    valid = np.isfinite(model.held_out).all(1)
    # Exchangeable with the sample asked about; rows that lack some of the sensors are harder.
    complete = valid & models.kept.available[:, list(model.members)].all(1)
    weight, wanted = _weights(models, complete, coverage)
    if complete.any() and wanted <= weight.sum():
        return complete, weight, wanted
    return valid, *_weights(models, valid, coverage)


def _weights(models: PatternModels, valid: np.ndarray, coverage: float) -> tuple[np.ndarray, float]:
    """Weights of some kept rows, and ``coverage`` times their sum and that of a new sample.

    Where groups are enough for the coverage, each group is as heavy as any other [1]_: then the
    coverage is that of a sample of a new group.

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
    # The sample itself counts as one more, as heavy as the heaviest.
    total = float(weight.sum() + weight.max(initial=0.0))
    return weight, (coverage - _ROUNDING) * total


def _weight_below(errors: np.ndarray, weight: np.ndarray, bounds: np.ndarray) -> np.ndarray:
    """Weight of the errors below each bound, of the shape of the bounds."""
    order = np.argsort(errors)
    sums = np.concatenate([[0.0], weight[order].cumsum()])
    return sums[np.searchsorted(errors[order], bounds)]


def _upper_quantile(
    parts: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], wanted: float
) -> np.ndarray:
    """The least t with ``weight{answer + residual <= t} >= wanted``, by bisection, ``(n,)``."""
    ordered = []
    for residual, weight, answer in parts:
        order = np.argsort(residual)
        sums = np.concatenate([[0.0], weight[order].cumsum()])
        ordered.append((residual[order], sums, answer))
    largest = max(float(residual[-1]) for residual, _, _ in ordered if len(residual))
    answers = np.stack([answer for _, _, answer in ordered])
    low, high = answers.min(0) - 1e-12, answers.max(0) + largest
    for _ in range(_N_BISECTIONS):
        middle = (low + high) / 2
        below = sum(
            sums[np.searchsorted(residual, middle - answer, side="right")]
            for residual, sums, answer in ordered
        )
        enough = below >= wanted
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    return high
