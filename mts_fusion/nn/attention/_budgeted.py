"""ProbSparse attention: only the queries farthest from uniform attention attend, within a budget.

Sizes: N sequences (samples, or samples times modalities), T tokens, H heads, d width of a head,
S sampled keys, K queries that may attend.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import mean_weights, sorted_index

__all__ = [
    "BudgetedAttention",
    "attend",
    "budgeted_attend",
    "key_factor",
    "picking_saves",
    "sample_keys",
    "scaled_attend",
]

# Keys that are sampled at least, in units of the logarithm of their number: as in Informer.
_LEAST_KEY_FACTOR = 5.0


def attend(q: Tensor, k: Tensor, v: Tensor, observed: Tensor) -> Tensor:
    """Scaled dot-product attention to observed keys only.

    Parameters
    ----------
    q : Tensor of shape (N, H, K, d)
        Queries.
    k, v : Tensor of shape (N, H, T, d)
        Keys and values.
    observed : Tensor of shape (N, T)
        Bool.

    Returns
    -------
    Tensor of shape (N, H, K, d)
        Zeros where nothing is observed.

    Examples
    --------
    >>> x = torch.ones(1, 2, 3, 4)
    >>> attend(x, x, x, torch.tensor([[True, True, False]])).unique()
    tensor([1.])
    """
    return F.scaled_dot_product_attention(q, k, v, attn_mask=observed[:, None, None, :])


def key_factor(max_budget: float) -> float:
    """How many keys are sampled to rank the queries, in units of ``log(n)``: at least 5.

    Of a sample of one or two keys all queries are equally far from uniform attention, and rounding
    would decide which attend.

    Parameters
    ----------
    max_budget : float
        Largest budget.

    Returns
    -------
    float
        The factor.
    """
    return max(max_budget, _LEAST_KEY_FACTOR)


def sample_keys(
    observed: Tensor, factor: float, generator: torch.Generator | None, training: bool
) -> tuple[Tensor, Tensor]:
    """Sample of ``factor * log(n)`` of the n observed keys of each sequence.

    Parameters
    ----------
    observed : Tensor of shape (N, T)
        Bool.
    factor : float
        How many keys are sampled; at most all.
    generator : torch.Generator or None
        Where the sample is drawn from in training.
    training : bool
        Whether the sample is drawn; otherwise it is spread evenly.

    Returns
    -------
    position : Tensor of shape (N, S)
        Positions of the sampled keys. A sequence with fewer keys than S repeats its first one.
    share : Tensor of shape (N, S)
        Weight of each in a mean over the sample; 0 for a repeated one.
    """
    n_sequences, n_tokens = observed.shape
    n_slots = _count(n_tokens, factor)
    n_observed = observed.sum(1, keepdim=True).clamp(min=1).float()  # (N, 1)
    n_keys = torch.ceil(factor * torch.log(n_observed)).clamp(min=1).minimum(n_observed)
    slot = torch.arange(n_slots, device=observed.device)
    # One key from each of n_keys equal parts of what is observed; their middle in evaluation.
    within = torch.full((n_sequences, n_slots), 0.5, device=observed.device)
    if training:
        within = torch.rand(within.shape, generator=generator, device=observed.device)
    nth = ((slot + within) * (n_observed / n_keys)).floor().minimum(n_observed - 1)
    # The position of the nth observed token is where the running count reaches nth + 1.
    running = observed.cumsum(1).to(nth.dtype)
    position = sorted_index(running, nth + 1).clamp(max=n_tokens - 1)
    drawn = slot < n_keys
    return torch.where(drawn, position, position[:, :1]), drawn / n_keys


def _gate(n_queries: Tensor, n_ranks: int) -> Tensor:
    """How much the query of each rank is mixed in, ``(N, K)``."""
    # NOTE[DIFF] The released code of MAESTRO rounds the budget to one integer for the batch, which
    # cuts its gradient. Here the query at the boundary is mixed in by the fraction that is left.
    return (n_queries[:, None] - torch.arange(n_ranks, device=n_queries.device)).clamp(0, 1)


def _count(n_tokens: int, factor: float) -> int:
    """``factor * log(n_tokens)``, rounded up, between 1 and ``n_tokens``."""
    return max(1, min(n_tokens, math.ceil(factor * math.log(max(n_tokens, 2)))))


@torch.no_grad()
def _rank_queries(
    q: Tensor, k: Tensor, observed: Tensor, n_ranks: int, position: Tensor, share: Tensor
) -> Tensor:
    """Positions ``(N, H, K)`` of the queries farthest from uniform attention, best first.

    ``P(q, K') = max_k q.k - mean_k q.k`` over the sampled keys.

    Parameters
    ----------
    q, k : Tensor of shape (N, H, T, d)
        Queries and keys.
    observed : Tensor of shape (N, T)
        Bool; what is not observed ranks last.
    n_ranks : int
        K.
    position, share : Tensor of shape (N, S)
        Positions of the sampled keys, and their weights in the mean.

    Returns
    -------
    Tensor of shape (N, H, K)
        int64.
    """
    _, n_heads, _, d_head = k.shape
    sampled = k.gather(2, position[:, None, :, None].expand(-1, n_heads, -1, d_head))
    # The mean of the products is the product with the mean, so that one product gives both.
    mean = share.to(k.dtype)[:, None, None, :] @ sampled
    product = torch.cat([sampled, mean], 2) @ q.transpose(-1, -2)  # (N, H, S + 1, T)
    score = product[:, :, :-1].amax(2) - product[:, :, -1]
    score = score.masked_fill(~observed[:, None, :], -math.inf)
    return score.topk(n_ranks, dim=-1).indices


def budgeted_attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    observed: Tensor,
    n_queries: Tensor,
    *,
    factor: float = 5.0,
    generator: torch.Generator | None = None,
    training: bool = False,
) -> Tensor:
    """Attention of the ``n_queries`` most selective queries; the others get the mean of the values.

    The most selective queries are those whose attention is farthest from uniform: with the largest
    ``P(q, K') = max_k q.k - mean_k q.k`` over a sample ``K'`` of the keys [1]_.

    Parameters
    ----------
    q, k, v : Tensor of shape (N, H, T, d)
        Queries, keys, values.
    observed : Tensor of shape (N, T)
        Bool. Tokens that are not observed are neither keys nor values, and rank last.
    n_queries : Tensor of shape (N,)
        How many queries attend; a fraction of a query attends by that fraction.
    factor : float, default=5.0
        At most ``factor * log(T)`` queries attend, and as many of n observed keys are sampled, but
        at least ``5 log(n)`` (:func:`key_factor`).
    generator : torch.Generator or None, default=None
        Where the sample of keys is drawn from in training.
    training : bool, default=False
        Whether the sample is drawn; otherwise it is spread evenly.

    Returns
    -------
    Tensor of shape (N, H, T, d)
        Zeros where nothing is observed.

    Notes
    -----
    The query of rank r is mixed as ``mean + clamp(n_queries - r, 0, 1) * (attended - mean)``:
    continuous in ``n_queries``, so that a gradient with respect to it exists.

    References
    ----------
    .. [1] Zhou et al., "Informer: Beyond Efficient Transformer for Long Sequence Time-Series
       Forecasting", AAAI, 2021. https://arxiv.org/abs/2012.07436

    Examples
    --------
    >>> x, observed = torch.randn(2, 4, 16, 8), torch.ones(2, 16, dtype=bool)
    >>> out = budgeted_attend(x, x, x, observed, torch.tensor([0.0, 6.0]))
    >>> bool(torch.allclose(out[0], x[0].mean(1, keepdim=True), atol=1e-6))
    True
    """
    # NOTE[DIFF] Informer draws other keys for each query, by a gather of T x S keys; one sample
    # for all queries of a sequence is one matrix product, and only observed keys are in it.
    n_tokens, d_head = v.shape[2:]
    n_ranks = _count(n_tokens, factor)
    position, shares = sample_keys(observed, key_factor(factor), generator, training)
    top = _rank_queries(q, k, observed, n_ranks, position, shares)  # (N, H, K)
    gate = _gate(n_queries, n_ranks).to(v.dtype)[:, None]  # (N, 1, K)
    mean = _observed_mean(v, observed)
    index = top.unsqueeze(-1)
    attended = attend(q.gather(2, index.expand(-1, -1, -1, q.shape[-1])), k, v, observed)
    mixed = torch.lerp(mean.expand_as(attended), attended, gate.unsqueeze(-1))
    # Written as (N, T, H, d), in which the heads are joined without a copy.
    everywhere = mean.transpose(1, 2).expand(-1, n_tokens, -1, -1)
    target = index.expand(-1, -1, -1, d_head).transpose(1, 2)
    return everywhere.scatter(1, target, mixed.transpose(1, 2)).transpose(1, 2)


def scaled_attend(q: Tensor, k: Tensor, v: Tensor, observed: Tensor, n_queries: Tensor) -> Tensor:
    """Attention of all queries, each by the fraction of them that the budget allows.

    The same budget as that of :func:`budgeted_attend` without the ranking of the queries, for
    sequences so short that the ranking costs more than it saves (:func:`picking_saves`).

    Parameters
    ----------
    q, k, v : Tensor of shape (N, H, T, d)
        Queries, keys, values.
    observed : Tensor of shape (N, T)
        Bool. Tokens that are not observed are neither keys nor values.
    n_queries : Tensor of shape (N,)
        How many of the n observed queries the budget allows.

    Returns
    -------
    Tensor of shape (N, H, T, d)
        ``mean + min(1, n_queries / n) * (attended - mean)``; zeros where nothing is observed.

    Examples
    --------
    >>> x, observed = torch.randn(1, 4, 8, 8), torch.ones(1, 8, dtype=bool)
    >>> half = scaled_attend(x, x, x, observed, torch.tensor([4.0]))
    >>> middle = (attend(x, x, x, observed) + x.mean(2, keepdim=True)) / 2
    >>> bool(torch.allclose(half, middle, atol=1e-6))
    True
    """
    # NOTE[DIFF] MAESTRO and Informer rank the queries of short sequences too, most of which then
    # attend anyway.
    share = (n_queries / observed.sum(1).clamp(min=1)).clamp(0, 1).to(v.dtype)
    mean = _observed_mean(v, observed).expand_as(v)
    return torch.lerp(mean, attend(q, k, v, observed), share[:, None, None, None])


def _observed_mean(v: Tensor, observed: Tensor) -> Tensor:
    """Mean of the observed values, ``(N, H, 1, d)``."""
    weights = mean_weights(observed).to(v.dtype).unsqueeze(1)  # (N, 1, T)
    mean = weights @ v.transpose(1, 2).flatten(2)  # (N, 1, H d)
    return mean.unflatten(2, (v.shape[1], -1)).transpose(1, 2)


def picking_saves(n_tokens: int, max_budget: float) -> bool:
    """Whether picking the queries that attend takes fewer products than attending with all.

    Of T tokens, ``K = max_budget * log(T)`` may attend, and S keys are sampled
    (:func:`key_factor`). The ranking multiplies T queries with S keys and their mean, the attention
    K queries with T keys and T values, and all of them take a mean: ``T (S + 2 K + 2) + S``
    products of the width of a head, against ``T (2 T + 1)`` where all attend.

    Parameters
    ----------
    n_tokens : int
        Tokens T.
    max_budget : float
        Largest budget.

    Returns
    -------
    bool
        With a budget up to 5, from 27 tokens on.

    Examples
    --------
    >>> [picking_saves(n_tokens, 5.0) for n_tokens in (16, 32)]
    [False, True]
    """
    n_keys = _count(n_tokens, key_factor(max_budget))
    picked = n_tokens * (n_keys + 2 * _count(n_tokens, max_budget) + 2) + n_keys
    return picked < n_tokens * (2 * n_tokens + 1)


class BudgetedAttention(nn.Module):
    """Self-attention between projections, with a budget for the queries that attend.

    The projections are the caller's, so that modalities can be batched; this holds the heads and
    the generator from which keys are sampled.

    Parameters
    ----------
    n_heads : int, default=8
        Heads H.
    max_budget : float, default=5.0
        At most ``max_budget * log(T)`` of T queries attend.

    Notes
    -----
    Input ``qkv (N, T, 3 D)``, ``observed (N, T)`` bool, ``budget (N,)`` or None; output
    ``(N, T, D)``. With budget u, ``u * log(n)`` of the n observed queries attend; with None all do.
    With ``picks=False`` all attend by that fraction of n (:func:`scaled_attend`).

    Examples
    --------
    >>> attention = BudgetedAttention(n_heads=2)
    >>> qkv, observed = torch.randn(3, 16, 24), torch.ones(3, 16, dtype=bool)
    >>> attention(qkv, observed, torch.full((3,), 2.5)).shape
    torch.Size([3, 16, 8])
    """

    def __init__(self, n_heads: int = 8, *, max_budget: float = 5.0) -> None:
        super().__init__()
        self.n_heads = n_heads
        self.max_budget = max_budget
        self.generator: torch.Generator | None = None

    def forward(
        self,
        qkv: Tensor,
        observed: Tensor,
        budget: Tensor | None = None,
        values: Tensor | None = None,
        *,
        picks: bool = True,
    ) -> Tensor:
        """Attend within the budget; to ``values (N, T, E)``, alike in all heads, if given."""
        n, n_tokens, width = qkv.shape
        q, k, v = (
            part.unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (N, T, D) -> (N, H, T, d)
            for part in qkv.chunk(3, dim=-1)
        )
        if values is not None:
            v = values[:, None].expand(-1, self.n_heads, -1, -1)
        if budget is None:
            out = attend(q, k, v, observed)
        elif not picks:
            out = scaled_attend(q, k, v, observed, _n_queries(observed, budget))
        else:
            out = budgeted_attend(
                q,
                k,
                v,
                observed,
                _n_queries(observed, budget),
                factor=self.max_budget,
                generator=self.generator,
                training=self.training,
            )
        if values is not None:
            return out.mean(1)
        return out.transpose(1, 2).reshape(n, n_tokens, width // 3)


def _n_queries(observed: Tensor, budget: Tensor) -> Tensor:
    return budget * torch.log(observed.sum(1).clamp(min=1).to(budget.dtype))
