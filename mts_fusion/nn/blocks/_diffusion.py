"""Layers of a denoiser on grids of tokens, and the context that other modalities give it.

Sizes: B batch, M modalities, P patches along time, G groups of channels, N tokens of all
modalities (the sum of P * G), D width, H heads, E experts. Tokens of all modalities stand in one
axis, modality after modality, time before channels, so that everything that works token by token
runs once; only attention takes them apart.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "CrossModalContext",
    "GridAttention",
    "GridEncoderLayer",
    "ResidualDenoiserLayer",
    "StepEmbedding",
    "sinusoids",
]

_NEVER = -3e4  # far below any other bias, and within the range of float16

Grid = tuple[int, int]
"""Patches P and groups of channels G of a modality."""


def _attend(q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None = None) -> Tensor:
    """Attention of ``q, k, v (..., H, N, d)``; in float32 on a processor, whatever the precision.

    There, the backward pass of torch 2.13 in bf16 is 17 times slower than in float32.
    """
    if q.device.type != "cpu":
        mask = None if mask is None else mask.to(q.dtype)
        return F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    with torch.autocast("cpu", enabled=False):
        return F.scaled_dot_product_attention(q.float(), k.float(), v.float(), attn_mask=mask)


def sinusoids(t: Tensor, width: int) -> Tensor:
    """Sines and cosines of times at geometric frequencies, the longest period about 60,000 units.

    Parameters
    ----------
    t : Tensor of shape (...,)
        Times, in units of the sampling interval.
    width : int
        Even number of features.

    Returns
    -------
    Tensor of shape (..., width)
        In [-1, 1].

    Examples
    --------
    >>> sinusoids(torch.zeros(2, 3), 8).shape
    torch.Size([2, 3, 8])
    """
    exponent = torch.arange(width // 2, device=t.device, dtype=torch.float32) / (width // 2)
    angle = t.float()[..., None] * 10_000.0**-exponent
    return torch.cat([angle.sin(), angle.cos()], dim=-1)


class StepEmbedding(nn.Module):
    """Embedding of the step of a diffusion: sinusoids and two layers, as in CSDI.

    Parameters
    ----------
    width : int, default=128
        Width of the embedding.

    Notes
    -----
    Input ``step (B,)`` int; output ``(B, width)``.

    Examples
    --------
    >>> StepEmbedding(16)(torch.tensor([0, 49])).shape
    torch.Size([2, 16])
    """

    def __init__(self, width: int = 128) -> None:
        super().__init__()
        self.width = width
        self.hidden = nn.Linear(width, width)
        self.out = nn.Linear(width, width)

    def forward(self, step: Tensor) -> Tensor:
        """Embed ``step``."""
        exponent = torch.arange(self.width // 2, device=step.device) / max(self.width // 2 - 1, 1)
        angle = step.float()[:, None] * 10.0 ** (4 * exponent)
        x = torch.cat([angle.sin(), angle.cos()], dim=1)
        return F.silu(self.out(F.silu(self.hidden(x))))


class GridAttention(nn.Module):
    """Self-attention along the time or along the channels of each modality.

    Parameters
    ----------
    d_model : int
        Width D.
    n_heads : int
        Heads H.
    axis : {"time", "feature"}
        Which tokens see each other: those of one group of channels, or those of one patch.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``.

    Notes
    -----
    Input ``x (R, N, D)`` and the grids of the modalities; output like ``x``. Where the axis has
    one token, that token attends to itself.

    Examples
    --------
    >>> GridAttention(8, 2, "time")(torch.zeros(3, 5 * 2 + 1, 8), [(5, 2), (1, 1)]).shape
    torch.Size([3, 11, 8])
    """

    def __init__(self, d_model: int, n_heads: int, axis: str) -> None:
        super().__init__()
        if d_model % n_heads:
            raise ValueError(f"d_model={d_model} is not a multiple of n_heads={n_heads}.")
        self.n_heads = n_heads
        self.axis = axis
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.out = nn.Linear(d_model, d_model)

    def forward(self, x: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Attend within each modality."""
        rows, width = x.shape[0], x.shape[2]
        mixed = []
        for part, (p, g) in zip(
            self.qkv(x).split([p * g for p, g in grids], 1), grids, strict=True
        ):
            if (p if self.axis == "time" else g) == 1:
                mixed.append(part[..., 2 * width :])
                continue
            # (R, P G, 3 D) -> 3 x (R, P, G, H, d), then the axis before the width
            heads = part.reshape(rows, p, g, 3, self.n_heads, width // self.n_heads)
            if self.axis == "time":
                heads = heads.permute(3, 0, 2, 4, 1, 5).flatten(1, 2)  # (3, R G, H, P, d)
                y = _attend(heads[0], heads[1], heads[2])
                y = y.view(rows, g, self.n_heads, p, -1).permute(0, 3, 1, 2, 4)
            else:
                heads = heads.permute(3, 0, 1, 4, 2, 5).flatten(1, 2)  # (3, R P, H, G, d)
                y = _attend(heads[0], heads[1], heads[2])
                y = y.view(rows, p, self.n_heads, g, -1).permute(0, 1, 3, 2, 4)
            mixed.append(y.reshape(rows, p * g, width))
        return self.out(mixed[0] if len(mixed) == 1 else torch.cat(mixed, dim=1))


class GridEncoderLayer(nn.Module):
    """Time attention, feature attention and a feed-forward layer, each normed and added.

    Parameters
    ----------
    d_model : int
        Width D.
    n_heads : int
        Heads H.
    d_hidden : int
        Width of the feed-forward layer; 0 leaves it out.

    Notes
    -----
    Input ``x (R, N, D)`` and the grids of the modalities; output like ``x``.

    Examples
    --------
    >>> GridEncoderLayer(8, 2, 16)(torch.zeros(3, 10, 8), [(5, 2)]).shape
    torch.Size([3, 10, 8])
    """

    def __init__(self, d_model: int, n_heads: int, d_hidden: int) -> None:
        super().__init__()
        self.time_norm = nn.LayerNorm(d_model)
        self.time = GridAttention(d_model, n_heads, "time")
        self.feature_norm = nn.LayerNorm(d_model)
        self.feature = GridAttention(d_model, n_heads, "feature")
        self.feed_forward: nn.Module | None = None
        if d_hidden:
            self.feed_forward = nn.Sequential(
                nn.LayerNorm(d_model),
                nn.Linear(d_model, d_hidden),
                nn.GELU(),
                nn.Linear(d_hidden, d_model),
            )

    def forward(self, x: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Encode ``x``."""
        x = x + self.time(self.time_norm(x), grids)
        x = x + self.feature(self.feature_norm(x), grids)
        if self.feed_forward is not None:
            x = x + self.feed_forward(x)
        return x


class ResidualDenoiserLayer(nn.Module):
    """Residual layer of CSDI: attention along time and channels, then a gate that sees the side.

    The projection of the side information does not depend on the step: :meth:`prepare` makes it
    once for all steps and draws.

    Parameters
    ----------
    d_model : int
        Width D.
    n_heads : int
        Heads H.
    d_side : int
        Width of the side information.
    d_step : int
        Width of the embedding of the step.
    d_hidden : int
        Width of the feed-forward layer within; 0 leaves it out.

    Notes
    -----
    Input ``x (B, S, N, D)`` for S draws, ``step (B, d_step)``, the prepared side ``(B, N, 2 D)``
    and the grids; output: the new ``x`` and what the layer adds to the output, both like ``x``.

    References
    ----------
    .. [1] Tashiro et al., "CSDI: Conditional Score-based Diffusion Models for Probabilistic Time
       Series Imputation", NeurIPS, 2021, figure 6. https://arxiv.org/abs/2107.03502

    Examples
    --------
    >>> layer = ResidualDenoiserLayer(8, 2, d_side=6, d_step=4, d_hidden=0)
    >>> side = layer.prepare(torch.zeros(3, 10, 6))
    >>> x, skip = layer(torch.zeros(3, 1, 10, 8), torch.zeros(3, 4), side, [(5, 2)])
    >>> x.shape, skip.shape
    (torch.Size([3, 1, 10, 8]), torch.Size([3, 1, 10, 8]))
    """

    def __init__(
        self, d_model: int, n_heads: int, *, d_side: int, d_step: int, d_hidden: int
    ) -> None:
        super().__init__()
        self.step = nn.Linear(d_step, d_model)
        # NOTE[DIFF] CSDI has one generic encoder layer (norm behind, ReLU, dropout .1) for each of
        # the two axes. Here both attentions share one feed-forward layer, with the norm in front,
        # and go through scaled_dot_product_attention.
        self.attention = GridEncoderLayer(d_model, n_heads, d_hidden)
        self.middle = nn.Linear(d_model, 2 * d_model)
        self.side = nn.Linear(d_side, 2 * d_model)
        self.out = nn.Linear(d_model, 2 * d_model)

    def prepare(self, side: Tensor) -> Tensor:
        """Project the side information, ``(B, N, d_side) -> (B, N, 2 D)``."""
        return self.side(side)

    def forward(
        self, x: Tensor, step: Tensor, side: Tensor, grids: Sequence[Grid]
    ) -> tuple[Tensor, Tensor]:
        """Pass ``x`` on and give the layer's part of the output."""
        y = x + self.step(step)[:, None, None]
        y = self.attention(y.flatten(0, 1), grids).view_as(x)
        gate, content = (self.middle(y) + side[:, None]).chunk(2, dim=-1)
        residual, skip = self.out(torch.sigmoid(gate) * torch.tanh(content)).chunk(2, dim=-1)
        return (x + residual) / math.sqrt(2), skip


class CrossModalContext(nn.Module):
    """What the other modalities tell about each token of a modality (eq. 1 and 2 of [1]_).

    ``x_c = sum_{m', e} pi(m', e) f_e(a(m'))`` over the auxiliaries m' that the sample has and E
    experts: ``a(m')`` is auxiliary m' read at the time and channels of the token, ``f_e`` a linear
    expert, ``pi`` the softmax of ``<w_e, r(m')>`` with ``r(m')`` the mean over what is observed of
    m'. With one expert this is eq. 1 and 2. Reading is attention whose heads look near the time of
    the token at first, each in another width, and learn how near.

    Parameters
    ----------
    d_query : int
        Width of the description (time, channels) of a token.
    d_model : int, default=128
        Width D of the context.
    n_heads : int, default=8
        Heads H of the reading.
    n_experts : int, default=5
        Experts E.
    gating : {"moe", "fixed"}, default="moe"
        ``"fixed"`` weighs all auxiliaries that the sample has, and all experts, alike.

    Raises
    ------
    ValueError
        If ``gating`` is not known or a size is out of range.

    Notes
    -----
    Input: a list of ``query (B, P_m * G_m, d_query)``, a list of encoded auxiliaries
    ``(B, P_m, D)``, a list of ``seen (B, P_m)`` bool: which of these have observations, and a list
    of ``clock``, ``(B, P_m)`` or ``(1, P_m)``: their times in units of the sampling interval.
    Output: ``(B, N, D)``, zero where a sample has no auxiliary, and the gate ``(B, M, M)``: target,
    auxiliary.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285

    Examples
    --------
    >>> context = CrossModalContext(4, 8, n_heads=2)
    >>> query = [torch.zeros(3, 5, 4), torch.zeros(3, 1, 4)]
    >>> encoded = [torch.zeros(3, 5, 8), torch.zeros(3, 1, 8)]
    >>> seen = [torch.ones(3, 5, dtype=bool), torch.ones(3, 1, dtype=bool)]
    >>> x, gate = context(query, encoded, seen, [torch.arange(5.0)[None], torch.zeros(1, 1)])
    >>> x.shape, gate[0].tolist()
    (torch.Size([3, 6, 8]), [[0.0, 1.0], [1.0, 0.0]])
    """

    def __init__(
        self,
        d_query: int,
        d_model: int = 128,
        *,
        n_heads: int = 8,
        n_experts: int = 5,
        gating: str = "moe",
    ) -> None:
        super().__init__()
        if gating not in ("moe", "fixed"):
            raise ValueError(f"gating must be 'moe' or 'fixed', got {gating!r}.")
        if n_experts < 1:
            raise ValueError(f"n_experts must be at least 1, got {n_experts}.")
        if d_model % n_heads:
            raise ValueError(f"The context width {d_model} is not a multiple of n_heads={n_heads}.")
        self.n_heads = n_heads
        self.n_experts = n_experts
        self.query = nn.Linear(d_query, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        # NOTE[DIFF] The paper has one gate vector w and sums the auxiliaries as they are, which
        # asks for equal lengths; what its N = 5 experts are, it does not say. Here an auxiliary is
        # read at the times of the target by attention, and each expert has a gate vector and a map.
        # Sensors that move together do so at the same time: where the attention has to find that
        # out, a wholly absent sensor is long not told from its mean.
        self.nearness = nn.Parameter(torch.linspace(0.0, -5.0, n_heads))
        self.gate = nn.Linear(d_model, n_experts, bias=False) if gating == "moe" else None
        self.expert = nn.Parameter(torch.empty(n_experts, d_model, d_model))
        nn.init.uniform_(self.expert, -(d_model**-0.5), d_model**-0.5)

    def _weights(self, encoded: Sequence[Tensor], seen: Sequence[Tensor]) -> Tensor:
        """Softmax of the gate for each target, over auxiliaries and experts, (B, M, M, E)."""
        n_modalities = len(encoded)
        pooled = torch.stack(
            [
                (x * at[..., None]).sum(1) / at.sum(1, keepdim=True).clamp(min=1)
                for x, at in zip(encoded, seen, strict=True)
            ],
            dim=1,
        )  # (B, M, D)
        if self.gate is None:
            logits = pooled.new_zeros(*pooled.shape[:2], self.n_experts)
        else:
            logits = self.gate(pooled)  # (B, M, E)
        available = torch.stack([at.any(1) for at in seen], dim=1)  # (B, M)
        others = ~torch.eye(n_modalities, dtype=torch.bool, device=available.device)
        allowed = (available[:, None] & others)[..., None]  # (B, M target, M auxiliary, 1)
        logits = logits[:, None].masked_fill(~allowed, _NEVER)
        weight = (logits - logits.amax((2, 3), keepdim=True)).exp() * allowed
        return weight / weight.sum((2, 3), keepdim=True).clamp(min=1e-9)

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.n_heads, -1).transpose(1, 2)

    def _near(self, at: Tensor, clock: Tensor, n_groups: int) -> Tensor:
        """Bias of the attention at times ``at (B, P_m)``, (B, H, P_m * G_m, P_m')."""
        away = (at[:, :, None] - clock[:, None]).abs().repeat_interleave(n_groups, 1)
        bias = -self.nearness.exp()[:, None, None] * away[:, None]
        return bias.clamp(min=_NEVER / 30)

    def forward(
        self,
        query: Sequence[Tensor],
        encoded: Sequence[Tensor],
        seen: Sequence[Tensor],
        clock: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Read the auxiliaries for each token of each modality."""
        weight = self._weights(encoded, seen)
        keys = [self._heads(self.key(x)) for x in encoded]
        values = [self._heads(self.value(x)) for x in encoded]
        context = []
        for m, q in enumerate(query):
            q = self._heads(self.query(q))
            total = q.new_zeros(q.shape[0], q.shape[2], self.key.out_features)
            for a, (k, v, at) in enumerate(zip(keys, values, seen, strict=True)):
                if a == m:
                    continue
                bias = self._near(clock[m], clock[a], q.shape[2] // clock[m].shape[1])
                # Finite, so that a row without any key is no NaN: its weight is 0 anyway.
                read = _attend(q, k, v, torch.where(at[:, None, None], bias, _NEVER))
                read = read.transpose(1, 2).flatten(2)  # (B, N_m, D)
                # The experts are linear, so that they are mixed before they are applied, not after.
                expert = torch.einsum("be,ecd->bcd", weight[:, m, a], self.expert)
                total = total + read @ expert
            context.append(total)
        return torch.cat(context, dim=1), weight.sum(3)
