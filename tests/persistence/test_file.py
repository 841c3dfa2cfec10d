"""Files of fitted objects: what they hold, and what is refused of a damaged or hostile one."""

import hashlib
import io
import json
import os
import pickle
import subprocess
import sys
import zipfile
from pathlib import Path

import numpy as np
import pytest
import skops.io as skops_io
import torch
from numpy.testing import assert_array_equal
from safetensors.numpy import load as read_arrays
from sklearn.calibration import CalibratedClassifierCV
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from skorch.callbacks import EarlyStopping
from torch import nn

import mts_fusion
from mts_fusion import load, save
from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import FusionClassifier, MaestroClassifier, PatternRidgeClassifier
from mts_fusion.nn.encoders import EncoderOutput
from mts_fusion.training import pick_device
from mts_fusion.transforms import PanelScaler, PanelSummarizer

TINY = {"d_model": 8, "n_heads": 2, "max_epochs": 1, "device": "cpu", "random_state": 0}


@pytest.fixture(scope="module")
def data():
    return make_panel_classification(n_samples=30, random_state=0)


@pytest.fixture(scope="module")
def fusion(data):
    return FusionClassifier(**TINY, n_groups=4, n_estimators=1).fit(*data)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "model.mts"


@pytest.fixture
def scaler(data, path):
    """A saved scaler, to be spoiled."""
    scaler = PanelScaler().fit(data[0])
    scaler.save(path)
    return scaler


def _parts(path):
    with zipfile.ZipFile(path) as file:
        return {name: file.read(name) for name in file.namelist()}


def _write(path, parts, *, sign=True, compression=zipfile.ZIP_STORED):
    """The parts as a file, with right checksums: whoever can write a file can compute them."""
    manifest = json.loads(parts["manifest.json"])
    if sign:
        others = {name: part for name, part in parts.items() if name != "manifest.json"}
        manifest["sha256"] = {k: hashlib.sha256(v).hexdigest() for k, v in others.items()}
    parts = {**parts, "manifest.json": json.dumps(manifest).encode()}
    with zipfile.ZipFile(path, "w", compression) as file:
        for name, part in parts.items():
            file.writestr(name, part)


def _change_manifest(path, **changes):
    parts = _parts(path)
    manifest = {**json.loads(parts["manifest.json"]), **changes}
    _write(path, {**parts, "manifest.json": json.dumps(manifest).encode()})


def _change_model(path, change):
    parts = _parts(path)
    content = json.loads(parts["model.json"])
    content["model"] = change(content["model"])
    _write(path, {**parts, "model.json": json.dumps(content).encode()})


def _with_state(**attributes):
    return lambda tree: {**tree, "state": {**tree["state"], **attributes}}


# What a file holds


def test_a_file_holds_json_and_safetensors(fusion, path):
    fusion.save(path)
    parts = _parts(path)

    assert list(parts) == ["manifest.json", "model.json", "arrays.safetensors"]
    manifest, model = json.loads(parts["manifest.json"]), json.loads(parts["model.json"])["model"]
    assert manifest["versions"]["mts-fusion"] == mts_fusion.__version__
    assert manifest["class"] == "mts_fusion.estimators._fusion.FusionClassifier"
    assert model["object"] == "estimators.FusionClassifier"
    assert model["state"]["d_model"] == 8
    arrays = read_arrays(parts["arrays.safetensors"])
    weights = fusion.nets_[0].module_.state_dict()
    stored = {k: v for k, v in arrays.items() if k.startswith("model.nets_.0.module.")}
    assert sum(v.size for v in stored.values()) >= sum(w.numel() for w in weights.values())


