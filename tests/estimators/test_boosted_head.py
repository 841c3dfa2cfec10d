"""TRACE with head="boosting": boosted trees beside the network, and their shares."""

import numpy as np
import pytest
from numpy.testing import assert_allclose, assert_array_equal
from scipy.optimize import root
from scipy.special import log_softmax, softmax
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.feature_selection import VarianceThreshold
from sklearn.metrics import log_loss
from sklearn.pipeline import make_pipeline

from mts_fusion.datasets import make_panel_classification, make_panel_regression
from mts_fusion.estimators import TraceClassifier, TraceRegressor
from mts_fusion.estimators._boosted_head import BoostedHead
from mts_fusion.estimators._context import FitContext
from mts_fusion.estimators._trace_base import TraceEstimator
from mts_fusion.panel import Panel
from mts_fusion.training import Multiclass, Regression
from mts_fusion.transforms import PanelSummarizer, mask_panel

SMALL = {
    "imputer": None,
    "head": "boosting",
    "d_model": 16,
    "d_time": 16,
    "n_reference": 4,
    "n_heads": 2,
    "n_layers": 1,
    "d_hidden": 16,
    "max_epochs": 2,
    "random_state": 0,
}


def _thresholds(n=300, seed=0):
    """Two sensors of noise; the class says in which of eight stripes the first one's level lies."""
    rng = np.random.default_rng(seed)
    level = rng.uniform(0, 8, size=n)
    first = level[:, None, None] + 0.01 * rng.normal(size=(n, 1, 12))
    panel = Panel({"a": first, "b": rng.normal(size=(n, 2, 20))})
    return panel, (level.astype(int) % 2).astype(int)


def _context(panel, y, validation, silenced=None, weight=None, task=None):
    task = Multiclass(np.unique(y)) if task is None else task
    rows = np.arange(len(panel))
    if silenced is None:
        silenced = np.zeros((len(validation), len(panel.schema)), dtype=bool)
    return FitContext(
        panel=panel,
        scales={},
        task=task,
        target=task.encode(y),
        weight=weight,
        training=np.setdiff1d(rows, validation),
        validation=np.asarray(validation, dtype=int),
        silenced=silenced,
        has_groups=False,
        batch_size=32,
        max_epochs=1,
        net_seeds=[0],
        seed=0,
    )


def test_trees_are_those_of_scikit_learn_on_samples_and_a_copy_with_hidden_modalities():
    X, y = _thresholds(120)
    head = BoostedHead(2, has_softmax=True, seed=5)
    head.fit(_context(X, y, []))
    both = X.concat(mask_panel(X, fraction=0.3, seed=5))
    oracle = make_pipeline(
        PanelSummarizer(),
        VarianceThreshold(),
        HistGradientBoostingClassifier(
            learning_rate=0.05, max_iter=200, max_features=0.3, early_stopping=False, random_state=5
        ),
    ).fit(both, np.concatenate([y, y]))
    p = np.maximum(oracle.predict_proba(X), np.exp(-15))
    assert_allclose(head.scores(X), np.log(p), atol=1e-12)


def test_held_out_scores_are_of_trees_that_never_saw_the_held_out_samples():
    X, _ = _thresholds(120)
    y = np.random.default_rng(1).integers(0, 2, size=120)  # nothing can be learnt
    validation = np.arange(80, 120)
    head = BoostedHead(2, has_softmax=True)
    held_out = head.fit(_context(X, y, validation))
    other = y.copy()
    other[validation] = 1 - y[validation]
    assert_array_equal(
        BoostedHead(2, has_softmax=True).fit(_context(X, other, validation)), held_out
    )
    own = log_loss(y[validation], softmax(head.scores(X[validation]), axis=1))
    assert own < 0.5 < log_loss(y[validation], softmax(held_out, axis=1))


def test_held_out_scores_know_what_is_silenced():
    X, y = _thresholds(400)
    validation = np.arange(300, 400)
    silenced = np.zeros((100, 2), dtype=bool)
    silenced[::2, 0] = True
    head = BoostedHead(2, has_softmax=True)
    scores = head.fit(_context(X, y, validation, silenced))
    # The level is in the first sensor: without it the trees have nothing to go by.
    right = scores.argmax(1) == y[validation]
    assert right[1::2].mean() > 0.9 > 0.75 > right[::2].mean()


def _shares(X, y, outputs, scores, missing=0.0, **kwargs):
    """Shares learnt on all samples, held out."""
    context = _context(X, y, np.arange(len(y)), **kwargs)
    head = BoostedHead(context.n_outputs, has_softmax=context.has_softmax)
    head.learn_shares(context, outputs, scores, np.broadcast_to(missing, len(y)))
    return head.shares


