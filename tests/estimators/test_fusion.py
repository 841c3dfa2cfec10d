"""FusionClassifier and FusionRegressor: strategies and encoders by name, and what they explain."""

import numpy as np
import pytest
import torch

from mts_fusion.datasets import make_panel_classification, make_panel_regression
from mts_fusion.estimators import FusionClassifier, FusionRegressor
from mts_fusion.metrics import expected_calibration_error
from mts_fusion.nn import STRATEGIES
from mts_fusion.nn.features import MultiRocketFeatures
from mts_fusion.transforms import SAXTokenizer, mask_panel

SMALL = {"d_model": 8, "n_heads": 2, "n_groups": 4, "max_epochs": 2, "random_state": 0}


@pytest.fixture(scope="module")
def data():
    return make_panel_classification(n_samples=40, missing_fraction=0.2, random_state=0)


@pytest.mark.parametrize("strategy", sorted(STRATEGIES))
def test_every_strategy_fits_and_explains(strategy, data):
    X, y = data
    clf = FusionClassifier(strategy=strategy, **SMALL).fit(X, y)
    np.testing.assert_allclose(clf.predict_proba(X).sum(1), 1, rtol=1e-5)
    record = clf.explain(X[:5])
    np.testing.assert_array_equal(record["available"], X[:5].available)
    if "weight" in record:
        np.testing.assert_allclose(record["weight"].sum(1), 1, rtol=1e-5)


@pytest.mark.parametrize("encoder", ["lstm", "gru", "cnn", "transformer"])
def test_every_encoder_fits(encoder, data):
    X, y = data
    names = X.schema.names
    clf = FusionClassifier(encoder={names[0]: encoder}, **SMALL).fit(X, y)
    assert np.isfinite(clf.predict_proba(X)).all()


def test_convolutions_add_channels_up_in_their_own_units(data):
    X, y = data
    loud = X.replace(values={"m0": X.values["m0"] * np.array([[1.0], [10.0], [100.0]])})
    clf = FusionClassifier(**SMALL).fit(loud, y)
    mixing = _multirocket(clf).mixing.flatten(0, -2)
    both = mixing[(mixing[:, 0] > 0) & (mixing[:, 2] > 0)]
    scale = clf.preprocessor_.scale_["m0"]
    np.testing.assert_allclose(both[:, 2] / both[:, 0], scale[2] / scale[0], rtol=1e-5)
    tokens = SAXTokenizer(alphabet_size=5).fit_transform(loud)
    mixing = _multirocket(FusionClassifier(**SMALL).fit(tokens, y)).mixing
    assert len(np.unique(mixing[mixing > 0])) > 3  # nobody knows their units: drawn


def _multirocket(clf):
    return clf.features_.module.blocks[0]["multirocket"]


@pytest.mark.parametrize("encoder", ["multirocket", "hydra"])
def test_samples_with_times_of_their_own_have_statistics_only(data, encoder):
    X, y = data
    times = {name: np.sort(np.random.default_rng(0).random((len(X), 32))) for name in ["m0"]}
    own = X.replace(times=times, rates={"m0": None})
    clf = FusionClassifier(encoder=encoder, **SMALL).fit(own, y)
    assert [list(kinds) for kinds in clf.features_.widths] == [
        ["statistics"],
        [encoder, "statistics"],
        [encoder, "statistics"],
    ]
    assert np.isfinite(clf.predict_proba(own)).all()


@pytest.mark.parametrize(("n_samples", "smoothing"), [(499, 0.0), (500, 0.05)])
def test_labels_are_smoothed_where_a_temperature_follows(n_samples, smoothing):
    X, y = make_panel_classification(n_samples=n_samples, random_state=0)
    clf = FusionClassifier(**SMALL | {"max_epochs": 1}).fit(X, y)
    assert clf.nets_[0].task.label_smoothing == smoothing


def test_a_sensor_that_few_samples_have_gets_biases_too():
    X, y = make_panel_classification(n_samples=300, random_state=0)
    m0 = X.values["m0"].copy()
    m0[:-3] = np.nan
    clf = FusionClassifier(**SMALL | {"max_epochs": 1}).fit(X.replace(values={"m0": m0}), y)
    assert (_multirocket(clf).bias != 0).all()


def test_symbols_go_in_as_values_do(data):
    X, y = data
    tokens = SAXTokenizer(alphabet_size=5).fit_transform(X)
    assert np.isfinite(FusionClassifier(**SMALL).fit(tokens, y).predict_proba(tokens)).all()


def test_numbers_and_labels_have_a_learnt_uncertainty():
    X, y = make_panel_regression(n_samples=40, random_state=0)
    reg = FusionRegressor(strategy="uncertainty", **SMALL).fit(X, np.c_[y, -y])
    assert reg.nets_[0].module_.fusion.uncertainty is not None
    labels = np.c_[y > np.median(y), y > y.mean() + 1].astype(int)
    clf = FusionClassifier(strategy="uncertainty", **SMALL).fit(X, labels)
    assert clf.nets_[0].module_.fusion.uncertainty is not None
    assert reg.predict(X).shape == (40, 2)


def test_an_absent_sensor_has_no_weight(data):
    X, y = data
    clf = FusionClassifier(strategy="late", **SMALL).fit(X, y)
    first = X.schema.names[0]
    silent = X.replace(values={**X.values, first: np.full_like(X.values[first], np.nan)})
    assert not clf.explain(silent)["weight"][:, 0].any()


