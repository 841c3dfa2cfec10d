"""Channels have names, and are brought into order by them."""

import re

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from mts_fusion.datasets import segment
from mts_fusion.panel import Modality, Panel, Schema, as_panel
from mts_fusion.transforms import ModalityGrouper, PanelScaler, PanelSummarizer


def frame(columns, n=3, length=4):
    """A multi-index frame in which each channel is constant: 0 for ax, 1 for ay, 2 for hr."""
    index = pd.MultiIndex.from_product([range(n), range(length)])
    values = {c: np.full(n * length, float(["ax", "ay", "hr"].index(c))) for c in columns}
    return pd.DataFrame(values, index=index)


@pytest.mark.parametrize("order", [["hr", "ax", "ay"], ["ay", "hr", "ax"]])
def test_channels_are_reordered_by_name(order):
    fitted = PanelScaler().fit(frame(["ax", "ay", "hr"]))

    panel = as_panel(frame(order), schema=fitted)

    assert panel.schema["series"].channels == ("ax", "ay", "hr")
    assert_array_equal(panel.values["series"][0, :, 0], [0, 1, 2])


def test_an_absent_channel_is_silent():
    fitted = PanelScaler().fit(frame(["ax", "ay", "hr"]))

    panel = as_panel(frame(["hr", "ax"]), schema=fitted)

    assert_array_equal(panel.values["series"][0, :, 0], [0, np.nan, 2])


def test_other_names_are_refused():
    fitted = PanelScaler().fit(frame(["ax", "ay"]))
    message = (
        "Modality 'series' came with the channels ['hr'], but ['ax', 'ay'] were seen in fit. "
        "Rename them, or leave them out."
    )
    with pytest.raises(ValueError, match=re.escape(message)):
        fitted.transform(frame(["ax", "hr"]))


def test_numbered_columns_in_another_order_are_channels_by_number():
    index = pd.MultiIndex.from_product([[0], range(2)])
    X = pd.DataFrame({c: [float(c)] * 2 for c in range(3)}, index=index)
    fitted = PanelScaler().fit(X)

    assert fitted.schema_["series"].channels is None
    assert_array_equal(as_panel(X[[2, 0, 1]], schema=fitted).values["series"][0, :, 0], [0, 1, 2])


def test_channels_without_names_match_any_of_their_number():
    named = as_panel(frame(["ax", "ay"]))
    plain = Panel({"series": np.zeros((3, 2, 4))})

    named.schema.check_matches(plain.schema)
    plain.schema.check_matches(named.schema)
    assert plain.align(named.schema).schema == named.schema
    assert len(plain.concat(named)) == 6


def test_frames_of_a_list_are_brought_into_one_order():
    frames = [pd.DataFrame({"a": [1.0], "b": [2.0]}), pd.DataFrame({"b": [2.0], "a": [1.0]})]

    for X in (frames, [{"series": f} for f in frames], {"series": frames}):
        panel = as_panel(X)
        assert panel.schema["series"].channels == ("a", "b")
        assert_array_equal(panel.values["series"][:, :, 0], [[1, 2], [1, 2]])


def test_concat_brings_channels_into_order():
    first, second = as_panel(frame(["ax", "ay"])), as_panel(frame(["ay", "ax"]))

    assert_array_equal(first.concat(second).values["series"][3, :, 0], [0, 1])


def test_columns_name_the_channels_of_every_frame():
    X = frame(["ax", "ay"])
    nested = pd.DataFrame({c: [pd.Series([1.0, 2.0])] for c in ("ax", "ay")})
    two_levels = X.set_axis(pd.MultiIndex.from_product([["acc"], ["ax", "ay"]]), axis=1)

    assert as_panel(X).schema["series"].channels == ("ax", "ay")
    assert as_panel({"acc": X}).schema["acc"].channels == ("ax", "ay")
    assert as_panel(nested).schema["series"].channels == ("ax", "ay")
    assert as_panel(two_levels).schema["acc"].channels == ("ax", "ay")


def test_segment_names_the_channels_and_brings_recordings_into_order():
    first = pd.DataFrame({"x": np.zeros(20), "y": np.ones(20)}, index=np.arange(20) / 4)
    panel, _, _ = segment([{"acc": first}, {"acc": first[["y", "x"]]}], window_seconds=5)

    assert panel.schema["acc"].channels == ("x", "y")
    assert_array_equal(panel.values["acc"][:, :, 0], [[0, 1], [0, 1]])

    arrays = {"acc": (np.arange(20) / 4, np.zeros((20, 2)))}
    panel, _, _ = segment(arrays, window_seconds=5, channels={"acc": ["x", "y"]})
    assert panel.schema["acc"].channels == ("x", "y")


def test_the_grouper_takes_and_keeps_names():
    grouper = ModalityGrouper({"acc": ["ax", "ay"], "heart": ["hr"]}).fit(frame(["ax", "hr", "ay"]))

    panel = grouper.transform(frame(["hr", "ay", "ax"]))

    assert panel.schema["acc"].channels == ("ax", "ay")
    assert_array_equal(panel.values["acc"][0, :, 0], [0, 1])
    assert_array_equal(panel.values["heart"][0, :, 0], [2])
    with pytest.raises(ValueError, match="Modality 'acc' asks for channel 'az', but X has the ch"):
        ModalityGrouper({"acc": ["az"]}).fit(frame(["ax"]))


def test_names_are_in_every_table():
    X = as_panel({"acc": frame(["ax", "ay"])})

    names = PanelSummarizer(statistics=["mean"]).fit(X).get_feature_names_out()
    assert names.tolist() == ["acc__ax__mean", "acc__ay__mean"]
    assert X.describe().loc["acc", "channel_names"] == "ax, ay"
    assert "(ax, ay)" in str(X.schema)


def test_new_values_of_as_many_channels_keep_the_names():
    X = as_panel(frame(["ax", "ay"]))

    assert X.replace(values={"series": np.zeros((3, 2, 9))}).schema["series"].channels
    assert X.replace(values={"series": np.zeros((3, 1, 9))}).schema["series"].channels is None


def test_channels_are_one_name_each():
    with pytest.raises(ValueError, match=r"has 2 channels, but their names are \['x'\]"):
        Modality("acc", 2, 4, channels=("x",))
    with pytest.raises(TypeError, match="The name of a channel is a string, but modality 'acc' h"):
        Modality("acc", 1, 4, channels=(0,))
    assert Schema((Modality("acc", 2, 4),)) != Schema((Modality("acc", 2, 4, channels=("x", "y")),))
