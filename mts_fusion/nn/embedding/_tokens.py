"""Numbers, symbols and times of each modality as tokens of one width.

Sizes: m modalities of one shape, B batch, L timepoints, C channels, P timepoints in a token,
T tokens, D width.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.layers import ModalityLinear, masked_mean
from mts_fusion.panel._schema import Modality, Schema

__all__ = [
    "PatchEmbedding",
    "SymbolEmbedding",
    "FourierTimeEncoding",
    "patch_lengths",
    "token_times",
]

# Periods of the encoding of time.
_N_PERIODS = 16


def patch_lengths(
    schema: Schema, patch_length: int | Mapping[str, int] | None = None, *, max_tokens: int = 32
) -> list[int]:
    """Timepoints that make one token, for each modality.

    Parameters
    ----------
    schema : Schema
        The modalities.
    patch_length : int, dict of str to int or None, default=None
        Given for all, or by name. For the others, the smallest with which the modality has at most
        ``max_tokens`` tokens: modalities of different rates over the same seconds get tokens of
        about the same duration.
    max_tokens : int, default=32
        Tokens of a modality for which nothing is given.

    Returns
    -------
    list of int
        In schema order.

    Raises
    ------
    ValueError
        If a length is below 1, or a name is not in the schema.

    Examples
    --------
    >>> schema = Schema((Modality("acc", 3, 1920, rate=64.0), Modality("temp", 1, 120, rate=4.0)))
    >>> patch_lengths(schema)
    [60, 4]
    >>> patch_lengths(schema, {"temp": 1})
    [60, 1]
    """
    if max_tokens < 1:
        raise ValueError(f"max_tokens is at least 1, got {max_tokens}.")
    given = patch_length if isinstance(patch_length, Mapping) else {}
    unknown = [name for name in given if name not in schema]
    if unknown:
        raise ValueError(
            f"patch_length names {unknown}, but the modalities are {list(schema.names)}."
        )
    lengths = []
    for modality in schema:
        length = given.get(modality.name) if isinstance(patch_length, Mapping) else patch_length
        if length is None:
            length = -(-modality.n_timepoints // max_tokens)
        if length < 1:
            raise ValueError(
                f"patch_length is at least 1 timepoint, got {length} for modality "
                f"{modality.name!r}."
            )
        lengths.append(length)
    return lengths


def _patches(x: Tensor, length: int) -> Tensor:
    """``(..., L, C)`` to ``(..., T, P, C)``, the end filled with zeros."""
    n_tokens = -(-x.shape[-2] // length)
    gap = n_tokens * length - x.shape[-2]
    x = F.pad(x, (0, 0, 0, gap)) if gap else x
    return x.unflatten(-2, (n_tokens, length))


def _stack(tensors: Sequence[Tensor]) -> Tensor:
    """Stack ``(B, L, C)`` of several L as ``(m, B, L, C)``, shorter ones filled with zeros."""
    longest = max(x.shape[1] for x in tensors)
    return torch.stack([F.pad(x, (0, 0, 0, longest - x.shape[1])) for x in tensors])


class PatchEmbedding(nn.Module):
    """Tokens from the numbers of modalities of one shape: a linear map of each patch.

    What is mapped are the values, 0 where unobserved, and indicators of which were observed.

    Parameters
    ----------
    n_modalities : int
        Modalities m, each with weights of its own.
    n_channels : int
        Channels C of each.
    d_model : int
        Width D.
    patch_length : int, default=1
        Timepoints P that make one token.

    Notes
    -----
    Input: ``values`` and ``observed``, lists of m tensors ``(B, L, C)``. Output: tokens
    ``(m, B, T, D)`` and which are observed ``(m, B, T)``, that is, anything in their patch is.

    Examples
    --------
    >>> embed = PatchEmbedding(2, 3, 8, patch_length=4)
    >>> x, observed = torch.zeros(5, 18, 3), torch.ones(5, 18, 3, dtype=bool)
    >>> tokens, available = embed([x, x], [observed, observed])
    >>> tokens.shape, available.shape
    (torch.Size([2, 5, 5, 8]), torch.Size([2, 5, 5]))
    """

    def __init__(
        self,
        n_modalities: int,
        n_channels: int,
        d_model: int,
        patch_length: int = 1,
    ) -> None:
        super().__init__()
        self.patch_length = patch_length
        self.project = ModalityLinear(n_modalities, patch_length * 2 * n_channels, d_model)

    def forward(
        self, values: Sequence[Tensor], observed: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Embed the modalities."""
        x, o = _stack(values), _stack(observed)  # (m, B, L, C)
        x = torch.cat([torch.where(o, x, 0), o.to(x.dtype)], -1)
        tokens = self.project(_patches(x, self.patch_length).flatten(-2))
        return tokens, _patches(o, self.patch_length).flatten(-2).any(-1)


