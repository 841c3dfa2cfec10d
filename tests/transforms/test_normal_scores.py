"""Normal scores: the map of each channel, there and back."""

import numpy as np
import pytest
from scipy.stats import norm

from mts_fusion.panel import Panel
from mts_fusion.transforms._normal_scores import NormalScores


def fit(values):
    return NormalScores().fit({"a": np.reshape(values, (-1, 1, 1)).astype(float)})


def scores_of(fitted, values):
    return fitted.transform({"a": np.reshape(values, (-1, 1, 1))}).values["a"][:, 0, 0]


def back(fitted, scores):
    return fitted.inverse("a", np.zeros(len(scores), int), np.asarray(scores, float))


def test_skewed_values_become_normal_and_come_back():
    x = np.random.default_rng(0).lognormal(size=20_000)
    fitted = fit(x)
    z = scores_of(fitted, x)
    for level in (0.05, 0.25, 0.5, 0.9):
        assert np.quantile(z, level) == pytest.approx(norm.ppf(level), abs=0.02)
    most = np.abs(z) < 2.5
    np.testing.assert_allclose(back(fitted, z)[most], x[most], rtol=0.02)
    assert len(fitted.maps_["a"][0].values) < 1100


def test_a_frequent_value_keeps_its_probability():
    fitted = fit([15] * 70 + [10] * 20 + [3] * 10)
    drawn = back(fitted, norm.ppf((np.arange(1000) + 0.5) / 1000))
    assert (drawn == 15).mean() == pytest.approx(0.7, abs=0.02)
    assert (drawn == 3).mean() == pytest.approx(0.1, abs=0.02)
    assert drawn.min() == 3
    assert drawn.max() == 15
    assert np.all(np.diff(scores_of(fitted, [3, 10, 15])) > 0)


def test_an_outlier_of_any_size_is_a_score_of_eight_at_most():
    x = np.random.default_rng(0).normal(size=1000)
    fitted = fit(x)
    assert np.all(np.abs(scores_of(fitted, [1e6, -1e30, 5.0])) < 8)
    assert np.abs(back(fitted, [-40.0, 40.0])).max() < 15
    with_outlier = fit(np.append(x, 1e6))
    others = np.delete(x, x.argmax())
    np.testing.assert_allclose(scores_of(with_outlier, others), scores_of(fitted, others), atol=0.3)


def test_beyond_the_values_seen_the_map_is_a_straight_line():
    x = np.random.default_rng(0).normal(10, 2, size=5000)
    far = np.array([x.max() + 1, x.max() + 3])
    z = scores_of(fit(x), far)
    np.testing.assert_allclose(np.diff(z), 1.0, atol=0.1)


def test_a_constant_channel_and_a_single_value_come_back():
    for values in ([5.0] * 4, [5.0]):
        fitted = fit(values)
        assert np.all(scores_of(fitted, [5.0, 7.0]) == 0)
        assert np.all(back(fitted, [-3.0, 0.0, 3.0]) == 5.0)


def test_what_is_not_observed_is_not_read_but_scored_along():
    values = np.array([[[1.0, 2.0, 3.0, 100.0]]])
    observed = np.array([[[True, True, True, False]]])
    fitted = NormalScores().fit(Panel({"a": values}, observed={"a": observed}))
    assert fitted.maps_["a"][0].values.max() < 20
    scored = fitted.transform(Panel({"a": values}, observed={"a": observed}))
    assert scored.observed["a"].tolist() == observed.tolist()
