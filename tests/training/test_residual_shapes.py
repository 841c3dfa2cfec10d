"""The distribution of the errors of a Gaussian process."""

import numpy as np
import pytest
from scipy import stats

from mts_fusion.training import Residuals, ResidualShapes

LEVELS = np.array([0.05, 0.25, 0.5, 0.75, 0.95])
NORMAL = stats.norm.ppf(LEVELS)


def residuals(error, *, channel=0, width=1.0):
    n = len(error)
    return Residuals(
        np.broadcast_to(channel, n).astype(int), np.broadcast_to(width, n) * np.ones(n), error
    )


def quantiles(shapes, *, channel=0, width=1.0, normal=NORMAL):
    return shapes.quantiles(normal[:, None], np.array([channel]), np.array([width]))[:, 0]


def test_quantiles_are_those_of_the_errors():
    error = stats.t(4).rvs(20_000, random_state=0) + 0.3
    shapes = ResidualShapes(residuals(error), 1)
    np.testing.assert_allclose(quantiles(shapes), stats.t(4).ppf(LEVELS) + 0.3, atol=0.06)


def test_each_channel_and_each_width_has_its_own():
    rng = np.random.default_rng(0)
    error = rng.normal(size=200_000)
    channel, width = np.arange(200_000) % 2, np.exp(rng.uniform(-2, 2, 200_000))
    error *= np.where(channel == 0, 1.0, np.where(width > 1, 2.0, 0.5))
    shapes = ResidualShapes(residuals(error, channel=channel, width=width), 2)
    np.testing.assert_allclose(quantiles(shapes, channel=0), NORMAL, atol=0.06)
    np.testing.assert_allclose(quantiles(shapes, channel=1, width=0.2), NORMAL / 2, atol=0.06)
    np.testing.assert_allclose(quantiles(shapes, channel=1, width=5.0), NORMAL * 2, atol=0.12)


def test_a_channel_without_errors_has_those_of_all_and_no_errors_are_normal():
    error = 3 * np.random.default_rng(0).normal(size=5_000)
    shapes = ResidualShapes(residuals(error), 2)
    np.testing.assert_allclose(quantiles(shapes, channel=1), 3 * NORMAL, rtol=0.1, atol=0.15)
    np.testing.assert_allclose(quantiles(ResidualShapes(residuals(error[:0]), 1)), NORMAL)


def test_two_far_errors_do_not_decide():
    shapes = ResidualShapes(residuals(np.array([9.0, 9.0])), 1)
    assert np.abs(quantiles(shapes) - NORMAL).max() < 0.9


@pytest.mark.parametrize("shift", [0.0, 5.0, -5.0])
def test_quantiles_rise_to_the_outermost_level(shift):
    error = np.random.default_rng(0).normal(size=3_000) + shift
    normal = np.linspace(-10, 10, 401)
    shaped = quantiles(ResidualShapes(residuals(error), 1), normal=normal)
    assert (np.diff(shaped) > 0).all()


def test_widths_that_are_all_equal_are_one_group():
    error = np.concatenate([np.full(600, -1.0), np.full(600, 1.0)])
    shaped = quantiles(ResidualShapes(residuals(error), 1))
    np.testing.assert_allclose(shaped[[0, -1]], [-1, 1], atol=0.1)


def test_scores_are_the_inverse_of_quantiles():
    rng = np.random.default_rng(0)
    channel, width = np.arange(4_000) % 2, np.exp(rng.uniform(-2, 2, 4_000))
    shapes = ResidualShapes(Residuals(channel, width, rng.standard_t(3, 4_000) * width), 2)
    normal = rng.uniform(-6, 6, 4_000)
    error = shapes.quantiles(normal[None], channel, width)[0]
    np.testing.assert_allclose(shapes.scores(error, channel, width), normal, atol=1e-6)
