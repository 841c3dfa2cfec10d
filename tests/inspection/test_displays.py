"""Displays: what they draw, and that they say what is missing."""

import re
import sys

import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

matplotlib = pytest.importorskip("matplotlib")
matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402

from mts_fusion.inspection import (  # noqa: E402
    AttentionMapDisplay,
    AttentionMaps,
    BudgetDisplay,
    DegradationDisplay,
    ExpertRoutingDisplay,
    ModalityImportanceDisplay,
    PanelDisplay,
    RecordingDisplay,
    ReliabilityDisplay,
    TrainingCurveDisplay,
    missingness_curve,
    modality_importance,
    modality_subsets,
)
from mts_fusion.panel import Panel  # noqa: E402


class Explains:
    def explain(self, X):
        n, n_modalities = X.shape
        rng = np.random.default_rng(0)
        modalities = np.repeat(np.arange(n_modalities), 3)
        tokens = rng.dirichlet(np.ones(len(modalities)), size=(n, len(modalities)))
        return {
            "budget": rng.uniform(0, 5, size=(n, n_modalities)) * X.available,
            "attention": rng.dirichlet(np.ones(n_modalities), size=(n, n_modalities)),
            "gate": rng.dirichlet(np.ones(4), size=(n, len(modalities))),
            "expert": rng.integers(4, size=(n, len(modalities), 1)),
            "modality": np.tile(modalities, (n, 1)),
            "available": X.available[:, modalities],
            "token_attention": tokens,
        }


@pytest.fixture(autouse=True)
def _close_figures():
    yield
    plt.close("all")


@pytest.fixture
def panel():
    values = {name: np.ones((6, 2, 4)) for name in ("chest_acc", "heart_rate", "skin_temperature")}
    values["heart_rate"][2] = np.nan
    return Panel(values)


def texts_of_legend(ax):
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_degradation_draws_mean_and_spread(classifier, data):
    display = DegradationDisplay.from_estimator(
        classifier, *data, fractions=[0, 0.5], n_repeats=3, scoring="f1_macro", verbose=0
    )
    score = display.curve["score"].to_numpy()
    np.testing.assert_allclose(display.line_.get_ydata(), [score[0], score[1:].mean()])
    assert display.band_ is not None
    assert display.ax_.get_ylabel() == "Macro-F1"
    assert display.ax_.get_xlabel() == "Modalities hidden (%)"
    assert texts_of_legend(display.ax_) == ["LogisticRegression", "± 1 sd of the 3 draws"]
    display.figure_.canvas.draw()
    assert [t.get_text() for t in display.ax_.get_xticklabels()] == ["0", "50"]


def test_degradation_draws_the_interval_of_groups(classifier, data):
    groups = np.arange(len(data[1])) // 9
    display = DegradationDisplay.from_estimator(
        classifier, *data, fractions=[0, 0.5], groups=groups, n_resamples=30, verbose=0
    )
    low = display.curve["low"].to_numpy()[[0, 1]]
    drawn = display.band_.get_paths()[0].vertices[:, 1]
    assert min(drawn) == pytest.approx(low.min())
    assert display.band_.get_label() == "95 % interval, groups resampled"


def test_a_second_curve_goes_into_the_same_axes_in_another_colour(classifier, data):
    curve = missingness_curve(classifier, *data, fractions=[0, 0.5], n_repeats=2, verbose=0)
    one = DegradationDisplay(curve, name="one").plot()
    two = DegradationDisplay(curve, name="two").plot(ax=one.ax_, ls="--")
    assert one.figure_ is two.figure_
    assert one.line_.get_color() != two.line_.get_color()
    assert two.line_.get_linestyle() == "--"


def test_degradation_over_subsets_goes_from_all_modalities_to_one(classifier, data):
    table = modality_subsets(classifier, *data, verbose=0)
    display = DegradationDisplay(table, name="model").plot()
    assert display.line_.get_xdata().tolist() == [1, 2, 3]
    np.testing.assert_allclose(display.line_.get_ydata()[0], table["score"][:3].mean())
    left, right = display.ax_.get_xlim()
    assert left > right
    assert display.ax_.get_xlabel() == "Modalities left (the others missing)"


