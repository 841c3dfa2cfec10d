"""Operations that ONNX does not have, written in those that it has where a model is exported.

Everywhere else they are torch's, which are faster. Both give the same numbers.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["as_bytes", "is_exporting", "running_max", "sorted_index", "stable_argsort"]


def is_exporting() -> bool:
    """Whether the operations are recorded by ``torch.export``.

    Returns
    -------
    bool
        Before torch 2.7, which cannot tell, also under ``torch.compile``.

    Examples
    --------
    >>> is_exporting()
    False
    """
    return bool(getattr(torch.compiler, "is_exporting", torch.compiler.is_compiling)())


def as_bytes(mask: Tensor) -> Tensor:
    """A mask as numbers, 0 or 1.

    Parameters
    ----------
    mask : Tensor
        Bool.

    Returns
    -------
    Tensor
        uint8 in the memory of the mask; int32 where a model is exported.

    Examples
    --------
    >>> as_bytes(torch.tensor([True, False]))
    tensor([1, 0], dtype=torch.uint8)
    """
    return mask.to(torch.int32) if is_exporting() else mask.view(torch.uint8)


def running_max(x: Tensor, dim: int) -> Tensor:
    """Largest of all entries up to each entry.

    Parameters
    ----------
    x : Tensor
        Numbers without NaN.
    dim : int
        Dimension along which they are compared.

    Returns
    -------
    Tensor of the shape of x
        As ``x.cummax(dim).values``.

    Examples
    --------
    >>> running_max(torch.tensor([1, 3, 2]), 0)
    tensor([1, 3, 3])
    """
    if not is_exporting():
        return x.cummax(dim).values
    shift = 1
    while shift < x.shape[dim]:  # after each step, of the last 2, 4, 8, ... entries
        first, rest = x.narrow(dim, 0, shift), x.narrow(dim, shift, x.shape[dim] - shift)
        earlier = x.narrow(dim, 0, x.shape[dim] - shift)
        x = torch.cat([first, torch.maximum(rest, earlier)], dim)
        shift *= 2
    return x


def sorted_index(ordered: Tensor, values: Tensor, *, right: bool = False) -> Tensor:
    """How many entries of a sorted row are below each value.

    Parameters
    ----------
    ordered : Tensor of shape (..., n)
        Numbers in rising order.
    values : Tensor of shape (..., k)
        Numbers.
    right : bool, default=False
        Whether to count the entries that are equal too.

    Returns
    -------
    Tensor of shape (..., k)
        int64, as ``torch.searchsorted`` gives it.

    Examples
    --------
    >>> sorted_index(torch.tensor([1.0, 2.0, 2.0]), torch.tensor([2.0]), right=True)
    tensor([3])
    """
    if not is_exporting():
        return torch.searchsorted(ordered, values, right=right)
    entries, wanted = ordered.unsqueeze(-2), values.unsqueeze(-1)
    return (entries <= wanted if right else entries < wanted).sum(-1)


def stable_argsort(x: Tensor, dim: int) -> Tensor:
    """Order in which whole numbers rise; equal ones stay in the order in which they are.

    Parameters
    ----------
    x : Tensor
        Integers, at most 2**63 divided by the size of ``dim``.
    dim : int
        Dimension that is ordered.

    Returns
    -------
    Tensor of the shape of x
        int64, as ``x.argsort(dim, stable=True)``.

    Examples
    --------
    >>> stable_argsort(torch.tensor([1, 0, 1, 0]), 0)
    tensor([1, 3, 0, 2])
    """
    if not is_exporting():
        return x.argsort(dim=dim, stable=True)
    n = x.shape[dim]
    index = torch.arange(n, device=x.device).view([n if d == dim else 1 for d in range(x.ndim)])
    return (x.to(torch.int64) * n + index).argsort(dim=dim)  # no two are equal
