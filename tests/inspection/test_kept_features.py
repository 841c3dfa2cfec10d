"""Features that an inspection computes once: the scores are those of predictions one by one."""

from itertools import combinations

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    FusionClassifier,
    MaestroClassifier,
    PatternRidgeClassifier,
    RocketFeatures,
    TraceClassifier,
)
from mts_fusion.inspection import (
    missingness_curve,
    modality_importance,
    modality_subsets,
    noise_robustness,
)
from mts_fusion.inspection._evaluate import hide_modalities
from mts_fusion.nn.features import SchemaFeatures
from mts_fusion.runs import _kept, keeping

SMALL = {"d_model": 8, "n_heads": 2, "max_epochs": 1, "device": "cpu", "random_state": 0}
ESTIMATORS = [
    PatternRidgeClassifier(kinds=("multirocket", "hydra", "statistics"), n_groups=2),
    PatternRidgeClassifier(kinds=("statistics", "timing"), form="primal"),
    FusionClassifier(**SMALL, n_groups=2),
    MaestroClassifier(**SMALL, n_estimators=1),
    TraceClassifier(**SMALL, imputer="nearest"),
    make_pipeline(RocketFeatures(n_groups=2), SimpleImputer(), LogisticRegression()),
]


def _name(estimator):
    return type(estimator).__name__


@pytest.fixture(scope="module")
def data():
    """Of the second modality the times are irregular, and of the third some samples have none."""
    return make_panel_classification(
        48,
        modalities={"acc": (3, 16.0), "lab": (2, 8.0), "hr": (1, 8.0)},
        n_classes=2,
        irregular=["lab"],
        missing_fraction=0.1,
        missing_modality_fraction=0.1,
        random_state=0,
    )


@pytest.fixture(scope="module")
def ridge(data):
    return PatternRidgeClassifier(n_groups=2, n_threads=1, random_state=0).fit(*data)


@pytest.fixture
def computed(monkeypatch):
    """How many modalities features were computed of, in each call of `compute`."""
    counts, compute = [], SchemaFeatures.compute

    def counted(self, values, observed, times=None):
        counts.append(sum(bool(part.any()) for part in observed))
        return compute(self, values, observed, times)

    monkeypatch.setattr(SchemaFeatures, "compute", counted)
    return counts


@pytest.mark.parametrize("estimator", ESTIMATORS, ids=_name)
def test_kept_features_change_no_bit_of_a_prediction(estimator, data):
    X, y = data
    names = X.schema.names
    hidden = [h for k in range(len(names) + 1) for h in combinations(names, k)]
    model = estimator.fit(X, y)

    with keeping():
        kept = [model.predict_proba(hide_modalities(X, one)) for one in hidden]

    for one, p in zip(hidden, kept, strict=True):
        assert_array_equal(p, model.predict_proba(hide_modalities(X, one)), err_msg=str(one))


@pytest.mark.parametrize("method", ["removal", "shapley"])
def test_features_of_a_modality_are_computed_once(method, ridge, data, computed):
    ridge.predict(data[0])
    once = sum(computed)
    computed.clear()

    modality_importance(ridge, *data, method=method)

    # Hiding the irregular modality leaves the others as they are.
    assert sum(computed) == once > 0


def test_a_shuffled_modality_is_computed_alone(ridge, data, computed):
    ridge.predict(data[0])
    n_batches, once = len(computed), sum(computed)
    computed.clear()

    modality_importance(ridge, *data, method="permutation", n_repeats=2, random_state=0)

    assert sum(computed) <= once + 2 * 3 * n_batches


def test_features_that_do_not_fit_are_computed_each_time(ridge, data, computed, monkeypatch):
    expected = modality_subsets(ridge, *data)
    once = sum(computed)
    computed.clear()
    monkeypatch.setattr(_kept, "_MOST_BYTES", 0)

    assert modality_subsets(ridge, *data).equals(expected)
    assert sum(computed) > once


@pytest.mark.parametrize(
    "inspect",
    [
        lambda *a, **k: missingness_curve(*a, pattern="block", n_repeats=2, **k),
        lambda *a, **k: modality_importance(*a, method="permutation", n_repeats=2, **k),
        lambda *a, **k: noise_robustness(*a, n_repeats=1, per_modality=True, **k),
        lambda *a, **k: modality_subsets(*a, **k),
    ],
    ids=["curve", "permutation", "noise", "subsets"],
)
def test_tables_are_those_of_predictions_one_by_one(inspect, ridge, data, monkeypatch):
    options = {"scoring": "neg_log_loss", "random_state": 0}
    kept = inspect(ridge, *data, **options)
    monkeypatch.setattr("mts_fusion.training._features.kept_results", lambda: None)

    alone = inspect(ridge, *data, **options)

    assert kept.equals(alone)
    assert kept["importance" if "importance" in kept else "score"].nunique() > 2


def test_two_workers_give_the_same_table(ridge, data):
    expected = modality_subsets(ridge, *data, scoring="neg_log_loss")
    with joblib.parallel_config("threading"):
        table = modality_subsets(ridge, *data, scoring="neg_log_loss", n_jobs=2)

    assert table.equals(expected)


def test_nothing_observed_gives_no_features_for_every_kind():
    """What `SchemaFeatures` does not compute is what it would compute."""
    X, _ = make_panel_classification(
        20, modalities={"acc": (2, 16.0), "lab": (2, 8.0)}, irregular=["lab"], random_state=0
    )
    features = RocketFeatures(kinds=("multirocket", "hydra", "statistics", "timing"), n_groups=2)
    features.fit(X)
    silent = {name: X.observed[name].copy() for name in X.schema.names}
    for mask in silent.values():
        mask[1:] = False  # of the first sample something is observed, so all are computed

    table = features.transform(X.replace(observed=silent))

    assert np.isnan(table[1:]).all()
    assert np.isfinite(table[0]).any()
    assert np.isnan(
        features.transform(X[1:].replace(observed={k: v[1:] for k, v in silent.items()}))
    ).all()
