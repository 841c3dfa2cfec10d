"""Scores of a fitted estimator when modalities are silent."""

import re

import numpy as np
import pytest
from sklearn.metrics import f1_score, make_scorer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import FunctionTransformer

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import PatternRidgeClassifier
from mts_fusion.inspection import missingness_curve, modality_subsets
from mts_fusion.metrics import neg_brier_score_scorer
from mts_fusion.panel import Panel, Vocabulary
from mts_fusion.transforms import mask_panel


class CountsModalities:
    """Fitted estimator whose score is the mean number of modalities it gets."""

    def fit(self, X, y):
        return self

    def predict(self, X):
        return X.available.sum(axis=1)

    def score(self, X, y):
        return self.predict(X).mean()


def constant_panel(n_modalities, n=4):
    return Panel({f"m{m:02d}": np.ones((n, 1, 3)) for m in range(n_modalities)})


def test_curve_is_tidy_and_the_untouched_input_is_scored_once(classifier, data):
    curve = missingness_curve(
        classifier, *data, fractions=[0, 0.3, 0.6], n_repeats=3, random_state=0, verbose=0
    )
    assert list(curve) == ["pattern", "fraction", "repeat", "metric", "score"]
    assert curve["fraction"].tolist() == [0.0] + [0.3] * 3 + [0.6] * 3
    assert curve["score"][0] == classifier.score(*data)


def test_curve_hides_with_the_masker(classifier, data):
    X, y = data
    curve = missingness_curve(
        classifier, X, y, fractions=[0.5], n_repeats=1, random_state=3, verbose=0
    )
    seed = int(np.random.RandomState(3).randint(2**31 - 1, size=1)[0])
    assert curve["score"][0] == classifier.score(mask_panel(X, fraction=0.5, seed=seed), y)


def test_same_seed_gives_the_same_curve_in_parallel_too(classifier, data):
    options = {"fractions": [0, 0.4], "n_repeats": 2, "random_state": 5, "verbose": 0}
    one = missingness_curve(classifier, *data, **options)
    two = missingness_curve(classifier, *data, n_jobs=2, **options)
    assert one.equals(two)
    other = missingness_curve(classifier, *data, **{**options, "random_state": 6})
    assert not one.equals(other)


def test_input_is_read_as_the_estimator_reads_it(classifier, data):
    X, y = data
    silent = X.replace(values={"m1": np.full_like(X.values["m1"], np.nan)})
    expected = modality_subsets(classifier, silent, y, verbose=0)

    lacking = {name: X.values[name] for name in reversed(X.schema.names) if name != "m1"}

    assert modality_subsets(classifier, lacking, y, verbose=0).equals(expected)
    alone = PatternRidgeClassifier(n_groups=2, random_state=0).fit(X.select("m0"), y)
    curve = missingness_curve(alone, X.values["m0"], y, fractions=[0], verbose=0)
    assert curve["score"][0] == alone.score(X.select("m0"), y)


@pytest.mark.parametrize("pattern", ["modality", "block", "span", "point"])
def test_more_hidden_is_worse(classifier, data, pattern):
    curve = missingness_curve(
        classifier,
        *data,
        pattern=pattern,
        fractions=[0, 0.8],
        scoring="neg_log_loss",
        random_state=0,
        verbose=0,
    )
    mean = curve.groupby("fraction")["score"].mean()
    assert mean[0.8] < mean[0.0]


def test_several_metrics_give_a_row_each(classifier, data):
    curve = missingness_curve(
        classifier,
        *data,
        fractions=[0, 0.5],
        n_repeats=1,
        scoring={"f1": make_scorer(f1_score, average="macro"), "brier": neg_brier_score_scorer},
        verbose=0,
    )
    assert curve["metric"].tolist() == ["f1", "brier"] * 2


@pytest.mark.parametrize(
    ("scoring", "name"),
    [
        (None, "score"),
        ("f1_macro", "f1_macro"),
        (make_scorer(f1_score, average="macro"), "f1_score"),
        (neg_brier_score_scorer, "brier_score"),
    ],
)
def test_the_metric_is_named(classifier, data, scoring, name):
    curve = missingness_curve(classifier, *data, fractions=[0], scoring=scoring, verbose=0)
    assert curve["metric"].tolist() == [name]


def test_a_regressor_is_scored_too(regressor, regression_data):
    curve = missingness_curve(
        regressor, *regression_data, fractions=[0, 0.5], scoring="r2", random_state=0, verbose=0
    )
    assert curve["score"][0] > curve["score"][1:].mean()


def test_a_dict_of_arrays_is_taken_as_input():
    X = {"acc": np.ones((5, 3, 8)), "hr": np.ones((5, 1, 2))}
    curve = missingness_curve(CountsModalities(), X, np.zeros(5), fractions=[0], verbose=0)
    assert curve["score"][0] == 2


