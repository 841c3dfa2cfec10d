"""Data sets, their folds of whole groups, and smaller folds for shortened runs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..panel import Panel

__all__ = ["Data", "Fold", "hold_every_nth_group_out", "leave_groups_out", "subsample"]


@dataclass(frozen=True)
class Data:
    """A data set of a table: panel, target, and the subject of each sample.

    Parameters
    ----------
    name : str
        Under which tables name it.
    panel : Panel
        All n samples.
    y : ndarray of shape (n,)
        Classes 0 .. K-1, int; or, of a regression, numbers, float.
    groups : ndarray of shape (n,)
        The subject (engine, block of neighbours) of each sample.
    """

    name: str
    panel: Panel
    y: NDArray[Any]
    groups: NDArray[Any]

    def __len__(self) -> int:
        return len(self.panel)


@dataclass(frozen=True)
class Fold:
    """Rows to train on and rows to test on."""

    name: str
    train: NDArray[np.intp]
    test: NDArray[np.intp]


def leave_groups_out(groups: NDArray[Any], n_out: int = 2) -> list[Fold]:
    """Folds that hold out ``n_out`` whole groups, each group once, in their order.

    Parameters
    ----------
    groups : ndarray of shape (n,)
        The group of each sample.
    n_out : int, default=2
        Groups in a test part. The last fold has fewer where the number does not divide.

    Returns
    -------
    list of Fold
        Named after the groups held out, ``"1+2"``.

    Raises
    ------
    ValueError
        If nobody would be left to train on.

    Examples
    --------
    >>> [fold.name for fold in leave_groups_out(np.array([1, 1, 2, 3, 4, 4]))]
    ['1+2', '3+4']
    """
    names = np.unique(groups)
    if len(names) <= n_out:
        raise ValueError(
            f"There are {len(names)} groups ({names.tolist()}); more than {n_out} are needed to "
            f"hold {n_out} out."
        )
    folds = []
    for first in range(0, len(names), n_out):
        held_out = names[first : first + n_out]
        is_test = np.isin(groups, held_out)
        folds.append(
            Fold("+".join(map(str, held_out)), np.flatnonzero(~is_test), np.flatnonzero(is_test))
        )
    return folds


def hold_every_nth_group_out(groups: NDArray[Any], n_folds: int) -> list[Fold]:
    """Folds of which fold k holds out the groups k, k + ``n_folds``, ... in their order.

    Where what is to be predicted changes slowly from group to group, each fold has some of all.

    Parameters
    ----------
    groups : ndarray of shape (n,)
        The group of each sample.
    n_folds : int
        Folds, at least 2 and at most as many as there are groups.

    Returns
    -------
    list of Fold
        Named ``"0"``, ``"1"``, ...; each group is tested once.

    Raises
    ------
    ValueError
        If there are fewer groups than folds, or fewer than 2 folds.

    Examples
    --------
    >>> [fold.test.tolist() for fold in hold_every_nth_group_out(np.array([7, 7, 8, 9, 9]), 2)]
    [[0, 1, 3, 4], [2]]
    """
    names, place = np.unique(groups, return_inverse=True)
    if not 2 <= n_folds <= len(names):
        raise ValueError(f"n_folds is from 2 to the number of groups, {len(names)}, got {n_folds}.")
    return [
        Fold(str(k), np.flatnonzero(place % n_folds != k), np.flatnonzero(place % n_folds == k))
        for k in range(n_folds)
    ]


def subsample(fold: Fold, data: Data, step: int) -> Fold:
    """The fold with every ``step``-th sample of each class and group, for a shortened run.

    Where each sample is a group of its own, groups do not count; where y holds numbers, not
    classes, y does not.

    Parameters
    ----------
    fold : Fold
        Rows of ``data``.
    data : Data
        Its classes and groups.
    step : int
        1 keeps everything.

    Returns
    -------
    Fold
        Of the same name.
    """

    groups = data.groups if len(np.unique(data.groups)) < len(data) else np.zeros(len(data))
    classes = np.zeros(len(data), int) if np.issubdtype(data.y.dtype, np.floating) else data.y

    def every(rows: NDArray[np.intp]) -> NDArray[np.intp]:
        _, stratum = np.unique(
            np.stack([classes[rows].astype(str), groups[rows].astype(str)]),
            axis=1,
            return_inverse=True,
        )
        stratum = stratum.ravel()
        order = np.argsort(stratum, kind="stable")
        ranked = stratum[order]
        first = np.flatnonzero(np.diff(ranked, prepend=-1))  # where each stratum begins
        rank = np.arange(len(rows)) - first[np.cumsum(np.diff(ranked, prepend=-1) != 0) - 1]
        return np.sort(rows[order[rank % step == 0]])

    return Fold(fold.name, every(fold.train), every(fold.test))
