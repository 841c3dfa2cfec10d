"""as_panel: the only door. Whatever holds a panel becomes a Panel, or an error says why not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ._frames import (
    as_frame,
    is_frame,
    is_nested,
    is_series,
    read_multiindex,
    read_nested,
    read_plain,
)
from ._panel import Panel

__all__ = ["SERIES", "as_frame", "as_panel"]

SERIES = "series"
"""Name of the modality of an array that names none."""


def as_panel(
    X: Any,
    *,
    rates: Mapping[str, float | None] | None = None,
    times: Mapping[str, Any] | None = None,
) -> Panel:
    """A Panel of whatever holds one. NaN marks what is missing; nothing is filled or resampled.

    Parameters
    ----------
    X : Panel, dict, array, DataFrame or list
        - dict of modality -> array ``(n, C, L)``, array or DataFrame ``(n, L)`` of one channel,
          list of ``n`` arrays ``(C, L_i)`` or ``(L_i,)`` (None where absent), or any of sktime's
          panel frames;
        - array ``(n, C, L)`` or ``(n, L)``: one modality, named ``"series"``;
        - sktime's ``pd-multiindex``, ``nested_univ``, ``df-list``; columns ``(modality,
          channel)`` make modalities, plain columns are the channels of one;
        - list of dicts, one a sample, of modality -> array ``(C, L_i)`` or ``(L_i,)``;
        - a Panel, returned as it is.
    rates : dict of str to float, default=None
        Sampling rates in Hz, by modality.
    times : dict of str to array of shape (n, L) or list of arrays (L_i,), default=None
        Times in seconds, by modality, of irregular clocks.

    Returns
    -------
    Panel
        Numbers as float32. float64 loses digits beyond the seventh, as everywhere in torch.

    Raises
    ------
    TypeError
        If ``X`` is of another type, sparse, or holds text.
    ValueError
        If it is empty, infinite, complex, or its modalities disagree in the number of samples.

    Examples
    --------
    >>> import numpy as np
    >>> panel = as_panel({"acc": np.zeros((4, 3, 50)), "hr": [[60.0, 61.0], None, [70.0], [80.0]]},
    ...                  rates={"acc": 25.0})
    >>> panel.values["hr"].shape
    (4, 1, 2)
    """
    if isinstance(X, Panel):
        panel = X
    elif isinstance(X, Mapping) and not hasattr(X, "shape"):  # scipy has sparse mappings
        panel = _from_dict(X)
    elif is_frame(X):
        panel = _from_frame(X)
    elif isinstance(X, (list, tuple)) and len(X) and isinstance(X[0], Mapping):
        panel = _from_samples(X)
    elif isinstance(X, (list, tuple)) and len(X) and is_frame(X[0]):
        panel = _from_frames(X)
    else:
        panel = Panel({SERIES: _numbers(X, SERIES)})
    if len(panel) == 0:
        raise ValueError(
            "Found array with 0 sample(s) while a minimum of 1 is required: the panel is empty. "
            "Check how X was selected."
        )
    if rates or times:
        panel = panel.replace(
            rates=rates, times={k: _ragged_times(k, v, panel) for k, v in (times or {}).items()}
        )
    return panel


def _numbers(given: Any, name: str) -> np.ndarray:
    """An array ``(n, C, L)`` of one modality, checked by scikit-learn's own door."""
    from sklearn.utils import check_array

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
        array = array[:, None, :]
    if array.ndim != 3:
        raise ValueError(
            f"Modality {name!r} has shape {np.shape(given)}; (samples, timepoints) or (samples, "
            "channels, timepoints) is wanted. Reshape your data."
        )
    return array


def _from_dict(given: Mapping[Any, Any]) -> Panel:
    if not given:
        raise ValueError("X is an empty dict; at least one modality is wanted.")
    values, times, rates = {}, {}, {}
    for name, part in given.items():
        if not isinstance(name, str):
            raise TypeError(
                f"The name of a modality is a string, got {name!r}. Rename it with str(...)."
            )
        if is_frame(part) and (part.index.nlevels > 1 or is_nested(part)):
            values[name], times[name], rates[name] = _one_modality(part)
        elif is_frame(part):
            values[name] = _numbers(part, name)
        elif isinstance(part, (list, tuple)) and _is_ragged(part):
            values[name] = _stack(list(part), name)
        else:
            values[name] = _numbers(part, name)
    _check_counts(values)
    return Panel(values, times={k: v for k, v in times.items() if v is not None}, rates=rates)


def _check_counts(values: Mapping[str, np.ndarray]) -> None:
    for name, array in values.items():
        if array.shape[1] == 0 or array.shape[2] == 0:
            raise ValueError(
                f"Modality {name!r} has shape {array.shape} (samples, channels, timepoints); at "
                "least one channel and timepoint is wanted. Leave the modality out instead."
            )


