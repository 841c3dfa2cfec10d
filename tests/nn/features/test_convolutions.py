"""Random convolutions see what was observed, and nothing else."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from mts_fusion.nn.features import HydraFeatures, MultiRocketFeatures, SchemaFeatures
from mts_fusion.nn.features._convolution import RandomConvolutions
from mts_fusion.panel._schema import Modality, Schema, Vocabulary


def sensor(n_channels: int, n_timepoints: int) -> Modality:
    return Modality("sensor", n_channels, n_timepoints)


def make_batch(
    n: int = 5, n_timepoints: int = 40, n_channels: int = 3, observed_fraction: float = 0.9
) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(0)
    shape = (n, n_timepoints, n_channels)
    x = torch.randn(shape, generator=generator).cumsum(1) / 3
    return x, torch.rand(shape, generator=generator) < observed_fraction


def make_block(kind: type[RandomConvolutions]) -> RandomConvolutions:
    block = kind(sensor(3, 40), n_groups=16)
    if isinstance(block, MultiRocketFeatures):
        block.fit_biases(*make_batch(n=20))
    return block


every = pytest.mark.parametrize("kind", [HydraFeatures, MultiRocketFeatures])


def loop_counts(
    hydra: HydraFeatures, x: np.ndarray, i: int, j: int
) -> tuple[np.ndarray, np.ndarray]:
    """Soft and hard counts of one complete sample ``(C, L)``, window by window, as in the paper."""
    weight, mixing = hydra.weight[i, j].numpy(), hydra.mixing[i, j].numpy()
    dilation = hydra.dilations[i]
    n_groups, n_kernels, n_taps = weight.shape
    series = mixing @ x  # (G / 2, L)
    reach = n_taps // 2 * dilation
    padded = np.pad(series, ((0, 0), (reach, reach)))
    soft, hard = np.zeros((n_groups, n_kernels)), np.zeros((n_groups, n_kernels))
    for group in range(n_groups):
        for t in range(x.shape[1]):
            window = padded[group, t : t + 2 * reach + 1 : dilation]
            response = weight[group] @ window
            soft[group, response.argmax()] += max(response.max(), 0.0)
            hard[group, response.argmin()] += 1
    return soft, hard


@every
def test_values_behind_an_unobserved_point_change_no_bit(kind):
    hydra = make_block(kind)
    x, observed = make_batch()
    other = torch.where(observed, x, math.nan)
    assert torch.equal(hydra(x, observed), hydra(other, observed))


@every
@pytest.mark.parametrize("longer", [1, 7, 60])
def test_longer_padding_changes_nothing(kind, longer):
    hydra = make_block(kind)
    x, observed = make_batch()
    padded, unseen = F.pad(x, (0, 0, 0, longer)), F.pad(observed, (0, 0, 0, longer))
    torch.testing.assert_close(hydra(padded, unseen), hydra(x, observed), rtol=1e-4, atol=1e-4)


@every
def test_a_batch_gives_what_its_samples_give_one_by_one(kind):
    hydra = make_block(kind)
    x, observed = make_batch()
    observed[1] = False
    observed[2, :, 0] = False
    alone = torch.cat([hydra(x[i : i + 1], observed[i : i + 1]) for i in range(len(x))])
    torch.testing.assert_close(hydra(x, observed), alone, rtol=1e-4, atol=1e-4)


def test_a_flat_series_has_no_winner():
    hydra = HydraFeatures(sensor(1, 40), n_groups=64)
    level = torch.full((1, 40, 1), 1e-6)
    assert not hydra(level, torch.ones(1, 40, 1, dtype=torch.bool)).any()


def test_counts_are_those_of_a_loop_over_windows():
    hydra = HydraFeatures(sensor(3, 33), n_groups=4)
    x, _ = make_batch(n=1, n_timepoints=33)
    features = hydra(x, torch.ones_like(x, dtype=torch.bool))[0].square()
    blocks = features.view(len(hydra.dilations), 2, 2, 2, 8)  # dilation, series/diff, counts, G, K
    for i in range(len(hydra.dilations)):
        soft, hard = loop_counts(hydra, x[0].T.numpy(), i, 0)
        np.testing.assert_allclose(blocks[i, 0, 0], soft, rtol=1e-4, atol=1e-4)
        np.testing.assert_allclose(blocks[i, 0, 1], hard, atol=1e-4)


@every
def test_a_sample_without_observations_has_zeros(kind):
    hydra = make_block(kind)
    x, observed = make_batch()
    hydra.fit(hydra.compute(x, observed))
    assert hydra.compute(x, torch.zeros_like(observed)).isnan().all()
    assert not hydra(x, torch.zeros_like(observed)).any()


def test_a_gap_of_a_tenth_of_the_points_moves_features_little():
    hydra = HydraFeatures(sensor(3, 200), n_groups=64)
    x, _ = make_batch(n=10, n_timepoints=200)
    every = torch.ones_like(x, dtype=torch.bool)
    hydra.fit(hydra.compute(x, every))
    observed = torch.rand(x.shape, generator=torch.Generator().manual_seed(1)) > 0.1
    complete, gappy = hydra(x, every), hydra(x, observed)
    assert (complete - gappy).square().mean() < 0.6 * complete.square().mean()


def test_fit_standardises_what_is_known():
    hydra = HydraFeatures(sensor(3, 40), n_groups=64)
    x, observed = make_batch(n=30)
    observed[:5] = False
    hydra.fit(hydra.compute(x, observed))
    features = hydra(x, observed)
    assert not features[:5].any()
    torch.testing.assert_close(
        features[5:].mean(0), torch.zeros(hydra.n_features), atol=1e-4, rtol=0
    )
    assert features[5:].std(0).max() < 1.2


@every
def test_the_same_seed_gives_the_same_kernels_and_leaves_the_global_state(kind):
    before = torch.get_rng_state()
    one, two, other = (kind(sensor(3, 40), n_groups=8, seed=seed) for seed in (3, 3, 4))
    assert torch.equal(before, torch.get_rng_state())
    assert torch.equal(one.weight, two.weight)
    assert not torch.equal(one.weight, other.weight)


@every
@pytest.mark.parametrize("n_timepoints", [2, 3, 4, 8, 9, 16, 17])
def test_short_series_have_features(kind, n_timepoints):
    hydra = kind(sensor(2, n_timepoints), n_groups=4)
    x, _ = make_batch(n_timepoints=n_timepoints, n_channels=2)
    features = hydra.compute(x, torch.ones_like(x, dtype=torch.bool))
    assert features.shape == (5, hydra.n_features)
    assert features.isfinite().all()


def test_ppv_and_run_lengths_are_those_of_a_loop_over_windows():
    rocket = MultiRocketFeatures(sensor(3, 33), n_groups=4)
    x, _ = make_batch(n=6, n_timepoints=33)
    every_point = torch.ones_like(x, dtype=torch.bool)
    rocket.fit_biases(x, every_point)
    features = rocket.compute(x, every_point)[0]
    blocks = features.view(len(rocket.dilations), 2, 2, 2, 8)  # dilation, series/diff, kind, G, K
    for i, dilation in enumerate(rocket.dilations):
        reach = rocket.n_taps // 2 * dilation
        series = np.pad(rocket.mixing[i, 0].numpy() @ x[0].T.numpy(), ((0, 0), (reach, reach)))
        for g, k in np.ndindex(2, 8):
            kernel, bias = rocket.weight[i, 0, g, k].numpy(), float(rocket.bias[i, 0, g, k])
            windows = [series[g, t : t + 2 * reach + 1 : dilation] for t in range(33)]
            below = np.array([kernel @ window <= bias for window in windows])
            assert float(blocks[i, 0, 0, g, k]) == pytest.approx(1 - below.mean(), abs=1e-6)
            run_length = sum(
                below[t : t + length].all()
                for length in (2, 4, 8, 16, 32)
                for t in range(33 - length + 1)
            )
            assert float(blocks[i, 0, 1, g, k]) == pytest.approx(run_length / 33, abs=1e-6)


def test_biases_are_quantiles_of_the_responses_of_valid_windows():
    rocket = MultiRocketFeatures(sensor(2, 40), n_groups=4)
    x, observed = make_batch(n=50, n_channels=2)
    rocket.fit_biases(x, observed)
    ppv = rocket.compute(x, observed).view(50, len(rocket.dilations), 2, 2, 2, 8)[:, :, :, 0]
    wanted = 1 - rocket.quantile  # over all windows; samples have about as many each
    torch.testing.assert_close(ppv.nanmean(0), wanted, atol=0.03, rtol=0)


def test_biases_of_long_series_are_learnt_from_some_of_their_responses(monkeypatch):
    x, observed = make_batch(n=20, n_timepoints=400, n_channels=2)
    every, some = (
        MultiRocketFeatures(sensor(2, 400), n_groups=4),
        MultiRocketFeatures(sensor(2, 400), n_groups=4),
    )
    every.fit_biases(x, observed)
    monkeypatch.setattr("mts_fusion.nn.features._multirocket._N_RESPONSES", 20 * 400 // 7)
    some.fit_biases(x, observed)
    assert not torch.equal(every.bias, some.bias)
    spread = every.bias.std(-1, keepdim=True).expand_as(every.bias)
    assert float(((every.bias - some.bias) / spread).abs().median()) < 0.05


def test_scaled_channels_add_up_in_their_own_units():
    x, _ = make_batch(n=20, n_timepoints=33)
    every_point = torch.ones_like(x, dtype=torch.bool)
    scale = torch.tensor([0.25, 1.0, 8.0])
    features = []
    for values, given in ((x / scale, [1.0] * 3), (x / scale, scale), (x, [1.0] * 3)):
        rocket = MultiRocketFeatures(sensor(3, 33), n_groups=8, scale=given)
        rocket.fit_biases(values, every_point)
        features.append(rocket.compute(values, every_point))
    _, scaled, own = features
    assert float((scaled - own).abs().gt(1e-3).float().mean()) < 0.01  # a tie may go either way
    assert float((scaled - features[0]).abs().gt(1e-3).float().mean()) > 0.1


@pytest.mark.parametrize("scale", [[1.0], [1.0, 0.0], [1.0, float("nan")]])
def test_a_scale_is_one_number_above_0_a_channel(scale):
    with pytest.raises(ValueError, match="one number above 0 for each of 2 channels"):
        MultiRocketFeatures(sensor(2, 40), n_groups=32, scale=scale)


def test_rounding_of_a_flat_sample_changes_no_bit():
    rocket = MultiRocketFeatures(sensor(1, 60), n_groups=4)
    every_point = torch.ones(20, 60, 1, dtype=torch.bool)
    flat = torch.zeros(20, 60, 1)
    rocket.fit_biases(flat, every_point)
    noise = flat + 1e-6 * torch.randn(20, 60, 1, generator=torch.Generator().manual_seed(0))
    assert torch.equal(rocket.compute(flat, every_point), rocket.compute(noise, every_point))


def test_a_single_timepoint_has_a_level_but_no_difference():
    hydra = HydraFeatures(sensor(2, 1), n_groups=64)
    x, _ = make_batch(n_timepoints=1, n_channels=2)
    valid = ~hydra.compute(x, torch.ones_like(x, dtype=torch.bool)).isnan()
    half = 2 * 32 * 8
    assert valid[:, :half].all()
    assert not valid[:, half : 2 * half].any()


def test_dilations_grow_as_long_as_a_kernel_fits():
    assert HydraFeatures(sensor(1, 125), n_groups=64).dilations == (1, 2, 4, 8)
    assert HydraFeatures(sensor(1, 9), n_groups=64).dilations == (1,)
    assert HydraFeatures(sensor(1, 3), n_groups=64).dilations == (1,)


@every
def test_symbols_are_their_centers(kind):
    vocabulary = Vocabulary(3, centers=(-1.0, 0.25, 2.0))
    tokens = torch.randint(0, 4, (4, 40, 2), generator=torch.Generator().manual_seed(0))
    observed = tokens != 0
    numbers = torch.tensor([0.0, -1.0, 0.25, 2.0])[tokens]
    of_tokens = kind(Modality("words", 2, 40, vocabulary=vocabulary), n_groups=4)(tokens, observed)
    assert torch.equal(of_tokens, kind(sensor(2, 40), n_groups=4)(numbers, observed))


def test_all_kinds_of_features_read_a_symbol_as_one_number():
    modality = Modality("words", 2, 40, vocabulary=Vocabulary(3))
    kinds = ("multirocket", "hydra", "statistics")
    blocks = SchemaFeatures(Schema((modality,)), kinds, n_groups=4).blocks[0]
    for kind in kinds:
        assert blocks[kind].symbols.tolist() == [0.0, -1.5, 0.0, 1.5]


def test_wrong_sizes_name_themselves():
    with pytest.raises(ValueError, match="n_groups=0 must be even and at least 2"):
        HydraFeatures(sensor(1, 10), n_groups=0)
    with pytest.raises(ValueError, match="n_groups=3 must be even"):
        HydraFeatures(sensor(1, 10), n_groups=3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "wanted"), [("basic_motions", 0.97), ("japanese_vowels", 0.97)])
def test_a_ridge_on_the_features_is_as_accurate_as_aeon(name, wanted):
    """HydraClassifier of aeon 1.6, three seeds: 1.00 and .984, .981, .992."""
    import sktime.datasets
    from sklearn.linear_model import RidgeClassifierCV

    load = getattr(sktime.datasets, f"load_{name}")
    sets = [load(split=split, return_type="nested_univ") for split in ("train", "test")]
    longest = max(len(cell) for X, _ in sets for cell in X.to_numpy().ravel())
    panels = []
    for X, _ in sets:
        filled = np.full((*X.shape, longest), np.nan)
        for i, row in enumerate(X.to_numpy()):
            for c, cell in enumerate(row):
                filled[i, c, : len(cell)] = np.asarray(cell)
        panels.append(filled)
    mean, std = np.nanmean(panels[0], (0, 2)), np.nanstd(panels[0], (0, 2))
    hydra = HydraFeatures(sensor(panels[0].shape[1], longest), n_groups=64)
    features = []
    for panel in panels:
        x = torch.tensor((panel.transpose(0, 2, 1) - mean) / std, dtype=torch.float32)
        features.append(hydra.compute(x.nan_to_num(), ~x.isnan()))
    hydra.fit(features[0])
    train, test = (hydra.standardize(part).nan_to_num(0.0).numpy() for part in features)
    ridge = RidgeClassifierCV(np.logspace(-3, 3, 10)).fit(train, sets[0][1])
    assert ridge.score(test, sets[1][1]) >= wanted


@every
def test_complete_and_silent_samples_are_computed_as_those_with_gaps(kind):
    block = make_block(kind)
    x, _ = make_batch(n=4)
    observed = torch.ones_like(x, dtype=torch.bool)
    observed[1] = False
    together = block.compute(x, observed)  # without a gap
    gappy = torch.cat([observed, observed[:1]])
    gappy[4, 3] = False
    beside_a_gap = block.compute(torch.cat([x, x[:1]]), gappy)[:4]
    torch.testing.assert_close(together, beside_a_gap, equal_nan=True, rtol=1e-5, atol=1e-5)


@every
def test_every_feature_has_a_name_of_its_own(kind):
    block = kind(sensor(3, 40), n_groups=4)
    names = block.feature_names()
    assert len(set(names)) == len(names) == block.n_features == sum(block.block_widths)
    assert names[0].startswith("dilation1__series__")
    assert len([name for name in names if name.startswith("dilation4__")]) == block.block_widths[-1]
