"""PatternRidge: exactness, explanations, sets, and what is refused."""

from __future__ import annotations

import pickle
from concurrent.futures import ThreadPoolExecutor
from copy import deepcopy
from itertools import permutations

import numpy as np
import pandas as pd
import pytest
from scipy.special import softmax
from sklearn import config_context
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.model_selection import GridSearchCV, GroupKFold
from sklearn.utils.estimator_checks import check_estimator

from mts_fusion import (
    PatternRidgeClassifier,
    PatternRidgeRegressor,
    make_panel_classification,
    make_panel_regression,
)

FORMS = ("dual", "primal")


def _clf(**settings) -> PatternRidgeClassifier:
    given = {"n_groups": 2, "random_state": 0, "n_threads": 1, "penalty": 0.3, **settings}
    return PatternRidgeClassifier(**given)


def _data(n: int = 90):
    """A panel with missing modalities, three classes, nine groups."""
    X, y, groups = make_panel_classification(
        n, noise=2.0, n_groups=9, return_groups=True, random_state=0
    )
    broken = X.values["m1"].copy()
    broken[::4] = np.nan
    return X.replace(values={"m1": broken}), y, groups


X, Y, GROUPS = _data()


@pytest.mark.parametrize("estimator", [PatternRidgeClassifier, PatternRidgeRegressor])
def test_every_check_of_scikit_learn_passes(estimator) -> None:
    results = check_estimator(
        estimator(n_groups=2, random_state=0, n_threads=1), on_fail=None, on_skip=None
    )
    statuses = [result["status"] for result in results]
    failed = [result["check_name"] for result in results if result["status"] == "failed"]
    assert not failed
    assert statuses.count("passed") > 55
    assert "xfail" not in statuses


@pytest.mark.parametrize("form", FORMS)
def test_a_weight_of_zero_leaves_out_and_of_two_is_twice(form: str) -> None:
    weight = np.ones(90)
    weight[:20], weight[20:40] = 0, 2
    rows = np.concatenate([np.arange(20, 90), np.arange(20, 40)])
    weighted = _clf(form=form).fit(X, Y, weight, GROUPS).predict_proba(X)
    repeated = _clf(form=form).fit(X[rows], Y[rows], groups=GROUPS[rows]).predict_proba(X)
    np.testing.assert_allclose(weighted, repeated, atol=1e-9)


def test_with_groups_the_order_of_the_samples_does_not_matter() -> None:
    order = np.random.default_rng(0).permutation(90)
    first = _clf(penalty=None).fit(X, Y, groups=GROUPS).predict_proba(X)
    second = _clf(penalty=None).fit(X[order], Y[order], groups=GROUPS[order]).predict_proba(X)
    np.testing.assert_allclose(first, second, atol=1e-9)


@pytest.mark.parametrize("form", FORMS)
def test_samples_come_and_go_exactly(form: str) -> None:
    a, b, c = np.arange(40), np.arange(40, 60), np.arange(60, 90)

    def first():
        return _clf(form=form).fit(X[a], Y[a], groups=GROUPS[a] % 3)

    def add(clf, rows):
        return clf.partial_fit(X[rows], Y[rows], groups=GROUPS[rows] % 3)

    whole = add(first(), np.concatenate([b, c])).predict_proba(X)
    in_turn = add(add(first(), b), c)
    np.testing.assert_allclose(in_turn.predict_proba(X), whole, atol=1e-8)
    in_turn.forget(X[c])
    np.testing.assert_allclose(
        in_turn.predict_proba(X), add(first(), b).predict_proba(X), atol=1e-8
    )

    one_site = add(first(), b)
    other_site = add(one_site.blank(), c)
    np.testing.assert_allclose(one_site.merge(other_site).predict_proba(X), whole, atol=1e-8)


@pytest.mark.parametrize("form", FORMS)
def test_a_group_that_is_forgotten_was_never_there(form: str) -> None:
    clf = _clf(form=form).fit(X, Y, groups=GROUPS)
    kept = GROUPS != 3
    blank = clf.blank().partial_fit(X[kept], Y[kept], groups=GROUPS[kept])
    clf.forget(groups=[3])
    assert clf.models_.n_rows == kept.sum()
    np.testing.assert_allclose(clf.predict_proba(X), blank.predict_proba(X), atol=1e-8)


