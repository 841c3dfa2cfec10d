"""Streams of a recording, each on its own clock: read, held against each other, clocks judged."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel._arrays import as_array, is_missing, library_of
from ..panel._assemble import check_kinds, warn_of_clock
from ..panel._clock import SECONDS, Stamps, cells_of, judge_clock
from ..panel._frames import as_pandas, is_frame, is_series, read_numbers, read_stamps
from ..panel._grid import check_shared
from ..panel._named import is_named_array, read_named_array
from ..panel._read import channel_names

__all__ = [
    "Stream",
    "WindowClock",
    "as_numbers",
    "check_gaps",
    "in_seconds",
    "read_label",
    "read_recording",
    "window_clocks",
    "window_length",
    "wrong_stamp",
]

# A gap so many times as long as all that was recorded, and a week, is a wrong stamp.
_LONGEST_GAP, _FREE_SECONDS = 100, 7 * 86_400.0

# A stated rate so many times that of whole-number stamps means that these are no seconds.
_OTHER_UNIT = 10


@dataclass
class Stream:
    """One modality of one recording: times (T,) in seconds, values (T, C) float32."""

    times: NDArray[Any]
    values: NDArray[Any]
    channels: tuple[str, ...] | None = None
    kind: str = SECONDS
    whole: bool = False


@dataclass
class WindowClock:
    """What all recordings share of a modality."""

    n_channels: int
    channels: tuple[str, ...] | None
    rate: float | None
    n_timepoints: int | None  # of a window; None where the clock is irregular
    rounding: float = 0.0


def in_seconds(stamps: Stamps) -> NDArray[Any]:
    """Stamps as float64 seconds: numbers as they are, dates since 1970 (UTC)."""
    return stamps.values / 1e9 if stamps.values.dtype.kind == "i" else stamps.values


def _sorted_seconds(stamps: Stamps, of: str) -> NDArray[Any]:
    seconds = in_seconds(stamps)
    back = np.flatnonzero(np.diff(seconds) < 0)
    if len(back):
        raise ValueError(
            f"The clock of {of} goes back at entry {int(back[0]) + 1}. Sort it first; local time "
            "goes back in the night in which summer time ends, a zone (tz_localize) keeps order."
        )
    return seconds


def _stamps(index: Any, of: str, rate: float | None = None, name: str = "") -> Stamps:
    """The clock in an index; the default one of pandas only counts, and needs a rate."""
    if type(index).__name__ == "RangeIndex" and index.step == 1 and len(index):
        if not rate:
            hint = f", or pass rates={{{name!r}: ...}} in Hz" if name else ""
            raise ValueError(
                f"The clock of {of} is the index that pandas gives by default, which only counts "
                f"the entries. Set the index to seconds or dates{hint}."
            )
        return Stamps(SECONDS, np.asarray(index, dtype=np.float64) / rate)
    return read_stamps(index, of)


def read_recording(
    recording: Mapping[str, Any], rates: Mapping[str, float | None], label: Any = None
) -> dict[str, Stream]:
    """The streams of one recording, whose clocks have to be of one kind, the label's too."""
    streams = {
        name: _read_stream(name, stream, rates.get(name))
        for name, stream in recording.items()
        if not is_missing(stream)
    }
    kinds = {f"modality {n!r}": s.kind for n, s in streams.items() if len(s.times)}
    clock = _label_clock(label)
    if clock is not None and len(clock):
        kinds["the label"] = _stamps(clock, "the label").kind
    check_kinds(kinds)
    return streams


