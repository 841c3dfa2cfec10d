"""From one container to readings: values as they came, and clocks, ids and names beside them."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from ._arrays import as_array, is_dict, is_missing, library_of
from ._checks import check_ids
from ._clock import Stamps
from ._frames import (
    as_pandas,
    index_clock,
    is_frame,
    is_nested,
    is_series,
    read_multiindex,
    read_numbers,
    row_ids,
)

__all__ = ["Reading", "channel_names", "read_frame", "read_modality", "read_samples"]

# An array of so many channels, and so many more channels than timepoints, looks transposed.
_MANY_CHANNELS, _TRANSPOSED_RATIO = 32, 8


@dataclass
class Reading:
    """One modality as it was read.

    ``clocks`` has one clock a sample, None where a sample has none; ``counted_ids`` says that the
    ids are the numbers of rows that pandas gives, not names.
    """

    values: np.ndarray  # (n, C, L)
    clocks: list[Stamps | None] | None = None
    ids: np.ndarray | None = None
    counted_ids: bool = False
    channels: tuple[str, ...] | None = None
    rate: float | None = None  # of a clock without stamps, where it is known


def channel_names(labels: Sequence[Any]) -> tuple[str, ...] | None:
    """Names of channels from labels of columns; None where these only count from 0."""
    names = tuple(
        "__".join(map(str, label)) if isinstance(label, tuple) else str(label) for label in labels
    )
    return None if names == tuple(str(c) for c in range(len(names))) else names


def read_modality(given: Any, name: str) -> Reading | None:
    """What stands for one modality in a dict; None where it says nothing at all."""
    subject = f"Modality {name!r}"
    given = as_pandas(given)
    if is_missing(given):
        return None
    if is_dict(given):
        reading = read_samples(list(given.values()), name)
        if reading is not None:
            reading.ids = check_ids(list(given), len(given))
        return reading
    if is_series(given) and any(np.ndim(cell) == 1 for cell in given):
        given = given.to_frame()
    if is_frame(given):
        if given.index.nlevels > 1:
            values, clocks, ids = read_multiindex(given, subject)
            return Reading(values, [*clocks], ids, False, channel_names(list(given.columns)))
        ids_of_rows, counted = row_ids(given, subject)
        if is_nested(given):
            reading = _read_nested(given, list(range(given.shape[1])), name)
            if reading is not None:
                reading.ids, reading.counted_ids = ids_of_rows, counted
            return reading
        values = read_numbers(given, subject)[:, None, :]
        return Reading(values, None, ids_of_rows, counted)
    given = as_array(given)
    if isinstance(given, np.ndarray) and given.dtype == object:
        given = _rows_of_cells(given)
    if isinstance(given, (list, tuple)) and (len(given) == 0 or _is_ragged(given)):
        return read_samples(list(given), name)
    return Reading(_numbers(given, name))


def read_frame(frame: Any, series: str) -> dict[str, Reading | None]:
    """The modalities of a frame whose columns are ``(modality, channel)``, or channels of one."""
    groups = _by_modality(list(frame.columns), series)
    if frame.index.nlevels > 1:
        values, clocks, ids = read_multiindex(frame, "A frame")
        return {
            name: Reading(values[:, columns], [*clocks], ids, False, _second(frame, columns))
            for name, columns in groups.items()
        }
    ids_of_rows, counted = row_ids(frame, "A frame")
    if not is_nested(frame):
        return {
            series: Reading(read_numbers(frame, "A frame")[:, None, :], None, ids_of_rows, counted)
        }
    readings: dict[str, Reading | None] = {}
    for name, columns in groups.items():
        readings[name] = reading = _read_nested(frame, columns, name)
        if reading is not None:
            reading.ids, reading.counted_ids = ids_of_rows, counted
    return readings


def _by_modality(columns: Sequence[Any], series: str) -> dict[str, list[int]]:
    """Column positions by modality: ``(modality, channel)`` labels, else one modality of all."""
    groups: dict[str, list[int]] = {}
    for position, label in enumerate(columns):
        if label in columns[:position]:
            raise ValueError(
                f"Each channel has its own column, but {label!r} stands more than once in "
                f"{list(columns)}. Rename one of them."
            )
        name = str(label[0]) if isinstance(label, tuple) else series
        groups.setdefault(name, []).append(position)
    return groups


def _second(frame: Any, columns: Sequence[int]) -> tuple[str, ...] | None:
    """Names of the channels in some columns, which may be ``(modality, channel)``."""
    labels = [frame.columns[c] for c in columns]
    return channel_names([label[1:] if isinstance(label, tuple) else label for label in labels])


def _read_nested(frame: Any, columns: list[int], name: str) -> Reading | None:
    """Some columns of a frame of series, as the channels of one modality."""
    samples: list[Any] = []
    rows = frame.iloc[:, columns].to_numpy(dtype=object)
    for i, row in enumerate(rows):
        cells = [
            None if is_missing(c) else as_pandas(c) if np.ndim(c) else np.array([c]) for c in row
        ]
        present = [cell for cell in cells if cell is not None and len(cell)]
        if not present:
            samples.append(None)
            continue
        lengths = [len(cell) for cell in present]
        if len(set(lengths)) > 1:
            raise ValueError(
                f"The channels of modality {name!r} have lengths {lengths} in sample {i}; one "
                "length a modality is wanted. Name channels of other lengths as modalities of "
                "their own, with columns (modality, channel)."
            )
        silent = np.full(lengths[0], np.nan, np.float32)
        series = [silent if cell is None or not len(cell) else _cell(cell) for cell in cells]
        samples.append((np.stack(series), _common_clock(present, name, i)))
    reading = read_samples(samples, name)
    if reading is not None:
        reading.channels = _second(frame, columns)
    return reading


def _cell(cell: Any) -> np.ndarray:
    if is_series(cell):
        return read_numbers(cell, "A frame")
    return np.asarray(as_array(cell), dtype=np.float32)


def _common_clock(cells: list[Any], name: str, sample: int) -> Stamps | None:
    """The clock of the channels of one sample, which all have to share."""
    series = [cell for cell in cells if is_series(cell)]
    if not series:
        return None
    if any(not cell.index.equals(series[0].index) for cell in series[1:]):
        raise ValueError(
            f"The channels of modality {name!r} have other indices in sample {sample}; one clock a "
            "modality is wanted. Name channels of other clocks as modalities of their own, with "
            "columns (modality, channel)."
        )
    return index_clock(series[0].index, f"Modality {name!r}")


def _is_ragged(part: Any) -> bool:
    """Whether samples have to be read one by one."""
    if any(library_of(item) == "polars" or is_series(item) or is_frame(item) for item in part):
        return True
    present = [item for item in part if not is_missing(item)]
    try:
        shapes = {np.shape(item) for item in present}
    except ValueError:  # a sample of nested lists of several lengths
        return True
    if len(present) < len(part):
        return shapes != {()}
    return len(shapes) > 1 or shapes == {(0,)}


def _rows_of_cells(given: np.ndarray) -> Any:
    """An array of objects ``(n,)``, or ``(n, C)`` with a series in each cell, as samples."""
    if not any(np.ndim(cell) for cell in given.flat):
        return given
    if given.ndim < 2:
        return list(given)
    return [np.stack([np.asarray(as_array(cell), np.float64) for cell in row]) for row in given]


def read_samples(samples: list[Any], name: str) -> Reading | None:
    """Samples ``(C, L_i)`` or ``(L_i,)``, or None, as one reading, padded with NaN at the end.

    A sample is an array, a series, a frame with a row each timepoint, or ``(array, clock)``. None
    where no sample has a timepoint, for then nothing is known of the channels.
    """
    arrays: list[np.ndarray | None] = []
    clocks: list[Stamps | None] = []
    labels: list[Any] | None = None
    for i, sample in enumerate(samples):
        sample = as_pandas(sample)
        clock = None
        if isinstance(sample, tuple) and len(sample) == 2 and isinstance(sample[0], np.ndarray):
            sample, clock = sample
        elif is_frame(sample):
            clock = index_clock(sample.index, f"Modality {name!r}")
            labels = list(sample.columns) if labels is None else labels
            sample = read_numbers(_ordered(sample, labels, i), f"Modality {name!r}").T
        elif is_series(sample):
            clock = index_clock(sample.index, f"Modality {name!r}")
            sample = read_numbers(sample, f"Modality {name!r}")
        array = None if is_missing(sample) else _one_sample(sample, name, i)
        arrays.append(array)
        clocks.append(None if array is None else clock)
    values = _pad_samples(arrays, name)
    if values is None:
        return None
    has_clock = any(clock is not None for clock in clocks)
    names = None if labels is None else channel_names(labels)
    return Reading(values, clocks if has_clock else None, channels=names)


def _ordered(frame: Any, labels: list[Any], sample: int) -> Any:
    """The columns of a sample in the order of the first one."""
    columns = list(frame.columns)
    if columns == labels:
        return frame
    if set(columns) == set(labels) and len(columns) == len(labels):
        return frame[labels]
    raise ValueError(
        f"Sample {sample} has the columns {columns}, but sample 0 has {labels}. "
        "Give all samples the same columns, with NaN where a channel is silent."
    )


def _one_sample(sample: Any, name: str, i: int) -> np.ndarray | None:
    """A sample as ``(C, L_i)``; None where it has no timepoint."""
    try:
        array = np.asarray(as_array(sample))
        if array.dtype.kind in "mMcUS":
            raise TypeError(f"{array.dtype} came")
        array = array.astype(np.float64)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"Sample {i} of modality {name!r} is not an array of numbers ({error}). Give "
            "(timepoints,) or (channels, timepoints), or None where it is absent."
        ) from error
    array = array[None] if array.ndim == 1 else array
    if array.ndim != 2:
        raise ValueError(
            f"Sample {i} of modality {name!r} has shape {np.shape(sample)}; (timepoints,) or "
            "(channels, timepoints) is wanted."
        )
    return array if array.size else None


def _pad_samples(arrays: list[np.ndarray | None], name: str) -> np.ndarray | None:
    present = [array for array in arrays if array is not None]
    counts = {len(array) for array in present}
    if len(counts) > 1:
        raise ValueError(
            f"Modality {name!r} has samples of {sorted(counts)} channels; one number is wanted. "
            "Give all channels, with NaN where one is silent."
        )
    if not present:
        return None
    length = max(array.shape[1] for array in present)
    values = np.full((len(arrays), counts.pop(), length), np.nan)
    for i, part in enumerate(arrays):
        if part is not None:
            values[i, :, : part.shape[1]] = part
    return values


def _numbers(given: Any, name: str) -> np.ndarray:
    """An array ``(n, C, L)`` of one modality, checked by scikit-learn's own door."""
    from sklearn.utils import check_array

    if getattr(getattr(given, "dtype", None), "kind", "") in tuple("mM"):
        raise ValueError(
            f"Modality {name!r} holds dates ({given.dtype}); numbers are wanted. Give clocks as "
            f"times={{{name!r}: ...}}."
        )
    try:
        array = check_array(
            given,
            dtype="numeric",
            allow_nd=True,
            ensure_all_finite=False,
            ensure_min_samples=0,
            input_name=name,
        )
    except ValueError as error:
        if "could not convert" not in str(error) and "bytes/strings" not in str(error):
            raise
        raise ValueError(
            f"Modality {name!r} holds text; numbers are wanted ({error}). "
            "Encode text or categories as numbers first."
        ) from error
    if array.ndim == 2:
        return array[:, None, :]
    if array.ndim != 3:
        raise ValueError(
            f"Modality {name!r} has shape {np.shape(given)}; (samples, timepoints) or (samples, "
            "channels, timepoints) is wanted. Reshape your data."
        )
    _, n_channels, length = array.shape
    if n_channels >= max(_MANY_CHANNELS, _TRANSPOSED_RATIO * length) and length > 1:
        warnings.warn(
            f"Modality {name!r} has {n_channels} channels of {length} timepoints, which looks "
            "transposed: (samples, channels, timepoints) is the order of the axes. If it is, give "
            "X.transpose(0, 2, 1).",
            UserWarning,
            stacklevel=2,
        )
    return array
