"""Clocks: whether stamps tick regularly, and in which interval of a regular clock each one lies."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

__all__ = [
    "DATES",
    "JITTER",
    "MAX_SHIFT",
    "ON_GRID",
    "SECONDS",
    "ZONED",
    "Clock",
    "Stamps",
    "cells_of",
    "judge_clock",
]

SECONDS, DATES, ZONED = "seconds", "dates without a time zone", "dates with a time zone"

JITTER = 0.05
"""A step this fraction of an interval too long or too short is still one of a regular clock."""

ON_GRID = 0.95
"""A clock is regular if this fraction of its steps are whole multiples of one interval."""

MAX_SHIFT = 0.05
"""Samples are moved to the grid of a clock by at most this fraction of their length."""

# Fewer steps tell no interval: a single one is as long as itself.
_MIN_STEPS = 2

# Stamps rounded to more than this fraction of an interval are no longer judged step by step.
_COARSE = 0.35

# Steps in a row from which the interval of such stamps can be determined.
_MIN_RUN = 16

# A gap of more intervals says nothing of one.
_MAX_GAP = 20

# An estimate so near to a whole rate, or to an interval of whole milliseconds, is meant as that.
_NEARLY = 2e-4

# Powers of ten of a second that stamps may be rounded to.
_ROUNDINGS = tuple(10.0**-digits for digits in range(7))


@dataclass(frozen=True)
class Stamps:
    """A clock as it was read: ``SECONDS`` in float64, or dates in int64 nanoseconds since 1970."""

    kind: str
    values: np.ndarray  # (T,)
    whole: bool = False  # whether the seconds came as integers, which may be a count

    def __len__(self) -> int:
        return len(self.values)


@dataclass(frozen=True)
class Clock:
    """What was decided of a clock: its rate in Hz, or None where it is irregular."""

    rate: float | None
    rounding: float = 0.0  # seconds
    usual_step: float = 0.0  # seconds, of most steps; 0 where there is no step
    n_odd: int = 0  # steps of another length, where most have the usual one
    n_steps: int = 0

    @property
    def is_steady(self) -> bool:
        """Whether no step speaks against one interval: regular, or too few steps to tell."""
        return self.rate is not None or 0 < self.n_steps < _MIN_STEPS


def judge_clock(clocks: Sequence[np.ndarray]) -> Clock:
    """Whether stamps come from one regular clock, jitter, rounding and lost entries allowed.

    Parameters
    ----------
    clocks : list of float64 arrays (T_i,)
        Stamps in seconds of each sample or recording, which do not decrease.

    Returns
    -------
    Clock
        With a rate, if 95 % of the steps are whole multiples of one interval, up to 5 % of it and
        to the rounding of the stamps, and more than half of them are one interval. A single step
        in all samples makes no regular clock.
    """
    steps = [np.diff(clock) for clock in clocks if len(clock) > 1]
    flat = np.concatenate(steps) if steps else np.empty(0)
    positive = flat[flat > 0]
    if not len(positive):
        return Clock(None, n_steps=len(flat))
    rounding = _rounding(clocks)
    usual = float(np.percentile(positive, 50, method="lower"))
    if len(flat) < _MIN_STEPS:
        return Clock(None, rounding, usual, 0, len(flat))
    near = np.abs(flat - usual) <= _tolerance(usual, rounding)
    # The median has the rounding of one step; the mean over all steps of one interval has not.
    interval = float(flat[near].mean())
    single, on_grid = _fractions(flat, interval, rounding)
    if single < ON_GRID and rounding >= _COARSE * min(usual, interval):
        coarse = _coarse_interval([c for c in clocks if len(c) > 1], usual, rounding)
        if coarse is not None:
            return Clock(_nearly(1 / coarse), rounding, coarse, 0, len(flat))
    if on_grid >= ON_GRID and single > 0.5:
        interval = _refined(flat, interval, rounding)
        return Clock(_nearly(1 / interval), 0.0, interval, 0, len(flat))
    n_odd = round((1 - on_grid) * len(flat)) if single > 0.5 else 0
    return Clock(None, rounding, interval, n_odd, len(flat))


def cells_of(times: np.ndarray, rate: float, rounding: float = 0.0) -> np.ndarray:
    """The interval of a regular clock in which each entry lies, counted from the first.

    Step by step, so that a clock a little slower or faster than its rate does not drift away.

    Parameters
    ----------
    times : float64 array of shape (T,)
        Stamps in seconds, which do not decrease.
    rate : float
        In Hz.
    rounding : float, default=0.0
        To how many seconds the stamps are rounded.

    Returns
    -------
    int64 array of shape (T,)
        From 0, not decreasing. Two entries share an interval only where none is free beside it.
    """
    steps = np.round(np.diff(times) * rate).astype(np.int64)
    ticks_apart = 1 / max(rounding * rate, 1e-12)  # a whole number: the stamps are exact
    if rounding * rate >= _COARSE and abs(ticks_apart - round(ticks_apart)) > 1e-3:
        for start, stop in _runs(times, 1 / rate, rounding):
            ticks = times[start : stop + 1] * rate
            drift = ticks - np.arange(stop - start + 1)
            if np.ptp(drift) <= 1.1 * rounding * rate + JITTER:
                steps[start:stop] = 1
    for i in np.flatnonzero(steps == 0):  # late by more than half an interval, or twice
        if i + 1 < len(steps) and steps[i + 1] > 1:
            steps[i], steps[i + 1] = 1, steps[i + 1] - 1
        elif i > 0 and steps[i - 1] > 1:
            steps[i], steps[i - 1] = 1, steps[i - 1] - 1
    return np.concatenate([np.zeros(min(len(times), 1), np.int64), steps.cumsum()])


def _rounding(clocks: Sequence[np.ndarray]) -> float:
    """Coarsest power of ten of a second of which all stamps are multiples; 0 if there is none."""
    times = np.concatenate(clocks)
    error = 4 * np.spacing(np.abs(times).max(initial=0.0))
    for rounding in _ROUNDINGS:
        ticks = times / rounding
        if (np.abs(ticks - np.round(ticks)) <= 1e-6 + error / rounding).all():
            return rounding
    return 0.0


def _tolerance(interval: float, rounding: float) -> float:
    return max(JITTER * interval, 1.001 * rounding if rounding < _COARSE * interval else 0.0)


def _fractions(steps: np.ndarray, interval: float, rounding: float) -> tuple[float, float]:
    """Fractions of the steps that are one interval, and that are a whole number of them."""
    tolerance = _tolerance(interval, rounding)
    multiples = np.round(steps / interval)
    whole = (multiples >= 1) & (np.abs(steps - multiples * interval) <= tolerance)
    return float((whole & (multiples == 1)).mean()), float(whole.mean())


def _refined(steps: np.ndarray, interval: float, rounding: float) -> float:
    """The interval over gaps too, whose rounding is that of one step for many intervals."""
    multiples = np.round(steps / interval)
    whole = (multiples >= 1) & (multiples <= _MAX_GAP)
    whole &= np.abs(steps - multiples * interval) <= _tolerance(interval, rounding)
    return float(steps[whole].sum() / multiples[whole].sum())


def _runs(times: np.ndarray, interval: float, rounding: float) -> list[tuple[int, int]]:
    """First and last entry of each run without a gap of more than three intervals."""
    breaks = np.flatnonzero(np.diff(times) > 3 * interval + rounding)
    starts, stops = [0, *(breaks + 1)], [*breaks, len(times) - 1]
    return [(int(a), int(b)) for a, b in zip(starts, stops, strict=True) if b > a]


def _coarse_interval(clocks: list[np.ndarray], usual: float, rounding: float) -> float | None:
    """Interval of stamps rounded to about it, if runs of them lie along one line each."""
    n_steps = n_lined = 0
    seconds = 0.0
    for times in clocks:
        n_steps += len(times) - 1
        for start, stop in _runs(times, usual, rounding):
            n = stop - start
            if n < _MIN_RUN:
                continue
            run, count = times[start : stop + 1] - times[start], np.arange(n + 1) - n / 2
            interval = float(run @ count / (count @ count))  # slope of the line through the run
            if np.ptp(run - interval * count) <= 1.1 * rounding + JITTER * interval:
                n_lined, seconds = n_lined + n, seconds + n * interval
    return seconds / n_lined if n_lined >= ON_GRID * n_steps and n_lined else None


def _nearly(rate: float) -> float:
    """A rate without the last digits of the clock: 64.0003 Hz is meant as 64 Hz."""
    if abs(rate - round(rate)) <= _NEARLY * rate:
        return float(round(rate))
    milliseconds = 1000 / rate
    if milliseconds >= 10 and abs(milliseconds - round(milliseconds)) <= _NEARLY * milliseconds:
        return 1000 / round(milliseconds)
    return float(f"{rate:.9g}")
