"""CV+ of groups against loops, against MAPIE, and what it covers."""

from __future__ import annotations

import numpy as np
import pytest
from mapie.regression import CrossConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin
from sklearn.model_selection import PredefinedSplit

from mts_fusion.nn.ridge import INTERCEPT
from mts_fusion.training import (
    Head,
    IdentityLink,
    PatternModels,
    SoftmaxLink,
    TrainingRows,
    conformal_intervals,
    conformal_sets,
)


def _draw(n: int, seed: int, *, missing: bool = True):
    """Three modalities of two numbers each, and a noisy sum of them."""
    generator = np.random.default_rng(seed)
    features = [generator.normal(size=(n, 2)).astype(np.float32) for _ in range(3)]
    y = sum(x.sum(1) for x in features) + generator.normal(size=n)
    if missing:
        silent = generator.random((n, 3)) < 0.3
        silent[np.arange(n), generator.integers(3, size=n)] = False
        for m in range(3):
            features[m][silent[:, m]] = np.nan
    return features, y


def _models(features, targets, link, *, fold, group=None, weight=None) -> PatternModels:
    n = len(fold)
    available = np.stack([~np.isnan(x).any(1) for x in features], axis=1)
    keys = np.arange(n, dtype=np.uint64)
    weight = np.ones(n) if weight is None else weight
    group = np.full(n, -1) if group is None else group
    rows = TrainingRows(features, targets, weight, fold, available, keys, keys, group)
    columns = [{"statistics": [0, 1]} for _ in range(3)]
    models = PatternModels([Head(("statistics",), (None,))], columns, link, penalty=1.0)
    return models.fit(rows, int(fold.max()) + 1)


def _link(y: np.ndarray) -> IdentityLink:
    return IdentityLink(np.array([y.mean()]), np.array([y.std()]))


def _shares(models: PatternModels, index: np.ndarray, n_groups: int, coverage: float):
    """Weights of the rows and the weight to reach, from the definition."""
    weight, group = models.kept.weight[index], models.kept.group[index]
    if (group < 0).any() or round(n_groups - coverage * (n_groups + 1), 9) < 0:
        return weight, coverage * (weight.sum() + weight.max())
    sums = {g: weight[group == g].sum() for g in set(group.tolist())}
    return np.array([w / sums[g] for w, g in zip(weight, group, strict=True)]), coverage * (
        n_groups + 1
    )


def _calibration_rows(models: PatternModels, model, coverage: float):
    """Rows that have all of the sensors; all that have any, where those are too few."""
    valid = np.isfinite(model.held_out).all(1)
    for use in (valid & models.kept.available[:, list(model.members)].all(1), valid):
        index = np.flatnonzero(use)
        if not len(index):
            continue
        n_groups = len(np.unique(models.kept.group[index]))
        share, wanted = _shares(models, index, n_groups, coverage)
        if wanted <= share.sum() + 1e-6:
            break
    return index, share, wanted


@pytest.mark.parametrize("n_groups", [4, 9, 12])
@pytest.mark.parametrize("coverage", [0.8, 0.9])
def test_with_enough_groups_each_counts_alike(n_groups: int, coverage: float) -> None:
    features, y = _draw(60, 0)
    group = np.random.default_rng(1).integers(n_groups, size=60)
    group[:n_groups] = np.arange(n_groups)
    weight = np.random.default_rng(2).random(60) + 0.5
    link = _link(y)
    models = _models(features, link.targets(y), link, fold=group % 4, group=group, weight=weight)
    new, _ = _draw(15, 5)
    available = np.stack([~np.isnan(x).any(1) for x in new], axis=1)
    intervals = conformal_intervals(models, new, available, coverage)[:, 0]
    scores = models.fold_scores(new, available)
    for i in range(15):
        model = models.model(tuple(np.flatnonzero(available[i]).tolist()))
        index, share, wanted = _calibration_rows(models, model, coverage)
        ends = {1: [], -1: []}
        for j in index:
            predicted = link.predictions(scores[models.kept.fold[j], i])[0]
            residual = abs(y[j] - link.predictions(model.held_out[j])[0])
            for sign in ends:
                ends[sign].append(sign * predicted + residual)
        for sign, end in ((-1, 0), (1, 1)):
            order = np.argsort(ends[sign])
            enough = np.flatnonzero(share[order].cumsum() >= wanted - 1e-6)
            expected = sign * ends[sign][order[enough[0]]] if len(enough) else sign * np.inf
            assert intervals[i, end] == pytest.approx(expected, abs=1e-6)


