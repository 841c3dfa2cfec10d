"""What the links of PatternRidge learn from held-out scores."""

import numpy as np
import pytest
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from mts_fusion.training._links import _COUPLING_COST, SigmoidLink, SoftmaxLink


def drawn(n_classes=4, n=300, seed=0):
    """Scores in which the score of the next class is high."""
    generator = np.random.default_rng(seed)
    y = generator.integers(n_classes, size=n)
    scores = generator.normal(size=(n, n_classes))
    scores[np.arange(n), (y + 1) % n_classes] += 2.0
    return scores, y


def objective(coupling, scores, y, weight):
    """The penalised log loss, written out sample by sample."""
    extra = coupling - np.eye(len(coupling))
    losses = [-log_softmax(score @ coupling)[k] for score, k in zip(scores, y, strict=True)]
    return weight @ losses + _COUPLING_COST / 2 * (extra**2).sum()


def test_coupling_predicts_a_class_from_the_score_of_another():
    scores, y = drawn()
    link = SoftmaxLink(4)
    targets, weight = link.targets(y), np.ones(len(y))
    coupling = link.coupling(scores, targets, weight)
    before, after = (scores @ matrix for matrix in (np.eye(4), coupling))
    assert (before.argmax(1) == y).mean() < 0.3
    assert (after.argmax(1) == y).mean() > 0.6
    assert link.loss(after, targets, weight) < link.loss(before, targets, weight) - 0.5


def test_coupling_minimises_the_penalised_log_loss():
    scores, y = drawn(3)
    link = SoftmaxLink(3)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    coupling = link.coupling(scores, link.targets(y), weight)
    least = objective(coupling, scores, y, weight)
    generator = np.random.default_rng(2)
    for _ in range(20):
        moved = coupling + 1e-2 * generator.normal(size=coupling.shape)
        assert objective(moved, scores, y, weight) > least


def test_coupling_without_a_prior_is_multinomial_regression(monkeypatch):
    scores, y = drawn(3, n=500)
    monkeypatch.setattr("mts_fusion.training._links._COUPLING_COST", 1e-6)
    link = SoftmaxLink(3)
    ours = link.coupling(scores, link.targets(y), np.ones(len(y)))
    theirs = LogisticRegression(C=1e6, fit_intercept=False, tol=1e-10).fit(scores, y).coef_.T
    np.testing.assert_allclose(
        log_softmax(scores @ ours, axis=1), log_softmax(scores @ theirs, axis=1), atol=1e-3
    )


def test_coupling_of_a_row_of_weight_two_is_that_of_the_row_twice():
    scores, y = drawn(3, n=60)
    link = SoftmaxLink(3)
    twice = np.repeat(np.arange(60), np.where(np.arange(60) < 20, 2, 1))
    weight = np.where(np.arange(60) < 20, 2.0, 1.0)
    np.testing.assert_allclose(
        link.coupling(scores, link.targets(y), weight),
        link.coupling(scores[twice], link.targets(y[twice]), np.ones(len(twice))),
        atol=1e-4,
    )


@pytest.mark.parametrize("n_classes", [2, 5])
def test_classes_without_a_held_out_sample_keep_their_own_score(n_classes):
    scores, y = drawn(3, n=90)
    scores = np.concatenate([scores, np.zeros((90, n_classes))], axis=1)
    link = SoftmaxLink(3 + n_classes)
    coupling = link.coupling(scores, link.targets(y), np.ones(90))
    assert not np.array_equal(coupling[:3, :3], np.eye(3))
    np.testing.assert_array_equal(coupling[3:], np.eye(3 + n_classes)[3:])
    np.testing.assert_array_equal(coupling[:, 3:], np.eye(3 + n_classes)[:, 3:])


def test_two_classes_and_labels_have_no_coupling():
    scores, y = drawn(2, n=50)
    weight = np.ones(50)
    np.testing.assert_array_equal(
        SoftmaxLink(2).coupling(scores, SoftmaxLink(2).targets(y), weight), np.eye(2)
    )
    labels = SigmoidLink().targets(np.stack([y, 1 - y], 1))
    np.testing.assert_array_equal(SigmoidLink().coupling(scores, labels, weight), np.eye(2))
