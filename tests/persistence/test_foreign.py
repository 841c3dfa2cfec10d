"""Estimators of scikit-learn beside and around ours, in files."""

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.ensemble import (
    ExtraTreesClassifier,
    HistGradientBoostingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.experimental import enable_iterative_imputer  # noqa: F401
from sklearn.feature_selection import SelectKBest, mutual_info_classif
from sklearn.impute import IterativeImputer, KNNImputer, SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import QuantileTransformer
from sklearn.svm import SVC
from sklearn.tree import DecisionTreeClassifier

from mts_fusion import load, save
from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import PatternRidgeClassifier
from mts_fusion.transforms import PanelSummarizer

LINEAR = LogisticRegression()
RIDGE = PatternRidgeClassifier(kinds=("statistics",), random_state=0)
TABLES = {
    "linear": [LINEAR],
    "forest": [RandomForestClassifier(2)],
    "extra trees": [ExtraTreesClassifier(2)],
    "boosting": [HistGradientBoostingClassifier(max_iter=1)],
    "machine": [SVC()],
    "network": [MLPClassifier((2,), max_iter=2)],
    "neighbours": [KNNImputer(), LINEAR],
    "iterative": [IterativeImputer(max_iter=1), LINEAR],
    "ranks": [QuantileTransformer(n_quantiles=5), LINEAR],
    "best": [SelectKBest(k=3), LINEAR],
    "most informative": [SelectKBest(mutual_info_classif, k=3), LINEAR],
    "search": [GridSearchCV(LINEAR, {"C": [0.1, 1.0]}, cv=2, scoring="neg_log_loss")],
    "stack": [StackingClassifier([("a", DecisionTreeClassifier()), ("b", LINEAR)], cv=2)],
}
AROUND = {
    "search": GridSearchCV(RIDGE, {"decision": ["probability", "balanced"]}, cv=GroupKFold(2)),
    "vote": VotingClassifier([("a", RIDGE), ("b", make_pipeline(PanelSummarizer(), LINEAR))]),
}


@pytest.fixture(scope="module")
def data():
    return make_panel_classification(30, n_classes=2, random_state=0)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.mts"


@pytest.mark.filterwarnings("ignore")  # two iterations converge to nothing
@pytest.mark.parametrize("name", TABLES)
def test_tables_before_estimators_of_scikit_learn_come_back(data, path, name):
    X, y = data
    summaries = PanelSummarizer(statistics=["mean", "sd"])
    model = make_pipeline(summaries, SimpleImputer(keep_empty_features=True), *TABLES[name])
    save(model.fit(X, y), path)

    assert_array_equal(load(path).predict(X), model.predict(X))


@pytest.mark.parametrize("name", AROUND)
def test_what_is_around_an_estimator_of_ours_comes_back(data, path, name):
    X, y = data
    given = {"groups": np.arange(len(y)) % 4} if name == "search" else {}
    model = AROUND[name].fit(X, y, **given)
    save(model, path)

    assert_array_equal(load(path).predict(X), model.predict(X))


def _with_nodes(tree, **values):
    """A copy of a tree whose first node has other numbers."""
    made, (n_features, n_classes, n_outputs) = tree.__reduce__()[:2]
    state = tree.__getstate__()
    state["nodes"] = state["nodes"].copy()
    for key, value in values.items():
        state["nodes"][key][0] = value
    copy = made(n_features, n_classes, n_outputs)
    copy.__setstate__(state)
    return copy


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"left_child": 10**6}, "a tree leads out of its own nodes"),
        ({"right_child": 0}, "a tree leads out of its own nodes"),
        ({"feature": 10**6}, "a tree reads a feature that there is not"),
    ],
)
def test_a_tree_that_leads_astray_is_refused(data, path, values, message):
    X, y = data
    model = make_pipeline(PanelSummarizer(statistics=["mean"]), DecisionTreeClassifier()).fit(X, y)
    model[-1].tree_ = _with_nodes(model[-1].tree_, **values)
    save(model, path)
    with pytest.raises(ValueError, match=message):
        load(path)


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("left", 10**6, "a tree leads out of its own nodes"),
        ("feature_idx", 10**6, "a tree reads a feature that there is not"),
    ],
)
def test_boosted_trees_that_lead_astray_are_refused(data, path, key, value, message):
    X, y = data
    boosting = HistGradientBoostingClassifier(max_iter=1, min_samples_leaf=2)
    model = make_pipeline(PanelSummarizer(statistics=["mean"]), boosting).fit(X, y)
    model[-1]._predictors[0][0].nodes[key][0] = value
    save(model, path)
    with pytest.raises(ValueError, match=message):
        load(path)
