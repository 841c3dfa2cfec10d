"""MAESTRO: sparse attention in and across modalities, within a budget, followed by experts.

Sizes: M modalities, m modalities computed together, B batch, T tokens, D width, E experts.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.attention import (
    BudgetGate,
    CrossModalLayer,
    CrossModalOutput,
    IntraModalLayer,
    distilled_times,
    fixed_budgets,
)
from mts_fusion.nn.embedding import (
    FeatureLogits,
    FeatureTypes,
    MaskedFeatures,
    MissingTokens,
    PatchTokens,
    patch_lengths,
)
from mts_fusion.nn.layers import (
    Dropout,
    ModalityDropout,
    available_modalities,
    check_heads,
)
from mts_fusion.panel._schema import Schema

from ._inputs import check_features, check_values
from ._maestro_pooling import TokenPooling
from ._maestro_record import MAX_RECORDED_TOKENS, maestro_record
from ._output import ModuleOutput

__all__ = ["Maestro"]

# Tokens of all modalities from which attention across them is within the budget by default.
_LONG = 1024


class _Tokens(NamedTuple):
    """Tokens of all modalities and types."""

    tokens: Tensor  # (B, T, D)
    available: list[Tensor]  # of each type, (B, T of the type) bool
    modality: list[int]  # of each token


class Maestro(nn.Module):
    """Prediction from modalities of which any may be missing, by the network of [1]_.

    Patches or symbols of each modality become tokens (section 1 of the method). Layers inside each
    modality attend with as many queries as an attention budget allows, which is learnt from the
    modalities that are available, and halve the tokens (2, 3). Layers over the tokens of all
    modalities attend across them and pass each token through an expert (4, 5). Fixed features may
    stand beside them as tokens that go through the layers across modalities, as a sequence of their
    own. The head reads the means of the tokens (7). In training whole
    modalities are hidden, drawn for each sample (6).

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
    d_hidden : int or None, default=None
        Hidden width of the feed-forward layers and of each expert. None: ``2 * d_model``.
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
    modality_dropout : float, default=0.3
        Rate at which a modality of a sample is hidden in training. It is the buffer
        ``modality_dropout.p``, which a schedule may set (:func:`curriculum_rate`).
    modality_dropout_spread : bool, default=True
        Whether each sample has a rate of its own, of which ``modality_dropout`` is the mean
        (:class:`ModalityDropout`). False: it is the rate of all samples, as in the paper.
    dropout : float, default=0.3
        Dropout in all layers and the head.
    balance_weight : float, default=0.0
        Weight of the load-balancing loss of the experts. 0 as in the paper: they specialise through
        the modality dropout.
    missing : {"mask", "token"}, default="mask"
        What stands where nothing of a patch, or of a modality, was observed. ``"mask"``: nothing,
        other tokens do not attend to it. ``"token"``: one learnt vector a modality, to which they
        do (:class:`MissingTokens`); an absent modality then has a budget too.
    patch_length : int, dict of str to int or None, default=None
        Timepoints that make one token, for all or by name; for the others, the smallest with which
        a modality has at most ``max_tokens`` tokens.
    max_tokens : int, default=4
        Tokens of a modality whose ``patch_length`` is not given.
    distil : bool, default=True
        Whether the layers inside a modality halve its tokens.
    cross_budget : float or None, default=None
        Budget of the attention across modalities, at least 0; ``inf``: all tokens attend. None: all
        attend up to 1024 tokens in the schema, and ``max_budget`` holds for more.
    feature_widths : sequence of M dicts of str to sequence of int, or None, default=None
        By modality and kind, the widths of the parts of its fixed features. One more token a
        modality is made of its ``"statistics"``, and one of all other kinds. None: no features.
    feature_dropout : float, default=0.5
        Share of those features hidden in training.
    linear_head : bool, default=False
        Whether logits of each modality that are linear in its statistics are added.
    token_type_dropout : float, default=0.3
        Rate at which all tokens of one kind of features (statistics, others) are hidden from a
        sample in training, never all, so that no kind depends on another.
    series_dropout : float, default=0.5
        Rate at which a sample is predicted from its fixed features alone in training.

    Raises
    ------
    ValueError
        If ``d_model`` is not a multiple of ``n_heads``, ``missing`` is unknown, a budget or a patch
        length is out of range or names an unknown modality, the input has another number of
        modalities or channels, or features are declared and not given.

    Notes
    -----
    Input: lists in schema order, ``values[m] (B, L, C)`` float32, or int64 symbols where a
    vocabulary stands; ``observed[m] (B, L, C)`` bool; ``times[m] (B, L)`` seconds or None, which is
    every ``1 / rate`` seconds. Values where ``observed`` is false are not read.

    Record: ``budget (B, M)`` unless all attend; ``attention (B, M, M)``, the
    share of the attention of a modality's tokens (row) that goes to each, mean of layers and
    heads, rows sum to 1 where the modality is available and are 0 elsewhere;
    ``token_attention (B, T, T)``, the same for each token, where there are at most 256 of them; of
    the last layer ``expert (B, T, k)``, -1 where a token is not available, and ``gate (B, T, E)``,
    0 there; of its tokens ``available (B, T)``, True for missing tokens too, and the index of their
    modality in the schema, ``modality (B, T)``.

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

    def __init__(
        self,
        schema: Schema,
        n_outputs: int,
        *,
        d_model: int = 64,
        n_heads: int = 4,
        n_intra_layers: int = 2,
        n_cross_layers: int = 2,
        d_hidden: int | None = None,
        n_experts: int = 4,
        n_active_experts: int = 1,
        attention_budget: str | float | Mapping[str, float] | None = "learnt",
        max_budget: float = 5.0,
        modality_dropout: float = 0.3,
        modality_dropout_spread: bool = True,
        dropout: float = 0.3,
        balance_weight: float = 0.0,
        missing: str = "mask",
        patch_length: int | Mapping[str, int] | None = None,
        max_tokens: int = 4,
        distil: bool = True,
        cross_budget: float | None = None,
        feature_widths: Sequence[Mapping[str, Sequence[int]]] | None = None,
        feature_dropout: float = 0.5,
        token_type_dropout: float = 0.3,
        series_dropout: float = 0.5,
        linear_head: bool = False,
    ) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        if missing not in ("mask", "token"):
            raise ValueError(f"missing is 'mask' or 'token', got {missing!r}.")
        self.schema = schema
        self.balance_weight = balance_weight
        lengths = patch_lengths(schema, patch_length, max_tokens=max_tokens)
        self.patches = PatchTokens(schema, lengths, d_model)
        self.modality = nn.Parameter(torch.randn(len(schema), d_model) * 0.1)
        self.modality_dropout = ModalityDropout(modality_dropout, spread=modality_dropout_spread)
        fixed = fixed_budgets(schema, attention_budget)
        self.budget = BudgetGate(
            len(schema), max_budget=max_budget, fixed=fixed, spends_if_absent=missing == "token"
        )
        self.attends_in_full = not n_intra_layers or min(fixed) == math.inf
        self.intra = nn.ModuleList(
            IntraModalLayer(
                len(schema),
                d_model,
                n_heads,
                max_budget=max_budget if self.attends_in_full else self.budget.largest,
                n_tokens=self.patches.token_counts(i * distil),
                d_hidden=d_hidden,
                distil=distil,
                dropout=dropout,
            )
            for i in range(n_intra_layers)
        )
        self.features: FeatureTypes | None = None
        self.linear_head: FeatureLogits | None = None
        n_across = sum(self.patches.token_counts(n_intra_layers * distil))
        if any(any(map(sum, kinds.values())) for kinds in feature_widths or ()):
            self.features = FeatureTypes(feature_widths or (), d_model, dropout=feature_dropout)
            n_across += self.features.n_tokens
            if linear_head and any(self.features.n_statistics):
                self.linear_head = FeatureLogits(self.features.n_statistics, n_outputs)
        if cross_budget is None and n_across > _LONG:
            cross_budget = max_budget
        self.cross = nn.ModuleList(
            CrossModalLayer(
                d_model,
                n_heads,
                n_experts=n_experts,
                n_active_experts=n_active_experts,
                d_hidden=d_hidden,
                budget=cross_budget,
                n_tokens=n_across,
                dropout=dropout,
            )
            for _ in range(n_cross_layers)
        )
        self.pooling = TokenPooling(
            d_model, has_features=self.features is not None, series_dropout=series_dropout
        )
        self.feature_token_dropout = Dropout(dropout)
        self.token_type_dropout = ModalityDropout(token_type_dropout)
        self.head = nn.Sequential(
            nn.LayerNorm(d_model), Dropout(dropout), nn.Linear(d_model, n_outputs)
        )
        self.missing = MissingTokens(schema, lengths, d_model) if missing == "token" else None

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
        values, observed : list of M Tensors of shape (B, L, C)
            Numbers or int64 symbols, finite; and which were observed, bool.
        times : list of M Tensors of shape (B, L) or None, or None, default=None
            Seconds.
        features : list of M Tensors of shape (B, F), default=None
            Fixed features of the widths declared, NaN where nothing was observed.
        record : bool, default=False
            Whether to return the record.

        Returns
        -------
        ModuleOutput
            Prediction ``(B, n_outputs)``, balancing loss, record.
        """
        check_values(self.schema, values, observed)
        observed = self.modality_dropout(observed)
        present = available_modalities(observed)  # (B, M)
        budget = None if self.attends_in_full else self.budget(present)  # (B, M)
        masked = None
        if self.features is not None:
            masked = self.features.mask_and_drop(check_features(features), present)
        clocks = [None] * len(values) if times is None else times
        if self.missing is not None:
            values, observed, clocks = self.missing.pad(values, observed, clocks)
        patches = self._encode_patches(values, observed, clocks, budget)
        x, types, modality = self._join_types(patches, masked, present)
        available = torch.cat(types, 1)

        one_hot, columns = None, None
        if record:
            one_hot = F.one_hot(torch.tensor(modality, device=x.device), len(self.schema))
            columns = one_hot
            if x.shape[1] <= MAX_RECORDED_TOKENS:
                columns = torch.eye(x.shape[1], device=x.device)
        outputs = self._attend_across(x, available, columns, n_series=types[0].shape[1])
        # NOTE[DIFF] The head of the paper has a hidden layer; here it is linear after a layer norm.
        pooled = self.pooling(outputs[-1].tokens if outputs else x, types)
        loss = pooled.new_zeros(())
        if self.balance_weight and outputs:
            balance = torch.stack([output.routing.balance for output in outputs])
            loss = self.balance_weight * balance.mean()
        prediction = self.head(pooled)
        if self.linear_head is not None and masked is not None:
            prediction = prediction + self.linear_head(masked.statistics, present)
        if one_hot is None:
            return ModuleOutput(prediction, loss, {})
        return ModuleOutput(prediction, loss, maestro_record(available, one_hot, budget, outputs))

    def _attend_across(
        self, x: Tensor, available: Tensor, columns: Tensor | None, *, n_series: int
    ) -> list[CrossModalOutput]:
        """Outputs of the layers across modalities."""
        # Tokens of the series and of fixed features are two sequences, so that features do not
        # depend on what was learnt from the series (docs/decisions/0031-maestro-by-default.md).
        sequences = [slice(0, n_series), slice(n_series, None)]
        if self.features is None:
            sequences = sequences[:1]
        outputs: list[CrossModalOutput] = []
        for layer in self.cross:
            parts = [
                layer(x[:, part], available[:, part], None if columns is None else columns[part])
                for part in sequences
            ]
            outputs.append(CrossModalOutput.join(parts))
            x = outputs[-1].tokens
        return outputs

    def _join_types(
        self,
        patches: tuple[Tensor, Tensor, list[int]],
        features: MaskedFeatures | None,
        present: Tensor,
    ) -> _Tokens:
        """Tokens of all types; in training, types are hidden from samples."""
        tokens, available, modality = [patches[0]], [patches[1]], patches[2]
        by_type = [] if self.features is None else self.features(features)
        for x, indices in by_type:
            x, valid = self.feature_token_dropout(x), present[:, indices]
            if self.missing is not None:
                x = torch.where(valid.unsqueeze(-1), x, self.missing.vector[indices])
                valid = torch.ones_like(valid)
            tokens.append(x + self.modality[indices])
            available.append(valid)
            modality = [*modality, *indices]
        if self.features is not None:
            shown = self.token_type_dropout([part.unsqueeze(-1) for part in available[1:]])
            available[1:] = [part.squeeze(-1) for part in shown]
        return _Tokens(torch.cat(tokens, 1), available, modality)

    def _encode_patches(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: Sequence[Tensor | None],
        budget: Tensor | None,
    ) -> tuple[Tensor, Tensor, list[int]]:
        """Tokens ``(B, T, D)`` of all modalities, which are available, and their modalities."""
        all_tokens, all_available, all_modalities = [], [], []
        first = 0
        patches = self.patches
        for x, available, seconds in patches(values, observed, times):
            run = slice(first, first + len(x))
            members = patches.index[run]
            first = run.stop
            if self.missing is not None:
                x, available = self.missing(x, available, patches.order[run])
            encoded = patches.encode_times(seconds)
            x = x + encoded
            within = None if budget is None else budget.T[members]  # (m, B)
            for layer in self.intra:
                n_before = x.shape[2]
                x, left = layer(x, available, within, run)
                if x.shape[2] != n_before:
                    encoded = distilled_times(encoded, available)
                available = left
            modality = self.modality[members][:, None, None]
            x = x + (encoded + modality)
            all_tokens.append(x.transpose(0, 1).flatten(1, 2))  # (m, B, T, D) -> (B, m T, D)
            all_available.append(available.transpose(0, 1).flatten(1, 2))
            all_modalities += [m for m in patches.order[run] for _ in range(x.shape[2])]
        return torch.cat(all_tokens, 1), torch.cat(all_available, 1), all_modalities
