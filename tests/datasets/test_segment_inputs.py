"""segment: labels, groups, masks and damaged streams are read right or refused by name."""

import numpy as np
import pandas as pd
import polars as pl
import pytest
from numpy.testing import assert_array_equal

from mts_fusion.datasets import segment

TIMES = np.arange(40) / 4
STREAM = pd.Series(np.arange(40.0), TIMES)


def _segment(recordings=None, **kwargs):
    return segment({"a": STREAM} if recordings is None else recordings, window_seconds=5, **kwargs)


# y and groups


def test_names_of_recordings_may_be_tuples():
    X, _, groups = _segment({("anna", 1): {"a": STREAM}, ("ben", 2): {"a": STREAM}})

    assert len(groups) == len(X) == 4
    assert groups.tolist() == [("anna", 1), ("anna", 1), ("ben", 2), ("ben", 2)]


def test_a_label_may_be_an_array_of_several():
    X, y, _ = _segment([{"a": STREAM}] * 2, label=[np.array([0, 1, 1]), np.array([1, 0, 0])])

    assert_array_equal(y, [[0, 1, 1], [0, 1, 1], [1, 0, 0], [1, 0, 0]])
    assert len(y) == len(X)
    assert _segment(label=np.array([0, 1]))[1].shape == (2, 2)


def test_labels_of_several_types_stay_what_they_are():
    recordings = [{"a": STREAM}] * 2

    assert _segment(recordings, label=["rest", 1])[1].tolist() == ["rest", "rest", 1, 1]
    assert _segment(recordings, groups=["p1", 2])[2].tolist() == ["p1", "p1", 2, 2]
    within = pd.Series(["rest"] * 5 + [1] * 5, np.arange(10.0))
    assert _segment(label=within)[1].tolist() == ["rest", 1]


@pytest.mark.parametrize(
    "label",
    [
        pd.Series([1, None] * 5, np.arange(10.0), dtype=object),
        pd.Series([1, None] * 5, np.arange(10.0), dtype="Int64"),
        (np.arange(10.0), np.ma.MaskedArray([1, -9] * 5, mask=[0, 1] * 5)),
    ],
)
def test_whole_labels_with_gaps_stay_whole(label):
    _, y, _ = _segment(label=label, min_share=0.2)

    assert y.tolist() == [1, 1]
    assert y.dtype.kind == "i"


def test_text_labels_with_gaps():
    label = pd.Series(["a", pd.NA] * 5, np.arange(10.0), dtype="string")

    assert _segment(label=label, min_share=0.2)[1].tolist() == ["a", "a"]


def test_a_recording_without_a_group_is_named():
    with pytest.raises(ValueError, match="groups has no entry for recording 1"):
        _segment([{"a": STREAM}] * 2, groups=["p1", None])


# Labels that hold


def test_a_stage_holds_until_the_next():
    stages = pd.Series(["wake", "sleep", "wake"], [0.0, 30.0, 60.0])
    recording = {"a": pd.Series(1.0, np.arange(360) / 4)}
    with pytest.warns(
        UserWarning, match=r"6 of 9 windows have no entry of the label .*label_holds"
    ):
        assert len(segment(recording, window_seconds=10, label=stages)[1]) == 3

    X, y, _ = segment(recording, window_seconds=10, label=stages, label_holds=True)

    assert y.tolist() == ["wake"] * 3 + ["sleep"] * 3 + ["wake"] * 3
    assert len(X) == 9


def test_the_longer_part_of_a_window_gives_its_label():
    stages = pd.Series([0, 1], [0.0, 6.0])

    assert _segment(label=stages, label_holds=True)[1].tolist() == [0, 1]
    assert _segment(label=stages, label_holds=True, min_share=0.9)[1].tolist() == [0]


# Streams


def test_masked_and_missing_values_of_a_stream_are_nan():
    wanted = np.arange(40.0)
    wanted[3] = np.nan
    hidden = np.ma.MaskedArray(np.where(np.isnan(wanted), -999, wanted), np.isnan(wanted))
    for values in (hidden, pd.array(wanted, dtype="Float64"), pd.array(wanted, "double[pyarrow]")):
        for stream in ((TIMES, values), pd.Series(values, TIMES)):
            assert_array_equal(_segment({"a": stream})[0].values["a"].ravel(), wanted)


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (pd.date_range("2026", periods=40), "dates"),
        (pd.Categorical(["x"] * 40), "categories"),
        (np.ones(40, bool), "booleans"),
        (["x"] * 40, "text"),
    ],
    ids=["dates", "categories", "booleans", "text"],
)
def test_columns_that_are_no_numbers_are_refused_by_name(column, what):
    frame = pd.DataFrame({"x": 1.0, "other": column}).set_index(TIMES)

    with pytest.raises(TypeError, match=rf"Modality 'a' holds {what} in the columns \['other'\]"):
        _segment({"a": frame})


