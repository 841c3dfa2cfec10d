"""The imputer by a Gaussian process."""

import pickle

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.utils.estimator_checks import check_estimator

from mts_fusion.datasets import make_panel_classification, make_trace_benchmark
from mts_fusion.estimators import GaussianProcessImputer, TraceClassifier
from mts_fusion.metrics import band_coverage, gap_means, lag_correlation
from mts_fusion.panel import Panel
from mts_fusion.transforms import PanelImputer, SAXTokenizer

SMALL = {"max_iter": 5, "n_scales": 2, "rank": 2, "n_samples": 4, "random_state": 0}


@pytest.fixture(scope="module")
def panel():
    X, _ = make_panel_classification(
        n_samples=30,
        modalities={"acc": (2, 8.0), "temp": (1, 2.0), "beat": (1, 4.0)},
        missing_fraction=0.2,
        missing_modality_fraction=0.2,
        irregular=["beat"],
        random_state=0,
    )
    return X


@pytest.fixture(scope="module")
def fitted(panel):
    return GaussianProcessImputer(**SMALL).fit(panel)


def assert_equal(a, b, **tolerance):
    for name in a.schema.names:
        np.testing.assert_allclose(a.values[name], b.values[name], **tolerance)


def walks(n, length=24, seed=0):
    return np.random.default_rng(seed).normal(size=(n, 1, length)).cumsum(2)


def with_gap(values, start, stop):
    hidden = values.copy()
    hidden[:, :, start:stop] = np.nan
    return hidden


def test_gaps_are_filled_and_what_was_observed_stays(fitted, panel):
    for filled in (fitted.transform(panel), fitted.sample(panel, n=1)[0]):
        for name in panel.schema.names:
            observed, times = panel.observed[name], panel.times[name]
            exists = np.ones_like(observed) if times is None else ~np.isnan(times)[:, None]
            assert np.isfinite(filled.values[name][exists & np.ones_like(observed)]).all()
            assert filled.values[name][observed].tobytes() == panel.values[name][observed].tobytes()
            assert np.array_equal(filled.observed[name], observed)


def test_what_has_no_time_is_not_filled(fitted, panel):
    times, values = panel.times["beat"].copy(), panel.values["beat"].copy()
    times[:, -1], values[:, :, -1] = np.nan, np.nan
    filled = fitted.transform(panel.replace(values={"beat": values}, times={"beat": times}))
    assert np.isnan(filled.values["beat"][:, :, -1]).all()
    assert np.isfinite(filled.values["beat"][:, :, 0]).all()


def test_the_fill_depends_neither_on_order_nor_on_neighbours(fitted, panel):
    close = {"atol": 1e-5, "rtol": 1e-5}
    for fill in (fitted.transform, lambda X: fitted.sample(X, n=1)[0]):
        filled = fill(panel)
        assert_equal(fill(panel[::-1])[::-1], filled, **close)
        assert_equal(fill(panel[7]), filled[7], **close)


def test_the_same_seed_gives_the_same_bits_and_another_seed_others(panel):
    a, b = (clone(GaussianProcessImputer(**SMALL)).fit(panel[:12]) for _ in range(2))
    assert_equal(a.sample(panel)[0], b.sample(panel)[0])
    c = GaussianProcessImputer(**{**SMALL, "random_state": 1}).fit(panel[:12])
    gap = ~panel.observed["acc"]
    assert not np.allclose(
        c.sample(panel)[0].values["acc"][gap], a.sample(panel)[0].values["acc"][gap]
    )
    assert_equal(pickle.loads(pickle.dumps(a)).transform(panel), a.transform(panel))