@pytest.mark.parametrize("n_estimators", [1, 3])
def test_fixed_features_are_computed_once_a_fit_and_once_a_prediction(
    data, monkeypatch, n_estimators
):
    X, y = data
    n_rows = []
    block, compute = MultiRocketFeatures, MultiRocketFeatures.compute
    monkeypatch.setattr(block, "compute", lambda *a: n_rows.append(len(a[1])) or compute(*a))
    clf = FusionClassifier(**{**SMALL, "max_epochs": 5}, n_estimators=n_estimators)
    clf.set_params(validation_fraction=0.3).fit(X, y)
    of_fit = sum(n_rows)
    clf.predict_proba(X)
    rows = 16 * -(-len(X) // 16)  # batches are filled up to a multiple of 16
    assert of_fit == rows * len(X.schema)
    assert sum(n_rows) == 2 * of_fit


def test_networks_of_one_fit_share_their_features_and_nothing_else(data):
    clf = FusionClassifier(n_estimators=2, **SMALL).fit(*data)
    first, second = (net.module_.encoders[0] for net in clf.nets_)
    assert not list(first.buffers())
    assert not torch.equal(first.project.weight, second.project.weight)


def test_encoders_that_are_trained_need_no_features(data):
    X, y = data
    clf = FusionClassifier(encoder="gru", **SMALL).fit(X, y)
    assert clf.features_ is None
    mixed = FusionClassifier(encoder={"m0": "gru"}, **SMALL).fit(X, y)
    assert [bool(n) for n in mixed.features_.n_features] == [False, True, True]


def test_long_panels_are_predicted_in_parts_with_the_same_bits(data, monkeypatch):
    # The last part has 8 of the 40 samples: it differs by rounding (decision 24).
    X, y = data
    clf = FusionClassifier(n_estimators=2, **SMALL).fit(X, y)
    whole, record = clf.predict_proba(X), clf.explain(X)
    monkeypatch.setattr("mts_fusion.estimators._base._ROWS_AT_ONCE", 16)
    for parts, complete in (
        (clf.predict_proba(X), whole),
        *((value, record[key]) for key, value in clf.explain(X).items()),
    ):
        np.testing.assert_array_equal(parts[:32], complete[:32])
        np.testing.assert_allclose(parts, complete, rtol=0, atol=1e-6)


def test_unknown_names_list_the_known_ones(data):
    with pytest.raises(ValueError, match="No strategy 'magic'; there are"):
        FusionClassifier(strategy="magic", **SMALL).fit(*data)
    with pytest.raises(ValueError, match="No encoder 'resnet' for modality"):
        FusionClassifier(encoder="resnet", **SMALL).fit(*data)


@pytest.mark.parametrize("strategy", ["hybrid", "late"])
def test_it_learns_and_holds_when_a_sensor_fails(strategy):
    X, y = make_panel_classification(n_samples=160, random_state=0)
    clf = FusionClassifier(
        strategy=strategy, d_model=16, n_groups=8, max_epochs=15, random_state=0
    ).fit(X[:120], y[:120])
    assert clf.score(X[120:], y[120:]) > 0.8
    name = X.schema.names[0]
    held = X[120:]
    silent = held.replace(values={**held.values, name: np.full_like(held.values[name], np.nan)})
    assert clf.score(silent, y[120:]) > 0.5


@pytest.mark.slow
@pytest.mark.parametrize("fraction", [0.0, 0.4])
def test_a_temperature_learnt_on_whole_subjects_helps_on_unseen_ones(fraction):
    X, y, groups = make_panel_classification(
        2400, n_groups=24, class_sep=0.5, noise=1.5, return_groups=True, random_state=0
    )
    train = groups < 12
    # No smoothing, no dropout of features, and far too long: sure of everything.
    settings = {
        "d_model": 16,
        "n_groups": 8,
        "max_epochs": 30,
        "label_smoothing": 0.0,
        "feature_dropout": 0.0,
        "validation_fraction": 0.25,
        "random_state": 0,
    }
    test = mask_panel(X[~train], pattern="modality", fraction=fraction, seed=0)
    errors, predictions = {}, {}
    for calibration in (None, "temperature"):
        clf = FusionClassifier(calibration=calibration, **settings)
        clf.fit(X[train], y[train], groups=groups[train])
        p = clf.predict_proba(test)
        errors[calibration] = expected_calibration_error(y[~train], p)
        predictions[calibration] = p.argmax(1)
    assert errors["temperature"] <= errors[None]
    np.testing.assert_array_equal(predictions["temperature"], predictions[None])


@pytest.mark.slow
def test_hybrid_loses_no_more_than_late_without_a_sensor():
    """Sensors as in PAMAP2. In the report hybrid fell to chance: zeros took part in it."""
    sensors = {"hand": (3, 16.0), "chest": (3, 16.0), "ankle": (3, 16.0), "heart": (1, 1.0)}
    X, y, groups = make_panel_classification(
        600,
        modalities=sensors,
        n_classes=6,
        class_sep=0.7,
        noise=1.2,
        n_groups=9,
        return_groups=True,
        random_state=0,
    )
    train = groups < 6
    left = {}
    for strategy in ("late", "hybrid"):
        clf = FusionClassifier(strategy=strategy, d_model=32, n_groups=16, random_state=0)
        clf.fit(X[train], y[train])
        complete = clf.score(X[~train], y[~train])
        assert complete > 0.8
        scores = [clf.score(X[~train].drop([name]).align(X.schema), y[~train]) for name in sensors]
        assert min(scores) > 0.5
        left[strategy] = np.array(scores) - complete
    # Two standard errors of a difference of proportions over 200 samples.
    assert (left["hybrid"] >= left["late"] - 0.08).all()
    assert left["hybrid"].mean() >= left["late"].mean() - 0.03
