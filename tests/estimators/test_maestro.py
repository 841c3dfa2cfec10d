"""MaestroClassifier and MaestroRegressor inside everything that scikit-learn does to X."""

import pickle

import numpy as np
import pytest
import torch
from joblib import Memory
from numpy.testing import assert_allclose, assert_array_equal
from sklearn import config_context, set_config
from sklearn.base import clone
from sklearn.calibration import CalibratedClassifierCV
from sklearn.ensemble import StackingClassifier, StackingRegressor, VotingClassifier
from sklearn.experimental import enable_halving_search_cv  # noqa: F401
from sklearn.frozen import FrozenEstimator
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import (
    GridSearchCV,
    HalvingGridSearchCV,
    StratifiedGroupKFold,
    TunedThresholdClassifierCV,
    cross_val_predict,
    cross_validate,
    learning_curve,
    train_test_split,
)
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import Pipeline, make_pipeline
from skorch.callbacks import Callback

from mts_fusion.datasets import make_panel_classification, make_panel_regression
from mts_fusion.estimators import MaestroClassifier, MaestroRegressor
from mts_fusion.inspection import attention_maps
from mts_fusion.nn.layers import available_modalities
from mts_fusion.panel import Panel
from mts_fusion.training import BestWeights, split_rows
from mts_fusion.transforms import ModalityGrouper, PanelScaler, SAXTokenizer

TINY = {
    "d_model": 8,
    "n_heads": 2,
    "n_intra_layers": 1,
    "n_cross_layers": 1,
    "n_experts": 2,
    "n_estimators": 1,
    "max_epochs": 1,
    "device": "cpu",
    "random_state": 0,
}


def _clf(**parameters):
    return MaestroClassifier(**{**TINY, **parameters})


@pytest.fixture(scope="module")
def data():
    """Forty-eight samples of three classes and four subjects; a tenth of the sensors is silent."""
    return make_panel_classification(
        n_samples=48,
        modalities={"acc": (2, 8.0), "hr": (1, 4.0)},
        missing_modality_fraction=0.1,
        n_groups=4,
        return_groups=True,
        random_state=0,
    )


@pytest.fixture(scope="module")
def X(data):
    return data[0]


@pytest.fixture(scope="module")
def y(data):
    return data[1]


# What it learns


def test_classes_are_learnt_with_and_without_a_sensor():
    X, y = make_panel_classification(
        n_samples=90, modalities={"acc": (2, 8.0), "hr": (2, 4.0)}, random_state=0
    )
    clf = _clf(max_epochs=12, lr=2e-2, batch_size=16).fit(X[:60], y[:60])
    without = X.replace(values={"acc": np.full_like(X.values["acc"], np.nan)})

    assert clf.score(X[60:], y[60:]) > 0.8
    assert clf.score(without[60:], y[60:]) > 0.5


def test_numbers_are_learnt():
    X, y = make_panel_regression(n_samples=90, modalities={"acc": (2, 8.0)}, random_state=0)
    reg = MaestroRegressor(**{**TINY, "max_epochs": 12, "lr": 2e-2, "batch_size": 16})

    assert reg.fit(X[:60], y[:60]).score(X[60:], y[60:]) > 0.3


@pytest.mark.parametrize("settings", [{}, {"missing": "token"}], ids=str)
def test_values_behind_a_silent_sensor_change_no_bit(X, y, settings):
    clf = _clf(**settings).fit(X, y)
    observed = {name: part.copy() for name, part in X.observed.items()}
    observed["acc"][:] = False
    dirty = X.replace(
        values={"acc": np.full_like(X.values["acc"], 1e6)}, observed={"acc": observed["acc"]}
    )
    silent = X.replace(values={"acc": np.full_like(X.values["acc"], np.nan)})

    assert_array_equal(clf.predict_proba(dirty), clf.predict_proba(silent))


def test_attention_between_tokens_is_there_to_be_drawn(X, y):
    clf = _clf().fit(X, y)
    maps = attention_maps(clf, X[:3], level="token")
    assert maps.attention.shape == (3, len(maps.rows), len(maps.columns))
    assert set(maps.rows) == set(X.schema.names)
    assert_allclose(np.nansum(maps.attention, axis=2)[~np.isnan(maps.attention[..., 0])], 1, 1e-5)


