"""Attention within a budget gives what full attention gives, for the queries that attend."""

from __future__ import annotations

import math
from functools import partial

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from mts_fusion.nn.attention import (
    BudgetedAttention,
    BudgetGate,
    attend,
    budgeted_attend,
    picking_saves,
    scaled_attend,
)


def make_heads(n: int = 5, n_tokens: int = 24) -> tuple[torch.Tensor, ...]:
    generator = torch.Generator().manual_seed(0)
    q, k, v = (torch.randn(n, 2, n_tokens, 4, generator=generator) for _ in range(3))
    observed = torch.rand(n, n_tokens, generator=generator) < 0.7
    return q, k, v, observed


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


@pytest.mark.parametrize("attend_within", [scaled_attend, partial(budgeted_attend, factor=100.0)])
def test_a_budget_for_all_queries_is_full_attention(attend_within):
    q, k, v, observed = make_heads()
    out = attend_within(q, k, v, observed, torch.full((5,), 24.0))
    o = observed[:, None, :, None].expand_as(out)
    torch.testing.assert_close(out[o], attend(q, k, v, observed)[o])


def test_scaled_attention_spends_the_budget_on_all_queries_alike():
    *heads, observed = make_heads()
    n = observed.sum(1)
    mean = scaled_attend(*heads, observed, torch.zeros(5))
    full = attend(*heads, observed)
    quarter = scaled_attend(*heads, observed, n / 4)
    torch.testing.assert_close(quarter, mean + (full - mean) / 4)
    budget = (n / 3).requires_grad_()
    scaled_attend(*heads, observed, budget)[0].sum().backward()
    assert (budget.grad != 0).tolist() == [True, False, False, False, False]


def _products(picks: bool, n_tokens: int, max_budget: float) -> int:
    attention = BudgetedAttention(2, max_budget=max_budget).eval()
    qkv, observed = torch.randn(3, n_tokens, 24), torch.ones(3, n_tokens, dtype=torch.bool)
    with FlopCounterMode(display=False) as counter, sdpa_kernel(SDPBackend.MATH):
        attention(qkv, observed, torch.ones(3), picks=picks)
    return counter.get_total_flops()


@pytest.mark.parametrize("max_budget", [1.0, 5.0])
def test_queries_are_picked_where_that_takes_fewer_products(max_budget):
    saved = []
    for n_tokens in (4, 8, 16, 25, 26, 27, 40):
        saved.append(_products(True, n_tokens, max_budget) < _products(False, n_tokens, max_budget))
        assert picking_saves(n_tokens, max_budget) == saved[-1], n_tokens
    assert saved[-1]
    assert not saved[0]
    assert saved[2] == (max_budget == 1.0)


def test_a_small_budget_ranks_the_queries_by_more_than_one_key():
    *heads, observed = make_heads(1, 16)
    observed[:] = True
    attended = []
    for factor in (0.5, 5.0):
        out = budgeted_attend(*heads, observed, torch.tensor([0.7]), factor=factor)
        attended.append((out - heads[2].mean(2, keepdim=True)).abs().sum(-1) > 1e-4)
    assert torch.equal(*attended)


def test_without_budget_each_query_takes_the_mean_of_what_is_observed():
    q, k, v, observed = make_heads()
    mean = torch.stack([v[i][:, observed[i]].mean(1) for i in range(5)])
    for attend_within in (budgeted_attend, scaled_attend):
        out = attend_within(q, k, v, observed, torch.zeros(5))
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
