"""SktimeClassifier and SktimeRegressor: a classifier and a regressor of this library in sktime."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from sktime.classification.base import BaseClassifier
from sktime.regression.base import BaseRegressor

from .._adapter import PredictorAdapter, small_classifiers, small_regressors

__all__ = ["MTYPES", "SktimeClassifier", "SktimeRegressor"]

MTYPES = ["nested_univ", "pd-multiindex", "df-list", "numpy3D"]
_TAGS = {
    "X_inner_mtype": MTYPES,
    "y_inner_mtype": "numpy1D",
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:missing_values": True,
}


class SktimeClassifier(PredictorAdapter, BaseClassifier):
    """Classifier of sktime that is one of this library.

    sktime's columns are the channels of one modality. To make several of them, put a
    ``ModalityGrouper`` before the classifier, in a Pipeline.

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
    >>> from sktime.datasets import load_unit_test
    >>> from mts_fusion import PatternRidgeClassifier
    >>> from mts_fusion.interop.sktime import SktimeClassifier
    >>> X, y = load_unit_test(split="train")
    >>> clf = SktimeClassifier(PatternRidgeClassifier(n_groups=2, random_state=0)).fit(X, y)
    >>> clf.predict_proba(X).shape
    (20, 2)
    """

    _tags: ClassVar[dict[str, Any]] = {**_TAGS, "capability:predict_proba": True}

    def _predict_proba(self, X: Any) -> np.ndarray:
        return self.estimator_.predict_proba(X)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for sktime's checks.

        Parameters
        ----------
        parameter_set : str, default="default"
            Ignored.

        Returns
        -------
        list of dict
            Two sets of parameters.
        """
        return small_classifiers()


class SktimeRegressor(PredictorAdapter, BaseRegressor):
    """Regressor of sktime that is one of this library.

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
    >>> from sktime.datasets import load_unit_test
    >>> from mts_fusion import PatternRidgeRegressor
    >>> from mts_fusion.interop.sktime import SktimeRegressor
    >>> X, y = load_unit_test(split="train")
    >>> reg = SktimeRegressor(PatternRidgeRegressor(n_groups=2, random_state=0))
    >>> reg.fit(X, y.astype(float)).predict(X).shape
    (20,)
    """

    _tags: ClassVar[dict[str, Any]] = _TAGS

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for sktime's checks.

        Parameters
        ----------
        parameter_set : str, default="default"
            Ignored.

        Returns
        -------
        list of dict
            Two sets of parameters.
        """
        return small_regressors()
