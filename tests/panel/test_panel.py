"""Panel: what it holds, how it slices, how it shows itself, and what it refuses."""

import hashlib
import pickle
import re

import joblib
import numpy as np
import pytest
from numpy.testing import assert_array_equal
from sklearn.utils import _safe_indexing, resample, shuffle

from mts_fusion.panel import Modality, Panel, Schema, Vocabulary


def _values(n=6):
    rng = np.random.default_rng(0)
    acc = rng.normal(size=(n, 3, 8)).astype(np.float32)
    acc[1] = np.nan
    acc[2, 0, 5:] = np.nan
    return {"acc": acc, "hr": rng.normal(70, 5, size=(n, 1, 4)).astype(np.float32)}


@pytest.fixture
def panel():
    """Six samples of acc (regular, silent in sample 1) and hr (irregular)."""
    clock = np.tile([0.0, 1.0, 2.5, np.nan], (6, 1))
    values = _values()
    values["hr"][:, :, 3] = np.nan
    return Panel(values, rates={"acc": 25.0}, times={"hr": clock})


@pytest.fixture
def tokens():
    symbols = np.array([[[1, 4, 0]], [[0, 0, 0]]])
    return Panel({"sax": symbols}, vocabularies={"sax": Vocabulary(4)})


def _raises(error, message):
    return pytest.raises(error, match=re.escape(message))


# What it holds


def test_observed_is_what_is_not_nan(panel):
    assert_array_equal(panel.observed["acc"], ~np.isnan(panel.values["acc"]))


def test_observed_of_tokens_is_what_is_not_the_missing_one(tokens):
    assert tokens.values["sax"].dtype == np.int16
    assert_array_equal(tokens.observed["sax"][:, 0], [[True, True, False], [False] * 3])


def test_available_is_by_sample_and_modality(panel):
    assert panel.available.shape == (6, 2)
    assert_array_equal(panel.available[:3], [[True, True], [False, True], [True, True]])


def test_a_mask_is_carried_by_every_way_of_cutting(panel):
    observed = panel.observed["acc"]
    filled = panel.replace(
        values={"acc": np.nan_to_num(panel.values["acc"])}, observed={"acc": observed}
    )

    assert_array_equal(filled.observed["acc"], observed)
    assert_array_equal(filled[1:3].observed["acc"], observed[1:3])
    assert_array_equal(filled.select(["acc"]).observed["acc"], observed)
    assert_array_equal(filled.concat(panel).observed["acc"], np.concatenate([observed, observed]))
    assert_array_equal(pickle.loads(pickle.dumps(filled)).observed["acc"], observed)


def test_new_values_drop_the_carried_mask(panel):
    filled = panel.replace(
        values={"acc": np.nan_to_num(panel.values["acc"])},
        observed={"acc": panel.observed["acc"]},
    )

    assert filled.replace(values={"acc": np.zeros((6, 3, 8))}).observed["acc"].all()


# Rows


@pytest.mark.parametrize(
    ("key", "rows"),
    [
        (2, [2]),
        (-1, [5]),
        (np.int64(3), [3]),
        (slice(1, 4), [1, 2, 3]),
        (slice(None, None, -1), [5, 4, 3, 2, 1, 0]),
        ([0, 0, 5], [0, 0, 5]),
        (np.array([4, 1]), [4, 1]),
        (np.arange(6) % 2 == 0, [0, 2, 4]),
        ([True, False, False, False, False, True], [0, 5]),
        ((np.array([2, 3]), Ellipsis), [2, 3]),
        ([], []),
        (np.array([], dtype=float), []),
    ],
    ids=str,
)
def test_every_way_of_slicing_samples(panel, key, rows):
    part = panel[key]

    assert len(part) == part.shape[0] == len(rows)
    assert part.schema == panel.schema
    for name in panel.schema.names:
        assert_array_equal(part.values[name], panel.values[name][rows])
        assert_array_equal(part.observed[name], panel.observed[name][rows])
    assert_array_equal(part.times["hr"], panel.times["hr"][rows])


def test_a_slice_is_a_view(panel):
    assert np.shares_memory(panel[2:4].values["acc"], panel.values["acc"])


def test_iteration_gives_one_sample_panels(panel):
    parts = list(panel)

    assert [len(part) for part in parts] == [1] * 6
    assert_array_equal(parts[3].values["acc"], panel.values["acc"][3:4])


def test_scikit_learn_finds_its_way_in(panel):
    assert len(_safe_indexing(panel, np.array([0, 2]))) == 2
    assert len(shuffle(panel, random_state=0)) == 6
    assert len(resample(panel, n_samples=9, random_state=0)) == 9


