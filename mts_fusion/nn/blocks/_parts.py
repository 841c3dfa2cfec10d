"""Layers whose training takes less memory and time: in parts that fit the cache, computed twice.

Each function gives the numbers of a few plain operations, named in its docstring, and saves for the
backward pass little more than its input. Both passes go over the tokens in parts: what comes
between input and output of a part stays in the cache, and the backward pass computes it again. On
a CPU that costs less than writing it to memory and reading it back.

Sizes: m modalities, B batch, T tokens, D width, H heads, d width of a head, N = m B sequences,
K queries that may attend, S sampled keys, F hidden width.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mts_fusion.nn.blocks._attention import Plan, rank_queries
from mts_fusion.nn.blocks._random import Mask

__all__ = [
    "attend_in_parts",
    "distil_in_parts",
    "experts_in_parts",
    "feed_forward_in_parts",
    "worth",
]

# Tokens of a part. On one core, products of 4096 or 8192 tokens (width 64) reach 100 GMAC/s; of
# 81920, of which the output is fresh memory, 30.
_N_TOKENS = 4096

_Place = tuple[slice, slice]


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


def _places(m: int, batch: int, n_tokens: int) -> Iterator[_Place]:
    """Parts of ``(m, B, T)``: some sequences of one modality, or several modalities. No copies."""
    n_each = max(1, _N_TOKENS // max(1, n_tokens))
    if n_each < batch:
        for i in range(m):
            for first in range(0, batch, n_each):
                yield slice(i, i + 1), slice(first, first + n_each)
    else:
        step = n_each // max(1, batch)
        for i in range(0, m, step):
            yield slice(i, i + step), slice(None)


def _rows(x: Tensor) -> Tensor:
    """``(m, b, T, W)`` as ``(m, b T, W)``."""
    return x.flatten(1, 2)


def _norm(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Layer norm without scale and shift, and what its backward pass needs."""
    return torch.native_layer_norm(x, x.shape[-1:], None, None, 1e-5)


