"""Callbacks of skorch that a user gives: they work, and see what the estimator predicts."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal
from sklearn.metrics import accuracy_score, log_loss, roc_auc_score
from skorch.callbacks import (
    BatchScoring,
    Callback,
    EarlyStopping,
    EpochScoring,
    LRScheduler,
    ProgressBar,
)
from skorch.utils import to_numpy

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import ConditionalDiffusionImputer, FusionClassifier, FusionRegressor

SMALL = {
    "d_model": 8,
    "n_heads": 2,
    "n_groups": 2,
    "max_epochs": 3,
    "validation_fraction": 0.3,
    "calibration": None,
    "device": "cpu",
    "random_state": 0,
}


@pytest.fixture(scope="module")
def X():
    return make_panel_classification(48, modalities={"acc": (2, 8.0), "hr": (1, 4.0)})[0]


@pytest.fixture(scope="module")
def y():
    return np.tile(["run", "sit", "walk"], 16)


def _fit(X, y, *callbacks, estimator=FusionClassifier, **parameters):
    return estimator(**{**SMALL, **parameters}, callbacks=list(callbacks)).fit(X, y)


class Noted:
    """A score of scikit-learn's form that keeps what it was given."""

    def __init__(self, values=None):
        self.values = values
        self.truth, self.predicted, self.proba, self.weights = [], [], [], []

    def __call__(self, net, X, y):
        self.truth.append(y)
        self.proba.append(net.predict_proba(X))
        self.predicted.append(net.task.decode(self.proba[-1]))
        self.weights.append([p.detach().clone() for p in net.module_.parameters()])
        return 0.0 if self.values is None else self.values[len(self.truth) - 1]

    __name__ = "noted"


def _in_each_epoch(score, name="score", **options):
    return EpochScoring(score, name=name, lower_is_better=False, use_caching=True, **options)


def test_scores_of_an_epoch_are_those_of_labels_and_probabilities(X, y):
    noted = Noted()
    clf = _fit(
        X,
        y,
        EpochScoring("accuracy", lower_is_better=False),
        EpochScoring("neg_log_loss", lower_is_better=False),
        _in_each_epoch(noted),
    )

    (history,) = clf.history_
    assert set(noted.truth[0]) <= set(clf.classes_)
    assert len(noted.truth) == 3
    for row, truth, predicted, proba in zip(
        history, noted.truth, noted.predicted, noted.proba, strict=True
    ):
        assert row["accuracy"] == accuracy_score(truth, predicted)
        assert_allclose(row["neg_log_loss"], -log_loss(truth, proba, labels=clf.classes_))
        assert_allclose(proba.sum(1), 1)
        assert_array_equal(clf.classes_[proba.argmax(1)], predicted)


def test_held_out_samples_are_scored_or_those_trained_on(X, y):
    held_out, trained = Noted(), Noted()
    _fit(X, y, _in_each_epoch(held_out), _in_each_epoch(trained, name="train", on_train=True))

    assert len(trained.truth[0]) == 48 - 15  # five of each class are held out
    # Once as they are, and once with simulated loss of sensors.
    assert len(held_out.truth[0]) == 2 * 15


def test_scores_of_batches_are_averaged(X, y):
    clf = _fit(X, y, BatchScoring("accuracy", name="each", lower_is_better=False), batch_size=7)

    assert all(0 <= row["each"] <= 1 for row in clf.history_[0])


@pytest.mark.parametrize("n_targets", [1, 2])
def test_numbers_are_scored_in_the_unit_of_y(X, n_targets):
    numbers = 1000.0 + np.random.default_rng(0).normal(size=(48, n_targets)).cumsum(0)
    numbers = numbers[:, 0] if n_targets == 1 else numbers
    noted = Noted()
    error = EpochScoring("neg_mean_absolute_error", lower_is_better=False)

    reg = _fit(X, numbers, _in_each_epoch(noted), error, estimator=FusionRegressor)

    assert noted.truth[0].shape == noted.predicted[0].shape
    assert np.isin(noted.truth[0].round(2), numbers.round(2)).all()
    expected = -np.abs(noted.truth[-1] - noted.predicted[-1]).mean()
    assert_allclose(reg.history_[0][-1]["neg_mean_absolute_error"], expected, rtol=1e-5)
    assert abs(expected) < 50  # not in standard deviations around 0


