"""The loss of a denoiser on entries that were hidden, and of the prior of its latent.

Sizes: B batch, Q entries of all modalities (the sum of L * C).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from mts_fusion.nn.diffusion import Condition, Denoiser, NoiseSchedule
from mts_fusion.nn.layers import masked_mean

__all__ = ["NoisedEntries", "denoising_loss", "flat_entries"]

_MAX_DEVIATIONS = 8.0


class NoisedEntries(NamedTuple):
    """What a denoiser is trained on, for one batch.

    Parameters
    ----------
    values : Tensor of shape (B, Q)
        True values.
    shown, hidden : bool Tensors of shape (B, Q)
        Entries that the denoiser is given, and those that it has to estimate.
    noise : Tensor of shape (B, Q)
        Standard normal numbers.
    step : int64 Tensor of shape (B,)
        Step of the diffusion.
    """

    values: Tensor
    shown: Tensor
    hidden: Tensor
    noise: Tensor
    step: Tensor


def flat_entries(parts: Sequence[Tensor]) -> Tensor:
    """Entries of all modalities side by side.

    Parameters
    ----------
    parts : sequence of M Tensors of shape (B, L, C)
        By modality.

    Returns
    -------
    Tensor of shape (B, Q)
        Modality after modality, time before channels.
    """
    return torch.cat([part.flatten(1) for part in parts], dim=1)


def denoising_loss(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    condition: Condition,
    entries: NoisedEntries,
    *,
    parameterization: str,
    has_prior: bool,
) -> tuple[Tensor, Tensor]:
    """Squared error of the prediction, and minus the log likelihood of the prior.

    Parameters
    ----------
    denoiser : Denoiser
        The network.
    schedule : NoiseSchedule
        Noise of the steps.
    condition : Condition
        What it is given.
    entries : NoisedEntries
        What it is trained on.
    parameterization : {"velocity", "noise"}
        What it predicts.
    has_prior : bool
        Whether location and scale of ``condition`` are learnt.

    Returns
    -------
    loss : Tensor of shape ()
        Mean over the hidden entries.
    error : Tensor of shape (B, M)
        Mean squared error on the hidden entries of each modality.
    """
    values, shown, hidden, noise, step = entries
    location, scale = condition.location, condition.scale
    x = (values - location.detach()) / scale.detach()
    if has_prior:
        # Where the prior is far off, as for an outlier, one entry must not dominate the loss.
        x = x.clamp(-_MAX_DEVIATIONS, _MAX_DEVIATIONS)
    # What is missing in the data has no value to start from: pure noise, as its latent is at
    # the beginning of the sampling.
    # NOTE[DIFF] CSDI noises zeros there.
    z = torch.where(hidden, schedule.add_noise(x, noise, step), noise)
    z = z.masked_fill(shown, 0.0)[:, None]
    predicted = denoiser(z, step, condition, denoiser.prepare(condition))[:, 0]
    target = noise
    if parameterization == "velocity":
        signal, level = schedule.signal[step], schedule.noise[step]
        target = signal[:, None] * noise - level[:, None] * x
    count = hidden.sum().clamp(min=1)
    error = torch.where(hidden, (predicted - target) ** 2, 0.0)
    loss = error.sum() / count
    if has_prior:
        # Likelihood of a Laplace distribution, which is robust to outliers; the factor makes
        # the scale a standard deviation where the values are normal.
        miss = math.sqrt(math.pi / 2) * (values - location).abs() / scale
        loss = loss + torch.where(hidden, miss + scale.log(), 0.0).sum() / count
    sizes = [length * channels for length, channels in condition.shapes]
    parts = zip(error.split(sizes, dim=1), hidden.split(sizes, dim=1), strict=True)
    return loss, torch.stack([masked_mean(part, mask, 1) for part, mask in parts], dim=1)
