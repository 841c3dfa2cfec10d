"""What every public estimator and transformer keeps to. A new one has to be added to ALL."""

import ast
import inspect
import pickle
import re
import textwrap
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO

import numpy as np
import pytest
import skops.io as skops_io
from sklearn.base import BaseEstimator, clone, is_classifier, is_regressor
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV
from sklearn.neighbors import KNeighborsClassifier
from sklearn.pipeline import make_pipeline

from mts_fusion import estimators, transforms
from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    ConditionalDiffusionImputer,
    FusionClassifier,
    FusionRegressor,
    GaussianProcessImputer,
    MaestroClassifier,
    MaestroPretrainer,
    MaestroRegressor,
    PatternRidgeClassifier,
    PatternRidgeRegressor,
    RocketFeatures,
    TraceClassifier,
    TraceRegressor,
)
from mts_fusion.nn import (
    ConditionalDiffusion,
    DiffusionSampler,
    FusionNet,
    Maestro,
    Trace,
)
from mts_fusion.panel import Panel, as_panel
from mts_fusion.persistence import load
from mts_fusion.transforms import (
    MissingnessMasker,
    ModalityGrouper,
    PanelImputer,
    PanelScaler,
    PanelSummarizer,
    SAXTokenizer,
)

TRAINING = {"max_epochs": 1, "device": "cpu", "random_state": 0}
MAESTRO = {"d_model": 8, "n_heads": 2, "n_intra_layers": 1, "n_cross_layers": 1, "n_experts": 2}
TRACE = {"d_model": 8, "d_time": 8, "n_reference": 4, "n_heads": 2, "n_layers": 1, "d_hidden": 8}
FUSION = {"d_model": 8, "n_heads": 2, "n_groups": 4}
DIFFUSION = {"d_model": 8, "n_heads": 2, "n_layers": 1, "n_encoder_layers": 1, "n_samples": 2}

# A tiny one of each, and a parameter of it with two values to search over.
ALL = {
    FusionClassifier: (FusionClassifier(**FUSION, **TRAINING), {"strategy": ["late", "hybrid"]}),
    FusionRegressor: (FusionRegressor(**FUSION, **TRAINING), {"strategy": ["late", "hybrid"]}),
    MaestroClassifier: (
        MaestroClassifier(**MAESTRO, n_estimators=1, **TRAINING),
        {"n_experts": [1, 2]},
    ),
    MaestroRegressor: (
        MaestroRegressor(**MAESTRO, n_estimators=1, **TRAINING),
        {"n_experts": [1, 2]},
    ),
    MaestroPretrainer: (
        MaestroPretrainer(
            estimator=MaestroClassifier(**MAESTRO, **TRAINING), max_epochs=1, random_state=0
        ),
        {"hidden_fraction": [0.3, 0.5]},
    ),
    TraceClassifier: (TraceClassifier(**TRACE, **TRAINING), {"n_layers": [0, 1]}),
    TraceRegressor: (TraceRegressor(**TRACE, **TRAINING), {"n_layers": [0, 1]}),
    ConditionalDiffusionImputer: (
        ConditionalDiffusionImputer(**DIFFUSION, n_steps=2, **TRAINING),
        {"n_steps": [1, 2]},
    ),
    GaussianProcessImputer: (
        GaussianProcessImputer(max_iter=3, n_scales=2, n_samples=2, random_state=0),
        {"rank": [1, 2]},
    ),
    PatternRidgeClassifier: (
        PatternRidgeClassifier(n_groups=2, n_threads=1, random_state=0),
        {"penalty": [0.1, 1.0]},
    ),
    PatternRidgeRegressor: (
        PatternRidgeRegressor(n_groups=2, n_threads=1, random_state=0),
        {"penalty": [0.1, 1.0]},
    ),
    RocketFeatures: (
        RocketFeatures(n_groups=2, random_state=0),
        {"kinds": [("statistics",), ("hydra", "statistics")]},
    ),
    MissingnessMasker: (MissingnessMasker(random_state=0), {"fraction": [0.1, 0.3]}),
    ModalityGrouper: (ModalityGrouper({"a": [0, 1], "b": [2]}), {"remainder": ["raise", "drop"]}),
    PanelImputer: (PanelImputer(), {"strategy": ["nearest", "linear"]}),
    PanelScaler: (PanelScaler(), {"method": ["standard", "robust"]}),
    PanelSummarizer: (PanelSummarizer(), {"statistics": [["mean"], ["mean", "sd"]]}),
    SAXTokenizer: (SAXTokenizer(), {"alphabet_size": [4, 8]}),
}
METHODS = [one for one, _ in ALL.values() if hasattr(one, "n_estimators")]


