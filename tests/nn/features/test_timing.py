"""When and how often channels were observed."""

from __future__ import annotations

import numpy as np
import torch

from mts_fusion.nn.features import SchemaFeatures, TimingFeatures
from mts_fusion.panel._schema import Modality, Schema


def _block(length: int) -> TimingFeatures:
    return TimingFeatures(Modality("laboratory", 2, length, irregular=True))


def test_every_feature_of_a_small_example() -> None:
    nan = float("nan")
    values = torch.tensor([[[1.0, nan], [2.0, 5.0], [nan, nan], [6.0, nan]]])
    times = torch.tensor([[0.0, 60.0, 100.0, 240.0]])
    raw = _block(4).compute(values.nan_to_num(0.0), ~values.isnan(), times)[0]
    named = dict(zip(_block(4).feature_names(), raw.tolist(), strict=True))
    slope = np.polyfit([0.0, 60.0, 240.0], [1.0, 2.0, 6.0], 1)[0]
    expected = {
        "0__count": 3, "0__first_time": 0, "0__last_time": 240, "0__since_last": 0,
        "0__longest_gap": 180, "0__slope": slope, "0__last_minus_first": 5,
        "0__last_minus_mean": 3, "1__count": 1, "1__first_time": 60, "1__since_last": 180,
        "1__longest_gap": 0, "1__slope": 0, "n_timepoints": 3, "start": 0, "end": 240,
    }  # fmt: skip
    for name, value in expected.items():
        assert np.isclose(named[name], value, atol=1e-6), name


def test_two_grids_of_one_patient_have_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    values, times = torch.randn(3, 6, 2, generator=generator), torch.arange(6.0).expand(3, -1) * 60
    observed = torch.rand(3, 6, 2, generator=generator) < 0.6
    observed[:, 0, 0] = True
    raw = _block(6).compute(values, observed, times)
    # Rows with nothing observed in between, and padding at the end.
    index = [0, 2, 3, 4, 6, 8]
    wide, where = torch.zeros(3, 10, 2), torch.zeros(3, 10, 2, dtype=torch.bool)
    clock = torch.full((3, 10), 1e6)
    clock[:, 1], clock[:, 5], clock[:, 7] = 30.0, 170.0, 270.0
    wide[:, index], where[:, index], clock[:, index] = values, observed, times
    assert torch.allclose(raw, _block(10).compute(wide, where, clock), equal_nan=True, atol=1e-5)


def test_a_silent_channel_has_a_count_and_a_silent_modality_nothing() -> None:
    observed = torch.zeros(2, 3, 2, dtype=torch.bool)
    observed[0, :, 0] = True
    raw = _block(3).compute(torch.ones(2, 3, 2), observed, torch.arange(3.0).expand(2, -1))
    assert raw[0, 8] == 0  # the count of channel 1
    assert raw[0, 9:16].isnan().all()
    assert raw[1].isnan().all()


def test_only_irregular_modalities_have_such_features() -> None:
    schema = Schema((Modality("acc", 3, 50), Modality("lab", 2, 9, irregular=True)))
    features = SchemaFeatures(schema, ("statistics", "timing"))
    assert [list(widths) for widths in features.widths] == [
        ["statistics"],
        ["statistics", "timing"],
    ]


def test_of_several_values_of_one_time_the_first_and_the_last_count() -> None:
    values = torch.tensor([[[1.0, 2.0], [3.0, 2.0], [7.0, 2.0], [9.0, 2.0]]])
    times = torch.tensor([[0.0, 0.0, 10.0, 10.0]])
    raw = _block(4).compute(values, torch.ones(1, 4, 2, dtype=torch.bool), times)[0]
    named = dict(zip(_block(4).feature_names(), raw.tolist(), strict=True))
    assert named["0__last_minus_first"] == 8
    assert named["0__last_minus_mean"] == 4
    assert named["1__last_minus_first"] == 0