class SymbolEmbedding(nn.Module):
    """Tokens from the symbols of modalities of one shape: the sum of one vector a symbol.

    Each channel and each position in a patch has its own vector for each symbol, the most general
    linear map of symbols; the vectors start on a smooth curve, so that neighbouring symbols start
    as neighbours.

    Parameters
    ----------
    n_modalities : int
        Modalities m, each with vectors of its own.
    n_channels : int
        Channels C of each.
    d_model : int
        Width D.
    n_tokens : int
        Symbols of the vocabulary, with the missing one.
    missing : int, default=0
        The symbol of what was not observed.
    patch_length : int, default=1
        Symbols P of a channel that make one token.

    Notes
    -----
    Input: ``values`` (int64) and ``observed``, lists of m tensors ``(B, L, C)``. Output: tokens
    ``(m, B, T, D)`` and which are observed ``(m, B, T)``.

    Examples
    --------
    >>> embed = SymbolEmbedding(2, 3, 8, n_tokens=21)
    >>> x = torch.ones(5, 18, 3, dtype=torch.int64)
    >>> embed([x, x], [x > 0, x > 0])[0].shape
    torch.Size([2, 5, 18, 8])
    """

    # NOTE[DIFF] The released code of MAESTRO feeds symbols as numbers through one linear map, so
    # that the vectors of all symbols lie on one line, the missing one among them.

    def __init__(
        self,
        n_modalities: int,
        n_channels: int,
        d_model: int,
        n_tokens: int,
        *,
        missing: int = 0,
        patch_length: int = 1,
    ) -> None:
        super().__init__()
        self.n_tokens = n_tokens
        self.missing = missing
        self.patch_length = patch_length
        self.n_positions = patch_length * n_channels
        n_tables = n_modalities * self.n_positions
        level = torch.linspace(-1, 1, n_tokens)
        curve = torch.stack([level * 3**0.5, *(torch.cos(math.pi * k * level) for k in (1, 2))], 1)
        table = curve @ torch.randn(n_tables, 3, d_model) + 0.3 * torch.randn(
            n_tables, n_tokens, d_model
        )
        table = table / math.sqrt(3 * self.n_positions)
        table[:, missing] = 0
        self.table = nn.Parameter(table.flatten(0, 1))

    def forward(
        self, values: Sequence[Tensor], observed: Sequence[Tensor]
    ) -> tuple[Tensor, Tensor]:
        """Embed the modalities."""
        o = _patches(_stack(observed), self.patch_length).flatten(-2)  # (m, B, T, P C)
        x = _patches(_stack(values), self.patch_length).flatten(-2)
        x = torch.where(o, x, self.missing)
        n_tables = x.shape[0] * self.n_positions
        first = torch.arange(n_tables, device=x.device).view(-1, 1, 1, self.n_positions)
        bags = (x + first * self.n_tokens).flatten(0, 2)
        tokens = F.embedding_bag(bags, self.table, mode="sum")
        return tokens.view(*x.shape[:3], -1), o.any(-1)


