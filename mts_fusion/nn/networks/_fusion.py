"""Encoders of the modalities and a strategy that fuses them: every way of fusing in one network.

Sizes: B batch, M modalities, L timepoints, C channels, D width, F features.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from mts_fusion.nn.encoders import ENCODERS, EncoderOutput, get_encoder
from mts_fusion.nn.layers import ModalityDropout, available_modalities, construct
from mts_fusion.nn.strategies import Fusion, Tokens, get_strategy
from mts_fusion.panel._schema import Schema

from ._inputs import check_values
from ._output import ModuleOutput

__all__ = ["FusionNet", "encoder_names"]


class FusionNet(nn.Module):
    """Prediction from modalities of which any may be missing, fused in one of many ways.

    Each modality has an encoder, which gives an embedding; a strategy fuses the embeddings of those
    that are available. A modality of which nothing was observed enters no mean, gate or attention.

    Parameters
    ----------
    schema : Schema
        The modalities.
    n_outputs : int
        Width of the prediction.
    strategy : str, default="early"
        How to fuse: a key of ``STRATEGIES``, to which :func:`register_strategy` adds one.
    encoder : str or dict of str to str, default="multirocket"
        A key of ``ENCODERS``, to which :func:`register_encoder` adds one. A dict names the encoders
        of some modalities; the others have the default.
    d_model : int, default=64
        Width D of the embeddings; even for ``"lstm"`` and ``"gru"``, and a multiple of ``n_heads``
        wherever there is attention.
    n_heads : int, default=4
        Heads of the attention.
    modality_dropout : float, default=0.3
        Mean rate at which modalities are hidden in training; each sample has a rate of its own
        (:class:`ModalityDropout` with ``spread``). It is the buffer ``modality_dropout.p``, which a
        schedule may set.
    dropout : float, default=0.1
        Dropout in encoders and strategy.
    feature_dropout : float, default=0.5
        Dropout on fixed features.
    token_type_dropout : float, default=0.8
        Rate at which the convolutions or the statistics of a modality are hidden from a sample in
        training, where its features are fixed.
    strategy_params : dict of str to Any or None, default=None
        More parameters of the strategy, such as ``{"rank": 8}`` for ``"low_rank"``.
    feature_widths : sequence of M dicts of str to sequence of int, or None, default=None
        By modality and kind, the widths of the parts of its fixed features, for the encoders
        ``"multirocket"`` and ``"hydra"``; None where no modality has one of them.

    Raises
    ------
    ValueError
        If a strategy or an encoder is not known, ``encoder`` names an unknown modality, the input
        has another number of modalities or channels, an encoder of fixed features has none
        declared or given, or the strategy gives another width than ``n_outputs``.

    Notes
    -----
    Input: lists in schema order, ``values[m] (B, L, C)`` float32, or int64 symbols where a
    vocabulary stands; ``observed[m] (B, L, C)`` bool; ``times[m] (B, L)`` seconds or None. Values
    where ``observed`` is false are not read.

    ``"multirocket"`` and ``"hydra"`` read ``features[m] (B, F)`` in place of the values: fixed
    features of the widths declared, which are computed once and not in every epoch.

    Record: ``available (B, M)``, and what the strategy records: ``weight (B, M)``,
    ``modality_logits (B, M, n_outputs)``, ``attention (B, M, M)``.

    Examples
    --------
    >>> from mts_fusion.panel._schema import Modality, Schema
    >>> schema = Schema((Modality("acc", 3, 100, rate=25.0), Modality("temp", 1, 16, rate=4.0)))
    >>> values = [torch.randn(5, 100, 3), torch.randn(5, 16, 1)]
    >>> observed = [torch.ones(5, 100, 3, dtype=bool), torch.zeros(5, 16, 1, dtype=bool)]
    >>> net = FusionNet(schema, 4, strategy="late", encoder="gru").eval()
    >>> net(values, observed, record=True).record["weight"][0].tolist()
    [1.0, 0.0]
    """

    def __init__(
        self,
        schema: Schema,
        n_outputs: int,
        *,
        strategy: str = "early",
        encoder: str | Mapping[str, str] = "multirocket",
        d_model: int = 64,
        n_heads: int = 4,
        modality_dropout: float = 0.3,
        dropout: float = 0.1,
        feature_dropout: float = 0.5,
        token_type_dropout: float = 0.8,
        strategy_params: Mapping[str, Any] | None = None,
        feature_widths: Sequence[Mapping[str, Sequence[int]]] | None = None,
    ) -> None:
        super().__init__()
        self.schema = schema
        self.n_outputs = n_outputs
        self.strategy = strategy
        self.modality_dropout = ModalityDropout(modality_dropout, spread=True)
        self.encoders = nn.ModuleList()
        for m, (modality, name) in enumerate(
            zip(schema, encoder_names(schema, encoder), strict=True)
        ):
            options = {
                "n_heads": n_heads,
                "dropout": dropout,
                "feature_dropout": feature_dropout,
                "token_type_dropout": token_type_dropout,
                "widths": {} if feature_widths is None else feature_widths[m],
            }
            self.encoders.append(construct(get_encoder(name), modality, d_model, options=options))
        self.fusion: Fusion = construct(
            get_strategy(strategy),
            len(schema),
            d_model,
            n_outputs,
            options={"n_heads": n_heads, "dropout": dropout},
            **(strategy_params or {}),
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
            Bool. A modality of which nothing is observed is absent, also where ``features`` are
            given that were computed when it was available.
        times : list of M Tensors of shape (B, L) or None, or None, default=None
            Seconds.
        features : list of M Tensors of shape (B, F) or None, default=None
            Fixed features of the widths declared, NaN where nothing was observed.
        record : bool, default=False
            Whether to return the record.

        Returns
        -------
        ModuleOutput
            Prediction ``(B, n_outputs)``, the strategy's own loss, record.
        """
        check_values(self.schema, values, observed)
        observed = self.modality_dropout(observed)
        available = available_modalities(observed)  # (B, M)
        encoded: list[EncoderOutput] = [
            encoder(
                values[m],
                observed[m],
                None if times is None else times[m],
                features=None if features is None else features[m],
            )
            for m, encoder in enumerate(self.encoders)
        ]
        embeddings = torch.stack([part.embedding for part in encoded], 1)
        embeddings = embeddings.masked_fill(~available.unsqueeze(-1), 0.0)
        tokens = _join(encoded, available) if self.fusion.needs_tokens else None
        output = self.fusion(embeddings, available, tokens)
        if output.logits.shape[-1] != self.n_outputs:
            raise ValueError(
                f"Strategy {self.strategy!r} gave logits of shape {tuple(output.logits.shape)}; "
                f"(B, {self.n_outputs}) is wanted. Map to n_outputs at its end."
            )
        tensors = {"available": available, **output.record} if record else {}
        loss = output.logits.new_zeros(()) if output.loss is None else output.loss
        return ModuleOutput(output.logits, loss, tensors)


