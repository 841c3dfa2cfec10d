"""The tables of TRACE: representations, intervals, ablations."""

import re

import numpy as np
import pytest

from mts_fusion.benchmarks.__main__ import main
from mts_fusion.benchmarks._clinical import corrected_interval
from mts_fusion.benchmarks._trace_ablation import _GROUPS, _make
from mts_fusion.benchmarks._trace_representation import cosine_to_oracle
from mts_fusion.benchmarks._trace_sets import TraceWithSets
from mts_fusion.datasets import make_panel_classification, make_trace_benchmark
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
            clf = _make(changes, 3, seed=0, quick=True)
            clf._validate_params()
            if not isinstance(clf.imputer, str | None):
                clf.imputer._validate_params()


def test_conformal_sets_are_those_of_the_definition():
    X, y = make_panel_classification(n_samples=90, random_state=0)
    clf = TraceWithSets(imputer=None, d_model=8, n_reference=4, max_epochs=1, random_state=0)
    clf.fit(X[:60], y[:60])
    assert len(clf.held_out_) == 12
    p = clf.predict_proba(X[60:])
    sets = clf.predict_set(X[60:], coverage=0.7)
    for row, chosen in zip(p, sets, strict=True):
        for probability, is_in in zip(row, chosen, strict=True):
            # Less conforming than all but 30 % of the 12 held-out samples and itself: left out.
            rank = np.sum(clf.held_out_ <= probability) + 1
            assert is_in == (rank > 0.3 * 13)
    assert clf.predict_set(X[60:], coverage=0.99).all()


def test_a_shortened_ablation_trains_on_fewer_and_tests_on_all(capsys):
    command = ["trace-ablation", "--dataset", "japanese_vowels_gaps", "--n-train", "50", "--quick"]
    assert (
        main(
            [
                *command,
                "--in-process",
                "--group",
                "routers",
                "--methods",
                "joint, softmax",
                "disjoint, laplace",
            ]
        )
        == 0
    )
    text = capsys.readouterr().out
    assert "SHORTENED (--n-train 50)" in text
    assert "INCOMPLETE" not in text
    assert re.search(r"\| disjoint, laplace \| \.\d{3}", text)