def test_explain_gives_budgets_that_leave_out_the_silent(X, y):
    record = _clf().fit(X, y).explain(X)

    budget = record["budget"]
    assert budget.shape == (48, 2)
    assert (budget[~X.available] == 0).all()
    assert (budget[X.available] > 0).all()


def test_a_budget_can_be_fixed(X, y):
    record = _clf(attention_budget={"acc": 1.0, "hr": 2.0}).fit(X, y).explain(X[:4])

    available = X.available[:4]
    assert_allclose(record["budget"][available], np.tile([1.0, 2.0], (4, 1))[available])


def test_every_network_has_tokens_of_the_series_and_spends_a_budget_on_them(X, y):
    clf = _clf(n_estimators=3).fit(X, y)

    for net in clf.nets_:
        module = net.module_
        assert len(module.intra) == 1
        assert module.features is not None
        before = net.predict_raw(clf._datasets(clf._panels(X)[0]))
        with torch.no_grad():
            module.budget.gate[2].bias.fill_(-50.0)  # no budget at all
        assert not np.allclose(before, net.predict_raw(clf._datasets(clf._panels(X)[0])))
    assert clf.explain(X)["budget"].max() < 1e-6


@pytest.mark.parametrize("budget", [0.0, 2.0, np.inf, {"acc": 1.0}], ids=str)
def test_other_budgets_are_those_of_the_same_network(X, y, budget):
    settings = {"n_estimators": 1, "lr": 1e-12}
    learnt, other = (_clf(**settings, attention_budget=b).fit(X, y) for b in ("learnt", budget))

    weights, others = (clf.nets_[0].module_.state_dict() for clf in (learnt, other))
    assert weights.keys() == others.keys()
    for name in weights.keys() - {"budget.fixed", "budget.is_learnt"}:
        torch.testing.assert_close(weights[name], others[name])
    assert not np.allclose(learnt.predict_proba(X), other.predict_proba(X), rtol=1e-6)


def test_feature_tokens_are_chosen_by_kind(X, y):
    n_tokens = {}
    for kinds in ((), ("statistics",), ["multirocket", "statistics"]):
        clf = _clf(feature_tokens=kinds, n_estimators=1).fit(X, y)
        n_tokens[len(kinds)] = clf.explain(X[:2])["available"].shape[1]
        assert (clf.features_ is None) == (len(kinds) == 0)
    assert n_tokens[1] == n_tokens[0] + 2
    assert n_tokens[2] == n_tokens[0] + 4
    with pytest.raises(
        ValueError, match=r"feature_tokens has \['rocket'\], but the kinds of fixed"
    ):
        _clf(feature_tokens=("rocket",)).fit(X, y)


def test_an_infinite_budget_attends_in_full(X, y):
    everywhere = _clf(attention_budget=np.inf, n_estimators=1).fit(X, y)
    nowhere = _clf(attention_budget=0.0, n_estimators=1).fit(X, y)

    assert everywhere.nets_[0].module_.attends_in_full
    assert not np.allclose(everywhere.predict_proba(X), nowhere.predict_proba(X))
    with pytest.raises(ValueError, match="'attention_budget' parameter of MaestroClassifier"):
        _clf(attention_budget=-1.0).fit(X, y)


def test_without_cross_budget_no_token_attends_across_modalities(X, y):
    series = {"n_estimators": 1, "feature_tokens": ()}
    clf = _clf(**series, cross_budget=0.0).fit(X, y)
    record = clf.explain(X)

    n_available = record["available"].sum(1)
    for attention, available, n in zip(
        record["token_attention"], record["available"], n_available, strict=True
    ):
        assert_allclose(attention[np.ix_(available, available)], 1 / n, rtol=1e-5)
    full = _clf(**series, cross_budget=np.inf).fit(X, y).explain(X)
    assert np.ptp(full["token_attention"][0][full["available"][0]], axis=1).max() > 1e-4


@pytest.mark.parametrize(("distil", "n_tokens"), [(True, 2 + 2), (False, 4 + 4)])
def test_distilling_halves_the_tokens_of_a_modality(X, y, distil, n_tokens):
    only_patches = {"feature_tokens": (), "n_estimators": 1}
    record = _clf(distil=distil, **only_patches).fit(X, y).explain(X[:3])

    assert record["available"].shape == (3, n_tokens)


