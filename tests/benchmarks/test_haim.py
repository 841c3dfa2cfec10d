import numpy as np

from mts_fusion.benchmarks._haim import HaimFeatures, haim
from mts_fusion.datasets import make_panel_classification
from mts_fusion.panel import Panel


def test_the_numbers_are_those_of_the_observed_values():
    nan = np.nan
    X = Panel(
        {"a": np.array([[[1, nan, 4, 2, nan, 7], [nan] * 6]]), "static": np.full((1, 1, 1), 3.0)}
    )

    row = HaimFeatures().fit_transform(X)[0]

    x = np.array([1.0, 4, 2, 7])
    slope = np.polyfit(np.arange(4), x, 1)[0]
    numbers = [7, 1, x.mean(), x.var(), 2, 10 / 3, 5, 10, 6, 1, slope]
    np.testing.assert_allclose(row[:11], numbers)
    assert np.isnan(row[11:22]).all()
    np.testing.assert_allclose(row[22:], [3, 3, 3, 0, nan, nan, nan, nan, 0, 0, nan])


def test_haim_learns():
    X, y = make_panel_classification(120, missing_fraction=0.2, random_state=0)

    assert haim(seed=0, quick=True).fit(X[:80], y[:80]).score(X[80:], y[80:]) > 0.6