@pytest.mark.parametrize("better", [0, 1])
def test_shares_minimise_the_loss_of_held_out_samples(better):
    rng = np.random.default_rng(0)
    n = 400
    y = rng.integers(0, 2, size=n)
    good, bad = 3 * (y[:, None] == [0, 1]) + rng.normal(size=(n, 2)), rng.normal(size=(n, 2))
    outputs, scores = (good, bad) if better == 0 else (bad, good)
    missing = rng.choice([0.0, 0.25, 0.5], size=n)
    X, _ = _thresholds(n)
    learnt = _shares(X, y, outputs, log_softmax(scores, axis=1), missing)

    def loss(shares):
        first, ratio = shares[0], shares[1] / shares[0]
        a, b = (first * ratio ** missing[:, None]).T[:, :, None]
        added = a * log_softmax(outputs, axis=1) + b * log_softmax(scores, axis=1)
        pull = np.sum(np.log(2 * first) ** 2) + np.sum(np.log(ratio) ** 2)
        return log_loss(y, softmax(added, axis=1)) + pull / 2 / n

    assert (learnt[:, better] > 3 * learnt[:, 1 - better]).all()
    best = loss(learnt)
    for factor in (1.02, 0.98):
        for i in np.ndindex(2, 2):
            moved = learnt.copy()
            moved[i] *= factor
            assert loss(moved) >= best - 1e-9


def test_shares_follow_what_is_missing():
    rng = np.random.default_rng(0)
    n = 6000
    y = rng.integers(0, 2, size=n)
    truth = 1.0 * (y[:, None] == [0, 1])
    fails = np.arange(n) % 2 == 1  # the network knows nothing where half of the sensors fail
    outputs = np.where(fails[:, None], 0, truth) + rng.normal(size=(n, 2))
    X, _ = _thresholds(n)
    scores = log_softmax(truth + rng.normal(size=(n, 2)), axis=1)
    (network, trees), (network_alone, trees_alone) = _shares(X, y, outputs, scores, 0.5 * fails)
    assert abs(network - trees) < 0.1 * trees
    assert network_alone < 0.1 < 0.8 < trees_alone


def test_shares_are_weighted_and_above_zero():
    rng = np.random.default_rng(0)
    n = 200
    y = rng.integers(0, 2, size=n)
    truth = 2.0 * (y[:, None] == [0, 1])
    is_first = np.arange(n) < 100
    outputs = np.where(is_first[:, None], truth, -truth)  # right for the first half alone
    X, _ = _thresholds(n)
    shares = []
    for factor in (0.01, 100.0):
        weight = np.where(is_first, factor, 1.0)
        scores = np.full((n, 2), np.log(0.5))
        shares.append(_shares(X, y, outputs, scores, weight=weight / weight.mean())[0, 0])
    assert 0 < shares[0] < 0.1 < 1 < shares[1]


def test_shares_of_numbers_are_those_of_least_squares():
    rng = np.random.default_rng(0)
    n = 300
    y = rng.normal(size=n)
    X, _ = _thresholds(n)
    task = Regression(y)
    target = task.encode(y).astype(float)
    terms = [target + 0.5 * rng.normal(size=(n, 1)), target + rng.normal(size=(n, 1))]
    shares = _shares(X, y, *terms, task=task)
    design = np.concatenate(terms, axis=1)

    # Where nothing is missing, nothing sets those without any modality apart.
    def slope(logs):
        own = np.exp(logs) / 2
        return own * (design.T @ (design @ own - target[:, 0])) + logs

    own = np.exp(root(slope, np.zeros(2), tol=1e-12).x) / 2
    assert_allclose(shares, [own, own], atol=1e-4)
    squares = np.linalg.lstsq(design, target[:, 0])[0]
    assert_allclose(own, squares, atol=0.03)  # the pull is weak


def test_probabilities_are_the_network_and_the_trees_by_their_shares():
    X, y = _thresholds()
    clf = TraceClassifier(**SMALL, validation_fraction=0.3, calibration=None).fit(X, y)
    alone = TraceClassifier(**{**SMALL, "head": "network"}, validation_fraction=0.3)
    alone.set_params(calibration=None).fit(X, y)
    values = {"b": np.where(np.arange(len(y))[:, None, None] < 150, np.nan, X.values["b"])}
    X = X.replace(values=values)
    panel = clf.preprocessor_.transform(X)
    mean = np.sqrt(clf.trees_.shares.prod(0))  # one of two modalities is missing
    a, b = np.where(np.arange(len(y))[:, None] < 150, mean, clf.trees_.shares[0]).T[..., None]
    mixed = a * np.log(alone.predict_proba(X)) + b * clf.trees_.scores(panel)
    assert_allclose(clf.predict_proba(X), softmax(mixed, axis=1), atol=1e-5)
    assert alone.trees_ is None


