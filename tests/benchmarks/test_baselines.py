from typing import ClassVar

import numpy as np
import pytest
from sklearn.dummy import DummyClassifier

from mts_fusion.benchmarks._baselines import FilledClassifier, _interpolate
from mts_fusion.datasets import make_panel_classification


class Spy(DummyClassifier):
    """Keeps the arrays it is given."""

    seen: ClassVar[list] = []

    def fit(self, X, y):
        self.seen.append(X)
        return super().fit(np.zeros((len(X), 1)), y)

    def predict(self, X):
        self.seen.append(X)
        return super().predict(np.zeros((len(X), 1)))


def test_everything_is_on_one_clock_and_nothing_is_missing():
    panel, y = make_panel_classification(
        30, irregular=["m1"], missing_fraction=0.2, missing_modality_fraction=0.3, random_state=0
    )
    Spy.seen.clear()
    filled = FilledClassifier(Spy()).fit(panel[:20], y[:20])
    assert filled.predict(panel[20:]).shape == (10,)
    assert [x.shape for x in Spy.seen] == [(20, 6, 32), (10, 6, 32)]
    assert all(np.isfinite(x).all() for x in Spy.seen)


def test_only_real_probabilities_are_asked_for():
    panel, y = make_panel_classification(30, random_state=0)
    hard = FilledClassifier(DummyClassifier()).fit(panel[:20], y[:20])
    assert not hasattr(hard, "predict_proba")
    soft = FilledClassifier(DummyClassifier(), probabilities=True).fit(panel[:20], y[:20])
    assert soft.predict_proba(panel[20:]).shape == (10, len(set(y[:20])))


def test_a_silent_channel_gets_its_mean_in_training():
    panel, y = make_panel_classification(40, missing_modality_fraction=0.4, random_state=0)
    Spy.seen.clear()
    FilledClassifier(Spy()).fit(panel, y)
    silent = np.flatnonzero(~panel.available[:, 0])[0]
    np.testing.assert_allclose(
        Spy.seen[0][silent, 0], np.nanmean(panel.values["m0"][:, 0]), rtol=1e-4
    )


def test_interpolation_is_linear_in_time():
    values = np.array([[[0.0, np.nan, 4.0, 6.0]]], dtype=np.float32)
    np.testing.assert_allclose(_interpolate(values, None, 4, None)[0, 0], [0, 2, 4, 6])
    times = np.array([[0.0, 1.0, 2.0, np.nan]])
    values = np.array([[[0.0, 10.0, 20.0, np.nan]]], dtype=np.float32)
    np.testing.assert_allclose(_interpolate(values, times, 5, 2.0)[0, 0], [0, 5, 10, 15, 20])


def test_complete_data_of_one_length_are_left_alone():
    panel, _ = make_panel_classification(5, modalities={"a": (2, 8)}, random_state=0)
    assert _interpolate(panel.values["a"], None, 16, None) is panel.values["a"]


def test_a_peer_that_is_not_installed_names_the_extra(monkeypatch):
    import sys

    from mts_fusion.benchmarks._baselines import multirocket_hydra

    monkeypatch.setitem(sys.modules, "aeon", None)
    with pytest.raises(ImportError, match=r"pip install 'mts-fusion\[benchmarks\]'"):
        multirocket_hydra(seed=0, quick=False)
