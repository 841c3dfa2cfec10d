"""Decoder: the object that an Encoder has turned into a tree. It runs no code that a file names."""

from __future__ import annotations

import dataclasses
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._arrays import from_plain_array, listed_to_array
from ._classes import class_of
from ._encode import child, is_layer, is_named_tuple

__all__ = ["Decoder"]

_TUPLES = {"tuple": tuple, "set": set, "frozenset": frozenset}
_DICTS: dict[str, Callable] = {"dict": dict, "OrderedDict": OrderedDict}


class Decoder:
    """Decodes one tree.

    Parameters
    ----------
    arrays : dict of str to array
        As the encoder has left them.
    foreign : callable
        Gives the object that was put aside under a path.
    trusted : sequence of type, default=()
        Classes allowed besides those of this library and the layers of torch.
    """

    def __init__(
        self,
        arrays: Mapping[str, np.ndarray],
        foreign: Callable[[str], Any],
        trusted: Sequence[type] = (),
    ) -> None:
        self.arrays = arrays
        self.foreign = foreign
        self.trusted = trusted
        self._decoded: dict[str, Any] = {}
        self._readers = {
            "float": lambda tree, path: float(tree["float"]),
            "slice": lambda tree, path: slice(*tree["slice"]),
            "map": lambda tree, path: self.mapping(tree["map"], path),
            "same_as": lambda tree, path: self._decoded[tree["same_as"]],
            "array": lambda tree, path: from_plain_array(tree, self.arrays[tree["array"]]),
            "entries": self._entries,
            "scalar": self._scalar,
            "random_state": self._random_state,
            "torch_dtype": self._torch_dtype,
            "class": lambda tree, path: class_of(tree["class"], self.trusted),
            "foreign": lambda tree, path: self.foreign(tree["foreign"]),
            "object": self._object,
            "layer": self._layer,
        }

    def decode(self, tree: Any, path: str) -> Any:
        """The value of a tree.

        Parameters
        ----------
        tree : object
            From JSON.
        path : str
            As for the encoder.

        Returns
        -------
        object
            Equal to what was encoded, bit by bit.

        Raises
        ------
        ValueError
            If the tree names a class that is not allowed.
        """
        if isinstance(tree, list):
            return [self.decode(item, f"{path}.{i}") for i, item in enumerate(tree)]
        if not isinstance(tree, dict):
            return tree
        kind = next(iter(tree))
        if kind in _TUPLES:
            return _TUPLES[kind](self.decode(tree[kind], path))
        if kind in _DICTS:
            keys, values = tree[kind]
            keys = self.decode(keys, f"{path}.keys")
            return _DICTS[kind](zip(keys, self.decode(values, path), strict=True))
        if kind not in self._readers:
            raise ValueError(f"{path} is of the unknown kind {kind!r}.")
        value = self._readers[kind](tree, path)
        self._decoded.setdefault(path, value)
        return value

    def mapping(self, trees: dict[str, Any], path: str) -> dict[str, Any]:
        """The values of some trees, by the same keys."""
        return {key: self.decode(tree, child(path, key)) for key, tree in trees.items()}

    def _entries(self, tree: dict[str, Any], path: str) -> np.ndarray:
        return listed_to_array(tree["kind"], tree["shape"], self.decode(tree["entries"], path))

    def _scalar(self, tree: dict[str, Any], path: str) -> Any:
        dtype = np.dtype(str(tree["dtype"]))
        if dtype.kind not in "biufU":
            raise ValueError(f"{path} is of the unknown type {dtype}.")
        return np.array(self.decode(tree["scalar"], path), dtype=dtype)[()]

    def _random_state(self, tree: dict[str, Any], path: str) -> np.random.RandomState:
        random_state = np.random.RandomState()
        random_state.set_state(tuple(self.decode(tree["random_state"], path)))
        return random_state

    def _torch_dtype(self, tree: dict[str, Any], path: str) -> Any:
        import torch

        dtype = getattr(torch, tree["torch_dtype"])
        if not isinstance(dtype, torch.dtype):
            raise ValueError(f"{path} is no type of torch.")
        return dtype

    # Objects

    def _object(self, tree: dict[str, Any], path: str) -> Any:
        cls = class_of(tree["object"], self.trusted)
        if is_named_tuple(cls) or dataclasses.is_dataclass(cls):
            return cls(**self.mapping(tree["state"], path))
        value: Any = object.__new__(cls)
        self._decoded[path] = value
        self.set_state(value, tree["state"], path)
        return value

    def set_state(self, value: Any, trees: dict[str, Any], path: str) -> None:
        """Set the attributes of an object.

        Parameters
        ----------
        value : object
            Without attributes yet.
        trees : dict of str to object
            By the names of the attributes.
        path : str
            As for the encoder.

        Raises
        ------
        ValueError
            If an attribute would hide a method.
        """
        state = self.mapping(trees, path)
        for name in state:
            if callable(getattr(type(value), name, None)):
                raise ValueError(f"{path}.{name} would hide a method of {type(value).__name__}.")
        own = getattr(value, "_load_state", None)
        if own is None:
            vars(value).update(state)
        else:
            own(state)

    def _layer(self, tree: dict[str, Any], path: str) -> Any:
        import torch

        cls = class_of(tree["layer"], self.trusted)
        layer: Any = object.__new__(cls)
        if not is_layer(layer):
            raise ValueError(f"{path}: {cls.__name__} is no layer of torch.")
        torch.nn.Module.__init__(layer)
        self._decoded[path] = layer
        for name, parameter in self.mapping(tree["parameters"], path).items():
            layer.register_parameter(name, parameter)
        for name, (buffer, persistent) in tree["buffers"].items():
            buffer = self.decode(buffer, child(path, name))
            layer.register_buffer(name, buffer, persistent=bool(persistent))
        for name, inner in self.mapping(tree["layers"], path).items():
            layer.add_module(name, inner)
        self.set_state(layer, tree["state"], path)
        if isinstance(layer, torch.nn.RNNBase):
            layer._init_flat_weights()
        return layer
