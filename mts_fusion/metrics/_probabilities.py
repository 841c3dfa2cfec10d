"""Checks of labels and class probabilities, which all metrics of probabilities share."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.utils import column_or_1d
from sklearn.utils.multiclass import type_of_target
from sklearn.utils.validation import _check_sample_weight

from mts_fusion.panel._arguments import as_floats
from mts_fusion.panel._arrays import as_array, is_missing

__all__ = ["check_probabilities", "classes_of"]

SUM_TOLERANCE = 1e-3  # of float16 softmax outputs with a few hundred classes


def check_probabilities(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    labels: ArrayLike | None,
    nan_policy: Literal["raise", "omit"],
    sample_weight: ArrayLike | None = None,
) -> tuple[NDArray[np.intp], NDArray[np.floating], NDArray[np.float64] | None]:
    """Column index of each true class, probabilities ``(n, n_classes)`` and weights ``(n,)``.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True classes: any labels. A masked one is missing, as NaN is.
    y_proba : array-like of shape (n, n_classes) or (n,)
        Probabilities in the order of ``labels``; with one dimension, of the second of two classes.
    labels : array-like of shape (n_classes,) or None
        The class of each column. None: the sorted classes of ``y_true``.
    nan_policy : {"raise", "omit"}
        What to do with rows that hold NaN.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights. Rows of weight 0 are left out before anything else is looked at.

    Returns
    -------
    index : ndarray of shape (n,)
        Column of the true class.
    proba : ndarray of shape (n, n_classes)
        In the float type of ``y_proba``.
    weight : ndarray of shape (n,) or None
        None without ``sample_weight``.

    Raises
    ------
    ValueError
        If shapes, labels, weights or probabilities do not fit together, or no row is left.
    """
    if nan_policy not in ("raise", "omit"):
        raise ValueError(f"nan_policy is 'raise' or 'omit', got {nan_policy!r}.")
    proba = _as_columns(y_proba)
    truth = np.asarray(as_array(y_true))
    if truth.ndim == 2 and truth.shape[1] > 1:
        raise ValueError(
            f"y_true has shape {truth.shape}, but one class a sample is scored. "
            "Score several labels one by one: metric(y_true[:, k], y_proba[:, k])."
        )
    truth = _one_column("y_true", truth)
    if len(truth) != len(proba):
        raise ValueError(
            f"y_true has {len(truth)} samples and y_proba has {len(proba)} rows. "
            "Pass both for the same samples."
        )
    weight = None
    if sample_weight is not None:
        weight = as_floats("sample_weight", sample_weight)
        if weight.shape != (len(proba),):
            raise ValueError(f"sample_weight has shape {weight.shape}; ({len(proba)},) is wanted.")
        weight = _check_sample_weight(weight, proba, dtype=np.float64)
        if not (weight >= 0).all() or not weight.any():
            raise ValueError("sample_weight needs to be >= 0 with a positive sum. Check its signs.")
        truth, proba, weight = truth[weight > 0], proba[weight > 0], weight[weight > 0]
    is_scored = _is_scored(truth, proba, nan_policy)
    if not is_scored.all():
        truth, proba = np.asarray(truth[is_scored].tolist()), proba[is_scored]
        weight = None if weight is None else weight[is_scored]
    if len(truth) == 0:
        raise ValueError("There is no sample to score. Pass at least one without NaN.")
    if type_of_target(truth).startswith("continuous"):
        raise ValueError(
            "y_true holds continuous numbers, but these metrics score classes. "
            "For a regressor use sklearn.metrics.mean_absolute_error or crps_from_samples."
        )
    _check_distribution(proba)
    return _column_of(truth, labels, proba.shape[1]), proba, weight


def classes_of(y_true: ArrayLike) -> NDArray:
    """The sorted classes of labels, missing ones left out.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True classes: any labels.

    Returns
    -------
    ndarray of shape (n_classes,)
        Each once.
    """
    labels = np.asarray(as_array(y_true)).ravel().tolist()
    return np.unique([label for label in labels if not is_missing(label)])


def _one_column(name: str, given: ArrayLike) -> NDArray:
    array = np.asarray(given)
    if array.shape[1:] not in ((), (1,)) or not array.ndim or array.dtype.kind == "c":
        raise ValueError(
            f"{name} is one class each, got {array.dtype} of shape {array.shape}; (n,) is wanted."
        )
    return column_or_1d(array)


def _as_columns(y_proba: ArrayLike) -> NDArray[np.floating]:
    proba = np.asarray(as_array(y_proba))
    if proba.dtype.kind not in "fiub":
        raise ValueError(
            f"y_proba has dtype {proba.dtype}, but numbers in [0, 1] were wanted. "
            "Pass estimator.predict_proba(X)."
        )
    if proba.dtype.kind != "f":
        proba = proba.astype(np.float64)
    if proba.ndim == 2 and proba.shape[1] == 1:
        proba = proba[:, 0]
    if proba.ndim == 1:
        return np.stack([1 - proba, proba], axis=1)
    if proba.ndim != 2:
        raise ValueError(
            f"y_proba has shape {proba.shape}, but (n, n_classes) was wanted. "
            "Pass estimator.predict_proba(X)."
        )
    return proba


def _is_scored(truth: NDArray, proba: NDArray[np.floating], nan_policy: str) -> NDArray[np.bool_]:
    """Whether each row has a label and probabilities."""
    broken = np.isnan(proba).any(axis=1)
    if truth.dtype.kind in "fO":
        broken |= [is_missing(label) for label in truth.tolist()]
    if broken.any() and nan_policy == "raise":
        raise ValueError(
            f"{broken.sum()} of {len(broken)} samples have NaN as label or probability "
            f"(the first is row {int(broken.argmax())}). "
            "Score the others only with nan_policy='omit'."
        )
    return ~broken


def _check_distribution(proba: NDArray[np.floating]) -> None:
    low, high = float(proba.min()), float(proba.max())
    if low < 0 or high > 1 + SUM_TOLERANCE:
        raise ValueError(
            f"y_proba has values in [{low:.4g}, {high:.4g}], but probabilities lie in [0, 1]. "
            "Turn logits into probabilities with scipy.special.softmax(logits, axis=1)."
        )
    total = proba.sum(axis=1, dtype=np.float64)
    worst = int(np.abs(total - 1).argmax())
    if abs(total[worst] - 1) > SUM_TOLERANCE:
        raise ValueError(
            f"The probabilities of row {worst} sum to {total[worst]:.4g}, but 1 was wanted. "
            "Divide each row by its sum, or score each column of a multilabel output alone."
        )


def _column_of(truth: NDArray, labels: ArrayLike | None, n_columns: int) -> NDArray[np.intp]:
    classes = np.unique(truth) if labels is None else _one_column("labels", labels)
    if len(classes) != n_columns:
        source = "y_true has" if labels is None else "labels has"
        raise ValueError(
            f"{source} {len(classes)} classes and y_proba has {n_columns} columns. "
            "Name the class of each column: labels=estimator.classes_."
        )
    order = np.argsort(classes)
    position = np.searchsorted(classes[order], truth).clip(max=len(classes) - 1)
    index = order[position]
    unknown = classes[index] != truth
    if unknown.any():
        raise ValueError(
            f"y_true has the class {truth[unknown][0]!r}, which is not in labels "
            f"({', '.join(map(str, classes))}). Drop its samples, or add its probability."
        )
    return index
