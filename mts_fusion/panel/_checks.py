"""What each part of a Panel has to be."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ._arguments import as_floats
from ._arrays import as_array, is_missing
from ._schema import Vocabulary

__all__ = [
    "TOKEN_DTYPE",
    "check_channels",
    "check_ids",
    "check_key",
    "check_observed",
    "check_rate",
    "check_timed",
    "check_times",
    "check_values",
]

TOKEN_DTYPE = np.int16


def check_values(name: str, given: Any, vocabulary: Vocabulary | None) -> np.ndarray:
    """The array of one modality as float32 with NaN, or as tokens."""
    array = np.asarray(as_array(given))
    if array.dtype.kind not in "fiub":
        remedy = (
            "Clocks are given as times."
            if array.dtype.kind in "mM"
            else "Encode text or categories as numbers first."
        )
        raise TypeError(
            f"Modality {name!r} holds {array.dtype} values; numbers are wanted. {remedy}"
        )
    if array.ndim != 3:
        raise ValueError(
            f"Modality {name!r} has shape {array.shape}; (samples, channels, timepoints) is "
            "wanted. Use as_panel(...) for other shapes."
        )
    if vocabulary is not None:
        if not isinstance(vocabulary, Vocabulary):
            raise TypeError(
                f"vocabularies of modality {name!r} is a Vocabulary or None, got {vocabulary!r}."
            )
        if array.dtype.kind == "f":
            raise TypeError(
                f"Modality {name!r} has a vocabulary, so integer tokens are wanted, but its "
                f"values are {array.dtype}. Remove the vocabulary or tokenize the values."
            )
        valid = [*range(1, vocabulary.size + 1), vocabulary.missing]
        if array.size and not min(valid) <= array.min() <= array.max() <= max(valid):
            raise ValueError(
                f"Modality {name!r} has tokens from {array.min()} to {array.max()}, but its "
                f"vocabulary has the symbols 1 to {vocabulary.size} and {vocabulary.missing} "
                "for missing."
            )
        return array.astype(TOKEN_DTYPE, copy=False)
    with np.errstate(over="ignore"):
        values = array.astype(np.float32, copy=False)
    if np.isinf(values).any():
        sample, channel, _ = np.argwhere(np.isinf(values))[0]
        raise ValueError(
            f"Modality {name!r} has infinite values in float32 (first in sample {sample}, channel "
            f"{channel}). Finite numbers or NaN are wanted: mark them as missing with "
            "np.where(np.isinf(x), np.nan, x), or rescale values beyond 3e38."
        )
    return values


def check_times(name: str, given: Any, values: np.ndarray) -> np.ndarray | None:
    """Times in seconds, one a sample and timepoint; None for a regular clock."""
    if given is None:
        return None
    times = as_floats(f"times of modality {name!r}", as_array(given))
    wanted = (values.shape[0], values.shape[2])
    if times.shape != wanted:
        raise ValueError(
            f"The times of modality {name!r} have shape {times.shape}; {wanted}, one time a "
            "sample and timepoint, is wanted."
        )
    if np.isinf(times).any():
        raise ValueError(f"The times of modality {name!r} are infinite somewhere. Use NaN to pad.")
    padded = np.isnan(times)
    if (padded[:, :-1] & ~padded[:, 1:]).any():
        raise ValueError(
            f"The times of modality {name!r} have NaN before the end of a sample; NaN is for "
            "padding at the end. Remove those timepoints."
        )
    if (np.diff(times, axis=1) < 0).any():
        sample = int(np.argwhere(np.diff(times, axis=1) < 0)[0, 0])
        raise ValueError(
            f"The times of modality {name!r} decrease in sample {sample}. Sort its timepoints."
        )
    return times


def check_timed(times: dict[str, np.ndarray | None], observed: Callable[[str], np.ndarray]) -> None:
    """Raise unless all that is observed has a time, where a modality has times."""
    for name, clock in times.items():
        if clock is not None and (np.isnan(clock)[:, None] & observed(name)).any():
            raise ValueError(
                f"Modality {name!r} has observed values where its times are NaN. Give their "
                "times, or mark the values as missing with NaN."
            )


def check_observed(name: str, given: Any, values: np.ndarray) -> np.ndarray | None:
    """The mask of one modality, if it is carried."""
    if given is None:
        return None
    observed = np.asarray(as_array(given))
    if observed.dtype != bool or observed.shape != values.shape:
        raise ValueError(
            f"observed of modality {name!r} is {observed.dtype} of shape {observed.shape}; bool "
            f"of shape {values.shape} is wanted."
        )
    if values.dtype.kind == "f" and (np.isnan(values) & observed).any():
        raise ValueError(
            f"Modality {name!r} is NaN where observed says it was measured. Clear observed there."
        )
    return observed


def check_ids(given: Any, n: int) -> np.ndarray | None:
    """The ids of n samples, or None."""
    if given is None:
        return None
    given = as_array(given)
    ids = np.asarray(given) if not isinstance(given, (list, tuple)) else _objects(given)
    if ids.shape != (n,):
        raise ValueError(
            f"sample_ids has shape {ids.shape}, but the panel has {n} samples; one id each is "
            "wanted."
        )
    missing = [row for row, one in enumerate(ids) if is_missing(one)]
    if missing:
        raise ValueError(f"Sample {missing[0]} has no id in sample_ids. Name it.")
    return ids


def _objects(given: Any) -> np.ndarray:
    """A list as an array that mixes no types: ``[1, "a"]`` stays a number and a text."""
    if len({type(one) for one in given}) <= 1 and not isinstance(next(iter(given), 0), tuple):
        return np.asarray(given)
    ids = np.empty(len(given), dtype=object)
    for row, one in enumerate(given):
        ids[row] = one
    return ids


def check_channels(name: str, given: Any) -> tuple[str, ...] | None:
    """Names of channels as a tuple, or None."""
    if given is None:
        return None
    if isinstance(given, str):
        raise TypeError(
            f"channels of modality {name!r} is {given!r}; a list with one name a channel is wanted."
        )
    return tuple(given)


def check_rate(name: str, given: Any) -> float | None:
    """A rate in Hz, or None."""
    if given is None:
        return None
    try:
        return float(given)
    except (TypeError, ValueError):
        raise TypeError(
            f"Modality {name!r} has rate={given!r}; a number in Hz, or None, is wanted."
        ) from None


def check_key(key: Any, n: int) -> Any:
    """What was given between brackets as a slice or an array that selects samples."""
    if isinstance(key, tuple):
        if len(key) != 2 or key[1] is not Ellipsis:
            raise IndexError(
                "A panel is sliced along its samples only; choose modalities with X.select([...])."
            )
        key = key[0]
    if isinstance(key, str):
        raise IndexError(
            f"A panel is sliced along its samples; use X.select([{key!r}]) for the modality, "
            f"X.values[{key!r}] for its array."
        )
    if isinstance(key, (int, np.integer)) and not isinstance(key, bool):
        if not -n <= key < n:
            raise IndexError(f"Sample {key} of a panel with {n} samples.")
        key = slice(int(key) % n, int(key) % n + 1)
    elif not isinstance(key, slice):
        key = np.asarray(key)
        if (key.dtype.kind not in "iub" and key.size) or (key.dtype.kind == "b" and not key.ndim):
            raise IndexError(
                f"A panel is sliced by a key of whole numbers or truth values, got {key!r}."
            )
        if key.ndim == 2 and key.shape[1] == 1:  # as np.argwhere gives it
            key = key[:, 0]
        elif key.ndim > 1:
            raise IndexError(
                f"A panel is sliced along its samples, by one number or truth value each; the "
                f"key has shape {key.shape}."
            )
        elif key.ndim == 0 and key.dtype.kind in "iu":
            return check_key(int(key), n)
        if key.size == 0:
            key = key.astype(np.intp)
    return key
