"""What no input, interruption or neighbour may do to an estimator: docs/reliability.md."""

import numpy as np
import pytest
from sklearn.base import clone

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    FusionClassifier,
    MaestroClassifier,
    PatternRidgeClassifier,
    TraceClassifier,
)

TRAINING = {"max_epochs": 2, "device": "cpu", "random_state": 0}
MAESTRO = {"d_model": 8, "n_heads": 2, "n_intra_layers": 1, "n_cross_layers": 1, "n_experts": 2}
TRACE = {"d_model": 8, "d_time": 8, "n_reference": 4, "n_heads": 2, "n_layers": 1, "d_hidden": 8}
CLASSIFIERS = {
    "maestro": MaestroClassifier(n_groups=2, n_estimators=1, **MAESTRO, **TRAINING),
    "fusion": FusionClassifier(d_model=8, n_heads=2, n_groups=2, **TRAINING),
    "trace": TraceClassifier(**TRACE, **TRAINING),
    "trace, nearest": TraceClassifier(imputer="nearest", **TRACE, **TRAINING),
    "pattern ridge": PatternRidgeClassifier(n_groups=2, n_threads=1, random_state=0),
}
EACH = pytest.mark.parametrize("name", CLASSIFIERS)


@pytest.fixture(scope="module")
def data():
    """Forty samples of a regular and an irregular modality, with gaps and silent sensors."""
    return make_panel_classification(
        n_samples=40,
        n_classes=2,
        modalities={"acc": (2, 8.0), "hr": (1, 4.0)},
        irregular=("hr",),
        missing_fraction=0.1,
        missing_modality_fraction=0.2,
        random_state=0,
    )


@pytest.fixture(scope="module")
def fitted(data):
    """Each classifier fitted once."""
    models = {}

    def get(name):
        if name not in models:
            models[name] = clone(CLASSIFIERS[name]).fit(*data)
        return models[name]

    return get


# Targets


@pytest.mark.parametrize("codes", [(1, 2), (0, 5), (-1, 1)])
@pytest.mark.parametrize("name", ["maestro", "pattern ridge"])
def test_two_columns_of_other_codes_than_0_and_1_are_refused(data, name, codes):
    X, y = data
    columns = np.stack([y, 1 - y], axis=1)
    message = (
        rf"one column of 0 and 1 a label, but holds \[.*{[c for c in codes if c not in (0, 1)][-1]}"
    )
    with pytest.raises(ValueError, match=message):
        clone(CLASSIFIERS[name]).fit(X, np.asarray(codes)[columns])
