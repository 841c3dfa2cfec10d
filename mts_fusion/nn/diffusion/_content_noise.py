"""Gaussian noise that is a function of the content of a sample, whatever its batch.

Sizes: B batch, S draws, L timepoints, C channels. Each number is a hash of (key of the sample,
draw, step, modality, entry): it depends neither on other samples nor on their order.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor

__all__ = ["content_keys", "keyed_normal", "mix"]

# Odd 64-bit constants of splitmix64 (Steele, Lea and Flood, OOPSLA 2014), as signed integers:
# torch has no unsigned arithmetic, and the signed one wraps to the same bits.
_GOLDEN = -0x61C8864680B583EB
_FIRST = -0x40A7B892E31B1A47
_SECOND = -0x6B2FB644ECCEEE15


def _shift(x: Tensor, n: int) -> Tensor:
    """Shift right without the sign."""
    return (x >> n) & ((1 << (64 - n)) - 1)


def mix(x: Tensor) -> Tensor:
    """Scramble integers: the finaliser of splitmix64, a bijection of 64 bits.

    Parameters
    ----------
    x : int64 Tensor
        Of any shape.

    Returns
    -------
    int64 Tensor
        Of the same shape.

    Examples
    --------
    >>> mix(torch.tensor([0, 1])).tolist()
    [0, 6238072747940578789]
    """
    x = (x ^ _shift(x, 30)) * _FIRST
    x = (x ^ _shift(x, 27)) * _SECOND
    return x ^ _shift(x, 31)


def _positions(n_timepoints: int, n_channels: int, modality: int, device: torch.device) -> Tensor:
    """Number the entries of a modality, (L, C); more timepoints leave the earlier numbers."""
    entry = torch.arange(n_timepoints * n_channels, device=device) + 1
    return (entry + modality * (1 << 40)).view(n_timepoints, n_channels) * _GOLDEN


def content_keys(values: Sequence[Tensor], observed: Sequence[Tensor], seed: int = 0) -> Tensor:
    """A number for each sample, a function of its observed entries and the seed alone.

    Parameters
    ----------
    values : sequence of M Tensors of shape (B, L, C)
        Float32. Values where ``observed`` is false do not matter.
    observed : sequence of M bool Tensors of shape (B, L, C)
        Timepoints added at the end without observations change nothing.
    seed : int, default=0
        Seed of the keys.

    Returns
    -------
    int64 Tensor of shape (B,)
        Equal for two samples of equal content.

    Examples
    --------
    >>> x, observed = torch.randn(3, 5, 2), torch.ones(3, 5, 2, dtype=bool)
    >>> bool((content_keys([x], [observed])[1:] == content_keys([x[1:]], [observed[1:]])).all())
    True
    """
    key = torch.full((values[0].shape[0],), seed + 1, device=values[0].device) * _GOLDEN
    for m, (x, o) in enumerate(zip(values, observed, strict=True)):
        bits = x.float().contiguous().view(torch.int32).long()
        at = _positions(x.shape[1], x.shape[2], m, x.device)
        word = mix(mix(bits + at) ^ at)
        key = key + torch.where(o, word, torch.zeros_like(word)).sum((1, 2))
    return mix(key)


def keyed_normal(
    keys: Tensor, shape: tuple[int, int], *, draws: Tensor, step: int = 0, modality: int = 0
) -> Tensor:
    """Standard normal numbers, a function of key, draw, step, modality and entry alone.

    Parameters
    ----------
    keys : int64 Tensor of shape (B,)
        One a sample, as from :func:`content_keys`.
    shape : tuple of (int, int)
        Timepoints L and channels C.
    draws : int64 Tensor of shape (S,)
        Numbers of the draws.
    step : int, default=0
        Number of the step of the sampler.
    modality : int, default=0
        Number of the modality.

    Returns
    -------
    Tensor of shape (B, S, L, C)
        Float32, in about [-5.9, 5.9].

    Examples
    --------
    >>> keys, draws = torch.tensor([4, 5]), torch.arange(3)
    >>> z = keyed_normal(keys, (6, 2), draws=draws)
    >>> bool((z[1:, 2:] == keyed_normal(keys[1:], (6, 2), draws=draws[2:])).all())
    True
    """
    stream = mix(keys[:, None] + mix((draws + 1) * _GOLDEN + (step << 32)))  # (B, S)
    at = _positions(*shape, modality, keys.device)
    word = mix(stream[:, :, None, None] + at)
    # Two uniforms of 24 bits, in (0, 1), then the transform of Box and Muller.
    first = ((word & 0xFFFFFF).float() + 0.5) * 2.0**-24
    second = (_shift(word, 40).float() + 0.5) * 2.0**-24
    return (-2 * first.log()).sqrt_() * (2 * math.pi * second).cos_()