@pytest.mark.slow
def test_a_fresh_process_gives_the_same_bits(data, fusion, path, tmp_path):
    fusion.save(path)
    np.savez(tmp_path / "x.npz", **data[0].values)
    rates = {m.name: m.rate for m in data[0].schema}
    code = (
        "import sys, numpy as np, mts_fusion\n"
        f"X = mts_fusion.Panel(dict(np.load({str(tmp_path / 'x.npz')!r})), rates={rates})\n"
        f"clf = mts_fusion.load({str(path)!r})\n"
        f"np.save({str(tmp_path / 'p.npy')!r}, clf.predict_proba(X))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, env=os.environ)

    assert_array_equal(np.load(tmp_path / "p.npy"), fusion.predict_proba(data[0]))


def test_an_unfitted_estimator_keeps_its_parameters(path):
    save(PatternRidgeClassifier(kinds=("statistics",), random_state=np.random.RandomState(3)), path)

    loaded = load(path)

    assert loaded.kinds == ("statistics",)
    assert loaded.random_state.randint(100) == np.random.RandomState(3).randint(100)
    assert not hasattr(loaded, "models_")


def test_a_pipeline_with_parts_of_scikit_learn_is_stored_by_skops(data, path):
    X, y = data
    pipeline = make_pipeline(PanelScaler(), PanelSummarizer(), LogisticRegression()).fit(X, y)

    save(pipeline, path)

    assert "skops/0.skops" in _parts(path)
    assert_array_equal(load(path).predict_proba(X), pipeline.predict_proba(X))


def test_ours_inside_an_estimator_of_scikit_learn(data, path):
    X, y = data
    ours = PatternRidgeClassifier(kinds=("statistics",), n_threads=1)
    model = CalibratedClassifierCV(ours, cv=2, ensemble=False).fit(X, y)

    save(model, path)

    assert_array_equal(load(path).predict_proba(X), model.predict_proba(X))


def test_trees_of_scikit_learn_are_stored_by_skops(data, path):
    X, y = data
    trees = HistGradientBoostingClassifier(max_iter=1)
    model = make_pipeline(PanelSummarizer(statistics=["mean"]), trees).fit(X, y)
    save(model, path)

    assert_array_equal(load(path).predict_proba(X), model.predict_proba(X))


@pytest.mark.slow
def test_boosted_pattern_ridge_is_stored_by_skops(data, path):
    X, y = data
    model = PatternRidgeClassifier(kinds=("statistics",), head="boosting", random_state=0)
    model.fit(X, y).save(path)

    assert_array_equal(load(path).predict_proba(X), model.predict_proba(X))


def test_labels_of_any_type_come_back(data, path):
    X, y = data
    for labels in (np.array(["a", "bé", "c"]), np.array(["a", None, 1.5], dtype=object)[:1]):
        model = PanelScaler().fit(X)
        model.labels_ = labels[y % len(labels)]
        model.save(path)
        assert_array_equal(load(path).labels_, model.labels_)
        assert load(path).labels_.dtype.kind == labels.dtype.kind


@pytest.mark.parametrize(
    "value",
    [
        [1, -(2**70), 0.1, float("inf"), None, True, "ü"],
        (1, {"a.b": 1, "a": {"b": 2}}, {(1, 2): "x"}, {3, 4}, frozenset({5}), slice(1, None, 2)),
        np.float32(0.1),
        np.str_("x"),
        np.array(["2026-01-01"], dtype="datetime64[ns]"),
        np.zeros((0, 3), dtype=np.int16),
    ],
    ids=repr,
)
def test_values_of_attributes_come_back(value, scaler, path):
    scaler.extra_ = value
    scaler.save(path)

    loaded = load(path).extra_

    assert type(loaded) is type(value)
    assert repr(loaded) == repr(value)


def test_arrays_keep_their_order_in_memory_and_are_stored_once(scaler, path):
    array = np.asfortranarray(np.arange(6.0).reshape(2, 3))
    tensor = torch.arange(6).reshape(2, 3).t()
    scaler.extra_ = [array, array, tensor, torch.ones(2, dtype=torch.bfloat16)]
    scaler.save(path)

    first, second, third, fourth = load(path).extra_

    assert first is second
    assert first.flags.f_contiguous
    assert_array_equal(first, array)
    assert third.stride() == tensor.stride()
    assert torch.equal(third, tensor)
    assert fourth.dtype == torch.bfloat16
    assert sum(name.startswith("model.extra_") for name in _array_names(path)) == 3


def _array_names(path):
    return list(read_arrays(_parts(path)["arrays.safetensors"]))


def test_recurrent_layers_and_shared_weights_are_restored(data, path):
    X, y = data
    clf = FusionClassifier(encoder="lstm", n_estimators=1, **TINY).fit(X, y)
    clf.save(path)

    loaded = load(path)

    assert_array_equal(loaded.predict_proba(X), clf.predict_proba(X))
    for layer in loaded.nets_[0].module_.modules():
        if isinstance(layer, nn.LSTM):
            assert all(a is b for a, b in zip(layer._flat_weights, layer.parameters(), strict=True))


def test_a_loaded_estimator_goes_on_training(data, path):
    X, y = data
    clf = FusionClassifier(n_groups=4, n_estimators=1, warm_start=True, **TINY).fit(X, y)
    clf.save(path)

    loaded = load(path).fit(X, y)

    assert_array_equal(loaded.predict_proba(X), clf.fit(X, y).predict_proba(X))
    assert loaded.n_iter_ == 2


def test_updates_of_a_loaded_pattern_ridge_are_exact(data, path):
    X, y = data
    clf = PatternRidgeClassifier(n_groups=2, n_threads=1, random_state=0).partial_fit(
        X[:20], y[:20]
    )
    clf.save(path)

    loaded = load(path).partial_fit(X[20:], y[20:])

    expected = clf.partial_fit(X[20:], y[20:]).predict_proba(X)
    assert_array_equal(loaded.predict_proba(X), expected)


def test_a_pickle_holds_the_weights_once(fusion):
    n_weights = sum(w.numel() for w in fusion.nets_[0].module_.state_dict().values())
    net = fusion.nets_[0]
    extra = len(pickle.dumps(net)) - 4 * n_weights

    assert extra < 2 * n_weights + 30_000


def test_what_a_gpu_trained_is_loaded_where_there_is_none(data, fusion, path, monkeypatch):
    ridge = PatternRidgeClassifier(n_groups=2, n_threads=1, random_state=0).fit(*data)
    for model in (fusion, ridge):
        model.save(path)
        parts = _parts(path)
        assert b'"device": "cpu"' in parts["model.json"]
        parts["model.json"] = parts["model.json"].replace(b'"device": "cpu"', b'"device": "cuda"')
        _write(path, parts)
        monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
        assert_array_equal(load(path).predict_proba(data[0]), model.predict_proba(data[0]))
    with pytest.raises(ValueError, match="device='cuda'"):
        pick_device("cuda")


@pytest.mark.gpu
def test_a_gpu_trains_and_a_cpu_loads(data, path, monkeypatch):
    X, y = data
    clf = MaestroClassifier(n_estimators=1, **{**TINY, "device": "cuda"}).fit(X, y)
    clf.save(path)
    assert_array_equal(load(path).predict_proba(X), clf.predict_proba(X))
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)

    loaded = load(path)

    assert {w.device.type for w in loaded.nets_[0].module_.parameters()} == {"cpu"}
    np.testing.assert_allclose(loaded.predict_proba(X), clf.predict_proba(X), atol=1e-4)


