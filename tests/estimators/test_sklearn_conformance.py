"""scikit-learn's own checks: how many ran, and the one that cannot pass."""

import numpy as np
import pytest
from sklearn.utils.estimator_checks import check_estimator

from mts_fusion.estimators import (
    FusionClassifier,
    FusionRegressor,
    MaestroClassifier,
    MaestroRegressor,
    TraceClassifier,
    TraceRegressor,
)
from mts_fusion.transforms import PanelImputer

# One batch of 16 at a time, few epochs, a high rate: enough for the blobs of check_*_train.
TRAINING = {
    "lr": 3e-2,
    "batch_size": 16,
    "n_estimators": 1,
    "device": "cpu",
    "random_state": 0,
}
MAESTRO = {
    "d_model": 8,
    "n_heads": 2,
    "n_intra_layers": 1,
    "n_cross_layers": 1,
    "n_experts": 2,
    "dropout": 0.0,
    **TRAINING,
}
TRACE = {
    "d_model": 8,
    "d_time": 8,
    "n_reference": 4,
    "n_heads": 2,
    "n_layers": 1,
    "n_experts": 2,
    "d_hidden": 8,
    "dropout": 0.0,
    **TRAINING,
}
FUSION = {"d_model": 8, "n_groups": 2, "dropout": 0.0, "feature_dropout": 0.0, **TRAINING}

# Mini-batches: a sample of weight 2 is drawn once an epoch, two copies of it twice.
EXPECTED = {"check_sample_weight_equivalence_on_dense_data": "batches are drawn at random"}


@pytest.mark.parametrize(
    ("estimator", "n_checks"),
    [
        (MaestroClassifier(max_epochs=3, **{**MAESTRO, "batch_size": 32, "n_groups": 2}), 60),
        pytest.param(
            MaestroRegressor(max_epochs=15, **MAESTRO),
            54,
            marks=[pytest.mark.slow],
            id="maestro-r",
        ),
        pytest.param(
            FusionClassifier(strategy="early", max_epochs=10, **FUSION),
            60,
            marks=[pytest.mark.slow],
            id="fusion",
        ),
        pytest.param(
            FusionRegressor(strategy="early", max_epochs=20, **FUSION),
            54,
            marks=[pytest.mark.slow],
            id="fusion-r",
        ),
        pytest.param(
            TraceClassifier(max_epochs=20, **TRACE), 60, marks=[pytest.mark.slow], id="trace"
        ),
        pytest.param(
            TraceRegressor(max_epochs=20, **TRACE), 54, marks=[pytest.mark.slow], id="trace-r"
        ),
    ],
    ids=lambda value: type(value).__name__,
)
def test_scikit_learn_finds_nothing_but_what_is_documented(estimator, n_checks):
    results = check_estimator(
        estimator, expected_failed_checks=EXPECTED, on_fail=None, on_skip=None
    )

    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    expected = [r["check_name"] for r in results if r["status"] == "xfail"]
    assert failed == {}
    assert expected == list(EXPECTED)
    assert sum(r["status"] == "passed" for r in results) >= n_checks


@pytest.mark.parametrize("strategy", ["nearest", "linear"])
def test_scikit_learn_finds_nothing_in_the_imputer(strategy):
    results = check_estimator(PanelImputer(strategy=strategy), on_fail=None, on_skip=None)

    assert {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"} == {}
    assert sum(r["status"] == "passed" for r in results) >= 44


def test_a_table_of_numbers_is_one_modality_of_one_channel():
    X = np.random.default_rng(0).normal(size=(30, 6))

    clf = MaestroClassifier(max_epochs=1, **MAESTRO).fit(X, X[:, 0] > 0)

    assert clf.n_features_in_ == 6
    assert clf.schema_["series"].n_channels == 1
