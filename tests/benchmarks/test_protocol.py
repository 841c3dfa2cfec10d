import json

import numpy as np
import pytest
from sklearn.ensemble import ExtraTreesClassifier
from sklearn.pipeline import Pipeline, make_pipeline

from mts_fusion.benchmarks._classification import pooled_error_table
from mts_fusion.benchmarks._folds import (
    Data,
    Fold,
    hold_every_nth_group_out,
    leave_groups_out,
    subsample,
)
from mts_fusion.benchmarks._methods import CLASSIFIERS, choose
from mts_fusion.benchmarks._protocol import Method, _scores, evaluate_classifier, fit_method
from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import FusionClassifier
from mts_fusion.metrics import expected_calibration_error
from mts_fusion.transforms import PanelSummarizer


@pytest.fixture
def data():
    panel, y, groups = make_panel_classification(120, return_groups=True, random_state=0)
    return Data("synthetic", panel, y, groups)


class Spy:
    """A classifier that keeps what it was given."""

    seen: list

    def __init__(self):
        self.seen = []

    def fit(self, X, y):
        self.n_train, self.hidden = len(X), 1 - X.available.mean()
        self.classes_ = np.unique(y)
        return self

    def predict_proba(self, X):
        self.seen.append(X)
        return np.full((len(X), len(self.classes_)), 1 / len(self.classes_))


def test_folds_hold_out_whole_groups_and_cover_everyone(data):
    folds = leave_groups_out(data.groups, 2)
    assert [fold.name for fold in folds] == ["0+1", "2+3", "4"]
    for fold in folds:
        assert not set(data.groups[fold.train]) & set(data.groups[fold.test])
    assert sorted(np.concatenate([fold.test for fold in folds])) == list(range(120))


def test_too_few_groups_are_an_error():
    with pytest.raises(ValueError, match=r"There are 2 groups .*; more than 2 are needed"):
        leave_groups_out(np.array([1, 2, 2]))


def test_groups_held_out_are_spread():
    groups = np.repeat([3, 5, 8, 9, 11], 2)
    folds = hold_every_nth_group_out(groups, 2)
    assert [np.unique(groups[fold.test]).tolist() for fold in folds] == [[3, 8, 11], [5, 9]]
    assert [np.unique(groups[fold.train]).tolist() for fold in folds] == [[5, 9], [3, 8, 11]]
    with pytest.raises(ValueError, match="n_folds is from 2 to the number of groups, 5, got 6"):
        hold_every_nth_group_out(groups, 6)


def test_thinning_of_a_regression_keeps_the_share_of_each_group(data):
    numbers = Data(data.name, data.panel, np.arange(120.0), np.repeat([0, 1], 60))
    subset = subsample(Fold("all", np.arange(120), np.arange(120)), numbers, 4)
    assert np.bincount(numbers.groups[subset.train]).tolist() == [15, 15]


def test_thinning_keeps_the_share_of_each_class_and_group(data):
    fold = leave_groups_out(data.groups, 2)[0]
    subset = subsample(fold, data, 4)
    for rows, kept in ((fold.train, subset.train), (fold.test, subset.test)):
        assert set(kept) <= set(rows)
        for label in range(3):
            for group in np.unique(data.groups[rows]):
                n = ((data.y[rows] == label) & (data.groups[rows] == group)).sum()
                n_kept = ((data.y[kept] == label) & (data.groups[kept] == group)).sum()
                assert n_kept == np.ceil(n / 4)


def test_thinning_without_groups_keeps_the_share_of_each_class(data):
    alone = Data(data.name, data.panel, data.y, np.arange(len(data)))
    subset = subsample(Fold("all", np.arange(120), np.arange(120)), alone, 4)
    assert np.bincount(data.y[subset.train]).tolist() == [10, 10, 10]


def test_every_method_sees_the_same_hidden_sensors(data):
    fold = leave_groups_out(data.groups, 2)[0]
    spies = [Spy(), Spy()]
    for spy in spies:
        evaluate_classifier(
            Method(lambda spy=spy, **_: spy), data, fold, seed=3, fractions=[0.0, 0.4]
        )
    for one, other in zip(spies[0].seen, spies[1].seen, strict=True):
        np.testing.assert_array_equal(one.available, other.available)
    _, complete, hidden = spies[0].seen  # the first call warms up
    assert complete.available.all()
    assert 0.2 < 1 - hidden.available.mean() < 0.5
    assert hidden.available.any(axis=1).all()


def test_baselines_train_on_two_copies(data):
    fold = leave_groups_out(data.groups, 2)[0]
    spy = Spy()
    evaluate_classifier(Method(lambda **_: spy, copies=True), data, fold, seed=0, fractions=[0.0])
    assert spy.n_train == 2 * len(fold.train)
    assert 0.08 < spy.hidden < 0.2