class _Rates(Callback):
    """The rate of modality dropout in each epoch."""

    def on_train_begin(self, net, **kwargs):
        self.rates = []

    def on_batch_begin(self, net, training=False, **kwargs):
        if training and len(self.rates) < len(net.history):
            self.rates.append(round(float(net.module_.modality_dropout.p), 3))


@pytest.mark.parametrize(
    ("settings", "rates"),
    [
        ({}, [0, 0.15, 0.3, 0.3, 0.3, 0.3]),
        ({"n_warmup_epochs": 2}, [0, 0, 0, 0.3, 0.3, 0.3]),
        ({"n_warmup_epochs": 1, "n_curriculum_epochs": 4}, [0, 0, 0.1, 0.2, 0.3, 0.3]),
        ({"n_curriculum_epochs": 0}, [0, 0.3, 0.3, 0.3, 0.3, 0.3]),
    ],
)
def test_modality_dropout_rises_from_the_warm_up_to_the_end_of_the_curriculum(
    X, y, settings, rates
):
    seen = _Rates()
    features = {"feature_tokens": ("statistics",), "n_estimators": 1, "max_epochs": 6}
    _clf(**features, **settings, callbacks=[seen]).fit(X, y)

    assert seen.rates == rates


def test_a_missing_token_takes_part_in_the_attention(X, y):
    settings = {"n_estimators": 1}
    mask, token = (_clf(**settings, missing=m).fit(X, y) for m in ("mask", "token"))

    assert not np.allclose(mask.predict_proba(X), token.predict_proba(X))
    silent = ~X.available[:, 0]
    assert (mask.explain(X)["attention"][silent, 1, 0] == 0).all()
    assert (token.explain(X)["attention"][silent, 1, 0] > 0).all()


def test_spread_and_hidden_width_reach_the_network(X, y):
    settings = {
        "feature_tokens": ("statistics",),
        "n_estimators": 1,
        "modality_dropout": 0.9,
        "max_epochs": 4,
    }
    fitted = [
        _clf(**settings, **changes).fit(X, y)
        for changes in ({}, {"modality_dropout_spread": False}, {"d_hidden": 5})
    ]

    probabilities = [clf.predict_proba(X) for clf in fitted]
    assert not np.allclose(probabilities[0], probabilities[1])
    assert fitted[2].nets_[0].module_.cross[0].experts.experts.weight_in.shape[-1] == 5


class _Batches(Callback):
    """Which modalities the held-out samples have, and the norm of the gradient of each step."""

    def on_train_begin(self, net, **kwargs):
        self.held_out, self.norms = [], []

    def on_batch_begin(self, net, batch=None, training=False, **kwargs):
        if not training:
            self.held_out.append(available_modalities(batch[0].arguments["observed"]))

    def on_grad_computed(self, net, named_parameters, **kwargs):
        gradients = [p.grad.norm() for _, p in named_parameters if p.grad is not None]
        self.norms.append(float(torch.stack(gradients).norm()))


@pytest.mark.parametrize(("spread", "most"), [(True, 0.6), (False, 0.3)])
def test_held_out_samples_are_judged_complete_and_with_lost_sensors(X, y, spread, most):
    seen = _Batches()
    settings = {"modality_dropout_spread": spread, "validation_fraction": 0.4, "calibration": None}
    _clf(feature_tokens=(), n_estimators=1, **settings, callbacks=[seen]).fit(X, y)

    available = torch.cat(seen.held_out).numpy()
    complete, lost = np.split(available, 2)
    assert complete.sum() > lost.sum()
    assert (complete | ~lost).all()
    assert lost[complete.any(1)].any(1).all()
    # Of two modalities both would be lost at the square of the rate; one of them stays.
    both = complete.all(1)
    assert abs((~lost[both]).mean() - (most - most**2 / 2)) < 0.2


def test_gradients_are_clipped_to_a_norm_of_1(X, y):
    norms = {}
    for clip in ({}, {"net_params": {"gradient_clip": None}}):
        seen = _Batches()
        settings = {"feature_tokens": (), "n_estimators": 1, "max_epochs": 3, "lr": 0.3}
        _clf(**settings, **clip, callbacks=[seen]).fit(X, y)
        norms[len(clip)] = max(seen.norms)

    assert norms[1] > 1.5
    assert norms[0] <= 1.0 + 1e-4


