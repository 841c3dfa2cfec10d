"""Wrong values for each parameter of each constructor: refused in ``fit``, with its name."""

import inspect

import numpy as np
import pytest
from sklearn.base import clone

from mts_fusion import estimators, transforms
from mts_fusion.datasets import make_panel_classification
from mts_fusion.estimators import FusionClassifier, MaestroClassifier
from mts_fusion.nn.strategies import STRATEGIES
from mts_fusion.panel import Panel, Vocabulary
from mts_fusion.training import PanelNet, PatternModels

NETWORK = {"d_model": 8, "n_heads": 2, "max_epochs": 1, "device": "cpu", "random_state": 0}
SMALL = {**NETWORK, "max_iter": 1}
GROUPS = {"groups": {"a": [0, 1], "b": [2]}}

WRONG = {
    "object": object(),
    "name": "no such value",
    "truth": True,
    "complex": 0.5j,
    "array": np.array([1, 2]),
    "negative": -7,
    "fraction": -0.5,
    "nan": float("nan"),
    "dict": {"x": 1},
    "list": [1, "a"],
    "none": None,
}
FEW = ("object", "name", "truth")


def _classes():
    """Every public estimator and transformer."""
    return [
        getattr(package, name)
        for package in (estimators, transforms)
        for name in package.__all__
        if inspect.isclass(getattr(package, name)) and hasattr(getattr(package, name), "fit")
    ]


EACH = pytest.mark.parametrize("cls", _classes(), ids=lambda cls: cls.__name__)


@pytest.fixture(scope="module")
def data():
    modalities = {"acc": (2, 8.0), "hr": (1, 4.0)}
    return make_panel_classification(20, modalities=modalities, n_classes=2, random_state=0)


class _Trained(Exception):
    """The training would begin: nothing was refused."""


@pytest.fixture
def untrained(monkeypatch):
    """Networks and models are built, but not trained."""

    def stop(*args, **kwargs):
        raise _Trained

    monkeypatch.setattr(PanelNet, "train", stop)
    monkeypatch.setattr(PatternModels, "fit", stop)


def _tiny(cls):
    parameters = inspect.signature(cls).parameters
    small = {name: value for name, value in SMALL.items() if name in parameters}
    return cls(**small, **(GROUPS if cls is transforms.ModalityGrouper else {}))


def _outcome(estimator, X, y):
    """The message of the refusal; None where the fit is accepted."""
    try:
        estimator.fit(X, y)
    except _Trained:
        return None
    except (ValueError, TypeError) as error:
        return str(error)
    return None


def _check(cls, data, kinds, may_pass):
    X, y = data
    if cls is transforms.ModalityGrouper:
        X = np.zeros((20, 3, 8))
    failures = []
    for name in inspect.signature(cls).parameters:
        for kind in kinds:
            estimator = clone(_tiny(cls))
            setattr(estimator, name, WRONG[kind])
            message = _outcome(estimator, X, y)
            if message is None and not may_pass(name, kind):
                failures.append(f"{name}={kind} is accepted")
            if message is not None and name.rstrip("s") not in message.lower():
                failures.append(f"{name}={kind}: {message}")
    assert not failures


def _takes_bool(cls, name):
    constraints = getattr(cls, "_parameter_constraints", {}).get(name, [])
    return any(isinstance(c, str) and c in ("boolean", "verbose") for c in constraints)


@EACH
def test_nonsense_is_refused_by_name(cls, data, untrained):
    _check(cls, data, FEW, lambda name, kind: kind == "truth" and _takes_bool(cls, name))


@pytest.mark.slow
@EACH
def test_every_wrong_value_is_refused_by_name_or_accepted(cls, data, untrained):
    _check(cls, data, WRONG, lambda name, kind: True)


@pytest.mark.parametrize(
    ("parameters", "message"),
    [
        ({"net_params": {"optimizer__foo": 1}}, r"\['optimizer__foo'\], which AdamW does not have"),
        ({"device": "meta"}, "device='meta' holds no numbers"),
        ({"class_weight": [1, "a"]}, "class_weight="),
        ({"attention_budget": {"acc": "learnt"}}, "a number of at least 0, got 'learnt'"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_wrong_contents_are_refused_by_name(data, untrained, parameters, message):
    with pytest.raises(ValueError, match=message):
        MaestroClassifier(**{**NETWORK, **parameters}).fit(*data)


@pytest.mark.parametrize(
    ("params", "message"),
    [({"x": 1}, r"strategy_params names \['x'\]"), ({"rank": 0}, "rank is at least 1, got 0")],
)
def test_wrong_parameters_of_a_strategy_are_refused(data, untrained, params, message):
    clf = FusionClassifier(**NETWORK, strategy="low_rank", strategy_params=params)
    with pytest.raises(ValueError, match=message):
        clf.fit(*data)


def _wrong_strategy_params():
    """Each parameter of each strategy that is a number or a bool, with values that it is not."""
    for name, strategy in STRATEGIES.items():
        for key, parameter in inspect.signature(strategy).parameters.items():
            if isinstance(parameter.default, (bool, int, float)):
                others = (-1, "a", None) if isinstance(parameter.default, bool) else (-1, True, "a")
                yield from ((name, key, value) for value in others)


@pytest.mark.parametrize(("strategy", "key", "value"), list(_wrong_strategy_params()))
def test_wrong_values_of_each_strategy_are_refused_by_name(data, untrained, strategy, key, value):
    clf = FusionClassifier(**NETWORK, strategy=strategy, strategy_params={key: value})
    with pytest.raises(ValueError, match=rf"\b{key}\b"):
        clf.fit(*data)


def test_a_vocabulary_has_no_more_symbols_than_tokens_can_count():
    with pytest.raises(ValueError, match="at most 32,767 symbols, got size=50000"):
        Panel({"a": np.full((2, 1, 3), 40_000)}, vocabularies={"a": Vocabulary(size=50_000)})
