"""Wrong values for each argument of each public function and method: refused by name, or listed.

A door is a function or method with arguments that work. Each argument of its signature gets each
of the wrong values: a ValueError or TypeError has to name it, and no traceback may end inside
torch, skorch or numpy. ``ACCEPTED`` lists what is no error, and why.
"""

import copy
import inspect
import re
import traceback
from fnmatch import fnmatch

import numpy as np
import pandas as pd
import pytest

from mts_fusion import datasets, estimators, inspection, metrics, transforms
from mts_fusion import panel as panels
from mts_fusion.datasets import _cache, make_panel_classification
from mts_fusion.inspection import _costs, _importance, _noise, _robustness
from mts_fusion.panel import Modality, Schema, Vocabulary, _save
from mts_fusion.training import GaussianProcessModel, PanelNet, PatternModels

WRONG = {
    "object": object(),
    "name": "no such value",
    "truth": True,
    "complex": 0.5j,
    "array": np.array([1, 2]),
    "negative": -7,
    "nan": float("nan"),
    "infinite": float("inf"),
    "dict": {"x": 1},
    "list": [1, "a"],
    "empty": [],
    "none": None,
    "cube": np.zeros((1, 1, 1, 1)),
    "fraction": 0.5,
    "zero": 0,
    "set": {1, 2},
    "names": ["x"],
    "nested": {"acc": "x"},
    "dates": np.array(["2026-01-01"], "M8[s]"),
}
FEW = ("object", "name", "truth", "nan", "list", "none")

# What is no error, by door(argument). A value that is of the right type and in range is not wrong.
ACCEPTED = {
    # None, where it is the default and says so
    "*(ax)": "none",
    "*(groups)": "none",
    "*(sample_weight)": "none",
    "*(labels)": "none",
    "*(metric)": "none",
    "*(name)": "name none",
    "*(n_jobs)": "none negative zero",
    "*(scoring)": "none dict",
    "*(step_seconds)": "none fraction",
    "*(random_state)": "none zero",
    "*(informative)": "none empty",
    "*(missing)": "none",
    "*(levels)": "none",
    "quantiles_from_samples(levels)": "truth",  # 1, the highest draw
    "*(max_size)": "none",
    "*(max_lag)": "none",
    "*(average)": "none",
    "*(classes)": "none",
    "*(schema)": "none",
    "*(rates)": "none",
    "as_panel(rates)": "none fraction",
    "*(times)": "none",
    "*(channels)": "none",
    "*(vocabulary)": "none",
    "*(rate)": "none fraction",
    "*(modality)": "none",
    "*(n)": "none",
    "*(subjects)": "none array empty set",
    "*(modalities)": "none empty",
    "*(hospitals)": "none empty",
    "*(conditions)": "empty",
    "*(n_hours)": "none",
    "*(max_life)": "none fraction infinite",
    "*(target)": "none",
    "Vocabulary(breakpoints)": "none",
    "Vocabulary(centers)": "none",
    "Panel*(values)": "none",
    "Panel*(vocabularies)": "none",
    "Panel*(observed)": "none",
    "Panel*(sample_ids)": "none array list",
    "segment(label)": "*",  # a scalar, whatever it is, is the label of all windows
    "segment(groups)": "*",  # and the group of its recording
    "segment(min_observed)": "fraction zero",
    "mask_panel(groups)": "empty",
    "*.from_paper(random_state)": "*",  # looked at in fit, as in scikit-learn
    "*Display.from_estimator(ax)": "*",  # looked at in plot
    "PatternRidgeRegressor.partial_fit(classes)": "none empty",
    "*(input_features)": "*",  # ignored, as scikit-learn does
    # True, where it is a switch
    "*(return_groups)": "truth",
    "*(return_starts)": "truth",
    "*(label_holds)": "truth",
    "*(irregular)": "truth empty",
    "*(strict)": "truth",
    "*(per_modality)": "truth",
    "*(fair)": "truth",
    "*(download)": "truth",
    "*(cache)": "truth",
    "*(orientation)": "truth",
    "*(hourly)": "truth",
    "*(static)": "truth",
    "*(normalize)": "truth",
    "*(verbose)": "truth negative zero",
    "*(symbols)": "truth",
    "brier_score(scale_by_half)": "truth",
    "oracle_cosine_similarity(average)": "truth",
    # numbers and names in range
    "*(data_home)": "name none",
    "*(folder)": "name",
    "*(*_seconds)": "fraction",
    "LiveSegmenter(delay_seconds)": "fraction zero",
    "LiveSegmenter(start)": "none negative fraction zero",
    "*(missing_fraction)": "fraction zero",
    "*(missing_modality_fraction)": "fraction zero",
    "*(class_sep)": "fraction zero",
    "*(noise)": "fraction zero",
    "*(group_sd)": "fraction zero",
    "*(min_share)": "fraction zero",
    "*(sigma)": "fraction zero",
    "*(spike_fraction)": "fraction zero",
    "*(spike_size)": "fraction zero",
    "*(level)": "fraction",
    "*(horizon)": "zero",
    "*(coverage)": "fraction",
    "*(q)": "fraction zero",
    "*(n_shown)": "zero",
    "*(sample)": "none zero",
    "*(channel)": "zero",
    "*(key)": "zero negative array empty",
    "*(noises)": "empty",
    "*(names)": "empty",
    "*(fraction)": "fraction zero",
    "*(correlation)": "fraction zero",
    "*(keep)": "zero",
    "*(seed)": "zero",
    "variogram_score(p)": "fraction",
    "reliability_curve(pos_label)": "none truth zero",
    "Modality(name)": "name",
    "Vocabulary(missing)": "negative zero",
    "Schema.check_matches(owner)": "name",
    "*(label)": "name",
    "*(time_label)": "name",
    "*(pattern)": "name",  # of the display, a label; of the curve, looked up when it is computed
    "*(cmap)": "name",  # looked up by matplotlib
    "ImputationDisplay*(truth)": "none",
    "RecordingDisplay(classes)": "array list",
    "RecordingDisplay*(y)": "none",
    "RecordingDisplay*(y_true)": "none",
    "RecordingDisplay*(seconds)": "none",
    "attention_maps(modality)": "name none",  # read at level="token" only
    "AttentionMapDisplay.from_estimator(modality)": "name none",
}
IGNORES_Y = [
    "ConditionalDiffusionImputer",
    "GaussianProcessImputer",
    "MaestroPretrainer",
    "RocketFeatures",
    *(name for name in transforms.__all__ if name != "mask_panel"),
]
ACCEPTED |= {f"{name}.{method}(y)": "*" for name in IGNORES_Y for method in ("fit", "score")}
ACCEPTED["RocketFeatures.fit_transform(y)"] = "*"

