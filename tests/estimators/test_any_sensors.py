"""A fitted model predicts from any of its sensors, in any order, through any wrapper."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mts_fusion.datasets import segment
from mts_fusion.estimators import FusionClassifier
from mts_fusion.panel import Panel, as_panel, schema_of
from mts_fusion.transforms import PanelScaler, PanelSummarizer

CLF = FusionClassifier(
    d_model=8, n_heads=2, n_groups=4, max_epochs=1, device="cpu", random_state=0, n_estimators=1
)
RATES = {"acc": 8.0, "hr": 2.0}


def _data(n=24):
    rng = np.random.default_rng(0)
    values = {"acc": rng.normal(size=(n, 2, 40)), "hr": rng.normal(size=(n, 1, 10))}
    return Panel(values, rates=RATES, channels={"acc": ["x", "y"]}), np.arange(n) % 2


@pytest.fixture(scope="module", params=["plain", "pipeline", "grid", "calibrated"])
def model(request):
    X, y = _data()
    wrapped = {
        "plain": clone(CLF),
        "pipeline": make_pipeline(PanelScaler(), clone(CLF)),
        "grid": GridSearchCV(clone(CLF), {"d_model": [8]}, cv=2),
        "calibrated": CalibratedClassifierCV(clone(CLF), cv=2),
    }
    return wrapped[request.param].fit(X, y)


def _one():
    """One window of each sensor."""
    X, _ = _data()
    return X.values["acc"][:1], X.values["hr"][:1]


def test_nine_natural_ways_to_ask_about_a_window_without_a_sensor(model):
    acc, _ = _one()
    stamps = np.arange(40) / 8
    frame = pd.DataFrame(acc[0].T, stamps, columns=["x", "y"])
    nothing = np.full((1, 1, 10), np.nan)
    wanted = model.predict_proba(Panel({"acc": acc, "hr": nothing}, rates=RATES))

    for X in (
        Panel({"acc": acc}, rates={"acc": 8.0}),
        Panel({"acc": acc}),
        as_panel({"acc": acc}, schema=model),
        as_panel({"acc": acc, "hr": [None]}, schema=model),
        segment({"acc": frame}, window_seconds=5)[0],
        [Panel({"acc": acc})],
        Panel({"hr": nothing, "acc": acc}),
        Panel({"acc": acc[:, ::-1]}, channels={"acc": ["y", "x"]}),
        Panel({"acc": acc}, times={"acc": stamps[None]}),
    ):
        assert_array_equal(model.predict_proba(X), wanted)
        assert model.predict(X).shape == (1,)


@pytest.mark.parametrize(
    "X",
    [
        {"acc": "acc"},
        {"acc": "acc", "hr": None},
        {"acc": "acc", "hr": []},
        {"acc": "acc", "hr": [None]},
        {"hr": None, "acc": "acc"},
    ],
    ids=str,
)
def test_a_dict_needs_no_ceremony(model, X):
    acc, _ = _one()
    given = {name: acc if part == "acc" else part for name, part in X.items()}
    if isinstance(model, CalibratedClassifierCV) and len(given) != 1:
        given = as_panel(given, schema=model)  # scikit-learn counts the keys of a dict

    wanted = model.predict_proba(as_panel({"acc": acc}, schema=model))

    assert_array_equal(model.predict_proba(given), wanted)


def test_a_sensor_unknown_in_fit_is_named(model):
    acc, hr = _one()
    message = "but X came with ['gyro']. Select them with X.select(['acc', 'hr'])."

    with pytest.raises(ValueError, match=re.escape(message)):
        model.predict(Panel({"acc": acc, "hr": hr, "gyro": hr}))


def test_strict_is_for_those_who_want_every_sensor(model):
    acc, hr = _one()
    for X, message in (
        (Panel({"acc": acc}, rates={"acc": 8.0}), "X came without ['hr']"),
        (Panel({"hr": hr, "acc": acc}, rates=RATES), "X came in the order ['hr', 'acc']"),
        (Panel({"acc": acc, "hr": hr}), "Modality 'acc' has rate unknown, but 8 Hz was seen"),
    ):
        with pytest.raises(ValueError, match=re.escape(message)):
            as_panel(X, schema=model, strict=True)


def test_the_schema_is_found_in_every_wrapper(model):
    schema, owner = schema_of(model)

    assert schema.names == ("acc", "hr")
    assert owner in ("FusionClassifier", "PanelScaler")
    acc, _ = _one()
    assert Panel({"acc": acc}).align(schema).schema.names == ("acc", "hr")


def test_the_schema_of_features_side_by_side_and_of_no_first_step():
    X, y = _data()
    union = FeatureUnion([("first", "passthrough"), ("second", PanelSummarizer())])
    union.transformer_list[1][1].fit(X)
    assert schema_of(make_pipeline("passthrough", union))[0] == X.schema

    unknown = make_pipeline(FunctionTransformer(), clone(CLF)).fit(X, y)
    with pytest.raises(
        TypeError, match=r"No schema is found in Pipeline.*first step of a pipeline"
    ):
        schema_of(unknown)


def test_a_rate_that_contradicts_fit_is_an_error(model):
    acc, hr = _one()

    with pytest.raises(ValueError, match="Modality 'acc' has rate 16 Hz, but 8 Hz was seen in fit"):
        model.predict(Panel({"acc": acc, "hr": hr}, rates={"acc": 16.0}))


def test_times_beside_the_clock_of_fit_say_what_to_do(model):
    acc, hr = _one()
    uneven = np.arange(40) / 8 + np.random.default_rng(0).uniform(0, 0.05, 40)
    frame = pd.DataFrame(acc[0].T, uneven, columns=["x", "y"])

    with pytest.raises(ValueError, match=r"'acc' came with times that do not tick at 8 Hz.*rates="):
        as_panel({"acc": [frame], "hr": hr}, schema=model)
    panel = as_panel({"acc": [frame], "hr": hr}, schema=model, rates={"acc": 8})
    assert_array_equal(panel.values["acc"], acc.astype(np.float32))


def test_half_a_window_and_two_are_said(model):
    acc, hr = _one()
    few = {"acc": acc[:, :, :20], "hr": hr}
    message = (
        "Modality 'acc' has 20 timepoints, and had 40 in fit: the rest of the window counts as"
    )
    with pytest.warns(UserWarning, match=message):
        model.predict(as_panel(few, schema=model))
    many = {"acc": np.tile(acc, 2), "hr": hr}
    message = (
        "Modality 'acc' has 80 timepoints, and had 40 in fit: all of them are read, but no such"
    )
    with pytest.warns(UserWarning, match=message):
        model.predict(as_panel(many, schema=model))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        nearly = {"acc": acc[:, :, :21], "hr": hr}
        absent = {"acc": np.full((1, 2, 4), np.nan), "hr": hr}
        for X in (nearly, absent):
            model.predict(as_panel(X, schema=model))


@pytest.mark.filterwarnings("ignore:Modality 'acc' has 80 timepoints")
def test_timepoints_beyond_those_of_fit_are_read(model):
    acc, hr = _one()
    twice = np.tile(acc, 2)
    other = twice * np.where(np.arange(80) < 40, 1, 5)

    predictions = [
        model.predict_proba(as_panel({"acc": x, "hr": hr}, schema=model)) for x in (twice, other)
    ]

    assert np.abs(predictions[0] - predictions[1]).max() > 1e-4


def test_samples_of_several_lengths_may_be_short():
    X, y = _data()
    hr = [part[:, : 3 + i % 8] for i, part in enumerate(X.values["hr"])]
    model = clone(CLF).fit({"acc": X.values["acc"], "hr": hr}, y)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        model.predict({"acc": X.values["acc"][:1], "hr": hr[:1]})


def test_what_is_not_fitted_has_no_schema():
    with pytest.raises(TypeError, match="No schema is found in FusionClassifier"):
        as_panel(np.ones((2, 3)), schema=clone(CLF))


# An array and the panel made of it are one thing


@pytest.mark.parametrize("shape", [(24, 12), (24, 1, 12), (24, 3, 12)])
def test_an_array_and_the_panel_made_of_it_are_one(shape):
    X, y = np.random.default_rng(0).normal(size=shape), np.arange(24) % 2
    for fitted_on, other in ((X, as_panel(X)), (as_panel(X), X)):
        model = clone(CLF).fit(fitted_on, y)
        assert_array_equal(model.predict_proba(other), model.predict_proba(fitted_on))


def test_an_array_is_the_only_modality_of_fit():
    X, y = np.random.default_rng(0).normal(size=(24, 2, 12)), np.arange(24) % 2
    model = clone(CLF).fit({"acc": X}, y)

    assert_array_equal(model.predict_proba(X), model.predict_proba({"acc": X}))


def test_channels_in_another_order_give_the_same_prediction():
    X, y = np.random.default_rng(0).normal(size=(24, 3, 12)), np.arange(24) % 2
    model = clone(CLF).fit(Panel({"a": X}, channels={"a": ["ax", "ay", "hr"]}), y)

    other = Panel({"a": X[:, [2, 0, 1]]}, channels={"a": ["hr", "ax", "ay"]})

    assert_array_equal(model.predict_proba(other), model.predict_proba({"a": X}))
