import numpy as np
import pytest

from mts_fusion.benchmarks.__main__ import main
from mts_fusion.benchmarks._imputation import IMPUTERS, Hidden, evaluate_imputer
from mts_fusion.benchmarks._physionet2012_imputation import hide
from mts_fusion.datasets import make_panel_classification, make_trace_benchmark
from mts_fusion.panel import Panel


class Oracle:
    """An imputer that knows the truth, and is a little off above it."""

    def __init__(self, truth):
        self.truth = truth

    def fit(self, panel):
        self.names = panel.schema.names
        return self

    def quantiles(self, panel, q):
        self.asked = len(q)
        return [panel.replace(values={"series": self.truth + 0.1}) for _ in q]


@pytest.fixture
def parts():
    return make_trace_benchmark(20, 1, 10, missing_fraction=0.3)


def hidden_of(part):
    return {0.3: Hidden(part.data, part.complete.values["series"], part.masked)}


def test_an_imputer_is_scored_where_something_was_hidden(parts, monkeypatch):
    oracle = Oracle(parts.test.complete.values["series"])
    monkeypatch.setitem(
        IMPUTERS, "oracle", type(IMPUTERS["TRACE"])(lambda **_: oracle, target_only=True)
    )
    row = evaluate_imputer(
        IMPUTERS["oracle"], parts.train.data, hidden_of(parts.test), "series", seed=0
    )[0]
    assert row["mae"] == pytest.approx(0.1, abs=1e-4)
    assert row["mae_entries"] == pytest.approx(0.1, abs=1e-4)
    assert row["crps"] > 0
    assert row["improved"] == 1.0
    assert oracle.names == ("series",)


def test_simple_rules_have_no_crps(parts):
    row = evaluate_imputer(
        IMPUTERS["mean"], parts.train.data, hidden_of(parts.test), "series", seed=0
    )[0]
    assert row["crps"] is None
    assert row["parameters"] is None
    assert row["mae"] > 0


def test_csdi_hides_a_share_of_what_is_observed_in_each_sample():
    panel, _ = make_panel_classification(
        20, modalities={"stay": (3, 10)}, missing_fraction=0.5, random_state=0
    )
    hidden = hide(panel, 0.5, seed=0)
    observed = panel.observed["stay"].sum(axis=(1, 2))
    np.testing.assert_array_equal(hidden.masked.sum(axis=(1, 2)), np.round(0.5 * observed))
    assert not (hidden.masked & ~panel.observed["stay"]).any()
    np.testing.assert_array_equal(
        hidden.data.observed["stay"], panel.observed["stay"] & ~hidden.masked
    )
    assert isinstance(hidden.data, Panel)


def test_the_synthetic_table_runs_shortened(capsys):
    command = ["trace-synthetic", "--quick", "--n-train", "20", "--methods", "nearest", "linear"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "SHORTENED (--quick, --n-train 20)" in text
    assert "0.3 hidden" in text
    assert "reached" not in text  # verdicts are for full runs
