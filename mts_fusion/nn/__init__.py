"""Networks and the blocks of which they are built: torch only."""

from mts_fusion.nn.blocks import ModuleOutput, set_generator
from mts_fusion.nn.networks import ConditionalDiffusion, DiffusionSampler, Maestro, Trace

__all__ = [
    "ConditionalDiffusion",
    "DiffusionSampler",
    "Maestro",
    "ModuleOutput",
    "Trace",
    "set_generator",
]
