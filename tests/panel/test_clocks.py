"""In what the door sees a clock, and where each value lies on it."""

import re
import warnings

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mts_fusion.datasets import segment
from mts_fusion.panel import RATE_TOLERANCE, Modality, Panel, Schema, as_panel


def one(stamps, values=None):
    """A multi-index frame of one sample."""
    index = pd.MultiIndex.from_arrays([np.zeros(len(stamps), int), stamps])
    return pd.DataFrame({"x": np.arange(float(len(stamps))) if values is None else values}, index)


TICKS = np.arange(2000)


def _by_both_doors(stamps, name="acc"):
    """The rate that each door finds."""
    through_segment = segment(
        {name: pd.Series(TICKS[: len(stamps)] * 1.0, stamps)}, window_seconds=1
    )
    return as_panel({name: one(stamps)}).schema[name].rate, through_segment[0].schema[name].rate


@pytest.mark.parametrize(
    ("rate", "digits"),
    [(64, 9), (64, 3), (50, 3), (204.8, 9), (204.8, 6), (256, 3), (700, 3), (12.5, 2), (1, 0)],
)
def test_a_regular_clock_is_found_whatever_its_stamps_are_rounded_to(rate, digits):
    for start in (0.0, 1.7e9):
        rates = _by_both_doors(np.round(start + TICKS / rate, digits))
        assert_allclose(rates, rate, rtol=1e-5)


@pytest.mark.parametrize("rate", [204.8, 12.5, 64.0])
def test_a_stated_rate_is_kept_exactly(rate):
    assert as_panel({"acc": one(TICKS / rate)}, rates={"acc": rate}).schema["acc"].rate == rate
    panel, *_ = segment(
        {"acc": pd.Series(1.0, TICKS / rate)}, window_seconds=1, rates={"acc": rate}
    )
    assert panel.schema["acc"].rate == rate


def test_a_lost_row_is_a_gap_of_a_regular_clock():
    stamps, values = np.delete(TICKS / 64, 700), np.delete(TICKS * 1.0, 700)

    panel = as_panel({"acc": one(stamps, values)})

    assert panel.schema["acc"].rate == 64.0
    assert np.flatnonzero(np.isnan(panel.values["acc"][0, 0])).tolist() == [700]
    assert_array_equal(panel.values["acc"][0, 0, 701:], TICKS[701:])


@settings(max_examples=25, deadline=None)
@given(
    st.sampled_from([(25.0, 9), (64.0, 3), (204.8, 6), (256.0, 3)]),
    st.sets(st.integers(1, 398), max_size=15),
    st.floats(0, 2e9),
)
def test_every_value_lies_at_its_tick_whatever_was_lost(clock, lost, start):
    rate, digits = clock
    kept = np.array([k for k in range(400) if k not in lost])

    panel = as_panel({"acc": one(np.round(start + kept / rate, digits), kept.astype(float))})

    wanted = np.full(400, np.nan)
    wanted[kept] = kept
    assert_allclose(panel.schema["acc"].rate, rate, rtol=1e-3)
    assert_array_equal(panel.values["acc"][0, 0], wanted)


def test_a_stamp_that_comes_twice_leaves_the_clock_regular_and_is_said():
    stamps = np.insert(TICKS / 64, 500, TICKS[500] / 64)

    with pytest.warns(UserWarning, match="Modality 'acc' has 1 of 2001 entries in an interval of"):
        panel = as_panel({"acc": one(stamps)})

    assert panel.schema["acc"].rate == 64.0
    assert panel.schema["acc"].n_timepoints == 2000


def test_a_stamp_of_its_neighbour_takes_the_free_interval():
    stamps = TICKS / 64
    stamps[500] = stamps[499]

    panel = as_panel({"acc": one(stamps)})

    assert panel.schema["acc"].rate == 64.0
    assert_array_equal(panel.values["acc"][0, 0], TICKS)


def test_beats_are_irregular():
    beats = np.cumsum(np.random.default_rng(0).normal(0.8, 0.05, 300))

    with pytest.warns(
        UserWarning, match="is taken as irregular: .* no whole multiple of the usual"
    ):
        panel = as_panel({"hr": one(beats)})
    assert panel.schema["hr"].rate is None
    assert_allclose(panel.times["hr"][0], beats)
    assert panel.describe().loc["hr", "clock"] == "irregular"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        as_panel({"hr": one(beats)}, rates={"hr": None})


