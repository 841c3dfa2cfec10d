"""Small layers that all others share."""

from ._dropout import Dropout, set_generator
from ._linear import AlignedLinear, ModalityLinear, normalise
from ._modality_dropout import ModalityDropout, available_modalities, curriculum_rate

__all__ = [
    "AlignedLinear",
    "Dropout",
    "ModalityDropout",
    "ModalityLinear",
    "available_modalities",
    "curriculum_rate",
    "normalise",
    "set_generator",
]
