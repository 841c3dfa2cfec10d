"""Modality, Vocabulary and Schema: what they refuse, and what the error of a mismatch says."""

import re
from dataclasses import FrozenInstanceError

import pytest

from mts_fusion.panel import Modality, Schema, Vocabulary


def _schema(**changes):
    acc = {"name": "acc", "n_channels": 3, "n_timepoints": 50, "rate": 25.0, **changes}
    return Schema((Modality(**acc), Modality("temp", 1, 4)))


def test_schema_is_hashable_and_equal_by_content():
    assert hash(_schema()) == hash(_schema())
    assert _schema() == _schema()
    assert _schema() != _schema(rate=50.0)


def test_modality_cannot_be_changed():
    with pytest.raises(FrozenInstanceError):
        _schema()["acc"].rate = 1.0


def test_schema_prints_one_line_a_modality():
    schema = _schema(vocabulary=Vocabulary(20))

    assert str(schema) == (
        "acc: 3 channels x 50 timepoints at 25 Hz, 20 symbols\ntemp: 1 channels x 4 timepoints"
    )


def test_schema_is_asked_by_name():
    schema = _schema()

    assert "acc" in schema
    assert "gyro" not in schema
    assert [m.name for m in schema] == ["acc", "temp"]
    assert schema["temp"].n_timepoints == 4
    with pytest.raises(KeyError, match=re.escape("No modality 'gyro'; the panel has ['acc', 'te")):
        schema["gyro"]


def test_duration_needs_a_rate():
    assert _schema()["acc"].duration_seconds == 2.0
    assert _schema()["temp"].duration_seconds is None


def test_vocabularies_are_exchanged_by_name():
    vocabulary = Vocabulary(4)

    schema = _schema().with_vocabularies({"temp": vocabulary})

    assert schema["temp"].vocabulary == vocabulary
    assert schema["acc"].vocabulary is None


def test_duplicate_names_are_refused():
    with pytest.raises(
        ValueError,
        match=re.escape(
            "Each modality has its own name, but 'acc' stands more than once in ['acc', 'acc']. "
            "Rename one of them."
        ),
    ):
        Schema((Modality("acc", 3, 100), Modality("acc", 1, 4)))


def test_schema_of_nothing_is_refused():
    with pytest.raises(ValueError, match=r"A panel needs at least one modality, got none\."):
        Schema(())


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        ((1, 3, 10), TypeError, "The name of a modality is a string, got 1. Rename it with str("),
        (("acc", 0, 10), ValueError, "Modality 'acc' has 0 channels and 10 timepoints; it needs"),
        (("acc", 3, 0), ValueError, "Modality 'acc' has 3 channels and 0 timepoints; it needs"),
        (("acc", 3, 10, 0.0), ValueError, "Modality 'acc' has rate=0.0 Hz; a rate is a positive"),
        (
            ("acc", 3, 10, float("nan")),
            ValueError,
            "rate of modality 'acc' is a number or None, got nan",
        ),
        (("acc", 3, 10, float("inf")), ValueError, "Modality 'acc' has rate=inf Hz; a rate is a"),
    ],
)
def test_impossible_modalities_are_refused(arguments, error, message):
    with pytest.raises(error, match=re.escape(message)):
        Modality(*arguments)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"size": 0}, "A vocabulary needs at least 1 symbol, got size=0."),
        (
            {"size": 4, "breakpoints": (0.0,)},
            "A vocabulary of 4 symbols has 3 breakpoints, got 1.",
        ),
        ({"size": 2, "centers": (0.0,)}, "A vocabulary of 2 symbols has 2 centers, got 1."),
    ],
)
def test_impossible_vocabularies_are_refused(arguments, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        Vocabulary(**arguments)


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (
            Schema((Modality("acc", 3, 50, 25.0),)),
            "The estimator was fitted on the modalities ['acc', 'temp'], but X came without "
            "['temp']. Add silent ones with X.align(schema).",
        ),
        (
            Schema((*_schema().modalities, Modality("gyro", 3, 50))),
            "The estimator was fitted on the modalities ['acc', 'temp'], but X came with "
            "['gyro']. Select them with X.select(['acc', 'temp']).",
        ),
        (
            Schema((Modality("temp", 1, 4), Modality("acc", 3, 50, 25.0))),
            "The estimator was fitted on the modalities ['acc', 'temp'], but X came in the order "
            "['temp', 'acc']. Select them with X.select(['acc', 'temp']).",
        ),
        (
            Schema((Modality("acc", 3, 50, 25.0), Modality("gyro", 3, 50))),
            "The estimator was fitted on the modalities ['acc', 'temp'], but X came without "
            "['temp'] and with ['gyro']. Rename ['gyro'], or leave them out with X.drop(['gyro']).",
        ),
        (
            _schema(n_channels=6),
            "Modality 'acc' has 6 channels, but 3 were seen in fit. Give the same channels, "
            "with NaN where one is silent.",
        ),
        (
            _schema(vocabulary=Vocabulary(20)),
            "Modality 'acc' came with a vocabulary of 20 symbols, but numbers was seen in fit. "
            "Pass X through the same tokenizer, in one Pipeline.",
        ),
        (
            _schema(rate=50.0),
            "Modality 'acc' has rate 50 Hz, but 25 Hz was seen in fit. Resample it, or give the "
            "same rate.",
        ),
        (_schema(rate=None), "Modality 'acc' has rate unknown, but 25 Hz was seen in fit."),
    ],
)
def test_another_schema_is_told_by_its_modality(other, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        _schema().check_matches(other, owner="The estimator")


def test_another_length_is_the_same_sensor():
    _schema().check_matches(_schema(n_timepoints=80))
