"""The other modalities as context of a denoiser, as TRACE publishes it.

Sizes: B batch, M modalities, L timepoints, C channels, D width, E experts.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import masked_mean

from ._context import auxiliary_weights

__all__ = ["GatedContext"]


class GatedContext(nn.Module):
    """Context of each timepoint of a modality: a gated sum of the other modalities.

    Eq. 1 and 2 of [1]_. The logit of auxiliary m' is the inner product of a weight vector with its
    observed values, averaged over its timepoints; the weights are the softmax over the auxiliaries
    that the sample has; the context is the weighted sum of the observed values.

    Parameters
    ----------
    n_channels : sequence of int
        Channels C of each modality.
    d_model : int
        Width D of the context.
    n_experts : int
        Experts E. Each has a weight vector and a linear map for each modality.

    Notes
    -----
    Input, one list each: ``values (B, L, C)``, 0 where not observed; ``observed`` of that shape;
    ``clocks (B, L)``, the times, which do not fall; and ``ends (B,)``, the number of timepoints of
    each sample, None where it is L. Output: a list of contexts ``(B, L, D)``, zero
    where a sample has no auxiliary, and the gate ``(B, M, M)``: target, auxiliary.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285

    Examples
    --------
    >>> context = GatedContext([3, 1], 8, n_experts=1)
    >>> values = [torch.randn(2, 5, 3), torch.randn(2, 1, 1)]
    >>> observed = [torch.ones_like(x, dtype=torch.bool) for x in values]
    >>> clocks = [torch.arange(5.0).expand(2, 5), torch.zeros(2, 1)]
    >>> x, gate = context(values, observed, clocks, [None, None])
    >>> [tuple(part.shape) for part in x], gate[0].tolist()
    ([(2, 5, 8), (2, 1, 8)], [[0.0, 1.0], [1.0, 0.0]])
    """

    # NOTE[DIFF] The paper adds auxiliaries as they are, which needs equal widths and lengths, and
    # does not describe its N = 5 experts. Here each expert has a gate vector and a linear map to
    # the width of the context for each modality; the softmax is over auxiliaries and experts. With
    # one expert it is eq. 1 and 2 of the mapped values. Of an auxiliary with other times, the
    # timepoint nearest to that of the target is read.

    def __init__(self, n_channels: Sequence[int], d_model: int, *, n_experts: int) -> None:
        super().__init__()
        if n_experts < 1:
            raise ValueError(f"n_experts must be at least 1, got {n_experts}.")
        self.d_model = d_model
        self.gate = nn.ModuleList(nn.Linear(c, n_experts, bias=False) for c in n_channels)
        self.experts = nn.ModuleList(
            nn.Linear(c, n_experts * d_model, bias=False) for c in n_channels
        )

    def forward(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        clocks: Sequence[Tensor],
        ends: Sequence[Tensor | None],
    ) -> tuple[list[Tensor], Tensor]:
        """Read the auxiliaries at the times of each modality."""
        has_any = [o.any(2, keepdim=True) for o in observed]  # (B, L, 1)
        logits = torch.stack(
            [
                masked_mean(gate(x), there, 1)
                for gate, x, there in zip(self.gate, values, has_any, strict=True)
            ],
            dim=1,
        )  # (B, M, E)
        available = torch.stack([there.flatten(1).any(1) for there in has_any], dim=1)
        weight = auxiliary_weights(logits, available)  # (B, M target, M auxiliary, E)
        mapped = [
            expert(x).unflatten(2, (-1, self.d_model))
            for expert, x in zip(self.experts, values, strict=True)
        ]  # (B, L, E, D)
        contexts = []
        for m, clock in enumerate(clocks):
            total = clock.new_zeros(*clock.shape, self.d_model)
            for a, x in enumerate(mapped):
                if a != m:
                    mixed = torch.einsum("be,bled->bld", weight[:, m, a], x)
                    total = total + _at_nearest_time(mixed, clocks[a], clock, ends[a])
            contexts.append(total)
        return contexts, weight.sum(3)


def _at_nearest_time(x: Tensor, clock: Tensor, wanted: Tensor, end: Tensor | None) -> Tensor:
    """Rows of ``x (B, L', D)`` at the times nearest to ``wanted (B, L)``, the earlier of two."""
    clock, wanted = clock.contiguous(), wanted.contiguous()
    middle = (clock[:, 1:] + clock[:, :-1]) / 2
    index = torch.searchsorted(middle, wanted)  # (B, L)
    # Padding repeats the last time; what was observed at a time is in the first row that has it.
    index = torch.searchsorted(clock, clock.gather(1, index))
    if end is not None:
        index = index.minimum(end[:, None] - 1)
    return x.gather(1, index[..., None].expand(-1, -1, x.shape[2]))
