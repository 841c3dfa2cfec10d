"""Panels without the timepoints of irregular modalities at which nothing was observed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ._align import gather_timepoints, has_value, silence
from ._panel import Panel
from ._stored import StoredPanel, loaded_parts

__all__ = ["observed_timepoints"]


def observed_timepoints(
    panel: Panel, *, filled: bool = False, shortest: Mapping[str, int] | None = None
) -> Panel:
    """The panel without the timepoints of irregular modalities at which nothing was observed.

    A time alone says nothing of what was measured, but it would stand between two neighbours and
    take a place in a token. Timepoints at which some channels were observed stay, those of a silent
    sensor too: there is nothing that they could change. Each predictor calls this where it takes
    X in, before anything that goes by position reads it.

    Parameters
    ----------
    panel : Panel
        n samples.
    filled : bool, default=False
        Whether a value that an imputer filled in keeps its timepoint.
    shortest : dict of str to int, default=None
        By modality, to how many timepoints it may be shortened; None and others: to 1.

    Returns
    -------
    Panel
        Its modalities are shorter by as many timepoints as their longest sample; the rest of a
        sample is padding. The panel itself if there is nothing to leave out; a stored panel leaves
        them out as it is read.

    Examples
    --------
    >>> X = Panel({"hr": [[[60.0, np.nan, 62.0]]]}, times={"hr": [[0.0, 1.0, 2.0]]})
    >>> observed_timepoints(X).times["hr"]
    array([[0., 2.]])
    """
    irregular = [m.name for m in panel.schema if m.irregular]
    if not irregular:
        return panel
    counts = dict.fromkeys(irregular, np.zeros(3, int))
    for part in loaded_parts(panel.select(irregular)):
        for name in irregular:
            counts[name] = np.maximum(counts[name], _counts(part, name, filled))
    lengths = {}
    for name, (n_empty, longest, longest_kept) in counts.items():
        if n_empty:
            length = panel.schema[name].n_timepoints - int(longest - longest_kept)
            lengths[name] = max(length, (shortest or {}).get(name, 1))
    if not lengths:
        return panel
    if isinstance(panel, StoredPanel) and not filled:
        return panel.shortened(lengths)
    values, times, observed = {}, {}, {}
    for name, length in lengths.items():
        kept, carried = _kept(panel, name, filled), panel._carried[name]
        unset = silence(panel.schema[name], ())
        values[name] = gather_timepoints(panel.values[name], kept, length, unset)
        times[name] = gather_timepoints(_clock(panel, name), kept, length, np.nan)
        if carried is not None:
            observed[name] = gather_timepoints(carried, kept, length, False)
    return panel.replace(values=values, times=times, observed=observed)


def _kept(panel: Panel, name: str, filled: bool) -> np.ndarray:
    """Timepoints ``(n, L)`` that stay."""
    kept = np.asarray(panel.observed[name].any(1))
    if filled:
        some = has_value(panel.schema[name], panel.values[name]).any(1)
        kept |= some & ~np.isnan(_clock(panel, name))
    return kept


def _clock(panel: Panel, name: str) -> np.ndarray:
    clock = panel.times[name]
    assert clock is not None
    return clock


def _counts(panel: Panel, name: str, filled: bool) -> np.ndarray:
    """Most empty timepoints of a sample, most timepoints, and most that stay; silent ones apart."""
    kept = _kept(panel, name, filled)
    given, n_kept = (~np.isnan(_clock(panel, name))).sum(1), kept.sum(1)
    columns = np.stack([given - n_kept, given, n_kept])[:, n_kept > 0]
    return columns.max(1, initial=0)
