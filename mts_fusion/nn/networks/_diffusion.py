"""Conditional diffusion that fills the gaps of modalities, given what is observed of all of them.

Sizes: B batch, S draws, M modalities, L timepoints, C channels, Q entries of all modalities (the
sum of L * C).
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mts_fusion.nn.diffusion import (
    SAMPLERS,
    ConditionEncoder,
    Denoiser,
    HideObserved,
    NoiseSchedule,
    Patches,
    content_keys,
    keyed_normal,
)
from mts_fusion.nn.layers import check_heads
from mts_fusion.panel._schema import Schema

from ._diffusion_loss import NoisedEntries, denoising_loss, flat_entries
from ._inputs import check_values
from ._output import ModuleOutput

__all__ = ["ConditionalDiffusion"]

_PARAMETERIZATIONS = ("velocity", "noise")
_DENOISERS = ("attention", "state_space")
_PRIORS = ("learned", "standard")


class ConditionalDiffusion(nn.Module):
    """Samples of the missing entries of each modality, given the observed ones of all.

    Stage 1 of TRACE [1]_, section 3.3. Sampling starts from noise in the gaps of modality m, which
    a denoiser turns into values step by step. Its input in each step: the observed entries of m
    (fixed), the time and channel of each entry, and a gated context of the other modalities.

    There are two parts. The *encoder* reads what is observed, once for all steps and draws, and
    predicts the mean and the spread of each missing entry (``prior="learned"``). The *denoiser*
    runs in each step on each draw, and is small. With ``n_encoder_layers=0, n_layers=4,
    patch_length=1, channels_per_token=1, prior="standard", parameterization="noise"`` there is no
    encoder, and ``conditioning="target"`` on one modality is then CSDI [2]_.

    Parameters
    ----------
    schema : Schema
        The modalities; numbers only.
    d_model : int, default=64
        Width D of the tokens.
    n_heads : int, default=8
        Heads of each attention.
    n_layers : int, default=2
        Layers of the denoiser; the time of each step grows with it.
    denoiser : {"attention", "state_space"}, default="attention"
        What mixes the tokens of the denoiser: attention, or state spaces along time as in SSSD.
    n_encoder_layers : int, default=3
        Layers of the encoder. 0 is the denoiser alone.
    patch_length : int or None, default=None
        Consecutive timepoints in a token. 1 is CSDI; longer patches are faster and may lose detail.
        Modalities shorter than it are one patch. None makes at most 64 patches.
    channels_per_token : int or None, default=None
        Consecutive channels in a token, at least a 64th of those of the modality. 1 is CSDI, with
        attention between channels; None puts all channels of a modality in one token, which is
        many times faster and learns faster.
    n_experts : int, default=5
        Experts of the context.
    conditioning : {"cross", "target", "none"}, default="cross"
        What a gap is filled from: the observed entries of all modalities, those of its own
        modality, or none.
    gating : {"moe", "inner_product", "fixed"}, default="moe"
        How the other modalities are read: by attention, weighted by a learnt gate or equally
        (``"fixed"``), or as the paper, as a sum of their values weighted by an inner product.
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
        *,
        d_model: int = 64,
        n_heads: int = 8,
        n_layers: int = 2,
        denoiser: str = "attention",
        n_encoder_layers: int = 3,
        patch_length: int | None = None,
        channels_per_token: int | None = None,
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
        for name, value, allowed in (
            ("parameterization", parameterization, _PARAMETERIZATIONS),
            ("denoiser", denoiser, _DENOISERS),
            ("prior", prior, _PRIORS),
        ):
            if value not in allowed:
                raise ValueError(f"{name} must be one of {list(allowed)}, got {value!r}.")
        for name, size, least in (
            ("d_model", d_model, 1),
            ("n_layers", n_layers, 1),
            ("n_encoder_layers", n_encoder_layers, 0),
            ("patch_length", 1 if patch_length is None else patch_length, 1),
            ("channels_per_token", 1 if channels_per_token is None else channels_per_token, 1),
        ):
            if size < least:
                raise ValueError(f"{name} must be at least {least}, got {size}.")
        check_heads(d_model, n_heads)
        self.schema = schema
        self.parameterization = parameterization
        self.prior = prior
        self.generator: torch.Generator | None = None
        self.hide = HideObserved(mask_strategy, hidden_fraction)
        self.schedule = NoiseSchedule(schedule, n_train_steps)
        patches = [Patches(m, patch_length, channels_per_token) for m in schema]
        self.condition = ConditionEncoder(
            schema,
            patches,
            d_model=d_model,
            n_heads=n_heads,
            n_layers=n_encoder_layers,
            n_experts=n_experts,
            conditioning=conditioning,
            gating=gating,
            prior=prior,
            time_unit=time_unit,
        )
        mixing = denoiser
        if denoiser == "attention" and not n_encoder_layers:
            mixing = "transformer"
        self.denoiser = Denoiser(
            patches,
            d_model,
            n_heads,
            n_layers=n_layers,
            d_side=self.condition.d_side,
            mixing=mixing,
        )

    def _clean(self, z: Tensor, predicted: Tensor, step: Tensor) -> Tensor:
        """Estimate of ``x_0`` from a prediction at ``step (B,)``; ``z (B, S, Q)``."""
        signal, noise = self.schedule.signal[step], self.schedule.noise[step]
        signal, noise = signal[:, None, None], noise[:, None, None]
        if self.parameterization == "velocity":
            return signal * z - noise * predicted
        return (z - noise * predicted) / signal

    def _draw(
        self, values: Sequence[Tensor], observed: Sequence[Tensor]
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """What is hidden, the step ``(B,)`` and the noise ``(B, Q)`` of a training batch."""
        n_samples, device = values[0].shape[0], values[0].device
        hidden = self.hide(observed)
        # Steps spread evenly over the batch: the loss varies less than with free draws.
        spread = torch.randperm(n_samples, generator=self.generator, device=device)
        u = torch.rand(n_samples, generator=self.generator, device=device)
        n_entries = sum(x.shape[1] * x.shape[2] for x in values)
        noise = torch.randn(n_samples, n_entries, generator=self.generator, device=device)
        return hidden, self.schedule.step_at((spread + u) / n_samples), noise

    def _draw_by_content(
        self, values: Sequence[Tensor], observed: Sequence[Tensor]
    ) -> tuple[list[Tensor], Tensor, Tensor]:
        """The same, as a function of the observed entries of each sample."""
        keys = content_keys(values, observed)
        draws = torch.arange(2, device=values[0].device)
        share = _uniform(keyed_normal(keys, (1, 2), draws=draws[:1], step=1)[:, 0])  # (B, 1, 2)
        bound = share[:, :, :1] if self.hide.fraction is None else self.hide.fraction
        noises, hidden = [], []
        for m, (x, o) in enumerate(zip(values, observed, strict=True)):
            z = keyed_normal(keys, (x.shape[1], x.shape[2]), draws=draws, modality=m)
            noises.append(z[:, 0].flatten(1))
            hidden.append(o & (_uniform(z[:, 1]) < bound))
        return hidden, self.schedule.step_at(share[:, 0, 1]), torch.cat(noises, dim=1)

    def forward(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None] | None = None,
        *,
        record: bool = False,
    ) -> ModuleOutput:
        """Hide a part of what is observed and measure how well it is denoised."""
        check_values(self.schema, values, observed)
        draw = self._draw if self.training else self._draw_by_content
        hidden, step, noise = draw(values, observed)
        shown = [o & ~h for o, h in zip(observed, hidden, strict=True)]
        # NOTE[DIFF] The paper trains a network for each target; here all modalities are targets.
        condition = self.condition(values, shown, times, list(range(len(values))))
        loss, error = denoising_loss(
            self.denoiser,
            self.schedule,
            condition,
            NoisedEntries(
                flat_entries(values), flat_entries(shown), flat_entries(hidden), noise, step
            ),
            parameterization=self.parameterization,
            has_prior=self.prior == "learned",
        )
        tensors = {"gate": condition.gate, "error": error} if record else {}
        return ModuleOutput(loss.new_zeros(step.shape[0], 0), loss, tensors)

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
        the draw. It depends neither on the batch nor on the order of its samples.

        Parameters
        ----------
        values : list of M Tensors of shape (B, L, C)
            Float32.
        observed : list of M bool Tensors of shape (B, L, C)
            These entries are kept, bit by bit.
        times : list of M Tensors of shape (B, L) or None, or None, default=None
            Seconds.
        n_samples : int, default=20
            Draws S.
        n_steps : int, default=5
            Steps of the sampler, at most those of the training.
        sampler : {"flow2m", "dpm++2m", "ddim", "ddpm"}, default="flow2m"
            Two second-order solvers, a first-order one, or ancestral sampling.
        seed : int, default=0
            Seed of the draws.
        batch_size : int or None, default=None
            Draws that pass the denoiser at once: bounds the memory. None: all.

        Returns
        -------
        list of M Tensors of shape (B, S, L, C)
            Observed entries are unchanged.

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
        condition = self.condition(values, observed, times, modalities)
        sides = self.denoiser.prepare(condition)
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
                    for m, shape in zip(modalities, condition.shapes, strict=True)
                ]
                return torch.cat(parts, dim=2) * missing  # (B, S, Q)

            def denoise(z: Tensor, step: int) -> Tensor:
                steps = torch.full((z.shape[0],), step, device=z.device)
                predicted = self.denoiser(z, steps, condition, sides)
                return self._clean(z, predicted, steps) * missing

            x = SAMPLERS[sampler](denoise, noise, self.schedule, n_steps)
            filled.append(x * condition.scale[:, None] + condition.location[:, None])
        parts = torch.cat(filled, dim=1).split([a * b for a, b in condition.shapes], dim=2)
        for m, part, shape in zip(modalities, parts, condition.shapes, strict=True):
            drawn = part.unflatten(2, shape)
            complete[m] = torch.where(observed[m][:, None], values[m][:, None], drawn)
        return complete


def _uniform(z: Tensor) -> Tensor:
    """Standard normal numbers to uniform ones in (0, 1)."""
    return 0.5 + 0.5 * torch.erf(z / math.sqrt(2))
