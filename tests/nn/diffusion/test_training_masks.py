"""What is hidden in training."""

import pytest
import torch

from mts_fusion.nn.diffusion import HideObserved
from mts_fusion.nn.diffusion._training_masks import HIDING_STRATEGIES


def make_observed(n=64, missing=0.3):
    generator = torch.Generator().manual_seed(1)
    return [
        torch.rand(n, length, channels, generator=generator) > missing
        for length, channels in ((12, 4), (5, 2), (1, 3))
    ]


def hide(strategy, observed, fraction=None):
    layer = HideObserved(strategy, fraction)
    layer.generator = torch.Generator().manual_seed(0)
    return layer(observed)


@pytest.mark.parametrize("strategy", HIDING_STRATEGIES)
def test_only_observed_entries_are_hidden_and_some_of_each_sample(strategy):
    observed = make_observed()
    hidden = hide(strategy, observed)
    assert all((o | ~h).all() for h, o in zip(hidden, observed, strict=True))
    assert torch.stack([h.flatten(1).any(1) for h in hidden]).any(0).all()


@pytest.mark.parametrize("strategy", HIDING_STRATEGIES)
def test_a_sample_with_nothing_observed_passes(strategy):
    observed = [torch.zeros_like(o) for o in make_observed(3)]
    assert not any(h.any() for h in hide(strategy, observed))


def test_a_fixed_fraction_is_met():
    observed = make_observed(2000, missing=0.0)
    for strategy in ("random", "block"):
        share = hide(strategy, observed, 0.2)[0].float().mean()
        assert 0.17 < share < 0.33, strategy  # blocks are whole timepoints and channels


def test_a_block_is_a_rectangle():
    observed = make_observed(missing=0.0)
    hidden = hide("block", observed, 0.3)[0]
    rows, columns = hidden.any(2), hidden.any(1)
    assert torch.equal(hidden, rows[:, :, None] & columns[:, None])
    changes = (rows.int().diff(dim=1) != 0).sum(1)
    assert (changes <= 2).all()


def test_one_whole_modality_is_hidden_and_never_the_only_one():
    observed = make_observed(missing=0.0)
    observed[1][:8], observed[2][:8] = False, False
    hidden = hide("modality", observed)
    whole = torch.stack([h.flatten(1).all(1) for h in hidden], dim=1)
    assert (whole[8:].sum(1) == 1).all()
    assert whole[8:].any(0).all()


def test_historical_hides_what_another_sample_lacks():
    observed = make_observed()
    hidden = hide("historical", observed)
    expected = observed[0] & ~observed[0].roll(1, 0)
    assert torch.equal(hidden[0], expected)


def test_the_mixture_leaves_the_other_modalities_whole_in_many_samples():
    observed = make_observed(4000, missing=0.0)
    hidden = hide("mix", observed)
    hit = torch.stack([h.flatten(1).any(1) for h in hidden], dim=1)
    alone = hit.sum(1) == 1
    assert 0.45 < alone.float().mean() < 0.8
    # 48, 10 and 3 entries: the larger a modality, the more often it is the one.
    assert hit[alone].sum(0).diff().lt(0).all()


def test_the_same_generator_hides_the_same():
    observed = make_observed()
    assert all(map(torch.equal, hide("mix", observed), hide("mix", observed)))


def test_unknown_strategy_and_fraction_are_errors():
    with pytest.raises(ValueError, match=r"mask_strategy must be one of \['random', 'block'"):
        HideObserved("all")
    with pytest.raises(ValueError, match=r"hidden_fraction is a share in \(0, 1\) or None, got 1"):
        HideObserved(fraction=1)
