"""Symbols are those of the literature on clean data, and sensible where data are missing."""

import json
import runpy
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from sklearn.model_selection import ParameterGrid

from mts_fusion.panel import Panel
from mts_fusion.transforms import SAXTokenizer

REFERENCE = Path(__file__).parents[1] / "reference"
ORACLES = json.loads((REFERENCE / "sax.json").read_text())
NAN = np.nan


def tokens_of(X, **parameters):
    return SAXTokenizer(**parameters).fit_transform(X).values["series"]


# Against other libraries


@pytest.mark.parametrize("case", ORACLES["cases"])
@pytest.mark.parametrize("library", ["aeon", "tslearn", "pyts"])
def test_symbols_on_clean_data_are_those_of(library, case):
    ours = tokens_of(
        np.array(ORACLES["series"]),
        alphabet_size=case["alphabet_size"],
        segment_length=case["segment_length"],
        scope="instance",
    )

    np.testing.assert_array_equal(ours[:, 0] - 1, case[library])  # theirs start at 0


@pytest.mark.parametrize("case", ORACLES["cases"])
def test_mindist_on_clean_data_is_that_of_tslearn(case):
    X = np.array(ORACLES["series"])
    tokenizer = SAXTokenizer(
        alphabet_size=case["alphabet_size"],
        segment_length=case["segment_length"],
        scope="instance",
    ).fit(X)

    np.testing.assert_allclose(tokenizer.mindist(X, X), case["mindist_tslearn"], atol=1e-12)


@pytest.mark.parametrize("library", ["aeon", "tslearn", "pyts"])
def test_symbols_are_those_of_an_installed(library):
    pytest.importorskip(library)
    theirs = runpy.run_path(str(REFERENCE / "make_sax.py"))[f"by_{library}"]
    walks = np.random.default_rng(11).normal(size=(50, 60)).cumsum(1).astype(np.float32)
    normal = walks.astype(np.float64)
    normal = (normal - normal.mean(1, keepdims=True)) / normal.std(1, keepdims=True)

    ours = tokens_of(walks, alphabet_size=12, segment_length=4, scope="instance")[:, 0]

    wanted = theirs(normal, 12, 4 if library == "pyts" else 15)
    np.testing.assert_array_equal(ours - 1, wanted)


# Lower bounds

SERIES = hnp.arrays(
    np.float32,
    (4, 2, 12),
    elements=st.floats(-1e3, 1e3, width=32).map(lambda x: round(x, 2)),
)
SETTINGS = st.sampled_from(
    list(
        ParameterGrid(
            {
                "alphabet_size": [2, 3, 20, 200],
                "segment_length": [1, 2, 5, 8, 12],
                "scope": ["dataset", "instance"],
                "breakpoints": ["gaussian", "quantile"],
            }
        )
    )
)


def normalised(tokenizer, X):
    """Series in the units in which the tokenizer compares them, in double precision."""
    X = X.astype(np.float64)
    if tokenizer.scope == "dataset":
        center = tokenizer.center_["series"][:, None]
        return (X - center) / tokenizer.scale_["series"][:, None]
    sd = X.std(2, keepdims=True)
    return (X - X.mean(2, keepdims=True)) / np.where(sd > 1e-5, sd, 1)


def distances(X):
    return np.sqrt(np.nansum((X[:, None] - X[None]) ** 2, axis=(2, 3)))


@given(SERIES, SETTINGS)
@settings(max_examples=100, deadline=None, derandomize=True)
def test_mindist_is_a_lower_bound(X, parameters):
    tokenizer = SAXTokenizer(**parameters).fit(X)

    bound = tokenizer.mindist(X, X)

    assert (bound <= distances(normalised(tokenizer, X)) * (1 + 1e-6) + 1e-4).all()
    np.testing.assert_allclose(bound, bound.T, rtol=1e-12)


@given(SERIES, hnp.arrays(np.bool_, (4, 2, 12)), st.sampled_from([1, 2, 3, 5]))
@settings(max_examples=100, deadline=None, derandomize=True)
def test_mindist_is_a_lower_bound_over_what_both_observed(X, hidden, segment_length):
    X = np.where(hidden, NAN, X).astype(np.float32)
    tokenizer = SAXTokenizer(segment_length=segment_length, min_observed=1).fit(X)

    bound = tokenizer.mindist(X, X)

    assert (bound <= distances(normalised(tokenizer, X)) * (1 + 1e-6) + 1e-4).all()


