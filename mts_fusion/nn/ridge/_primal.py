"""Ridge regression with one unknown for each coordinate: its size does not grow with the rows.

Sizes: n rows, M modalities, R coordinates of a modality, P of all, C targets, B folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ._solution import INTERCEPT, RidgeRows, RidgeSolution, factorise

__all__ = ["PrimalSystem"]

# Rows whose products are summed at a time.
_CHUNK = 4096

# Sums of weights up to this are what rounding leaves where all rows were removed.
_ROUNDING = 1e-9


class PrimalSystem:
    """Ridge regression on any set of modalities, from sums over the training rows.

    With coordinates ``Z`` of all modalities and a constant, ``G = Z^T W Z`` and ``H = Z^T W T`` are
    sums over rows, kept for each fold. The regression on a set of modalities uses their blocks of
    the sums; to leave a fold out, its sums are subtracted. So rows can be added, removed and merged
    exactly.

    Parameters
    ----------
    widths : list of M int
        Number of coordinates R of each modality.
    n_targets : int
        Number of targets C.
    n_folds : int
        Number of folds B.

    Examples
    --------
    >>> system = PrimalSystem([2], n_targets=1, n_folds=2)
    >>> z, y = torch.randn(6, 2), torch.randn(6, 1).double()
    >>> available = torch.ones(6, 1, dtype=torch.bool)
    >>> system.add(RidgeRows([z], y, torch.ones(6).double(), torch.arange(6) % 2, available))
    >>> system.solve([0], [1.0])[0].coef.shape
    torch.Size([3, 1])
    """

    def __init__(self, widths: Sequence[int], n_targets: int, n_folds: int) -> None:
        self.widths = list(widths)
        self.offsets = [sum(self.widths[:m]) for m in range(len(widths) + 1)]
        n = self.offsets[-1]
        self.gram = torch.zeros(n_folds, n, n, dtype=torch.float64)
        self.products = torch.zeros(n_folds, n, n_targets, dtype=torch.float64)
        self.sums = torch.zeros(n_folds, n, dtype=torch.float64)
        # By pattern of available modalities: sums of weights and weighted targets, (B, 1 + C).
        self.presence: dict[tuple[bool, ...], Tensor] = {}
        self.rows = RidgeRows(
            [torch.zeros(0, width, dtype=torch.float64) for width in self.widths],
            torch.zeros(0, n_targets, dtype=torch.float64),
            torch.zeros(0, dtype=torch.float64),
            torch.zeros(0, dtype=torch.int64),
            torch.zeros(0, len(self.widths), dtype=torch.bool),
        )

    def add(self, rows: RidgeRows) -> None:
        """Add rows, which are kept for held-out predictions.

        Parameters
        ----------
        rows : RidgeRows
            Any number of rows.
        """
        self._sum(rows, 1.0)
        self.rows = self.rows.join(rows) if len(self.rows.weight) else rows

    def remove(self, index: Tensor) -> None:
        """Remove kept rows, as if they had never been added.

        Parameters
        ----------
        index : int Tensor of shape (k,)
            Indices of the rows among those kept.
        """
        self._sum(self.rows.take(index), -1.0)
        self.rows = self.rows.drop(index)

    def limit(self, index: Tensor) -> None:
        """Keep only some rows for held-out predictions; the sums do not change.

        Parameters
        ----------
        index : int Tensor of shape (k,)
            Indices of the rows among those kept.
        """
        self.rows = self.rows.take(index)

    def _sum(self, rows: RidgeRows, sign: float) -> None:
        """Add rows to the sums (``sign=1``), or subtract them (``sign=-1``)."""
        for start in range(0, len(rows.weight), _CHUNK):
            index = torch.arange(start, min(start + _CHUNK, len(rows.weight)))
            part = rows.take(index)
            z = torch.cat(part.coordinates, 1).double()
            weight = sign * part.weight.unsqueeze(1)
            for b in part.fold.unique().tolist():
                of_fold = part.fold == b
                zb, wb = z[of_fold], weight[of_fold]
                self.gram[b] += zb.T @ (zb * wb)
                self.products[b] += zb.T @ (part.targets[of_fold] * wb)
                self.sums[b] += (zb * wb).sum(0)
        self._count(rows, sign)

    def _count(self, rows: RidgeRows, sign: float) -> None:
        if not len(rows.weight):
            return
        patterns, which = rows.available.unique(dim=0, return_inverse=True)
        both = torch.cat([rows.weight.unsqueeze(1), rows.weight.unsqueeze(1) * rows.targets], 1)
        for p, pattern in enumerate(patterns.tolist()):
            zeros = torch.zeros(len(self.gram), both.shape[1], dtype=torch.float64)
            table = self.presence.setdefault(tuple(pattern), zeros)
            table.index_add_(0, rows.fold[which == p], sign * both[which == p])

    def merge(self, other: PrimalSystem) -> None:
        """Add all rows of another system with the same coordinates.

        Parameters
        ----------
        other : PrimalSystem
            A system with the same widths, targets and folds.
        """
        self.gram += other.gram
        self.products += other.products
        self.sums += other.sums
        for pattern, table in other.presence.items():
            self.presence[pattern] = self.presence.get(pattern, torch.zeros_like(table)) + table
        self.rows = self.rows.join(other.rows)

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
        tables = [table for p, table in self.presence.items() if any(p[m] for m in members)]
        return sum(float(table[:, 0].sum()) for table in tables) > _ROUNDING

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
        gram, products = self._blocks(members)
        total, total_products = gram.sum(0), products.sum(0)
        z = self.design([rows.coordinates[m] for m in members])
        has_any = rows.available[:, list(members)].any(1)
        folds = [((rows.fold == b) & has_any).nonzero().squeeze(1) for b in range(len(gram))]
        parts = [z[index] for index in folds]
        solutions = []
        for penalty in penalties:
            coef = _solve(total.clone(), penalty, total_products)
            fold_coef = torch.empty(len(gram), *coef.shape, dtype=coef.dtype)
            held_out = torch.full_like(rows.targets, torch.nan)
            for b, (index, part) in enumerate(zip(folds, parts, strict=True)):
                torch.sub(total_products, products[b], out=fold_coef[b])
                fold_coef[b] = _solve(total - gram[b], penalty, fold_coef[b])
                held_out[index] = part @ fold_coef[b]
            solutions.append(RidgeSolution(penalty, coef, fold_coef, held_out))
        return solutions

    def _blocks(self, members: Sequence[int]) -> tuple[Tensor, Tensor]:
        """Sums for some modalities and the constant: ``(B, P, P)`` and ``(B, P, C)``."""
        spans = [slice(self.offsets[m], self.offsets[m + 1]) for m in members]
        ends = torch.tensor([0, *(self.widths[m] for m in members)]).cumsum(0).tolist()
        blocks = [slice(start, end) for start, end in pairwise(ends)]
        n, n_folds = ends[-1], len(self.gram)
        scale = len(members) ** -0.5
        counts = torch.zeros(n_folds, 1 + self.products.shape[2], dtype=torch.float64)
        for pattern, table in self.presence.items():
            if any(pattern[m] for m in members):
                counts += table
        gram = torch.empty(n_folds, n + 1, n + 1, dtype=torch.float64)
        products = torch.empty(n_folds, n + 1, self.products.shape[2], dtype=torch.float64)
        for span, block in zip(spans, blocks, strict=True):  # slices: faster than an index
            for other_span, other_block in zip(spans, blocks, strict=True):
                gram[:, block, other_block] = self.gram[:, span, other_span]
            gram[:, n, block] = self.sums[:, span] * (INTERCEPT / scale)
            products[:, block] = self.products[:, span] * scale
        gram[:, n, n] = counts[:, 0] * (INTERCEPT / scale) ** 2
        gram *= scale**2
        gram[:, :n, n] = gram[:, n, :n]
        products[:, n] = counts[:, 1:] * INTERCEPT
        return gram, products

    def design(self, coordinates: Sequence[Tensor]) -> Tensor:
        """The design matrix: coordinates of a set of modalities, and a constant.

        Parameters
        ----------
        coordinates : list of Tensors of shape (B, R)
            Coordinates of the modalities of the set.

        Returns
        -------
        Tensor of shape (B, P)
            float64: the scaled coordinates, then the constant.
        """
        scale = len(coordinates) ** -0.5
        constant = torch.full((len(coordinates[0]), 1), INTERCEPT, dtype=torch.float64)
        return torch.cat([*(part.double() * scale for part in coordinates), constant], 1)

    def split(self, coef: Tensor, members: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        """Split the coefficients of a solution into those of each modality and the intercept.

        Parameters
        ----------
        coef : Tensor of shape (P, C)
            Coefficients of the solution.
        members : sequence of int
            Modalities of the solution.

        Returns
        -------
        list of Tensors of shape (R, C)
            Coefficients of the coordinates of each modality.
        Tensor of shape (C,)
            The intercept.
        """
        scaled = coef[:-1] * len(members) ** -0.5
        return list(scaled.split([self.widths[m] for m in members])), INTERCEPT * coef[-1]


def _solve(system: Tensor, penalty: float, right: Tensor) -> Tensor:
    """Solution of ``(system + penalty I) x = right``; the system is overwritten."""
    system.diagonal().add_(penalty)
    return torch.cholesky_solve(right, factorise(system, penalty))
