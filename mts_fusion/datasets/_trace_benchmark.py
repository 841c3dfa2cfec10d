"""The synthetic benchmark of TRACE: a mixed series with known truth, and two lossy conditions."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.utils import Bunch

from ..panel import Panel
from ..panel._arguments import check_at_least, check_types

__all__ = ["make_trace_benchmark"]


def make_trace_benchmark(
    n_train: int = 20_000,
    n_validation: int = 2_000,
    n_test: int = 2_000,
    *,
    missing_fraction: float = 0.3,
    n_blocks: int = 1,
    n_timepoints: int = 50,
    horizon: int = 1,
    random_state: int | None = 0,
) -> Bunch:
    """Synthetic benchmark of TRACE: a mixed series with known truth and two lossy conditions.

    Implements appendix A.3 of [1]_: 30 latent dimensions (8 low-frequency with trends, Eq. 9; 6
    mid-frequency, Eq. 10; 16 high-frequency with a burst, Eq. 11-13), a shared drift (Eq. 15-16), a
    random mixing matrix (Eq. 17) and observation noise (Eq. 18); two condition vectors of 16
    numbers are noisy random projections of 28 summaries of the latent parameters (Eq. 19-20).
    A block of consecutive timepoints and features of the series is then hidden.

    Parameters
    ----------
    n_train, n_validation, n_test : int, default=20000, 2000, 2000
        Samples of the three parts.
    missing_fraction : float, default=0.3
        Share of the entries of the series that is hidden in each sample, in [0, 1). It is met up
        to the rounding of a block to whole timepoints and features.
    n_blocks : int, default=1
        Hidden blocks a sample; they lie one after the other in time, and share the hidden
        entries equally.
    n_timepoints : int, default=50
        Timepoints L of the series, which covers one second.
    horizon : int, default=1
        Timepoints after the end of the series that ``target`` holds; with 0 there is no target.
    random_state : int or None, default=0
        Seed. The complete series of one seed are the same at every ``missing_fraction`` and
        ``n_blocks``, and a larger training part starts with the samples of a smaller one only
        if the sizes of all parts are the same.

    Returns
    -------
    Bunch
        ``train``, ``validation`` and ``test``, each a Bunch of

        - ``data``, Panel: modalities ``"series"`` (30 channels, with missing blocks), ``"low"`` and
          ``"high"`` (16 channels, one timepoint, never missing);
        - ``complete``, Panel: the same without missing blocks;
        - ``masked``, bool ndarray (n, 30, L): what was hidden of the series, the entries over
          which MAE@Missing (Eq. 21) is taken;
        - ``target``, float32 ndarray (n, 30 * horizon) or None: what follows the series.

        Also ``DESCR``.

    Raises
    ------
    ValueError
        If ``missing_fraction`` is not in [0, 1), a part is empty or there are more blocks than
        timepoints.

    References
    ----------
    .. [1] Kan et al., "TRACE", ICML 2026, appendix A.3. https://arxiv.org/abs/2606.06285

    Examples
    --------
    >>> parts = make_trace_benchmark(8, 2, 2, missing_fraction=0.3)
    >>> parts.train.data.schema["series"].n_channels, parts.train.masked.shape
    (30, (8, 30, 50))
    >>> round(float(parts.train.masked.mean()), 2)
    0.3
    """
    check_types(make_trace_benchmark, locals())
    if not 0 <= missing_fraction < 1:
        raise ValueError(f"missing_fraction is a share in [0, 1), got {missing_fraction!r}.")
    for part, n in (("n_train", n_train), ("n_validation", n_validation), ("n_test", n_test)):
        if n < 1:
            raise ValueError(
                f"{part} is at least 1, got {n!r}. Ask for 1 and leave that part alone."
            )
    if not 1 <= n_blocks <= n_timepoints:
        raise ValueError(f"n_blocks is in [1, {n_timepoints}] (n_timepoints), got {n_blocks}.")
    check_at_least(0, horizon=horizon)
    if random_state is not None:
        check_at_least(0, random_state=random_state)
    signal_seed, mask_seed = np.random.SeedSequence(random_state).spawn(2)
    rng, mask_rng = np.random.default_rng(signal_seed), np.random.default_rng(mask_seed)
    n_features = 30
    fixed = Bunch(
        # NOTE[DIFF] the paper gives no scale for M, P_1, P_2: variance 1/fan-in keeps unit size.
        mixing=rng.normal(size=(n_features, n_features)) / np.sqrt(n_features),
        low=rng.normal(size=(16, 28)) / np.sqrt(28),
        high=rng.normal(size=(16, 28)) / np.sqrt(28),
    )
    parts = Bunch(DESCR=_TRACE_DESCRIPTION)
    for part, n in (("train", n_train), ("validation", n_validation), ("test", n_test)):
        chunks = [
            _trace_samples(min(2_000, n - start), n_timepoints, horizon, fixed, rng)
            for start in range(0, n, 2_000)
        ]
        series, low, high = (np.concatenate(parts_) for parts_ in zip(*chunks, strict=True))
        future = series[:, :, n_timepoints:].reshape(n, -1)
        series = np.ascontiguousarray(series[:, :, :n_timepoints])
        masked = _block_mask(n, n_features, n_timepoints, missing_fraction, n_blocks, mask_rng)
        rates = {"series": float(n_timepoints)}
        gappy = np.where(masked, np.float32(np.nan), series)
        parts[part] = Bunch(
            data=Panel({"series": gappy, "low": low, "high": high}, rates=rates),
            complete=Panel({"series": series, "low": low, "high": high}, rates=rates),
            masked=masked,
            # NOTE[DIFF] the paper speaks of a forecasting task but does not define it: here the
            # closed form of the series is simply carried on for `horizon` timepoints.
            target=future if horizon else None,
        )
    return parts


_TRACE_DESCRIPTION = (
    "Synthetic benchmark of TRACE (appendix A.3): a series of 30 mixed features and two lossy "
    "condition vectors; blocks of the series are hidden and their truth is known."
)


def _trace_samples(
    n: int, n_timepoints: int, horizon: int, fixed: Bunch, rng: np.random.Generator
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Series (n, 30, L + horizon) and the two conditions (n, 16, 1), float32."""
    t = np.arange(n_timepoints + horizon) / n_timepoints  # seconds

    def uniform(low: float, high: float, width: int) -> NDArray[Any]:
        return rng.uniform(low, high, size=(n, width, 1))

    def phases(width: int) -> NDArray[Any]:
        return uniform(0, 2 * np.pi, width)

    # Eq. 9
    f_low, a_low, p_low = uniform(0.6, 2.0, 8), uniform(0.6, 1.5, 8), phases(8)
    s, q = uniform(-1.0, 1.0, 8), uniform(-0.3, 0.3, 8)
    x_low = a_low * np.sin(2 * np.pi * f_low * t + p_low) + s * (t - 0.5) + q * (t - 0.5) ** 2
    # Eq. 10
    f_mid, a_mid, p_mid = uniform(2.5, 5.0, 6), uniform(0.4, 1.2, 6), phases(6)
    x_mid = a_mid * np.sin(2 * np.pi * f_mid * t + p_mid)
    # Eq. 11
    f_high, a_high, p_high = uniform(6.0, 11.0, 16), uniform(0.2, 0.9, 16), phases(16)
    x_high = a_high * np.sin(2 * np.pi * f_high * t + p_high)
    x_high += 0.3 * a_high * np.cos(2 * np.pi * 1.7 * f_high * t + p_high / 2)
    # Eq. 12-13. One burst a sample, shared by its high-frequency dimensions: mu, sigma and A carry
    # no index d in the paper, and its condition vector has one position, width and amplitude.
    present = rng.random((n, 1, 1)) < 0.7
    mu, sigma, amplitude = (
        present * uniform(*bounds, 1) for bounds in ((0.15, 0.85), (0.05, 0.1), (0.8, 2.2))
    )
    x_high += amplitude * np.exp(-((t - mu) ** 2) / (2 * np.where(present, sigma, 1.0) ** 2))
    # Eq. 14-18
    a_drift, f_drift, p_drift = uniform(0.05, 0.35, 1), uniform(0.1, 0.5, 1), phases(1)
    drift = a_drift * np.sin(2 * np.pi * f_drift * t + p_drift)
    latent = np.concatenate([x_low, x_mid, x_high], axis=1) + drift  # (n, 30, L + horizon)
    series = fixed.mixing @ latent
    series += 0.03 * rng.normal(size=series.shape)
    # Eq. 19-20: 28 summaries, the last of them nuisance
    low = _summary(
        [a_low, f_low, p_low, s, q],
        [(a_low, f_low), (a_low, s), (a_low, q), (f_low, p_low), (s, q)],
        [a_drift, f_drift, p_drift],
        rng,
    )
    energies = [
        (a_mid**2).sum(axis=1, keepdims=True) / 2,
        (1 + 0.3**2) * (a_high**2).sum(axis=1, keepdims=True) / 2,
        np.sqrt(np.pi) * amplitude**2 * sigma,
    ]
    high = _summary(
        [a_mid, f_mid, p_mid, a_high, f_high, p_high],
        [(a_mid, f_mid), (a_high, f_high)],
        [present.astype(float), mu, sigma, amplitude, *energies],
        rng,
    )
    low = low @ fixed.low.T + 0.02 * rng.normal(size=(n, 16))
    high = high @ fixed.high.T + 0.02 * rng.normal(size=(n, 16))
    as_float32 = (series, low[:, :, None], high[:, :, None])
    return tuple(x.astype(np.float32) for x in as_float32)  # type: ignore[return-value]


