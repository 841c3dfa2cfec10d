"""Series of all modalities at common reference times, whatever their clocks.

Sizes: B batch, M modalities, C channels, L timepoints, Q reference times, D width, T width of the
time embedding, H heads.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mts_fusion.nn.layers import masked_mean
from mts_fusion.panel._schema import Schema

from ._mtand import MTANDTimeEmbedding, MultiTimeAttention

__all__ = ["ReferenceSeries"]

# Width of the embedding of a symbol, where a modality has a vocabulary.
_D_SYMBOL = 8


class ReferenceSeries(nn.Module):
    """Each modality interpolated at common reference times by multi-time attention.

    A modality of one timepoint has the same value at all of them.

    Parameters
    ----------
    schema : Schema
        Modalities, their channels, lengths and vocabularies.
    d_model : int
        Width D.
    d_time : int
        Width T of the time embedding, a multiple of ``n_heads``.
    n_reference : int
        Reference times Q, evenly spread over the span of the series.
    n_heads : int
        Heads H of the attention.
    horizon_seconds : float or None
        Span of the reference times, from 0. None: the longest duration in the schema, and for
        modalities with irregular times from a sample's first to its last entry.

    Notes
    -----
    Input: lists of ``values (B, L, C)``, of ``used (B, L, C)`` bool, the entries to read, of
    ``observed (B, L, C)`` bool, those of them that were measured, and of ``times (B, L)`` in
    seconds or None. Output: the series ``(B, M, Q, D)``, the embedding of the reference times
    ``(Q, T)``, and by name the weights of the times ``(B, H, Q, L)`` of each modality that has
    more than one.

    Examples
    --------
    >>> from mts_fusion.panel._schema import Modality
    >>> schema = Schema((Modality("vitals", 4, 48), Modality("age", 1, 1)))
    >>> align = ReferenceSeries(schema, 8, 16, 5, n_heads=2, horizon_seconds=None)
    >>> values = [torch.randn(3, 48, 4), torch.randn(3, 1, 1)]
    >>> observed = [torch.ones_like(x, dtype=torch.bool) for x in values]
    >>> align(values, observed, observed, [None, None])[0].shape
    torch.Size([3, 2, 5, 8])
    """

    def __init__(
        self,
        schema: Schema,
        d_model: int,
        d_time: int,
        n_reference: int,
        *,
        n_heads: int,
        horizon_seconds: float | None,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.n_reference = n_reference
        self.horizon_seconds = horizon_seconds
        self.symbols = nn.ModuleList(
            nn.Identity()
            if m.vocabulary is None
            else nn.Embedding(m.vocabulary.n_tokens, _D_SYMBOL)
            for m in schema
        )
        self.time = MTANDTimeEmbedding(d_time, n_reference=n_reference)
        self.embed = nn.ModuleList()
        for m in schema:
            n_channels = m.n_channels * (1 if m.vocabulary is None else _D_SYMBOL)
            self.embed.append(
                _Static(n_channels, d_model)
                if m.n_timepoints == 1
                else MultiTimeAttention(n_channels, d_time, d_model, n_heads=n_heads)
            )

    def forward(
        self,
        values: Sequence[Tensor],
        used: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None],
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        """Interpolate all modalities."""
        fractions = _fractions(self.schema, used, times, self.horizon_seconds)
        grid = torch.linspace(0, 1, self.n_reference, device=used[0].device)
        reference = self.time(grid)  # (Q, T)
        series, weights = [], {}
        for m, modality in enumerate(self.schema):
            x, use, measured = values[m], used[m], observed[m]
            if modality.vocabulary is not None:
                x = self.symbols[m](x).flatten(2)  # (B, L, C) -> (B, L, C * d_symbol)
                use, measured = (mask.repeat_interleave(_D_SYMBOL, 2) for mask in (use, measured))
            if modality.n_timepoints == 1:
                series.append(self.embed[m](x, use, measured).expand(-1, self.n_reference, -1))
                continue
            key = self.time(fractions[m].to(reference.dtype))
            z, weights[modality.name] = self.embed[m](reference, key, x, use, measured)
            series.append(z)
        return torch.stack(series, dim=1), reference, weights


class _Static(nn.Module):
    """A modality of one timepoint: its channels and their indicators, linearly.

    Inputs ``values, used, observed (B, L, C)``, where all but one timepoint are padding; output
    ``(B, 1, D)``. Attention over one time would have weights that nothing can train.
    """

    def __init__(self, n_channels: int, d_model: int) -> None:
        super().__init__()
        self.out = nn.Linear(2 * n_channels, d_model)

    def forward(self, values: Tensor, used: Tensor, observed: Tensor) -> Tensor:
        mean = masked_mean(values, used, 1)
        measured = masked_mean(observed.to(values.dtype), used, 1)
        return self.out(torch.cat([mean, measured], dim=-1)).unsqueeze(1)


def _fractions(
    schema: Schema,
    used: Sequence[Tensor],
    times: Sequence[Tensor | None],
    horizon_seconds: float | None,
) -> list[Tensor]:
    """Times of all entries as fractions of the span of the reference times, each (B, L)."""
    if horizon_seconds is None:
        first, last = _span(schema, used, times)
    else:
        first = torch.zeros(1, dtype=torch.float64, device=used[0].device)
        last = first + horizon_seconds
    span = (last - first).masked_fill(last <= first, 1.0)
    fractions = []
    for modality, use, t in zip(schema, used, times, strict=True):
        n_samples, n_timepoints = use.shape[:2]
        index = torch.arange(n_timepoints, device=use.device, dtype=torch.float64)
        if t is None and modality.rate is None:  # no seconds: the series fills the span
            fraction = index / max(modality.n_timepoints - 1, 1)
        else:
            seconds = t.to(torch.float64) if t is not None else index / (modality.rate or 1.0)
            fraction = (seconds - first[:, None]) / span[:, None]
        fractions.append(fraction.expand(n_samples, -1))
    return fractions


def _span(
    schema: Schema, used: Sequence[Tensor], times: Sequence[Tensor | None]
) -> tuple[Tensor, Tensor]:
    """First and last time in seconds, (B,) or (1,): of each sample where times are irregular."""
    firsts, lasts = [], []
    for modality, use, t in zip(schema, used, times, strict=True):
        if t is not None:
            any_channel, t = use.any(-1), t.to(torch.float64)
            firsts.append(t.masked_fill(~any_channel, torch.inf).amin(1))
            lasts.append(t.masked_fill(~any_channel, -torch.inf).amax(1))
        elif modality.duration_seconds is not None:
            zero = torch.zeros(use.shape[0], dtype=torch.float64, device=use.device)
            firsts.append(zero)
            lasts.append(zero + modality.duration_seconds)
    if not firsts:
        zero = torch.zeros(1, dtype=torch.float64, device=used[0].device)
        return zero, zero
    first, last = torch.stack(firsts).amin(0), torch.stack(lasts).amax(0)
    empty = first > last  # nothing at all: any finite span will do
    return first.masked_fill(empty, 0.0), last.masked_fill(empty, 0.0)
