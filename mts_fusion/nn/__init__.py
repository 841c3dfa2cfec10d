"""Networks and the layers of which they are built: torch only."""

from mts_fusion.nn.layers import set_generator
from mts_fusion.nn.networks import (
    ConditionalDiffusion,
    DiffusionSampler,
    FusionNet,
    Maestro,
    ModuleOutput,
    Trace,
    WithFeatures,
)
from mts_fusion.nn.strategies import STRATEGIES, Fusion, FusionOutput, Tokens, register_strategy

__all__ = [
    "STRATEGIES",
    "ConditionalDiffusion",
    "DiffusionSampler",
    "Fusion",
    "FusionNet",
    "FusionOutput",
    "Maestro",
    "ModuleOutput",
    "Tokens",
    "Trace",
    "WithFeatures",
    "register_strategy",
    "set_generator",
]
