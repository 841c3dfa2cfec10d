"""Where a sample ends, of which a batch may hold more: later timepoints belong to longer samples.

Sizes: B batch, L timepoints, C channels.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["after_end", "late_entries", "sample_end"]


def sample_end(observed: Tensor, times: Tensor | None, least: int | None) -> Tensor | None:
    """Timepoints of each sample of a modality, without those that only longer samples have.

    Parameters
    ----------
    observed : bool Tensor of shape (B, L, C)
        What was observed.
    times : Tensor of shape (B, L), or None
        Seconds, growing, and 0 after the last; None for a regular clock.
    least : int or None
        Timepoints that every sample has, of a regular clock: those in training.

    Returns
    -------
    int64 Tensor of shape (B,), or None
        None where no sample is longer than ``least``.

    Examples
    --------
    >>> observed = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)[..., None]
    >>> sample_end(observed, None, 2).tolist()
    [3, 2]
    >>> sample_end(observed, torch.tensor([[1.0, 2, 3, 0], [1, 4, 0, 0]]), None).tolist()
    [3, 2]
    """
    length = observed.shape[1]
    exists = observed.any(2)
    if times is not None:
        exists = exists | ((times >= times.cummax(1).values) & (times != 0))
    elif least is not None and length <= least:
        return None
    at = torch.arange(1, length + 1, device=observed.device)
    return (exists * at).amax(1).clamp(min=1 if times is not None or least is None else least)


def after_end(end: Tensor | None, like: Tensor, patch_length: int) -> Tensor:
    """Timepoints after the end of a sample that share a patch with timepoints before it.

    Parameters
    ----------
    end : int64 Tensor of shape (B,), or None
        From :func:`sample_end`.
    like : Tensor of shape (B, L, C)
        Entries of the modality.
    patch_length : int
        Timepoints of a patch.

    Returns
    -------
    bool Tensor of shape (B, L), or (1, L) without ``end``
        True after the end.

    Examples
    --------
    >>> after_end(torch.tensor([1, 5]), torch.zeros(2, 6, 1), 4).int().tolist()
    [[0, 1, 1, 1, 0, 0], [0, 0, 0, 0, 0, 1]]
    """
    at = torch.arange(like.shape[1], device=like.device)[None]
    if end is None:
        return torch.zeros_like(at, dtype=torch.bool)
    last = -(-end // patch_length) * patch_length
    return (at >= end[:, None]) & (at < last[:, None])


def late_entries(observed: Tensor, least: int | None) -> Tensor:
    """Entries that a sample of a regular modality has since a longer one is beside it.

    Parameters
    ----------
    observed : bool Tensor of shape (B, L, C)
        What was observed.
    least : int or None
        Timepoints that every sample has; None for an irregular modality, which has no such entries.

    Returns
    -------
    bool Tensor of shape (B, L * C)
        Time before channels.

    Examples
    --------
    >>> observed = torch.tensor([[1, 1, 1, 0], [1, 0, 0, 0]], dtype=torch.bool)[..., None]
    >>> late_entries(observed, 2).int().tolist()
    [[0, 0, 0, 1], [0, 0, 1, 1]]
    """
    end = None if least is None else sample_end(observed, None, least)
    late = torch.zeros_like(observed)
    if end is not None:
        at = torch.arange(observed.shape[1], device=observed.device)
        late = late | (at >= end[:, None])[..., None]
    return late.flatten(1)
