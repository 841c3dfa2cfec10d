"""Layers whose training takes less memory and time: in parts that fit the cache.

Each function gives the numbers of a few plain operations, named in its docstring, and saves for the
backward pass little more than its input. Both passes go over the tokens in parts: what comes
between input and output of a part stays in the cache, and the backward pass computes it again. On
a CPU that costs less than writing it to memory and reading it back; but for the heads and weights
of the attention, which are kept.

Sizes: m modalities, B batch, T tokens, D width, H heads, d width of a head, N = m B sequences,
K queries that may attend, S sampled keys, F hidden width.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from mts_fusion.nn.blocks._attention import Plan, rank_queries
from mts_fusion.nn.blocks._random import Mask

__all__ = [
    "attend_in_parts",
    "distil_in_parts",
    "experts_in_parts",
    "feed_forward_in_parts",
    "split",
    "split_tokens",
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
        """What :func:`_take` takes of the input."""
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


def _take(x: Tensor, rows: slice | Tensor) -> Tensor:
    """Some rows ``(n, ...)`` of x, or tokens ``(n, t, ...)`` of all its rows."""
    if isinstance(rows, slice):
        return x[rows]
    if rows.dim() == 2:
        return x.flatten(0, 1).index_select(0, rows.flatten()).unflatten(0, rows.shape)
    return x.index_select(0, rows)


def _put(out: Tensor, rows: slice | Tensor, y: Tensor) -> None:
    if isinstance(rows, slice):
        out[rows] = y
    elif rows.dim() == 2:
        out.view(-1, out.shape[-1]).index_copy_(0, rows.flatten(), y.flatten(0, 1))
    else:
        out.index_copy_(0, rows, y)


def _blank(shape: torch.Size, like: Tensor, parts: list[Part]) -> Tensor:
    """Memory for all sequences, which the parts fill; 0 if anything is left out."""
    if _n_packed(parts) == shape[0] and all(part.tokens is None for part in parts):
        return like.new_empty(shape)
    return like.new_zeros(shape)


def _n_packed(parts: list[Part]) -> int:
    return parts[-1].packed.stop if parts else 0


def _of(part: Part, x: Tensor, n_modalities: int) -> Tensor:
    """Sequences ``(n, T, W)`` of a part as ``(m, n / m T, W)``, to be multiplied by weights."""
    m = len(range(n_modalities)[part.modalities])
    return x.reshape(m, -1, x.shape[-1])


def _norm(x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Layer norm without scale and shift, and what its backward pass needs.

    Half of the time of ``torch.native_layer_norm`` at the widths of tokens.
    """
    mean = x.mean(-1, keepdim=True)
    centred = x - mean
    rstd = (centred * centred).mean(-1, keepdim=True).add_(1e-5).rsqrt_()
    return centred.mul_(rstd), mean, rstd


