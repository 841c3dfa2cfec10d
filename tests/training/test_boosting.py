"""Boosted trees beside the ridge regressions."""

import numpy as np
from numpy.testing import assert_allclose

from mts_fusion import PatternRidgeClassifier
from mts_fusion.panel import Panel
from mts_fusion.training._boosting import BoostedTrees

RNG = np.random.default_rng(0)


def _fitted(last_times: np.ndarray, y: np.ndarray) -> BoostedTrees:
    """Trees on one feature without meaning and the last time of each of two modalities."""
    features = [
        np.column_stack([RNG.normal(size=len(y)), times]).astype(np.float32)
        for times in last_times.T
    ]
    trees = BoostedTrees([[0], [0]], [[1], [1]], is_regression=False)
    there = np.ones((len(y), 2), dtype=bool)
    targets = np.where(y[:, None] == [0, 1], 1.0, -1.0)
    return trees.fit(features, targets, np.ones(len(y)), np.arange(len(y)) % 3, there, 3)


def test_trees_see_how_long_a_modality_has_been_silent() -> None:
    end = RNG.uniform(0, 1e5, 200)
    silent = RNG.uniform(0, 100, 200)
    y = (silent > 50).astype(int)
    trees = _fitted(np.column_stack([end - silent, end]), y)
    assert np.mean(trees.held_out((0, 1)).argmax(1) == y) > 0.95
    # Alone, a modality ends with itself.
    assert np.mean(trees.held_out((0,)).argmax(1) == y) < 0.65


def test_the_end_is_that_of_the_modalities_that_are_there() -> None:
    trees = _fitted(RNG.uniform(size=(20, 2)), np.arange(20) % 2)
    nan = np.nan
    table = np.array([[7, 7, 10, 30], [7, 7, 10, nan], [7, 7, nan, 30], [7, 7, nan, nan]])
    expected = [[7, 7, 20, 0], [7, 7, 0, nan], [7, 7, nan, 0], [7, 7, nan, nan]]
    assert_allclose(trees._since_last(table), expected)
    hidden = trees._masked(table[:1], np.array([[True, False]]))
    assert_allclose(trees._since_last(hidden), [[7, nan, 0, nan]])


def test_the_boosting_head_compares_the_clocks_of_modalities() -> None:
    silent = RNG.uniform(0, 100, 80)
    end = RNG.uniform(1e3, 1e5, 80)
    times = {"a": np.stack([end - silent - 1, end - silent], 1), "b": np.stack([0 * end, end], 1)}
    X = Panel({name: RNG.normal(size=(80, 1, 2)) for name in times}, times=times)
    y, groups = (silent > 50).astype(int), np.arange(80) % 2
    clf = PatternRidgeClassifier(kinds=("timing",), head="boosting", random_state=0)
    assert clf.fit(X[:60], y[:60], groups=groups[:60]).score(X[60:], y[60:]) > 0.85