def test_median_mean_and_quantiles_are_those_of_many_draws(fitted, panel):
    some = panel[:4]
    draws = np.stack([p.values["acc"] for p in fitted.sample(some, n=2000)])
    scale = fitted.scaler_.scale_["acc"].max()
    close = {"atol": 0.2 * scale, "rtol": 0}
    np.testing.assert_allclose(
        fitted.transform(some).values["acc"], np.median(draws, axis=0), **close
    )
    low, high = fitted.quantiles(some, [0.1, 0.9])
    np.testing.assert_allclose(low.values["acc"], np.quantile(draws, 0.1, axis=0), **close)
    np.testing.assert_allclose(high.values["acc"], np.quantile(draws, 0.9, axis=0), **close)
    by_mean = pickle.loads(pickle.dumps(fitted)).set_params(statistic="mean")
    np.testing.assert_allclose(by_mean.transform(some).values["acc"], draws.mean(0), **close)


def test_more_draws_begin_with_those_of_fewer(fitted, panel):
    few, many = fitted.sample(panel, n=2), fitted.sample(panel, n=3)
    assert len(many) == 3
    assert_equal(few[1], many[1], atol=1e-5, rtol=1e-5)


def test_complete_samples_come_back_as_they_are(fitted, panel):
    complete = Panel(
        fitted.transform(panel).values,
        times={"beat": panel.times["beat"]},
        rates={m.name: m.rate for m in panel.schema},
    )
    assert fitted.transform(complete) is complete
    assert len(fitted.sample(complete, n=2)) == 2


def test_it_predicts_a_silent_sensor_from_another():
    rng = np.random.default_rng(0)
    level = rng.normal(size=(120, 1, 1))
    values = {
        "a": 10 + 3 * np.broadcast_to(level, (120, 2, 6)) + 0.1 * rng.normal(size=(120, 2, 6)),
        "b": np.broadcast_to(level, (120, 1, 4)) + 0.1 * rng.normal(size=(120, 1, 4)),
    }
    imputer = GaussianProcessImputer(**{**SMALL, "max_iter": 30}).fit(Panel(values)[:100])
    test = Panel(values)[100:]
    absent = test.replace(values={"a": np.full_like(test.values["a"], np.nan)})
    filled = imputer.transform(absent).values["a"]
    assert np.corrcoef(filled.mean((1, 2)), level[100:, 0, 0])[0, 1] > 0.9


def test_a_silent_sensor_is_left_alone_where_that_is_wanted(panel):
    imputer = GaussianProcessImputer(**{**SMALL, "fill_absent": False}).fit(panel)
    silent = ~panel.available[:, 0]
    assert silent.any()
    for filled in (imputer.transform(panel), imputer.sample(panel, n=1)[0]):
        assert np.isnan(filled.values["acc"][silent]).all()
        assert np.isfinite(filled.values["acc"][~silent]).all()


def test_trace_averages_over_its_draws(panel):
    y = np.arange(30) % 2
    trace = TraceClassifier(
        imputer=GaussianProcessImputer(**SMALL), n_imputations=2, max_epochs=1, random_state=0
    )
    proba = trace.fit(panel, y).predict_proba(panel)
    np.testing.assert_allclose(proba.sum(1), 1, atol=1e-6)
    with pytest.raises(ValueError, match="n_imputations=2 needs an imputer with sample"):
        TraceClassifier(imputer=PanelImputer(), n_imputations=2).fit(panel, y)


def test_draws_of_a_random_walk_are_brownian_bridges():
    """The exact distribution of a gap of 10 points is known: `min(s, t) - s t / 11`."""
    hidden = with_gap(walks(40, seed=1), 8, 18)
    imputer = GaussianProcessImputer(margins="normal", max_iter=200, random_state=0)
    imputer.fit({"a": walks(160)})
    draws = np.stack([p.values["a"] for p in imputer.sample({"a": hidden}, n=200)])
    steps = np.arange(1, 11)
    exact = np.minimum(steps[:, None], steps) - steps[:, None] * steps / 11
    missing = np.isnan(hidden)

    lag = np.diag(exact, 1).sum() / np.sqrt(np.diag(exact)[1:].sum() * np.diag(exact)[:-1].sum())
    assert lag_correlation(draws, missing) == pytest.approx(lag, abs=0.05)
    spread = gap_means(draws, missing).std(axis=0).mean()
    assert spread == pytest.approx(np.sqrt(exact.mean()), rel=0.05)


