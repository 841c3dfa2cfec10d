"""Links, folds, conformal sets and the models of sets of modalities."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax

from mts_fusion.training import (
    GroupFolds,
    Head,
    IdentityLink,
    PatternModels,
    SigmoidLink,
    SoftmaxLink,
    TrainingRows,
    conformal_intervals,
    conformal_sets,
    run_folds,
)


def _rows(n: int = 60, n_classes: int = 2, seed: int = 0) -> tuple[TrainingRows, np.ndarray]:
    generator = np.random.default_rng(seed)
    y = generator.integers(n_classes, size=n)
    features = [(generator.normal(size=(n, 4)) + y[:, None]).astype(np.float32) for _ in range(3)]
    features[2][::4] = np.nan
    available = np.stack([~np.isnan(x).any(1) for x in features], axis=1)
    targets = SoftmaxLink(n_classes).targets(y)
    keys = np.arange(n, dtype=np.uint64)
    fold = np.arange(n) % 5
    none = np.full(n, -1)
    return TrainingRows(features, targets, np.ones(n), fold, available, keys, keys, none), y


def _models(rows: TrainingRows, link=None, **settings) -> PatternModels:
    columns = [{"statistics": [0, 1, 2, 3]} for _ in range(3)]
    heads = [Head(("statistics",), (1.0,))]
    link = link or SoftmaxLink(rows.targets.shape[1])
    return PatternModels(heads, columns, link, **settings).fit(rows, 5)


def test_one_factor_is_the_temperature_of_the_least_log_loss() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(3, size=200)
    scores = generator.normal(size=(200, 3)) + 2 * np.eye(3)[y]
    weight = generator.random(200)
    link = SoftmaxLink(3)

    def loss(log: float) -> float:
        log_p = log_softmax(np.exp(log) * scores, axis=1)
        doubt = 1 / (2 * weight.sum() + 1)
        each = -(1 - doubt) * log_p[np.arange(200), y] - doubt * log_p.mean(1)
        return float(np.average(each, weights=weight))

    factor = link.weights([scores], link.targets(y), weight)[0]
    expected = np.exp(minimize_scalar(loss, bounds=(-4, 4), method="bounded").x)
    assert factor == pytest.approx(expected, rel=1e-3)


def test_a_head_of_noise_gets_little_weight() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(2, size=400)
    good, noise = (
        3 * np.eye(2)[y] + generator.normal(size=(400, 2)),
        generator.normal(size=(400, 2)),
    )
    link = SoftmaxLink(2)
    factors = link.weights([good, noise], link.targets(y), np.ones(400))
    assert factors[1] * noise.std() < 0.1 * factors[0] * good.std()


def test_labels_and_numbers_have_weights_too() -> None:
    generator = np.random.default_rng(0)
    y = generator.integers(2, size=(100, 3))
    link = SigmoidLink()
    scores = 2.0 * y - 1 + generator.normal(size=y.shape)
    assert link.weights([scores], link.targets(y), np.ones(100))[0] > 0
    numbers = IdentityLink(np.zeros(1), np.ones(1))
    truth = generator.normal(size=(100, 1))
    noise = generator.normal(size=(100, 1))
    factors = numbers.weights([truth / 2, noise], truth, np.ones(100))
    np.testing.assert_allclose(factors, [2.0, 0.0], atol=0.05)


def test_a_group_is_never_divided_and_the_order_of_rows_does_not_matter() -> None:
    groups = np.random.default_rng(0).integers(25, size=300)
    folds = GroupFolds(groups)
    fold = folds(groups)
    assert folds.n_folds == 10
    assert all(len(np.unique(fold[groups == g])) == 1 for g in np.unique(groups))
    again = GroupFolds(groups[::-1])
    np.testing.assert_array_equal(again(groups), fold)
    assert GroupFolds(groups, few=True).n_folds == 4
    assert 0 <= folds(np.array([999]))[0] < 10


def test_neighbours_are_held_out_together() -> None:
    fold = run_folds(1000)
    assert len(np.unique(fold)) == 5
    assert (fold[:20] == fold[0]).all()
    np.testing.assert_array_equal(run_folds(7), np.arange(7))


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_kept_models_are_bounded_and_made_again_alike(form: str) -> None:
    rows, _ = _rows()
    models = _models(rows, form=form, max_patterns=2, n_threads=1)
    first = models.scores(rows.features, rows.available & [True, False, False])
    for m in (1, 2):
        models.model((m,))
    assert len(models.models) == 2
    assert (0,) not in models.models
    again = models.scores(rows.features, rows.available & [True, False, False])
    np.testing.assert_array_equal(first, again)


@pytest.mark.parametrize("form", ["dual", "primal"])
@pytest.mark.parametrize("n_classes", [2, 4])
def test_held_out_scores_are_those_of_the_models_without_the_fold(
    form: str, n_classes: int
) -> None:
    rows, _ = _rows(n_classes=n_classes)
    models = _models(rows, form=form)
    whole = (0, 1, 2)
    model = models.model(whole)
    assert model is not None
    assert not np.array_equal(model.coupling, np.eye(n_classes))
    assert model.offset.all()
    has_all = rows.available.all(1)
    scores = models.fold_scores([x[has_all] for x in rows.features], rows.available[has_all])
    own = scores[rows.fold[has_all], np.arange(has_all.sum())]
    np.testing.assert_allclose(own, model.held_out[has_all], rtol=1e-6, atol=1e-8)


def test_what_no_training_row_has_gives_no_score() -> None:
    rows, _ = _rows()
    available = rows.available.copy()
    available[:, 2] = False
    rows.features[2][:] = np.nan
    models = _models(rows._replace(available=available))
    assert models.model((2,)) is None
    assert np.isnan(models.scores(rows.features, np.array([[False, False, True]] * 60))).all()


def test_a_class_that_one_fold_has_alone_is_left_out_of_the_calibration() -> None:
    rows, _ = _rows()
    targets = SoftmaxLink(3).targets(np.where(rows.fold == 0, 2, np.arange(60) % 2))
    model = _models(rows._replace(targets=targets)).model((0, 1))
    assert model is not None
    assert np.isnan(model.held_out[rows.fold == 0]).all()
    assert np.isfinite(model.held_out[rows.fold != 0]).all()


@pytest.mark.parametrize("form", ["dual", "primal"])
def test_conformal_sets_are_those_of_the_definition(form: str) -> None:
    rows, _ = _rows()
    test, _ = _rows(20, seed=1)
    models = _models(rows, form=form)
    sets = conformal_sets(models, test.features, test.available, 0.8)
    for i in range(20):
        members = tuple(np.flatnonzero(test.available[i]).tolist())
        model = models.model(members)
        assert model is not None
        one = [x[i : i + 1] for x in test.features]
        p = models.link.predictions(models.fold_scores(one, test.available[i : i + 1])[:, 0])
        own = models.link.predictions(model.held_out)[rows.targets > 0]
        complete = np.flatnonzero(rows.available[:, list(members)].all(1))
        for c in range(2):
            below = sum(1 - own[j] < 1 - p[rows.fold[j], c] for j in complete)
            assert sets[i, c] == (below < 0.8 * (len(complete) + 1)) or sets[i].sum() == 1


def test_conformal_intervals_are_those_of_the_definition() -> None:
    rows, _ = _rows()
    y = rows.features[0].sum(1).astype(float) + np.random.default_rng(0).normal(size=60)
    link = IdentityLink(np.array([y.mean()]), np.array([y.std()]))
    rows = rows._replace(targets=link.targets(y))
    models = _models(rows, link)
    intervals = conformal_intervals(models, rows.features, rows.available, 0.8)
    predicted = link.predictions(models.fold_scores(rows.features, rows.available)[:, 0])[:, 0]
    members = tuple(np.flatnonzero(rows.available[0]).tolist())
    residual = np.abs(y - link.predictions(models.model(members).held_out)[:, 0])
    valid = np.isfinite(residual) & rows.available[:, list(members)].all(1)
    wanted = int(np.ceil(0.8 * (valid.sum() + 1)))
    upper = np.sort((predicted[rows.fold] + residual)[valid])[wanted - 1]
    lower = np.sort((predicted[rows.fold] - residual)[valid])[::-1][wanted - 1]
    np.testing.assert_allclose(intervals[0, 0], [lower, upper], atol=1e-6)


def test_sets_hold_the_class_as_often_as_stated() -> None:
    hits = []
    for seed in range(6):
        rows, _ = _rows(150, seed=seed)
        test, y = _rows(200, seed=100 + seed)
        available = test.available & (np.random.default_rng(seed).random((200, 3)) < 0.6)
        available[:, 0] |= ~available.any(1)
        sets = conformal_sets(_models(rows), test.features, available, 0.9)
        hits.append(sets[np.arange(200), y].mean())
    assert 0.87 < np.mean(hits) < 0.96
