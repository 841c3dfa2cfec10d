"""Parts in which layers are trained on a CPU, so that they fit its cache.

The functions of ``_parts_attention.py`` and ``_parts_layers.py`` give the numbers of a few plain
operations, named in their docstrings, and save for the backward pass little more than their input.
Both passes go over the tokens in parts: what comes between input and output of a part stays in the
cache, and the backward pass computes it again. On a CPU that costs less than writing it to memory
and reading it back; but for the heads and weights of the attention, which are kept.

Sizes: m modalities, B batch, T tokens, D width, N = m B sequences.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from mts_fusion.nn.blocks._random import Mask

__all__ = [
    "Part",
    "add_kept",
    "blank",
    "kept_of",
    "n_packed",
    "norm",
    "norm_backward",
    "normal_again",
    "portions",
    "put",
    "split",
    "split_tokens",
    "take",
    "unpack",
    "worth",
]

# Tokens of a part. On one core, products of 2048 to 8192 tokens (width 64) reach 100 GMAC/s; of
# 81920, of which the output is fresh memory, 30. A step as a whole is fastest at 2048.
_N_TOKENS = 2048


def worth(*tensors: Tensor) -> bool:
    """Whether the functions of this file are to be used: a gradient is wanted, on a CPU.

    Parameters
    ----------
    *tensors : Tensor
        Input and weights.

    Returns
    -------
    bool
        False where the network is compiled or exported, and under autocast.
    """
    return (
        torch.is_grad_enabled()
        and not torch.compiler.is_compiling()
        and all(x.device.type == "cpu" for x in tensors)
        and any(x.requires_grad for x in tensors)
        and not torch.is_autocast_enabled("cpu")
    )


class Part(NamedTuple):
    """Sequences that are computed together.

    Parameters
    ----------
    modalities : slice
        Whose they are; of each as many.
    rows : slice or Tensor
        Which of the m B sequences.
    packed : slice
        Where they stand once the others are left out.
    tokens : Tensor of shape (n, t) or None
        Which of the N T tokens are computed, where not all are.
    """

    modalities: slice
    rows: slice | Tensor
    packed: slice
    tokens: Tensor | None = None

    @property
    def source(self) -> slice | Tensor:
        """What :func:`take` takes of the input."""
        return self.rows if self.tokens is None else self.tokens

    @property
    def target(self) -> slice | Tensor:
        """Where the output goes."""
        return self.packed if self.tokens is None else self.tokens


def split(available: Tensor, *, skip: bool) -> list[Part]:
    """Parts of the sequences of which anything is available, or of all.

    Parameters
    ----------
    available : Tensor of shape (m, B, T)
        Bool.
    skip : bool
        Whether sequences of which nothing is available may be left out.

    Returns
    -------
    list of Part
        Some sequences of one modality each, or, where these are few, all of several.
    """
    m, batch, n_tokens = available.shape
    n_each = max(1, _N_TOKENS // max(1, n_tokens))
    if n_each >= batch:
        step = n_each // max(1, batch)
        runs = [slice(i * batch, min(i + step, m) * batch) for i in range(0, m, step)]
        return [
            Part(slice(i, i + step), run, run)
            for i, run in zip(range(0, m, step), runs, strict=True)
        ]
    parts, first = [], 0
    for i, there in enumerate(available.any(-1)):
        whole = not skip or bool(there.all())
        rows = torch.arange(batch) if whole else there.nonzero()[:, 0]
        for some in (rows + i * batch).split(n_each):
            last = first + len(some)
            run = slice(int(some[0]), int(some[-1]) + 1) if whole else some
            parts.append(Part(slice(i, i + 1), run, slice(first, last)))
            first = last
    return parts


def split_tokens(available: Tensor) -> list[Part]:
    """Parts of samples with about as many available tokens, which alone are computed.

    Parameters
    ----------
    available : Tensor of shape (B, T)
        Bool.

    Returns
    -------
    list of Part
        All samples; in each part as many tokens as any sample of it has.
    """
    batch, n_tokens = available.shape
    counts = available.sum(1)
    available_first = torch.where(available, 0, 1).argsort(stable=True, dim=1)
    available_first += n_tokens * torch.arange(batch).unsqueeze(1)
    n_each = max(1, _N_TOKENS // max(1, int(counts.sum()) // max(1, batch)))
    parts, first = [], 0
    for rows in counts.argsort(stable=True).split(n_each):
        n_most = max(1, int(counts[rows].max()))
        last = first + len(rows)
        parts.append(Part(slice(0, 1), rows, slice(first, last), available_first[rows, :n_most]))
        first = last
    return parts


def take(x: Tensor, rows: slice | Tensor) -> Tensor:
    """Some rows ``(n, ...)`` of x, or tokens ``(n, t, ...)`` of all its rows."""
    if isinstance(rows, slice):
        return x[rows]
    if rows.dim() == 2:
        return x.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
    return x.index_select(0, rows)


def put(out: Tensor, rows: slice | Tensor, y: Tensor) -> None:
    """Write ``y`` where :func:`take` would take it from."""
    if isinstance(rows, slice):
        out[rows] = y
    elif rows.dim() == 2:
        out.view(-1, out.shape[-1]).index_copy_(0, rows.flatten(), y.flatten(0, 1))
    else:
        out.index_copy_(0, rows, y)


def blank(shape: torch.Size, like: Tensor, parts: list[Part]) -> Tensor:
    """Memory for all sequences, which the parts fill; 0 if anything is left out."""
    if n_packed(parts) == shape[0] and all(part.tokens is None for part in parts):
        return like.new_empty(shape)
    return like.new_zeros(shape)


def n_packed(parts: list[Part]) -> int:
    """Sequences that are in any part."""
    return parts[-1].packed.stop if parts else 0


def norm(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Layer norm without scale and shift, and what its backward pass needs.

    Half of the time of ``torch.native_layer_norm`` at the widths of tokens.
    """
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    rstd = (centred * centred).mean(-1, keepdim=True).add_(1e-5).rsqrt_()
    return centred.mul_(rstd), mean, rstd


