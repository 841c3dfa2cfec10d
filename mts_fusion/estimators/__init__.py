"""Estimators in the manner of scikit-learn: fit, predict, explain."""

from ._diffusion import ConditionalDiffusionImputer
from ._maestro import MaestroClassifier, MaestroRegressor
from ._trace import TraceClassifier, TraceRegressor

__all__ = [
    "ConditionalDiffusionImputer",
    "MaestroClassifier",
    "MaestroRegressor",
    "TraceClassifier",
    "TraceRegressor",
]
