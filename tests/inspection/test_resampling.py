"""Intervals of scores over resampled groups: of what, how wide, from how many predictions."""

import re

import numpy as np
import pandas as pd
import pytest

from mts_fusion.inspection import (
    missingness_curve,
    modality_importance,
    modality_subsets,
)
from mts_fusion.panel import Panel

N = 60


class Counts:
    """Predicts whether the first value of a modality is positive; counts its predictions."""

    classes_ = np.array([0, 1])
    _estimator_type = "classifier"

    def __init__(self, name="a"):
        self.name, self.n = name, 0

    def fit(self, X, y):
        return self

    def predict(self, X):
        self.n += 1
        return (X.values[self.name][:, 0, 0] > 0).astype(int)

    def score(self, X, y):
        return float((self.predict(X) == y).mean())


def accuracy(estimator, X, y):
    return float((estimator.predict(X) == y).mean())


@pytest.fixture
def people():
    """The classifier is right about some people in all samples, about the others in none."""
    person = np.repeat(np.arange(6), N // 6)
    y = np.tile([0, 1], N // 2)
    right = person < 4
    values = np.where(y == right, 1.0, -1.0)[:, None, None]
    return Panel({"a": values, "b": np.ones_like(values)}), y, person


def test_the_interval_is_that_of_people_not_of_samples(people):
    X, y, person = people
    by_person = missingness_curve(
        Counts(), X, y, fractions=[0], groups=person, scoring=accuracy, random_state=0, verbose=0
    ).iloc[0]
    by_sample = missingness_curve(
        Counts(),
        X,
        y,
        fractions=[0],
        groups=np.arange(N),
        scoring=accuracy,
        random_state=0,
        verbose=0,
    ).iloc[0]
    assert by_person["score"] == by_sample["score"] == pytest.approx(4 / 6)
    # of six people k are right: quantiles of a binomial distribution, 2 / 6 and 6 / 6
    assert by_person["low"] == pytest.approx(2 / 6)
    assert by_person["high"] == pytest.approx(1.0)
    assert by_sample["high"] - by_sample["low"] < 0.3


def test_importance_is_resampled_for_all_modalities_alike(people):
    X, y, person = people
    table = modality_importance(
        Counts(), X, y, groups=person, n_resamples=50, scoring=accuracy, verbose=0
    ).set_index("modality")
    assert table.loc["b", ["importance", "low", "high"]].tolist() == [0.0, 0.0, 0.0]
    low, value, high = table.loc["a", ["low", "importance", "high"]]
    assert low < value < high


@pytest.mark.parametrize("method", ["removal", "permutation", "shapley"])
def test_a_method_has_ordered_ends_and_the_importance_it_has_without_groups(
    classifier, data, method
):
    options = {"method": method, "n_repeats": 3, "random_state": 0, "verbose": 0}
    plain = modality_importance(classifier, *data, **options)
    groups = np.arange(len(data[1])) // 9
    table = modality_importance(classifier, *data, groups=groups, n_resamples=40, **options)
    assert list(table.columns) == [*plain.columns, "low", "high"]
    np.testing.assert_allclose(table["importance"], plain["importance"])
    assert (table["low"] <= table["importance"]).all()
    assert (table["importance"] <= table["high"]).all()


def test_each_panel_is_predicted_once(people):
    X, y, person = people
    counts = Counts()
    modality_subsets(counts, X, y, groups=person, scoring=accuracy, verbose=0)
    assert counts.n == 3


@pytest.mark.parametrize("scoring", ["f1_macro", "neg_log_loss", None])
def test_scorers_of_scikit_learn_and_score_are_what_they_are_without_groups(
    classifier, data, scoring
):
    options = {"fractions": [0, 0.5], "scoring": scoring, "random_state": 0, "verbose": 0}
    groups = np.arange(len(data[1])) // 9
    table = missingness_curve(classifier, *data, groups=groups, n_resamples=20, **options)
    plain = missingness_curve(classifier, *data, **options)
    np.testing.assert_allclose(table["score"], plain["score"])
    broken = table[table["fraction"] > 0]
    assert (broken["low"] < broken["high"]).all()


def test_the_score_of_a_mixin_uses_known_predictions(classifier, data, monkeypatch):
    calls = []
    final = type(classifier[-1])
    own = final.predict
    monkeypatch.setattr(final, "predict", lambda self, X: calls.append(1) or own(self, X))
    groups = np.arange(len(data[1])) // 9
    table = modality_subsets(classifier, *data, max_size=1, groups=groups, verbose=0)
    assert len(calls) == len(table)
    assert (table["low"] <= table["score"]).all()


def test_scoring_that_changes_x_is_refused(people):
    X, y, person = people

    def half(estimator, X, y):
        return accuracy(estimator, X[: len(y) // 2], y[: len(y) // 2])

    with pytest.raises(ValueError, match="scoring reads predictions of the X it is given"):
        modality_subsets(Counts(), X, y, groups=person, scoring=half, verbose=0)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"groups": [1, 2]},
            "groups is one label a sample. Found input variables with inconsistent numbers of "
            "samples: [60, 2]",
        ),
        ({"groups": 3}, "groups is one label a sample, got 3."),
        ({"groups": np.zeros((N, 2))}, f"groups is one label a sample, got shape ({N}, 2)."),
        ({"groups": [1, "1"] * (N // 2)}, "groups mixes ['int', 'str']."),
        ({"groups": pd.Series([pd.NA] + [1] * (N - 1))}, "got none for sample 0."),
        ({"groups": np.zeros(N)}, "groups has a single group; an interval needs at least two."),
        ({"groups": np.full(N, np.nan)}, "groups is one label a sample, got none for sample 0."),
        ({"groups": np.arange(N), "n_resamples": 1}, "n_resamples is at least 2, got 1."),
    ],
)
def test_wrong_groups_are_refused(people, options, message):
    X, y, _ = people
    with pytest.raises((TypeError, ValueError), match=re.escape(message)):
        missingness_curve(Counts(), X, y, verbose=0, **options)


def test_labels_and_targets_in_the_order_of_other_samples_are_refused(people):
    X, y, person = people
    X = Panel(X.values, sample_ids=[f"window {i}" for i in range(N)])
    other = X.sample_ids[::-1]
    with pytest.raises(ValueError, match="The index of groups holds the ids of the samples"):
        missingness_curve(Counts(), X, y, groups=pd.Series(person, other), verbose=0)
    with pytest.raises(ValueError, match="The index of y holds the ids of the samples"):
        missingness_curve(Counts(), X, pd.Series(y, other), verbose=0)


def test_groups_of_any_kind_give_the_same_intervals(people):
    X, y, person = people
    options = {"fractions": [0], "scoring": accuracy, "random_state": 0, "verbose": 0}
    wanted = missingness_curve(Counts(), X, y, groups=person, **options)
    tuples = [("ward", int(p)) for p in person]
    for groups in (tuples, pd.Series(person, dtype="Int64"), [f"{p:02d}" for p in person]):
        assert wanted.equals(missingness_curve(Counts(), X, y, groups=groups, **options))


def test_draws_of_new_people_cover_the_interval():
    """Of 40 data sets of 12 people, about nine in ten intervals hold the accuracy of all people."""
    rng = np.random.default_rng(0)
    hold = 0
    for seed in range(40):
        person = np.repeat(np.arange(12), 10)
        right = rng.random(12)[person] > rng.random(120)  # each person has an accuracy of its own
        X = Panel({"a": np.where(right, 1.0, -1.0)[:, None, None], "b": np.ones((120, 1, 1))})
        row = missingness_curve(
            Counts(),
            X,
            np.ones(120, int),
            fractions=[0],
            groups=person,
            scoring=accuracy,
            random_state=seed,
            verbose=0,
        ).iloc[0]
        hold += row["low"] <= 0.5 <= row["high"]
    assert 33 <= hold <= 40