def _summary(
    parameters: list[NDArray[Any]],
    pairs: list[tuple[NDArray[Any], NDArray[Any]]],
    scalars: list[NDArray[Any]],
    rng: np.random.Generator,
) -> NDArray[Any]:
    """The vector u (n, 28): means, deviations, covariances, single numbers, then nuisance.

    The paper names these kinds of summary and the total of 28, not the list: ours is complete in
    the kinds, and the rest of the 28 is the nuisance (normal, sd 0.1) of the paper.
    """
    columns = [p.mean(axis=1) for p in parameters] + [p.std(axis=1) for p in parameters]
    columns += [
        ((a - a.mean(axis=1, keepdims=True)) * (b - b.mean(axis=1, keepdims=True))).mean(axis=1)
        for a, b in pairs
    ]
    columns += [x[:, 0] for x in scalars]
    summaries = np.concatenate(columns, axis=1)
    nuisance = 0.1 * rng.normal(size=(len(summaries), 28 - summaries.shape[1]))
    return np.concatenate([summaries, nuisance], axis=1)


def _block_mask(
    n: int,
    n_features: int,
    n_timepoints: int,
    fraction: float,
    n_blocks: int,
    rng: np.random.Generator,
) -> NDArray[np.bool_]:
    """True where hidden, (n, D, L): per sample ``n_blocks`` rectangles of features x timepoints.

    A block lies in its own stretch of time. Its duration is drawn between what it needs when it
    covers all features and the whole stretch; its number of features then gives the share.
    """
    masked = np.zeros((n, n_features, n_timepoints), dtype=bool)
    if fraction == 0:
        return masked
    feature, timepoint = np.arange(n_features), np.arange(n_timepoints)
    edges = np.linspace(0, n_timepoints, n_blocks + 1).round().astype(int)
    for first, last in pairwise(edges):
        length = last - first
        area = fraction * length * n_features
        width = rng.integers(max(1, int(np.ceil(fraction * length))), length + 1, size=n)
        height = np.clip(np.round(area / width), 1, n_features).astype(int)
        start = first + np.floor(rng.random(n) * (length - width + 1)).astype(int)
        bottom = np.floor(rng.random(n) * (n_features - height + 1)).astype(int)
        in_time = (timepoint >= start[:, None]) & (timepoint < (start + width)[:, None])
        in_feature = (feature >= bottom[:, None]) & (feature < (bottom + height)[:, None])
        masked |= in_feature[:, :, None] & in_time[:, None, :]
    return masked
