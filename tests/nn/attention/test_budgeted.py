"""Attention within a budget gives what full attention gives, for the queries that attend."""

from __future__ import annotations

import math

import pytest
import torch

from mts_fusion.nn.attention import BudgetedAttention, BudgetGate, attend, budgeted_attend


def make_heads(n: int = 5, n_tokens: int = 24) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(n, 2, n_tokens, 4, generator=generator) for _ in range(3))
    observed = torch.rand(n, n_tokens, generator=generator) < 0.7
    return q, k, v, observed


FULL_FRACTION = "mts_fusion.nn.attention._budgeted._FULL_FRACTION"
both_ways = pytest.mark.parametrize("full_fraction", [0.0, math.inf], ids=["all", "picked"])


def test_attend_equals_softmax_over_observed_keys():
    q, k, v, observed = make_heads()
    scores = (q @ k.transpose(-1, -2) / 2).masked_fill(~observed[:, None, None], -math.inf)
    torch.testing.assert_close(attend(q, k, v, observed), scores.softmax(-1) @ v)


def test_attend_gives_zeros_and_finite_gradients_where_nothing_is_observed():
    q, k, v, observed = make_heads()
    observed[0] = False
    q.requires_grad_()
    out = attend(q, k, v, observed)
    out.sum().backward()
    assert not out[0].any()
    assert q.grad.isfinite().all()


@both_ways
def test_a_budget_for_all_queries_is_full_attention(monkeypatch, full_fraction):
    monkeypatch.setattr(FULL_FRACTION, full_fraction)
    q, k, v, observed = make_heads()
    out = budgeted_attend(q, k, v, observed, torch.full((5,), 24.0), factor=100.0)
    o = observed[:, None, :, None].expand_as(out)
    torch.testing.assert_close(out[o], attend(q, k, v, observed)[o])


def test_picking_queries_first_or_attending_with_all_gives_the_same(monkeypatch):
    q, k, v, observed = make_heads()
    budget = torch.tensor([0.0, 1.5, 3.0, 7.25, 50.0])
    outputs = []
    for full_fraction in (0.0, math.inf):
        monkeypatch.setattr(FULL_FRACTION, full_fraction)
        outputs.append(budgeted_attend(q, k, v, observed, budget, factor=4.0))
    torch.testing.assert_close(*outputs)


def test_gradients_of_both_ways_are_the_same(monkeypatch):
    *heads, observed = make_heads()
    gradients = []
    for full_fraction in (0.0, math.inf):
        monkeypatch.setattr(FULL_FRACTION, full_fraction)
        budget = torch.tensor([0.5, 1.5, 3.0, 7.25, 5.0])
        inputs = [x.clone().requires_grad_() for x in (*heads, budget)]
        out = budgeted_attend(*inputs[:3], observed, inputs[3], factor=4.0)
        out.square().sum().backward()
        gradients.append([x.grad for x in inputs])
    for x, y in zip(*gradients, strict=True):
        torch.testing.assert_close(x, y, rtol=1e-4, atol=1e-5)
    assert gradients[0][3].any()


def test_without_budget_each_query_takes_the_mean_of_what_is_observed():
    q, k, v, observed = make_heads()
    out = budgeted_attend(q, k, v, observed, torch.zeros(5))
    mean = torch.stack([v[i][:, observed[i]].mean(1) for i in range(5)])
    torch.testing.assert_close(out, mean.unsqueeze(2).expand_as(out))


def test_the_queries_that_attend_are_those_farthest_from_uniform():
    q, k, v, observed = make_heads(1, 32)
    observed[:] = True
    q[0, :, 5] *= 20
    out = budgeted_attend(q, k, v, observed, torch.ones(1))
    attended = (out - v.mean(2, keepdim=True)).abs().sum(-1) > 1e-4  # (1, H, T)
    assert attended[0, :, 5].all()
    assert (attended.sum(-1) == 1).all()


def test_a_fraction_of_a_query_attends_by_that_fraction():
    q, k, v, observed = make_heads()
    none, half, whole = (
        budgeted_attend(q, k, v, observed, torch.full((5,), budget), factor=4.0)
        for budget in (2.0, 2.5, 3.0)
    )
    torch.testing.assert_close(half, (none + whole) / 2)


def test_keys_sampled_in_training_come_from_the_generator():
    qkv = torch.randn(4, 64, 24, generator=torch.Generator().manual_seed(0))
    observed = torch.ones(4, 64, dtype=torch.bool)
    attention = BudgetedAttention(2).train()
    results = []
    for seed in (1, 1, 2):
        attention.generator = torch.Generator().manual_seed(seed)
        results.append(attention(qkv, observed, torch.full((4,), 1.0)))
    assert torch.equal(results[0], results[1])
    assert not torch.equal(results[0], results[2])
    attention.eval()
    assert torch.equal(
        attention(qkv, observed, torch.ones(4)), attention(qkv, observed, torch.ones(4))
    )


def test_the_gate_gives_no_budget_to_the_absent_and_a_gradient_to_all_weights():
    gate = BudgetGate(3, max_budget=4.0)
    available = torch.tensor([[True, False, True], [False, False, False]])
    budget = gate(available)
    budget.sum().backward()
    assert torch.equal(budget > 0, available)
    assert budget.max() <= 4.0
    assert all(p.grad.any() for p in gate.parameters())


def test_the_gate_keeps_fixed_budgets():
    available = torch.ones(2, 3, dtype=torch.bool)
    mixed = BudgetGate(3, fixed=[2.0, math.nan, 0.5])(available)
    assert torch.equal(mixed[:, [0, 2]], torch.tensor([[2.0, 0.5]] * 2))
    given = BudgetGate(3, fixed=[2.0, 1.0, math.inf])
    assert given(torch.tensor([[True, False, False]])).tolist() == [[2.0, 0.0, 0.0]]
    assert not given.learns
