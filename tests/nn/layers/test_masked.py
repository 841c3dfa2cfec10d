"""Means over what a mask allows, and the nearest observations."""

import torch

from mts_fusion.nn.layers import masked_mean, mean_weights, nearest_observed


def _case():
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(4, 6, 3, generator=generator)
    mask = torch.rand(4, 6, 1, generator=generator) < 0.5
    mask[0], mask[1] = False, True
    return x, mask


def test_a_masked_mean_is_the_mean_of_what_the_mask_allows():
    x, mask = _case()
    mean = masked_mean(x, mask, 1)
    for i in range(1, 4):
        torch.testing.assert_close(mean[i], x[i][mask[i, :, 0]].mean(0))
    assert torch.equal(mean[0], torch.zeros(3))


def test_what_a_mask_excludes_may_be_nan():
    x, mask = _case()
    spoiled = x.masked_fill(~mask, torch.nan)
    assert torch.equal(masked_mean(x, mask, 1), masked_mean(spoiled, mask, 1))


def test_weights_of_a_mean_give_the_masked_mean():
    x, mask = _case()
    weights = mean_weights(mask, 1)
    torch.testing.assert_close((weights * x).sum(1), masked_mean(x, mask, 1))


def test_the_nearest_observations_are_those_of_a_loop():
    observed = _case()[1].expand(-1, -1, 2) & torch.tensor([True, False])
    before, after = nearest_observed(observed)
    for i in range(4):
        for c in range(2):
            at = [t for t in range(6) if observed[i, t, c]]
            for t in range(6):
                assert before[i, t, c] == max((s for s in at if s <= t), default=-1)
                assert after[i, t, c] == min((s for s in at if s >= t), default=6)
