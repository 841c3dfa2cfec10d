"""What `help()` prints for public functions and classes: the types that can be said."""

import inspect
import re
import typing

import pytest

import mts_fusion

# Parameters of any type, by package, and why.
ANY = {
    "datasets.groups": "of recordings, in their structure",
    "datasets.label": "of a recording: a scalar, a series, a function, or one for each",
    "datasets.recordings": "streams of pandas or arrays, a recording or several",
    "datasets.times": "of one stream: a series of pandas, or an array",
    "datasets.values": "the same",
    "inspection.ax": "of matplotlib, which is not imported",
    "inspection.curve": "a DataFrame of pandas, which is not imported",
    "inspection.budgets": "the same",
    "inspection.routing": "the same",
    "inspection.importance": "the same",
    "training.X": "of skorch, in a method that it calls",
    "training.batch": "the same",
    "training.net": "the same",
    "training.criterion": "the same",
    "training.optimizer": "a class of torch",
    "panel.sample_ids": "labels of any type",
    **{
        f"{package}.{name}": "whatever has the methods: an estimator, a pipeline, a transformer"
        for package, name in (
            ("datasets", "schema"),
            ("estimators", "estimator"),
            ("estimators", "imputer"),
            ("inspection", "estimator"),
            ("inspection", "imputer"),
            ("interop", "model"),
            ("panel", "model"),
            ("panel", "schema"),
            ("persistence", "model"),
        )
    },
}
# Functions whose result is a DataFrame of pandas, or any object of a file.
TABLES = {
    "load",
    "model_costs",
    "attention_budgets",
    "expert_routing",
    "imputation_scores",
    "missingness_curve",
    "modality_importance",
    "modality_subsets",
    "noise_robustness",
}


def _public():
    """Each public function, constructor and method, by its name."""
    for package in mts_fusion._PACKAGES:
        for name in getattr(mts_fusion, package).__all__:
            thing = getattr(getattr(mts_fusion, package), name)
            if inspect.isfunction(thing):
                yield f"{package}.{name}", thing
            elif inspect.isclass(thing):
                yield f"{package}.{name}", thing.__init__
                for method, value in vars(thing).items():
                    is_method = inspect.isfunction(value) or isinstance(value, classmethod)
                    if is_method and not method.startswith("_"):
                        yield f"{package}.{name}.{method}", getattr(thing, method)


PUBLIC = {name: one for name, one in _public() if "mts_fusion" in getattr(one, "__module__", "")}
VARIADIC = (inspect.Parameter.VAR_KEYWORD, inspect.Parameter.VAR_POSITIONAL)


def test_all_packages_are_looked_at():
    assert {name.split(".")[0] for name in PUBLIC} == set(mts_fusion._PACKAGES)
    assert len(PUBLIC) > 300


def test_parameters_have_the_type_that_can_be_said():
    said_any = {
        f"{name.split('.')[0]}.{parameter.name}"
        for name, one in PUBLIC.items()
        for parameter in inspect.signature(one).parameters.values()
        if parameter.kind not in VARIADIC
        and parameter.name not in ("self", "cls", "_")
        and parameter.annotation in ("Any", "Any | None", inspect.Parameter.empty)
    }

    assert said_any == set(ANY)  # no reason outlives its use


def test_results_have_the_type_that_can_be_said():
    said_any = {
        name.rpartition(".")[2]
        for name, one in PUBLIC.items()
        if inspect.signature(one).return_annotation in ("Any", inspect.Signature.empty)
    }

    assert said_any == TABLES


@pytest.mark.parametrize("name", PUBLIC)
def test_the_text_of_a_signature_names_public_types_that_exist(name):
    one = PUBLIC[name]
    text = re.sub(r" = [^,)]*", "", str(inspect.signature(one)))

    assert "ForwardRef" not in text
    assert re.findall(r"\b_[A-Z]\w*|\._\w+", text) == []
    typing.get_type_hints(one)  # raises where a name is not known
