"""Kernel, likelihood and conditional distributions against plain numpy."""

import numpy as np
import pytest
import torch
from scipy.stats import multivariate_normal

from mts_fusion.nn.gaussian_process import (
    CoregionalKernel,
    Entries,
    conditional,
    leave_one_out,
    near_products,
    negative_log_likelihood,
    pack_entries,
    shrunk_covariance,
)

SCALES = [1.0, 7.0]


@pytest.fixture
def kernel():
    covariance = torch.tensor([[1.0, 0.8, 0.1], [0.8, 1.0, 0.0], [0.1, 0.0, 1.0]])
    return CoregionalKernel(covariance, SCALES, rank=2, seed=0)


def entries(*, n, seed, n_samples=2):
    rng = np.random.default_rng(seed)
    return Entries(
        torch.tensor(rng.integers(3, size=(n_samples, n))),
        torch.tensor(rng.uniform(0, 9, (n_samples, n))),
        torch.ones(n_samples, n, dtype=torch.bool),
        torch.tensor(rng.normal(size=(n_samples, 1, n))),
    )


def covariance(kernel, first, second, row):
    """The definition, in numpy."""
    matrices = kernel.matrices().detach().numpy()
    total = 0.0
    distance = np.abs(first.time[row].numpy()[:, None] - second.time[row].numpy())
    smooth = np.sqrt(3) * distance / SCALES[1]
    decays = [np.exp(-distance / SCALES[0]), (1 + smooth) * np.exp(-smooth), 1.0]
    for matrix, decay in zip(matrices, decays, strict=True):
        total = total + matrix[first.channel[row][:, None], second.channel[row]] * decay
    return total


def with_noise(kernel, one, row):
    noise = kernel.noise().detach().numpy()[one.channel[row].numpy()]
    return covariance(kernel, one, one, row) + np.diag(noise)


@pytest.mark.parametrize("on_a_grid", [True, False])
def test_the_covariance_is_its_definition_where_times_are_shared_too(kernel, on_a_grid):
    first, second = entries(n=30, seed=0), entries(n=20, seed=1)
    if on_a_grid:
        first, second = (one._replace(time=one.time.floor()) for one in (first, second))
    first.exists[1, -5:] = False
    result = kernel.covariance(first, second)
    for row in range(2):
        exists = first.exists[row].numpy()[:, None]
        expected = covariance(kernel, first, second, row) * exists
        np.testing.assert_allclose(result[row], expected, atol=1e-12)


def test_the_conditional_distribution_is_that_of_plain_numpy(kernel):
    known, wanted = entries(n=6, seed=0), entries(n=4, seed=1)
    result = conditional(kernel, known, wanted, joint=True)
    for row in range(2):
        cross = covariance(kernel, known, wanted, row)
        weights = np.linalg.solve(with_noise(kernel, known, row), cross)
        mean = weights.T @ known.value[row, 0].numpy()
        expected = with_noise(kernel, wanted, row) - cross.T @ weights
        np.testing.assert_allclose(result.mean[row, 0], mean, atol=1e-10)
        np.testing.assert_allclose(result.factor[row] @ result.factor[row].T, expected, atol=1e-10)
        np.testing.assert_allclose(result.variance[row], np.diag(expected), atol=1e-10)
    apart = conditional(kernel, known, wanted, joint=False)
    torch.testing.assert_close(apart.variance, result.variance)


def test_the_likelihood_and_its_gradient_are_those_of_the_normal_density(kernel):
    data = entries(n=5, seed=2)
    loss = negative_log_likelihood(kernel, data)
    logs = [
        multivariate_normal(cov=with_noise(kernel, data, row)).logpdf(data.value[row, 0].numpy())
        for row in range(2)
    ]
    assert float(loss.detach()) == pytest.approx(-np.sum(logs) / 10)
    loss.backward()
    for parameter in kernel.parameters():
        with torch.no_grad():
            parameter[(0,) * (parameter.ndim - 1) + (1,)] += 1e-5
            more = negative_log_likelihood(kernel, data)
            parameter[(0,) * (parameter.ndim - 1) + (1,)] -= 1e-5
        slope = (float(more) - float(loss.detach())) / 1e-5
        assert float(parameter.grad[(0,) * (parameter.ndim - 1) + (1,)]) == pytest.approx(
            slope, abs=1e-4
        )


