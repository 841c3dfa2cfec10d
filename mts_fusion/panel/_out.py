"""A Panel as plain arrays and as sktime's types."""

from __future__ import annotations

from typing import Any

import numpy as np

from ._frames import multiindex_frame, nested_frame, sample_frames

__all__ = ["numbers_with_nan", "panel_to_numpy3d", "panel_to_sktime"]


def numbers_with_nan(panel: Any, name: str) -> np.ndarray:
    """The values of one modality as float32, NaN where a token is missing."""
    values = panel._values[name]
    vocabulary = panel.schema[name].vocabulary
    if vocabulary is None:
        return np.asarray(values)
    return np.where(values == vocabulary.missing, np.nan, values).astype(np.float32)


def panel_to_numpy3d(panel: Any) -> np.ndarray:
    """``(n, sum of C, L)``, where all modalities have one length."""
    lengths = {m.name: m.n_timepoints for m in panel.schema}
    if len(set(lengths.values())) > 1:
        raise ValueError(
            f"One array needs one length, but the modalities have {lengths} timepoints. "
            "Resample them first, or use to_dict()."
        )
    return np.concatenate([numbers_with_nan(panel, name) for name in panel.schema.names], axis=1)


def panel_to_sktime(panel: Any, mtype: str) -> Any:
    """One of sktime's panel types, with the clocks in its index."""
    names = panel.schema.names
    if mtype == "numpy3D":
        return panel_to_numpy3d(panel)
    if mtype == "nested_univ":
        return nested_frame(
            {name: numbers_with_nan(panel, name) for name in names},
            {m.name: m.channel_names for m in panel.schema},
            panel.sample_ids,
            {name: _clocks(panel, name) for name in names},
        )
    if mtype not in ("pd-multiindex", "df-list"):
        raise ValueError(
            f"mtype={mtype!r} is unknown; choose one of 'pd-multiindex', 'nested_univ', "
            "'df-list', 'numpy3D'."
        )
    columns = [(m.name, channel) for m in panel.schema for channel in m.channel_names]
    values, clocks = panel_to_numpy3d(panel), _one_clock(panel)
    if mtype == "df-list":
        return sample_frames(values, columns, clocks)
    ids = list(range(len(panel))) if panel.sample_ids is None else panel.sample_ids
    return multiindex_frame(values, columns, ids, clocks)


def _clocks(panel: Any, name: str) -> list[np.ndarray | None]:
    """The stamps of each sample in seconds; None where a modality has no clock.

    A sample without any stamp keeps one, at 0, so that it does not vanish from the frame.
    """
    modality, times = panel.schema[name], panel.times[name]
    if times is not None:
        stamps = [clock[~np.isnan(clock)] for clock in times]
        return [clock if len(clock) else np.zeros(1) for clock in stamps]
    regular = None
    if modality.rate is not None:
        regular = np.arange(modality.n_timepoints) / modality.rate
    return [regular] * len(panel)


def _one_clock(panel: Any) -> list[np.ndarray | None]:
    """The stamps that all modalities share."""
    first, *others = panel.schema
    clocks = _clocks(panel, first.name)
    for other in others:
        theirs = _clocks(panel, other.name)
        for ours, their in zip(clocks, theirs, strict=True):
            same = ours is their or (
                ours is not None and their is not None and np.array_equal(ours, their)
            )
            if not same:
                raise ValueError(
                    f"One frame has one clock, but {first.name!r} and {other.name!r} have their "
                    "own. Use mtype='nested_univ', or a frame for each with X.select([...])."
                )
    return clocks