# A message may say these instead of the name of the argument.
ALSO = {
    "other": ("merge takes", "Panels are wanted"),
    "model": ("No schema",),
    "scoring": ("predefined scorers",),
    "y": ("Complex data", "y_true", "Found array with dim 4"),
    "groups": ("No sample would be left",),
    "estimator": ("predict_proba", "explain", "no networks"),
    "imputer": ("cannot draw",),
    "recordings": ("Modality",),
    "values": ("Modality",),
    "X": (
        "Modality",
        "Expected 2D array",
        "Complex data",
        "is empty",
        "0 sample(s)",
        "samples to forget",
    ),
    "y_proba": ("no sample",),
    "truth": ("Modality", "Expected 2D array", "No entry", "Complex data", "is empty"),
    "data_home": ("found no",),
    "A": ("Modality", "Expected 2D array", "array with 0", "Complex data", "is empty"),
    "key": ("sliced", "Sample"),
    "name": ("No modality",),
    "names": ("No modality", "at least one modality"),
    "modalities": ("stands more than once", "at least one modality"),
    "vocabularies": ("vocabulary",),
    "sample_ids": ("Sample",),
}
ALSO["B"] = ALSO["A"]
ALWAYS = ("inconsistent numbers of samples", "parameter of", "arrays of the same")


class _Passed(Exception):
    """Nothing was refused: the work would begin."""


def _stop(*args, **kwargs):
    raise _Passed


def _missing_file(loader, *args):
    raise _Passed


