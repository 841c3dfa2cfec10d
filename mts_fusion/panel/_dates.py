"""Times of a panel given as dates: seconds from the first date of each sample."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._arrays import as_array, is_missing
from ._clock import SECONDS
from ._frames import as_pandas, is_frame, read_stamps

__all__ = ["dates_to_seconds", "is_clock_of_dates"]


def is_clock_of_dates(times: Any) -> bool:
    """Whether an array of times holds anything but numbers."""
    kind = getattr(getattr(times, "dtype", None), "kind", "")
    return kind in tuple("mMOUST")


def _as_clock_array(given: Any) -> Any:
    """Frames, and lists of dates, as an array; anything else as it is."""
    given = as_pandas(given)
    if is_frame(given):
        return given.to_numpy()
    if not isinstance(given, (list, tuple)):
        return given
    array = np.asarray(as_array(given), dtype=object)
    is_number = all(is_missing(t) or isinstance(t, (int, float, np.number)) for t in array.flat)
    return given if is_number or array.ndim != 2 else array


def dates_to_seconds(times: dict[str, Any]) -> dict[str, Any]:
    """Times by modality with every array of dates or durations in seconds, NaN where NaT.

    Parameters
    ----------
    times : dict of str to array of shape (n, L)
        Numbers are left as they are.

    Returns
    -------
    dict of str to array of shape (n, L)
        Dates count from the first one of their sample, over all modalities that have dates.
    """
    times = {name: _as_clock_array(given) for name, given in times.items()}
    if not any(is_clock_of_dates(given) for given in times.values()):
        return times
    out, dates, kinds = dict(times), {}, {}
    for name, given in times.items():
        if not is_clock_of_dates(given):
            continue
        array = np.asarray(as_array(given))
        present = np.array([not is_missing(stamp) for stamp in array.flat]).reshape(array.shape)
        stamps = read_stamps(array[present], f"Modality {name!r}")
        if stamps.kind == SECONDS:
            out[name] = np.full(array.shape, np.nan)
            out[name][present] = stamps.values
            continue
        kinds[name] = stamps.kind
        dates[name] = np.full(array.shape, np.iinfo(np.int64).max)
        dates[name][present] = stamps.values
    if len(set(kinds.values())) > 1:
        raise ValueError(
            f"The times of the modalities are {kinds}; how far apart they are is unknown. Give all "
            "dates a zone, or none."
        )
    numbers = [n for n, given in times.items() if n not in kinds and given is not None]
    numbers = [n for n in numbers if not is_clock_of_dates(times[n])]
    if dates and numbers:
        raise ValueError(
            f"The times of {[*dates]} are dates, those of {numbers} numbers; how far apart they "
            "are is unknown. Give all of them as dates, or as seconds from one origin."
        )
    if dates:
        first = np.min([part.min(axis=1) for part in dates.values()], axis=0)[:, None]
        for name, part in dates.items():
            missing = part == np.iinfo(np.int64).max
            out[name] = np.where(missing, np.nan, (part - np.where(missing, part, first)) / 1e9)
    return out
