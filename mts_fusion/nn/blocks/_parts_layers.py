"""Feed-forward layers, distilling and experts, trained in parts: see ``_parts.py``.

Sizes: m modalities, B batch, T tokens, D width, N = m B sequences, F hidden width, E experts.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mts_fusion.nn.blocks._parts import (
    Part,
    add_kept,
    blank,
    kept_of,
    norm,
    norm_backward,
    normal_again,
    portions,
    put,
    take,
)
from mts_fusion.nn.blocks._random import Mask

__all__ = ["distil_in_parts", "experts_in_parts", "feed_forward_in_parts"]


def _of(part: Part, x: Tensor, n_modalities: int) -> Tensor:
    """Sequences ``(n, T, W)`` of a part as ``(m, n / m T, W)``, to be multiplied by weights."""
    m = len(range(n_modalities)[part.modalities])
    return x.reshape(m, -1, x.shape[-1])


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w_in: Tensor,
        bias: Tensor,
        w_out: Tensor,
        parts: list[Part],
        mask: Mask | None,
    ) -> Tensor:
        w_scaled = w_out if mask is None else w_out * mask.scale
        out = torch.empty_like(x)
        mean, rstd = (x.new_empty((*x.shape[:2], 1)) for _ in range(2))
        for part in parts:
            ms, rows, packed, _ = part
            tokens = x[packed]
            normal, mean[packed], rstd[packed] = norm(tokens)
            normal = _of(part, normal, len(w_in))
            hidden = torch.baddbmm(bias[ms], normal, w_in[ms]).relu_()
            add_kept(out[packed], tokens, torch.bmm(hidden, w_scaled[ms]), mask, rows)
        ctx.save_for_backward(x, w_in, bias, w_scaled, mean, rstd)
        ctx.parts, ctx.mask = parts, mask
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, w_in, bias, w_out, mean, rstd = ctx.saved_tensors
        of_x = torch.empty_like(x)
        of_in, of_bias, of_out = (torch.zeros_like(w) for w in (w_in, bias, w_out))
        for part in ctx.parts:
            ms, rows, packed, _ = part
            tokens, kept = x[packed], gradient[packed]
            moments = mean[packed], rstd[packed]
            normal = _of(part, normal_again(tokens, *moments), len(w_in))
            hidden = torch.baddbmm(bias[ms], normal, w_in[ms]).relu_()
            g = _of(part, kept_of(kept, ctx.mask, rows), len(w_in))
            of_out[ms].baddbmm_(hidden.transpose(1, 2), g)
            g = torch.bmm(g, w_out[ms].transpose(1, 2))
            g = torch.ops.aten.threshold_backward(g, hidden, 0)
            of_in[ms].baddbmm_(normal.transpose(1, 2), g)
            of_bias[ms] += g.sum(1, keepdim=True)
            of_normal = torch.bmm(g, w_in[ms].transpose(1, 2)).view_as(tokens)
            of_tokens = norm_backward(of_normal, tokens, *moments)
            torch.add(of_tokens, kept, out=of_x[packed])
        if ctx.mask is not None:
            of_out.mul_(ctx.mask.scale)
        return of_x, of_in, of_bias, of_out, None, None


def feed_forward_in_parts(
    x: Tensor, w_in: Tensor, bias: Tensor, w_out: Tensor, parts: list[Part], mask: Mask | None
) -> Tensor:
    """``x + dropout(relu(norm(x) w_in + bias) w_out)``.

    Parameters
    ----------
    x : Tensor of shape (P, T, D)
        Tokens of the sequences of the parts.
    w_in, bias, w_out : Tensor of shape (m, D, F), (m, 1, F), (m, F, D)
        Weights.
    parts : list of Part
        See :func:`split`.
    mask : Mask or None
        Of the dropout, ``(N, T, D)``.

    Returns
    -------
    Tensor of shape (P, T, D)
        Tokens.
    """
    result: Tensor = _FeedForward.apply(x.contiguous(), w_in, bias, w_out, parts, mask)
    return result


class _Distil(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, x: Tensor, weight: Tensor, available: Tensor, parts: list[Part]
    ) -> Tensor:
        _, n_tokens, width = x.shape
        out = blank(torch.Size((len(available), n_tokens // 2, width)), x, parts)
        for part in parts:
            ms, rows, packed, _ = part
            pairs, both = _visible(x[packed], take(available, rows))
            normal = _of(part, norm(pairs)[0].flatten(-2), len(weight))
            first, second = pairs.unbind(-2)
            peak = torch.where(both, torch.maximum(first, second), first + second)
            put(out, rows, peak.add_(torch.bmm(normal, weight[ms]).view_as(peak)))
        ctx.save_for_backward(x, weight, available)
        ctx.parts = parts
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, available = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_x, of_weight = torch.empty_like(x), torch.zeros_like(weight)
        for part in ctx.parts:
            ms, rows, packed, _ = part
            g, seen = take(gradient, rows), take(available, rows)
            pairs, whole = _visible(x[packed], seen)
            normal, mean, rstd = norm(pairs)
            normal, flat = (_of(part, y, len(weight)) for y in (normal.flatten(-2), g))
            of_weight[ms].baddbmm_(normal.transpose(1, 2), flat)
            of_normal = torch.bmm(flat, weight[ms].transpose(1, 2)).view_as(pairs)
            of_pairs = norm_backward(of_normal, pairs, mean, rstd)
            first, second = pairs.unbind(-2)
            # The larger of two takes the gradient; where one is not there, the other takes it.
            wins = (first >= second).to(g.dtype)
            both = whole.to(g.dtype)
            of_pairs[..., 0, :].addcmul_(g, 1 - both * (1 - wins))
            of_pairs[..., 1, :].addcmul_(g, 1 - both * wins)
            there = seen.unsqueeze(-1).to(g.dtype)
            torch.mul(of_pairs.flatten(1, 2), there, out=of_x[packed])
        return of_x, of_weight, None, None


def _visible(x: Tensor, available: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs ``(n, T / 2, 2, D)`` with 0 for what is not available; where both of two are."""
    there = available.unsqueeze(-1)
    pairs = (x * there.to(x.dtype)).unflatten(1, (-1, 2))
    return pairs, there.unflatten(1, (-1, 2)).all(2)