def test_whole_numbers_count_where_their_step_is_one_else_they_are_seconds():
    assert as_panel(one([0, 1, 2, 3])).schema["series"].rate is None
    assert np.isnan(as_panel(one([0, 1, 2, 3, 5])).values["series"][0, 0, 4])
    assert as_panel(one([0.0, 1.0, 2.0, 3.0])).schema["series"].rate == 1.0
    message = (
        "The clock of modality 'series' is whole numbers 20 apart, which are read as seconds: "
        "0.05 Hz. If they are milliseconds, divide them by 1000, or pass rates={'series': 50}"
    )
    with pytest.warns(UserWarning, match=re.escape(message)):
        assert as_panel(one([0, 20, 40, 60])).schema["series"].rate == pytest.approx(0.05)
    assert as_panel(one([0, 20, 40, 60]), rates=50.0).schema["series"].n_timepoints == 4


# Dates


DATES = pd.date_range("2026-01-01", periods=40, freq="250ms")


@pytest.mark.parametrize(
    "stamps",
    [
        DATES,
        DATES.tz_localize("Europe/Berlin"),
        DATES.as_unit("ms"),
        DATES.as_unit("ns"),
        DATES - DATES[0],
        pd.period_range("2026-01-01", periods=40, freq="250ms"),
        list(DATES.to_pydatetime()),
        DATES.astype("timestamp[us][pyarrow]"),
    ],
    ids=["naive", "zoned", "ms", "ns", "durations", "periods", "datetimes", "arrow"],
)
def test_dates_of_any_kind_are_a_clock(stamps):
    panel = as_panel({"acc": one(stamps)})
    cut, *_ = segment({"acc": (stamps, np.arange(40.0))}, window_seconds=5)

    assert panel.schema["acc"].rate == cut.schema["acc"].rate == 4.0
    assert_array_equal(cut.values["acc"].ravel(), np.arange(40))


def test_the_night_in_which_summer_time_ends_has_no_step_back():
    zoned = pd.date_range("2026-10-25 00:00", periods=5, freq="h", tz="Europe/Berlin")
    panel = as_panel({"acc": one(zoned)})
    assert panel.schema["acc"].rate == pytest.approx(1 / 3600)

    naive = zoned.tz_localize(None)  # 2:00 comes twice
    with pytest.raises(ValueError, match="goes back"):
        segment(
            {"acc": pd.Series(1.0, naive.insert(3, naive[2] - pd.Timedelta("30min")))},
            window_seconds=7200,
        )
    with pytest.raises(ValueError, match=r"goes back at entry 2.*summer time ends"):
        segment({"acc": (naive[[0, 2, 1]], np.ones(3))}, window_seconds=60)


def test_naive_and_zoned_dates_do_not_mix():
    naive, zoned = pd.Series(1.0, DATES), pd.Series(1.0, DATES.tz_localize("Europe/Berlin"))
    message = "is dates without a time zone, that of .* is dates with a time zone; how far apart"

    with pytest.raises(ValueError, match=message):
        segment({"acc": naive, "hr": zoned}, window_seconds=5)
    with pytest.raises(ValueError, match="that of the label is dates without a time zone"):
        segment({"acc": zoned}, window_seconds=5, label=naive)
    with pytest.raises(ValueError, match=message):
        as_panel({"acc": one(naive.index), "hr": one(zoned.index)})
    with pytest.raises(ValueError, match="how far apart they are is unknown"):
        as_panel(
            {"a": np.ones((1, 2)), "b": np.ones((1, 2))},
            times={"a": [DATES[:2]], "b": [DATES[:2].tz_localize("UTC")]},
        )
    with pytest.raises(ValueError, match=r"with and without a time zone \(entry 1"):
        segment({"acc": ([DATES[0], DATES[1].tz_localize("UTC")], [1.0, 2.0])}, window_seconds=5)


def test_all_modalities_of_a_sample_have_one_origin():
    admission = pd.Timestamp("2026-01-01 08:00")
    vitals = one([admission, admission + pd.Timedelta("1h"), admission + pd.Timedelta("4h")])
    labs = one([admission + pd.Timedelta("2h")])

    panel = as_panel({"vitals": vitals, "labs": labs})

    assert_array_equal(panel.times["vitals"], [[0, 3600, 14400]])
    assert_array_equal(panel.times["labs"], [[7200]])


ADMISSION = pd.Timestamp("2026-01-01 08:00")
HOUR = pd.Timedelta("1h")


