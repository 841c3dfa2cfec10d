"""Targets and groups of any container are read by value, or refused by sample."""

import datetime
from functools import cache

import numpy as np
import pandas as pd
import pytest
from numpy.testing import assert_array_equal

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    FusionClassifier,
    FusionRegressor,
    MaestroClassifier,
    PatternRidgeClassifier,
    PatternRidgeRegressor,
    TraceClassifier,
)

TINY = {"max_epochs": 1, "n_estimators": 1, "device": "cpu", "random_state": 0}
CLASSIFIERS = [
    MaestroClassifier(n_groups=2, d_model=8, **TINY),
    FusionClassifier(n_groups=2, d_model=8, **TINY),
    TraceClassifier(d_model=8, imputer="nearest", **TINY),
    PatternRidgeClassifier(n_groups=2, random_state=0),
]
REGRESSORS = [
    FusionRegressor(n_groups=2, d_model=8, **TINY),
    PatternRidgeRegressor(n_groups=2, random_state=0),
]
N, BAD = 24, 3
X, Y = make_panel_classification(n_samples=N, random_state=0)
WORDS = np.array(["a", "b", "c"])[Y]
PRESENT = np.arange(N) != BAD
MASK = ~PRESENT
MISSING = {
    "masked": np.ma.array(Y, mask=MASK),
    "masked text": np.ma.array(WORDS, mask=MASK),
    "masked entry of a list": [np.ma.masked if bad else y for y, bad in zip(Y, MASK, strict=True)],
    "NaN": np.where(MASK, np.nan, Y),
    "None in a list": [None if bad else w for w, bad in zip(WORDS, MASK, strict=True)],
    "NaN in a list of text": [np.nan if bad else w for w, bad in zip(WORDS, MASK, strict=True)],
    "NA of string": pd.Series(WORDS, dtype="string").where(PRESENT),
    "NA of object": pd.Series(WORDS, dtype=object).where(PRESENT, pd.NA),
    "None of object": pd.Series(WORDS, dtype=object).where(PRESENT, None),
    "NaN of object": pd.Series(WORDS, dtype=object).where(PRESENT, np.nan),
    "NA of Int64": pd.Series(Y, dtype="Int64").where(PRESENT),
    "NA of boolean": pd.Series(Y > 0, dtype="boolean").where(PRESENT),
    "NaN of category": pd.Series(WORDS, dtype="category").where(PRESENT),
    "NaT": pd.Series(pd.to_datetime(Y, unit="D")).where(PRESENT),
    "NA of a frame": pd.DataFrame({"a": pd.Series(Y % 2, dtype="Int64").where(PRESENT), "b": 1}),
}
SUBJECTS = np.arange(N) // 4
NAMES = [f"s{subject}" for subject in SUBJECTS]


def _ids(estimator):
    return type(estimator).__name__


def test_every_target_that_is_missing_is_refused_by_its_sample():
    for estimator in CLASSIFIERS:
        for y in MISSING.values():
            with pytest.raises(ValueError, match=r"Input y contains NaN: 1 of .* of sample 3\."):
                estimator.fit(X, y)


@pytest.mark.parametrize("estimator", REGRESSORS, ids=_ids)
@pytest.mark.parametrize("kind", ["masked", "NaN", "NA of object", "NA of Int64", "NaT"])
def test_a_missing_number_is_refused_by_its_sample(estimator, kind):
    y = (
        MISSING[kind]
        if kind != "NA of object"
        else pd.Series(Y, dtype=object).where(PRESENT, pd.NA)
    )

    with pytest.raises(ValueError, match=r"Input y contains NaN: 1 of .* of sample 3\."):
        estimator.fit(X, y)


@pytest.mark.parametrize("estimator", CLASSIFIERS, ids=_ids)
@pytest.mark.parametrize(
    ("y", "kind"),
    [
        (np.ma.array(Y), "i"),
        (pd.Series(Y, dtype="Int64"), "i"),
        (pd.Series(Y > 0, dtype="boolean"), "b"),
        (pd.Series(WORDS, dtype="string"), "O"),
        (pd.Series(WORDS, dtype="category"), "O"),
    ],
    ids=["masked", "Int64", "boolean", "string", "category"],
)
def test_targets_of_any_column_stay_what_they_are(estimator, y, kind):
    fitted = estimator.fit(X, y)

    assert fitted.classes_.dtype.kind == kind
    assert_array_equal(fitted.classes_, np.unique(np.asarray(y.tolist())))


