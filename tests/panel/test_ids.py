"""Samples of several modalities are brought together by their ids, never by their position."""

import re

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from mts_fusion.panel import Panel, as_panel


def frame(ids, scale=1.0, length=3):
    """A multi-index frame whose value is the number in the id."""
    index = pd.MultiIndex.from_product([ids, range(length)])
    values = np.repeat([scale * float(str(i).lstrip("T")) for i in ids], length)
    return pd.DataFrame({"x": values}, index=index)


def test_ids_in_another_order_are_aligned():
    panel = as_panel({"acc": frame(["T1", "T2", "T11"]), "hr": frame(["T1", "T11", "T2"], 10)})

    assert panel.sample_ids.tolist() == ["T1", "T2", "T11"]
    assert_array_equal(panel.values["acc"][:, 0, 0], [1, 2, 11])
    assert_array_equal(panel.values["hr"][:, 0, 0], [10, 20, 110])


def test_a_sample_that_a_modality_lacks_is_silent_there():
    panel = as_panel({"acc": frame([1, 2]), "hr": frame([2, 3])})

    assert panel.sample_ids.tolist() == [1, 2, 3]
    assert_array_equal(panel.available, [[True, False], [True, True], [False, True]])


@settings(max_examples=25, deadline=None)
@given(st.permutations(range(6)), st.integers(1, 6))
def test_any_order_and_any_subset_of_ids_gives_each_sample_its_own(order, n):
    panel = as_panel({"acc": frame(list(range(6))), "hr": frame(list(order)[:n], 10)})

    there = panel.available[:, 1]
    assert there.sum() == n
    assert_array_equal(panel.values["hr"][there, 0, 0], 10 * panel.values["acc"][there, 0, 0])


def test_the_index_of_nested_and_plain_frames_is_ids_too():
    nested = pd.DataFrame({"x": [pd.Series([1.0, 1.0]), pd.Series([2.0, 2.0])]}, index=["a", "b"])
    plain = pd.DataFrame([[2.0, 2.0], [1.0, 1.0]], index=["b", "a"])

    panel = as_panel({"acc": nested, "hr": plain})

    assert_array_equal(panel.values["acc"][:, 0, 0], [1, 2])
    assert_array_equal(panel.values["hr"][:, 0, 0], [1, 2])


def test_a_dict_by_id_is_aligned_too():
    acc = {"T1": np.ones(3), "T2": 2 * np.ones(3), "T3": None}
    panel = as_panel({"acc": acc, "hr": {"T2": 20 * np.ones(2)}})

    assert panel.sample_ids.tolist() == ["T1", "T2", "T3"]
    assert_array_equal(panel.values["acc"][:, 0, 0], [1, 2, np.nan])
    assert_array_equal(panel.values["hr"][:, 0, 0], [np.nan, 20, np.nan])


def test_panels_in_a_dict_are_aligned_and_keep_their_clocks():
    acc = Panel({"a": np.ones((2, 2, 2))}, rates={"a": 8.0}, channels={"a": ["x", "y"]})
    acc = acc.replace(values={"a": acc.values["a"] * [[[1]], [[2]]]}, sample_ids=["T1", "T2"])
    labs = Panel({"l": [[[2.0, 2.0]]]}, times={"l": [[7.0, 9.5]]}, sample_ids=["T2"])

    panel = as_panel({"acc": acc, "labs": labs})

    assert_array_equal(panel.values["acc"], acc.values["a"])
    assert_array_equal(panel.times["labs"], [[np.nan, np.nan], [7, 9.5]])
    assert panel.schema["acc"].rate == 8.0
    assert panel.schema["acc"].channels == ("x", "y")
    with pytest.raises(
        TypeError, match=r"Modality 'both' is a Panel of the modalities \['acc', 'la"
    ):
        as_panel({"both": panel})
    filled = acc.replace(observed={"a": np.zeros((2, 2, 2), bool)})
    with pytest.raises(
        TypeError, match="Modality 'acc' is a Panel of tokens, or of values that an"
    ):
        as_panel({"acc": filled})


def test_a_shuffled_frame_beside_one_with_the_default_index_is_aligned():
    plain = pd.DataFrame([[0.0], [1.0], [2.0]])

    panel = as_panel({"acc": plain, "hr": plain.loc[[2, 0, 1]]})

    assert_array_equal(panel.values["acc"], panel.values["hr"])


