"""What users bring: masks, tensors, other libraries' frames, odd cells; and what is refused."""

import re

import numpy as np
import pandas as pd
import pytest
import torch
from numpy.testing import assert_array_equal

from mts_fusion.panel import Panel, Vocabulary, as_panel

NAN = np.nan


def masked(values, mask):
    return np.ma.MaskedArray(values, mask=mask, fill_value=-999)


def objects(parts, shape):
    """An array of objects, filled cell by cell."""
    array = np.empty(len(parts), dtype=object)
    for i, part in enumerate(parts):
        array[i] = part
    return array.reshape(shape)


# Masks


@pytest.mark.parametrize("kind", [float, int])
def test_what_is_masked_is_missing_in_every_door(kind):
    array = masked(np.array([[1, -999, 3], [4, 5, -999]], kind), [[0, 1, 0], [0, 0, 1]])
    wanted = [[1, NAN, 3], [4, 5, NAN]]

    for X in (
        array,
        {"series": array},
        {"series": list(array)},
        [{"series": row} for row in array],
        list(array),
        Panel({"series": array[:, None]}),
    ):
        assert_array_equal(as_panel(X).values["series"][:, 0], wanted)


def test_masked_times_are_padding():
    times = masked([[0.0, 1.0, -999.0]], [[0, 0, 1]])

    panel = as_panel({"hr": [[1.0, 2.0, NAN]]}, times={"hr": times})

    assert_array_equal(panel.times["hr"], [[0, 1, NAN]])


# Columns that are no numbers


@pytest.mark.parametrize(
    ("column", "what"),
    [
        (pd.date_range("2026", periods=2), "dates"),
        (pd.date_range("2026", periods=2, tz="UTC"), "dates"),
        (pd.period_range("2026", periods=2, freq="D"), "dates"),
        (pd.to_timedelta([1, 2], unit="s"), "durations"),
        (pd.Categorical([1, 2]), "categories"),
        ([True, False], "booleans"),
        (pd.array([True, None], dtype="boolean"), "booleans"),
        (["1.0", "2.0"], "text"),
        (pd.array(["a", None], dtype="string"), "text"),
        (pd.Series(["a", 1], dtype=object), "text"),
    ],
    ids=str,
)
def test_columns_that_are_no_numbers_are_refused_by_name(column, what):
    frame = pd.DataFrame({"when": column, "x": [1.0, 2.0]})
    in_index = frame.set_index(pd.MultiIndex.from_product([[0], [0, 1]]))
    message = re.escape(f"holds {what} in the columns ['when']; numbers are wanted (")

    for X in (in_index, {"acc": in_index}, {"acc": frame}, frame, [frame], [{"acc": frame}]):
        with pytest.raises(ValueError, match=message):
            as_panel(X)


def test_a_chart_in_long_form_is_read_after_its_pivot():
    dates = pd.to_datetime(["2026-01-01 09:00", "2026-01-01 08:00", "2026-01-01 08:30"])
    chart = pd.DataFrame(
        {"patient": ["p1"] * 3, "time": dates, "item": ["a", "a", "b"], "value": [3.0, 1.0, 2.0]}
    )
    with pytest.raises(ValueError, match=r"\['patient', 'item'\].* frame\.pivot_table\("):
        as_panel(chart.set_index("time").reset_index(drop=True))

    table = chart.pivot_table(index=["patient", "time"], columns="item", values="value")
    panel = as_panel({"lab": table.sort_index()})

    assert panel.schema["lab"].channels == ("a", "b")
    assert_array_equal(panel.values["lab"][0], [[1, NAN, 3], [NAN, 2, NAN]])
    assert panel.sample_ids.tolist() == ["p1"]


def test_an_array_of_dates_is_refused():
    with pytest.raises(ValueError, match=r"Modality 'acc' holds dates \(datetime64"):
        as_panel({"acc": np.array([["2026-01-01"]], "M8[s]")})


