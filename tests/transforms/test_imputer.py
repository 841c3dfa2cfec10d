"""PanelImputer: what is filled with what, and what stays as it is."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.interpolate import interp1d
from sklearn.base import clone
from sklearn.pipeline import make_pipeline

from mts_fusion.panel import Panel, Vocabulary
from mts_fusion.transforms import PanelImputer, PanelScaler

NAN = np.nan
STRATEGIES = ["nearest", "linear", "mean", "zero"]


def _panel(n=20, seed=0, rate=0.5):
    rng = np.random.default_rng(seed)
    acc, labs = rng.normal(size=(n, 3, 12)), rng.normal(size=(n, 2, 7))
    acc[rng.random(acc.shape) > rate] = NAN
    labs[rng.random(labs.shape) > rate] = NAN
    labs[:5] = NAN
    acc[0, 0] = NAN
    return Panel(
        {"acc": acc, "labs": labs},
        rates={"acc": 4.0},
        times={"labs": np.sort(rng.random((n, 7)), axis=1) * 100},
    )


@pytest.mark.parametrize(
    ("strategy", "expected"),
    [
        ("nearest", [1, 1, 1, 3, 3]),
        ("linear", [1, 1, 5 / 3, 7 / 3, 3]),
        ("mean", [2, 1, 2, 2, 3]),
        ("zero", [0, 1, 0, 0, 3]),
    ],
)
def test_a_small_case_by_hand(strategy, expected):
    X = {"a": np.array([[[NAN, 1, NAN, NAN, 3]]])}

    filled = PanelImputer(strategy=strategy).fit_transform(X)

    assert_allclose(filled.values["a"][0, 0], expected, rtol=1e-6)


def test_of_two_values_equally_near_the_earlier_one_is_taken():
    X = {"a": np.array([[[1, NAN, 3, NAN, NAN, NAN, 5]]])}

    filled = PanelImputer(strategy="nearest").fit_transform(X)

    assert_array_equal(filled.values["a"][0, 0], [1, 1, 3, 3, 3, 5, 5])


@pytest.mark.parametrize(("strategy", "kind"), [("nearest", "nearest"), ("linear", "linear")])
def test_it_equals_scipy_at_irregular_times(strategy, kind):
    panel = _panel()

    filled = PanelImputer(strategy=strategy).fit(panel).transform(panel)

    for i in range(5, len(panel)):
        for c in range(2):
            x, t = panel.values["labs"][i, c], panel.times["labs"][i]
            observed = ~np.isnan(x)
            if observed.sum() < 2:
                continue
            ends = (x[observed][0], x[observed][-1])
            expected = interp1d(
                t[observed], x[observed], kind, bounds_error=False, fill_value=ends
            )(t)
            assert_allclose(filled.values["labs"][i, c], expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_what_was_observed_stays_bit_for_bit_and_is_still_known(strategy):
    panel = _panel()

    filled = PanelImputer(strategy=strategy).fit(panel).transform(panel)

    for name in ("acc", "labs"):
        observed = panel.observed[name]
        assert_array_equal(filled.observed[name], observed)
        assert_array_equal(filled.values[name][observed], panel.values[name][observed])
        assert not np.isnan(filled.values[name]).any()
        assert filled.values[name].dtype == np.float32


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_a_silent_channel_is_filled_or_left_as_asked(strategy):
    panel = _panel()
    imputer = PanelImputer(strategy=strategy).fit(panel)
    mean = np.zeros(2) if strategy == "zero" else imputer.mean_["labs"]

    filled = imputer.transform(panel)
    left = imputer.set_params(fill_absent=False).transform(panel)

    assert_allclose(filled.values["labs"][:5], np.broadcast_to(mean[:, None], (5, 2, 7)), rtol=1e-6)
    assert np.isnan(left.values["labs"][:5]).all()
    assert np.isnan(left.values["acc"][0, 0]).all()
    assert not np.isnan(left.values["acc"][1:]).any()


def test_the_mean_is_that_of_fit():
    imputer = PanelImputer(strategy="mean").fit({"a": np.array([[[1.0, 3.0]], [[5.0, NAN]]])})

    filled = imputer.transform({"a": np.array([[[NAN, 100.0]]])})

    assert_array_equal(filled.values["a"], [[[3, 100]]])


def test_a_channel_never_observed_in_fit_stays_missing():
    X = {"a": np.array([[[NAN, NAN], [1.0, NAN]]])}

    filled = PanelImputer(strategy="mean").fit_transform(X)

    assert_array_equal(filled.values["a"], [[[NAN, NAN], [1, 1]]])


def test_padding_without_a_time_is_not_filled():
    panel = Panel(
        {"a": np.array([[[1.0, NAN, NAN, NAN]]])}, times={"a": np.array([[0.0, 1.0, 2.0, NAN]])}
    )

    for strategy in STRATEGIES:
        filled = PanelImputer(strategy=strategy).fit_transform(panel)
        assert_array_equal(np.isnan(filled.values["a"][0, 0]), [False, False, False, True])


def test_equal_times_do_not_divide_by_zero():
    panel = Panel({"a": np.array([[[1.0, NAN, 3.0]]])}, times={"a": np.array([[2.0, 2.0, 2.0]])})

    filled = PanelImputer(strategy="linear").fit_transform(panel)

    assert_array_equal(filled.values["a"], [[[1, 1, 3]]])


def test_values_of_an_earlier_imputer_stay_but_are_not_taken_for_observed():
    panel = Panel(
        {"a": np.array([[[1.0, 50.0, NAN, 3.0]]])},
        observed={"a": np.array([[[True, False, False, True]]])},
    )

    filled = PanelImputer(strategy="linear").fit_transform(panel)

    assert_allclose(filled.values["a"], [[[1, 50, 1 + 4 / 3, 3]]], rtol=1e-6)


def test_tokens_are_filled_with_the_nearest_and_never_averaged():
    panel = Panel(
        {"a": np.array([[[0, 2, 0, 0, 3]], [[0, 0, 0, 0, 0]]])}, vocabularies={"a": Vocabulary(4)}
    )

    filled = PanelImputer().fit_transform(panel)

    assert_array_equal(filled.values["a"][:, 0], [[2, 2, 2, 3, 3], [0, 0, 0, 0, 0]])
    with pytest.raises(ValueError, match="Modality 'a' holds tokens, of which strategy='mean'"):
        PanelImputer(strategy="mean").fit(panel)


def test_a_sample_does_not_depend_on_its_neighbours():
    panel = _panel()
    imputer = PanelImputer(strategy="linear").fit(panel)

    whole = imputer.transform(panel)

    for i in (0, 7, 19):
        alone = imputer.transform(panel[i])
        assert_array_equal(alone.values["labs"][0], whole.values["labs"][i])


def test_it_works_in_a_pipeline_and_clones():
    panel = _panel()

    filled = clone(make_pipeline(PanelScaler(), PanelImputer(strategy="zero"))).fit_transform(panel)

    assert (filled.values["labs"][:5] == 0).all()


def test_another_schema_and_an_unknown_strategy_are_refused():
    panel = _panel()
    with pytest.raises(ValueError, match="labs"):
        PanelImputer().fit(panel.select(["acc"])).transform(panel)
    with pytest.raises(ValueError, match=r"strategy='median' is unknown; choose one of \['nearest"):
        PanelImputer(strategy="median").fit(panel)
