"""Which training rows are held out together: whole groups, or runs of neighbours."""

from __future__ import annotations

import zlib

import numpy as np

__all__ = ["GroupFolds", "run_folds"]

# So few rows are left out one by one; up to so many, each run for itself.
_FEW_ROWS, _SOME_ROWS = 100, 400

# Runs into which more rows are cut, and folds that they are dealt to.
_N_RUNS, _N_FOLDS = 50, 5

# Groups beyond these numbers share folds: of few modalities, and of many, whose sets of working
# sensors are so many that each has to be cheap.
_MOST_FOLDS, _FEW_FOLDS = 10, 4


def run_folds(n: int) -> np.ndarray:
    """Folds of rows without groups: neighbours are alike, so runs of them stay together.

    Parameters
    ----------
    n : int
        Rows, in the order in which they came.

    Returns
    -------
    int array of shape (n,)
        Up to 100 rows are folds of their own; up to 400, each of 50 runs is one; more rows are cut
        into 50 runs that are dealt to five folds.

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
        Labels of the rows seen first. Up to ten groups are folds of their own; more are dealt to
        ten folds, the heaviest first, each to the lightest fold.
    weight : array of shape (n,) or None, default=None
        Weights of the rows; None for all alike.
    few : bool, default=False
        Whether there are at most four folds.

    Attributes
    ----------
    labels : list
        The groups known, by number.
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
        # Rounded, so that two rows and one of weight 2 make the same order.
        counts = np.round(np.bincount(inverse.ravel(), weights=weight), 6)
        self.n_folds = min(len(labels), _FEW_FOLDS if few else _MOST_FOLDS)
        sizes = np.zeros(self.n_folds)
        # Of equal size in the order of their labels: the order of the rows does not matter.
        for i in np.argsort(-counts, kind="stable"):
            fold = int(sizes.argmin())
            sizes[fold] += counts[i]
            self._note(labels.tolist()[i], fold)

    def _note(self, label: object, fold: int) -> None:
        self.fold_of[label] = fold
        self.labels.append(label)

    def __call__(self, groups: np.ndarray) -> np.ndarray:
        """The fold of each row; groups never seen are dealt by their label.

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
                self._note(label, zlib.crc32(repr(label).encode()) % self.n_folds)
        return np.array([self.fold_of[label] for label in labels.tolist()])[inverse.ravel()]

    def numbers(self, groups: np.ndarray) -> np.ndarray:
        """The number of each row's group, -1 for one never seen.

        Parameters
        ----------
        groups : array of shape (k,)
            Labels.

        Returns
        -------
        int array of shape (k,)
            Positions in ``labels``.
        """
        place = {label: i for i, label in enumerate(self.labels)}
        return np.array([place.get(label, -1) for label in np.asarray(groups).tolist()], dtype=int)
