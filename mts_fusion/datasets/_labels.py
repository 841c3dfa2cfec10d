"""What becomes y and the groups: one entry a window, from one a recording or one a while."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel._arrays import is_missing
from ._streams import read_label

__all__ = ["collect", "label_windows", "per_recording", "repeat", "warn_of_labels"]


def per_recording(
    parameter: str, given: Any, names: list[Any] | None, n: int, single: bool
) -> list[Any]:
    """One entry of a parameter per recording, in order."""
    if given is None or callable(given) or single:
        return [given] * n
    if names is not None and isinstance(given, Mapping):
        lacking = [name for name in names if name not in given]
        if lacking:
            raise ValueError(f"{parameter} has no entry for the recordings {lacking}.")
        return [given[name] for name in names]
    if names is None and isinstance(given, Sequence | np.ndarray) and not isinstance(given, str):
        if len(given) != n:
            raise ValueError(
                f"{parameter} has {len(given)} entries for {n} recordings; it needs one each."
            )
        return list(given)
    structure = "a list" if names is None else "a dict"
    raise TypeError(
        f"{parameter} of several recordings is {structure} with one entry each, as recordings is, "
        f"got {type(given).__name__}."
    )


def label_windows(
    label: Any,
    recording: Mapping[str, Any],
    starts: NDArray[Any],
    window: float,
    *,
    min_share: float,
    holds: bool,
) -> tuple[NDArray[Any], NDArray[np.bool_], int]:
    """Labels of the windows that have one, which these are, and in how many no entry lies."""
    if callable(label):
        given = [label(recording, float(start), float(start + window)) for start in starts]
        kept = np.array([not is_missing(entry) for entry in given], dtype=bool)
        return _array([entry for entry, keep in zip(given, kept, strict=True) if keep]), kept, 0
    timed = read_label(label)
    if timed is None:
        if isinstance(label, np.ma.MaskedArray) and np.ma.is_masked(label):
            raise ValueError("The label of a recording is masked. Give None where there is none.")
        kept = np.full(len(starts), not is_missing(label))
        return repeat(label, int(kept.sum())), kept, 0
    times, entries = timed
    entries = entries if isinstance(entries, np.ndarray) else _array(list(entries))
    if entries.ndim != 1 or len(entries) != len(times):
        raise ValueError(
            f"The label has {entries.shape} entries for {len(times)} times; one each is wanted."
        )
    missing = np.array([is_missing(entry) for entry in entries], dtype=bool)
    classes, code = _code(entries[~missing])
    codes = np.full(len(entries), -1)
    codes[~missing] = code
    count = _seconds_of if holds else _entries_of
    counts, total = count(times, codes, len(classes), starts, window)
    n_empty = int((total <= 0).sum())
    if not len(classes):
        return entries[:0], np.zeros(len(starts), dtype=bool), n_empty
    best = counts.argmax(axis=1)
    most = counts[np.arange(len(starts)), best]
    kept = (most > 0) & (most >= min_share * total - 1e-9)
    return classes[best[kept]], kept, n_empty


def _code(entries: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
    """The classes among labels, sorted where they can be, and the number of each label."""
    entries = _array(entries.tolist()) if entries.dtype == object else entries
    if entries.dtype != object:
        return np.unique(entries, return_inverse=True)
    position: dict[tuple[type, Any], int] = {}
    code = [position.setdefault((type(e), e), len(position)) for e in entries]
    return _array([entry for _, entry in position]), np.array(code, dtype=np.int64)


def _entries_of(
    times: NDArray[Any], codes: NDArray[Any], n: int, starts: NDArray[Any], window: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Entries in each window, of each class ``(n, n_classes)`` and in all ``(n,)``."""
    one_hot = np.zeros((len(codes) + 1, n), dtype=np.int64)
    labelled = codes >= 0
    one_hot[1:][np.flatnonzero(labelled), codes[labelled]] = 1
    until = one_hot.cumsum(axis=0)  # (T + 1, classes)
    first = np.searchsorted(times, starts, side="left")
    last = np.searchsorted(times, starts + window, side="left")
    return until[last] - until[first], last - first


def _seconds_of(
    times: NDArray[Any], codes: NDArray[Any], n: int, starts: NDArray[Any], window: float
) -> tuple[NDArray[Any], NDArray[Any]]:
    """The same in seconds, where each entry holds until the next, the last for a usual step."""
    if not len(times):
        return np.zeros((len(starts), n)), np.zeros(len(starts))
    steps = np.diff(times)
    held = np.append(steps, np.median(steps) if len(steps) else window)
    edges = np.append(times, times[-1] + held[-1])

    def inside(seconds: NDArray[Any]) -> NDArray[Any]:
        until = np.append(0.0, seconds.cumsum())
        return np.interp(starts + window, edges, until) - np.interp(starts, edges, until)

    counts = [inside(np.where(codes == k, held, 0.0)) for k in range(n)]
    return np.stack(counts, axis=1) if counts else np.zeros((len(starts), 0)), inside(held)


def warn_of_labels(n_empty: int, n_windows: int, holds: bool) -> None:
    """Say that most windows have no entry of the label in them."""
    if n_empty <= n_windows / 2:
        return
    hint = "" if holds else " If an entry holds until the next one, set label_holds=True."
    warnings.warn(
        f"{n_empty} of {n_windows} windows have no entry of the label in them and are dropped."
        f"{hint} Otherwise compare the clock of the label with those of the streams.",
        UserWarning,
        stacklevel=3,
    )


def repeat(entry: Any, n: int) -> NDArray[Any]:
    """One entry n times: a scalar, or an array that is the label of one window."""
    if isinstance(entry, (np.ndarray, list)):
        return np.repeat(np.asarray(entry)[None], n, axis=0)
    return _array([entry] * n)


def collect(parts: Sequence[NDArray[Any]]) -> NDArray[Any]:
    """The entries of all recordings in one array, each as it was: no number becomes text."""
    filled = [part for part in parts if len(part)]
    if not filled:
        return np.empty(0)
    shapes = {part.shape[1:] for part in filled}
    if len(shapes) > 1:
        raise ValueError(
            f"The labels of the recordings have the shapes {sorted(shapes)}; one shape is wanted."
        )
    kinds = {part.dtype.kind for part in filled}
    if len(kinds) == 1 or kinds <= set("iuf"):
        joined = np.concatenate(filled)
        return _array(joined.tolist()) if joined.dtype == object else joined
    return np.concatenate([part.astype(object) for part in filled])


def _array(entries: list[Any]) -> NDArray[Any]:
    """Entries as an array of their type; of objects, where they are of several."""
    types = {type(entry) for entry in entries}
    simple = all(issubclass(t, (str, bytes, bool, int, float, np.generic)) for t in types)
    mixed = {np.asarray(entry).dtype.kind for entry in entries} if simple else set()
    if simple and (len(mixed) <= 1 or mixed <= set("iuf")):
        return np.asarray(entries)
    out = np.empty(len(entries), dtype=object)
    for row, entry in enumerate(entries):
        out[row] = entry
    return out
