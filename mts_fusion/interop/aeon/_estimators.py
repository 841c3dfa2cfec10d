"""AeonClassifier and AeonRegressor: a classifier and a regressor of this library in aeon."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from aeon.classification.base import BaseClassifier
from aeon.regression.base import BaseRegressor

from .._adapter import PredictorAdapter, small_classifiers, small_regressors

__all__ = ["AeonClassifier", "AeonRegressor"]

_TAGS = {
    "X_inner_type": ["numpy3D", "np-list"],
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:missing_values": True,
}


class AeonClassifier(PredictorAdapter, BaseClassifier):
    """Classifier of aeon that is one of this library.

    aeon's channels are those of one modality. To make several of them, put a ``ModalityGrouper``
    before the classifier, in a Pipeline.

    Parameters
    ----------
    estimator : classifier, or Pipeline that ends in one
        A classifier of :mod:`mts_fusion.estimators`. It is cloned in ``fit``.

    Attributes
    ----------
    estimator_ : classifier or Pipeline
        The fitted clone.

    Examples
    --------
    >>> from aeon.datasets import load_unit_test
    >>> from mts_fusion import PatternRidgeClassifier
    >>> from mts_fusion.interop.aeon import AeonClassifier
    >>> X, y = load_unit_test(split="train")
    >>> clf = AeonClassifier(PatternRidgeClassifier(n_groups=2, random_state=0)).fit(X, y)
    >>> clf.predict_proba(X).shape
    (20, 2)
    """

    _tags: ClassVar[dict[str, Any]] = _TAGS

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self.estimator_.predict_proba(X)

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return small_classifiers()


class AeonRegressor(PredictorAdapter, BaseRegressor):
    """Regressor of aeon that is one of this library.

    Parameters
    ----------
    estimator : regressor, or Pipeline that ends in one
        A regressor of :mod:`mts_fusion.estimators`. It is cloned in ``fit``.

    Attributes
    ----------
    estimator_ : regressor or Pipeline
        The fitted clone.

    Examples
    --------
    >>> from aeon.datasets import load_covid_3month
    >>> from mts_fusion import PatternRidgeRegressor
    >>> from mts_fusion.interop.aeon import AeonRegressor
    >>> X, y = load_covid_3month(split="train")
    >>> reg = AeonRegressor(PatternRidgeRegressor(n_groups=2, random_state=0))
    >>> reg.fit(X, y).predict(X).shape
    (140,)
    """

    _tags: ClassVar[dict[str, Any]] = _TAGS

    @classmethod
    def _get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        return small_regressors()
