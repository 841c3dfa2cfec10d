"""RidgeHead: the ridge regressions of one head, on every set of modalities.

Sizes: n samples, M modalities, F features and R coordinates of a modality, L landmarks, C targets,
B folds.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Self

import numpy as np
import torch
from torch import Tensor

from mts_fusion.nn.ridge import KernelMap, RidgeSolution, RidgeSystem
from mts_fusion.runs import advance, kept_results

from ._pattern_rows import TrainingRows, as_array, as_tensor
from ._runtime import isolated

__all__ = ["N_SEARCHED", "RidgeHead", "comparable_rows"]

N_SEARCHED = 6
"""With more modalities most sets occur once: fewer folds, and no search for a penalty."""

# Penalties that are tried: half a decade apart.
_PENALTIES = tuple(10.0 ** (i / 2) for i in range(-5, 5))

# Single modalities on which the penalty is searched before the first prediction.
_N_SINGLES = 8

# Rows whose coordinates are computed at a time.
_CHUNK = 2048


class RidgeHead(ABC):
    """Abstract: kernels of the modalities, their ridge regressions, and their best penalties.

    Parameters
    ----------
    columns : list of M lists of int
        Columns of the features of each modality that the head uses.
    bandwidth : float or None
        Bandwidth of the Gaussian kernel; None for the linear kernel.
    n_folds : int
        Number of folds B.
    is_numeric : bool
        Whether the targets are numbers; otherwise they are 1 for a class or label and -1.
    penalty : float or None
        Penalty of all regressions; None searches for the one of the lowest held-out squared error.
    n_threads : int or None
        Threads of the solves; None for those that torch has.

    Attributes
    ----------
    maps : dict of int to KernelMap
        Kernel of each modality that has columns.
    system : RidgeSystem
        The regressions.
    error : float
        Held-out squared error in ``fit``, averaged over the sets on which penalties were searched.
    """

    maps: dict[int, KernelMap]
    system: RidgeSystem

    def __init__(
        self,
        columns: list[list[int]],
        *,
        bandwidth: float | None,
        n_folds: int,
        is_numeric: bool,
        penalty: float | None,
        n_threads: int | None,
    ) -> None:
        self.columns = columns
        self.bandwidth = bandwidth
        self.n_folds = n_folds
        self.is_numeric = is_numeric
        self.penalty = penalty
        self.n_threads = n_threads
        self.penalties: dict[int, list[float]] = {}  # the best ones, by number of modalities
        self.slices = {m: _as_slice(some) for m, some in enumerate(columns) if some}

    # Hooks of the forms, DualHead and PrimalHead

    @abstractmethod
    def _make_map(self, rows: TrainingRows, m: int) -> KernelMap:
        """The kernel of modality m."""

    @abstractmethod
    def _make_system(self, rows: TrainingRows) -> None:
        """The regressions, once the maps are made."""

    @abstractmethod
    def add(self, rows: TrainingRows) -> None:
        """Learn from more rows; the scale and the directions of the kernels do not change."""

    @abstractmethod
    def forget(self, index: np.ndarray) -> None:
        """Remove the kept rows at some indices."""

    @abstractmethod
    def merge(self, other: Self) -> None:
        """Learn from the rows of another head with the same kernels."""

    # Learning

    def fit(self, rows: TrainingRows) -> Self:
        """Make kernels and regressions, and search penalties.

        Parameters
        ----------
        rows : TrainingRows
            n rows.

        Returns
        -------
        RidgeHead
            The fitted head.
        """
        self.maps = {m: self._make_map(rows, m) for m in self.slices}
        self._make_system(rows)
        self.error = float(np.mean([self._search(members) for members in self._probes()]))
        advance("kernels")
        return self

    def _probes(self) -> list[list[int]]:
        """Sets on which the penalty is searched: all modalities, and some alone."""
        every = self.members(range(len(self.columns)))
        chosen = np.unique(np.linspace(0, len(every) - 1, _N_SINGLES).round().astype(int))
        return [every, *([every[i]] for i in chosen)] if len(every) > 1 else [every]

    def _search(self, members: list[int]) -> float:
        """Note the best penalty for a set; return the error with it."""
        grid = _PENALTIES if self.penalty is None else (self.penalty,)
        solutions = self._solve(members, grid)
        errors = [self._held_out_error(solution) for solution in solutions]
        best = int(np.argmin(errors))
        self.penalties.setdefault(len(members), []).append(solutions[best].penalty)
        return errors[best]

    def _solve(self, members: list[int], penalties: Sequence[float]) -> list[RidgeSolution]:
        with isolated(self.n_threads):
            return self.system.solve(members, penalties)

    def _held_out_error(self, solution: RidgeSolution) -> float:
        """Weighted mean squared error of the held-out scores."""
        rows, scores = self.system.rows, as_array(solution.held_out)
        targets, weight, fold = (as_array(part) for part in (rows.targets, rows.weight, rows.fold))
        use = comparable_rows(scores, targets, fold, self.is_numeric)
        if not use.any():
            return 0.0
        error = ((scores[use] - targets[use]) ** 2).mean(1)
        return float(np.average(error, weights=weight[use]))

    # The regression on one set of modalities

    def members(self, members: Sequence[int]) -> list[int]:
        """Those of the modalities that the head has features of."""
        return [m for m in members if self.columns[m]]

    def best_solution(self, members: Sequence[int]) -> RidgeSolution | None:
        """The regression on a set of modalities, with the penalty of the lowest held-out error.

        Parameters
        ----------
        members : sequence of int
            Indices of the modalities.

        Returns
        -------
        RidgeSolution or None
            None if the head has no features of these modalities.
        """
        own = self.members(members)
        if not own:
            return None
        solutions = self._solve(own, self._candidates(len(own)))
        return solutions[0] if len(solutions) == 1 else min(solutions, key=self._held_out_error)

    def _candidates(self, n_members: int) -> list[float]:
        """Penalties for a set, interpolated from the best ones of sets of other sizes."""
        if self.penalty is not None:
            return [self.penalty]
        sizes = sorted(self.penalties)
        logs = [float(np.mean(np.log10(self.penalties[size]))) for size in sizes]
        middle = float(np.interp(n_members, sizes, logs))
        if len(self.columns) > N_SEARCHED:
            return [10.0**middle]
        return [10.0 ** (middle + step) for step in (-0.5, 0.0, 0.5)]

    def base_coef(
        self, solution: RidgeSolution, members: Sequence[int], mixing: Tensor
    ) -> tuple[dict[int, Tensor], Tensor]:
        """Coefficients that give scores from :meth:`bases`, without coordinates in between.

        Parameters
        ----------
        solution : RidgeSolution
            The regression on a set of modalities.
        members : sequence of int
            The modalities of the set.
        mixing : Tensor of shape (C, C)
            Matrix that the scores are multiplied by.

        Returns
        -------
        dict of int to Tensor of shape (F or L, C)
            Coefficients, by modality.
        Tensor of shape (C,)
            The intercept.
        """
        own = self.members(members)
        with isolated(self.n_threads):
            parts, intercept = self.system.split(solution.coef, own)
            coef = {
                m: self.maps[m].base_coef(part @ mixing) for m, part in zip(own, parts, strict=True)
            }
            return coef, intercept @ mixing

    # Samples

    def bases(self, features: Sequence[np.ndarray], occurring: np.ndarray) -> dict[int, Tensor]:
        """What the kernel maps are linear in: features, or kernels to the landmarks.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where the modality is missing.
        occurring : bool array of shape (M,)
            Modalities that are wanted.

        Returns
        -------
        dict of int to Tensor of shape (n, F or L)
            By modality.
        """
        return {m: self._base(m, features[m]) for m in self.slices if occurring[m]}

    def _base(self, m: int, features: np.ndarray) -> Tensor:
        """The base of one modality, kept with the features if these are."""
        kept, key = kept_results(), (m, id(features))
        if kept is not None and not kept.holds(features):
            kept = None
        base = None if kept is None else kept.get(self, key)
        if base is None:
            base = self.maps[m].base(as_tensor(features[:, self.slices[m]]))
            if kept is not None:
                kept.put(self, key, base)
        return base

    def coordinates(self, features: Sequence[np.ndarray]) -> list[Tensor]:
        """Coordinates of each modality.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where the modality is missing.

        Returns
        -------
        list of M Tensors of shape (n, R)
            R is 0 for a modality that the head has no features of.
        """
        n = len(features[0])
        result = [torch.zeros(n, 0, dtype=torch.float64) for _ in self.columns]
        for m, columns in self.slices.items():
            chunks = (features[m][s : s + _CHUNK] for s in range(0, max(n, 1), _CHUNK))
            result[m] = torch.cat([self.maps[m](as_tensor(few[:, columns])) for few in chunks])
        return result


def comparable_rows(
    scores: np.ndarray, targets: np.ndarray, fold: np.ndarray, is_numeric: bool
) -> np.ndarray:
    """Rows whose held-out scores can be compared with their targets.

    A class that occurs in one fold only is unknown to the model without that fold.

    Parameters
    ----------
    scores : array of shape (n, S)
        Held-out scores, NaN where there are none.
    targets : array of shape (n, C)
        Numbers, or 1 for a class or label and -1.
    fold : int array of shape (n,)
        Fold of each row.
    is_numeric : bool
        Whether the targets are numbers.

    Returns
    -------
    bool array of shape (n,)
        False also where a score is not finite.
    """
    finite = np.isfinite(scores).all(1)
    if is_numeric or targets.shape[1] < 2:
        return finite
    has, of_row, end = targets > 0, fold[:, None], fold.max(initial=0)
    first = np.where(has, of_row, end).min(0, initial=end)
    last = np.where(has, of_row, 0).max(0, initial=0)
    return finite & ~has[:, first >= last].any(1)


def _as_slice(columns: list[int]) -> list[int] | slice:
    """The same columns; as a slice, which copies nothing, if they are consecutive."""
    if columns == list(range(columns[0], columns[-1] + 1)):
        return slice(columns[0], columns[-1] + 1)
    return columns
