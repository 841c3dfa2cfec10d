"""Values of a regular clock laid on its grid, with NaN in its gaps, and the bounds of that."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from ._clock import JITTER, ON_GRID, cells_of

__all__ = ["check_shared", "check_stretch", "fits_rate", "lay_on_grid"]

# A gap so many times as long as the longest sample, in intervals, is a wrong stamp.
_LONGEST_STRETCH, _FREE_CELLS = 50, 20_000


def lay_on_grid(
    name: str,
    values: np.ndarray,
    clocks: Sequence[np.ndarray],
    *,
    rate: float,
    rounding: float = 0.0,
    origin: np.ndarray | None = None,
    ids: np.ndarray | None = None,
) -> np.ndarray:
    """Values at the intervals of a regular clock.

    Parameters
    ----------
    name : str
        The modality.
    values : array of shape (n, C, L)
        The entries of each sample, padded at the end.
    clocks : list of n float64 arrays (T_i,)
        Their stamps in seconds.
    rate : float
        In Hz.
    rounding : float, default=0.0
        To how many seconds the stamps are rounded.
    origin : array of shape (n,), default=None
        The second in which each sample starts; None: with its first entry.
    ids : array of shape (n,), default=None
        Names of the samples, for messages.

    Returns
    -------
    array of shape (n, C, L')
        NaN in gaps; ``values`` itself where there is none.
    """
    if _is_whole(clocks, rate, origin):
        return values
    cells = []
    n_shared = n_entries = 0
    longest = max((len(part) for part in clocks), default=1)
    for i, part in enumerate(clocks):
        lead = 0 if origin is None or not len(part) else round((part[0] - origin[i]) * rate)
        check_stretch(name, part, rate, lead, longest, f" of sample {i if ids is None else ids[i]}")
        cell = cells_of(part, rate, rounding) + lead
        cells.append(cell)
        n_shared += int((np.diff(cell) == 0).sum())
        n_entries += len(cell)
    check_shared(name, n_shared, n_entries, rate)
    length = max((int(cell[-1]) + 1 for cell in cells if len(cell)), default=1)
    whole = (not len(c) or (c[0] == 0 and c[-1] == len(c) - 1) for c in cells)
    if length == values.shape[2] and all(whole):
        return values
    fill: Any = np.nan if values.dtype.kind == "f" else 0
    out = np.full((*values.shape[:2], length), fill, values.dtype)
    for i, cell in enumerate(cells):
        out[i][:, cell] = values[i, :, : len(cell)]
    return out


def _is_whole(clocks: Sequence[np.ndarray], rate: float, origin: np.ndarray | None) -> bool:
    """Whether every sample starts with its origin and has an entry in each interval."""
    if any(not len(clock) for clock in clocks):
        return False
    first = np.array([clock[0] for clock in clocks])
    if origin is not None and np.round((first - origin) * rate).any():
        return False
    steps = np.diff(np.concatenate(clocks))
    between = np.cumsum([len(clock) for clock in clocks])[:-1] - 1  # from sample to sample
    return bool((np.round(np.delete(steps, between) * rate) == 1).all())


def fits_rate(clocks: Sequence[np.ndarray], rate: float, rounding: float) -> bool:
    """Whether stamps, perhaps too few to tell, lie on a clock of a known rate.

    Parameters
    ----------
    clocks : list of float64 arrays (T_i,)
        Stamps in seconds.
    rate : float
        In Hz.
    rounding : float
        To how many seconds the stamps are rounded.

    Returns
    -------
    bool
        True for a single stamp.
    """
    steps = np.concatenate([np.diff(clock) for clock in clocks]) * rate
    if not len(steps):
        return True
    off = np.abs(steps - np.round(steps))
    return bool(((off <= max(JITTER, rounding * rate)) & (steps > 0.5)).mean() >= ON_GRID)


def check_stretch(
    name: str, times: np.ndarray, rate: float, lead: int, longest: int, where: str
) -> None:
    """Raise where a stamp, or the first one, lies so far away that nothing but gaps would follow.

    Parameters
    ----------
    name : str
        The modality.
    times : float64 array of shape (T,)
        Stamps in seconds.
    rate : float
        In Hz.
    lead : int
        Intervals before the first entry.
    longest : int
        Entries of the longest sample.
    where : str
        Which sample it is, for the message.
    """
    bound = _LONGEST_STRETCH * longest + _FREE_CELLS
    if not len(times) or lead + (times[-1] - times[0]) * rate <= bound:
        return
    gaps = np.diff(times, prepend=times[0] - lead / rate)
    entry = int(gaps.argmax())
    what = f"entry {entry}" if entry else "the first entry"
    before = "the one before" if entry else "the first one of the other modalities"
    raise ValueError(
        f"Modality {name!r} has {what}{where} {gaps[entry]:.6g} seconds after {before}, "
        f"{gaps[entry] * rate:.3g} intervals of its {rate:g} Hz clock without a value. Remove that "
        f"entry, give all modalities one origin, or keep its times with rates={{{name!r}: None}}."
    )


def check_shared(name: str, n_shared: int, n_entries: int, rate: float) -> None:
    """Warn where a few entries share an interval of a regular clock, refuse many.

    Parameters
    ----------
    name : str
        The modality.
    n_shared, n_entries : int
        Entries in an interval that has one already, and all.
    rate : float
        In Hz.
    """
    if not n_shared:
        return
    if n_shared > (1 - ON_GRID) * n_entries:
        raise ValueError(
            f"Modality {name!r} has {n_shared} of {n_entries} entries in an interval of its "
            f"{rate:g} Hz clock that has one already. Give its true rate, or pass "
            f"rates={{{name!r}: None}} to keep its times."
        )
    warnings.warn(
        f"Modality {name!r} has {n_shared} of {n_entries} entries in an interval of its {rate:g} "
        "Hz clock that has one already; the last one of each interval is kept.",
        UserWarning,
        stacklevel=3,
    )
