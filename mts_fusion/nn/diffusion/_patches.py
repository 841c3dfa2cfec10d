"""Entries of a modality as a grid of tokens, and back.

Sizes: B batch, L timepoints, C channels, P patches along time, G groups of channels, Q entries of
several modalities (the sum of L * C).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from mts_fusion.panel._schema import Modality

from ._grid import Grid

__all__ = ["Patches", "join_tokens"]

# Most patches of a modality where no length is given, and most groups of channels. The embedding of
# a note with 768 channels is so 64 tokens, not 768.
_MAX_PATCHES = 64
_MAX_GROUPS = 64


class Patches:
    """Consecutive timepoints and channels of one modality, which are one token.

    Parameters
    ----------
    modality : Modality
        The modality.
    patch_length : int or None
        Timepoints in a token, at most those of the modality. None makes at most 64 patches.
    channels_per_token : int or None
        Channels in a token, at most those of the modality and at least a 64th of them. None puts
        all in one.

    Attributes
    ----------
    n_groups : int
        Groups of channels G.
    size : int
        Entries in a token.

    Examples
    --------
    >>> patches = Patches(Modality("acc", 3, 20), 8, None)
    >>> tokens = patches.cut(torch.zeros(2, 20, 3))
    >>> tokens.shape, patches.join(tokens, 20).shape
    (torch.Size([2, 3, 24]), torch.Size([2, 20, 3]))
    """

    def __init__(
        self, modality: Modality, patch_length: int | None, channels_per_token: int | None
    ) -> None:
        self.n_channels = modality.n_channels
        length = patch_length or math.ceil(modality.n_timepoints / _MAX_PATCHES)
        self.length = min(length, modality.n_timepoints)
        self.group = max(
            min(self.n_channels, channels_per_token or self.n_channels),
            math.ceil(self.n_channels / _MAX_GROUPS),
        )
        self.n_groups = math.ceil(self.n_channels / self.group)
        self.size = self.length * self.group

    def grid(self, n_timepoints: int) -> Grid:
        """Patches P and groups G of a series.

        Parameters
        ----------
        n_timepoints : int
            Timepoints L.

        Returns
        -------
        Grid
            P and G.
        """
        return Grid(-(-n_timepoints // self.length), self.n_groups)

    def cut(self, x: Tensor) -> Tensor:
        """Entries to tokens; the last patch and the last group are filled up with zeros.

        Parameters
        ----------
        x : Tensor of shape (B, L, C)
            Numbers.

        Returns
        -------
        Tensor of shape (B, P * G, size)
            Time before channels.
        """
        n_patches, n_groups, _ = self.grid(x.shape[1])
        gap = (0, n_groups * self.group - x.shape[2], 0, n_patches * self.length - x.shape[1])
        x = F.pad(x, gap) if any(gap) else x
        x = x.view(x.shape[0], n_patches, self.length, n_groups, self.group)
        return x.transpose(2, 3).reshape(x.shape[0], n_patches * n_groups, self.size)

    def join(self, x: Tensor, n_timepoints: int) -> Tensor:
        """Tokens to entries.

        Parameters
        ----------
        x : Tensor of shape (B, P * G, size)
            As from :meth:`cut`.
        n_timepoints : int
            Timepoints L.

        Returns
        -------
        Tensor of shape (B, L, C)
            What was filled up is cut off.
        """
        n_patches, n_groups, _ = self.grid(n_timepoints)
        x = x.view(x.shape[0], n_patches, n_groups, self.length, self.group).transpose(2, 3)
        x = x.reshape(x.shape[0], n_patches * self.length, n_groups * self.group)
        return x[:, :n_timepoints, : self.n_channels]

    def mean(self, x: Tensor, after: Tensor) -> Tensor:
        """Mean over the timepoints of each patch.

        Parameters
        ----------
        x : Tensor of shape (B, L, D)
            Numbers of each timepoint.
        after : bool Tensor of shape (B, L) or (1, L)
            Timepoints that do not count, not all of a patch.

        Returns
        -------
        Tensor of shape (B, P, D)
            The means.
        """
        counted = (~after).to(x.dtype).unsqueeze(2)
        total, count = (
            F.pad(part, (0, 0, 0, -x.shape[1] % self.length)).unflatten(1, (-1, self.length)).sum(2)
            for part in (x * counted, counted)
        )
        return total / count


def join_tokens(
    patches: Sequence[Patches], tokens: Sequence[Tensor], shapes: Sequence[tuple[int, int]]
) -> Tensor:
    """Tokens of several modalities to their entries, side by side.

    Parameters
    ----------
    patches : sequence of Patches
        One a modality.
    tokens : sequence of Tensors of shape (B, P * G, size)
        One a modality.
    shapes : sequence of tuple of (int, int)
        Timepoints L and channels C of each modality.

    Returns
    -------
    Tensor of shape (B, Q)
        Modality after modality, time before channels.
    """
    parts = [
        p.join(x, length).flatten(1)
        for p, x, (length, _) in zip(patches, tokens, shapes, strict=True)
    ]
    return torch.cat(parts, dim=1)