def _norm_backward(gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    only_x = [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(
        gradient, x, x.shape[-1:], mean, rstd, None, None, only_x
    )[0]


def _add(out: Tensor, x: Tensor, y: Tensor, mask: Mask | None, place: _Place) -> None:
    """``out = x + y``, where ``y`` is kept; its scale is in the weights already."""
    if mask is None:
        torch.add(x, y, out=out)
    else:
        torch.addcmul(x, y, mask.part(place, y.dtype), out=out)


def _kept(gradient: Tensor, mask: Mask | None, place: _Place) -> Tensor:
    return gradient if mask is None else gradient * mask.part(place, gradient.dtype)


class _Core:
    """Attention of a part between its projections: ``qkv (n, T, 3 D)`` to ``out (n, T, D)``."""

    def __init__(self, qkv: Tensor, observed: Tensor, n_heads: int) -> None:
        n, n_tokens, width = qkv.shape
        split = qkv.view(n, n_tokens, 3, n_heads, width // (3 * n_heads))
        self.q, self.k, self.v = split.permute(2, 0, 3, 1, 4).contiguous().unbind(0)
        self.scale = self.q.shape[-1] ** -0.5
        self.observed = observed
        share = observed / observed.sum(1, keepdim=True).clamp(min=1)
        self.share = share.to(qkv.dtype)[:, None, :, None]  # (n, 1, T, 1)

    def attend(self, top: Tensor, gate: Tensor) -> Tensor:
        """Attention of the queries at ``top (n, H, K)``, the mean of the values elsewhere."""
        n, n_heads, n_tokens, d_head = self.v.shape
        self.index = top.unsqueeze(-1).expand(-1, -1, -1, d_head)
        self.gate = gate[:, None, : top.shape[2], None]
        self.mean = self.share.transpose(2, 3) @ self.v  # (n, H, 1, d)
        self.picked = (self.q.gather(2, self.index) * self.scale).flatten(0, 1)
        scores = torch.bmm(self.picked, self.k.flatten(0, 1).transpose(1, 2))  # (n H, K, T)
        # Nothing attends in a sequence of which nothing is observed: its gate is 0.
        hidden = ~self.observed & self.observed.any(1, keepdim=True)
        if hidden.any():
            bias = torch.zeros_like(self.share).masked_fill(hidden[:, None, :, None], -math.inf)
            scores.view(n, n_heads, -1, n_tokens).add_(bias.transpose(2, 3))
        self.weight = torch.softmax(scores, -1)
        attended = torch.bmm(self.weight, self.v.flatten(0, 1))
        self.extra = attended.view(n, n_heads, -1, d_head) - self.mean
        out = self.mean.transpose(1, 2).repeat(1, n_tokens, 1, 1)  # (n, T, H, d)
        out.transpose(1, 2).scatter_(2, self.index, self.mean + self.gate * self.extra)
        return out.flatten(2)

    def backward(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of ``qkv`` and of the gate, behind :meth:`attend`."""
        n, n_heads, n_tokens, d_head = self.v.shape
        gradient = gradient.view(n, n_tokens, n_heads, d_head).transpose(1, 2)
        of_mixed = gradient.gather(2, self.index)
        of_gate = (of_mixed * self.extra).sum((1, 3))
        of_attended = of_mixed * self.gate
        of_mean = gradient.sum(2, keepdim=True) - of_attended.sum(2, keepdim=True)
        flat = of_attended.flatten(0, 1)
        of_qkv = gradient.new_zeros((3, n * n_heads, n_tokens, d_head))
        torch.bmm(self.weight.transpose(1, 2), flat, out=of_qkv[2])
        of_qkv[2].view_as(self.v).addcmul_(self.share, of_mean)
        of_weight = torch.bmm(flat, self.v.flatten(0, 1).transpose(1, 2))
        of_scores = torch.ops.aten._softmax_backward_data(
            of_weight, self.weight, -1, of_weight.dtype
        )
        torch.bmm(of_scores.transpose(1, 2), self.picked, out=of_qkv[1])
        of_picked = torch.bmm(of_scores, self.k.flatten(0, 1)).mul_(self.scale)
        of_qkv[0].view_as(self.q).scatter_(2, self.index, of_picked.view_as(self.extra))
        together = of_qkv.view(3, n, n_heads, n_tokens, d_head).permute(1, 3, 0, 2, 4)
        return together.reshape(n, n_tokens, -1), of_gate


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gate: Tensor,
        w_qkv: Tensor,
        w_out: Tensor,
        available: Tensor,
        position: Tensor,
        share: Tensor,
        n_queries: Tensor,
        mask: Mask | None,
        n_heads: int,
    ) -> Tensor:
        m, batch, n_tokens, _ = x.shape
        w_scaled = w_out if mask is None else w_out * mask.scale
        out = torch.empty_like(x)
        tops = []
        for place in _places(m, batch, n_tokens):
            part, seen = x[place], available[place].flatten(0, 1)
            qkv = torch.bmm(_rows(_norm(part)[0]), w_qkv[place[0]])
            core = _Core(qkv.view(seen.shape[0], n_tokens, -1), seen, n_heads)
            drawn = position[place].flatten(0, 1), share[place].flatten(0, 1)
            # Queries for which no sample of the part has a budget are not computed.
            n_ranks = min(gate.shape[-1], int(n_queries[place].max()) + 1)
            tops.append(rank_queries(core.q, core.k, seen, n_ranks, *drawn))
            mixed = core.attend(tops[-1], gate[place].flatten(0, 1)).view_as(part)
            _add(
                out[place],
                part,
                torch.bmm(_rows(mixed), w_scaled[place[0]]).view_as(part),
                mask,
                place,
            )
        ctx.save_for_backward(x, gate, w_qkv, w_scaled, available, *tops)
        ctx.mask, ctx.n_heads = mask, n_heads
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gate, w_qkv, w_out, available, *tops = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_x, of_gate = torch.empty_like(x), torch.zeros_like(gate)
        of_qkv, of_out = torch.zeros_like(w_qkv), torch.zeros_like(w_out)
        n_tokens = x.shape[2]
        for place, top in zip(_places(*x.shape[:3]), tops, strict=True):
            ms, part, seen = place[0], x[place], available[place].flatten(0, 1)
            normal, mean, rstd = _norm(part)
            normal = _rows(normal)
            qkv = torch.bmm(normal, w_qkv[ms]).view(seen.shape[0], n_tokens, -1)
            core = _Core(qkv, seen, ctx.n_heads)
            mixed = core.attend(top, gate[place].flatten(0, 1))
            g = _rows(_kept(gradient[place], ctx.mask, place))
            of_out[ms].baddbmm_(mixed.view_as(g).transpose(1, 2), g)
            of_mixed = torch.bmm(g, w_out[ms].transpose(1, 2)).view_as(mixed)
            g, of_part_gate = core.backward(of_mixed)
            of_part_gate = of_part_gate.unflatten(0, part.shape[:2])
            of_gate[(*place, slice(of_part_gate.shape[-1]))] = of_part_gate
            g = g.view(*normal.shape[:2], -1)
            of_qkv[ms].baddbmm_(normal.transpose(1, 2), g)
            of_normal = torch.bmm(g, w_qkv[ms].transpose(1, 2)).view_as(part)
            torch.add(gradient[place], _norm_backward(of_normal, part, mean, rstd), out=of_x[place])
        if ctx.mask is not None:
            of_out.mul_(ctx.mask.scale)
        return of_x, of_gate, of_qkv, of_out, None, None, None, None, None, None


def attend_in_parts(
    x: Tensor,
    w_qkv: Tensor,
    w_out: Tensor,
    available: Tensor,
    plan: Plan,
    mask: Mask | None,
    n_heads: int,
) -> Tensor:
    """``x + dropout(budgeted_attend(norm(x) w_qkv) w_out)``.

    Parameters
    ----------
    x : Tensor of shape (m, B, T, D)
        Tokens.
    w_qkv, w_out : Tensor of shape (m, D, 3 D), (m, D, D)
        Weights.
    available : Tensor of shape (m, B, T)
        Bool.
    plan : Plan
        How many queries attend, and by which keys they are picked.
    mask : Mask or None
        Of the dropout.
    n_heads : int
        H.

    Returns
    -------
    Tensor of shape (m, B, T, D)
        What is not available holds anything finite.
    """
    n_queries, gate, position, share = (part.unflatten(0, x.shape[:2]) for part in plan)
    result: Tensor = _Attention.apply(
        x.contiguous(),
        gate.to(x.dtype),
        w_qkv,
        w_out,
        available,
        position,
        share,
        n_queries.detach(),
        mask,
        n_heads,
    )
    return result


class _FeedForward(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        w_in: Tensor,
        bias: Tensor,
        w_out: Tensor,
        mask: Mask | None,
    ) -> Tensor:
        w_scaled = w_out if mask is None else w_out * mask.scale
        out = torch.empty_like(x)
        for place in _places(*x.shape[:3]):
            part, ms = x[place], place[0]
            hidden = torch.baddbmm(bias[ms], _rows(_norm(part)[0]), w_in[ms]).relu_()
            _add(out[place], part, torch.bmm(hidden, w_scaled[ms]).view_as(part), mask, place)
        ctx.save_for_backward(x, w_in, bias, w_scaled)
        ctx.mask = mask
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, w_in, bias, w_out = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_x = torch.empty_like(x)
        of_in, of_bias, of_out = (torch.zeros_like(w) for w in (w_in, bias, w_out))
        for place in _places(*x.shape[:3]):
            part, ms = x[place], place[0]
            normal, mean, rstd = _norm(part)
            normal = _rows(normal)
            hidden = torch.baddbmm(bias[ms], normal, w_in[ms]).relu_()
            g = _rows(_kept(gradient[place], ctx.mask, place))
            of_out[ms].baddbmm_(hidden.transpose(1, 2), g)
            g = torch.bmm(g, w_out[ms].transpose(1, 2))
            g = torch.ops.aten.threshold_backward(g, hidden, 0)
            of_in[ms].baddbmm_(normal.transpose(1, 2), g)
            of_bias[ms] += g.sum(1, keepdim=True)
            of_normal = torch.bmm(g, w_in[ms].transpose(1, 2)).view_as(part)
            torch.add(gradient[place], _norm_backward(of_normal, part, mean, rstd), out=of_x[place])
        if ctx.mask is not None:
            of_out.mul_(ctx.mask.scale)
        return of_x, of_in, of_bias, of_out, None


def feed_forward_in_parts(
    x: Tensor, w_in: Tensor, bias: Tensor, w_out: Tensor, mask: Mask | None
) -> Tensor:
    """``x + dropout(relu(norm(x) w_in + bias) w_out)``.

    Parameters
    ----------
    x : Tensor of shape (m, B, T, D)
        Tokens.
    w_in, bias, w_out : Tensor of shape (m, D, F), (m, 1, F), (m, F, D)
        Weights.
    mask : Mask or None
        Of the dropout.

    Returns
    -------
    Tensor of shape (m, B, T, D)
        Tokens.
    """
    result: Tensor = _FeedForward.apply(x.contiguous(), w_in, bias, w_out, mask)
    return result


class _Distil(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, available: Tensor) -> Tensor:
        m, batch, n_tokens, width = x.shape
        out = x.new_empty((m, batch, n_tokens // 2, width))
        for place in _places(m, batch, n_tokens):
            pairs, both = _visible(x[place], available[place])
            normal = _rows(_norm(pairs)[0].flatten(-2))
            first, second = pairs.unbind(-2)
            peak = torch.where(both, torch.maximum(first, second), first + second)
            torch.add(peak, torch.bmm(normal, weight[place[0]]).view_as(peak), out=out[place])
        ctx.save_for_backward(x, weight, available)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, weight, available = ctx.saved_tensors
        gradient = gradient.contiguous()
        of_x, of_weight = torch.empty_like(x), torch.zeros_like(weight)
        for place in _places(*x.shape[:3]):
            ms, g = place[0], gradient[place]
            pairs, both = _visible(x[place], available[place])
            normal, mean, rstd = _norm(pairs)
            normal = _rows(normal.flatten(-2))
            of_weight[ms].baddbmm_(normal.transpose(1, 2), _rows(g))
            of_normal = torch.bmm(_rows(g), weight[ms].transpose(1, 2)).view_as(pairs)
            of_pairs = _norm_backward(of_normal, pairs, mean, rstd)
            first, second = pairs.unbind(-2)
            # The larger of two takes the gradient; where one is not there, the other takes it.
            wins = (first >= second).to(g.dtype)
            both = both.to(g.dtype)
            of_pairs[..., 0, :].addcmul_(g, 1 - both * (1 - wins))
            of_pairs[..., 1, :].addcmul_(g, 1 - both * wins)
            there = available[place].unsqueeze(-1).to(g.dtype)
            torch.mul(of_pairs.flatten(2, 3), there, out=of_x[place])
        return of_x, of_weight, None


def _visible(x: Tensor, available: Tensor) -> tuple[Tensor, Tensor]:
    """Pairs ``(m, b, T / 2, 2, D)`` with 0 for what is not available; where both of two are."""
    there = available.unsqueeze(-1)
    pairs = (x * there.to(x.dtype)).unflatten(2, (-1, 2))
    return pairs, there.unflatten(2, (-1, 2)).all(3)


def distil_in_parts(x: Tensor, weight: Tensor, available: Tensor) -> Tensor:
    """``norm(pairs) weight + max(pairs)``, see :class:`Distilling`.

    Parameters
    ----------
    x : Tensor of shape (m, B, T, D)
        An even number of tokens.
    weight : Tensor of shape (m, 2 D, D)
        Of the convolution.
    available : Tensor of shape (m, B, T)
        Bool.

    Returns
    -------
    Tensor of shape (m, B, T / 2, D)
        Tokens.
    """
    result: Tensor = _Distil.apply(x.contiguous(), weight, available)
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
    ) -> Tensor:
        k = expert.shape[1]
        ctx.parts = _sorted(expert, w_in.shape[0])
        out = torch.zeros_like(tokens) if k > 1 else torch.empty_like(tokens)
        for e, choices in ctx.parts:
            rows = choices // k if k > 1 else choices
            hidden = torch.addmm(bias[e], tokens[rows], w_in[e]).relu_()
            y = (hidden @ w_out[e]).mul_(weight.view(-1, 1)[choices])
            out.index_add_(0, rows, y) if k > 1 else out.index_copy_(0, rows, y)
        ctx.save_for_backward(tokens, weight, w_in, bias, w_out)
        ctx.k = k
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        tokens, weight, w_in, bias, w_out = ctx.saved_tensors
        of_tokens, of_weight = torch.zeros_like(tokens), torch.empty_like(weight)
        of_in, of_bias, of_out = (torch.zeros_like(w) for w in (w_in, bias, w_out))
        for e, choices in ctx.parts:
            rows = choices // ctx.k if ctx.k > 1 else choices
            part, share = tokens[rows], weight.view(-1, 1)[choices]
            hidden = torch.addmm(bias[e], part, w_in[e]).relu_()
            g = gradient[rows]
            of_hidden = g @ w_out[e].T
            of_weight.view(-1)[choices] = (of_hidden * hidden).sum(1)
            of_out[e].addmm_(hidden.T, g.mul_(share))
            of_hidden = torch.ops.aten.threshold_backward(of_hidden.mul_(share), hidden, 0)
            of_in[e].addmm_(part.T, of_hidden)
            of_bias[e] += of_hidden.sum(0)
            of_tokens.index_add_(0, rows, of_hidden @ w_in[e].T)
        return of_tokens, of_weight, of_in, of_bias, of_out, None


def _sorted(expert: Tensor, n_experts: int) -> list[tuple[int, Tensor]]:
    """Choices of each expert, in parts."""
    choice = expert.flatten()
    counts = torch.bincount(choice, minlength=n_experts).tolist()
    of_experts = choice.argsort(stable=True).split(counts)
    return [
        (e, part)
        for e, choices in enumerate(of_experts)
        for part in choices.split(_N_TOKENS)
        if len(part)
    ]


def experts_in_parts(
    tokens: Tensor, weight: Tensor, w_in: Tensor, bias: Tensor, w_out: Tensor, expert: Tensor
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

    Returns
    -------
    Tensor of shape (n, D)
        Tokens.
    """
    result: Tensor = _Experts.apply(tokens.contiguous(), weight, w_in, bias, w_out, expert)
    return result
