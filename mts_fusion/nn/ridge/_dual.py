"""Ridge regression with one unknown a training row: small and exact.

Sizes: n rows, M modalities, C targets, B folds.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from ._solution import INTERCEPT, RidgeRows, RidgeSolution, factorise

__all__ = ["DualSystem"]


class DualSystem:
    """Kernel ridge regression of any set of modalities, with leave-out answers in closed form.

    For the modalities S the kernel is ``K = sum_{m in S} K_m / |S| + c``, and ``alpha = Q T`` with
    ``Q = (K + lambda W^-1)^-1``. Without the rows of a fold b, the answers on it are
    ``T_b - Q_bb^-1 alpha_b``, as if it had been fitted again without them. Rows that have none of
    the modalities are left out.

    Parameters
    ----------
    rows : RidgeRows
        Their coordinates are kernels to the rows themselves, ``(n, n)``.
    n_folds : int
        B.

    Examples
    --------
    >>> kernel, y = torch.eye(4), torch.tensor([[1.0], [1.0], [-1.0], [-1.0]], dtype=torch.double)
    >>> some = torch.ones(4, 1, dtype=torch.bool)
    >>> rows = RidgeRows([kernel], y, torch.ones(4).double(), torch.arange(4), some)
    >>> DualSystem(rows, n_folds=4).solve([0], [1.0])[0].coef.shape
    torch.Size([4, 1])
    """

    def __init__(self, rows: RidgeRows, n_folds: int) -> None:
        self.rows = rows
        self.n_folds = n_folds

    def solve(self, members: Sequence[int], penalties: Sequence[float]) -> list[RidgeSolution]:
        """The regression of a set of modalities, one for each penalty.

        Parameters
        ----------
        members : sequence of int
            Indices of the modalities.
        penalties : sequence of float
            Values of lambda, above 0.

        Returns
        -------
        list of RidgeSolution
            As many as penalties.
        """
        rows = self.rows
        index = rows.available[:, list(members)].any(1).nonzero().squeeze(1)
        kernel = self.design([rows.coordinates[m][index] for m in members])[:, index]
        targets, fold = rows.targets[index], rows.fold[index]
        solutions = []
        for penalty in penalties:
            system = kernel + torch.diag(penalty / rows.weight[index])
            inverse = torch.cholesky_inverse(factorise(system, penalty))
            alpha = inverse @ targets
            coef = torch.zeros_like(rows.targets)
            coef[index] = alpha
            fold_coef = coef.expand(self.n_folds, -1, -1).clone()
            held_out = torch.full_like(rows.targets, torch.nan)
            for b in fold.unique().tolist():
                left_out = fold == b
                residual = torch.linalg.solve(inverse[left_out][:, left_out], alpha[left_out])
                held_out[index[left_out]] = targets[left_out] - residual
                rest = alpha - inverse[:, left_out] @ residual
                fold_coef[b, index] = rest.masked_fill(left_out.unsqueeze(1), 0.0)
            solutions.append(RidgeSolution(penalty, coef, fold_coef, held_out))
        return solutions

    def design(self, coordinates: Sequence[Tensor]) -> Tensor:
        """What ``coef`` is multiplied by, from the kernels of the modalities of a set.

        Parameters
        ----------
        coordinates : list of Tensors of shape (B, n)
            Of the modalities of the set.

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
        """Coefficients of a solution by modality, and what it adds to every answer.

        Parameters
        ----------
        coef : Tensor of shape (n, C)
            Of a solution.
        members : sequence of int
            Its modalities.

        Returns
        -------
        list of Tensors of shape (n, C)
            Of the kernels of the modalities.
        Tensor of shape (C,)
            The constant.
        """
        parts = [coef / len(members)] * len(members)
        return parts, INTERCEPT**2 * coef.sum(0)
