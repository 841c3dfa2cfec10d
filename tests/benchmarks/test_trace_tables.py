"""The tables of TRACE: representations, intervals, ablations."""

import re

import numpy as np
import pytest
from sklearn.model_selection import train_test_split

from mts_fusion.benchmarks.__main__ import main
from mts_fusion.benchmarks._clinical import corrected_interval
from mts_fusion.benchmarks._trace_ablation import _GROUPS, _make
from mts_fusion.benchmarks._trace_representation import cosine_to_oracle
from mts_fusion.benchmarks._trace_sets import TraceWithSets
from mts_fusion.datasets import make_panel_classification, make_trace_benchmark
from mts_fusion.estimators import TraceRegressor
from mts_fusion.inspection._evaluate import hide_modalities
from mts_fusion.panel._align import without_modalities
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


def _with_sets(X, y):
    return TraceWithSets(imputer=None, d_model=8, n_reference=4, max_epochs=1, random_state=0).fit(
        X, y
    )


def test_conformal_sets_are_those_of_the_definition():
    X, y = make_panel_classification(n_samples=90, random_state=0)
    clf = _with_sets(X[:60], y[:60])
    assert [len(one) for one in clf.held_out_] == [12] * len(X.schema)
    one_missing = hide_modalities(X[60:], X.schema.names[:1])
    for test, held_out in ((X[60:], clf.held_out_[0]), (one_missing, clf.held_out_[1])):
        p = clf.predict_proba(test)
        sets = clf.predict_set(test, coverage=0.7)
        for row, chosen in zip(p, sets, strict=True):
            for probability, is_in in zip(row, chosen, strict=True):
                # Less conforming than all but 30 % of the 12 held-out samples and itself: left out.
                rank = np.sum(held_out <= probability) + 1
                assert is_in == (rank > 0.3 * 13)
        assert clf.predict_set(test, coverage=0.99).all()
    assert clf.predict_set(hide_modalities(X[:5], X.schema.names), coverage=0.5).all()


def test_thresholds_are_of_samples_that_lack_as_many_modalities():
    X, y = make_panel_classification(n_samples=600, missing_fraction=0.0, random_state=0)
    lacks = np.arange(len(y)) % 2 == 1
    X = without_modalities(X, np.outer(lacks, [True, *[False] * (len(X.schema) - 1)]))
    clf = _with_sets(X[:300], y[:300])
    n = sum(
        lacks[train_test_split(np.arange(300), test_size=0.2, stratify=y[:300], random_state=0)[1]]
    )
    # Samples that lack one tell nothing of complete ones.
    assert [len(one) for one in clf.held_out_[:2]] == [60 - n, 60]
    for n_missing in range(len(X.schema)):
        hidden = np.arange(len(X.schema)) >= len(X.schema) - n_missing
        test = without_modalities(
            X[300:][~lacks[300:]], np.broadcast_to(hidden, (150, len(hidden)))
        )
        sets = clf.predict_set(test, coverage=0.8)
        held = sets[np.arange(150), y[300:][~lacks[300:]]].mean()
        assert held > 0.68  # .8, less three standard deviations of 150 samples and of the 60


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
