"""A sample has the same answer, to 1e-6, whatever other samples it is asked with."""

import numpy as np
import pytest
from numpy.testing import assert_allclose

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    ConditionalDiffusionImputer,
    FusionClassifier,
    MaestroClassifier,
    MaestroRegressor,
    TraceClassifier,
)

TINY = {"max_epochs": 2, "n_estimators": 1, "device": "cpu", "random_state": 0}
ESTIMATORS = {
    "maestro": MaestroClassifier(**TINY),
    "maestro regressor": MaestroRegressor(**TINY),
    "trace": TraceClassifier(**TINY),
    "trace one expert": TraceClassifier(n_active_experts=1, **TINY),
    "fusion": FusionClassifier(n_groups=4, **TINY),
    "fusion hydra": FusionClassifier(encoder="hydra", n_groups=4, **TINY),
    "fusion tensor": FusionClassifier(strategy="tensor", n_groups=4, **TINY),
    "fusion transformer": FusionClassifier(encoder="transformer", strategy="mult", **TINY),
    "fusion lstm": FusionClassifier(encoder="lstm", strategy="late", **TINY),
}


def _data(gaps):
    X, y = make_panel_classification(n_samples=64, random_state=0)
    if gaps:
        rng = np.random.default_rng(0)
        values = {name: x.copy() for name, x in X.values.items()}
        for x in values.values():
            x[rng.random(x.shape) < 0.2] = np.nan
            x[rng.random(len(x)) < 0.2] = np.nan
        X = X.replace(values=values)
    return X, y


@pytest.mark.parametrize("gaps", [False, True], ids=["complete", "gaps"])
@pytest.mark.parametrize("name", ESTIMATORS)
def test_a_sample_has_the_same_prediction_alone_and_in_any_batch(name, gaps):
    X, y = _data(gaps)
    estimator = ESTIMATORS[name].fit(X, y)
    ask = getattr(estimator, "predict_proba", estimator.predict)

    together = ask(X)

    for rows in ([0], [63], [5, 1], [7, 8, 9], list(range(6)), list(range(17, 0, -1))):
        assert_allclose(ask(X[rows]), together[rows], rtol=0, atol=1e-6)


def test_an_imputer_fills_a_sample_alike_in_any_batch():
    X, _ = _data(True)
    small = {"d_model": 8, "n_layers": 1, "n_samples": 2, "n_steps": 3}
    imputer = ConditionalDiffusionImputer(**small, **TINY).fit(X)

    together = imputer.transform(X).values

    for rows in ([0], [5, 1], list(range(17, 0, -1))):
        for name, filled in imputer.transform(X[rows]).values.items():
            scale = np.nanstd(together[name])
            assert_allclose(filled / scale, together[name][rows] / scale, rtol=0, atol=1e-6)
