"""Estimators in the manner of scikit-learn: fit, predict, explain."""

from ._diffusion import ConditionalDiffusionImputer
from ._maestro import MaestroClassifier, MaestroRegressor

__all__ = ["ConditionalDiffusionImputer", "MaestroClassifier", "MaestroRegressor"]