def _name(estimator):
    return type(estimator).__name__


EACH = pytest.mark.parametrize("estimator", [one for one, _ in ALL.values()], ids=_name)
TRAINING_PARAMETERS = [
    "optimizer",
    "lr",
    "batch_size",
    "max_epochs",
    "patience",
    "validation_fraction",
    "callbacks",
    "device",
    "precision",
    "random_state",
    "verbose",
    "n_estimators",
    "warm_start",
    "net_params",
]


@pytest.fixture(scope="module")
def data():
    """Thirty samples of two modalities; all sensors have gaps."""
    return make_panel_classification(
        n_samples=30,
        modalities={"acc": (2, 8.0), "hr": (1, 4.0)},
        n_classes=2,
        missing_fraction=0.1,
        random_state=0,
    )


@pytest.fixture(scope="module")
def printed():
    """By class, what the fit in `fitted` has printed."""
    return {}


@pytest.fixture(scope="module")
def fitted(data, printed):
    """Each estimator fitted once, for tests that only ask it."""
    models = {}

    def get(estimator):
        if type(estimator) not in models:
            with redirect_stdout(StringIO()) as out, redirect_stderr(out):
                models[type(estimator)] = clone(estimator).fit(*_takes(estimator, data))
            printed[type(estimator)] = out.getvalue()
        return models[type(estimator)]

    return get


def _takes(estimator, data):
    """X and y that suit the estimator: the grouper takes one array."""
    X, y = data
    if isinstance(estimator, ModalityGrouper):
        return np.random.default_rng(0).normal(size=(len(X), 3, 8)), y
    return X, y


def _predict(fitted, X):
    method = getattr(fitted, "predict", None) or fitted.transform
    return method(X)


def _same(first, second):
    if isinstance(first, Panel):
        return first.schema == second.schema and all(
            np.array_equal(first.values[name], second.values[name], equal_nan=name in first.schema)
            for name in first.schema.names
        )
    return np.array_equal(first, second, equal_nan=np.asarray(first).dtype.kind == "f")


def test_every_public_class_is_in_the_list():
    public = {
        getattr(package, name)
        for package in (estimators, transforms)
        for name in package.__all__
        if inspect.isclass(getattr(package, name))
    }

    assert public == set(ALL)


@EACH
def test_fit_and_predict_print_nothing_unless_asked(estimator, data, fitted, printed, capsys):
    _predict(fitted(estimator), _takes(estimator, data)[0])

    assert printed[type(estimator)] == ""
    assert capsys.readouterr() == ("", "")


@EACH
def test_who_can_show_progress_is_quiet_by_default(estimator):
    takes_time = type(estimator) in {getattr(estimators, name) for name in estimators.__all__}

    assert getattr(estimator, "verbose", None) == (0 if takes_time else None)


@EACH
def test_init_only_assigns_its_parameters(estimator):
    tree = ast.parse(textwrap.dedent(inspect.getsource(type(estimator).__init__)))
    body = [s for s in tree.body[0].body if not isinstance(s, ast.Expr)]

    assert [ast.unparse(s) for s in body] == [f"self.{p} = {p}" for p in _parameters(estimator)]


def _parameters(estimator):
    return [p for p in inspect.signature(type(estimator).__init__).parameters if p != "self"]