@pytest.mark.parametrize("dtype", ["Float64", "Int64", "double[pyarrow]", "int64[pyarrow]", object])
def test_missing_cells_of_any_dtype_of_numbers_are_nan(dtype):
    frame = pd.DataFrame({"x": pd.array([1, None, 3], dtype=dtype)})

    panel = as_panel([frame])

    assert_array_equal(panel.values["series"][0, 0], [1, NAN, 3])


# Ragged samples, and samples that are not there


@pytest.mark.parametrize(
    "X",
    [
        [np.ones((2, 3)), np.ones((2, 2))],
        objects([np.ones((2, 3)), np.ones((2, 2))], (2,)),
        objects([np.ones(3), np.ones(3), np.ones(2), np.ones(2)], (2, 2)),
        [torch.ones(2, 3), torch.ones(2, 2)],
    ],
    ids=["np-list", "object", "object of cells", "tensors"],
)
def test_ragged_samples_are_padded(X):
    for given in (X, {"series": X}):
        panel = as_panel(given)
        assert panel.values["series"].shape == (2, 2, 3)
        assert_array_equal(panel.values["series"][1, :, 2], [NAN, NAN])


@pytest.mark.parametrize("nothing", [None, NAN, pd.Series([], dtype=float)], ids=str)
def test_a_nested_cell_may_be_empty(nothing):
    X = pd.DataFrame({"a": [nothing, pd.Series([1.0, 2.0])], "b": [pd.Series([3.0]), nothing]})

    panel = as_panel(X)

    assert_array_equal(panel.values["series"][0], [[NAN, NAN], [3, NAN]])
    assert_array_equal(panel.values["series"][1], [[1, 2], [NAN, NAN]])


def test_a_number_beside_series_is_a_modality_of_one_timepoint():
    columns = pd.MultiIndex.from_tuples([("acc", "x"), ("age", "years")])
    X = pd.DataFrame([[pd.Series([1.0, 2.0]), 60.0]], columns=columns)

    assert_array_equal(as_panel(X).values["age"], [[[60.0]]])


@pytest.mark.parametrize("nothing", [[], None, NAN, np.empty((3, 0))], ids=str)
def test_an_absent_sensor_of_three_channels_is_silent(nothing):
    for X in ({"acc": [np.ones((3, 2)), nothing]}, [{"acc": np.ones((3, 2))}, {"acc": nothing}]):
        assert as_panel(X).available[:, 0].tolist() == [True, False]


@pytest.mark.parametrize("nothing", [None, [], [None, None], [[], []]], ids=str)
def test_a_modality_of_which_nothing_is_known_is_left_to_the_schema(nothing):
    X = {"acc": np.ones((2, 3, 4)), "hr": nothing}
    schema = Panel({"hr": np.ones((1, 2, 5)), "acc": np.ones((1, 3, 4))}).schema

    with pytest.raises(ValueError, match=r"Modality 'hr' has no timepoint in any sample\. Leave"):
        as_panel(X)
    panel = as_panel(X, schema=schema)
    assert panel.schema.names == ("hr", "acc")
    assert panel.available.tolist() == [[False, True]] * 2


def test_samples_in_which_all_is_absent_are_silent():
    schema = Panel({"acc": np.ones((1, 3, 4)), "hr": np.ones((1, 1, 2))}).schema

    panel = as_panel({"acc": [None, None], "hr": [None, None]}, schema=schema)

    assert panel.shape == (2, 2)
    assert not panel.available.any()


def test_one_rate_is_enough_for_one_modality():
    assert as_panel(np.ones((2, 4)), rates=50.0).schema["series"].rate == 50.0
    assert as_panel({"acc": np.ones((2, 4))}, rates=50).schema["acc"].rate == 50.0
    with pytest.raises(ValueError, match=re.escape("Give a dict, as rates={'acc': 50.0}.")):
        as_panel({"acc": np.ones((2, 4)), "hr": np.ones((2, 4))}, rates=50.0)