@pytest.fixture
def stopped(monkeypatch):
    """Nothing is trained, predicted, scored or downloaded."""
    for cls in (PanelNet, PatternModels, GaussianProcessModel):
        for name in ("train", "fit", "predict_raw", "predict_ensemble", "predict_dropout"):
            if hasattr(cls, name):
                monkeypatch.setattr(cls, name, _stop)
    for module in (_robustness, _importance, _noise):
        monkeypatch.setattr(module, "evaluate", _stop)
    monkeypatch.setattr(_costs._Counter, "run", _stop)
    monkeypatch.setattr(_cache, "_download", _missing_file)
    monkeypatch.setattr(_save, "_Writer", _stop)


class Door:
    """A function or method, and arguments that work."""

    def __init__(self, function, /, call=None, **arguments):
        self.function, self.call, self.arguments = function, call or function, arguments


SMALL = {
    "d_model": 8,
    "n_heads": 2,
    "max_epochs": 1,
    "n_estimators": 1,
    "n_groups": 2,
    "device": "cpu",
    "random_state": 0,
    "max_iter": 2,
}
X, Y = make_panel_classification(
    20, modalities={"acc": (2, 8.0), "hr": (1, 4.0)}, n_classes=2, random_state=0
)
CUBE = np.zeros((20, 3, 8))


def _tiny(cls):
    parameters = inspect.signature(cls).parameters
    small = {name: value for name, value in SMALL.items() if name in parameters}
    return cls(**small, **({"groups": {"a": [0, 1], "b": [2]}} if "Grouper" in str(cls) else {}))


def _fits(package):
    """The method ``fit``, and ``from_paper``, of each class."""
    for name in package.__all__:
        cls = getattr(package, name)
        if not inspect.isclass(cls):
            continue
        arguments = {"X": CUBE if "Grouper" in name else X}
        if inspect.signature(cls.fit).parameters["y"].default is inspect.Parameter.empty:
            arguments["y"] = Y
        call = lambda cls=cls, **given: _tiny(cls).fit(**given)  # noqa: E731
        yield f"{name}.fit", Door(cls.fit, call, **arguments)
        if hasattr(cls, "from_paper"):
            dataset = "dsads" if "Maestro" in name else "mosi"
            yield f"{name}.from_paper", Door(cls.from_paper, dataset=dataset)


def _methods(model, X, y=Y):
    """Each public method of a fitted model but ``fit``, on a copy of it."""
    cls = type(model)
    for name, method in inspect.getmembers(cls, inspect.isfunction):
        is_ours = "mts_fusion" in method.__module__ or name == "score"
        if name.startswith("_") or name in ("fit", "from_paper", "save") or not is_ours:
            continue
        given = {"X": X, "A": X, "B": X, "y": y, "other": model}
        needed = [
            p.name
            for p in inspect.signature(method).parameters.values()
            if p.name != "self" and (p.default is p.empty or p.name == "X")
        ]
        call = lambda name=name, **given: getattr(copy.deepcopy(model), name)(**given)  # noqa: E731
        yield f"{cls.__name__}.{name}", Door(method, call, **{k: given[k] for k in needed})


def _panels():
    schema = X.schema
    yield "Vocabulary", Door(Vocabulary, size=4)
    yield "Modality", Door(Modality, name="a", n_channels=2, n_timepoints=3)
    yield "Schema", Door(Schema, modalities=schema.modalities)
    yield "Panel", Door(panels.Panel, values={"acc": np.zeros((2, 1, 3))})
    yield "as_panel", Door(panels.as_panel, X={"acc": np.zeros((2, 1, 3))})
    yield "schema_of", Door(panels.schema_of, model=schema)
    yield "Schema.check_matches", Door(schema.check_matches, other=schema)
    yield "Schema.with_vocabularies", Door(schema.with_vocabularies, vocabularies={})
    yield "Panel.align", Door(X.align, schema=schema)
    yield "Panel.select", Door(X.select, names=["acc"])
    yield "Panel.drop", Door(X.drop, names=["acc"])
    yield "Panel.replace", Door(X.replace)
    yield "Panel.describe", Door(X.describe)
    yield "save_panels", Door(panels.save_panels, panels=[X], folder="no such folder")
    yield "Panel.save", Door(X.save, folder="no such folder")
    yield "Panel.open", Door(X.open, folder="no such folder")
    yield "Panel.to_sktime", Door(X.select(["acc"]).to_sktime)
    yield "Panel.concat", Door(lambda other: X.concat(other), other=X)
    yield "Panel[key]", Door(lambda key: X[key], key=0)


