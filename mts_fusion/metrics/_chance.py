"""Calibration errors that are due to chance."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mts_fusion.metrics._calibration import Kind, Strategy, expected_calibration_error
from mts_fusion.panel._arguments import as_floats, check_seed, check_types

__all__ = ["chance_calibration_error"]


def chance_calibration_error(
    y_proba: ArrayLike,
    *,
    n_bins: int = 15,
    strategy: Strategy = "uniform",
    kind: Kind = "top-label",
    n_draws: int = 100,
    random_state: int | np.random.RandomState | None = None,
) -> NDArray[np.float64]:
    """Calibration errors (ECE) that right probabilities would show on as many samples.

    Classes are drawn from the probabilities, which are then right by construction, and judged as
    true classes are (consistency resampling [1]_). An error in their range is no evidence against
    the probabilities: more samples are needed, not another calibration.

    Parameters
    ----------
    y_proba : array-like of shape (n, n_classes) or (n,)
        Probabilities; with one dimension, those of the second of two classes.
    n_bins : int, default=15
        Bins, as in :func:`expected_calibration_error`.
    strategy : {"uniform", "quantile"}, default="uniform"
        Bins of equal width, or of equal mass.
    kind : {"top-label", "classwise"}, default="top-label"
        Judge the predicted class, or each class.
    n_draws : int, default=100
        How often classes are drawn.
    random_state : int, RandomState or None, default=None
        Of the draws.

    Returns
    -------
    ndarray of shape (n_draws,)
        An error each; their mean is the bias of the estimate, a high quantile a bound for a test.

    Raises
    ------
    ValueError
        If ``y_proba`` are no probabilities, there are more bins than samples, or no draws.

    References
    ----------
    .. [1] Broecker and Smith, "Increasing the Reliability of Reliability Diagrams", Weather and
       Forecasting 22(3), 2007. https://doi.org/10.1175/WAF993.1

    Examples
    --------
    >>> import numpy as np
    >>> rng = np.random.default_rng(0)
    >>> errors = chance_calibration_error(rng.uniform(size=400), random_state=0)
    >>> bool(0.03 < errors.mean() < 0.06)
    True
    """
    check_types(chance_calibration_error, locals())
    proba = as_floats("y_proba", y_proba)
    if proba.ndim == 1:
        proba = np.stack([1 - proba, proba], axis=1)
    if proba.ndim != 2:
        raise ValueError(f"y_proba has shape {proba.shape}; give (n, n_classes), or (n,) for two.")
    if missing := int(np.isnan(proba).any(axis=1).sum()):
        raise ValueError(f"{missing} of {len(proba)} samples have NaN in y_proba. Leave them out.")
    if n_draws < 1:
        raise ValueError(f"n_draws is {n_draws}; at least 1 is needed.")
    rng = check_seed(random_state)
    labels = np.arange(proba.shape[1])
    bounds = proba.cumsum(axis=1)
    errors = np.empty(n_draws)
    for i in range(n_draws):
        drawn = (rng.uniform(size=(len(proba), 1)) * bounds[:, -1:] > bounds).sum(axis=1)
        errors[i] = expected_calibration_error(
            drawn, proba, n_bins=n_bins, strategy=strategy, kind=kind, labels=labels
        )
    return errors