def test_a_rate_that_is_no_number_is_named():
    with pytest.raises(TypeError, match="Modality 'acc' has rate='fast'; a number in Hz"):
        as_panel({"acc": np.ones((2, 4))}, rates={"acc": "fast"})


# Keys


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (np.argwhere([False, True, True]), [1, 2]),
        (np.array(2), [2]),
        (np.array([[True], [False], [True]]), [0, 2]),
        (torch.tensor([2, 0]), [2, 0]),
        (pd.Series([0, 1]), [0, 1]),
    ],
    ids=["argwhere", "0-d", "mask of one column", "tensor", "series"],
)
def test_keys_of_other_shapes(key, rows):
    panel = Panel({"acc": np.arange(3.0)[:, None, None]})

    assert panel[key].values["acc"][:, 0, 0].tolist() == rows


def test_keys_of_two_columns_are_refused():
    with pytest.raises(IndexError, match=r"the key has shape \(2, 2\)"):
        Panel({"acc": np.zeros((3, 1, 1))})[np.zeros((2, 2), int)]


# Other libraries


@pytest.mark.parametrize("tensor", [torch.ones(2, 3, 4), torch.ones(2, 3, 4, requires_grad=True)])
def test_tensors_are_read_by_value(tensor):
    assert_array_equal(as_panel(tensor).values["series"], np.ones((2, 3, 4)))
    assert_array_equal(as_panel({"acc": tensor}).values["acc"], np.ones((2, 3, 4)))
    assert_array_equal(as_panel({"acc": list(tensor)}).values["acc"], np.ones((2, 3, 4)))
    assert_array_equal(Panel({"acc": tensor}).values["acc"], np.ones((2, 3, 4)))


def test_frames_of_polars_are_read_by_name():
    polars = pytest.importorskip("polars")
    frame = polars.DataFrame({"x": [1, None, 3], "y": [4.0, 5.0, 6.0]})

    panel = as_panel([frame, frame.select("y", "x")])

    assert panel.schema["series"].channels == ("x", "y")
    assert_array_equal(panel.values["series"][1], [[1, NAN, 3], [4, 5, 6]])
    assert as_panel({"acc": frame}).values["acc"].shape == (3, 1, 2)
    with pytest.raises(ValueError, match=r"holds text in the columns \['x'\]"):
        as_panel([polars.DataFrame({"x": ["a"]})])


def test_arrays_of_xarray_are_read_by_the_names_of_their_dimensions():
    xarray = pytest.importorskip("xarray")
    cube = np.arange(24.0).reshape(2, 3, 4)
    array = xarray.DataArray(
        cube.transpose(2, 0, 1),
        dims=("time", "sample", "channel"),
        coords={"channel": ["x", "y", "z"], "sample": ["b", "a"], "time": np.arange(4) / 8},
    )

    for X in (array, {"series": array}, xarray.Dataset({"series": array})):
        panel = as_panel(X)
        assert_array_equal(panel.values["series"], cube)
        assert panel.schema["series"].channels == ("x", "y", "z")
        assert panel.schema["series"].rate == 8.0
        assert panel.sample_ids.tolist() == ["b", "a"]
    assert_array_equal(as_panel(array.isel(sample=0)).values["series"], cube[:1])
    with pytest.raises(ValueError, match=r"has the dimensions \['a', 'b'\]; sample, channel and"):
        as_panel(xarray.DataArray(np.ones((2, 3)), dims=("a", "b")))


def test_an_array_that_looks_transposed_gets_a_hint():
    X = np.ones((5, 500, 3))
    with pytest.warns(UserWarning, match="Modality 'acc' has 500 channels of 3 timepoints, which"):
        as_panel({"acc": X})
    fitted = as_panel({"acc": np.ones((5, 3, 20))}).schema
    with pytest.raises(ValueError, match="Its 3 timepoints look like the channels"):
        as_panel({"acc": np.ones((5, 20, 3))}, schema=fitted)