# What cannot be stored


def test_an_object_of_another_library_is_refused_with_its_path(path):
    clf = FusionClassifier(callbacks=[EarlyStopping()])

    with pytest.raises(TypeError, match=r"model\.callbacks\.0 is a skorch.+EarlyStopping\. A file"):
        clf.save(path)

    assert list(path.parent.iterdir()) == []


class OwnEncoder(nn.Module):
    def __init__(self, n_channels, d_model):
        super().__init__()
        self.linear = nn.Linear(n_channels, d_model)

    def forward(self, values, observed, times):
        tokens = self.linear(values.nan_to_num())
        return EncoderOutput(tokens, observed.any(2))


def test_a_layer_of_the_user_is_loaded_only_if_it_is_trusted(scaler, path):
    scaler.extra_ = OwnEncoder(2, 3)
    scaler.save(path)

    with pytest.raises(ValueError, match=r"OwnEncoder' is not a class that a file may hold"):
        load(path)

    loaded = load(path, trusted=[OwnEncoder]).extra_
    assert torch.equal(loaded.linear.weight, scaler.extra_.linear.weight)


# Damaged, newer and hostile files


def test_a_newer_format_is_refused(scaler, path):
    _change_manifest(path, format_version=2, versions={"mts-fusion": "9.9"})

    with pytest.raises(ValueError, match=r"has format 2, written by mts-fusion 9\.9; .+ up to 1"):
        load(path)


def test_another_version_of_the_library_warns(scaler, path):
    _change_manifest(path, versions={"mts-fusion": "0.0.1"})

    with pytest.warns(UserWarning, match=r"written by mts-fusion 0\.0\.1, and is read by"):
        loaded = load(path)

    assert loaded.center_.keys() == scaler.center_.keys()


@pytest.mark.parametrize("part", ["model.json", "arrays.safetensors"])
def test_a_wrong_checksum_is_refused(part, scaler, path):
    parts = _parts(path)
    spoiled = bytearray(parts[part])
    spoiled[-2] ^= 1
    _write(path, {**parts, part: bytes(spoiled)}, sign=False)

    with pytest.raises(ValueError, match=f"damaged: the checksum of {part} is wrong"):
        load(path)


