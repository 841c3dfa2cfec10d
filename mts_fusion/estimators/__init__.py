"""Estimators in the manner of scikit-learn: fit, predict, explain."""

from ._maestro import MaestroClassifier, MaestroRegressor

__all__ = ["MaestroClassifier", "MaestroRegressor"]