def test_a_row_tells_scores_and_costs(data):
    def make(seed, quick):
        return make_pipeline(PanelSummarizer(), ExtraTreesClassifier(20, random_state=seed))

    fold = leave_groups_out(data.groups, 2)[0]
    rows = evaluate_classifier(Method(make, copies=True), data, fold, seed=0, fractions=[0.0, 0.5])
    assert [row["fraction"] for row in rows] == [0.0, 0.5]
    assert rows[0]["macro_f1"] > 0.8 > rows[1]["ece"] >= 0
    assert rows[0]["fit_seconds"] > 0
    assert rows[0]["macs"] is rows[0]["parameters"] is None  # trees have no network


def test_rows_of_ours_tell_what_the_temperature_does(data):
    def make(seed, quick, calibration="temperature"):
        return FusionClassifier(
            encoder="hydra", n_groups=2, max_epochs=1, calibration=calibration, random_state=seed
        )

    fold = leave_groups_out(data.groups, 2)[0]
    settings = {"seed": 0, "fractions": [0.0, 0.5]}
    split = {"validation_fraction": 0.2}
    rows = evaluate_classifier(
        Method(lambda **k: make(**k).set_params(**split)), data, fold, **settings
    )
    plain = evaluate_classifier(
        Method(lambda **k: make(calibration=None, **k).set_params(**split)), data, fold, **settings
    )
    for row, other in zip(json.loads(json.dumps(rows)), plain, strict=True):
        assert row["ece_plain"] == pytest.approx(other["ece"], abs=1e-6)
        assert row["macro_f1"] == other["macro_f1"]
        assert row["temperature"] != 1


def test_columns_that_no_training_sample_has_do_not_stop_the_trees(data):
    silent = data.panel.replace(
        values={"m1": np.full_like(data.panel.values["m1"], np.nan)}  # never observed
    )
    for name in ("ExtraTrees on summaries", "HistGradientBoosting on summaries"):
        model = CLASSIFIERS[name].make(seed=0, quick=True).fit(silent, data.y)
        assert model.predict_proba(data.panel).shape == (120, 3)


def test_an_unknown_method_is_an_error():
    with pytest.raises(
        ValueError, match=r"--methods has \['Magic'\]; the methods are \['PatternRidge'"
    ):
        choose(CLASSIFIERS, ["Magic"], [])


def test_a_peer_without_probabilities_has_no_calibration(data):
    class Classes(Spy):
        predict_proba = property(doc="absent")

        def predict(self, X):
            return np.zeros(len(X), dtype=int)

    fold = leave_groups_out(data.groups, 2)[0]
    row = evaluate_classifier(Method(lambda **_: Classes()), data, fold, seed=0, fractions=[0.0])[0]
    assert row["accuracy"] == pytest.approx(1 / 3, abs=0.1)
    assert "ece" not in row


def test_the_pooled_calibration_error_is_that_of_all_samples_together():
    rng = np.random.default_rng(0)
    classes, rows, parts = np.arange(3), [], []
    for fold, n in (("a", 40), ("b", 70)):
        y, proba = rng.integers(3, size=n), rng.dirichlet(np.ones(3), size=n)
        rows.append({"method": "ours", "fold": fold, "fraction": 0.0})
        rows[-1] |= _scores(y, proba, classes, None)
        parts.append((y, proba))
    rows.append({"method": "baseline", "fold": "a", "fraction": 0.0, "macro_f1": 0.5})
    y, proba = (np.concatenate(part) for part in zip(*parts, strict=True))
    pooled = expected_calibration_error(y, proba)
    assert pooled < np.mean([row["ece"] for row in rows[:2]])  # it is not their mean
    ours, baseline = pooled_error_table(rows, ["ours", "baseline"], [0.0]).splitlines()[2:]
    assert f"{pooled:.3f}"[1:] in ours
    assert baseline.split("|")[2].strip() == "-"


def test_the_last_step_of_a_pipeline_gets_the_groups(data):
    class Grouped(Spy):
        def fit(self, X, y, groups=None):
            self.groups = groups
            return super().fit(X, y)

    made = {}

    def make(seed, quick):
        made["clf"] = Pipeline([("no", "passthrough"), ("clf", Grouped())])
        return made["clf"]

    fold = leave_groups_out(data.groups, 2)[0]
    fit_method(Method(make, groups=True), data, fold, seed=0, quick=False)
    assert made["clf"][-1].groups.tolist() == data.groups[fold.train].tolist()


def test_noise_has_a_row_of_its_own(data):
    def make(seed, quick):
        return make_pipeline(PanelSummarizer(), ExtraTreesClassifier(20, random_state=seed))

    fold = leave_groups_out(data.groups, 2)[0]
    settings = {"seed": 0, "fractions": [0.0], "noises": ["random", "last_quarter"]}
    rows = evaluate_classifier(Method(make), data, fold, **settings)
    scores = {row["noise"]: row["noisy_macro_f1"] for row in rows if "noise" in row}
    assert list(scores) == ["none", "random", "last_quarter"]
    assert scores["none"] == pytest.approx(rows[0]["macro_f1"])
    assert scores["random"] < scores["none"] - 0.1
