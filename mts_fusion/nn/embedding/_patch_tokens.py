"""Tokens of the patches of all modalities, those of one shape computed together.

Sizes: M modalities, m modalities computed together, B batch, L timepoints, C channels, T tokens,
D width.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.panel._schema import Schema

from ._tokens import FourierTimeEncoding, PatchEmbedding, SymbolEmbedding, token_times

__all__ = ["PatchTokens", "TokenBatch"]

# Modalities are computed together if the shorter has at least this fraction of the tokens.
_SAME_LENGTH = 0.75


class TokenBatch(NamedTuple):
    """Tokens of modalities that are computed together.

    Parameters
    ----------
    tokens : Tensor of shape (m, B, T, D)
        Tokens without their times.
    available : Tensor of shape (m, B, T)
        Bool: which of them hold an observation.
    seconds : Tensor of shape (m, T) or (m, B, T)
        Their times, for all samples or for each.
    """

    tokens: Tensor
    available: Tensor
    seconds: Tensor


class PatchTokens(nn.Module):
    """Patches of numbers or symbols of each modality as tokens, and their times.

    Parameters
    ----------
    schema : Schema
        The modalities. Where one has a vocabulary, its values are symbols.
    lengths : sequence of M int
        Timepoints of a token, for each modality.
    d_model : int
        Width D of the tokens.

    Attributes
    ----------
    order : list of M int
        Indices of the modalities in the order in which they are computed.
    index : Tensor of shape (M,)
        The same as a tensor.

    Notes
    -----
    Input: lists in schema order of ``values (B, L, C)``, ``observed (B, L, C)`` bool and ``times
    (B, L)`` in seconds or None; output: a list of :class:`TokenBatch`. Their modalities, one batch
    after the other, are those of ``order``.

    Examples
    --------
    >>> from mts_fusion.panel._schema import Modality
    >>> schema = Schema((Modality("acc", 3, 8), Modality("temp", 1, 2), Modality("gyro", 3, 8)))
    >>> embed = PatchTokens(schema, [2, 1, 2], 16)
    >>> values = [torch.zeros(5, 8, 3), torch.zeros(5, 2, 1), torch.zeros(5, 8, 3)]
    >>> observed = [torch.ones_like(x, dtype=torch.bool) for x in values]
    >>> embed.order, [part.tokens.shape for part in embed(values, observed, [None] * 3)]
    ([0, 2, 1], [torch.Size([2, 5, 4, 16]), torch.Size([1, 5, 2, 16])])
    """

    index: Tensor

    def __init__(self, schema: Schema, lengths: Sequence[int], d_model: int) -> None:
        super().__init__()
        self.schema = schema
        self.lengths = lengths
        self.groups = _equal_shapes(schema, lengths)
        self.order = [m for group in self.groups for m in group]
        self.register_buffer("index", torch.tensor(self.order), persistent=False)
        self.embed = nn.ModuleList(self._embedding(group, d_model) for group in self.groups)
        self.time = FourierTimeEncoding.from_schema(schema, lengths, d_model)

    def _embedding(self, group: list[int], d_model: int) -> nn.Module:
        modality, length = self.schema.modalities[group[0]], self.lengths[group[0]]
        if modality.vocabulary is None:
            return PatchEmbedding(len(group), modality.n_channels, d_model, length)
        return SymbolEmbedding(
            len(group),
            modality.n_channels,
            d_model,
            modality.vocabulary.n_tokens,
            missing=modality.vocabulary.missing,
            patch_length=length,
        )

    def forward(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None],
    ) -> list[TokenBatch]:
        """Embed the patches of all modalities."""
        parts = []
        for group, embed in zip(self.groups, self.embed, strict=True):
            tokens, available = embed([values[m] for m in group], [observed[m] for m in group])
            seconds = self._seconds(group, tokens.shape[2], observed, times)
            parts.append(TokenBatch(tokens, available, seconds))
        runs = _similar_lengths([part.tokens.shape[2] for part in parts])
        return [_join([parts[g] for g in run]) for run in runs]

    def token_counts(self, n_halvings: int = 0) -> list[int]:
        """Tokens of each modality, in the order in which they are computed.

        Parameters
        ----------
        n_halvings : int, default=0
            How often their number has been halved, rounded up.

        Returns
        -------
        list of M int
            For as many timepoints as the schema has.
        """
        spans = [self.lengths[m] * 2**n_halvings for m in self.order]
        counts = [self.schema.modalities[m].n_timepoints for m in self.order]
        return [-(-n // span) for n, span in zip(counts, spans, strict=True)]

    def encode_times(self, seconds: Tensor) -> Tensor:
        """Encoding of the times of tokens.

        Parameters
        ----------
        seconds : Tensor of shape (m, T) or (m, B, T)
            Times, for all samples or for each.

        Returns
        -------
        Tensor of shape (m, 1, T, D) or (m, B, T, D)
            To be added to the tokens.
        """
        encoded = self.time(seconds)
        return encoded.unsqueeze(1) if seconds.dim() == 2 else encoded

    def _seconds(
        self,
        group: list[int],
        n_tokens: int,
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None],
    ) -> Tensor:
        """Times of a group's tokens: ``(g, T)``, or ``(g, B, T)`` where those of one are given."""
        seconds = []
        for m in group:
            modality, length, o = self.schema.modalities[m], self.lengths[m], observed[m]
            if times[m] is None:
                middle = token_times(modality, length, n_tokens * length, device=o.device)
            else:
                middle = token_times(modality, length, o.shape[1], times=times[m], observed=o)
                middle = F.pad(middle, (0, n_tokens - middle.shape[1]))
            seconds.append(middle)
        return _stack_times(seconds, observed[0].shape[0])


