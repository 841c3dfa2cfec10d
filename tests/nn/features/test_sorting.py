"""Numbers in order: numpy's way and torch's give the same."""

from __future__ import annotations

import pytest
import torch

from mts_fusion.nn.features._sorting import sort_values


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_values_are_those_of_torch(dtype):
    x = torch.randn(7, 3, 50).to(dtype)
    x[0, 0, :5], x[1, 2, 7], x[2] = torch.nan, -torch.inf, torch.inf
    kept = x.clone()
    assert torch.equal(sort_values(x).nan_to_num(9.0), x.sort(-1).values.nan_to_num(9.0))
    assert torch.equal(x.nan_to_num(9.0), kept.nan_to_num(9.0))
    assert sort_values(x.transpose(0, 2)).shape == (50, 3, 7)


def test_a_gradient_passes_where_one_is_wanted():
    x = torch.tensor([3.0, 1.0, 2.0], requires_grad=True)
    (sort_values(x) * torch.tensor([1.0, 10.0, 100.0])).sum().backward()
    assert x.grad.tolist() == [100.0, 1.0, 10.0]


def test_a_graph_has_torchs():
    class Sort(torch.nn.Module):
        def forward(self, x):
            return sort_values(x)

    x = torch.randn(4, 9)
    program = torch.export.export(Sort(), (x,)).module()
    assert torch.equal(program(x.flip(1)), x.sort(-1).values)
