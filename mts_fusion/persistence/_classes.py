"""Names of the classes whose instances a file may hold, and the classes of these names."""

from __future__ import annotations

import importlib
import pkgutil
import sys
from collections.abc import Sequence
from functools import cache
from types import ModuleType
from typing import Any

__all__ = ["class_of", "full_name", "imported_torch", "is_pipeline", "name_of", "own_types"]

# Packages of this library whose classes a file may name.
_PACKAGES = ("panel", "nn", "transforms", "training", "estimators")
_ROOT = __name__.split(".")[0]
_PIPELINE = "sklearn.pipeline.Pipeline"


def full_name(cls: type) -> str:
    """Module and name of a class."""
    return f"{cls.__module__}.{cls.__qualname__}"


def imported_torch() -> ModuleType | None:
    """The module torch, if it is imported: otherwise no object is one of its types."""
    return sys.modules.get("torch")


def is_pipeline(cls: type) -> bool:
    """Whether a class is the Pipeline of scikit-learn, which is read step by step."""
    return full_name(cls) == _PIPELINE


@cache
def _own_classes(package: str) -> dict[str, type]:
    """Classes that a package defines, by name; those of the same name are left out."""
    top = importlib.import_module(f"{_ROOT}.{package}")
    modules = [top, *(importlib.import_module(m.name) for m in _walk(top))]
    classes: dict[str, type] = {}
    ambiguous = set()
    for module in modules:
        for name, value in vars(module).items():
            if isinstance(value, type) and full_name(value) == f"{module.__name__}.{name}":
                if name in classes:
                    ambiguous.add(name)
                classes[name] = value
    return {name: cls for name, cls in classes.items() if name not in ambiguous}


def _walk(package: ModuleType) -> Any:
    return pkgutil.walk_packages(package.__path__, f"{package.__name__}.")


def own_types() -> set[str]:
    """Full names of the classes of this library that a file may hold."""
    return {full_name(cls) for package in _PACKAGES for cls in _own_classes(package).values()}


def name_of(cls: type) -> str | None:
    """The name by which a file holds a class; None if no file may.

    A class of this library is named by its package, ``estimators.MaestroClassifier``, so that its
    file may move; a layer of torch is ``torch.nn.Linear``.
    """
    root, _, rest = cls.__module__.partition(".")
    package = rest.partition(".")[0]
    if root == _ROOT and package in _PACKAGES:
        return (
            f"{package}.{cls.__name__}" if _own_classes(package).get(cls.__name__) is cls else None
        )
    if is_pipeline(cls):
        return _PIPELINE
    name = f"torch.nn.{cls.__name__}"
    return name if _torch_layer(name) is cls else None


def class_of(name: str, trusted: Sequence[type] = ()) -> type:
    """The class of a name, if it is one that a file may hold.

    Parameters
    ----------
    name : str
        As :func:`name_of` gives it, or the full name of a trusted class.
    trusted : sequence of type, default=()
        Classes of others that are allowed too.

    Returns
    -------
    type
        Nothing outside this library, torch and scikit-learn is imported to find it.

    Raises
    ------
    ValueError
        If it is no such class.
    """
    package, _, short = name.rpartition(".")
    cls: type | None = next((one for one in trusted if full_name(one) == name), None)
    if package in _PACKAGES:
        cls = _own_classes(package).get(short)
    elif name == _PIPELINE:
        from sklearn.pipeline import Pipeline

        cls = Pipeline
    elif package == "torch.nn":
        cls = _torch_layer(name)
    if cls is None:
        raise ValueError(
            f"{name!r} is not a class that a file may hold. If you trust the class, hand it over "
            "with load(path, trusted=[...])."
        )
    return cls


def _torch_layer(name: str) -> type | None:
    """The layer of ``torch.nn`` of this name."""
    if imported_torch() is None:
        importlib.import_module("torch")
    from torch import nn

    cls = getattr(nn, name.rpartition(".")[2], None)
    return cls if isinstance(cls, type) and issubclass(cls, nn.Module) else None
