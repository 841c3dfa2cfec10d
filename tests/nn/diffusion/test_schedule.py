"""Noise schedules."""

import pytest
import torch

from mts_fusion.nn.diffusion import NoiseSchedule


@pytest.mark.parametrize("name", ["quad", "linear", "cosine"])
def test_signal_falls_noise_rises_and_variance_is_kept(name):
    schedule = NoiseSchedule(name, 50)
    assert (schedule.signal.diff() < 0).all()
    assert (schedule.noise.diff() > 0).all()
    torch.testing.assert_close(schedule.signal**2 + schedule.noise**2, torch.ones(50))


def test_quad_is_the_schedule_of_csdi():
    beta = torch.linspace(0.0001**0.5, 0.5**0.5, 50) ** 2
    torch.testing.assert_close(1 - NoiseSchedule("quad", 50).alpha, beta, rtol=1e-4, atol=1e-6)


def test_noise_is_added_at_the_step_of_each_sample():
    schedule = NoiseSchedule()
    x, noise = torch.ones(2, 3), torch.zeros(2, 3)
    z = schedule.add_noise(x, noise, torch.tensor([0, 49]))
    assert torch.equal(z[:, 0], schedule.signal[[0, 49]])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"schedule": "sine"}, r"schedule must be one of \['quad', 'linear', 'cosine'\], got"),
        ({"n_steps": 1}, "at least 2 steps, got 1"),
        ({"n_steps": 4}, "keeps 36% of the signal at its last step"),
    ],
)
def test_schedule_says_what_is_wrong(arguments, message):
    with pytest.raises(ValueError, match=message):
        NoiseSchedule(**arguments)
