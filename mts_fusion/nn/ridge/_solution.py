"""What the dual and the primal form share: training rows, solutions, and their interface.

Sizes: n rows, M modalities, R coordinates of a modality, P coordinates of a solution, C targets,
B folds.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

__all__ = ["INTERCEPT", "RidgeRows", "RidgeSolution", "RidgeSystem", "factorise"]

INTERCEPT = 10.0
"""Value of the constant coordinate: large, so that the penalty hardly shrinks the intercept."""


class RidgeRows(NamedTuple):
    """Training rows.

    Parameters
    ----------
    coordinates : list of M Tensors of shape (n, R)
        Output of the :class:`KernelMap` of each modality; 0 where the modality is missing.
    targets : Tensor of shape (n, C)
        float64.
    weight : Tensor of shape (n,)
        float64, above 0. A row of weight 2 counts as two rows.
    fold : Tensor of shape (n,)
        int64. The rows of a fold are held out together.
    available : bool Tensor of shape (n, M)
        Modalities that each row has.
    """

    coordinates: list[Tensor]
    targets: Tensor
    weight: Tensor
    fold: Tensor
    available: Tensor

    def take(self, index: Tensor) -> RidgeRows:
        """The rows at some indices."""
        return RidgeRows(
            [part[index] for part in self.coordinates],
            self.targets[index],
            self.weight[index],
            self.fold[index],
            self.available[index],
        )

    def drop(self, index: Tensor) -> RidgeRows:
        """The rows at all other indices."""
        left = torch.ones_like(self.available[:, 0])
        left[index] = False
        return self.take(left.nonzero().squeeze(1))

    def join(self, other: RidgeRows) -> RidgeRows:
        """These rows, followed by others."""
        return RidgeRows(
            [torch.cat(both) for both in zip(self.coordinates, other.coordinates, strict=True)],
            torch.cat([self.targets, other.targets]),
            torch.cat([self.weight, other.weight]),
            torch.cat([self.fold, other.fold]),
            torch.cat([self.available, other.available]),
        )


class RidgeSolution(NamedTuple):
    """The ridge regression on one set of modalities, with one penalty.

    Parameters
    ----------
    penalty : float
        Lambda.
    coef : Tensor of shape (P, C)
        Coefficients of the columns of the design matrix (``RidgeSystem.design``).
    fold_coef : Tensor of shape (B, P, C)
        Coefficients fitted without the rows of each fold.
    held_out : Tensor of shape (n, C)
        Prediction of each row by the regression without its fold; NaN for a row that has none of
        the modalities.
    """

    penalty: float
    coef: Tensor
    fold_coef: Tensor
    held_out: Tensor


class RidgeSystem(Protocol):
    """The ridge regressions on all sets of modalities, in the dual or the primal form.

    Attributes
    ----------
    rows : RidgeRows
        The rows that have held-out predictions.
    """

    rows: RidgeRows

    def has_rows(self, members: Sequence[int]) -> bool:
        """Whether any training row has one of these modalities."""

    def solve(self, members: Sequence[int], penalties: Sequence[float]) -> list[RidgeSolution]:
        """The regression on a set of modalities, with each penalty."""

    def design(self, coordinates: Sequence[Tensor]) -> Tensor:
        """The design matrix ``(B, P)``, from the coordinates of the modalities of a set."""

    def split(self, coef: Tensor, members: Sequence[int]) -> tuple[list[Tensor], Tensor]:
        """The coefficients ``(P, C)`` of each modality of a set, and the intercept ``(C,)``."""


def factorise(system: Tensor, penalty: float) -> Tensor:
    """Cholesky factor; if rounding has made the system singular, a little is added to its diagonal.

    Parameters
    ----------
    system : Tensor of shape (P, P)
        Symmetric, including the penalty.
    penalty : float
        Lambda, for the warning.

    Returns
    -------
    Tensor of shape (P, P)
        Lower triangle.

    Raises
    ------
    ValueError
        If the system has no factor even with 1e-4 of its largest entry added.
    """
    factor, failed = torch.linalg.cholesky_ex(system)
    if not failed:
        return factor
    largest = float(system.diagonal().abs().max())
    for fraction in (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4):
        jitter = fraction * largest
        factor, failed = torch.linalg.cholesky_ex(
            system + jitter * torch.eye(len(system), dtype=system.dtype)
        )
        if not failed:
            warnings.warn(
                f"A kernel is not positive definite with penalty={penalty:g}, up to rounding; "
                f"{jitter:g} was added to its diagonal. Set a larger penalty, or weights that "
                "differ less.",
                stacklevel=2,
            )
            return factor
    raise ValueError(
        f"A kernel is not positive definite with penalty={penalty:g}. Set a larger penalty, and "
        "check that features and weights are finite."
    )