def _datasets(data_home="."):
    acc = pd.DataFrame(np.zeros((64, 2)), index=np.arange(64) / 8)
    label = pd.Series(list("ab") * 4, index=np.arange(8.0))
    live = lambda **given: datasets.LiveSegmenter(X.schema, window_seconds=2).push(**given)  # noqa: E731
    yield "segment", Door(datasets.segment, recordings={"acc": acc}, window_seconds=2, label=label)
    yield "LiveSegmenter", Door(datasets.LiveSegmenter, schema=X.schema, window_seconds=2)
    push = {"name": "hr", "times": np.arange(3.0), "values": np.zeros(3)}
    yield "LiveSegmenter.push", Door(datasets.LiveSegmenter.push, live, **push)
    yield "get_data_home", Door(datasets.get_data_home, data_home="a")
    yield "make_panel_classification", Door(datasets.make_panel_classification, n_samples=6)
    yield "make_panel_regression", Door(datasets.make_panel_regression, n_samples=6)
    sizes = {"n_train": 4, "n_validation": 2, "n_test": 2}
    yield "make_trace_benchmark", Door(datasets.make_trace_benchmark, **sizes)
    for name in datasets.__all__:
        if name.startswith("fetch_"):
            yield name, Door(getattr(datasets, name), data_home="no such folder")


def _transforms():
    yield from _fits(transforms)
    yield "mask_panel", Door(transforms.mask_panel, panel=X)
    for name in transforms.__all__:
        if name != "mask_panel":
            data = CUBE if "Grouper" in name else X
            model = _tiny(getattr(transforms, name)).fit(data)
            yield from _methods(model, data)


def _metrics():
    p = np.array([[0.8, 0.2]] * 20)
    samples = np.random.default_rng(0).normal(size=(5, 4, 1, 6))
    truth, missing = samples[0], np.ones((4, 1, 6), bool)
    given = {
        "y_true": Y,
        "y_proba": p,
        "truth": truth,
        "samples": samples,
        "quantiles": np.tile(truth, (19, 1, 1, 1)),
        "missing": missing,
        "imputed": truth,
        "oracle": truth[:, 0],
        "representation": truth[:, 0],
        "low": truth,
        "high": truth,
        "values": truth,
        "metric": metrics.brier_score,
        "levels": [0.1, 0.9],
    }
    for name, function in vars(metrics).items():
        if name in metrics.__all__ and inspect.isfunction(function):
            parameters = inspect.signature(function).parameters.values()
            needed = [q.name for q in parameters if q.name in given and q.default is q.empty]
            yield name, Door(function, **{key: given[key] for key in needed})


def _ridges():
    for cls, y in (
        (estimators.PatternRidgeClassifier, Y),
        (estimators.PatternRidgeRegressor, Y + np.arange(20.0)),
    ):
        model = _tiny(cls).fit(X, y)
        yield from _methods(model, X, y)


def _networks():
    yield from _fits(estimators)
    for name in (
        "GaussianProcessImputer",
        "MaestroClassifier",
        "FusionRegressor",
        "TraceClassifier",
        "TraceRegressor",
        "MaestroPretrainer",
        "RocketFeatures",
    ):
        doors = _methods(_tiny(getattr(estimators, name)).fit(X, Y), X)
        yield from (door for door in doors if not door[0].endswith("r.score"))


