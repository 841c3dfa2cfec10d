"""Calibration errors and reliability curves of predicted probabilities."""

from __future__ import annotations

from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mts_fusion.metrics._probabilities import check_probabilities, classes_of
from mts_fusion.panel._arguments import check_types

__all__ = [
    "ReliabilityCurve",
    "expected_calibration_error",
    "maximum_calibration_error",
    "reliability_curve",
]

Strategy = Literal["uniform", "quantile"]
Kind = Literal["top-label", "classwise"]
NanPolicy = Literal["raise", "omit"]


class ReliabilityCurve(NamedTuple):
    """Confidence and accuracy in each bin; empty bins are NaN with 0 samples.

    Parameters
    ----------
    confidence : ndarray of shape (n_bins,)
        Mean stated probability.
    accuracy : ndarray of shape (n_bins,)
        Share of the samples in which the stated class was the true one.
    n_samples : ndarray of shape (n_bins,)
        Samples in the bin.
    edges : ndarray of shape (n_bins + 1,)
        Bin ``b`` is ``(edges[b], edges[b + 1]]``; the first holds its lower edge too.
    """

    confidence: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    n_samples: NDArray[np.intp]
    edges: NDArray[np.float64]


def reliability_curve(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: Strategy = "uniform",
    pos_label: object = None,
    labels: ArrayLike | None = None,
    nan_policy: NanPolicy = "raise",
    sample_weight: ArrayLike | None = None,
) -> ReliabilityCurve:
    """Confidence against accuracy, bin by bin.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True classes.
    y_proba : array-like of shape (n, n_classes) or (n,)
        Probabilities; with one dimension, those of the second of two classes.
    n_bins : int, default=15
        Bins. 1 compares the mean confidence with the accuracy; many bins are noisy.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equal numbers of samples (equal probabilities share a bin).
    pos_label : label or None, default=None
        Class whose probability is judged. None: the class with the highest (top-label).
    labels : array-like of shape (n_classes,) or None, default=None
        The class of each column; None: the sorted classes of ``y_true``.
    nan_policy : {"raise", "omit"}, default="raise"
        Refuse samples with NaN, or leave them out.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the samples, which 0 leaves out; None for equal weights.

    Returns
    -------
    ReliabilityCurve
        Per bin: mean confidence, accuracy, samples; and the edges.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or there are more bins than samples.

    Examples
    --------
    >>> curve = reliability_curve([0, 1, 1, 0], [0.1, 0.9, 0.8, 0.7], n_bins=2)
    >>> curve.n_samples
    array([0, 4])
    >>> curve.accuracy
    array([ nan, 0.75])
    """
    check_types(reliability_curve, locals())
    index, proba, weight = check_probabilities(
        y_true, y_proba, labels=labels, nan_policy=nan_policy, sample_weight=sample_weight
    )
    if pos_label is None:
        stated, hit = _top_label(index, proba)
    else:
        classes = classes_of(y_true) if labels is None else np.asarray(labels)
        columns = np.flatnonzero(
            [] if isinstance(pos_label, list | np.ndarray) else classes == pos_label
        )
        if len(columns) == 0:
            raise ValueError(
                f"pos_label={pos_label!r} is not one of the classes {classes.tolist()}. "
                "Choose one of them, or None for the most probable class."
            )
        stated, hit = proba[:, columns[0]].astype(np.float64), index == columns[0]
    return _bin(stated, hit, weight, n_bins, strategy)[0]


