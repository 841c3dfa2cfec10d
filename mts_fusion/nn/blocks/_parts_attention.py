"""Attention within a budget, trained in parts: see ``_parts.py``.

Sizes: m modalities, B batch, T tokens, D width, H heads, d width of a head, N = m B sequences,
n of them in a part, K queries that may attend, S sampled keys.
"""

from __future__ import annotations

import math
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mts_fusion.nn.blocks._attention import Plan, rank_queries
from mts_fusion.nn.blocks._parts import (
    Part,
    add_kept,
    blank,
    kept_of,
    n_packed,
    norm,
    norm_backward,
    normal_again,
    put,
    take,
)
from mts_fusion.nn.blocks._random import Mask

__all__ = ["attend_in_parts"]


def _columns(x: Tensor, w: Tensor) -> Tensor:
    """Tokens ``(n, T, D)`` times ``w (m, D, E)``, written as ``(n, E, T)``."""
    if len(w) == 1:
        return torch.bmm(w.transpose(1, 2).expand(len(x), -1, -1), x.transpose(1, 2))
    y = torch.bmm(x.reshape(len(w), -1, x.shape[-1]), w)
    return y.view(*x.shape[:2], -1).transpose(1, 2).contiguous()


def _rows(y: Tensor, w: Tensor) -> Tensor:
    """Columns ``(n, E, T)`` times ``w (m, E, D)``, as tokens ``(n, T, D)``."""
    n, width, n_tokens = y.shape
    y = y.transpose(1, 2)
    if len(w) == 1:
        return torch.bmm(y, w.expand(n, -1, -1))
    return torch.bmm(y.reshape(len(w), -1, width), w).view(n, n_tokens, -1)


def _add_products(out: Tensor, x: Tensor, y: Tensor) -> None:
    """Add to ``out (m, D, E)`` the products of ``x (n, D, T)`` and ``y (n, T, E)`` over tokens."""
    if len(out) == 1:
        out[0].addbmm_(x, y)
    else:
        x = x.transpose(1, 2).reshape(len(out), -1, x.shape[1])
        out.baddbmm_(x.transpose(1, 2), y.reshape(len(out), -1, y.shape[2]))


class _Core:
    """Attention of a part between its projections: heads ``(3, n, H, d, T)`` to ``(n, D, T)``.

    Timepoints stand last: a product into as few columns as a head is wide takes MKL three times
    as long as one into as many columns as there are tokens.
    """

    def __init__(self, heads: Tensor, observed: Tensor) -> None:
        self.q, self.k, self.v = heads.unbind(0)  # (n, H, d, T)
        self.scale = self.q.shape[2] ** -0.5
        self.observed = observed
        share = observed / observed.sum(1, keepdim=True).clamp(min=1)
        self.share = share.to(heads.dtype)[:, None, None]  # (n, 1, 1, T)

    def rank(self, n_ranks: int, position: Tensor, share: Tensor) -> Tensor:
        """Positions ``(n, H, K)`` of the queries that attend, see :func:`rank_queries`."""
        q, k = self.q.transpose(2, 3), self.k.transpose(2, 3)
        return rank_queries(q, k, self.observed, n_ranks, position, share)

    def pick(self, top: Tensor, gate: Tensor) -> None:
        """Let the queries at ``top (n, H, K)`` attend, with the shares ``gate (n, K)``."""
        self.index = top.unsqueeze(2).expand(-1, -1, self.v.shape[2], -1)
        self.gate = gate[:, None, None, : top.shape[2]]
        self.mean = (self.v * self.share).sum(-1, keepdim=True)  # (n, H, d, 1)
        self.picked = (self.q.gather(3, self.index) * self.scale).flatten(0, 1)  # (n H, d, K)

    def attend(self) -> tuple[Tensor, Tensor]:
        """What the picked queries attend to: weights ``(n H, K, T)``, ``(n H, d, K)``."""
        n, n_heads, _, n_tokens = self.v.shape
        scores = torch.bmm(self.picked.transpose(1, 2), self.k.flatten(0, 1))  # (n H, K, T)
        # Nothing attends in a sequence of which nothing is observed: its gate is 0.
        hidden = ~self.observed & self.observed.any(1, keepdim=True)
        if hidden.any():
            bias = torch.zeros_like(self.share).masked_fill(hidden[:, None, None], -math.inf)
            scores.view(n, n_heads, -1, n_tokens).add_(bias)
        weight = torch.softmax(scores, -1)
        return weight, torch.bmm(self.v.flatten(0, 1), weight.transpose(1, 2))

    def mix(self, weight: Tensor, attended: Tensor) -> Tensor:
        """What :meth:`attend` found for the picked queries, the mean of the values elsewhere."""
        self.weight, self.extra = weight, attended.view_as(self.index) - self.mean
        out = self.mean.expand_as(self.v).contiguous()
        return out.scatter_(3, self.index, self.mean + self.gate * self.extra).flatten(1, 2)

    def backward(self, gradient: Tensor) -> tuple[Tensor, Tensor]:
        """Gradients of ``qkv`` and of the gate, behind :meth:`mix`."""
        gradient = gradient.view_as(self.v)
        of_mixed = gradient.gather(3, self.index)
        of_gate = (of_mixed * self.extra).sum((1, 2))
        of_attended = of_mixed * self.gate
        of_mean = gradient.sum(3, keepdim=True) - of_attended.sum(3, keepdim=True)
        flat = of_attended.flatten(0, 1)
        of_v = torch.bmm(flat, self.weight).view_as(self.v).addcmul_(self.share, of_mean)
        of_weight = torch.bmm(flat.transpose(1, 2), self.v.flatten(0, 1))
        of_scores = torch.ops.aten._softmax_backward_data(
            of_weight, self.weight, -1, of_weight.dtype
        )
        of_k = torch.bmm(self.picked, of_scores).view_as(self.k)
        of_picked = torch.bmm(self.k.flatten(0, 1), of_scores.transpose(1, 2)).mul_(self.scale)
        of_q = torch.zeros_like(self.q).scatter_(3, self.index, of_picked.view_as(self.extra))
        return torch.stack([of_q, of_k, of_v], 1).flatten(1, 3), of_gate