def token_times(
    modality: Modality,
    patch_length: int,
    n_timepoints: int,
    *,
    times: Tensor | None = None,
    observed: Tensor | None = None,
    device: torch.device | None = None,
) -> Tensor:
    """Time of each token in seconds: the middle of its patch, or the mean of what is observed.

    Parameters
    ----------
    modality : Modality
        Whose rate gives the times where there are none; at an unknown rate the unit is the step.
    patch_length : int
        Timepoints P that make one token.
    n_timepoints : int
        Timepoints L of the batch.
    times : Tensor of shape (B, L) or None, default=None
        Seconds.
    observed : Tensor of shape (B, L, C) or None, default=None
        Bool; needed with ``times``.
    device : torch.device or None, default=None
        Where the times are made if none are given.

    Returns
    -------
    Tensor of shape (T,), or (B, T) where times are given
        Seconds. A token of which nothing was observed has the middle of its patch at the rate of
        the modality, so that no two of them have the same time.

    Examples
    --------
    >>> token_times(Modality("acc", 3, 8, rate=2.0), 4, 8)
    tensor([0.7500, 2.7500])
    """
    device = device if observed is None else observed.device
    n_tokens = -(-n_timepoints // patch_length)
    middle = torch.arange(n_tokens, device=device) * patch_length + (patch_length - 1) / 2
    middle = middle / (modality.rate or 1.0)
    if times is None or observed is None:
        return middle
    counted = _patches(observed.any(-1, keepdim=True), patch_length).flatten(-2)
    seconds = _patches(times.unsqueeze(-1), patch_length).flatten(-2)
    return torch.where(counted.any(-1), masked_mean(seconds, counted, -1), middle)


class FourierTimeEncoding(nn.Module):
    """Vectors from seconds: sines and cosines of 16 periods, and a linear map of them.

    The periods are equally spaced on a logarithmic scale.

    There is no table of positions: any length, rate and irregular times are encoded alike.

    Parameters
    ----------
    d_model : int
        Width D.
    shortest_seconds : float
        Shortest period.
    longest_seconds : float
        Longest period; at least the shortest.

    Notes
    -----
    Input of any shape ``(...)``; output ``(..., D)``.

    Examples
    --------
    >>> encode = FourierTimeEncoding(8, shortest_seconds=2.0, longest_seconds=3600.0)
    >>> encode(torch.zeros(3, 5)).shape
    torch.Size([3, 5, 8])
    """

    # NOTE[DIFF] MAESTRO encodes the number of a token, with periods up to 10,000 tokens.

    frequency: Tensor

    def __init__(
        self,
        d_model: int,
        *,
        shortest_seconds: float,
        longest_seconds: float,
    ) -> None:
        super().__init__()
        shortest, longest = math.log(shortest_seconds), math.log(longest_seconds)
        period = torch.linspace(shortest, max(longest, shortest), _N_PERIODS).exp()
        self.register_buffer("frequency", 2 * math.pi / period)
        self.project = nn.Linear(2 * _N_PERIODS, d_model, bias=False)

    @classmethod
    def from_schema(
        cls, schema: Schema, lengths: Sequence[int], d_model: int
    ) -> FourierTimeEncoding:
        """Periods from two tokens to four windows; to 1e6 seconds where a rate is unknown.

        Parameters
        ----------
        schema : Schema
            The modalities.
        lengths : sequence of int
            Timepoints of a token, for each modality.
        d_model : int
            Width D.

        Returns
        -------
        FourierTimeEncoding
            For these modalities.
        """
        steps = [p / (m.rate or 1.0) for m, p in zip(schema, lengths, strict=True)]
        spans = [m.n_timepoints / (m.rate or 1.0) for m in schema]
        # Where the rate is unknown the times may be given, in seconds of any scale.
        unknown = 1e6 if any(m.rate is None for m in schema) else 0.0
        return cls(
            d_model,
            shortest_seconds=2 * min(steps),
            longest_seconds=max(4 * max(spans), unknown),
        )

    def forward(self, seconds: Tensor) -> Tensor:
        """Encode times."""
        phase = seconds.unsqueeze(-1).float() * self.frequency
        return self.project(torch.cat([phase.sin(), phase.cos()], -1))