@given(SERIES, SERIES, st.sampled_from([2, 5, 20]))
@settings(max_examples=25, deadline=None, derandomize=True)
def test_differences_between_modalities_are_kept_up_to_the_sum_of_errors(acc, gyro, alphabet_size):
    panel = Panel({"acc": acc, "gyro": gyro})
    tokenizer = SAXTokenizer(alphabet_size=alphabet_size).fit(panel)
    exact, bound, error = {}, {}, {}
    for name in panel.schema.names:
        center = tokenizer.center_[name][:, None]
        X = panel.values[name].astype(np.float64)
        exact[name] = distances((X - center) / tokenizer.scale_[name][:, None])
        bound[name] = tokenizer.mindist(panel, panel, modality=name)
        error[name] = np.abs(exact[name] - bound[name]).max()

    difference = (exact["acc"] - exact["gyro"]) - (bound["acc"] - bound["gyro"])

    assert np.abs(difference).max() <= error["acc"] + error["gyro"] + 1e-9


def test_mindist_over_all_modalities_adds_their_squares(panel):
    tokenizer = SAXTokenizer().fit(panel)

    each = [tokenizer.mindist(panel, panel[:3], modality=name) for name in panel.schema.names]

    expected = np.sqrt(sum(distance**2 for distance in each))
    np.testing.assert_allclose(tokenizer.mindist(panel, panel[:3]), expected)


def test_mindist_takes_tokens_as_well_as_numbers(panel):
    tokenizer = SAXTokenizer().fit(panel)
    tokens = tokenizer.transform(panel)

    of_numbers, of_tokens = tokenizer.mindist(panel, panel), tokenizer.mindist(tokens, panel)

    np.testing.assert_array_equal(of_numbers, of_tokens)


def test_mindist_wants_equal_numbers_of_segments(panel):
    tokenizer = SAXTokenizer().fit(panel)
    longer = panel.replace(values={"temp": np.zeros((12, 1, 8))})

    with pytest.raises(ValueError, match="Modality 'temp' has 2 segments in A and 4 in B"):
        tokenizer.mindist(panel, longer)


def test_mindist_takes_irregular_panels_of_other_lengths():
    clock = np.arange(6.0)[None].repeat(2, 0)
    whole = Panel(
        {"hr": [[[-1.0, -1, 1, 1, -1, -1]], [[1.0, 1, -1, -1, 1, 1]]]}, times={"hr": clock}
    )
    tokenizer = SAXTokenizer(alphabet_size=4).fit(whole)
    values = whole.values["hr"].copy()
    values[:, :, 4:] = np.nan
    missing = whole.replace(values={"hr": values})
    shorter = Panel({"hr": values[:, :, :4]}, times={"hr": clock[:, :4]})

    expected = tokenizer.mindist(whole, shorter)
    assert expected[0, 1] > expected[0, 0] == 0
    np.testing.assert_array_equal(tokenizer.mindist(whole, missing), expected)
    np.testing.assert_array_equal(tokenizer.mindist(shorter, whole), expected.T)


def test_symbols_of_an_irregular_clock_are_of_what_was_observed():
    values = [[[np.nan, np.nan, 1.0, np.nan, 1.0, np.nan]], [[np.nan] * 5 + [-1.0]]]
    X = Panel({"hr": values}, times={"hr": np.arange(6.0)[None].repeat(2, 0)})
    tokens = SAXTokenizer(alphabet_size=2).fit_transform(X)
    np.testing.assert_array_equal(tokens.values["hr"], [[[2]], [[1]]])
    np.testing.assert_array_equal(tokens.times["hr"], [[3.0], [5.0]])


# Missing values


def test_segments_observed_too_little_are_symbol_zero():
    X = np.array([[1.0, NAN, NAN, NAN, 2.0, 3.0, 3.0, NAN]])

    halves = tokens_of(X, segment_length=4, min_observed=0.5)
    whole = tokens_of(X, segment_length=4, min_observed=1)
    any_one = tokens_of(X, segment_length=4, min_observed=0.01)

    assert (halves > 0).tolist() == [[[False, True]]]
    assert (whole > 0).tolist() == [[[False, False]]]
    assert (any_one > 0).tolist() == [[[True, True]]]


def test_half_of_five_timepoints_are_three():
    X = np.array([[1.0, 2.0, NAN, NAN, NAN, 2.0, 3.0, 3.0, NAN, NAN]])

    tokens = tokens_of(X, segment_length=5, min_observed=0.5)

    assert (tokens > 0).tolist() == [[[False, True]]]


def test_average_is_over_what_was_observed():
    X = np.array([[-1.0, -1.0, 3.0, NAN, 1.0, 1.0]])
    tokenizer = SAXTokenizer(alphabet_size=200, breakpoints="quantile").fit(X)

    means = tokenizer.inverse_transform(tokenizer.transform(X)).values["series"]

    np.testing.assert_allclose(means, [[[-1, 3, 1]]], atol=1e-5)


