"""What networks and closed-form models do alike with y: labels, and the scale of numbers."""

from __future__ import annotations

import numpy as np

__all__ = ["check_labels", "check_n_targets", "mean_and_scale", "numbered", "where_nothing"]


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


def where_nothing(
    missing: np.ndarray | float, known: np.ndarray | None, given: np.ndarray
) -> np.ndarray:
    """The answers of networks, and what is known without them where nothing is observed.

    Networks are not asked there: they have hardly seen such samples, modality dropout keeps one
    modality.

    Parameters
    ----------
    missing : array of shape (n,) or float
        Fraction of the modalities that are missing.
    known : array of shape (K,) or None
        The answer where that is 1; None for ``given``.
    given : array of shape (n, K)
        The answers of the networks.

    Returns
    -------
    array of shape (n, K)
        One a sample.
    """
    if known is None:
        return given
    nothing = np.broadcast_to(missing, len(given)) == 1
    return np.where(nothing[:, None], known, given)


def check_n_targets(y: np.ndarray, n_outputs: int) -> None:
    """Raise unless targets have as many columns as those of the first fit.

    Parameters
    ----------
    y : array of shape (n,) or (n, K)
        Targets.
    n_outputs : int
        Columns of the first fit.

    Raises
    ------
    ValueError
        If there are more or fewer.
    """
    if y.reshape(len(y), -1).shape[1] != n_outputs:
        raise ValueError(
            f"warm_start continues with the {n_outputs} targets of the first fit, but y has the "
            f"shape {y.shape}. Set warm_start=False to start anew."
        )


def numbered(y: np.ndarray) -> np.ndarray:
    """Number of the distinct value, or row, that each sample has.

    Parameters
    ----------
    y : array of shape (n,) or (n, K)
        Targets.

    Returns
    -------
    int array of shape (n,)
        0, 1 and so on, in sorted order.
    """
    return np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)
