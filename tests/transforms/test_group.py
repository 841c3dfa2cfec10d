"""Channels become modalities, each once."""

import numpy as np
import pytest

from mts_fusion.panel import Panel
from mts_fusion.transforms import ModalityGrouper, PanelScaler


@pytest.fixture
def X():
    return np.arange(2 * 5 * 4, dtype=float).reshape(2, 5, 4)


def test_channels_go_under_their_names(X):
    grouped = ModalityGrouper({"gyro": [4, 2], "acc": range(2)}, remainder="drop").fit_transform(X)

    assert grouped.schema.names == ("gyro", "acc")
    np.testing.assert_array_equal(grouped.values["gyro"], X[:, [4, 2]])
    np.testing.assert_array_equal(grouped.values["acc"], X[:, :2])


def test_rates_are_of_the_modalities_named(X):
    grouper = ModalityGrouper({"acc": [0, 1], "gyro": [2, 3, 4]}, rates={"acc": 25.0})

    schema = grouper.fit_transform(Panel({"all": X}, rates={"all": 50.0})).schema

    assert (schema["acc"].rate, schema["gyro"].rate) == (25.0, 50.0)


def test_times_and_carried_masks_come_along(X):
    times = np.array([[0.0, 1.0, 4.0, 9.0]] * 2)
    observed = np.ones(X.shape, bool)
    observed[0, 1] = False
    panel = Panel({"all": X}, times={"all": times}, observed={"all": observed})

    grouped = ModalityGrouper({"a": [0, 1], "b": [2, 3, 4]}).fit_transform(panel)

    np.testing.assert_array_equal(grouped.times["b"], times)
    np.testing.assert_array_equal(grouped.observed["a"], observed[:, :2])


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"groups": {"acc": [0, 1], "gyro": [1, 2, 3, 4]}},
            "Channel 1 is in modality 'acc' and in 'gyro'. Name it once.",
        ),
        (
            {"groups": {"acc": [0, 1, 5]}},
            "Modality 'acc' asks for channel 5, but X has the channels 0 to 4.",
        ),
        (
            {"groups": {"acc": [0, 1, 2]}},
            "The channels [3, 4] of X are in no modality. Add them to groups, or leave them out "
            "with remainder='drop'.",
        ),
        (
            {"groups": {"acc": []}},
            "Modality 'acc' of groups needs a list of channel numbers, got [].",
        ),
        (
            {"groups": [[0, 1]]},
            'groups is a dict of modality to channel numbers, as {"acc": [0, 1, 2]}, got [[0, 1]].',
        ),
        (
            {"groups": {"acc": [0, 1, 2, 3, 4]}, "rates": {"gyro": 5.0}},
            "rates names ['gyro'], but the groups are ['acc']. Remove them.",
        ),
        (
            {"groups": {"acc": [0, 1, 2, 3, 4]}, "remainder": "keep"},
            "remainder is 'raise' or 'drop', got 'keep'.",
        ),
    ],
)
def test_groups_that_do_not_fit_are_refused(X, parameters, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        ModalityGrouper(**parameters).fit(X)

    assert str(error.value) == message


def test_a_panel_of_several_modalities_is_refused(X):
    with pytest.raises(ValueError, match="groups the channels of one modality, but X has"):
        ModalityGrouper({"acc": [0]}).fit({"a": X, "b": X})


def test_stands_first_in_a_pipeline(X):
    from sklearn.pipeline import make_pipeline

    pipeline = make_pipeline(ModalityGrouper({"a": [0, 1], "b": [2, 3, 4]}), PanelScaler())

    assert pipeline.fit_transform(X).schema.names == ("a", "b")
