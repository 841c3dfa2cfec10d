"""From long recordings, each stream on its own clock, to windows: Panel, y, groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel import Panel

__all__ = ["segment"]

# A step this share of a sampling interval too long or too short is still one of a regular clock.
_JITTER = 0.05
# A clock whose steps are this often one interval is regular; its other steps are gaps.
_REGULAR_SHARE = 0.95


def segment(
    recordings: Any,
    *,
    window_seconds: float,
    step_seconds: float | None = None,
    label: Any = None,
    groups: Any = None,
    rates: Mapping[str, float | None] | None = None,
    min_share: float = 0.5,
    min_observed: float = 0.0,
    return_starts: bool = False,
) -> tuple[Any, ...]:
    """Windows of long recordings as a Panel, with the label and the group of each window.

    Nothing is resampled: a stream with a regular clock keeps its rate and has NaN in its gaps, one
    with an irregular clock keeps its times. All streams of a window cover the same seconds.

    Parameters
    ----------
    recordings : dict of str to stream, or list or dict of such dicts
        One recording: per modality its stream. Or several: a list, or a dict by name. A stream is
        a Series or DataFrame whose index is its clock, in seconds (numbers) or as dates, or a
        tuple ``(times, values)`` of arrays ``(T,)`` and ``(T,)`` or ``(T, C)``. The clocks of one
        recording have one origin. A recording may lack a modality.
    window_seconds : float
        Duration of a window in seconds.
    step_seconds : float or None, default=None
        Time from one window to the next; below ``window_seconds`` windows overlap. None means
        ``window_seconds``.
    label : None, scalar, Series, tuple, callable, or a list or dict of them, default=None
        What becomes ``y``, given for one recording, or one per recording in the structure of
        ``recordings``:

        - a scalar is the label of all windows of the recording;
        - a Series, or a tuple ``(times, labels)``, on its own clock: a window gets the label that
          most entries in it have, each entry counting once, NaN and None counting as no label;
        - a callable ``label(recording, start, stop)``, with times in seconds on the clock of the
          recording, gives the label of a window, or None.

        Windows without a label are dropped.
    groups : None, scalar, or a list or dict of them, default=None
        The group (the subject, say) of each recording. None means the position of the recording,
        or its name when ``recordings`` is a dict of recordings.
    rates : dict of str to float or None, default=None
        Rate in Hz of the modalities whose clock is to be taken as regular; None for those that
        are to be taken as irregular. The clock of the others is judged: it is regular if 95 % of
        its steps are equal, or all are whole multiples of the median step, up to 5 % of it.
    min_share : float, default=0.5
        Share of the label entries in a window that the label has to have; with 1 only pure windows
        are kept.
    min_observed : float, default=0.0
        A window is kept if some modality has more than this share of its values, of the most that
        modality ever has in a window. With 0, a single observed value is enough.
    return_starts : bool, default=False
        Whether the start of each window, in seconds on the clock of its recording, is returned.

    Returns
    -------
    panel : Panel
        One sample a window. Regular modalities have ``floor(window_seconds * rate)`` timepoints,
        from the first one at or after the start of the window; the others have ``times`` in seconds
        from the start of the window, padded with NaN.
    y : ndarray of shape (n,) or None
        The labels; None if ``label`` is None.
    groups : ndarray of shape (n,)
        The group of each window.
    starts : ndarray of shape (n,)
        Only with ``return_starts=True``.

    Raises
    ------
    TypeError
        If a stream is neither Series, DataFrame nor tuple, or its values are not numbers.
    ValueError
        If a clock is unsorted, two entries fall on one timepoint of a regular clock, a modality
        has another number of channels in another recording, or no window is left.

    Notes
    -----
    The first window starts with the earliest entry of any stream of the recording, and a window has
    to end before the latest one ends. Split by ``groups``: overlapping windows share data.

    Examples
    --------
    >>> import numpy as np
    >>> import pandas as pd
    >>> acc = pd.DataFrame(np.zeros((250, 3)), index=np.arange(250) / 25)  # 25 Hz, 10 s
    >>> pulse = pd.Series([60.0, 61.0, 64.0], index=[0.3, 4.1, 9.7])
    >>> activity = pd.Series(["rest"] * 5 + ["walk"] * 5, index=np.arange(10.0))
    >>> panel, y, groups = segment(
    ...     {"acc": acc, "pulse": pulse}, window_seconds=5, label=activity, groups="anna"
    ... )
    >>> panel.schema["acc"].rate, panel.schema["acc"].n_timepoints, panel.times["pulse"].shape
    (25.0, 125, (2, 2))
    >>> y.tolist(), groups.tolist()
    (['rest', 'walk'], ['anna', 'anna'])
    """
    step_seconds = window_seconds if step_seconds is None else step_seconds
    for parameter, value in (("window_seconds", window_seconds), ("step_seconds", step_seconds)):
        if not (np.isfinite(value) and value > 0):
            raise ValueError(f"{parameter} is a positive number of seconds, got {value!r}.")
    names, raw = _recordings(recordings)
    single = isinstance(recordings, Mapping) and names is None
    labels = _per_recording("label", label, names, len(raw), single)
    group_of = _per_recording("groups", groups, names, len(raw), single)
    if groups is None:
        group_of = list(range(len(raw))) if names is None else list(names)

    streams = [_read_recording(recording) for recording in raw]
    clocks = _clocks(streams, dict(rates or {}), window_seconds)
    starts = [
        _window_starts(recording, clocks, window_seconds, step_seconds) for recording in streams
    ]
    y_of: list[list[Any] | NDArray[Any] | None] = [None] * len(raw)
    if label is not None:
        for r, (recording, of_windows) in enumerate(zip(raw, starts, strict=True)):
            y_of[r], kept = _label_windows(
                labels[r], recording, of_windows, window_seconds, min_share
            )
            starts[r] = of_windows[kept]

    panel = _cut(streams, clocks, starts, window_seconds)
    y = None if label is None else _concatenate(y_of)
    group = _concatenate([_repeat(g, len(s)) for g, s in zip(group_of, starts, strict=True)])
    start = np.concatenate(starts)
    kept = _enough_observed(panel, min_observed)
    if not kept.any():
        raise ValueError(
            f"No window is left of {len(raw)} recording(s): {len(kept)} had a label and "
            f"{window_seconds:g} seconds, none of them more than min_observed={min_observed:g} of "
            "its values. Shorten window_seconds, lower min_share or min_observed."
        )
    if not kept.all():
        panel, group, start = panel[kept], group[kept], start[kept]
        y = None if y is None else y[kept]
    return (panel, y, group, start) if return_starts else (panel, y, group)


@dataclass
class _Stream:
    """One modality of one recording: times (T,) in seconds, values (T, C) float32."""

    times: NDArray[Any]
    values: NDArray[Any]
    columns: list[Any] | None


def _recordings(recordings: Any) -> tuple[list[Any] | None, list[Mapping[str, Any]]]:
    """Names of the recordings, if they have names, and the recordings."""
    if isinstance(recordings, Mapping):
        if not recordings:
            raise ValueError("recordings is empty; give at least one recording.")
        if all(isinstance(value, Mapping) for value in recordings.values()):
            return list(recordings), list(recordings.values())
        return None, [recordings]
    if isinstance(recordings, Sequence) and all(isinstance(r, Mapping) for r in recordings):
        if not recordings:
            raise ValueError("recordings is empty; give at least one recording.")
        return None, list(recordings)
    raise TypeError(
        "recordings is a dict of modality -> Series, DataFrame or (times, values), or a list or "
        f"dict of such dicts, got {type(recordings).__name__}. "
        "Wrap a single stream: {'name': stream}."
    )


def _per_recording(
    parameter: str, given: Any, names: list[Any] | None, n: int, single: bool
) -> list[Any]:
    """One entry of a parameter per recording, in order."""
    if given is None or callable(given) or single:
        return [given] * n
    if names is not None and isinstance(given, Mapping):
        lacking = [name for name in names if name not in given]
        if lacking:
            raise ValueError(f"{parameter} has no entry for the recordings {lacking}.")
        return [given[name] for name in names]
    if names is None and isinstance(given, Sequence | np.ndarray) and not isinstance(given, str):
        if len(given) != n:
            raise ValueError(
                f"{parameter} has {len(given)} entries for {n} recordings; it needs one each."
            )
        return list(given)
    structure = "a list" if names is None else "a dict"
    raise TypeError(
        f"{parameter} of several recordings is {structure} with one entry each, as recordings is, "
        f"got {type(given).__name__}."
    )


def _seconds(index: Any, what: str) -> NDArray[Any]:
    """A clock as float64 seconds: numbers as they are, dates since 1970 (UTC)."""
    if getattr(index, "tz", None) is not None:
        index = index.tz_convert("UTC").tz_localize(None)
    times = np.asarray(index)
    if times.dtype.kind in "mM":
        unit = times.astype(times.dtype.kind + "8[ns]").astype(np.int64)
        missing = np.isnat(times)
        seconds = unit / 1e9
        seconds[missing] = np.nan
    elif times.dtype.kind in "iuf":
        seconds = times.astype(np.float64)
    else:
        raise TypeError(
            f"The clock of {what} is {times.dtype}; seconds (numbers) or dates are wanted. Set the "
            "index, or pass (times, values)."
        )
    if seconds.ndim != 1 or not np.isfinite(seconds).all():
        raise ValueError(f"The clock of {what} is not one finite time per entry.")
    back = np.flatnonzero(np.diff(seconds) < 0)
    if len(back):
        raise ValueError(
            f"The clock of {what} goes back at entry {int(back[0]) + 1}. Sort it first."
        )
    return seconds


def _read_recording(recording: Mapping[str, Any]) -> dict[str, _Stream]:
    return {name: _read_stream(name, stream) for name, stream in recording.items()}


def _read_stream(name: str, stream: Any) -> _Stream:
    columns = None
    if isinstance(stream, tuple) and len(stream) == 2:
        clock, values = stream
        values = np.asarray(values)
    elif hasattr(stream, "index") and hasattr(stream, "to_numpy"):
        clock, values = stream.index, stream.to_numpy()
        columns = list(stream.columns) if hasattr(stream, "columns") else None
    else:
        raise TypeError(
            f"Modality {name!r} is {type(stream).__name__}; a Series, a DataFrame or a tuple "
            "(times, values) is wanted."
        )
    times = _seconds(clock, f"modality {name!r}")
    if values.dtype == object or values.dtype.kind not in "biuf":
        try:
            values = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"Modality {name!r} holds {values.dtype}; numbers are wanted. Encode or drop the "
                "columns of text."
            ) from None
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != len(times) or values.shape[1] == 0:
        raise ValueError(
            f"Modality {name!r} has values of shape {values.shape} for {len(times)} times; "
            "(T,) or (T, C) is wanted."
        )
    return _Stream(times, values.astype(np.float32), columns)


@dataclass
class _Clock:
    """What all recordings share of a modality."""

    n_channels: int
    rate: float | None
    n_timepoints: int | None  # of a window; None where the clock is irregular


def _clocks(
    streams: list[dict[str, _Stream]], rates: dict[str, float | None], window_seconds: float
) -> dict[str, _Clock]:
    """Channels and rate of each modality, in order of first appearance."""
    names = list(dict.fromkeys(name for recording in streams for name in recording))
    unknown = [name for name in rates if name not in names]
    if unknown:
        raise ValueError(f"rates names {unknown}, but the modalities are {names}.")
    clocks = {}
    for name in names:
        of_name = [recording[name] for recording in streams if name in recording]
        first = of_name[0]
        for other in of_name[1:]:
            if (other.values.shape[1], other.columns) != (first.values.shape[1], first.columns):
                raise ValueError(
                    f"Modality {name!r} has the channels {first.columns or first.values.shape[1]} "
                    f"in one recording and {other.columns or other.values.shape[1]} in another. "
                    "Give each recording the same columns."
                )
        rate = rates[name] if name in rates else _common_rate([s.times for s in of_name])
        n_timepoints = None
        if rate is not None:
            n_timepoints = int(np.floor(window_seconds * rate + 1e-6))
            if n_timepoints < 1:
                raise ValueError(
                    f"Modality {name!r} at {rate:g} Hz has no timepoint in {window_seconds:g} "
                    f"seconds. Lengthen window_seconds, or pass rates={{{name!r}: None}} to keep "
                    "its times."
                )
        clocks[name] = _Clock(first.values.shape[1], rate, n_timepoints)
    return clocks


def _common_rate(clocks: list[NDArray[Any]]) -> float | None:
    """Rate in Hz on which all clocks tick, or None."""
    steps = np.concatenate([np.diff(times) for times in clocks])
    if not len(steps) or (interval := float(np.percentile(steps, 50, method="lower"))) <= 0:
        return None
    # The median has the rounding of one step; the mean over all steps of one interval has not.
    interval = float(steps[np.abs(steps - interval) <= _JITTER * interval].mean())
    multiples = np.round(steps / interval)
    if (multiples < 1).any():
        return None
    single = np.abs(steps - interval) <= _JITTER * interval
    whole = np.abs(steps - multiples * interval) <= _JITTER * interval
    if single.mean() < _REGULAR_SHARE and not whole.all():
        return None
    rate = 1 / interval
    # Clocks are written with finite digits: 64.0003 Hz is meant as 64 Hz.
    return float(round(rate)) if abs(rate - round(rate)) < 1e-3 * rate else rate


def _window_starts(
    recording: dict[str, _Stream], clocks: dict[str, _Clock], window: float, step: float
) -> NDArray[Any]:
    """Starts in seconds of the windows that fit into the recording."""
    filled = {name: s for name, s in recording.items() if len(s.times)}
    if not filled:
        return np.empty(0)
    begin = min(s.times[0] for s in filled.values())
    end = max(s.times[-1] + 1 / (clocks[name].rate or np.inf) for name, s in filled.items())
    n_windows = int(np.floor((end - begin - window) / step + 1e-6)) + 1
    return begin + step * np.arange(max(n_windows, 0))


def _cut(
    streams: list[dict[str, _Stream]],
    clocks: dict[str, _Clock],
    starts: list[NDArray[Any]],
    window: float,
) -> Panel:
    """The windows of all recordings."""
    n = sum(len(s) for s in starts)
    if n == 0:
        raise ValueError(
            f"No window of {window:g} seconds is left of {len(streams)} recording(s): they are "
            "shorter, or no window has a label. Shorten window_seconds or lower min_share."
        )
    values: dict[str, NDArray[Any]] = {}
    times: dict[str, NDArray[Any]] = {}
    for name, clock in clocks.items():
        if clock.rate is not None and clock.n_timepoints is not None:
            out = np.full((n, clock.n_channels, clock.n_timepoints), np.nan, dtype=np.float32)
            first = 0
            for recording, of_windows in zip(streams, starts, strict=True):
                if name in recording and len(of_windows):
                    rows = slice(first, first + len(of_windows))
                    _cut_regular(name, recording[name], clock.rate, of_windows, out[rows])
                first += len(of_windows)
            values[name] = out
        else:
            values[name], times[name] = _cut_irregular(
                name, clock.n_channels, streams, starts, window
            )
    return Panel(values, times=times, rates={name: clocks[name].rate for name in values})


def _cut_regular(
    name: str, stream: _Stream, rate: float, starts: NDArray[Any], out: NDArray[Any]
) -> None:
    """Write the windows of one stream to ``out (n, C, L)``, NaN where its clock has a gap."""
    if not len(stream.times):
        return
    length = out.shape[2]
    # Step by step, so that a clock a little slower or faster than its rate does not drift away.
    steps = np.round(np.diff(stream.times) * rate).astype(np.int64)
    twice = np.flatnonzero(steps < 1)
    if len(twice):
        raise ValueError(
            f"Modality {name!r} has two entries in one interval of its {rate:g} Hz clock, at "
            f"{stream.times[twice[0]]:g} seconds. Pass rates={{{name!r}: None}} to keep its times, "
            "or remove one."
        )
    cell = np.concatenate([[0], steps.cumsum()])  # (T,)
    # The cell of the first timepoint at or after each start, counted from the entry nearest to
    # it; the thousandth forgives the last digits of a clock.
    entry = np.searchsorted(stream.times, starts - 1e-3 / rate)
    entry = np.minimum(entry, len(cell) - 1)
    ahead = (stream.times[entry] - starts) * rate  # intervals from the start to the entry
    first = cell[entry] - np.floor(ahead + 1e-3).astype(np.int64)
    low, high = min(0, int(first.min())), max(int(cell[-1]) + 1, int(first.max()) + length)
    dense = np.full((high - low, stream.values.shape[1]), np.nan, dtype=np.float32)
    dense[cell - low] = stream.values
    windows = np.lib.stride_tricks.sliding_window_view(dense, length, axis=0)  # (., C, L), a view
    np.copyto(out, windows[first - low])


def _cut_irregular(
    name: str,
    n_channels: int,
    streams: list[dict[str, _Stream]],
    starts: list[NDArray[Any]],
    window: float,
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Values (n, C, L) and times (n, L) from the start of the window, both NaN-padded."""
    parts = []
    for recording, of_windows in zip(streams, starts, strict=True):
        stream = recording.get(name, _Stream(np.empty(0), np.empty((0, n_channels)), None))
        seen = ~np.isnan(stream.values).all(axis=1)  # an entry without a value is no entry
        stream = _Stream(stream.times[seen], stream.values[seen], None)
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


