"""Mean and standard deviation of observed values, in double precision, piece by piece."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import numpy as np

__all__ = ["channel_moments", "chunk_moments", "no_spread", "row_moments", "sample_chunks"]

_CHUNK_VALUES = 2**18  # about 2 MB in double precision: stays in the cache of one core


def sample_chunks(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices along the samples of an array ``(n, C, L)``, each of about 2 MB of float64."""
    per_sample = max(1, int(np.prod(shape[1:])))
    step = max(1, _CHUNK_VALUES // per_sample)
    return (slice(start, min(start + step, shape[0])) for start in range(0, shape[0], step))


def channel_moments(values: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel over samples and time.

    Parameters
    ----------
    values : array of shape (n, C, L)
        Any numbers where not observed.
    observed : bool array of shape (n, C, L)
        What counts.

    Returns
    -------
    mean, sd : arrays of shape (C,)
        NaN for a channel without an observed value. ``sd`` is that of the population.
    """
    return chunk_moments(
        lambda: ((values[rows], observed[rows]) for rows in sample_chunks(values.shape))
    )


def chunk_moments(
    chunks: Callable[[], Iterable[tuple[np.ndarray, np.ndarray]]],
) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`channel_moments`, of values and masks that are read twice, chunk by chunk.

    Parameters
    ----------
    chunks : callable
        Gives pairs of values and masks ``(k, C, L)``, those of :func:`sample_chunks`.

    Returns
    -------
    mean, sd : arrays of shape (C,)
        As :func:`channel_moments`, bit by bit.
    """
    count, total, squares = 0, 0.0, 0.0
    for values, observed in chunks():
        count = count + observed.sum((0, 2))
        total = total + np.where(observed, values, 0.0).sum((0, 2), dtype=np.float64)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = total / np.asarray(count)
    for values, observed in chunks():
        away = values.astype(np.float64) - mean[:, None]
        squares = squares + np.where(observed, away * away, 0.0).sum((0, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        return mean, np.sqrt(squares / np.asarray(count))


def row_moments(values: np.ndarray, observed: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel of each sample, over time.

    Parameters
    ----------
    values : float64 array of shape (n, C, L)
        Any numbers where not observed.
    observed : bool array of shape (n, C, L)
        What counts.

    Returns
    -------
    mean, sd : arrays of shape (n, C, 1)
        NaN where nothing was observed. ``sd`` is that of the population.
    """
    if observed.all():
        return values.mean(2, keepdims=True), values.std(2, keepdims=True)
    count = observed.sum(2, keepdims=True)
    with np.errstate(invalid="ignore"):
        mean = np.where(observed, values, 0.0).sum(2, keepdims=True) / count
        away = np.where(observed, values - mean, 0.0)
        return mean, np.sqrt((away * away).sum(2, keepdims=True) / count)


def no_spread(center: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """Whether a scale is zero, or below what float32 resolves at this center."""
    return ~(scale > np.finfo(np.float32).eps * np.abs(center))
