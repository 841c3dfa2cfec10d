"""The layer across modalities shows where its attention goes, and may have a budget."""

from __future__ import annotations

import math

import torch

from mts_fusion.nn.attention import CrossModalLayer


def test_the_attention_shown_is_that_of_the_keys():
    layer = CrossModalLayer(8, 2).eval()
    x, available = torch.randn(2, 6, 8), torch.ones(2, 6, dtype=torch.bool)
    available[0, 3:] = False
    modality = torch.nn.functional.one_hot(torch.tensor([0, 0, 0, 1, 1, 1]), 2)
    shown = layer(x, available, modality).attention
    torch.testing.assert_close(shown.sum(-1), torch.ones(2, 6))
    assert (shown[0, :, 1] == 0).all()
    assert (shown[1] > 0).all()


def test_tokens_outside_the_budget_take_the_mean_and_those_within_attend():
    torch.manual_seed(0)
    layer = CrossModalLayer(8, 2, budget=3.0).eval()
    x, available = torch.randn(2, 40, 8), torch.ones(2, 40, dtype=torch.bool)
    shown = layer(x, available, torch.eye(40)).attention  # (B, T, T), mean over the two heads
    is_mean = (shown - 1 / 40).abs().amax(-1) < 1e-6
    n_attending = 3.0 * math.log(40)  # in each head
    assert ((~is_mean).sum(1) >= math.ceil(n_attending)).all()
    assert ((~is_mean).sum(1) <= 2 * math.ceil(n_attending)).all()


def test_without_a_budget_all_tokens_attend():
    torch.manual_seed(0)
    x, available = torch.randn(2, 40, 8), torch.ones(2, 40, dtype=torch.bool)
    shown = CrossModalLayer(8, 2).eval()(x, available, torch.eye(40)).attention
    assert ((shown - 1 / 40).abs().amax(-1) > 1e-6).all()