@given(SERIES, hnp.arrays(np.bool_, (4, 2, 12)), SETTINGS)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_longer_padding_adds_missing_symbols_only(X, hidden, parameters):
    X = np.where(hidden, NAN, X).astype(np.float32)
    padded = np.pad(X, [(0, 0), (0, 0), (0, 7)], constant_values=NAN)
    tokenizer = SAXTokenizer(**parameters).fit(X)

    short = tokenizer.transform(X).values["series"]
    long = tokenizer.transform(padded).values["series"]

    np.testing.assert_array_equal(long[..., : short.shape[2]], short)
    assert (long[..., short.shape[2] :] == 0).all()


@given(SERIES, SETTINGS)
@settings(max_examples=50, deadline=None, derandomize=True)
def test_one_missing_value_changes_no_other_segment(X, parameters):
    if parameters["scope"] == "instance":
        return  # there each value is part of what normalises the others
    holed = X.copy()
    holed[:, 0, 3] = NAN
    tokenizer = SAXTokenizer(**parameters).fit(X)

    before, after = (tokenizer.transform(x).values["series"] for x in (X, holed))

    hit = 3 // parameters["segment_length"]
    np.testing.assert_array_equal(np.delete(before, hit, 2), np.delete(after, hit, 2))
    np.testing.assert_array_equal(before[:, 1], after[:, 1])


@pytest.mark.parametrize("scope", ["dataset", "instance"])
@pytest.mark.parametrize("breakpoints", ["gaussian", "quantile"])
def test_silent_channel_is_all_zeros_and_constant_channel_one_symbol(scope, breakpoints):
    X = np.zeros((5, 3, 8))
    X[:, 0] = NAN
    X[:, 1] = 1e4 + 0.1
    X[:, 2] = np.random.default_rng(0).normal(size=(5, 8))

    tokens = tokens_of(X, scope=scope, breakpoints=breakpoints)

    assert (tokens[:, 0] == 0).all()
    assert len(np.unique(tokens[:, 1])) == 1
    assert tokens[0, 1, 0] > 0
    assert len(np.unique(tokens[:, 2])) > 1


def test_everything_missing_is_all_zeros():
    for breakpoints in ("gaussian", "quantile"):
        assert (tokens_of(np.full((2, 1, 4), NAN), breakpoints=breakpoints) == 0).all()


def test_rest_too_short_for_a_symbol_is_left_out():
    X = np.arange(9.0).reshape(1, 9)

    assert tokens_of(X, segment_length=4).shape == (1, 1, 2)
    assert tokens_of(X, segment_length=4, min_observed=0.25).shape == (1, 1, 3)


# What the symbols mean


def test_symbols_are_ordered_by_height():
    X = np.sort(np.random.default_rng(0).normal(size=(1, 1, 400)))

    for parameters in ParameterGrid(
        {"breakpoints": ["gaussian", "quantile"], "scope": ["dataset", "instance"]}
    ):
        tokens = tokens_of(X, alphabet_size=20, **parameters)[0, 0]
        assert (np.diff(tokens) >= 0).all()
        assert (tokens[0], tokens[-1]) == (1, 20)


