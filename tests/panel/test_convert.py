"""as_panel, the only door: every format in, and what it refuses."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal
from scipy.sparse import csr_array
from sktime.datatypes import check_raise, convert

from mts_fusion.panel import SERIES, Panel, as_panel


@pytest.fixture
def cube():
    """Five samples, three channels, eight timepoints."""
    return np.random.default_rng(0).normal(size=(5, 3, 8)).astype(np.float32)


# The formats


def test_panel_is_returned_as_it_is(cube):
    panel = Panel({"acc": cube})

    assert as_panel(panel) is panel


def test_numpy_3d_is_one_modality(cube):
    panel = as_panel(cube)

    assert panel.schema.names == (SERIES,)
    assert_array_equal(panel.values[SERIES], cube)


def test_numpy_2d_is_one_channel(cube):
    panel = as_panel(cube[:, 0])

    assert_array_equal(panel.values[SERIES], cube[:, :1])


def test_nested_list_is_read_as_an_array(cube):
    assert_array_equal(as_panel(cube.tolist()).values[SERIES], cube)


def test_dict_of_arrays_keeps_names_order_and_lengths(cube):
    panel = as_panel({"gyro": cube, "acc": cube[:, :, :4], "temp": cube[:, 0]})

    assert [(m.name, m.n_channels, m.n_timepoints) for m in panel.schema] == [
        ("gyro", 3, 8),
        ("acc", 3, 4),
        ("temp", 1, 8),
    ]


def test_dict_of_plain_frames_is_one_channel_each(cube):
    panel = as_panel({"acc": pd.DataFrame(cube[:, 0])})

    assert_array_equal(panel.values["acc"], cube[:, :1])


def test_dict_of_ragged_lists_is_padded_with_nan():
    panel = as_panel({"hr": [[60.0, 61.0], None, [70.0], np.array([[1.0, 2.0]])]})

    expected = np.array([[60, 61], [np.nan, np.nan], [70, np.nan], [1, 2]], np.float32)
    assert_array_equal(panel.values["hr"][:, 0], expected)
    assert_array_equal(panel.available[:, 0], [True, False, True, True])


def test_dict_of_lists_of_series_is_read():
    panel = as_panel({"hr": [pd.Series([1.0, 2.0]), pd.Series([3.0])]})

    assert_array_equal(panel.values["hr"][:, 0], [[1, 2], [3, np.nan]])


@pytest.mark.parametrize("mtype", ["pd-multiindex", "nested_univ", "df-list"])
def test_each_sktime_type_is_read(cube, mtype):
    X = convert(cube, "numpy3D", mtype, "Panel")

    panel = as_panel(X)

    assert panel.schema.names == (SERIES,)
    assert_array_equal(panel.values[SERIES], cube)


@pytest.mark.parametrize("mtype", ["pd-multiindex", "nested_univ", "df-list"])
def test_columns_of_two_levels_make_modalities(cube, mtype):
    X = Panel({"acc": cube[:, :2], "temp": cube[:, 2:]}).to_sktime(mtype)

    panel = as_panel(X)

    assert panel.schema.names == ("acc", "temp")
    assert_array_equal(panel.values["acc"], cube[:, :2])
    assert_array_equal(panel.values["temp"], cube[:, 2:])


@pytest.mark.parametrize("mtype", ["pd-multiindex", "nested_univ"])
def test_dict_of_sktime_frames_keeps_the_names(cube, mtype):
    X = {"acc": convert(cube, "numpy3D", mtype, "Panel"), "temp": cube[:, 0]}

    panel = as_panel(X)

    assert panel.schema.names == ("acc", "temp")
    assert_array_equal(panel.values["acc"], cube)


def test_dict_with_a_list_of_frames_keeps_the_names(cube):
    panel = as_panel({"acc": [pd.DataFrame(sample.T) for sample in cube]})

    assert_array_equal(panel.values["acc"], cube)


def test_frames_in_a_list_of_dicts_have_a_row_each_timepoint(cube):
    panel = as_panel([{"acc": pd.DataFrame(sample.T)} for sample in cube])

    assert_array_equal(panel.values["acc"], cube)


def test_list_of_dicts_is_one_sample_each():
    samples = [{"acc": np.ones((3, 4)), "hr": [60.0]}, {"acc": np.zeros((3, 2))}]

    panel = as_panel(samples)

    assert panel.schema.names == ("acc", "hr")
    assert panel.values["acc"].shape == (2, 3, 4)
    assert np.isnan(panel.values["acc"][1, :, 2:]).all()
    assert_array_equal(panel.available, [[True, True], [True, False]])


def test_nested_frames_may_have_other_lengths():
    X = pd.DataFrame({"a": [pd.Series([1.0, 2.0, 3.0]), pd.Series([4.0])]})

    assert_array_equal(as_panel(X).values[SERIES][:, 0], [[1, 2, 3], [4, np.nan, np.nan]])


def test_samples_of_a_multiindex_keep_their_order_of_appearance():
    index = pd.MultiIndex.from_tuples([("b", 0), ("b", 1), ("a", 0), ("a", 1)])

    panel = as_panel(pd.DataFrame({"x": [1.0, 2.0, 3.0, 4.0]}, index=index))

    assert_array_equal(panel.values[SERIES][:, 0], [[1, 2], [3, 4]])


def test_seconds_in_a_multiindex_become_a_rate():
    index = pd.MultiIndex.from_product([[0, 1], [0.0, 0.5, 1.0]])

    panel = as_panel(pd.DataFrame({"x": np.arange(6.0)}, index=index))

    assert panel.schema[SERIES].rate == pytest.approx(2.0)
    assert panel.times[SERIES] is None


def test_datetimes_in_a_multiindex_become_a_rate():
    clock = pd.date_range("2026-01-01", periods=4, freq="250ms")
    index = pd.MultiIndex.from_product([[0, 1], clock])

    panel = as_panel(pd.DataFrame({"x": np.arange(8.0)}, index=index))

    assert panel.schema[SERIES].rate == pytest.approx(4.0)


def test_irregular_datetimes_become_seconds_since_the_first():
    clock = pd.to_datetime(["2026-01-01 00:00:00", "2026-01-01 00:00:01", "2026-01-01 00:00:05"])
    index = pd.MultiIndex.from_product([[0, 1], clock])

    panel = as_panel(pd.DataFrame({"x": np.arange(6.0)}, index=index))

    assert panel.schema[SERIES].rate is None
    assert_array_equal(panel.times[SERIES], [[0, 1, 5], [0, 1, 5]])


def test_rates_and_ragged_times_are_set_at_the_door():
    X = {"acc": np.zeros((2, 1, 4)), "hr": [[60.0, 61.0], [70.0]]}

    panel = as_panel(X, rates={"acc": 25.0}, times={"hr": [[0.0, 1.5], [2.0]]})

    assert panel.schema["acc"].rate == 25.0
    assert_array_equal(panel.times["hr"], [[0.0, 1.5], [2.0, np.nan]])


def test_numbers_become_float32(cube):
    for dtype in (np.float64, np.int64, bool):
        assert as_panel(cube.astype(dtype)).values[SERIES].dtype == np.float32


def test_pandas_missing_values_become_nan():
    frame = pd.DataFrame({0: [1, None], 1: [3, 4]}, dtype="Int64")

    panel = as_panel({"hr": frame})

    assert_array_equal(panel.values["hr"][:, 0], [[1, 3], [np.nan, 4]])


# What is refused


def _raises(error, message):
    return pytest.raises(error, match=re.escape(message))


def test_empty_panel_is_refused():
    message = (
        "Found array with 0 sample(s) while a minimum of 1 is required: the panel is empty. "
        "Check how X was selected."
    )
    with _raises(ValueError, message):
        as_panel(np.zeros((0, 3, 8)))
    with _raises(ValueError, message):
        as_panel(Panel({"acc": np.zeros((3, 1, 4))})[:0])


def test_empty_dict_is_refused():
    with _raises(ValueError, "X is an empty dict; at least one modality is wanted."):
        as_panel({})


def test_infinite_values_are_placed():
    values = np.zeros((3, 2, 4))
    values[1, 1, 2] = np.inf
    message = (
        "Modality 'acc' has infinite values in float32 (first in sample 1, channel 1). Finite "
        "numbers or NaN are wanted: mark them as missing with np.where(np.isinf(x), np.nan, x), "
        "or rescale values beyond 3e38."
    )
    with _raises(ValueError, message):
        as_panel({"acc": values})


def test_values_beyond_float32_are_infinite():
    with _raises(ValueError, "Modality 'acc' has infinite values in float32 (first in sample 0"):
        as_panel({"acc": np.full((2, 1, 4), 1e300)})


@pytest.mark.parametrize(
    "text",
    [
        np.array([["a", "b"]], dtype=object),
        np.array([["a", "b"]]),
        pd.DataFrame([["a", "b"]]),
        [["a", "b"], ["c"]],
        [["a", "b"]],
    ],
    ids=["object", "str", "frame", "ragged", "list"],
)
def test_text_names_its_modality(text):
    with pytest.raises((TypeError, ValueError), match=r"'acc'.*numbers"):
        as_panel({"acc": text})


def test_other_counts_of_samples_are_refused():
    message = (
        "Modality 'gyro' has 4 samples, but 'acc' has 5. Give each sample a row of NaN where the "
        "modality is absent."
    )
    with _raises(ValueError, message):
        as_panel({"acc": np.zeros((5, 3, 8)), "gyro": np.zeros((4, 3, 8))})


def test_names_that_are_no_strings_are_refused():
    with _raises(TypeError, "The name of a modality is a string, got 0. Rename it with str(...)."):
        as_panel({0: np.zeros((5, 3, 8))})


@pytest.mark.parametrize("shape", [(5, 0, 8), (5, 3, 0)])
def test_modalities_of_nothing_are_refused(shape):
    message = (
        f"Modality 'acc' has shape {shape} (samples, channels, timepoints); at least one channel "
        "and timepoint is wanted. Leave the modality out instead."
    )
    with _raises(ValueError, message):
        as_panel({"acc": np.zeros(shape)})


def test_four_axes_are_refused():
    with _raises(ValueError, "Modality 'acc' has shape (2, 2, 2, 2); (samples, timepoints) or"):
        as_panel({"acc": np.zeros((2, 2, 2, 2))})


def test_samples_of_other_channel_counts_are_refused():
    message = (
        "Modality 'acc' has samples of [2, 3] channels; one number is wanted. Give all channels, "
        "with NaN where one is silent."
    )
    with _raises(ValueError, message):
        as_panel([{"acc": np.zeros((2, 4))}, {"acc": np.zeros((3, 4))}])


def test_a_sample_that_is_no_series_is_refused():
    with _raises(ValueError, "Sample 1 of modality 'acc' has shape (1, 1, 1); (timepoints,) or"):
        as_panel([{"acc": [1.0]}, {"acc": [[[1.0]]]}])


def test_text_in_one_sample_is_placed():
    with _raises(ValueError, "Sample 1 of modality 'acc' is not an array of numbers ("):
        as_panel([{"acc": [1.0]}, {"acc": ["a"]}])


def test_a_modality_without_any_timepoint_is_refused():
    message = "Modality 'hr' has no timepoint in any sample. Leave it out instead."
    with _raises(ValueError, message):
        as_panel({"hr": [None, None]})


def test_nested_channels_of_other_lengths_are_refused():
    X = pd.DataFrame({"a": [pd.Series([1.0, 2.0])], "b": [pd.Series([1.0])]})
    message = (
        "The channels of modality 'series' have lengths [2, 1] in sample 0; one length a modality "
        "is wanted. Name channels of other lengths as modalities of their own, with columns "
        "(modality, channel)."
    )
    with _raises(ValueError, message):
        as_panel(X)


def test_frames_of_other_columns_are_refused():
    frames = [pd.DataFrame({"a": [1.0]}), pd.DataFrame({"b": [1.0]})]
    message = (
        "Sample 1 has the columns ['b'], but sample 0 has ['a']. Give all samples the same "
        "columns, with NaN where a channel is silent."
    )
    with _raises(ValueError, message):
        as_panel(frames)


def test_three_index_levels_are_refused():
    index = pd.MultiIndex.from_product([[0], [0], [0, 1]])
    message = "A panel frame has two index levels (sample, time), got 3."
    with _raises(ValueError, message):
        as_panel(pd.DataFrame({"a": [1.0, 2.0]}, index=index))


def test_a_time_level_of_text_is_refused():
    index = pd.MultiIndex.from_product([[0], ["x", "y"]])
    kind = pd.Index(["x"]).dtype  # object before pandas 3
    with _raises(
        TypeError, f"The clock of a frame is {kind}; seconds (numbers) or dates are wanted."
    ):
        as_panel(pd.DataFrame({"a": [1.0, 2.0]}, index=index))


def test_a_repeated_channel_column_is_refused():
    X = Panel({"acc": np.zeros((2, 2, 3))}).to_sktime("pd-multiindex")
    X.columns = pd.MultiIndex.from_tuples([("acc", "0"), ("acc", "0")])

    message = (
        "Each channel has its own column, but ('acc', '0') stands more than once in [('acc', '0'), "
        "('acc', '0')]. Rename one of them."
    )
    with _raises(ValueError, message):
        as_panel(X)


@pytest.mark.parametrize("mtype", ["pd-multiindex", "nested_univ", "df-list"])
def test_text_in_a_sktime_type_names_its_column(mtype):
    cells = {"a": ["x", "y"]}
    X = {
        "pd-multiindex": pd.DataFrame(cells, index=pd.MultiIndex.from_product([[0], [0, 1]])),
        "nested_univ": pd.DataFrame({"a": [pd.Series(cells["a"], name="a")]}),
        "df-list": [pd.DataFrame(cells)],
    }[mtype]

    with pytest.raises(ValueError, match=r"holds text in .*'a'.*; numbers are wanted \("):
        as_panel(X)


def test_sparse_matrices_are_refused():
    with pytest.raises(TypeError, match=r"[Ss]parse"):
        as_panel(csr_array(np.eye(3)))


def test_complex_numbers_are_refused():
    with pytest.raises(ValueError, match=r"[Cc]omplex"):
        as_panel(np.ones((3, 2, 4), complex))


@pytest.mark.parametrize("nothing", [None, 3.0, "acc"], ids=str)
def test_what_is_no_data_is_refused(nothing):
    with pytest.raises((TypeError, ValueError), match=r"series|array"):
        as_panel(nothing)


def test_rates_of_unknown_modalities_are_refused():
    message = "rates names ['gyro'], but the modalities are ['acc']. Remove them or add"
    with _raises(ValueError, message):
        as_panel({"acc": np.zeros((2, 3, 4))}, rates={"gyro": 25.0})


def test_times_of_unknown_modalities_are_refused():
    with _raises(ValueError, "times names 'gyro', but the modalities are ['acc']."):
        as_panel({"acc": np.zeros((2, 3, 4))}, times={"gyro": [[0.0], [1.0]]})


def test_times_longer_than_the_values_are_refused():
    message = (
        "The times of sample 1 of modality 'acc' have shape (5,); at most (4,) is wanted, as its "
        "values have."
    )
    with _raises(ValueError, message):
        as_panel({"acc": np.zeros((2, 3, 4))}, times={"acc": [[0.0], range(5)]})


# There and back


@pytest.mark.parametrize("mtype", ["pd-multiindex", "nested_univ", "df-list", "numpy3D"])
def test_what_goes_out_is_what_sktime_calls_it(cube, mtype):
    X = Panel({"acc": cube}).to_sktime(mtype)
    if mtype != "numpy3D":  # sktime knows one level of columns only
        for frame in X if mtype == "df-list" else [X]:
            frame.columns = ["_".join(label) for label in frame.columns]

    assert check_raise(X, mtype, "Panel")


@pytest.mark.parametrize("mtype", ["pd-multiindex", "nested_univ", "df-list"])
def test_sktime_types_there_and_back_keep_names_and_nan(cube, mtype):
    cube[0, 1, 6:] = np.nan
    cube[1] = np.nan
    panel = Panel({"acc": cube[:, :2], "temp": cube[:, 2:]})

    again = as_panel(panel.to_sktime(mtype))

    assert again.schema == panel.schema
    for name in panel.schema.names:
        assert_array_equal(again.values[name], panel.values[name])


def test_modalities_of_other_lengths_go_through_nested_frames(cube):
    panel = Panel({"acc": cube, "temp": cube[:, :1, :2]})

    again = as_panel(panel.to_sktime("nested_univ"))

    assert again.schema == panel.schema
    assert_array_equal(again.values["temp"], panel.values["temp"])


def test_dict_there_and_back_is_the_same_memory(cube):
    panel = Panel({"acc": cube})

    again = as_panel(panel.to_dict())

    assert np.shares_memory(again.values["acc"], cube)


def test_numpy3d_puts_modality_after_modality(cube):
    panel = Panel({"acc": cube[:, :2], "temp": cube[:, 2:]})

    assert_array_equal(panel.to_numpy3d(), cube)


def test_numpy3d_of_other_lengths_is_refused(cube):
    message = (
        "One array needs one length, but the modalities have {'acc': 8, 'temp': 2} timepoints. "
        "Resample them first, or use to_dict()."
    )
    with _raises(ValueError, message):
        Panel({"acc": cube, "temp": cube[:, :1, :2]}).to_numpy3d()


def test_unknown_mtypes_are_refused(cube):
    message = (
        "mtype='numpyflat' is unknown; choose one of 'pd-multiindex', 'nested_univ', 'df-list', "
        "'numpy3D'."
    )
    with _raises(ValueError, message):
        Panel({"acc": cube}).to_sktime("numpyflat")
