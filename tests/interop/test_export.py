"""Exported models answer as the models do, with gaps and missing sensors, in any batch."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.exceptions import NotFittedError

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    FusionClassifier,
    GaussianProcessImputer,
    MaestroClassifier,
    PatternRidgeClassifier,
)
from mts_fusion.interop import export_onnx, export_program
from mts_fusion.interop._export import _program
from mts_fusion.nn import layers

TINY = {"d_model": 8, "n_heads": 2, "max_epochs": 1, "n_estimators": 2, "random_state": 0}
MODELS = {
    "ridge": PatternRidgeClassifier(kinds=("statistics",), n_threads=1, random_state=0),
    "ridge-convolutions": PatternRidgeClassifier(n_groups=2, n_threads=1, random_state=0),
    "fusion": FusionClassifier(**TINY, n_groups=2, device="cpu"),
    "maestro": MaestroClassifier(**TINY, device="cpu"),
}


@pytest.fixture(scope="module")
def data():
    """Samples to fit, and samples with gaps and missing sensors, one of them without any."""
    X, y = make_panel_classification(
        n_samples=40,
        modalities={"a": (2, 16.0), "b": (1, 8.0)},
        duration_seconds=1.0,
        random_state=0,
    )
    rng = np.random.default_rng(0)
    values = {name: part.copy() for name, part in X.values.items()}
    for part in values.values():
        part[rng.random(len(part)) < 0.3] = np.nan
        part[rng.random(len(part)) < 0.5, :, 2:5] = np.nan
        part[0] = np.nan
    return X, y, X.replace(values=values)


def _tensors(X):
    return [[torch.tensor(x) for x in part.values()] for part in (X.values, X.observed)] + [[]]


def _patterns(model):
    return {"patterns": "all"} if isinstance(model, PatternRidgeClassifier) else {}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_module_answers_as_the_model(model, data):
    X, y, spoiled = data
    model.fit(X, y)
    program = _program(model, "all").eval()

    with torch.no_grad():
        answers = program(*_tensors(spoiled)).numpy()

    assert_allclose(answers, model.predict_proba(spoiled), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_program_and_onnxruntime_answer_as_the_model(model, data, tmp_path):
    import onnxruntime

    X, y, spoiled = data
    model.fit(X, y)
    program = export_program(model, **_patterns(model))
    export_onnx(model, tmp_path / "model.onnx", **_patterns(model))
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")

    for rows in (spoiled, spoiled[3:4]):
        expected = model.predict_proba(rows)
        feed = {f"values.{name}": part for name, part in rows.values.items()}
        feed |= {f"observed.{name}": part for name, part in rows.observed.items()}
        assert_allclose(program.module()(*_tensors(rows)).detach().numpy(), expected, atol=1e-5)
        assert_allclose(session.run(None, feed)[0], expected, atol=1e-5)


@pytest.mark.slow
def test_the_example_answers_without_this_library(data, tmp_path):
    X, y, spoiled = data
    model = MODELS["ridge"].fit(X, y)
    export_onnx(model, tmp_path / "model.onnx", patterns="all")
    np.savez(tmp_path / "samples.npz", **spoiled.values)
    example = Path(__file__).parents[2] / "examples" / "serve_onnx.py"
    code = (
        "import sys, runpy\n"
        "for name in ('mts_fusion', 'torch', 'sklearn'): sys.modules[name] = None\n"
        f"sys.argv[1:] = [{str(tmp_path / 'model.onnx')!r}, {str(tmp_path / 'samples.npz')!r}]\n"
        f"runpy.run_path({str(example)!r}, run_name='__main__')"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, env=os.environ
    )

    probabilities = model.predict_proba(spoiled)
    printed = [line.split() for line in done.stdout.splitlines()]
    assert [int(label) for label, _ in printed] == model.predict(spoiled).tolist()
    assert_allclose([float(p) for _, p in printed], probabilities.max(1), atol=2e-6)


def test_a_set_that_was_not_exported_gets_nan(data):
    X, y, _ = data
    model = MODELS["ridge"].fit(X, y)
    without_b = X.drop("b").align(X.schema)

    with torch.no_grad():
        answers = _program(model, [["a", "b"]])(*_tensors(without_b))
        assert answers.isnan().all()
        answers = _program(model, [["a"]])(*_tensors(without_b))
    assert_allclose(answers.numpy(), model.predict_proba(without_b), atol=1e-5)


def test_what_cannot_be_exported_is_refused(data):
    X, y, _ = data
    with pytest.raises(TypeError, match="GaussianProcessImputer is not exported"):
        export_program(GaussianProcessImputer())
    with pytest.raises(NotFittedError):
        export_program(PatternRidgeClassifier())
    with pytest.raises(ValueError, match="'kept', 'all' or lists of modalities"):
        export_program(MODELS["ridge"].fit(X, y), patterns=[["c"]])


def test_operations_for_export_give_the_numbers_of_torch(monkeypatch):
    x = torch.randn(3, 7, 2, generator=torch.Generator().manual_seed(0))
    ordered, values = x.transpose(1, 2).sort(-1).values, x.transpose(1, 2).contiguous()
    expected = [
        layers.running_max(x, 1),
        layers.sorted_index(ordered, values),
        layers.sorted_index(ordered, values, right=True),
        layers.as_bytes(x > 0),
    ]
    monkeypatch.setattr("mts_fusion.nn.layers._portable.is_exporting", lambda: True)

    results = [
        layers.running_max(x, 1),
        layers.sorted_index(ordered, values),
        layers.sorted_index(ordered, values, right=True),
        layers.as_bytes(x > 0),
    ]

    for result, wanted in zip(results, expected, strict=True):
        assert torch.equal(result.to(wanted.dtype), wanted)
