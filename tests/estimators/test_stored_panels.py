"""Estimators on panels that stay in a folder."""

import os
import subprocess
import sys

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    ConditionalDiffusionImputer,
    FusionRegressor,
    GaussianProcessImputer,
    MaestroClassifier,
    MaestroPretrainer,
    PatternRidgeClassifier,
    RocketFeatures,
    TraceClassifier,
)
from mts_fusion.panel import Panel, save_panels
from mts_fusion.transforms import PanelImputer, PanelScaler, PanelSummarizer

TINY = {"d_model": 8, "n_heads": 2, "max_epochs": 1, "random_state": 0}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    X, y = make_panel_classification(
        60, missing_fraction=0.2, missing_modality_fraction=0.2, random_state=0
    )
    folder = tmp_path_factory.mktemp("stored") / "X"
    X.save(folder)
    return X, Panel.open(folder), y


@pytest.fixture
def _in_parts(monkeypatch):
    monkeypatch.setattr("mts_fusion.panel._stored.PART_BYTES", 20_000)  # some seven samples


@pytest.mark.usefixtures("_in_parts")
def test_pattern_ridge_is_the_same_from_a_folder(data):
    X, stored, y = data
    make = lambda: PatternRidgeClassifier(n_groups=2, random_state=0)  # noqa: E731
    wanted, got = make().fit(X[:40], y[:40]), make().fit(stored[:40], y[:40])
    np.testing.assert_array_equal(got.predict_proba(stored), wanted.predict_proba(X))
    np.testing.assert_array_equal(
        got.partial_fit(stored[40:], y[40:]).predict_proba(X),
        wanted.partial_fit(X[40:], y[40:]).predict_proba(X),
    )


@pytest.mark.usefixtures("_in_parts")
@pytest.mark.parametrize(
    "model",
    [
        MaestroClassifier(n_estimators=2, **TINY),
        FusionRegressor(n_estimators=1, **TINY),
        TraceClassifier(imputer="nearest", n_estimators=2, **TINY),
    ],
    ids=lambda model: type(model).__name__,
)
def test_networks_predict_a_part_at_a_time(data, model):
    X, stored, y = data
    model.fit(X, y)
    answer = getattr(model, "predict_proba", model.predict)
    np.testing.assert_allclose(answer(stored), answer(X), atol=1e-6)
    doubt = [model.predict_uncertainty(of, n_samples=2) for of in (stored, X)]
    for got, wanted in zip(*map(_arrays, doubt), strict=True):
        assert got.shape == wanted.shape
        if model.n_estimators > 1:
            np.testing.assert_allclose(got, wanted, atol=1e-6)


def _arrays(answer):
    return list(answer.values()) if isinstance(answer, dict) else list(np.atleast_2d(answer))


@pytest.mark.parametrize(
    ("model", "irregular"),
    [
        (MaestroClassifier(n_estimators=1, n_groups=2, **TINY), False),
        (MaestroClassifier(n_estimators=1, **TINY), True),
        (FusionRegressor(n_estimators=1, encoder="cnn", **TINY), False),
        (TraceClassifier(imputer=None, n_estimators=1, **TINY), True),
        (TraceClassifier(imputer="nearest", n_estimators=1, **TINY), True),
    ],
    ids=lambda value: type(value).__name__,
)
def test_networks_are_fitted_from_a_folder_to_the_same_bits(model, irregular, tmp_path):
    X, y = make_panel_classification(
        60,
        missing_fraction=0.2,
        missing_modality_fraction=0.2,
        irregular=("m1",) if irregular else (),
        random_state=0,
    )
    X.save(tmp_path / "X")
    rows = np.random.default_rng(0).permutation(60)[:48]
    stored = Panel.open(tmp_path / "X")[rows]
    wanted, got = clone(model).fit(X[rows], y[rows]), clone(model).fit(stored, y[rows])
    answer = "predict_proba" if hasattr(model, "predict_proba") else "predict"
    np.testing.assert_array_equal(getattr(got, answer)(X), getattr(wanted, answer)(X))


