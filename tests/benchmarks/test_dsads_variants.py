import numpy as np
import pytest

from mts_fusion.benchmarks._dsads_variants import as_actions, as_gestures, as_phone
from mts_fusion.benchmarks._folds import Data, leave_groups_out
from mts_fusion.panel import Panel

POSITIONS = ("torso", "right_arm", "left_arm", "right_leg", "left_leg")


@pytest.fixture
def dsads():
    """Three subjects, 19 activities, eight windows of each."""
    n = 3 * 19 * 8
    rng = np.random.default_rng(0)
    values = {p: rng.normal(size=(n, 9, 20)).astype(np.float32) for p in POSITIONS}
    panel = Panel(values, rates=dict.fromkeys(POSITIONS, 25.0))
    data = Data(
        "dsads", panel, np.tile(np.repeat(np.arange(19), 8), 3), np.repeat([1, 2, 3], n // 3)
    )
    return data, leave_groups_out(data.groups, 1)


@pytest.mark.parametrize(
    ("shape", "n_modalities", "rates", "n_classes"),
    [
        (as_phone, 3, [25.0] * 3, 19),
        (as_actions, 3, [25.0, 12.5, 6.25], 19),
        (as_gestures, 8, [25.0] * 8, 6),
    ],
)
def test_a_shape_has_its_sensors_classes_and_folds(dsads, shape, n_modalities, rates, n_classes):
    data, folds = shape(*dsads)
    assert [modality.rate for modality in data.panel.schema] == rates
    assert len(data.panel.schema) == n_modalities
    assert len(data) == len(data.y) == len(data.groups)
    assert np.unique(data.y).tolist() == list(range(n_classes))
    for fold in folds:
        assert set(data.y[fold.train]) == set(data.y[fold.test]) == set(range(n_classes))
        assert not set(data.groups[fold.train]) & set(data.groups[fold.test])


def test_as_many_rows_of_each_class_are_trained_on(dsads):
    data, folds = as_phone(*dsads)
    assert np.bincount(data.y[folds[0].train]).tolist() == [16] * 19  # all there are
    panel, y = dsads[0].panel, dsads[0].y
    many = Data("dsads", panel.concat(panel), np.tile(y, 2), np.repeat([1, 2], len(y)))
    data, folds = as_actions(many, leave_groups_out(many.groups, 1))
    assert np.bincount(data.y[folds[0].train]).tolist() == [22] * 19
    assert len(np.unique(folds[0].train)) == 22 * 19
