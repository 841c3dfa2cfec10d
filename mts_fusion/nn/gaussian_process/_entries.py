"""Entries of samples as lists of (channel, time, value), padded to one length.

Sizes: B samples, S draws, N entries, Q entries that a sample could have.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

__all__ = ["Entries", "pack_entries"]


class Entries(NamedTuple):
    """Entries of B samples.

    Parameters
    ----------
    channel : int64 Tensor of shape (B, N)
        Number of the channel, counted over all modalities.
    time : Tensor of shape (B, N)
        Time, in the unit of the kernel.
    exists : bool Tensor of shape (B, N)
        False where a shorter list is padded.
    value : Tensor of shape (B, S, N)
        Values in each of S draws; data are one draw. Those of padding, and of entries that are to
        be predicted, do not matter.
    """

    channel: Tensor
    time: Tensor
    exists: Tensor
    value: Tensor

    @property
    def n(self) -> int:
        """Length N of the lists."""
        return self.channel.shape[1]

    def take(self, index: Tensor, exists: Tensor) -> Entries:
        """Other lists of these entries.

        Parameters
        ----------
        index : int64 Tensor of shape (B, K)
            Which entries.
        exists : bool Tensor of shape (B, K)
            False where the new lists are padded.

        Returns
        -------
        Entries
            K of each sample.
        """
        value = self.value.gather(2, index[:, None].expand(-1, self.value.shape[1], -1))
        return Entries(self.channel.gather(1, index), self.time.gather(1, index), exists, value)


def pack_entries(mask: Tensor, last: Tensor | None = None) -> tuple[Tensor, Tensor]:
    """Indices of the marked entries of each sample, as short as the longest list allows.

    Parameters
    ----------
    mask : bool Tensor of shape (B, Q)
        Which entries.
    last : bool Tensor of shape (B, Q), default=None
        Entries that come after the others.

    Returns
    -------
    index : int64 Tensor of shape (B, N)
        In increasing order, those of ``last`` after the others, then those that are padding.
    exists : bool Tensor of shape (B, N)
        False for padding.

    Examples
    --------
    >>> index, exists = pack_entries(torch.tensor([[False, True, True], [True, False, False]]))
    >>> index.tolist(), exists.tolist()
    ([[1, 2], [0, 1]], [[True, True], [True, False]])
    """
    counts = mask.sum(1)
    n = max(int(counts.max()), 1)
    order = ~mask * 2
    if last is not None:
        order = order + last
    index = torch.argsort(order, dim=1, stable=True)[:, :n]
    return index, torch.arange(n, device=mask.device) < counts[:, None]
