"""Tasks: encoded targets, losses, and predictions of the type of y."""

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose, assert_array_equal

from mts_fusion.training import Multiclass, Multilabel, Regression

ONES = torch.ones(4)


def test_classes_are_coded_by_their_position():
    task = Multiclass(np.array(["run", "sit", "walk"]))

    y = task.encode(np.array(["walk", "run"]))

    assert_array_equal(y, [2, 0])
    assert task.n_outputs == 3
    assert_array_equal(task.decode(np.eye(3)[y]), ["walk", "run"])


def test_links_give_probabilities():
    logits = np.array([[0.0, 3.0], [1000.0, -1000.0]], np.float32)

    assert_allclose(Multiclass(np.arange(2)).link(logits).sum(1), 1.0)
    assert_allclose(Multilabel(2).link(logits)[1], [1.0, 0.0], atol=1e-12)


def test_loss_of_classes_is_cross_entropy():
    logits, y = torch.randn(4, 3, generator=torch.Generator().manual_seed(0)), torch.arange(4) % 3

    loss = Multiclass(np.arange(3)).loss(logits, y, ONES)

    torch.testing.assert_close(loss, torch.nn.functional.cross_entropy(logits, y))


@pytest.mark.parametrize(
    ("task", "y"),
    [
        (Multiclass(np.arange(2)), torch.tensor([0, 1, 0, 1])),
        (Multilabel(2), torch.eye(2).repeat(2, 1)),
        (Regression(np.arange(8.0).reshape(4, 2)), torch.ones(4, 2)),
    ],
    ids=["classes", "labels", "numbers"],
)
def test_a_sample_of_weight_0_does_not_matter(task, y):
    prediction = torch.zeros(4, 2)
    weight = torch.tensor([2.0, 2.0, 0.0, 0.0])
    other = prediction.clone()
    other[2:] = 100.0

    assert task.loss(prediction, y, weight) == task.loss(other, y, weight)


def test_smoothing_punishes_certainty():
    sure, y = torch.tensor([[20.0, 0.0]]), torch.tensor([0])

    plain = Multiclass(np.arange(2)).loss(sure, y, torch.ones(1))
    smooth = Multiclass(np.arange(2), label_smoothing=0.1).loss(sure, y, torch.ones(1))

    assert smooth > plain + 0.5


def test_labels_are_decoded_one_by_one():
    assert_array_equal(Multilabel(3).decode(np.array([[0.9, 0.1, 0.6]])), [[1, 0, 1]])


def test_targets_are_standardised_and_come_back_in_their_unit():
    y = np.array([[1000.0, 1.0], [3000.0, 1.0]])
    task = Regression(y)

    coded = task.encode(y)

    assert_allclose(coded, [[-1, 0], [1, 0]])  # a constant target divides by nothing
    assert_allclose(task.decode(task.link(coded)), y)


def test_predictions_of_a_flat_target_are_flat():
    task = Regression(np.array([1.0, 3.0]))

    assert task.decode(task.link(np.zeros((2, 1)))).shape == (2,)


def test_temperature_undoes_exaggeration():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2000, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = (p.cumsum(1) < rng.random((2000, 1))).sum(1)
    task = Multiclass(np.arange(3))

    task.calibrate(5.0 * logits, y)

    np.testing.assert_allclose(task.temperature, 5.0, rtol=0.1)


def test_temperature_follows_what_is_missing():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(8000, 3))
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    y = (p.cumsum(1) < rng.random((8000, 1))).sum(1)
    missing = rng.choice([0.0, 0.25, 0.5], size=8000)
    true = 0.5 ** (1 - missing) * 4.0**missing  # too modest with everything, else too sure
    task = Multiclass(np.arange(3))

    task.calibrate(true[:, None] * logits, y, missing)

    np.testing.assert_allclose(task.temperature, [0.5, 4.0], rtol=0.15)
    np.testing.assert_allclose(task.link(true[:, None] * logits, missing), p, atol=0.03)


def test_sharpening_has_a_cost():
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(2000, 3))
    y = logits.argmax(1)  # right on all: the sharper, the better
    temperatures = []
    for cost in (0.0, 0.05, 1.0):
        task = Multiclass(np.arange(3))
        task.calibrate(logits, y, 0.3, sharpening_cost=cost)
        temperatures.append(task.temperature.max())
    assert temperatures[0] < temperatures[1] < temperatures[2] < 1

    modest, dear = Multiclass(np.arange(3)), Multiclass(np.arange(3))
    modest.calibrate(9 * logits, rng.integers(3, size=2000), 0.3)
    dear.calibrate(9 * logits, rng.integers(3, size=2000), 0.3, sharpening_cost=1.0)
    np.testing.assert_array_equal(modest.temperature, dear.temperature)


def test_both_temperatures_are_alike_where_all_samples_miss_the_same_fraction():
    rng = np.random.default_rng(0)
    task = Multiclass(np.arange(3))

    task.calibrate(rng.normal(size=(50, 3)), rng.integers(3, size=50), np.full(50, 0.5))

    assert task.temperature[0] == pytest.approx(task.temperature[1], rel=1e-3)


def test_temperature_is_bounded_where_all_are_right():
    task = Multiclass(np.arange(2))

    task.calibrate(10 * np.eye(2), np.arange(2))

    assert ((task.temperature >= 0.05) & (task.temperature <= 20.0)).all()
    assert np.isfinite(task.link(10 * np.eye(2))).all()


def test_a_temperature_at_its_bound_is_known():
    logits, y = np.eye(2)[[0, 1, 0, 1]] * 4.0, np.array([0, 1, 0, 1])
    task = Multiclass(np.arange(2))
    assert not task.is_at_bound

    task.calibrate(logits, 1 - y)  # all are wrong
    assert task.is_at_bound

    task.calibrate(logits, np.array([0, 1, 0, 0]))
    assert not task.is_at_bound


def test_what_no_group_may_take_out_of_training():
    labels = Multilabel(2).needed(np.array([[1, 0], [1, 1]]))
    assert_array_equal(labels, [[True, False, False, True], [True, True, False, False]])
    classes = Multiclass(np.array(["a", "b"])).needed(np.array(["b", "a"]))
    assert_array_equal(classes, [[False, True], [True, False]])
    assert Regression(np.arange(3.0)).needed(np.arange(3.0)).shape == (3, 0)


def test_a_weight_of_3_is_three_samples():
    rng = np.random.default_rng(0)
    logits, y, missing = rng.normal(size=(60, 3)), rng.integers(3, size=60), rng.random(60)
    weight = rng.integers(4, size=60)
    rows = np.repeat(np.arange(60), weight)

    weighted, repeated = Multiclass(np.arange(3)), Multiclass(np.arange(3))
    weighted.calibrate(logits, y, missing, weight=weight, sharpening_cost=0.05)
    repeated.calibrate(logits[rows], y[rows], missing[rows], sharpening_cost=0.05)
    assert_allclose(weighted.temperature, repeated.temperature, rtol=1e-3)

    first, second = Regression(logits, weight), Regression(logits[rows])
    assert_allclose(first.mean, second.mean)
    assert_allclose(first.scale, second.scale)


@pytest.mark.parametrize("size", [1e-200, 1e160, 1e300])
def test_targets_of_any_size_are_standardised(size):
    y = np.random.default_rng(0).normal(size=(30, 2))
    task, plain = Regression(y * size), Regression(y)
    assert_allclose(task.encode(y * size), plain.encode(y), rtol=1e-5)
    assert_allclose(task.link(task.encode(y * size)), y * size, rtol=1e-5)
