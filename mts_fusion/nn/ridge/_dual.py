"""Ridge regression with one unknown for each training row: exact, for few rows.

Sizes: n rows, M modalities, C targets, B folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._solution import INTERCEPT, RidgeRows, RidgeSolution, factorise

__all__ = ["DualSystem"]

# Folds that are left out at a time.
_BATCH = 64


class DualSystem:
    """Kernel ridge regression on any set of modalities, with held-out predictions in closed form.

    For the modalities S the kernel is ``K = sum_{m in S} K_m / |S| + c``, and ``alpha = Q T`` with
    ``Q = (K + lambda W^-1)^-1``. A fit without the rows of fold b would predict
    ``T_b - Q_bb^-1 alpha_b`` for them, so no second fit is needed. Rows that have none of the
    modalities are left out.

    Parameters
    ----------
    rows : RidgeRows
        Their coordinates are the kernels between the rows, ``(n, n)``.
    n_folds : int
        Number of folds B.

    Examples
    --------
    >>> kernel, y = torch.eye(4), torch.tensor([[1.0], [1.0], [-1.0], [-1.0]], dtype=torch.double)
    >>> available = torch.ones(4, 1, dtype=torch.bool)
    >>> rows = RidgeRows([kernel], y, torch.ones(4).double(), torch.arange(4), available)
    >>> DualSystem(rows, n_folds=4).solve([0], [1.0])[0].coef.shape
    torch.Size([4, 1])
    """

    def __init__(self, rows: RidgeRows, n_folds: int) -> None:
        self.rows = rows
        self.n_folds = n_folds

    def has_rows(self, members: Sequence[int]) -> bool:
        """Whether any training row has one of these modalities.

        Parameters
        ----------
        members : sequence of int
            Indices of the modalities.

        Returns
        -------
        bool
            Without such a row there is nothing to solve.
        """
        return bool(self.rows.available[:, list(members)].any())

    def solve(self, members: Sequence[int], penalties: Sequence[float]) -> list[RidgeSolution]:
        """The regression on a set of modalities, with each penalty.

        Parameters
        ----------
        members : sequence of int
            Indices of the modalities.
        penalties : sequence of float
            Values of lambda, above 0.

        Returns
        -------
        list of RidgeSolution
            One for each penalty.
        """
        rows = self.rows
        index = rows.available[:, list(members)].any(1).nonzero().squeeze(1)
        kernel = self.design([rows.coordinates[m][index] for m in members])[:, index]
        targets, fold = rows.targets[index], rows.fold[index]
        batches = _folds_of_one_size(fold)
        solutions = []
        for penalty in penalties:
            system = kernel + torch.diag(penalty / rows.weight[index])
            inverse = torch.cholesky_inverse(factorise(system, penalty))
            alpha = inverse @ targets
            coef = torch.zeros_like(rows.targets)
            coef[index] = alpha
            fold_coef = coef.expand(self.n_folds, -1, -1).clone()
            held_out = torch.full_like(rows.targets, torch.nan)
            for folds, left_out in batches:  # (k,), (k, s)
                blocks = inverse[left_out.unsqueeze(2), left_out.unsqueeze(1)]
                residual = torch.linalg.solve(blocks, alpha[left_out])  # (k, s, C)
                held_out[index[left_out]] = targets[left_out] - residual
                rest = torch.baddbmm(alpha, inverse[left_out].mT, residual, alpha=-1)
                rest[torch.arange(len(folds)).unsqueeze(1), left_out] = 0.0
                fold_coef[folds.unsqueeze(1), index] = rest
            solutions.append(RidgeSolution(penalty, coef, fold_coef, held_out))
        return solutions

    def design(self, coordinates: Sequence[Tensor]) -> Tensor:
        """The design matrix: the kernel of a set of modalities.

        Parameters
        ----------
        coordinates : list of Tensors of shape (B, n)
            Kernels of the modalities of the set to the training rows.

        Returns
        -------
        Tensor of shape (B, n)
            float64.
        """
        total = torch.zeros_like(coordinates[0], dtype=torch.float64)
        for part in coordinates:
            total += part
        return total / len(coordinates) + INTERCEPT**2

    def split(self, coef: Tensor, members: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        """Split the coefficients of a solution into those of each modality and the intercept.

        Parameters
        ----------
        coef : Tensor of shape (n, C)
            Coefficients of the solution.
        members : sequence of int
            Modalities of the solution.

        Returns
        -------
        list of Tensors of shape (n, C)
            Coefficients of the kernel of each modality.
        Tensor of shape (C,)
            The intercept.
        """
        parts = [coef / len(members)] * len(members)
        return parts, INTERCEPT**2 * coef.sum(0)


def _folds_of_one_size(fold: Tensor) -> list[tuple[Tensor, Tensor]]:
    """Batches of folds of as many rows: their numbers ``(k,)``, and their rows ``(k, s)``.

    A batch is solved at once: without groups each row is a fold.
    """
    batches: dict[int, tuple[list[int], list[Tensor]]] = {}
    for b in fold.unique().tolist():
        rows = (fold == b).nonzero().squeeze(1)
        numbers, members = batches.setdefault(len(rows), ([], []))
        numbers.append(b)
        members.append(rows)
    return [
        part
        for b, rows in batches.values()
        for part in zip(torch.tensor(b).split(_BATCH), torch.stack(rows).split(_BATCH), strict=True)
    ]
