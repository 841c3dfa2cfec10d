"""Straight lines between observations."""

import numpy as np
import torch

from mts_fusion.nn.diffusion import fill_between


def test_it_is_the_interpolation_of_numpy_on_irregular_times():
    rng = np.random.default_rng(0)
    values = rng.normal(size=(5, 12, 3)).astype(np.float32)
    observed = rng.random(values.shape) > 0.6
    observed[:, 0] |= ~observed.any(1)
    times = np.cumsum(rng.random((5, 12)), axis=1).astype(np.float32)
    filled, distance = fill_between(*map(torch.from_numpy, (values, observed, times)), None)
    for b in range(5):
        for c in range(3):
            o = observed[b, :, c]
            line = np.interp(times[b], times[b][o], values[b, o, c])
            np.testing.assert_allclose(filled[b, :, c], line, atol=1e-5)
            nearest = np.abs(times[b][:, None] - times[b][o]).min(1)
            np.testing.assert_allclose(distance[b, :, c], nearest, atol=1e-5)


def test_a_silent_channel_is_zero_and_far():
    observed = torch.zeros(1, 4, 1, dtype=torch.bool)
    filled, distance = fill_between(
        torch.full((1, 4, 1), 9.0), observed, torch.arange(4.0)[None], None
    )
    assert not filled.any()
    assert (distance == 4).all()


def test_equal_times_are_finite():
    observed = torch.tensor([True, False, True])[None, :, None]
    filled, _ = fill_between(torch.ones(1, 3, 1), observed, torch.zeros(1, 3), None)
    assert torch.isfinite(filled).all()
