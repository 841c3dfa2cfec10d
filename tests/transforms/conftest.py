"""A panel of three sensors with every kind of gap, for the tests of all transformers."""

import numpy as np
import pytest

from mts_fusion.panel import Panel


@pytest.fixture
def panel():
    """Twelve samples; every fifth gyro is silent, single acc values are missing."""
    rng = np.random.default_rng(0)
    acc = 9.8 + 2 * rng.normal(size=(12, 3, 20))
    gyro = rng.normal(size=(12, 2, 10))
    temp = 30 + rng.normal(size=(12, 1, 4)).cumsum(2)
    acc[rng.random(acc.shape) < 0.1] = np.nan
    gyro[::5] = np.nan
    return Panel({"acc": acc, "gyro": gyro, "temp": temp}, rates={"acc": 20.0, "gyro": 10.0})


@pytest.fixture
def same():
    """Whether two panels hold the same, NaN and all."""

    def check(first, second):
        assert first.schema == second.schema
        for name in first.schema.names:
            np.testing.assert_array_equal(first.values[name], second.values[name])
            np.testing.assert_array_equal(first.observed[name], second.observed[name])

    return check