def test_degradation_from_predictions_scores_each_repeat():
    y = np.array([0, 1, 0, 1])
    display = DegradationDisplay.from_predictions(
        y, {0.0: [y], 0.4: [y, 1 - y]}, metric=f1_score, name="model"
    )
    np.testing.assert_allclose(display.line_.get_ydata(), [1.0, 0.5])
    assert display.ax_.get_ylabel() == "F1"


def test_one_of_several_metrics_has_to_be_chosen(classifier, data):
    scoring = ["accuracy", "f1_macro"]
    curve = missingness_curve(classifier, *data, fractions=[0], scoring=scoring, verbose=0)
    with pytest.raises(ValueError, match=re.escape("Choose one: metric='accuracy'.")):
        DegradationDisplay(curve)
    with pytest.raises(ValueError, match="metric='r2' is not in the curve"):
        DegradationDisplay(curve, metric="r2")
    table = modality_importance(classifier, *data, scoring=scoring, verbose=0)
    with pytest.raises(ValueError, match=re.escape("Choose one: metric='accuracy'.")):
        ModalityImportanceDisplay(table)
    with pytest.raises(ValueError, match="metric='r2' is not in the table"):
        ModalityImportanceDisplay(table, metric="r2")
    label = ModalityImportanceDisplay(table, metric="f1_macro").plot().ax_.get_xlabel()
    assert label == "Fall in macro-F1 without the modality"


def test_reliability_shows_the_error_and_the_share_of_the_samples(classifier, data):
    display = ReliabilityDisplay.from_estimator(classifier, *data, n_bins=5, name="model")
    (error,) = display.errors.values()
    legend = ["calibrated", f"model (ECE {error:.3f})"]
    assert texts_of_legend(display.ax_) == legend
    assert display.bars_.get_data().values.sum() == pytest.approx(1)
    below = display.bars_.axes
    assert below.get_xlabel() == "Confidence: probability of the predicted class"
    assert display.ax_.get_xlabel() == ""
    second = ReliabilityDisplay.from_estimator(classifier, *data, ax=display.ax_)
    assert second.bars_.axes is below
    both = ReliabilityDisplay.from_estimator(classifier, *data, n_bins=5, ax=display.ax_)
    assert both.ax_ is display.ax_
    assert texts_of_legend(display.ax_).count("calibrated") == 1


def test_reliability_of_each_class_has_a_line_each(classifier, data):
    display = ReliabilityDisplay.from_estimator(classifier, *data, n_bins=4, kind="classwise")
    assert list(display.curves) == ["0", "1", "2"]
    assert len(display.lines_) == 3
    assert display.bars_ is None
    assert display.ax_.get_ylabel() == "Share in which the class is true"


@pytest.mark.parametrize("method", ["removal", "permutation", "shapley"])
def test_importance_is_sorted_and_has_errors_where_something_was_drawn(classifier, data, method):
    display = ModalityImportanceDisplay.from_estimator(
        classifier, *data, method=method, n_repeats=3, scoring="neg_log_loss", verbose=0
    )
    widths = [bar.get_width() for bar in display.bars_]
    assert widths == sorted(widths)
    assert (display.errors_ is not None) == (method == "permutation")
    assert display.ax_.get_yticklabels()[0].get_text() == "m2"


def test_a_bar_is_grey_where_the_interval_of_groups_has_zero_in_it():
    table = pd.DataFrame(
        {
            "modality": ["none", "helps", "harms", "unclear"],
            "method": "removal",
            "metric": "score",
            "importance": [0.0, 0.2, -0.2, -0.1],
            "standard_error": 0.0,
            "low": [-0.1, 0.1, -0.3, -0.3],
            "high": [0.1, 0.3, -0.1, 0.1],
        }
    )
    display = ModalityImportanceDisplay(table).plot()
    color = {
        label.get_text(): matplotlib.colors.to_hex(bar.get_facecolor())
        for label, bar in zip(display.ax_.get_yticklabels(), display.bars_, strict=True)
    }
    assert color["none"] == color["unclear"] == "#a8a8a8"
    assert len(set(color.values())) == 3
    assert texts_of_legend(display.ax_) == ["95 % interval, groups resampled"]


