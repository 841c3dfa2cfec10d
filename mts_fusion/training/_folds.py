"""Which training rows are held out together: whole groups, or runs of neighbours."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["GroupFolds", "run_folds"]

# Up to so many rows each row is a fold; up to so many, each run is.
_FEW_ROWS, _SOME_ROWS = 100, 400

# Number of runs into which more rows are cut, and of folds to which the runs are assigned.
_N_RUNS, _N_FOLDS = 50, 5

# Largest number of folds of groups, with few modalities and with many: those have many sets of
# working sensors, so that each set has to be cheap.
_MOST_FOLDS, _FEW_FOLDS = 10, 4


def run_folds(n: int) -> np.ndarray:
    """Folds of rows without groups: neighbours are alike, so runs of them stay together.

    Parameters
    ----------
    n : int
        Number of rows, in the order of the samples.

    Returns
    -------
    int array of shape (n,)
        Up to 100 rows are folds of their own; up to 400, each of 50 runs is a fold; more rows are
        cut into 50 runs, which are assigned to five folds in turn.

    Examples
    --------
    >>> run_folds(3).tolist()
    [0, 1, 2]
    """
    if n <= _FEW_ROWS:
        return np.arange(n)
    run = np.arange(n) * _N_RUNS // n
    return run if n <= _SOME_ROWS else run % _N_FOLDS


class GroupFolds:
    """Folds of rows that have groups, such as subjects: a group is never divided.

    Parameters
    ----------
    groups : array of shape (n,)
        Labels of the rows of the first fit. Up to ten groups are folds of their own; more are
        assigned to ten folds, in order of decreasing weight, each to the fold of the least weight.
    weight : array of shape (n,) or None, default=None
        Weights of the rows; None for equal weights.
    few : bool, default=False
        Whether there are at most four folds.

    Attributes
    ----------
    labels : list
        Labels of the groups, by number.
    n_folds : int
        Number of folds.

    Examples
    --------
    >>> folds = GroupFolds(np.array(["ann", "bob", "ann"]))
    >>> folds(np.array(["bob", "ann"])).tolist()
    [1, 0]
    """

    def __init__(
        self, groups: np.ndarray, weight: np.ndarray | None = None, *, few: bool = False
    ) -> None:
        self.labels: list[object] = []
        self.fold_of: dict[object, int] = {}
        labels, inverse = np.unique(groups, return_inverse=True)
        # Rounded, so that two rows and one of weight 2 give the same order.
        counts = np.round(np.bincount(inverse.ravel(), weights=weight), 6)
        self.n_folds = min(len(labels), _FEW_FOLDS if few else _MOST_FOLDS)
        sizes = np.zeros(self.n_folds)
        # Groups of equal weight in the order of their labels, not in that of the rows.
        for i in np.argsort(-counts, kind="stable"):
            fold = int(sizes.argmin())
            sizes[fold] += counts[i]
            self._assign(labels.tolist()[i], fold)

    def _assign(self, label: object, fold: int) -> None:
        self.fold_of[label] = fold
        self.labels.append(label)

    def __call__(self, groups: np.ndarray) -> np.ndarray:
        """The fold of each row; a new group is assigned by a hash of its label.

        Parameters
        ----------
        groups : array of shape (k,)
            Labels.

        Returns
        -------
        int array of shape (k,)
            From 0 to ``n_folds - 1``.
        """
        labels, inverse = np.unique(groups, return_inverse=True)
        for label in labels.tolist():
            if label not in self.fold_of:
                self._assign(label, zlib.crc32(repr(label).encode()) % self.n_folds)
        return np.array([self.fold_of[label] for label in labels.tolist()])[inverse.ravel()]

    def numbers(self, groups: np.ndarray) -> np.ndarray:
        """The number of the group of each row, -1 for an unknown group.

        Parameters
        ----------
        groups : array of shape (k,)
            Labels.

        Returns
        -------
        int array of shape (k,)
            Indices into ``labels``.
        """
        number = {label: i for i, label in enumerate(self.labels)}
        return np.array([number.get(label, -1) for label in np.asarray(groups).tolist()], dtype=int)
