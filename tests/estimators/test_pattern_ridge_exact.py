"""PatternRidge: samples that come, go and are merged, in any parts; and fits after other fits."""

from __future__ import annotations

import warnings
from copy import deepcopy

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.calibration import CalibratedClassifierCV
from sklearn.exceptions import NotFittedError
from sklearn.pipeline import make_pipeline

from mts_fusion import (
    PatternRidgeClassifier,
    PatternRidgeRegressor,
    make_panel_classification,
    make_panel_regression,
)
from mts_fusion.transforms import PanelScaler

FORMS = ("dual", "primal")
FEW = settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))


def _clf(**given) -> PatternRidgeClassifier:
    defaults = {"kinds": ("statistics",), "random_state": 0, "n_threads": 1, "penalty": 0.3}
    return PatternRidgeClassifier(**{**defaults, **given})


def _reg(**given) -> PatternRidgeRegressor:
    defaults = {"kinds": ("statistics",), "random_state": 0, "n_threads": 1, "penalty": 0.3}
    return PatternRidgeRegressor(**{**defaults, **given})


def _data():
    X, y, groups = make_panel_classification(
        72, noise=2.0, n_groups=12, return_groups=True, random_state=0
    )
    silent = np.random.default_rng(0).random(72) < 0.3
    values = X.values["m1"].copy()
    values[silent] = np.nan
    return X.replace(values={"m1": values}), y, groups


X, Y, GROUPS = _data()
FIRST, REST = np.arange(36), np.arange(36, 72)
BASE = {form: _clf(form=form).fit(X[FIRST], Y[FIRST], groups=GROUPS[FIRST]) for form in FORMS}


def _answers(model) -> np.ndarray:
    return np.concatenate([model.predict_proba(X), model.predict_proba(X.drop("m0"))])


def _more(model, rows, weight=None):
    rows = np.asarray(rows)
    weight = None if weight is None else weight[rows]
    return model.partial_fit(X[rows], Y[rows], weight, GROUPS[rows])


@pytest.mark.parametrize("form", FORMS)
@given(cuts=st.sets(st.integers(1, 35), max_size=3), seed=st.integers(0, 99))
@FEW
def test_samples_may_come_in_any_parts(form: str, cuts: set[int], seed: int) -> None:
    weight = np.random.default_rng(seed).random(72) + 0.1
    order = np.random.default_rng(seed).permutation(REST)
    parts = deepcopy(BASE[form])
    for part in np.split(order, sorted(cuts)):
        _more(parts, part, weight)
    whole = _more(deepcopy(BASE[form]), REST, weight)
    np.testing.assert_allclose(_answers(parts), _answers(whole), atol=1e-7)


@pytest.mark.parametrize("form", FORMS)
@given(rows=st.sets(st.integers(36, 71), min_size=1, max_size=20))
@FEW
def test_what_is_forgotten_was_never_there(form: str, rows: set[int]) -> None:
    chosen = sorted(rows)
    model = _more(deepcopy(BASE[form]), chosen).forget(X[np.array(chosen)])
    np.testing.assert_allclose(_answers(model), _answers(BASE[form]), atol=1e-6)
    assert model.models_.n_rows == BASE[form].models_.n_rows


@pytest.mark.parametrize("form", FORMS)
@given(cut=st.integers(1, 35))
@FEW
def test_sites_that_are_merged_are_one(form: str, cut: int) -> None:
    sites = [_more(BASE[form].blank(), part) for part in np.split(REST, [cut])]
    merged = deepcopy(BASE[form]).merge(sites[0]).merge(sites[1])
    whole = _more(deepcopy(BASE[form]), REST)
    np.testing.assert_allclose(_answers(merged), _answers(whole), atol=1e-7)
    np.testing.assert_array_equal(merged.predict_set(X), whole.predict_set(X))


@pytest.mark.parametrize("given", [{"random_state": 1}, {"kinds": ("hydra",)}, {"form": "primal"}])
def test_features_and_kernels_of_other_settings_are_not_merged(given) -> None:
    small = {"n_groups": 2, "kinds": ("multirocket",), "form": "dual"}
    one = _clf(**small).fit(X, Y)
    other = _clf(**{**small, **given}).fit(X, Y)
    with pytest.raises(ValueError, match="features and kernels of another first fit"):
        one.merge(other)


