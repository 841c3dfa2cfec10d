"""Conditional diffusion: noise levels, samplers, denoiser layers, training masks, noise."""

from ._content_noise import content_keys, keyed_normal
from ._context import CrossModalContext
from ._denoiser import ResidualDenoiserLayer, StepEmbedding, sinusoids
from ._grid import Grid, GridAttention, GridEncoderLayer
from ._interpolation import fill_between
from ._sampler import SAMPLERS
from ._schedule import NoiseSchedule
from ._training_masks import HideObserved

__all__ = [
    "CrossModalContext",
    "Grid",
    "GridAttention",
    "GridEncoderLayer",
    "HideObserved",
    "NoiseSchedule",
    "ResidualDenoiserLayer",
    "SAMPLERS",
    "StepEmbedding",
    "content_keys",
    "fill_between",
    "keyed_normal",
    "sinusoids",
]