@pytest.mark.parametrize("hours", [(2, 5.33), (2, 8), (2, 8, 14)])
@pytest.mark.parametrize("n", [1, 20])
def test_few_stamps_are_not_moved_to_a_grid(hours, n):
    """Steps are equal, but the samples start beside the grid of the other modalities."""
    samples = range(n)
    drawn = [[ADMISSION + (t + 0.05 * i) * HOUR for t in hours] for i in samples]
    vitals = pd.concat([one([ADMISSION, ADMISSION + 1.3 * HOUR])] * n, keys=samples).droplevel(1)
    labs = pd.concat([one(stamps) for stamps in drawn], keys=samples).droplevel(1)

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        panel = as_panel({"vitals": vitals, "labs": labs}, rates={"vitals": None})

    wanted = [[3600 * (t + 0.05 * i) for t in hours] for i in samples]
    assert panel.describe().loc["labs", "clock"] == "irregular"
    assert_allclose(panel.times["labs"], wanted)
    if n == len(hours) - 1 == 1:  # a single step says nothing
        return
    with pytest.warns(UserWarning, match="The clock of modality 'labs' is taken as irregular: its"):
        as_panel({"vitals": vitals, "labs": labs}, rates={"vitals": None})


def test_few_timepoints_of_a_fixed_rate_are_regular():
    frames = pd.concat([one([7.5, 7.75])] * 6, keys=range(6)).droplevel(1)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alone = as_panel({"acc": frames})
        together = as_panel({"acc": frames, "temp": frames.iloc[::2]}, rates={"temp": None})
        stated = as_panel({"acc": one([7.5, 7.75]), "hr": one([7.4, 7.6, 8.3])}, rates={"acc": 4})

    assert alone.schema["acc"].rate == together.schema["acc"].rate == 4.0
    assert stated.values["acc"].tolist() == [[[0.0, 1.0]]]  # a rate that is stated is a grid


def test_one_step_is_no_clock_but_a_count_stays_a_count():
    assert as_panel(one([0.0, 0.25])).times["series"].tolist() == [[0.0, 0.25]]
    assert as_panel(one([0, 1])).times["series"] is None
    assert as_panel(one([0, 20]), rates=50.0).schema["series"].n_timepoints == 2
    known = as_panel(one([0.0, 0.25, 0.5])).schema
    assert as_panel(one([0.0, 0.5]), schema=known).values["series"][0, 0, 2] == 1.0


@pytest.mark.parametrize("start", [0.0, 1.7e9])
def test_a_regular_clock_that_starts_late_starts_with_a_gap(start):
    X = {"acc": one(start + 2 + np.arange(8) / 4), "hr": one(start + np.array([0.0, 0.7, 3.1]))}

    panel = as_panel(X)

    assert_array_equal(np.isnan(panel.values["acc"][0, 0, :8]), True)
    assert_array_equal(panel.values["acc"][0, 0, 8:], np.arange(8))
    assert_allclose(panel.times["hr"][0], [0.0, 0.7, 3.1], atol=1e-6)


@pytest.mark.parametrize("unit", ["s", "ms", "us", "ns"])
@pytest.mark.parametrize("door", [as_panel, Panel])
def test_times_are_dates_of_any_unit(door, unit):
    dates = np.array([["2026-01-01T00:00:00", "2026-01-01T00:00:10"], ["2026-01-02", "NaT"]])
    values = {"hr": np.array([[[1.0, 2.0]], [[1.0, np.nan]]])}

    panel = door(values, times={"hr": dates.astype(f"M8[{unit}]")})

    assert_array_equal(panel.times["hr"], [[0, 10], [0, np.nan]])


@pytest.mark.parametrize("door", [as_panel, Panel])
@pytest.mark.parametrize(
    "times",
    [
        [list(DATES[[0, 4]])],
        [list(DATES[[0, 4]].tz_localize("Asia/Kolkata"))],
        [list(DATES[[0, 4]].to_pydatetime())],
        [list(pd.period_range("2026-01-01", periods=2, freq="s"))],
        [list(pd.to_timedelta([0, 1], unit="s"))],
        pd.DataFrame([DATES[[0, 4]]]),
        pd.DataFrame([DATES[[0, 4]].tz_localize("UTC")]),
    ],
    ids=["naive", "zoned", "datetimes", "periods", "durations", "frame", "zoned frame"],
)
def test_times_are_dates_in_any_container(door, times):
    assert door({"hr": np.ones((1, 1, 2))}, times={"hr": times}).times["hr"].tolist() == [[0, 1]]


@pytest.mark.parametrize("door", [as_panel, Panel])
def test_times_of_text_are_refused(door):
    with pytest.raises(TypeError, match=r"The clock of modality 'hr' is .*pandas\.to_datetime"):
        door({"hr": np.ones((1, 1, 2))}, times={"hr": [["2026-01-01", "2026-01-02"]]})


def test_dates_beside_numbers_are_refused():
    X = {"a": np.ones((1, 2)), "b": np.ones((1, 2))}
    with pytest.raises(
        ValueError, match=r"The times of \['b'\] are dates, those of \['a'\] numbers"
    ):
        as_panel(X, times={"a": [[0.0, 1.0]], "b": [DATES[:2]]})
    with pytest.raises(
        ValueError, match="Give all of them as dates, or as seconds from one origin"
    ):
        as_panel({"a": one([0.0, 0.5]), "b": one(DATES[:2])})


