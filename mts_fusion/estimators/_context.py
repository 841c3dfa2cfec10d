"""FitContext: what the networks of one fit are built from and trained on."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mts_fusion.panel import Panel, Schema
from mts_fusion.training import Task

__all__ = ["FitContext"]


@dataclass(frozen=True, eq=False)
class FitContext:
    """All that is known before the networks are built; made once in ``fit`` and never changed.

    Parameters
    ----------
    panel : Panel
        n samples as the networks read them, after the preprocessor.
    scales : dict of str to sequence of C float
        By modality, what the preprocessor has divided the values of each channel by.
    task : Task or None
        What the networks predict; None where they have a loss of their own.
    target : array of shape (n,) or (n, n_outputs), or None
        y as the task encodes it; None without a task.
    weight : array of shape (n,) or None
        Weights with mean 1; None for equal weights.
    training : int array of shape (k,)
        Rows that are trained on.
    validation : int array of shape (v,)
        Rows evaluated after each epoch, a row twice where it is also evaluated with lost sensors;
        empty where none are held out.
    silenced : bool array of shape (v, M)
        Modalities that are silenced in each of these.
    has_groups : bool
        Whether whole groups were held out.
    batch_size, max_epochs : int
        Of the training.
    net_seeds : sequence of int
        One a network.
    seed : int
        Of what all networks share: the split, the lost sensors, the fixed features.
    """

    panel: Panel
    scales: Mapping[str, Sequence[float]]
    task: Task | None
    target: Any
    weight: np.ndarray | None
    training: np.ndarray
    validation: np.ndarray
    silenced: np.ndarray
    has_groups: bool
    batch_size: int
    max_epochs: int
    net_seeds: Sequence[int]
    seed: int

    @property
    def schema(self) -> Schema:
        """The modalities as the networks read them."""
        return self.panel.schema

    @property
    def n_outputs(self) -> int:
        """Outputs of each network; 0 without a task."""
        return 0 if self.task is None else self.task.n_outputs

    @property
    def has_softmax(self) -> bool:
        """Whether the outputs are logits of classes that exclude each other."""
        return self.task is not None and self.task.has_softmax

    @property
    def n_training(self) -> int:
        """Samples that are trained on."""
        return len(self.training)

    @property
    def has_validation(self) -> bool:
        """Whether any samples are held out."""
        return len(self.validation) > 0