def _heads(qkv: Tensor, n_heads: int) -> Tensor:
    """``(n, 3 D, T)`` as ``(3, n, H, d, T)``."""
    return qkv.unflatten(1, (3, n_heads, -1)).transpose(0, 1).contiguous()


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any,
        x: Tensor,
        gate: Tensor,
        w_qkv: Tensor,
        w_out: Tensor,
        available: Tensor,
        plan: Plan,
        parts: list[Part],
        mask: Mask | None,
        n_heads: int,
    ) -> Tensor:
        w_scaled = w_out if mask is None else w_out * mask.scale
        out = blank(torch.Size((n_packed(parts), *x.shape[1:])), x, parts)
        kept: list[Tensor] = []
        for part in parts:
            ms, rows = part.modalities, part.rows
            tokens = take(x, part.source)
            normal, *moments = norm(tokens)
            heads = _heads(_columns(normal, w_qkv[ms]), n_heads)
            core = _Core(heads, take(available, part.source))
            # Queries for which no sample of the part has a budget are not computed.
            n_budgeted = int(take(plan.n_queries, rows).max()) + 1
            n_ranks = min(gate.shape[-1], n_budgeted, tokens.shape[1])
            top = core.rank(n_ranks, take(plan.position, rows), take(plan.share, rows))
            core.pick(top, take(gate, rows))
            attended = core.attend()
            kept += [*moments, heads, top, *attended]
            y = _rows(core.mix(*attended), w_scaled[ms])
            if part.tokens is None:
                add_kept(out[part.packed], tokens, y, mask, rows)
            else:
                add_kept(y, tokens, y, mask, part.tokens)
                put(out, part.tokens, y)
        ctx.save_for_backward(x, gate, w_qkv, w_scaled, available, *kept)
        ctx.parts, ctx.mask = parts, mask
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gate, w_qkv, w_out, available, *kept = ctx.saved_tensors
        of_gate, of_qkv, of_out = (torch.zeros_like(y) for y in (gate, w_qkv, w_out))
        of_x, gradient = blank(x.shape, x, ctx.parts), gradient.contiguous()
        for i, part in enumerate(ctx.parts):
            ms, rows = part.modalities, part.rows
            tokens, past = take(x, part.source), take(gradient, part.target)
            mean, rstd, heads, top, *attended = kept[6 * i : 6 * i + 6]
            core = _Core(heads, take(available, part.source))
            core.pick(top, take(gate, rows))
            g = kept_of(past, ctx.mask, part.source)
            _add_products(of_out[ms], core.mix(*attended), g)
            g, of_ranks = core.backward(_columns(g, w_out[ms].transpose(1, 2)))
            put(of_gate, rows, F.pad(of_ranks, (0, gate.shape[1] - of_ranks.shape[1])))
            normal = normal_again(tokens, mean, rstd)
            _add_products(of_qkv[ms], normal.transpose(1, 2), g.transpose(1, 2))
            of_normal = _rows(g, w_qkv[ms].transpose(1, 2))
            put(of_x, part.source, norm_backward(of_normal, tokens, mean, rstd).add_(past))
        if ctx.mask is not None:
            of_out.mul_(ctx.mask.scale)
        return of_x, of_gate, of_qkv, of_out, None, None, None, None, None


def attend_in_parts(
    x: Tensor,
    w_qkv: Tensor,
    w_out: Tensor,
    available: Tensor,
    plan: Plan,
    parts: list[Part],
    mask: Mask | None,
    n_heads: int,
) -> Tensor:
    """``x + dropout(budgeted_attend(norm(x) w_qkv) w_out)``.

    Parameters
    ----------
    x : Tensor of shape (N, T, D)
        Tokens.
    w_qkv, w_out : Tensor of shape (m, D, 3 D), (m, D, D)
        Weights.
    available : Tensor of shape (N, T)
        Bool.
    plan : Plan
        How many queries attend, and by which keys they are picked.
    parts : list of Part
        See :func:`split`.
    mask : Mask or None
        Of the dropout, ``(N, T, D)``.
    n_heads : int
        H.

    Returns
    -------
    Tensor of shape (P, T, D)
        Sequences of the parts. What is not available holds anything finite.
    """
    gate = plan.gate.to(x.dtype)
    known = Plan(*(part.detach() for part in plan))
    if any(part.tokens is not None for part in parts):
        nth = (available.cumsum(1) - 1).clamp(min=0)  # where a token stands among the available
        known = known._replace(position=nth.gather(1, known.position))
    result: Tensor = _Attention.apply(
        x.contiguous(), gate, w_qkv, w_out, available, known, parts, mask, n_heads
    )
    return result