def normal_again(x: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """The same again, from its moments."""
    return (x - mean).mul_(rstd)


def norm_backward(gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """Gradient of the input of :func:`norm`."""
    only_x = [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(
        gradient, x, x.shape[-1:], mean, rstd, None, None, only_x
    )[0]


def add_kept(out: Tensor, x: Tensor, y: Tensor, mask: Mask | None, rows: slice | Tensor) -> None:
    """``out = x + y``, where ``y`` is kept; its scale is in the weights already."""
    y = y.view_as(x)
    if mask is None:
        torch.add(x, y, out=out)
    else:
        torch.addcmul(x, y, mask.kept(take(mask.draws, rows), y.dtype), out=out)


def kept_of(gradient: Tensor, mask: Mask | None, rows: slice | Tensor) -> Tensor:
    if mask is None:
        return gradient
    return gradient * mask.kept(take(mask.draws, rows), gradient.dtype)


def portions(x: Tensor) -> tuple[Tensor, ...]:
    """Entries of a list, as many at a time as a part has tokens."""
    return x.split(_N_TOKENS)


def unpack(x: Tensor, n_sequences: int, parts: list[Part]) -> Tensor:
    """All N sequences ``(N, T, D)``, 0 for those that are in no part.

    Parameters
    ----------
    x : Tensor of shape (P, T, D)
        The sequences of the parts.
    n_sequences : int
        N.
    parts : list of Part
        See :func:`split`.

    Returns
    -------
    Tensor of shape (N, T, D)
        Tokens.
    """
    if n_packed(parts) == n_sequences:
        return x
    every = torch.arange(n_sequences)
    rows = torch.cat([every[part.rows] for part in parts] or [every[:0]])
    return x.new_zeros((n_sequences, *x.shape[1:])).index_copy(0, rows, x)
