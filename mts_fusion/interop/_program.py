"""Modules of torch from raw values and masks to predictions: scaler, features, model and link.

Sizes: B samples, M modalities, C channels, L timepoints, K outputs, P sets of modalities.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..nn.layers import available_modalities, stable_argsort
from ..panel import Schema
from ..training import FixedFeatures, PanelNet, PatternModels
from ..transforms import PanelScaler
from ..transforms._scaler import MAX_SCALED

__all__ = ["NetworkProgram", "PatternProgram", "Program"]

Link = Callable[[Tensor, Tensor], Tensor]


class _Scaler(nn.Module):
    """``(x - center) / scale`` of a modality, 0 where nothing was observed, ``(B, L, C)``."""

    center: Tensor
    scale: Tensor
    bounds: Tensor

    def __init__(self, scaler: PanelScaler, name: str) -> None:
        super().__init__()
        for key in ("center", "scale", "bounds"):
            part = torch.as_tensor(getattr(scaler, f"{key}_")[name])
            self.register_buffer(key, part.unsqueeze(-1))

    def forward(self, values: Tensor) -> Tensor:
        low, high = self.bounds
        x = (values.double().clamp(low, high) - self.center) / self.scale
        return x.clamp(-MAX_SCALED, MAX_SCALED).float().nan_to_num(0.0).transpose(1, 2)


def _observed_first(values: Tensor, observed: Tensor, times: Tensor) -> tuple[Tensor, ...]:
    """Timepoints at which anything was observed, then the others, as padding at time 0.

    As :func:`observed_timepoints` of the panel. ``values`` and ``observed`` are ``(B, L, C)``.
    """
    is_empty = ~observed.any(2)
    order = stable_argsort(is_empty.long(), 1)
    of_channels = order.unsqueeze(2).expand(values.shape)
    return (
        values.gather(1, of_channels),
        observed.gather(1, of_channels),
        times.masked_fill(is_empty, 0.0).gather(1, order),
    )


class Program(nn.Module):
    """Abstract: the inputs, scaled and brought into the form that networks and features read.

    Parameters
    ----------
    schema : Schema
        The modalities.
    scaler : PanelScaler or None
        Fitted.
    features : FixedFeatures or None
        Fitted.

    Notes
    -----
    Input: ``values`` M Tensors ``(B, C, L)`` float32 with NaN, or int64 symbols; ``observed`` M
    Tensors ``(B, C, L)`` bool; ``times`` a Tensor ``(B, L)`` float64 for each modality with
    irregular times. Output: ``(B, K)`` float32.
    """

    def __init__(
        self, schema: Schema, scaler: PanelScaler | None, features: FixedFeatures | None
    ) -> None:
        super().__init__()
        self.irregular = [m.irregular for m in schema]
        self.regular_seconds = max(
            (m.duration_seconds or 0.0 for m in schema if not m.irregular), default=0.0
        )
        center = {} if scaler is None else scaler.center_
        self.scalers = nn.ModuleList(
            _Scaler(scaler, m.name) if scaler is not None and m.name in center else nn.Identity()
            for m in schema
        )
        self.features = None if features is None else features.module

    def forward(
        self, values: Sequence[Tensor], observed: Sequence[Tensor], times: Sequence[Tensor]
    ) -> Tensor:
        """Probabilities, or numbers in the unit of y."""
        scaled = [
            scale(x) if isinstance(scale, _Scaler) else x.transpose(1, 2)
            for scale, x in zip(self.scalers, values, strict=True)
        ]
        masks = [one.transpose(1, 2) for one in observed]
        clocks = self._clocks(times, masks)
        for m, clock in enumerate(clocks):
            if clock is not None:
                scaled[m], masks[m], clocks[m] = _observed_first(scaled[m], masks[m], clock)
        features = None
        if self.features is not None:
            features = self.features(scaled, masks, clocks)
        return self._predict(scaled, masks, clocks, features).float()

    def _predict(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None],
        features: list[Tensor] | None,
    ) -> Tensor:
        raise NotImplementedError

    def _clocks(self, times: Sequence[Tensor], observed: list[Tensor]) -> list[Tensor | None]:
        """Times from the first observed entry of a sample; None of a regular clock."""
        if not times:
            return [None for _ in observed]
        masks = [one.any(2) for one, has in zip(observed, self.irregular, strict=True) if has]
        seen = [t.where(o, torch.inf) for t, o in zip(times, masks, strict=True)]
        first = torch.cat(seen, 1).amin(1, keepdim=True)
        is_shared = first.isinf() | (first.abs() < self.regular_seconds)
        start = first.masked_fill(is_shared, 0.0)
        clocks = iter([(t - start).float().nan_to_num(0.0) for t in times])
        return [next(clocks) if irregular else None for irregular in self.irregular]


class NetworkProgram(Program):
    """An ensemble of networks, and the temperature of its probabilities.

    Parameters
    ----------
    schema, scaler, features
        As for :class:`Program`.
    nets : sequence of PanelNet
        Trained.
    link : callable
        Turns the predictions ``(N, B, K)`` of N networks, float64, and the fraction of missing
        modalities ``(B,)`` into the output.
    """

    def __init__(
        self,
        schema: Schema,
        scaler: PanelScaler | None,
        features: FixedFeatures | None,
        nets: Sequence[PanelNet],
        link: Link,
    ) -> None:
        super().__init__(schema, scaler, features)
        self.networks = nn.ModuleList(net.module_ for net in nets)
        self.link = link

    def _predict(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None],
        features: list[Tensor] | None,
    ) -> Tensor:
        more = {} if features is None else {"features": features}
        raw = [
            network(values, observed, times, **more).prediction.double()
            for network in self.networks
        ]
        missing = (~available_modalities(observed)).double().mean(1)
        return self.link(torch.stack(raw), missing)


class PatternProgram(Program):
    """Ridge regressions for a list of sets of modalities.

    Parameters
    ----------
    schema, scaler, features
        As for :class:`Program`.
    models : PatternModels
        Fitted, without boosted trees.
    patterns : sequence of P tuples of int
        Sets of modalities. The output of a sample with another set is NaN; without any modality
        it is that of the prior.
    prior : Tensor of shape (K,)
        Scores without any modality.
    link : callable
        Turns scores ``(1, B, K)``, float64, and the fraction of missing modalities into the output.
    """

    members: Tensor
    constant: Tensor

    def __init__(
        self,
        schema: Schema,
        scaler: PanelScaler | None,
        features: FixedFeatures | None,
        models: PatternModels,
        patterns: Sequence[tuple[int, ...]],
        prior: Tensor,
        link: Link,
    ) -> None:
        super().__init__(schema, scaler, features)
        self.link = link
        fitted = [models.model(members) for members in patterns]
        members = torch.zeros(len(patterns) + 1, len(schema), dtype=torch.bool)
        for p, pattern in enumerate(patterns):
            members[p, list(pattern)] = True
        constants = [prior[None] if one is None else one.constant.cpu() for one in fitted]
        self.register_buffer("members", members)  # (P + 1, M), the last without any
        self.register_buffer("constant", torch.cat([*constants, prior[None]]))  # (P + 1, K)
        self.maps: Any = nn.ModuleList()
        self.slices: list[tuple[int, Any]] = []
        self.n_outputs = len(prior)
        for k, head in enumerate(models.heads):
            for m, kernel in head.maps.items():
                coef = [None if one is None else one.base_coef[k].get(m) for one in fitted]
                given = next((one for one in coef if one is not None), None)
                if given is None:  # no set has this modality
                    continue
                self.maps.append(kernel)
                self.slices.append((m, head.slices[m]))
                filled = [torch.zeros_like(given) if one is None else one for one in coef]
                stacked = torch.stack([*filled, torch.zeros_like(given)], 1).cpu()
                self.register_buffer(f"coef{len(self.slices) - 1}", stacked.flatten(1))

    def _predict(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None],
        features: list[Tensor] | None,
    ) -> Tensor:
        assert features is not None
        available = available_modalities(observed)
        chosen = torch.eq(available.unsqueeze(1), self.members).all(2)  # (B, P + 1)
        scores = self.constant.unsqueeze(0)
        for i, (kernel, (m, columns)) in enumerate(zip(self.maps, self.slices, strict=True)):
            base = kernel.base(features[m][:, columns])
            added = base @ getattr(self, f"coef{i}")
            scores = scores + added.unflatten(1, (-1, self.n_outputs))
        score = torch.where(chosen.unsqueeze(2), scores, 0.0).sum(1)
        score = score.masked_fill(~chosen.any(1, keepdim=True), torch.nan)
        return self.link(score.unsqueeze(0), (~available).double().mean(1))