def test_a_list_of_panels_is_concatenated():
    panel = Panel({"acc": np.arange(3.0)[:, None, None], "hr": np.ones((3, 1, 2))})

    assert_array_equal(as_panel(list(panel)).values["acc"], panel.values["acc"])
    parts = [panel[:1].drop("hr"), panel[1:2], panel[2:].select(["hr", "acc"])]
    joined = as_panel(parts, schema=panel.schema)
    assert_array_equal(joined.values["acc"], panel.values["acc"])
    assert joined.available[:, 1].tolist() == [False, True, True]


def _two_samples():
    return np.random.default_rng(0).normal(size=(2, 3, 10)).astype(np.float32)


def test_a_list_of_polars_frames_has_a_row_each_timepoint():
    polars = pytest.importorskip("polars")
    values = _two_samples()
    frames = [polars.DataFrame(dict(zip("xyz", sample, strict=True))) for sample in values]
    frames[1] = frames[1].select("z", "x", "y")
    objects = np.empty(2, object)
    objects[:] = frames

    lists = frames, tuple(frames), objects, [frame.lazy() for frame in frames]
    for X in (*({"acc": part} for part in lists), [{"acc": frame} for frame in frames]):
        panel = as_panel(X)
        assert panel.schema["acc"].channels == ("x", "y", "z")
        assert_array_equal(panel.values["acc"], values)


def test_a_list_of_named_arrays_is_read_by_the_names_of_their_dimensions():
    xarray = pytest.importorskip("xarray")
    values = _two_samples()
    arrays = [
        xarray.DataArray(
            sample.T,
            dims=("time", "channel"),
            coords={"channel": ["x", "y", "z"], "time": np.arange(10) / 5},
        )
        for sample in values
    ]
    arrays[1] = arrays[1].isel(channel=[2, 0, 1]).transpose("channel", "time")

    for X in (
        arrays,
        {"series": arrays},
        {"series": tuple(arrays)},
        [{"series": a} for a in arrays],
    ):
        panel = as_panel(X)
        assert panel.schema["series"].channels == ("x", "y", "z")
        assert panel.schema["series"].rate == 5.0
        assert_array_equal(panel.values["series"], values)
    assert as_panel({"acc": [arrays[0], None]}).available[:, 0].tolist() == [True, False]
    assert as_panel([arrays[0].isel(channel=0)]).values["series"].shape == (1, 1, 10)
    joined = xarray.concat([arrays[0], arrays[0]], "sample")
    with pytest.raises(ValueError, match="an array of 2 samples in it; one sample each is wanted"):
        as_panel({"acc": [joined, joined]})


# Out


def test_missing_tokens_go_out_as_nan():
    tokens = Panel({"sax": np.array([[[1, 0, 2]]])}, vocabularies={"sax": Vocabulary(2)})

    for out in (np.asarray(tokens), tokens.to_dict()["sax"], tokens.to_numpy3d()):
        assert_array_equal(out, [[[1, NAN, 2]]])
    for mtype in ("pd-multiindex", "nested_univ", "df-list", "numpy3D"):
        again = as_panel(tokens.to_sktime(mtype))
        observed = next(iter(again.observed.values()))
        assert observed.tolist() == [[[True, False, True]]]


# Speed


def test_the_door_costs_little_for_a_row_of_a_panel():
    from time import perf_counter

    panel = Panel({f"m{i}": np.ones((50, 3, 100)) for i in range(5)}, sample_ids=range(50))
    schema = panel.schema
    best = min(_seconds(lambda: as_panel(panel[7], schema=schema), perf_counter) for _ in range(50))
    assert best < 5e-4


def _seconds(call, clock):
    start = clock()
    call()
    return clock() - start
