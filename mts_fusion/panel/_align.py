"""A panel brought to the modalities and channels of a schema: reordered, silent where absent."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ._checks import TOKEN_DTYPE
from ._grid import fits_rate, lay_on_grid
from ._schema import Modality, Schema, same_rate

__all__ = [
    "aligned_parts",
    "gather_timepoints",
    "has_value",
    "joined_parts",
    "matches",
    "silence",
    "without_modalities",
]


def matches(schema: Schema, other: Schema) -> bool:
    """Whether two schemas are the same but for numbers of timepoints."""
    if schema is other:
        return True
    return len(schema) == len(other) and all(
        replace(got, n_timepoints=wanted.n_timepoints) == wanted
        for wanted, got in zip(schema, other, strict=True)
    )


def aligned_parts(panel: Any, schema: Schema) -> dict[str, Any]:
    """What ``Panel`` is called with for the modalities of ``schema``, in its order."""
    values: dict[str, np.ndarray] = {}
    observed: dict[str, np.ndarray] = {}
    times: dict[str, np.ndarray | None] = {}
    rates: dict[str, float | None] = {}
    for m in schema:
        name = m.name
        if name not in panel.schema:
            values[name] = silence(m, (len(panel), m.n_channels, m.n_timepoints))
            times[name] = np.full((len(panel), m.n_timepoints), np.nan) if m.irregular else None
            rates[name] = m.rate
            continue
        got = panel.schema[name]
        values[name], carried = panel.values[name], panel._carried[name]
        order = _channel_order(m, got)
        if order is not None:
            mask = panel.observed[name]
            values[name] = _reorder(values[name], order, silence(got, ()))
            carried = None if carried is None else _reorder(mask, order, np.array(False))
        values[name], times[name], rates[name] = _to_clock(m, got, values[name], panel, carried)
        if carried is not None:
            observed[name] = carried
    taken = {m.name: panel.schema[m.name] if m.name in panel.schema else m for m in schema}  # noqa: SIM401
    return {
        "values": values,
        "times": times,
        "rates": rates,
        "vocabularies": {name: m.vocabulary for name, m in taken.items()},
        "observed": observed,
        "channels": {
            m.name: m.channels
            if values[m.name].shape[1] == m.n_channels
            else taken[m.name].channels
            for m in schema
        },
        "sample_ids": panel.sample_ids,
    }


def silence(m: Modality, shape: tuple[int, ...]) -> np.ndarray:
    """Values of which nothing was observed: NaN, or the token that says so."""
    if m.vocabulary is None:
        return np.full(shape, np.nan, np.float32)
    return np.full(shape, m.vocabulary.missing, TOKEN_DTYPE)


def without_modalities(panel: Any, hidden: np.ndarray) -> Any:
    """The panel with nothing observed of the modalities that are hidden ``(n, M)`` in a sample."""
    values, observed = {}, {}
    for m, rows in zip(panel.schema, hidden.T, strict=True):
        if rows.any():
            entries = rows[:, None, None]
            values[m.name] = np.where(entries, silence(m, ()), panel.values[m.name])
            observed[m.name] = panel.observed[m.name] & ~entries
    return panel.replace(values=values, observed=observed)


def _channel_order(wanted: Modality, got: Modality) -> list[int] | None:
    """Where each channel wanted stands in ``got``, -1 for one that is absent; None: as they are."""
    if wanted.channels == got.channels:
        return None
    if wanted.channels is None or got.channels is None:
        # Numbers may stand for unnamed channels; any other names cannot be held against nothing.
        numbers = [str(c) for c in range(wanted.n_channels)]
        if sorted(wanted.channel_names) != sorted(numbers) or sorted(got.channel_names) != sorted(
            numbers
        ):
            return None
    names = got.channel_names
    unknown = [name for name in names if name not in wanted.channel_names]
    if unknown:
        raise ValueError(
            f"Modality {wanted.name!r} came with the channels {unknown}, but "
            f"{list(wanted.channel_names)} were seen in fit. Rename them, or leave them out."
        )
    order = [names.index(name) if name in names else -1 for name in wanted.channel_names]
    return None if order == list(range(got.n_channels)) else order


def _reorder(array: np.ndarray, order: list[int], absent: np.ndarray) -> np.ndarray:
    out = array[:, order]
    out[:, [c < 0 for c in order]] = absent
    return out


def _to_clock(
    wanted: Modality, got: Modality, values: np.ndarray, panel: Any, carried: np.ndarray | None
) -> tuple[np.ndarray, np.ndarray | None, float | None]:
    """Values, times and rate on the clock seen in fit, where nothing has to be made up for it."""
    times = panel.times[got.name]
    if times is None and wanted.irregular:
        if got.rate is not None:
            seconds = np.arange(got.n_timepoints) / got.rate
            return values, np.tile(seconds, (len(values), 1)), None
        if not panel.observed[got.name].any():
            return values, np.full((len(values), got.n_timepoints), np.nan), None
    if times is not None and wanted.rate is not None and carried is None:
        clocks = [clock[~np.isnan(clock)] for clock in times]
        if got.vocabulary is None and fits_rate(clocks, wanted.rate, 0.0):
            start = np.zeros(len(clocks))
            laid = lay_on_grid(got.name, values, clocks, rate=wanted.rate, origin=start)
            return laid, None, wanted.rate
    if times is None and (got.rate is None or same_rate(got.rate, wanted.rate)):
        return values, None, wanted.rate
    return values, times, got.rate


def has_value(m: Modality, values: np.ndarray) -> np.ndarray:
    """Where there is a value, observed or filled in, bool of the same shape."""
    return np.asarray(~np.isnan(values) if m.vocabulary is None else values != m.vocabulary.missing)


def gather_timepoints(array: np.ndarray, kept: np.ndarray, length: int, unset: Any) -> np.ndarray:
    """The timepoints of each sample that are kept, one after another, then ``unset``.

    Parameters
    ----------
    array : array of shape (n, L) or (n, C, L)
        Times, values or masks.
    kept : bool array of shape (n, L)
        Timepoints that stay.
    length : int
        Timepoints of the result; at least those that any sample keeps, at most L.
    unset : number or bool
        What follows the last of them.

    Returns
    -------
    array of shape (n, length) or (n, C, length)
        Of the same type.
    """
    order = np.argsort(~kept, axis=1, kind="stable")[:, :length]
    rest = np.arange(length) >= kept.sum(1)[:, None]
    if array.ndim == 3:
        order, rest = order[:, None], rest[:, None]
    gathered = np.take_along_axis(array, order, axis=-1)
    return np.where(rest, np.asarray(unset, array.dtype), gathered)


def joined_parts(panels: list[Any]) -> dict[str, Any]:
    """What ``Panel`` is called with for the samples of several panels of one schema."""
    first = panels[0].schema
    values, times, observed = {}, {}, {}
    for m in first:
        name = m.name
        length = max(panel.schema[name].n_timepoints for panel in panels)
        fill = np.nan if m.vocabulary is None else m.vocabulary.missing
        values[name] = np.concatenate([_pad(p._values[name], length, fill) for p in panels])
        clocks = [clock for panel in panels if (clock := panel._times[name]) is not None]
        if clocks:
            times[name] = np.concatenate([_pad(c, length, np.nan) for c in clocks])
        if any(panel._carried[name] is not None for panel in panels):
            observed[name] = np.concatenate(
                [_pad(panel.observed[name], length, False) for panel in panels]
            )
    ids = [panel.sample_ids for panel in panels]
    return {
        "values": values,
        "times": times,
        "rates": {m.name: m.rate for m in first},
        "vocabularies": {m.name: m.vocabulary for m in first},
        "observed": observed,
        "channels": {m.name: m.channels for m in first},
        "sample_ids": None if any(i is None for i in ids) else np.concatenate(_alike(ids)),
    }


def _alike(ids: list[Any]) -> list[np.ndarray]:
    """Arrays of ids that may be joined without turning numbers into text."""
    kinds = {array.dtype.kind for array in ids}
    return ids if len(kinds) == 1 else [array.astype(object) for array in ids]


def _pad(array: np.ndarray, length: int, fill: Any) -> np.ndarray:
    width = [(0, 0)] * (array.ndim - 1) + [(0, length - array.shape[-1])]
    return array if length == array.shape[-1] else np.pad(array, width, constant_values=fill)
