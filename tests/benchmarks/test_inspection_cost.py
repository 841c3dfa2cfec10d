"""The table of what an inspection costs runs, and counts predictions."""

import pytest

from mts_fusion.benchmarks import _inspection
from mts_fusion.benchmarks.__main__ import main


def test_the_table_tells_shapley_values_in_units_of_a_prediction(monkeypatch, capsys):
    monkeypatch.setattr(_inspection, "_N_MODALITIES", 2)

    assert main(["inspection", "--quick", "--in-process", "--methods", "PatternRidge"]) == 0

    text = capsys.readouterr().out
    assert "SHORTENED" in text
    assert "3 sets, one by one" in text
    assert "| PatternRidge" in text
    assert "Maestro" not in text


def test_an_unknown_row_is_named(capsys):
    assert main(["inspection", "--quick", "--methods", "Forest"]) == 2
    assert "Forest" in capsys.readouterr().err


@pytest.mark.slow
def test_one_call_costs_less_than_predictions_one_by_one():
    cell = {"method": "PatternRidge", "seed": 0, "rows": 100, "repeats": 1}

    (row,) = _inspection._work(cell)

    assert row["shapley"] < row["one_by_one"] / 2
