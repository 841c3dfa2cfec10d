"""Scores of imputed values: point errors, representations, distributions."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..panel._arguments import as_floats, check_types

__all__ = [
    "crps_from_quantiles",
    "crps_from_samples",
    "mae_at_missing",
    "oracle_cosine_similarity",
    "quantiles_from_samples",
]

_CHUNK = 65_536  # entries whose draws are sorted at once: bounds the memory


def mae_at_missing(
    truth: ArrayLike,
    imputed: ArrayLike,
    missing: ArrayLike,
    *,
    average: Literal["samples", "entries"] | None = "samples",
) -> float | NDArray[np.float64]:
    """Mean absolute error over the entries that were missing (MAE@Missing).

    Parameters
    ----------
    truth : array-like of shape (n, ...)
        What the values were, such as ``panel.values[name]`` before hiding. Read at the missing
        entries only: NaN elsewhere does not matter.
    imputed : array-like of shape (n, ...)
        The imputed values.
    missing : array-like of bool of shape (n, ...)
        The entries to score.
    average : {"samples", "entries"} or None, default="samples"
        "samples" is the mean of Eq. 21 of [1]_ over the samples that miss something; "entries"
        gives each missing entry the same weight, as CSDI does; None returns one number a sample.

    Returns
    -------
    float or ndarray of shape (n,)
        The error in units of the values; in the array, NaN for a sample that misses nothing.

    Raises
    ------
    ValueError
        If shapes differ, nothing is missing, or a scored entry of either array is not finite.

    References
    ----------
    .. [1] Kan et al., "TRACE", ICML, 2026. https://arxiv.org/abs/2606.06285

    Examples
    --------
    >>> mae_at_missing([[1.0, 2.0], [3.0, 4.0]], [[1.0, 2.5], [3.0, 4.0]], [[0, 1], [0, 0]])
    0.5
    """
    check_types(mae_at_missing, locals())
    target, scored = _check_target(truth, missing)
    estimate = as_floats("imputed", imputed)
    _check_shape("imputed", estimate, target.shape)
    _check_finite("imputed", estimate[scored], "Impute every missing entry first.")
    if average not in ("samples", "entries", None):
        raise ValueError(f"average is 'samples', 'entries' or None, got {average!r}.")
    error = np.where(scored, np.abs(estimate - target), 0.0).reshape(len(target), -1)
    n_missing = scored.reshape(len(target), -1).sum(axis=1)
    if average == "entries":
        return float(error.sum() / n_missing.sum())
    with np.errstate(invalid="ignore"):  # 0 / 0: nothing missing in this sample
        per_sample = error.sum(axis=1) / n_missing
    return per_sample if average is None else float(np.nanmean(per_sample))


def oracle_cosine_similarity(
    oracle: ArrayLike, representation: ArrayLike, *, average: bool = True
) -> float | NDArray[np.float64]:
    """Cosine of the angle between representations of the complete and of the imputed input.

    Appendix A.3 of [1]_: the oracle is what the same fitted network makes of the complete input.

    Parameters
    ----------
    oracle : array-like of shape (n, D)
        Representations of the complete samples.
    representation : array-like of shape (n, D)
        Representations of the same samples with estimated values.
    average : bool, default=True
        Mean over the samples; False returns one number a sample.

    Returns
    -------
    float or ndarray of shape (n,)
        In [-1, 1]; 1 is the same direction. A vector of zeros has no direction and gives 0, as in
        scikit-learn.

    Raises
    ------
    ValueError
        If the arrays are not of one shape (n, D), or hold NaN or infinity.

    References
    ----------
    .. [1] Kan et al., "TRACE", ICML, 2026. https://arxiv.org/abs/2606.06285

    Examples
    --------
    >>> oracle_cosine_similarity([[1.0, 0.0], [0.0, 2.0]], [[3.0, 0.0], [1.0, 0.0]], average=False)
    array([1., 0.])
    """
    check_types(oracle_cosine_similarity, locals())
    reference = as_floats("oracle", oracle)
    other = as_floats("representation", representation)
    if reference.ndim != 2 or len(reference) == 0:
        raise ValueError(
            f"oracle has shape {reference.shape}, but (n, D) was wanted. "
            "Pool each sample to one vector first, for instance by its mean over time."
        )
    _check_shape("representation", other, reference.shape)
    _check_finite("oracle", reference, "Drop those samples.")
    _check_finite("representation", other, "Drop those samples.")
    # Scaled before it is squared: tiny or huge vectors neither vanish nor overflow.
    unit = [
        v / np.maximum(np.abs(v).max(axis=1, keepdims=True), 1e-300) for v in (reference, other)
    ]
    norm = np.linalg.norm(unit[0], axis=1) * np.linalg.norm(unit[1], axis=1)
    cosine = (unit[0] * unit[1]).sum(axis=1) / np.where(norm > 0, norm, 1.0)
    cosine = cosine.clip(-1, 1)
    return float(cosine.mean()) if average else cosine


def crps_from_samples(
    truth: ArrayLike,
    samples: ArrayLike,
    missing: ArrayLike | None = None,
    *,
    fair: bool = False,
) -> float:
    """Mean continuous ranked probability score of drawn values; 0 is perfect.

    ``E|X - y| - E|X - X'| / 2`` over the draws, Eq. 21 of [1]_: the absolute error where there is
    one draw, less where the draws spread as the truth does.

    Parameters
    ----------
    truth : array-like of shape (n, ...)
        What the values were.
    samples : array-like of shape (S, n, ...)
        S draws of each value.
    missing : array-like of bool of shape (n, ...) or None, default=None
        The entries to score; None: all.
    fair : bool, default=False
        Correct for the finite number of draws (divide by ``S (S - 1)`` instead of ``S**2``), so
        that scores at different S can be compared. Needs S of at least 2; may then be below 0.

    Returns
    -------
    float
        In units of the values, mean over the scored entries.

    Raises
    ------
    ValueError
        If shapes do not fit, nothing is to be scored, or a scored value is not finite.

    References
    ----------
    .. [1] Gneiting and Raftery, "Strictly Proper Scoring Rules, Prediction, and Estimation",
       Journal of the American Statistical Association, 2007.

    Examples
    --------
    >>> crps_from_samples([0.0], [[-1.0], [1.0]])
    0.5
    """
    check_types(crps_from_samples, locals())
    target, scored = _check_target(truth, missing)
    draws = np.asarray(samples)
    if draws.ndim != target.ndim + 1 or draws.shape[1:] != target.shape or len(draws) == 0:
        raise ValueError(
            f"samples has shape {draws.shape}, but (n_samples, *truth.shape) = "
            f"(S, {', '.join(map(str, target.shape))}) was wanted. "
            "Move the axis of the draws to the front with np.moveaxis."
        )
    n_draws = len(draws)
    if fair and n_draws < 2:
        raise ValueError(f"fair=True needs at least 2 samples, got {n_draws}. Draw more.")
    n_pairs = n_draws * (n_draws - 1) if fair else n_draws**2
    # sum_ij |x_i - x_j| = 2 sum_i (2 i - S + 1) x_(i) of the sorted draws: O(S log S), not O(S^2)
    weight = 2.0 * np.arange(n_draws) - n_draws + 1
    total = 0.0
    where = np.flatnonzero(scored)
    flat_target, flat_draws = target.reshape(-1), draws.reshape(n_draws, -1)
    for first in range(0, len(where), _CHUNK):
        part = where[first : first + _CHUNK]
        some = np.ascontiguousarray(flat_draws[:, part].T, dtype=np.float64)  # (entries, S)
        _check_finite("samples", some, "Draw a value for every missing entry.")
        some.sort(axis=1)
        some -= flat_target[part, None]  # near 0, where sums lose no digits
        total += float(np.abs(some).mean(axis=1).sum() - (some @ weight).sum() / n_pairs)
    return total / len(where)


def crps_from_quantiles(
    truth: ArrayLike,
    quantiles: ArrayLike,
    missing: ArrayLike | None = None,
    *,
    levels: ArrayLike | None = None,
    normalize: bool = True,
) -> float:
    """Continuous ranked probability score from quantiles, as the tables of CSDI report it.

    Twice the pinball loss, averaged over the levels (Eq. 14 and 15 of [1]_).

    Parameters
    ----------
    truth : array-like of shape (n, ...)
        What the values were.
    quantiles : array-like of shape (Q, n, ...)
        The estimated quantiles, such as those of :func:`quantiles_from_samples`.
    missing : array-like of bool of shape (n, ...) or None, default=None
        The entries to score; None: all.
    levels : array-like of shape (Q,) or None, default=None
        Levels of the quantiles in (0, 1). None: 0.05, 0.10, ..., 0.95 as in CSDI.
    normalize : bool, default=True
        Divide by the sum of ``|truth|`` over the scored entries (CSDI): a share, without unit, that
        depends on where zero lies. False: mean over the entries, in units of the values.

    Returns
    -------
    float
        At least 0.

    Raises
    ------
    ValueError
        If shapes or levels do not fit, nothing is to be scored, a scored value is not finite, or
        the truth is 0 everywhere and ``normalize`` is set.

    References
    ----------
    .. [1] Tashiro et al., "CSDI: Conditional Score-based Diffusion Models for Probabilistic Time
       Series Imputation", NeurIPS, 2021. https://arxiv.org/abs/2107.03502

    Examples
    --------
    >>> crps_from_quantiles([2.0, 4.0], [[1.0, 4.0]], levels=[0.5], normalize=False)
    0.5
    >>> round(crps_from_quantiles([2.0, 4.0], [[1.0, 4.0]], levels=[0.5]), 4)
    0.1667
    """
    check_types(crps_from_quantiles, locals())
    target, scored = _check_target(truth, missing)
    level = np.arange(1, 20) / 20 if levels is None else np.atleast_1d(as_floats("levels", levels))
    if level.ndim != 1 or not ((level > 0) & (level < 1)).all():
        raise ValueError(f"levels is a list of numbers between 0 and 1, got {levels!r}.")
    estimate = as_floats("quantiles", quantiles)
    if estimate.shape != (len(level), *target.shape):
        raise ValueError(
            f"quantiles has shape {estimate.shape}, but (n_levels, *truth.shape) = "
            f"{(len(level), *target.shape)} was wanted. "
            "Make them with quantiles_from_samples(samples, levels)."
        )
    estimate, target = estimate[:, scored], target[scored]
    _check_finite("quantiles", estimate, "Estimate every missing entry.")
    level = level[:, None]  # (Q, 1) against (Q, entries)
    pinball = np.where(target <= estimate, 1 - level, level) * np.abs(target - estimate)
    total = 2 * pinball.mean(axis=0).sum()
    if not normalize:
        return float(total / len(target))
    scale = np.abs(target).sum()
    if scale == 0:
        raise ValueError(
            "The truth is 0 at every scored entry, so that nothing can be divided by its sum. "
            "Use normalize=False."
        )
    return float(total / scale)


def quantiles_from_samples(samples: ArrayLike, levels: ArrayLike) -> NDArray[np.float64]:
    """Quantiles of a few draws, between which the truth lies as often as their levels say.

    A level p is at place ``p (S + 1)`` of the sorted draws: where the draws are right, a share p of
    all truths is below it. Between the quantiles of numpy's default, at place ``1 + p (S - 1)``,
    there is less: .81 instead of .9 with 20 draws.

    Parameters
    ----------
    samples : array-like of shape (S, ...)
        Draws.
    levels : array-like of shape (Q,)
        In [0, 1]. Those below ``1 / (S + 1)`` have the lowest draw, those above
        ``S / (S + 1)`` the highest.

    Returns
    -------
    ndarray of shape (Q, ...)
        The quantiles.

    Raises
    ------
    ValueError
        If there are no draws, or a level is outside [0, 1].

    References
    ----------
    Hyndman and Fan, "Sample quantiles in statistical packages", The American Statistician, 1996,
    definition 6.

    Examples
    --------
    >>> quantiles_from_samples(np.arange(1, 20), [0.05, 0.5, 0.95])
    array([ 1., 10., 19.])
    """
    check_types(quantiles_from_samples, locals())
    draws, level = as_floats("samples", samples), np.atleast_1d(as_floats("levels", levels))
    if not draws.ndim or not len(draws):
        raise ValueError(f"samples has shape {draws.shape}, but draws (S, ...) were wanted.")
    if level.ndim != 1 or not ((level >= 0) & (level <= 1)).all():
        raise ValueError(f"levels is a list of numbers in [0, 1], got {levels!r}.")
    return np.asarray(np.quantile(draws, level, axis=0, method="weibull"))


def _check_target(
    truth: ArrayLike, missing: ArrayLike | None
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    target = as_floats("truth", truth)
    if target.ndim == 0:
        raise ValueError("truth is a single number, but an array (n, ...) was wanted.")
    scored = np.ones(target.shape, bool) if missing is None else np.asarray(missing, dtype=bool)
    _check_shape("missing", scored, target.shape)
    if not scored.any():
        raise ValueError(
            "No entry is missing, so that there is nothing to score. "
            "Hide some that are known, for instance with MissingnessMasker."
        )
    _check_finite("truth", target[scored], "Score only entries whose truth is known.")
    return target, scored


def _check_shape(name: str, array: NDArray, shape: tuple[int, ...]) -> None:
    if array.shape != shape:
        raise ValueError(
            f"{name} has shape {array.shape}, but {shape} was wanted. "
            "Pass arrays of the same samples, channels and timepoints."
        )


def _check_finite(name: str, array: NDArray[np.float64], advice: str) -> None:
    n_broken = int((~np.isfinite(array)).sum())
    if n_broken:
        raise ValueError(
            f"{name} has NaN or infinity at {n_broken} of {array.size} scored entries. {advice}"
        )