def test_counting_and_searching_bounds_agree():
    X = np.random.default_rng(0).normal(size=(3, 1, 400))

    fine = tokens_of(X, alphabet_size=200)  # searched
    coarse = tokens_of(X, alphabet_size=20)  # counted

    np.testing.assert_array_equal((fine - 1) // 10, coarse - 1)


def test_quantile_symbols_are_equally_frequent():
    X = np.random.default_rng(0).exponential(size=(50, 1, 80))

    counts = np.bincount(tokens_of(X, alphabet_size=10, breakpoints="quantile").ravel())

    assert counts.tolist() == [0] + [200] * 10


def test_gaussian_symbols_are_equally_likely():
    X = np.random.default_rng(0).normal(size=(100, 1, 1000))

    counts = np.bincount(tokens_of(X, alphabet_size=8, segment_length=1).ravel())

    np.testing.assert_allclose(counts[1:], 12500, rtol=0.03)


def test_dataset_scope_keeps_the_level_and_instance_scope_does_not():
    X = np.random.default_rng(0).normal(size=(2, 1, 40))
    X[1] = X[0] + 10

    kept, erased = tokens_of(X, scope="dataset"), tokens_of(X, scope="instance")

    assert (kept[0] < kept[1]).all()
    np.testing.assert_array_equal(erased[0], erased[1])


def test_inverse_transform_comes_close_and_is_missing_where_tokens_are(panel):
    tokenizer = SAXTokenizer(alphabet_size=100, segment_length=1).fit(panel)

    back = tokenizer.inverse_transform(tokenizer.transform(panel))

    for name in panel.schema.names:
        np.testing.assert_array_equal(back.observed[name], panel.observed[name])
        error = (back.values[name] - panel.values[name])[panel.observed[name]]
        assert np.sqrt((error**2).mean()) < 0.1 * np.nanstd(panel.values[name])


def test_vocabulary_rate_and_times_travel_in_the_panel():
    times = np.array([[0.0, 1.0, 4.0, 8.0, 9.0, NAN]])
    values = {"lab": np.array([[[1.0, 2, 3, 4, 5, NAN]]]), "acc": np.arange(12.0).reshape(1, 2, 6)}
    panel = Panel(values, times={"lab": times}, rates={"acc": 50.0})

    tokens = SAXTokenizer(alphabet_size=5, segment_length={"lab": 2, "acc": 3}).fit_transform(panel)

    np.testing.assert_array_equal(tokens.times["lab"], [[0.5, 6, 9]])
    assert tokens.schema["acc"].rate == pytest.approx(50 / 3)
    assert tokens.values["acc"].shape == (1, 2, 2)
    assert tokens.schema["lab"].vocabulary.size == 5
    assert len(tokens.schema["lab"].vocabulary.breakpoints) == 4
    assert len(tokens.schema["lab"].vocabulary.centers) == 5


def test_parameters_by_modality(panel):
    tokens = SAXTokenizer(
        alphabet_size={"acc": 50, "gyro": 4, "temp": 3},
        segment_length={"acc": 10, "gyro": 5, "temp": 1},
    ).fit_transform(panel)

    assert [m.vocabulary.size for m in tokens.schema] == [50, 4, 3]
    assert [m.n_timepoints for m in tokens.schema] == [2, 2, 4]


# Errors


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"segment_length": 5},
            "Modality 'temp' has 4 timepoints, fewer than segment_length=5. Give it at most 4 by "
            "a dict, segment_length={'temp': 4, ...}, or give longer windows.",
        ),
        (
            {"segment_length": {"acc": 2}},
            "segment_length has no value for ['gyro', 'temp']. Name every modality of "
            "['acc', 'gyro', 'temp'], or give one value for all.",
        ),
        (
            {"alphabet_size": {"acc": 2, "gyro": 2, "temp": 2, "ecg": 2}},
            "alphabet_size names ['ecg'], but the modalities are ['acc', 'gyro', 'temp']. Remove "
            "them from the dict.",
        ),
        (
            {"alphabet_size": 1},
            "alphabet_size is an integer from 2 to 32767, got 1 for modality 'acc'.",
        ),
        (
            {"segment_length": "two"},
            "segment_length is an integer of at least 1, got 'two' for modality 'acc'.",
        ),
        (
            {"segment_length": 0.5},
            "segment_length is an integer of at least 1, got 0.5 for modality 'acc'.",
        ),
        ({"scope": "window"}, "scope is 'dataset' or 'instance', got 'window'."),
        ({"breakpoints": "even"}, "breakpoints is 'gaussian' or 'quantile', got 'even'."),
        ({"min_observed": 0}, "min_observed is above 0 and at most 1, got 0."),
    ],
)
def test_parameters_out_of_range_are_refused(panel, parameters, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        SAXTokenizer(**parameters).fit(panel)

    assert str(error.value) == message


def test_windows_shorter_than_a_segment_are_refused_in_transform_too(panel):
    tokenizer = SAXTokenizer(segment_length=4).fit(panel)
    short = panel.replace(values={"temp": np.zeros((12, 1, 3))})

    with pytest.raises(ValueError, match="Modality 'temp' has 3 timepoints, fewer than"):
        tokenizer.transform(short)


def test_a_modality_of_one_timepoint_has_symbols_of_one():
    rng = np.random.default_rng(0)
    both = {"acc": rng.normal(size=(20, 2, 8)), "age": rng.normal(size=(20, 1, 1))}
    by_dict = SAXTokenizer(segment_length={"acc": 4, "age": 1}).fit_transform(both)

    tokens = SAXTokenizer(segment_length=4).fit_transform(both)

    for name, expected in by_dict.values.items():
        np.testing.assert_array_equal(tokens.values[name], expected)
    with pytest.raises(ValueError, match="Modality 'age' has 1 timepoints, fewer than"):
        SAXTokenizer(segment_length={"acc": 4, "age": 4}).fit(both)


def test_tokens_are_not_tokenised_again(panel):
    tokens = SAXTokenizer().fit_transform(panel)

    with pytest.raises(ValueError, match="Modality 'acc' holds tokens already"):
        SAXTokenizer().fit(tokens)


def test_inverse_transform_of_numbers_is_refused(panel):
    tokenizer = SAXTokenizer(segment_length=1).fit(panel)

    with pytest.raises(ValueError, match="Modality 'acc' came with numbers, but a vocabulary"):
        tokenizer.inverse_transform(panel)