@pytest.mark.parametrize(
    ("key", "message"),
    [
        ("acc", "A panel is sliced along its samples; use X.select(['acc']) for the modality, X"),
        (
            (0, 1),
            "A panel is sliced along its samples only; choose modalities with X.select([...])",
        ),
        (6, "Sample 6 of a panel with 6 samples."),
        (-7, "Sample -7 of a panel with 6 samples."),
        ([6], "out of bounds"),
        (np.array([True, False]), "did not match"),
    ],
    ids=str,
)
def test_keys_that_are_no_samples_are_refused(panel, key, message):
    with _raises(IndexError, message):
        panel[key]


# Modalities


def test_select_gives_the_order_asked_for(panel):
    part = panel.select(["hr", "acc"])

    assert part.schema.names == ("hr", "acc")
    assert part.schema["acc"] == panel.schema["acc"]
    assert np.shares_memory(part.values["acc"], panel.values["acc"])


def test_one_name_is_enough(panel):
    assert panel.select("hr").schema.names == ("hr",)
    assert panel.drop("hr").schema.names == ("acc",)


def test_unknown_names_are_refused(panel):
    for method in (panel.select, panel.drop):
        with _raises(KeyError, "No modality 'gyro'; the panel has ['acc', 'hr']."):
            method(["gyro"])


def test_dropping_everything_is_refused(panel):
    with _raises(ValueError, "A panel needs at least one modality, got none."):
        panel.drop(["acc", "hr"])


def test_duplicate_names_are_refused(panel):
    message = (
        "Each modality has its own name, but 'acc' stands more than once in ['acc', 'acc']. "
        "Rename one of them."
    )
    with _raises(ValueError, message):
        panel.select(["acc", "acc"])


def test_align_adds_silent_modalities_in_order(panel):
    schema = Schema((Modality("gyro", 2, 5), *panel.schema.modalities))

    aligned = panel.align(schema)

    assert aligned.schema == schema
    assert not aligned.available[:, 0].any()
    assert_array_equal(aligned.values["acc"], panel.values["acc"])
    assert_array_equal(aligned.times["hr"], panel.times["hr"])


def test_align_adds_silent_tokens(tokens):
    schema = Schema((*tokens.schema.modalities, Modality("b", 1, 2, vocabulary=Vocabulary(3))))

    aligned = tokens.align(schema)

    assert_array_equal(aligned.values["b"], np.zeros((2, 1, 2), np.int16))


def test_align_refuses_what_the_schema_has_not(panel):
    message = (
        "The schema has ['acc'], but this panel has ['hr'] too. Leave them out with X.drop(['hr'])."
    )
    with _raises(ValueError, message):
        panel.align(panel.select(["acc"]).schema)


def test_concat_puts_samples_one_after_another(panel):
    both = panel[:2].concat(panel[2:3], panel[3:])

    assert len(both) == 6
    for name in panel.schema.names:
        assert_array_equal(both.values[name], panel.values[name])
    assert_array_equal(both.times["hr"], panel.times["hr"])


def test_concat_pads_the_shorter_one(tokens):
    short = Panel({"acc": np.ones((1, 2, 3))})
    long = Panel({"acc": np.ones((1, 2, 5))})
    longer = Panel({"sax": np.ones((1, 1, 5), int)}, vocabularies={"sax": Vocabulary(4)})

    assert np.isnan(short.concat(long).values["acc"][0, :, 3:]).all()
    assert (tokens.concat(longer).values["sax"][0, :, 3:] == 0).all()


def test_concat_of_other_schemas_is_refused(panel):
    with _raises(ValueError, "The first panel was fitted on the modalities ['acc', 'hr'], but X"):
        panel.concat(panel.select(["acc"]))


def test_concat_of_times_and_none_is_refused(panel):
    without = Panel(panel.values, rates={"acc": 25.0})
    message = "Modality 'hr' came without times of its own, but some were seen in fit."
    with _raises(ValueError, message):
        panel.concat(without)
    with _raises(ValueError, "Modality 'hr' came with times of its own, but none were seen in"):
        without.concat(panel)


def test_align_gives_times_to_a_silent_modality_that_had_some(panel):
    aligned = panel.drop(["hr"]).align(panel.schema)

    assert aligned.schema == panel.schema
    assert np.isnan(aligned.times["hr"]).all()


def test_replace_keeps_the_rest(panel):
    changed = panel.replace(rates={"acc": 50.0})

    assert changed.schema["acc"].rate == 50.0
    assert panel.schema["acc"].rate == 25.0
    assert np.shares_memory(changed.values["acc"], panel.values["acc"])
    assert_array_equal(changed.times["hr"], panel.times["hr"])


def test_replace_with_none_takes_away(panel):
    changed = panel.replace(times={"hr": None}, rates={"acc": None})

    assert changed.times["hr"] is None
    assert changed.schema["acc"].rate is None


