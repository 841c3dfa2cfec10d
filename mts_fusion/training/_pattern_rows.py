"""What the pattern models are fitted to: kinds of features and training rows.

Arrays become tensors here, and tensors arrays.

Sizes: n samples, M modalities, F features of a modality, C targets.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

__all__ = ["Head", "TrainingRows", "as_array", "as_tensor", "kept_rows"]

# Rows that the primal form keeps beside its sums: for held-out scores, and to be forgotten.
_KEPT_ROWS = 20_000


class Head(NamedTuple):
    """One ridge regression on some kinds of features; the scores of all heads are added up.

    Parameters
    ----------
    kinds : tuple of str
        Kinds of features, side by side.
    bandwidths : tuple of float or None
        Bandwidths of the Gaussian kernel, of which the one with the lowest held-out error is used;
        None is the linear kernel.
    """

    kinds: tuple[str, ...]
    bandwidths: tuple[float | None, ...]


class TrainingRows(NamedTuple):
    """What the models learn from.

    Parameters
    ----------
    features : list of M arrays of shape (n, F)
        NaN where the modality is missing. Empty where only the rest is kept.
    targets : array of shape (n, C)
        float64.
    weight : array of shape (n,)
        Above 0.
    fold : int array of shape (n,)
        The rows of a fold are held out together.
    available : bool array of shape (n, M)
        Modalities that each row has.
    keys : uint64 array of shape (n,)
        Hash of content, target and group.
    content : uint64 array of shape (n,)
        Hash of the content alone.
    group : int array of shape (n,)
        Number of the group, -1 without groups.
    """

    features: list[np.ndarray]
    targets: np.ndarray
    weight: np.ndarray
    fold: np.ndarray
    available: np.ndarray
    keys: np.ndarray
    content: np.ndarray
    group: np.ndarray

    def take(self, index: np.ndarray) -> TrainingRows:
        """The rows at some indices."""
        rest = (part[index] for part in self[1:])
        return TrainingRows([part[index] for part in self.features], *rest)

    def sums(self) -> np.ndarray:
        """Sums of the weights and of the weighted targets, ``(1 + C,)``."""
        return np.concatenate([[self.weight.sum()], (self.weight[:, None] * self.targets).sum(0)])

    def join(self, other: TrainingRows) -> TrainingRows:
        """These rows, followed by others, without the features."""
        return TrainingRows(
            [], *(np.concatenate(both) for both in zip(self[1:], other[1:], strict=True))
        )


def kept_rows(keys: np.ndarray) -> np.ndarray:
    """Indices of the rows that the primal form keeps: up to 20,000, those of the smallest keys.

    Parameters
    ----------
    keys : uint64 array of shape (n,)
        Keys of the rows.

    Returns
    -------
    int array of shape (k,)
        In increasing order. They do not depend on the order in which the rows came.
    """
    if len(keys) <= _KEPT_ROWS:
        return np.arange(len(keys))
    return np.sort(np.argsort(keys, kind="stable")[:_KEPT_ROWS])


def as_tensor(array: np.ndarray) -> Tensor:
    """A tensor with the memory of an array, if that is contiguous; otherwise with a copy."""
    return torch.as_tensor(np.ascontiguousarray(array))


def as_array(tensor: Tensor) -> np.ndarray:
    """An array with the memory of a tensor on the CPU; otherwise with a copy."""
    return tensor.detach().cpu().numpy()