def test_balanced_classes_keep_the_weights_of_the_first_call() -> None:
    rare = (np.random.default_rng(0).random(72) < np.linspace(0.1, 0.7, 72)).astype(int)
    rare[:2] = 0, 1
    given = {"class_weight": "balanced"}

    def fitted():
        return _clf(**given).fit(X[FIRST], rare[FIRST], groups=GROUPS[FIRST])

    parts, whole = fitted(), fitted()
    for rows in (REST[:10], REST[10:]):
        parts.partial_fit(X[rows], rare[rows], groups=GROUPS[rows])
    whole.partial_fit(X[REST], rare[REST], groups=GROUPS[REST])
    np.testing.assert_allclose(_answers(parts), _answers(whole), atol=1e-8)
    by_hand = 36 / (2 * np.bincount(rare[FIRST]))
    again = _clf(class_weight=dict(enumerate(by_hand))).fit(
        X[FIRST], rare[FIRST], groups=GROUPS[FIRST]
    )
    np.testing.assert_allclose(_answers(fitted()), _answers(again), atol=1e-12)


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({0: -1.0}, r"class_weight needs to be >= 0, got \{0: -1.0\}"),
        ({0: np.nan}, "class_weight needs to be >= 0"),
        ({7: 2.0}, r"class_weight names \[7\], but the classes are \[0, 1, 2\]"),
        ({0: 0, 1: 0, 2: 0}, "leaves no sample any weight"),
    ],
)
def test_class_weights_that_cannot_be_used_are_named(given, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        _clf(class_weight=given).fit(X, Y)


def test_a_second_fit_knows_nothing_of_the_first() -> None:
    again = _clf().fit(X[:4], [0, 1, 2, 0]).fit(X, Y)
    fresh = _clf().fit(X, Y)
    assert again.models_.n_folds == fresh.models_.n_folds == 72
    np.testing.assert_array_equal(_answers(again), _answers(fresh))
    np.testing.assert_array_equal(again.predict_set(X), fresh.predict_set(X))


def test_a_second_fit_that_fails_leaves_none() -> None:
    clf = _clf().fit(X, Y, groups=GROUPS)
    with pytest.raises(ValueError, match="no group is left"):
        clf.fit(X, Y, groups=np.zeros(72))
    with pytest.raises(NotFittedError):
        clf.predict(X)


def test_a_blank_copy_answers_with_nothing_learnt() -> None:
    Xr, y = make_panel_regression(n_samples=90, random_state=0)
    weight = np.random.default_rng(0).random(90)
    blank = _reg().fit(Xr, y, weight).partial_fit(Xr[:9], y[:9]).blank()
    mean = np.average(y, weights=weight)
    np.testing.assert_allclose(blank.predict(Xr), mean, atol=1e-9)
    assert np.isinf(blank.predict_interval(Xr)).all()
    with pytest.raises(ValueError, match="This blank copy of PatternRidgeRegressor has no samples"):
        blank.sensor_values()
    np.testing.assert_allclose(BASE["dual"].blank().predict_proba(X), 1 / 3)


def test_labels_of_groups_of_two_types_are_refused() -> None:
    mixed = np.array([1, "a", 2] * 24, dtype=object)
    with pytest.raises(ValueError, match=r"groups mixes \['int', 'str'\]"):
        _clf().fit(X, Y, groups=mixed)


@pytest.mark.parametrize("form", FORMS)
def test_weights_far_apart_have_finite_answers_and_a_warning(form: str) -> None:
    weight = np.where(np.arange(72) % 2, 1e15, 1.0)
    rows = np.tile(np.arange(36), 2)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        clf = _clf(form=form, penalty=1e-6).fit(X[rows], Y, weight)
        assert np.isfinite(clf.predict_proba(X)).all()
    assert any("not positive definite" in str(one.message) for one in caught)


def test_pipelines_and_calibration_take_it() -> None:
    pipeline = make_pipeline(PanelScaler(), _clf()).fit(X, Y)
    assert pipeline.score(X, Y) > 0.5
    calibrated = CalibratedClassifierCV(_clf(), cv=3).fit(X, Y)
    np.testing.assert_allclose(calibrated.predict_proba(X).sum(1), 1)


def test_uncertainty_adds_up_and_grows_where_sensors_fail() -> None:
    parts = BASE["dual"].predict_uncertainty(X)
    np.testing.assert_allclose(parts["total"], parts["aleatoric"] + parts["epistemic"])
    assert (parts["epistemic"] > -1e-12).all()
    silent = BASE["dual"].predict_uncertainty(X.drop("m0"))
    assert silent["total"].mean() > parts["total"].mean()


def test_numbers_of_several_columns_come_back_in_their_shape() -> None:
    Xr, y = make_panel_regression(n_samples=40, random_state=0)
    both = np.stack([y, 10 - 3 * y], axis=1)
    reg = _reg().fit(Xr, both)
    np.testing.assert_allclose(reg.predict(Xr)[:, 1], 10 - 3 * reg.predict(Xr)[:, 0], atol=1e-8)
    narrow, wide = (reg.predict_interval(Xr, coverage=c) for c in (0.5, 0.9))
    assert narrow.shape == (40, 2, 2)
    assert (wide[..., 0] <= narrow[..., 0]).all()
    assert (wide[..., 1] >= narrow[..., 1]).all()
    assert {part.shape for part in reg.predict_uncertainty(Xr).values()} == {(40, 2)}
