"""Dropout draws from its own generator, at the rate asked for."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from mts_fusion.nn.layers import Dropout, set_generator


@pytest.mark.parametrize("p", [0.1, 0.5, 0.9])
def test_rate_and_mean_are_kept(p):
    dropout = Dropout(p)
    dropout.generator = torch.Generator().manual_seed(0)
    y = dropout(torch.ones(300, 301))
    assert abs((y == 0).float().mean() - p) < 0.01
    assert abs(y.mean() - 1) < 0.03


def test_the_gradient_is_that_of_what_was_kept():
    x = torch.randn(40, 5, requires_grad=True)
    y = Dropout(0.5)(x)
    y.sum().backward()
    torch.testing.assert_close(x.grad, (y != 0) * 2.0)


def test_the_same_seed_gives_the_same_bits():
    dropout = Dropout(0.3)
    x = torch.ones(33)
    results = []
    for seed in (0, 0, 1):
        dropout.generator = torch.Generator().manual_seed(seed)
        results.append(dropout(x))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])


def test_evaluation_and_rate_zero_do_nothing():
    x = torch.ones(8)
    assert Dropout(0.5).eval()(x) is x
    assert Dropout(0.0)(x) is x


def test_a_rate_outside_is_an_error():
    with pytest.raises(ValueError, match=r"p is a share in \[0, 1\), got 1.0"):
        Dropout(1.0)


def test_set_generator_reaches_every_part():
    net = nn.Sequential(nn.Sequential(Dropout(0.5)), nn.Linear(2, 2), Dropout(0.1))
    generator = torch.Generator()
    set_generator(net, generator)
    assert net[0][0].generator is generator
    assert net[2].generator is generator
