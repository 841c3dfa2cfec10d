"""Which tools of scikit-learn take a panel: those that the user guide names, and no others."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import (
    BaggingClassifier,
    RandomForestClassifier,
    StackingClassifier,
    VotingClassifier,
)
from sklearn.feature_selection import (
    RFE,
    SelectFromModel,
    SelectKBest,
    SequentialFeatureSelector,
    VarianceThreshold,
)
from sklearn.inspection import permutation_importance
from sklearn.model_selection import (
    GridSearchCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.multiclass import OneVsOneClassifier, OneVsRestClassifier
from sklearn.multioutput import ClassifierChain, MultiOutputClassifier
from sklearn.pipeline import make_pipeline
from sklearn.semi_supervised import SelfTrainingClassifier

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import FusionClassifier, PatternRidgeClassifier
from mts_fusion.transforms import PanelSummarizer

ROOT = Path(__file__).parents[2]
X, Y = make_panel_classification(n_samples=48, random_state=0)
ONE = X.select([X.schema.names[0]])
TABLE = ONE.values[ONE.schema.names[0]].reshape(48, -1)
PANELS = {"several modalities": X, "one modality": ONE}
CHEAP = [
    PatternRidgeClassifier(n_groups=2, random_state=0),
    FusionClassifier(max_epochs=1, n_groups=2, d_model=8, device="cpu", random_state=0),
]
TWO = np.stack([Y > 0, Y > 1], axis=1).astype(int)
PARTLY = np.where(np.arange(48) % 4 == 0, -1, Y)

TAKE_PANELS = {
    "GridSearchCV": lambda m, x: GridSearchCV(m, {"n_groups": [2]}, cv=2).fit(x, Y).predict(x),
    "train_test_split": lambda m, x: m.fit(x, Y).predict(train_test_split(x, test_size=24)[1]),
    "cross_validate": lambda m, x: cross_validate(m, x, Y, cv=2, error_score="raise")["test_score"],
    "cross_val_predict": lambda m, x: cross_val_predict(m, x, Y, cv=2),
    "learning_curve": lambda m, x: learning_curve(
        m, x, Y, cv=2, train_sizes=[0.9], error_score="raise"
    )[2],
    "CalibratedClassifierCV": lambda m, x: CalibratedClassifierCV(m, cv=2).fit(x, Y).predict(x),
    "StackingClassifier": lambda m, x: StackingClassifier([("a", m)], cv=2).fit(x, Y).predict(x),
    "VotingClassifier": lambda m, x: VotingClassifier([("a", m)]).fit(x, Y).predict(x),
    "OneVsRestClassifier": lambda m, x: OneVsRestClassifier(m).fit(x, Y).predict(x),
    "MultiOutputClassifier": lambda m, x: MultiOutputClassifier(m).fit(x, TWO).predict(x),
}
NEED_TABLES = {
    "BaggingClassifier": lambda m, x: BaggingClassifier(m, 2, random_state=0).fit(x, Y),
    "SelfTrainingClassifier": lambda m, x: SelfTrainingClassifier(m).fit(x, PARTLY),
    "OneVsOneClassifier": lambda m, x: OneVsOneClassifier(m).fit(x, Y),
    "ClassifierChain": lambda m, x: ClassifierChain(m).fit(x, TWO),
    "SelectKBest": lambda m, x: make_pipeline(SelectKBest(k=2), m).fit(x, Y),
    "SequentialFeatureSelector": lambda m, x: SequentialFeatureSelector(
        m, n_features_to_select=1, cv=2
    ).fit(x, Y),
    "RFE": lambda m, x: RFE(m, n_features_to_select=1, importance_getter=_equal).fit(x, Y),
    "permutation_importance": lambda m, x: permutation_importance(m.fit(x, Y), x, Y, n_repeats=1),
}


def _equal(model):
    return np.ones(model.n_features_in_)


def _ids(estimator):
    return type(estimator).__name__


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("model", CHEAP, ids=_ids)
@pytest.mark.parametrize("tool", TAKE_PANELS)
def test_tools_that_take_a_panel(tool, model, panel):
    answer = TAKE_PANELS[tool](clone(model), PANELS[panel])

    assert len(answer)


@pytest.mark.parametrize("panel", PANELS)
@pytest.mark.parametrize("model", CHEAP, ids=_ids)
@pytest.mark.parametrize("tool", NEED_TABLES)
def test_tools_that_need_a_table_refuse_a_panel(tool, model, panel):
    message = "is not one array" if panel == "several modalities" else "Found array with dim 3"
    with pytest.raises((TypeError, ValueError), match=message):
        NEED_TABLES[tool](clone(model), PANELS[panel])


@pytest.mark.parametrize("model", CHEAP, ids=_ids)
@pytest.mark.parametrize("tool", NEED_TABLES)
def test_the_same_tools_take_one_channel_as_a_table(tool, model):
    each_column = ("RFE", "SequentialFeatureSelector", "permutation_importance")
    few = TABLE[:, :: TABLE.shape[1] // 8] if tool in each_column else TABLE

    NEED_TABLES[tool](clone(model), few)


def _summaries():
    """Statistics of every sensor, without the columns that are nowhere known."""
    return make_pipeline(PanelSummarizer(), VarianceThreshold())


@pytest.mark.parametrize(
    "tool",
    [
        SelectKBest(k=5),
        RFE(RandomForestClassifier(5, random_state=0), n_features_to_select=5, step=0.5),
        SelectFromModel(RandomForestClassifier(5, random_state=0)),
        BaggingClassifier(n_estimators=2, random_state=0),
        OneVsOneClassifier(RandomForestClassifier(5, random_state=0)),
    ],
    ids=_ids,
)
def test_behind_a_summary_every_tool_works(tool):
    pipeline = make_pipeline(_summaries(), tool).fit(X, Y)
    ask = getattr(pipeline, "transform" if hasattr(tool, "get_support") else "predict")

    assert len(ask(X)) == 48


@pytest.mark.parametrize("model", CHEAP, ids=_ids)
def test_a_list_of_panels_of_one_row_is_their_panel(model):
    rows = [X[i] for i in range(len(X))]

    fitted = clone(model).fit(rows, Y)

    assert_allclose(fitted.predict_proba(rows), clone(model).fit(X, Y).predict_proba(X), atol=1e-6)


_DISPATCH = """
import sklearn
from sklearn.model_selection import cross_val_predict, train_test_split
from mts_fusion import FusionClassifier, PatternRidgeClassifier, make_panel_classification
X, y = make_panel_classification(n_samples=48, random_state=0)
array = X.values[X.schema.names[0]]
cheap = dict(n_groups=2, random_state=0)
with sklearn.config_context(array_api_dispatch=True):
    for model in (
        PatternRidgeClassifier(**cheap),
        FusionClassifier(max_epochs=1, d_model=8, device="cpu", **cheap),
    ):
        assert len(model.fit(X, y).predict(X)) == 48 and model.score(X, y) >= 0
        assert len(cross_val_predict(model, array, y, cv=2)) == 48
    for split in (train_test_split, lambda X, y: cross_val_predict(model, X, y, cv=2)):
        try:
            split(X, y)
        except TypeError as error:
            assert "Panel is not a supported array type" in str(error), error
        else:
            raise AssertionError("a panel was split")
"""


def test_with_array_api_dispatch_models_fit_and_predict_but_panels_are_not_split():
    # scipy looks at the variable when it is imported: a process of its own.
    environment = os.environ | {"SCIPY_ARRAY_API": "1", "PYTHONPATH": str(ROOT)}

    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", _DISPATCH],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.returncode == 0, done.stderr


def test_the_documentation_names_the_tools_that_need_a_table():
    text = " ".join((ROOT / "docs" / "user_guide.md").read_text().split())
    start = text.index("need a table")
    named = text[start : start + 600]

    assert [tool for tool in NEED_TABLES if f"`{tool}`" not in named] == []
    assert "array_api_dispatch=True" in named