def test_times_may_be_zoned_and_ragged():
    zoned = DATES.tz_localize("Asia/Kolkata")

    panel = as_panel({"hr": [[1.0, 2.0], [3.0]]}, times={"hr": [zoned[[0, 4]], zoned[[2]]]})

    assert_array_equal(panel.times["hr"], [[0, 1], [0, np.nan]])


# An index that is a clock is read


def test_the_index_of_every_cell_and_frame_is_read():
    clock = np.array([0.0, 0.5, 2.1])
    series, frame = pd.Series([1.0, 2.0, 3.0], clock), pd.DataFrame({"x": [1.0, 2.0, 3.0]}, clock)
    for X in (
        [frame],
        pd.DataFrame({"x": [series]}),
        {"series": [series]},
        {"series": [frame]},
        [{"series": series}],
        frame.set_index(pd.MultiIndex.from_product([[0], clock])),
    ):
        panel = as_panel(X)
        assert_array_equal(panel.times["series"], [clock])

    assert as_panel([frame.set_axis(DATES[:3])]).schema["series"].rate == 4.0
    assert as_panel([frame.reset_index(drop=True)]).schema["series"].rate is None


def test_channels_of_other_clocks_are_refused():
    cells = pd.DataFrame({"a": [pd.Series([1.0], [0.0])], "b": [pd.Series([1.0], [2.5])]})

    with pytest.raises(ValueError, match="The channels of modality 'series' have other indices"):
        as_panel(cells)


# Rates compared


def test_rates_are_one_up_to_the_tolerance():
    def schema(rate):
        return Schema((Modality("acc", 1, 4, rate=rate),))

    schema(12.5).check_matches(schema(12.5 * (1 + 0.9 * RATE_TOLERANCE)))
    with pytest.raises(ValueError, match=r"Modality 'acc' has rate 12\.6 Hz, but 12\.5 Hz was"):
        schema(12.5).check_matches(schema(12.6))
    nearly = Panel({"acc": np.zeros((1, 1, 4))}, rates={"acc": 12.5000001})
    assert nearly.align(schema(12.5)).schema == schema(12.5)


# Bounds


def test_a_stamp_a_year_ahead_is_named():
    stamps = np.append(np.arange(500) / 64, 3.15e7)
    with pytest.raises(
        ValueError, match=r"Modality 'acc' has entry 500 of sample 0 3\.15e\+07 sec"
    ):
        as_panel({"acc": one(stamps)})
    with pytest.raises(ValueError, match=r"Modality 'acc' has an entry at 31500000\.000000"):
        segment({"acc": pd.Series(1.0, stamps)}, window_seconds=5)


def test_streams_of_other_origins_are_named():
    ticks = np.arange(500) / 64
    with pytest.raises(ValueError, match=r"Modality 'hr' has the first entry of sample 0 1\.7e"):
        as_panel({"acc": one(ticks), "hr": one(1.7e9 + ticks)})
    with pytest.raises(ValueError, match="Modality 'hr' has an entry at 1700000000"):
        segment(
            {"acc": pd.Series(1.0, ticks), "hr": pd.Series(1.0, 1.7e9 + ticks)}, window_seconds=5
        )


# There and back


@pytest.mark.parametrize("mtype", ["pd-multiindex", "nested_univ", "df-list"])
def test_clocks_go_there_and_back(mtype):
    regular = Panel({"acc": np.ones((2, 1, 8))}, rates={"acc": 204.8}, sample_ids=["b", "a"])
    times = np.array([[0.5, 0.9, 4.0], [1.0, np.nan, np.nan]])
    irregular = Panel({"hr": np.where(np.isnan(times), np.nan, 1.0)[:, None]}, times={"hr": times})

    again = as_panel(regular.to_sktime(mtype))
    assert_allclose(again.schema["acc"].rate, 204.8, rtol=1e-6)
    assert_array_equal(again.values["acc"], regular.values["acc"])
    assert mtype == "df-list" or again.sample_ids.tolist() == ["b", "a"]
    again = as_panel(irregular.to_sktime(mtype))
    assert_allclose(again.times["hr"], times, atol=1e-9)
    assert_array_equal(again.values["hr"], irregular.values["hr"])


def test_one_frame_has_one_clock():
    panel = Panel({"a": np.ones((1, 1, 4)), "b": np.ones((1, 1, 4))}, rates={"a": 2.0, "b": 4.0})

    with pytest.raises(ValueError, match="One frame has one clock, but 'a' and 'b' have their own"):
        panel.to_sktime("pd-multiindex")
    assert as_panel(panel.to_sktime("nested_univ")).schema == panel.schema
