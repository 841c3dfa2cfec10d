"""A network that turns joint draws of a Gaussian process into draws of the data.

Sizes: B batch, R copies, S draws, M modalities, L timepoints, C channels, Q entries of all
modalities (the sum of L * C).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from mts_fusion.nn.diffusion import SAMPLERS, ConditionEncoder, Denoiser, NoiseSchedule, Patches
from mts_fusion.nn.layers import check_heads
from mts_fusion.panel._schema import Schema

from ._diffusion_loss import NoisedEntries, denoising_loss, flat_entries
from ._inputs import check_features, check_values
from ._output import ModuleOutput

__all__ = ["GaussianTransport"]

# The first of the planes are the error, what is shown and hidden, the mean and the width.
_N_PLANES = 5


class GaussianTransport(nn.Module):
    """Draws of the errors of a Gaussian process, from draws that are normal and correlated.

    The process fills gaps with draws from a normal distribution, which hang together over time and
    channels. The network moves them, along the flow of a diffusion whose noise are those draws
    [1]_: it predicts the velocity ``cos(a) noise - sin(a) error`` at angle a. Where the errors are
    distributed as the process has it, that is 0 in the mean. An encoder reads what is observed, and
    predicts location and scale of each error first. Before training the network changes nothing.

    Parameters
    ----------
    schema : Schema
        The modalities; numbers only.
    d_model, n_heads, n_layers, denoiser, n_encoder_layers, patch_length, channels_per_token
        As for :class:`ConditionalDiffusion`.
    n_experts, conditioning, gating, schedule, n_train_steps, time_unit
        As there.

    Raises
    ------
    ValueError
        If an option is not known or a size is out of range.

    Notes
    -----
    ``features`` has a tensor ``(B, R, 5 + S, L, C)`` for each modality, with R versions of a sample
    that differ in what is hidden, of which training uses one at random and evaluation the first.
    Its planes: the error of each entry in units of its expected width (of what is shown, given all
    else that is shown), 1 where it is shown, 1 where it is hidden, the expected value, the
    logarithm of the expected width, and S draws of the process in that unit. ``values`` and
    ``observed`` are not read. ``forward`` gives the training loss. Its noise is the first draw, in
    training a sum of all S of them with random weights whose squares sum to 1: of normal draws
    that is a draw again, another one each time.
    Record: as for :class:`ConditionalDiffusion`. :meth:`sample` gives the errors.

    References
    ----------
    .. [1] Lipman et al., "Flow Matching for Generative Modeling", ICLR, 2023.
       https://arxiv.org/abs/2210.02747

    Examples
    --------
    >>> from mts_fusion.panel import Modality, Schema
    >>> net = GaussianTransport(Schema((Modality("acc", 3, 20),)), d_model=16, n_heads=2).eval()
    >>> values = [torch.zeros(2, 20, 3)]
    >>> drawn = net.sample(values, values, features=[torch.zeros(2, 1, 9, 20, 3)], n_samples=4)
    >>> drawn[0].shape
    torch.Size([2, 4, 20, 3])
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
        schedule: str = "quad",
        n_train_steps: int = 50,
        time_unit: float | None = None,
    ) -> None:
        super().__init__()
        check_heads(d_model, n_heads)
        self.schema = schema
        self.generator: torch.Generator | None = None
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
            prior="gaussian_process",
            time_unit=time_unit,
        )
        d_side = self.condition.d_side
        self.denoiser = Denoiser(
            patches, d_model, n_heads, n_layers=n_layers, d_side=d_side, mixing=denoiser
        )

    def forward(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None] | None = None,
        *,
        features: Sequence[Tensor] | None = None,
        record: bool = False,
    ) -> ModuleOutput:
        """Measure how well the errors of hidden entries are predicted."""
        check_values(self.schema, values, observed)
        planes = check_features(features)
        n, device = len(planes[0]), planes[0].device
        copy = torch.zeros(1, dtype=torch.int64, device=device)
        spread, u = torch.arange(n, device=device), torch.full((n,), 0.5, device=device)
        if self.training:
            n_copies, generator = planes[0].shape[1], self.generator
            copy = torch.randint(n_copies, (1,), generator=generator, device=device)
            spread = torch.randperm(n, generator=generator, device=device)
            u = torch.rand(n, generator=generator, device=device)
        copies = [x.index_select(1, copy)[:, 0] for x in planes]
        parts = [x[:, :_N_PLANES].unbind(1) for x in copies]
        errors, shown, hidden, mean, width = zip(*parts, strict=True)
        noise = self._noise([x[:, _N_PLANES:] for x in copies])
        given = [x > 0 for x in shown]
        moments = [torch.stack(pair, dim=1) for pair in zip(mean, width, strict=True)]
        condition = self.condition(errors, given, times, list(range(len(planes))), moments)
        entries = NoisedEntries(
            flat_entries(errors),
            flat_entries(given),
            flat_entries(hidden) > 0,
            flat_entries(noise),
            self.schedule.step_at((spread + u) / n),
        )
        loss, error = denoising_loss(
            self.denoiser,
            self.schedule,
            condition,
            entries,
            parameterization="velocity",
            has_prior=True,
        )
        tensors = {"gate": condition.gate, "error": error} if record else {}
        return ModuleOutput(loss.new_zeros(n, 0), loss, tensors)

    def _noise(self, draws: list[Tensor]) -> list[Tensor]:
        """A draw ``(B, L, C)`` of each modality from S of them: in training a mixture."""
        if not self.training:
            return [x[:, 0] for x in draws]
        size, device = draws[0].shape[:2], draws[0].device
        weight = torch.randn(size, generator=self.generator, device=device)
        weight = weight / weight.norm(dim=1, keepdim=True)
        return [torch.einsum("bs,bslc->blc", weight, x) for x in draws]

    def sample(
        self,
        values: list[Tensor],
        observed: list[Tensor],
        times: list[Tensor | None] | None = None,
        *,
        features: Sequence[Tensor] | None = None,
        n_samples: int = 20,
        n_steps: int = 5,
        sampler: str = "flow2m",
        seed: int = 0,
        batch_size: int | None = None,
    ) -> list[Tensor]:
        """Errors of the gaps, several times.

        Parameters
        ----------
        values, observed : list of M Tensors of shape (B, L, C)
            Not read.
        times : list of M Tensors of shape (B, L) or None, or None, default=None
            Seconds.
        features : list of M Tensors of shape (B, 1, 5 + S, L, C)
            See above.
        n_samples : int, default=20
            Draws S.
        n_steps : int, default=5
            Steps of the sampler, at most those of the training.
        sampler : {"flow2m", "dpm++2m", "ddim"}, default="flow2m"
            The solver.
        seed : int, default=0
            Has no effect: the draws of the process are the only random numbers.
        batch_size : int or None, default=None
            Draws that pass the denoiser at once: bounds the memory. None: all.

        Returns
        -------
        list of M Tensors of shape (B, S, L, C)
            In units of the expected width; anything where there is no gap.
        """
        planes = [x[:, 0] for x in check_features(features)]
        shown = [x[:, 1] > 0 for x in planes]
        condition = self.condition(
            [x[:, 0] for x in planes],
            shown,
            times,
            list(range(len(planes))),
            [x[:, 3:_N_PLANES] for x in planes],
        )
        sides, missing = self.denoiser.prepare(condition), ~flat_entries(shown)[:, None]
        normal = torch.cat([x[:, _N_PLANES:].flatten(2) for x in planes], dim=2) * missing
        at_once = n_samples
        if batch_size is not None:
            at_once = min(n_samples, max(1, batch_size // max(1, len(normal))))

        def denoise(z: Tensor, step: int) -> Tensor:
            steps = torch.full((z.shape[0],), step, device=z.device)
            velocity = self.denoiser(z, steps, condition, sides)
            return (self.schedule.signal[step] * z - self.schedule.noise[step] * velocity) * missing

        filled = []
        for noise in normal.split(at_once, dim=1):

            def start(i: int, noise: Tensor = noise) -> Tensor:
                return noise

            x = SAMPLERS[sampler](denoise, start, self.schedule, n_steps)
            filled.append(x * condition.scale[:, None] + condition.location[:, None])
        parts = torch.cat(filled, dim=1).split([a * b for a, b in condition.shapes], dim=2)
        return [x.unflatten(2, shape) for x, shape in zip(parts, condition.shapes, strict=True)]