LABELS = [("ward", int(group)) for group in GROUPS]
DATES = np.datetime64("2026-01-01") + GROUPS


@pytest.mark.parametrize(
    ("groups", "asked"),
    [
        (LABELS, ("ward", 3)),
        (LABELS, [("ward", 3)]),
        (LABELS, (("ward", 3),)),
        (LABELS, pd.Series([("ward", 3)])),
        (GROUPS, np.array(3)),
        (GROUPS, (3,)),
        (DATES, pd.Timestamp("2026-01-04")),
        (DATES.astype("M8[ns]"), DATES[GROUPS == 3][:1]),
    ],
    ids=["tuple", "list", "tuples", "series", "scalar", "numbers", "date", "dates"],
)
def test_a_group_of_any_type_is_forgotten(groups, asked) -> None:
    clf = _clf().fit(X, Y, groups=groups)
    assert clf.forget(groups=asked).models_.n_rows == (GROUPS != 3).sum()


def test_tuples_are_labels_in_every_method() -> None:
    clf = _clf().fit(X[:60], Y[:60], groups=LABELS[:60])
    clf.merge(clf.blank().partial_fit(X[60:], Y[60:], groups=LABELS[60:]))
    assert (
        clf.forget(groups=[("ward", 3), ("ward", 1)]).models_.n_rows
        == ((GROUPS != 3) & (GROUPS != 1)).sum()
    )
    for asked in (("ward", 77), [("ward", 77)]):
        with pytest.raises(ValueError, match=r"Groups \[\('ward', 77\)\] have no samples here"):
            clf.forget(groups=asked)
    with pytest.raises(ValueError, match=r"groups is one label, or a list of labels, got \['ward"):
        clf.forget(groups=[["ward", 3]])


@pytest.mark.parametrize("form", FORMS)
def test_contributions_add_up_to_the_score(form: str) -> None:
    clf = _clf(form=form).fit(X, Y, groups=GROUPS)
    record = clf.explain(X)
    np.testing.assert_allclose(
        record["contribution"].sum(1) + record["constant"], record["score"], atol=1e-9
    )
    np.testing.assert_allclose(softmax(record["score"], 1), clf.predict_proba(X), atol=1e-9)
    assert (record["contribution"][~record["available"]] == 0).all()
    assert np.isfinite(record["held_out_loss"]).all()


def test_shapley_values_are_those_of_all_orders() -> None:
    clf = _clf().fit(X, Y, groups=GROUPS)
    result = clf.sensor_values()
    value = dict(zip(result.subsets["modalities"], result.subsets["value"], strict=True))
    names = clf.schema_.names

    def of(members) -> float:
        return value[", ".join(n for n in names if n in members)]

    expected = dict.fromkeys(names, 0.0)
    for order in permutations(names):
        for i, name in enumerate(order):
            expected[name] += (of(order[: i + 1]) - of(order[:i])) / 6
    shares = dict(zip(result.shapley["modality"], result.shapley["value"], strict=True))
    assert shares == pytest.approx(expected)
    assert sum(shares.values()) == pytest.approx(of(names))


def test_values_behind_a_silent_sensor_change_no_bit() -> None:
    clf = _clf().fit(X, Y)
    observed = {name: mask.copy() for name, mask in X.observed.items()}
    observed["m0"][:] = False
    silent = X.replace(observed=observed)
    other = X.replace(values={"m0": X.values["m0"] * 7 + 1}, observed=observed)
    np.testing.assert_array_equal(clf.predict_proba(silent), clf.predict_proba(other))


def test_samples_with_nothing_get_the_prior() -> None:
    clf = _clf().fit(X, Y)
    empty = X.replace(values={name: np.full_like(v, np.nan) for name, v in X.values.items()})
    prior = np.bincount(Y) / len(Y)
    np.testing.assert_allclose(clf.predict_proba(empty[:2]), [prior, prior], atol=1e-6)
    reg = PatternRidgeRegressor(n_groups=2, random_state=0).fit(X, Y.astype(float))
    np.testing.assert_allclose(reg.predict(empty[:2]), Y.mean())
    assert np.isinf(reg.predict_interval(empty[:2])).all()


