"""The inner validation split: which rows are held out, and which sensors are lost in them."""

from __future__ import annotations

import warnings

import numpy as np
from sklearn.model_selection import StratifiedGroupKFold

__all__ = ["ENOUGH_TO_VALIDATE", "choose_fraction", "simulate_sensor_loss", "split_rows"]

ENOUGH_TO_VALIDATE = 500
"""Samples from which ``validation_fraction="auto"`` holds some out."""

_AUTO_FRACTION = 0.1

# A loss and a temperature of fewer held-out samples are too noisy to choose anything by.
_MIN_VALIDATION = 10

# Runs of neighbours held out of each class; fewer where each would have less than that length.
_N_RUNS, _MIN_RUN_LENGTH = 3, 5


def choose_fraction(fraction: float | str, n_samples: int, *, required: bool = False) -> float:
    """The fraction of the samples to hold out, from a number or ``"auto"``.

    Parameters
    ----------
    fraction : float or "auto"
        A number is returned as it is. ``"auto"`` is 0.1 from 500 samples on, and 0 below: few
        samples are all needed for training.
    n_samples : int
        Samples.
    required : bool, default=False
        Whether ``"auto"`` is 0.1 for any number of samples, as calibration needs it.

    Returns
    -------
    float
        In [0, 1).

    Examples
    --------
    >>> choose_fraction("auto", 60), choose_fraction("auto", 600), choose_fraction(0.3, 60)
    (0.0, 0.1, 0.3)
    """
    if isinstance(fraction, str):
        return _AUTO_FRACTION if required or n_samples >= ENOUGH_TO_VALIDATE else 0.0
    return fraction


def split_rows(
    strata: np.ndarray,
    fraction: float,
    *,
    groups: np.ndarray | None = None,
    needed: np.ndarray | None = None,
    seed: int = 0,
) -> tuple[np.ndarray, np.ndarray]:
    """Rows for training and rows for validation, stratified.

    With ``groups`` whole groups are held out, but no group that alone has a class or a modality,
    and so few that at least half of the rows wanted for training stay. Without, a few runs of
    neighbouring rows of each stratum are, since neighbours are alike: they may come from one
    recording, or from overlapping windows (docs/decisions/0018-runs-of-neighbours.md). The runs are
    at the same relative positions in all strata.

    Parameters
    ----------
    strata : int array of shape (n,)
        Stratum of each row, from 0 on.
    fraction : float
        Fraction of the rows to hold out, in [0, 1).
    groups : array of shape (n,), default=None
        Group of each row.
    needed : bool array of shape (n, R), default=None
        What each row has, such as a class or a modality; what any group has stays in training.
        Read with ``groups`` only.
    seed : int, default=0
        Of the draw.

    Returns
    -------
    training, validation : int array
        Disjoint and sorted, together all rows. ``validation`` is empty where it would have fewer
        than 10 rows or fewer than there are strata, or where a stratum has a single row.

    Raises
    ------
    ValueError
        If ``groups`` has a single group.

    Warns
    -----
    UserWarning
        If ``validation`` is empty because no group can be held out.

    Examples
    --------
    >>> split_rows(np.repeat([0, 1], 20), 0.25)[1]
    array([10, 11, 12, 13, 14, 30, 31, 32, 33, 34])
    """
    rows, counts = np.arange(len(strata)), np.bincount(strata)
    too_few = round(fraction * len(rows)) < max(_MIN_VALIDATION, len(counts))
    if too_few or counts.min() < 2:
        return rows, rows[:0]
    if groups is not None:
        needed = np.zeros((len(rows), 0), dtype=bool) if needed is None else needed
        validation = _held_out_groups(strata, fraction, groups, needed, seed)
        return np.setdiff1d(rows, validation), validation
    held_out = _runs(strata, fraction, seed)
    return rows[~held_out], rows[held_out]


