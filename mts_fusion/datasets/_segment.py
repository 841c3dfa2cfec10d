"""From long recordings, each stream on its own clock, to windows: Panel, y, groups."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..panel._arguments import check_types
from ..panel._arrays import is_missing
from ..panel._checks import check_rate
from ._labels import collect, label_windows, per_recording, repeat, warn_of_labels
from ._streams import check_gaps, read_recording, window_clocks
from ._windows import cut, enough_observed, window_starts

__all__ = ["check_windows", "segment"]


def segment(
    recordings: Any,
    *,
    window_seconds: float,
    step_seconds: float | None = None,
    label: Any = None,
    groups: Any = None,
    rates: Mapping[str, float | None] | float | None = None,
    channels: Mapping[str, Sequence[str]] | None = None,
    label_holds: bool = False,
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
        recording have one origin, and all dates a time zone or none. A recording may lack a
        modality, or have it as None. Columns name the channels.
    window_seconds : float
        Duration of a window in seconds.
    step_seconds : float or None, default=None
        Time from one window to the next; below ``window_seconds`` windows overlap. None means
        ``window_seconds``.
    label : None, scalar, Series, tuple, callable, or a list or dict of them, default=None
        What becomes ``y``, given for one recording, or one per recording in the structure of
        ``recordings``:

        - a scalar, or an array of several labels, is the label of all windows of the recording;
        - a Series, or a tuple ``(times, labels)``, on its own clock: a window gets the label that
          most entries in it have, each entry counting once, NaN and None counting as no label;
        - a callable ``label(recording, start, stop)``, with times in seconds on the clock of the
          recording, gives the label of a window, or None.

        Windows without a label are dropped.
    groups : None, scalar, or a list or dict of them, default=None
        The group (the subject, say) of each recording. None means the position of the recording,
        or its name when ``recordings`` is a dict of recordings.
    rates : dict of str to float or None, or float for a single modality, default=None
        Rate in Hz of the modalities whose clock is to be taken as regular; None for those that
        are to be taken as irregular. The clock of the others is judged: it is regular if 95 % of
        its steps are whole multiples of one interval, up to 5 % of it and to the rounding of the
        stamps, and more than half of them are that interval. A stream with the default index of
        pandas, which only counts, needs a rate.
    channels : dict of str to sequence of str, default=None
        Names of the channels of streams that are given as arrays.
    label_holds : bool, default=False
        Whether an entry of a label holds until the next one (the last one for a usual step), as
        a stage that is noted when it changes, or every 30 seconds. Shares are then of seconds.
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
        If a clock is unsorted, has dates with a zone beside dates without, or a stamp far from
        all others; if many entries fall on one timepoint of a regular clock, a modality has other
        channels in another recording, or no window is left.

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
    check_types(segment, locals())
    step_seconds = window_seconds if step_seconds is None else step_seconds
    check_windows(window_seconds, step_seconds, min_share, min_observed)
    names, raw = _recordings(recordings)
    single = isinstance(recordings, Mapping) and names is None
    labels = per_recording("label", label, names, len(raw), single)
    group_of = per_recording("groups", groups, names, len(raw), single)
    if groups is None:
        group_of = list(range(len(raw))) if names is None else list(names)
    elif nameless := [r for r, group in enumerate(group_of) if is_missing(group)]:
        raise ValueError(f"groups has no entry for recording {nameless[0]} (None). Name it.")
    rates = _rates(rates, raw)
    streams = [read_recording(r, rates, of_r) for r, of_r in zip(raw, labels, strict=True)]
    for r, recording in enumerate(streams):
        check_gaps(recording, "" if single else f" of recording {r if names is None else names[r]}")
    silent = {name for r in raw for name in r}.difference(*streams)  # None in every recording
    of_rates, of_channels = _without(silent, rates), _without(silent, channels or {})
    clocks = window_clocks(streams, of_rates, of_channels, window_seconds)
    starts = [window_starts(r, clocks, window_seconds, step_seconds) for r in streams]
    y = None
    if label is not None:
        y, starts = _label(labels, raw, starts, window_seconds, min_share, label_holds)
    if not sum(len(s) for s in starts):
        raise ValueError(
            f"No window of {window_seconds:g} seconds is left of {len(streams)} recording(s): they "
            "are shorter, or no window has a label. Shorten window_seconds or lower min_share."
        )
    panel = cut(streams, clocks, starts, window_seconds)
    group = collect([repeat(g, len(s)) for g, s in zip(group_of, starts, strict=True)])
    start = np.concatenate(starts)
    kept = enough_observed(panel, min_observed)
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


def check_windows(
    window_seconds: float,
    step_seconds: float | None,
    min_share: float = 0.5,
    min_observed: float = 0.0,
) -> None:
    """Raise unless these are the arguments of :func:`segment` that they are named after.

    Parameters
    ----------
    window_seconds, step_seconds : float
        Positive and finite; None for the step that is the window.
    min_share, min_observed : float
        In [0, 1].

    Raises
    ------
    ValueError
        Names the argument.
    """
    for parameter, value in (("window_seconds", window_seconds), ("step_seconds", step_seconds)):
        if value is not None and not (np.isfinite(value) and value > 0):
            raise ValueError(f"{parameter} is a positive number of seconds, got {value!r}.")
    for parameter, value in (("min_share", min_share), ("min_observed", min_observed)):
        if not 0 <= value <= 1:
            raise ValueError(f"{parameter} is a share in [0, 1], got {value!r}.")


def _label(
    labels: list[Any],
    recordings: list[Mapping[str, Any]],
    starts: list[Any],
    window: float,
    min_share: float,
    holds: bool,
) -> tuple[Any, list[Any]]:
    """Labels of the windows of all recordings, and the starts of those that have one."""
    parts, left = [], []
    n_empty = 0
    for label, recording, of_windows in zip(labels, recordings, starts, strict=True):
        part, kept, empty = label_windows(
            label, recording, of_windows, window, min_share=min_share, holds=holds
        )
        parts.append(part)
        left.append(of_windows[kept])
        n_empty += empty
    warn_of_labels(n_empty, sum(len(s) for s in starts), holds)
    return collect(parts), left


def _without(names: set[str], given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: entry for name, entry in given.items() if name not in names}


def _rates(given: Any, recordings: list[Mapping[str, Any]]) -> dict[str, float | None]:
    """Rates by modality; a number is that of a single modality."""
    if given is None or isinstance(given, Mapping):
        rates = {name: check_rate(name, rate) for name, rate in (given or {}).items()}
        wrong = [name for name, rate in rates.items() if rate is not None and not 0 < rate < np.inf]
        if wrong:
            raise ValueError(
                f"rates is a positive number of Hz for each modality, or None where its clock is "
                f"irregular, got {rates[wrong[0]]!r} for {wrong[0]!r}."
            )
        return rates
    names = list(dict.fromkeys(name for recording in recordings for name in recording))
    if len(names) != 1:
        raise ValueError(
            f"rates={given!r} names no modality, but the recordings have {names}. Give a dict, as "
            f"rates={{{names[0]!r}: {given!r}}}."
        )
    return _rates({names[0]: given}, recordings)


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
