"""What the two forms of the ridge regression share: rows and solutions.

Sizes: n rows, M modalities, R coordinates of a modality, P coordinates of a solution, C targets,
B folds.
"""

from __future__ import annotations

import warnings
from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["INTERCEPT", "RidgeRows", "RidgeSolution", "factorise"]

INTERCEPT = 10.0
"""Value of the constant coordinate: large, so that the penalty hardly shrinks the intercept."""


class RidgeRows(NamedTuple):
    """Training rows.

    Parameters
    ----------
    coordinates : list of M Tensors of shape (n, R)
        Of each modality, from :class:`KernelMap`; 0 where it is silent.
    targets : Tensor of shape (n, C)
        float64.
    weight : Tensor of shape (n,)
        float64, above 0. A weight of 2 is the row twice.
    fold : Tensor of shape (n,)
        int64: rows of one fold are left out together.
    available : Tensor of shape (n, M)
        Bool.
    """

    coordinates: list[Tensor]
    targets: Tensor
    weight: Tensor
    fold: Tensor
    available: Tensor

    def take(self, index: Tensor) -> RidgeRows:
        """Some of the rows."""
        return RidgeRows(
            [part[index] for part in self.coordinates],
            self.targets[index],
            self.weight[index],
            self.fold[index],
            self.available[index],
        )

    def join(self, other: RidgeRows) -> RidgeRows:
        """These rows, then others."""
        return RidgeRows(
            [torch.cat(both) for both in zip(self.coordinates, other.coordinates, strict=True)],
            torch.cat([self.targets, other.targets]),
            torch.cat([self.weight, other.weight]),
            torch.cat([self.fold, other.fold]),
            torch.cat([self.available, other.available]),
        )


class RidgeSolution(NamedTuple):
    """The ridge regression of one set of modalities, with one penalty.

    Parameters
    ----------
    penalty : float
        Lambda.
    coef : Tensor of shape (P, C)
        Of the coordinates that ``design`` of the system gives.
    fold_coef : Tensor of shape (B, P, C)
        The same without the rows of each fold.
    held_out : Tensor of shape (n, C)
        What the regression without the fold of a row says of it; NaN for a row that has none of
        the modalities.
    """

    penalty: float
    coef: Tensor
    fold_coef: Tensor
    held_out: Tensor


def factorise(system: Tensor, penalty: float) -> Tensor:
    """Cholesky factor; where rounding has left a system without one, more is put on its diagonal.

    Parameters
    ----------
    system : Tensor of shape (P, P)
        Symmetric, the penalty included.
    penalty : float
        Lambda, for the warning.

    Returns
    -------
    Tensor of shape (P, P)
        Lower triangle.

    Raises
    ------
    ValueError
        If a system has no factor with a ten-thousandth of its largest entry added either.
    """
    factor, failed = torch.linalg.cholesky_ex(system)
    if not failed:
        return factor
    largest = float(system.diagonal().abs().max())
    for share in (1e-14, 1e-12, 1e-10, 1e-8, 1e-6, 1e-4):
        jitter = share * largest
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