def test_nine_groups_are_enough_for_nine_tenths() -> None:
    features, y = _draw(90, 0, missing=False)
    link = _link(y)
    heavy = np.where(np.arange(90) % 9 == 0, 100.0, 1.0)
    settings = {"fold": np.arange(90) % 9, "group": np.arange(90) % 9}
    available = np.ones((90, 3), dtype=bool)
    ends = [
        conformal_intervals(
            _models(features, link.targets(y), link, weight=w, **settings), features, available, 0.9
        )
        for w in (np.ones(90), heavy)
    ]
    # Wide enough for all residuals of all groups, however heavy one of them is.
    model = _models(features, link.targets(y), link, weight=heavy, **settings)
    largest = np.abs(y - link.predictions(model.model((0, 1, 2)).held_out)[:, 0]).max()
    assert np.isfinite(ends[0]).all()
    assert (ends[1][:, 0, 1] - ends[1][:, 0, 0] >= largest).all()


def test_sets_with_weights_are_those_of_the_definition() -> None:
    features, y = _draw(60, 0)
    code = np.digitize(y, [-1.0, 1.0])
    weight = np.random.default_rng(2).random(60) + 0.5
    link = SoftmaxLink(3)
    models = _models(features, link.targets(code), link, fold=np.arange(60) % 5, weight=weight)
    new, _ = _draw(20, 5)
    available = np.stack([~np.isnan(x).any(1) for x in new], axis=1)
    sets = conformal_sets(models, new, available, 0.8)
    scores = models.fold_scores(new, available)
    for i in range(20):
        model = models.model(tuple(np.flatnonzero(available[i]).tolist()))
        index, share, wanted = _calibration_rows(models, model, 0.8)
        for c in range(3):
            below = 0.0
            for j, w in zip(index, share, strict=True):
                own = link.predictions(model.held_out[j : j + 1])[0, code[j]]
                below += w * (own > link.predictions(scores[models.kept.fold[j], i : i + 1])[0, c])
            assert sets[i, c] == (below < wanted) or sets[i].sum() == 1


class _Kernel(RegressorMixin, BaseEstimator):
    """Kernel ridge regression of rows of X, which are divided as in training of all."""

    def __init__(self, scale: tuple[float, ...], mean: float, sd: float) -> None:
        self.scale, self.mean, self.sd = scale, mean, sd

    def fit(self, X, y):
        self.X_ = X
        kernel = self._kernel(X, X) + np.eye(len(X))
        self.alpha_ = np.linalg.solve(kernel, (y - self.mean) / self.sd)
        return self

    def _kernel(self, a, b):
        parts = [
            a[:, 2 * m : 2 * m + 2] @ b[:, 2 * m : 2 * m + 2].T / self.scale[m] for m in range(3)
        ]
        return sum(parts) / 3 + INTERCEPT**2

    def predict(self, X):
        return self._kernel(X, self.X_) @ self.alpha_ * self.sd + self.mean


def test_intervals_of_complete_samples_are_those_of_mapie() -> None:
    features, y = _draw(60, 0, missing=False)
    new, _ = _draw(25, 5, missing=False)
    link, fold = _link(y), np.arange(60) % 5
    models = _models(features, link.targets(y), link, fold=fold)
    intervals = conformal_intervals(models, new, np.ones((25, 3), dtype=bool), 0.9)[:, 0]

    scale = tuple(float((x.astype(float) ** 2).sum(1).mean()) for x in features)
    oracle = CrossConformalRegressor(
        _Kernel(scale, y.mean(), y.std()),
        confidence_level=0.9,
        method="plus",
        cv=PredefinedSplit(fold),
    ).fit_conformalize(np.concatenate(features, 1).astype(float), y)
    _, expected = oracle.predict_interval(np.concatenate(new, 1).astype(float))
    np.testing.assert_allclose(intervals, expected[:, :, 0], atol=1e-5)


def _coverage(missing: bool) -> float:
    hits = []
    for seed in range(12):
        features, y = _draw(120, seed, missing=missing)
        new, truth = _draw(300, 100 + seed, missing=missing)
        link = _link(y)
        models = _models(features, link.targets(y), link, fold=np.arange(120) % 6)
        available = np.stack([~np.isnan(x).any(1) for x in new], axis=1)
        ends = conformal_intervals(models, new, available, 0.9)[:, 0]
        hits.append(((ends[:, 0] <= truth) & (truth <= ends[:, 1])).mean())
    return float(np.mean(hits))


def test_intervals_of_complete_samples_hold_the_number_as_often_as_stated() -> None:
    assert 0.86 < _coverage(missing=False) < 0.94


def test_intervals_hold_the_number_as_often_where_sensors_are_missing() -> None:
    assert 0.86 < _coverage(missing=True) < 0.94