def _equal_shapes(schema: Schema, lengths: Sequence[int]) -> list[list[int]]:
    """Indices of the modalities whose tokens have one shape, longest first."""

    def shape(m: int) -> tuple[int, ...]:
        modality, length = schema.modalities[m], lengths[m]
        vocabulary = modality.vocabulary
        symbols = (0, 0) if vocabulary is None else (vocabulary.n_tokens, vocabulary.missing)
        n_tokens = -(-modality.n_timepoints // length)
        return (-n_tokens, length, modality.n_channels, *symbols)

    indices = sorted(range(len(schema)), key=shape)
    return [list(group) for _, group in groupby(indices, key=shape)]


def _similar_lengths(n_tokens: list[int]) -> list[list[int]]:
    """Runs of groups whose numbers of tokens are close enough to be computed together."""
    runs: list[list[int]] = []
    for g, n in enumerate(n_tokens):
        if runs:
            counts = [n, *(n_tokens[other] for other in runs[-1])]
            if min(counts) >= _SAME_LENGTH * max(counts):
                runs[-1].append(g)
                continue
        runs.append([g])
    return runs


def _join(parts: list[TokenBatch]) -> TokenBatch:
    """One batch of several groups, shorter ones filled with tokens that are not available."""
    if len(parts) == 1:
        return parts[0]
    batch = parts[0].tokens.shape[1]
    longest = max(part.tokens.shape[2] for part in parts)
    gaps = [longest - part.tokens.shape[2] for part in parts]
    seconds = [
        F.pad(row, (0, gap))
        for part, gap in zip(parts, gaps, strict=True)
        for row in part.seconds.unbind(0)
    ]
    return TokenBatch(
        torch.cat(
            [
                F.pad(part.tokens, (0, 0, 0, gap)) if gap else part.tokens
                for part, gap in zip(parts, gaps, strict=True)
            ]
        ),
        torch.cat([F.pad(part.available, (0, gap)) for part, gap in zip(parts, gaps, strict=True)]),
        _stack_times(seconds, batch),
    )


def _stack_times(seconds: list[Tensor], batch: int) -> Tensor:
    """Rows of ``(T,)`` and ``(B, T)``: ``(m, T)`` if all are the first, ``(m, B, T)`` otherwise."""
    if all(row.dim() == 1 for row in seconds):
        return torch.stack(seconds)
    return torch.stack([row.expand(batch, -1) for row in seconds])