def encoder_names(schema: Schema, encoder: str | Mapping[str, str]) -> list[str]:
    """The name of the encoder of each modality.

    Parameters
    ----------
    schema : Schema
        The modalities.
    encoder : str or dict of str to str
        A name for all, or by modality; ``"multirocket"`` for those that a dict leaves out.

    Returns
    -------
    list of M str
        Keys of ``ENCODERS``.

    Raises
    ------
    ValueError
        If an encoder or a modality is not known.

    Examples
    --------
    >>> from mts_fusion.panel._schema import Modality
    >>> schema = Schema((Modality("acc", 3, 100), Modality("temp", 1, 16)))
    >>> encoder_names(schema, {"temp": "gru"})
    ['multirocket', 'gru']
    """
    if isinstance(encoder, str):
        encoder = dict.fromkeys(schema.names, encoder)
    unknown = [name for name in encoder if name not in schema]
    if unknown:
        raise ValueError(f"encoder names {unknown}, but the modalities are {list(schema.names)}.")
    for name, chosen in encoder.items():
        if chosen not in ENCODERS:
            raise ValueError(
                f"No encoder {chosen!r} for modality {name!r}; there are {sorted(ENCODERS)}."
            )
    return [encoder.get(name, "multirocket") for name in schema.names]


def _join(encoded: list[EncoderOutput], available: Tensor) -> Tokens:
    """Tokens of all modalities, those with fewer filled up with tokens that are not available."""
    longest = max(part.tokens.shape[1] for part in encoded)
    tokens, observed = [], []
    for part in encoded:
        gap = longest - part.tokens.shape[1]
        tokens.append(nn.functional.pad(part.tokens, (0, 0, 0, gap)))
        observed.append(nn.functional.pad(part.observed, (0, gap)))
    token_available = torch.stack(observed, 1) & available.unsqueeze(-1)  # (B, M, T)
    return Tokens(torch.stack(tokens, 1), token_available)
