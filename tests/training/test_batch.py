"""PanelDataset: a batch is cut from the panel in one step."""

import tracemalloc

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal

from mts_fusion.panel import Panel, Vocabulary
from mts_fusion.training import PanelDataset, collate
from mts_fusion.transforms import PanelScaler
from mts_fusion.transforms._scaler import scaled_as_read


@pytest.fixture
def panel():
    acc = np.arange(24, dtype=np.float32).reshape(4, 2, 3)
    acc[1, 0, 2] = np.nan
    acc[2] = np.nan
    hr = np.full((4, 1, 2), 60.0)
    hr[0, :, 1] = np.nan
    clock = np.array([[0.0, np.nan], [0.0, 1.5], [0.0, 1.0], [0.5, 1.0]])
    sax = np.array([[[1, 0]], [[2, 3]], [[0, 0]], [[3, 3]]])
    return Panel(
        {"acc": acc, "hr": hr, "sax": sax},
        times={"hr": clock},
        vocabularies={"sax": Vocabulary(3)},
    )


def _cut(dataset, rows):
    inputs, target = dataset.__getitems__(rows)
    return inputs.arguments, target


def test_axes_are_turned_for_the_network(panel):
    arguments, _ = _cut(PanelDataset(panel), [0, 3])

    assert arguments["values"][0].shape == (2, 3, 2)
    assert_array_equal(arguments["values"][0][1], panel.values["acc"][3].T)


def test_values_are_finite_and_observed_says_which(panel):
    arguments, _ = _cut(PanelDataset(panel), [0, 1, 2, 3])

    for value, observed, name in zip(
        arguments["values"], arguments["observed"], panel.schema.names, strict=True
    ):
        assert torch.isfinite(value).all()
        assert_array_equal(observed, panel.observed[name].transpose(0, 2, 1))
    assert (arguments["values"][0][2] == 0).all()


def test_imputed_are_the_entries_with_a_value_that_was_not_observed(panel):
    values = {
        "acc": panel.values["acc"].copy(),
        "sax": np.where(panel.values["sax"] == 0, 2, panel.values["sax"]),
    }
    values["acc"][1, 0, 2] = 0.0  # filled; sample 2 stays empty
    filled = panel.replace(values=values, observed=panel.observed)
    silenced = np.array([[False] * 3, [True, False, False], [False] * 3])

    dataset = PanelDataset(filled, has_imputed=True).take(np.array([1, 1, 2]), silenced)
    acc, hr, sax = _cut(dataset, [0, 1, 2])[0]["imputed"]

    assert acc[0].nonzero().tolist() == [[2, 0]]
    assert not acc[1:].any()
    assert not hr.any()
    assert sax.flatten(1).tolist() == [[False] * 2, [False] * 2, [True] * 2]
    assert "imputed" not in _cut(PanelDataset(filled), [0])[0]


def test_types_are_those_of_the_contract(panel):
    arguments, target = _cut(PanelDataset(panel, np.array([0, 1, 0, 1])), [0])

    assert [v.dtype for v in arguments["values"]] == [torch.float32, torch.float32, torch.int64]
    assert {o.dtype for o in arguments["observed"]} == {torch.bool}
    assert arguments["times"][1].dtype == torch.float32
    assert target["y"].dtype == torch.int64
    assert target["weight"].dtype == torch.float32


def test_times_are_finite_or_none(panel):
    arguments, _ = _cut(PanelDataset(panel), [0, 1])

    assert arguments["times"][0] is None
    assert_array_equal(arguments["times"][1], [[0.0, 0.0], [0.0, 1.5]])


def test_targets_and_weights_go_with_their_samples(panel):
    dataset = PanelDataset(panel, np.array([5, 6, 7, 8]), np.array([1.0, 2.0, 0.0, 1.0]))

    _, target = _cut(dataset.take(np.array([3, 1])), [0, 1])

    assert_array_equal(target["y"], [8, 6])
    assert_array_equal(target["weight"], [1.0, 2.0])


def test_taking_does_not_copy(panel):
    dataset = PanelDataset(panel)

    taken = dataset.take(np.array([2, 3])).take(np.array([1]))

    assert len(taken) == 1
    assert taken.values[0] is dataset.values[0]
    assert_array_equal(_cut(taken, [0])[0]["values"][0][0], panel.values["acc"][3].T)


def test_silenced_modalities_are_not_observed(panel):
    silenced = np.array([[True, False, False], [False, False, True]])

    arguments, _ = _cut(PanelDataset(panel).take(np.array([0, 1]), silenced), [0, 1])

    assert not arguments["observed"][0][0].any()
    assert arguments["observed"][0][1].any()
    assert not arguments["observed"][2][1].any()