def test_a_half_written_or_other_file_is_refused(scaler, path):
    content = path.read_bytes()
    for wrong in (content[: len(content) // 2], b"", pickle.dumps(scaler)):
        path.write_bytes(wrong)
        with pytest.raises(ValueError, match="is no model file, or it is damaged"):
            load(path)
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("manifest.json", "{}")
    with pytest.raises(ValueError, match=r"not one that mts_fusion\.save has written"):
        load(path)


@pytest.mark.parametrize("name", ["../evil.py", "/tmp/evil", "skops/../0.skops", "model.json.py"])
def test_a_part_with_a_path_of_its_own_is_refused(name, scaler, path):
    _write(path, {**_parts(path), name: b"x"})

    with pytest.raises(ValueError, match=r"has a part .+ which no model file has"):
        load(path)

    assert {one.name for one in path.parent.iterdir()} == {path.name}


def test_a_part_that_unpacks_to_gigabytes_is_refused(scaler, path):
    _write(path, {**_parts(path), "skops/0.skops": bytes(10**7)}, compression=zipfile.ZIP_DEFLATED)

    with pytest.raises(ValueError, match="has a compressed part"):
        load(path)


def test_sizes_larger_than_the_file_are_refused(scaler, path):
    parts = _parts(path)
    header = json.dumps({"x": {"dtype": "F64", "shape": [10**12], "data_offsets": [0, 8 * 10**12]}})
    lengths = (len(header).to_bytes(8, "little"), (2**62).to_bytes(8, "little"))
    for length in lengths:
        _write(path, {**parts, "arrays.safetensors": length + header.encode()})
        with pytest.raises(ValueError, match="cannot be read"):
            load(path)
    _write(path, parts)
    entries = {"entries": [], "kind": "O", "shape": [10**12]}
    _change_model(path, _with_state(extra_=entries))
    with pytest.raises(ValueError, match="0 entries do not make an array"):
        load(path)


@pytest.mark.parametrize(
    "tree",
    [
        {"object": "os.system", "state": {}},
        {"object": "subprocess.Popen", "state": {"args": "echo"}},
        {"object": "builtins.eval", "state": {}},
        {"object": "datasets.Cache", "state": {}},
        {"object": "training._net.PanelNet", "state": {}},
        {"object": "transforms.no_such_class", "state": {}},
        {"class": "torch.nn.functional"},
        {"layer": "torch.hub.load", "state": {}},
        {"layer": "transforms.PanelScaler", "parameters": {}, "buffers": {}, "layers": {}},
        {"object": "panel.as_panel", "state": {}},
        {"function": "os.system"},
        {"foreign": "model.extra_"},
        {"same_as": "model.nothing"},
        {"torch_dtype": "load"},
        {"scalar": [1], "dtype": "O"},
        {},
    ],
    ids=str,
)
def test_a_class_that_is_not_allowed_is_refused(tree, scaler, path):
    _change_model(path, _with_state(extra_=tree))

    with pytest.raises(ValueError, match="cannot be read"):
        load(path)


@pytest.mark.parametrize("name", ["transform", "__class__", "__reduce__", "save"])
def test_an_attribute_that_hides_a_method_is_refused(name, scaler, path):
    _change_model(path, _with_state(**{name: {"class": "transforms.PanelScaler"}}))

    with pytest.raises(ValueError, match="would hide a method of PanelScaler"):
        load(path)


def test_a_file_nested_too_deeply_is_refused(scaler, path):
    parts = _parts(path)
    _write(path, {**parts, "model.json": b'{"model":' + b"[" * 10**5 + b"]" * 10**5 + b"}"})

    with pytest.raises(ValueError, match="cannot be read"):
        load(path)


class Evil(DummyClassifier):
    def __setstate__(self, state):
        Path(state["where"]).write_text("run")


def test_what_skops_does_not_trust_is_refused(data, path):
    evil = Evil()
    evil.where = str(path.with_name("evil"))
    save(make_pipeline(PanelSummarizer(), DummyClassifier()), path)
    _write(path, {**_parts(path), "skops/0.skops": skops_io.dumps(evil)})

    with pytest.raises(ValueError, match="which are not known to be safe"):
        load(path)

    assert not path.with_name("evil").exists()
    load(path, trusted=[Evil])
    assert path.with_name("evil").read_text() == "run"


def test_a_bomb_inside_a_part_of_skops_is_refused(data, path):
    save(make_pipeline(PanelSummarizer(), DummyClassifier()), path)
    bomb = io.BytesIO()
    with zipfile.ZipFile(bomb, "w", zipfile.ZIP_DEFLATED) as file:
        file.writestr("schema.json", bytes(10**7))
    _write(path, {**_parts(path), "skops/0.skops": bomb.getvalue()})

    with pytest.raises(ValueError, match="a part declares more bytes than the file has"):
        load(path)


def test_every_public_name_of_the_package_has_one_meaning():
    from mts_fusion.persistence._classes import class_of, name_of

    for package in ("panel", "nn", "transforms", "training", "estimators"):
        module = getattr(mts_fusion, package)
        for name in module.__all__:
            cls = getattr(module, name)
            if isinstance(cls, type):
                assert class_of(name_of(cls)) is cls
