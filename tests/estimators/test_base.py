"""PanelEstimator: targets, weights, the inner split, interruptions, and every bad input."""

import pickle
import re
import signal
import threading
import warnings
from copy import deepcopy
from typing import ClassVar

import joblib
import numpy as np
import pytest
import torch
from joblib import Parallel, delayed
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.base import clone
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline
from skorch.callbacks import Callback, Checkpoint, EarlyStopping, EpochScoring, LRScheduler

from mts_fusion.datasets import make_panel_classification, make_panel_regression
from mts_fusion.estimators import MaestroClassifier, MaestroRegressor
from mts_fusion.panel import Panel, as_panel
from mts_fusion.training import Multiclass, PanelNet
from mts_fusion.transforms import SAXTokenizer

TINY = {
    "d_model": 8,
    "n_heads": 2,
    "n_intra_layers": 1,
    "n_cross_layers": 1,
    "n_experts": 2,
    "n_estimators": 1,
    "batch_size": 16,
    "max_epochs": 1,
    "validation_fraction": 0.1,
    "device": "cpu",
    "random_state": 0,
}
SENSORS = {"acc": (2, 8.0), "hr": (1, 4.0)}


def _clf(**parameters):
    return MaestroClassifier(**{**TINY, **parameters})


def _reg(**parameters):
    return MaestroRegressor(**{**TINY, **parameters})


