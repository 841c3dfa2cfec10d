"""EntryTable: the entries of a panel as lists of (channel, time, value) of one length.

Sizes: B samples, Q entries of a sample: the sum of L * C over the modalities, time before channels.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor

from mts_fusion.nn.gaussian_process import Entries
from mts_fusion.panel import Panel, Schema

from ._batch import PanelDataset
from ._pattern_rows import as_tensor

__all__ = ["EntryTable"]


class EntryTable:
    """The entries of a panel, as lists of one length.

    Parameters
    ----------
    panel : Panel
        n samples.
    masks : dict of str to bool array of shape (n, C, L)
        Which entries exist.
    interval : float
        Seconds of one unit of time.
    schema : Schema
        That of ``fit``, as for :class:`PanelDataset`.

    Attributes
    ----------
    n_channels : int
        Channels of all modalities.
    n_entries : int
        Q.
    duration : float
        Of the longest sample, in the unit of time.
    """

    def __init__(
        self, panel: Panel, masks: Mapping[str, np.ndarray], interval: float, schema: Schema
    ) -> None:
        dataset = PanelDataset(panel, schema=schema)
        self.values = dataset.values
        self.masks = [as_tensor(masks[name]) for name in panel.schema.names]
        self.times: list[Tensor] = []
        for modality, clock in zip(panel.schema, dataset.times, strict=True):
            regular = torch.arange(modality.n_timepoints) / (modality.rate or 1.0)
            seconds = regular.expand(len(panel), -1) if clock is None else clock.nan_to_num(0.0)
            self.times.append(seconds.double() / interval)
        first, channels = 0, []
        for modality in panel.schema:
            own = torch.arange(modality.n_channels) + first
            channels.append(own.repeat(modality.n_timepoints))
            first += modality.n_channels
        self.n_channels = first
        self.channel = torch.cat(channels)
        self.n_entries = len(self.channel)
        self.duration = max(float(t.max()) for t in self.times)

    def take(self, rows: np.ndarray) -> Entries:
        """Entries of some samples.

        Parameters
        ----------
        rows : int array of shape (B,)
            The samples.

        Returns
        -------
        Entries
            Q of each; those that are not marked do not exist.
        """
        index = as_tensor(rows)
        values = [x[index].transpose(1, 2).flatten(1).nan_to_num(0.0) for x in self.values]
        masks = [x[index].transpose(1, 2).flatten(1) for x in self.masks]
        times = [
            t[index].repeat_interleave(x.shape[1], dim=1)
            for t, x in zip(self.times, self.values, strict=True)
        ]
        return Entries(
            self.channel.expand(len(rows), -1),
            torch.cat(times, dim=1),
            torch.cat(masks, dim=1),
            torch.cat(values, dim=1).double()[:, None],
        )