def test_bands_hold_what_they_promise_where_samples_differ_in_spread():
    rng = np.random.default_rng(0)
    values = np.exp(rng.normal(size=(240, 1, 1))) * walks(240, seed=1)
    imputer = GaussianProcessImputer(**{**SMALL, "max_iter": 40}).fit({"a": values[:160]})
    hidden = np.where(rng.random((80, 1, 24)) < 0.5, np.nan, values[160:])
    missing, covered = np.isnan(hidden), {}
    for residuals in ("learned", "normal"):
        imputer.set_params(residuals=residuals)
        low, high = (p.values["a"][missing] for p in imputer.quantiles({"a": hidden}, [0.1, 0.9]))
        covered[residuals] = band_coverage(values[160:][missing], low, high)
    assert covered["learned"] == pytest.approx(0.8, abs=0.03)
    assert covered["normal"] > 0.86


def test_a_long_sample_is_filled_in_blocks_almost_as_exactly():
    values = walks(40, length=60)
    hidden = {"a": with_gap(with_gap(values, 10, 18), 40, 52)}
    exact = GaussianProcessImputer(**{**SMALL, "max_iter": 20}).fit({"a": values})
    blocks = pickle.loads(pickle.dumps(exact))
    blocks.model_.max_entries = 24

    for statistic in (np.median, np.std):
        a, b = (
            statistic([p.values["a"] for p in one.sample(hidden, n=100)], axis=0)
            for one in (exact, blocks)
        )
        assert np.abs(a - b)[np.isnan(hidden["a"])].mean() < 0.15 * values.std()
    missing = np.isnan(hidden["a"])
    a, b = (
        lag_correlation([p.values["a"] for p in one.sample(hidden, n=50)], missing)
        for one in (exact, blocks)
    )
    assert a == pytest.approx(b, abs=0.05)


def test_score_is_minus_the_crps_and_rises_with_training(panel):
    short = GaussianProcessImputer(**{**SMALL, "max_iter": 1}).fit(panel)
    long = GaussianProcessImputer(**{**SMALL, "max_iter": 60}).fit(panel)
    assert short.score(panel) == pytest.approx(short.score(panel))
    assert 0 > long.score(panel) > short.score(panel)


def test_scikit_learn_finds_nothing(monkeypatch):
    # Its checks compare outputs as arrays; a panel is none, so they are shown one.
    def as_array(panel, dtype=None, copy=None):
        flat = [values.reshape(len(panel), -1) for values in panel.values.values()]
        return np.concatenate(flat, axis=1).astype(dtype)

    monkeypatch.setattr(Panel, "__array__", as_array, raising=False)

    results = check_estimator(GaussianProcessImputer(**SMALL), on_fail=None, on_skip=None)

    failed = {r["check_name"]: r["exception"] for r in results if r["status"] == "failed"}
    assert failed == {}
    assert sum(r["status"] == "passed" for r in results) >= 44


# Bad input


def test_wrong_parameters_are_named_in_fit(panel):
    for change in (
        {"rank": 0},
        {"margins": "t"},
        {"residuals": "t"},
        {"n_samples": 0},
        {"max_entries": 1},
    ):
        with pytest.raises(ValueError, match=f"The '{next(iter(change))}' parameter of Gauss"):
            GaussianProcessImputer(**{**SMALL, **change}).fit(panel)


def test_unusable_panels_are_refused_in_fit():
    imputer = GaussianProcessImputer(**SMALL)
    values = np.random.default_rng(0).normal(size=(12, 2, 5))
    silent = values.copy()
    silent[:, 1] = np.nan
    with pytest.raises(ValueError, match=r"Channel 1 of modality 'a' is never observed in the 12"):
        imputer.fit({"a": silent})
    with pytest.raises(ValueError, match="'a' holds tokens, but an imputer fills numbers"):
        imputer.fit(SAXTokenizer().fit_transform({"a": values}))
    with pytest.raises(NotFittedError):
        imputer.transform({"a": values})