# What scikit-learn does to X


def test_train_test_split_keeps_panels(X, y):
    A, B, _, y_test = train_test_split(X, y, test_size=12, stratify=y, random_state=0)

    assert isinstance(A, Panel)
    assert A.shape == (36, 2)
    assert _clf().fit(X, y).score(B, y_test) >= 0


def test_cross_validate_gives_several_scores(X, y):
    scores = cross_validate(
        _clf(), X, y, cv=3, scoring=["accuracy", "neg_log_loss"], error_score="raise"
    )

    assert scores["test_accuracy"].shape == (3,)
    assert np.isfinite(scores["test_neg_log_loss"]).all()


@pytest.mark.parametrize("n_jobs", [1, 2])
def test_grid_search_over_budget_and_experts_behind_sax(X, y, n_jobs):
    pipeline = Pipeline([("sax", SAXTokenizer(alphabet_size=4)), ("clf", _clf())])
    grid = {"clf__attention_budget": ["learnt", 2.0], "clf__n_experts": [1, 2]}

    search = GridSearchCV(pipeline, grid, cv=2, n_jobs=n_jobs, error_score="raise").fit(X, y)

    assert len(search.cv_results_["params"]) == 4
    assert set(search.best_params_) == set(grid)
    assert search.predict_proba(X).shape == (48, 3)


@pytest.mark.slow
def test_grid_search_finds_the_same_in_processes(X, y):
    grid = {"n_experts": [1, 2]}

    alone, beside = (
        GridSearchCV(_clf(), grid, cv=2, n_jobs=n, scoring="neg_log_loss").fit(X, y) for n in (1, 2)
    )

    assert_array_equal(alone.cv_results_["mean_test_score"], beside.cv_results_["mean_test_score"])


def test_groups_stay_together_in_cross_validation(data):
    X, y, groups = data

    predictions = cross_val_predict(
        _clf(), X, y, groups=groups, cv=StratifiedGroupKFold(4), method="predict_proba"
    )

    assert predictions.shape == (48, 3)


def test_groups_are_routed_through_a_pipeline_into_fit(data, monkeypatch):
    X, y, groups = data
    splits = []

    def noting(strata, fraction, *, groups, **others):
        splits.append(groups)
        return split_rows(strata, fraction, groups=groups, **others)

    monkeypatch.setattr("mts_fusion.estimators._base.split_rows", noting)
    with config_context(enable_metadata_routing=True):
        clf = _clf(validation_fraction=0.3).set_fit_request(groups=True)
        pipeline = make_pipeline(PanelScaler(), clf)
        search = GridSearchCV(
            pipeline, {"maestroclassifier__n_experts": [1]}, cv=StratifiedGroupKFold(2)
        )

        search.fit(X, y, groups=groups)

    assert_array_equal(splits[-1], groups)  # of the refit


@pytest.mark.parametrize(
    ("settings", "best"),
    [({}, False), ({"patience": 3}, True), ({"calibration": None}, True)],
)
def test_weights_of_the_end_are_kept_where_a_temperature_follows(settings, best, monkeypatch):
    made = []

    class Spy(BestWeights):
        def __init__(self, patience):
            made.append(patience)
            super().__init__(patience)

    monkeypatch.setattr("mts_fusion.estimators._base.BestWeights", Spy)
    X, y = make_panel_classification(60, random_state=0)
    MaestroClassifier(
        feature_tokens=("statistics",),
        max_epochs=1,
        n_estimators=1,
        validation_fraction=0.3,
        **settings,
    ).fit(X, y)
    assert len(made) == best


@pytest.mark.parametrize("method", ["sigmoid", "temperature"])
def test_calibration_by_cross_validation(X, y, method):
    calibrated = CalibratedClassifierCV(_clf(), method=method, cv=2).fit(X, y)

    assert_allclose(calibrated.predict_proba(X).sum(1), 1.0)


@pytest.mark.parametrize("method", ["isotonic", "temperature"])
def test_calibration_of_a_frozen_one(X, y, method):
    frozen = FrozenEstimator(_clf().fit(X, y))

    calibrated = CalibratedClassifierCV(frozen, method=method).fit(X, y)

    assert_allclose(calibrated.predict_proba(X).sum(1), 1.0)


