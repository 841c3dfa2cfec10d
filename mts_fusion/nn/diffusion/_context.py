"""The other modalities as context of a denoiser.

Sizes: B batch, M modalities, P patches along time, G groups of channels, N tokens of all
modalities (the sum of P * G), D width, H heads, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import MANY_MODALITIES, check_heads, masked_mean, recompute

from ._grid import grid_attend

__all__ = ["CrossModalContext", "auxiliary_weights"]

_NEVER = -3e4  # far below any other bias, and within the range of float16


def auxiliary_weights(logits: Tensor, available: Tensor) -> Tensor:
    """Softmax over the auxiliaries that a sample has, and over experts, for each target.

    Parameters
    ----------
    logits : Tensor of shape (B, M, E)
        Of each auxiliary and expert.
    available : bool Tensor of shape (B, M)
        Which modalities a sample has.

    Returns
    -------
    Tensor of shape (B, M, M, E)
        Target, auxiliary, expert; 0 for the target itself, and everywhere where there is no other.
    """
    others = ~torch.eye(available.shape[1], dtype=torch.bool, device=available.device)
    allowed = (available[:, None] & others)[..., None]  # (B, M target, M auxiliary, 1)
    logits = logits[:, None].masked_fill(~allowed, _NEVER)
    weight = (logits - logits.amax((2, 3), keepdim=True)).exp() * allowed
    return weight / weight.sum((2, 3), keepdim=True).clamp(min=1e-9)


class CrossModalContext(nn.Module):
    """Context of each token of a modality, read from the other modalities by attention.

    ``x_c = sum_{m', e} pi(m', e) f_e(a(m'))`` over the auxiliaries m' that the sample has and E
    experts: ``a(m')`` is auxiliary m' read at the time and channels of the token, ``f_e`` a linear
    expert, ``pi`` the softmax of ``<w_e, r(m')>`` with ``r(m')`` the mean of what an encoder made
    of the observations of m'. An auxiliary is read by attention with a learnt penalty on the
    distance in time, which starts at another value for each head. Eq. 1 and 2 of [1]_, which gate
    and add the observed values themselves, are :class:`GatedContext`.

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
        ``"fixed"`` gives equal weights to all auxiliaries that the sample has, and to all experts.

    Raises
    ------
    ValueError
        If ``gating`` is not known or a size is out of range.

    Notes
    -----
    Input, one list each: ``query (B, P_m * G_m, d_query)``; encoded auxiliaries ``(B, P_m, D)``;
    ``observed (B, P_m)`` bool, which of these have observations; ``clock (B, P_m)`` or
    ``(1, P_m)``, their times in units of the sampling interval.
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
    >>> observed = [torch.ones(3, 5, dtype=bool), torch.ones(3, 1, dtype=bool)]
    >>> x, gate = context(query, encoded, observed, [torch.arange(5.0)[None], torch.zeros(1, 1)])
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
        check_heads(d_model, n_heads, name="d_context")
        self.n_heads = n_heads
        self.n_experts = n_experts
        self.query = nn.Linear(d_query, d_model)
        self.key = nn.Linear(d_model, d_model)
        self.value = nn.Linear(d_model, d_model)
        # NOTE[DIFF] The paper gates and adds the observed values of the auxiliaries (GatedContext).
        # Here they are encoded, and read at the times of the target by attention.
        # Sensors that move together do so at the same time. Where the attention has to learn that,
        # a wholly absent sensor is filled with its mean for most of the training.
        self.nearness = nn.Parameter(torch.linspace(0.0, -5.0, n_heads))
        self.gate = nn.Linear(d_model, n_experts, bias=False) if gating == "moe" else None
        self.expert = nn.Parameter(torch.empty(n_experts, d_model, d_model))
        nn.init.uniform_(self.expert, -(d_model**-0.5), d_model**-0.5)

    def _weights(
        self, encoded: Sequence[Tensor], observed: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Weights of the auxiliaries of a target (B, M, M), of experts in each (B, M, E).

        The gate is a softmax over auxiliaries and experts, so each weight is a product of these.
        """
        pooled = torch.stack(
            [masked_mean(x, o[..., None], 1) for x, o in zip(encoded, observed, strict=True)],
            dim=1,
        )  # (B, M, D)
        if self.gate is None:
            logits = pooled.new_zeros(*pooled.shape[:2], self.n_experts)
        else:
            logits = self.gate(pooled)  # (B, M, E)
        available = torch.stack([o.any(1) for o in observed], dim=1)  # (B, M)
        return auxiliary_weights(logits, available).sum(3), logits.softmax(2)

    def _heads(self, x: Tensor) -> Tensor:
        return x.view(x.shape[0], x.shape[1], self.n_heads, -1).transpose(1, 2)

    def _near(self, at: Tensor, clock: Tensor) -> Tensor:
        """Bias of the attention of tokens at times ``at (B, N)``, (B, H, N, P_m')."""
        away = (at[:, :, None] - clock[:, None]).abs()
        bias = -self.nearness.exp()[:, None, None] * away[:, None]
        return bias.clamp(min=_NEVER / 30)

    def forward(
        self,
        query: Sequence[Tensor],
        encoded: Sequence[Tensor],
        observed: Sequence[Tensor],
        clock: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Read the auxiliaries for each token of each modality."""
        gate, experts = self._weights(encoded, observed)
        weight = torch.cat(
            [gate[:, m, None].expand(-1, x.shape[1], -1) for m, x in enumerate(query)], dim=1
        )  # (B, N, M)
        q = self._heads(self.query(torch.cat(list(query), dim=1)))  # (B, H, N, D / H)
        at = torch.cat(
            [
                t.expand(x.shape[0], -1).repeat_interleave(x.shape[1] // t.shape[1], dim=1)
                for t, x in zip(clock, query, strict=True)
            ],
            dim=1,
        )

        def read(a: int) -> Tensor:
            """What all tokens read in an auxiliary, (B, N, D)."""
            k, v = self._heads(self.key(encoded[a])), self._heads(self.value(encoded[a]))
            # Finite, so that a row without any key is no NaN: its weight is 0 anyway, as is that of
            # a modality for its own tokens.
            bias = torch.where(observed[a][:, None, None], self._near(at, clock[a]), _NEVER)
            out = grid_attend(q, k, v, bias).transpose(1, 2).flatten(2)
            # The experts are linear, so that they are mixed before they are applied, not after.
            mixed = torch.einsum("be,ecd->bcd", experts[:, a], self.expert)
            return (out * weight[:, :, a, None]) @ mixed

        context = q.new_zeros(())
        for a in range(len(encoded)):
            if len(encoded) > MANY_MODALITIES:  # kept for the gradient, all pairs are too many
                context = context + recompute(self, partial(read, a))
            else:
                context = context + read(a)
        return context, gate
