"""Random settings on random panels: no prediction depends on its company (docs/reliability.md)."""

import warnings

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    FusionClassifier,
    MaestroClassifier,
    PatternRidgeClassifier,
    RocketFeatures,
)
from mts_fusion.transforms import PanelImputer, PanelSummarizer, SAXTokenizer

pytestmark = pytest.mark.slow

SMALL = {"n_groups": 2, "max_epochs": 2, "d_model": 8, "n_heads": 2, "device": "cpu"}
MAESTRO = {"n_intra_layers": 1, "n_cross_layers": 1, "n_experts": 2, "n_estimators": 1, **SMALL}
BUDGETS = [0.5, 1.0, float("inf")]
STRATEGIES = ["early", "late", "hybrid", "uncertainty", "low_rank", "mult", "mag"]
ENCODERS = ["gru", "lstm", "cnn", "transformer", "utde", "multirocket", "hydra"]


def _table(transformer):
    fill = SimpleImputer(keep_empty_features=True)
    return make_pipeline(transformer, fill, LogisticRegression(max_iter=50))


def _maestro(rng):
    return MaestroClassifier(
        missing=str(rng.choice(["token", "mask"])),
        distil=bool(rng.random() < 0.5),
        cross_budget=[None, *BUDGETS][rng.integers(4)],
        attention_budget=["learnt", *BUDGETS][rng.integers(4)],
        max_tokens=int(rng.choice([4, 16])),
        random_state=0,
        **MAESTRO,
    )


def _symbols(rng):
    scope, length = str(rng.choice(["dataset", "instance"])), int(rng.integers(1, 3))
    clf = MaestroClassifier(random_state=0, **MAESTRO)
    return make_pipeline(SAXTokenizer(scope=scope, segment_length=length), clf)


def _fusion(rng):
    clf = FusionClassifier(random_state=0, **SMALL)
    if rng.random() < 0.5:
        return clf.set_params(encoder=str(rng.choice(ENCODERS)), strategy="late")
    return clf.set_params(strategy=str(rng.choice(STRATEGIES)))


def _others(rng):
    fusion = FusionClassifier(random_state=0, **SMALL)
    return [
        PatternRidgeClassifier(n_groups=2, n_threads=1, random_state=0),
        _table(PanelSummarizer()),
        _table(RocketFeatures(n_groups=2, random_state=0)),
        make_pipeline(
            PanelImputer(strategy=str(rng.choice(["nearest", "linear", "mean"]))), fusion
        ),
    ][rng.integers(4)]


def _panel(rng):
    modalities = {
        f"m{i}": (int(rng.integers(1, 4)), float(rng.choice([1, 4, 8, 16])))
        for i in range(rng.integers(2, 4))
    }
    X, y = make_panel_classification(
        n_samples=30,
        n_classes=2,
        modalities=modalities,
        irregular=tuple(name for name in modalities if rng.random() < 0.4),
        missing_fraction=float(rng.choice([0, 0.1, 0.4])),
        missing_modality_fraction=0.2,
        random_state=int(rng.integers(10**6)),
    )
    if rng.random() < 0.5 and X.times["m0"] is None:
        values = X.values["m0"].copy()
        n_timepoints = values.shape[2]
        for x, end in zip(
            values, rng.integers(n_timepoints // 2, n_timepoints, len(X)), strict=True
        ):
            x[:, end + 1 :] = np.nan
        X = X.replace(values={"m0": values})
    return X, y


@pytest.mark.parametrize("make", [_maestro, _symbols, _fusion, _others])
def test_predictions_of_random_settings_depend_on_observed_values_alone(make, check_predictions):
    for seed in range(25):
        rng = np.random.default_rng(seed)
        X, y = _panel(rng)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of 30 samples, with such settings
            model = make(rng).fit(X, y)
            # Sums in another order differ by 1e-7; a layer's norm of small vectors makes it more.
            check_predictions(model, X, tolerance=3e-5)