# How it shows itself


def test_repr_is_a_table(panel):
    assert repr(panel) == (
        "Panel of 6 samples\n"
        "modality  channels  length       rate  values   missing\n"
        "acc              3       8      25 Hz  numbers    18.8%\n"
        "hr               1       4  irregular  numbers    25.0%"
    )


def test_repr_of_tokens_and_of_no_sample(tokens):
    assert repr(tokens).endswith("sax              1       3     -  4 symbols    66.7%")
    assert repr(tokens[:0]).endswith("sax              1       3     -  4 symbols        -")


def test_html_escapes_the_names():
    html = Panel({"<b>acc": np.zeros((2, 1, 3))})._repr_html_()

    assert html.startswith("<table><caption>Panel of 2 samples</caption>")
    assert "<td>&lt;b&gt;acc</td><td>1</td><td>3</td>" in html


def test_describe_has_a_row_a_modality(panel):
    frame = panel.describe()

    assert list(frame.index) == ["acc", "hr"]
    assert frame.loc["acc", "missing_fraction"] == pytest.approx(27 / 144)
    assert frame.loc["acc", "absent_fraction"] == pytest.approx(1 / 6)
    assert frame.loc["acc", "rate_hz"] == 25.0
    assert np.isnan(frame.loc["hr", "rate_hz"])
    assert frame.loc["hr", "mean"] == pytest.approx(np.nanmean(panel.values["hr"]), rel=1e-5)


def test_describe_of_tokens_has_no_level(tokens):
    assert np.isnan(tokens.describe().loc["sax", "mean"])


# It does not change, and it travels


def test_no_method_changes_the_panel(panel):
    before = pickle.dumps(panel)

    panel[1:3], panel.select(["acc"]), panel.drop(["acc"]), panel.concat(panel), panel.observed
    panel.replace(rates={"acc": 1.0}), panel.describe(), repr(panel), panel.available
    panel.align(panel.schema), panel.to_sktime("nested_univ")

    assert pickle.dumps(panel) == before


def test_dicts_handed_out_are_copies(panel):
    panel.values["acc"] = panel.times["hr"] = panel.observed["acc"] = None

    assert panel.values["acc"] is not None
    assert panel.times["hr"] is not None


def test_read_only_memory_is_enough():
    values = {name: array.copy() for name, array in _values().items()}
    for array in values.values():
        array.flags.writeable = False

    panel = Panel(values)

    assert len(panel[[0, 1]]) == 2
    assert np.shares_memory(panel.values["acc"], values["acc"])


def test_memory_mapped_arrays_stay_on_disk(tmp_path):
    np.save(tmp_path / "acc.npy", _values()["acc"])
    mapped = np.load(tmp_path / "acc.npy", mmap_mode="r")

    panel = Panel({"acc": mapped})

    assert np.shares_memory(panel.values["acc"], mapped)
    assert_array_equal(panel[2:4].values["acc"], mapped[2:4])


def test_a_dumped_panel_can_be_mapped(panel, tmp_path):
    joblib.dump(panel, tmp_path / "panel.joblib")

    mapped = joblib.load(tmp_path / "panel.joblib", mmap_mode="r")

    assert isinstance(mapped.values["acc"], np.memmap)
    assert_array_equal(mapped.values["acc"], panel.values["acc"])
    assert_array_equal(mapped.available, panel.available)


def test_pickle_gives_the_same_panel(panel):
    again = pickle.loads(pickle.dumps(panel))

    assert again.schema == panel.schema
    assert repr(again) == repr(panel)
    for name in panel.schema.names:
        assert_array_equal(again.values[name], panel.values[name])
    assert_array_equal(again.times["hr"], panel.times["hr"])


def test_joblib_hash_is_by_content(panel):
    first = joblib.hash(panel)

    panel.observed, panel.available, repr(panel)

    assert joblib.hash(panel) == first
    assert joblib.hash(pickle.loads(pickle.dumps(panel))) == first
    assert joblib.hash(panel[1:]) != first
    assert joblib.hash(panel.replace(rates={"acc": 50.0})) != first


def test_arrays_given_are_not_written_to():
    values = _values()
    before = {name: hashlib.sha256(array.tobytes()).digest() for name, array in values.items()}

    Panel(values).replace(values={"hr": np.zeros((6, 1, 4))}).concat(Panel(values))

    assert {k: hashlib.sha256(v.tobytes()).digest() for k, v in values.items()} == before