def _held_out_groups(
    strata: np.ndarray, fraction: float, groups: np.ndarray, needed: np.ndarray, seed: int
) -> np.ndarray:
    """Rows of the groups that are held out, sorted; empty where none can be."""
    labels, group = np.unique(groups, return_inverse=True)
    group = group.reshape(-1)
    if len(labels) < 2:
        raise ValueError(
            "The inner validation split keeps groups whole, but groups names only one. "
            "Pass no groups, or set validation_fraction=0."
        )
    has = np.zeros((len(labels), needed.shape[1]), dtype=bool)
    np.logical_or.at(has, group, needed)
    alone = (has & (has.sum(0) == 1)).any(1)  # the only group that has something
    free = np.flatnonzero(~alone[group])
    n_free = int((~alone).sum())
    if n_free > 1:
        share = min(fraction * len(group) / len(free), 0.99)
        # More than half: all folds but one are held out.
        n_splits = min(max(round(1 / min(share, 1 - share)), 2), n_free)
        splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
        for others, fold in splitter.split(strata[free], strata[free], groups[free]):
            held_out = np.sort(free[fold if share <= 0.5 else others])
            kept = np.setdiff1d(np.arange(len(group)), held_out)
            is_complete = (needed[kept].any(0) == needed.any(0)).all()
            is_bounded = len(kept) >= (1 - fraction) / 2 * len(group)
            if is_complete and is_bounded and len(held_out) >= _MIN_VALIDATION:
                return held_out
    warnings.warn(
        f"Nothing is held out: of the {len(labels)} groups, those that could be held out have too "
        "many or too few of the samples, or a class or a modality that no other group has. No "
        "temperature is learnt and no epoch is chosen. Give more groups, or set "
        "validation_fraction=0 to silence this warning.",
        UserWarning,
        stacklevel=5,
    )
    return np.zeros(0, dtype=int)


def _runs(strata: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """Whether each row is in a run of neighbours that is held out, bool ``(n,)``."""
    counts = np.bincount(strata)
    n_runs = int(np.clip(fraction * counts.min() / _MIN_RUN_LENGTH, 1, _N_RUNS))
    # Each stratum is cut into n_runs parts, and one run is held out of each part.
    part = strata * n_runs + _rank(strata) * n_runs // counts[strata]
    counts = np.bincount(part)
    lengths = np.minimum(np.round(fraction * counts), counts - 1)
    position = np.tile(np.random.default_rng(seed).random(n_runs), len(counts) // n_runs)
    starts = np.round(position * (counts - lengths))
    offset = _rank(part) - starts[part]
    return (offset >= 0) & (offset < lengths[part])


def _rank(strata: np.ndarray) -> np.ndarray:
    """How many earlier rows are of the same stratum, ``(n,)``."""
    order, counts = np.argsort(strata, kind="stable"), np.bincount(strata)
    rank = np.empty(len(strata), dtype=int)
    rank[order] = np.arange(len(strata)) - np.repeat(counts.cumsum() - counts, counts)
    return rank


def simulate_sensor_loss(available: np.ndarray, rate: float, seed: int) -> np.ndarray:
    """Modalities to silence in held-out samples: first none, then as modality dropout does.

    The best epoch and the temperature are chosen on both, so that they hold when sensors fail.

    Parameters
    ----------
    available : bool array of shape (n, M)
        Modalities that each sample has.
    rate : float
        Rate at which a modality is silenced, in [0, 1]. A sample keeps at least one modality.
    seed : int
        Of the draw.

    Returns
    -------
    bool array of shape (n, M) or (2 * n, M)
        ``(n, M)`` of False where the rate is 0 or there is a single modality.

    Examples
    --------
    >>> simulate_sensor_loss(np.ones((2, 3), dtype=bool), 0.9, seed=0).sum(1)
    array([0, 0, 2, 2])
    """
    none = np.zeros_like(available)
    if not rate or available.shape[1] < 2:
        return none
    draw = np.random.default_rng(seed).random(available.shape)
    silenced = draw < rate
    last = np.where(available, draw, -1.0).argmax(1)
    silenced[np.arange(len(available)), last] = False
    return np.concatenate([none, silenced])
