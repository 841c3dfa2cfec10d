"""DSADS in the shapes of other sets: few sensors, few rows, rates of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..panel import Panel
from ._folds import Data, Fold

__all__ = ["as_actions", "as_gestures", "as_phone"]

# Of the 19 activities, six that are like one another: stairs, lifts, walking about, lying.
_GESTURES = (1, 4, 5, 6, 7, 8)


def as_phone(data: Data, folds: Sequence[Fold]) -> tuple[Data, list[Fold]]:
    """One device with three redundant sensors, about 2,500 rows to train on.

    Parameters
    ----------
    data : Data
        DSADS.
    folds : sequence of Fold
        Its folds.

    Returns
    -------
    data : Data
        Accelerometer, gyroscope and magnetometer of the torso.
    folds : list of Fold
        Every second window of the test parts.
    """
    torso, rate = _positions(data)["torso"]
    parts = {"acc": slice(0, 3), "gyro": slice(3, 6), "mag": slice(6, 9)}
    values = {name: torso[:, channels] for name, channels in parts.items()}
    panel = Panel(values, rates=dict.fromkeys(values, rate))
    shaped = Data("dsads_phone", panel, data.y, data.groups)
    return shaped, [Fold(f.name, _subsample(shaped, f.train, 2500), f.test[::2]) for f in folds]


def as_actions(data: Data, folds: Sequence[Fold]) -> tuple[Data, list[Fold]]:
    """Three devices at 25, 12.5 and 6.25 Hz, 19 classes, about 430 rows to train on.

    Parameters
    ----------
    data : Data
        DSADS.
    folds : sequence of Fold
        Its folds.

    Returns
    -------
    data : Data
        Torso, right arm and right leg, fewer and fewer timepoints of them.
    folds : list of Fold
        Every second window of the test parts.
    """
    positions = _positions(data)
    values, rates = {}, {}
    for name, position, step in (
        ("torso", "torso", 1),
        ("arm", "right_arm", 2),
        ("leg", "right_leg", 4),
    ):
        array, rate = positions[position]
        values[name], rates[name] = array[:, :, ::step], rate / step
    panel = Panel(values, rates=rates)
    shaped = Data("dsads_actions", panel, data.y, data.groups)
    return shaped, [Fold(f.name, _subsample(shaped, f.train, 431), f.test[::2]) for f in folds]


def as_gestures(data: Data, folds: Sequence[Fold]) -> tuple[Data, list[Fold]]:
    """Eight modalities, six classes that are like one another, 180 rows to train on.

    Parameters
    ----------
    data : Data
        DSADS.
    folds : sequence of Fold
        Its folds.

    Returns
    -------
    data : Data
        Accelerometers and gyroscopes of arms and legs.
    folds : list of Fold
        The test parts whole.
    """
    kept = np.flatnonzero(np.isin(data.y, _GESTURES))
    values, rates = {}, {}
    for position, (array, rate) in list(_positions(data).items())[1:]:
        for sensor, channels in {"acc": slice(0, 3), "gyro": slice(3, 6)}.items():
            values[f"{position}_{sensor}"] = array[kept][:, channels]
            rates[f"{position}_{sensor}"] = rate
    y = np.searchsorted(_GESTURES, data.y[kept])
    shaped = Data("dsads_gestures", Panel(values, rates=rates), y, data.groups[kept])
    places = np.full(len(data), -1)
    places[kept] = np.arange(len(kept))
    result = []
    for fold in folds:
        train, test = (places[rows][places[rows] >= 0] for rows in (fold.train, fold.test))
        result.append(Fold(fold.name, _subsample(shaped, train, 180), test))
    return shaped, result


def _positions(data: Data) -> dict[str, tuple[NDArray[np.float32], float]]:
    """Values (n, 9, L) and rate of each position on the body."""
    return {m.name: (data.panel.values[m.name], m.rate or 1.0) for m in data.panel.schema}


def _subsample(data: Data, rows: NDArray[np.intp], n: int) -> NDArray[np.intp]:
    """About ``n`` of the rows, as many of each class, evenly apart."""
    classes = np.unique(data.y[rows])
    result = []
    for c in classes:
        of_class = rows[data.y[rows] == c]
        n_kept = min(n // len(classes), len(of_class))
        result.append(of_class[np.linspace(0, len(of_class) - 1, n_kept).round().astype(int)])
    return np.sort(np.concatenate(result))
