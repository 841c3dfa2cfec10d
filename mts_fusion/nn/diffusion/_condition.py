"""What a denoiser is given besides the latent: context, encoding of the observed, and the prior.

Sizes: B batch, M modalities, L timepoints, C channels, P patches, G groups of channels, N tokens of
all modalities, D width, Q entries of all modalities (the sum of L * C).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from mts_fusion.panel._schema import Schema

from ._context import CrossModalContext
from ._ends import after_end, sample_end
from ._gated_context import GatedContext
from ._grid import Grid, GridEncoderLayer
from ._interpolation import fill_between
from ._patches import Patches, join_tokens
from ._time_embedding import sinusoids

__all__ = ["Condition", "ConditionEncoder"]

# Widths of the embeddings of a time and of a group of channels, and of the cross-modal context.
_D_TIME = 128
_D_FEATURE = 64
_D_CONTEXT = 128

_GATINGS = ("moe", "inner_product", "fixed")
_CONDITIONINGS = ("cross", "target", "none")
_PRIORS = ("learned", "standard", "gaussian_process")


class Condition(NamedTuple):
    """What a denoiser is given for one batch, the same for each step and each draw.

    Parameters
    ----------
    modalities : list of int
        Indices of the modalities with gaps; all that follows is of these alone, but for the gate.
    shapes : list of tuple of (int, int)
        Timepoints L and channels C of each.
    grids : list of Grid
        Tokens of each.
    observed : Tensor of shape (B, N, D)
        Projection of the observed entries.
    side : Tensor of shape (B, N, d_side)
        Time, channels, context and encoding of each token.
    location : Tensor of shape (B, Q)
        Expected value of each entry; 0 with the standard prior.
    scale : Tensor of shape (B, Q)
        Expected deviation from it; 1 with the standard prior.
    gate : Tensor of shape (B, M, M)
        Weight of each auxiliary modality (last axis) for each target.
    beyond : bool Tensor of shape (B, Q), or None
        Entries after the end of a sample that share a patch with entries before it; None where no
        sample can have any.
    """

    modalities: list[int]
    shapes: list[tuple[int, int]]
    grids: list[Grid]
    observed: Tensor
    side: Tensor
    location: Tensor
    scale: Tensor
    gate: Tensor
    beyond: Tensor | None


class _Tokens(NamedTuple):
    """Tokens of each modality, ``(B, P * G, .)``, and the times of its patches."""

    pairs: list[Tensor]  # values, and which of them are observed
    observed: list[Tensor]
    time: list[Tensor]  # (B, P, d_time)
    centres: list[Tensor]  # (B, P)
    grids: list[Grid]


class ConditionEncoder(nn.Module):
    """Reads what is observed of all modalities, once for all steps and draws.

    Parameters
    ----------
    schema : Schema
        The modalities.
    patches : sequence of M Patches
        The tokens of each.
    d_model : int
        Width D of the tokens.
    n_heads : int
        Heads of each attention.
    n_layers : int
        Layers of the encoder; 0 is none.
    n_experts : int
        Experts of the context.
    conditioning : {"cross", "target", "none"}
        What a gap is filled from: the observed entries of all modalities, those of its own
        modality, or none.
    gating : {"moe", "inner_product", "fixed"}
        How the other modalities are read: by attention, weighted by a learnt gate or equally, or
        with ``"inner_product"`` as a gated sum of their values (:class:`GatedContext`).
    prior : {"learned", "standard", "gaussian_process"}
        Whether there is an expected value and deviation of each entry: around the line between its
        neighbours (``"learned"``), none, or around 0, of values that are the errors of a Gaussian
        process.
    time_unit : float or None
        Seconds of one unit of time; None takes it from the highest rate of the schema, or 1.

    Attributes
    ----------
    d_side : int
        Width of the side information.

    Raises
    ------
    ValueError
        If an option is not known, or a width is not a multiple of ``n_heads``.

    Notes
    -----
    Input: lists of ``values`` and ``observed (B, L, C)``, of ``times (B, L)`` in seconds or None,
    and the indices of the modalities that are denoised; with a Gaussian process also the list of
    its ``moments (B, 2, L, C)``, mean and logarithm of the width of each entry. Output
    :class:`Condition`. All modalities are read.
    """

    def __init__(
        self,
        schema: Schema,
        patches: Sequence[Patches],
        *,
        d_model: int,
        n_heads: int,
        n_layers: int,
        n_experts: int,
        conditioning: str,
        gating: str,
        prior: str,
        time_unit: float | None,
    ) -> None:
        super().__init__()
        for name, value, allowed in (
            ("conditioning", conditioning, _CONDITIONINGS),
            ("gating", gating, _GATINGS),
            ("prior", prior, _PRIORS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}.")
        self.rates = [m.rate for m in schema]
        self.least = [None if m.irregular else m.n_timepoints for m in schema]
        rates = [rate for rate in self.rates if rate is not None]
        self.time_unit = time_unit or (1 / max(rates) if rates else 1.0)
        self.conditioning = conditioning
        self.patches = patches
        sizes, n_groups = [p.size for p in patches], [p.n_groups for p in patches]
        self.feature = nn.ParameterList(nn.Parameter(torch.randn(g, _D_FEATURE)) for g in n_groups)
        d_query = _D_TIME + _D_FEATURE
        self.context: CrossModalContext | None = None
        self.gated: GatedContext | None = None
        has_context = conditioning == "cross" and len(schema) > 1
        if has_context and gating == "inner_product":
            n_channels = [m.n_channels for m in schema]
            self.gated = GatedContext(n_channels, _D_CONTEXT, n_experts=n_experts)
        elif has_context:
            self.auxiliary_in = nn.ModuleList(
                nn.Linear(2 * size * g, _D_CONTEXT) for size, g in zip(sizes, n_groups, strict=True)
            )
            self.auxiliary_time = nn.Linear(_D_TIME, _D_CONTEXT)
            self.auxiliary = GridEncoderLayer(_D_CONTEXT, n_heads, 2 * _D_CONTEXT)
            self.context = CrossModalContext(
                d_query, _D_CONTEXT, n_heads=n_heads, n_experts=n_experts, gating=gating
            )
        d_given = d_query + (_D_CONTEXT if has_context else 0)
        n_inputs = 2 if prior == "standard" else 4
        self.observed_in = nn.ModuleList(nn.Linear(n_inputs * size, d_model) for size in sizes)
        self.layers = nn.ModuleList(
            GridEncoderLayer(d_model, n_heads, 2 * d_model) for _ in range(n_layers)
        )
        self.given = nn.Linear(d_given, d_model) if n_layers else None
        self.d_side = d_given + (d_model if n_layers else 0)
        self.prior_out: nn.ModuleList | None = None
        if prior != "standard":
            self.prior_out = nn.ModuleList(nn.Linear(d_model, 3 * size) for size in sizes)
            for parameter in self.prior_out.parameters():
                nn.init.zeros_(parameter)

    def forward(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None] | None,
        modalities: list[int],
        moments: Sequence[Tensor] | None = None,
    ) -> Condition:
        """Read the observed entries."""
        if self.conditioning == "none":
            observed = [torch.zeros_like(o) for o in observed]
        values = [torch.where(o, x, 0.0) for x, o in zip(values, observed, strict=True)]
        shapes = [(values[m].shape[1], values[m].shape[2]) for m in modalities]
        clocks = self._clocks(times, values)
        ends = [
            sample_end(o, None if times is None else times[m], least)
            for m, (o, least) in enumerate(zip(observed, self.least, strict=True))
        ]
        after = [
            after_end(end, x, p.length)
            for end, x, p in zip(ends, values, self.patches, strict=True)
        ]
        tokens = self._tokenize(values, observed, clocks, ends, after)
        side, gate = self._side(tokens, values, observed, clocks, ends, after)
        inputs, lines = tokens.pairs, values
        if moments is not None:
            lines = [torch.zeros_like(x) for x in values]
            means, widths = ([x[:, i] for x in moments] for i in (0, 1))
            parts = zip(
                tokens.pairs, self._cut(means, after), self._cut(widths, after), strict=True
            )
            inputs = [torch.cat(part, dim=2) for part in parts]
        elif self.prior_out is not None:
            filled = [
                fill_between(*part) for part in zip(values, observed, clocks, ends, strict=True)
            ]
            lines = [line for line, _ in filled]
            distances = self._cut([torch.log1p(distance) for _, distance in filled], after)
            parts = zip(tokens.pairs, self._cut(lines, after), distances, strict=True)
            inputs = [torch.cat(part, dim=2) for part in parts]
        projected = torch.cat(
            [layer(x) for layer, x in zip(self.observed_in, inputs, strict=True)], dim=1
        )
        hidden = projected
        if self.given is not None:
            hidden = projected + self.given(side)
            for layer in self.layers:
                hidden = layer(hidden, tokens.grids)
            side = torch.cat([side, hidden], dim=2)
        if len(modalities) < len(values):
            sizes = [grid.n_tokens for grid in tokens.grids]
            projected, side, hidden = (
                torch.cat([x.split(sizes, dim=1)[m] for m in modalities], dim=1)
                for x in (projected, side, hidden)
            )
        grids = [tokens.grids[m] for m in modalities]
        given = [lines[m] for m in modalities]
        location, scale = self._prior(hidden, given, modalities, grids)
        beyond = None
        if any(ends[m] is not None for m in modalities):
            late = [after[m][..., None].expand(*values[m].shape).flatten(1) for m in modalities]
            beyond = torch.cat(late, dim=1)
        return Condition(modalities, shapes, grids, projected, side, location, scale, gate, beyond)

    def _cut(
        self, entries: Sequence[Tensor], after: Sequence[Tensor] | None = None
    ) -> list[Tensor]:
        """Entries as tokens, 0 after the end of a sample."""
        if after is not None:
            entries = [
                x.masked_fill(late[..., None], 0.0) for x, late in zip(entries, after, strict=True)
            ]
        return [p.cut(x) for p, x in zip(self.patches, entries, strict=True)]

    def _clocks(
        self, times: Sequence[Tensor | None] | None, values: Sequence[Tensor]
    ) -> list[Tensor]:
        """Time of each timepoint in units of the sampling interval, (B, L)."""
        clocks = []
        for m, x in enumerate(values):
            t = None if times is None else times[m]
            if t is None:
                t = torch.arange(x.shape[1], device=x.device) / (self.rates[m] or 1.0)
                t = t.expand(x.shape[0], -1)
            else:
                t = t.cummax(1).values  # the padding after the last time has that time
            clocks.append(t / self.time_unit)
        return clocks

    def _tokenize(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        clocks: Sequence[Tensor],
        ends: Sequence[Tensor | None],
        after: Sequence[Tensor],
    ) -> _Tokens:
        """Entries and their times as tokens."""
        masks = self._cut([o.to(x.dtype) for x, o in zip(values, observed, strict=True)])
        pairs = [torch.cat(pair, dim=2) for pair in zip(self._cut(values), masks, strict=True)]
        time, centres, grids = [], [], []
        for p, t, end, late in zip(self.patches, clocks, ends, after, strict=True):
            time.append(p.mean(sinusoids(t, _D_TIME), late))
            centres.append(p.mean(t[..., None], late)[..., 0])
            grid = p.grid(t.shape[1])
            if end is not None:
                starts = p.length * torch.arange(grid.n_patches, device=t.device)
                grid = grid._replace(own=starts < end[:, None])
            grids.append(grid)
        return _Tokens(pairs, masks, time, centres, grids)

    def _side(
        self,
        tokens: _Tokens,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        clocks: Sequence[Tensor],
        ends: Sequence[Tensor | None],
        after: Sequence[Tensor],
    ) -> tuple[Tensor, Tensor]:
        """Time, channels and context of each token ``(B, N, .)``, and the gate ``(B, M, M)``."""
        n_samples = tokens.pairs[0].shape[0]
        queries = []  # (B, P G, d_time + d_feature)
        for t, feature, (p, g, _) in zip(tokens.time, self.feature, tokens.grids, strict=True):
            time = t[:, :, None].expand(-1, -1, g, -1)
            query = torch.cat([time, feature.expand(n_samples, p, -1, -1)], dim=3)
            queries.append(query.flatten(1, 2))
        side = torch.cat(queries, dim=1)
        if self.gated is not None:
            contexts, gate = self.gated(values, observed, clocks, ends)
            parts = [
                p.mean(x, late).repeat_interleave(p.n_groups, dim=1)
                for p, x, late in zip(self.patches, contexts, after, strict=True)
            ]
            return torch.cat([side, torch.cat(parts, dim=1)], dim=2), gate
        if self.context is None:
            return side, side.new_zeros(n_samples, len(queries), len(queries))
        rows_of = [grid._replace(n_groups=1) for grid in tokens.grids]
        n_patches = [grid.n_patches for grid in tokens.grids]
        rows = [x.view(n_samples, p, -1) for x, p in zip(tokens.pairs, n_patches, strict=True)]
        encoded = [
            layer(x) + self.auxiliary_time(t)
            for layer, x, t in zip(self.auxiliary_in, rows, tokens.time, strict=True)
        ]
        mixed = self.auxiliary(torch.cat(encoded, dim=1), rows_of)
        available = [
            x.view(n_samples, p, -1).amax(2) > 0
            for x, p in zip(tokens.observed, n_patches, strict=True)
        ]
        context, gate = self.context(
            queries, mixed.split(n_patches, dim=1), available, tokens.centres
        )
        return torch.cat([side, context], dim=2), gate

    def _prior(
        self,
        hidden: Tensor,
        lines: Sequence[Tensor],
        modalities: Sequence[int],
        grids: Sequence[Grid],
    ) -> tuple[Tensor, Tensor]:
        """Expected value and deviation of each entry, ``(B, Q)``."""
        line = torch.cat([x.flatten(1) for x in lines], dim=1)
        if self.prior_out is None:
            return torch.zeros_like(line), torch.ones_like(line)
        sizes = [grid.n_tokens for grid in grids]
        outs = [
            self.prior_out[m](x).chunk(3, dim=2)
            for m, x in zip(modalities, hidden.split(sizes, dim=1), strict=True)
        ]
        patches = [self.patches[m] for m in modalities]
        shapes = [(x.shape[1], x.shape[2]) for x in lines]
        shift, keep, width = (
            join_tokens(patches, part, shapes) for part in zip(*outs, strict=True)
        )
        # The encoder corrects the straight line between neighbours. The scale is bounded, so that
        # neither a constant channel nor an outlier blows the loss up.
        return (1 + keep) * line + shift, (3 * torch.tanh(width / 3)).exp()