def _inspection():
    ridge = _tiny(estimators.PatternRidgeClassifier).fit(X, Y)
    maestro = _tiny(estimators.MaestroClassifier).fit(X, Y)
    imputer = _tiny(estimators.GaussianProcessImputer).fit(X)
    hidden = transforms.MissingnessMasker(pattern="point", random_state=0).fit_transform(X)
    given = {
        "estimator": ridge,
        "imputer": imputer,
        "X": X,
        "y": Y,
        "truth": X,
        "curve": inspection.missingness_curve(ridge, X, Y, fractions=[0], verbose=0),
        "importance": inspection.modality_importance(ridge, X, Y, verbose=0),
        "maps": inspection.attention_maps(maestro, X),
        "budgets": inspection.attention_budgets(maestro, X),
        "routing": inspection.expert_routing(maestro, X),
        "curves": {"a": metrics.reliability_curve(Y, [[0.8, 0.2]] * 20)},
        "errors": {"a": 0.1},
        "times": np.arange(3.0),
        "observed": np.array([1, np.nan, 2]),
        "draws": np.zeros((4, 3)),
        "y_true": Y,
        "y_proba": np.array([[0.8, 0.2]] * 20),
        "predictions": {0.0: [Y]},
        "history": maestro.history_,
        "available": X.available,
        "classes": [0, 1],
        "modalities": X.schema.names,
    }
    records = ("attention", "expert", "Attention", "Budget", "Expert", "model_costs")
    for name in inspection.__all__:
        part = getattr(inspection, name)
        if inspect.isclass(part) and issubclass(part, tuple):
            continue
        records_it = name.startswith((*records, "Training"))
        own = {**given, "estimator": maestro} if records_it else given
        own = {**own, "X": hidden} if "mputation" in name else own
        functions = {name: part}
        if inspect.isclass(part):
            functions |= {f"{name}.{k}": getattr(part, k) for k in vars(part) if k[:4] == "from"}
        for key, function in functions.items():
            parameters = inspect.signature(function).parameters.values()
            needed = [q.name for q in parameters if q.default is q.empty and q.name in own]
            door = Door(function, **{k: own[k] for k in needed})
            yield key, door
            if inspect.isclass(function):
                display = function(**door.arguments)
                yield f"{name}.plot", Door(function.plot, display.plot)


def _failure(door, argument, kind, accepted):
    """What is wrong with the answer to a wrong value; None where nothing is."""
    try:
        door.call(**{**door.arguments, argument: WRONG[kind]})
    except _Passed:
        return None if accepted else "is accepted"
    except (ValueError, TypeError, KeyError, IndexError, FileNotFoundError) as error:
        last = traceback.extract_tb(error.__traceback__)[-1].filename
        for library in ("torch", "skorch", "numpy"):
            if f"/{library}/" in last:
                return f"ends in {library}: {error}"
        stem = argument.removeprefix("n_").rstrip("s")
        named = re.search(
            rf"\b({argument}|{stem})" + r"\b" * (len(stem) == 1), str(error), re.IGNORECASE
        )
        others = any(words in str(error) for words in (*ALSO.get(argument, ()), *ALWAYS))
        return None if named or others else f"says {error}"
    return None if accepted else "is accepted"


def _check(doors, kinds):
    failures = []
    for name, door in doors:
        for argument, parameter in inspect.signature(door.function).parameters.items():
            if argument in ("self", "cls") or parameter.kind in (
                parameter.VAR_KEYWORD,
                parameter.VAR_POSITIONAL,
            ):
                continue
            allowed = " ".join(
                kinds
                for pattern, kinds in ACCEPTED.items()
                if fnmatch(f"{name}({argument})", pattern.replace("[", "[[]"))
            ).split()
            for kind in kinds:
                accepted = "*" in allowed or kind in allowed
                failure = _failure(door, argument, kind, accepted)
                if failure:
                    failures.append(f"{name}({argument}={kind}) {failure}")
    assert not failures, "\n".join(failures)


QUICK = {panels: _panels, datasets: _datasets, metrics: _metrics}
ALL = {
    **QUICK,
    transforms: _transforms,
    estimators: lambda: [*_ridges(), *_networks()],
    inspection: _inspection,
}


def _name(package):
    return package.__name__.rpartition(".")[2]


def _check_complete(package, doors):
    """Every public function and class has a door; tuples are made by functions."""
    public = {
        name
        for name in package.__all__
        if inspect.isfunction(part := getattr(package, name))
        or (inspect.isclass(part) and not issubclass(part, tuple))
    }
    assert public <= {name.partition(".")[0] for name, _ in doors}


@pytest.mark.parametrize("package", QUICK, ids=_name)
def test_nonsense_is_refused_by_name(package, stopped):
    doors = list(QUICK[package]())
    _check_complete(package, doors)
    _check(doors, FEW)


@pytest.mark.slow
@pytest.mark.parametrize("package", ALL, ids=_name)
@pytest.mark.filterwarnings("ignore")
def test_every_wrong_value_is_refused_by_name_or_listed(package, request):
    doors = list(ALL[package]())  # models are fitted before the work is stopped
    request.getfixturevalue("stopped")
    _check_complete(package, doors)
    _check(doors, WRONG)