@pytest.fixture(scope="module")
def data():
    """Forty samples, three classes, one sensor in ten silent, and their subjects."""
    return make_panel_classification(
        n_samples=40,
        modalities=SENSORS,
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


@pytest.fixture(scope="module")
def fitted(X, y):
    return _clf().fit(X, y)


def _weights(estimator):
    return [v.clone() for net in estimator.nets_ for v in net.module_.state_dict().values()]


def _same(first, second):
    return all(torch.equal(a, b) for a, b in zip(first, second, strict=True))


class NoteRows(Callback):
    """Stores the rows of training and validation, and calls ``act(net)`` after each epoch."""

    rows: ClassVar[dict] = {}

    def __init__(self, act=None):
        self.act = act

    def on_epoch_begin(self, net, dataset_train=None, dataset_valid=None, **kwargs):
        NoteRows.rows = {
            "training": np.asarray(dataset_train.rows),
            "validation": None if dataset_valid is None else np.asarray(dataset_valid.rows),
        }

    def on_epoch_end(self, net, **kwargs):
        if self.act is not None:
            self.act(net)


def _raises(error, message):
    return pytest.raises(error, match=re.escape(message))


# Targets


def test_labels_may_be_strings(X, y):
    words = np.array(["run", "sit", "walk"])[y]

    clf = _clf().fit(X, words)

    assert_array_equal(clf.classes_, ["run", "sit", "walk"])
    assert set(clf.predict(X)) <= set(words)
    assert 0 <= clf.score(X, words) <= 1


def test_labels_of_words_and_of_numbers_give_the_same_probabilities(X, y):
    words = np.array(["a", "b", "c"])[y]

    assert_array_equal(
        _clf().fit(X, y).predict_proba(X), _clf().fit(X, list(words)).predict_proba(X)
    )


def test_probabilities_and_scores_agree(fitted, X):
    p, scores = fitted.predict_proba(X), fitted.decision_function(X)

    assert_allclose(p.sum(1), 1.0)
    assert_array_equal(fitted.classes_[scores.argmax(1)], fitted.predict(X))
    assert_allclose(np.exp(scores), p)


def test_two_classes_have_one_score(X, y):
    clf = _clf().fit(X, y == 1)

    scores = clf.decision_function(X)

    assert scores.shape == (40,)
    assert_array_equal(scores > 0, clf.predict(X))


def test_any_number_of_labels_a_sample(X, y):
    labels = np.stack([y == 0, y > 0, y < 2], axis=1).astype(int)

    clf = _clf().fit(X, labels)

    assert clf.predict(X).shape == (40, 3)
    assert set(np.unique(clf.predict(X))) <= {0, 1}
    assert ((clf.predict_proba(X) > 0.5) == clf.predict(X)).all()
    assert clf.decision_function(X).shape == (40, 3)


@pytest.mark.parametrize("n_targets", [1, 2])
def test_one_or_several_numbers_a_sample(n_targets):
    X, y = make_panel_regression(
        n_samples=24, modalities=SENSORS, n_targets=n_targets, random_state=0
    )

    reg = _reg().fit(X, 1000 + y)

    assert reg.predict(X).shape == y.shape
    assert abs(reg.predict(X).mean() - 1000) < 10


def test_a_column_of_targets_is_flattened_with_a_warning(X, y):
    with pytest.warns(UserWarning, match="column-vector"):
        clf = _clf().fit(X, y[:, None])

    assert clf.predict(X).shape == (40,)


# Weights


def test_class_weights_are_those_of_the_samples(X, y):
    by_class = _clf(class_weight={0: 1.0, 1: 1.0, 2: 0.0}).fit(X, y)
    by_sample = _clf().fit(X, y, sample_weight=(y != 2).astype(float))

    assert_array_equal(by_class.predict_proba(X), by_sample.predict_proba(X))
    assert not np.array_equal(by_class.predict_proba(X), _clf().fit(X, y).predict_proba(X))


def test_balanced_weights_are_weights_of_the_samples(X, y):
    rows = np.flatnonzero((y == 0) | (np.arange(40) % 3 == 0))
    X, y = X[rows], y[rows]
    weight = len(y) / (3 * np.bincount(y))[y]

    balanced = _clf(class_weight="balanced").fit(X, y)
    weighted = _clf().fit(X, y, sample_weight=weight)

    assert_allclose(balanced.predict_proba(X), weighted.predict_proba(X), atol=1e-6)


@pytest.mark.parametrize("make", [_clf, _reg])
def test_a_weight_of_0_is_leaving_out(X, y, make):
    outlier = np.arange(40) % 8 == 7
    values = {name: x.copy() for name, x in X.values.items()}
    values["acc"][outlier] *= 1e6
    spoilt = X.replace(values=values)
    target = np.where(outlier, 0, y) if make is _clf else np.where(outlier, 1e9, y)
    groups = np.arange(40) % 5

    settings = {"validation_fraction": 0.4}
    weighted = make(**settings).fit(spoilt, target, np.where(outlier, 0.0, 2.0), groups)
    kept = make(**settings).fit(X[~outlier], target[~outlier], groups=groups[~outlier])

    assert weighted.n_training_ == kept.n_training_
    assert_array_equal(weighted.predict(X), kept.predict(X))
    assert _same(_weights(weighted), _weights(kept))
    if make is _clf:
        assert_array_equal(weighted.temperature_, kept.temperature_)


def test_the_scale_of_weights_does_not_matter(X, y):
    weight = np.linspace(1, 2, 40)

    first, second = (_clf().fit(X, y, sample_weight=w) for w in (weight, 8 * weight))

    assert_array_equal(first.predict_proba(X), second.predict_proba(X))


@pytest.mark.parametrize(
    ("weight", "message"), [(0.0, "at least one non-zero number"), (-1.0, "with a positive sum")]
)
def test_class_weights_without_a_positive_sum_are_refused(X, y, weight, message):
    with pytest.raises(ValueError, match=message):
        _clf(class_weight=dict.fromkeys(range(3), weight)).fit(X, y)


def test_class_weights_are_for_classifiers(X, y):
    with _raises(ValueError, "class_weight is for classifiers; set class_weight=None."):
        _reg(class_weight="balanced").fit(X, y.astype(float))


# The inner split


def test_the_inner_split_is_stratified(X, y):
    _clf(validation_fraction=0.3, callbacks=[NoteRows()]).fit(X, y)

    validation = np.unique(NoteRows.rows["validation"])
    assert len(validation) == 12
    assert_array_equal(np.bincount(y[validation]), [4, 4, 4])
    assert not set(validation) & set(NoteRows.rows["training"])


def test_the_inner_split_keeps_groups_whole(data):
    X, y, groups = data

    _clf(validation_fraction=0.3, callbacks=[NoteRows()]).fit(X, y, groups=groups)

    held_out, trained = (set(groups[NoteRows.rows[key]]) for key in ("validation", "training"))
    assert held_out
    assert not held_out & trained
    assert held_out | trained == set(groups)


def test_too_few_samples_are_all_trained_on(X, y):
    _clf(validation_fraction=0.2, callbacks=[NoteRows()]).fit(X, y)

    assert NoteRows.rows["validation"] is None
    assert len(NoteRows.rows["training"]) == 40


def test_a_class_of_a_single_subject_is_trained_on(X, y):
    groups = np.where(y == 2, 9, np.arange(40) % 3)

    for seed in range(3):
        clf = _clf(validation_fraction=0.3, callbacks=[NoteRows()], random_state=seed)
        clf.fit(X, y, groups=groups)
        assert set(y[NoteRows.rows["training"]]) == {0, 1, 2}


def test_one_group_cannot_be_split(X, y):
    message = (
        "The inner validation split keeps groups whole, but groups names only one. Pass no groups, "
        "or set validation_fraction=0."
    )
    with _raises(ValueError, message):
        _clf(validation_fraction=0.3).fit(X, y, groups=np.zeros(40))


# Calibration


def test_without_groups_sharpening_has_a_cost(X, y, monkeypatch):
    costs = []

    def calibrate(self, prediction, target, missing, *, weight, sharpening_cost):
        costs.append(sharpening_cost)

    monkeypatch.setattr(Multiclass, "calibrate", calibrate)
    settings = {"validation_fraction": 0.3}
    _clf(**settings).fit(X, y)
    _clf(**settings).fit(X, y, groups=np.arange(len(y)) // 4)
    _clf(calibration="temperature", **settings).fit(X, y)
    assert costs == [0.05, 0.0, 0.0]


def test_patience_holds_samples_out(X, y):
    X, y = X[np.arange(120) % 40], y[np.arange(120) % 40]  # 12 of them
    clf = _clf(patience=1, validation_fraction="auto", n_estimators=1).fit(X, y)

    assert clf.n_training_ < 120
    assert "valid_loss" in clf.history_[0][0]


@pytest.mark.parametrize(
    ("settings", "smoothing"),
    [({}, 0.05), ({"calibration": None}, 0.0), ({"validation_fraction": 0.0}, 0.0)],
)
def test_labels_are_smoothed_where_a_temperature_follows(X, y, settings, smoothing):
    X, y = X[np.arange(500) % 40], y[np.arange(500) % 40]
    settings = {"n_estimators": 1, "batch_size": 500, "label_smoothing": "auto", **settings}
    assert _clf(**settings).fit(X, y)._task.label_smoothing == smoothing


def test_features_learn_from_the_training_samples_alone(X, y):
    clf = _clf(validation_fraction=0.3, callbacks=[NoteRows()]).fit(X, y)
    panel, again = clf.preprocessor_.transform(X), deepcopy(clf.features_)

    learnt = clf.features_.transform(panel)
    again.fit_transform(panel, NoteRows.rows["training"])
    for ours, theirs in zip(learnt, again.transform(panel), strict=True):
        assert_array_equal(ours, theirs)
    again.fit_transform(panel)
    for ours, others in zip(learnt, again.transform(panel), strict=True):
        assert not np.array_equal(ours, others, equal_nan=True)


def test_temperature_is_learnt_from_held_out_samples(X, y):
    plain = _clf(validation_fraction=0.3, calibration=None).fit(X, y)
    scaled = _clf(validation_fraction=0.3, calibration="temperature").fit(X, y)

    assert_array_equal(plain.temperature_, np.ones(2))
    assert (scaled.temperature_ != 1.0).any()
    assert_array_equal(plain.predict(X), scaled.predict(X))


def test_a_temperature_at_its_bound_is_said(X, y, monkeypatch):
    monkeypatch.setattr(
        Multiclass,
        "calibrate",
        lambda self, *_, **__: setattr(self, "temperature", np.array([20.0, 1.0])),
    )
    with pytest.warns(UserWarning, match=r"The temperature of the calibration is \[20.0, 1.0\]"):
        _clf(validation_fraction=0.3).fit(X, y)


def test_calibration_without_held_out_samples_is_refused(X, y):
    message = (
        "calibration='temperature' needs held-out samples of every class, but the inner validation "
        "split (validation_fraction=0.1) is empty. Raise validation_fraction, give more samples, "
        "or set calibration='auto'."
    )
    with _raises(ValueError, message):
        _clf(calibration="temperature").fit(X, y)


def test_calibration_is_refused_before_the_training(X, y, monkeypatch):
    monkeypatch.setattr(PanelNet, "train", lambda *_: pytest.fail("trained"))
    for target in (y, np.eye(3, dtype=int)[y]):
        with pytest.raises(ValueError, match="calibration='temperature'"):
            _clf(calibration="temperature").fit(X, target)


def test_calibration_of_labels_is_refused(X, y):
    message = (
        "calibration='temperature' is for one class a sample, but y holds labels. Set "
        "calibration=None."
    )
    with _raises(ValueError, message):
        _clf(calibration="temperature").fit(X, np.eye(3, dtype=int)[y])


# The same bits


def _fit_and_predict(X, y):
    return _clf(n_estimators=2, validation_fraction=0.3).fit(X, y).predict_proba(X)


@pytest.fixture
def two_threads():
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


def test_threads_give_the_same_bits(X, y):
    expected = _fit_and_predict(X, y)

    result = Parallel(n_jobs=2, backend="threading")(
        delayed(_fit_and_predict)(X, y) for _ in range(2)
    )

    for one in result:
        assert_array_equal(one, expected)


def test_processes_give_the_same_bits(X, y, two_threads):
    expected = _clf(validation_fraction=0.3).fit(X, y)

    predictions = Parallel(n_jobs=2, backend="loky")(
        delayed(type(expected).predict_proba)(one, X)
        for one in Parallel(n_jobs=2, backend="loky")(
            delayed(type(expected).fit)(_clf(validation_fraction=0.3), X, y) for _ in range(2)
        )
    )

    for one in predictions:
        assert_array_equal(one, expected.predict_proba(X))


def test_more_threads_of_torch_change_no_bit(X, y, two_threads):
    result = _fit_and_predict(X, y)
    torch.set_num_threads(1)

    assert_array_equal(result, _fit_and_predict(X, y))


def test_another_thread_that_draws_changes_no_bit(X, y):
    expected = _fit_and_predict(X, y)
    stop = threading.Event()

    def draw():
        while not stop.wait(0.001):
            torch.rand(10), np.random.rand(10)  # noqa: NPY002

    thread = threading.Thread(target=draw)
    thread.start()
    try:
        result = _fit_and_predict(X, y)
    finally:
        stop.set()
        thread.join()

    assert_array_equal(result, expected)


def test_fit_leaves_the_global_generators_alone(X, y):
    state, words = torch.get_rng_state(), np.random.get_state()[1]  # noqa: NPY002

    _clf().fit(X, y).predict(X)

    assert_array_equal(torch.get_rng_state(), state)
    assert_array_equal(np.random.get_state()[1], words)  # noqa: NPY002


def test_another_seed_gives_other_weights(X, y, fitted):
    assert not _same(_weights(_clf(random_state=1).fit(X, y)), _weights(fitted))


def test_a_random_state_is_drawn_from(X, y):
    state = np.random.RandomState(0)

    first, second = (_weights(_clf(random_state=state).fit(X, y)) for _ in range(2))

    assert not _same(first, second)


def test_a_sample_has_the_same_answer_in_any_batch(fitted, X):
    together = fitted.predict_proba(X)
    order = np.random.default_rng(0).permutation(40)

    assert_array_equal(fitted.predict_proba(X[order]), together[order])
    for rows in (list(range(16)), list(range(7, 39))):  # batches of 16 rows have the same bits
        assert_array_equal(fitted.predict_proba(X[rows]), together[rows])
    for rows in ([0], [3, 17], list(range(23))):  # others differ by rounding (decision 24)
        assert_allclose(fitted.predict_proba(X[rows]), together[rows], rtol=0, atol=1e-6)


# Ensembles, and warm start


def test_predictions_of_several_networks_are_averaged(X, y):
    clf = _clf(n_estimators=2).fit(X, y)

    (panel,) = clf._panels(X)
    each = [clf._task.link(net.predict_raw(clf._datasets(panel))) for net in clf.nets_]

    assert len(clf.history_) == 2
    assert not np.array_equal(*each)
    assert_allclose(clf.predict_proba(X), np.mean(each, axis=0))


def test_warm_start_continues_from_the_last_weights(X, y):
    clf = _clf(warm_start=True, max_epochs=2).fit(X, y)
    before, p = clf.history_[0], clf.predict_proba(X)

    clf.set_params(lr=1e-12).fit(X, y)

    assert_allclose(clf.predict_proba(X), p, atol=1e-5)
    assert len(clf.history_[0]) == 4
    assert clf.history_[0][:2] == before
    assert clf.n_iter_ == 4


def test_without_warm_start_fit_starts_anew(X, y):
    clf = _clf().fit(X, y)
    first = _weights(clf)

    assert _same(_weights(clf.fit(X, y)), first)


def test_every_network_continues_after_an_early_stop(X, y):
    clf = _clf(
        warm_start=True, n_estimators=2, max_epochs=4, patience=1, validation_fraction=0.3, lr=0.5
    )

    clf.fit(X, y).fit(X, y)

    assert len(clf.nets_) == 2


def test_warm_start_takes_the_parameters_and_rows_of_now(X, y):
    rates = []

    class NoteRates(Callback):
        def on_batch_end(self, net, training, **kwargs):
            if training:
                rates.append(net.optimizer_.param_groups[0]["lr"])

    clf = _clf(warm_start=True, n_estimators=1, validation_fraction=0, callbacks=[NoteRates()])
    clf.fit(X[:20], y[:20])
    first = clf.predict_proba(X)
    rates.clear()

    clf.set_params(lr=0.5, max_epochs=2, n_estimators=2).fit(X, y)

    assert len(clf.nets_) == 2
    assert [len(losses) for losses in clf.history_] == [3, 2]
    assert len(rates) == 2 * 2 * 3  # networks, epochs, batches of 16
    assert min(rates) > 0
    assert max(rates) > 0.4
    assert (clf.predict_proba(X) != first).any()


def test_warm_start_on_rows_of_which_none_are_held_out(X, y):
    clf = _clf(warm_start=True, patience=1, validation_fraction=0.3).fit(X, y)

    with pytest.warns(UserWarning, match="patience=1 has no effect: none of the 12 samples are"):
        clf.fit(X[:12], y[:12])

    assert clf.n_iter_ == 2


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"d_model": 16}, "now has another shape"),
        ({"n_estimators": 1}, "continues with the 2 networks of the last fit, but n_estimators=1"),
    ],
)
def test_warm_start_of_other_networks_is_refused(X, y, change, message):
    clf = _clf(warm_start=True, n_estimators=2).fit(X, y)
    p = clf.predict_proba(X)

    with pytest.raises(ValueError, match=message):
        clf.set_params(**change).fit(X, y)

    assert_array_equal(clf.predict_proba(X), p)


