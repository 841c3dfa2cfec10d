"""Scores of imputations, against scoringrules and by hand."""

import json
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics.pairwise import paired_cosine_distances

from mts_fusion.metrics import (
    band_coverage,
    crps_from_quantiles,
    crps_from_samples,
    mae_at_missing,
    oracle_cosine_similarity,
    quantiles_from_samples,
)

REFERENCE = json.loads((Path(__file__).parents[1] / "reference" / "metrics.json").read_text())
TRUTH, SAMPLES = np.array(REFERENCE["truth"]), np.array(REFERENCE["samples"])
LEVELS = np.arange(1, 20) / 20


def test_crps_equals_scoringrules():
    quantiles = np.quantile(SAMPLES, LEVELS, axis=0)
    assert crps_from_samples(TRUTH, SAMPLES) == pytest.approx(REFERENCE["crps"])
    assert crps_from_samples(TRUTH, SAMPLES, fair=True) == pytest.approx(REFERENCE["crps_fair"])
    plain = crps_from_quantiles(TRUTH, quantiles, normalize=False)
    assert plain == pytest.approx(REFERENCE["crps_quantile"])
    assert crps_from_quantiles(TRUTH, quantiles) == pytest.approx(plain / np.abs(TRUTH).mean())


def test_crps_equals_installed_scoringrules():
    scoringrules = pytest.importorskip("scoringrules")
    rng = np.random.default_rng(0)
    truth, samples = rng.normal(size=40), rng.normal(size=(30, 40))
    wanted = scoringrules.crps_ensemble(truth, samples, m_axis=0).mean()
    assert crps_from_samples(truth, samples) == pytest.approx(wanted)


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 2**31),
    n_draws=st.integers(1, 12),
    shift=st.floats(-1e3, 1e3),
    scale=st.floats(0.1, 10),
)
def test_crps_moves_and_scales_with_the_values(seed, n_draws, shift, scale):
    rng = np.random.default_rng(seed)
    truth, samples = rng.normal(size=6), rng.normal(size=(n_draws, 6))
    score = crps_from_samples(truth, samples)
    assert 0 <= score <= np.abs(samples - truth).mean() + 1e-12
    moved = crps_from_samples(scale * truth + shift, scale * samples + shift)
    assert moved == pytest.approx(scale * score, rel=1e-6, abs=1e-9)
    assert crps_from_samples(truth, samples[rng.permutation(n_draws)]) == pytest.approx(score)


def test_crps_of_one_draw_is_the_absolute_error():
    assert crps_from_samples(TRUTH, SAMPLES[:1]) == pytest.approx(np.abs(SAMPLES[0] - TRUTH).mean())


def test_crps_of_quantiles_comes_near_that_of_many_samples():
    rng = np.random.default_rng(0)
    truth, samples = rng.normal(size=200), rng.normal(size=(400, 200))
    levels = (np.arange(200) + 0.5) / 200
    quantiles = np.quantile(samples, levels, axis=0)
    near = crps_from_quantiles(truth, quantiles, levels=levels, normalize=False)
    assert near == pytest.approx(crps_from_samples(truth, samples), rel=0.01)


def test_only_missing_entries_are_scored():
    missing = np.zeros(TRUTH.shape, bool)
    missing[1, 2] = missing[4] = True
    truth, samples = np.where(missing, TRUTH, np.nan), np.where(missing, SAMPLES, np.nan)
    wanted = crps_from_samples(TRUTH[missing], SAMPLES[:, missing])
    assert crps_from_samples(truth, samples, missing) == pytest.approx(wanted)
    quantiles = np.quantile(SAMPLES, LEVELS, axis=0)
    wanted = crps_from_quantiles(TRUTH[missing], quantiles[:, missing])
    assert crps_from_quantiles(truth, quantiles, missing) == pytest.approx(wanted)


def test_mae_at_missing_averages_over_samples_or_entries():
    truth, imputed = np.zeros((3, 1, 4)), np.zeros((3, 1, 4))
    missing = np.zeros((3, 1, 4), bool)
    missing[0, 0, 0] = missing[1] = True
    imputed[0], imputed[1], imputed[2] = 3.0, 1.0, 99.0  # the last sample misses nothing
    truth[2] = np.nan
    assert mae_at_missing(truth, imputed, missing) == pytest.approx(2.0)
    assert mae_at_missing(truth, imputed, missing, average="entries") == pytest.approx(7 / 5)
    each = mae_at_missing(truth, imputed, missing, average=None)
    np.testing.assert_array_equal(each, [3.0, 1.0, np.nan])


