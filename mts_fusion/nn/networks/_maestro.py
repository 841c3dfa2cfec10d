"""MAESTRO: sparse attention in and across modalities, within a budget, with experts behind it.

Sizes: M modalities, G groups of modalities of one shape, B batch, T tokens, D width, E experts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import groupby
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.attention import BudgetGate, CrossModalLayer, IntraModalLayer, distilled_times
from mts_fusion.nn.embedding import (
    FeatureLogits,
    FeatureTokens,
    FourierTimeEncoding,
    PatchEmbedding,
    SymbolEmbedding,
    patch_lengths,
    token_times,
)
from mts_fusion.nn.layers import (
    Dropout,
    ModalityDropout,
    available_modalities,
    check_heads,
    mean_weights,
)
from mts_fusion.panel._schema import Schema

from ._inputs import check_features, check_values
from ._output import ModuleOutput

__all__ = ["Maestro"]

# Tokens of all modalities from which attention across them is within the budget by default.
_LONG = 1024

# So many tokens have their attention to each other recorded; it grows with the square.
_MOST_TOKENS_SHOWN = 256

# Modalities are computed together if the shorter has at least this share of the tokens.
_SAME_LENGTH = 0.75


class Maestro(nn.Module):
    """Prediction from modalities of which any may be missing, by the network of [1]_.

    Patches or symbols of each modality become tokens (section 1 of the method); layers inside each
    modality attend with the queries that an attention budget allows, learnt from which modalities
    are there, and halve the tokens (2, 3); layers over the tokens of all modalities attend across
    them and pass each token through an expert (4, 5); the mean of the tokens goes to the head (7).
    In training whole modalities are hidden, drawn for each sample (6).

    Parameters
    ----------
    schema : Schema
        The modalities. Where one has a vocabulary, its values are symbols.
    n_outputs : int
        Width of the prediction.
    d_model : int, default=64
        Width D of the tokens; a multiple of ``n_heads``.
    n_heads : int, default=4
        Heads of the attention.
    n_intra_layers : int, default=2
        Layers inside each modality. Each halves the number of tokens.
    n_cross_layers : int, default=2
        Layers across modalities.
    n_experts : int, default=4
        Experts of each cross-modal layer; 1 is a plain feed-forward layer.
    n_active_experts : int, default=1
        Experts a token passes through.
    attention_budget : "learnt", float, dict of str to float or None, default="learnt"
        Of n observed tokens of a modality, ``budget * log(n)`` queries attend, the others take the
        mean. A number fixes the budget of all modalities, a dict those it names; the others, or
        all with "learnt" or None, are learnt. 0: none attends; ``inf`` (for all only): all attend.
    max_budget : float, default=5.0
        Largest budget that can be learnt.
    modality_dropout : float, default=0.6
        Rate at which a modality of a sample is hidden in training. It is the buffer
        ``modality_dropout.p``, which a schedule may set (:func:`curriculum_rate`).
    dropout : float, default=0.3
        Dropout in all layers and the head.
    balance_weight : float, default=0.0
        Weight of the load-balancing loss of the experts. 0 as in the paper: they specialise through
        the modality dropout.
    patch_length : int, dict of str to int or None, default=None
        Timepoints that make one token, for all or by name; for the others, the smallest with which
        a modality has at most ``max_tokens`` tokens.
    max_tokens : int, default=16
        Tokens of a modality whose ``patch_length`` is not given.
    distil : bool, default=True
        Whether the layers inside a modality halve its tokens.
    cross_budget : float or None, default=None
        Budget of the attention across modalities. None: all tokens attend up to 1024 tokens in
        the schema, and ``max_budget`` holds for more.
    feature_widths : sequence of M dicts of str to sequence of int, or None, default=None
        By modality and kind, the widths of the parts of its fixed features. One more token a
        modality is made of its ``"statistics"``, and one of all other kinds. None: no features.
    feature_dropout : float, default=0.5
        Share of those features hidden in training.
    patches : bool, default=True
        Whether there are tokens learnt from patches; without them only fixed features are left.
    linear : bool, default=False
        Whether logits of each modality that are linear in its statistics are added.
    kind_dropout : float, default=0.3
        Rate at which all tokens of one kind (patches, statistics, convolutions) are hidden from a
        sample in training, never all: no kind may lean on another.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``, a budget or a patch length is out of range
        or names an unknown modality, no tokens are left, the input has another number of modalities
        or channels, or features are declared and not given.

    Notes
    -----
    Input: lists in schema order, ``values[m] (B, L, C)`` float32, or int64 symbols where a
    vocabulary stands; ``observed[m] (B, L, C)`` bool; ``times[m] (B, L)`` seconds or None, which is
    every ``1 / rate`` seconds. Values behind ``observed=False`` are not read.

    Record: ``budget (B, M)`` unless all attend, 0 without patches; ``attention (B, M, M)``, the
    share of the attention of a modality's tokens (row) that goes to each, mean of layers and
    heads, rows sum to 1 where the modality is available and are 0 elsewhere;
    ``token_attention (B, T, T)``, the same for each token, where there are at most 256 of them; of
    the last layer
    ``expert (B, T, k)``, -1 where a token is not available, and ``gate (B, T, E)``, 0 there; of its
    tokens ``available (B, T)`` and the place of their modality in the schema, ``modality (B, T)``.

    References
    ----------
    .. [1] Mohapatra et al., "MAESTRO: Adaptive Sparse Attention and Robust Learning for Multimodal
       Dynamic Time Series", NeurIPS, 2025. https://arxiv.org/abs/2509.25278

    Examples
    --------
    >>> import torch
    >>> from mts_fusion.panel._schema import Modality, Schema
    >>> schema = Schema((Modality("acc", 3, 100, rate=25.0), Modality("temp", 1, 16, rate=4.0)))
    >>> values = [torch.randn(5, 100, 3), torch.randn(5, 16, 1)]
    >>> observed = [torch.ones(5, 100, 3, dtype=bool), torch.zeros(5, 16, 1, dtype=bool)]
    >>> net = Maestro(schema, n_outputs=4, d_model=16).eval()
    >>> output = net(values, observed, record=True)
    >>> output.prediction.shape
    torch.Size([5, 4])
    >>> output.record["budget"].shape
    torch.Size([5, 2])
    """

    index: Tensor

    def __init__(
        self,
        schema: Schema,
        n_outputs: int,
        *,
        d_model: int = 64,
        n_heads: int = 4,
        n_intra_layers: int = 2,
        n_cross_layers: int = 2,
        n_experts: int = 4,
        n_active_experts: int = 1,
        attention_budget: str | float | Mapping[str, float] | None = "learnt",
        max_budget: float = 5.0,
        modality_dropout: float = 0.6,
        dropout: float = 0.3,
        balance_weight: float = 0.0,
        patch_length: int | Mapping[str, int] | None = None,
        max_tokens: int = 16,
        distil: bool = True,
        cross_budget: float | None = None,
        feature_widths: Sequence[Mapping[str, Sequence[int]]] | None = None,
        feature_dropout: float = 0.5,
        patches: bool = True,
        kind_dropout: float = 0.3,
        linear: bool = False,
    ) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        if max_budget <= 0:
            raise ValueError(f"max_budget is above 0, got {max_budget}.")
        self.schema = schema
        self.balance_weight = balance_weight
        self.widths = [] if feature_widths is None else _by_kind(feature_widths)
        statistics = [sum(w for is_one, w in parts if is_one) for parts in self.widths]
        convolutions = [sum(w for is_one, w in parts if not is_one) for parts in self.widths]
        if not patches and not any(statistics) and not any(convolutions):
            raise ValueError(
                "patches=False and there are no fixed features: no tokens are left. Declare "
                "feature_widths, or set patches=True."
            )
        self.patches = patches
        n_intra_layers = n_intra_layers if patches else 0
        self.lengths = patch_lengths(schema, patch_length, max_tokens=max_tokens)
        self.groups = _groups(schema, self.lengths) if patches else []
        self.order = [m for group in self.groups for m in group]
        self.register_buffer("index", torch.tensor(self.order), persistent=False)

        self.embed = nn.ModuleList(self._embedding(group, d_model) for group in self.groups)
        if patches:
            self.time = FourierTimeEncoding.from_schema(schema, self.lengths, d_model)
        self.modality = nn.Parameter(torch.randn(len(schema), d_model) * 0.1)
        self.modality_dropout = ModalityDropout(modality_dropout, spread=True)
        fixed = _fixed_budgets(schema, attention_budget)
        self.budget: BudgetGate | None = None
        if not all(budget == math.inf for budget in fixed) and n_intra_layers:
            self.budget = BudgetGate(len(schema), max_budget=max_budget, fixed=fixed)
            max_budget = max(max_budget if math.isnan(budget) else budget for budget in fixed)
        self.intra = nn.ModuleList(
            IntraModalLayer(
                len(schema),
                d_model,
                n_heads,
                max_budget=max_budget,
                distil=distil,
                dropout=dropout,
            )
            for _ in range(n_intra_layers)
        )
        n_tokens = sum(-(-m.n_timepoints // p) for m, p in zip(schema, self.lengths, strict=True))
        if distil:
            n_tokens = -(-n_tokens // 2**n_intra_layers)
        if cross_budget is None and n_tokens > _LONG:
            cross_budget = max_budget
        self.cross = nn.ModuleList(
            CrossModalLayer(
                d_model,
                n_heads,
                n_experts=n_experts,
                n_active_experts=n_active_experts,
                budget=cross_budget,
                dropout=dropout,
            )
            for _ in range(n_cross_layers)
        )
        self.statistics: FeatureTokens | None = None
        if any(statistics):
            self.statistics = FeatureTokens(statistics, d_model, dropout=feature_dropout)
        self.convolutions: FeatureTokens | None = None
        if any(convolutions):
            self.convolutions = FeatureTokens(convolutions, d_model, dropout=feature_dropout)
        self.linear_head: FeatureLogits | None = None
        if self.statistics is not None and linear:
            self.linear_head = FeatureLogits(statistics, n_outputs)
        self.feature_token_dropout = Dropout(dropout)
        self.kind_dropout = ModalityDropout(kind_dropout)
        self.head = nn.Sequential(
            nn.LayerNorm(d_model), Dropout(dropout), nn.Linear(d_model, n_outputs)
        )

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
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None] | None = None,
        *,
        features: list[Tensor] | None = None,
        record: bool = False,
    ) -> ModuleOutput:
        """Predict.

        Parameters
        ----------
        values : list of M Tensors of shape (B, L, C)
            Numbers, or int64 symbols where the modality has a vocabulary; finite.
        observed : list of M Tensors of shape (B, L, C)
            Bool.
        times : list of M Tensors of shape (B, L) or None, or None, default=None
            Seconds.
        features : list of M Tensors of shape (B, F), default=None
            Fixed features of the widths declared, NaN where nothing is known.
        record : bool, default=False
            Whether to return what the network saw.

        Returns
        -------
        ModuleOutput
            Prediction ``(B, n_outputs)``, balancing loss, record.
        """
        check_values(self.schema, values, observed)
        observed = self.modality_dropout(observed)
        there = available_modalities(observed)  # (B, M)
        budget = None
        if self.budget is not None:
            budget = self.budget(there)  # (B, M)
        statistics, convolved = self._kinds(features)
        if self.statistics is not None:
            statistics = self.statistics.mask_and_drop(statistics, there)
        if self.convolutions is not None:
            convolved = self.convolutions.mask_and_drop(convolved, there)
        patches = self._encode(values, observed, times, budget) if self.patches else None
        x, kinds, modality = self._tokens(patches, statistics, convolved, there)
        weight = torch.cat([mean_weights(part) for part in kinds], 1).to(x.dtype)
        available = torch.cat(kinds, 1)

        one_hot, columns = None, None
        if record:
            token_modality = torch.tensor(modality, device=x.device)
            one_hot = F.one_hot(token_modality, len(self.schema))
            each = x.shape[1] <= _MOST_TOKENS_SHOWN
            columns = torch.eye(x.shape[1], device=x.device) if each else one_hot
        outputs = []
        for layer in self.cross:
            outputs.append(layer(x, available, columns))
            x = outputs[-1].tokens

        pooled = (weight.unsqueeze(1) @ x).squeeze(1)  # (B, D): means over what is available
        loss = pooled.new_zeros(())
        if self.balance_weight and outputs:
            balance = torch.stack([output.routing.balance for output in outputs])
            loss = self.balance_weight * balance.mean()
        prediction = self.head(pooled)
        if self.linear_head is not None:
            prediction = prediction + self.linear_head(statistics, there)
        if one_hot is None:
            return ModuleOutput(prediction, loss, {})
        seen: dict[str, Tensor] = {
            "available": available,
            "modality": token_modality.expand(x.shape[0], -1),
        }
        if budget is not None:
            seen["budget"] = budget
        elif not self.patches:  # statistics spend none
            seen["budget"] = available.new_zeros((len(x), len(self.schema)), dtype=x.dtype)
        if outputs:
            routing = outputs[-1].routing
            seen["expert"] = routing.expert.masked_fill(~available.unsqueeze(-1), -1)
            seen["gate"] = routing.gate * available.unsqueeze(-1)
            # Mean over the available tokens of each modality, and over the layers.
            attention = torch.stack([output.attention for output in outputs]).mean(0)
            if each:
                seen["token_attention"] = attention * available.unsqueeze(-1)  # (B, T, T)
                attention = attention @ one_hot.to(attention.dtype)  # (B, T, M)
            rows = mean_weights(one_hot.T * available.unsqueeze(1))  # (B, M, T)
            seen["attention"] = rows.to(attention.dtype) @ attention
        return ModuleOutput(prediction, loss, seen)

    def _kinds(self, features: list[Tensor] | None) -> tuple[list[Tensor], list[Tensor]]:
        """Statistics and convolutions of each modality, of no width where there are none."""
        if not self.widths:
            return [], []
        kinds: tuple[list[Tensor], list[Tensor]] = ([], [])
        for parts, x in zip(self.widths, check_features(features), strict=True):
            split = x.split([width for _, width in parts], 1) if parts else ()
            for kind, of_statistics in zip(kinds, (True, False), strict=True):
                chosen = [
                    c
                    for (is_one, _), c in zip(parts, split, strict=True)
                    if is_one == of_statistics
                ]
                kind.append(torch.cat(chosen or [x[:, :0]], 1))
        return kinds

    def _tokens(
        self,
        patches: tuple[Tensor, Tensor, list[int]] | None,
        statistics: list[Tensor],
        convolved: list[Tensor],
        there: Tensor,
    ) -> tuple[Tensor, list[Tensor], list[int]]:
        """Tokens of all kinds ``(B, T, D)``, which of each kind are available, and whose."""
        tokens: list[Tensor] = []
        available: list[Tensor] = []
        modality: list[int] = []
        if patches is not None:
            tokens, available, modality = [patches[0]], [patches[1]], patches[2]
        for block, features in ((self.statistics, statistics), (self.convolutions, convolved)):
            if block is not None:
                tokens.append(
                    self.feature_token_dropout(block(features)) + self.modality[block.indices]
                )
                available.append(there[:, block.indices])
                modality = [*modality, *block.indices]
        if len(tokens) > 1:
            shown = self.kind_dropout([part.unsqueeze(-1) for part in available])
            available = [part.squeeze(-1) for part in shown]
        return torch.cat(tokens, 1), available, modality

    def _encode(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None] | None,
        budget: Tensor | None,
    ) -> tuple[Tensor, Tensor, list[int]]:
        """Tokens ``(B, T, D)`` of all modalities, which are available, and whose they are."""
        groups = []
        for group, embed in zip(self.groups, self.embed, strict=True):
            tokens, available = embed([values[m] for m in group], [observed[m] for m in group])
            groups.append(_Tokens(tokens, available, self._seconds(group, tokens, observed, times)))

        all_tokens, all_available, all_modalities = [], [], []
        first = 0
        for bucket in _buckets([group.tokens.shape[2] for group in groups]):
            last = first + sum(len(self.groups[g]) for g in bucket)
            run, members = slice(first, last), self.index[first:last]
            x, available, seconds = _join([groups[g] for g in bucket])
            x = x + self._time(seconds)
            within = None if budget is None else budget.T[members]  # (m, B)
            for layer in self.intra:
                n_before = x.shape[2]
                x, left = layer(x, available, within, run)
                if x.shape[2] != n_before:
                    seconds = distilled_times(seconds, available)
                available = left
            x = x + (self._time(seconds) + self.modality[members][:, None, None])
            all_tokens.append(x.transpose(0, 1).flatten(1, 2))  # (m, B, T, D) -> (B, m T, D)
            all_available.append(available.transpose(0, 1).flatten(1, 2))
            all_modalities += [m for m in self.order[first:last] for _ in range(x.shape[2])]
            first = last
        return torch.cat(all_tokens, 1), torch.cat(all_available, 1), all_modalities

    def _time(self, seconds: Tensor) -> Tensor:
        """Encoding ``(m, B or 1, T, D)`` of times ``(m, T)`` or ``(m, B, T)``."""
        encoded = self.time(seconds)
        return encoded.unsqueeze(1) if seconds.dim() == 2 else encoded

    def _seconds(
        self,
        group: list[int],
        tokens: Tensor,
        observed: list[Tensor],
        times: list[Tensor | None] | None,
    ) -> Tensor:
        """Times of a group's tokens: ``(g, T)``, or ``(g, B, T)`` where those of one are given."""
        batch, n_tokens = tokens.shape[1:3]
        seconds = []
        for m in group:
            modality, length = self.schema.modalities[m], self.lengths[m]
            if times is None or times[m] is None:
                middle = token_times(modality, length, n_tokens * length, device=tokens.device)
            else:
                middle = token_times(
                    modality, length, observed[m].shape[1], times=times[m], observed=observed[m]
                )
                middle = F.pad(middle, (0, n_tokens - middle.shape[1]))
            seconds.append(middle)
        return _stack_times(seconds, batch)