@pytest.mark.parametrize(
    "model",
    [
        ConditionalDiffusionImputer(d_model=8, n_samples=2, max_epochs=1, random_state=0),
        pytest.param(
            ConditionalDiffusionImputer(
                prior="gaussian_process",
                base=GaussianProcessImputer(max_iter=2),
                d_model=8,
                n_samples=2,
                max_epochs=1,
                random_state=0,
            ),
            marks=pytest.mark.slow,
        ),
        MaestroPretrainer(estimator=MaestroClassifier(**TINY), max_epochs=1, random_state=0),
    ],
    ids=["diffusion", "on a process", "pretrainer"],
)
def test_imputers_and_pretraining_from_a_folder_give_the_same_bits(data, model):
    X, stored, _ = data
    wanted, got = (clone(model).fit(of).transform(X[:5]) for of in (X, stored))
    for name in X.schema.names if isinstance(wanted, Panel) else ():
        np.testing.assert_array_equal(got.values[name], wanted.values[name])
    if not isinstance(wanted, Panel):
        np.testing.assert_array_equal(got, wanted)


def test_a_scaler_is_fitted_from_a_folder_to_the_same_bits(data, monkeypatch):
    X, stored, _ = data
    monkeypatch.setattr("mts_fusion.transforms._moments._CHUNK_VALUES", 500)
    wanted, got = PanelScaler().fit(X), PanelScaler().fit(stored[::-1][::-1])
    for name in X.schema.names:
        np.testing.assert_array_equal(got.center_[name], wanted.center_[name])
        np.testing.assert_array_equal(got.scale_[name], wanted.scale_[name])


@pytest.mark.usefixtures("_in_parts")
@pytest.mark.parametrize(
    "transformer",
    [PanelSummarizer(), RocketFeatures(n_groups=2, random_state=0)],
    ids=lambda transformer: type(transformer).__name__,
)
def test_a_table_is_made_a_part_at_a_time(data, transformer, monkeypatch):
    X, stored, _ = data
    wanted = transformer.fit(X).transform(X)
    monkeypatch.setattr(type(stored), "values", property(lambda self: pytest.fail("all is read")))
    np.testing.assert_allclose(transformer.transform(stored), wanted, rtol=1e-5, atol=1e-5)


def test_a_pipeline_goes_from_folder_to_folder(data, tmp_path):
    X, stored, _ = data
    scaler, imputer = PanelScaler().fit(X), PanelImputer().fit(X)
    pieces = (stored[i : i + 25] for i in range(0, len(stored), 25))
    filled = save_panels((imputer.transform(scaler.transform(x)) for x in pieces), tmp_path / "X")
    wanted = imputer.transform(scaler.transform(X))
    for name in X.schema.names:
        np.testing.assert_array_equal(filled.values[name], wanted.values[name])
        np.testing.assert_array_equal(filled.observed[name], wanted.observed[name])


def test_a_search_in_processes_gets_the_path(data):
    X, stored, y = data
    search = GridSearchCV(
        PatternRidgeClassifier(n_groups=2, random_state=0), {"penalty": [1.0, 10.0]}, cv=2, n_jobs=2
    )
    got = search.fit(stored, y).cv_results_["mean_test_score"].copy()
    np.testing.assert_array_equal(got, search.fit(X, y).cv_results_["mean_test_score"])


LARGE = """
import resource, sys
import numpy as np
import torch
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.pipeline import make_pipeline
from mts_fusion import PanelSummarizer, PatternRidgeClassifier
from mts_fusion.panel import Panel, save_panels

rng = np.random.default_rng(0)
y = rng.integers(2, size=150_000)

def pieces():
    for start in range(0, len(y), 1000):
        x = rng.standard_normal((1000, 1, 5_000), dtype=np.float32)
        x *= 1 + y[start : start + 1000, None, None]
        yield Panel({"a": x}, rates={"a": 100.0})

X = save_panels(pieces(), sys.argv[1])
resource.setrlimit(resource.RLIMIT_DATA, (2_500_000_000, 2_500_000_000))
model = PatternRidgeClassifier(kinds=["statistics"], random_state=0).fit(X[:100_000], y[:100_000])
assert model.score(X[100_000:], y[100_000:]) > 0.99
trees = make_pipeline(
    PanelSummarizer(statistics=["mean", "sd"]), HistGradientBoostingClassifier(max_iter=5)
)
assert trees.fit(X[:100_000], y[:100_000]).score(X[100_000:], y[100_000:]) > 0.99
try:
    np.array(X.values["a"])
except MemoryError:
    print("bounded")
"""


@pytest.mark.slow
def test_a_panel_larger_than_memory_is_fitted_and_predicted(tmp_path):
    """Three GB of values where a process may have 2.5 of its own."""
    done = subprocess.run(
        [sys.executable, "-c", LARGE, str(tmp_path / "X")],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.stdout == "bounded\n", done.stderr[-2000:]
