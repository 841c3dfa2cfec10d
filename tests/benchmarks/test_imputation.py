import re
from importlib.util import find_spec

import numpy as np
import pytest

from mts_fusion.benchmarks.__main__ import main
from mts_fusion.benchmarks._engines_imputation import hide_outages
from mts_fusion.benchmarks._imputation import IMPUTERS, LEVELS, Hidden, evaluate_imputer
from mts_fusion.benchmarks._imputation_runs import ImputationRun, run_imputation
from mts_fusion.benchmarks._imputation_speed import _measure, _text
from mts_fusion.benchmarks._physionet2012_imputation import hide
from mts_fusion.benchmarks._pypots import PyPOTSImputer
from mts_fusion.benchmarks._tables import Settings
from mts_fusion.datasets import make_panel_classification, make_trace_benchmark
from mts_fusion.metrics import crps_from_quantiles
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
    assert row["coverage"] == 0.0
    assert row["energy"] is None
    assert row["improved"] == 1.0
    assert oracle.names == ("series",)


def test_draws_are_scored_together(parts):
    class Draws(Oracle):
        def quantiles(self, panel, q):
            return [panel.replace(values={"series": self.truth + 4 * (x - 0.5)}) for x in q]

        def sample(self, panel, n):
            return [panel.replace(values={"series": self.truth[: len(panel)]})] * n

    draws = Draws(parts.test.complete.values["series"])
    imputer = type(IMPUTERS["TRACE"])(lambda **_: draws, target_only=True)
    row = evaluate_imputer(imputer, parts.train.data, hidden_of(parts.test), "series", seed=0)[0]
    assert row["coverage"] == 1.0
    assert row["energy"] == pytest.approx(0.0, abs=1e-3)


@pytest.mark.parametrize("name", ["Gaussian process", "Gaussian process and flow"])
def test_quantiles_are_those_that_the_imputer_gives(name):
    rng = np.random.default_rng(0)
    panel = Panel({"stay": rng.normal(size=(12, 2, 8)).cumsum(2)}, rates={"stay": 1.0})
    test = hide(panel, 0.4, seed=0)
    (row,) = evaluate_imputer(
        IMPUTERS[name], panel, {0.4: test}, "stay", seed=0, max_epochs=1, quick=True
    )
    model = IMPUTERS[name].make(seed=0, max_epochs=1).set_params(n_samples=3).fit(panel)
    quantiles = [p.values["stay"] for p in model.quantiles(test.data, q=LEVELS)]
    crps = crps_from_quantiles(test.truth, np.stack(quantiles), test.masked, levels=LEVELS)
    assert row["crps"] == pytest.approx(crps, rel=1e-5)
    assert row["energy"] > 0


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


def test_outages_have_the_length_and_share_that_were_asked():
    panel = Panel({"engine": np.ones((400, 3, 30))})
    hidden = hide_outages(panel, 0.3, seed=0)
    assert hidden.masked.mean() == pytest.approx(0.3, abs=0.02)
    inner = hidden.masked[:, :, :-1]
    ends = (inner & ~hidden.masked[:, :, 1:]).sum()
    assert inner.sum() / ends == pytest.approx(6.0, abs=0.5)
    np.testing.assert_array_equal(np.isnan(hidden.data.values["engine"]), hidden.masked)


def test_a_run_fits_every_imputer_on_every_fold():
    rng = np.random.default_rng(0)
    panel = Panel({"engine": rng.normal(5, 3, (30, 2, 12))})
    folds = [(np.arange(20), np.arange(20, 30)), (np.arange(10, 30), np.arange(10))]
    run = ImputationRun("own", "Noise", panel, folds, (0.1, 0.5), hide_outages, ["mean", "nearest"])
    text = run_imputation(run, Settings(isolate=False))
    assert "Noise, 30 samples, 2 folds, seeds [0]" in text
    mean = re.search(r"\| mean +\| (0?\.\d+)", text)
    assert float(mean[1]) == pytest.approx(np.sqrt(2 / np.pi), abs=0.15)


def test_the_synthetic_table_runs_shortened(capsys):
    command = ["trace-synthetic", "--quick", "--n-train", "20", "--methods", "nearest", "linear"]
    assert main(command) == 0
    text = capsys.readouterr().out
    assert "SHORTENED (--quick, --n-train 20)" in text
    assert "0.3 hidden" in text
    assert "reached" not in text  # verdicts are for full runs


def speed_row(method, setting, ms, mae):
    errors = {"mae": mae, "crps": mae, "fit_seconds": 1.0, "n_train": 5, "parameters": 1000}
    if method != "CSDI of PyPOTS":
        errors |= {"mae_all": mae, "crps_all": mae}
    return {"method": method, "setting": setting, "seed": 0, "ms": ms, **errors}


def test_speed_is_told_beside_pypots_and_accuracy_beside_fifty_steps():
    rows = [
        speed_row("CSDI of PyPOTS", "50 steps", [900.0, 1000.0, 1200.0], 0.5),
        speed_row("Diffusion by steps", "50 steps", [100.0, 110.0, 90.0], 0.4),
        speed_row("Diffusion by steps", "5 steps", [10.0, 20.0, 5.0], 0.402),
        speed_row("Diffusion by steps", "1 steps", [5.0, 5.0, 5.0], 0.42),
    ]
    table, five, one = _text(rows)
    assert "1000 (900-1200)" in table
    assert "reached: 100 times (aim 40), MAE +0.50%" in five
    assert "NOT reached: 200 times (aim 40), MAE +5.00%" in one


@pytest.mark.slow
def test_an_imputer_is_timed_in_rounds_with_a_budget():
    panel, _ = make_panel_classification(
        20, modalities={"stay": (3, 10)}, missing_fraction=0.3, random_state=0
    )
    rows = _measure(
        "Diffusion by steps", panel, hide(panel[:6], 0.5, seed=0), seed=0, budget=0.01, n_slow=3
    )
    assert [row["setting"] for row in rows] == ["50 steps", "10 steps", "5 steps", "1 steps"]
    assert all(len(row["ms"]) == 3 and row["mae_all"] > 0 for row in rows)


@pytest.mark.skipif(find_spec("pypots") is not None, reason="says what is missing without it")
def test_without_pypots_the_row_says_what_to_install():
    panel = Panel({"stay": np.zeros((4, 2, 5))})
    with pytest.raises(ImportError, match=r"'CSDI of PyPOTS' requires pypots: pip install"):
        PyPOTSImputer("CSDI", seconds=None).fit(panel)


@pytest.mark.slow
@pytest.mark.parametrize("network", ["SAITS", "CSDI"])
def test_pypots_fills_the_gaps_of_a_panel(network):
    pytest.importorskip("pypots")
    panel, _ = make_panel_classification(
        40, modalities={"stay": (3, 10)}, missing_fraction=0.3, random_state=0
    )
    imputer = PyPOTSImputer(network, seconds=0.1, n_draws=3).fit(panel)
    filled, seen = imputer.transform(panel), panel.observed["stay"]
    assert not np.isnan(filled.values["stay"]).any()
    np.testing.assert_allclose(filled.values["stay"][seen], panel.values["stay"][seen], rtol=1e-5)
    assert hasattr(imputer, "sample") == (network == "CSDI")
    if network == "CSDI":
        assert len(imputer.quantiles(panel[:2], q=[0.1, 0.9])) == 2
