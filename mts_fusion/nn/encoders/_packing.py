"""The observed timepoints of one modality packed to the front, and joined into steps.

Sizes: B batch, L timepoints, C channels, D width, S steps, P timepoints of a step, T tokens.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import stable_argsort
from mts_fusion.panel._schema import Modality

__all__ = ["PackedEmbedding", "TimepointEmbedding", "observed_first", "pool_to_tokens"]

# Steps of a modality; a longer one has several timepoints a step.
_MAX_STEPS = 128

# Tokens of a sequence for a strategy that attends to tokens.
_N_TOKENS = 8


def observed_first(observed: Tensor) -> tuple[Tensor, Tensor]:
    """Order that puts the observed timepoints first, and how many there are.

    Parameters
    ----------
    observed : Tensor of shape (B, L)
        Bool: at which timepoints anything was observed.

    Returns
    -------
    order : Tensor of shape (B, L)
        Indices: those of observed timepoints in the order of time, then the others.
    n_observed : Tensor of shape (B,)
        How many timepoints were observed.

    Examples
    --------
    >>> order, n_observed = observed_first(torch.tensor([[False, True, False, True]]))
    >>> order.tolist(), n_observed.tolist()
    ([[1, 3, 0, 2]], [2])
    """
    return stable_argsort((~observed).to(torch.int8), 1), observed.sum(1)


class TimepointEmbedding(nn.Module):
    """Embedding of each timepoint: a linear map of its values and of which were observed.

    Parameters
    ----------
    modality : Modality
        Whose timepoints; where it has a vocabulary, each symbol of each channel has a vector.
    d_model : int
        Width D.

    Notes
    -----
    Input ``values (B, L, C)``, ``observed (B, L, C)``; output ``(B, L, D)``.

    Examples
    --------
    >>> embed = TimepointEmbedding(Modality("acc", 3, 50), 16)
    >>> embed(torch.zeros(2, 50, 3), torch.ones(2, 50, 3, dtype=torch.bool)).shape
    torch.Size([2, 50, 16])
    """

    def __init__(self, modality: Modality, d_model: int) -> None:
        super().__init__()
        n_channels, vocabulary = modality.n_channels, modality.vocabulary
        self.symbols: nn.Embedding | None = None
        n_inputs = 2 * n_channels
        if vocabulary is not None:
            # The symbols of each channel have rows of their own in one table.
            self.n_tokens = vocabulary.n_tokens
            self.symbols = nn.Embedding(n_channels * self.n_tokens, d_model)
            nn.init.normal_(self.symbols.weight, std=1 / math.sqrt(n_channels))
            n_inputs = n_channels
        self.project = nn.Linear(n_inputs, d_model)

    def forward(self, values: Tensor, observed: Tensor) -> Tensor:
        """Embed."""
        indicator = observed.to(self.project.weight.dtype)
        if self.symbols is None:
            return self.project(torch.cat([torch.where(observed, values, 0.0), indicator], -1))
        first = torch.arange(values.shape[-1], device=values.device) * self.n_tokens
        symbols = self.symbols(torch.where(observed, values, 0) + first)  # (B, L, C, D)
        return self.project(indicator) + (symbols * indicator.unsqueeze(-1)).sum(2)


class PackedEmbedding(nn.Module):
    """Observed timepoints packed to the front of the sequence, and joined into steps.

    The embedding of a timepoint includes its position: sines of its time between the first and the
    last observation, the distance to the one before, in mean distances, and the logarithm of their
    number. None of it depends on the unit of time or on padding.

    Parameters
    ----------
    modality : Modality
        Whose timepoints. Up to 128 are a step each; of more, several are joined.
    d_model : int
        Width D.

    Notes
    -----
    Input ``values (B, L, C)``, ``observed (B, L, C)``, ``times (B, L)`` or None; output the steps
    ``(B, S, D)`` and how many of them hold anything, ``(B,)``: those come first.

    Examples
    --------
    >>> packed = PackedEmbedding(Modality("acc", 3, 500), 16)
    >>> x, n_steps = packed(torch.zeros(2, 500, 3), torch.ones(2, 500, 3, dtype=torch.bool), None)
    >>> x.shape, n_steps.tolist()
    (torch.Size([2, 125, 16]), [125, 125])
    """

    frequency: Tensor

    def __init__(self, modality: Modality, d_model: int) -> None:
        super().__init__()
        self.n_per_step = -(-modality.n_timepoints // _MAX_STEPS)
        self.embed = TimepointEmbedding(modality, d_model)
        self.register_buffer("frequency", math.pi * 2.0 ** torch.arange(-1, 5))
        self.position = nn.Linear(2 * len(self.frequency) + 2, d_model)
        self.merge: nn.Module | None = None
        if self.n_per_step > 1:
            self.merge = nn.Linear(self.n_per_step * d_model, d_model)

    def forward(
        self, values: Tensor, observed: Tensor, times: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """Embed and pack."""
        order, n_observed = observed_first(observed.any(-1))
        x = self.embed(values, observed)
        x = x.gather(1, order.unsqueeze(-1).expand(-1, -1, x.shape[-1]))
        clock = order.to(x.dtype) if times is None else times.gather(1, order).to(x.dtype)
        x = x + self.position(self._positions(clock, n_observed))
        n_timepoints = x.shape[1]
        if self.merge is not None:
            valid = torch.arange(n_timepoints, device=x.device) < n_observed.unsqueeze(1)
            x = F.pad(x * valid.unsqueeze(-1), (0, 0, 0, -n_timepoints % self.n_per_step))
            # (B, L, D) -> (B, S, P, D) -> (B, S, P D) -> (B, S, D)
            x = self.merge(x.unflatten(1, (-1, self.n_per_step)).flatten(2))
            n_observed = (n_observed + self.n_per_step - 1) // self.n_per_step
        return x, n_observed

    def _positions(self, clock: Tensor, n_observed: Tensor) -> Tensor:
        last = (n_observed - 1).clamp(min=0).unsqueeze(1)
        span = clock.gather(1, last) - clock[:, :1]  # (B, 1)
        share = (clock - clock[:, :1]) / torch.where(span > 0, span, 1.0)
        gap = F.pad(share.diff(dim=1), (1, 0)) * last
        phase = share.unsqueeze(-1) * self.frequency
        count = n_observed.clamp(min=1).log().view(-1, 1, 1).expand(-1, clock.shape[1], 1)
        gap = gap.clamp(min=0).log1p().unsqueeze(-1)
        positions = torch.cat([phase.sin(), phase.cos(), gap, count.to(phase.dtype)], -1)
        # After the last observation there is padding, which must not become large.
        valid = torch.arange(clock.shape[1], device=clock.device) < n_observed.unsqueeze(1)
        return positions * valid.unsqueeze(-1)


def pool_to_tokens(x: Tensor, n_steps: Tensor) -> tuple[Tensor, Tensor]:
    """At most 8 tokens from a sequence: means of equal parts of its valid steps.

    Parameters
    ----------
    x : Tensor of shape (B, S, D)
        A sequence.
    n_steps : Tensor of shape (B,)
        How many steps count, from the first.

    Returns
    -------
    tokens : Tensor of shape (B, 8, D)
        Means, in the order of time.
    observed : Tensor of shape (B, 8)
        Bool: the first 8, or as many as there are steps.

    Examples
    --------
    >>> tokens, observed = pool_to_tokens(torch.arange(16.0).view(1, 16, 1), torch.tensor([16]))
    >>> tokens.flatten().tolist()
    [0.5, 2.5, 4.5, 6.5, 8.5, 10.5, 12.5, 14.5]
    """
    step = torch.arange(x.shape[1], device=x.device)
    n = n_steps.clamp(min=1).unsqueeze(1)
    n_parts = n.clamp(max=_N_TOKENS)
    part = step * n_parts // n  # (B, S)
    token = torch.arange(_N_TOKENS, device=x.device).view(1, -1, 1)
    member = (part.unsqueeze(1) == token) & (step < n_steps.unsqueeze(1)).unsqueeze(1)
    size = member.sum(-1, keepdim=True)  # (B, T, 1)
    tokens = member.to(x.dtype) @ x / size.clamp(min=1)
    return tokens, size.squeeze(-1) > 0
