"""Complete samples, few at a time: modalities of one shape together, as more groups of kernels.

Sizes beside the usual ones: S stacked modalities, G groups, K kernels per group, P taps per kernel,
F features.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch
import torch.nn.functional as F
from torch import Tensor

from ._convolution import RandomConvolutions, Response

__all__ = ["compute_stacked"]


def compute_stacked(blocks: Sequence[RandomConvolutions], values: Sequence[Tensor]) -> list[Tensor]:
    """Raw features of several modalities at once, where everything is observed.

    Parameters
    ----------
    blocks : sequence of S RandomConvolutions
        Of one kind and of equal sizes, without a vocabulary.
    values : sequence of S Tensors of shape (B, L, C)
        Complete samples.

    Returns
    -------
    list of S Tensors of shape (B, F)
        As ``compute`` of each gives them, but for rounding.

    Notes
    -----
    For one sample nearly all the time of an operation is its call, so there is one operation for
    all modalities, for the series and its difference. Many samples are faster one modality after
    another: intermediate results then fit into the cache.

    Examples
    --------
    >>> from mts_fusion.nn.features import HydraFeatures
    >>> from mts_fusion.panel._schema import Modality
    >>> modality = Modality("acc", 3, 50)
    >>> blocks = [HydraFeatures(modality, n_groups=4, seed=seed) for seed in (0, 1)]
    >>> [part.shape for part in compute_stacked(blocks, [torch.randn(1, 50, 3)] * 2)]
    [torch.Size([1, 192]), torch.Size([1, 192])]
    """
    first = blocks[0]
    series = torch.stack([x.permute(2, 1, 0) for x in values])  # (S, C, L, B)
    n_timepoints, n_samples = series.shape[2:]
    difference = F.pad(series.diff(dim=2), (0, 0, 0, 1))
    sources = torch.stack([series, difference], 1).flatten(3)  # (S, 2, C, L B)
    valid = _complete_windows(n_timepoints, first.n_taps, first.dilations).to(series.device)
    n_valid = valid.sum(-1)  # (D, 2)
    features = []
    for i, dilation in enumerate(first.dilations):
        mixing, weight, bias = (
            torch.stack([tensor[i] for tensor in tensors])
            for tensors in zip(*((b.mixing, b.weight, b.bias) for b in blocks), strict=True)
        )
        reach = first.n_taps // 2 * dilation
        # 1 but for rounding, which would else decide whether a response lies above its bias.
        power = mixing.square()
        observed_power = power @ torch.ones_like(power[0, 0, 0]).unsqueeze(-1)
        rescale = torch.sqrt(power.sum(-1, keepdim=True) / observed_power)
        mixed = (mixing @ sources * rescale).unflatten(-1, (n_timepoints, n_samples))
        windows = F.pad(mixed.flatten(0, 2), (0, 0, reach, reach))  # (N, L + 2 reach, B)
        stride = windows.stride()
        taps = windows.as_strided(
            (len(windows), first.n_taps, n_timepoints, n_samples),
            (stride[0], dilation * stride[1], stride[1], stride[2]),
        )
        response = torch.bmm(weight.flatten(0, 2), taps.contiguous().flatten(2))  # (N, K, L B)
        shape = mixed.shape[:3]  # S, series and difference, G / 2: N in all
        counts = n_valid[i].view(1, 2, 1).expand(shape).reshape(-1, 1)
        mask = valid[i].view(1, 2, 1, -1, 1).expand(*shape, -1, n_samples).flatten(0, 2)
        pooled = first._pool(
            Response(response.unflatten(-1, (n_timepoints, n_samples)), mask, counts),
            bias.flatten(0, 2),
        )
        block = torch.stack([part.unflatten(0, shape) for part in pooled], 2)
        block = block.where(n_valid[i].view(1, 2, 1, 1, 1, 1) > 0, torch.nan)
        features.append(block.flatten(1, -2))  # (S, 2, statistics, G / 2, K, B) -> (S, F, B)
    return list(torch.cat(features, 1).transpose(1, 2).unbind(0))


@lru_cache(maxsize=64)
def _complete_windows(n_timepoints: int, n_taps: int, dilations: tuple[int, ...]) -> Tensor:
    """Valid windows of a complete series and of its difference, bool ``(D, 2, L)``."""
    coverage = torch.ones(2, n_timepoints)
    coverage[1, -1] = 0.5  # the last timepoint has no difference
    valid = []
    for dilation in dilations:
        reach = n_taps // 2 * dilation
        padded = F.pad(coverage, (reach, reach))
        taps = [padded[:, p * dilation :][:, :n_timepoints] for p in range(n_taps)]
        valid.append(torch.stack(taps).sum(0) >= (n_taps + 1) // 2 - 0.01)
    return torch.stack(valid)
