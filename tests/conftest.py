"""What holds for the predictions of any classifier on any panel: one helper for all tests."""

from __future__ import annotations

import os

import numpy as np
import pytest
from numpy.testing import assert_allclose

TOLERANCE = 3e-6
"""Largest difference of a probability that batches of another size or content may make."""


def pytest_configure(config):
    """One thread a process where tests run in several: theirs would wait for one another."""
    if config.getoption("numprocesses", None):
        os.environ.setdefault("OMP_NUM_THREADS", "1")


@pytest.fixture(scope="session")
def check_predictions():
    """The function that asserts what holds for the predictions of a classifier."""
    return _check_predictions


@pytest.fixture(scope="session")
def with_longer():
    """The function that puts a sample that is longer than all others at the end of a panel."""
    return _with_longer


def _check_predictions(model, X, rough=None, tolerance=TOLERANCE):
    """Assert that probabilities are finite, sum to 1, and depend on observed values alone.

    Parameters
    ----------
    model : fitted classifier
        Of one class a sample.
    X : Panel
        At least two samples of its schema.
    rough : bool array of shape (n,), default=None
        Samples whose values are so large that their sums in float32 depend on the order: they may
        differ by 0.01.
    tolerance : float
        By which probabilities may differ.
    """
    p = model.predict_proba(X)
    assert np.isfinite(p).all()
    assert_allclose(p.sum(1), 1.0, atol=1e-6)
    for name, (other, rows) in _variants(X).items():
        difference = np.abs(model.predict_proba(other)[: len(rows)] - p[rows]).max(1)
        bound = tolerance if rough is None else np.where(rough[rows], 0.01, tolerance)
        assert (difference < bound).all(), f"{name}: {difference.max():.2g}"


def _variants(X):
    """Panels whose first samples must be answered as rows of X: by name, with these rows."""
    n = len(X)
    rows = np.arange(n)
    rng = np.random.default_rng(0)
    order = rng.permutation(n)
    few = rng.choice(n, size=(n + 6) // 7, replace=False)
    values, times = {}, {}
    for m in X.schema:
        x, observed = X.values[m.name], X.observed[m.name]
        if m.vocabulary is None:
            values[m.name] = np.where(observed, x, np.float32(1e30))
        clock, silent = X.times[m.name], ~observed.any((1, 2))
        if clock is not None and silent.any():
            times[m.name] = np.where(silent[:, None], clock - 1e4, clock)
    return {
        "alone": (X[0], rows[:1]),
        "order": (X[order], order),
        "other company": (X[few], few),
        "hidden values": (X.replace(values=values, observed=X.observed), rows),
        "silent times": (X.replace(times=times), rows),
        "longer company": (_with_longer(X), rows),
    }


def _with_longer(X):
    """X and a sample that is 7 timepoints longer in each modality."""
    last = X[n - 1 : n] if (n := len(X)) else X
    values, times = {}, {}
    for m in X.schema:
        x, clock = last.values[m.name], last.times[m.name]
        values[m.name] = np.concatenate([x, x[..., :1].repeat(7, axis=2)], axis=2)
        if clock is not None:
            begin = np.nan_to_num(np.nanmax(clock, initial=0.0))
            more = begin + 0.1 * np.arange(1, 8)
            times[m.name] = np.concatenate([np.nan_to_num(clock, nan=begin), more[None]], axis=1)
    return X.concat(last.replace(values=values, times=times))
