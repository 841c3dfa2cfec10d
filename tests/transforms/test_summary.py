"""Statistics are those of numpy over what was observed."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.ensemble import ExtraTreesClassifier, HistGradientBoostingClassifier
from sklearn.model_selection import cross_val_score
from sklearn.pipeline import make_pipeline

from mts_fusion.panel import Panel
from mts_fusion.transforms import (
    MissingnessMasker,
    PanelSummarizer,
    SAXTokenizer,
    mask_panel,
)

BANDS = ["band1", "band2", "band3", "band4"]


def table(X, *statistics):
    return PanelSummarizer(statistics=statistics).fit_transform(X)


@given(
    hnp.arrays(
        np.float32,
        (3, 1, 7),
        elements=st.floats(-1e3, 1e3, width=32) | st.just(float("nan")),
    )
)
@settings(max_examples=60, deadline=None, derandomize=True)
def test_statistics_are_those_of_numpy(X):
    exact = X[:, 0].astype(np.float64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of silent samples
        wanted = np.stack(
            [
                np.nanmean(exact, 1),
                np.nanstd(exact, 1),
                np.nanmin(exact, 1),
                np.nanmax(exact, 1),
                *np.nanquantile(exact, [0.1, 0.5, 0.75], axis=1),
                np.nanmean(np.abs(np.diff(exact, axis=1)), 1),
                np.isfinite(exact).mean(1),
            ],
            axis=1,
        )

    names = ["mean", "sd", "min", "max", "q10", "q50", "q75", "mean_abs_diff", "observed_fraction"]
    np.testing.assert_allclose(table(X, *names), wanted, rtol=1e-6, atol=1e-4)


def test_first_and_last_are_of_observed_values():
    X = np.array([[np.nan, 5.0, 6.0, np.nan], [np.nan] * 4])

    np.testing.assert_array_equal(table(X, "first", "last"), [[5, 6], [np.nan, np.nan]])


@pytest.mark.parametrize("n_timepoints", [1, 2, 7, 64])
def test_bands_add_up_to_the_variance_whatever_the_gaps(n_timepoints):
    rng = np.random.default_rng(0)
    X = rng.normal(3, 2, size=(20, 1, n_timepoints))
    X[10:][rng.random((10, 1, n_timepoints)) < 0.4] = np.nan
    X[:, :, 0] = 1.0

    bands = table(X, *BANDS).sum(1)

    np.testing.assert_allclose(bands, np.nanvar(X[:, 0], axis=1), rtol=1e-5, atol=1e-10)


@pytest.mark.parametrize(("frequency", "band"), [(5, 0), (10, 1), (20, 2), (45, 3)])
def test_a_sine_falls_into_its_band(frequency, band):
    seconds = np.arange(200) / 100  # half the sampling rate is 50 Hz
    X = np.sin(2 * np.pi * frequency * seconds)[None]

    shares = table(X, *BANDS)[0] / 0.5

    np.testing.assert_allclose(shares, np.eye(4)[band], atol=1e-6)


def test_a_silent_sensor_is_nan_in_all_its_columns_and_no_other(panel):
    summarizer = PanelSummarizer().fit(panel)
    names = summarizer.get_feature_names_out()

    rows = summarizer.transform(panel)

    of_gyro = np.char.startswith(names.astype(str), "gyro__")
    assert np.isnan(rows[0, of_gyro]).all()
    assert np.isfinite(rows[0, ~of_gyro]).all()
    assert np.isfinite(rows[1]).all()


def test_columns_are_named_in_their_order(panel):
    summarizer = PanelSummarizer(statistics=("max", "q05")).fit(panel)

    names = summarizer.get_feature_names_out().tolist()
    rows = summarizer.transform(panel)

    assert names[:3] == ["acc__0__max", "acc__0__q05", "acc__1__max"]
    assert rows.shape == (12, len(names)) == (12, 2 * 6)
    np.testing.assert_allclose(
        rows[:, names.index("gyro__1__max")],
        [sample.max() for sample in panel.values["gyro"][:, 1]],
    )


def test_all_fourteen_by_default(panel):
    assert PanelSummarizer().fit_transform(panel).shape == (12, 14 * 6)


def test_of_irregular_clocks_also_when_something_was_observed(panel):
    times = np.cumsum(np.ones((12, 4)), axis=1)
    panel = Panel({"acc": panel.values["acc"], "temp": panel.values["temp"]}, times={"temp": times})
    summarizer = PanelSummarizer().fit(panel)
    assert len(summarizer.statistics_["acc"]) == 14
    assert len(summarizer.statistics_["temp"]) == 23
    assert summarizer.transform(panel).shape == (12, 14 * 3 + 23)
    assert summarizer.get_feature_names_out()[-1] == "temp__0__last_minus_first"


def test_output_as_a_frame(panel):
    frame = PanelSummarizer().set_output(transform="pandas").fit_transform(panel)

    assert frame.columns[0] == "acc__0__mean"


def test_tokens_are_summarised_by_their_centers(panel):
    tokenizer = SAXTokenizer(segment_length=1)
    tokens = tokenizer.fit_transform(panel)
    summarizer = PanelSummarizer(statistics=["mean"])

    means = summarizer.fit(tokens).transform(tokens)

    centers = np.array([np.nan, *tokenizer.vocabularies_["temp"].centers])
    wanted = centers[tokens.values["temp"][:, 0]].mean(1)
    np.testing.assert_allclose(means[:, -1], wanted, rtol=1e-5)


TIMING = ["count", "first_time", "last_time", "since_last", "slope", "last_minus_first"]


def test_timing_of_a_regular_clock_is_in_seconds_by_its_rate():
    X = Panel(
        {"a": [[[np.nan, 1.0, 2.0, 5.0]]], "b": [[[7.0, np.nan, np.nan]]]}, rates={"a": 2, "b": 1}
    )
    a, b = np.split(table(X, *TIMING)[0], 2)
    np.testing.assert_allclose(a, [3, 0.5, 1.5, 0, 4, 4])
    np.testing.assert_allclose(b, [1, 0, 0, 1.5, np.nan, 0])  # the sample ends with the last of a


def test_a_modality_without_a_clock_counts_timepoints_and_ends_by_itself():
    X = Panel({"a": [[[1.0, np.nan, 3.0]]], "b": [[[7.0]]]}, times={"a": [[0.0, 10.0, 60.0]]})
    a, b = np.split(table(X, *TIMING)[0], 2)
    np.testing.assert_allclose(a, [2, 0, 60, 0, 2 / 60, 2])
    np.testing.assert_allclose(b, [1, 0, 0, 0, np.nan, 0])


def test_a_silent_channel_has_a_count_of_zero_and_no_times():
    X = Panel({"a": np.array([[[1.0, 2.0], [np.nan, np.nan]]])}, times={"a": [[3.0, 4.0]]})
    rows = table(X, "observed_fraction", *TIMING)[0]
    np.testing.assert_array_equal(rows[7:], [0, 0] + [np.nan] * 5)


def test_observations_at_one_time_have_no_slope():
    X = Panel({"a": [[[1.0, 2.0]]]}, times={"a": [[3.0, 3.0]]})
    np.testing.assert_array_equal(table(X, "slope", "last_minus_first"), [[np.nan, 1.0]])


def test_the_slope_is_that_of_polyfit_also_late_on_the_clock():
    rng = np.random.default_rng(0)
    times = 1.7e9 + np.sort(rng.uniform(0, 4e5, size=(5, 30)), axis=1)
    values = rng.normal(100, 5, size=(5, 1, 30)).astype(np.float32)
    values[:, :, ::3] = np.nan
    slopes = table(Panel({"a": values}, times={"a": times}), "slope")[:, 0]
    observed = ~np.isnan(values[0, 0])
    wanted = [
        np.polyfit(t[observed] - t[0], x[0, observed].astype(np.float64), 1)[0]
        for t, x in zip(times, values, strict=True)
    ]
    np.testing.assert_allclose(slopes, wanted, rtol=1e-6)


IN_SECONDS = ["mean", "sd", "min", "max", "q50", "observed_fraction", "first", "last", *TIMING]


@st.composite
def observations(draw):
    """Hours and values of two channels of two modalities, of one patient."""
    hours = {name: draw(st.lists(st.integers(0, 99), unique=True, max_size=6)) for name in "ab"}
    number = st.floats(-100, 100, width=32)
    return {
        name: [(hour, draw(number), draw(number | st.just(np.nan))) for hour in sorted(of_name)]
        for name, of_name in hours.items()
    }


def laid_out(patient, empty, padding):
    """The same observations on a grid with rows in which nothing was observed, and padding."""
    values, times = {}, {}
    for name, rows in patient.items():
        taken = {row[0] for row in rows}
        rows = [*rows, *((hour, np.nan, np.nan) for hour in empty if hour not in taken)]
        rows = np.array(sorted(rows)).reshape(-1, 3)
        grid = np.full((len(rows) + padding, 3), np.nan)
        grid[: len(rows)] = rows
        times[name], values[name] = 3600 * grid[None, :, 0], grid[None, :, 1:].swapaxes(1, 2)
    return Panel(values, times=times)


@given(observations(), st.sets(st.integers(0, 120), max_size=5), st.integers(1, 4))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_a_patient_has_the_same_numbers_on_every_grid(patient, empty, padding):
    plain = table(laid_out(patient, (), 1), *IN_SECONDS)
    other = table(laid_out(patient, empty, padding), *IN_SECONDS)
    np.testing.assert_allclose(other, plain, rtol=1e-9, atol=1e-9)


@given(observations(), st.integers(1, 50))
@settings(max_examples=30, deadline=None, derandomize=True)
def test_a_clock_that_starts_earlier_moves_the_times_alone(patient, hours):
    later = {name: [(row[0] + hours, *row[1:]) for row in rows] for name, rows in patient.items()}
    names = [name for name in IN_SECONDS if name not in ("first_time", "last_time")]
    np.testing.assert_allclose(
        table(laid_out(later, (), 1), *names),
        table(laid_out(patient, (), 1), *names),
        rtol=1e-9,
        atol=1e-9,
    )
    shift = table(laid_out(later, (), 1), "first_time", "last_time")
    shift -= table(laid_out(patient, (), 1), "first_time", "last_time")
    assert set(shift[~np.isnan(shift)]) <= {3600.0 * hours}


@pytest.mark.parametrize(
    ("statistics", "message"),
    [
        (["median"], "Statistic 'median' is unknown; choose from mean, sd, min"),
        (["mean", "mean"], "statistics names each statistic once, at least one, got"),
        ([], "statistics names each statistic once, at least one, got"),
    ],
)
def test_unknown_statistics_are_refused(panel, statistics, message):
    with pytest.raises(ValueError, match=message):
        PanelSummarizer(statistics=statistics).fit(panel)


def sines(n=120):
    """Two classes that differ in frequency, seen by both sensors."""
    rng = np.random.default_rng(0)
    y = rng.permutation(np.arange(n) % 2)
    t = np.arange(40) / 40
    phase = rng.uniform(0, 6, size=(n, 1))
    wave = np.sin(2 * np.pi * (3 + 5 * y[:, None]) * t + phase)[:, None]
    panel = Panel({name: wave + rng.normal(0, 0.7, size=(n, 2, 40)) for name in ("a", "b")})
    return panel, np.where(y, "fast", "slow")


def test_trees_on_the_table_classify_with_and_without_sensors():
    X, y = sines()
    trees = ExtraTreesClassifier(n_estimators=30, random_state=0)
    boosting = HistGradientBoostingClassifier(max_iter=15, random_state=0)

    scores = [
        cross_val_score(make_pipeline(*steps), X, y, cv=3).mean()
        for steps in [
            (PanelSummarizer(), trees),
            (PanelSummarizer(), boosting),
            (MissingnessMasker(fraction=0.4, random_state=0), PanelSummarizer(), trees),
        ]
    ]
    silent = make_pipeline(PanelSummarizer(), trees).fit(X, y)

    assert min(scores) > 0.9
    assert silent.predict_proba(mask_panel(X[:3], fraction=1.0, keep=0)).shape == (3, 2)


@pytest.mark.parametrize("irregular", [False, True])
def test_a_longer_row_beside_it_changes_nothing(irregular):
    rng = np.random.default_rng(0)
    values = np.full((6, 2, 40), np.nan)
    for i, length in enumerate([10, 13, 20, 20, 25, 40]):
        values[i, :, :length] = rng.normal(size=(2, length))
    times = {"acc": np.tile(np.arange(40.0), (6, 1))} if irregular else None
    panel = Panel({"acc": values}, times=times)
    shorter = Panel({"acc": values[:5, :, :25]}, times=times and {"acc": times["acc"][:5, :25]})
    summarizer = PanelSummarizer().fit(
        Panel({"acc": values[:4, :, :20]}, times=times and {"acc": times["acc"][:4, :20]})
    )

    np.testing.assert_allclose(summarizer.transform(panel)[:5], summarizer.transform(shorter))


def test_a_short_window_is_one_of_which_the_end_is_missing():
    x = np.random.default_rng(0).normal(size=(4, 2, 20))
    summarizer = PanelSummarizer().fit(x)
    padded = np.where(np.arange(20) < 11, x, np.nan)

    np.testing.assert_array_equal(summarizer.transform(x[..., :11]), summarizer.transform(padded))
