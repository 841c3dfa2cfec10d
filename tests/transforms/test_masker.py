"""What is hidden is what the parameters promise, and the same each time."""

import numpy as np
import pytest

from mts_fusion.panel import Panel
from mts_fusion.transforms import MissingnessMasker, SAXTokenizer, mask_panel

NAMES = ("a", "b", "c")
PATTERNS = ("modality", "block", "span", "point")


@pytest.fixture(scope="module")
def many():
    """2,000 complete samples of three modalities of different lengths."""
    rng = np.random.default_rng(0)
    lengths = {"a": 10, "b": 20, "c": 5}
    return Panel({name: rng.normal(size=(2000, 2, lengths[name])) for name in NAMES})


def hidden_in(panel, masked):
    """What was observed before and is not now, by modality."""
    return {name: panel.observed[name] & ~masked.observed[name] for name in panel.schema.names}


def correlation_of_failures(panel, **parameters):
    return np.corrcoef(mask_panel(panel, **parameters).available[:, :2].T)[0, 1]


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("fraction", [0.0, 0.2, 0.6])
def test_the_share_asked_for_is_hidden(many, pattern, fraction):
    masked = mask_panel(many, pattern=pattern, fraction=fraction, keep=0)

    for name, hidden in hidden_in(many, masked).items():
        assert hidden.mean() == pytest.approx(fraction, abs=0.03), name


@pytest.mark.parametrize("pattern", PATTERNS)
def test_each_modality_has_its_own_fraction(many, pattern):
    shares = {"a": 0.0, "b": 0.5, "c": 0.8}

    masked = mask_panel(many, pattern=pattern, fraction=shares, keep=0)

    for name, hidden in hidden_in(many, masked).items():
        assert hidden.mean() == pytest.approx(shares[name], abs=0.03)


def test_a_modality_is_hidden_whole_or_not_at_all(many):
    for hidden in hidden_in(many, mask_panel(many, fraction=0.5)).values():
        assert (hidden.any((1, 2)) == hidden.all((1, 2))).all()


def test_a_block_is_one_stretch_of_all_channels(many):
    hidden = hidden_in(many, mask_panel(many, pattern="block", fraction=0.4))["b"]

    assert (hidden[:, 0] == hidden[:, 1]).all()
    assert (hidden[:, 0].sum(1) == 8).all()
    assert (np.abs(np.diff(hidden[:, 0].astype(int), axis=1)).sum(1) <= 2).all()
    assert (hidden.mean((0, 1)) > 0).all()  # it may lie anywhere, both ends too


def test_a_span_is_one_stretch_a_channel(many):
    hidden = hidden_in(many, mask_panel(many, pattern="span", fraction=0.4))["b"]

    assert (hidden[:, 0] != hidden[:, 1]).any()
    assert (hidden.sum(2) == 8).all()
    assert (np.abs(np.diff(hidden.astype(int), axis=2)).sum(2) <= 2).all()


@pytest.mark.parametrize(("place", "where"), [("start", slice(0, 5)), ("end", slice(15, 20))])
def test_a_block_may_lie_at_the_start_or_the_end(many, place, where):
    masked = mask_panel(many, pattern="block", fraction=0.25, place=place)

    hidden = hidden_in(many, masked)["b"]
    assert hidden[..., where].all()
    assert hidden.sum() == hidden[..., where].size


@pytest.mark.parametrize("pattern", PATTERNS)
@pytest.mark.parametrize("keep", [0, 1, 2])
@pytest.mark.parametrize("fraction", [0.5, 0.9, 1.0])
def test_as_many_modalities_are_kept_as_promised(many, pattern, keep, fraction):
    few = mask_panel(many[:300], fraction=0.5, keep=0, seed=1)  # some had fewer to begin with

    masked = mask_panel(few, pattern=pattern, fraction=fraction, keep=keep)

    had, left = few.available.sum(1), masked.available.sum(1)
    assert (left >= np.minimum(keep, had)).all()
    if fraction == 1.0:
        np.testing.assert_array_equal(left, np.minimum(keep, had))


def test_a_modality_that_always_fails_stays_hidden_while_another_can_be_kept(many):
    masked = mask_panel(many, fraction={"a": 1.0, "b": 0.5, "c": 0.5})

    assert not masked.available[:, 0].any()
    assert masked.available.any(1).all()


def test_failures_correlate_as_asked(many):
    parameters = {"fraction": 0.5, "keep": 0}

    none, some, all_ = (
        correlation_of_failures(many, correlation=rho, **parameters) for rho in (0.0, 0.7, 1.0)
    )

    assert none == pytest.approx(0, abs=0.06)
    assert some == pytest.approx(2 / np.pi * np.arcsin(0.7), abs=0.06)  # of the normal copula
    assert all_ == pytest.approx(1)


def test_correlation_leaves_each_modality_its_own_probability(many):
    shares = {"a": 0.1, "b": 0.5, "c": 0.8}

    masked = mask_panel(many, fraction=shares, keep=0, correlation=0.8)

    np.testing.assert_allclose(1 - masked.available.mean(0), [0.1, 0.5, 0.8], atol=0.03)