def test_the_default_index_is_no_clock():
    counted = STREAM.reset_index(drop=True)
    message = r"The clock of modality 'a' is the index that pandas gives by default, which only"

    with pytest.raises(ValueError, match=message):
        _segment({"a": counted})
    assert_array_equal(
        _segment({"a": counted}, rates={"a": 4.0})[0].values["a"].ravel(), np.arange(40)
    )
    with pytest.raises(ValueError, match="The clock of the label is the index that pandas gives"):
        _segment(label=pd.Series(["x"] * 10))


def test_a_missing_stamp_is_named():
    with pytest.raises(
        ValueError, match=r"The clock of modality 'a' is not one finite .* entry 1 "
    ):
        _segment({"a": ([0.0, np.nan], [1.0, 2.0])})


def test_streams_of_other_libraries():
    polars, xarray = pytest.importorskip("polars"), pytest.importorskip("xarray")
    values = np.arange(80.0).reshape(40, 2)
    wanted = values.T[:, :20]
    for stream in (
        (polars.Series(TIMES), polars.DataFrame({"x": values[:, 0], "y": values[:, 1]})),
        xarray.DataArray(
            values.T, dims=("channel", "time"), coords={"time": TIMES, "channel": ["x", "y"]}
        ),
    ):
        panel, _, _ = _segment({"a": stream})
        assert panel.schema["a"].channels == ("x", "y")
        assert_array_equal(panel.values["a"][0], wanted)


def test_a_frame_of_polars_has_no_clock():
    frame = pl.DataFrame({"time": [0.0, 0.5, 1.0], "x": [1.0, 2.0, 3.0]})
    with pytest.raises(
        TypeError, match=r"DataFrame of polars, which has no index for a clock\. Giv"
    ):
        segment({"acc": frame}, window_seconds=1)
    panel, *_ = segment({"acc": (frame["time"], frame.drop("time"))}, window_seconds=1)
    assert panel.schema["acc"].channels == ("x",)


@pytest.mark.parametrize("nothing", [None, ([], []), pd.Series([], dtype=float)], ids=str)
def test_a_stream_may_be_empty_or_none(nothing):
    three = (TIMES, np.ones((40, 3)))

    panel, _, groups = _segment([{"a": STREAM, "b": nothing}, {"a": STREAM, "b": three}])

    assert panel.available.tolist() == [[True, False]] * 2 + [[True, True]] * 2
    assert len(groups) == 4


def test_a_rate_may_be_that_of_a_stream_that_is_none():
    given = {"rates": {"a": 4.0, "b": 25.0}, "channels": {"a": ["x"], "b": ["y"]}}

    panel, _, _ = _segment({"a": STREAM, "b": None}, **given)

    assert panel.schema.names == ("a",)
    assert (panel.schema["a"].rate, panel.schema["a"].channels) == (4.0, ("x",))
    with pytest.raises(ValueError, match=r"rates names \['b'\], but the modalities are \['a'\]"):
        _segment({"a": STREAM}, **given)


def test_whole_numbers_in_milliseconds_are_no_seconds():
    stamps = np.arange(0, 10_000, 20)
    with pytest.raises(
        ValueError, match=r"but rates says 50 Hz\. If they are milliseconds, divide"
    ):
        _segment({"a": pd.Series(1.0, stamps)}, rates=50.0)
    assert _segment({"a": pd.Series(1.0, stamps / 1000)}, rates=50.0)[0].schema["a"].rate == 50.0


def test_one_rate_is_for_one_modality():
    with pytest.raises(ValueError, match=r"rates=4\.0 names no modality, but the recordings have"):
        _segment({"a": STREAM, "b": STREAM}, rates=4.0)


def test_a_label_may_be_a_frame_of_one_column():
    label = pd.DataFrame({"y": [3] * 10}, np.arange(10.0))

    assert _segment(label=label)[1].tolist() == [3, 3]
    with pytest.raises(ValueError, match=r"The label has the columns \['y', 'z'\]; one is wanted"):
        _segment(label=label.assign(z=1))