def test_trees_learn_thresholds_that_the_network_does_not():
    X, y = _thresholds()
    test, truth = _thresholds(seed=1)
    clf = TraceClassifier(**SMALL, validation_fraction=0.3).fit(X, y)
    alone = TraceClassifier(**{**SMALL, "head": "network"}, validation_fraction=0.3).fit(X, y)
    assert clf.score(test, truth) > 0.95 > 0.75 > alone.score(test, truth)
    assert (clf.trees_.shares[:, 1] > clf.trees_.shares[:, 0]).all()
    # Without the sensor that tells, both know nothing, and say so.
    p = clf.predict_proba(test.replace(values={"a": np.full_like(test.values["a"], np.nan)}))
    assert log_loss(truth, p) < 0.9


def test_nothing_held_out_means_equal_shares():
    X, y = _thresholds(60)
    clf = TraceClassifier(**SMALL, validation_fraction=0.0).fit(X, y)
    assert_array_equal(clf.trees_.shares, np.full((2, 2), 0.5))


def test_classes_of_any_type_with_weights_and_the_same_bits():
    X, y = make_panel_classification(n_samples=60, random_state=0)
    labels = np.array(["rest", "walk", "run"])[y]
    weight = np.linspace(0, 2, 60)
    first, second = (
        TraceClassifier(**SMALL, validation_fraction=0.2).fit(X, labels, sample_weight=weight)
        for _ in range(2)
    )
    assert set(first.predict(X)) <= set(labels)
    assert_array_equal(first.predict_proba(X), second.predict_proba(X))
    single = np.concatenate([first.predict_proba(X[i : i + 1]) for i in range(5)])
    assert_allclose(single, first.predict_proba(X)[:5], atol=1e-6)


@pytest.mark.parametrize("n_outputs", [1, 2])
def test_regression(n_outputs):
    X, y = make_panel_regression(n_samples=120, random_state=0)
    if n_outputs == 2:
        y = np.column_stack([y, 10 - 3 * y])
    reg = TraceRegressor(**SMALL, validation_fraction=0.2).fit(X, y)
    alone = TraceRegressor(**{**SMALL, "head": "network"}, validation_fraction=0.2).fit(X, y)
    assert reg.predict(X).shape == y.shape
    assert reg.score(X, y) > 0.9 > alone.score(X, y)


def test_draws_of_dropout_and_of_imputations_have_the_trees_too():
    X, y = _thresholds(120)
    settings = {**SMALL, "imputer": "diffusion", "n_imputations": 2}
    clf = TraceClassifier(**settings, validation_fraction=0.2, calibration=None).fit(X, y)
    parts = clf.predict_uncertainty(X[:10], n_samples=4)
    assert_allclose(
        parts["total"], parts["aleatoric"] + parts["epistemic"] + parts["imputation"], atol=1e-6
    )
    # The network alone, whose dropout is drawn, knows next to nothing: its entropy is near .69.
    assert parts["total"].mean() < 0.4
    draws = clf.predict_draws(X[:10])
    assert draws.shape == (2, 10, 2)
    assert (draws.argmax(2) == y[:10]).mean() > 0.9


def test_warm_start_keeps_the_trees():
    X, y = _thresholds(120)
    clf = TraceClassifier(**SMALL, validation_fraction=0.2, warm_start=True).fit(X, y)
    trees, shares = clf.trees_, clf.trees_.shares.copy()
    clf.fit(X, y)
    assert clf.trees_ is trees
    assert_array_equal(trees.shares, shares)


@pytest.mark.filterwarnings("error")
def test_a_channel_never_observed_is_left_out_without_a_warning():
    X, y = _thresholds(60)
    silent = np.concatenate([X.values["b"], np.full((60, 1, 20), np.nan)], axis=1)
    head = BoostedHead(2, has_softmax=True)
    head.fit(_context(X.replace(values={"b": silent}), y, []))
    more = X.replace(values={"b": np.concatenate([X.values["b"], X.values["b"][:, :1]], axis=1)})
    plain = BoostedHead(2, has_softmax=True)
    plain.fit(_context(X, y, []))
    assert_allclose(head.scores(more), plain.scores(X))


def test_labels_are_refused_by_name():
    X, y = _thresholds(60)
    with pytest.raises(ValueError, match=r"head='boosting' .* Set head='network'"):
        TraceClassifier(**SMALL).fit(X, np.column_stack([y, 1 - y]))


def test_the_papers_have_no_trees():
    assert TraceClassifier().head == "network"
    for dataset in ("mimic4", "mosi", "mosei"):
        assert TraceClassifier.from_paper(dataset).head == "network"
    assert "head" in TraceEstimator._parameter_constraints
