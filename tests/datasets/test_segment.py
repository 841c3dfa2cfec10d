import numpy as np
import pandas as pd
import pytest

from mts_fusion.datasets import segment


def ramp(seconds, rate, start=0.0):
    """A stream whose values are its times."""
    times = start + np.arange(round(seconds * rate)) / rate
    return pd.Series(times, index=times)


def test_each_modality_keeps_its_rate_and_its_values():
    panel, y, groups = segment({"a": ramp(20, 8), "b": ramp(20, 2)}, window_seconds=5)
    assert y is None
    assert groups.tolist() == [0, 0, 0, 0]
    assert [m.rate for m in panel.schema] == [8.0, 2.0]
    np.testing.assert_allclose(panel.values["a"][1, 0], 5 + np.arange(40) / 8)
    np.testing.assert_allclose(panel.values["b"][3, 0], 15 + np.arange(10) / 2)


def test_windows_overlap_by_the_step():
    panel, _, _, starts = segment(
        {"a": ramp(10, 4)}, window_seconds=4, step_seconds=1.5, return_starts=True
    )
    assert starts.tolist() == [0.0, 1.5, 3.0, 4.5, 6.0]
    np.testing.assert_allclose(panel.values["a"][:, 0, 0], starts)


def test_modalities_stay_aligned_when_one_starts_late():
    panel, _, _ = segment({"a": ramp(10, 4), "b": ramp(4, 4, start=3.0)}, window_seconds=5)
    np.testing.assert_array_equal(
        panel.values["b"][0, 0], np.r_[np.full(12, np.nan), 3 + np.arange(8) / 4]
    )
    np.testing.assert_array_equal(
        panel.values["b"][1, 0], np.r_[5 + np.arange(8) / 4, np.full(12, np.nan)]
    )


def test_gaps_become_nan_and_nothing_moves():
    stream = ramp(10, 4).drop(index=[2.0, 2.25, 6.5])
    panel, _, _ = segment({"a": stream}, window_seconds=5)
    wanted = np.arange(40) / 4
    wanted[[8, 9, 26]] = np.nan
    np.testing.assert_array_equal(panel.values["a"].ravel(), wanted.astype(np.float32))


def test_an_irregular_modality_keeps_its_times():
    pulse = pd.Series([1.0, 2.0, 3.0, 4.0], index=[0.5, 0.9, 4.2, 7.7])
    panel, _, _ = segment({"a": ramp(10, 4), "pulse": pulse}, window_seconds=5)
    assert panel.schema["pulse"].rate is None
    np.testing.assert_allclose(panel.times["pulse"], [[0.5, 0.9, 4.2], [2.7, np.nan, np.nan]])
    np.testing.assert_allclose(panel.values["pulse"][:, 0], [[1, 2, 3], [4, np.nan, np.nan]])


def test_rates_decide_what_a_clock_is():
    recording = {"a": ramp(10, 4), "b": ramp(10, 4)}
    panel, _, _ = segment(recording, window_seconds=5, rates={"a": None})
    assert panel.schema["a"].rate is None
    np.testing.assert_allclose(panel.times["a"][1], np.arange(20) / 4)
    jittered = pd.Series(np.arange(10.0), index=np.arange(10) + 0.2 * (np.arange(10) % 2))
    panel, _, _ = segment({"a": jittered}, window_seconds=5, rates={"a": 1.0})
    np.testing.assert_allclose(panel.values["a"][:, 0], np.arange(10.0).reshape(2, 5))


def test_a_clock_that_runs_slow_leaves_no_holes():
    slow = pd.Series(np.ones(64 * 2000), index=np.arange(64 * 2000) / 63.99)
    panel, _, _ = segment({"a": slow}, window_seconds=10)
    assert panel.schema["a"].rate == 64.0
    assert panel.observed["a"].mean() > 0.999


def test_a_gap_of_no_whole_number_of_intervals_leaves_the_clock_regular():
    stream = pd.concat([ramp(30, 4), ramp(30, 4, start=40.1)])
    panel, _, _ = segment({"a": stream}, window_seconds=10)
    assert panel.schema["a"].rate == 4.0
    assert panel.observed["a"].sum() == 4 * 60


def test_dates_and_time_zones_are_clocks_too():
    at = pd.date_range("2024-05-01 12:00", periods=40, freq="250ms")
    plain = segment({"a": pd.Series(np.arange(40.0), index=at)}, window_seconds=5)[0]
    zoned = segment(
        {"a": pd.Series(np.arange(40.0), index=at.tz_localize("Europe/Dublin"))}, window_seconds=5
    )[0]
    passed = segment(
        {"a": pd.Series(np.arange(40.0), index=at - at[0])},  # timedeltas
        window_seconds=5,
    )[0]
    for panel in (plain, zoned, passed):
        assert panel.schema["a"].rate == 4.0
        np.testing.assert_array_equal(panel.values["a"].ravel(), np.arange(40.0))


def test_frames_and_arrays_give_channels():
    values = np.arange(30.0).reshape(10, 3)
    frame = pd.DataFrame(values, index=np.arange(10.0), columns=list("xyz"))
    from_frame = segment({"a": frame}, window_seconds=5)[0]
    from_arrays = segment({"a": (np.arange(10.0), values)}, window_seconds=5)[0]
    np.testing.assert_array_equal(from_frame.values["a"], from_arrays.values["a"])
    np.testing.assert_array_equal(from_frame.values["a"][0, 1], values[:5, 1])


def test_columns_are_found_by_name_in_every_recording():
    frame = pd.DataFrame(np.arange(30.0).reshape(10, 3), index=np.arange(10.0), columns=list("xyz"))
    panel = segment([{"a": frame}, {"a": frame[list("zxy")]}], window_seconds=5)[0]
    np.testing.assert_array_equal(panel.values["a"][:2], panel.values["a"][2:])