def test_padding_changes_nothing(kernel):
    data, wanted = entries(n=6, seed=3), entries(n=3, seed=4)
    short = Entries(data.channel, data.time, torch.arange(6) < torch.tensor([[4], [6]]), data.value)
    alone = Entries(*(part[:1, ..., :4] for part in data))
    first = Entries(*(part[:1] for part in wanted))
    padded = conditional(kernel, short, wanted, joint=True)
    exact = conditional(kernel, alone, first, joint=True)
    torch.testing.assert_close(padded.mean[:1], exact.mean)
    torch.testing.assert_close(padded.factor[:1], exact.factor)
    one = Entries(*(part[:1] for part in short))
    torch.testing.assert_close(
        negative_log_likelihood(kernel, one), negative_log_likelihood(kernel, alone)
    )


def test_draws_have_the_mean_and_the_covariance_of_the_conditional(kernel):
    known, wanted = entries(n=6, seed=5, n_samples=1), entries(n=3, seed=6, n_samples=1)
    result = conditional(kernel, known, wanted, joint=True)
    normal = torch.randn(1, 20_000, 3, generator=torch.Generator().manual_seed(0)).double()
    draws = result.draw(normal)[0]
    torch.testing.assert_close(draws.mean(0), result.mean[0, 0], atol=0.03, rtol=0)
    expected = (result.factor @ result.factor.mT)[0]
    torch.testing.assert_close(draws.T.cov(), expected, atol=0.03, rtol=0)


def test_a_fit_may_start_from_the_covariance_of_near_entries():
    rng = np.random.default_rng(0)
    base = rng.normal(size=(400, 1))
    value = np.concatenate([base + 0.1 * rng.normal(size=(400, 1)), base], axis=1)
    channel = torch.tensor([0, 1]).expand(400, 2)
    data = Entries(channel, torch.zeros(400, 2), channel >= 0, torch.tensor(value[:, None]))
    result = shrunk_covariance(*near_products(data, 2))
    np.testing.assert_allclose(result, np.cov(value.T), atol=0.15)
    apart = data._replace(time=torch.tensor([0.0, 50.0]).expand(400, 2))
    assert abs(float(shrunk_covariance(*near_products(apart, 2))[0, 1])) < 1e-6


def test_lists_are_as_short_as_the_longest():
    index, exists = pack_entries(torch.tensor([[False, True, True, False], [False] * 4]))
    assert index[0].tolist() == [1, 2]
    assert exists.tolist() == [[True, True], [False, False]]


def test_wrong_sizes_are_refused():
    with pytest.raises(ValueError, match="rank is at least 1 and scales are positive"):
        CoregionalKernel(torch.eye(2), [0.0], rank=1, seed=0)


def test_leaving_one_out_is_the_conditional_distribution_given_the_others(kernel):
    known = entries(n=6, seed=0)
    known.exists[1, 4:] = False
    left_out = leave_one_out(kernel, known)
    for i in range(4):
        index = torch.tensor([[j for j in range(6) if j != i]] * 2)
        others = known.take(index, known.exists.gather(1, index))
        one = known.take(torch.full((2, 1), i), torch.ones(2, 1, dtype=torch.bool))
        expected = conditional(kernel, others, one, joint=False)
        torch.testing.assert_close(left_out.mean[:, 0, i], expected.mean[:, 0, 0])
        torch.testing.assert_close(left_out.variance[:, i], expected.variance[:, 0])
