"""A small panel and pipelines of scikit-learn fitted on it."""

import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.pipeline import make_pipeline

from mts_fusion.datasets import make_panel_classification, make_panel_regression
from mts_fusion.transforms import PanelSummarizer


def summary_pipeline(model):
    return make_pipeline(
        PanelSummarizer(statistics=["mean", "sd"]),
        SimpleImputer(keep_empty_features=True),
        model,
    )


@pytest.fixture(scope="session")
def data():
    return make_panel_classification(
        90, informative=["m0", "m1"], missing_fraction=0.05, random_state=0
    )


@pytest.fixture(scope="session")
def classifier(data):
    return summary_pipeline(LogisticRegression(max_iter=300)).fit(*data)


@pytest.fixture(scope="session")
def regression_data():
    return make_panel_regression(80, noise=0.2, random_state=0)


@pytest.fixture(scope="session")
def regressor(regression_data):
    return summary_pipeline(Ridge()).fit(*regression_data)