def test_samples_do_not_depend_on_their_company() -> None:
    clf = _clf().fit(X, Y)
    alone = np.concatenate([clf.predict_proba(X[i]) for i in range(10)])
    np.testing.assert_allclose(alone, clf.predict_proba(X)[:10], atol=1e-5)


def test_one_thread_gives_the_same_bits_everywhere() -> None:
    def probabilities(_=None):
        return _clf(penalty=None).fit(X, Y, groups=GROUPS).predict_proba(X)

    first = probabilities()
    with ThreadPoolExecutor(2) as pool:
        for other in pool.map(probabilities, range(2)):
            np.testing.assert_array_equal(first, other)


def test_pickles_copies_and_clones() -> None:
    clf = _clf().fit(X, Y, groups=GROUPS)
    for copy in (pickle.loads(pickle.dumps(clf)), deepcopy(clf)):
        np.testing.assert_array_equal(copy.predict_proba(X), clf.predict_proba(X))
    assert not hasattr(clone(clf), "models_")


def test_a_grid_search_hands_groups_on() -> None:
    with config_context(enable_metadata_routing=True):
        search = GridSearchCV(
            _clf().set_fit_request(groups=True), {"penalty": [0.1, 10.0]}, cv=GroupKFold(3)
        ).fit(X, Y, groups=GROUPS)
    assert search.best_estimator_._folds is not None


def test_labels_and_several_numbers() -> None:
    labels = np.stack([Y == 0, Y > 0, Y == 2], axis=1).astype(int)
    clf = _clf().fit(X, labels)
    assert clf.predict_proba(X).shape == (90, 3)
    assert (clf.predict(X) == labels).mean() > 0.8
    assert set(clf.predict_uncertainty(X)) == {"total", "aleatoric", "epistemic"}
    P, z = make_panel_regression(80, random_state=0)
    both = np.stack([z, -2 * z + 1], axis=1)
    reg = PatternRidgeRegressor(n_groups=2, random_state=0, penalty=0.3).fit(P, both)
    np.testing.assert_allclose(reg.predict(P)[:, 1], -2 * reg.predict(P)[:, 0] + 1, atol=1e-6)
    assert reg.predict_interval(P).shape == (80, 2, 2)
    assert reg.predict_uncertainty(P)["total"].shape == (80, 2)


def test_sets_and_intervals_grow_with_the_coverage() -> None:
    clf = _clf(penalty=None).fit(X, Y, groups=GROUPS)
    sizes = [clf.predict_set(X, coverage=c).sum(1) for c in (0.5, 0.8, 0.95)]
    assert (np.diff(sizes, axis=0) >= 0).all()
    assert min(sizes[0]) >= 1
    P, z = make_panel_regression(80, noise=1.0, random_state=0)
    reg = PatternRidgeRegressor(n_groups=2, random_state=0).fit(P, z)
    widths = [np.diff(reg.predict_interval(P, coverage=c), axis=1) for c in (0.5, 0.8, 0.9)]
    assert (np.diff(widths, axis=0) >= 0).all()


def test_the_balanced_decision_finds_rare_classes() -> None:
    rare = np.concatenate([np.flatnonzero(Y == 0)[:6], np.flatnonzero(Y != 0)])
    clf = _clf().fit(X[rare], Y[rare])
    n_rare = (clf.predict(X) == 0).sum()
    clf.set_params(decision="balanced")
    assert (clf.predict(X) == 0).sum() >= n_rare
    scores = clf.decision_function(X)
    np.testing.assert_array_equal(scores.argmax(1), np.searchsorted(clf.classes_, clf.predict(X)))


def test_class_weights_count_like_weights_of_samples() -> None:
    weight = np.where(Y == 1, 3.0, 1.0)
    by_class = _clf(class_weight={1: 3.0}).fit(X, Y).predict_proba(X)
    np.testing.assert_allclose(by_class, _clf().fit(X, Y, weight).predict_proba(X), atol=1e-9)


def test_a_boosting_head_is_weighed_with_the_others() -> None:
    clf = _clf(head="boosting").fit(X, Y, groups=GROUPS % 3)
    assert clf.explain(X)["factor"].shape == (90, 3)
    assert clf.predict_set(X).any(1).all()
    with pytest.raises(ValueError, match="partial_fit is for head='ridge'"):
        clf.partial_fit(X, Y)


