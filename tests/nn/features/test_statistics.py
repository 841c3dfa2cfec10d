"""Statistics: the same in any batch, as normal scores, and each with its name."""

import pytest
import torch

from mts_fusion.nn.features import MultiRocketFeatures, StatisticFeatures
from mts_fusion.panel._schema import Modality, Vocabulary


def _batch(n_timepoints, n_channels, share):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, n_timepoints, n_channels, generator=generator)
    return x, torch.rand(x.shape, generator=generator) < share


@pytest.mark.parametrize("share", [0.7, 2.0])
@pytest.mark.parametrize(("n_timepoints", "n_channels"), [(3, 1), (25, 3), (125, 9), (64, 5)])
def test_fixed_features_have_the_same_bits_in_batches_of_16_and_more(
    n_timepoints, n_channels, share
):
    x, observed = _batch(n_timepoints, n_channels, share)
    x = torch.where(observed, x, 0.0)
    modality = Modality("a", n_channels, n_timepoints)
    statistics = StatisticFeatures(modality)
    rocket = MultiRocketFeatures(modality, n_groups=4)
    rocket.fit_biases(x, observed)

    def features(rows):
        return torch.cat(
            [
                statistics.compute(x[rows], observed[rows]),
                rocket.compute(x[rows], observed[rows]),
            ],
            1,
        )

    whole = features(slice(None)).nan_to_num(7.0)
    for size in (16, 32):
        parts = [features(slice(i, i + size)) for i in range(0, 64, size)]
        assert torch.equal(torch.cat(parts).nan_to_num(7.0), whole)


@pytest.mark.parametrize(
    "modality",
    [
        Modality("a", 3, 8),
        Modality("a", 1, 40),
        Modality("a", 30, 20),
        Modality("a", 2, 1),
        Modality("words", 2, 20, vocabulary=Vocabulary(5)),
    ],
)
def test_every_statistic_has_a_name_of_its_own(modality):
    block = StatisticFeatures(modality)
    shape = (4, modality.n_timepoints, modality.n_channels)
    x = torch.ones(shape, dtype=torch.float32 if modality.vocabulary is None else torch.int64)
    names = block.feature_names()
    assert block.compute(x, torch.ones(shape, dtype=torch.bool)).shape == (4, len(names))
    assert len(set(names)) == len(names)


def test_names_say_which_statistic_it_is():
    block = StatisticFeatures(Modality("a", 2, 12))
    x, observed = _batch(12, 2, 0.7)
    result = dict(zip(block.feature_names(), block.compute(x, observed).T, strict=True))
    shown = torch.where(observed, x, torch.nan)
    assert torch.allclose(result["1__mean"], shown[..., 1].nanmean(1), atol=1e-6, equal_nan=True)
    lowest = torch.where(observed, x, torch.inf).amin(1)[:, 0]
    has = observed[..., 0].any(1)
    assert torch.equal(result["0__q00"][has], lowest[has])
    assert torch.equal(result["1__value3"].isnan(), ~observed[:, 3, 1])
    assert "0_1__correlation" in result


def test_scores_are_normal_and_beyond_the_training_samples_they_are_bounded():
    block = StatisticFeatures(Modality("a", 1, 40))
    x, observed = _batch(40, 1, 2.0)
    raw = block.compute(x, observed)
    block.fit(raw)
    scores = block.standardize(raw)
    mean = scores[:, block.feature_names().index("0__mean")]
    assert abs(float(mean.mean())) < 0.05
    assert 0.9 < float(mean.std()) < 1.1
    assert block.standardize(raw * 1e6).abs().max() < 3


def test_values_that_are_equal_but_for_rounding_have_one_score():
    block = StatisticFeatures(Modality("a", 1, 1))
    n = block.n_features
    tied = 0.3 + 1e-7 * torch.randn(60, n, generator=torch.Generator().manual_seed(0))
    raw = torch.cat([tied, torch.linspace(1, 2, 40)[:, None].expand(-1, n)])
    block.fit(raw)
    scores = block.standardize(tied)
    assert (scores.max() - scores.min()).item() < 1e-4
    others = block.standardize(raw[60:])
    assert (others.diff(dim=0) >= 0).all()
    assert (others > scores.max()).all()
