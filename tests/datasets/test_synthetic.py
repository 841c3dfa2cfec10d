import numpy as np
import pytest

from mts_fusion.datasets import (
    make_panel_classification,
    make_panel_regression,
    make_trace_benchmark,
)


def test_modalities_have_their_own_rate_and_length():
    panel, y = make_panel_classification(10, modalities={"a": (2, 8), "b": (1, 2)}, random_state=0)
    assert [(m.n_channels, m.n_timepoints, m.rate) for m in panel.schema] == [
        (2, 16, 8.0),
        (1, 4, 2.0),
    ]
    assert y.shape == (10,)


def test_same_seed_same_panel_and_groups():
    first = make_panel_classification(12, missing_fraction=0.2, return_groups=True, random_state=3)
    again = make_panel_classification(12, missing_fraction=0.2, return_groups=True, random_state=3)
    for name in first[0].schema.names:
        np.testing.assert_array_equal(first[0].values[name], again[0].values[name])
    np.testing.assert_array_equal(first[1], again[1])
    np.testing.assert_array_equal(first[2], again[2])


def test_every_sample_keeps_a_modality():
    panel, _ = make_panel_classification(50, missing_modality_fraction=1.0, random_state=0)
    assert (panel.available.sum(axis=1) == 1).all()


def test_missing_fraction_is_the_share_of_missing_values():
    panel, _ = make_panel_classification(200, missing_fraction=0.3, random_state=0)
    assert 1 - panel.observed["m0"].mean() == pytest.approx(0.3, abs=0.02)


def test_only_an_informative_modality_knows_the_class():
    panel, y = make_panel_classification(
        400, n_classes=2, informative=["m0"], group_sd=0.0, random_state=0
    )
    means = {m: panel.values[m].mean(axis=2) for m in panel.schema.names}
    gap = {
        m: np.abs(x[y == 0].mean(axis=0) - x[y == 1].mean(axis=0)).max() for m, x in means.items()
    }
    assert gap["m0"] > 5 * max(gap["m1"], gap["m2"])


def test_irregular_times_are_sorted_and_padded_with_nan():
    panel, _ = make_panel_classification(20, irregular=["m1"], random_state=0)
    times = panel.times["m1"]
    assert np.isnan(times).any()
    assert (np.diff(times, axis=1)[~np.isnan(np.diff(times, axis=1))] >= 0).all()
    assert not panel.observed["m1"][:, 0][np.isnan(times)].any()
    assert panel.times["m0"] is None


def test_regression_targets_are_linear_in_the_levels():
    panel, y = make_panel_regression(300, noise=0.1, group_sd=0.0, random_state=0)
    level = panel.values["m0"].mean(axis=2)
    assert max(abs(np.corrcoef(level[:, c], y)[0, 1]) for c in range(3)) > 0.8


def test_several_targets():
    assert make_panel_regression(6, n_targets=3, random_state=0)[1].shape == (6, 3)


def test_an_unknown_name_is_an_error():
    with pytest.raises(ValueError, match=r"informative names \['x'\], but the modalities are"):
        make_panel_classification(5, informative=["x"])


def test_a_modality_too_slow_for_the_duration_is_an_error():
    with pytest.raises(ValueError, match=r"Modality 'a' at 0\.1 Hz has no timepoint in 2 seconds"):
        make_panel_classification(5, modalities={"a": (1, 0.1)})


def test_trace_benchmark_hides_only_the_series_and_keeps_the_truth():
    part = make_trace_benchmark(30, 2, 2, missing_fraction=0.4).train
    observed = ~part.masked
    np.testing.assert_array_equal(part.data.observed["series"], observed)
    np.testing.assert_array_equal(
        part.data.values["series"][observed], part.complete.values["series"][observed]
    )
    assert part.complete.observed["series"].all()
    assert part.data.observed["low"].all()
    assert part.data.observed["high"].all()
    assert part.target.shape == (30, 30)


@pytest.mark.parametrize("fraction", [0.05, 0.1, 0.3, 0.5])
@pytest.mark.parametrize("n_blocks", [1, 3])
def test_trace_benchmark_hides_the_share_asked_for(fraction, n_blocks):
    train = make_trace_benchmark(200, 1, 1, missing_fraction=fraction, n_blocks=n_blocks).train
    assert train.masked.mean() == pytest.approx(fraction, rel=0.06)


def test_trace_benchmark_is_the_same_series_at_every_rate():
    few = make_trace_benchmark(5, 5, 5, missing_fraction=0.1).test.complete
    many = make_trace_benchmark(5, 5, 5, missing_fraction=0.5).test.complete
    np.testing.assert_array_equal(few.values["series"], many.values["series"])
    np.testing.assert_array_equal(few.values["high"], many.values["high"])


def test_trace_masks_are_rectangles():
    masked = make_trace_benchmark(20, 1, 1, missing_fraction=0.3).train.masked
    rows, columns = masked.any(axis=2), masked.any(axis=1)
    np.testing.assert_array_equal(masked, rows[:, :, None] & columns[:, None, :])
    for row, column in zip(rows, columns, strict=True):
        assert (np.diff(row.astype(int)) == 1).sum() <= 1
        assert (np.diff(column.astype(int)) == 1).sum() <= 1


def test_trace_conditions_tell_of_the_series():
    part = make_trace_benchmark(2000, 1, 1).train
    energy = np.log(part.complete.values["series"].var(axis=(1, 2)))
    condition = np.concatenate([part.complete.values[m][:, :, 0] for m in ("low", "high")], axis=1)
    design = np.c_[condition, np.ones(len(condition))]
    residual = energy - design @ np.linalg.lstsq(design, energy, rcond=None)[0]
    assert residual.var() < 0.7 * energy.var()


def test_trace_benchmark_without_holes_and_without_horizon():
    part = make_trace_benchmark(3, 1, 1, missing_fraction=0.0, horizon=0).train
    assert not part.masked.any()
    assert part.target is None


def test_trace_benchmark_refuses_to_hide_everything():
    with pytest.raises(ValueError, match=r"missing_fraction is a share in \[0, 1\), got 1\.0"):
        make_trace_benchmark(3, 1, 1, missing_fraction=1.0)


def test_trace_benchmark_refuses_an_empty_part():
    with pytest.raises(ValueError, match=r"n_validation is at least 1, got 0\. Ask for 1"):
        make_trace_benchmark(3, 0, 1)