def test_budgets_get_a_box_where_available_and_where_silent(panel):
    display = BudgetDisplay.from_estimator(Explains(), panel)
    assert list(display.boxes_) == ["available", "silent"]
    assert texts_of_legend(display.ax_) == ["modality available", "modality silent"]
    assert list(BudgetDisplay.from_estimator(Explains(), panel[:2]).boxes_) == ["available"]


def test_a_budget_that_all_samples_have_is_a_bar():
    table = pd.DataFrame({"modality": ["a", "b"] * 3, "available": True, "budget": [3.0, 1.0] * 3})
    ax = BudgetDisplay(table).plot().ax_
    assert [bar.get_height() for bar in ax.containers[0]] == [3.0, 1.0]
    assert [text.get_text() for text in ax.texts] == ["3.0", "1.0"]


def test_attention_between_modalities_has_the_whole_scale_and_a_line_where_it_is_even(panel):
    display = AttentionMapDisplay.from_estimator(Explains(), panel)
    assert display.image_.get_clim() == (0.0, 1.0)
    (line,) = display.image_.colorbar.ax.lines[-1:]
    assert line.get_ydata()[0] == pytest.approx(1 / 3)


def test_a_panel_has_a_row_for_each_channel_and_its_gaps(panel):
    display = PanelDisplay(panel, sample=2).plot()
    assert {name: len(lines) for name, lines in display.lines_.items()} == dict.fromkeys(
        panel.schema.names, 2
    )
    assert len(display.gaps_) == 2  # the two channels of the silent heart rate
    silent = display.lines_["heart_rate"][0].get_ydata()
    assert np.isnan(silent).all()
    assert not PanelDisplay(panel, sample=0).plot().gaps_


def test_a_gap_of_a_stream_is_where_the_value_is_missing():
    values = np.arange(6.0)
    values[2:4] = np.nan
    display = PanelDisplay(Panel({"a": values[None, None]}, rates={"a": 2.0})).plot()
    (gap,) = display.gaps_
    x = gap.get_paths()[0].vertices[:, 0]
    assert (x.min(), x.max()) == (0.75, 1.75)  # 1 s and 1.5 s, and half a step at both sides
    assert display.ax_.get_xlabel() == "Time (s)"


@pytest.mark.parametrize(
    ("seconds", "unit", "ticks"),
    [
        (100, "s", None),
        (600, "min", [0, 2, 4, 6, 8, 10]),
        (86_400, "h", [0, 3, 6, 9, 12, 15, 18, 21, 24]),
        (7 * 86_400, "d", [0, 1, 2, 3, 4, 5, 6, 7]),
    ],
)
def test_a_long_axis_of_time_is_in_the_unit_of_its_span(seconds, unit, ticks):
    clock = np.array([[0.0, seconds]])
    display = PanelDisplay(Panel({"lab": np.ones((1, 1, 2))}, times={"lab": clock})).plot()
    display.figure_.draw_without_rendering()
    assert display.ax_.get_xlabel() == f"Time ({unit})"
    if ticks is not None:
        labels = [label.get_text() for label in display.ax_.get_xticklabels()]
        assert labels[1:-1] == [str(tick) for tick in ticks]  # those outside are not shown


def test_irregular_times_are_points_at_their_times():
    clock = np.array([[0.5, 3.0, np.nan]])
    irregular = Panel({"lab": np.array([[[7.3, 7.4, np.nan]]])}, times={"lab": clock})
    (line,) = PanelDisplay(irregular).plot().lines_["lab"]
    assert line.get_xdata().tolist() == [0.5, 3.0]
    assert line.get_linestyle() == "None"


def test_a_training_curve_has_the_losses_of_each_network():
    history = [
        [{"train_loss": 2.0, "valid_loss": 2.5}, {"train_loss": 1.0, "valid_loss": 1.5}],
        [{"train_loss": 3.0}],
    ]
    display = TrainingCurveDisplay(history).plot()
    drawn = [line.get_ydata().tolist() for line in display.lines_]
    assert drawn == [[2.0, 1.0], [2.5, 1.5], [3.0]]
    assert texts_of_legend(display.ax_) == [
        "network 1, training",
        "network 1, held out",
        "network 2, training",
    ]
    with pytest.raises(TypeError, match="estimator is fitted and has networks"):
        TrainingCurveDisplay.from_estimator(object())


