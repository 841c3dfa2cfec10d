"""What the links of PatternRidge learn from held-out scores."""

import numpy as np
import pytest
from scipy.special import log_softmax, softmax
from sklearn.linear_model import LogisticRegression

from mts_fusion.training._links import _CONSTANT, _COUPLING_COST, SigmoidLink, SoftmaxLink


def drawn(n_classes=4, n=300, seed=0):
    """Scores in which the score of the next class is high."""
    generator = np.random.default_rng(seed)
    y = generator.integers(n_classes, size=n)
    scores = generator.normal(size=(n, n_classes))
    scores[np.arange(n), (y + 1) % n_classes] += 2.0
    return scores, y


def objective(coupling, offset, scores, y, weight):
    """The penalised log loss, written out sample by sample."""
    extra = np.vstack([coupling - np.eye(len(coupling)), offset / _CONSTANT])
    moved = scores @ coupling + offset
    doubt = 1 / (2 * weight.sum() + 1)
    losses = []
    for score, k in zip(moved, y, strict=True):
        log_p = log_softmax(score)
        losses.append(-(1 - doubt) * log_p[k] - doubt * log_p.mean())
    return weight @ losses + _COUPLING_COST / 2 * (extra**2).sum()


def logistic(scores, y, n_classes):
    """scikit-learn's regression on each sample once as each class, the truth with most weight."""
    n, classes = len(y), np.arange(n_classes)
    doubt = 1 / (2 * n + 1)
    weight = (1 - doubt) * (y[:, None] == classes) + doubt / n_classes
    return LogisticRegression(C=1e6, tol=1e-10).fit(
        np.repeat(scores, n_classes, axis=0), np.tile(classes, n), sample_weight=weight.ravel()
    )


@pytest.mark.parametrize("n", [10, 1000])
def test_probabilities_are_no_surer_than_the_number_of_held_out_samples(n):
    """Where all are right the best factor would be infinite."""
    y = np.arange(n) % 2
    for link, targets in (
        (SoftmaxLink(2), SoftmaxLink(2).targets(y)),
        (SigmoidLink(), SigmoidLink().targets(y[:, None])),
    ):
        factor = link.weights([targets], targets, np.ones(n))[0]
        p = link.predictions(factor * targets)[range(n), y if targets.shape[1] == 2 else 0]
        p = np.where((targets.shape[1] == 2) | (y == 1), p, 1 - p)
        np.testing.assert_allclose(p, 1 - 0.5 / (2 * n + 1), rtol=1e-4)


def test_coupling_predicts_a_class_from_the_score_of_another():
    scores, y = drawn()
    link = SoftmaxLink(4)
    targets, weight = link.targets(y), np.ones(len(y))
    coupling, offset = link.coupling(scores, targets, weight)
    after = scores @ coupling + offset
    assert (scores.argmax(1) == y).mean() < 0.3
    assert (after.argmax(1) == y).mean() > 0.6
    assert link.loss(after, targets, weight) < link.loss(scores, targets, weight) - 0.5


@pytest.mark.parametrize("n_classes", [2, 3])
def test_coupling_minimises_the_penalised_log_loss(n_classes):
    scores, y = drawn(n_classes)
    link = SoftmaxLink(n_classes)
    weight = np.random.default_rng(1).uniform(0.5, 2.0, len(y))
    coupling, offset = link.coupling(scores, link.targets(y), weight)
    least = objective(coupling, offset, scores, y, weight)
    generator = np.random.default_rng(2)
    for _ in range(20):
        moved = coupling + 1e-2 * generator.normal(size=coupling.shape)
        assert objective(moved, offset, scores, y, weight) > least
        shifted = offset + 3e-2 * generator.normal(size=offset.shape)
        assert objective(coupling, shifted, scores, y, weight) > least


