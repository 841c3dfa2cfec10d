"""make_trace_benchmark gives what appendix A.3 of TRACE says, written once more in numpy.

One sample, one dimension and one timepoint after another. The random numbers are those of the
generator, in its order; the equations, ranges and constants are those of the paper.
"""

from __future__ import annotations

from math import cos, exp, pi, sin, sqrt

import numpy as np
import pytest

from mts_fusion.datasets import make_trace_benchmark

N, L, HORIZON, SEED = 4, 50, 2, 11


class Sample:
    """The latent parameters of a sample, by name, and its equations."""

    def __init__(self, drawn, i):
        for name, values in drawn.items():
            setattr(self, name, values[i])

    def low(self, d, t):  # eq. 9
        wave = self.a_low[d] * sin(2 * pi * self.f_low[d] * t + self.phi_low[d])
        return wave + self.s[d] * (t - 0.5) + self.q[d] * (t - 0.5) ** 2

    def mid(self, d, t):  # eq. 10
        return self.a_mid[d] * sin(2 * pi * self.f_mid[d] * t + self.phi_mid[d])

    def high(self, d, t):  # eq. 11 to 13
        a, f, phi = self.a_high[d], self.f_high[d], self.phi_high[d]
        wave = a * sin(2 * pi * f * t + phi) + 0.3 * a * cos(2 * pi * (1.7 * f) * t + phi / 2)
        if not self.has_burst:
            return wave
        return wave + self.amplitude * exp(-((t - self.mu) ** 2) / (2 * self.sigma**2))

    def latent(self, t):  # eq. 14 to 16
        drift = self.a_drift[0] * sin(2 * pi * self.f_drift[0] * t + self.phi_drift[0])
        x = [self.low(d, t) for d in range(8)]
        x += [self.mid(d, t) for d in range(6)]
        x += [self.high(d, t) for d in range(16)]
        return np.array(x) + drift

    def u_low(self):
        """The 28 summaries of eq. 19, the last of them nuisance."""
        of_low = [self.a_low, self.f_low, self.phi_low, self.s, self.q]
        crossed = [(0, 1), (0, 3), (0, 4), (1, 2), (3, 4)]
        u = [np.mean(x) for x in of_low] + [np.std(x) for x in of_low]
        u += [np.cov(of_low[i], of_low[j], bias=True)[0, 1] for i, j in crossed]
        u += [self.a_drift[0], self.f_drift[0], self.phi_drift[0]]
        return np.array([*u, *self.nuisance_low])

    def u_high(self):
        """The 28 summaries of eq. 20: also burst metadata and the energy of each band."""
        of_mid = [self.a_mid, self.f_mid, self.phi_mid]
        of_high = [self.a_high, self.f_high, self.phi_high]
        u = [np.mean(x) for x in of_mid + of_high] + [np.std(x) for x in of_mid + of_high]
        u += [np.cov(x[0], x[1], bias=True)[0, 1] for x in (of_mid, of_high)]
        burst = [1, self.mu, self.sigma, self.amplitude] if self.has_burst else [0, 0, 0, 0]
        u += burst
        u += [sum(a**2 / 2 for a in self.a_mid)]
        u += [sum(a**2 / 2 + (0.3 * a) ** 2 / 2 for a in self.a_high)]
        u += [burst[3] ** 2 * burst[2] * sqrt(pi)]  # integral of the squared bump
        return np.array([*u, *self.nuisance_high])


def draw(rng):
    """What is drawn for N samples: ranges of the paper, order of the generator."""
    uniform = {
        "f_low": (0.6, 2.0, 8), "a_low": (0.6, 1.5, 8), "phi_low": (0, 2 * pi, 8),
        "s": (-1, 1, 8), "q": (-0.3, 0.3, 8),
        "f_mid": (2.5, 5.0, 6), "a_mid": (0.4, 1.2, 6), "phi_mid": (0, 2 * pi, 6),
        "f_high": (6.0, 11.0, 16), "a_high": (0.2, 0.9, 16), "phi_high": (0, 2 * pi, 16),
    }  # fmt: skip
    burst = {"mu": (0.15, 0.85), "sigma": (0.05, 0.1), "amplitude": (0.8, 2.2)}
    drift = {"a_drift": (0.05, 0.35), "f_drift": (0.1, 0.5), "phi_drift": (0, 2 * pi)}
    drawn = {
        name: rng.uniform(low, high, size=(N, width))
        for name, (low, high, width) in uniform.items()
    }
    drawn["has_burst"] = rng.random(N) < 0.7
    drawn |= {name: rng.uniform(*bounds, size=N) for name, bounds in burst.items()}
    drawn |= {name: rng.uniform(*bounds, size=(N, 1)) for name, bounds in drift.items()}
    drawn["noise"] = rng.normal(0, 0.03, size=(N, 30, L + HORIZON))
    drawn["nuisance_low"] = rng.normal(0, 0.1, size=(N, 10))
    drawn["nuisance_high"] = rng.normal(0, 0.1, size=(N, 7))
    drawn["noise_low"] = rng.normal(0, 0.02, size=(N, 16))
    drawn["noise_high"] = rng.normal(0, 0.02, size=(N, 16))
    return drawn


@pytest.fixture(scope="module")
def benchmark():
    return make_trace_benchmark(N, 1, 1, horizon=HORIZON, random_state=SEED).train


@pytest.fixture(scope="module")
def oracle():
    """The fixed matrices, and the samples with what was drawn for each."""
    rng = np.random.default_rng(np.random.SeedSequence(SEED).spawn(2)[0])
    mixing = rng.normal(0, 1 / sqrt(30), size=(30, 30))
    projections = [rng.normal(0, 1 / sqrt(28), size=(16, 28)) for _ in range(2)]
    drawn = draw(rng)
    return mixing, projections, [Sample(drawn, i) for i in range(N)]


def test_the_seed_has_samples_with_and_without_a_burst(oracle):
    assert {bool(sample.has_burst) for sample in oracle[2]} == {True, False}


def test_the_series_is_eq_9_to_18(benchmark, oracle):
    mixing, _, samples = oracle
    series = benchmark.complete.values["series"]
    future = benchmark.target.reshape(N, 30, HORIZON)
    for i, sample in enumerate(samples):
        for j in range(L + HORIZON):
            expected = mixing @ sample.latent(j / L) + sample.noise[:, j]
            actual = series[i, :, j] if j < L else future[i, :, j - L]
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)


def test_the_conditions_are_eq_19_and_20(benchmark, oracle):
    _, (p_low, p_high), samples = oracle
    for i, sample in enumerate(samples):
        for name, expected in (
            ("low", p_low @ sample.u_low() + sample.noise_low),
            ("high", p_high @ sample.u_high() + sample.noise_high),
        ):
            actual = benchmark.complete.values[name][i, :, 0]
            np.testing.assert_allclose(actual, expected, rtol=1e-4, atol=1e-5)