def distil_in_parts(x: Tensor, weight: Tensor, available: Tensor, parts: list[Part]) -> Tensor:
    """``norm(pairs) weight + max(pairs)``, see :class:`Distilling`.

    Parameters
    ----------
    x : Tensor of shape (P, T, D)
        An even number of tokens, of the sequences of the parts.
    weight : Tensor of shape (m, 2 D, D)
        Of the convolution.
    available : Tensor of shape (N, T)
        Bool.
    parts : list of Part
        See :func:`split`.

    Returns
    -------
    Tensor of shape (N, T / 2, D)
        Tokens; 0 for sequences that are in no part.
    """
    result: Tensor = _Distil.apply(x.contiguous(), weight, available, parts)
    return result


class _Experts(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        tokens: Tensor,
        weight: Tensor,
        w_in: Tensor,
        bias: Tensor,
        w_out: Tensor,
        expert: Tensor,
        available: Tensor,
    ) -> Tensor:
        k = expert.shape[1]
        ctx.parts = _sorted(expert, available, w_in.shape[0])
        out = torch.zeros_like(tokens)
        for e, choices in ctx.parts:
            rows = choices // k if k > 1 else choices
            hidden = torch.addmm(bias[e], tokens.index_select(0, rows), w_in[e]).relu_()
            y = (hidden @ w_out[e]).mul_(weight.view(-1, 1).index_select(0, choices))
            out.index_add_(0, rows, y) if k > 1 else out.index_copy_(0, rows, y)
        ctx.save_for_backward(tokens, weight, w_in, bias, w_out)
        ctx.k = k
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tokens, weight, w_in, bias, w_out = ctx.saved_tensors
        of_tokens, of_weight = torch.zeros_like(tokens), torch.zeros_like(weight)
        of_in, of_bias, of_out = (torch.zeros_like(w) for w in (w_in, bias, w_out))
        for e, choices in ctx.parts:
            rows = choices // ctx.k if ctx.k > 1 else choices
            part = tokens.index_select(0, rows)
            share = weight.view(-1, 1).index_select(0, choices)
            hidden = torch.addmm(bias[e], part, w_in[e]).relu_()
            g = gradient.index_select(0, rows)
            of_hidden = g @ w_out[e].T
            of_weight.view(-1)[choices] = (of_hidden * hidden).sum(1)
            of_out[e].addmm_(hidden.T, g.mul_(share))
            of_hidden = torch.ops.aten.threshold_backward(of_hidden.mul_(share), hidden, 0)
            of_in[e].addmm_(part.T, of_hidden)
            of_bias[e] += of_hidden.sum(0)
            of_tokens.index_add_(0, rows, of_hidden @ w_in[e].T)
        return of_tokens, of_weight, of_in, of_bias, of_out, None, None


def _sorted(expert: Tensor, available: Tensor, n_experts: int) -> list[tuple[int, Tensor]]:
    """Choices of each expert, in parts; those of tokens that are not available come last."""
    choice = torch.where(available.unsqueeze(1), expert, n_experts).flatten()
    counts = torch.bincount(choice, minlength=n_experts + 1).tolist()
    of_experts = choice.argsort(stable=True).split(counts)
    return [
        (e, part)
        for e, choices in enumerate(of_experts[:n_experts])
        for part in portions(choices)
        if len(part)
    ]


def experts_in_parts(
    tokens: Tensor,
    weight: Tensor,
    w_in: Tensor,
    bias: Tensor,
    w_out: Tensor,
    expert: Tensor,
    available: Tensor,
) -> Tensor:
    """``sum_k weight_k relu(tokens w_in[e_k] + bias[e_k]) w_out[e_k]``, sorted by expert.

    Parameters
    ----------
    tokens : Tensor of shape (n, D)
        Tokens.
    weight : Tensor of shape (n, k)
        Of the experts chosen.
    w_in, bias, w_out : Tensor of shape (E, D, F), (E, 1, F), (E, F, D)
        Weights of the experts.
    expert : Tensor of shape (n, k)
        int64.
    available : Tensor of shape (n,)
        Bool; the others pass through no expert.

    Returns
    -------
    Tensor of shape (n, D)
        Tokens; 0 where they are not available.
    """
    result: Tensor = _Experts.apply(
        tokens.contiguous(), weight, w_in, bias, w_out, expert, available
    )
    return result