def test_warm_start_with_other_classes_is_refused(X, y):
    clf = _clf(warm_start=True).fit(X, y)
    message = (
        "warm_start continues with the classes [0, 1, 2] of the first fit, but y has [7]. Set "
        "warm_start=False to start anew."
    )
    with _raises(ValueError, message):
        clf.fit(X, np.where(y == 0, 7, y))


def test_warm_start_with_other_targets_is_refused(X, y):
    reg = _reg(warm_start=True).fit(X, y.astype(float))
    message = (
        "warm_start continues with the 1 targets of the first fit, but y has the shape (40, 2)"
    )
    with _raises(ValueError, message):
        reg.fit(X, np.stack([y, y], axis=1).astype(float))


# The loop


def _interrupt_in(epoch):
    def act(net):
        if len(net.history) == epoch:
            raise KeyboardInterrupt

    return act


@pytest.mark.parametrize("validation_fraction", [0.0, 0.3])
def test_ctrl_c_goes_on_and_leaves_a_fitted_estimator(X, y, validation_fraction):
    clf = _clf(
        n_estimators=2,
        max_epochs=9,
        validation_fraction=validation_fraction,
        callbacks=[NoteRows(_interrupt_in(2))],
    )
    message = r"The fit of MaestroClassifier was interrupted in epoch 3 of network 1\."
    with pytest.warns(UserWarning, match=message), pytest.raises(KeyboardInterrupt):
        clf.fit(X, y)

    assert (clf.n_iter_, len(clf.nets_)) == (2, 1)
    assert np.isfinite(clf.predict_proba(X)).all()
    assert len(clf.explain(X))


