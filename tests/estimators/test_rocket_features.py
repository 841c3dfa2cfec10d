"""RocketFeatures: the features of the networks as a table for any estimator."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.impute import SimpleImputer
from sklearn.linear_model import RidgeClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.utils.estimator_checks import check_estimator

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import FusionClassifier, RocketFeatures
from mts_fusion.panel import Panel


@pytest.fixture(scope="module")
def data():
    return make_panel_classification(
        90,
        modalities={"acc": (3, 16.0), "hr": (1, 4.0), "labs": (2, 8.0)},
        missing_modality_fraction=0.2,
        irregular=("labs",),
        random_state=0,
    )


def _small(**parameters):
    return RocketFeatures(**{"n_groups": 2, "random_state": 0, **parameters})


@pytest.mark.parametrize(
    "transformer",
    [_small(), _small(kinds=("hydra", "statistics"), scale=False), _small(kinds=("statistics",))],
    ids=repr,
)
def test_scikit_learn_finds_nothing(transformer):
    results = check_estimator(transformer, on_fail=None, on_skip=None)

    assert {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"} == {}
    assert sum(r["status"] == "passed" for r in results) >= 44


def test_names_tell_the_modality_the_kind_and_the_feature(data):
    X, _ = data
    features = _small(kinds=("multirocket", "hydra", "statistics")).fit(X)

    names = features.get_feature_names_out()

    assert features.transform(X).shape == (90, len(names))
    assert len(set(names)) == len(names)
    kinds = {tuple(name.split("__")[:2]) for name in names}
    assert kinds == {
        *(("acc", kind) for kind in ("multirocket", "hydra", "statistics")),
        *(("hr", kind) for kind in ("multirocket", "hydra", "statistics")),
        ("labs", "statistics"),  # without a clock
    }


def test_a_silent_modality_is_nan_in_all_its_columns_and_no_other(data):
    X, _ = data
    features = _small().fit(X)
    table = features.transform(X)
    of = np.array([name.split("__")[0] for name in features.get_feature_names_out()])

    for m, name in enumerate(X.schema.names):
        absent = ~X.available[:, m]
        assert absent.any()
        assert np.isnan(table[absent][:, of == name]).all()
        assert not np.isnan(table[~absent][:, of == name]).all(1).any()


def test_values_behind_a_silent_sensor_do_not_matter(data):
    X, _ = data
    observed = X.observed
    other = {name: np.where(observed[name], X.values[name], 1e6) for name in X.schema.names}
    dirty = X.replace(values=other, observed=observed)

    np.testing.assert_array_equal(_small().fit_transform(X), _small().fit_transform(dirty))


def test_fit_then_transform_is_fit_transform(data):
    X, _ = data

    table = _small().fit_transform(X)

    assert table.dtype == np.float32
    np.testing.assert_array_equal(_small().fit(X).transform(X), table)


def test_kinds_by_modality(data):
    X, _ = data
    features = _small(kinds={"acc": ["hydra"], "hr": ["statistics"]}).fit(X)

    names = features.get_feature_names_out()

    assert {tuple(name.split("__")[:2]) for name in names} == {
        ("acc", "hydra"),
        ("hr", "statistics"),
    }


def test_other_lengths_than_in_fit_are_welcome(data):
    X, _ = data
    features = _small().fit(X)
    longer = X.replace(values={"hr": np.tile(X.values["hr"], 2)})

    assert features.transform(longer).shape == features.transform(X).shape


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"kinds": ("rocket",)}, r"kinds of modality 'acc' is \('rocket',\); a sequence is wanted"),
        ({"kinds": {"chest": ("hydra",)}}, r"kinds names \['chest'\], but the modalities are"),
        ({"kinds": "hydra"}, "kinds of modality 'acc' is 'hydra'; a sequence is wanted"),
        ({"kinds": ("hydra", "hydra")}, "at most once"),
        ({"kinds": ()}, r"kinds=\(\) leaves no column"),
        ({"n_groups": 3}, "n_groups=3 must be even"),
    ],
)
def test_parameters_out_of_range_say_what_is_wanted(data, parameters, message):
    with pytest.raises(ValueError, match=message):
        _small(**parameters).fit(data[0])


def test_convolutions_of_modalities_without_a_clock_leave_no_column(data):
    X, _ = data
    with pytest.raises(ValueError, match="leaves no column"):
        _small(kinds=("hydra",)).fit(X.select(["labs"]))


@pytest.mark.parametrize(
    "rest",
    [
        (SimpleImputer(), RidgeClassifier(100.0)),
        (HistGradientBoostingClassifier(max_iter=20, random_state=0),),
    ],
    ids=["ridge", "trees"],
)
def test_a_table_for_any_classifier(rest):
    X, y = make_panel_classification(90, missing_modality_fraction=0.2, random_state=0)

    scores = cross_val_score(make_pipeline(_small(n_groups=4), *rest), X, y, cv=3)

    assert scores.mean() > 0.75


def test_the_features_are_those_of_the_fusion_network(data):
    X, y = data
    clf = FusionClassifier(n_groups=2, d_model=8, max_epochs=1, random_state=0).fit(X, y)
    features = _small().fit(X)

    assert [list(kinds) for kinds in features.features_.widths] == [
        list(kinds) for kinds in clf.features_.widths
    ]
    np.testing.assert_array_equal(
        features.features_.module.blocks[2]["statistics"].knots,
        clf.features_.module.blocks[2]["statistics"].knots,
    )


def test_symbols_have_features_too():
    rng = np.random.default_rng(0)
    from mts_fusion.panel import Vocabulary

    tokens = rng.integers(0, 4, size=(20, 2, 30))
    X = Panel({"words": tokens}, vocabularies={"words": Vocabulary(3)})

    assert np.isfinite(_small().fit_transform(X)).any(1).all()
