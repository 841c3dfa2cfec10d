"""TRACE, stage 2: irregular modalities at common times, fused by attention and routed experts.

Sizes: B batch, M modalities, C channels, L timepoints, Q reference times, D width, T width of the
time embedding, H heads, E experts, K chosen, N layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.embedding import FeatureLogits, FeatureTokens, MultiTimeAttention, TimeEmbedding
from mts_fusion.nn.experts import ModalityMoE
from mts_fusion.nn.layers import (
    Dropout,
    ModalityDropout,
    available_modalities,
    check_heads,
    masked_mean,
)
from mts_fusion.panel._schema import Schema

from ._inputs import check_features, check_values
from ._output import ModuleOutput

__all__ = ["Trace"]


class Trace(nn.Module):
    """Fusion of modalities of any clocks by a sparse mixture of experts: FuseMoE, as in TRACE.

    Each modality is interpolated at ``n_reference`` common times by multi-time attention; layers of
    self-attention over the times of all modalities and of experts routed by modality follow; a
    residual head reads the means over time of all modalities (section 3.3 of [1]_, with the
    architecture of [2]_).

    Parameters
    ----------
    schema : Schema
        Modalities, their channels, lengths and vocabularies. A static modality has length 1.
    n_outputs : int
        Width of the prediction.
    d_model : int, default=64
        Width D, a multiple of ``n_heads``.
    d_time : int, default=64
        Width T of the time embedding, a multiple of ``n_heads``.
    d_token : int, default=8
        Width of the embedding of a token, where a modality has a vocabulary.
    n_reference : int, default=16
        Reference times Q, evenly spread over the span of the series.
    n_heads : int, default=4
        Heads of both attentions.
    n_layers : int, default=2
        Layers N of attention and experts. 0 feeds the interpolated modalities to the head.
    n_experts : int, default=8
        Experts E in each layer.
    k : int, default=2
        Experts that a router chooses.
    d_hidden : int, default=64
        Hidden width of an expert.
    router : {"joint", "per_modality", "disjoint"}, default="joint"
        Who is routed where, see :class:`~mts_fusion.nn.experts.ModalityMoE`.
    gate : {"softmax", "laplace", "gaussian"}, default="laplace"
        How near an expert is.
    noisy : bool, default=True
        Noise on the routing in training.
    entropy_weight : float, default=0.01
        Weight of the entropy regulariser (eq. 8), averaged over the layers. 0 turns it off.
    dropout : float, default=0.1
        Share of the entries dropped in training after each attention, expert layer and in the head.
    modality_dropout : float, default=0.2
        Rate at which whole modalities of a sample are hidden in training.
    feature_widths : sequence of M dicts of str to sequence of int, or None, default=None
        By modality and kind, the widths of the parts of its fixed features, such as statistics of
        what was observed. They stand beside its series, as one more token of it and as logits that
        are linear in them. None, as in the papers: there are none.
    feature_dropout : float, default=0.5
        Share of those features hidden in training.
    horizon_seconds : float or None, default=None
        Span of the reference times, from 0. None: the longest duration that the schema tells, and
        for modalities with irregular times from a sample's first to its last observed time.

    Raises
    ------
    ValueError
        If a width is no multiple of ``n_heads``, a count is below 1 or ``horizon_seconds`` is not
        positive; for ``router``, ``gate`` and ``k`` see the expert layer.

    Notes
    -----
    Without ``imputed`` only observed entries are read (FuseMoE). With it, imputed entries are read
    too, accompanied by the indicator that they were not measured (TRACE).

    An absent modality, with no entry to read, is represented by a learned vector at every reference
    time. Its tokens ask the others in the self-attention but are never asked.

    The regulariser averages over the samples of a batch, so ``loss`` depends on the batch;
    ``prediction`` and ``record`` do not.

    Record, first axis the batch: ``available (B, M)``, ``representation (B, M, Q, D)`` after
    the multi-time attention, ``fused (B, M * D)`` before the head, ``attention (B, N, M, M)`` share
    of modality (last axis) for modality, averaged over heads and times, ``routing (B, N, M, E)``
    probabilities and ``gate (B, N, M, E)`` weights of experts, averaged over time, and
    ``time_attention_<name> (B, H, Q, L)`` for each modality that is not static.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285
    .. [2] Han et al., "FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion", NeurIPS,
       2024. https://arxiv.org/abs/2402.03226

    Examples
    --------
    >>> import torch
    >>> from mts_fusion.panel import Modality, Schema
    >>> schema = Schema((Modality("vitals", 4, 48), Modality("age", 1, 1)))
    >>> net = Trace(schema, n_outputs=2)
    >>> values = [torch.randn(3, 48, 4), torch.randn(3, 1, 1)]
    >>> net(values, [torch.ones_like(x, dtype=bool) for x in values]).prediction.shape
    torch.Size([3, 2])
    """

    def __init__(
        self,
        schema: Schema,
        n_outputs: int,
        *,
        d_model: int = 64,
        d_time: int = 64,
        d_token: int = 8,
        n_reference: int = 16,
        n_heads: int = 4,
        n_layers: int = 2,
        n_experts: int = 8,
        k: int = 2,
        d_hidden: int = 64,
        router: str = "joint",
        gate: str = "laplace",
        noisy: bool = True,
        entropy_weight: float = 0.01,
        dropout: float = 0.1,
        modality_dropout: float = 0.2,
        feature_widths: Sequence[Mapping[str, Sequence[int]]] | None = None,
        feature_dropout: float = 0.5,
        horizon_seconds: float | None = None,
    ) -> None:
        super().__init__()
        if n_reference < 1:
            raise ValueError(f"n_reference is at least 1, got {n_reference}.")
        if horizon_seconds is not None and not 0 < horizon_seconds < float("inf"):
            raise ValueError(
                f"horizon_seconds is a positive number of seconds or None, got {horizon_seconds}."
            )
        self.schema = schema
        self.n_reference = n_reference
        self.entropy_weight = entropy_weight
        self.horizon_seconds = horizon_seconds
        self.modality_dropout = ModalityDropout(modality_dropout)
        self.tokens = nn.ModuleList(
            nn.Identity() if m.vocabulary is None else nn.Embedding(m.vocabulary.n_tokens, d_token)
            for m in schema
        )
        self.time = TimeEmbedding(d_time, n_reference=n_reference)
        self.embed = nn.ModuleList()
        for m in schema:
            n_channels = m.n_channels * (1 if m.vocabulary is None else d_token)
            self.embed.append(
                _Static(n_channels, d_model)
                if m.n_timepoints == 1
                else MultiTimeAttention(n_channels, d_time, d_model, n_heads=n_heads)
            )
        self.feature_tokens: FeatureTokens | None = None
        self.linear_head: FeatureLogits | None = None
        if feature_widths is not None:
            widths = [sum(map(sum, kinds.values())) for kinds in feature_widths]
            if len(widths) != len(schema) or not all(widths):
                raise ValueError(
                    f"feature_widths declares features of each of the {len(schema)} modalities, or "
                    f"is None; got the widths {widths}."
                )
            self.feature_tokens = FeatureTokens(widths, d_model, dropout=feature_dropout)
            self.linear_head = FeatureLogits(widths, n_outputs)
        n_modalities = len(schema)
        self.absent = nn.Parameter(torch.randn(n_modalities, d_model) * 0.02)
        self.modality = nn.Parameter(torch.randn(n_modalities, d_model) * 0.02)
        # NOTE[DIFF] The released code learns a table of positions; the reference times already
        # have an embedding, and we project that.
        self.position = nn.Linear(d_time, d_model)
        self.layers = nn.ModuleList(
            _FusionLayer(
                ModalityMoE(
                    n_modalities,
                    d_model,
                    n_experts=n_experts,
                    k=k,
                    d_hidden=d_hidden,
                    router=router,
                    gate=gate,
                    noisy=noisy,
                ),
                d_model,
                n_heads=n_heads,
                dropout=dropout,
            )
            for _ in range(n_layers)
        )
        self.norm = nn.LayerNorm(d_model)
        width = n_modalities * d_model
        self.hidden = nn.Linear(width, width)
        self.mixed = nn.Linear(width, width)
        self.dropout = Dropout(dropout)
        self.out = nn.Linear(width, n_outputs)

    def forward(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: Sequence[Tensor | None] | None = None,
        *,
        features: list[Tensor] | None = None,
        imputed: list[Tensor] | None = None,
        record: bool = False,
    ) -> ModuleOutput:
        """Predict from a batch.

        Parameters
        ----------
        values : list of M Tensors of shape (B, L, C)
            Finite numbers, 0 where missing, or int64 tokens.
        observed : list of M bool Tensors of shape (B, L, C)
            What was measured.
        times : list of M Tensors of shape (B, L) or None, or None
            Seconds; None for a regular clock.
        features : list of M Tensors of shape (B, F), default=None
            Fixed features of the widths declared, NaN where nothing is known.
        imputed : list of M bool Tensors of shape (B, L, C), default=None
            Entries that were not measured but hold a value of an imputer; None where none do.
        record : bool, default=False
            Return the diagnostics.

        Returns
        -------
        ModuleOutput
            ``loss`` is the weighted regulariser.
        """
        check_values(self.schema, values, observed)
        used = observed
        if imputed is not None:
            used = [seen | filled for seen, filled in zip(observed, imputed, strict=True)]
        used = self.modality_dropout(used)
        available = available_modalities(used)  # (B, M)
        clocks = self._clocks(values, used, times)
        grid = torch.linspace(0, 1, self.n_reference, device=available.device)
        reference = self.time(grid)  # (Q, T)
        series, time_attention = [], {}
        for m, modality in enumerate(self.schema):
            x, use, seen = values[m], used[m], observed[m]
            if modality.vocabulary is not None:
                x = self.tokens[m](x).flatten(2)  # (B, L, C) -> (B, L, C * d_token)
                use, seen = (z.repeat_interleave(x.shape[2] // z.shape[2], 2) for z in (use, seen))
            if modality.n_timepoints == 1:
                series.append(self.embed[m](x, use, seen).expand(-1, self.n_reference, -1))
                continue
            z, weights = self.embed[m](reference, self.time(clocks[m]), x, use, seen)
            series.append(z)
            if record:
                total = weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
                time_attention[f"time_attention_{modality.name}"] = weights / total
        x = torch.stack(series, dim=1)  # (B, M, Q, D)
        position = self.position(reference)
        masked: list[Tensor] = []
        if self.feature_tokens is not None:
            masked = self.feature_tokens.mask_and_drop(check_features(features), available)
            x = torch.cat([x, self.feature_tokens(masked)[:, :, None]], dim=2)  # (B, M, Q + 1, D)
            position = F.pad(position, (0, 0, 0, 1))
        x = torch.where(available[:, :, None, None], x, self.absent[:, None])
        representation = x[:, :, : self.n_reference]
        x = x + self.modality[:, None] + position
        loss = x.new_zeros(())
        seen_by_layer: list[dict[str, Tensor]] = []
        for layer in self.layers:
            x, balance, seen_here = layer(x, available, record)
            loss = loss + balance * (self.entropy_weight / len(self.layers))
            seen_by_layer.append(seen_here)
        # NOTE[DIFF] The released code reads the last reference time of each modality; the mean
        # over time loses nothing that came early.
        x = self.norm(x)
        fused = x[:, :, : self.n_reference].mean(2).flatten(1)  # (B, M, Q, D) -> (B, M * D)
        if self.feature_tokens is not None:
            fused = fused + x[:, :, -1].flatten(1)
        mixed = fused + self.mixed(self.dropout(F.relu(self.hidden(fused))))
        prediction = self.out(mixed)
        if self.linear_head is not None:
            prediction = prediction + self.linear_head(masked, available)
        if not record:
            return ModuleOutput(prediction, loss, {})
        found = {"available": available, "representation": representation, "fused": fused}
        for key in seen_by_layer[0] if seen_by_layer else ():
            found[key] = torch.stack([seen[key] for seen in seen_by_layer], dim=1)
        return ModuleOutput(prediction, loss, {**found, **time_attention})

    def _clocks(
        self, values: list[Tensor], used: list[Tensor], times: Sequence[Tensor | None] | None
    ) -> list[Tensor]:
        """Times of all entries as fractions of the span of the reference times, each (B, L)."""
        irregular = [None] * len(values) if times is None else list(times)
        if self.horizon_seconds is not None:
            first = torch.zeros(1, dtype=torch.float64, device=used[0].device)
            last = first + self.horizon_seconds
        else:
            first, last = self._span(used, irregular)
        clocks = []
        for m, modality in enumerate(self.schema):
            t = irregular[m]
            if t is None:
                index = torch.arange(values[m].shape[1], device=first.device, dtype=torch.float64)
                if modality.rate is None:  # no seconds: the series fills the span
                    fraction = index / max(modality.n_timepoints - 1, 1)
                    clocks.append(fraction.to(self.absent.dtype).expand(values[m].shape[0], -1))
                    continue
                t = (index / modality.rate).unsqueeze(0)
            span = (last - first).masked_fill(last <= first, 1.0)
            fraction = (t.to(torch.float64) - first[:, None]) / span[:, None]
            clocks.append(fraction.to(self.absent.dtype).expand(values[m].shape[0], -1))
        return clocks

    def _span(
        self, used: list[Tensor], irregular: Sequence[Tensor | None]
    ) -> tuple[Tensor, Tensor]:
        """First and last time in seconds: of each sample where clocks are irregular."""
        device = self.absent.device
        firsts, lasts = [], []
        for modality, use, t in zip(self.schema, used, irregular, strict=True):
            if t is not None:
                there, t = use.any(-1), t.to(torch.float64)
                firsts.append(t.masked_fill(~there, torch.inf).amin(1))
                lasts.append(t.masked_fill(~there, -torch.inf).amax(1))
            elif modality.duration_seconds is not None:
                zero = torch.zeros(use.shape[0], dtype=torch.float64, device=device)
                firsts.append(zero)
                lasts.append(zero + modality.duration_seconds)
        if not firsts:
            zero = torch.zeros(1, dtype=torch.float64, device=device)
            return zero, zero
        first, last = torch.stack(firsts).amin(0), torch.stack(lasts).amax(0)
        empty = first > last  # nothing at all: any finite span will do
        return first.masked_fill(empty, 0.0), last.masked_fill(empty, 0.0)


class _Static(nn.Module):
    """A modality without a course in time: its channels and their indicators, linearly.

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