def test_voting(X, y):
    vote = VotingClassifier([("a", _clf()), ("b", _clf(n_experts=1))], voting="soft").fit(X, y)

    assert vote.predict_proba(X).shape == (48, 3)


def test_stacking(X, y):
    stack = StackingClassifier([("a", _clf())], LogisticRegression(), cv=2).fit(X, y)

    assert stack.predict(X).shape == (48,)


def test_stacking_of_regressors(X, y):
    stack = StackingRegressor([("a", MaestroRegressor(**TINY))], cv=2).fit(X, y.astype(float))

    assert stack.predict(X).shape == (48,)


def test_learning_curve(X, y):
    sizes, trained, tested = learning_curve(
        _clf(), X, y, train_sizes=[0.5, 1.0], cv=2, error_score="raise"
    )

    assert_array_equal(sizes, [12, 24])
    assert trained.shape == tested.shape == (2, 2)


def test_halving_search(X, y):
    search = HalvingGridSearchCV(
        _clf(), {"n_experts": [1, 2]}, cv=2, min_resources=24, factor=2, error_score="raise"
    ).fit(X, y)

    assert search.best_params_["n_experts"] in (1, 2)


def test_tuned_threshold(X, y):
    tuned = TunedThresholdClassifierCV(_clf(), cv=2).fit(X, y > 0)

    assert set(tuned.predict(X)) <= {False, True}


def test_one_versus_rest(X, y):
    rest = OneVsRestClassifier(_clf()).fit(X, y)

    assert rest.predict(X).shape == (48,)


def test_a_pipeline_with_a_memory_gives_the_same(X, y, tmp_path):
    memory = Memory(tmp_path, verbose=0)
    steps = [("scale", PanelScaler()), ("sax", SAXTokenizer(alphabet_size=4)), ("clf", _clf())]

    cached = [Pipeline(clone(steps, safe=False), memory=memory).fit(X, y) for _ in range(2)]
    plain = Pipeline(steps).fit(X, y)

    for pipeline in cached:
        assert_array_equal(pipeline.predict_proba(X), plain.predict_proba(X))


def test_channels_of_an_array_are_grouped_in_a_pipeline(y):
    X = np.random.default_rng(0).normal(size=(48, 3, 16))
    groups = ModalityGrouper({"acc": [0, 1], "hr": [2]}, rates={"acc": 8.0})

    scores = cross_validate(make_pipeline(groups, _clf()), X, y, cv=2, error_score="raise")

    assert scores["test_score"].shape == (2,)


def test_parallel_threads_get_their_own_networks(X, y):
    from joblib import parallel_config

    with parallel_config("threading", n_jobs=2):
        scores = cross_validate(_clf(), X, y, cv=2, scoring="neg_log_loss", error_score="raise")

    alone = cross_validate(_clf(), X, y, cv=2, scoring="neg_log_loss", error_score="raise")
    assert_array_equal(scores["test_score"], alone["test_score"])


def test_pandas_output_is_asked_of_tables_only(X, y):
    pipeline = make_pipeline(PanelScaler(), _clf())
    try:
        set_config(transform_output="pandas")
        predictions = pipeline.fit(X, y).predict(X)
    finally:
        set_config(transform_output="default")

    assert predictions.shape == (48,)


@pytest.mark.slow
def test_large_panels_are_mapped_into_the_workers(y):
    from joblib import parallel_config

    X = Panel({"acc": np.random.default_rng(0).normal(size=(48, 2, 2000))})
    clf = _clf(patch_length=500)

    with parallel_config("loky", n_jobs=2, max_nbytes=1000):
        scores = cross_validate(clf, X, y, cv=2, error_score="raise")

    assert np.isfinite(scores["test_score"]).all()


def test_a_pipeline_pickles_with_its_predictions(X, y):
    pipeline = Pipeline([("sax", SAXTokenizer(alphabet_size=4)), ("clf", _clf())]).fit(X, y)

    again = pickle.loads(pickle.dumps(pipeline))

    assert_array_equal(again.predict_proba(X), pipeline.predict_proba(X))


def test_html_shows_the_parameters(X, y):
    html = _clf(n_experts=3).fit(X, y)._repr_html_()

    assert "MaestroClassifier" in html
    assert "n_experts" in html
