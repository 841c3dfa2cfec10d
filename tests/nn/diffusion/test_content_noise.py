"""Noise that a sample carries with it."""

import torch

from mts_fusion.nn.diffusion import content_keys, keyed_normal


def make_sample(n=4, length=6):
    generator = torch.Generator().manual_seed(0)
    values = [torch.randn(n, length, 2, generator=generator), torch.randn(n, 3, 1)]
    return values, [torch.ones_like(x, dtype=torch.bool) for x in values]


def test_noise_is_standard_normal():
    z = keyed_normal(torch.arange(50), (40, 5), draws=torch.arange(10)).flatten()
    quantiles = torch.quantile(z, torch.tensor([0.025, 0.25, 0.5, 0.75, 0.975]))
    expected = torch.tensor([-1.960, -0.674, 0.0, 0.674, 1.960])
    torch.testing.assert_close(quantiles, expected, atol=0.02, rtol=0)
    assert abs(z.std() - 1) < 0.01


def test_noise_of_other_key_draw_step_modality_or_entry_is_uncorrelated():
    keys, draws = torch.arange(200), torch.arange(20)
    z = keyed_normal(keys, (5, 2), draws=draws)
    others = [
        z.roll(1, 0),
        z.roll(1, 1),
        z.roll(1, 2),
        z.roll(1, 3),
        keyed_normal(keys, (5, 2), draws=draws, step=1),
        keyed_normal(keys, (5, 2), draws=draws, modality=1),
    ]
    for other in others:
        assert abs((z * other).mean()) < 0.02


def test_noise_does_not_depend_on_neighbours_or_on_later_timepoints():
    z = keyed_normal(torch.arange(5), (6, 2), draws=torch.arange(4), step=3)
    part = keyed_normal(torch.tensor([3, 1]), (4, 2), draws=torch.tensor([2]), step=3)
    assert torch.equal(z[[3, 1]][:, 2:3, :4], part)


def test_keys_follow_the_content_alone():
    values, observed = make_sample()
    keys = content_keys(values, observed)
    order = torch.tensor([2, 0])
    assert torch.equal(
        keys[order], content_keys([x[order] for x in values], [o[order] for o in observed])
    )
    assert keys.unique().numel() == 4
    assert not (keys == content_keys(values, observed, seed=1)).any()


def test_values_behind_missing_entries_and_padding_do_not_change_the_key():
    values, observed = make_sample()
    observed[0][:, 4] = False
    keys = content_keys(values, observed)
    values[0][:, 4] = 7.0
    padded = [torch.cat([x, x.new_ones(4, 2, x.shape[2])], dim=1) for x in values]
    o = [torch.cat([o, o.new_zeros(4, 2, o.shape[2])], dim=1) for o in observed]
    assert torch.equal(keys, content_keys(padded, o))


def test_an_entry_less_observed_changes_the_key():
    values, observed = make_sample()
    values[0][:, 0] = 0.0
    keys = content_keys(values, observed)
    observed[0][:, 0, 0] = False
    assert not (keys == content_keys(values, observed)).any()
