"""aeon's own checks of the adapters. aeon caps numpy, so it has an environment of its own."""

import doctest

import numpy as np
import pytest

from mts_fusion import PatternRidgeClassifier

pytest.importorskip("aeon")

from aeon.testing.estimator_checking import check_estimator

from mts_fusion.interop import aeon as interop
from mts_fusion.interop.aeon import _estimators


@pytest.mark.slow
@pytest.mark.parametrize("name", interop.__all__)
def test_aeon_finds_only_that_pattern_ridge_keeps_the_models_it_solves(name):
    results = check_estimator(getattr(interop, name))

    failed = [test for test, result in results.items() if result != "PASSED"]
    kept = "check_non_state_changing_method(", "estimator=PatternRidge"
    assert [test for test in failed if not all(part in test for part in kept)] == []
    assert len(results) >= 44


def test_an_adapter_predicts_what_its_estimator_predicts():
    X, y = np.random.default_rng(0).normal(size=(12, 2, 9)), np.repeat(["a", "b"], 6)
    ridge = PatternRidgeClassifier(kinds=("statistics",), random_state=0)

    clf = interop.AeonClassifier(ridge).fit(X, y)

    np.testing.assert_array_equal(clf.predict_proba(X), ridge.fit(X, y).predict_proba(X))


def test_the_examples_run():
    result = doctest.testmod(_estimators)

    assert (result.failed, result.attempted) == (0, 12)