def test_the_label_of_a_window_is_what_most_of_it_is():
    activity = pd.Series(["sit"] * 7 + ["run"] * 13, index=np.arange(20.0))
    panel, y, _ = segment({"a": ramp(20, 4)}, window_seconds=5, label=activity)
    assert y.tolist() == ["sit", "run", "run", "run"]
    panel, y, _ = segment({"a": ramp(20, 4)}, window_seconds=5, label=activity, min_share=1.0)
    assert y.tolist() == ["sit", "run", "run"]
    np.testing.assert_allclose(panel.values["a"][:, 0, 0], [0, 10, 15])


def test_windows_without_a_label_are_dropped():
    label = ([0.0, 1.0, 2.0, 11.0, 12.0], [1.0, np.nan, 1.0, np.nan, np.nan])
    panel, y, _ = segment({"a": ramp(20, 4)}, window_seconds=5, label=label)
    assert y.tolist() == [1.0]
    assert len(panel) == 1


def test_a_scalar_labels_the_whole_recording():
    recordings = {"anna": {"a": ramp(10, 4)}, "ben": {"a": ramp(15, 4)}}
    _, y, groups = segment(recordings, window_seconds=5, label={"anna": "ill", "ben": "well"})
    assert y.tolist() == ["ill"] * 2 + ["well"] * 3
    assert groups.tolist() == ["anna"] * 2 + ["ben"] * 3


def test_a_callable_labels_a_window():
    def label(recording, start, stop):
        inside = recording["a"].loc[start:stop]
        return None if start >= 15 else float(inside.mean())

    panel, y, _ = segment({"a": ramp(20, 4)}, window_seconds=5, label=label)
    assert len(panel) == 3
    np.testing.assert_allclose(y, [2.5, 7.5, 12.5])


def test_a_recording_may_lack_a_modality():
    recordings = [{"a": ramp(10, 4), "b": ramp(10, 1)}, {"a": ramp(10, 4)}]
    panel, _, groups = segment(recordings, window_seconds=5, groups=["p1", "p2"])
    assert groups.tolist() == ["p1", "p1", "p2", "p2"]
    assert panel.available.tolist() == [[True, True]] * 2 + [[True, False]] * 2


def test_silent_windows_are_dropped():
    stream = pd.concat([ramp(5, 4), ramp(5, 4, start=15.0)])
    panel, _, _, starts = segment({"a": stream}, window_seconds=5, return_starts=True)
    assert starts.tolist() == [0.0, 15.0]
    assert panel.available.all()


def test_min_observed_asks_for_more():
    stream = ramp(15, 4).drop(index=np.arange(20, 36) / 4)  # 4 of 20 are left in the second
    assert len(segment({"a": stream}, window_seconds=5)[0]) == 3
    assert len(segment({"a": stream}, window_seconds=5, min_observed=0.5)[0]) == 2


def test_input_is_not_written_to():
    stream = ramp(10, 4)
    before = stream.copy()
    panel, _, _ = segment({"a": stream}, window_seconds=5)
    panel.values["a"][...] = -1
    pd.testing.assert_series_equal(stream, before)


@pytest.mark.parametrize(
    ("recordings", "kwargs", "error", "message"),
    [
        ({"a": ramp(4, 4)}, {}, ValueError, "No window of 5 seconds is left of 1 recording"),
        (
            {"a": ramp(10, 4)[::-1]},
            {},
            ValueError,
            "The clock of modality 'a' goes back at entry 1",
        ),
        (
            {"a": pd.Series(list("xy"), index=[0.0, 1.0])},
            {},
            TypeError,
            "Modality 'a' holds .*; numbers are wanted",
        ),
        (
            {"a": pd.Series([1.0, 2.0], index=["x", "y"])},
            {},
            TypeError,
            r"The clock of modality 'a' is .*; seconds \(numbers\) or dates are wanted",
        ),
        (
            {"a": [1.0, 2.0]},
            {},
            TypeError,
            "Modality 'a' is list; a Series, a DataFrame or a tuple",
        ),
        (ramp(10, 4), {}, TypeError, "recordings is a dict of modality"),
        (
            [{"a": ramp(10, 4)}, {"a": pd.DataFrame({"x": ramp(10, 4), "y": 0.0})}],
            {},
            ValueError,
            "Modality 'a' has the channels 1 in one recording and",
        ),
        (
            {"a": ramp(10, 4)},
            {"rates": {"a": 1.0}},
            ValueError,
            r"Modality 'a' has 39 of 40 entries in an interval of its 1 Hz clock that has one alr",
        ),
        ({"a": ramp(10, 4)}, {"rates": {"b": 1.0}}, ValueError, r"rates names \['b'\]"),
        ({"a": ramp(60, 0.1)}, {}, ValueError, "Modality 'a' at 0.1 Hz has no timepoint in 5 sec"),
        ([{"a": ramp(10, 4)}] * 2, {"label": ["x"]}, ValueError, "label has 1 entries for 2 rec"),
        ([{"a": ramp(10, 4)}] * 2, {"groups": "x"}, TypeError, "groups of several recordings is"),
        ({"a": ramp(10, 4)}, {"step_seconds": 0}, ValueError, "step_seconds is a positive number"),
    ],
)
def test_bad_input_is_named(recordings, kwargs, error, message):
    with pytest.raises(error, match=message):
        segment(recordings, window_seconds=5, **kwargs)


def test_an_hour_at_64_hz_is_cut_in_a_moment():
    recording = {"a": (np.arange(230_400) / 64, np.zeros((230_400, 3)))}
    panel, _, _ = segment(recording, window_seconds=10, step_seconds=1)
    assert panel.values["a"].shape == (3591, 3, 640)