def test_a_recording_shows_probabilities_and_the_sensors_that_work(classifier, data):
    X, y = data
    dead = X[:10].replace(values={"m0": np.full_like(X.values["m0"][:10], np.nan)})
    windows = X[:10].concat(dead)
    display = RecordingDisplay.from_estimator(classifier, windows, y=y[[*range(10)] * 2])
    assert len(display.areas_) == len(classifier.classes_)
    np.testing.assert_allclose(display.y_proba, classifier.predict_proba(windows))
    works = display.image_.get_array()
    assert works[0].tolist() == [1.0] * 10 + [0.0] * 10
    assert works[1:].min() == 1.0
    below = display.image_.axes
    extent = below.xaxis.label.get_window_extent()
    assert extent.y0 >= 0  # inside the figure
    with pytest.raises(ValueError, match=re.escape("seconds has shape (3,)")):
        RecordingDisplay.from_estimator(classifier, windows, seconds=[1, 2, 3])


def test_attention_is_the_mean_over_samples_with_the_modality(panel):
    display = AttentionMapDisplay.from_estimator(Explains(), panel)
    wanted = np.delete(display.maps.attention[:, 1], 2, axis=0).mean(axis=0)
    np.testing.assert_allclose(display.image_.get_array()[1], wanted)
    assert len(display.ax_.texts) == 9
    one = AttentionMapDisplay.from_estimator(Explains(), panel, sample=2)
    assert one.image_.get_array().mask[1].all()
    assert one.ax_.texts[3].get_text() == "–"


def test_attention_between_tokens_names_their_modalities(panel):
    display = AttentionMapDisplay.from_estimator(Explains(), panel, level="token")
    labels = [text.get_text() for text in display.ax_.get_yticklabels()]
    assert labels == list(panel.schema.names)
    assert display.ax_.get_yticks().tolist() == [1, 4, 7]
    assert len(display.ax_.texts) == 0


def test_attention_over_time_is_labelled():
    maps = AttentionMaps(np.full((1, 3, 8), 1 / 8), ("reference",) * 3, ("vitals",) * 8)
    ax = AttentionMapDisplay(maps).plot().ax_
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("Timepoint of vitals", "Reference time")


def test_a_sample_that_is_not_there_is_refused(panel):
    with pytest.raises(ValueError, match=re.escape("sample=6 is not in [0, 5]")):
        AttentionMapDisplay.from_estimator(Explains(), panel, sample=6)


def test_expert_shares_of_a_modality_sum_to_one(panel):
    display = ExpertRoutingDisplay.from_estimator(Explains(), panel)
    np.testing.assert_allclose(display.image_.get_array().sum(axis=1), 1)
    assert [text.get_text() for text in display.ax_.get_xticklabels()] == ["0", "1", "2", "3"]


def test_without_matplotlib_the_extra_is_named(panel, classifier, data, monkeypatch):
    curve = missingness_curve(classifier, *data, fractions=[0], verbose=0)
    importance = modality_importance(classifier, *data, verbose=0)
    monkeypatch.setitem(sys.modules, "matplotlib.pyplot", None)
    calls = {
        "DegradationDisplay": lambda: DegradationDisplay(curve).plot(),
        "ReliabilityDisplay": lambda: ReliabilityDisplay.from_estimator(
            classifier, *data, n_bins=3
        ),
        "ModalityImportanceDisplay": lambda: ModalityImportanceDisplay(importance).plot(),
        "BudgetDisplay": lambda: BudgetDisplay.from_estimator(Explains(), panel),
        "AttentionMapDisplay": lambda: AttentionMapDisplay.from_estimator(Explains(), panel),
        "ExpertRoutingDisplay": lambda: ExpertRoutingDisplay.from_estimator(Explains(), panel),
    }
    for name, call in calls.items():
        message = f"{name}.plot requires matplotlib: pip install 'mts-fusion[plot]'."
        with pytest.raises(ImportError, match=f"^{re.escape(message)}$"):
            call()
