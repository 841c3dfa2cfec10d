"""Estimators in the manner of scikit-learn: fit, predict, explain."""

from ._diffusion import ConditionalDiffusionImputer
from ._fusion import FusionClassifier, FusionRegressor
from ._gaussian_process import GaussianProcessImputer
from ._maestro import MaestroClassifier, MaestroRegressor
from ._maestro_pretrainer import MaestroPretrainer
from ._pattern_ridge import PatternRidgeClassifier, PatternRidgeRegressor
from ._rocket_features import RocketFeatures
from ._trace import TraceClassifier, TraceRegressor

__all__ = [
    "ConditionalDiffusionImputer",
    "FusionClassifier",
    "FusionRegressor",
    "GaussianProcessImputer",
    "MaestroClassifier",
    "MaestroPretrainer",
    "MaestroRegressor",
    "PatternRidgeClassifier",
    "PatternRidgeRegressor",
    "RocketFeatures",
    "TraceClassifier",
    "TraceRegressor",
]