def _from_frame(frame: Any) -> Panel:
    if frame.index.nlevels > 1:
        columns, values, times, rate = read_multiindex(frame)
        groups = _by_modality(columns)
        return Panel(
            {name: values[:, channels] for name, channels in groups.items()},
            times=None if times is None else dict.fromkeys(groups, times),
            rates=dict.fromkeys(groups, rate),
        )
    if is_nested(frame):
        columns, cells = read_nested(frame)
        return Panel(
            {
                name: _stack(
                    [_join([cells[c][i] for c in channels], name, i) for i in range(len(frame))],
                    name,
                )
                for name, channels in _by_modality(columns).items()
            }
        )
    return Panel({SERIES: _numbers(frame, SERIES)})


def _one_modality(frame: Any) -> tuple[np.ndarray, np.ndarray | None, float | None]:
    """A sktime frame that is the value of one modality: all its columns are channels."""
    if frame.index.nlevels > 1:
        _, values, times, rate = read_multiindex(frame)
        return values, times, rate
    _, cells = read_nested(frame)
    samples = [_join([c[i] for c in cells], SERIES, i) for i in range(len(frame))]
    return _stack(samples, SERIES), None, None


def _by_modality(columns: Sequence[Any]) -> dict[str, list[int]]:
    """Column positions by modality: ``(modality, channel)`` labels, else one modality of all."""
    groups: dict[str, list[int]] = {}
    for position, label in enumerate(columns):
        if label in columns[:position]:
            raise ValueError(
                f"Each channel has its own column, but {label!r} stands more than once in "
                f"{list(columns)}. Rename one of them."
            )
        name = str(label[0]) if isinstance(label, tuple) else SERIES
        groups.setdefault(name, []).append(position)
    return groups


def _from_frames(frames: Sequence[Any]) -> Panel:
    columns = list(frames[0].columns)
    for i, frame in enumerate(frames):
        if list(frame.columns) != columns:
            raise ValueError(
                f"Sample {i} has the columns {list(frame.columns)}, but sample 0 has {columns}. "
                "Give all samples the same columns, with NaN where a channel is silent."
            )
    arrays = [read_plain(frame).T for frame in frames]
    return Panel(
        {
            name: _stack([array[channels] for array in arrays], name)
            for name, channels in _by_modality(columns).items()
        }
    )


def _from_samples(samples: Sequence[Mapping[str, Any]]) -> Panel:
    names = list(dict.fromkeys(name for sample in samples for name in sample))
    return Panel({name: _stack([sample.get(name) for sample in samples], name) for name in names})


def _is_ragged(part: Sequence[Any]) -> bool:
    if any(is_series(item) or is_frame(item) for item in part):
        return True
    shapes = {None if item is None else np.shape(item) for item in part}
    return None in shapes or len(shapes) > 1


def _join(channels: list[np.ndarray], name: str, sample: int) -> np.ndarray:
    lengths = [len(channel) for channel in channels]
    if len(set(lengths)) > 1:
        raise ValueError(
            f"The channels of modality {name!r} have lengths {lengths} in sample {sample}; one "
            "length a modality is wanted. Name channels of other lengths as modalities of their "
            "own, with columns (modality, channel)."
        )
    return np.stack(channels)


def _stack(samples: list[Any], name: str) -> np.ndarray:
    """Samples ``(C, L_i)``, ``(L_i,)`` or None as ``(n, C, L)``, padded with NaN at the end."""
    arrays: list[np.ndarray | None] = []
    for i, sample in enumerate(samples):
        if sample is None:
            arrays.append(None)
            continue
        try:  # a frame has a row each timepoint
            array = np.asarray(read_plain(sample).T if is_frame(sample) else sample, np.float64)
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
        arrays.append(array)
    present = [array for array in arrays if array is not None]
    counts = {len(array) for array in present}
    if len(counts) > 1:
        raise ValueError(
            f"Modality {name!r} has samples of {sorted(counts)} channels; one number is wanted. "
            "Give all channels, with NaN where one is silent."
        )
    length = max((array.shape[1] for array in present), default=0)
    if length == 0:
        raise ValueError(f"Modality {name!r} has no timepoint in any sample. Leave it out instead.")
    values = np.full((len(arrays), counts.pop(), length), np.nan)
    for i, part in enumerate(arrays):
        if part is not None:
            values[i, :, : part.shape[1]] = part
    return values


def _ragged_times(name: str, given: Any, panel: Panel) -> np.ndarray | None:
    if given is None or (isinstance(given, np.ndarray) and given.dtype != object):
        return given
    if name not in panel.schema:
        raise ValueError(
            f"times names {name!r}, but the modalities are {list(panel.schema.names)}."
        )
    length = panel.schema[name].n_timepoints
    times = np.full((len(given), length), np.nan)
    for i, clock in enumerate(given):
        if clock is not None:
            clock = np.asarray(clock, dtype=np.float64)
            if clock.ndim != 1 or len(clock) > length:
                raise ValueError(
                    f"The times of sample {i} of modality {name!r} have shape {clock.shape}; at "
                    f"most ({length},) is wanted, as its values have."
                )
            times[i, : len(clock)] = clock
    return times
