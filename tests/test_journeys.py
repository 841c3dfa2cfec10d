"""Whole journeys of users: the examples, run from top to bottom, and what came out of them."""

from __future__ import annotations

import json
import runpy
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mts_fusion import LiveSegmenter, load

ROOT = Path(__file__).parents[1]

pytestmark = pytest.mark.slow


def _run(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The names of an example with a figure after it has run; no other file is left."""
    pytest.importorskip("matplotlib")
    figure = tmp_path / "figure.png"
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.setattr(sys, "argv", [name, "--figure", str(figure)])
    names = runpy.run_path(str(ROOT / "examples" / f"{name}.py"), run_name="__main__")
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert [path.name for path in tmp_path.iterdir()] == ["figure.png"]
    return names


def test_a_wearable_is_saved_and_predicted_live_by_a_fresh_process(tmp_path, monkeypatch):
    names = _run("plot_wearable", tmp_path, monkeypatch)
    for name, model in names["models"].items():
        answers = names["answers"][name]
        assert "ppg" not in {sensor for answer in answers for sensor in answer["sensors"]}
        assert answers[0]["sensors"] == ["acc", "temp", "rate"]
        assert answers[-1]["sensors"] == ["temp", "rate"]
        live = np.array([list(answer["probabilities"].values()) for answer in answers])

        segmenter = LiveSegmenter(model, window_seconds=10, silent_after_seconds=3)
        packets = [json.loads(line) for line in names["packets"](names["new"])]
        parts = [segmenter.push(*packet.values()) for packet in packets] + [segmenter.flush()]
        windows = [window for part in parts if part is not None for window in part]
        here = np.concatenate([model.predict_proba(window) for window in windows])
        np.testing.assert_array_equal(live, here)
        np.testing.assert_allclose(live, model.predict_proba(names["windows"]), atol=1e-6)
        assert (model.classes_[live.argmax(1)] == names["truth"]).mean() > 0.7

        again = load(names["folder"] / f"{name}.mts")
        np.testing.assert_array_equal(
            again.predict_proba(names["X"]), model.predict_proba(names["X"])
        )
    sets = [answer["set"] for answer in names["answers"]["ridge"]]
    assert {len(one) for one in sets} <= {1, 2}
    assert np.mean([t in one for t, one in zip(names["truth"], sets, strict=True)]) > 0.75


def test_a_chart_becomes_imputations_a_figure_and_an_uncertain_answer(tmp_path, monkeypatch):
    names = _run("plot_ward", tmp_path, monkeypatch)
    X, chart, hourly = (names[name] for name in ("X", "chart", "hourly"))
    assert len(X) == 120
    assert X.observed["laboratory"].sum() == chart["item"].isin(["lactate", "creatinine"]).sum() - (
        chart.loc[chart["item"] == "lactate", "value"].isna().sum()
    )
    celsius = X.values["temperature"][X.observed["temperature"]]
    assert 34 < celsius.min() < celsius.max() < 40

    low, median, high = (names[level].values["laboratory"] for level in ("low", "median", "high"))
    gap = ~hourly.observed["laboratory"]
    assert np.isfinite(median).all()
    assert (low <= median).all()
    assert (median <= high).all()
    assert (low < high)[gap].mean() > 0.8  # equal where the nearest value is close
    np.testing.assert_array_equal(low[~gap], hourly.values["laboratory"][~gap])

    p, sets = names["p"], names["sets"]
    size = sets.sum(axis=1)
    assert names["right"] >= 0.8
    assert 0 < (size == 2).mean() < 0.5
    assert p[size == 2].max(axis=1).max() < p[size == 1].max(axis=1).mean()


def test_a_model_is_exported_and_served_by_a_process_without_this_library(
    tmp_path, monkeypatch, capfd
):
    """That the process can do without it: ``tests/interop/test_export.py``."""
    for library in ("onnxscript", "onnxruntime"):
        pytest.importorskip(library)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    names = runpy.run_path(str(ROOT / "examples" / "export_model.py"), run_name="__main__")
    p = names["model"].predict_proba(names["samples"])
    np.testing.assert_allclose(names["served"], p, atol=1e-5)
    assert p.std() > 0.1
    assert "m1" not in names["samples"].schema
    printed, complaints = capfd.readouterr()
    assert f"{len(p)} samples" in printed
    assert complaints == ""
    assert list(tmp_path.iterdir()) == []
