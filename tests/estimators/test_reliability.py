"""What no input, interruption or neighbour may do to an estimator: docs/reliability.md."""

import multiprocessing
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal
from sklearn.base import clone
from sklearn.pipeline import Pipeline
from threadpoolctl import threadpool_info

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    ConditionalDiffusionImputer,
    FusionClassifier,
    GaussianProcessImputer,
    MaestroClassifier,
    PatternRidgeClassifier,
    PatternRidgeRegressor,
    RocketFeatures,
    TraceClassifier,
)
from mts_fusion.panel import Panel
from mts_fusion.training import PanelNet
from mts_fusion.transforms import PanelImputer, PanelScaler, PanelSummarizer, SAXTokenizer

TRAINING = {"max_epochs": 2, "device": "cpu", "random_state": 0}
MAESTRO = {"d_model": 8, "n_heads": 2, "n_intra_layers": 1, "n_cross_layers": 1, "n_experts": 2}
TRACE = {"d_model": 8, "d_time": 8, "n_reference": 4, "n_heads": 2, "n_layers": 1, "d_hidden": 8}
CLASSIFIERS = {
    "maestro": MaestroClassifier(n_groups=2, n_estimators=1, **MAESTRO, **TRAINING),
    "fusion": FusionClassifier(d_model=8, n_heads=2, n_groups=2, **TRAINING),
    "trace": TraceClassifier(imputer=None, **TRACE, **TRAINING),
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


# What a prediction depends on


def _ragged(X):
    """X with a random number of timepoints at the end of each sample missing."""
    values = {name: x.copy() for name, x in X.values.items()}
    for i, length in enumerate(np.random.default_rng(0).integers(6, 16, size=len(X))):
        values["acc"][i, :, length:] = np.nan
    return X.replace(values=values)


@EACH
def test_predictions_depend_on_observed_values_alone(data, fitted, name, check_predictions):
    check_predictions(fitted(name), data[0])


@pytest.mark.parametrize("parameter", ["attention_budget", "cross_budget"])
def test_those_with_a_small_budget_too(data, check_predictions, parameter):
    model = clone(CLASSIFIERS["maestro"]).set_params(**{parameter: 0.5, "max_tokens": 16})
    check_predictions(model.fit(*data), data[0])


@pytest.mark.parametrize("scope", ["dataset", "instance"])
def test_those_of_symbols_too(data, check_predictions, scope):
    # Statistics of symbols have many ties, in which rounding must not decide the rank.
    X = data[0].select(["acc"])
    model = Pipeline([("sax", SAXTokenizer(scope=scope)), ("clf", clone(CLASSIFIERS["maestro"]))])
    check_predictions(model.fit(X, data[1]), X)


DIFFUSION = {"d_model": 8, "n_heads": 2, "n_samples": 4, "max_epochs": 1, "random_state": 0}
IMPUTERS = {
    "own": "diffusion",
    "patches": ConditionalDiffusionImputer(patch_length=5, denoiser="state_space", **DIFFUSION),
    "gaussian process": GaussianProcessImputer(max_iter=5, random_state=0),
    "transport": ConditionalDiffusionImputer(prior="gaussian_process", **DIFFUSION),
}


@pytest.mark.parametrize(
    ("imputer", "n_imputations"),
    [
        ("own", 1),
        ("patches", 2),
        ("gaussian process", 2),
        pytest.param("transport", 2, marks=pytest.mark.slow),
    ],
)
def test_those_of_trace_with_an_imputer_too(data, check_predictions, imputer, n_imputations):
    X, y = data
    model = TraceClassifier(
        imputer=IMPUTERS[imputer], n_imputations=n_imputations, **TRACE, **TRAINING
    )
    check_predictions(model.fit(X, y), X)


@pytest.mark.parametrize("name", ["trace", "trace, nearest", "maestro"])
def test_those_of_ragged_series_too(data, name, check_predictions):
    X, y = _ragged(data[0]), data[1]
    check_predictions(clone(CLASSIFIERS[name]).fit(X, y), X)


@EACH
@pytest.mark.parametrize("extreme", [9.96921e36, -3.4028235e38])
def test_a_fill_value_is_answered_with_a_warning_and_without_nan(data, fitted, name, extreme):
    X = data[0][:6]
    values = {"acc": X.values["acc"].copy()}
    values["acc"][2, 1, 3] = extreme
    message = "Modality 'acc' has 1 values that are more than 1e\\+06 scales .* in channel '1'"
    with pytest.warns(UserWarning, match=message):
        p = fitted(name).predict_proba(X.replace(values=values))

    assert np.isfinite(p).all()
    np.testing.assert_allclose(p.sum(1), 1.0, atol=1e-6)


@EACH
def test_a_channel_of_tiny_spread_that_shifts_later_stays_finite(data, name):
    X, y = data
    tiny = X.replace(values={"acc": X.values["acc"] * np.float32(1e-30)})
    model = clone(CLASSIFIERS[name]).fit(tiny, y)
    with pytest.warns(UserWarning, match="scales from the center"):
        assert np.isfinite(model.predict_proba(X)).all()


# Targets and training


def test_a_training_that_diverges_is_an_error(data, monkeypatch):
    train = PanelNet.train

    def diverge(self, *datasets):
        train(self, *datasets)
        with torch.no_grad():
            for weight in self.module_.parameters():
                weight.fill_(1e30)

    monkeypatch.setattr(PanelNet, "train", diverge)
    message = "The training of MaestroClassifier diverged: .* are not finite. Lower lr=0.002"
    with pytest.raises(ValueError, match=message):
        clone(CLASSIFIERS["maestro"]).fit(*data)


@pytest.mark.parametrize("size", [1e160, 1e300])
def test_numbers_of_any_size_are_predicted(data, size):
    X, y = data
    regressor = PatternRidgeRegressor(n_groups=2, n_threads=1, random_state=0)
    p = clone(regressor).fit(X, y * size).predict(X) / size
    np.testing.assert_allclose(p, clone(regressor).fit(X, y).predict(X), rtol=1e-6)


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


# The state of torch


@contextmanager
def _default_type():
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        assert torch.get_default_dtype() == torch.float64
        torch.set_default_dtype(torch.float32)


STATES = {
    "float64": _default_type,
    "no gradients": torch.no_grad,
    "inference mode": torch.inference_mode,
    "autocast": lambda: torch.autocast("cpu", dtype=torch.bfloat16),
    "meta device": lambda: torch.device("meta"),
}


@pytest.mark.parametrize("state", STATES)
@pytest.mark.parametrize("name", ["maestro", "fusion", "trace, nearest", "pattern ridge"])
def test_the_state_of_torch_does_not_leak_in_or_out(data, fitted, name, state):
    X, y = data
    before = torch.random.get_rng_state()
    with STATES[state]():
        inside = clone(CLASSIFIERS[name]).fit(X, y).predict_proba(X)

    assert_array_equal(inside, fitted(name).predict_proba(X))
    assert torch.equal(torch.random.get_rng_state(), before)
    assert torch.is_grad_enabled()


def test_a_fit_with_held_out_samples_draws_nothing_from_the_global_generator(data):
    X, y = data
    before = torch.random.get_rng_state()
    clone(CLASSIFIERS["maestro"]).set_params(validation_fraction=0.4).fit(X, y)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_predictions_side_by_side_leave_the_number_of_threads(data, fitted, two_threads):
    X, model, later = data[0], fitted("maestro"), []
    for _ in range(5):
        with ThreadPoolExecutor(4) as pool:
            list(pool.map(model.predict_proba, [X] * 8))
    thread = threading.Thread(target=lambda: later.append(torch.get_num_threads()))
    thread.start()
    thread.join()

    assert torch.get_num_threads() == 2
    assert later == [2]


def _fit_and_predict(model, X, y):
    return clone(model).fit(X, y).predict_proba(X)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["maestro", "pattern ridge"])
