"""Scales come from what was observed, and undo themselves."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from mts_fusion.panel import Panel
from mts_fusion.transforms import PanelScaler, SAXTokenizer


def test_observed_values_get_mean_zero_and_deviation_one(panel):
    scaled = PanelScaler().fit_transform(panel)

    for name in panel.schema.names:
        for channel in range(panel.schema[name].n_channels):
            observed = scaled.values[name][:, channel][panel.observed[name][:, channel]]
            assert abs(observed.mean(dtype=float)) < 1e-6
            assert observed.std(dtype=float) == pytest.approx(1, abs=1e-6)


def test_robust_scale_agrees_with_the_standard_one_on_normal_data():
    X = np.random.default_rng(0).normal(5, 3, size=(200, 1, 200))
    X[0, 0, :20] = 1e4

    robust = PanelScaler(method="robust").fit(X)

    assert robust.center_["series"][0] == pytest.approx(5, abs=0.05)
    assert robust.scale_["series"][0] == pytest.approx(3, abs=0.05)


def test_clipping_bounds_what_comes_later():
    X = np.linspace(0, 100, 101).reshape(1, 1, 101)
    scaler = PanelScaler(clip_quantiles=(0.1, 0.9)).fit(X)

    back = scaler.inverse_transform(scaler.transform(np.array([[[-1e6, 50.0, 1e6]]])))

    np.testing.assert_allclose(back.values["series"], [[[10, 50, 90]]], rtol=1e-5)


@given(
    hnp.arrays(
        np.float32,
        (3, 2, 5),
        elements=st.floats(-1e4, 1e4, width=32) | st.just(float("nan")),
    )
)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_inverse_transform_gives_the_values_back(X):
    scaler = PanelScaler().fit(X)

    back = scaler.inverse_transform(scaler.transform(X)).values["series"]

    np.testing.assert_allclose(back, X, rtol=1e-4, atol=1e-2)


def test_constant_channel_becomes_zero_and_stays_finite():
    scaled = PanelScaler().fit_transform(np.full((4, 1, 6), 1e4 + 0.1)).values["series"]

    np.testing.assert_allclose(scaled, 0, atol=1e-3)


def test_channel_never_observed_passes_later_values_unchanged():
    scaler = PanelScaler().fit(np.full((4, 1, 6), np.nan))

    np.testing.assert_array_equal(scaler.transform(np.full((1, 1, 6), 7.0)).values["series"], 7.0)


def test_filled_values_are_scaled_along_but_not_learnt_from():
    observed = np.array([[[True, True, False]]])
    panel = Panel({"a": np.array([[[0.0, 2.0, 99.0]]])}, observed={"a": observed})

    scaled = PanelScaler().fit_transform(panel)

    np.testing.assert_array_equal(scaled.values["a"], [[[-1, 1, 98]]])
    np.testing.assert_array_equal(scaled.observed["a"], observed)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"method": "minmax"}, "method is 'standard' or 'robust', got 'minmax'."),
        (
            {"clip_quantiles": (0.9, 0.1)},
            "clip_quantiles is an increasing pair within [0, 1], got (0.9, 0.1).",
        ),
    ],
)
def test_parameters_out_of_range_are_refused(panel, parameters, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        PanelScaler(**parameters).fit(panel)

    assert str(error.value) == message


def test_tokens_have_no_scale_and_pass(panel):
    tokens = SAXTokenizer().fit_transform(panel)

    scaled = PanelScaler().fit_transform(tokens)

    for name, symbols in tokens.values.items():
        np.testing.assert_array_equal(scaled.values[name], symbols)
    assert scaled.schema == tokens.schema
