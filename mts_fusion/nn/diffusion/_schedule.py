"""How much signal and how much noise there is at each step of a diffusion."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

__all__ = ["SCHEDULES", "NoiseSchedule"]

SCHEDULES = ("quad", "linear", "cosine")


def _betas(schedule: str, n_steps: int, beta_start: float, beta_end: float) -> Tensor:
    if schedule == "quad":
        return torch.linspace(beta_start**0.5, beta_end**0.5, n_steps, dtype=torch.float64) ** 2
    if schedule == "linear":
        return torch.linspace(beta_start, beta_end, n_steps, dtype=torch.float64)
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
        How ``beta`` grows. ``"quad"`` is the one of CSDI and TRACE.
    n_steps : int, default=50
        Training steps T.
    beta_start : float, default=1e-4
        First variance; without effect for ``"cosine"``.
    beta_end : float, default=0.5
        Last variance; without effect for ``"cosine"``. Where the product of all ``1 - beta``
        stays far above 0, the last latent is not pure noise and samples are biased.

    Raises
    ------
    ValueError
        If the schedule is not known, a size is out of range, or the last step keeps more than
        a tenth of the variance of the signal.

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

    def __init__(
        self,
        schedule: str = "quad",
        n_steps: int = 50,
        *,
        beta_start: float = 1e-4,
        beta_end: float = 0.5,
    ) -> None:
        super().__init__()
        if schedule not in SCHEDULES:
            raise ValueError(f"schedule must be one of {list(SCHEDULES)}, got {schedule!r}.")
        if n_steps < 2:
            raise ValueError(f"A diffusion is trained with at least 2 steps, got {n_steps}.")
        if not 0 < beta_start <= beta_end < 1:
            raise ValueError(
                f"0 < beta_start <= beta_end < 1 is needed, got {beta_start} and {beta_end}."
            )
        alpha = 1 - _betas(schedule, n_steps, beta_start, beta_end)
        kept = alpha.cumprod(0)
        if kept[-1] > 0.1:
            raise ValueError(
                f"schedule={schedule!r} with {n_steps} training steps keeps {kept[-1]:.0%} of the "
                "signal at its last step, where pure noise is needed. Use more training steps or "
                "a larger beta_end."
            )
        self.register_buffer("alpha", alpha.float(), persistent=False)
        self.register_buffer("signal", kept.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - kept).sqrt().float(), persistent=False)

    @property
    def n_steps(self) -> int:
        """Training steps T."""
        return self.alpha.shape[0]

    def add_noise(self, x: Tensor, noise: Tensor, step: Tensor) -> Tensor:
        """Latent at ``step (B,)`` of a signal ``x (B, ...)``, eq. 25."""
        at = step.view(-1, *[1] * (x.ndim - 1))
        return self.signal[at] * x + self.noise[at] * noise
