"""The table of fixed features runs, and says whether windows alone and in a batch agree."""

import pytest

from mts_fusion.benchmarks import _features
from mts_fusion.benchmarks.__main__ import main


def test_the_table_of_features_says_what_was_reached(monkeypatch, capsys):
    monkeypatch.setattr(_features, "_N_TIMEPOINTS", 20)
    monkeypatch.setattr(_features, "_N_MODALITIES", 2)

    assert main(["features", "--quick"]) == 0

    text = capsys.readouterr().out
    assert "SHORTENED" in text
    assert "wanted below 3" in text
    assert "| multirocket, hydra, statistics | complete" in text


@pytest.mark.slow
def test_windows_alone_have_the_features_that_they_have_in_the_batch():
    for gaps in (False, True):
        cell = {"kinds": list(_features._KINDS), "gaps": gaps, "rows": 128, "repeats": 1}

        (row,) = _features._work(cell)

        assert row["difference"] <= 2e-5
