"""Samples of a fitted diffusion as the prediction of a network."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ._diffusion import ConditionalDiffusion
from ._gaussian_transport import GaussianTransport
from ._output import ModuleOutput

__all__ = ["DiffusionSampler"]


class DiffusionSampler(nn.Module):
    """Samples of a fitted :class:`ConditionalDiffusion` as the prediction of a network.

    Parameters
    ----------
    network : ConditionalDiffusion or GaussianTransport
        Fitted.
    n_samples : int, default=20
        Draws S.
    n_steps : int, default=5
        Steps of the sampler.
    sampler : {"flow2m", "dpm++2m", "ddim", "ddpm"}, default="flow2m"
        See :meth:`ConditionalDiffusion.sample`.
    seed : int, default=0
        Seed of the draws.
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
        network: ConditionalDiffusion | GaussianTransport,
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
        features: Sequence[Tensor] | None = None,
        record: bool = False,
    ) -> ModuleOutput:
        """Draw the samples."""
        given = {} if features is None else {"features": features}
        drawn = self.network.sample(
            values,
            observed,
            times,
            **given,
            n_samples=self.n_samples,
            n_steps=self.n_steps,
            sampler=self.sampler,
            seed=self.seed,
            batch_size=self.batch_size,
        )
        flat = torch.cat([x.flatten(2) for x in drawn], dim=2).flatten(1)
        return ModuleOutput(flat, flat.new_zeros(()), {})
