"""Scorers inside scikit-learn's model selection."""

import pickle

import numpy as np
import pytest
from sklearn import config_context
from sklearn.linear_model import LogisticRegression, RidgeClassifier
from sklearn.model_selection import GridSearchCV, KFold, cross_validate

from mts_fusion.metrics import (
    expected_calibration_error,
    make_probability_scorer,
    neg_brier_score_scorer,
    neg_expected_calibration_error_scorer,
    neg_log_likelihood_scorer,
    neg_maximum_calibration_error_scorer,
)


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    y = rng.integers(3, size=120)
    return rng.normal(size=(120, 2)) + y[:, None], np.array(["run", "sit", "walk"])[y]


def test_scorers_work_in_cross_validate(data):
    scorers = {
        "ece": neg_expected_calibration_error_scorer,
        "mce": neg_maximum_calibration_error_scorer,
        "nll": neg_log_likelihood_scorer,
        "brier": neg_brier_score_scorer,
    }
    scores = cross_validate(LogisticRegression(), *data, scoring=scorers, error_score="raise")
    for name in scorers:
        assert (scores[f"test_{name}"] <= 0).all()
        assert np.isfinite(scores[f"test_{name}"]).all()


def test_grid_search_chooses_the_smaller_error(data):
    search = GridSearchCV(
        LogisticRegression(), {"C": [1e-6, 1.0]}, scoring=neg_log_likelihood_scorer
    ).fit(*data)
    assert search.best_params_ == {"C": 1.0}


def test_a_fold_without_a_class_is_scored(data):
    X, y = data
    order = np.argsort(y, kind="stable")[::-1]
    X, y = X[order], y[order]  # the first test fold holds one class; training knows all three
    scores = cross_validate(
        LogisticRegression(), X, y, cv=KFold(6), scoring=neg_log_likelihood_scorer
    )
    assert np.isfinite(scores["test_score"]).all()


def test_options_reach_the_metric_and_the_scorer_survives_pickle(data):
    scorer = make_probability_scorer(expected_calibration_error, n_bins=4)
    assert repr(scorer) == "make_probability_scorer(expected_calibration_error, n_bins=4)"
    model = LogisticRegression().fit(*data)
    wanted = expected_calibration_error(data[1], model.predict_proba(data[0]), n_bins=4)
    assert pickle.loads(pickle.dumps(scorer))(model, *data) == -wanted


def test_an_estimator_without_probabilities_is_refused(data):
    with pytest.raises(ValueError, match="needs predict_proba, which RidgeClassifier has not"):
        neg_brier_score_scorer(RidgeClassifier().fit(*data), *data)


def test_weights_are_routed_to_a_scorer_that_asks_for_them(data):
    X, y = data
    weight = np.where(y == "run", 0.0, 1.0)
    scorer = neg_log_likelihood_scorer.set_score_request(sample_weight=True)
    with config_context(enable_metadata_routing=True):
        model = LogisticRegression().set_fit_request(sample_weight=False)
        routed = cross_validate(
            model, X, y, scoring=scorer, params={"sample_weight": weight}, return_indices=True
        )
    fold = routed["indices"]["test"][0]
    fitted = LogisticRegression().fit(*(one[routed["indices"]["train"][0]] for one in data))

    kept = fold[weight[fold] > 0]
    assert routed["test_score"][0] == pytest.approx(
        neg_log_likelihood_scorer(fitted, X[kept], y[kept])
    )
