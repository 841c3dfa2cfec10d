"""Everything that touches pandas: plain arrays to frames and back, without knowing a Panel."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._arrays import as_array, is_missing, library_of
from ._clock import DATES, SECONDS, ZONED, Stamps

__all__ = [
    "as_frame",
    "as_pandas",
    "index_clock",
    "is_frame",
    "is_nested",
    "is_series",
    "multiindex_frame",
    "nested_frame",
    "read_multiindex",
    "read_numbers",
    "read_stamps",
    "row_ids",
    "sample_frames",
]


def is_frame(x: Any) -> bool:
    """Whether ``x`` is a pandas DataFrame, asked without importing pandas."""
    return hasattr(x, "columns") and hasattr(x, "iloc")


def is_series(x: Any) -> bool:
    """Whether ``x`` is a pandas Series, asked without importing pandas."""
    return hasattr(x, "iloc") and hasattr(x, "index") and not hasattr(x, "columns")


def as_pandas(x: Any) -> Any:
    """A frame or series of polars as pandas'; anything else as it is."""
    if library_of(x) != "polars":
        return x
    import pandas as pd

    if hasattr(x, "collect"):
        x = x.collect()
    if hasattr(x, "columns"):
        return pd.DataFrame({name: x[name].to_numpy() for name in x.columns})
    return pd.Series(x.to_numpy(), name=x.name)


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


def _clock_index(seconds: np.ndarray) -> Any:
    """Seconds as the durations that sktime takes for a clock."""
    import pandas as pd

    return pd.to_timedelta(np.round(seconds * 1e9).astype("m8[ns]"))


def multiindex_frame(
    values: np.ndarray,
    columns: list[tuple[str, str]],
    ids: Any,
    clocks: Sequence[np.ndarray | None],
) -> Any:
    """``(n, C, L)`` as pd-multiindex with columns ``(modality, channel)``.

    A sample has as many rows as its clock has stamps; L, numbered from 0, where it has no clock.
    """
    import pandas as pd

    length = values.shape[2]
    counts = [length if clock is None else len(clock) for clock in clocks]
    rows = np.repeat(np.arange(len(values)), counts)
    position = np.concatenate([np.arange(count) for count in counts]) if counts else rows
    regular = all(clock is None for clock in clocks)
    stamps = position if regular else _clock_index(np.concatenate(clocks))  # type: ignore[arg-type]
    index = pd.MultiIndex.from_arrays(
        [np.asarray(ids)[rows], stamps], names=["instances", "timepoints"]
    )
    names = pd.MultiIndex.from_tuples(columns)
    return pd.DataFrame(values[rows, :, position], index=index, columns=names)


def sample_frames(
    values: np.ndarray, columns: list[tuple[str, str]], clocks: Sequence[np.ndarray | None]
) -> list[Any]:
    """``(n, C, L)`` as a list of frames, one a sample."""
    import pandas as pd

    names = pd.MultiIndex.from_tuples(columns)
    frames = []
    for sample, clock in zip(values, clocks, strict=True):
        if clock is None:
            frames.append(pd.DataFrame(sample.T, columns=names))
        else:
            part = sample.T[: len(clock)]
            frames.append(pd.DataFrame(part, columns=names, index=_clock_index(clock)))
    return frames


def nested_frame(
    values: Mapping[str, np.ndarray],
    channels: Mapping[str, Sequence[str]],
    ids: Any,
    clocks: Mapping[str, Sequence[np.ndarray | None]],
) -> Any:
    """Arrays of any lengths as a frame whose cells are Series."""
    import pandas as pd

    columns = [(name, channel) for name in values for channel in channels[name]]
    n = len(next(iter(values.values())))
    cells = np.empty((n, len(columns)), dtype=object)
    for sample in range(n):
        column = 0
        for name, array in values.items():
            clock = clocks[name][sample]
            index = None if clock is None else _clock_index(clock)
            stop = array.shape[2] if clock is None else len(clock)
            for channel in array[sample]:
                cells[sample, column] = pd.Series(channel[:stop], index=index)
                column += 1
    return pd.DataFrame(cells, columns=pd.MultiIndex.from_tuples(columns), index=ids)


# In: frames to arrays


