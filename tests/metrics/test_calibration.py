"""Calibration errors and proper scores, against torchmetrics and scikit-learn."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import brier_score_loss, log_loss

from mts_fusion.metrics import (
    brier_score,
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    reliability_curve,
)

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "metrics.json").read_text())
METRICS = [
    expected_calibration_error,
    maximum_calibration_error,
    negative_log_likelihood,
    brier_score,
]


def random_scores(seed, n=200, n_classes=3, sharpness=2.0):
    rng = np.random.default_rng(seed)
    logits = sharpness * rng.normal(size=(n, n_classes))
    proba = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    y = np.array([rng.choice(n_classes, p=p) for p in proba])
    y[:n_classes] = np.arange(n_classes)  # every class occurs
    return y, proba


@pytest.mark.parametrize("n_bins", [5, 10, 15])
def test_calibration_errors_equal_torchmetrics(n_bins):
    y, proba = REFERENCE["y_true"], REFERENCE["y_proba"]
    wanted = {name: REFERENCE[name][str(n_bins)] for name in ("ece", "mce", "classwise_ece")}
    assert expected_calibration_error(y, proba, n_bins=n_bins) == pytest.approx(wanted["ece"])
    assert maximum_calibration_error(y, proba, n_bins=n_bins) == pytest.approx(wanted["mce"])
    classwise = expected_calibration_error(y, proba, n_bins=n_bins, kind="classwise")
    assert classwise == pytest.approx(wanted["classwise_ece"])


def test_calibration_errors_equal_installed_torchmetrics():
    functional = pytest.importorskip("torchmetrics.functional.classification")
    torch = pytest.importorskip("torch")
    for seed in range(5):
        y, proba = random_scores(seed, n_classes=4)
        for norm, metric in [
            ("l1", expected_calibration_error),
            ("max", maximum_calibration_error),
        ]:
            wanted = functional.multiclass_calibration_error(
                torch.tensor(proba), torch.tensor(y), num_classes=4, n_bins=12, norm=norm
            )
            assert metric(y, proba, n_bins=12) == pytest.approx(float(wanted), abs=1e-6)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("n_classes", [2, 3, 5])
def test_proper_scores_equal_sklearn(n_classes, dtype):
    y, proba = random_scores(0, n_classes=n_classes)
    proba = proba.astype(dtype)
    proba[3] = np.eye(n_classes)[(y[3] + 1) % n_classes]  # sure, and wrong
    assert negative_log_likelihood(y, proba) == pytest.approx(log_loss(y, proba), rel=1e-5)
    expected = brier_score_loss(y, proba if n_classes > 2 else proba[:, 1])
    assert brier_score(y, proba) == pytest.approx(expected, rel=1e-5)


@settings(max_examples=40, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_bins=st.integers(1, 30),
    n_classes=st.integers(2, 5),
    strategy=st.sampled_from(["uniform", "quantile"]),
    kind=st.sampled_from(["top-label", "classwise"]),
)
def test_errors_are_ordered_and_order_of_samples_does_not_matter(
    seed, n_bins, n_classes, strategy, kind
):
    y, proba = random_scores(seed, n=40, n_classes=n_classes)
    options = {"n_bins": n_bins, "strategy": strategy, "kind": kind}
    ece = expected_calibration_error(y, proba, **options)
    mce = maximum_calibration_error(y, proba, **options)
    assert 0 <= ece <= mce + 1e-12
    assert mce <= 1
    order = np.random.default_rng(seed).permutation(len(y))
    assert expected_calibration_error(y[order], proba[order], **options) == pytest.approx(ece)
    columns = np.random.default_rng(seed).permutation(n_classes)
    renamed = expected_calibration_error(y, proba[:, columns], labels=columns, **options)
    assert renamed == pytest.approx(ece)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 2**31), strategy=st.sampled_from(["uniform", "quantile"]))
def test_one_bin_compares_mean_confidence_with_accuracy(seed, strategy):
    y, proba = random_scores(seed)
    wanted = abs(proba.max(axis=1).mean() - (proba.argmax(axis=1) == y).mean())
    got = expected_calibration_error(y, proba, n_bins=1, strategy=strategy)
    assert got == pytest.approx(wanted)


def test_calibrated_probabilities_have_a_small_error_and_sharpened_ones_a_large_one():
    y, proba = random_scores(1, n=20_000)
    sharp = proba**3 / (proba**3).sum(axis=1, keepdims=True)
    for kind in ("top-label", "classwise"):
        assert expected_calibration_error(y, proba, kind=kind) < 0.015
        assert expected_calibration_error(y, sharp, kind=kind) > 0.04


def test_bins_of_equal_mass_hold_equally_many_samples():
    y, proba = random_scores(0, n=200)
    curve = reliability_curve(y, proba, n_bins=8, strategy="quantile")
    assert curve.n_samples.tolist() == [25] * 8


def test_equal_probabilities_share_a_bin():
    y = np.array([0, 1] * 10)
    curve = reliability_curve(y, np.full(20, 0.3), n_bins=5, strategy="quantile")
    assert sorted(curve.n_samples) == [0, 0, 0, 0, 20]


def test_reliability_curve_of_one_class_judges_its_probability():
    y, proba = random_scores(0)
    names = np.array(["rest", "walk", "run"])
    curve = reliability_curve(
        names[y], proba, n_bins=1, pos_label="walk", labels=["rest", "walk", "run"]
    )
    assert curve.confidence[0] == pytest.approx(proba[:, 1].mean())
    assert curve.accuracy[0] == pytest.approx((y == 1).mean())


def test_confidence_zero_and_one_are_counted():
    curve = reliability_curve([0, 1, 1], [0.0, 1.0, 1.0], n_bins=3, pos_label=1)
    assert curve.n_samples.tolist() == [1, 0, 2]


@pytest.mark.parametrize("metric", METRICS)
def test_two_classes_may_come_as_one_column(metric):
    y, proba = random_scores(0, n_classes=2)
    assert metric(y, proba[:, 1]) == pytest.approx(metric(y, proba))


@pytest.mark.parametrize("metric", METRICS)
def test_a_class_that_is_absent_is_scored_when_it_is_named(metric):
    y, proba = random_scores(0)
    some = y != 2
    with pytest.raises(ValueError, match="y_true has 2 classes and y_proba has 3 columns"):
        metric(y[some], proba[some])
    assert metric(y[some], proba[some], labels=[0, 1, 2]) > 0


@pytest.mark.parametrize("metric", METRICS)
def test_nan_is_refused_or_omitted(metric):
    y, proba = random_scores(0)
    broken = proba.copy()
    broken[[7, 9]] = np.nan
    message = (
        "2 of 200 samples have NaN as label or probability (the first is row 7). "
        "Score the others only with nan_policy='omit'."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        metric(y, broken)
    kept = np.delete(np.arange(200), [7, 9])
    assert metric(y, broken, nan_policy="omit") == pytest.approx(metric(y[kept], proba[kept]))
    with pytest.raises(ValueError, match="There is no sample to score"):
        metric(y, np.full_like(proba, np.nan), nan_policy="omit")


def test_too_many_bins_are_refused_with_the_way_out():
    y, proba = random_scores(0, n=10)
    message = (
        "n_bins=15 is more than the 10 samples. "
        "Set n_bins to at most 10 (about n_samples / 20 is steady), or score more samples."
    )
    with pytest.raises(ValueError, match=f"^{re.escape(message)}$"):
        expected_calibration_error(y, proba)


@pytest.mark.parametrize(
    ("y", "proba", "options", "message"),
    [
        ([0, 1], [[2.0, -1.0], [0.5, 0.5]], {}, "probabilities lie in"),
        ([0, 1], [[0.5, 0.2], [0.5, 0.5]], {}, "row 0 sum to 0.7"),
        ([0, 1, 1], [[0.5, 0.5], [0.5, 0.5]], {}, "3 samples and y_proba has 2 rows"),
        ([0.5, 1.2], [[0.5, 0.5], [0.5, 0.5]], {}, "continuous"),
        ([[0, 1], [1, 0]], [[0.5, 0.5], [0.5, 0.5]], {}, "one by one"),
        ([0, 7], [[0.5, 0.5], [0.5, 0.5]], {"labels": [0, 1]}, "not in labels"),
        ([0, 1], np.zeros((2, 2, 2)), {}, "(n, n_classes) was wanted"),
        ([0, 1], [["a", "b"], ["a", "b"]], {}, "predict_proba"),
        ([0, 1], [0.1, 0.9], {"nan_policy": "ignore"}, "nan_policy is"),
    ],
)
@pytest.mark.parametrize("metric", [negative_log_likelihood, expected_calibration_error])
def test_bad_input_is_refused(metric, y, proba, options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        metric(y, proba, **options)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"kind": "all"}, "kind is"),
        ({"strategy": "mass"}, "strategy is"),
        ({"n_bins": 0}, "at least 1"),
    ],
)
def test_unknown_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        expected_calibration_error([0, 1], [0.1, 0.9], **{"n_bins": 1, **options})


@pytest.mark.parametrize("labels", [[0, 1, 1, 0], ["a", "b", "b", "a"]])
def test_masked_labels_and_probabilities_are_missing(labels):
    masked = np.ma.MaskedArray(labels, mask=[0, 0, 1, 0])
    proba = [0.1, 0.9, 0.2, 0.3]
    wanted = negative_log_likelihood(np.delete(labels, 2), np.delete(proba, 2))

    with pytest.raises(ValueError, match="1 of 4 samples have NaN as label or probability"):
        negative_log_likelihood(masked, proba)
    assert negative_log_likelihood(masked, proba, nan_policy="omit") == wanted
    hidden = np.ma.MaskedArray(proba, mask=[0, 0, 1, 0])
    assert negative_log_likelihood(labels, hidden, nan_policy="omit") == wanted


def test_an_unknown_class_has_no_curve():
    with pytest.raises(ValueError, match="pos_label=5 is not one of the classes"):
        reliability_curve([0, 1], [0.1, 0.9], n_bins=1, pos_label=5)


def test_the_input_is_not_changed():
    y, proba = random_scores(0)
    before = proba.copy()
    for metric in METRICS:
        metric(y, proba)
    np.testing.assert_array_equal(proba, before)


@pytest.mark.parametrize("metric", METRICS)
def test_a_weight_of_2_is_two_samples_and_one_of_0_none(metric):
    y, proba = random_scores(0)
    weight = np.random.default_rng(1).integers(3, size=len(y))
    proba[np.flatnonzero(weight == 0)[0]] = np.nan
    rows = np.repeat(np.arange(len(y)), weight)

    weighted = metric(y, proba, sample_weight=weight)

    assert weighted == pytest.approx(metric(y[rows], proba[rows]))


def test_negative_weights_of_a_metric_are_refused():
    y, proba = random_scores(0)
    with pytest.raises(ValueError, match="sample_weight needs to be >= 0"):
        brier_score(y, proba, sample_weight=-np.ones(len(y)))