# What is refused


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (
            {"values": {"a": np.array([[["x"]]])}},
            TypeError,
            "Modality 'a' holds <U1 values; numbers are wanted. Encode text or categories as "
            "numbers first.",
        ),
        (
            {"values": {"a": np.zeros((2, 3))}},
            ValueError,
            "Modality 'a' has shape (2, 3); (samples, channels, timepoints) is wanted. Use "
            "as_panel(...) for other shapes.",
        ),
        ({"values": {}}, ValueError, "A panel needs at least one modality, got none."),
        (
            {"values": {"a": np.zeros((2, 1, 3)), "b": np.zeros((3, 1, 3))}},
            ValueError,
            "Modality 'b' has 3 samples, but 'a' has 2. Give each sample a row of NaN where the "
            "modality is absent.",
        ),
        (
            {"values": {"a": np.full((2, 1, 3), -np.inf)}},
            ValueError,
            "Modality 'a' has infinite values in float32 (first in sample 0, channel 0).",
        ),
        (
            {"values": {"a": np.zeros((2, 1, 3))}, "vocabularies": {"a": Vocabulary(4)}},
            TypeError,
            "Modality 'a' has a vocabulary, so integer tokens are wanted, but its values are "
            "float64. Remove the vocabulary or tokenize the values.",
        ),
        (
            {"values": {"a": np.full((2, 1, 3), 5)}, "vocabularies": {"a": Vocabulary(4)}},
            ValueError,
            "Modality 'a' has tokens from 5 to 5, but its vocabulary has the symbols 1 to 4 and 0 "
            "for missing.",
        ),
        (
            {"values": {"a": np.zeros((2, 1, 3))}, "times": {"a": np.zeros((2, 4))}},
            ValueError,
            "The times of modality 'a' have shape (2, 4); (2, 3), one time a sample and "
            "timepoint, is wanted.",
        ),
        (
            {"values": {"a": np.zeros((1, 1, 3))}, "times": {"a": [[0.0, 2.0, 1.0]]}},
            ValueError,
            "The times of modality 'a' decrease in sample 0. Sort its timepoints.",
        ),
        (
            {"values": {"a": np.zeros((1, 1, 3))}, "times": {"a": [[0.0, np.nan, 1.0]]}},
            ValueError,
            "The times of modality 'a' have NaN before the end of a sample; NaN is for padding at "
            "the end. Remove those timepoints.",
        ),
        (
            {"values": {"a": np.zeros((1, 1, 3))}, "times": {"a": [[0.0, 1.0, np.inf]]}},
            ValueError,
            "The times of modality 'a' are infinite somewhere. Use NaN to pad.",
        ),
        (
            {
                "values": {"a": np.zeros((1, 1, 2))},
                "times": {"a": [[0.0, 1.0]]},
                "rates": {"a": 1.0},
            },
            ValueError,
            "Modality 'a' came with both times and a rate. Give the rate of a regular clock or "
            "the times of an irregular one.",
        ),
        (
            {"values": {"a": np.zeros((1, 1, 2))}, "observed": {"a": np.ones((1, 1, 3), bool)}},
            ValueError,
            "observed of modality 'a' is bool of shape (1, 1, 3); bool of shape (1, 1, 2) is "
            "wanted.",
        ),
        (
            {"values": {"a": [[[np.nan]]]}, "observed": {"a": np.ones((1, 1, 1), bool)}},
            ValueError,
            "Modality 'a' is NaN where observed says it was measured. Clear observed there.",
        ),
        (
            {"values": {"a": np.zeros((1, 1, 2))}, "rates": {"b": 1.0}},
            ValueError,
            "rates names ['b'], but the modalities are ['a']. Remove them or add their values.",
        ),
    ],
)
def test_parts_that_do_not_fit_are_refused(arguments, error, message):
    with _raises(error, message):
        Panel(**arguments)


def test_values_without_a_time_are_refused():
    message = (
        "Modality 'a' has observed values where its times are NaN. Give their times, or mark the "
        "values as missing with NaN."
    )
    with _raises(ValueError, message):
        Panel({"a": np.zeros((1, 1, 2))}, times={"a": [[0.0, np.nan]]})
    Panel({"a": [[[0.0, np.nan]]]}, times={"a": [[0.0, np.nan]]})


# As an array


def test_a_panel_of_one_modality_is_an_array():
    panel = Panel({"acc": _values()["acc"]})

    assert_array_equal(np.asarray(panel), panel.values["acc"])
    assert not np.shares_memory(np.array(panel), panel.values["acc"])
    assert np.asarray(panel, dtype=np.float64).dtype == np.float64


def test_a_panel_of_several_modalities_is_no_array(panel):
    message = (
        "A panel of the modalities ['acc', 'hr'] is not one array. Use X.values[name] for one of "
        "them, or X.to_numpy3d() if all have one length."
    )
    with _raises(TypeError, message):
        np.asarray(panel)
