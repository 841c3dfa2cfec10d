"""Parts of which networks are built: torch only, no task, no estimator."""

from mts_fusion.nn.blocks._missing import ModalityDropout, available_modalities, curriculum_rate
from mts_fusion.nn.blocks._output import ModuleOutput
from mts_fusion.nn.blocks._random import Dropout, set_generator

__all__ = [
    "Dropout",
    "ModalityDropout",
    "ModuleOutput",
    "available_modalities",
    "curriculum_rate",
    "set_generator",
]