def test_coupling_without_a_prior_is_multinomial_regression(monkeypatch):
    scores, y = drawn(3, n=500)
    monkeypatch.setattr("mts_fusion.training._links._COUPLING_COST", 1e-6)
    link = SoftmaxLink(3)
    coupling, offset = link.coupling(scores, link.targets(y), np.ones(len(y)))
    theirs = logistic(scores, y, 3)
    np.testing.assert_allclose(
        softmax(scores @ coupling + offset, axis=1), theirs.predict_proba(scores), atol=1e-3
    )


def test_coupling_of_labels_without_a_prior_is_a_logistic_regression_each(monkeypatch):
    generator = np.random.default_rng(0)
    scores = 2 * generator.normal(size=(500, 2))
    labels = scores / 2 + generator.logistic(size=(500, 2)) > [0.5, 1.5]
    monkeypatch.setattr("mts_fusion.training._links._COUPLING_COST", 1e-6)
    link = SigmoidLink()
    coupling, offset = link.coupling(scores, link.targets(labels), np.ones(500))
    for k in range(2):
        theirs = logistic(scores[:, [k]], labels[:, k], 2)
        np.testing.assert_allclose(coupling[k, k], theirs.coef_[0, 0], rtol=1e-3)
        np.testing.assert_allclose(offset[k], theirs.intercept_[0], rtol=1e-3)
    assert coupling[0, 1] == coupling[1, 0] == 0


def test_the_offset_of_a_rare_class_makes_its_frequency_right():
    """Squared error leaves scores of a rare class off by more than a factor can mend."""
    generator = np.random.default_rng(0)
    truth = 1 / (1 + np.exp(2.5 - generator.normal(size=2000)))
    y = (generator.random(2000) < truth).astype(int)
    regression = np.stack([1 - 2 * truth, 2 * truth - 1], axis=1)
    link = SoftmaxLink(2)
    targets, weight = link.targets(y), np.ones(2000)
    scores = regression * link.weights([regression], targets, weight)[0]
    coupling, offset = link.coupling(scores, targets, weight)
    before, after = (link.predictions(s)[:, 1] for s in (scores, scores @ coupling + offset))
    assert abs(after.mean() - y.mean()) < 0.002 < abs(before.mean() - y.mean())
    assert np.abs(after - truth).mean() < np.abs(before - truth).mean()


def test_coupling_of_a_row_of_weight_two_is_that_of_the_row_twice():
    scores, y = drawn(3, n=60)
    link = SoftmaxLink(3)
    twice = np.repeat(np.arange(60), np.where(np.arange(60) < 20, 2, 1))
    weight = np.where(np.arange(60) < 20, 2.0, 1.0)
    ours = link.coupling(scores, link.targets(y), weight)
    theirs = link.coupling(scores[twice], link.targets(y[twice]), np.ones(len(twice)))
    for own, other in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(own, other, atol=1e-4)


@pytest.mark.parametrize("n_classes", [2, 5])
def test_classes_without_a_held_out_sample_keep_their_own_score(n_classes):
    scores, y = drawn(3, n=90)
    scores = np.concatenate([scores, np.zeros((90, n_classes))], axis=1)
    link = SoftmaxLink(3 + n_classes)
    coupling, offset = link.coupling(scores, link.targets(y), np.ones(90))
    assert not np.array_equal(coupling[:3, :3], np.eye(3))
    np.testing.assert_array_equal(coupling[3:], np.eye(3 + n_classes)[3:])
    np.testing.assert_array_equal(coupling[:, 3:], np.eye(3 + n_classes)[:, 3:])
    assert offset[:3].all()
    assert not offset[3:].any()


def test_one_class_and_labels_that_agree_keep_their_scores():
    scores = drawn(2, n=50)[0]
    weight = np.ones(50)
    for link, y in ((SoftmaxLink(2), np.ones(50, int)), (SigmoidLink(), np.ones((50, 2)))):
        coupling, offset = link.coupling(scores, link.targets(y), weight)
        np.testing.assert_array_equal(coupling, np.eye(2))
        assert not offset.any()