def test_an_array_stands_beside_one_order_of_ids():
    panel = as_panel({"acc": frame([2, 1]), "hr": np.ones((2, 4))})

    assert panel.sample_ids.tolist() == [2, 1]


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            {"acc": frame([1, 2]), "hr": frame([2, 1]), "temp": np.ones((2, 3))},
            "['temp'] has no ids, so its rows could be anyone's. Give it ids as its index, too.",
        ),
        (
            {"acc": frame([1, 2]), "hr": frame(["T1", "T2"])},
            "The sample ids of 'hr' are text, those of 'acc' are whole numbers. Give both",
        ),
        (
            {
                "acc": frame([1, 2]),
                "hr": pd.DataFrame({"x": [pd.Series([1.0])] * 3}, index=[1, 1, 2]),
            },
            "The sample id 1 stands more than once in modality 'hr'",
        ),
        (
            {"acc": frame([7, 8]), "hr": pd.DataFrame([[1.0], [2.0]])},
            "The samples of 'hr' are numbered from 0 by pandas, those of 'acc' have the ids [7, 8]",
        ),
    ],
)
def test_ambiguous_ids_are_refused(X, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        as_panel(X)


@pytest.mark.parametrize(
    "stamps", [range(4), np.arange(4) / 2, pd.date_range("2026", periods=4, freq="s")]
)
def test_an_id_of_two_samples_is_named(stamps):
    index = pd.MultiIndex.from_product([["T1", "T2"], stamps])
    X = pd.DataFrame({"x": np.arange(8.0)}, index)
    twice = pd.concat([X, X.loc[["T1"]]])

    message = (
        r"The times of modality 'acc' decrease in the sample of id 'T1', by .* at entry 4\. "
        r"If 'T1' is the id of two samples, give each its own\. If it is one sample, sort"
    )
    with pytest.raises(ValueError, match=message):
        as_panel({"acc": twice})
    message = r"Each time of modality 'acc' in the sample of id 'T1' stands 2 times\. If 'T1' is"
    with pytest.raises(ValueError, match=message):
        as_panel({"acc": twice.sort_index()})
    assert as_panel({"acc": X.iloc[[0, 0]]}).shape == (1, 1)  # two entries at one time


def test_a_row_without_an_id_is_named():
    index = pd.MultiIndex.from_arrays([["a", None], [0, 0]])

    with pytest.raises(ValueError, match="Modality 'acc' has no sample id in row 1"):
        as_panel({"acc": pd.DataFrame({"x": [1.0, 2.0]}, index=index)})


def test_ids_are_carried_by_every_way_of_cutting():
    panel = Panel({"acc": np.zeros((4, 1, 2)), "hr": np.zeros((4, 1, 2))}, sample_ids=list("abcd"))

    assert panel[1:3].sample_ids.tolist() == ["b", "c"]
    assert panel[[3, 0]].select("hr").sample_ids.tolist() == ["d", "a"]
    assert panel[:2].concat(panel[3:]).sample_ids.tolist() == ["a", "b", "d"]
    assert panel[:2].drop("hr").align(panel.schema).sample_ids.tolist() == ["a", "b"]
    assert panel.replace(rates={"acc": 2.0}).sample_ids.tolist() == list("abcd")
    assert panel.concat(panel.replace(sample_ids=[1, 2, 3, 4])).sample_ids.tolist()[3:5] == ["d", 1]


def test_ids_are_shown():
    panel = Panel({"acc": np.full((2, 1, 2), np.nan)}, sample_ids=["T1", "T2"])

    assert repr(panel).startswith("Panel of 2 samples, T1 to T2\n")
    assert panel.describe(by="sample").loc["T2", "acc"] == 1.0


@pytest.mark.parametrize(
    "ids", [["a"], ["a", None], np.zeros((2, 1)), np.ma.MaskedArray([1, 2], mask=[0, 1])]
)
def test_ids_are_one_a_sample(ids):
    with pytest.raises(ValueError, match="sample_ids"):
        Panel({"acc": np.zeros((2, 1, 2))}, sample_ids=ids)