@pytest.fixture
def python_handles_ctrl_c():
    """The handler of Python, also where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("python_handles_ctrl_c")
def test_ctrl_c_in_the_first_batch_leaves_a_fitted_estimator(X, y):
    class AtOnce(Callback):
        def on_batch_begin(self, net, **kwargs):
            signal.raise_signal(signal.SIGINT)

    clf = _clf(callbacks=[AtOnce()], validation_fraction=0.3)
    with (
        pytest.warns(UserWarning, match="interrupted in epoch 1"),
        pytest.raises(KeyboardInterrupt),
    ):
        clf.fit(X, y)

    assert np.isfinite(clf.predict_proba(X)).all()


def test_ctrl_c_ends_a_search(X, y):
    clf = _clf(callbacks=[NoteRows(_interrupt_in(1))])
    with pytest.warns(UserWarning, match="interrupted"), pytest.raises(KeyboardInterrupt):
        cross_val_score(clf, X, y, cv=2)


def test_early_stopping_of_skorch_is_no_ctrl_c(X, y):
    stop = EarlyStopping(monitor="train_loss", patience=1, threshold=1e9, threshold_mode="abs")
    clf = _clf(n_estimators=2, max_epochs=9, callbacks=[stop]).fit(X, y)

    assert clf.n_iter_ < 9
    assert len(clf.nets_) == 2


@pytest.mark.parametrize("validation_fraction", [0.0, 0.3])
def test_a_nan_loss_stops_and_names_its_epoch(X, y, validation_fraction):
    class Spoil(Callback):
        def on_epoch_begin(self, net, **kwargs):
            if len(net.history) == 3:
                with torch.no_grad():
                    next(net.module_.parameters()).fill_(float("nan"))

    clf = _clf(max_epochs=9, validation_fraction=validation_fraction, callbacks=[Spoil()])
    message = (
        r"The training loss became nan in epoch 3; training stopped and the weights of epoch 2 are "
        r"kept\. Lower lr, or set precision='float32'\."
    )

    with pytest.warns(UserWarning, match=message):
        clf.fit(X, y)

    assert clf.n_iter_ == 3
    assert np.isfinite(clf.predict_proba(X)).all()


def test_a_wild_learning_rate_leaves_finite_weights(X, y):
    clf = _clf(lr=1e30, optimizer="sgd", max_epochs=3)

    with pytest.warns(UserWarning, match="The training loss became"):
        clf.fit(X, y)

    assert all(torch.isfinite(w).all() for w in _weights(clf) if w.is_floating_point())


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_runs_on_a_cpu(X, y, precision):
    half, single = (_clf(n_estimators=3, precision=p).fit(X, y) for p in (precision, "float32"))

    assert_allclose(half.predict_proba(X), single.predict_proba(X), atol=0.05)


def test_the_bar_is_shown_only_when_asked_for(X, y, capsys):
    _clf().fit(X, y)
    assert capsys.readouterr() == ("", "")

    _clf(verbose=1).fit(X, y)
    assert "1/1" in capsys.readouterr().err


def test_an_optimizer_may_be_a_class(X, y):
    clf = _clf(optimizer=torch.optim.RMSprop).fit(X, y)

    assert np.isfinite(clf.predict_proba(X)).all()


def test_history_has_a_row_an_epoch(X, y):
    clf = _clf(max_epochs=2, validation_fraction=0.3).fit(X, y)

    assert [set(row) for row in clf.history_[0]] == [
        {"epoch", "train_loss", "valid_loss", "dur"}
    ] * 2


def test_uncertainty_adds_up(X, y):
    fitted = _clf(n_estimators=2).fit(X, y)

    parts = fitted.predict_uncertainty(X, n_samples=3)

    assert_allclose(parts["total"], parts["aleatoric"] + parts["epistemic"])
    assert (parts["epistemic"] > -1e-9).all()
    with _raises(ValueError, "n_samples=1; at least 2 are needed for a spread."):
        fitted.predict_uncertainty(X, n_samples=1)


def test_an_ensemble_has_dropout_too(X, y):
    several = _clf(max_epochs=2, n_estimators=3, dropout=0.3).fit(X, y)
    task = several._task

    networks = several._predictive_samples(X, 2, "auto")[0]
    draws = several._predictive_samples(X, 7, "dropout")[0]

    assert networks.shape == (3, len(X), 3)
    assert draws.shape == (7, len(X), 3)
    # 3, 2 and 2 draws of the networks, in their order
    for first, last, net in ((0, 3, 0), (3, 5, 1), (5, 7, 2)):
        assert len({one.tobytes() for one in draws[first:last]}) == last - first
        distance = np.abs(draws[first:last].mean(0) - networks).mean((1, 2))
        assert distance.argmin() == net
    parts = several.predict_uncertainty(X, n_samples=7, method="dropout")
    assert_allclose(parts["total"], task.entropy(draws.mean(0)))
    several.nets_ = [several.nets_[0]] * 3  # equal networks still draw different dropout
    assert len({one.tobytes() for one in several._predictive_samples(X, 6, "dropout")[0]}) == 6


@pytest.mark.parametrize("n_estimators", [1, 2])
def test_regressors_tell_their_spread_in_the_unit_of_y(n_estimators):
    X, y = make_panel_regression(n_samples=30, random_state=0)
    reg = _reg(n_estimators=n_estimators, dropout=0.3)

    one = reg.fit(X, y).predict_uncertainty(X, n_samples=5)
    large = reg.fit(X, np.stack([1000 * y, y], axis=1)).predict_uncertainty(X, n_samples=5)

    assert one["epistemic"].shape == (30,)
    assert (one["epistemic"] > 0).all()
    assert large["epistemic"].shape == (30, 2)
    ratio = large["epistemic"][:, 0].mean() / large["epistemic"][:, 1].mean()
    assert 300 < ratio < 3000


def test_an_unknown_source_of_uncertainty_is_an_error(fitted, X, y):
    with _raises(ValueError, "method='mc' is unknown; choose one of"):
        fitted.predict_uncertainty(X, method="mc")
    with _raises(ValueError, "method='ensemble' needs several networks, but n_estimators is 1."):
        _clf(n_estimators=1).fit(X, y).predict_uncertainty(X, method="ensemble")


# Where it travels


def test_a_dumped_estimator_can_be_mapped(fitted, X, tmp_path):
    joblib.dump(fitted, tmp_path / "clf.joblib")

    mapped = joblib.load(tmp_path / "clf.joblib", mmap_mode="r")

    assert_array_equal(mapped.predict_proba(X), fitted.predict_proba(X))


def test_mapped_data_can_be_fitted(X, y, fitted, tmp_path):
    joblib.dump(X, tmp_path / "X.joblib")

    mapped = joblib.load(tmp_path / "X.joblib", mmap_mode="r")

    assert_array_equal(_clf().fit(mapped, y).predict_proba(mapped), fitted.predict_proba(X))


@pytest.mark.gpu
def test_trained_on_an_accelerator_and_loaded_on_a_cpu(X, y, monkeypatch):
    clf = _clf(device="cuda").fit(X, y)
    expected, data = clf.predict_proba(X), pickle.dumps(clf)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    again = pickle.loads(data)

    assert next(again.nets_[0].module_.parameters()).device.type == "cpu"
    assert_allclose(again.predict_proba(X), expected, atol=1e-4)


def test_windows_of_another_length_are_the_same_sensors(fitted, X):
    longer = X.replace(values={"acc": np.zeros((40, 2, 50))})

    assert fitted.predict(longer).shape == (40,)


def test_feature_counts_are_those_of_scikit_learn(X, y, fitted):
    assert fitted.n_features_in_ == 2
    assert _clf().fit(X.values["acc"], y).n_features_in_ == 2
    assert _clf().fit(X.values["acc"][:, 0], y).n_features_in_ == 16


# Bad input


def test_modalities_other_than_in_fit_are_named(fitted, X):
    message = (
        "MaestroClassifier was fitted on the modalities ['acc', 'hr'], but X came with ['gyro']. "
        "Select them with X.select(['acc', 'hr'])."
    )
    extra = Panel({**X.values, "gyro": np.zeros((40, 1, 4))}, rates={"acc": 8.0, "hr": 4.0})
    with _raises(ValueError, message):
        fitted.predict(extra)


def test_an_array_is_no_panel_of_two_modalities(fitted):
    message = (
        "MaestroClassifier was fitted on the modalities ['acc', 'hr'], but X came without "
        "['acc', 'hr'] and with ['series']."
    )
    with _raises(ValueError, message):
        fitted.predict(np.zeros((3, 3, 16)))


def test_another_count_of_channels_names_the_modality(fitted, X):
    message = (
        "Modality 'acc' has 3 channels, but 2 were seen in fit. Give the same channels, with NaN "
        "where one is silent."
    )
    with _raises(ValueError, message):
        fitted.predict(X.replace(values={"acc": np.zeros((40, 3, 16))}))


def test_another_rate_names_the_modality(fitted, X):
    message = (
        "Modality 'acc' has rate 4 Hz, but 8 Hz was seen in fit. Resample it, or give the same"
    )
    with _raises(ValueError, message):
        fitted.predict(X.replace(rates={"acc": 4.0}))


def test_tokens_instead_of_numbers_name_the_modality(fitted, X):
    message = (
        "Modality 'acc' came with a vocabulary of 20 symbols, but numbers was seen in fit. Pass X "
        "through the same tokenizer, in one Pipeline."
    )
    with _raises(ValueError, message):
        fitted.predict(SAXTokenizer().fit_transform(X))


def test_a_modality_never_observed_in_training_is_named(X, y):
    silent = X.replace(values={"hr": np.full((40, 1, 8), np.nan)})
    message = (
        "Modality 'hr' is never observed in the 40 training samples, so nothing can be learnt from "
        "it. Leave it out with X.drop(['hr'])."
    )
    with _raises(ValueError, message):
        _clf().fit(silent, y)


def test_nothing_observed_at_all_is_refused():
    message = (
        "Nothing is observed in any of the 6 training samples: all values are NaN. Check how X was "
        "read."
    )
    with _raises(ValueError, message):
        _clf().fit(np.full((6, 2, 4), np.nan), np.arange(6) % 2)


def test_infinite_values_name_the_modality(fitted):
    message = "Modality 'acc' has infinite values in float32 (first in sample 0, channel 0)."
    with _raises(ValueError, message):
        fitted.predict({"acc": np.full((3, 2, 16), np.inf), "hr": np.zeros((3, 1, 8))})


def test_text_names_the_modality(y):
    with _raises(ValueError, "Modality 'acc' holds text; numbers are wanted (could not convert"):
        _clf().fit({"acc": np.full((40, 1, 4), "walk", object)}, y)


def test_an_empty_panel_is_refused(fitted, X):
    message = (
        "Found array with 0 sample(s) while a minimum of 1 is required: the panel is empty. Check "
        "how X was selected."
    )
    with _raises(ValueError, message):
        fitted.predict(X[:0])


def test_windows_shorter_than_a_segment_name_the_modality(X, y):
    message = (
        "Modality 'hr' has 8 timepoints, fewer than segment_length=12. Give it at most 8 by a "
        "dict, segment_length={'hr': 8, ...}, or give longer windows."
    )
    with _raises(ValueError, message):
        make_pipeline(SAXTokenizer(segment_length=12), _clf()).fit(X, y)


@pytest.mark.parametrize("estimator", [_clf(), _reg()], ids=["clf", "reg"])
def test_nan_in_y_is_refused(estimator, X, y):
    first, n = int(np.flatnonzero(y == 0)[0]), (y == 0).sum()
    message = (
        f"Input y contains NaN: {n} of the targets are None, NaN, NA or masked, the first is that "
        f"of sample {first}. Leave those samples out."
    )
    with _raises(ValueError, message):
        estimator.fit(X, np.where(y == 0, np.nan, y))


def test_y_of_none_is_refused(X):
    message = "MaestroClassifier requires y to be passed, but the target y is None."
    with _raises(ValueError, message):
        _clf().fit(X, None)


def test_one_class_is_refused(X):
    message = "MaestroClassifier needs at least two classes, but y holds 1 class: 'walk'."
    with _raises(ValueError, message):
        _clf().fit(X, ["walk"] * 40)


def test_classes_in_several_columns_are_refused(X, y):
    message = (
        "y has shape (40, 2) with more than two values a column; classes (n,) or labels "
        "(n, n_labels) of 0 and 1 are wanted. Fit one classifier a column."
    )
    with _raises(ValueError, message):
        _clf().fit(X, np.stack([y, y], axis=1))


def test_numbers_are_no_classes(X, y):
    with _raises(ValueError, "Unknown label type: continuous."):
        _clf().fit(X, y + 0.5)


def test_text_is_no_number(X, y):
    for words in (y.astype(str), np.array(["a", "b", "c"], object)[y]):
        message = (
            f"y holds {words.dtype} values; numbers are wanted. Encode it as numbers, or take a "
            "classifier."
        )
        with _raises(ValueError, message):
            _reg().fit(X, words)


def test_other_lengths_of_y_weights_and_groups_are_refused(X, y):
    with _raises(
        ValueError, "Found input variables with inconsistent numbers of samples: [40, 39]"
    ):
        _clf().fit(X, y[:-1])
    with _raises(ValueError, "Found input variables with inconsistent numbers of samples: [40, 4]"):
        _clf().fit(X, y, groups=np.zeros(4))
    with _raises(ValueError, "sample_weight has shape (4,); (40,) is wanted"):
        _clf().fit(X, y, sample_weight=np.ones(4))


def test_negative_weights_are_refused(X, y):
    message = "sample_weight needs to be >= 0 with a positive sum. Check its signs."
    with _raises(ValueError, message):
        _clf().fit(X, y, sample_weight=-np.ones(40))


def test_a_plain_dict_is_no_X_for_scikit_learn_but_its_panel_is(X, y):
    # scikit-learn counts the keys of a dict before it asks us: as_panel is the way out.
    sensors = X.to_dict()
    with _raises(ValueError, "Found input variables with inconsistent numbers of samples: [2, 40]"):
        cross_val_score(_clf(), sensors, y, cv=2)

    assert cross_val_score(_clf(), as_panel(sensors), y, cv=2, error_score="raise").shape == (2,)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"max_epochs": 0}, "The 'max_epochs' parameter of MaestroClassifier must be an int in"),
        ({"lr": -1.0}, "The 'lr' parameter of MaestroClassifier must be a float in the range (0"),
        ({"precision": "int8"}, "The 'precision' parameter of MaestroClassifier must be a str"),
        (
            {"device": "tpu9"},
            "device='tpu9' is no device of torch. Give 'auto', 'cpu', 'cuda', 'cuda:1' or 'mps'.",
        ),
        (
            {"device": "cuda:99"},
            "device='cuda:99' was requested, but torch finds ",
        ),
        (
            {"net_params": {"lr": 1.0}},
            "net_params names ['lr'], but takes only ['compile', 'gradient_clip', 'n_threads', "
            "'torch_load_kwargs', 'verbose'] and optimizer__* but its weight_decay. Use the "
            "parameters of MaestroClassifier of these names, if it has them.",
        ),
        ({"net_params": {"iterator_train__drop_last": True}}, "['iterator_train__drop_last']"),
        ({"net_params": {"criterion": 1}}, "net_params names ['criterion'], but takes only"),
        ({"callbacks": [EarlyStopping]}, "instances of skorch.callbacks.Callback are wanted."),
        (
            {"callbacks": [EpochScoring("accuracy")], "validation_fraction": 0.0},
            "EpochScoring scores held-out samples, but there are none. Set validation_fraction, "
            "give more samples, or set its on_train=True.",
        ),
        (
            {"callbacks": [("stop", EarlyStopping())], "validation_fraction": 0.0},
            "EarlyStopping monitors 'valid_loss', but no samples are held out. Set "
            "validation_fraction, give more samples, or set its monitor to 'train_loss'.",
        ),
        (
            {"callbacks": [Checkpoint()], "validation_fraction": 0.0},
            "Checkpoint monitors 'valid_loss_best', but no samples are held out.",
        ),
        ({"n_heads": 3}, "d_model is a multiple of n_heads, got d_model=8 and n_heads=3."),
        (
            {"attention_budget": {"gyro": 1.0}},
            "attention_budget names ['gyro'], but the modalities are ['acc', 'hr'].",
        ),
        ({"n_active_experts": 5}, "between 1 and n_experts=2; got 5."),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_parameters_are_refused_in_fit(X, y, parameters, message):
    clf = _clf(**parameters)

    with pytest.raises((ValueError, TypeError), match=re.escape(message)):
        clf.fit(X, y)


def test_a_schedule_of_skorch_takes_the_place_of_ours(X, y):
    schedule = LRScheduler("StepLR", step_size=1, gamma=0.1)
    rates = NoteRows(lambda net: seen.append(net.optimizer_.param_groups[0]["lr"]))
    seen = []
    _clf(n_estimators=1, max_epochs=3, lr=1e-2, callbacks=[rates, schedule]).fit(X, y)

    assert_allclose(seen, [1e-2, 1e-3, 1e-4])


def test_net_params_reach_the_loop(X, y):
    clf = _clf(net_params={"gradient_clip": None, "n_threads": None}).fit(X, y)

    assert clf.nets_[0].gradient_clip is None
    assert clf.nets_[0].n_threads is None


def test_an_ordinary_fit_warns_of_nothing(X, y):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clone(_clf(validation_fraction=0.3, max_epochs=20)).fit(X, y).predict(X)
