"""When a channel was observed: times of the first and last value, how long ago, how it changed."""

from __future__ import annotations

import numpy as np

from mts_fusion.panel import Panel

__all__ = ["clock", "own_lengths", "sample_ends", "shares_observed", "timing"]


def clock(panel: Panel, name: str) -> np.ndarray:
    """Time of each timepoint of a modality.

    Parameters
    ----------
    panel : Panel
        Samples.
    name : str
        A modality.

    Returns
    -------
    float64 array of shape (n, L) or (1, L)
        Seconds from the start of the sample: its times, 0 where they are padded; or timepoints
        divided by the rate, the same for all samples. Timepoints, where there is no rate.
    """
    times = panel.times[name]
    if times is not None:
        return np.nan_to_num(times, nan=0.0)
    modality = panel.schema[name]
    return np.arange(modality.n_timepoints)[None] / (modality.rate or 1.0)


def sample_ends(panel: Panel) -> dict[str, np.ndarray]:
    """Time of the last observation of each sample, by modality.

    Parameters
    ----------
    panel : Panel
        Samples.

    Returns
    -------
    dict of str to float64 array of shape (n,)
        Seconds, over all modalities that have times or a rate, the same for all of these. A
        modality with neither counts timepoints, which compare to no seconds: it has its own end.
        Minus infinity where nothing was observed.
    """
    ends: dict[str, np.ndarray] = {}
    latest = np.full(len(panel), -np.inf)
    in_seconds = []
    for modality in panel.schema:
        any_observed = panel.observed[modality.name].any(1)  # (n, L)
        end = np.where(any_observed, clock(panel, modality.name), -np.inf).max(1, initial=-np.inf)
        ends[modality.name] = end
        if modality.irregular or modality.rate is not None:
            in_seconds.append(modality.name)
            latest = np.maximum(latest, end)
    return ends | dict.fromkeys(in_seconds, latest)


def own_lengths(observed: np.ndarray, at_least: int) -> np.ndarray:
    """Timepoints of each sample, without those that only longer samples beside it have.

    Parameters
    ----------
    observed : bool array of shape (n, C, L)
        What was observed.
    at_least : int
        Timepoints that each sample has, observed or not.

    Returns
    -------
    int array of shape (n,)
        Up to the last timepoint at which any channel was observed.
    """
    some = np.asarray(observed.any(1))  # (n, L)
    last = some.shape[1] - some[:, ::-1].argmax(1)
    return np.maximum(np.where(some.any(1), last, 0), at_least)


def shares_observed(observed: np.ndarray, lengths: np.ndarray, irregular: bool) -> np.ndarray:
    """Share of timepoints at which each channel was observed.

    Parameters
    ----------
    observed : bool array of shape (n, C, L)
        What was observed.
    lengths : int array of shape (n,)
        Timepoints of each sample.
    irregular : bool
        Whether the modality has times of its own. Then the timepoints are those at which any of
        its channels was observed: others are padding, or hold no value.

    Returns
    -------
    float64 array of shape (n, C)
        From 0 to 1; 0 for a silent channel.
    """
    if irregular:
        lengths = np.maximum(observed.any(1).sum(1), 1)
    return np.asarray(observed.sum(2) / lengths[:, None])


def timing(
    values: np.ndarray, observed: np.ndarray, clock: np.ndarray, end: np.ndarray
) -> dict[str, np.ndarray]:
    """Statistics of the times of observations, and of the change from the first to the last.

    Parameters
    ----------
    values : float64 array of shape (n, C, L)
        Any numbers where not observed.
    observed : bool array of shape (n, C, L)
        What counts.
    clock : array of shape (n, L) or (1, L)
        Seconds, increasing; finite.
    end : array of shape (n,)
        Seconds, the end of each sample.

    Returns
    -------
    dict of str to float64 array of shape (n, C)
        ``count``, 0 for a silent channel; NaN for one in the others: ``first_time``,
        ``last_time``, ``since_last`` (seconds), ``first``, ``last``, ``last_minus_first`` (in the
        unit of the channel) and ``slope`` (unit per second), NaN also where all observations are
        of one time.
    """
    n_timepoints = values.shape[2]
    count = observed.sum(2)
    silent = count == 0
    at = np.broadcast_to(clock[:, None], values.shape)
    first = observed.argmax(2)[..., None]
    last = n_timepoints - 1 - observed[..., ::-1].argmax(2)[..., None]

    def take(array: np.ndarray, index: np.ndarray) -> np.ndarray:
        return np.where(silent, np.nan, np.take_along_axis(array, index, axis=2)[..., 0])

    result = {
        "count": count.astype(np.float64),
        "first_time": take(at, first),
        "last_time": take(at, last),
        "first": take(values, first),
        "last": take(values, last),
    }
    with np.errstate(invalid="ignore"):
        result["since_last"] = end[:, None] - result["last_time"]
    result["last_minus_first"] = result["last"] - result["first"]
    result["slope"] = _slope(values, observed, at, result["first_time"], result["last_time"])
    return result


def _slope(
    values: np.ndarray,
    observed: np.ndarray,
    at: np.ndarray,
    first_time: np.ndarray,
    last_time: np.ndarray,
) -> np.ndarray:
    """Least squares, by the time since the first observation in units of the time between both."""
    span = last_time - first_time
    moved = span > 0
    scale = np.where(moved, span, 1.0)[..., None]
    x = np.where(observed, (at - np.nan_to_num(first_time)[..., None]) / scale, 0.0)
    count = np.maximum(observed.sum(2, keepdims=True), 1)
    x = np.where(observed, x - x.sum(2, keepdims=True) / count, 0.0)
    y = np.where(observed, values, 0.0)
    y = np.where(observed, y - y.sum(2, keepdims=True) / count, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        slope = (x * y).sum(2) / (x * x).sum(2) / scale[..., 0]
    return np.where(moved, slope, np.nan)