def _label_windows(
    label: Any,
    recording: Mapping[str, Any],
    starts: NDArray[Any],
    window: float,
    min_share: float,
) -> tuple[NDArray[Any] | list[Any], NDArray[np.bool_]]:
    """Labels of the windows that have one, and which windows these are."""
    if callable(label):
        found = [label(recording, float(start), float(start + window)) for start in starts]
        kept = np.array([not _is_missing(entry) for entry in found], dtype=bool)
        return [entry for entry, keep in zip(found, kept, strict=True) if keep], kept
    if isinstance(label, tuple) and len(label) == 2:
        clock, entries = label
    elif hasattr(label, "index") and hasattr(label, "to_numpy"):
        clock, entries = label.index, label.to_numpy()
    else:
        kept = np.full(len(starts), not _is_missing(label))
        return _repeat(label, int(kept.sum())), kept
    times, entries = _seconds(clock, "the label"), np.asarray(entries)
    if entries.ndim != 1 or len(entries) != len(times):
        raise ValueError(
            f"The label has {entries.shape} entries for {len(times)} times; one each is wanted."
        )
    missing = (
        np.array([_is_missing(entry) for entry in entries], dtype=bool)
        if entries.dtype == object
        else entries != entries
    )
    classes, code = np.unique(entries[~missing], return_inverse=True)
    one_hot = np.zeros((len(entries) + 1, len(classes)), dtype=np.int64)
    one_hot[1:][np.flatnonzero(~missing), code] = 1
    until = one_hot.cumsum(axis=0)  # (T + 1, classes)
    first = np.searchsorted(times, starts, side="left")
    last = np.searchsorted(times, starts + window, side="left")
    counts = until[last] - until[first]  # (n, classes)
    if not len(classes):
        return entries[:0], np.zeros(len(starts), dtype=bool)
    best = counts.argmax(axis=1)
    most = counts[np.arange(len(starts)), best]
    kept = (most > 0) & (most >= min_share * (last - first))
    return classes[best[kept]], kept


def _is_missing(entry: Any) -> bool:
    """Whether a label is None or NaN (pandas' NA is not equal to itself either, nor true)."""
    return entry is None or type(entry).__name__ in ("NAType", "NaTType") or entry != entry


def _repeat(entry: Any, n: int) -> NDArray[Any]:
    return np.repeat(np.asarray([entry]), n)


def _concatenate(parts: Sequence[Any]) -> NDArray[Any]:
    filled = [np.asarray(part) for part in parts if part is not None and len(part)]
    return np.concatenate(filled) if filled else np.empty(0)


def _enough_observed(panel: Panel, min_observed: float) -> NDArray[np.bool_]:
    """Windows in which some modality has more than a share of what it has at its fullest."""
    kept = np.zeros(len(panel), dtype=bool)
    for observed in panel.observed.values():
        count = observed.sum(axis=(1, 2))  # (n,)
        kept |= count > min_observed * count.max(initial=0) if min_observed else count > 0
    return kept
