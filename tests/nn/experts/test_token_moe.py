"""Experts give what a loop over them gives, at the cost of those that are chosen."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F

from mts_fusion.nn.experts import SparseMoE


def loop_over_experts(moe: SparseMoE, x: torch.Tensor) -> torch.Tensor:
    gate = moe.router(x).softmax(-1)
    weight, expert = gate.topk(moe.k, dim=-1)
    if moe.k > 1:
        weight = weight / weight.sum(-1, keepdim=True)
    out = torch.zeros_like(x)
    for e in range(moe.n_experts):
        share = (weight * (expert == e)).sum(-1, keepdim=True)
        hidden = F.relu(x @ moe.experts.weight_in[e] + moe.experts.bias_in[e])
        out = out + share * (hidden @ moe.experts.weight_out[e])
    return out


@pytest.mark.parametrize("k", [1, 2, 4])
@pytest.mark.parametrize("n", [1, 7, 700])
def test_blocks_of_one_expert_equal_a_loop_over_experts(n, k):
    torch.manual_seed(0)
    moe = SparseMoE(8, 4, k)
    x = torch.randn(2, n, 8, requires_grad=True)
    observed = torch.ones(2, n, dtype=torch.bool)
    y, _ = moe(x, observed)
    expected = loop_over_experts(moe, x)
    torch.testing.assert_close(y, expected, rtol=1e-4, atol=1e-5)
    (grad,) = torch.autograd.grad(y.square().sum(), x)
    (expected_grad,) = torch.autograd.grad(expected.square().sum(), x)
    torch.testing.assert_close(grad, expected_grad, rtol=1e-4, atol=1e-4)


def test_all_tokens_to_one_expert_drops_none():
    moe = SparseMoE(8, 4)
    with torch.no_grad():
        moe.router.weight.zero_()
        moe.router.weight[2] = 1.0
    x = torch.rand(3, 300, 8) + 0.1
    y, routing = moe(x, torch.ones(3, 300, dtype=torch.bool))
    assert (routing.expert == 2).all()
    torch.testing.assert_close(y, loop_over_experts(moe, x), rtol=1e-4, atol=1e-5)


def test_gates_sum_to_one_and_balance_is_one_to_n_experts():
    moe = SparseMoE(8, 4)
    x, observed = torch.randn(2, 50, 8), torch.ones(2, 50, dtype=torch.bool)
    routing = moe(x, observed)[1]
    torch.testing.assert_close(routing.gate.sum(-1), torch.ones(2, 50))
    assert 0 < routing.balance <= 4


def test_tokens_that_are_not_observed_do_not_count_in_the_balance():
    moe = SparseMoE(8, 4)
    x = torch.randn(2, 50, 8)
    observed = torch.zeros(2, 50, dtype=torch.bool)
    observed[:, :10] = True
    other = x.clone()
    other[:, 10:] = 3.0
    assert torch.equal(moe(x, observed)[1].balance, moe(other, observed)[1].balance)


def test_a_gradient_reaches_the_router_with_one_active_expert():
    moe = SparseMoE(8, 4, 1)
    moe(torch.randn(2, 50, 8), torch.ones(2, 50, dtype=torch.bool))[0].sum().backward()
    assert moe.router.weight.grad.any()


def test_one_expert_is_a_plain_feed_forward_layer():
    moe = SparseMoE(8, 1)
    x = torch.randn(2, 5, 8)
    y, routing = moe(x, torch.ones(2, 5, dtype=torch.bool))
    expected = (
        F.relu(x @ moe.experts.weight_in[0] + moe.experts.bias_in[0]) @ moe.experts.weight_out[0]
    )
    torch.testing.assert_close(y, expected)
    assert routing.balance == 1


def test_more_active_experts_than_experts_is_an_error():
    with pytest.raises(ValueError, match="between 1 and n_experts=4; got 5"):
        SparseMoE(8, 4, 5)