def _read_stream(name: str, stream: Any, rate: float | None) -> Stream:
    of, channels = f"modality {name!r}", None
    if is_named_array(stream):
        reading = read_named_array(stream, name)
        if reading.clocks is None or len(reading.values) != 1:
            raise ValueError(
                f"Modality {name!r} is a DataArray of the dimensions {list(stream.dims)}; time, "
                "with a coordinate in seconds or dates, and at most channels are wanted."
            )
        stamps, values, channels = reading.clocks[0], reading.values[0].T, reading.channels
        assert stamps is not None
    elif isinstance(stream, tuple) and len(stream) == 2:
        clock, values = stream
        values = as_pandas(values)
        if is_frame(values) or is_series(values):
            channels = channel_names(list(values.columns)) if is_frame(values) else None
            values = read_numbers(values, f"Modality {name!r}")
        clock = as_pandas(clock)
        stamps = read_stamps(clock, of) if len(clock) else Stamps(SECONDS, np.empty(0))
        values = np.asarray(as_array(values))
    elif library_of(stream) == "polars":
        raise TypeError(
            f"Modality {name!r} is a {type(stream).__name__} of polars, which has no index for a "
            "clock. Give a tuple, (frame['time'], frame.drop('time'))."
        )
    elif is_frame(stream) or is_series(stream):
        stamps = _stamps(stream.index, of, rate, name)
        channels = channel_names(list(stream.columns)) if is_frame(stream) else None
        try:
            values = read_numbers(stream, f"Modality {name!r}")
        except ValueError as error:
            raise TypeError(str(error)) from None
    else:
        raise TypeError(
            f"Modality {name!r} is {type(stream).__name__}; a Series, a DataFrame or a tuple "
            "(times, values) is wanted."
        )
    times = _sorted_seconds(stamps, of)
    return Stream(times, _columns(name, values, len(times)), channels, stamps.kind, stamps.whole)


def as_numbers(name: str, values: NDArray[Any]) -> NDArray[Any]:
    """An array of numbers as float32; anything else is refused.

    Parameters
    ----------
    name : str
        The modality.
    values : array
        Numbers, booleans, or objects that are numbers or None.

    Returns
    -------
    float32 array of that shape
        NaN where missing.

    Raises
    ------
    TypeError
        If the values are dates, text or other things.
    """
    if values.dtype == object or values.dtype.kind not in "biuf":
        try:
            if values.dtype.kind in "mMUS":
                raise TypeError
            values = np.asarray(values, dtype=np.float64)
        except (TypeError, ValueError):
            raise TypeError(
                f"Modality {name!r} holds {values.dtype}; numbers are wanted. Encode text or "
                "categories as numbers first; dates are for the clock."
            ) from None
    return values.astype(np.float32)


def _columns(name: str, values: NDArray[Any], n: int) -> NDArray[Any]:
    """Values as ``(T, C)`` float32."""
    values = as_numbers(name, values)
    values = values[:, None] if values.ndim == 1 else values
    if values.ndim != 2 or len(values) != n or values.shape[1] == 0:
        raise ValueError(
            f"Modality {name!r} has values of shape {values.shape} for {n} times; "
            "(T,) or (T, C) is wanted."
        )
    return values


def _one_column(label: Any) -> Any:
    """A label in a frame of one column as a series."""
    label = as_pandas(label)
    if not is_frame(label):
        return label
    if label.shape[1] != 1:
        raise ValueError(
            f"The label has the columns {list(label.columns)}; one is wanted. Choose it with "
            "label[column]."
        )
    return label.iloc[:, 0]


def _label_clock(label: Any) -> Any:
    """The clock of a label that has one."""
    label = _one_column(label)
    if isinstance(label, tuple) and len(label) == 2 and np.ndim(label[0]) == 1:
        return as_pandas(label[0])
    return label.index if is_series(label) else None


def read_label(label: Any) -> tuple[NDArray[Any], Any] | None:
    """Times and entries of a label with a clock; None for any other."""
    clock = _label_clock(label)
    if clock is None:
        return None
    label = _one_column(label)
    if isinstance(label, tuple):
        entries = label[1]
    else:  # a nullable dtype would turn whole numbers into floats
        plain = isinstance(label.dtype, np.dtype)
        entries = (label if plain else label.astype(object)).to_numpy()
    if isinstance(entries, np.ma.MaskedArray):
        masked, entries = np.ma.getmaskarray(entries), entries.data.astype(object)
        entries[masked] = None
    times = _sorted_seconds(_stamps(clock, "the label"), "the label")
    return times, as_array(entries)


def check_gaps(recording: Mapping[str, Stream], of: str) -> None:
    """Raise where a stamp lies so far from the others that it has to be a wrong one."""
    filled = {name: s.times for name, s in recording.items() if len(s.times)}
    if not filled:
        return
    wrong = wrong_stamp(np.concatenate(list(filled.values())))
    if wrong is None:
        return
    after, what = wrong
    name = next(name for name, clock in filled.items() if after in clock)
    raise ValueError(
        f"Modality {name!r}{of} {what} Remove the stamp if it is wrong, give all streams one "
        "origin, or pass the two parts as recordings of their own."
    )


