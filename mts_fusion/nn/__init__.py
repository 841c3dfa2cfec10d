"""Networks and the blocks of which they are built: torch only."""

from mts_fusion.nn.blocks import ModuleOutput, set_generator
from mts_fusion.nn.networks import Maestro, Trace

__all__ = ["Maestro", "ModuleOutput", "Trace", "set_generator"]
