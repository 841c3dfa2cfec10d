"""Encoder: an object as a tree of JSON, with its arrays and what other libraries store beside it.

A number, a string, None and a list are themselves in JSON; all else is an object of JSON whose
first key says what it is.
"""

from __future__ import annotations

import dataclasses
import math
from typing import Any

import numpy as np

from ._arrays import is_tensor, to_plain_array
from ._classes import full_name, imported_torch, name_of

__all__ = ["Encoder", "child", "is_layer", "is_named_tuple"]

# What a recurrent layer of torch makes from its parameters.
DERIVED = ("_flat_weights", "_flat_weight_refs")


class _CannotBeStored(TypeError):
    """A value that is neither data nor of a known class."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} A file cannot hold it: set it to None, or pickle the object.")


class Encoder:
    """Encodes one object; arrays, tensors and objects that it meets twice are stored once.

    Parameters
    ----------
    keeps_foreign : bool, default=False
        Whether objects of unknown classes are put aside in ``foreign``, for pickle, instead of
        being refused.

    Attributes
    ----------
    arrays : dict of str to array
        By the path of attributes that leads to each.
    foreign : dict of str to object
        By their paths, the objects put aside; estimators of scikit-learn, where those of unknown
        classes are refused.
    """

    def __init__(self, keeps_foreign: bool = False) -> None:
        self.keeps_foreign = keeps_foreign
        self.arrays: dict[str, np.ndarray] = {}
        self.foreign: dict[str, Any] = {}
        self._paths: dict[int, str] = {}
        self._alive: list[Any] = []  # an id is unique as long as its object lives

    def encode(self, value: Any, path: str) -> Any:
        """The tree of a value.

        Parameters
        ----------
        value : object
            Of numbers, strings, containers, arrays, tensors, layers, and objects of this library.
        path : str
            Attributes that lead to it.

        Returns
        -------
        object
            For JSON.

        Raises
        ------
        TypeError
            If a value cannot be stored; the message has its path.
        """
        try:
            return self._encode(value, path)
        except _CannotBeStored:
            if not self.keeps_foreign:
                raise
            return self._put_aside(value, path)

    def _encode(self, value: Any, path: str) -> Any:
        if value is None or type(value) in (bool, int, str):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": str(value)}
        if type(value) is list:
            return self._items(value, path)
        if type(value) in (tuple, set, frozenset):
            return {type(value).__name__: self._items(value, path)}
        if type(value) is slice:
            return {"slice": [value.start, value.stop, value.step]}
        if isinstance(value, dict):
            return self._dict(value, path)
        return self._shared(value, path)

    def _items(self, values: Any, path: str) -> list[Any]:
        return [self.encode(value, f"{path}.{i}") for i, value in enumerate(values)]

    def _dict(self, value: dict[Any, Any], path: str) -> dict[str, Any]:
        if type(value) is dict and all(type(key) is str for key in value):
            return {"map": self.mapping(value, path)}
        if type(value).__name__ not in ("dict", "OrderedDict"):
            raise _CannotBeStored(f"{path} is a {full_name(type(value))}.")
        keys, values = self._items(value, f"{path}.keys"), self._items(value.values(), path)
        return {type(value).__name__: [keys, values]}

    def mapping(self, value: dict[str, Any], path: str) -> dict[str, Any]:
        """The trees of the values, by the same keys."""
        return {key: self.encode(one, child(path, key)) for key, one in value.items()}

    def _shared(self, value: Any, path: str) -> Any:
        """The tree of something that may be met again."""
        if id(value) in self._paths:
            return {"same_as": self._paths[id(value)]}
        self._paths[id(value)] = path
        self._alive.append(value)
        if isinstance(value, np.ndarray) or is_tensor(value):
            return self._array(value, path)
        if isinstance(value, np.generic):
            return self._scalar(value, path)
        if isinstance(value, np.random.RandomState):
            return {"random_state": self._items(value.get_state(), path)}
        torch = imported_torch()
        if torch is not None and isinstance(value, torch.dtype):
            return {"torch_dtype": str(value).removeprefix("torch.")}
        if torch is not None and isinstance(value, torch.Size):
            return {"tuple": list(value)}
        if isinstance(value, type):
            return {"class": self._name(value, path)}
        return self._object(value, path)

    def _array(self, value: Any, path: str) -> dict[str, Any]:
        if not is_tensor(value) and value.dtype.kind in "OUS":
            items = self._items(value.ravel().tolist(), path)
            return {"entries": items, "kind": value.dtype.kind, "shape": list(value.shape)}
        try:
            note, self.arrays[path] = to_plain_array(value)
        except TypeError as error:
            raise _CannotBeStored(f"{path} is {error}.") from error
        return {"array": path, **note}

    def _scalar(self, value: np.generic, path: str) -> dict[str, Any]:
        is_number = value.dtype.kind in "biuf" and value.dtype.itemsize <= 8
        if not is_number and value.dtype.kind != "U":
            raise _CannotBeStored(f"{path} is a {value.dtype}.")
        kind = "str" if value.dtype.kind == "U" else value.dtype.name
        return {"scalar": self.encode(value.item(), path), "dtype": kind}

    # Objects

    def _object(self, value: Any, path: str) -> dict[str, Any]:
        cls = type(value)
        if is_layer(value):
            return {"layer": self._name(cls, path), **self._layer(value, path)}
        if name_of(cls) is None and cls.__module__.split(".")[0] == "sklearn":
            return self._put_aside(value, path)
        return {"object": self._name(cls, path), "state": self.state(value, path)}

    def state(self, value: Any, path: str) -> dict[str, Any]:
        """The trees of the attributes of an object."""
        if is_named_tuple(type(value)):
            return self.mapping(value._asdict(), path)
        if dataclasses.is_dataclass(value):
            fields = {one.name: getattr(value, one.name) for one in dataclasses.fields(value)}
            return self.mapping(fields, path)
        own = getattr(value, "_saved_state", None)
        state = dict(vars(value)) if own is None else own()
        return self.mapping(state, path)

    def _put_aside(self, value: Any, path: str) -> dict[str, Any]:
        self.foreign[path] = value
        return {"foreign": path}

    def _name(self, cls: type, path: str) -> str:
        name = name_of(cls)
        if name is None and (self.keeps_foreign or not _is_layer_class(cls)):
            raise _CannotBeStored(f"{path} is a {full_name(cls)}.")
        return full_name(cls) if name is None else name

    def _layer(self, layer: Any, path: str) -> dict[str, Any]:
        """Parameters, buffers, layers and other attributes of a layer of torch."""
        import torch

        torch_own = set(vars(torch.nn.Module())) - {"training"}
        hooks = [k for k in torch_own if "hooks" in k and isinstance(getattr(layer, k), dict)]
        if any(getattr(layer, name) for name in hooks):
            raise _CannotBeStored(f"{path} has hooks.")
        transient = layer._non_persistent_buffers_set
        buffers = self.mapping(layer._buffers, path)
        other = {
            key: value
            for key, value in vars(layer).items()
            if key not in torch_own and key not in DERIVED
        }
        return {
            "parameters": self.mapping(layer._parameters, path),
            "buffers": {k: [v, k not in transient] for k, v in buffers.items()},
            "layers": self.mapping(layer._modules, path),
            "state": self.mapping(other, path),
        }


def _is_layer_class(cls: type) -> bool:
    torch = imported_torch()
    return torch is not None and issubclass(cls, torch.nn.Module)


def is_layer(value: Any) -> bool:
    """Whether a value is a module of torch; torch is not imported to find out."""
    return _is_layer_class(type(value))


def is_named_tuple(cls: type) -> bool:
    """Whether the instances of a class are tuples with names."""
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def child(path: str, key: str) -> str:
    """The path of what a dict or object has under a key; different keys give different paths."""
    return f"{path}.{key.replace('~', '~0').replace('.', '~1')}"
