"""Pre-training without targets, and what an estimator takes over from it."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV

from mts_fusion import MaestroClassifier, MaestroPretrainer, MaestroRegressor
from mts_fusion.datasets import make_panel_classification
from mts_fusion.transforms import SAXTokenizer

SMALL = {
    "d_model": 8,
    "n_heads": 2,
    "n_intra_layers": 1,
    "n_cross_layers": 1,
    "max_tokens": 4,
    "feature_tokens": (),
    "n_estimators": 1,
    "calibration": None,
    "batch_size": 32,
    "random_state": 0,
}


@pytest.fixture(scope="module")
def data():
    return make_panel_classification(64, missing_modality_fraction=0.1, random_state=0)


@pytest.fixture(scope="module")
def pretrainer(data):
    estimator = MaestroClassifier(**SMALL)
    settings = {"max_epochs": 12, "validation_fraction": 0.25, "random_state": 0}
    return MaestroPretrainer(estimator=estimator, **settings).fit(data[0])


def weights(net) -> dict[str, torch.Tensor]:
    return dict(net.module_.named_parameters())


def test_the_error_of_what_is_hidden_falls(pretrainer) -> None:
    losses = [epoch["valid_loss"] for epoch in pretrainer.history_[0]]
    assert min(losses) < 0.9 * losses[0]


def test_a_classifier_starts_from_the_weights_and_the_scale(data, pretrainer) -> None:
    X, y = data
    # Too small a step to move a weight: what is there is what was taken over.
    still = MaestroClassifier(**SMALL, max_epochs=1, lr=1e-30, weight_decay=0.0)
    clf = still.set_params(pretrained=pretrainer.network_).fit(X[:20], y[:20])
    learnt = pretrainer.network_.weights
    for name, weight in weights(clf.nets_[0]).items():
        if not name.startswith("head."):
            assert torch.equal(weight, learnt[name]), name
    for name, scale in pretrainer.network_.preprocessor.scale_.items():
        np.testing.assert_array_equal(scale, clf.preprocessor_.scale_[name])
    own = clone(still).set_params(pretrained=None).fit(X[:20], y[:20])
    assert not torch.equal(weights(own.nets_[0])["modality"], learnt["modality"])


def test_every_network_of_an_ensemble_and_of_a_regressor_starts_there(data, pretrainer) -> None:
    X, y = data
    settings = {**SMALL, "n_estimators": 2, "feature_tokens": ["statistics"], "max_epochs": 1}
    reg = MaestroRegressor(**settings, lr=1e-30, weight_decay=0.0, pretrained=pretrainer.network_)
    reg.fit(X, y.astype(float))
    learnt = pretrainer.network_.weights["modality"]
    assert [torch.equal(weights(net)["modality"], learnt) for net in reg.nets_] == [True, True]
    assert weights(reg.nets_[0]).keys() > {"modality"}  # tokens of features are its own


def test_the_same_seed_gives_the_same_bits(data, pretrainer) -> None:
    again = clone(pretrainer).fit(data[0])
    one, two = pretrainer.network_.weights, again.network_.weights
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_features_are_the_mean_of_the_tokens_that_the_head_read(data, pretrainer) -> None:
    X, _ = data
    features = pretrainer.transform(X)
    assert features.shape == (len(X), SMALL["d_model"])
    assert np.isfinite(features).all()
    assert features.std(0).min() > 0
    assert pretrainer.get_feature_names_out()[1] == "maestropretrainer1"
    np.testing.assert_allclose(pretrainer.transform(X[3:4])[0], features[3], atol=1e-5)


def test_a_search_keeps_what_was_learnt(data, pretrainer) -> None:
    X, y = data
    still = MaestroClassifier(**SMALL, max_epochs=1, pretrained=pretrainer.network_)
    search = GridSearchCV(still, {"lr": [1e-30]}, cv=2, error_score="raise").fit(X, y)
    net = search.best_estimator_.set_params(weight_decay=0.0).fit(X, y).nets_[0]
    assert torch.equal(weights(net)["modality"], pretrainer.network_.weights["modality"])


def test_networks_and_panels_of_another_kind_are_refused(data, pretrainer) -> None:
    X, y = data
    wide = MaestroClassifier(**{**SMALL, "d_model": 16}, pretrained=pretrainer.network_)
    with pytest.raises(
        ValueError, match=r"of shape \(.*\), but this network has the shape .*Pre-train"
    ):
        wide.fit(X, y)
    fewer = X.select([X.schema.names[0]])
    with pytest.raises(ValueError, match="Pre-train on the modalities of X"):
        MaestroClassifier(**SMALL, max_epochs=1, pretrained=pretrainer.network_).fit(fewer, y)
    with pytest.raises(ValueError, match="holds symbols"):
        MaestroPretrainer(max_epochs=1).fit(SAXTokenizer().fit_transform(X))