def test_boosted_trees_take_one_class_a_sample_and_classes_of_one_group() -> None:
    labels = np.stack([Y == 0, Y > 0], axis=1).astype(int)
    with pytest.raises(ValueError, match="head='boosting' is for one class a sample"):
        _clf(head="boosting").fit(X, labels)
    half = (GROUPS > 4).astype(int)  # each of two groups has a class of its own
    p = _clf(head="boosting").fit(X, half, groups=half).predict_proba(X)
    np.testing.assert_allclose(p.sum(1), 1.0)


def test_a_fit_that_breaks_off_leaves_nothing_behind(monkeypatch) -> None:
    from mts_fusion.training import PatternModels

    clf = _clf().fit(X, Y)
    monkeypatch.setattr(PatternModels, "fit", lambda *_: (_ for _ in ()).throw(MemoryError))
    with pytest.raises(MemoryError):
        clf.fit(X[:50], Y[:50])
    with pytest.raises(NotFittedError):
        clf.predict(X)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"kinds": ["rocket"]}, "kinds names each of"),
        ({"kinds": []}, "kinds names each of"),
        ({"kinds": ["timing"]}, "gives no features of any of"),
        ({"head": "boosting", "kinds": ["multirocket"]}, "names none of them. Add 'statistics'"),
        ({"class_weight": [1, 2]}, "class_weight is a dict"),
    ],
)
def test_settings_that_cannot_be_used_are_named(settings, message) -> None:
    with pytest.raises(ValueError, match=message):
        _clf(**settings).fit(X, Y)


def test_input_that_cannot_be_used_is_named() -> None:
    with pytest.raises(ValueError, match="no group is left"):
        _clf().fit(X, Y, groups=np.zeros(90))
    with pytest.raises(ValueError, match="one label a sample, got none for sample 1"):
        _clf().fit(X, Y, groups=np.array(["a", None] * 45, dtype=object))
    with pytest.raises(ValueError, match="sample_weight needs to be >= 0"):
        _clf().fit(X, Y, np.full(90, -1.0))
    with pytest.raises(ValueError, match="at least two classes"):
        _clf().fit(X, np.zeros(90))
    clf = _clf().fit(X, Y, groups=GROUPS)
    for coverage in (0.0, 1.0, 1.5):
        with pytest.raises(ValueError, match="coverage is above 0 and below 1"):
            clf.predict_set(X, coverage=coverage)
    with pytest.raises(ValueError, match=r"The classes of the first call are \[0, 1, 2\]"):
        clf.partial_fit(X[:3], np.array([0, 1, 7]), groups=GROUPS[:3])
    with pytest.raises(ValueError, match="The first call had groups"):
        clf.partial_fit(X[:3], Y[:3])
    with pytest.raises(ValueError, match="1 of 1 samples to forget are not among"):
        clf.forget(X[:1].replace(values={"m0": X[:1].values["m0"] + 1}))
    with pytest.raises(ValueError, match=r"Groups \[77\] have no samples here"):
        clf.forget(groups=77)
    with pytest.raises(ValueError, match="No sample would be left"):
        clf.forget(X)
    with pytest.raises(ValueError, match="features and kernels of another first fit"):
        clf.merge(_clf().fit(X[:50], Y[:50]))
    with pytest.raises(ValueError, match="takes samples X or groups"):
        clf.forget()


def test_fewer_samples_than_classes_and_classes_of_one_group_have_answers() -> None:
    few = _clf().fit(X[:4], np.arange(4))
    assert np.isfinite(few.predict_proba(X)).all()
    alone = np.where(GROUPS == 0, 2, Y % 2)
    clf = _clf().fit(X, alone, groups=GROUPS)
    assert np.isfinite(clf.predict_proba(X)).all()
    assert (clf.predict(X[GROUPS == 0]) == 2).any()


def test_constant_channels_and_repeated_samples_have_answers() -> None:
    flat = X.replace(values={"m0": np.ones_like(X.values["m0"])})
    rows = np.repeat(np.arange(45), 2)
    for form in FORMS:
        clf = _clf(form=form, penalty=None).fit(flat[rows], Y[rows])
        assert np.isfinite(clf.predict_proba(flat)).all()
