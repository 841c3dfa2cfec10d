"""FixedFeatures: learnt from the training rows, the same for a sample in any batch."""

from __future__ import annotations

import copy
import pickle

import numpy as np
import pytest
import torch
from numpy.testing import assert_array_equal
from sklearn.exceptions import NotFittedError

from mts_fusion.datasets import make_panel_classification
from mts_fusion.nn.features import MultiRocketFeatures
from mts_fusion.panel import Panel
from mts_fusion.training import FixedFeatures
from mts_fusion.training._features import _bias_rows

EACH = ("multirocket", "hydra", "statistics")


@pytest.fixture(scope="module")
def panel():
    X, _ = make_panel_classification(
        100,
        modalities={"acc": (3, 16.0), "hr": (1, 4.0), "labs": (2, 8.0)},
        missing_fraction=0.05,
        missing_modality_fraction=0.2,
        irregular=("labs",),
        random_state=0,
    )
    return X


def _features(panel, kinds=EACH, **parameters):
    return FixedFeatures(panel.schema, kinds, **{"n_groups": 2, **parameters})


def _same(first, second):
    for a, b in zip(first, second, strict=True):
        assert_array_equal(a, b)


def test_widths_are_known_before_fit_and_kept(panel):
    features = _features(panel)
    widths = [dict(kinds) for kinds in features.widths]

    given = features.fit_transform(panel)

    assert features.widths == widths
    assert [part.shape for part in given] == [(100, n) for n in features.n_features]
    assert [sum(map(sum, kinds.values())) for kinds in widths] == features.n_features
    assert all(part.dtype == np.float32 for part in given)
    assert list(widths[0]) == list(EACH)
    assert list(widths[2]) == ["statistics"]  # without a clock


def test_only_the_rows_given_are_learnt_from(panel):
    rows = np.arange(0, 100, 2)
    other = panel.replace(
        values={
            name: np.where(np.arange(100)[:, None, None] % 2, 5 * x, x)
            for name, x in panel.values.items()
        }
    )

    first = _features(panel).fit_transform(panel, rows)
    second = _features(panel).fit_transform(other, rows)

    _same([part[rows] for part in first], [part[rows] for part in second])
    assert not np.array_equal(first[0][1::2], second[0][1::2], equal_nan=True)


def _close(first, second, atol):
    for a, b in zip(first, second, strict=True):
        np.testing.assert_allclose(a, b, rtol=0, atol=atol)


def test_fit_then_transform_is_fit_transform(panel):
    rows = np.arange(70)

    both = _features(panel).fit_transform(panel, rows)

    _close(_features(panel).fit(panel, rows).transform(panel), both, atol=1e-4)


@pytest.mark.parametrize(
    ("kinds", "atol"), [(("multirocket",), 0.0), (("statistics",), 1e-5), (("hydra",), 1e-5)]
)
def test_a_sample_has_the_same_features_in_any_batch(panel, kinds, atol):
    features = _features(panel, kinds).fit(panel)
    order = np.random.default_rng(0).permutation(100)

    together = features.transform(panel)

    _close(features.transform(panel[order]), [part[order] for part in together], atol)
    for rows in ([0], [3, 17], list(range(23))):
        _close(features.transform(panel[rows]), [part[rows] for part in together], atol)


def test_one_complete_sample_takes_the_same_features_in_fewer_operations(monkeypatch):
    values = np.random.default_rng(0).normal(size=(40, 3, 50)).cumsum(2)
    X = Panel({"a": values, "b": values[::-1], "c": values[:, :2]}, rates=dict.fromkeys("abc", 5.0))
    features = _features(X).fit(X)
    together = features.transform(X)
    called = []
    block, compute = MultiRocketFeatures, MultiRocketFeatures.compute
    monkeypatch.setattr(block, "compute", lambda *a: called.append(1) or compute(*a))

    for i in range(40):
        _close(features.transform(X[i : i + 1]), [part[i : i + 1] for part in together], atol=1e-5)

    assert not called


def test_what_is_absent_is_nan_and_the_rest_has_one_scale(panel):
    features = _features(panel).fit(panel)

    for m, part in enumerate(features.transform(panel)):
        absent = ~panel.available[:, m]
        assert np.isnan(part[absent]).all()
        assert not np.isnan(part[~absent]).all(1).any()
        assert abs(np.nanmean(part)) < 0.1
        assert np.nanmax(np.abs(part)) <= 10


def test_the_same_seed_gives_the_same_bits_whatever_the_global_state(panel):
    torch.manual_seed(1)
    before = torch.get_rng_state()
    first = _features(panel, random_state=3).fit_transform(panel)
    assert torch.equal(before, torch.get_rng_state())
    torch.manual_seed(2)

    _same(_features(panel, random_state=3).fit_transform(panel), first)

    other = _features(panel, random_state=4).fit_transform(panel)
    assert not np.array_equal(other[0], first[0], equal_nan=True)


def test_pickle_and_deepcopy_give_the_same(panel):
    features = _features(panel).fit(panel)
    expected = features.transform(panel)

    _same(pickle.loads(pickle.dumps(features)).transform(panel), expected)
    _same(copy.deepcopy(features).transform(panel), expected)


def test_kinds_by_modality_keep_their_order_and_none_is_no_column(panel):
    features = _features(panel, {"acc": ("statistics", "hydra"), "hr": ()}).fit(panel)

    assert [list(kinds) for kinds in features.widths] == [["statistics", "hydra"], [], []]
    assert features.feature_names("acc")[0] == "statistics__0__mean"
    assert features.feature_names("hr") == []
    assert [part.shape[1] for part in features.transform(panel)] == features.n_features
    assert len(features.names()) == sum(features.n_features)


def test_a_modality_that_few_samples_have_gets_biases_too(panel):
    values = panel.values["acc"].copy()
    values[:-3] = np.nan
    features = _features(panel).fit(panel.replace(values={"acc": values}))

    assert (features.module.blocks[0]["multirocket"].bias != 0).all()


def test_rows_for_the_biases_have_some_of_each_modality():
    available = np.zeros((1000, 2), dtype=bool)
    available[:, 0] = True
    available[::40, 1] = True
    rows = np.arange(900)

    some = _bias_rows(rows, available, seed=0)

    assert 64 <= len(some) <= 80
    assert available[some, 1].sum() == 16
    assert (np.diff(some) > 0).all()


def test_a_panel_of_no_sample_has_no_row(panel):
    features = _features(panel).fit(panel)

    assert [part.shape for part in features.transform(panel[:0])] == [
        (0, n) for n in features.n_features
    ]


def test_transform_before_fit_is_refused(panel):
    with pytest.raises(NotFittedError, match=r"Call fit\(panel\) first"):
        _features(panel).transform(panel)


def test_another_schema_names_the_modality(panel):
    features = _features(panel).fit(panel)

    with pytest.raises(ValueError, match="Modality 'acc' has 2 channels, but 3 were seen"):
        features.transform(panel.replace(values={"acc": panel.values["acc"][:, :2]}))


def test_a_panel_without_a_regular_clock_has_statistics_only():
    panel = Panel({"age": np.ones((20, 1, 1))})
    assert _features(panel, ("hydra",)).n_features == [0]
    assert list(_features(panel).widths[0]) == ["statistics"]