def test_labels_are_scored_as_labels(X):
    labels = np.random.default_rng(0).integers(2, size=(48, 2))
    noted = Noted()

    _fit(X, labels, _in_each_epoch(noted), EpochScoring("f1_macro", lower_is_better=False))

    assert noted.truth[0].dtype.kind == "i"
    assert noted.truth[0].shape == noted.predicted[0].shape
    assert set(np.unique(noted.truth[0])) == {0, 1}


def test_a_stop_by_a_score_keeps_the_weights_of_its_best_epoch(X, y):
    noted = Noted(values=[0.1, 0.9, 0.3, 0.2, 0.1, 0.0])
    stop = EarlyStopping(monitor="score", lower_is_better=False, patience=2, load_best=True)

    clf = _fit(X, y, _in_each_epoch(noted), stop, max_epochs=6)

    assert clf.n_iter_ == 4  # the second is the best, and two more are not better
    kept = list(clf.nets_[0].module_.parameters())
    assert all(map(torch.equal, kept, noted.weights[1]))
    assert not all(map(torch.equal, kept, noted.weights[3]))


def test_callbacks_read_the_weights_that_were_validated(X, y):
    noted = Noted()
    clf = _fit(X, y, _in_each_epoch(noted), max_epochs=2, patience=None)
    again = Noted()
    _fit(X, y, EpochScoring(again, name="score", use_caching=False), max_epochs=2)

    # Predictions that are made anew at the end of the epoch are those of the validation.
    assert len(clf.history_[0]) == 2
    for cached, anew in zip(noted.proba, again.proba, strict=True):
        assert_allclose(anew, cached, atol=1e-6)


def test_a_schedule_that_watches_the_validation_lowers_the_rate(X, y):
    rates = []

    class Rates(Callback):
        def on_epoch_begin(self, net, **kwargs):
            rates.append(net.optimizer_.param_groups[0]["lr"])

    plateau = LRScheduler(
        "ReduceLROnPlateau", monitor="valid_loss", patience=0, factor=0.1, threshold=1e9
    )
    _fit(X, y, plateau, Rates(), lr=1e-2)

    assert_allclose(rates, [1e-2, 1e-3, 1e-4])  # never is it lower by so much


def test_the_bar_of_skorch_works(X, y, capsys):
    _fit(X, y, ProgressBar(), max_epochs=2)

    assert "/3 [" in capsys.readouterr().err  # batches: two for training, one for validation


def test_the_callback_of_the_user_stays_as_it_is(X, y):
    score = EpochScoring("accuracy", lower_is_better=False)
    clf = _fit(X, y, ("mine", score))

    assert score.target_extractor is to_numpy
    assert clf.get_params()["callbacks"] == [("mine", score)]
    assert "accuracy" in clf.history_[0][0]


def test_what_has_no_targets_has_no_scores(X):
    imputer = ConditionalDiffusionImputer(
        max_epochs=1, callbacks=[EpochScoring("r2", on_train=True)]
    )

    with pytest.raises(ValueError, match="EpochScoring, but there are no targets to score"):
        imputer.fit(X)


def test_the_ranking_of_two_classes_is_scored(X):
    y = np.tile(["no", "yes"], 24)
    noted = Noted()

    clf = _fit(X, y, EpochScoring("roc_auc", lower_is_better=False), _in_each_epoch(noted))

    expected = roc_auc_score(noted.truth[-1] == "yes", noted.proba[-1][:, 1])
    assert_allclose(clf.history_[0][-1]["roc_auc"], expected)
