"""From numpy to torch: a batch is cut from the panel in one step.

Sizes: n samples, B batch, C channels, L timepoints. Here, and only here, ``(n, C, L)`` of the
panel becomes ``(B, L, C)`` of the networks.
"""

from __future__ import annotations

import warnings
from collections.abc import Sequence
import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from mts_fusion.panel import Panel

__all__ = ["Inputs", "PanelDataset", "collate"]


class Inputs:
    """What a network is called with, for the samples of one batch.

    Parameters
    ----------
    arguments : dict
        Keyword arguments of ``forward``: lists of tensors (or None) in the order of the schema.
    n : int
        Samples B.
    """

    def __init__(self, arguments: dict[str, list[Tensor | None]], n: int) -> None:
        self.arguments = arguments
        self.n = n

    def __len__(self) -> int:
        return self.n

    def to(self, device: str | torch.device) -> Inputs:
        """The same on a device."""
        moved = {
            key: [None if part is None else part.to(device, non_blocking=True) for part in parts]
            for key, parts in self.arguments.items()
        }
        return Inputs(moved, self.n)


Batch = tuple[Inputs, dict[str, Tensor]]


class PanelDataset(Dataset[Batch]):
    """A panel, its targets and its weights, from which whole batches are cut.

    Parameters
    ----------
    panel : Panel
        n samples.
    y : array of shape (n,) or (n, n_outputs), default=None
        Encoded targets. None in prediction.
    sample_weight : array of shape (n,), default=None
        Weights with mean 1; None for all alike.
    silenced : bool array of shape (n, M), default=None
        Modalities of samples to be taken as not observed.
    features : list of Tensor of shape (n, ...), default=None
        What ``module.featurize`` gave for this panel: computed once, not in every epoch.

    Notes
    -----
    A batch is ``(inputs, target)``: the arguments of ``inputs`` are the lists ``values``,
    ``observed``, ``times`` (and ``features``) in the order of the schema; ``target`` has ``y`` and
    ``weight``. Values are finite: 0 stands where nothing is known, and ``observed`` says so.

    Examples
    --------
    >>> import numpy as np
    >>> dataset = PanelDataset(Panel({"acc": np.full((4, 3, 10), np.nan)}))
    >>> inputs, _ = dataset.__getitems__([0, 2])
    >>> len(inputs), inputs.arguments["values"][0].shape
    (2, torch.Size([2, 10, 3]))
    """

    def __init__(
        self,
        panel: Panel,
        y: np.ndarray | None = None,
        sample_weight: np.ndarray | None = None,
        silenced: np.ndarray | None = None,
        features: Sequence[Tensor] | None = None,
    ) -> None:
        observed, times = panel.observed, panel.times
        self.values = [_tensor(panel.values[name]) for name in panel.schema.names]
        self.observed = [_tensor(observed[name]) for name in panel.schema.names]
        self.times = [
            None if times[name] is None else _tensor(times[name]) for name in panel.schema.names
        ]
        self.y = None if y is None else _tensor(y)
        self.weight = None if sample_weight is None else _tensor(sample_weight).float()
        self.silenced = None if silenced is None else _tensor(silenced)
        self.features = None if features is None else list(features)
        self.n = len(panel)

    def __len__(self) -> int:
        return self.n

    def __getitem__(self, i: int) -> Batch:
        return self.__getitems__([i])

    def __getitems__(self, indices: Sequence[int]) -> Batch:
        rows = torch.as_tensor(indices)
        observed = [seen[rows].transpose(1, 2) for seen in self.observed]
        if self.silenced is not None:
            silent = self.silenced[rows]
            observed = [seen & ~silent[:, m, None, None] for m, seen in enumerate(observed)]
        arguments: dict[str, list[Tensor | None]] = {
            "values": [_values(values[rows]) for values in self.values],
            "observed": list(observed),
            "times": [
                None if clock is None else clock[rows].nan_to_num(0.0).float()
                for clock in self.times
            ],
        }
        if self.features is not None:
            arguments["features"] = [part[rows] for part in self.features]
        target = {
            "y": torch.zeros(len(rows)) if self.y is None else self.y[rows],
            "weight": torch.ones(len(rows)) if self.weight is None else self.weight[rows],
        }
        return Inputs(arguments, len(rows)), target


def collate(batch: Batch) -> Batch:
    """The batch itself: the dataset has cut it already.

    Parameters
    ----------
    batch : tuple
        What ``PanelDataset.__getitems__`` gives.

    Returns
    -------
    tuple
        The same.
    """
    return batch


def _values(values: Tensor) -> Tensor:
    """``(B, C, L)`` as ``(B, L, C)``: numbers with 0 for NaN, or tokens as int64."""
    values = values.transpose(1, 2)
    return values.nan_to_num(0.0) if values.is_floating_point() else values.long()


def _tensor(array: np.ndarray | None) -> Tensor:
    with warnings.catch_warnings():  # read-only memory (pandas, joblib): we only read it
        warnings.filterwarnings("ignore", message=".*not writable.*")
        return torch.from_numpy(np.ascontiguousarray(array))