def read_multiindex(frame: Any, subject: str) -> tuple[np.ndarray, list[Stamps], np.ndarray]:
    """A pd-multiindex frame as values ``(n, C, L)``, the clock of each sample, and the ids."""
    import pandas as pd

    if frame.index.nlevels != 2:
        raise ValueError(
            f"A panel frame has two index levels (sample, time), got {frame.index.nlevels}. "
            "Select one level of samples with X.droplevel(...)."
        )
    codes, ids = pd.factorize(frame.index.get_level_values(0))
    if (codes < 0).any():
        raise ValueError(
            f"{subject} has no sample id in row {int(np.argmax(codes < 0))} (NaN in the first "
            "level of the index). Name the sample, or drop the row."
        )
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    counts = np.bincount(codes, minlength=len(ids))
    position = np.arange(len(codes)) - np.repeat(np.cumsum(counts) - counts, counts)
    length = int(counts.max()) if len(counts) else 0
    values = np.full((len(ids), frame.shape[1], length), np.nan, np.float32)
    values[codes, :, position] = read_numbers(frame, subject)[order]
    stamps = read_stamps(frame.index.get_level_values(1), subject)
    parts = np.split(stamps.values[order], np.cumsum(counts)[:-1]) if len(ids) else []
    clocks = [Stamps(stamps.kind, part, stamps.whole) for part in parts]
    return values, clocks, np.asarray(ids)


def row_ids(frame: Any, subject: str) -> tuple[np.ndarray | None, bool]:
    """The ids in the index of a frame with a row a sample, and whether they only count the rows."""
    import pandas as pd

    index = frame.index
    if isinstance(index, pd.RangeIndex) and index.start == 0 and index.step == 1:
        return np.arange(len(index)), True
    if index.hasnans:
        raise ValueError(
            f"{subject} has no sample id in row {int(np.argmax(index.isna()))} (NaN in the index). "
            "Name the sample, or drop the row."
        )
    return np.asarray(index), False


def is_nested(frame: Any) -> bool:
    """Whether the cells of a frame are series; a cell may be empty."""
    if not (frame.shape[0] and frame.shape[1]):
        return False
    return any(
        any(np.ndim(cell) == 1 for cell in frame.iloc[:, c])
        for c, dtype in enumerate(frame.dtypes)
        if getattr(dtype, "kind", "O") == "O"
    )


_REFUSED = {
    "b": ("booleans", "Say what they mean as numbers, X.astype(float) for 0 and 1."),
    "M": ("dates", "Set them as the index, or leave the columns out."),
    "m": ("durations", "Give them as numbers, for instance with .dt.total_seconds()."),
    "c": ("categories", "Encode text or categories as numbers first."),
    "O": (
        "text",
        "Encode text or categories as numbers first. If the frame has a row for each value, make "
        "it one with a column for each quantity: frame.pivot_table(index=[id, time], "
        "columns=quantity, values=value).sort_index().",
    ),
    "X": ("complex numbers", "Give real and imaginary parts as channels."),
}


def _column_kind(column: Any) -> str:
    """'' for a column of numbers, else a key of ``_REFUSED``."""
    from pandas.api.types import infer_dtype

    if type(column.dtype).__name__ in ("CategoricalDtype", "PeriodDtype"):
        return "c" if hasattr(column.dtype, "categories") else "M"
    kind = getattr(column.dtype, "kind", "O")
    if kind == "O" and column.dtype == object:
        said = infer_dtype(column, skipna=True)
        kinds = {"boolean": "b", "datetime": "M", "date": "M", "datetime64": "M", "period": "M"}
        kinds |= {"timedelta": "m", "timedelta64": "m", "complex": "X", "categorical": "c"}
        numbers = ("integer", "floating", "mixed-integer-float", "decimal", "empty")
        return "" if said in numbers else kinds.get(said, "O")
    return {"f": "", "i": "", "u": "", "c": "X"}.get(kind, kind if kind in "bmM" else "O")


def read_numbers(part: Any, subject: str) -> np.ndarray:
    """The cells of a frame or series as float32, missing ones NaN; other columns are refused."""
    is_table = is_frame(part)
    if not is_table and isinstance(part.dtype, np.dtype) and part.dtype.kind in "fiu":
        with np.errstate(over="ignore"):
            return np.asarray(part.to_numpy(), dtype=np.float32)
    wrong: dict[str, list[Any]] = {}
    for c in range(part.shape[1]) if is_table else [None]:
        column = part if c is None else part.iloc[:, c]
        if kind := _column_kind(column):
            wrong.setdefault(kind, []).append(part.name if c is None else part.columns[c])
    if wrong:
        kind, names = next(iter(wrong.items()))
        what, remedy = _REFUSED[kind]
        where = f"the columns {names}" if is_table else f"a series named {names[0]!r}"
        dtypes = sorted({str(part[n].dtype) for n in names}) if is_table else [str(part.dtype)]
        raise ValueError(
            f"{subject} holds {what} in {where}; numbers are wanted ({', '.join(dtypes)} came). "
            f"{remedy}"
        )
    with np.errstate(over="ignore"):  # the panel refuses infinite values, by modality
        return np.asarray(part.to_numpy(dtype=np.float32, na_value=np.nan))