@pytest.mark.parametrize("estimator", REGRESSORS, ids=_ids)
@pytest.mark.parametrize("y", [pd.to_datetime(Y, unit="D"), WORDS], ids=["dates", "text"])
def test_dates_and_text_are_no_numbers(estimator, y):
    with pytest.raises(ValueError, match="numbers are wanted"):
        estimator.fit(X, y)


@pytest.mark.parametrize("estimator", [CLASSIFIERS[1], CLASSIFIERS[3]], ids=_ids)
@pytest.mark.parametrize("what", ["y", "sample_weight", "groups"])
def test_an_index_of_the_ids_in_another_order_is_refused(estimator, what):
    named = X.replace(sample_ids=[f"T{i}" for i in range(24)])
    parts = {"y": pd.Series(Y), "sample_weight": pd.Series(1.0, range(24)), "groups": SUBJECTS}
    parts[what] = pd.Series(parts[what]).set_axis(named.sample_ids)
    estimator.fit(named, **parts)

    parts[what] = parts[what].sort_index()
    message = (
        rf"The index of {what} holds the ids of the samples of X in another order: \['T0', 'T1', "
        rf"'T10'\] come first there, \['T0', 'T1', 'T2'\] in X\. Give {what}\.loc"
    )
    with pytest.raises(ValueError, match=message):
        estimator.fit(named, **parts)


@pytest.mark.parametrize("estimator", [CLASSIFIERS[1], CLASSIFIERS[3]], ids=_ids)
@pytest.mark.parametrize(
    "weight",
    [
        np.ma.array(np.ones(24), mask=MASK),
        pd.Series(np.ones(24), dtype="Float64").where(PRESENT),
        np.where(MASK, np.nan, 1.0),
    ],
    ids=["masked", "Float64", "NaN"],
)
def test_a_missing_weight_is_refused_by_its_sample(estimator, weight):
    with pytest.raises(ValueError, match="sample_weight contains NaN: that of sample 3 is None"):
        estimator.fit(X, Y, sample_weight=weight)


@pytest.mark.parametrize("estimator", [CLASSIFIERS[1], CLASSIFIERS[3]], ids=_ids)
def test_a_sample_without_a_group_is_named(estimator):
    dates = np.datetime64("2020-01-01") + SUBJECTS
    for groups in (
        [None if bad else s for s, bad in zip(NAMES, MASK, strict=True)],
        [np.nan if bad else s for s, bad in zip(NAMES, MASK, strict=True)],
        np.where(MASK, np.nan, SUBJECTS),
        np.where(MASK, np.datetime64("NaT"), dates),
        np.ma.array(SUBJECTS, mask=MASK),
        pd.Series(NAMES, dtype="string").where(PRESENT),
        pd.Series(SUBJECTS, dtype="Int64").where(PRESENT),
    ):
        with pytest.raises(
            ValueError, match=r"groups is one label a sample, got none for sample 3"
        ):
            estimator.fit(X, Y, groups=groups)


@pytest.mark.parametrize("estimator", [CLASSIFIERS[1], CLASSIFIERS[3]], ids=_ids)
def test_groups_are_one_label_of_one_type_a_sample(estimator):
    with pytest.raises(ValueError, match=r"groups is one label a sample, got shape \(24, 1\)"):
        estimator.fit(X, Y, groups=SUBJECTS[:, None])
    with pytest.raises(ValueError, match=r"groups mixes \['int', 'str'\]"):
        estimator.fit(X, Y, groups=[*NAMES[:12], *SUBJECTS[12:].tolist()])
    with pytest.raises(ValueError, match=r"groups is one label a sample, got \['s0'\] for a label"):
        estimator.fit(X, Y, groups=[["s0"], *NAMES[1:]])
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        estimator.fit(X, Y, groups=NAMES[:-1])


@cache
def _of_subjects(estimator):
    return estimator.fit(X, Y, groups=SUBJECTS).predict_proba(X)


@pytest.mark.parametrize("estimator", [CLASSIFIERS[1], CLASSIFIERS[3]], ids=_ids)
@pytest.mark.parametrize(
    "groups",
    [
        NAMES,
        [("ward", int(subject)) for subject in SUBJECTS],
        [datetime.date(2020, 1, 1 + int(subject)) for subject in SUBJECTS],
        pd.Series(NAMES, dtype="string"),
        pd.Series(NAMES, dtype="category"),
        pd.Series(SUBJECTS, dtype="Int64"),
        np.ma.array(SUBJECTS),
    ],
    ids=["list", "tuples", "dates", "string", "category", "Int64", "masked"],
)
def test_groups_of_any_type_are_the_same_groups(estimator, groups):
    expected = _of_subjects(estimator)

    assert_array_equal(estimator.fit(X, Y, groups=groups).predict_proba(X), expected)