def expected_calibration_error(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: Strategy = "uniform",
    kind: Kind = "top-label",
    labels: ArrayLike | None = None,
    nan_policy: NanPolicy = "raise",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Mean distance between confidence and accuracy (ECE), in [0, 1]; 0 is calibrated.

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True classes.
    y_proba : array-like of shape (n, n_classes) or (n,)
        Probabilities; with one dimension, those of the second of two classes.
    n_bins : int, default=15
        Bins. 1 compares the mean confidence with the accuracy; with many, noise looks like error.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width (Eq. 3 of [1]_), or of equal numbers of samples (equal probabilities
        share a bin).
    kind : {"top-label", "classwise"}, default="top-label"
        Judge the probability of the predicted class [1]_, or the mean over the classes of the
        error of each class's probability [2]_.
    labels : array-like of shape (n_classes,) or None, default=None
        The class of each column, as ``estimator.classes_``; None: the sorted classes of
        ``y_true``, in which each has then to occur.
    nan_policy : {"raise", "omit"}, default="raise"
        Refuse samples with NaN, or leave them out.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the samples, which 0 leaves out; None for equal weights.

    Returns
    -------
    float
        The error.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or there are more bins than samples.

    Notes
    -----
    The estimate is biased upwards on few samples: compare methods at the same n and ``n_bins``.

    References
    ----------
    .. [1] Guo et al., "On Calibration of Modern Neural Networks", ICML, 2017.
       https://arxiv.org/abs/1706.04599
    .. [2] Kull et al., "Beyond temperature scaling: Obtaining well-calibrated multiclass
       probabilities with Dirichlet calibration", NeurIPS, 2019. https://arxiv.org/abs/1910.12656

    Examples
    --------
    >>> proba = [[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.8, 0.2]]
    >>> round(expected_calibration_error([0, 0, 0, 1], proba, n_bins=4), 3)
    0.05
    """
    check_types(expected_calibration_error, locals())
    curves = _curves(y_true, y_proba, n_bins, strategy, kind, labels, nan_policy, sample_weight)
    return float(np.mean([(gap * mass).sum() / mass.sum() for gap, mass in curves]))


def maximum_calibration_error(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: Strategy = "uniform",
    kind: Kind = "top-label",
    labels: ArrayLike | None = None,
    nan_policy: NanPolicy = "raise",
    sample_weight: ArrayLike | None = None,
) -> float:
    """Largest distance between confidence and accuracy over the bins (MCE), in [0, 1].

    Parameters
    ----------
    y_true : array-like of shape (n,)
        True classes.
    y_proba : array-like of shape (n, n_classes) or (n,)
        Probabilities; with one dimension, those of the second of two classes.
    n_bins : int, default=15
        Bins. A bin with a single sample counts as much as any other: few bins are steadier.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width (Eq. 5 of [1]_), or of equal numbers of samples (equal probabilities
        share a bin).
    kind : {"top-label", "classwise"}, default="top-label"
        Judge the probability of the predicted class, or every class's (the largest of all).
    labels : array-like of shape (n_classes,) or None, default=None
        The class of each column, as ``estimator.classes_``; None: the sorted classes of
        ``y_true``, in which each has then to occur.
    nan_policy : {"raise", "omit"}, default="raise"
        Refuse samples with NaN, or leave them out.
    sample_weight : array-like of shape (n,) or None, default=None
        Weights of the samples, which 0 leaves out; None for equal weights.

    Returns
    -------
    float
        The error.

    Raises
    ------
    ValueError
        If the arguments do not fit together, or there are more bins than samples.

    References
    ----------
    .. [1] Guo et al., "On Calibration of Modern Neural Networks", ICML, 2017.
       https://arxiv.org/abs/1706.04599

    Examples
    --------
    >>> proba = [[0.8, 0.2], [0.8, 0.2], [0.8, 0.2], [0.6, 0.4]]
    >>> round(maximum_calibration_error([0, 0, 0, 1], proba, n_bins=4), 3)
    0.6
    """
    check_types(maximum_calibration_error, locals())
    curves = _curves(y_true, y_proba, n_bins, strategy, kind, labels, nan_policy, sample_weight)
    return float(max(gap.max() for gap, _ in curves))


def _curves(
    y_true: ArrayLike,
    y_proba: ArrayLike,
    n_bins: int,
    strategy: Strategy,
    kind: Kind,
    labels: ArrayLike | None,
    nan_policy: NanPolicy,
    sample_weight: ArrayLike | None,
) -> list[tuple[NDArray[np.float64], NDArray]]:
    """Gap and weight of each bin that is not empty: one pair, or one a class."""
    if kind not in ("top-label", "classwise"):
        raise ValueError(f"kind is 'top-label' or 'classwise', got {kind!r}.")
    index, proba, weight = check_probabilities(
        y_true, y_proba, labels=labels, nan_policy=nan_policy, sample_weight=sample_weight
    )
    if kind == "top-label":
        judged = [_top_label(index, proba)]
    else:
        judged = [(p.astype(np.float64), index == k) for k, p in enumerate(proba.T)]
    pairs = []
    for stated, hit in judged:
        curve, mass = _bin(stated, hit, weight, n_bins, strategy)
        full = curve.n_samples > 0
        pairs.append((np.abs(curve.accuracy - curve.confidence)[full], mass[full]))
    return pairs


def _top_label(
    index: NDArray[np.intp], proba: NDArray[np.floating]
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    return proba.max(axis=1).astype(np.float64), proba.argmax(axis=1) == index


def _bin(
    stated: NDArray[np.float64],
    hit: NDArray[np.bool_],
    weight: NDArray[np.float64] | None,
    n_bins: int,
    strategy: Strategy,
) -> tuple[ReliabilityCurve, NDArray]:
    """The curve, and the sum of the weights in each bin."""
    n = len(stated)
    if n_bins < 1:
        raise ValueError(f"n_bins is at least 1, got {n_bins!r}.")
    if n_bins > n:
        raise ValueError(
            f"n_bins={n_bins} is more than the {n} samples. "
            f"Set n_bins to at most {n} (about n_samples / 20 is steady), or score more samples."
        )
    if strategy == "uniform":
        edges = np.linspace(0, 1, n_bins + 1)
    elif strategy == "quantile":
        edges = np.quantile(stated, np.linspace(0, 1, n_bins + 1))
    else:
        raise ValueError(f"strategy is 'uniform' or 'quantile', got {strategy!r}.")
    # NOTE[DIFF] torchmetrics closes bins on the left, with a bin of its own for a confidence of
    # exactly 1; these are closed on the right, as in Guo et al. and in scikit-learn.
    bin_of = np.searchsorted(edges[1:-1], stated, side="left")
    n_samples = np.bincount(bin_of, minlength=n_bins)
    mass = n_samples if weight is None else np.bincount(bin_of, weights=weight, minlength=n_bins)
    of_all = 1.0 if weight is None else weight
    with np.errstate(invalid="ignore"):  # 0 / 0 of an empty bin is the NaN that we promise
        confidence = np.bincount(bin_of, weights=of_all * stated, minlength=n_bins) / mass
        accuracy = np.bincount(bin_of, weights=of_all * hit, minlength=n_bins) / mass
    return ReliabilityCurve(confidence, accuracy, n_samples, edges), mass