@EACH
def test_parameters_are_explicit(estimator):
    signature = inspect.signature(type(estimator).__init__)
    kinds = {p.kind for name, p in signature.parameters.items() if name not in ("self", "groups")}

    assert kinds == {inspect.Parameter.KEYWORD_ONLY}


@EACH
def test_parameters_are_documented(estimator):
    doc = inspect.getdoc(type(estimator))
    parameters = doc.split("Parameters\n----------")[1].split("\n\nAttributes\n")[0]

    heads = re.findall(r"^(\w+(?:, \w+)*)(?: :|$)", parameters, re.MULTILINE)
    assert {name for head in heads for name in head.split(", ")} == set(_parameters(estimator))


@EACH
def test_clone_has_the_same_parameters(estimator):
    copy = clone(estimator)

    assert copy is not estimator
    assert repr(copy.get_params()) == repr(estimator.get_params())


@EACH
def test_parameters_are_set_by_name(estimator):
    name, values = next(iter(ALL[type(estimator)][1].items()))

    changed = clone(estimator).set_params(**{name: values[1]})

    assert changed.get_params()[name] == values[1]
    with pytest.raises(ValueError, match="Invalid parameter 'nonsense'"):
        changed.set_params(nonsense=1)


@EACH
def test_asking_before_fit_is_refused(estimator, data):
    X, _ = _takes(estimator, data)

    with pytest.raises(NotFittedError):
        _predict(clone(estimator), X)


@pytest.mark.parametrize("method", METHODS, ids=_name)
def test_explain_before_fit_is_refused(method, data):
    with pytest.raises(NotFittedError):
        clone(method).explain(data[0])


@EACH
def test_pickle_and_a_second_fit_give_the_same_bits(estimator, data, fitted):
    X, y = _takes(estimator, data)
    expected = _predict(fitted(estimator), X)

    assert _same(_predict(pickle.loads(pickle.dumps(fitted(estimator))), X), expected)
    assert _same(_predict(clone(estimator).fit(X, y), X), expected)


@EACH
def test_a_saved_file_gives_the_same_bits(estimator, data, fitted, tmp_path):
    X, _ = _takes(estimator, data)
    model = fitted(estimator)

    model.save(tmp_path / "model")
    loaded = load(tmp_path / "model")

    assert type(loaded) is type(model)
    assert repr(loaded) == repr(model)
    assert _same(_predict(loaded, X), _predict(model, X))


@EACH
def test_skops_alone_gives_the_same_bits(estimator, data, fitted):
    X, _ = _takes(estimator, data)
    stored = skops_io.dumps(fitted(estimator))

    loaded = skops_io.loads(stored, trusted=skops_io.get_untrusted_types(data=stored))

    assert _same(_predict(loaded, X), _predict(fitted(estimator), X))


@EACH
def test_fit_leaves_parameters_and_data_alone(estimator, data):
    X, y = _takes(estimator, data)
    before = pickle.dumps(X), repr(estimator.get_params())
    fitted = clone(estimator)

    assert fitted.fit(X, y) is fitted

    assert (pickle.dumps(X), repr(fitted.get_params())) == before


@EACH
def test_an_absent_modality_is_silent_and_the_order_does_not_matter(estimator, data, fitted):
    X, _ = _takes(estimator, data)
    model = fitted(estimator)
    if isinstance(estimator, ModalityGrouper):
        with pytest.raises(ValueError, match="Modality 'series' has 2 channels, but 3 were seen"):
            _predict(model, X[:, :2])
        return
    silent = X.replace(values={"hr": np.full_like(X.values["hr"], np.nan)})

    assert _same(_predict(model, X.drop("hr")), _predict(model, silent))
    assert _same(_predict(model, X.select(["hr", "acc"])), _predict(model, X))


