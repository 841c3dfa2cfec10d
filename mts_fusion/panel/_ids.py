"""Samples of several modalities brought together by their ids."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._clock import Stamps
from ._read import Reading

__all__ = ["align_by_id"]


def align_by_id(readings: dict[str, Reading]) -> tuple[dict[str, Reading], np.ndarray | None]:
    """Readings whose samples stand in one order, and the ids of these samples.

    Parameters
    ----------
    readings : dict of str to Reading
        By modality.

    Returns
    -------
    readings : dict of str to Reading
        Over all ids, in the order in which they first appear; a sample that a modality lacks is
        NaN there.
    ids : array of shape (n,) or None
        None where nothing has an id.

    Raises
    ------
    ValueError
        If ids are not alike in kind, stand twice, or only some modalities have them and the others
        could be in any order.
    """
    named = {n: r for n, r in readings.items() if r.ids is not None and not r.counted_ids}
    if not named:
        return readings, None
    counted = {n: r for n, r in readings.items() if r.ids is not None and r.counted_ids}
    if counted and all(_kind(r.ids) == "i" for r in named.values()):
        _check_counted(named, counted)
        named |= counted
    first_name, first = next(iter(named.items()))
    without = [name for name in readings if name not in named]
    same = all(np.array_equal(r.ids, first.ids) for r in named.values())  # type: ignore[arg-type]
    if same:
        return readings, first.ids
    if without:
        raise ValueError(
            f"The samples of {[*named]} have ids in another order or of other samples, and "
            f"{without} has no ids, so its rows could be anyone's. Give it ids as its index, too."
        )
    for name, reading in named.items():
        if _kind(reading.ids) != _kind(first.ids):
            raise ValueError(
                f"The sample ids of {name!r} are {_says(reading.ids)}, those of {first_name!r} are "
                f"{_says(first.ids)}. Give both the same type, as with index.astype(str)."
            )
        ids = _list(reading.ids)
        if len(set(ids)) < len(ids):
            twice = next(i for i in ids if ids.count(i) > 1)
            raise ValueError(
                f"The sample id {twice!r} stands more than once in modality {name!r}, so it is "
                "unknown which sample of the others belongs to it. Give each sample its own id."
            )
    union = list(dict.fromkeys(i for r in named.values() for i in _list(r.ids)))
    # In the order of the readings, which names the first modality first.
    position = {i: row for row, i in enumerate(union)}
    aligned = {n: _spread(named[n], position) for n in readings}
    return aligned, _as_ids(union, first.ids)


def _check_counted(named: dict[str, Reading], counted: dict[str, Reading]) -> None:
    name, reading = next(iter(named.items()))
    for other, rows in counted.items():
        if set(_list(rows.ids)) != set(_list(reading.ids)):
            raise ValueError(
                f"The samples of {other!r} are numbered from 0 by pandas, those of {name!r} have "
                f"the ids {_list(reading.ids)[:5]}...; whether row 0 is the first of them is "
                f"unknown. Set the index of {other!r} to the ids, or reset that of {name!r}."
            )


def _spread(reading: Reading, position: dict[Any, int]) -> Reading:
    """A reading over all ids, NaN for those it lacks."""
    rows = [position[i] for i in _list(reading.ids)]
    kind = reading.values.dtype if reading.values.dtype.kind == "f" else np.float32
    values = np.full((len(position), *reading.values.shape[1:]), np.nan, kind)
    values[rows] = reading.values
    clocks: list[Stamps | None] | None = None
    if reading.clocks is not None:
        clocks = [None] * len(position)
        for row, clock in zip(rows, reading.clocks, strict=True):
            clocks[row] = clock
    return Reading(values, clocks, None, False, reading.channels, reading.rate)


def _list(ids: np.ndarray | None) -> list[Any]:
    if ids is None:
        return []
    return list(ids) if ids.dtype.kind in "mM" else ids.tolist()


def _kind(ids: np.ndarray | None) -> str:
    """'i' for whole numbers, 's' for text, or the kind of the array or of its first entry."""
    assert ids is not None
    if ids.dtype == object and len(ids):
        kinds = {type(i).__name__ for i in ids.tolist()}
        return "s" if kinds == {"str"} else "i" if kinds == {"int"} else "/".join(sorted(kinds))
    return {"u": "i", "U": "s", "T": "s"}.get(ids.dtype.kind, ids.dtype.kind)


def _says(ids: np.ndarray | None) -> str:
    names = {"i": "whole numbers", "s": "text", "f": "floats", "M": "dates"}
    return names.get(_kind(ids), _kind(ids))


def _as_ids(union: list[Any], like: np.ndarray | None) -> np.ndarray:
    if like is not None and like.dtype != object:
        return np.asarray(union)
    ids = np.empty(len(union), dtype=object)
    for row, one in enumerate(union):
        ids[row] = one
    return ids
