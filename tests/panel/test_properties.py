"""What holds for whatever comes through the door: names, origins, units, masks, round trips."""

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose, assert_array_equal

from mts_fusion.datasets import segment
from mts_fusion.panel import Panel, as_panel

FEW = settings(max_examples=15, deadline=None)
SEEDS = st.integers(0, 10_000)
START = np.datetime64("2026-03-28T20:00:00", "ns")  # summer time begins in Europe in this night


def _frame(ids, stamps, values, columns=("x",)):
    """A multi-index frame; ``values (n, L, C)``."""
    index = pd.MultiIndex.from_product([ids, stamps])
    return pd.DataFrame(values.reshape(len(index), -1), index, columns=list(columns))


@FEW
@given(SEEDS, st.permutations(["ax", "ay", "az"]), st.integers(1, 3))
def test_channels_in_any_order_and_number_are_read_by_name(seed, order, n):
    values = np.random.default_rng(seed).normal(size=(2, 5, 3))
    frame = _frame([0, 1], np.arange(5) / 4, values, ["ax", "ay", "az"])
    wanted = as_panel({"acc": frame})

    some = as_panel({"acc": frame[order[:n]]}, schema=wanted.schema)
    cut, *_ = segment({"acc": frame.loc[0][order]}, window_seconds=1)

    given_ = [name in order[:n] for name in ("ax", "ay", "az")]
    assert_array_equal(some.values["acc"][:, given_], wanted.values["acc"][:, given_])
    assert np.isnan(some.values["acc"][:, np.logical_not(given_)]).all()
    assert_array_equal(cut.align(wanted.schema).values["acc"][0], values[0, :4].T.astype("f4"))


@FEW
@given(SEEDS, st.booleans(), st.permutations(["labs", "vitals", "notes"]))
def test_all_modalities_of_a_sample_count_from_its_earliest_stamp(seed, zoned, order):
    rng = np.random.default_rng(seed)
    stamps = {name: np.sort(rng.integers(0, 10**6, 1 + i)) for i, name in enumerate(order)}
    dates = {n: pd.DatetimeIndex(START + 10**9 * s.astype("m8[ns]")) for n, s in stamps.items()}
    if zoned:
        dates = {n: d.tz_localize("UTC").tz_convert("Europe/Berlin") for n, d in dates.items()}
    X = {n: _frame([0], d, np.ones((1, len(d), 1))) for n, d in dates.items()}

    panel = as_panel(X, rates=dict.fromkeys(X))

    first = min(s[0] for s in stamps.values())
    for name, seconds in stamps.items():
        assert_array_equal(panel.times[name], [seconds - first])


@FEW
@given(
    st.sampled_from(["s", "ms", "us", "ns"]),
    st.sampled_from([None, "UTC", "Europe/Berlin", "Asia/Kolkata", "America/New_York"]),
    st.sampled_from([1, 4, 8, 50]),
    st.integers(3, 40),
)
def test_a_clock_is_the_same_in_every_unit_and_zone(unit, zone, rate, n):
    rate = 1 if unit == "s" else rate
    ticks = np.arange(n)
    dates = pd.DatetimeIndex(START + (ticks * (10**9 // rate)).astype("m8[ns]")).as_unit(unit)
    dates = dates if zone is None else dates.tz_localize("UTC").tz_convert(zone)
    values = ticks[None, :, None] + 1.0

    for stamps in (dates, dates - dates[0], ticks / rate, 1.7e9 + ticks / rate):
        panel = as_panel({"acc": _frame([0], stamps, values)})
        assert panel.schema["acc"].rate == pytest.approx(rate, rel=1e-6)
        assert_array_equal(panel.values["acc"][0, 0], ticks + 1)


@FEW
@given(SEEDS, st.floats(0, 1))
def test_what_is_masked_is_missing_in_every_container(seed, share):
    rng = np.random.default_rng(seed)
    values, mask = rng.normal(size=(3, 2, 4)).astype("f4"), rng.random((3, 2, 4)) < share
    masked = np.ma.MaskedArray(np.where(mask, -999, values), mask, fill_value=-999)
    wanted = np.where(mask, np.nan, values)
    rows = wanted.transpose(0, 2, 1)

    for X in (
        masked,
        list(masked),
        [{"a": sample} for sample in masked],
        {"a": {str(i): sample for i, sample in enumerate(masked)}},
        [pd.DataFrame(sample).astype("Float32") for sample in rows],
        _frame([0, 1, 2], range(4), rows, ["x", "y"]).astype("float[pyarrow]"),
        Panel({"a": masked}),
    ):
        assert_array_equal(next(iter(as_panel(X).values.values())), wanted)


@st.composite
def panels(draw):
    """Two modalities, regular and irregular, with gaps, silent samples, names and ids."""
    rng = np.random.default_rng(draw(SEEDS))
    n = draw(st.integers(1, 4))
    acc = rng.normal(size=(n, 2, 6)).astype("f4")
    acc[rng.random(acc.shape) < draw(st.sampled_from([0.0, 0.3]))] = np.nan
    acc[..., 0] = 1  # where a sample starts is said by its first entry alone
    counts = rng.integers(1, 6, n)
    inside = np.arange(5) < counts[:, None]
    times = np.where(inside, np.cumsum(rng.integers(1, 10**6, (n, 5)), 1) / 1e3, np.nan)
    beats = np.where(inside, rng.normal(size=(n, 5)), np.nan)[:, None].astype("f4")
    names = draw(st.permutations(["T1", "T11", "T2", "T3"]))[:n]
    return Panel(
        {"acc": acc, "beats": beats[..., : counts.max()]},
        times={"beats": times[:, : counts.max()]},
        rates={"acc": draw(st.sampled_from([1.0, 12.5, 204.8]))},
        channels={"acc": ["x", "y"]},
        sample_ids=names,
    )


@FEW
@given(panels())
def test_a_panel_comes_back_from_sktime_as_it_was(panel):
    for name in panel.schema.names:
        part = panel.select(name)
        for mtype in ("pd-multiindex", "nested_univ", "df-list"):
            again = as_panel(part.to_sktime(mtype), rates={name: panel.schema[name].rate})
            assert again.schema.names == (name,)
            assert again.schema[name].channels == panel.schema[name].channels
            assert again.schema[name].rate == panel.schema[name].rate
            assert_array_equal(again.values[name], panel.values[name])
            if panel.times[name] is not None:
                assert_allclose(again.times[name], panel.times[name], atol=1e-9)
            if mtype != "df-list":
                assert_array_equal(again.sample_ids, panel.sample_ids)
    both = as_panel(
        {name: panel.select(name).to_sktime("nested_univ") for name in panel.schema.names},
        rates={m.name: m.rate for m in panel.schema},
    )
    assert_array_equal(both.values["beats"], panel.values["beats"])
    assert_allclose(both.times["beats"], panel.times["beats"], atol=1e-9)
