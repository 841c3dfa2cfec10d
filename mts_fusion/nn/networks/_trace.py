"""TRACE, stage 2: irregular modalities at common times, fused by attention and routed experts.

Sizes: B batch, M modalities, C channels, L timepoints, Q reference times, D width, T width of the
time embedding, H heads, E experts, K chosen, N layers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.attention import RoutedLayer
from mts_fusion.nn.embedding import FeatureLogits, FeatureTokens, ReferenceSeries
from mts_fusion.nn.experts import ModalityMoE
from mts_fusion.nn.layers import Dropout, ModalityDropout, available_modalities
from mts_fusion.panel._schema import Schema

from ._inputs import check_features, check_values
from ._output import ModuleOutput

__all__ = ["Trace"]


class Trace(nn.Module):
    """Fusion of modalities with any sampling times by a sparse mixture of experts (FuseMoE, TRACE).

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
    n_reference : int, default=16
        Reference times Q, evenly spread over the span of the series.
    n_heads : int, default=4
        Heads of both attentions.
    n_layers : int, default=2
        Layers N of attention and experts. 0 feeds the interpolated modalities to the head.
    n_experts : int, default=8
        Experts E in each layer.
    n_active_experts : int, default=2
        Experts that a router chooses.
    d_hidden : int, default=64
        Hidden width of an expert.
    router : {"joint", "per_modality", "disjoint"}, default="per_modality"
        What shares a router and experts, see :class:`~mts_fusion.nn.experts.ModalityMoE`.
    gate : {"softmax", "laplace", "gaussian"}, default="laplace"
        Score of an expert: inner product with its key, or a distance to it.
    entropy_weight : float, default=1.0
        Weight of the entropy regulariser (eq. 8), averaged over the layers. 0 turns it off. It acts
        on the per-modality router alone: see ``routing_entropy_loss``.
    dropout : float, default=0.1
        Share of the entries dropped in training after each attention, expert layer and in the head.
    modality_dropout : float, default=0.2
        Rate at which whole modalities of a sample are hidden in training.
    feature_widths : sequence of M dicts of str to sequence of int, or None, default=None
        By modality and kind, the widths of the parts of its fixed features, such as statistics of
        what was observed. They are one more token of the modality, and logits that are linear in
        them are added. None, as in the papers: there are none.
    horizon_seconds : float or None, default=None
        Span of the reference times, from 0. None: the longest duration in the schema, and
        for modalities with irregular times from a sample's first to its last observed time.

    Raises
    ------
    ValueError
        If a width is no multiple of ``n_heads``, a count is below 1 or ``horizon_seconds`` is not
        positive; for ``router``, ``gate`` and the experts see the expert layer.

    Notes
    -----
    Without ``imputed`` only observed entries are read (FuseMoE). With it, imputed entries are read
    too, accompanied by the indicator that they were not measured (TRACE).

    An absent modality, with no entry to read, is represented by a learned vector at every reference
    time. In the self-attention its tokens are queries but not keys.

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
        n_reference: int = 16,
        n_heads: int = 4,
        n_layers: int = 2,
        n_experts: int = 8,
        n_active_experts: int = 2,
        d_hidden: int = 64,
        router: str = "per_modality",
        gate: str = "laplace",
        entropy_weight: float = 1.0,
        dropout: float = 0.1,
        modality_dropout: float = 0.2,
        feature_widths: Sequence[Mapping[str, Sequence[int]]] | None = None,
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
        self.modality_dropout = ModalityDropout(modality_dropout)
        self.series = ReferenceSeries(
            schema, d_model, d_time, n_reference, n_heads=n_heads, horizon_seconds=horizon_seconds
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
            self.feature_tokens = FeatureTokens(widths, d_model)
            self.linear_head = FeatureLogits(widths, n_outputs)
        n_modalities = len(schema)
        self.absent = nn.Parameter(torch.randn(n_modalities, d_model) * 0.02)
        self.modality = nn.Parameter(torch.randn(n_modalities, d_model) * 0.02)
        # NOTE[DIFF] The released code learns a table of positions; the reference times already
        # have an embedding, and we project that.
        self.position = nn.Linear(d_time, d_model)
        self.layers = nn.ModuleList(
            RoutedLayer(
                ModalityMoE(
                    n_modalities,
                    d_model,
                    n_experts=n_experts,
                    k=n_active_experts,
                    d_hidden=d_hidden,
                    router=router,
                    gate=gate,
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
            Fixed features of the widths declared, NaN where nothing was observed.
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
            used = [o | filled for o, filled in zip(observed, imputed, strict=True)]
        used = self.modality_dropout(used)
        available = available_modalities(used)  # (B, M)
        clocks = [None] * len(values) if times is None else times
        x, reference, time_weights = self.series(values, used, observed, clocks)
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
        by_layer: list[dict[str, Tensor]] = []
        for layer in self.layers:
            x, entropy_loss, layer_record = layer(x, available, record)
            loss = loss + entropy_loss * (self.entropy_weight / len(self.layers))
            by_layer.append(layer_record)
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
        tensors = {"available": available, "representation": representation, "fused": fused}
        for key in by_layer[0] if by_layer else ():
            tensors[key] = torch.stack([layer_record[key] for layer_record in by_layer], dim=1)
        for name, weights in time_weights.items():
            total = weights.sum(-1, keepdim=True).clamp(min=torch.finfo(weights.dtype).tiny)
            tensors[f"time_attention_{name}"] = weights / total
        return ModuleOutput(prediction, loss, tensors)
