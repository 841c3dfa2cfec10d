"""DualHead and PrimalHead: how a head keeps its training rows, in full or as sums.

Sizes: n samples, M modalities, R coordinates of a modality.
"""

from __future__ import annotations

from typing import Self

import numpy as np
import torch
from torch import Tensor

from mts_fusion.nn.ridge import DualSystem, KernelMap, PrimalSystem, RidgeRows

from ._pattern_head import N_SEARCHED, RidgeHead
from ._pattern_rows import TrainingRows, as_tensor, kept_rows

__all__ = ["DualHead", "PrimalHead"]

# Coordinates of all modalities together in the primal form, the same with more than N_SEARCHED
# modalities, and the smallest and largest number of one modality.
_ALL_COORDINATES, _ALL_OF_MANY, _FEWEST, _MOST = 1024, 768, 32, 512

# Landmarks of a kernel map in the primal form.
_N_LANDMARKS = 768


class DualHead(RidgeHead):
    """The head in the dual form: the landmarks of its kernels are the training rows."""

    system: DualSystem

    def _make_map(self, rows: TrainingRows, m: int) -> KernelMap:
        features = rows.features[m][:, self.slices[m]]
        return KernelMap(as_tensor(features), bandwidth=self.bandwidth)

    def _make_system(self, rows: TrainingRows) -> None:
        self._replace_system(_ridge_rows([], rows))

    def _replace_system(self, rows: RidgeRows) -> None:
        """The regressions on rows without coordinates, which are the kernels between them."""
        n = len(rows.weight)
        kernels = [torch.zeros(n, 0).double() for _ in self.columns]
        for m, kernel in self.maps.items():
            kernels[m] = kernel.gram()
        self.system = DualSystem(rows._replace(coordinates=kernels), self.n_folds)

    def _rows(self) -> RidgeRows:
        return self.system.rows._replace(coordinates=[])

    def add(self, rows: TrainingRows) -> None:
        """Add rows, as landmarks of the kernels too.

        Parameters
        ----------
        rows : TrainingRows
            k rows.
        """
        for m, kernel in self.maps.items():
            kernel.append(as_tensor(rows.features[m][:, self.slices[m]]))
        self._replace_system(self._rows().join(_ridge_rows([], rows)))

    def forget(self, index: np.ndarray) -> None:
        """Remove rows, and their landmarks.

        Parameters
        ----------
        index : int array of shape (k,)
            Indices of the rows.
        """
        left = as_tensor(np.setdiff1d(np.arange(len(self.system.rows.weight)), index))
        for kernel in self.maps.values():
            kernel.keep(left)
        self._replace_system(self._rows().take(left))

    def merge(self, other: Self) -> None:
        """Add the rows of another head.

        Parameters
        ----------
        other : DualHead
            With the same scales of the kernels.
        """
        for m, kernel in self.maps.items():
            kernel.append(other.maps[m].landmark_features())
        self._replace_system(self._rows().join(other._rows()))


class PrimalHead(RidgeHead):
    """The head in the primal form: its sums do not grow with the training rows."""

    system: PrimalSystem

    def _make_map(self, rows: TrainingRows, m: int) -> KernelMap:
        features = rows.features[m]
        chosen = np.flatnonzero(rows.available[:, m])[:_N_LANDMARKS]
        landmarks = features[chosen] if len(chosen) else features[:1]
        return KernelMap(
            as_tensor(landmarks[:, self.slices[m]]),
            bandwidth=self.bandwidth,
            n_coordinates=self._n_coordinates(),
        )

    def _n_coordinates(self) -> int:
        """Coordinates of a modality: the fewer, the more modalities there are."""
        n_modalities = len(self.slices)
        in_all = _ALL_COORDINATES if n_modalities <= N_SEARCHED else _ALL_OF_MANY
        return int(np.clip(in_all // max(n_modalities, 1), _FEWEST, _MOST))

    def _make_system(self, rows: TrainingRows) -> None:
        widths = [0] * len(self.columns)
        for m, kernel in self.maps.items():
            widths[m] = kernel.n_coordinates
        self.system = PrimalSystem(widths, rows.targets.shape[1], self.n_folds)
        self.keys = rows.keys[:0]
        self.add(rows)

    def add(self, rows: TrainingRows) -> None:
        """Add rows to the sums.

        Parameters
        ----------
        rows : TrainingRows
            k rows.
        """
        self.system.add(_ridge_rows(self.coordinates(rows.features), rows))
        self._limit(np.concatenate([self.keys, rows.keys]))

    def _limit(self, keys: np.ndarray) -> None:
        """Bound the number of kept rows, which have these keys."""
        chosen = kept_rows(keys)
        if len(chosen) < len(keys):
            self.system.limit(as_tensor(chosen))
        self.keys = keys[chosen]

    def forget(self, index: np.ndarray) -> None:
        """Subtract kept rows from the sums.

        Parameters
        ----------
        index : int array of shape (k,)
            Indices of the rows.
        """
        self.system.remove(as_tensor(index))
        self.keys = np.delete(self.keys, index)

    def merge(self, other: Self) -> None:
        """Add the sums and the kept rows of another head.

        Parameters
        ----------
        other : PrimalHead
            With the same kernels.
        """
        self.system.merge(other.system)
        self._limit(np.concatenate([self.keys, other.keys]))


def _ridge_rows(coordinates: list[Tensor], rows: TrainingRows) -> RidgeRows:
    targets, weight, fold, available = (as_tensor(part) for part in rows[1:5])
    return RidgeRows(coordinates, targets, weight, fold, available)
