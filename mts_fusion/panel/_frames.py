"""Everything that touches pandas: plain arrays to frames and back, without knowing a Panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

__all__ = [
    "as_frame",
    "is_frame",
    "is_series",
    "multiindex_frame",
    "nested_frame",
    "read_multiindex",
    "read_nested",
    "read_plain",
    "sample_frames",
]


def is_frame(x: Any) -> bool:
    """Whether ``x`` is a pandas DataFrame, asked without importing pandas."""
    return hasattr(x, "columns") and hasattr(x, "iloc")


def is_series(x: Any) -> bool:
    """Whether ``x`` is a pandas Series, asked without importing pandas."""
    return hasattr(x, "iloc") and hasattr(x, "index") and not hasattr(x, "columns")


def as_frame(
    columns: Mapping[str, Sequence[Any]],
    *,
    index: Sequence[Any] | None = None,
    index_name: str | None = None,
) -> Any:
    """A DataFrame of columns: the one place where results become frames."""
    import pandas as pd

    frame = pd.DataFrame(dict(columns), index=index)
    if index_name is not None:
        frame.index.name = index_name
    return frame


# Out: arrays to sktime's types


def multiindex_frame(values: np.ndarray, columns: list[tuple[str, str]]) -> Any:
    """``(n, C, L)`` as pd-multiindex with columns ``(modality, channel)``."""
    import pandas as pd

    n, n_channels, length = values.shape
    index = pd.MultiIndex.from_product([range(n), range(length)], names=["instances", "timepoints"])
    flat = values.transpose(0, 2, 1).reshape(n * length, n_channels)
    return pd.DataFrame(flat, index=index, columns=pd.MultiIndex.from_tuples(columns))


def sample_frames(values: np.ndarray, columns: list[tuple[str, str]]) -> list[Any]:
    """``(n, C, L)`` as a list of frames, one a sample."""
    import pandas as pd

    names = pd.MultiIndex.from_tuples(columns)
    return [pd.DataFrame(sample.T, columns=names) for sample in values]


def nested_frame(values: Mapping[str, np.ndarray]) -> Any:
    """Arrays of any lengths as a frame whose cells are Series."""
    import pandas as pd

    columns = [(name, str(c)) for name, array in values.items() for c in range(array.shape[1])]
    n = len(next(iter(values.values())))
    cells = np.empty((n, len(columns)), dtype=object)
    for column, (name, channel) in enumerate(columns):
        for sample in range(n):
            cells[sample, column] = pd.Series(values[name][sample, int(channel)])
    return pd.DataFrame(cells, columns=pd.MultiIndex.from_tuples(columns))


# In: sktime's types to arrays, ``{modality: (columns, values (n, C, L), clock)}``


def read_multiindex(frame: Any) -> tuple[list[Any], np.ndarray, np.ndarray | None, float | None]:
    """A pd-multiindex frame as its column labels, values ``(n, C, L)``, times and rate."""
    import pandas as pd

    if frame.index.nlevels != 2:
        raise ValueError(
            f"A panel frame has two index levels (sample, time), got {frame.index.nlevels}. "
            "Select one level of samples with X.droplevel(...)."
        )
    codes, samples = pd.factorize(frame.index.get_level_values(0))
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    counts = np.bincount(codes, minlength=len(samples))
    position = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    length = int(counts.max()) if len(counts) else 0
    values = np.full((len(samples), frame.shape[1], length), np.nan, np.float32)
    values[codes, :, position] = read_plain(frame)[order]
    stamps = np.asarray(frame.index.get_level_values(1))[order]
    times, rate = _clock(stamps, codes, position, (len(samples), length))
    return list(frame.columns), values, times, rate


def read_nested(frame: Any) -> tuple[list[Any], list[list[np.ndarray]]]:
    """A nested frame as its column labels and, by column, one array ``(L,)`` a sample."""
    columns = [[_numbers(cell) for cell in frame.iloc[:, c]] for c in range(frame.shape[1])]
    return list(frame.columns), columns


def read_plain(frame: Any) -> np.ndarray:
    """A frame of numbers as an array ``(rows, columns)``; missing cells are NaN."""
    return _numbers(frame)


def _numbers(part: Any) -> np.ndarray:
    """The cells of a frame or series as float32; missing ones are NaN."""
    label = getattr(part, "name", None)
    where = f"columns {list(part.columns)}" if is_frame(part) else f"a series named {label!r}"
    try:
        with np.errstate(over="ignore"):  # the panel refuses infinite values, by modality
            if hasattr(part, "to_numpy"):
                return part.to_numpy(dtype=np.float32, na_value=np.nan)
            return np.asarray(part, dtype=np.float32)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"A frame holds text in {where}; numbers are wanted ({error}). "
            "Encode text or categories as numbers first."
        ) from error


def is_nested(frame: Any) -> bool:
    """Whether the cells of a frame are series."""
    return bool(frame.shape[0] and frame.shape[1] and np.ndim(frame.iloc[0, 0]) == 1)


def _clock(
    stamps: np.ndarray, codes: np.ndarray, position: np.ndarray, shape: tuple[int, int]
) -> tuple[np.ndarray | None, float | None]:
    """Times in seconds, or the rate where the clock is regular, or neither for a plain count."""
    if stamps.dtype.kind in "iu":
        steps = np.diff(stamps)[np.diff(codes) == 0]
        if (steps == 1).all():
            return None, None
        seconds = stamps.astype(np.float64)
    elif stamps.dtype.kind in "mM":
        unit = np.timedelta64(1, "ns")
        first = stamps[np.searchsorted(codes, codes)]
        seconds = (stamps - first) / unit * 1e-9
    elif stamps.dtype.kind == "f":
        seconds = stamps.astype(np.float64)
    else:
        raise TypeError(
            f"The time level of the index holds {stamps.dtype} values; integers, seconds or "
            "datetimes are wanted."
        )
    steps = np.diff(seconds)[np.diff(codes) == 0]
    if len(steps) and steps.min() > 0 and np.ptp(steps) < 1e-6 * steps.mean():
        return None, float(1 / steps.mean())
    times = np.full(shape, np.nan)
    times[codes, position] = seconds
    return times, None