class _Tokens(NamedTuple):
    """Tokens ``(m, B, T, D)``, ``available (m, B, T)``, ``seconds (m, T)`` or ``(m, B, T)``."""

    tokens: Tensor
    available: Tensor
    seconds: Tensor


def _by_kind(
    feature_widths: Sequence[Mapping[str, Sequence[int]]],
) -> list[list[tuple[bool, int]]]:
    """Whether it is of statistics, and the width, of each kind of features of each modality."""
    return [
        [(kind == "statistics", sum(w)) for kind, w in kinds.items()] for kinds in feature_widths
    ]


def _groups(schema: Schema, lengths: list[int]) -> list[list[int]]:
    """Places of the modalities that have tokens of one shape, longest first."""

    def shape(m: int) -> tuple[int, ...]:
        modality, length = schema.modalities[m], lengths[m]
        vocabulary = modality.vocabulary
        symbols = (0, 0) if vocabulary is None else (vocabulary.n_tokens, vocabulary.missing)
        n_tokens = -(-modality.n_timepoints // length)
        return (-n_tokens, length, modality.n_channels, *symbols)

    places = sorted(range(len(schema)), key=shape)
    return [list(group) for _, group in groupby(places, key=shape)]


def _buckets(n_tokens: list[int]) -> list[list[int]]:
    """Runs of groups whose numbers of tokens are close enough to be computed together."""
    buckets: list[list[int]] = []
    for g, n in enumerate(n_tokens):
        if buckets:
            counts = [n, *(n_tokens[other] for other in buckets[-1])]
            if min(counts) >= _SAME_LENGTH * max(counts):
                buckets[-1].append(g)
                continue
        buckets.append([g])
    return buckets


def _join(groups: list[_Tokens]) -> _Tokens:
    """One batch of several groups, shorter ones filled with tokens that are not available."""
    if len(groups) == 1:
        return groups[0]
    batch = groups[0].tokens.shape[1]
    longest = max(group.tokens.shape[2] for group in groups)
    gaps = [longest - group.tokens.shape[2] for group in groups]
    seconds = [
        F.pad(row, (0, gap))
        for group, gap in zip(groups, gaps, strict=True)
        for row in group.seconds.unbind(0)
    ]
    return _Tokens(
        torch.cat(
            [
                F.pad(x.tokens, (0, 0, 0, gap)) if gap else x.tokens
                for x, gap in zip(groups, gaps, strict=True)
            ]
        ),
        torch.cat([F.pad(x.available, (0, gap)) for x, gap in zip(groups, gaps, strict=True)]),
        _stack_times(seconds, batch),
    )


def _stack_times(seconds: list[Tensor], batch: int) -> Tensor:
    """Rows of ``(T,)`` and ``(B, T)``: ``(m, T)`` if all are the first, ``(m, B, T)`` otherwise."""
    if all(row.dim() == 1 for row in seconds):
        return torch.stack(seconds)
    return torch.stack([row.expand(batch, -1) for row in seconds])


def _fixed_budgets(
    schema: Schema, attention_budget: str | float | Mapping[str, float] | None
) -> list[float]:
    """The budget given to each modality; NaN where it is learnt."""
    if attention_budget is None or attention_budget == "learnt":
        return [math.nan] * len(schema)
    if isinstance(attention_budget, str):
        raise ValueError(
            "attention_budget is 'learnt', None, a number or a dict of modality to number, got "
            f"{attention_budget!r}."
        )
    if not isinstance(attention_budget, Mapping):
        if not attention_budget >= 0:
            raise ValueError(f"attention_budget is at least 0, got {attention_budget}.")
        return [float(attention_budget)] * len(schema)
    unknown = [name for name in attention_budget if name not in schema]
    if unknown:
        raise ValueError(
            f"attention_budget names {unknown}, but the modalities are {list(schema.names)}. "
            "Give budgets by those names; modalities without one have theirs learnt."
        )
    for name, budget in attention_budget.items():
        if not 0 <= budget < math.inf:
            raise ValueError(
                f"attention_budget of modality {name!r} is a number of at least 0, got {budget}."
            )
    return [float(attention_budget.get(name, math.nan)) for name in schema.names]