# Times at which nothing was observed are those at which an imputer may be asked for values. What
# masks, groups and scales has nothing that goes by position.
KEEP_EMPTY_TIMEPOINTS = (
    ConditionalDiffusionImputer,
    GaussianProcessImputer,
    PanelImputer,
    MissingnessMasker,
    ModalityGrouper,
    PanelScaler,
)
LEAVE_THEM_OUT = {
    type(one).__name__: one for one, _ in ALL.values() if not isinstance(one, KEEP_EMPTY_TIMEPOINTS)
} | {
    "TraceClassifier": TraceClassifier(imputer=None, **TRACE, **TRAINING),
    "TraceRegressor": TraceRegressor(imputer=None, **TRACE, **TRAINING),
    "missing token": MaestroClassifier(missing="token", max_tokens=4, **MAESTRO, **TRAINING),
    "symbols": make_pipeline(
        SAXTokenizer(segment_length={"acc": 1, "hr": 3}), MaestroClassifier(**MAESTRO, **TRAINING)
    ),
    "recurrent": FusionClassifier(encoder="gru", **FUSION, **TRAINING),
    "trees": PatternRidgeClassifier(head="boosting", n_groups=2, n_threads=1, random_state=0),
}

# Where a time is put in, from those of a sample and random numbers.
PLACES = {
    "front": lambda own, draws: own[:1] - 1 - draws,
    "middle": lambda own, draws: own[len(own) // 2 :][:1] - 1e-3 * draws,
    "end": lambda own, draws: own[-1:] + draws,
    "anywhere": lambda own, draws: own[0] - 1 + draws * (own[-1] - own[0] + 2),
}


@pytest.fixture(scope="module")
def with_irregular():
    """Thirty samples of a regular and an irregular modality, which has gaps of single channels."""
    X, y = make_panel_classification(
        n_samples=30,
        modalities={"acc": (2, 8.0), "hr": (2, 8.0)},
        irregular=("hr",),
        n_classes=2,
        missing_fraction=0.2,
        missing_modality_fraction=0.2,
        random_state=0,
    )
    values, given = X.values["hr"].copy(), ~np.isnan(X.times["hr"])
    given &= X.available[:, 1:]  # of a silent sensor nothing is observed
    values[:, 0] = np.where(given & np.isnan(values).all(1), 0.0, values[:, 0])
    return X.replace(values={"hr": values}), y


def _with_empty_timepoints(X, n_empty, place):
    """X with so many more times of each sample, at which nothing was observed."""
    given = ~np.isnan(X.times["hr"])
    length = max(given.shape[1], (given.sum(1) + n_empty).max())
    times = np.full((len(X), length), np.nan)
    values = np.full((len(X), 2, length), np.nan)
    rng = np.random.default_rng(0)
    for i, n in enumerate(n_empty):
        own = X.times["hr"][i, given[i]]
        more = PLACES[place](own if len(own) else np.zeros(1), np.sort(rng.random(n)))
        order = np.argsort(np.concatenate([own, more]), kind="stable")
        times[i, : len(order)] = np.concatenate([own, more])[order]
        with_more = np.pad(X.values["hr"][i][:, given[i]], ((0, 0), (0, n)), constant_values=np.nan)
        values[i, :, : len(order)] = with_more[:, order]
    return X.replace(values={"hr": values}, times={"hr": times})


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=[pytest.mark.slow] * (name == "trees")) for name in LEAVE_THEM_OUT],
)
def test_times_at_which_nothing_was_observed_change_no_bit(name, with_irregular):
    X, y = with_irregular
    estimator, rng = LEAVE_THEM_OUT[name], np.random.default_rng(0)
    model = clone(estimator).fit(X, y)
    answer = _predict if not hasattr(model, "predict_proba") else type(model).predict_proba
    wanted = answer(model, X)
    several = rng.integers(4, size=len(X))
    for place in PLACES:
        assert _same(answer(model, _with_empty_timepoints(X, several, place)), wanted), place
    longest = (~np.isnan(X.times["hr"])).sum(1).argmax()
    of_one = 2 * (np.arange(len(X)) == longest)
    assert _same(answer(model, _with_empty_timepoints(X, of_one, "anywhere")), wanted)

    again = clone(estimator).fit(_with_empty_timepoints(X, several, "anywhere"), y)
    assert _same(answer(again, X), wanted)