def test_missing_is_the_share_of_silent_modalities(panel):
    dataset = PanelDataset(panel)  # acc is silent in sample 2, and sax tokens 0 are missing there
    silenced = np.zeros((3, 3), dtype=bool)
    silenced[:, 1] = True

    assert_array_equal(dataset.missing, [0, 0, 2 / 3, 0])
    assert_array_equal(dataset.take(np.array([3, 2, 2])).missing, [0, 2 / 3, 2 / 3])
    assert_array_equal(dataset.take(np.array([3, 2, 2]), silenced).missing, [1 / 3, 1, 1])


def test_features_go_with_their_samples(panel):
    features = [np.arange(4, dtype=np.float32)]

    arguments, _ = _cut(PanelDataset(panel).with_features(features).take(np.array([3, 0])), [0, 1])

    assert_array_equal(arguments["features"][0], [3.0, 0.0])


def test_one_sample_is_a_batch_of_one(panel):
    inputs, target = PanelDataset(panel)[2]

    assert len(inputs) == 1
    assert target["y"].shape == (1,)


def test_collate_is_found_by_its_name(panel):
    batch = PanelDataset(panel)[0]

    assert collate(batch) is batch
    assert collate.__module__ == "mts_fusion.training._batch"


def test_read_only_memory_is_read_without_a_warning(panel, recwarn):
    values = {name: array.copy() for name, array in panel.values.items() if name != "sax"}
    for array in values.values():
        array.flags.writeable = False

    _cut(PanelDataset(Panel(values)), [0])

    assert len(recwarn) == 0


def test_a_batch_cannot_write_into_the_panel(panel):
    before = panel.values["acc"].copy()

    arguments, _ = _cut(PanelDataset(panel), [0, 1, 2, 3])
    arguments["values"][0].fill_(7.0)

    assert_array_equal(panel.values["acc"], before)


@pytest.mark.parametrize("rates", [{}, {"acc": 4.0}], ids=["no clock", "regular"])
def test_epoch_times_keep_their_precision_beside_a_modality_without_stamps(rates):
    stamps = np.array([[0.0, 0.25, 1.75]])
    values = {"acc": np.zeros((1, 1, 8)), "hr": np.ones((1, 1, 3))}
    panel = Panel(values, rates=rates, times={"hr": 1.7e9 + stamps})

    inputs, _ = PanelDataset(panel).__getitems__([0])

    assert_array_equal(inputs.arguments["times"][1], stamps)


def test_times_beside_a_regular_clock_count_from_its_start():
    values = {"acc": np.zeros((1, 1, 8)), "hr": np.ones((1, 1, 2))}
    panel = Panel(values, rates={"acc": 4.0}, times={"hr": [[0.5, 1.5]]})

    inputs, _ = PanelDataset(panel).__getitems__([0])

    assert_array_equal(inputs.arguments["times"][1], [[0.5, 1.5]])


def test_the_earliest_observation_of_any_modality_is_the_start():
    values = {"hr": np.array([[[np.nan, 1, 1]]]), "beat": np.ones((1, 1, 2))}
    times = {"hr": [[40.0, 52.0, 53.0]], "beat": [[50.0, 51.0]]}
    inputs, _ = PanelDataset(Panel(values, times=times)).__getitems__([0])

    assert inputs.arguments["times"][0].tolist() == [[-10.0, 2.0, 3.0]]
    assert inputs.arguments["times"][1].tolist() == [[0.0, 1.0]]


def test_the_clock_of_a_silent_sensor_does_not_move_the_others():
    values = {"hr": np.ones((2, 1, 3)), "beat": np.full((2, 1, 3), np.nan)}
    times = {"hr": np.full((2, 3), 50.0) + np.arange(3), "beat": np.zeros((2, 3)) + np.arange(3)}
    inputs, _ = PanelDataset(Panel(values, times=times)).__getitems__([0, 1])

    assert inputs.arguments["times"][0].tolist() == [[0.0, 1.0, 2.0]] * 2


def test_a_stored_panel_is_read_a_batch_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("mts_fusion.panel._stored.PART_BYTES", 400_000)
    monkeypatch.setattr("mts_fusion.transforms._moments._CHUNK_VALUES", 50_000)
    values = np.random.default_rng(0).normal(3, 2, size=(160, 2, 10_000)).astype(np.float32)
    values[5, 1] = np.nan
    panel = Panel({"a": values}, rates={"a": 100.0})
    panel.save(tmp_path / "X")
    stored, rows = Panel.open(tmp_path / "X")[::-1][::-1], np.array([5, 3])
    wanted = PanelDataset(PanelScaler().fit_transform(panel)).__getitems__(rows)[0].arguments
    tracemalloc.start()
    dataset = PanelDataset(scaled_as_read(PanelScaler().fit(stored), stored))
    got = dataset.take(rows).__getitems__(np.arange(2))[0].arguments
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    for key in ("values", "observed"):
        torch.testing.assert_close(got[key], wanted[key], rtol=0, atol=0)
    assert most < values.nbytes / 4
