"""LiveSegmenter: the windows of segment, from samples as they come."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mts_fusion.datasets import LiveSegmenter, segment
from mts_fusion.panel import Modality, Panel, Schema

SCHEMA = Schema(
    (
        Modality("acc", 3, 40, rate=8.0),
        Modality("hr", 1, 5, rate=1.0),
        Modality("ibi", 1, 7, irregular=True),
    )
)
RATES = {m.name: m.rate for m in SCHEMA}


def recording(seconds=40.0, start=1.7e9, seed=0):
    """Streams with lost samples, jitter and an irregular sensor."""
    rng = np.random.default_rng(seed)
    streams = {}
    for name, rate, channels in (("acc", 8.0, 3), ("hr", 1.0, 1)):
        ticks = np.flatnonzero(rng.random(int(seconds * rate)) > 0.1)
        jitter = rng.uniform(-0.2, 0.2, len(ticks)) / rate
        streams[name] = (start + ticks / rate + jitter, rng.normal(size=(len(ticks), channels)))
    beats = np.cumsum(rng.uniform(0.5, 1.2, int(seconds)))
    streams["ibi"] = (start + beats, rng.normal(size=(len(beats), 1)))
    return streams


def packets(streams, seed=0, late=0.0):
    """``(name, times, values)`` in the order in which they arrive, up to ``late`` seconds late."""
    rng = np.random.default_rng(seed)
    arriving = []
    for name, (times, values) in streams.items():
        every = np.arange(len(times))  # a sample for itself, where samples may be late
        cuts = every if late else np.sort(rng.choice(every, len(times) // 3, replace=False))
        for part in np.split(np.arange(len(times)), cuts):
            if len(part):
                arrival = times[part].max() + rng.uniform(0, late)
                arriving.append((arrival, name, times[part], values[part]))
    arriving.sort(key=lambda packet: packet[0])
    return [packet[1:] for packet in arriving]


def replay(live, arriving):
    panels = [live.push(*packet) for packet in arriving] + [live.flush()]
    return [panel for panel in panels if panel is not None]


def same_windows(panels, wanted, starts):
    assert_array_equal(np.concatenate([panel.sample_ids for panel in panels]), starts)
    joined = panels[0].concat(*panels[1:])
    for name in wanted.schema.names:
        length = wanted.schema[name].n_timepoints
        got = joined.values[name]
        assert np.isnan(got[:, :, length:]).all()
        assert got[:, :, :length].tobytes() == wanted.values[name].tobytes()
    assert joined.times["ibi"].tobytes() == wanted.times["ibi"].tobytes()


@pytest.mark.parametrize(("step", "late"), [(5.0, 0.0), (2.0, 0.0), (2.0, 1.5), (7.0, 3.0)])
def test_the_windows_are_those_of_segment_to_the_bit(step, late):
    streams = recording()
    wanted, _, _, starts = segment(
        streams, window_seconds=5, step_seconds=step, rates=RATES, return_starts=True
    )
    live = LiveSegmenter(
        SCHEMA,
        window_seconds=5,
        step_seconds=step,
        delay_seconds=late,
        silent_after_seconds=60,
    )

    panels = replay(live, packets(streams, late=late))

    same_windows(panels, wanted, starts)
    assert len(panels) > 3  # not all at the end
    assert live.n_late_ == 0


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 10_000), st.floats(0.7, 9.0), st.floats(0, 4))
def test_however_the_samples_come_the_windows_are_the_same(seed, step, late):
    streams = recording(25.0, seed=seed)
    wanted, _, _, starts = segment(
        streams, window_seconds=5, step_seconds=step, rates=RATES, return_starts=True
    )
    live = LiveSegmenter(
        SCHEMA,
        window_seconds=5,
        step_seconds=step,
        delay_seconds=late,
        silent_after_seconds=60,
    )

    same_windows(replay(live, packets(streams, seed, late)), wanted, starts)


def test_a_sensor_that_stops_becomes_silent():
    times = np.arange(320) / 8
    live = LiveSegmenter(SCHEMA, window_seconds=5, silent_after_seconds=6)
    got = []
    for t in times:
        sensors = ["ibi", "acc"] if t % 1 or t > 9 else ["hr", "ibi", "acc"]  # hr ends at 9 s
        for name in sensors:
            panel = live.push(name, [t], np.zeros((1, SCHEMA[name].n_channels)))
            got += [] if panel is None else [(t, panel)]

    assert got[0][1].available.tolist() == [[True, True, True]]
    second, panel = got[1]
    assert panel.sample_ids[0] == 5.0  # the second window waits for hr, for 6 seconds
    assert second == pytest.approx(15, abs=0.2)
    last = got[-1][1]
    assert last.available.tolist() == [[True, False, True]]


def test_what_comes_too_late_is_counted_and_left_out():
    live = LiveSegmenter(Schema((Modality("hr", 1, 5, rate=1.0),)), window_seconds=5)
    first = live.push("hr", np.arange(12.0), np.arange(12.0))

    assert first.sample_ids.tolist() == [0.0, 5.0]
    assert live.push("hr", 3.0, 99.0) is None
    assert live.n_late_ == 1


def test_dates_and_frames_are_pushed_too():
    schema = Schema((Modality("acc", 2, 8, rate=4.0, channels=("x", "y")),))
    live = LiveSegmenter(schema, window_seconds=2)
    at = pd.date_range("2026-01-01", periods=10, freq="250ms", tz="UTC")

    panel = live.push("acc", at, pd.DataFrame({"y": np.ones(10), "x": np.zeros(10)}))

    assert_array_equal(panel.values["acc"][0, :, 0], [0, 1])
    assert isinstance(panel, Panel)
    with pytest.raises(ValueError, match="Modality 'acc' came with seconds, the samples before"):
        live.push("acc", [3.0], np.zeros((1, 2)))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (("gyro", [0.0], [1.0]), KeyError, "No modality 'gyro'"),
        (
            ("acc", [0.0], np.full((1, 3), np.datetime64("2026-01-01"))),
            TypeError,
            r"Modality 'acc' holds datetime64\[D\]; numbers are wanted",
        ),
        (
            ("hr", [0.0], pd.DataFrame({"when": [pd.Timestamp("2026-01-01")]})),
            ValueError,
            r"Modality 'hr' holds dates in the columns \['when'\]",
        ),
        (("acc", [0.0], [1.0]), ValueError, r"values of shape \(1, 1\) for 1 times; \(1, 3\) is"),
    ],
)
def test_samples_that_do_not_fit_are_refused(arguments, error, message):
    with pytest.raises(error, match=message):
        LiveSegmenter(SCHEMA, window_seconds=5).push(*arguments)


def test_channels_are_read_by_name_as_in_segment():
    schema = Schema((Modality("acc", 2, 4, rate=4.0, channels=("x", "y")),))
    live = LiveSegmenter(schema, window_seconds=1)

    panel = live.push("acc", np.arange(8) / 4, pd.DataFrame({"y": np.ones(8)}))

    assert_array_equal(panel.values["acc"][0, :, 0], [np.nan, 1])
    with pytest.raises(
        ValueError, match=r"came with the channels \['z'\], but the schema has \['x"
    ):
        live.push("acc", [2.0], pd.DataFrame({"x": [1.0], "y": [1.0], "z": [1.0]}))


def test_a_stamp_a_year_ahead_is_named_and_left_out():
    live = LiveSegmenter(Schema((Modality("acc", 1, 8, rate=8.0),)), window_seconds=1)
    live.push("acc", np.arange(40) / 8, np.ones(40))

    with pytest.raises(
        ValueError, match=r"Modality 'acc' has an entry at 31500000\.0.* days after"
    ):
        live.push("acc", [3.15e7], [1.0])
    assert live.push("acc", 5 + np.arange(8) / 8, np.ones(8)) is not None
    assert live.n_late_ == 0


def test_parameters_are_checked():
    with pytest.raises(ValueError, match="window_seconds is a positive number of seconds"):
        LiveSegmenter(SCHEMA, window_seconds=0)
    with pytest.raises(ValueError, match="delay_seconds is at least 0, got -1"):
        LiveSegmenter(SCHEMA, window_seconds=5, delay_seconds=-1)
