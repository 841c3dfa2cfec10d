"""Ridge regression with one unknown a coordinate: its size does not grow with the rows.

Sizes: n rows, M modalities, R coordinates of a modality, P of all, C targets, B folds.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor

from ._solution import INTERCEPT, RidgeRows, RidgeSolution, factorise

__all__ = ["PrimalSystem"]

# Rows whose products are added up at a time.
_CHUNK = 4096


class PrimalSystem:
    """Ridge regression of any set of modalities from one matrix of products.

    With coordinates ``Z`` of all modalities and a constant, ``G = Z^T W Z`` and ``H = Z^T W T`` are
    sums over rows, kept for each fold. A set of modalities takes its blocks of them; leaving a fold
    out subtracts its share. So rows can be added, taken away and merged, exactly.

    Parameters
    ----------
    widths : list of M int
        Coordinates R of each modality.
    n_targets : int
        C.
    n_folds : int
        B.

    Examples
    --------
    >>> system = PrimalSystem([2], n_targets=1, n_folds=2)
    >>> z, y = torch.randn(6, 2), torch.randn(6, 1).double()
    >>> some = torch.ones(6, 1, dtype=torch.bool)
    >>> rows = RidgeRows([z], y, torch.ones(6).double(), torch.arange(6) % 2, some)
    >>> system.add(rows)
    >>> system.solve([0], [1.0], rows)[0].coef.shape
    torch.Size([3, 1])
    """

    def __init__(self, widths: Sequence[int], n_targets: int, n_folds: int) -> None:
        self.widths = list(widths)
        self.offsets = [sum(self.widths[:m]) for m in range(len(widths) + 1)]
        n = self.offsets[-1]
        self.gram = torch.zeros(n_folds, n, n, dtype=torch.float64)
        self.products = torch.zeros(n_folds, n, n_targets, dtype=torch.float64)
        self.sums = torch.zeros(n_folds, n, dtype=torch.float64)
        # By which modalities a row has: weights and weighted targets, (B, 1 + C).
        self.presence: dict[tuple[bool, ...], Tensor] = {}

    def add(self, rows: RidgeRows, sign: float = 1.0) -> None:
        """Add rows, or take them away.

        Parameters
        ----------
        rows : RidgeRows
            Of any number.
        sign : float, default=1.0
            -1 takes them away.
        """
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
        """Add all rows of another system of the same coordinates.

        Parameters
        ----------
        other : PrimalSystem
            Of the same widths, targets and folds.
        """
        self.gram += other.gram
        self.products += other.products
        self.sums += other.sums
        for pattern, table in other.presence.items():
            self.presence[pattern] = self.presence.get(pattern, torch.zeros_like(table)) + table

    def solve(
        self, members: Sequence[int], penalties: Sequence[float], rows: RidgeRows
    ) -> list[RidgeSolution]:
        """The regression of a set of modalities, one for each penalty.

        Parameters
        ----------
        members : sequence of int
            Indices of the modalities.
        penalties : sequence of float
            Values of lambda, above 0.
        rows : RidgeRows
            Those of which held-out answers are wanted, all or some of those added.

        Returns
        -------
        list of RidgeSolution
            As many as penalties.
        """
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
        """Products of the coordinates of some modalities and the constant, by fold."""
        spans = [slice(self.offsets[m], self.offsets[m + 1]) for m in members]
        ends = torch.tensor([0, *(self.widths[m] for m in members)]).cumsum(0).tolist()
        places = [slice(start, end) for start, end in pairwise(ends)]
        n, n_folds = ends[-1], len(self.gram)
        scale = len(members) ** -0.5
        counts = torch.zeros(n_folds, 1 + self.products.shape[2], dtype=torch.float64)
        for pattern, table in self.presence.items():
            if any(pattern[m] for m in members):
                counts += table
        gram = torch.empty(n_folds, n + 1, n + 1, dtype=torch.float64)
        products = torch.empty(n_folds, n + 1, self.products.shape[2], dtype=torch.float64)
        for span, place in zip(spans, places, strict=True):  # blocks: faster than by index
            for other_span, other_place in zip(spans, places, strict=True):
                gram[:, place, other_place] = self.gram[:, span, other_span]
            gram[:, n, place] = self.sums[:, span] * (INTERCEPT / scale)
            products[:, place] = self.products[:, span] * scale
        gram[:, n, n] = counts[:, 0] * (INTERCEPT / scale) ** 2
        gram *= scale**2
        gram[:, :n, n] = gram[:, n, :n]
        products[:, n] = counts[:, 1:] * INTERCEPT
        return gram, products

    def design(self, coordinates: Sequence[Tensor]) -> Tensor:
        """What ``coef`` is multiplied by, from the coordinates of the modalities of a set.

        Parameters
        ----------
        coordinates : list of Tensors of shape (B, R)
            Of the modalities of the set.

        Returns
        -------
        Tensor of shape (B, P)
            float64: scaled coordinates, then the constant.
        """
        scale = len(coordinates) ** -0.5
        constant = torch.full((len(coordinates[0]), 1), INTERCEPT, dtype=torch.float64)
        return torch.cat([*(part.double() * scale for part in coordinates), constant], 1)

    def split(self, coef: Tensor, members: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        """Coefficients of a solution by modality, and what it adds to every answer.

        Parameters
        ----------
        coef : Tensor of shape (P, C)
            Of a solution.
        members : sequence of int
            Its modalities.

        Returns
        -------
        list of Tensors of shape (R, C)
            Of the coordinates of the modalities.
        Tensor of shape (C,)
            The constant.
        """
        scaled = coef[:-1] * len(members) ** -0.5
        return list(scaled.split([self.widths[m] for m in members])), INTERCEPT * coef[-1]


def _solve(system: Tensor, penalty: float, right: Tensor) -> Tensor:
    """Solution of ``(system + penalty I) x = right``; the system is overwritten."""
    system.diagonal().add_(penalty)
    return torch.cholesky_solve(right, factorise(system, penalty))
