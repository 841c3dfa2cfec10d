"""What tables of regressors share: scores of one method on one fold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel import Panel
from ._costs import peak_memory
from ._folds import Data, Fold
from ._protocol import Method, fit_method, hide

__all__ = ["evaluate_regressor"]


def evaluate_regressor(
    method: Method,
    data: Data,
    fold: Fold,
    *,
    seed: int,
    fractions: Sequence[float],
    quick: bool = False,
) -> list[dict[str, Any]]:
    """Errors of one method on one fold, with more and more sensors missing, and what it costs.

    Parameters
    ----------
    method : Method
        What is fitted.
    data : Data
        All samples; y are numbers.
    fold : Fold
        Which of them are trained on and which are tested.
    seed : int
        Of the method and of the masks.
    fractions : sequence of float
        Probabilities with which each modality of a test sample is hidden; each sample keeps one.
    quick : bool, default=False
        Handed to the method, for a shorter training.

    Returns
    -------
    list of dict
        One per fraction: ``fraction``, ``rmse``, ``mae``; of intervals of 90 %, where the method
        has some, ``coverage`` and ``width``; ``fit_seconds``, ``predict_ms``, ``peak_mb``.
    """
    test, y = data.panel[fold.test], data.y[fold.test]
    with peak_memory() as memory:
        estimator, fit_seconds = fit_method(method, data, fold, seed=seed, quick=quick)
        rows = []
        for fraction in fractions:
            hidden = hide(test, fraction, seed)
            start = time.perf_counter()
            error = estimator.predict(hidden) - y
            seconds = time.perf_counter() - start
            rows.append(
                {
                    "fraction": float(fraction),
                    "rmse": float(np.sqrt(np.mean(error**2))),
                    "mae": float(np.abs(error).mean()),
                    **_intervals(estimator, hidden, y),
                    "predict_ms": 1e3 * seconds / len(test),
                }
            )
    costs = {"fit_seconds": fit_seconds, "peak_mb": memory.peak_mb, "n_train": len(fold.train)}
    return [{**row, **costs} for row in rows]


def _intervals(estimator: Any, panel: Panel, y: NDArray[Any]) -> dict[str, float]:
    if not hasattr(estimator, "predict_interval"):
        return {}
    low, high = estimator.predict_interval(panel, coverage=0.9).T
    inside = (low <= y) & (y <= high)
    return {"coverage": float(inside.mean()), "width": float((high - low).mean())}
