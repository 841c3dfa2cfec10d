"""Samplers, on a diffusion whose best denoiser is known."""

import itertools

import pytest
import torch

from mts_fusion.nn.diffusion import SAMPLERS, NoiseSchedule
from mts_fusion.nn.diffusion._sampler import solver_steps


def spread(sampler, n_steps, *, mean=2.0, deviation=0.5, name="quad"):
    """Mean and deviation of samples of a normal, with its exact posterior mean as denoiser."""
    schedule = NoiseSchedule(name, 50)
    generator = torch.Generator().manual_seed(0)

    def denoise(z, step):
        signal, noise = schedule.signal[step], schedule.noise[step]
        gain = signal * deviation**2 / (signal**2 * deviation**2 + noise**2)
        return mean + gain * (z - signal * mean)

    def noise(_):
        return torch.randn(20_000, generator=generator)

    x = SAMPLERS[sampler](denoise, noise, schedule, n_steps)
    return float(x.mean()), float(x.std())


@pytest.mark.parametrize(
    ("sampler", "n_steps", "tolerance"),
    [
        ("ddpm", 50, 0.04),
        ("ddim", 50, 0.04),
        ("dpm++2m", 50, 0.02),
        ("dpm++2m", 10, 0.04),
        ("flow2m", 50, 0.02),
        ("flow2m", 10, 0.04),
    ],
)
@pytest.mark.parametrize("name", ["quad", "cosine"])
def test_samples_have_the_mean_and_deviation_of_the_data(sampler, n_steps, tolerance, name):
    mean, deviation = spread(sampler, n_steps, name=name)
    assert abs(mean - 2.0) < 0.05
    assert abs(deviation - 0.5) < tolerance


@pytest.mark.parametrize("n_steps", [1, 3, 10])
def test_the_flow_is_exact_at_any_number_of_steps_for_standard_normal_data(n_steps):
    assert spread("flow2m", n_steps, mean=0.0, deviation=1.0)[1] == pytest.approx(1, abs=0.01)


@pytest.mark.parametrize("sampler", ["dpm++2m", "flow2m"])
def test_second_order_is_nearer_than_first_order_at_few_steps(sampler):
    first, second = spread("ddim", 10)[1], spread(sampler, 10)[1]
    assert abs(second - 0.5) < abs(first - 0.5)


@pytest.mark.parametrize("spacing", ["time", "log_snr", "angle"])
@pytest.mark.parametrize("n_steps", [1, 2, 7, 20, 49, 50])
def test_steps_fall_from_the_last_to_the_first(spacing, n_steps):
    steps = solver_steps(NoiseSchedule(), n_steps, spacing)
    assert len(steps) == n_steps
    assert steps[0] == 49
    assert n_steps == 1 or steps[-1] == 0
    assert all(a > b for a, b in itertools.pairwise(steps))


@pytest.mark.parametrize("n_steps", [0, 51])
def test_more_steps_than_trained_is_an_error(n_steps):
    with pytest.raises(ValueError, match=f"n_steps={n_steps}, but a diffusion trained with 50"):
        solver_steps(NoiseSchedule(), n_steps)


@pytest.mark.slow
@pytest.mark.parametrize("sampler", ["ddim", "dpm++2m"])
def test_solvers_agree_with_diffusers(sampler):
    diffusers = pytest.importorskip("diffusers")
    schedule = NoiseSchedule()
    settings = {
        "num_train_timesteps": 50,
        "trained_betas": (1 - schedule.alpha).numpy(),
        "prediction_type": "sample",
    }
    if sampler == "ddim":
        n_steps = 50  # it walks in equal strides; ours need not
        other = diffusers.DDIMScheduler(**settings, clip_sample=False)
        other.set_timesteps(n_steps)
    else:
        n_steps = 8
        other = diffusers.DPMSolverMultistepScheduler(**settings, final_sigmas_type="zero")
        other.set_timesteps(timesteps=solver_steps(schedule, n_steps, "log_snr"))

    def denoise(z, step):
        return torch.tanh(z * schedule.signal[step] + 0.3)

    z = torch.randn(100, generator=torch.Generator().manual_seed(0))
    ours, theirs = SAMPLERS[sampler](denoise, lambda _: z, schedule, n_steps), z
    for step in other.timesteps:
        theirs = other.step(denoise(theirs, int(step)), step, theirs).prev_sample
    torch.testing.assert_close(ours, theirs, atol=1e-4, rtol=1e-4)