def test_modalities_of_a_group_fail_together(many):
    masked = mask_panel(many, fraction=0.4, groups=[["a", "c"]], keep=0)

    assert (masked.available[:, 0] == masked.available[:, 2]).all()
    assert np.corrcoef(masked.available[:, :2].T)[0, 1] == pytest.approx(0, abs=0.06)


@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_sample_loses_the_same_wherever_it_stands(many, pattern):
    masker = MissingnessMasker(pattern=pattern, random_state=0).fit(many)
    order = np.random.default_rng(1).permutation(50)

    together, shuffled = masker.transform(many[:50]), masker.transform(many[order])

    for name in NAMES:
        np.testing.assert_array_equal(together.values[name][order], shuffled.values[name])


@pytest.mark.parametrize("pattern", PATTERNS)
def test_longer_padding_changes_nothing(many, pattern):
    short = many[:200]
    padded = short.replace(
        values={
            name: np.pad(short.values[name], [(0, 0), (0, 0), (0, 6)], constant_values=np.nan)
            for name in NAMES
        }
    )

    first, second = (mask_panel(p, pattern=pattern, fraction=0.5) for p in (short, padded))

    for name in NAMES:
        length = short.values[name].shape[2]
        np.testing.assert_array_equal(first.values[name], second.values[name][..., :length])


def test_another_seed_hides_something_else(many):
    first, again, second = (mask_panel(many, seed=seed) for seed in (0, 0, 1))

    assert (first.available == again.available).all()
    assert (first.available != second.available).any()


def test_draws_are_uniform_and_independent_over_samples_and_seeds(many):
    available = np.stack(
        [mask_panel(many, fraction=0.5, keep=0, seed=seed).available[:, 0] for seed in range(40)]
    ).astype(float)

    correlations = np.corrcoef(available)[np.triu_indices(40, 1)]
    assert available.mean() == pytest.approx(0.5, abs=0.01)
    assert np.abs(correlations).max() < 5 / np.sqrt(2000)
    assert np.var(available.mean(0)) == pytest.approx(0.25 / 40, rel=0.15)


def test_samples_that_differ_in_one_value_draw_apart():
    X = np.zeros((4000, 1, 8))
    X[:, 0, 0] = np.arange(4000)

    available = mask_panel(Panel({"a": X, "b": X + 0}), fraction=0.5, keep=0).available

    assert available.mean(0) == pytest.approx([0.5, 0.5], abs=0.04)
    assert np.corrcoef(available.T)[0, 1] == pytest.approx(0, abs=0.08)
    assert np.corrcoef(available[1:, 0], available[:-1, 0])[0, 1] == pytest.approx(0, abs=0.08)


def test_tokens_become_the_missing_one(many):
    tokens = SAXTokenizer(segment_length=1).fit_transform(many[:50])

    masked = mask_panel(tokens, fraction=0.5)

    assert (masked.values["a"][~masked.available[:, 0]] == 0).all()
    assert masked.values["a"].dtype == np.int16
    assert masked.schema == tokens.schema


def test_filled_values_are_hidden_too():
    observed = np.array([[[True, False, True, False]]])
    panel = Panel({"a": np.ones((1, 1, 4))}, observed={"a": observed})

    masked = mask_panel(panel, fraction=1.0, keep=0)

    assert np.isnan(masked.values["a"]).all()
    assert not masked.observed["a"].any()


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        (
            {"pattern": "row"},
            "pattern is one of 'modality', 'block', 'span', 'point', got 'row'.",
        ),
        ({"fraction": 1.5}, "fraction is a number in [0, 1], got 1.5 for modality 'a'."),
        (
            {"fraction": {"a": 0.5}},
            "fraction has no value for ['b', 'c']. Name every modality of ['a', 'b', 'c'], or give "
            "one value for all.",
        ),
        ({"keep": -1}, "keep is a number of modalities, 0 or more, got -1."),
        ({"correlation": 2}, "correlation is a number in [0, 1], got 2."),
        (
            {"pattern": "point", "correlation": 0.5},
            "correlation and groups tie modalities together; pattern='point' draws for each "
            "channel by itself. Use pattern='modality' or 'block', or leave them out.",
        ),
        (
            {"place": "end"},
            "place='end' is where a stretch of time lies; pattern='modality' hides none. Use "
            "pattern='block' or 'span', or leave it out.",
        ),
        (
            {"groups": [["a", "b"], ["b", "d"]]},
            "groups names each modality of ['a', 'b', 'c'] once at most, got "
            "[['a', 'b'], ['b', 'd']].",
        ),
    ],
)
def test_parameters_out_of_range_are_refused(many, parameters, message):
    with pytest.raises(ValueError) as error:  # noqa: PT011
        MissingnessMasker(**parameters).fit(many)

    assert str(error.value) == message
