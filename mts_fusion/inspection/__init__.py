"""What a fitted estimator relies on and withstands: curves, importances, records, displays."""

from mts_fusion.inspection._importance import modality_importance
from mts_fusion.inspection._noise import noise_robustness
from mts_fusion.inspection._robustness import missingness_curve, modality_subsets

__all__ = [
    "missingness_curve",
    "modality_importance",
    "modality_subsets",
    "noise_robustness",
]