def index_clock(index: Any, subject: str) -> Stamps | None:
    """The clock in an index; None where the index only counts, or names, its entries."""
    import pandas as pd

    if isinstance(index, pd.RangeIndex) and index.step == 1:
        return None
    kind = getattr(index.dtype, "kind", "O")
    if kind in "iufmM" or isinstance(index, (pd.PeriodIndex, pd.DatetimeIndex)):
        return read_stamps(index, subject)
    return None


def read_stamps(clock: Any, subject: str) -> Stamps:
    """A clock of any kind as ``Stamps``: numbers are seconds, dates are dates.

    Parameters
    ----------
    clock : Index, Series, array or list of shape (T,)
        Numbers, dates with or without a zone, periods (their start) or durations.
    subject : str
        Whose clock it is, for messages: ``"Modality 'acc'"``.

    Returns
    -------
    Stamps
        Dates with a zone are counted in UTC.

    Raises
    ------
    TypeError
        If the clock is neither numbers nor dates.
    ValueError
        If a stamp is missing or infinite, or some of the dates have a zone and some have none.
    """
    import pandas as pd

    of = f"The clock of {subject[:1].lower()}{subject[1:]}"
    if not isinstance(clock, pd.Index):
        plain = as_array(clock)
        if isinstance(plain, np.ndarray) and plain.dtype.kind in "iufmM":
            return _plain_stamps(plain, DATES, of)
        if np.ndim(plain) != 1:
            raise ValueError(f"{of} is not one finite time per entry.")
        clock = pd.Index(plain if hasattr(plain, "dtype") else list(plain))
    if clock.dtype == object and len(clock):
        clock = _infer_dates(clock, of)
    if isinstance(clock, pd.PeriodIndex):
        clock = clock.to_timestamp()
    kind = getattr(clock.dtype, "kind", "O")
    if kind == "M":
        clock = pd.DatetimeIndex(clock)
        if clock.tz is None:
            return _plain_stamps(np.asarray(clock), DATES, of)
        return _plain_stamps(np.asarray(clock.tz_convert("UTC").tz_localize(None)), ZONED, of)
    if kind == "m":
        return _plain_stamps(np.asarray(pd.TimedeltaIndex(clock)), SECONDS, of)
    if kind in "iu" and not clock.hasnans:
        return _plain_stamps(clock.to_numpy(dtype=np.int64), SECONDS, of)
    if kind in "iuf":
        return _plain_stamps(clock.to_numpy(dtype=np.float64, na_value=np.nan), SECONDS, of)
    raise TypeError(
        f"{of} is {clock.dtype}; seconds (numbers) or dates are wanted. Set the index, or pass "
        "(times, values); text becomes dates with pandas.to_datetime(...)."
    )


def _infer_dates(clock: Any, of: str) -> Any:
    """An index of Python's date objects as pandas' own, with or without a zone."""
    import pandas as pd

    missing = [is_missing(stamp) for stamp in clock]
    if any(missing):
        raise ValueError(
            f"{of} is not one finite time per entry: entry {missing.index(True)} is missing."
        )
    if all(isinstance(stamp, (int, float, np.integer, np.floating)) for stamp in clock):
        return pd.Index(np.asarray(clock.tolist()))
    if not all(hasattr(stamp, "year") and not hasattr(stamp, "freq") for stamp in clock):
        return clock
    zoned = [getattr(stamp, "tzinfo", None) is not None for stamp in clock]
    if any(zoned) and not all(zoned):
        raise ValueError(
            f"{of} has dates with and without a time zone (entry {zoned.index(not zoned[0])} is "
            "the first of the other kind). Give all of them a zone, or none."
        )
    return pd.DatetimeIndex(pd.to_datetime(list(clock), utc=all(zoned)))


def _plain_stamps(times: np.ndarray, kind: str, of: str) -> Stamps:
    if times.ndim != 1:
        raise ValueError(f"{of} is not one finite time per entry: its shape is {times.shape}.")
    bad = np.isnat(times) if times.dtype.kind in "mM" else ~np.isfinite(times)
    if bad.any():
        raise ValueError(
            f"{of} is not one finite time per entry: entry {int(np.argmax(bad))} is missing or "
            "infinite."
        )
    if times.dtype.kind == "M":
        return Stamps(kind, times.astype("M8[ns]").astype(np.int64))
    if times.dtype.kind == "m":
        return Stamps(SECONDS, times.astype("m8[ns]").astype(np.int64) / 1e9)
    return Stamps(SECONDS, times.astype(np.float64), whole=times.dtype.kind in "iu")
