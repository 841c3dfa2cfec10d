"""The twin of segment for live data: windows of streams whose samples come as they come."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel import Panel, schema_of
from ..panel._arguments import check_at_least, check_types
from ..panel._arrays import as_array
from ..panel._clock import SECONDS
from ..panel._frames import as_pandas, is_frame, is_series, read_numbers, read_stamps
from ._streams import Stream, WindowClock, as_numbers, in_seconds, window_length, wrong_stamp
from ._windows import cut, enough_observed, has_entry

__all__ = ["LiveSegmenter"]


class LiveSegmenter:
    """Windows of live streams as Panels, the same ones that ``segment`` cuts from a recording.

    Samples are pushed as they come. A window is returned once every sensor has delivered all of it,
    or counts as silent. Nothing runs in the background: complete windows are returned by ``push``.

    Parameters
    ----------
    schema : Schema or fitted estimator
        The modalities, their channels and rates, usually those of the model that is asked.
    window_seconds : float
        Duration of a window in seconds.
    step_seconds : float or None, default=None
        Time from one window to the next. None means ``window_seconds``.
    delay_seconds : float, default=0.0
        How late a sample may come after later ones of its sensor. A window waits so long.
    silent_after_seconds : float, default=10.0
        A sensor of which nothing came for so long, while others went on, is not waited for.
    start : float or None, default=None
        Where the first window starts, on the clock of the streams. None: at the earliest sample.

    Attributes
    ----------
    n_late_ : int
        Samples that came too late for a window that was given out already, and were left out.

    Raises
    ------
    ValueError
        If a number of seconds is out of range, or a window has no timepoint of a modality.

    See Also
    --------
    segment : The same for whole recordings.

    Notes
    -----
    Windows are those of ``segment(..., rates={m.name: m.rate for m in schema})``, to the bit, as
    long as no sample comes later than ``delay_seconds`` and no sensor is silent for longer than
    ``silent_after_seconds`` and then sends what it kept. Windows without any value are left out.

    Examples
    --------
    >>> import numpy as np
    >>> from mts_fusion.panel import Modality, Schema
    >>> schema = Schema((Modality("acc", 3, 100, rate=25.0), Modality("pulse", 1, 4, rate=1.0)))
    >>> live = LiveSegmenter(schema, window_seconds=4)
    >>> live.push("pulse", np.arange(6.0), np.full(6, 70.0)) is None  # acc may still come
    True
    >>> live.push("acc", np.arange(150) / 25, np.zeros((150, 3))).sample_ids
    array([0.])
    """

    def __init__(
        self,
        schema: Any,
        *,
        window_seconds: float,
        step_seconds: float | None = None,
        delay_seconds: float = 0.0,
        silent_after_seconds: float = 10.0,
        start: float | None = None,
    ) -> None:
        check_types(LiveSegmenter.__init__, locals())
        self.schema = schema_of(schema)[0]
        self.window_seconds = float(window_seconds)
        self.step_seconds = float(window_seconds if step_seconds is None else step_seconds)
        self.delay_seconds = float(delay_seconds)
        self.silent_after_seconds = float(silent_after_seconds)
        for name in ("window_seconds", "step_seconds", "silent_after_seconds"):
            if not (np.isfinite(getattr(self, name)) and getattr(self, name) > 0):
                raise ValueError(f"{name} is a positive number of seconds.")
        check_at_least(0, delay_seconds=delay_seconds)
        if start is not None and not np.isfinite(start):
            raise ValueError(f"start is a finite number of seconds, got {start!r}.")
        self.n_late_ = 0
        self._begin = start
        self._next = 0  # windows that were given out, or left out
        self._kind: str | None = None
        self._clocks = {
            m.name: WindowClock(
                m.n_channels,
                m.channels,
                m.rate,
                window_length(m.name, m.rate, self.window_seconds),
            )
            for m in self.schema
        }
        self._streams = {
            m.name: Stream(np.empty(0), np.empty((0, m.n_channels), np.float32))
            for m in self.schema
        }
        self._newest = dict.fromkeys(self.schema.names, -np.inf)
        # What a window holds follows from the samples up to one interval after it.
        self._ahead = {m.name: 0.0 if m.rate is None else 1 / m.rate for m in self.schema}

    def push(self, name: str, times: Any, values: Any) -> Panel | None:
        """Samples of one sensor; the windows that are complete with them.

        Parameters
        ----------
        name : str
            The modality.
        times : scalar or array of shape (k,)
            When they were measured: seconds or dates, of the same kind in all calls.
        values : scalar or array of shape (k,) or (k, C)
            What was measured, NaN where missing. A frame is read by the names of its columns.

        Returns
        -------
        Panel or None
            A row for each window that is due, whose ``sample_ids`` are the starts of the windows
            in seconds on the clock of the streams; None if there is none.

        Raises
        ------
        KeyError
            If the schema has no such modality.
        ValueError
            If times and values do not fit together, the kind of clock changes, a channel is
            unknown, or a stamp lies more than a week, and a hundred times what was recorded, ahead.
        """
        check_types(LiveSegmenter.push, locals())
        m = self.schema[name]
        stamps = read_stamps(np.atleast_1d(np.asarray(as_array(as_pandas(times)))), name)
        self._kind = self._kind or stamps.kind
        if stamps.kind != self._kind:
            raise ValueError(
                f"Modality {name!r} came with {stamps.kind}, the samples before with {self._kind}. "
                "Give all clocks in one form."
            )
        seconds = in_seconds(stamps)
        self._check_near(name, seconds)
        values = as_pandas(values)
        if is_frame(values) and m.channels is not None:
            unknown = [column for column in values.columns if column not in m.channels]
            if unknown:
                raise ValueError(
                    f"Modality {name!r} came with the channels {unknown}, but the schema has "
                    f"{list(m.channels)}. Rename them, or leave them out."
                )
            values = values.reindex(columns=list(m.channels))
        if is_frame(values) or is_series(values):
            values = read_numbers(values, f"Modality {name!r}")
        array = as_numbers(name, np.atleast_1d(np.asarray(as_array(values))))
        array = array.reshape(len(seconds), -1) if array.size == len(seconds) else array
        if array.shape != (len(seconds), m.n_channels):
            raise ValueError(
                f"Modality {name!r} came with values of shape {array.shape} for {len(seconds)} "
                f"times; ({len(seconds)}, {m.n_channels}) is wanted."
            )
        self._keep(name, seconds, array)
        return self._due(self._complete_until())

    def flush(self) -> Panel | None:
        """The windows that are left when the streams have ended.

        Returns
        -------
        Panel or None
            As ``push``; windows end with the last sample of any sensor.
        """
        ends = [self._newest[name] + self._ahead[name] for name in self.schema.names]
        end = max(ends)
        return self._due(end) if np.isfinite(end) else None

    def _check_near(self, name: str, seconds: NDArray[Any]) -> None:
        """Raise where a stamp lies so far ahead that all windows until then would be given out."""
        before = np.array([self._first(), *self._newest.values()])
        wrong = wrong_stamp(np.concatenate([before[np.isfinite(before)], seconds]))
        if wrong is not None:
            raise ValueError(
                f"Modality {name!r} {wrong[1]} Leave the stamp out if it is wrong, or take a new "
                "LiveSegmenter for the streams that start there."
            )

    def _keep(self, name: str, seconds: NDArray[Any], values: NDArray[Any]) -> None:
        """Add samples to the buffer of a sensor, in the order of their times."""
        if not len(seconds):
            return
        if self._next and self._begin is not None:
            late = seconds < self._begin + (self._next - 1) * self.step_seconds + min(
                self.step_seconds, self.window_seconds
            )
            open_from = self._begin + self._next * self.step_seconds - self._ahead[name]
            late &= seconds < open_from
            self.n_late_ += int(late.sum())
            seconds, values = seconds[~late], values[~late]
        stream = self._streams[name]
        times = np.concatenate([stream.times, seconds])
        order = np.argsort(times, kind="stable")
        joined = np.concatenate([stream.values, values])[order]
        self._streams[name] = Stream(times[order], joined, None, SECONDS)
        if len(seconds):
            self._newest[name] = max(self._newest[name], float(seconds.max()))

    def _complete_until(self) -> float:
        """Time up to which all sensors have delivered their samples, or are silent."""
        newest = max(self._newest.values())
        begin = self._first()
        complete = np.inf
        for name, last in self._newest.items():
            last = max(last, begin)
            if newest - last <= self.silent_after_seconds:
                complete = min(complete, last - self._ahead[name] - self.delay_seconds)
        return float(complete)

    def _first(self) -> float:
        if self._begin is not None:
            return self._begin
        first = [s.times[0] for s in self._streams.values() if len(s.times)]
        return float(min(first, default=np.inf))

    def _due(self, until: float) -> Panel | None:
        """The windows that end by then."""
        begin = self._first()
        n = int(np.floor((until - begin - self.window_seconds) / self.step_seconds + 1e-6)) + 1
        if not np.isfinite(begin) or n <= self._next:
            return None
        self._begin = begin
        starts = begin + self.step_seconds * np.arange(self._next, n)
        starts = starts[has_entry(self._streams, starts, self.window_seconds)]
        self._next = n
        panel = None
        if len(starts):
            panel = cut([self._streams], self._clocks, [starts], self.window_seconds, starts)
            kept = enough_observed(panel, 0.0)
            panel = panel[kept] if kept.any() else None
        self._forget(begin + n * self.step_seconds)
        return panel

    def _forget(self, start: float) -> None:
        """Drop the samples that no later window can hold."""
        for name, stream in self._streams.items():
            first = int(np.searchsorted(stream.times, start - 2 * self._ahead[name] - 1e-3))
            self._streams[name] = Stream(stream.times[first:], stream.values[first:])
