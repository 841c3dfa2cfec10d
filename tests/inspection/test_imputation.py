"""Scores of an imputer by channel, and the display of one."""

import numpy as np
import pytest

from mts_fusion.inspection import ImputationDisplay, imputation_scores
from mts_fusion.panel import Panel
from mts_fusion.transforms import PanelImputer


class Normal:
    """Draws of which the truth is one more: standard normal in the unit of each channel."""

    def sample(self, X, n):
        rng = np.random.default_rng(0)
        scale = np.array([1.0, 100.0])[:, None]
        return [
            X.replace(
                values={
                    name: np.where(np.isnan(x), scale * rng.normal(size=x.shape), x)
                    for name, x in X.values.items()
                },
                observed=X.observed,
            )
            for _ in range(n)
        ]


@pytest.fixture(scope="module")
def truth():
    values = np.random.default_rng(1).normal(size=(300, 2, 8)) * [[1.0], [100.0]]
    return Panel({"a": values}, rates={"a": 2.0}, channels={"a": ["small", "large"]})


@pytest.fixture(scope="module")
def hidden(truth):
    values = truth.values["a"].copy()
    values[:, :, 2:5] = np.nan
    return truth.replace(values={"a": values})


def test_each_channel_is_scored_in_its_own_unit(truth, hidden):
    table = imputation_scores(Normal(), hidden, truth).set_index("channel")
    assert table["n_hidden"].tolist() == [900, 900]
    assert table.loc["large", "mae"] == pytest.approx(80, rel=0.1)
    assert table.loc["small", "mae"] == pytest.approx(0.8, rel=0.1)
    assert table.loc["large", "width"] == pytest.approx(329, rel=0.05)
    assert table["coverage"].between(0.86, 0.94).all()
    assert table["mean_coverage"].between(0.86, 0.94).all()
    assert table["mean_width"].tolist() == pytest.approx([1.9, 190], rel=0.05)
    assert table["lag_correlation"].abs().max() < 0.05


def test_what_cannot_be_scored_is_refused(truth, hidden):
    with pytest.raises(TypeError, match="PanelImputer gives one value for each gap and cannot dra"):
        imputation_scores(PanelImputer().fit(truth), hidden, truth)
    with pytest.raises(ValueError, match="Nothing that truth has is missing in X"):
        imputation_scores(Normal(), truth, truth)
    with pytest.raises(ValueError, match="level is between 0 and 1, got 90"):
        imputation_scores(Normal(), hidden, truth, level=90)
    with pytest.raises(ValueError, match="truth has 3 samples, but X has 300"):
        imputation_scores(Normal(), hidden, truth[:3])


def test_the_display_shows_band_median_draws_and_truth(truth, hidden):
    pytest.importorskip("matplotlib")
    display = ImputationDisplay.from_estimator(
        Normal(), hidden, channel="large", sample=1, truth=truth, n_shown=2
    )
    assert display.ax_.get_ylabel() == "a: large"
    assert display.ax_.get_xlabel() == "time (s)"
    assert len(display.lines_) == 4
    np.testing.assert_allclose(display.lines_[-1].get_ydata(), truth.values["a"][1, 1])
    assert display.lines_[-1].get_xdata()[-1] == 3.5
    labels = [text.get_text() for text in display.ax_.get_legend().get_texts()]
    assert labels == ["90 % band", "draws", "median", "truth", "observed"]


def test_an_unknown_channel_is_refused(hidden):
    with pytest.raises(ValueError, match="channel='other' is unknown; choose one of"):
        ImputationDisplay.from_estimator(Normal(), hidden, channel="other")
    with pytest.raises(ValueError, match=r"modality='b' is unknown; choose one of \['a'\]"):
        ImputationDisplay.from_estimator(Normal(), hidden, modality="b")
