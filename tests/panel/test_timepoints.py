"""Panels without the timepoints of irregular modalities at which nothing was observed."""

import pickle

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mts_fusion.panel import Panel, Vocabulary
from mts_fusion.panel._stored import StoredPanel
from mts_fusion.panel._timepoints import observed_timepoints
from mts_fusion.transforms import PanelScaler
from mts_fusion.transforms._scaler import scaled_as_read

NAN = np.nan


def _panel(values, times, **given):
    return Panel({"hr": values, "acc": np.zeros((len(values), 1, 3))}, times={"hr": times}, **given)


def _same(got, wanted):
    for name, values in wanted.values.items():
        assert_array_equal(got.values[name], values)
        assert_array_equal(got.observed[name], wanted.observed[name])
        assert got.values[name].dtype == values.dtype
        if wanted.times[name] is not None:
            assert_array_equal(got.times[name], wanted.times[name])
    assert got.schema == wanted.schema


@pytest.fixture
def panel():
    """Samples that lose two timepoints, one and none; two channels, of which one may be silent."""
    return _panel(
        [
            [[NAN, 1.0, NAN, 2.0], [NAN, NAN, NAN, 5.0]],
            [[3.0, NAN, 4.0, NAN], [NAN, NAN, NAN, NAN]],
            [[6.0, NAN, NAN, NAN], [NAN, 7.0, NAN, NAN]],
        ],
        [[0.0, 1.0, 2.0, 3.0], [0.0, 1.0, 2.0, NAN], [4.0, 5.0, NAN, NAN]],
    )


@pytest.fixture
def wanted():
    return _panel(
        [[[1.0, 2.0], [NAN, 5.0]], [[3.0, 4.0], [NAN, NAN]], [[6.0, NAN], [NAN, 7.0]]],
        [[1.0, 3.0], [0.0, 2.0], [4.0, 5.0]],
    )


def test_timepoints_at_which_nothing_was_observed_are_left_out(panel, wanted):
    _same(observed_timepoints(panel), wanted)


def test_padding_stays_as_long_as_it_was(panel):
    longer = panel.replace(
        values={"hr": np.pad(panel.values["hr"], ((0, 0), (0, 0), (0, 3)), constant_values=NAN)},
        times={"hr": np.pad(panel.times["hr"], ((0, 0), (0, 3)), constant_values=NAN)},
    )
    assert observed_timepoints(longer).times["hr"].shape == (3, 5)
    assert observed_timepoints(longer, shortest={"hr": 6}).times["hr"].shape == (3, 6)


def test_where_there_is_nothing_to_leave_out_nothing_is_copied(wanted):
    regular = wanted.select("acc").replace(values={"acc": np.full((3, 1, 3), NAN)})
    values = wanted.values["hr"].copy()
    values[1] = NAN  # a silent sensor whose times came along
    silent = wanted.replace(values={"hr": values})
    for one in (wanted, regular, silent):
        assert observed_timepoints(one) is one


def test_a_silent_sensor_stays_silent_where_others_become_shorter(panel):
    values = panel.values["hr"].copy()
    values[1] = NAN
    got = observed_timepoints(panel.replace(values={"hr": values}))
    assert got.times["hr"].shape == (3, 2)
    assert_array_equal(got.available[:, 0], [True, False, True])
    assert np.isnan(got.times["hr"][1]).all()


def test_the_missing_symbol_is_no_value():
    X = _panel(
        [[[1, 0, 2, 0]], [[0, 2, 0, 0]]],
        [[0.0, 1.0, 2.0, NAN], [0.0, 1.0, NAN, NAN]],
        vocabularies={"hr": Vocabulary(3)},
    )
    got = observed_timepoints(X)
    assert_array_equal(got.values["hr"], [[[1, 2, 0]], [[2, 0, 0]]])
    assert_array_equal(got.times["hr"], [[0.0, 2.0, NAN], [1.0, NAN, NAN]])
    assert got.values["hr"].dtype == X.values["hr"].dtype


@pytest.mark.parametrize("filled", [False, True])
def test_what_an_imputer_filled_in_may_keep_its_timepoint(filled):
    X = _panel([[[1.0, 9.0, NAN, 2.0]]], [[0.0, 1.0, 2.0, 3.0]])
    X = X.replace(observed={"hr": np.array([[[True, False, False, True]]])})
    got = observed_timepoints(X, filled=filled)
    assert_array_equal(got.values["hr"], [[[1.0, 9.0, 2.0] if filled else [1.0, 2.0]]])
    assert_array_equal(got.observed["hr"], [[[True, False, True] if filled else [True, True]]])


@pytest.mark.parametrize("masked", [False, True])
def test_a_stored_panel_leaves_them_out_as_it_is_read(panel, tmp_path, masked, monkeypatch):
    if masked:
        mask = panel.observed["hr"].copy()
        mask[0, 0, 1] = False
        panel = panel.replace(observed={"hr": mask})
    panel.save(tmp_path / "X")
    stored, wanted = Panel.open(tmp_path / "X"), observed_timepoints(panel)
    monkeypatch.setattr("mts_fusion.panel._stored.PART_BYTES", 1)  # a sample at a time
    got = observed_timepoints(stored)

    assert isinstance(got, StoredPanel)
    _same(got, wanted)
    assert observed_timepoints(got) is got
    _same(pickle.loads(pickle.dumps(got[[2, 0]])), wanted[[2, 0]])
    _same(got[1:].select(["acc", "hr"]), wanted[1:].select(["acc", "hr"]))
    scaler = PanelScaler().fit(wanted)
    _same(scaled_as_read(scaler, got), scaler.transform(wanted))
    assert_array_equal(stored.times["hr"], panel.times["hr"])


def test_a_stored_panel_without_them_is_itself(wanted, tmp_path):
    wanted.save(tmp_path / "X")
    stored = Panel.open(tmp_path / "X")
    assert observed_timepoints(stored) is stored