def test_cosine_similarity_equals_sklearn_and_forgets_the_length():
    rng = np.random.default_rng(0)
    oracle, other = rng.normal(size=(7, 5)), rng.normal(size=(7, 5))
    each = oracle_cosine_similarity(oracle, other, average=False)
    np.testing.assert_allclose(each, 1 - paired_cosine_distances(oracle, other))
    assert oracle_cosine_similarity(oracle, 1e-200 * other) == pytest.approx(each.mean())
    assert oracle_cosine_similarity(oracle, 7 * oracle) == pytest.approx(1)
    assert oracle_cosine_similarity(oracle, np.zeros_like(oracle)) == 0


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: mae_at_missing([[1.0]], [[1.0]], [[False]]), "No entry is missing"),
        (lambda: mae_at_missing([[np.nan]], [[1.0]], [[True]]), "truth has NaN or infinity at 1"),
        (lambda: mae_at_missing([[1.0]], [[np.nan]], [[True]]), "Impute every missing entry first"),
        (lambda: mae_at_missing([[1.0]], [[1.0, 2.0]], [[True]]), "imputed has shape (1, 2)"),
        (lambda: mae_at_missing([[1.0]], [[1.0]], [[1]], average="rows"), "average is"),
        (lambda: mae_at_missing(1.0, 1.0, True), "single number"),
        (lambda: oracle_cosine_similarity([1.0], [1.0]), "(n, D) was wanted"),
        (lambda: oracle_cosine_similarity([[np.nan]], [[1.0]]), "oracle has NaN"),
        (lambda: crps_from_samples([1.0], [1.0]), "Move the axis of the draws to the front"),
        (lambda: crps_from_samples([1.0], [[1.0]], fair=True), "at least 2 samples, got 1"),
        (lambda: crps_from_samples([1.0], [[np.nan]]), "Draw a value"),
        (lambda: crps_from_quantiles([1.0], [[1.0]]), "quantiles has shape (1, 1)"),
        (lambda: crps_from_quantiles([1.0], [[1.0]], levels=[1.5]), "between 0 and 1"),
        (lambda: crps_from_quantiles([0.0], [[1.0]], levels=[0.5]), "Use normalize=False"),
    ],
)
def test_bad_input_is_refused(call, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        call()


@pytest.mark.parametrize("n_draws", [5, 19, 20, 100])
def test_bands_of_few_draws_hold_as_much_as_they_say(n_draws):
    rng = np.random.default_rng(0)
    truth, draws = rng.normal(size=20_000), rng.normal(size=(n_draws, 20_000))
    level = 2 / 3 if n_draws == 5 else 0.9
    low, high = quantiles_from_samples(draws, [(1 - level) / 2, (1 + level) / 2])
    assert band_coverage(truth, low, high) == pytest.approx(level, abs=0.01)
    below, above = (1 - level) / 2 * (n_draws + 1), (1 + level) / 2 * (n_draws + 1)
    ordered = np.sort(draws, axis=0)
    for place, quantile in ((below, low), (above, high)):
        whole = int(np.floor(place + 1e-9))
        one, other = ordered[whole - 1], ordered[min(whole, n_draws - 1)]
        np.testing.assert_allclose(quantile, one + (place - whole) * (other - one))


def test_quantiles_beyond_the_draws_are_the_outermost_and_the_median_is_the_median():
    draws = np.random.default_rng(0).normal(size=(6, 3, 2))
    low, middle, high = quantiles_from_samples(draws, [0.0, 0.5, 0.99])
    np.testing.assert_array_equal(low, draws.min(0))
    np.testing.assert_array_equal(high, draws.max(0))
    np.testing.assert_allclose(middle, np.median(draws, axis=0))


@pytest.mark.parametrize(
    ("draws", "levels", "message"),
    [
        (np.zeros((0, 2)), [0.5], r"samples has shape \(0, 2\)"),
        (1.0, [0.5], r"samples has shape \(\)"),
        (np.zeros((3, 2)), [1.5], r"levels is a list of numbers in \[0, 1\]"),
    ],
)
def test_quantiles_of_nothing_and_levels_that_are_none_are_refused(draws, levels, message):
    with pytest.raises(ValueError, match=message):
        quantiles_from_samples(draws, levels)