@pytest.mark.parametrize("imputer", [PanelImputer(), GaussianProcessImputer(max_iter=2)])
def test_imputers_fill_times_at_which_nothing_was_observed(imputer, with_irregular):
    X, y = with_irregular
    more = _with_empty_timepoints(X, np.full(len(X), 1), "middle")
    model = TraceClassifier(imputer=imputer, **TRACE, **TRAINING).fit(X, y)

    filled = model.imputer_.transform(more).values["hr"]
    read = model._panels(more)[0]

    working = X.available[:, 1]
    assert filled.shape[2] == read.schema["hr"].n_timepoints == X.schema["hr"].n_timepoints + 1
    n_values = (~np.isnan(read.values["hr"][working])).any(1).sum(1)
    assert (n_values == (~np.isnan(more.times["hr"][working])).sum(1)).all()


@EACH
@pytest.mark.filterwarnings("ignore:Modality 'acc' has")
def test_fewer_timepoints_than_in_fit_are_missing_at_the_end(estimator, data, fitted):
    # The diffusion imputer fills in the timepoints that X has, and what it draws depends on those.
    if isinstance(estimator, (ModalityGrouper, ConditionalDiffusionImputer)):
        return
    X, model = data[0], fitted(estimator)
    acc = X.values["acc"]
    half = acc.shape[2] // 2
    padded = acc.copy()
    padded[:, :, half:] = np.nan

    short = _predict(model, X.replace(values={"acc": acc[:, :, :half]}))
    whole = _predict(model, X.replace(values={"acc": padded}))

    if isinstance(short, Panel):
        short, whole = short.values["acc"], whole.values["acc"]
        whole = whole[:, :, : short.shape[2]]
    assert np.isfinite(short).any()
    np.testing.assert_allclose(short, whole, atol=1e-6)