def wrong_stamp(times: NDArray[Any]) -> tuple[float, str] | None:
    """A stamp that lies too far from the others to belong to them, and in words how far.

    Parameters
    ----------
    times : float64 array of shape (T,)
        Seconds, of all modalities, in any order.

    Returns
    -------
    tuple of float and str, or None
        None where no gap is longer than a week and a hundred times the rest.
    """
    times = np.sort(times)
    gaps = np.diff(times)
    if not len(gaps):
        return None
    entry = int(gaps.argmax())
    rest = float(times[-1] - times[0] - gaps[entry])
    if gaps[entry] <= _LONGEST_GAP * rest + _FREE_SECONDS:
        return None
    after = float(times[entry + 1])
    return after, (
        f"has an entry at {after:.6f} seconds, {gaps[entry] / 86_400:.4g} days after the one "
        f"before of any modality, of {rest / 3600:.3g} hours that were recorded in all."
    )


def window_clocks(
    recordings: Sequence[Mapping[str, Stream]],
    rates: Mapping[str, float | None],
    channels: Mapping[str, Sequence[str]],
    window_seconds: float,
) -> dict[str, WindowClock]:
    """Channels and rate of each modality, in order of first appearance."""
    names = list(dict.fromkeys(name for recording in recordings for name in recording))
    for what, given in (("rates", rates), ("channels", channels)):
        unknown = [name for name in given if name not in names]
        if unknown:
            raise ValueError(f"{what} names {unknown}, but the modalities are {names}.")
    clocks = {}
    for name in names:
        all_streams = [recording[name] for recording in recordings if name in recording]
        streams = [stream for stream in all_streams if len(stream.times)] or all_streams
        first = streams[0]
        for stream in streams[1:]:
            _take_order(name, stream, first)
        rounding = 0.0
        rate = rates.get(name)
        whole = all(s.whole for s in streams)
        if name not in rates:
            clock = judge_clock([s.times for s in streams])
            rate, rounding = clock.rate, clock.rounding
            warn_of_clock(f"modality {name!r}", name, clock, whole=whole)
        elif whole and rate is not None:
            _check_unit(name, streams, rate)
        if rate is not None:
            steps = [np.diff(cells_of(s.times, rate, rounding)) for s in streams]
            n_shared = sum(int((s == 0).sum()) for s in steps)
            check_shared(name, n_shared, sum(len(s.times) for s in streams), rate)
        labels = tuple(channels[name]) if name in channels else first.channels
        length = window_length(name, rate, window_seconds)
        clocks[name] = WindowClock(first.values.shape[1], labels, rate, length, rounding)
    return clocks


def _check_unit(name: str, streams: Sequence[Stream], rate: float) -> None:
    """Raise where whole numbers are a clock of another unit than seconds."""
    clock = judge_clock([s.times for s in streams])
    if clock.is_steady and rate * clock.usual_step >= _OTHER_UNIT:
        raise ValueError(
            f"Modality {name!r} has whole numbers {clock.usual_step:g} apart as its clock, which "
            f"are seconds here, but rates says {rate:g} Hz. If they are milliseconds, divide them "
            "by 1000."
        )


def _take_order(name: str, stream: Stream, first: Stream) -> None:
    """Bring the channels of a stream into the order of the first recording."""
    if stream.values.shape[1] == first.values.shape[1] and stream.channels == first.channels:
        return
    ours, theirs = first.channels, stream.channels
    if ours is None or theirs is None or sorted(ours) != sorted(theirs):
        raise ValueError(
            f"Modality {name!r} has the channels {list(ours or []) or first.values.shape[1]} in "
            f"one recording and {list(theirs or []) or stream.values.shape[1]} in another. "
            "Give each recording the same columns."
        )
    stream.values = stream.values[:, [theirs.index(channel) for channel in ours]]
    stream.channels = ours


def window_length(name: str, rate: float | None, window_seconds: float) -> int | None:
    """Timepoints of a window of a regular clock, at least one; None for an irregular one."""
    if rate is None:
        return None
    length = int(np.floor(window_seconds * rate + 1e-6))
    if length < 1:
        raise ValueError(
            f"Modality {name!r} at {rate:g} Hz has no timepoint in {window_seconds:g} "
            f"seconds. Lengthen window_seconds, or pass rates={{{name!r}: None}} to keep "
            "its times."
        )
    return length
