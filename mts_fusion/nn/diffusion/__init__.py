"""Conditional diffusion: noise levels, samplers, denoiser layers, training masks, noise."""

from ._condition import Condition, ConditionEncoder
from ._content_noise import content_keys, keyed_normal
from ._context import CrossModalContext
from ._denoiser import Denoiser, ResidualDenoiserLayer
from ._ends import late_entries
from ._gated_context import GatedContext
from ._grid import AxisTransformerLayer, Grid, GridAttention, GridEncoderLayer
from ._interpolation import fill_between
from ._patches import Patches, join_tokens
from ._sampler import SAMPLERS
from ._schedule import NoiseSchedule
from ._state_space import GridStateSpace
from ._time_embedding import StepEmbedding, sinusoids
from ._training_masks import HideObserved

__all__ = [
    "AxisTransformerLayer",
    "Condition",
    "ConditionEncoder",
    "CrossModalContext",
    "Denoiser",
    "GatedContext",
    "Grid",
    "GridAttention",
    "GridEncoderLayer",
    "GridStateSpace",
    "HideObserved",
    "NoiseSchedule",
    "Patches",
    "ResidualDenoiserLayer",
    "SAMPLERS",
    "StepEmbedding",
    "content_keys",
    "fill_between",
    "join_tokens",
    "keyed_normal",
    "late_entries",
    "sinusoids",
]