def test_unusable_requests_are_refused(fitted, panel):
    with pytest.raises(ValueError, match=r"X came with \['gyro'\]"):
        fitted.transform({**panel.to_dict(), "gyro": np.zeros((len(panel), 1, 4))})
    with pytest.raises(ValueError, match="n=0; at least 1 sample can be drawn"):
        fitted.sample(panel, n=0)
    with pytest.raises(ValueError, match=r"q is a list of levels in \[0, 1\], got \[5\]"):
        fitted.quantiles(panel, [5])


def test_fewer_observations_than_variables_and_one_observed_once():
    values = np.full((3, 8, 4), np.nan)
    values[0, :, 1] = np.arange(8.0)  # each variable once in all
    imputer = GaussianProcessImputer(**SMALL).fit({"a": values})
    filled = imputer.transform({"a": values}).values["a"]
    np.testing.assert_allclose(filled, np.broadcast_to(np.arange(8.0)[:, None], (3, 8, 4)))


def test_two_measurements_at_one_time_are_averaged():
    values = np.array([[[1.0, 3.0, np.nan]]] + [[[v, v, v]] for v in np.linspace(-4, 6, 40)])
    times = np.tile([0.0, 0.0, 0.5], (41, 1))
    imputer = GaussianProcessImputer(**{**SMALL, "margins": "normal", "max_iter": 60})
    panel = Panel({"a": values}, times={"a": times})
    filled = imputer.fit(panel).transform(panel[:1]).values["a"][0, 0, 2]
    assert filled == pytest.approx(2.0, abs=0.3)


def test_times_far_outside_those_of_training_give_values_of_the_training():
    rng = np.random.default_rng(0)
    values, times = rng.normal(5, 1, (60, 1, 6)), np.tile(np.arange(6.0), (60, 1))
    imputer = GaussianProcessImputer(**SMALL).fit(Panel({"a": values}, times={"a": times}))
    late = np.array([[0.0, 1.0, 2.0, 3.0, 4.0, 1e9]])
    values = np.array([[[5.0, 5, 5, 5, 5, np.nan]]])
    low, middle, high = (
        p.values["a"][0, 0, 5]
        for p in imputer.quantiles(Panel({"a": values}, times={"a": late}), [0.05, 0.5, 0.95])
    )
    assert 2 < low < middle < high < 8


@pytest.mark.parametrize("in_training", [False, True])
def test_an_outlier_of_a_million_harms_its_neighbours_little(in_training):
    values = walks(60)
    broken = values.copy()
    broken[0, 0, 3] = 1e6
    hidden = with_gap(broken, 12, 16)
    plain = GaussianProcessImputer(**SMALL).fit({"a": values})
    imputer = GaussianProcessImputer(**SMALL).fit({"a": broken}) if in_training else plain
    filled = imputer.transform({"a": hidden}).values["a"][:, :, 12:16]
    expected = plain.transform({"a": with_gap(values, 12, 16)}).values["a"][:, :, 12:16]
    assert np.abs(filled[1:] - expected[1:]).mean() < 0.5
    assert np.abs(filled[0]).max() < 3 * np.abs(values).max()


# Measured


@pytest.mark.slow
def test_bands_of_the_benchmark_of_trace_hold_what_they_promise():
    parts = make_trace_benchmark(2000, 10, 200, missing_fraction=0.3)
    imputer = GaussianProcessImputer(random_state=0).fit(parts.train.data)
    low, high = imputer.quantiles(parts.test.data, [0.05, 0.95])
    masked, truth = parts.test.masked, parts.test.complete.values["series"]
    covered = band_coverage(
        truth[masked], low.values["series"][masked], high.values["series"][masked]
    )
    assert 0.87 <= covered <= 0.93
