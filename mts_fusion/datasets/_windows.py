"""Windows cut from streams, as offline recordings and live streams share it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel import Panel
from ..panel._clock import cells_of
from ._streams import Stream, WindowClock

__all__ = ["cut", "enough_observed", "has_entry", "window_starts"]

# This fraction of an interval forgives the last digits of a clock.
_FORGIVEN = 1e-3


def window_starts(
    recording: Mapping[str, Stream],
    clocks: Mapping[str, WindowClock],
    window: float,
    step: float,
) -> NDArray[Any]:
    """Starts in seconds of the windows that fit into the recording and have an entry."""
    filled = {name: s for name, s in recording.items() if len(s.times)}
    if not filled:
        return np.empty(0)
    begin = min(s.times[0] for s in filled.values())
    end = max(s.times[-1] + 1 / (clocks[name].rate or np.inf) for name, s in filled.items())
    n_windows = int(np.floor((end - begin - window) / step + 1e-6)) + 1
    starts = begin + step * np.arange(max(n_windows, 0))
    return starts[has_entry(filled, starts, window)]


def has_entry(
    recording: Mapping[str, Stream], starts: NDArray[Any], window: float
) -> NDArray[np.bool_]:
    """Whether any stream has an entry in each window."""
    kept = np.zeros(len(starts), dtype=bool)
    for stream in recording.values():
        first = np.searchsorted(stream.times, starts - 1e-3, side="left")
        kept |= np.searchsorted(stream.times, starts + window, side="left") > first
    return kept


def cut(
    recordings: Sequence[Mapping[str, Stream]],
    clocks: Mapping[str, WindowClock],
    starts: Sequence[NDArray[Any]],
    window: float,
    sample_ids: NDArray[Any] | None = None,
) -> Panel:
    """The windows of all recordings.

    What a window holds depends on the entries in it, and up to an interval after it, only.
    """
    n = sum(len(s) for s in starts)
    values: dict[str, NDArray[Any]] = {}
    times: dict[str, NDArray[Any]] = {}
    for name, clock in clocks.items():
        if clock.n_timepoints is not None:
            out = np.full((n, clock.n_channels, clock.n_timepoints), np.nan, dtype=np.float32)
            first = 0
            for recording, of_windows in zip(recordings, starts, strict=True):
                if name in recording and len(of_windows) and len(recording[name].times):
                    rows = slice(first, first + len(of_windows))
                    _cut_regular(recording[name], clock, of_windows, window, out[rows])
                first += len(of_windows)
            values[name] = out
        else:
            parts = [recording.get(name) for recording in recordings]
            values[name], times[name] = _cut_irregular(parts, clock.n_channels, starts, window)
    return Panel(
        values,
        times=times,
        rates={name: clocks[name].rate for name in values},
        channels={name: clocks[name].channels for name in values},
        sample_ids=sample_ids,
    )


def _cut_regular(
    stream: Stream,
    clock: WindowClock,
    starts: NDArray[Any],
    window: float,
    out: NDArray[Any],
) -> None:
    """Write the windows of one stream to ``out (n, C, L)``, NaN where its clock has a gap."""
    rate, length = clock.rate, out.shape[2]
    assert rate is not None
    first = np.searchsorted(stream.times, starts - _FORGIVEN / rate)
    last = np.searchsorted(stream.times, starts + window + 1 / rate)
    channels = stream.values.T
    for row, (start, a, b) in enumerate(zip(starts, first, last, strict=True)):
        if a == b:
            continue
        ahead = (stream.times[a] - start) * rate  # intervals from the start to the first entry
        cell = int(np.floor(ahead + _FORGIVEN)) + cells_of(stream.times[a:b], rate, clock.rounding)
        stop = int(np.searchsorted(cell, length))
        if stop and cell[0] + stop - 1 == cell[stop - 1]:  # no gap
            out[row, :, cell[0] : cell[0] + stop] = channels[:, a : a + stop]
        else:
            out[row][:, cell[:stop]] = channels[:, a : a + stop]


def _cut_irregular(
    streams: Sequence[Stream | None],
    n_channels: int,
    starts: Sequence[NDArray[Any]],
    window: float,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values (n, C, L) and times (n, L) from the start of the window, both NaN-padded."""
    parts = []
    for given, of_windows in zip(streams, starts, strict=True):
        stream = given or Stream(np.empty(0), np.empty((0, n_channels), np.float32))
        valid = ~np.isnan(stream.values).all(axis=1)  # an entry without a value is no entry
        stream = Stream(stream.times[valid], stream.values[valid])
        first = np.searchsorted(stream.times, of_windows, side="left")
        count = np.searchsorted(stream.times, of_windows + window, side="left") - first
        parts.append((stream, of_windows, first, count))
    length = max([1, *(int(count.max()) for *_, count in parts if len(count))])
    values, times = [], []
    for stream, of_windows, first, count in parts:
        inside = np.arange(length) < count[:, None]  # (n, L)
        entry = np.where(inside, first[:, None] + np.arange(length), 0)
        if len(stream.times):
            taken = np.where(inside[:, :, None], stream.values[entry], np.nan)  # (n, L, C)
            clock = np.where(inside, stream.times[entry] - of_windows[:, None], np.nan)
        else:
            taken = np.full((len(of_windows), length, n_channels), np.nan)
            clock = np.full((len(of_windows), length), np.nan)
        values.append(taken.transpose(0, 2, 1).astype(np.float32))
        times.append(clock)
    return np.concatenate(values), np.concatenate(times)


def enough_observed(panel: Panel, min_observed: float) -> NDArray[np.bool_]:
    """Windows in which some modality has more than a share of what it has at its fullest."""
    kept = np.zeros(len(panel), dtype=bool)
    for observed in panel.observed.values():
        count = observed.sum(axis=(1, 2))  # (n,)
        kept |= count > min_observed * count.max(initial=0) if min_observed else count > 0
    return kept
