"""How much signal and how much noise there is at each step of a diffusion."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["SCHEDULES", "NoiseSchedule"]

SCHEDULES = ("quad", "linear", "cosine")


# First and last variance beta of "quad" and "linear", as in CSDI and TRACE.
_BETA_START, _BETA_END = 1e-4, 0.5


def _betas(schedule: str, n_steps: int) -> Tensor:
    if schedule == "quad":
        return torch.linspace(_BETA_START**0.5, _BETA_END**0.5, n_steps, dtype=torch.float64) ** 2
    if schedule == "linear":
        return torch.linspace(_BETA_START, _BETA_END, n_steps, dtype=torch.float64)
    # Nichol and Dhariwal, "Improved denoising diffusion probabilistic models", 2021, eq. 17.
    t = torch.linspace(0, 1, n_steps + 1, dtype=torch.float64)
    kept = torch.cos((t + 0.008) / 1.008 * math.pi / 2) ** 2
    return (1 - kept[1:] / kept[:-1]).clamp(max=0.999)


class NoiseSchedule(nn.Module):
    """Signal and noise of the latent ``z_t = signal_t x_0 + noise_t epsilon``, for T steps.

    Eq. 25 of [1]_, with ``signal = sqrt(alpha_bar)`` and ``noise = sqrt(1 - alpha_bar)``.

    Parameters
    ----------
    schedule : {"quad", "linear", "cosine"}, default="quad"
        Schedule of ``beta``. ``"quad"`` is the one of CSDI and TRACE.
    n_steps : int, default=50
        Training steps T.

    Raises
    ------
    ValueError
        If the schedule is not known, or there are so few steps that the last one keeps more than a
        tenth of the variance of the signal: the last latent is then not pure noise, and samples
        are biased.

    Notes
    -----
    Buffers ``alpha (T,)``, ``signal (T,)`` and ``noise (T,)``.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285

    Examples
    --------
    >>> schedule = NoiseSchedule("quad", n_steps=50)
    >>> bool(schedule.signal[-1] < 0.02)
    True
    """

    alpha: Tensor
    signal: Tensor
    noise: Tensor

    def __init__(self, schedule: str = "quad", n_steps: int = 50) -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {list(SCHEDULES)}, got {schedule!r}.")
        if n_steps < 2:
            raise ValueError(f"A diffusion is trained with at least 2 steps, got {n_steps}.")
        alpha = 1 - _betas(schedule, n_steps)
        kept = alpha.cumprod(0)
        if kept[-1] > 0.1:
            raise ValueError(
                f"schedule={schedule!r} with {n_steps} training steps keeps {kept[-1]:.0%} of the "
                "signal at its last step, where pure noise is needed. Use more training steps."
            )
        self.register_buffer("alpha", alpha.float(), persistent=False)
        self.register_buffer("signal", kept.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - kept).sqrt().float(), persistent=False)

    @property
    def n_steps(self) -> int:
        """Training steps T."""
        return self.alpha.shape[0]

    def step_at(self, share: Tensor) -> Tensor:
        """Step ``(B,)`` that lies at a share in [0, 1) of the way from the first to the last."""
        return (share * self.n_steps).long().clamp(max=self.n_steps - 1)

    def add_noise(self, x: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Latent at ``step (B,)`` of a signal ``x (B, ...)``, eq. 25."""
        at = step.view(-1, *[1] * (x.ndim - 1))
        return self.signal[at] * x + self.noise[at] * noise
