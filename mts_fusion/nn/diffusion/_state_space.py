"""State space layers along time, on grids of tokens.

Sizes: R rows, N tokens of all modalities, P patches, G groups of channels, D width, S states.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._grid import Grid

__all__ = ["GridStateSpace"]

# Smallest and largest step of the discretised states: memories of 10 and of 1,000 timepoints.
_STEPS = (1e-3, 1e-1)

# States S of a feature and direction.
_N_STATES = 32


class GridStateSpace(nn.Module):
    """Layer of linear state spaces along the time of each modality, in both directions.

    Each of the D features is convolved with two kernels, one for the past and one for the future,
    each the impulse response of S complex states: ``k(l) = 2 Re sum_s C_s B_s exp(l dt A_s)``. A
    gated linear map of the features follows; the layer is residual, with a norm in front. SSSD [1]_
    has such layers in place of attention.

    Parameters
    ----------
    d_model : int
        Width D.

    Notes
    -----
    Input ``x (R, N, D)`` and the grids of the modalities; output like ``x``. Timepoints are taken
    as evenly spaced.

    References
    ----------
    .. [1] Alcaraz and Strodthoff, "Diffusion-based Time Series Imputation and Forecasting with
       Structured State Space Models", TMLR, 2023. https://arxiv.org/abs/2208.09399
    .. [2] Gu, Gupta, Goel and Re, "On the Parameterization and Initialization of Diagonal State
       Space Models", NeurIPS, 2022. https://arxiv.org/abs/2206.11893

    Examples
    --------
    >>> from mts_fusion.nn.diffusion import Grid
    >>> GridStateSpace(8)(torch.zeros(3, 10, 8), [Grid(5, 2)]).shape
    torch.Size([3, 10, 8])
    """

    # NOTE[DIFF] SSSD has S4 layers, whose transition is diagonal plus low rank. Here it is diagonal
    # (S4D-Lin of [2]_), which its authors find as good, and is a few lines.

    def __init__(self, d_model: int) -> None:
        super().__init__()
        low, high = (math.log(step) for step in _STEPS)
        self.log_step = nn.Parameter(torch.rand(d_model) * (high - low) + low)
        self.log_decay = nn.Parameter(torch.full((d_model, _N_STATES), math.log(0.5)))
        self.frequency = nn.Parameter(math.pi * torch.arange(_N_STATES).repeat(d_model, 1).float())
        # Real and imaginary parts of C: past and future.
        self.read = nn.Parameter(torch.randn(2, d_model, _N_STATES, 2) * 0.5**0.5)
        self.direct = nn.Parameter(torch.randn(d_model))
        self.norm = nn.LayerNorm(d_model)
        self.out = nn.Linear(d_model, 2 * d_model)

    def kernels(self, length: int) -> Tensor:
        """Impulse responses of the past and of the future.

        Parameters
        ----------
        length : int
            Timepoints L.

        Returns
        -------
        Tensor of shape (2, D, L)
            The first entry of each is the present.
        """
        transition = torch.complex(-self.log_decay.exp(), self.frequency)  # (D, S)
        scaled = transition * self.log_step.exp()[:, None]
        read = torch.view_as_complex(self.read) * (scaled.exp() - 1) / transition
        powers = (scaled[..., None] * torch.arange(length, device=self.read.device)).exp()
        return 2 * torch.einsum("kds,dsl->kdl", read, powers).real

    def forward(self, x: Tensor, grids: Sequence[Grid]) -> Tensor:
        """Convolve along time, and mix the features."""
        u = self.norm(x)
        parts = []
        for part, (p, g, own) in zip(u.split([x.n_tokens for x in grids], 1), grids, strict=True):
            series = part.unflatten(1, (p, g)).permute(0, 2, 3, 1)  # (R, G, D, P)
            y = self._convolve(series)
            if own is not None:
                inside = own.repeat_interleave(len(series) // len(own), dim=0)[:, None, None]
                y = torch.where(inside, self._convolve(series * inside), y)
            parts.append(y.permute(0, 3, 1, 2).reshape(part.shape).to(x.dtype))
        y = F.gelu(torch.cat(parts, dim=1))
        return x + F.glu(self.out(y), dim=-1)

    def _convolve(self, u: Tensor) -> Tensor:
        length = u.shape[-1]
        with torch.autocast(u.device.type, enabled=False):
            u = u.float()
            past, future = self.kernels(length)
            # Lag l of the past stands at l, lag l of the future at -l of a circle of 2 L.
            kernel = F.pad(past, (0, length)) + F.pad(future.flip(-1), (length, 0)).roll(1, -1)
            spectrum = torch.fft.rfft(u, n=2 * length) * torch.fft.rfft(kernel)
            y = torch.fft.irfft(spectrum, n=2 * length)[..., :length]
            return y + self.direct[:, None] * u
