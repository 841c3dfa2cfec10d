"""What networks and closed-form models do alike with y: labels, and the scale of numbers."""

from __future__ import annotations

import numpy as np

__all__ = ["check_labels", "mean_and_scale"]


def mean_and_scale(y: np.ndarray, weight: np.ndarray | None) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of targets, whose squares may be beyond float64.

    Parameters
    ----------
    y : float64 array of shape (n, n_outputs)
        Targets.
    weight : array of shape (n,) or None
        Weights of the samples; None for equal weights.

    Returns
    -------
    mean, scale : array of shape (n_outputs,)
        The scale of a constant target is 1.
    """
    # Division by a power of two is exact.
    unit = np.ldexp(1.0, np.clip(np.frexp(np.abs(y).max(0))[1], -1000, 1000))
    mean = np.average(y / unit, axis=0, weights=weight)
    spread = np.sqrt(np.average((y / unit - mean) ** 2, axis=0, weights=weight)) * unit
    return mean * unit, np.where(spread > 0, spread, 1.0)


def check_labels(y: np.ndarray) -> None:
    """Raise unless labels are coded as 0 and 1.

    Parameters
    ----------
    y : array of shape (n, n_labels)
        Two values at most, as scikit-learn's "multilabel-indicator" has.

    Raises
    ------
    ValueError
        If there is another value than 0 and 1.
    """
    others = np.setdiff1d(y, [0, 1])
    if others.size:
        raise ValueError(
            f"y has shape {y.shape}, which is one column of 0 and 1 a label, but holds "
            f"{others.tolist()}. Code each label as 0 or 1; for classes fit one classifier a "
            "column."
        )
