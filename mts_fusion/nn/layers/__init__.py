"""Small layers and functions that all others share."""

from ._construct import check_heads, construct
from ._dropout import Dropout, set_generator
from ._linear import AlignedLinear, ModalityLinear, normalise
from ._masked import masked_mean, mean_weights, nearest_observed
from ._modality_dropout import ModalityDropout, available_modalities, curriculum_rate
from ._portable import as_bytes, is_exporting, running_max, sorted_index, stable_argsort
from ._recompute import MANY_MODALITIES, recompute

__all__ = [
    "MANY_MODALITIES",
    "AlignedLinear",
    "Dropout",
    "ModalityDropout",
    "ModalityLinear",
    "as_bytes",
    "available_modalities",
    "check_heads",
    "construct",
    "curriculum_rate",
    "is_exporting",
    "masked_mean",
    "mean_weights",
    "nearest_observed",
    "normalise",
    "recompute",
    "running_max",
    "set_generator",
    "sorted_index",
    "stable_argsort",
]
