"""The folds of real data sets: nobody is on both sides, every class is trained on."""

import os
from pathlib import Path

import numpy as np
import pytest

from mts_fusion.benchmarks._data import load_data


def load(name):
    beside = Path(__file__).resolve().parents[3] / "shared" / "data"
    home = os.environ.get("MTS_FUSION_DATA", str(beside))
    try:
        return load_data(name, home)
    except FileNotFoundError as error:
        pytest.skip(str(error))


@pytest.mark.slow
@pytest.mark.parametrize("target", ["cooler", "valve", "pump", "accumulator"])
def test_every_class_of_the_rig_is_trained_on(target):
    data, folds = load(f"hydraulic_{target}")
    assert len(folds) == 3
    for fold in folds:
        assert set(data.y[fold.train]) == set(data.y[fold.test]) == set(data.y)
        assert not set(data.groups[fold.train]) & set(data.groups[fold.test])


@pytest.mark.slow
def test_engines_are_held_out_whole_and_their_life_is_a_number():
    data, folds = load("engines")
    assert data.y.dtype == np.float64
    assert [len(np.unique(data.groups[fold.test])) for fold in folds] == [20] * 5
    for fold in folds:
        assert not set(data.groups[fold.train]) & set(data.groups[fold.test])


@pytest.mark.slow
def test_sepsis_leaves_a_tenth_out_of_both_parts():
    data, folds = load("sepsis")
    assert len(folds) == 5
    for fold in folds:
        assert not set(fold.train) & set(fold.test)
        assert len(fold.train) / len(data) == pytest.approx(0.8, abs=0.001)
        assert len(fold.test) / len(data) == pytest.approx(0.1, abs=0.001)
        assert data.y[fold.test].mean() == pytest.approx(data.y.mean(), abs=0.001)
