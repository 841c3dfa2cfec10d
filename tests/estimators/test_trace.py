"""TraceClassifier and TraceRegressor: two stages, and the uncertainty of the first."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.stats import pearsonr
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.exceptions import NotFittedError
from sklearn.frozen import FrozenEstimator
from sklearn.metrics import mean_absolute_error
from sklearn.model_selection import GridSearchCV
from sklearn.pipeline import Pipeline
from skorch.callbacks import Callback

from mts_fusion.datasets import make_panel_classification, make_panel_regression
from mts_fusion.estimators import (
    ConditionalDiffusionImputer,
    GaussianProcessImputer,
    TraceClassifier,
    TraceRegressor,
)
from mts_fusion.estimators._impute_then_scale import ImputeThenScale
from mts_fusion.panel import Panel
from mts_fusion.transforms import PanelImputer, PanelScaler, SAXTokenizer, mask_panel

SMALL = {
    "d_model": 16,
    "d_time": 16,
    "n_reference": 8,
    "n_heads": 2,
    "n_layers": 1,
    "d_hidden": 16,
    "max_epochs": 2,
    "random_state": 0,
}


class NoisyImputer(TransformerMixin, BaseEstimator):
    """Fills gaps with 0, or in its samples with noise: what is hidden is not known."""

    def __init__(self, scale=1.0):
        self.scale = scale

    def fit(self, X, y=None):
        self.n_fits_ = getattr(self, "n_fits_", 0) + 1
        return self

    def transform(self, X):
        return self._fill(X, lambda shape: np.zeros(shape))

    def sample(self, X, n):
        rng = np.random.default_rng(0)
        return [self._fill(X, lambda s: self.scale * rng.normal(size=s)) for _ in range(n)]

    def _fill(self, X, draw):
        values = {k: np.where(np.isnan(v), draw(v.shape), v) for k, v in X.values.items()}
        return X.replace(values=values)  # observed is lost here: the estimator puts it back


def _classification(n=60):
    X, y = make_panel_classification(n_samples=n, random_state=0)
    return mask_panel(X, pattern="block", fraction=0.3, seed=0), y


def _regression(n=60):
    X, y = make_panel_regression(n_samples=n, random_state=0)
    return mask_panel(X, pattern="block", fraction=0.3, seed=0), y


@pytest.mark.parametrize(
    "imputer",
    ["nearest", "diffusion", GaussianProcessImputer(max_iter=2), PanelImputer(strategy="linear")],
)
def test_a_channel_never_observed_in_training_is_left_alone(imputer):
    X, y = _classification()
    name = X.schema.names[0]
    dead = X.values[name].copy()
    dead[:, 1] = np.nan
    clf = TraceClassifier(**SMALL, imputer=imputer).fit(X.replace(values={name: dead}), y)

    imputed = clf.preprocessor_.transform(X.replace(values={name: dead}))

    assert np.isnan(imputed.values[name][:, 1]).all()
    assert not np.isnan(imputed.values[name][X.available[:, 0]][:, 0]).any()
    assert np.isfinite(clf.predict_proba(X)).all()  # where it is observed after all


@pytest.fixture(scope="module")
def by_default():
    """The panel of `_classification`, its classes, and a classifier with the default imputer."""
    X, y = _classification()
    return X, y, TraceClassifier(**SMALL).fit(X, y)


@pytest.mark.parametrize("router", ["joint", "per_modality", "disjoint"])
@pytest.mark.parametrize("imputer", [None, "nearest", PanelImputer(strategy="linear")])
def test_it_fits_with_every_router_and_imputer(router, imputer):
    X, y = _classification()
    clf = TraceClassifier(**SMALL, router=router, imputer=imputer)
    if router == "disjoint":
        clf.set_params(n_experts=4 * len(X.schema))

    p = clf.fit(X, y).predict_proba(X)

    assert p.shape == (len(X), 3)
    assert_allclose(p.sum(1), 1, rtol=1e-6)


def test_it_learns():
    X, y = make_panel_classification(n_samples=150, random_state=0)
    options = {**SMALL, "max_epochs": 8, "batch_size": 16, "lr": 1e-2}
    clf = TraceClassifier(imputer=None, **options)

    assert clf.fit(X[:100], y[:100]).score(X[100:], y[100:]) > 0.6


def test_binary_multilabel_and_regression_have_their_shapes():
    X, y = _classification()
    labels = np.stack([y == 0, y > 1, y < 2], axis=1).astype(int)
    Xr, yr = _regression()

    binary = TraceClassifier(**SMALL, imputer="nearest").fit(X, y == 0)
    several = TraceClassifier(**SMALL, imputer="nearest").fit(X, labels)
    numbers = TraceRegressor(**SMALL, imputer="nearest").fit(Xr, np.stack([yr, -yr], axis=1))

    assert binary.predict_proba(X).shape == (60, 2)
    assert binary.predict(X).dtype == bool
    assert several.predict(X).shape == (60, 3)
    assert set(several.predict_uncertainty(X[:3], n_samples=2)["total"].shape) == {3}
    assert numbers.predict(Xr).shape == (60, 2)
    assert numbers.predict_uncertainty(Xr, n_samples=2)["total"].shape == (60, 2)


def test_tokens_are_taken_and_not_scaled():
    X, y = make_panel_classification(n_samples=60, random_state=0)
    name = X.schema.names[0]
    tokens = SAXTokenizer().fit_transform(X.select([name]))
    mixed = Panel(
        {**X.values, **tokens.values},
        vocabularies={name: tokens.schema[name].vocabulary},
        rates={m.name: m.rate for m in X.schema},
    )

    assert TraceClassifier(**SMALL).fit(mixed, y).predict(mixed).shape == y.shape


def test_predictions_are_means_over_draws_and_networks():
    X, y = _classification()
    clf = TraceClassifier(
        **SMALL, imputer=NoisyImputer(), n_imputations=3, n_estimators=2, calibration=None
    ).fit(X, y)

    draws = clf.predict_draws(X)

    panels = clf.preprocessor_.draws(X, 3)
    assert draws.shape == (3, len(X), 3)
    assert_allclose(clf.predict_proba(X), draws.mean(0), rtol=1e-6)
    assert not np.allclose(draws[0], draws[1])
    assert len(panels) == 3


def test_the_network_knows_what_was_imputed_whatever_the_imputer_hands_on():
    X, y = _classification()
    clf = TraceClassifier(**SMALL, imputer=NoisyImputer()).fit(X, y)

    completed = clf.preprocessor_.transform(X)

    for name in X.schema.names:
        assert_array_equal(completed.observed[name], X.observed[name])
        assert not np.isnan(completed.values[name]).any()


@pytest.mark.parametrize(
    ("estimator", "data"), [(TraceClassifier, _classification), (TraceRegressor, _regression)]
)
def test_the_interval_widens_as_more_is_hidden(estimator, data):
    X, y = data()
    model = estimator(**SMALL, imputer=NoisyImputer(), n_imputations=4).fit(X, y)

    widths, parts = [], []
    for fraction in (0.0, 0.3, 0.6, 0.9):
        hidden = mask_panel(X, pattern="point", fraction=fraction, seed=1)
        draws = model.predict_draws(hidden)
        widths.append(np.ptp(draws, axis=0).mean())
        parts.append(model.predict_uncertainty(hidden, n_samples=2)["imputation"].mean())

    assert np.all(np.diff(widths) > 0)
    assert np.all(np.diff(parts) > 0)


def test_statistics_stand_beside_the_series_unless_they_are_left_out(by_default):
    X, y, beside = by_default

    alone = TraceClassifier(**SMALL, imputer="nearest", statistics=False).fit(X, y)
    averaged = TraceClassifier(**SMALL, imputer=NoisyImputer(), n_imputations=2).fit(X, y)

    assert all(list(kinds) == ["statistics"] for kinds in beside.features_.widths)
    assert alone.features_ is None
    assert averaged.features_ is None
    assert beside.explain(X)["representation"].shape == alone.explain(X)["representation"].shape


def test_without_gaps_there_is_no_uncertainty_of_the_imputation():
    X, y = make_panel_classification(n_samples=60, random_state=0)
    clf = TraceClassifier(**SMALL, imputer=NoisyImputer(), n_imputations=4).fit(X, y)

    parts = clf.predict_uncertainty(X, n_samples=3)

    assert_allclose(parts["imputation"], 0, atol=1e-12)
    assert (parts["epistemic"] > 0).all()


def test_the_parts_of_the_uncertainty_add_up():
    X, y = _classification()
    Xr, yr = _regression()
    options = {"imputer": NoisyImputer(), "n_imputations": 3}
    clf = TraceClassifier(**SMALL, **options).fit(X, y)
    reg = TraceRegressor(**SMALL, **options).fit(Xr, yr)

    p = clf.predict_uncertainty(X, n_samples=3)
    s = reg.predict_uncertainty(Xr, n_samples=3)

    assert_allclose(p["total"], p["aleatoric"] + p["epistemic"] + p["imputation"])
    assert_allclose(s["total"] ** 2, s["epistemic"] ** 2 + s["imputation"] ** 2)
    assert all((part > -1e-12).all() for part in (*p.values(), *s.values()))


def test_a_fitted_imputer_goes_in_frozen_and_another_is_fitted_anew():
    X, y = _classification()
    fitted = NoisyImputer().fit(X)
    frozen = TraceClassifier(**SMALL, imputer=FrozenEstimator(fitted), n_imputations=2)
    free = TraceClassifier(**SMALL, imputer=fitted)

    frozen.fit(X, y).predict(X)
    free.fit(X, y)

    assert fitted.n_fits_ == 1
    assert frozen.imputer_.estimator is fitted
    assert free.imputer_ is not fitted
    assert free.imputer is fitted


class RandomImputer(NoisyImputer):
    """Fills gaps with noise from its seed, and keeps the groups that it was fitted with."""

    def __init__(self, random_state=None):
        self.random_state = random_state

    def fit(self, X, y=None, groups=None):
        self.groups_ = groups
        return self

    def transform(self, X):
        rng = np.random.default_rng(self.random_state)
        return self._fill(X, lambda shape: rng.normal(size=shape))


def test_seed_and_groups_reach_the_imputer():
    X, y = _classification()
    groups = np.arange(len(X)) // 6
    chain = Pipeline([("scale", PanelScaler()), ("fill", RandomImputer())])

    first, again, other = (
        TraceClassifier(**{**SMALL, "random_state": seed}, imputer=RandomImputer()).fit(
            X, y, groups=groups
        )
        for seed in (0, 0, 1)
    )
    own = TraceClassifier(**SMALL, imputer=RandomImputer(7)).fit(X, y)
    nested = TraceClassifier(**SMALL, imputer=chain).fit(X, y)

    assert_array_equal(first.imputer_.groups_, groups)
    assert first.imputer_.random_state == again.imputer_.random_state
    assert first.imputer_.random_state != other.imputer_.random_state
    assert_array_equal(first.predict_proba(X), again.predict_proba(X))
    assert own.imputer_.random_state == 7
    assert isinstance(nested.imputer_["fill"].random_state, int)
    assert chain["fill"].random_state is None


def test_by_default_it_imputes_by_diffusion_and_leaves_tokens_alone():
    X, y = _classification()
    name = X.schema.names[0]
    tokens = SAXTokenizer().fit_transform(X.select([name]))
    mixed = Panel(
        {**X.values, **tokens.values},
        vocabularies={name: tokens.schema[name].vocabulary},
        rates={m.name: m.rate for m in X.schema},
    )

    clf = TraceClassifier(**SMALL).fit(mixed, y)

    assert isinstance(clf.imputer_, ConditionalDiffusionImputer)
    assert list(clf.imputer_.schema_.names) == list(X.schema.names[1:])
    completed = clf.preprocessor_.transform(mixed)
    assert_array_equal(completed.values[name], mixed.values[name])
    assert not any(np.isnan(completed.values[m]).any() for m in X.schema.names[1:])
    assert_array_equal(
        clf.predict_proba(mixed), TraceClassifier(**SMALL).fit(mixed, y).predict_proba(mixed)
    )


def test_by_default_a_silent_sensor_stays_absent(by_default):
    X, _, clf = by_default
    name = X.schema.names[0]
    values = X.values[name].copy()
    values[:5] = np.nan

    available = clf.explain(X.replace(values={name: values}))["available"]

    assert not available[:5, 0].any()
    assert available[5:, 0].all()


@pytest.mark.parametrize(
    ("dataset", "epochs", "layers", "experts", "router", "width"),
    [
        ("mimic4", 32, 3, 16, "joint", 128),
        ("mosi", 40, 3, 8, "per_modality", 32),
        ("mosei", 20, 1, 16, "joint", 32),
    ],
)
def test_from_paper_has_the_sizes_of_table_6(dataset, epochs, layers, experts, router, width):
    clf = TraceClassifier.from_paper(dataset, random_state=0)

    assert (clf.max_epochs, clf.n_layers, clf.n_experts, clf.router) == (
        epochs,
        layers,
        experts,
        router,
    )
    assert (clf.d_model, clf.d_hidden, clf.n_active_experts, clf.n_heads) == (width, 512, 4, 8)
    assert (clf.gate, clf.statistics, clf.calibration) == ("laplace", False, None)
    assert isinstance(clf.imputer, ConditionalDiffusionImputer)
    assert clf.imputer.gating == "inner_product"


def test_the_published_setting_fits_and_predicts():
    X, y = _classification(24)
    clf = TraceClassifier.from_paper("mosei", random_state=0).set_params(
        max_epochs=1, imputer__max_epochs=1, imputer__n_steps=2, imputer__sampler="ddim"
    )

    X = X.select(["m1", "m2"])
    assert clf.fit(X, y).predict_proba(X[:2]).shape == (2, 3)


def test_a_short_sample_is_imputed_alike_with_or_without_a_long_one(by_default):
    X, _, clf = by_default
    name = X.schema.names[0]
    values = X.values[name][:4].copy()
    values[:2, :, 20:] = np.nan
    alone = X[:2].replace(values={name: values[:2, :, :20]})

    beside = clf.predict_proba(X[:4].replace(values={name: values}))

    assert_allclose(clf.predict_proba(alone), beside[:2], atol=1e-6)


def test_grid_search_reaches_the_imputer():
    X, y = _classification()
    search = GridSearchCV(
        TraceClassifier(**{**SMALL, "max_epochs": 1}, imputer=PanelImputer()),
        {"imputer__strategy": ["nearest", "mean"], "gate": ["laplace"]},
        cv=2,
    )

    search.fit(X, y)

    assert search.best_estimator_.imputer_.strategy == search.best_params_["imputer__strategy"]


def test_the_diffusion_imputer_fits_in():
    X, y = _classification(40)
    imputer = ConditionalDiffusionImputer(
        n_samples=2, n_steps=2, d_model=16, n_heads=4, n_layers=1, max_epochs=1, random_state=0
    )
    clf = TraceClassifier(**SMALL, imputer=imputer, n_imputations=2).fit(X, y)

    assert clf.predict_draws(X[:4]).shape == (2, 4, 3)
    assert_allclose(clf.predict_proba(X[:4]), clf.predict_proba(X)[:4], atol=1e-5)


def test_an_imputer_that_leaves_a_sensor_silent_leaves_it_absent():
    X, y = _classification()
    clf = TraceClassifier(**SMALL, imputer=PanelImputer(fill_absent=False)).fit(X, y)
    name = X.schema.names[0]
    silent = X.replace(values={name: np.full_like(X.values[name], np.nan)})

    record = clf.explain(silent)

    assert not record["available"][:, 0].any()
    assert record["available"][:, 1:].any()


def test_an_imputed_value_of_exactly_0_is_not_taken_for_an_empty_entry():
    values = np.tile([1.0, -1.0], (20, 1, 8))  # mean 0, so that 0 stays 0 when it is scaled
    X = Panel({"acc": values, "hr": values[:, :, :6]})
    clf = TraceClassifier(**SMALL, imputer=NoisyImputer()).fit(X, np.arange(20) % 2)
    silent = X.replace(values={"acc": np.full_like(values, np.nan)})

    completed = clf.preprocessor_.transform(silent)

    assert (completed.values["acc"] == 0).all()
    assert clf.explain(silent)["available"].all()


def test_explain_gives_routing_and_attention_by_sample(by_default):
    X, _, clf = by_default
    record = clf.explain(X)

    n_modalities = len(X.schema)
    assert record["routing"].shape == (len(X), 1, n_modalities, 8)
    assert record["attention"].shape == (len(X), 1, n_modalities, n_modalities)


def test_the_same_seed_gives_the_same_predictions():
    X, y = _classification()
    options = {**SMALL, "imputer": NoisyImputer(), "n_imputations": 2}

    first = TraceClassifier(**options).fit(X, y).predict_proba(X)

    assert_array_equal(first, clone(TraceClassifier(**options)).fit(X, y).predict_proba(X))


@pytest.mark.parametrize("imputer", [None, "nearest", PanelImputer()])
def test_several_imputations_need_samples(imputer):
    X, y = _classification()
    message = r"n_imputations=5 needs an imputer with sample\(X, n\), such as Conditional"

    with pytest.raises(ValueError, match=message):
        TraceClassifier(**SMALL, imputer=imputer, n_imputations=5).fit(X, y)


def test_an_imputer_that_changes_the_schema_is_refused():
    class Dropping(NoisyImputer):
        def transform(self, X):
            return super().transform(X).drop([X.schema.names[0]])

    X, y = _classification()
    with pytest.raises(ValueError, match="The panel that was imputed"):
        TraceClassifier(**SMALL, imputer=Dropping()).fit(X, y)


def test_regression_is_scored_by_mae_and_correlation():
    X, y = make_panel_regression(n_samples=150, random_state=0)
    options = {**SMALL, "max_epochs": 8, "batch_size": 16, "lr": 1e-2}
    reg = TraceRegressor(imputer=None, **options).fit(X[:100], y[:100])

    predictions = reg.predict(X[100:])

    assert mean_absolute_error(y[100:], predictions) < 0.8 * np.abs(y[100:] - y[:100].mean()).mean()
    assert pearsonr(y[100:], predictions).statistic > 0.6


def test_ctrl_c_in_the_first_stage_does_not_begin_the_second():
    class AtOnce(Callback):
        def on_epoch_end(self, net, **kwargs):
            raise KeyboardInterrupt

    X, y = _classification(20)
    imputer = ConditionalDiffusionImputer(d_model=8, n_heads=2, callbacks=[AtOnce()])
    clf = TraceClassifier(imputer=imputer, **SMALL)
    message = "The fit of ConditionalDiffusionImputer was interrupted"
    with pytest.warns(UserWarning, match=message), pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)

    with pytest.raises(NotFittedError):
        clf.predict(X)


@pytest.mark.parametrize(("n", "epochs"), [(320, 30), (3200, 12), (20_000, 3)])
def test_the_default_imputer_has_300_steps_and_at_least_3_epochs(monkeypatch, n, epochs):
    monkeypatch.setattr(ImputeThenScale, "fit", lambda self, *_: self)
    panel = Panel({"a": np.zeros((n, 1, 2), np.float32)})
    stage = TraceClassifier()._fit_preprocessor(panel, None, None, 0)
    assert stage.imputer.max_epochs == epochs
    stage = TraceClassifier(max_epochs=7)._fit_preprocessor(panel, None, None, 0)
    assert stage.imputer.max_epochs == 7
