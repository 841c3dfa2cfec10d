"""The denoiser on grids of tokens, and its layers.

Sizes: B batch, S draws, N tokens of all modalities, D width, H heads, Q entries of all modalities
(the sum of L * C); for the order of the tokens see ``_grid.py``.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ._condition import Condition
from ._grid import AxisTransformerLayer, Grid, GridEncoderLayer
from ._patches import Patches, join_tokens
from ._state_space import GridStateSpace
from ._time_embedding import StepEmbedding

__all__ = ["Denoiser", "ResidualDenoiserLayer"]

# Width of the embedding of the step, and dropout of the transformer layers of CSDI.
_D_STEP = 128
_DROPOUT = 0.1


class ResidualDenoiserLayer(nn.Module):
    """Residual layer of CSDI or SSSD: tokens are mixed along time and channels, then gated.

    The gate depends on side information, whose projection does not depend on the step:
    :meth:`prepare` computes it once for all steps and draws.

    Parameters
    ----------
    d_model : int
        Width D.
    n_heads : int
        Heads H.
    d_side : int
        Width of the side information.
    d_step : int
        Width of the embedding of the step.
    mixing : {"transformer", "attention", "state_space"}
        What mixes the tokens: a transformer layer along time and one along channels, as in CSDI;
        both attentions alone; or state spaces along time before and after the side information is
        added, as in SSSD [2]_.

    Notes
    -----
    Input ``x (B, S, N, D)`` for S draws, ``step (B, d_step)``, the prepared side ``(B, N, 2 D)``
    and the grids; output: the new ``x`` and what the layer adds to the output, both like ``x``.

    References
    ----------
    .. [1] Tashiro et al., "CSDI: Conditional Score-based Diffusion Models for Probabilistic Time
       Series Imputation", NeurIPS, 2021, figure 6. https://arxiv.org/abs/2107.03502
    .. [2] Alcaraz and Strodthoff, "Diffusion-based Time Series Imputation and Forecasting with
       Structured State Space Models", TMLR, 2023. https://arxiv.org/abs/2208.09399

    Examples
    --------
    >>> from mts_fusion.nn.diffusion import Grid
    >>> layer = ResidualDenoiserLayer(8, 2, d_side=6, d_step=4, mixing="attention")
    >>> side = layer.prepare(torch.zeros(3, 10, 6))
    >>> x, skip = layer(torch.zeros(3, 1, 10, 8), torch.zeros(3, 4), side, [Grid(5, 2)])
    >>> x.shape, skip.shape
    (torch.Size([3, 1, 10, 8]), torch.Size([3, 1, 10, 8]))
    """

    def __init__(
        self, d_model: int, n_heads: int, *, d_side: int, d_step: int, mixing: str
    ) -> None:
        super().__init__()
        self.step = nn.Linear(d_step, d_model)
        # NOTE[DIFF] Behind an encoder the layers of CSDI have neither norms after the sums nor
        # feed-forward layers: a step takes less time.
        layers: list[nn.Module] = []
        if mixing == "transformer":
            layers = [
                AxisTransformerLayer(d_model, n_heads, axis, d_model, dropout=_DROPOUT)
                for axis in ("time", "feature")
            ]
        elif mixing == "attention":
            layers = [GridEncoderLayer(d_model, n_heads, 0)]
        else:
            layers = [GridStateSpace(d_model)]
        self.mix = nn.ModuleList(layers)
        self.mix_after = GridStateSpace(2 * d_model) if mixing == "state_space" else None
        self.middle = nn.Linear(d_model, 2 * d_model)
        self.side = nn.Linear(d_side, 2 * d_model)
        self.out = nn.Linear(d_model, 2 * d_model)

    def prepare(self, side: Tensor) -> Tensor:
        """Project the side information, ``(B, N, d_side) -> (B, N, 2 D)``."""
        return self.side(side)

    def forward(
        self, x: Tensor, step: Tensor, side: Tensor, grids: Sequence[Grid]
    ) -> tuple[Tensor, Tensor]:
        """Update ``x``, and compute what the layer adds to the output."""
        y = x + self.step(step)[:, None, None]
        y = y.flatten(0, 1)
        for layer in self.mix:
            y = layer(y, grids)
        y = self.middle(y.view_as(x)) + side[:, None]
        if self.mix_after is not None:
            y = self.mix_after(y.flatten(0, 1), grids).unflatten(0, x.shape[:2])
        gate, content = y.chunk(2, dim=-1)
        residual, skip = self.out(torch.sigmoid(gate) * torch.tanh(content)).chunk(2, dim=-1)
        return (x + residual) / math.sqrt(2), skip


class Denoiser(nn.Module):
    """Prediction of a diffusion for the latent of all entries, at one step of its noise.

    Parameters
    ----------
    patches : sequence of M Patches
        The tokens of each modality.
    d_model : int
        Width D of the tokens.
    n_heads : int
        Heads of each attention.
    n_layers : int
        Layers. The time of a step grows with them.
    d_side : int
        Width of the side information.
    mixing : {"transformer", "attention", "state_space"}
        What mixes the tokens in a layer, see :class:`ResidualDenoiserLayer`.

    Notes
    -----
    Input ``z (B, S, Q)`` for S draws, ``step (B,)`` int, the :class:`Condition` and its side
    information from :meth:`prepare`; output like ``z``. It is zero before training.
    """

    def __init__(
        self,
        patches: Sequence[Patches],
        d_model: int,
        n_heads: int,
        *,
        n_layers: int,
        d_side: int,
        mixing: str,
    ) -> None:
        super().__init__()
        self.patches = patches
        self.latent_in = nn.ModuleList(nn.Linear(p.size, d_model) for p in patches)
        self.step = StepEmbedding(_D_STEP)
        self.layers = nn.ModuleList(
            ResidualDenoiserLayer(d_model, n_heads, d_side=d_side, d_step=_D_STEP, mixing=mixing)
            for _ in range(n_layers)
        )
        self.skip = nn.Linear(d_model, d_model)
        self.out = nn.ModuleList(nn.Linear(d_model, p.size) for p in patches)
        for parameter in self.out.parameters():
            nn.init.zeros_(parameter)

    def prepare(self, condition: Condition) -> list[Tensor]:
        """Project the side information for each layer, once for all steps and draws.

        Parameters
        ----------
        condition : Condition
            Of a batch.

        Returns
        -------
        list of Tensors of shape (B, N, 2 D)
            One a layer.
        """
        return [cast(ResidualDenoiserLayer, layer).prepare(condition.side) for layer in self.layers]

    def forward(
        self, z: Tensor, step: Tensor, condition: Condition, sides: Sequence[Tensor]
    ) -> Tensor:
        """Predict."""
        modalities, shapes, grids = condition.modalities, condition.shapes, condition.grids
        patches = [self.patches[m] for m in modalities]
        shown = z if condition.beyond is None else z.masked_fill(condition.beyond[:, None], 0.0)
        parts = shown.flatten(0, 1).split([length * width for length, width in shapes], dim=1)
        x = torch.cat(
            [
                self.latent_in[m](p.cut(part.unflatten(1, shape)))
                for m, p, part, shape in zip(modalities, patches, parts, shapes, strict=True)
            ],
            dim=1,
        )
        x = F.relu(x.unflatten(0, z.shape[:2]) + condition.observed[:, None])
        embedded = self.step(step)
        total = torch.zeros_like(x)
        for layer, side in zip(self.layers, sides, strict=True):
            x, skip = layer(x, embedded, side, grids)
            total = total + skip
        x = F.relu(self.skip(total / math.sqrt(len(self.layers)))).flatten(0, 1)
        tokens = x.split([grid.n_tokens for grid in grids], dim=1)
        outs = [self.out[m](part) for m, part in zip(modalities, tokens, strict=True)]
        return join_tokens(patches, outs, shapes).view_as(z)
