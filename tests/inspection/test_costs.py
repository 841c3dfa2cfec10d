"""model_costs counts what a hand counts."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline
from torch import nn

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import MaestroClassifier, PatternRidgeClassifier
from mts_fusion.inspection import model_costs
from mts_fusion.transforms import PanelScaler


@pytest.fixture(scope="module")
def data():
    """Two modalities of 2 and 1 channels, 16 timepoints each, three classes."""
    return make_panel_classification(
        n_samples=24, modalities={"acc": (2, 8.0), "hr": (1, 8.0)}, random_state=0
    )


@pytest.fixture(scope="module")
def fitted(data):
    clf = MaestroClassifier(
        d_model=8,
        n_heads=2,
        n_intra_layers=1,
        n_cross_layers=1,
        d_hidden=20,
        n_experts=1,
        max_tokens=16,
        feature_tokens=(),
        n_estimators=2,
        max_epochs=1,
        calibration=None,
        device="cpu",
        random_state=0,
    )
    return clf.fit(*data)


def test_parameters_and_products_of_each_part_equal_a_count_by_hand(fitted, data):
    costs = model_costs(fitted, data[0][:8]).set_index("part")
    n, m, t, d, f, k = 8, 2, 16, 8, 20, 3  # samples, modalities, tokens, widths, classes
    channels, periods, gate = 2 + 1, 32, 32
    # A token is one timepoint: its channels and whether each was observed. The encoding of time is
    # shared by the samples, and kept through distilling.
    patches = t * 2 * channels * d + m * t * periods * d / n
    layer = t * (3 * d * d + d * d + 2 * d * f)
    distilling = t // 2 * 2 * d * d
    # Of 16 tokens a ranking of the queries saves nothing: all attend, and the values have a mean.
    attention = 2 * t * t * d + t * d
    across = m * t // 2  # tokens
    expected = {
        "patches": (2 * channels * d + m * d + periods * d, patches),
        "budget": (m * gate + gate + gate * m + m, 2 * m * gate),
        "intra": (
            m * (4 * d * d + d * f + f + f * d + 2 * d * d),
            m * (layer + distilling + attention),
        ),
        "cross": (
            4 * d * d + d * f + f + f * d,
            across * (4 * d * d + 2 * d * f) + 2 * across * across * d,
        ),
        "head": (2 * d + d * k + k, d * k),
        "pooling": (0, across * d),
        "other": (m * d, 0),
    }
    for part, (parameters, macs) in expected.items():
        assert costs.loc[part, "parameters"] == 2 * parameters, part  # two networks
        assert costs.loc[part, "macs"] == pytest.approx(2 * macs), part
    assert set(costs.index) - set(expected) == {"outside of networks", "total"}
    total = costs.loc["total"]
    assert total["macs"] == pytest.approx(2 * sum(macs for _, macs in expected.values()))
    assert total["parameters"] == 2 * sum(parameters for parameters, _ in expected.values())
    assert (costs["flops"] == 2 * costs["macs"]).all()


def test_a_budget_saves_products_where_series_are_long():
    X, y = make_panel_classification(
        n_samples=24, modalities={"acc": (1, 32.0)}, random_state=0
    )  # 64 timepoints
    t, d, k = 64, 8, math.ceil(5 * math.log(64))
    picked = ((k + 1) * t + k + t + 2 * k * t) * d  # ranking with its mean, mean, attention
    spent = {}
    for budget in ("learnt", math.inf):
        clf = MaestroClassifier(
            d_model=d,
            n_heads=2,
            n_intra_layers=1,
            attention_budget=budget,
            patch_length=1,
            feature_tokens=(),
            n_estimators=1,
            max_epochs=1,
        )
        costs = model_costs(clf.fit(X, y), X[:8]).set_index("part")
        spent[budget] = costs.loc["intra", "macs"]
    assert spent[math.inf] - spent["learnt"] == 2 * t * t * d - picked > 0


def test_fixed_features_are_outside_of_the_networks(data):
    clf = MaestroClassifier(d_model=8, max_epochs=1, n_estimators=1, device="cpu").fit(*data)
    costs = model_costs(make_pipeline(PanelScaler(), clf).fit(*data), data[0][:4])
    costs = costs.set_index("part")
    assert costs.loc["outside of networks", "macs"] > 0
    assert costs.loc["total", "macs"] == pytest.approx(costs["macs"].iloc[:-1].sum())


class _Fitted:
    """What a fitted estimator looks like from outside."""

    def __init__(self, module):
        self.nets_ = [SimpleNamespace(module_=module)]

    @torch.no_grad()
    def predict_proba(self, X):
        return self.nets_[0].module_(torch.zeros(len(X), 1000, 3))


def test_peak_memory_is_what_is_alive_at_one_time():
    wide, narrow = nn.Linear(3, 200), nn.Linear(200, 5)
    costs = model_costs(_Fitted(nn.Sequential(wide, narrow)), np.zeros((4, 1, 8)))
    costs = costs.set_index("part")
    x, hidden, y = (4 * 4000 * width / 1e6 for width in (3, 200, 5))
    assert costs.loc["0", "peak_mb"] == pytest.approx(x + hidden)
    assert costs.loc["1", "peak_mb"] == pytest.approx(x + hidden + y)
    assert costs.loc["total", "peak_mb"] == pytest.approx(x + hidden + y)
    assert costs.loc["0", "macs"] == 1000 * 3 * 200


def test_memory_that_was_freed_does_not_count():
    layers = [nn.Linear(3, 200), nn.Linear(200, 3), nn.Linear(3, 200)]
    costs = model_costs(_Fitted(nn.Sequential(*layers)), np.zeros((4, 1, 8)))
    x, hidden = (4 * 4000 * width / 1e6 for width in (3, 200))
    assert costs["peak_mb"].iloc[-1] == pytest.approx(2 * x + hidden)


def test_counting_leaves_the_estimator_as_it_was(fitted, data):
    before = fitted.predict_proba(data[0])
    model_costs(fitted, data[0][:4])
    assert np.array_equal(fitted.predict_proba(data[0]), before)
    assert not any(m._forward_hooks for net in fitted.nets_ for m in net.module_.modules())


def test_an_estimator_without_networks_is_an_error(data):
    ridge = PatternRidgeClassifier(n_groups=2, random_state=0).fit(*data)
    with pytest.raises(TypeError, match="PatternRidgeClassifier has no networks"):
        model_costs(ridge, data[0])


def test_an_estimator_that_is_not_fitted_is_said_to_be(data):
    with pytest.raises(NotFittedError, match="MaestroClassifier instance is not fitted yet"):
        model_costs(MaestroClassifier(), data[0])