class _FusionLayer(nn.Module):
    """Self-attention over the times of all modalities, then routed experts, both residual.

    Inputs ``x (B, M, Q, D)`` and ``available (B, M)``; outputs the same shape, the regulariser and
    the record.
    """

    # NOTE[DIFF] In the released code each modality attends to itself alone, and modalities meet
    # only in the joint router. Here attention spans all of them, as the papers draw it, so that
    # they meet with every router, and an absent one can ask the others.

    def __init__(self, moe: ModalityMoE, d_model: int, *, n_heads: int, dropout: float) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        self.n_heads = n_heads
        self.norm_attention = nn.LayerNorm(d_model)
        self.qkv = nn.Linear(d_model, 3 * d_model)
        self.project = nn.Linear(d_model, d_model)
        self.norm_moe = nn.LayerNorm(d_model)
        self.moe = moe
        self.dropout = Dropout(dropout)

    def forward(
        self, x: Tensor, available: Tensor, record: bool
    ) -> tuple[Tensor, Tensor, dict[str, Tensor]]:
        _, n_modalities, length, width = x.shape
        qkv = self.qkv(self.norm_attention(x)).flatten(1, 2)  # (B, M * Q, 3D)
        q, k, v = qkv.unflatten(-1, (3, self.n_heads, -1)).permute(2, 0, 3, 1, 4)
        mask = available.repeat_interleave(length, dim=1)[:, None, None]  # (B, 1, 1, M * Q)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        attended = attended.transpose(1, 2).flatten(2)  # (B, H, M * Q, D / H) -> (B, M * Q, D)
        x = x + self.dropout(self.project(attended)).unflatten(1, (n_modalities, length))
        y, loss, seen = self.moe(self.norm_moe(x), available)
        x = x + self.dropout(y)
        if not record:
            return x, loss, {}
        scores = (q @ k.transpose(-2, -1)) / (width / self.n_heads) ** 0.5
        weights = scores.masked_fill(~mask, -torch.inf).softmax(-1).nan_to_num(0.0)
        weights = weights.mean(1).unflatten(2, (n_modalities, length)).sum(-1)
        weights = weights.unflatten(1, (n_modalities, length)).mean(2)  # (B, M, M)
        return x, loss, {"attention": weights, **{key: z.mean(2) for key, z in seen.items()}}
