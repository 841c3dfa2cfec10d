"""Networks and the layers of which they are built: torch only."""

from mts_fusion.nn.encoders import ENCODERS, Encoder, EncoderOutput, register_encoder
from mts_fusion.nn.layers import set_generator
from mts_fusion.nn.networks import (
    ConditionalDiffusion,
    DiffusionSampler,
    FusionNet,
    GaussianTransport,
    Maestro,
    ModuleOutput,
    Trace,
    WithFeatures,
)
from mts_fusion.nn.strategies import STRATEGIES, Fusion, FusionOutput, Tokens, register_strategy

__all__ = [
    "ENCODERS",
    "STRATEGIES",
    "ConditionalDiffusion",
    "DiffusionSampler",
    "EncoderOutput",
    "Encoder",
    "Fusion",
    "FusionNet",
    "FusionOutput",
    "GaussianTransport",
    "Maestro",
    "ModuleOutput",
    "Tokens",
    "Trace",
    "WithFeatures",
    "register_encoder",
    "register_strategy",
    "set_generator",
]