@EACH
def test_a_modality_unknown_in_fit_is_named(estimator, fitted):
    model = fitted(estimator)
    names = list(model.schema_.names)
    other = {name: np.zeros((3, 1, 4)) for name in [*names, "gyro"]}

    message = (
        f"{type(estimator).__name__} was fitted on the modalities {names}, but X came "
        f"with ['gyro']. Select them with X.select({names})."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        _predict(model, other)


@EACH
def test_strict_refuses_what_is_absent(estimator, data, fitted):
    X, _ = _takes(estimator, data)
    model = fitted(estimator)
    if isinstance(estimator, ModalityGrouper):
        return

    message = (
        f"{type(estimator).__name__} was fitted on the modalities ['acc', 'hr'], but X came "
        "without ['hr']. Add silent ones with X.align(schema)."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        as_panel(X.drop("hr"), schema=model, strict=True)


@EACH
def test_a_panel_of_no_sample_is_refused(estimator, data):
    X, y = _takes(estimator, data)

    with pytest.raises(ValueError, match=r"Found array with 0 sample\(s\).*the panel is empty"):
        clone(estimator).fit(X[:0], y[:0])


@EACH
def test_grid_search_reaches_through_a_pipeline(estimator, data):
    X, y = _takes(estimator, data)
    last = clone(estimator)
    steps = [last]
    if not (is_classifier(estimator) or is_regressor(estimator)):
        summary = (
            [] if isinstance(estimator, (PanelSummarizer, RocketFeatures)) else [PanelSummarizer()]
        )
        steps = [last, *summary, _Filled(), KNeighborsClassifier(1)]
    pipeline = make_pipeline(*steps)
    name = pipeline.steps[0][0]
    grid = {f"{name}__{key}": values for key, values in ALL[type(estimator)][1].items()}

    search = GridSearchCV(pipeline, grid, cv=2, error_score="raise").fit(X, y)

    assert np.isfinite(search.cv_results_["mean_test_score"]).all()
    assert len(search.predict(X)) == len(y)


class _Filled(BaseEstimator):
    """Statistics with 0 where a sensor was silent."""

    def fit(self, X, y=None):
        self.fitted_ = True
        return self

    def transform(self, X):
        return np.nan_to_num(X)


@pytest.mark.parametrize("parameter", TRAINING_PARAMETERS)
def test_training_parameters_have_one_default(parameter):
    defaults = {
        repr(inspect.signature(type(method).__init__).parameters[parameter].default)
        for method in METHODS
    }

    assert len(defaults) == 1


@pytest.mark.parametrize(
    ("estimator", "network"),
    [
        (MaestroClassifier, Maestro),
        (TraceClassifier, Trace),
        (FusionClassifier, FusionNet),
        (ConditionalDiffusionImputer, ConditionalDiffusion),
        (ConditionalDiffusionImputer, DiffusionSampler),
    ],
)
def test_a_parameter_has_one_default_in_estimator_and_network(estimator, network):
    ours, theirs = (inspect.signature(cls.__init__).parameters for cls in (estimator, network))
    other_meaning = ("self", "batch_size")  # samples a step, and draws at a time

    differ = [
        f"{name}: {ours[name].default!r} and {theirs[name].default!r}"
        for name in ours
        if name in theirs
        and name not in other_meaning
        and ours[name].default not in ("auto", theirs[name].default)
    ]

    assert differ == []


@pytest.mark.parametrize("method", METHODS, ids=_name)
def test_explain_or_sample_has_a_row_a_sample(method, data, fitted):
    X, model = data[0], fitted(method)
    if isinstance(method, ConditionalDiffusionImputer):
        assert {len(one) for one in model.sample(X[:4])} == {4}
        return

    record = model.explain(X[:4])

    assert record
    assert {len(part) for part in record.values()} == {4}


@pytest.mark.parametrize("method", METHODS, ids=_name)
def test_predictions_without_any_sensor_are_finite(method, data, fitted):
    X, model = data[0], fitted(method)
    silent = Panel(
        {name: np.full_like(part[:2], np.nan) for name, part in X.values.items()},
        rates={m.name: m.rate for m in X.schema},
    )

    if isinstance(method, ConditionalDiffusionImputer):
        assert all(np.isfinite(part).all() for part in model.transform(silent).values.values())
    else:
        assert np.isfinite(getattr(model, "predict_proba", model.predict)(silent)).all()


PREDICTORS = [one for one, _ in ALL.values() if is_classifier(one) or is_regressor(one)]


@pytest.mark.parametrize("estimator", PREDICTORS, ids=_name)
def test_without_any_sensor_the_answer_is_that_of_all_training_samples(estimator, data):
    X, y = data
    weight = np.where(y == 0, 3.0, 1.0)
    target = y if is_classifier(estimator) else 40.0 + 2 * y
    model = clone(estimator).fit(X, target, sample_weight=weight)
    one_left = X[:3].replace(values={"hr": np.full_like(X.values["hr"][:3], np.nan)})
    values = {name: part.copy() for name, part in one_left.values.items()}
    values["acc"][1] = np.nan

    mixed = one_left.replace(values=values)

    answer = getattr(model, "predict_proba", model.predict)
    share = np.average(y, weights=weight)
    expected = [1 - share, share] if is_classifier(estimator) else 40 + 2 * share
    np.testing.assert_allclose(answer(mixed)[1], expected, rtol=1e-6)
    np.testing.assert_array_equal(answer(mixed)[[0, 2]], answer(one_left)[[0, 2]])
    if is_classifier(estimator):
        assert model.predict(mixed)[1] == int(share > 0.5)
    if hasattr(model, "predict_uncertainty") and is_classifier(estimator):
        parts = model.predict_uncertainty(mixed)
        entropy = -(expected * np.log(expected)).sum()
        assert parts["epistemic"][1] == pytest.approx(0, abs=1e-9)
        assert parts["total"][1] == pytest.approx(entropy)
