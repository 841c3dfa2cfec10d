"""The inner validation split, and the sensors that are lost in it."""

import warnings

import numpy as np
import pytest
from numpy.testing import assert_array_equal

from mts_fusion.training import Multiclass, Regression, simulate_sensor_loss, split_rows


def _assert_split(training, validation, n):
    assert_array_equal(np.union1d(training, validation), np.arange(n))
    assert len(training) + len(validation) == n


def test_it_is_stratified():
    strata = np.random.default_rng(0).permutation(np.repeat([0, 1, 2], [12, 16, 20]))

    training, validation = split_rows(strata, 0.25, seed=0)

    _assert_split(training, validation, 48)
    assert_array_equal(np.bincount(strata[validation]), [3, 4, 5])


@pytest.mark.parametrize(("n", "n_runs"), [(40, 1), (200, 3)])
def test_it_holds_out_runs_of_neighbours(n, n_runs):
    strata = np.repeat([0, 1], n // 2)

    _, validation = split_rows(strata, 0.3, seed=0)

    first, second = (validation[strata[validation] == label] for label in range(2))
    assert_array_equal(first, second - n // 2)  # at the same positions of both classes
    assert len(first) == 0.15 * n
    assert (np.diff(first) > 1).sum() == n_runs - 1


def test_that_of_a_sorted_number_covers_its_range():
    y = np.arange(40.0)

    _, validation = split_rows(Regression(y).strata(y), 0.3, seed=0)

    assert_array_equal(np.bincount(validation // 8), [2, 2, 2, 2, 2])


def test_it_keeps_groups_whole():
    groups, strata = np.arange(40) % 4, np.arange(40) % 2

    training, validation = split_rows(strata, 0.3, groups=groups, seed=0)

    _assert_split(training, validation, 40)
    assert len(validation)
    assert not set(groups[training]) & set(groups[validation])


def _has(strata):
    return strata[:, None] == np.unique(strata)


def test_the_only_group_of_a_class_is_never_held_out():
    strata, groups = np.repeat([0, 1, 0, 1, 2], 20), np.repeat([0, 0, 1, 1, 2], 20)

    for seed in range(10):
        training, validation = split_rows(
            strata, 0.3, groups=groups, needed=_has(strata), seed=seed
        )
        assert set(strata[training]) == {0, 1, 2}
        assert len(set(groups[validation])) == 1


def test_groups_that_alone_have_a_class_do_not_keep_others_from_being_held_out():
    groups = np.repeat(np.arange(6), 20)
    strata = np.array([1, 2, 3, 4, 0, 0])[groups]
    needed = strata[:, None] == np.arange(5)
    training, validation = split_rows(strata, 0.25, groups=groups, needed=needed)
    assert set(groups[validation]) in ({4}, {5})
    assert len(training) == 100


@pytest.mark.parametrize(
    ("strata", "groups"),
    [
        (np.repeat([0, 1], 90), np.repeat(["ann", "bob"], 90)),  # a class each
        (np.arange(640) % 2, np.repeat(["ann", "bob"], [500, 140])[np.arange(640)]),
    ],
    ids=["classes", "size"],
)
def test_groups_that_cannot_be_held_out_are_trained_on_with_a_warning(strata, groups):
    seeds = range(6)
    held_out = set()
    for seed in seeds:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            _, validation = split_rows(strata, 0.1, groups=groups, needed=_has(strata), seed=seed)
        held_out |= set(groups[validation].tolist())
        assert len(validation) or "Nothing is held out: of the 2 groups" in str(caught[0].message)
    assert "ann" not in held_out


def test_more_than_half_of_the_groups_can_be_held_out():
    strata, groups = np.arange(100) % 2, np.repeat(np.arange(5), 20)

    training, validation = split_rows(strata, 0.7, groups=groups, needed=_has(strata), seed=0)

    assert 60 <= len(validation) <= 80
    assert not set(groups[training]) & set(groups[validation])


@pytest.mark.parametrize(
    ("strata", "fraction"),
    [
        (np.arange(40) % 2, 0.2),  # 8 rows
        (np.arange(60) % 30, 0.3),  # fewer rows than classes
        (np.append(np.zeros(59, int), 1), 0.3),  # a class of one row
        (np.arange(60) % 2, 0.0),
    ],
    ids=["rows", "classes", "single", "none"],
)
def test_nothing_is_held_out_where_it_would_be_too_few(strata, fraction):
    training, validation = split_rows(strata, fraction, seed=0)

    assert len(validation) == 0
    assert_array_equal(training, np.arange(len(strata)))


def test_strata_of_labels_are_their_combinations():
    y = np.array(["b", "a", "b"])
    assert_array_equal(Multiclass(np.array(["a", "b"])).strata(y), [1, 0, 1])


def test_sensor_loss_comes_after_the_complete_samples_and_leaves_one_sensor():
    available = np.random.default_rng(0).random((50, 3)) < 0.7

    silenced = simulate_sensor_loss(available, 0.5, seed=0)

    has_any = available.any(1)
    assert silenced.shape == (100, 3)
    assert not silenced[:50].any()
    assert silenced[50:].any()
    assert (available & ~silenced[50:]).any(1)[has_any].all()


@pytest.mark.parametrize(("n_modalities", "rate"), [(1, 0.5), (3, 0.0)])
def test_a_single_sensor_and_a_rate_of_0_lose_nothing(n_modalities, rate):
    available = np.ones((20, n_modalities), dtype=bool)

    silenced = simulate_sensor_loss(available, rate, seed=0)

    assert silenced.shape == available.shape
    assert not silenced.any()
