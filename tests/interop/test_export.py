"""Exported models answer as the models do, with gaps and missing sensors, in any batch."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.testing import assert_allclose
from sklearn.base import clone
from sklearn.exceptions import NotFittedError

from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import (
    FusionClassifier,
    FusionRegressor,
    GaussianProcessImputer,
    MaestroClassifier,
    PatternRidgeClassifier,
    PatternRidgeRegressor,
)
from mts_fusion.interop import export_onnx, export_program
from mts_fusion.interop._export import _program
from mts_fusion.nn import layers
from mts_fusion.nn.encoders import ENCODERS
from mts_fusion.nn.strategies import STRATEGIES
from mts_fusion.transforms import SAXTokenizer

TINY = {"d_model": 8, "n_heads": 2, "max_epochs": 1, "n_estimators": 2, "random_state": 0}
MODELS = {
    "ridge": PatternRidgeClassifier(kinds=("statistics",), n_threads=1, random_state=0),
    "ridge-convolutions": PatternRidgeClassifier(n_groups=2, n_threads=1, random_state=0),
    "fusion": FusionClassifier(**TINY, n_groups=2, device="cpu"),
    "maestro": MaestroClassifier(**TINY, device="cpu"),
}
# Every encoder and every strategy once; the default ones are above.
FUSIONS = {
    **{name: {"encoder": name} for name in ENCODERS if name != "multirocket"},
    **{name: {"encoder": "cnn", "strategy": name} for name in STRATEGIES if name != "early"},
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
    tensors = [[torch.tensor(x) for x in part.values()] for part in (X.values, X.observed)]
    return [*tensors, [torch.tensor(X.times[m.name]) for m in X.schema if m.irregular]]


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


@pytest.mark.parametrize(
    "model", [MODELS["ridge"], MODELS["maestro"], FusionClassifier(**TINY, encoder="utde")]
)
def test_the_module_reads_times_of_their_own(model):
    X, y = make_panel_classification(
        n_samples=30,
        modalities={"a": (2, 8.0), "b": (1, 4.0), "c": (1, 8.0)},
        missing_fraction=0.2,
        missing_modality_fraction=0.2,
        irregular=("a", "b"),
        random_state=0,
    )
    model = clone(model).fit(X, y)
    with torch.no_grad():
        answers = _program(model, "all").eval()(*_tensors(X)).numpy()

    assert_allclose(answers, model.predict_proba(X), atol=1e-5)


def test_the_module_gives_numbers_in_the_unit_of_y(data):
    X, y, spoiled = data
    targets = np.stack([40.0 + 3 * y, -y], 1)
    ridge = PatternRidgeRegressor(kinds=("statistics",), random_state=0).fit(X, targets)
    fusion = FusionRegressor(**TINY, n_groups=2, device="cpu").fit(X, targets[:, 0])

    for model in (ridge, fusion):
        with torch.no_grad():
            answers = _program(model, "all").eval()(*_tensors(spoiled)).numpy()
        expected = model.predict(spoiled).reshape(len(answers), -1)
        assert_allclose(answers, expected, rtol=1e-5)


def test_the_module_gives_the_probability_of_each_label(data):
    X, y, spoiled = data
    labels = np.stack([y == 0, y > 0, y == 2], 1).astype(int)
    ridge = PatternRidgeClassifier(kinds=("statistics",), random_state=0).fit(X, labels)
    fusion = FusionClassifier(**TINY, n_groups=2, device="cpu").fit(X, labels)

    for model in (ridge, fusion):
        with torch.no_grad():
            answers = _program(model, "all").eval()(*_tensors(spoiled)).numpy()
        assert_allclose(answers, model.predict_proba(spoiled), atol=1e-5)


def test_the_module_reads_symbols(data):
    X, y, _ = data
    tokens = SAXTokenizer(segment_length=1).fit_transform(X)
    model = MaestroClassifier(**TINY, device="cpu").fit(tokens, y)

    values, observed, times = _tensors(tokens)
    with torch.no_grad():
        program = _program(model, "all").eval()
        answers = program([part.long() for part in values], observed, times).numpy()

    assert_allclose(answers, model.predict_proba(tokens), atol=1e-5)


def _check_onnx(model, path, *samples):
    """onnxruntime gives the probabilities of the model."""
    import onnxruntime

    export_onnx(model, path, **_patterns(model))
    session = onnxruntime.InferenceSession(path)
    for rows in samples:
        feed = {f"values.{name}": part for name, part in rows.values.items()}
        feed |= {f"observed.{name}": part for name, part in rows.observed.items()}
        feed |= {f"times.{m.name}": rows.times[m.name] for m in rows.schema if m.irregular}
        assert_allclose(session.run(None, feed)[0], model.predict_proba(rows), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_the_program_and_onnxruntime_answer_as_the_model(model, data, tmp_path):
    X, y, spoiled = data
    model.fit(X, y)
    program = export_program(model, **_patterns(model)).module()

    _check_onnx(model, tmp_path / "model.onnx", spoiled, spoiled[3:4])
    for rows in (spoiled, spoiled[3:4]):
        answers = program(*_tensors(rows)).detach().numpy()
        assert_allclose(answers, model.predict_proba(rows), atol=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("settings", FUSIONS.values(), ids=FUSIONS)
def test_onnxruntime_answers_as_every_encoder_and_strategy(settings, tmp_path):
    X, y = make_panel_classification(
        n_samples=30,
        modalities={"a": (2, 8.0), "b": (1, 8.0)},
        duration_seconds=1.0,
        missing_fraction=0.2,
        missing_modality_fraction=0.3,
        irregular=("a",),
        random_state=0,
    )
    tiny = {**TINY, "n_estimators": 1, "n_groups": 2}

    _check_onnx(FusionClassifier(**tiny, **settings).fit(X, y), tmp_path / "model.onnx", X, X[3:4])


def _run_without(libraries, code):
    """Words of each line that a new process prints, in which the libraries cannot be imported."""
    forbid = f"import sys\nfor name in {libraries}: sys.modules[name] = None\n"
    done = subprocess.run(
        [sys.executable, "-c", forbid + code], check=True, capture_output=True, text=True
    )
    return [line.split() for line in done.stdout.splitlines()]


@pytest.mark.slow
def test_a_saved_program_answers_without_this_library(data, tmp_path):
    X, y, _ = data
    model = MODELS["ridge"].fit(X, y)
    torch.export.save(export_program(model), tmp_path / "model.pt2")
    torch.save(_tensors(X), tmp_path / "samples.pt")

    printed = _run_without(
        ("mts_fusion", "sklearn"),
        f"import torch; inputs = torch.load({str(tmp_path / 'samples.pt')!r})\n"
        f"program = torch.export.load({str(tmp_path / 'model.pt2')!r})\n"
        "for row in program.module()(*inputs).tolist(): print(*row)",
    )

    assert_allclose(np.array(printed, float), model.predict_proba(X), atol=1e-5)


@pytest.mark.slow
def test_the_example_answers_without_this_library(data, tmp_path):
    X, y, spoiled = data
    model = MODELS["ridge"].fit(X, y)
    export_onnx(model, tmp_path / "model.onnx", patterns="all")
    np.savez(tmp_path / "samples.npz", **spoiled.values)
    example = Path(__file__).parents[2] / "examples" / "serve_onnx.py"
    files = [str(tmp_path / "model.onnx"), str(tmp_path / "samples.npz")]
    printed = _run_without(
        ("mts_fusion", "torch", "sklearn"),
        f"import runpy; sys.argv[1:] = {files}\n"
        f"runpy.run_path({str(example)!r}, run_name='__main__')",
    )

    probabilities = model.predict_proba(spoiled)
    assert [int(words[0]) for words in printed] == model.predict(spoiled).tolist()
    assert_allclose([list(map(float, words[1:])) for words in printed], probabilities, atol=1e-5)


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
    values = x.transpose(1, 2).contiguous()
    ordered = values.sort(-1).values
    choice = torch.tensor([2, 0, 1, 0, 2, 0, 1])

    def results():
        return [
            layers.running_max(x, 1),
            layers.sorted_index(ordered, values),
            layers.sorted_index(ordered, values, right=True),
            layers.as_bytes(x > 0),
            layers.stable_argsort(choice, 0),
            layers.stable_argsort((x > 0).to(torch.int8), 1),
        ]

    expected = results()
    monkeypatch.setattr("mts_fusion.nn.layers._portable.is_exporting", lambda: True)

    for result, wanted in zip(results(), expected, strict=True):
        assert torch.equal(result.to(wanted.dtype), wanted)
