"""Irregular series interpolated at reference times, by attention over time.

Sizes: B batch, L timepoints, C channels, H heads, Q reference times, T width of the time embedding.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import check_heads

__all__ = ["MultiTimeAttention", "MTANDTimeEmbedding"]

# Softmax weights below exp(-60) of the largest do not change a float32 sum, but sums of them alone
# are still ordinary float32 numbers: a channel that was observed only far away keeps its value.
_LOWEST_SCORE = -60.0


class MTANDTimeEmbedding(nn.Module):
    """Learned embedding of a time: one straight line and ``d_time - 1`` sines.

    Eq. 1 of [1]_: ``phi(t)[0] = w_0 t + a_0`` and ``phi(t)[i] = sin(w_i t + a_i)``.

    Parameters
    ----------
    d_time : int
        Width T of the embedding, at least 2.
    n_reference : int, default=48
        Reference times in the unit interval. The fastest sine has a period of two of their gaps
        when training starts.

    Raises
    ------
    ValueError
        If ``d_time`` is below 2.

    Notes
    -----
    Input ``t (...)``, where [0, 1] is the span of the series; output ``(..., T)``.

    References
    ----------
    .. [1] Shukla and Marlin, "Multi-Time Attention Networks for Irregularly Sampled Time Series",
       ICLR, 2021. https://arxiv.org/abs/2101.10318

    Examples
    --------
    >>> import torch
    >>> MTANDTimeEmbedding(16)(torch.rand(2, 5)).shape
    torch.Size([2, 5, 16])
    """

    def __init__(self, d_time: int, *, n_reference: int = 48) -> None:
        super().__init__()
        if d_time < 2:
            raise ValueError(f"d_time is at least 2, got {d_time}.")
        # NOTE[DIFF] The released code starts all frequencies in [-1, 1] radians per span, so that
        # all times have nearly the same embedding and locality must be learnt. We start them spread
        # from half a turn per span to the fastest that the reference times resolve.
        fastest = max(n_reference - 1, 2) * math.pi
        frequencies = torch.logspace(math.log10(math.pi), math.log10(fastest), d_time - 1)
        self.frequency = nn.Parameter(torch.cat([torch.ones(1), frequencies]))
        self.phase = nn.Parameter(torch.empty(d_time).uniform_(-math.pi, math.pi))
        nn.init.zeros_(self.phase[0])

    def forward(self, t: Tensor) -> Tensor:
        """Embed times."""
        angle = t.unsqueeze(-1) * self.frequency + self.phase  # (...) -> (..., T)
        return torch.cat([angle[..., :1], angle[..., 1:].sin()], dim=-1)


class MultiTimeAttention(nn.Module):
    """Channels of an irregular series interpolated at reference times by learned kernels.

    Eq. 2-4 of [1]_: for each head the value of a channel at a reference time is the mean of its
    observed values, weighted by a softmax of ``phi(t) W_q (phi(t_i) W_k)^T`` over the times at
    which *that channel* was observed; a linear map mixes the heads and channels. As in FuseMoE
    [2]_ an indicator accompanies each channel: the share of its weight that lies on entries that
    were really observed.

    Parameters
    ----------
    n_channels : int
        Channels C.
    d_time : int
        Width T of the time embedding, a multiple of ``n_heads``.
    d_model : int
        Width D of the output.
    n_heads : int, default=8
        Heads H, each its own kernel over time.

    Raises
    ------
    ValueError
        If ``d_time`` is not a multiple of ``n_heads``.

    Notes
    -----
    Inputs ``query (Q, T)`` (reference times, shared by the samples), ``key (B, L, T)``,
    ``values (B, L, C)``, ``used (B, L, C)`` bool (the entries attended to) and ``observed
    (B, L, C)`` bool (those of them that were measured; ``used`` itself where nothing was imputed).
    Outputs ``(B, Q, D)`` and the scores ``(B, H, Q, L)`` as weights of which the largest is 1.
    A channel of which nothing is used contributes zeros.

    The softmax differs from channel to channel, because their masks do, but its exponentials do
    not: the masked values and the masks are each multiplied by the same ``(B, H, Q, L)`` weights
    and divided afterwards, so that memory is ``O(H Q L + H Q C)``, never ``O(Q L C)``.

    References
    ----------
    .. [1] Shukla and Marlin, "Multi-Time Attention Networks for Irregularly Sampled Time Series",
       ICLR, 2021. https://arxiv.org/abs/2101.10318
    .. [2] Han et al., "FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion", NeurIPS,
       2024. https://arxiv.org/abs/2402.03226

    Examples
    --------
    >>> import torch
    >>> attention = MultiTimeAttention(3, d_time=16, d_model=8)
    >>> values, observed = torch.randn(2, 5, 3), torch.rand(2, 5, 3) > 0.5
    >>> query, key = torch.randn(7, 16), torch.randn(2, 5, 16)
    >>> out, weights = attention(query, key, values, observed, observed)
    >>> out.shape, weights.shape
    (torch.Size([2, 7, 8]), torch.Size([2, 8, 7, 5]))
    """

    def __init__(self, n_channels: int, d_time: int, d_model: int, *, n_heads: int = 8) -> None:
        super().__init__()
        check_heads(d_time, n_heads, name="d_time")
        self.n_heads = n_heads
        self.query = nn.Linear(d_time, d_time)
        # No bias: it would shift all scores of a query alike.
        self.key = nn.Linear(d_time, d_time, bias=False)
        # NOTE[DIFF] Default initialisation makes each kernel nearly flat: all reference times get
        # the same mean. Both projections start equal and orthogonal, so that a kernel is largest
        # where the times agree, and from the first head to the last 16 times sharper.
        nn.init.orthogonal_(self.query.weight)
        nn.init.zeros_(self.query.bias)
        with torch.no_grad():
            gain = torch.logspace(0, math.log10(4), n_heads).repeat_interleave(d_time // n_heads)
            self.query.weight.mul_(gain[:, None])
            self.key.weight.copy_(self.query.weight)
        self.out = nn.Linear(2 * n_heads * n_channels, d_model)

    def forward(
        self, query: Tensor, key: Tensor, values: Tensor, used: Tensor, observed: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Interpolate ``values`` at the reference times."""
        weights = self.weights(query, key, used.any(-1))  # (B, H, Q, L)
        mask = used.to(values.dtype)
        measured = (used & observed).to(values.dtype)
        stacked = torch.cat([values * mask, measured, mask], dim=-1)  # (B, L, 3C)
        # Heads and reference times side by side: a batched product would copy `stacked` per head.
        # In float32 under autocast too: weights far from the peak are too small for float16.
        with torch.autocast(values.device.type, enabled=False):
            sums = weights.flatten(1, 2) @ stacked.float()  # (B, H * Q, 3C)
        sums = sums.unflatten(1, (self.n_heads, -1))
        value, share, total = sums.chunk(3, dim=-1)
        silent = total <= 0
        total = total.masked_fill(silent, 1.0)
        mean = torch.cat([value / total, share / total], dim=-1)
        mean = mean.masked_fill(silent.repeat(1, 1, 1, 2), 0.0)
        return self.out(mean.transpose(1, 2).flatten(2)), weights  # (B, Q, H * 2C) -> (B, Q, D)

    def weights(self, query: Tensor, key: Tensor, used: Tensor) -> Tensor:
        """Unnormalised softmax weights of the times at which any channel is used."""
        q = self.query(query).unflatten(-1, (self.n_heads, -1)).transpose(0, 1)  # (H, Q, T / H)
        k = self.key(key).unflatten(-1, (self.n_heads, -1)).transpose(1, 2)  # (B, H, L, T / H)
        scores = (q @ k.transpose(-2, -1)).float() / math.sqrt(q.shape[-1])  # (B, H, Q, L)
        scores = scores.masked_fill(~used[:, None, None], -torch.inf)
        peak = scores.detach().amax(-1, keepdim=True).clamp(min=torch.finfo(scores.dtype).min)
        weights = (scores - peak).clamp(min=_LOWEST_SCORE).exp()
        return weights * used[:, None, None]
