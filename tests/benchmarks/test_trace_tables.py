"""The tables of TRACE: representations, intervals, ablations."""

import numpy as np
import pytest

from mts_fusion.benchmarks._clinical import corrected_interval
from mts_fusion.benchmarks._trace_ablation import _GROUPS, _make
from mts_fusion.benchmarks._trace_representation import cosine_to_oracle
from mts_fusion.datasets import make_trace_benchmark
from mts_fusion.estimators import TraceRegressor
from mts_fusion.transforms import PanelImputer


def test_cosine_to_the_oracle_is_1_where_nothing_was_hidden():
    parts = make_trace_benchmark(24, 1, 6, missing_fraction=0.3)
    train, test = parts.train, parts.test
    oracle = TraceRegressor(
        imputer=None, d_model=8, n_reference=4, n_layers=1, max_epochs=1, random_state=0
    ).fit(train.complete, train.target)
    filled = PanelImputer().fit(train.data).transform(test.data)
    filled = filled.replace(values=filled.values)

    same = cosine_to_oracle(oracle, test.complete, test.complete)
    other = cosine_to_oracle(oracle, test.complete, filled)

    np.testing.assert_allclose(same, 1)
    assert ((other < 1 - 1e-4) & (other > 0)).all()
    assert filled.observed["series"].all()


def test_corrected_intervals_are_wider_than_those_of_independent_scores():
    scores = [0.80, 0.83, 0.82, 0.85, 0.81]
    low, high = corrected_interval(scores, 1 / 8)
    plain = 2.776 * np.std(scores, ddof=1) / np.sqrt(5)  # t of 4 degrees of freedom
    assert (low + high) / 2 == pytest.approx(np.mean(scores))
    assert (high - low) / 2 == pytest.approx(plain * np.sqrt(1 + 5 / 8), rel=1e-3)


def test_every_group_of_the_ablation_is_made_of_parameters_there_are():
    for group in _GROUPS.values():
        for changes in group.values():
            clf = _make(changes, seed=0, quick=True)
            clf._validate_params()
            if not isinstance(clf.imputer, str | None):
                clf.imputer._validate_params()