def _normal(x: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    """The same again, from its moments."""
    return (x - mean).mul_(rstd)


def _norm_backward(gradient: Tensor, x: Tensor, mean: Tensor, rstd: Tensor) -> Tensor:
    only_x = [True, False, False]
    return torch.ops.aten.native_layer_norm_backward(
        gradient, x, x.shape[-1:], mean, rstd, None, None, only_x
    )[0]


def _add(out: Tensor, x: Tensor, y: Tensor, mask: Mask | None, rows: slice | Tensor) -> None:
    """``out = x + y``, where ``y`` is kept; its scale is in the weights already."""
    y = y.view_as(x)
    if mask is None:
        torch.add(x, y, out=out)
    else:
        torch.addcmul(x, y, mask.kept(_take(mask.draws, rows), y.dtype), out=out)


def _kept(gradient: Tensor, mask: Mask | None, rows: slice | Tensor) -> Tensor:
    if mask is None:
        return gradient
    return gradient * mask.kept(_take(mask.draws, rows), gradient.dtype)


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
        out = _blank(torch.Size((_n_packed(parts), *x.shape[1:])), x, parts)
        kept: list[Tensor] = []
        for part in parts:
            ms, rows = part.modalities, part.rows
            tokens = _take(x, part.source)
            normal, *moments = _norm(tokens)
            heads = _heads(_columns(normal, w_qkv[ms]), n_heads)
            core = _Core(heads, _take(available, part.source))
            # Queries for which no sample of the part has a budget are not computed.
            n_budgeted = int(_take(plan.n_queries, rows).max()) + 1
            n_ranks = min(gate.shape[-1], n_budgeted, tokens.shape[1])
            top = core.rank(n_ranks, _take(plan.position, rows), _take(plan.share, rows))
            core.pick(top, _take(gate, rows))
            attended = core.attend()
            kept += [*moments, heads, top, *attended]
            y = _rows(core.mix(*attended), w_scaled[ms])
            if part.tokens is None:
                _add(out[part.packed], tokens, y, mask, rows)
            else:
                _add(y, tokens, y, mask, part.tokens)
                _put(out, part.tokens, y)
        ctx.save_for_backward(x, gate, w_qkv, w_scaled, available, *kept)
        ctx.parts, ctx.mask = parts, mask
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, ...]:
        x, gate, w_qkv, w_out, available, *kept = ctx.saved_tensors
        of_gate, of_qkv, of_out = (torch.zeros_like(y) for y in (gate, w_qkv, w_out))
        of_x, gradient = _blank(x.shape, x, ctx.parts), gradient.contiguous()
        for i, part in enumerate(ctx.parts):
            ms, rows = part.modalities, part.rows
            tokens, past = _take(x, part.source), _take(gradient, part.target)
            mean, rstd, heads, top, *attended = kept[6 * i : 6 * i + 6]
            core = _Core(heads, _take(available, part.source))
            core.pick(top, _take(gate, rows))
            g = _kept(past, ctx.mask, part.source)
            _add_products(of_out[ms], core.mix(*attended), g)
            g, of_ranks = core.backward(_columns(g, w_out[ms].transpose(1, 2)))
            _put(of_gate, rows, F.pad(of_ranks, (0, gate.shape[1] - of_ranks.shape[1])))
            normal = _normal(tokens, mean, rstd)
            _add_products(of_qkv[ms], normal.transpose(1, 2), g.transpose(1, 2))
            of_normal = _rows(g, w_qkv[ms].transpose(1, 2))
            _put(of_x, part.source, _norm_backward(of_normal, tokens, mean, rstd).add_(past))
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
            normal, mean[packed], rstd[packed] = _norm(tokens)
            normal = _of(part, normal, len(w_in))
            hidden = torch.baddbmm(bias[ms], normal, w_in[ms]).relu_()
            _add(out[packed], tokens, torch.bmm(hidden, w_scaled[ms]), mask, rows)
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
            normal = _of(part, _normal(tokens, *moments), len(w_in))
            hidden = torch.baddbmm(bias[ms], normal, w_in[ms]).relu_()
            g = _of(part, _kept(kept, ctx.mask, rows), len(w_in))
            of_out[ms].baddbmm_(hidden.transpose(1, 2), g)
            g = torch.bmm(g, w_out[ms].transpose(1, 2))
            g = torch.ops.aten.threshold_backward(g, hidden, 0)
            of_in[ms].baddbmm_(normal.transpose(1, 2), g)
            of_bias[ms] += g.sum(1, keepdim=True)
            of_normal = torch.bmm(g, w_in[ms].transpose(1, 2)).view_as(tokens)
            of_tokens = _norm_backward(of_normal, tokens, *moments)
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
        out = _blank(torch.Size((len(available), n_tokens // 2, width)), x, parts)
        for part in parts:
            ms, rows, packed, _ = part
            pairs, both = _visible(x[packed], _take(available, rows))
            normal = _of(part, _norm(pairs)[0].flatten(-2), len(weight))
            first, second = pairs.unbind(-2)
            peak = torch.where(both, torch.maximum(first, second), first + second)
            _put(out, rows, peak.add_(torch.bmm(normal, weight[ms]).view_as(peak)))
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
            g, seen = _take(gradient, rows), _take(available, rows)
            pairs, whole = _visible(x[packed], seen)
            normal, mean, rstd = _norm(pairs)
            normal, flat = (_of(part, y, len(weight)) for y in (normal.flatten(-2), g))
            of_weight[ms].baddbmm_(normal.transpose(1, 2), flat)
            of_normal = torch.bmm(flat, weight[ms].transpose(1, 2)).view_as(pairs)
            of_pairs = _norm_backward(of_normal, pairs, mean, rstd)
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
    if _n_packed(parts) == n_sequences:
        return x
    every = torch.arange(n_sequences)
    rows = torch.cat([every[part.rows] for part in parts] or [every[:0]])
    return x.new_zeros((n_sequences, *x.shape[1:])).index_copy(0, rows, x)


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
        for part in choices.split(_N_TOKENS)
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
