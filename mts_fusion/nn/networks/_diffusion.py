"""Conditional diffusion that fills the gaps of modalities, given what is observed of all of them.

Sizes: B batch, S draws, M modalities, L timepoints, C channels, P patches, G groups of channels,
N tokens of all modalities, D width, Q entries of all modalities (the sum of L * C).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from mts_fusion.nn.diffusion import (
    SAMPLERS,
    CrossModalContext,
    Grid,
    GridEncoderLayer,
    HideObserved,
    NoiseSchedule,
    ResidualDenoiserLayer,
    StepEmbedding,
    content_keys,
    fill_between,
    keyed_normal,
    sinusoids,
)
from mts_fusion.nn.layers import check_heads
from mts_fusion.panel._schema import Schema

from ._output import ModuleOutput

__all__ = ["ConditionalDiffusion", "DiffusionSampler"]

_MAX_GROUPS = 64
_MAX_PATCHES = 64
_MAX_DEVIATIONS = 8.0


class _Condition(NamedTuple):
    """What one batch tells the denoiser, the same for each step and each draw."""

    modalities: list[int]  # those with gaps; the rest below is of these alone, but for the gate
    shapes: list[tuple[int, int]]  # their timepoints L and channels C
    grids: list[Grid]
    observed: Tensor  # (B, N, D) projection of the observed entries
    sides: list[Tensor]  # one a layer, (B, N, 2 D)
    location: Tensor  # (B, Q) centre of the latent
    scale: Tensor  # (B, Q) its width
    gate: Tensor  # (B, M, M)


class _Patches:
    """The entries of one modality as a grid of patches, and back.

    ``(B, L, C) <-> (B, P * G, patch * group)``; L and C are filled up with zeros.
    """

    def __init__(self, n_channels: int, patch: int, group: int) -> None:
        self.n_channels = n_channels
        self.patch = patch
        self.group = group
        self.n_groups = math.ceil(n_channels / group)
        self.size = patch * group

    def n_patches(self, n_timepoints: int) -> int:
        return -(-n_timepoints // self.patch)

    def cut(self, x: Tensor) -> Tensor:
        n_patches = self.n_patches(x.shape[1])
        more = (0, self.n_groups * self.group - x.shape[2], 0, n_patches * self.patch - x.shape[1])
        x = F.pad(x, more) if any(more) else x
        x = x.view(x.shape[0], n_patches, self.patch, self.n_groups, self.group)
        return x.transpose(2, 3).reshape(x.shape[0], n_patches * self.n_groups, self.size)

    def join(self, x: Tensor, n_timepoints: int) -> Tensor:
        n_patches = self.n_patches(n_timepoints)
        x = x.view(x.shape[0], n_patches, self.n_groups, self.patch, self.group).transpose(2, 3)
        x = x.reshape(x.shape[0], n_patches * self.patch, self.n_groups * self.group)
        return x[:, :n_timepoints, : self.n_channels]


class ConditionalDiffusion(nn.Module):
    """Samples of the missing entries of each modality, given the observed ones of all.

    Stage 1 of TRACE [1]_, section 3.3. The gaps of modality m are noise that a denoiser turns into
    values in steps; each step sees the observed entries of m (fixed), when and in which channel
    each entry stands, and a gated context of the other modalities.

    Two parts do the work. The *encoder* reads what is observed, once for all steps and draws, and
    says where each missing entry is expected and how widely (``prior="learned"``). The *denoiser*
    runs in each step on each draw, and is light. With ``n_encoder_layers=0, n_layers=4,
    patch_length=1, channels_per_token=1, prior="standard", parameterization="noise"`` there is no
    encoder, and ``conditioning="target"`` on one modality is then CSDI [2]_.

    Parameters
    ----------
    schema : Schema
        The modalities; numbers only.
    n_outputs : int, default=0
        Without effect: the network has a loss of its own and no task.
    d_model : int, default=64
        Width D of the tokens.
    n_heads : int, default=8
        Heads of each attention.
    n_layers : int, default=2
        Layers of the denoiser; the time of each step grows with it.
    n_encoder_layers : int, default=3
        Layers of the encoder. 0 leaves all to the denoiser.
    patch_length : int or None, default=None
        Consecutive timepoints in a token. 1 is CSDI; time falls with the patch length, detail may
        suffer. Modalities shorter than it are one patch. None makes at most 64 patches.
    channels_per_token : int or None, default=None
        Consecutive channels in a token, at least a 64th of those of the modality. 1 is CSDI, with
        attention between channels; None puts all channels of a modality in one token, which is
        many times faster and learns faster.
    d_context : int, default=128
        Width of the context of the other modalities.
    d_time : int, default=128
        Width of the time embedding.
    d_feature : int, default=64
        Width of the embedding of a group of channels.
    d_step : int, default=128
        Width of the embedding of the step.
    n_experts : int, default=5
        Experts of the context.
    conditioning : {"cross", "target", "none"}, default="cross"
        What is known of a gap: the observed entries of all modalities, those of its own modality,
        or none.
    gating : {"moe", "fixed"}, default="moe"
        How the other modalities are weighed: by a learnt gate, or alike.
    mask_strategy : {"random", "block", "modality", "mix", "historical"}, default="mix"
        What is hidden in training, see :class:`~mts_fusion.nn.diffusion.HideObserved`.
    hidden_fraction : float or None, default=None
        Share hidden in training; None draws it for each sample.
    schedule : {"quad", "linear", "cosine"}, default="quad"
        Growth of the noise.
    n_train_steps : int, default=50
        Steps T of the diffusion in training.
    parameterization : {"velocity", "noise"}, default="velocity"
        What the denoiser predicts: ``signal * noise - noise * x_0`` or the noise (eq. 7).
    prior : {"learned", "standard"}, default="learned"
        The latent is the gap less its expected value, in units of its expected width, both from the
        encoder; or the gap itself.
    time_unit : float or None, default=None
        Seconds of one unit of the time embedding, best the shortest sampling interval. None takes
        it from the highest rate of the schema, or 1.

    Raises
    ------
    ValueError
        If an option is not known, a size is out of range or a modality has tokens.

    Notes
    -----
    ``forward(values, observed, times)`` gives the training loss in ``loss`` and an empty
    ``prediction (B, 0)``; in evaluation mode, what is hidden and the noise depend on the content of
    each sample alone. Record: ``gate (B, M, M)``, target and auxiliary; ``error (B, M)``, the mean
    squared error on the hidden entries of each modality, 0 where none was hidden.
    :meth:`sample` fills the gaps.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285
    .. [2] Tashiro et al., "CSDI: Conditional Score-based Diffusion Models for Probabilistic Time
       Series Imputation", NeurIPS, 2021. https://arxiv.org/abs/2107.03502

    Examples
    --------
    >>> import torch
    >>> from mts_fusion.panel import Modality, Schema
    >>> schema = Schema((Modality("acc", 3, 20), Modality("temp", 1, 5)))
    >>> net = ConditionalDiffusion(schema, d_model=16, n_heads=2).eval()
    >>> values = [torch.zeros(2, 20, 3), torch.zeros(2, 5, 1)]
    >>> observed = [torch.ones(2, 20, 3, dtype=bool), torch.zeros(2, 5, 1, dtype=bool)]
    >>> [tuple(x.shape) for x in net.sample(values, observed, n_samples=4, n_steps=2)]
    [(2, 4, 20, 3), (2, 4, 5, 1)]
    """

    def __init__(
        self,
        schema: Schema,
        n_outputs: int = 0,
        *,
        d_model: int = 64,
        n_heads: int = 8,
        n_layers: int = 2,
        n_encoder_layers: int = 3,
        patch_length: int | None = None,
        channels_per_token: int | None = None,
        d_context: int = 128,
        d_time: int = 128,
        d_feature: int = 64,
        d_step: int = 128,
        n_experts: int = 5,
        conditioning: str = "cross",
        gating: str = "moe",
        mask_strategy: str = "mix",
        hidden_fraction: float | None = None,
        schedule: str = "quad",
        n_train_steps: int = 50,
        parameterization: str = "velocity",
        prior: str = "learned",
        time_unit: float | None = None,
    ) -> None:
        super().__init__()
        for modality in schema:
            if modality.vocabulary is not None:
                raise ValueError(
                    f"Modality {modality.name!r} has tokens, but a diffusion fills numbers. Impute "
                    "before the tokenizer, or drop it with X.drop(...)."
                )
        for name, value, known in (
            ("conditioning", conditioning, ("cross", "target", "none")),
            ("parameterization", parameterization, ("velocity", "noise")),
            ("prior", prior, ("learned", "standard")),
        ):
            if value not in known:
                raise ValueError(f"{name} must be one of {list(known)}, got {value!r}.")
        for name, size, least in (
            ("d_model", d_model, 1),
            ("n_heads", n_heads, 1),
            ("n_layers", n_layers, 1),
            ("n_encoder_layers", n_encoder_layers, 0),
            ("patch_length", 1 if patch_length is None else patch_length, 1),
            ("channels_per_token", 1 if channels_per_token is None else channels_per_token, 1),
        ):
            if size < least:
                raise ValueError(f"{name} must be at least {least}, got {size}.")
        check_heads(d_model, n_heads)
        if d_time % 2 or d_step % 2:
            raise ValueError(f"d_time and d_step must be even, got {d_time} and {d_step}.")
        rates = [m.rate for m in schema if m.rate is not None]
        if time_unit is None:
            time_unit = 1 / max(rates) if rates else 1.0
        self.time_unit = time_unit
        self.rates = [m.rate for m in schema]
        self.d_time = d_time
        self.conditioning = conditioning
        self.parameterization = parameterization
        self.prior = prior
        self.generator: torch.Generator | None = None
        self.hide = HideObserved(mask_strategy, hidden_fraction)
        self.schedule = NoiseSchedule(schedule, n_train_steps)
        # One token holds at most so many channels that a modality has _MAX_GROUPS tokens a patch:
        # the embedding of a note with 768 channels is then 64 tokens, not 768.
        self.patches = [
            _Patches(
                m.n_channels,
                min(patch_length or math.ceil(m.n_timepoints / _MAX_PATCHES), m.n_timepoints),
                max(
                    min(m.n_channels, channels_per_token or m.n_channels),
                    math.ceil(m.n_channels / _MAX_GROUPS),
                ),
            )
            for m in schema
        ]
        sizes = [patches.size for patches in self.patches]
        n_groups = [patches.n_groups for patches in self.patches]
        self.feature = nn.ParameterList(nn.Parameter(torch.randn(g, d_feature)) for g in n_groups)
        d_query = d_time + d_feature
        self.context: CrossModalContext | None = None
        if conditioning == "cross" and len(schema) > 1:
            self.auxiliary_in = nn.ModuleList(
                nn.Linear(2 * size * g, d_context) for size, g in zip(sizes, n_groups, strict=True)
            )
            self.auxiliary_time = nn.Linear(d_time, d_context)
            self.auxiliary = GridEncoderLayer(d_context, n_heads, 2 * d_context)
            self.context = CrossModalContext(
                d_query, d_context, n_heads=n_heads, n_experts=n_experts, gating=gating
            )
        d_given = d_query + (d_context if self.context is not None else 0)
        n_inputs = 4 if prior == "learned" else 2
        self.observed_in = nn.ModuleList(nn.Linear(n_inputs * size, d_model) for size in sizes)
        self.encoder = nn.ModuleList(
            GridEncoderLayer(d_model, n_heads, 2 * d_model) for _ in range(n_encoder_layers)
        )
        self.given = nn.Linear(d_given, d_model) if n_encoder_layers else None
        self.prior_out = (
            nn.ModuleList(nn.Linear(d_model, 3 * size) for size in sizes)
            if prior == "learned"
            else None
        )
        self.latent_in = nn.ModuleList(nn.Linear(size, d_model) for size in sizes)
        self.step = StepEmbedding(d_step)
        d_side = d_given + (d_model if n_encoder_layers else 0)
        self.layers = nn.ModuleList(
            ResidualDenoiserLayer(
                d_model,
                n_heads,
                d_side=d_side,
                d_step=d_step,
                d_hidden=0 if n_encoder_layers else d_model,
            )
            for _ in range(n_layers)
        )
        self.skip = nn.Linear(d_model, d_model)
        self.out = nn.ModuleList(nn.Linear(d_model, size) for size in sizes)
        for last in (self.out, self.prior_out):
            for parameter in [] if last is None else last.parameters():
                nn.init.zeros_(parameter)

    # ---------------------------------------------------------------- entries and tokens

    def _cut(self, parts: Sequence[Tensor]) -> list[Tensor]:
        return [p.cut(x) for p, x in zip(self.patches, parts, strict=True)]

    def _join(
        self,
        tokens: Sequence[Tensor],
        modalities: Sequence[int],
        shapes: Sequence[tuple[int, int]],
    ) -> Tensor:
        """Tokens of each of the modalities -> (rows, Q)."""
        parts = [
            self.patches[m].join(x, length).flatten(1)
            for m, x, (length, _) in zip(modalities, tokens, shapes, strict=True)
        ]
        return torch.cat(parts, dim=1)

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
                t = t.cummax(1).values  # the padding behind the last time stays there
            clocks.append(t / self.time_unit)
        return clocks

    def _time_tokens(self, clocks: Sequence[Tensor]) -> list[Tensor]:
        """Time embedding of each patch: the mean over its timepoints, (B, P, d_time)."""
        tokens = []
        for patches, t in zip(self.patches, clocks, strict=True):
            embedded = sinusoids(t, self.d_time)  # (B, L, d_time)
            more = patches.n_patches(t.shape[1]) * patches.patch - t.shape[1]
            real = torch.ones_like(embedded[:1, :, :1])
            if more:
                embedded, real = (F.pad(x, (0, 0, 0, more)) for x in (embedded, real))
            embedded = embedded.unflatten(1, (-1, patches.patch)).sum(2)
            tokens.append(embedded / real.unflatten(1, (-1, patches.patch)).sum(2))
        return tokens

    @staticmethod
    def _centres(clock: Tensor, patches: _Patches) -> Tensor:
        """Time of each patch: the mean over its timepoints, (B, L) -> (B, P)."""
        more = patches.n_patches(clock.shape[1]) * patches.patch - clock.shape[1]
        if more:
            clock = torch.cat([clock, clock[:, -1:].expand(-1, more)], dim=1)
        return clock.unflatten(1, (-1, patches.patch)).mean(2)

    # ---------------------------------------------------------------- once a batch

    def _condition(
        self,
        values: Sequence[Tensor],
        observed: Sequence[Tensor],
        times: Sequence[Tensor | None] | None,
        modalities: list[int],
    ) -> _Condition:
        """All that does not depend on the step: side information, context, encoder, prior.

        The encoder reads all modalities; what is made for the denoiser is of ``modalities`` alone.
        """
        n_samples = values[0].shape[0]
        known = observed if self.conditioning != "none" else [torch.zeros_like(o) for o in observed]
        shown = [torch.where(o, x, 0.0) for x, o in zip(values, known, strict=True)]
        shapes = [(x.shape[1], x.shape[2]) for x in values]
        clocks = self._clocks(times, values)
        seen = self._cut([o.to(x.dtype) for x, o in zip(values, known, strict=True)])
        pairs = [torch.cat(pair, dim=2) for pair in zip(self._cut(shown), seen, strict=True)]
        grids = [
            (x.shape[1] // p.n_groups, p.n_groups) for x, p in zip(pairs, self.patches, strict=True)
        ]
        time = self._time_tokens(clocks)
        queries = [
            torch.cat(
                [
                    t[:, :, None].expand(-1, -1, g, -1),
                    feature.expand(n_samples, p, -1, -1),
                ],
                dim=3,
            ).flatten(1, 2)
            for t, feature, (p, g) in zip(time, self.feature, grids, strict=True)
        ]  # (B, P G, d_time + d_feature)
        side = torch.cat(queries, dim=1)
        gate = side.new_zeros(n_samples, len(values), len(values))
        if self.context is not None:
            encoded = [
                layer(x.view(n_samples, p, -1)) + self.auxiliary_time(t)
                for layer, x, t, (p, _) in zip(self.auxiliary_in, pairs, time, grids, strict=True)
            ]
            rows = [(p, 1) for p, _ in grids]
            mixed = self.auxiliary(torch.cat(encoded, dim=1), rows)
            encoded = list(mixed.split([p for p, _ in rows], dim=1))
            some = [
                x.view(n_samples, p, -1).amax(2) > 0 for x, (p, _) in zip(seen, grids, strict=True)
            ]
            centres = [self._centres(t, p) for t, p in zip(clocks, self.patches, strict=True)]
            context, gate = self.context(queries, encoded, some, centres)
            side = torch.cat([side, context], dim=2)
        lines: list[tuple[Tensor, Tensor]] = []
        inputs = pairs
        if self.prior_out is not None:
            lines = [fill_between(x, o, t) for x, o, t in zip(shown, known, clocks, strict=True)]
            more = zip(
                pairs,
                self._cut([x for x, _ in lines]),
                self._cut([torch.log1p(distance) for _, distance in lines]),
                strict=True,
            )
            inputs = [torch.cat(parts, dim=2) for parts in more]
        tokens = torch.cat(
            [layer(x) for layer, x in zip(self.observed_in, inputs, strict=True)], dim=1
        )
        if self.given is not None:
            hidden = tokens + self.given(side)
            for layer in self.encoder:
                hidden = layer(hidden, grids)
            side = torch.cat([side, hidden], dim=2)
        else:
            hidden = tokens
        sizes = [p * g for p, g in grids]
        if len(modalities) < len(values):
            tokens, side, hidden = (
                torch.cat([x.split(sizes, dim=1)[m] for m in modalities], dim=1)
                for x in (tokens, side, hidden)
            )
            shapes = [shapes[m] for m in modalities]
            grids = [grids[m] for m in modalities]
            sizes = [sizes[m] for m in modalities]
        location = side.new_zeros(n_samples, sum(length * width for length, width in shapes))
        scale = torch.ones_like(location)
        if self.prior_out is not None:
            outs = [
                self.prior_out[m](x).chunk(3, dim=2)
                for m, x in zip(modalities, hidden.split(sizes, dim=1), strict=True)
            ]
            shift, keep, width = (
                self._join(part, modalities, shapes) for part in zip(*outs, strict=True)
            )
            # The straight line between neighbours is where the encoder starts from.
            line = torch.cat([lines[m][0].flatten(1) for m in modalities], dim=1)
            location = (1 + keep) * line + shift
            # Bounded, so that neither a constant channel nor an outlier blows the loss up.
            scale = (3 * torch.tanh(width / 3)).exp()
        sides = [cast(ResidualDenoiserLayer, layer).prepare(side) for layer in self.layers]
        return _Condition(modalities, shapes, grids, tokens, sides, location, scale, gate)

    # ---------------------------------------------------------------- once a step

    def _denoise(self, z: Tensor, step: Tensor, given: _Condition) -> Tensor:
        """Prediction for a latent ``z (B, S, Q)`` at ``step (B,)``, like ``z``."""
        n_samples, n_draws = z.shape[:2]
        parts = z.flatten(0, 1).split([length * width for length, width in given.shapes], dim=1)
        x = torch.cat(
            [
                self.latent_in[m](self.patches[m].cut(part.unflatten(1, shape)))
                for m, part, shape in zip(given.modalities, parts, given.shapes, strict=True)
            ],
            dim=1,
        )
        x = F.relu(x.unflatten(0, (n_samples, n_draws)) + given.observed[:, None])
        embedded = self.step(step)
        total = torch.zeros_like(x)
        for layer, side in zip(self.layers, given.sides, strict=True):
            x, skip = layer(x, embedded, side, given.grids)
            total = total + skip
        x = F.relu(self.skip(total / math.sqrt(len(self.layers)))).flatten(0, 1)
        tokens = [
            self.out[m](part)
            for m, part in zip(
                given.modalities, x.split([p * g for p, g in given.grids], dim=1), strict=True
            )
        ]
        return self._join(tokens, given.modalities, given.shapes).view_as(z)

    def _clean(self, z: Tensor, predicted: Tensor, step: Tensor) -> Tensor:
        """Estimate of ``x_0`` from a prediction at ``step (B,)``; ``z (B, S, Q)``."""
        signal, noise = self.schedule.signal[step], self.schedule.noise[step]
        signal, noise = signal[:, None, None], noise[:, None, None]
        if self.parameterization == "velocity":
            return signal * z - noise * predicted
        return (z - noise * predicted) / signal

    # ---------------------------------------------------------------- training

    def _draw(
        self, values: Sequence[Tensor], observed: Sequence[Tensor]
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """What is hidden, the step ``(B,)`` and the noise ``(B, Q)`` of a batch."""
        n_samples, device = values[0].shape[0], values[0].device
        if self.training:
            hidden = self.hide(observed)
            # Steps spread evenly over the batch: the loss varies less than with free draws.
            spread = torch.randperm(n_samples, generator=self.generator, device=device)
            u = torch.rand(n_samples, generator=self.generator, device=device)
            step = ((spread + u) / n_samples * self.schedule.n_steps).long()
            n_entries = sum(x.shape[1] * x.shape[2] for x in values)
            noise = torch.randn(n_samples, n_entries, generator=self.generator, device=device)
            return hidden, step.clamp(max=self.schedule.n_steps - 1), noise
        keys = content_keys(values, observed)
        draws = torch.arange(2, device=device)
        noises, hidden = [], []
        share = 0.5 + 0.5 * torch.erf(
            keyed_normal(keys, (1, 2), draws=draws[:1], step=1)[:, 0] / math.sqrt(2)
        )  # (B, 1, 2), uniform
        for m, (x, seen) in enumerate(zip(values, observed, strict=True)):
            z = keyed_normal(keys, (x.shape[1], x.shape[2]), draws=draws, modality=m)
            noises.append(z[:, 0].flatten(1))
            uniform = 0.5 + 0.5 * torch.erf(z[:, 1] / math.sqrt(2))
            bound = share[:, :, :1] if self.hide.fraction is None else self.hide.fraction
            hidden.append(seen & (uniform < bound))
        step = (share[:, 0, 1] * self.schedule.n_steps).long()
        return hidden, step.clamp(max=self.schedule.n_steps - 1), torch.cat(noises, dim=1)

    def forward(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None] | None = None,
        *,
        record: bool = False,
    ) -> ModuleOutput:
        """Hide a part of what is observed and measure how well it is denoised."""
        hidden, step, noise = self._draw(values, observed)
        known = [o & ~h for o, h in zip(observed, hidden, strict=True)]
        shapes = [(x.shape[1], x.shape[2]) for x in values]
        given = self._condition(values, known, times, list(range(len(values))))
        flat = torch.cat([x.flatten(1) for x in values], dim=1)
        flat_known = torch.cat([k.flatten(1) for k in known], dim=1)
        flat_hidden = torch.cat([h.flatten(1) for h in hidden], dim=1)
        # Where the prior is far off, as for an outlier, one entry shall not rule the loss.
        x = (flat - given.location.detach()) / given.scale.detach()
        x = x.clamp(-_MAX_DEVIATIONS, _MAX_DEVIATIONS) if self.prior == "learned" else x
        # What is truly missing has no value to start from: pure noise, as its latent would be
        # at the beginning of the sampling.
        # NOTE[DIFF] CSDI noises zeros there.
        z = torch.where(flat_hidden, self.schedule.add_noise(x, noise, step), noise)
        z = z.masked_fill(flat_known, 0.0)[:, None]
        predicted = self._denoise(z, step, given)[:, 0]
        if self.parameterization == "velocity":
            signal, level = self.schedule.signal[step], self.schedule.noise[step]
            wanted = signal[:, None] * noise - level[:, None] * x
        else:
            wanted = noise
        count = flat_hidden.sum().clamp(min=1)
        error = torch.where(flat_hidden, (predicted - wanted) ** 2, 0.0)
        loss = error.sum() / count
        if self.prior_out is not None:
            # Likelihood of a Laplace distribution, which outliers do not rule; the factor makes
            # the scale a standard deviation where the values are normal.
            miss = math.sqrt(math.pi / 2) * (flat - given.location).abs() / given.scale
            likelihood = torch.where(flat_hidden, miss + given.scale.log(), 0.0)
            loss = loss + likelihood.sum() / count
        tensors: dict[str, Tensor] = {}
        if record:
            sizes = [length * channels for length, channels in shapes]
            totals = [part.sum(1) for part in error.split(sizes, dim=1)]
            counts = [part.sum(1).clamp(min=1) for part in flat_hidden.split(sizes, dim=1)]
            means = [total / n for total, n in zip(totals, counts, strict=True)]
            tensors = {"gate": given.gate, "error": torch.stack(means, dim=1)}
        return ModuleOutput(flat.new_zeros(flat.shape[0], 0), loss, tensors)

    # ---------------------------------------------------------------- sampling

    def sample(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None] | None = None,
        *,
        n_samples: int = 20,
        n_steps: int = 5,
        sampler: str = "flow2m",
        seed: int = 0,
        batch_size: int | None = None,
    ) -> list[Tensor]:
        """Fill the gaps, several times.

        The noise is a function of the content of each sample, of ``seed`` and of the number of
        the draw: neither the batch nor its order has a part in it.

        Parameters
        ----------
        values : list of M Tensors of shape (B, L, C)
            Float32.
        observed : list of M bool Tensors of shape (B, L, C)
            What is kept, bit by bit.
        times : list of M Tensors of shape (B, L) or None, or None, default=None
            Seconds.
        n_samples : int, default=20
            Draws S.
        n_steps : int, default=5
            Steps of the sampler, at most those of the training.
        sampler : {"flow2m", "dpm++2m", "ddim", "ddpm"}, default="flow2m"
            Two second-order solvers, a first-order one, or ancestral sampling.
        seed : int, default=0
            Another seed, other draws.
        batch_size : int or None, default=None
            Draws that pass the denoiser at once: bounds the memory. None: all.

        Returns
        -------
        list of M Tensors of shape (B, S, L, C)
            Observed entries as they came.

        Raises
        ------
        ValueError
            If the sampler is not known or ``n_steps`` is out of range.
        """
        if sampler not in SAMPLERS:
            raise ValueError(f"sampler must be one of {list(SAMPLERS)}, got {sampler!r}.")
        gaps = [not bool(o.all()) for o in observed]
        modalities = [m for m, gap in enumerate(gaps) if gap]
        complete = [x[:, None].expand(-1, n_samples, -1, -1) for x in values]
        if not modalities:
            return complete
        given = self._condition(values, observed, times, modalities)
        keys = content_keys(values, observed, seed)
        missing = ~torch.cat([observed[m].flatten(1) for m in modalities], dim=1)[:, None]
        at_once = n_samples
        if batch_size is not None:
            at_once = min(n_samples, max(1, batch_size // max(1, len(keys))))
        filled = []
        for draws in torch.arange(n_samples, device=keys.device).split(at_once):

            def noise(i: int, draws: Tensor = draws) -> Tensor:
                parts = [
                    keyed_normal(keys, shape, draws=draws, step=i, modality=m).flatten(2)
                    for m, shape in zip(modalities, given.shapes, strict=True)
                ]
                return torch.cat(parts, dim=2) * missing  # (B, S, Q)

            def denoise(z: Tensor, step: int) -> Tensor:
                at = torch.full((z.shape[0],), step, device=z.device)
                return self._clean(z, self._denoise(z, at, given), at) * missing

            x = SAMPLERS[sampler](denoise, noise, self.schedule, n_steps)
            filled.append(x * given.scale[:, None] + given.location[:, None])
        parts = torch.cat(filled, dim=1).split([a * b for a, b in given.shapes], dim=2)
        for m, part, shape in zip(modalities, parts, given.shapes, strict=True):
            found = part.unflatten(2, shape)
            complete[m] = torch.where(observed[m][:, None], values[m][:, None], found)
        return complete


class DiffusionSampler(nn.Module):
    """Samples of a fitted :class:`ConditionalDiffusion` as the prediction of a network.

    Parameters
    ----------
    network : ConditionalDiffusion
        Fitted.
    n_samples : int, default=20
        Draws S.
    n_steps : int, default=5
        Steps of the sampler.
    sampler : {"flow2m", "dpm++2m", "ddim", "ddpm"}, default="flow2m"
        See :meth:`ConditionalDiffusion.sample`.
    seed : int, default=0
        Another seed, other draws.
    batch_size : int or None, default=None
        Draws that pass the denoiser at once.

    Notes
    -----
    ``prediction (B, S * Q)``: draw after draw, modality after modality, time before channels.

    Examples
    --------
    >>> import torch
    >>> from mts_fusion.panel import Modality, Schema
    >>> net = ConditionalDiffusion(Schema((Modality("acc", 3, 20),)), d_model=16, n_heads=2)
    >>> sampler = DiffusionSampler(net.eval(), n_samples=4)
    >>> sampler([torch.zeros(2, 20, 3)], [torch.zeros(2, 20, 3, dtype=bool)]).prediction.shape
    torch.Size([2, 240])
    """

    def __init__(
        self,
        network: ConditionalDiffusion,
        *,
        n_samples: int = 20,
        n_steps: int = 5,
        sampler: str = "flow2m",
        seed: int = 0,
        batch_size: int | None = None,
    ) -> None:
        super().__init__()
        self.network = network
        self.n_samples = n_samples
        self.n_steps = n_steps
        self.sampler = sampler
        self.seed = seed
        self.batch_size = batch_size

    def forward(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None] | None = None,
        *,
        record: bool = False,
    ) -> ModuleOutput:
        """Draw the samples."""
        drawn = self.network.sample(
            values,
            observed,
            times,
            n_samples=self.n_samples,
            n_steps=self.n_steps,
            sampler=self.sampler,
            seed=self.seed,
            batch_size=self.batch_size,
        )
        flat = torch.cat([x.flatten(2) for x in drawn], dim=2).flatten(1)
        return ModuleOutput(flat, flat.new_zeros(()), {})