def test_the_panel_is_not_changed(classifier, data):
    X, y = data
    before = {name: values.copy() for name, values in X.values.items()}
    missingness_curve(classifier, X, y, n_repeats=1, verbose=0)
    modality_subsets(classifier, X, y, verbose=0)
    for name, values in X.values.items():
        np.testing.assert_array_equal(values, before[name])


def test_every_subset_is_scored_with_the_others_silent():
    panel = constant_panel(4)
    table = modality_subsets(CountsModalities(), panel, np.zeros(4), verbose=0)
    assert len(table) == 15
    assert len(set(table["subset"])) == 15
    assert table["score"].tolist() == table["n_modalities"].tolist()
    assert not table["sampled"].any()


def test_max_size_bounds_the_subsets():
    table = modality_subsets(
        CountsModalities(), constant_panel(5), np.zeros(4), max_size=2, verbose=0
    )
    assert table["n_modalities"].value_counts().to_dict() == {1: 5, 2: 10}


def test_many_modalities_are_sampled_and_it_is_said():
    panel = constant_panel(17)
    with pytest.warns(UserWarning, match="17 modalities have 131071 subsets of at most 17; 100 of"):
        table = modality_subsets(
            CountsModalities(), panel, np.zeros(4), max_subsets=100, random_state=0, verbose=0
        )
    assert len(set(table["subset"])) == len(table) == 100
    complete = table.loc[~table["sampled"], "n_modalities"]
    assert set(complete) == {1, 16, 17} or set(complete) == {17}
    assert set(table["n_modalities"]) == set(range(1, 18))
    counts = table["n_modalities"].value_counts()
    assert counts.drop(17).min() >= 5
    assert table["score"].tolist() == table["n_modalities"].tolist()


def _every_second(panel):
    values = {name: x[:, :, ::2] for name, x in panel.values.items()}
    return Panel(values, rates=dict.fromkeys(values, 4.0))


def test_a_pipeline_is_inspected_on_what_its_first_step_gets():
    X, y = make_panel_classification(
        40, modalities={"acc": (2, 8.0), "hr": (1, 8.0)}, random_state=0
    )
    slower = make_pipeline(FunctionTransformer(_every_second), PatternRidgeClassifier()).fit(X, y)
    alone = PatternRidgeClassifier().fit(_every_second(X), y)

    table = modality_subsets(slower, X, y, verbose=0)

    assert table.equals(modality_subsets(alone, _every_second(X), y, verbose=0))


def test_tokens_fall_silent_as_the_missing_token():
    panel = Panel(
        {"acc": np.ones((3, 1, 4), int), "hr": np.ones((3, 1, 4))},
        vocabularies={"acc": Vocabulary(3)},
    )
    table = modality_subsets(CountsModalities(), panel, np.zeros(3), verbose=0)
    assert table["score"].tolist() == [1, 1, 2]


def test_an_imputed_modality_falls_silent_too():
    panel = Panel(
        {"acc": np.ones((3, 1, 4)), "hr": np.ones((3, 1, 4))},
        observed={"acc": np.ones((3, 1, 4), bool)},
    )
    table = modality_subsets(CountsModalities(), panel, np.zeros(3), verbose=0)
    assert table["score"].tolist() == [1, 1, 2]


def test_a_progress_bar_is_shown_only_when_asked(classifier, data, capsys):
    missingness_curve(classifier, *data, fractions=[0], verbose=0)
    assert capsys.readouterr().err == ""
    missingness_curve(classifier, *data, fractions=[0], verbose=1)
    assert "missingness_curve" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"fractions": [10]}, "fractions are numbers in [0, 1), got [10]"),
        ({"fractions": []}, "fractions are numbers"),
        ({"n_repeats": 0}, "n_repeats is at least 1, got 0"),
        ({"pattern": "rows"}, "pattern is one of"),
    ],
)
def test_bad_options_of_the_curve_are_refused(classifier, data, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        missingness_curve(classifier, *data, verbose=0, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_size": 4}, "max_size=4 is not in [1, 3]"),
        ({"max_subsets": 2}, "max_subsets=2 is less than one for each of the 3 sizes"),
    ],
)
def test_bad_options_of_the_subsets_are_refused(classifier, data, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        modality_subsets(classifier, *data, verbose=0, **options)


def test_x_and_y_of_different_length_are_refused(classifier, data):
    with pytest.raises(ValueError, match="inconsistent numbers of samples"):
        missingness_curve(classifier, data[0], data[1][:-1], verbose=0)


def test_a_single_modality_has_one_subset():
    X, y = make_panel_classification(20, modalities=1, random_state=0)
    table = modality_subsets(CountsModalities(), X, y, verbose=0)
    assert table["subset"].tolist() == [("m0",)]
