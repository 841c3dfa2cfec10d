"""The layer across modalities shows where its attention goes, and may have a budget."""

from __future__ import annotations

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


def test_attention_across_modalities_can_have_a_budget():
    x, available = torch.randn(2, 200, 8), torch.ones(2, 200, dtype=torch.bool)
    layer = CrossModalLayer(8, 2, budget=3.0).eval()
    assert layer(x, available).tokens.isfinite().all()
