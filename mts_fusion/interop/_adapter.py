"""What the adapters of all libraries share: an estimator behind ``_fit`` and ``_predict``."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import clone

from ..estimators import FusionClassifier, PatternRidgeClassifier, PatternRidgeRegressor

__all__ = ["PredictorAdapter", "small_classifiers", "small_regressors"]


class PredictorAdapter:
    """A predictor of ours; the base class of the other library comes after it."""

    def __init__(self, estimator: Any) -> None:
        self.estimator = estimator
        super().__init__()

    def _fit(self, X: Any, y: np.ndarray) -> Self:
        self.estimator_ = clone(self.estimator).fit(X, y)
        return self

    def _predict(self, X: Any) -> np.ndarray:
        return self.estimator_.predict(X)


def small_classifiers() -> list[dict[str, Any]]:
    """Parameters of adapters for the other library's checks."""
    fusion = FusionClassifier(
        d_model=8, n_heads=2, n_groups=4, max_epochs=1, device="cpu", random_state=0
    )
    return [
        {"estimator": PatternRidgeClassifier(n_groups=2, random_state=0)},
        {"estimator": fusion},
    ]


def small_regressors() -> list[dict[str, Any]]:
    """The same for regressors."""
    return [
        {"estimator": PatternRidgeRegressor(n_groups=2, random_state=0)},
        {"estimator": PatternRidgeRegressor(kinds=("statistics",), random_state=0)},
    ]
