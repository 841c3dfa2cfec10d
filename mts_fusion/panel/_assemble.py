"""From readings to one Panel: aligned by id, counted from one origin, clocks judged."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from ._clock import DATES, MAX_SHIFT, ON_GRID, SECONDS, Clock, judge_clock
from ._grid import fits_rate, lay_on_grid
from ._ids import align_by_id
from ._panel import Panel
from ._read import Reading
from ._schema import Schema

__all__ = ["assemble", "check_kinds", "warn_of_clock"]


def assemble(
    readings: Mapping[str, Reading],
    rates: Mapping[str, float | None],
    schema: Schema | None,
) -> Panel:
    """One panel of what was read, modality by modality.

    ``rates`` are stated by the user; those of ``schema`` serve where the stamps fit them.
    """
    _check_counts(readings)
    aligned, ids = align_by_id(dict(readings))
    clocks = _seconds(aligned, ids)
    decided = {
        name: _decide(name, clocks[name], reading, rates, schema)
        for name, reading in aligned.items()
    }
    judged = [n for n in aligned if n not in rates and (schema is None or n not in schema)]
    decided = _keep_times_of_short_samples(clocks, decided, judged)
    origin = _origins(aligned, clocks, decided)
    values, times, given = {}, {}, {}
    for name, reading in aligned.items():
        if clocks[name] is None:
            values[name], given[name] = reading.values, rates.get(name)
            continue
        clock, is_count = decided[name]
        if clock.usual_step and (clock.rate is not None or is_count):
            values[name] = lay_on_grid(
                name,
                reading.values,
                clocks[name] or [],
                rate=1 / clock.usual_step,
                rounding=clock.rounding,
                origin=None if is_count else origin,
                ids=ids,
            )
            given[name] = clock.rate
        else:
            values[name], given[name] = reading.values, clock.rate
            if clock.rate is None:
                times[name] = _times(clocks[name], origin, reading.values.shape)
    return Panel(
        values,
        times=times,
        rates=given,
        channels={name: reading.channels for name, reading in aligned.items()},
        sample_ids=ids,
    )


def _check_counts(readings: Mapping[str, Reading]) -> None:
    for name, reading in readings.items():
        shape = reading.values.shape
        if shape[1] == 0 or shape[2] == 0:
            raise ValueError(
                f"Modality {name!r} has shape {shape} (samples, channels, timepoints); at "
                "least one channel and timepoint is wanted. Leave the modality out instead."
            )


Seconds = list[np.ndarray]


def check_kinds(kinds: Mapping[str, str]) -> None:
    """Raise if clocks that cannot be put on one axis stand side by side.

    Parameters
    ----------
    kinds : dict of str to str
        The kind of clock of each stream.
    """
    for name, kind in kinds.items():
        first_name, first = next(iter(kinds.items()))
        if kind != first and DATES in (kind, first):
            remedy = (
                "Give all of them as dates, or as seconds from one origin."
                if SECONDS in (kind, first)
                else "Give all dates a zone (index.tz_localize(...)), or none."
            )
            raise ValueError(
                f"The clock of {first_name} is {first}, that of {name} is {kind}; how far apart "
                f"they are is unknown. {remedy}"
            )


def _seconds(readings: Mapping[str, Reading], ids: np.ndarray | None) -> dict[str, Seconds | None]:
    """The clocks of each modality in float64 seconds, dates counted from the first of all."""
    kinds = {
        f"modality {name!r}": clock.kind
        for name, reading in readings.items()
        for clock in reading.clocks or []
        if clock is not None
    }
    check_kinds(kinds)
    if len(set(kinds.values())) > 1:
        raise ValueError(
            f"Some clocks are numbers and some are dates ({kinds}). Give all of them alike."
        )
    is_date = any(kind != SECONDS for kind in kinds.values())
    stamps = [c.values for r in readings.values() for c in r.clocks or [] if c is not None]
    start = min((int(s.min()) for s in stamps if len(s)), default=0) if is_date else 0
    empty = np.empty(0)
    seconds: dict[str, Seconds | None] = {}
    for name, reading in readings.items():
        if reading.clocks is None:
            seconds[name] = None
            continue
        seconds[name] = parts = [
            empty if c is None else (c.values - start) / 1e9 if is_date else c.values
            for c in reading.clocks
        ]
        for i, clock in enumerate(parts):
            _check_order(name, clock, None if ids is None else ids[i], i)
    return seconds


def _check_order(name: str, clock: np.ndarray, sample_id: Any, i: int) -> None:
    """Raise where times go back, or all come several times, as those of two samples of one id."""
    steps = np.diff(clock)
    where, shared = f"sample {i}", ""
    if sample_id is not None:
        shown = repr(sample_id.item() if isinstance(sample_id, np.generic) else sample_id)
        where = f"the sample of id {shown}"
        shared = f"If {shown} is the id of two samples, give each its own. "
    if (steps < 0).any():
        entry = int(np.argmax(steps < 0)) + 1
        raise ValueError(
            f"The times of modality {name!r} decrease in {where}, by "
            f"{-steps[entry - 1]:.6g} at entry {entry}. {shared}If it is one sample, sort its "
            "timepoints with X.sort_index()."
        )
    if sample_id is None or (steps != 0).all():
        return
    counts = np.unique(clock, return_counts=True)[1]
    if len(counts) > 1 and counts.min() == counts.max():
        raise ValueError(
            f"Each time of modality {name!r} in {where} stands {counts[0]} times. {shared}If "
            "entries were repeated, drop them with X[~X.index.duplicated()]."
        )


def _decide(
    name: str,
    clocks: Seconds | None,
    reading: Reading,
    rates: Mapping[str, float | None],
    schema: Schema | None,
) -> tuple[Clock, bool]:
    """The clock of a modality, and whether its stamps only count timepoints."""
    if clocks is None:
        return Clock(rates.get(name)), False
    clock = judge_clock(clocks)
    whole = all(c.whole for c in reading.clocks or [] if c is not None)
    in_fit = schema[name] if schema is not None and name in schema else None
    if name in rates and rates[name] is None:
        return replace(clock, rate=None, usual_step=0.0), False
    if whole and ((clock.usual_step == 1 and clock.is_steady) or not clock.n_steps):
        return replace(clock, rate=rates.get(name), usual_step=1.0), True
    if name in rates:
        if whole and clock.is_steady:  # a count in steps, whatever their unit
            return replace(clock, rate=rates[name]), False
        return replace(clock, rate=rates[name], usual_step=1 / float(rates[name])), False  # type: ignore[arg-type]
    if in_fit is not None and in_fit.irregular:
        return replace(clock, rate=None, usual_step=0.0), False
    rate = None if in_fit is None else in_fit.rate
    if rate is not None and clock.rate is None and fits_rate(clocks, rate, clock.rounding):
        return replace(clock, rate=rate, usual_step=1 / rate), False
    warn_of_clock(f"modality {name!r}", name, clock, whole=whole)
    return clock, False


def warn_of_clock(of: str, name: str, clock: Clock, *, whole: bool) -> None:
    """Say what was decided of a clock where a user may not expect it.

    Parameters
    ----------
    of : str
        Whose clock, for the message.
    name : str
        Name of the modality.
    clock : Clock
        What was decided.
    whole : bool
        Whether the stamps are integers.
    """
    if clock.rate is None and clock.n_odd:
        warnings.warn(
            f"The clock of {of} is taken as irregular: {clock.n_odd} of its {clock.n_steps} steps "
            f"are no whole multiple of the usual one, {clock.usual_step:.6g} seconds. If it is "
            f"regular, pass rates={{{name!r}: {1 / clock.usual_step:.6g}}}; if not, "
            f"rates={{{name!r}: None}} says so.",
            UserWarning,
            stacklevel=3,
        )
    if whole and clock.rate is not None and clock.usual_step > 1:
        warnings.warn(
            f"The clock of {of} is whole numbers {clock.usual_step:g} apart, which are read as "
            f"seconds: {clock.rate:g} Hz. If they are milliseconds, divide them by 1000, or pass "
            f"rates={{{name!r}: {1000 * clock.rate:g}}}; as floats they are seconds without this "
            "warning.",
            UserWarning,
            stacklevel=3,
        )


def _keep_times_of_short_samples(
    clocks: Mapping[str, Seconds | None],
    decided: dict[str, tuple[Clock, bool]],
    judged: Sequence[str],
) -> dict[str, tuple[Clock, bool]]:
    """Regular clocks as irregular ones where a grid would change too much of what their times say.

    A grid over all modalities moves a sample by up to half an interval. That is little for many
    timepoints and most of what is known of two. ``judged`` names the clocks that nobody stated.
    """
    first = _earliest(clocks, decided)
    kept = dict(decided)
    for name in judged:
        (clock, is_count), parts = decided[name], clocks[name]
        if parts is None or clock.rate is None or is_count:
            continue
        filled = [i for i, part in enumerate(parts) if len(part)]
        start, stop = np.array([(parts[i][0], parts[i][-1]) for i in filled]).T
        lead = (start - first[filled]) * clock.rate
        length = (stop - start) * clock.rate + 1
        shift = np.abs(lead - np.round(lead)) / length
        if (shift <= MAX_SHIFT).mean() >= ON_GRID:
            continue
        warnings.warn(
            f"The clock of modality {name!r} is taken as irregular: its steps are all "
            f"{clock.usual_step:.6g} seconds, but its samples start beside the grid of the other "
            f"modalities and are short, {np.median(length):.3g} timepoints, so that the grid would "
            f"move them by up to {shift.max():.0%} of their length. rates={{{name!r}: "
            f"{clock.rate:.6g}}} moves them, rates={{{name!r}: None}} keeps their times without "
            "this warning.",
            UserWarning,
            stacklevel=5,
        )
        kept[name] = replace(clock, rate=None, usual_step=0.0), False
    return kept


def _earliest(
    clocks: Mapping[str, Seconds | None], decided: Mapping[str, tuple[Clock, bool]]
) -> np.ndarray:
    """The first stamp ``(n,)`` of each sample over its modalities; inf where it has none."""
    first: np.ndarray = np.array(np.inf)
    for name, parts in clocks.items():
        if parts is not None and not decided[name][1]:
            starts = np.array([clock[0] if len(clock) else np.inf for clock in parts])
            first = np.minimum(first, starts)
    return first


def _origins(
    readings: Mapping[str, Reading],
    clocks: Mapping[str, Seconds | None],
    decided: Mapping[str, tuple[Clock, bool]],
) -> np.ndarray:
    """The second from which each sample counts, one for all its modalities.

    Dates, and stamps beside a regular clock, count from the earliest; numbers keep their origin.
    """
    timed = {n: c for n, c in clocks.items() if c is not None and not decided[n][1]}
    n = len(next(iter(readings.values())).values)
    is_date = any(
        c is not None and c.kind != SECONDS for r in readings.values() for c in r.clocks or []
    )
    if not is_date and all(decided[name][0].rate is None for name in timed):
        return np.zeros(n)
    first = np.broadcast_to(_earliest(clocks, decided), n)
    return np.where(np.isinf(first), 0.0, first)


def _times(clocks: Seconds | None, origin: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    times = np.full((shape[0], shape[2]), np.nan)
    for i, clock in enumerate(clocks or []):
        times[i, : len(clock)] = clock - origin[i]
    return times
