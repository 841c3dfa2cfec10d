"""Statistics of a sample do not depend on the batch it comes in."""

import pytest
import torch

from mts_fusion.nn.blocks import Rocket
from mts_fusion.nn.blocks._statistics import StatisticTokens
from mts_fusion.panel._schema import Modality, Schema


def _batch(n_timepoints, n_channels, share):
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, n_timepoints, n_channels, generator=generator)
    return x, torch.rand(x.shape, generator=generator) < share


@pytest.mark.parametrize("share", [0.7, 2.0])
@pytest.mark.parametrize(("n_timepoints", "n_channels"), [(3, 1), (25, 3), (125, 9), (64, 5)])
def test_fixed_features_have_the_same_bits_in_batches_of_16_and_more(
    n_timepoints, n_channels, share
):
    x, seen = _batch(n_timepoints, n_channels, share)
    x = torch.where(seen, x, 0.0)
    statistics = StatisticTokens(Schema((Modality("a", n_channels, n_timepoints),)), 8)
    rocket = Rocket(n_channels, n_timepoints, n_groups=4)
    rocket.fit_biases(x, seen)

    def features(rows):
        return torch.cat(
            [
                statistics.featurize([x[rows]], [seen[rows]])[0],
                rocket.featurize(x[rows], seen[rows]),
            ],
            1,
        )

    whole = features(slice(None)).nan_to_num(7.0)
    for size in (16, 32):
        parts = [features(slice(i, i + size)) for i in range(0, 64, size)]
        assert torch.equal(torch.cat(parts).nan_to_num(7.0), whole)
