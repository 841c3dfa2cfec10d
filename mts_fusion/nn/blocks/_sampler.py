"""From noise to samples: ancestral steps, DDIM and a second-order multistep solver."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from mts_fusion.nn.blocks._schedule import NoiseSchedule

__all__ = ["SAMPLERS", "sample_ddim", "sample_ddpm", "sample_dpmpp_2m", "solver_steps"]

Denoise = Callable[[Tensor, int], Tensor]
"""From the latent and the training step to the estimate of the clean signal."""


def solver_steps(n_train_steps: int, n_steps: int) -> list[int]:
    """Training steps that a solver visits: evenly spaced, from the last to the first.

    Parameters
    ----------
    n_train_steps : int
        Steps T of the training schedule.
    n_steps : int
        Steps of the solver.

    Returns
    -------
    list of int
        ``n_steps`` falling numbers, the first ``T - 1``.

    Raises
    ------
    ValueError
        If ``n_steps`` is not in ``[1, T]``.

    Examples
    --------
    >>> solver_steps(50, 5)
    [49, 37, 24, 12, 0]
    """
    if not 1 <= n_steps <= n_train_steps:
        raise ValueError(
            f"n_steps={n_steps}, but a diffusion trained with {n_train_steps} steps is solved in "
            f"1 to {n_train_steps}. Lower n_steps, or train with n_train_steps={n_steps}."
        )
    if n_steps == 1:
        return [n_train_steps - 1]
    gap = (n_train_steps - 1) / (n_steps - 1)
    return [int(n_train_steps - 1 - i * gap + 0.5) for i in range(n_steps)]


def sample_ddpm(
    denoise: Denoise,
    z: Tensor,
    schedule: NoiseSchedule,
    n_steps: int,
    noise: Callable[[int], Tensor],
) -> Tensor:
    """Ancestral sampling (eq. 26-28 of TRACE), on a part of the steps if ``n_steps < T``.

    Parameters
    ----------
    denoise : callable
        ``denoise(z, step) -> x_0``.
    z : Tensor
        Standard normal noise, of any shape.
    schedule : NoiseSchedule
        The one of the training.
    n_steps : int
        Steps, at most those of the schedule.
    noise : callable
        ``noise(i) -> Tensor`` like ``z``: the fresh noise of the i-th step, ``i >= 1``.

    Returns
    -------
    Tensor
        Like ``z``.
    """
    steps = solver_steps(schedule.n_steps, n_steps)
    for i, (step, after) in enumerate(zip(steps, [*steps[1:], None], strict=True)):
        x = denoise(z, step)
        if after is None:
            return x
        kept, kept_after = schedule.signal[step] ** 2, schedule.signal[after] ** 2
        alpha = kept / kept_after
        mean = kept_after.sqrt() * (1 - alpha) * x + alpha.sqrt() * (1 - kept_after) * z
        deviation = ((1 - kept_after) * (1 - alpha) / (1 - kept)).sqrt()
        z = mean / (1 - kept) + deviation * noise(i + 1)
    raise AssertionError("a solver has at least one step")


def sample_ddim(denoise: Denoise, z: Tensor, schedule: NoiseSchedule, n_steps: int) -> Tensor:
    """Deterministic sampling of first order [1]_; parameters as in :func:`sample_ddpm`.

    Parameters
    ----------
    denoise : callable
        ``denoise(z, step) -> x_0``.
    z : Tensor
        Standard normal noise, of any shape.
    schedule : NoiseSchedule
        The one of the training.
    n_steps : int
        Steps, at most those of the schedule.

    Returns
    -------
    Tensor
        Like ``z``.

    References
    ----------
    .. [1] Song, Meng and Ermon, "Denoising Diffusion Implicit Models", ICLR, 2021.
       https://arxiv.org/abs/2010.02502
    """
    steps = solver_steps(schedule.n_steps, n_steps)
    x = denoise(z, steps[0])
    for step, after in zip(steps[:-1], steps[1:], strict=True):
        epsilon = (z - schedule.signal[step] * x) / schedule.noise[step]
        z = schedule.signal[after] * x + schedule.noise[after] * epsilon
        x = denoise(z, after)
    return x


def sample_dpmpp_2m(denoise: Denoise, z: Tensor, schedule: NoiseSchedule, n_steps: int) -> Tensor:
    """DPM-Solver++ of second order, multistep (2M) [1]_; parameters as in :func:`sample_ddpm`.

    Parameters
    ----------
    denoise : callable
        ``denoise(z, step) -> x_0``.
    z : Tensor
        Standard normal noise, of any shape.
    schedule : NoiseSchedule
        The one of the training.
    n_steps : int
        Steps, at most those of the schedule.

    Returns
    -------
    Tensor
        Like ``z``. The last step, to the clean signal, is the estimate itself.

    References
    ----------
    .. [1] Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic
       Models", 2022, algorithm 2. https://arxiv.org/abs/2211.01095
    """
    steps = solver_steps(schedule.n_steps, n_steps)
    half_log_snr = schedule.signal.log() - schedule.noise.log()
    x, before, gap_before = denoise(z, steps[0]), None, None
    for step, after in zip(steps[:-1], steps[1:], strict=True):
        gap = half_log_snr[after] - half_log_snr[step]
        direction = x
        if before is not None:
            direction = x + (x - before) * (gap / (2 * gap_before))
        ratio = schedule.noise[after] / schedule.noise[step]
        z = ratio * z - schedule.signal[after] * torch.expm1(-gap) * direction
        before, gap_before = x, gap
        x = denoise(z, after)
    return x


SAMPLERS = ("ddpm", "ddim", "dpm++2m")
