"""Scores of whole gaps, against scoringrules and by hand."""

import numpy as np
import pytest

from mts_fusion.metrics import (
    band_coverage,
    band_width,
    energy_score,
    gap_means,
    lag_correlation,
    variogram_score,
)

RNG = np.random.default_rng(0)
TRUTH, DRAWS = RNG.normal(size=(4, 2, 6)), RNG.normal(size=(9, 4, 2, 6))
ALL = np.ones(TRUTH.shape, bool)


def test_the_energy_score_is_that_of_scoringrules():
    scoringrules = pytest.importorskip("scoringrules")
    flat = TRUTH.reshape(4, -1), DRAWS.reshape(9, 4, -1)
    for fair, estimator in ((False, "nrg"), (True, "fair")):
        wanted = scoringrules.es_ensemble(*flat, m_axis=0, estimator=estimator, backend="numpy")
        assert energy_score(TRUTH, DRAWS, ALL, fair=fair) == pytest.approx(wanted.mean())
    some = ALL.copy()
    some[1:] = False
    some[0, 0, 3:] = False
    first = scoringrules.es_ensemble(
        TRUTH[0][some[0]], DRAWS[:, 0][:, some[0]], m_axis=0, backend="numpy"
    )
    assert energy_score(TRUTH, DRAWS, some) == pytest.approx(first)


def test_the_variogram_score_is_that_of_scoringrules():
    scoringrules = pytest.importorskip("scoringrules")
    one = ALL.copy()
    one[1:], one[0, 1] = False, False
    options = {"m_axis": 0, "p": 0.5, "backend": "numpy"}
    total = scoringrules.vs_ensemble(TRUTH[0, 0], DRAWS[:, 0, 0], **options)
    assert variogram_score(TRUTH, DRAWS, one) == pytest.approx(total / 30)  # each pair twice
    near = np.abs(np.subtract.outer(np.arange(6), np.arange(6))) <= 1
    some = scoringrules.vs_ensemble(TRUTH[0, 0], DRAWS[:, 0, 0], w=near.astype(float), **options)
    assert variogram_score(TRUTH, DRAWS, one, max_lag=1) == pytest.approx(some / 10)


def test_joint_scores_prefer_draws_that_hang_together():
    rng = np.random.default_rng(1)
    truth = np.repeat(rng.normal(size=(300, 1, 1)), 8, axis=2)
    together = np.repeat(rng.normal(size=(30, 300, 1, 1)), 8, axis=3)
    apart = rng.normal(size=(30, 300, 1, 8))
    gap = np.ones(truth.shape, bool)
    for score in (energy_score, variogram_score):
        assert score(truth, together, gap) < 0.95 * score(truth, apart, gap)
    assert lag_correlation(together, gap) == pytest.approx(1.0)
    assert abs(lag_correlation(apart, gap)) < 0.02


def test_the_lag_correlation_is_that_of_an_autoregression():
    rng = np.random.default_rng(0)
    x = np.zeros((400, 1, 3, 50))
    noise = rng.normal(size=x.shape)
    for t in range(1, 50):
        x[..., t] = 0.8 * x[..., t - 1] + noise[..., t]
    gap = np.zeros(x.shape[1:], bool)
    gap[..., 30:] = True
    assert lag_correlation(x, gap) == pytest.approx(0.8, abs=0.02)
    assert lag_correlation(x, gap, lag=2) == pytest.approx(0.64, abs=0.03)


def test_a_gap_is_a_run_of_one_channel():
    values = np.arange(12.0).reshape(1, 2, 6)
    gap = np.array([[[1, 1, 0, 0, 0, 1], [1, 0, 1, 1, 1, 0]]], bool)
    assert gap_means(values, gap).tolist() == [0.5, 5.0, 6.0, 9.0]
    assert gap_means(np.stack([values, values + 1]), gap)[1].tolist() == [1.5, 6.0, 7.0, 10.0]


def test_bands():
    truth = np.random.default_rng(0).normal(size=20_000)
    low, high = np.full(len(truth), -1.645), np.full(len(truth), 1.645)
    assert band_coverage(truth, low, high) == pytest.approx(0.9, abs=0.01)
    assert band_width(low, high) == pytest.approx(3.29)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: energy_score(TRUTH, DRAWS[:, :2], ALL), "samples has shape"),
        (lambda: energy_score(TRUTH, DRAWS, ~ALL), "No entry is missing"),
        (lambda: energy_score(TRUTH, DRAWS * np.nan, ALL), "samples has NaN or infinity"),
        (
            lambda: energy_score(TRUTH, DRAWS[:1], ALL, fair=True),
            "samples has 1 draw, but fair=True needs 2",
        ),
        (lambda: variogram_score(TRUTH, DRAWS, ALL, p=0), "p is above 0, got 0"),
        (lambda: variogram_score(TRUTH, DRAWS, ALL, max_lag=0), "No channel misses two entries"),
        (lambda: lag_correlation(DRAWS[:1], ALL), "samples has 1 draws, but at least 2"),
        (lambda: lag_correlation(DRAWS, ALL, lag=6), "lag is from 1 to 5, got 6"),
        (lambda: gap_means(TRUTH, ~ALL), "No entry is missing"),
        (lambda: band_coverage([1.0], [2.0], [0.0]), "low is above high somewhere"),
        (lambda: band_width([1.0, 2.0], [2.0]), "high has shape"),
    ],
)
def test_what_cannot_be_scored_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