def test_a_forked_child_does_not_wait_for_threads_of_its_parent(data, fitted, name, two_threads):
    torch.randn(10**6).sort()  # starts threads of OpenMP
    expected = fitted(name).predict_proba(data[0])
    with multiprocessing.get_context("fork").Pool(1) as pool:
        result = pool.apply_async(_fit_and_predict, (CLASSIFIERS[name], *data)).get(120)
    assert_array_equal(result, expected)


def test_boosted_trees_use_the_threads_of_the_estimator(data, monkeypatch):
    from sklearn.ensemble import HistGradientBoostingClassifier

    seen = []
    inner = HistGradientBoostingClassifier.fit

    def noted(self, *args, **kwargs):
        seen.extend(m["num_threads"] for m in threadpool_info() if m["user_api"] == "openmp")
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(HistGradientBoostingClassifier, "fit", noted)
    model = clone(CLASSIFIERS["pattern ridge"]).set_params(head="boosting", n_threads=1)
    model.fit(*data, groups=np.arange(40) % 3)
    assert set(seen) == {1}


# Any panel


def _batch(seed, n, longest):
    """Panels of one sample each, side by side: with gaps, ends, silence and scales of their own."""
    rng = np.random.default_rng(seed)
    values, lengths = {}, {"acc": longest, "hr": 1 + longest // 2}
    for (name, length), n_channels in zip(lengths.items(), (2, 1), strict=True):
        scale = rng.choice([0.0, 1e-30, 1.0, 1e4, 1e30], p=[0.1, 0.1, 0.6, 0.1, 0.1], size=n)
        x = scale[:, None, None] * rng.normal(size=(n, n_channels, length))
        x = x.clip(-1e37, 1e37).astype(np.float32)
        x[rng.random(x.shape) < rng.choice([0.0, 0.3, 0.9], size=n)[:, None, None]] = np.nan
        x[rng.random(n) < 0.3] = np.nan
        end = rng.integers(1, length + 1, size=n)
        values[name] = np.where(np.arange(length) < end[:, None, None], x, np.nan)
    size = (n, lengths["hr"])
    steps = rng.exponential(rng.choice([1e-3, 1.0, 1e6], size=(n, 1)), size=size)
    times = np.cumsum(steps, axis=1) + rng.choice([0.0, 1e9], size=(n, 1))
    return Panel(values, times={"hr": times}, rates={"acc": 8.0})


def _check_batches(check, n_batches, n):
    """Check batches of n panels each."""

    @settings(max_examples=n_batches, deadline=None, derandomize=True, database=None)
    @given(st.integers(0, 2**32 - 1), st.integers(2, 18))
    def checked(seed, length):
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # of extremes and lengths
            check(_batch(seed, n, length))

    checked()


def _rough(name, X):
    """Samples with values near the bound of 1e6 scales, of which TRACE's attention takes sums."""
    if not name.startswith("trace"):
        return None
    large = [np.nanmax(np.abs(x), axis=(1, 2), initial=0.0) > 1e5 for x in X.values.values()]
    return np.any(large, axis=0)


@EACH
def test_any_panel_of_the_schema_has_finite_predictions(fitted, name, check_predictions):
    _check_batches(lambda X: check_predictions(fitted(name), X, _rough(name, X)), 2, 100)


def test_the_times_of_tokens_do_not_depend_on_which_modalities_are_computed_together(
    fitted, check_predictions
):
    """A longer sample beside them parts modalities of 5 and 3 timepoints; of one shape before."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        check_predictions(fitted("maestro"), _batch(0, 200, 5))


@pytest.mark.slow
@EACH
def test_many_panels_of_the_schema_have_finite_predictions(fitted, name, check_predictions):
    _check_batches(lambda X: check_predictions(fitted(name), X, _rough(name, X)), 50, 200)


TRANSFORMERS = {
    "scaler": PanelScaler(),
    "nearest": PanelImputer(),
    "summaries": PanelSummarizer(),
    "symbols": SAXTokenizer(alphabet_size=4),
    "rocket": RocketFeatures(n_groups=2, random_state=0),
    "gaussian process": GaussianProcessImputer(max_iter=2, random_state=0),
}


def _arrays(transformed):
    """What a transformer gave, as arrays with a row a sample."""
    is_table = isinstance(transformed, np.ndarray)
    return [transformed] if is_table else list(transformed.values.values())


def _check_transform(model, X):
    """Assert that a sample is transformed alike in any order and company, from what is observed."""
    whole = _arrays(model.transform(X))
    rows = np.random.default_rng(0).permutation(len(X))[: (len(X) + 6) // 7]
    hidden = X.replace(
        values={k: np.where(X.observed[k], x, np.float32(1e30)) for k, x in X.values.items()},
        observed=X.observed,
    )
    parts = {
        "company": (_arrays(model.transform(X[rows])), rows),
    }
    if not isinstance(model, (PanelScaler, PanelImputer)):  # they take them for filled in
        parts["hidden values"] = (_arrays(model.transform(hidden)), np.arange(len(X)))
    for what, (arrays, index) in parts.items():
        for array, wanted in zip(arrays, whole, strict=True):
            np.testing.assert_allclose(array, wanted[index], rtol=1e-4, atol=1e-5, err_msg=what)


@pytest.mark.parametrize("name", TRANSFORMERS)
def test_any_sample_is_transformed_from_its_own_observed_values(data, name):
    model = clone(TRANSFORMERS[name]).fit(data[0])
    _check_batches(lambda X: _check_transform(model, X), 2, 100)


def test_a_longer_sample_beside_others_does_not_move_their_clocks(data, with_longer):
    X = _batch(1, 100, 5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)
        model = clone(TRANSFORMERS["gaussian process"]).fit(data[0])
        alone, beside = model.transform(X), model.transform(with_longer(X))
    for name, values in alone.values.items():
        same = beside.values[name][: len(X), :, : values.shape[2]]
        np.testing.assert_allclose(same, values, rtol=1e-4, atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("name", TRANSFORMERS)
def test_many_samples_are_transformed_from_their_own_observed_values(data, name):
    model = clone(TRANSFORMERS[name]).fit(data[0])
    _check_batches(lambda X: _check_transform(model, X), 50, 200)
