"""From noise to samples: ancestral steps, DDIM and second-order multistep solvers.

Every sampler is called as ``sampler(denoise, noise, schedule, n_steps)`` and returns a sample of
the clean signal:

- ``denoise(z, step) -> x_0``: estimate of the clean signal from the latent ``z`` at a step;
- ``noise(i) -> Tensor``: standard normal numbers. Sampling starts from ``noise(0)``, whose shape
  the sample has; a sampler that draws in each step takes ``noise(i)`` for the i-th;
- ``schedule``: the :class:`NoiseSchedule` of the training;
- ``n_steps``: steps, at most those of the schedule.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import torch
from torch import Tensor

from ._schedule import NoiseSchedule

__all__ = ["SAMPLERS", "solver_steps"]

_Denoise = Callable[[Tensor, int], Tensor]
_Noise = Callable[[int], Tensor]


def solver_steps(schedule: NoiseSchedule, n_steps: int, spacing: str = "time") -> list[int]:
    """Training steps that a solver visits, from the last to the first.

    Parameters
    ----------
    schedule : NoiseSchedule
        The one of the training, of T steps.
    n_steps : int
        Steps of the solver.
    spacing : {"time", "log_snr", "angle"}, default="time"
        What is cut evenly: the number of the step, the logarithm of signal over noise, or
        ``arctan(noise / signal)``.

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
    >>> solver_steps(NoiseSchedule("quad", 50), 4)
    [49, 33, 16, 0]
    """
    last = schedule.n_steps - 1
    if not 1 <= n_steps <= last + 1:
        raise ValueError(
            f"n_steps={n_steps}, but a diffusion trained with {last + 1} steps is solved in "
            f"1 to {last + 1}. Lower n_steps, or train with n_train_steps={n_steps}."
        )
    even = torch.linspace(1.0, 0.0, n_steps, dtype=torch.float64)
    if spacing == "time":
        wanted = [int(last * share + 0.5) for share in even.tolist()]
    else:
        signal, noise = schedule.signal.double().cpu(), schedule.noise.double().cpu()
        at = (noise / signal).log() if spacing == "log_snr" else torch.atan2(noise, signal)
        goal = at[0] + even * (at[-1] - at[0])
        wanted = (at - goal[:, None]).abs().argmin(1).tolist()
    steps: list[int] = []
    for i, step in enumerate(wanted):
        # Two goals may be nearest to one step: the numbers have to fall, and enough to be left.
        upper = last if not steps else steps[-1] - 1
        steps.append(max(min(step, upper), n_steps - 1 - i))
    return steps


def _ddpm(denoise: _Denoise, noise: _Noise, schedule: NoiseSchedule, n_steps: int) -> Tensor:
    """Ancestral sampling (eq. 26-28 of TRACE), on some of the steps if there are fewer."""
    steps = solver_steps(schedule, n_steps)
    z = noise(0)
    x = denoise(z, steps[0])
    for i, (step, after) in enumerate(itertools.pairwise(steps), start=1):
        kept, kept_after = schedule.signal[step] ** 2, schedule.signal[after] ** 2
        alpha = kept / kept_after
        mean = kept_after.sqrt() * (1 - alpha) * x + alpha.sqrt() * (1 - kept_after) * z
        deviation = ((1 - kept_after) * (1 - alpha) / (1 - kept)).sqrt()
        z = mean / (1 - kept) + deviation * noise(i)
        x = denoise(z, after)
    return x


def _ddim(denoise: _Denoise, noise: _Noise, schedule: NoiseSchedule, n_steps: int) -> Tensor:
    """Deterministic sampling of first order.

    Song, Meng and Ermon, "Denoising Diffusion Implicit Models", ICLR, 2021.
    https://arxiv.org/abs/2010.02502
    """
    steps = solver_steps(schedule, n_steps, "angle")
    z = noise(0)
    x = denoise(z, steps[0])
    for step, after in itertools.pairwise(steps):
        epsilon = (z - schedule.signal[step] * x) / schedule.noise[step]
        z = schedule.signal[after] * x + schedule.noise[after] * epsilon
        x = denoise(z, after)
    return x


def _dpmpp_2m(denoise: _Denoise, noise: _Noise, schedule: NoiseSchedule, n_steps: int) -> Tensor:
    """DPM-Solver++ of second order, multistep (2M). The last step is the estimate itself.

    Lu et al., "DPM-Solver++: Fast Solver for Guided Sampling of Diffusion Probabilistic Models",
    2022, algorithm 2. https://arxiv.org/abs/2211.01095
    """
    steps = solver_steps(schedule, n_steps, "log_snr")
    half_log_snr = schedule.signal.log() - schedule.noise.log()
    z = noise(0)
    x = denoise(z, steps[0])
    before: tuple[Tensor, Tensor] | None = None
    for step, after in itertools.pairwise(steps):
        gap = half_log_snr[after] - half_log_snr[step]
        direction = x
        if before is not None:
            direction = x + (x - before[0]) * (gap / (2 * before[1]))
        ratio = schedule.noise[after] / schedule.noise[step]
        z = ratio * z - schedule.signal[after] * torch.expm1(-gap) * direction
        before = x, gap
        x = denoise(z, after)
    return x


def _flow_2m(denoise: _Denoise, noise: _Noise, schedule: NoiseSchedule, n_steps: int) -> Tensor:
    """Second-order multistep solver of the flow ``dz / d angle = velocity``.

    With ``signal = cos(angle)`` and ``noise = sin(angle)`` the probability flow has the velocity
    ``v = cos(angle) epsilon - sin(angle) x_0`` (Lu and Song, "Simplifying, Stabilizing and Scaling
    Continuous-Time Consistency Models", ICLR, 2025, section 3, https://arxiv.org/abs/2410.11081);
    two-step Adams-Bashforth follows it. Where the data are standard normal, v is 0 and any number
    of steps is exact, while DDIM with 10 steps loses an eighth of the deviation. A latent that is
    standardised by what its context predicts is nearly so.
    """
    steps = solver_steps(schedule, n_steps, "angle")
    angle = torch.atan2(schedule.noise, schedule.signal)
    angles = [angle[step] for step in steps] + [torch.zeros_like(angle[0])]
    z = noise(0)
    before: tuple[Tensor, Tensor] | None = None
    for i, step in enumerate(steps):
        velocity = (schedule.signal[step] * z - denoise(z, step)) / schedule.noise[step]
        gap = angles[i] - angles[i + 1]
        direction = velocity
        if before is not None and i < n_steps - 1:
            direction = velocity + (velocity - before[0]) * (gap / (2 * before[1]))
        z = z - gap * direction
        before = velocity, gap
    return z


SAMPLERS = {"flow2m": _flow_2m, "dpm++2m": _dpmpp_2m, "ddim": _ddim, "ddpm": _ddpm}
"""Samplers by name."""
