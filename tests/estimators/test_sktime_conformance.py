"""sktime's own checks, of a thin adapter: our classes inherit nothing from sktime."""

import numpy as np
import pytest
from sktime.classification.base import BaseClassifier
from sktime.utils.estimator_checks import check_estimator

from mts_fusion.estimators import FusionClassifier, MaestroClassifier


class MaestroForSktime(BaseClassifier):
    """MaestroClassifier as sktime calls it.

    Parameters
    ----------
    n_experts : int, default=2
        As in MaestroClassifier.

    Examples
    --------
    >>> from mts_fusion.estimators import MaestroClassifier
    >>> MaestroClassifier(n_experts=2)
    MaestroClassifier(n_experts=2)
    """

    _tags = {  # noqa: RUF012 - sktime's way
        "X_inner_mtype": ["nested_univ", "pd-multiindex", "df-list", "numpy3D"],
        "y_inner_mtype": "numpy1D",
        "capability:multivariate": True,
        "capability:unequal_length": True,
        "capability:missing_values": True,
        "capability:predict_proba": True,
    }

    def __init__(self, n_experts=2):
        self.n_experts = n_experts
        super().__init__()

    def _ours(self):
        return MaestroClassifier(
            d_model=8,
            n_heads=2,
            n_intra_layers=1,
            n_cross_layers=1,
            n_experts=self.n_experts,
            max_epochs=1,
            device="cpu",
            random_state=0,
        )

    def _fit(self, X, y):
        self.clf_ = self._ours().fit(X, y)
        return self

    def _predict(self, X):
        return self.clf_.predict(X)

    def _predict_proba(self, X):
        return self.clf_.predict_proba(X)

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        return [{"n_experts": 1}, {"n_experts": 2}]


class FusionForSktime(MaestroForSktime):
    """FusionClassifier as sktime calls it.

    Parameters
    ----------
    strategy : str, default="hybrid"
        As in FusionClassifier.

    Examples
    --------
    >>> from mts_fusion.estimators import FusionClassifier
    >>> FusionClassifier(strategy="late")
    FusionClassifier(strategy='late')
    """

    def __init__(self, strategy="hybrid"):
        self.strategy = strategy
        BaseClassifier.__init__(self)

    def _ours(self):
        return FusionClassifier(
            strategy=self.strategy,
            d_model=8,
            n_heads=2,
            n_groups=4,
            max_epochs=1,
            device="cpu",
            random_state=0,
        )

    @classmethod
    def get_test_params(cls, parameter_set="default"):
        return [{"strategy": "hybrid"}, {"strategy": "late"}]


@pytest.mark.slow
@pytest.mark.parametrize("adapter", [MaestroForSktime, FusionForSktime])
def test_sktime_finds_nothing(adapter):
    results = check_estimator(adapter, raise_exceptions=False, verbose=False)

    assert {name: result for name, result in results.items() if result != "PASSED"} == {}
    assert len(results) >= 100


@pytest.mark.parametrize("mtype", ["numpy3D", "nested_univ", "pd-multiindex", "df-list"])
def test_every_panel_type_of_sktime_gives_the_same_predictions(mtype):
    from sktime.datatypes import convert

    X, y = np.random.default_rng(0).normal(size=(12, 2, 9)), np.arange(12) % 2
    expected = MaestroForSktime().fit(X, y).predict_proba(X)

    predictions = MaestroForSktime().fit(convert(X, "numpy3D", mtype, "Panel"), y).predict_proba(X)

    np.testing.assert_array_equal(predictions, expected)
