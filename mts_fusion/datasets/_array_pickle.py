"""Pickle files of which only numbers, text, containers and numpy arrays are read."""

from __future__ import annotations

import io
import pickle
import re
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["read_array_pickle"]


def read_array_pickle(data: bytes, what: str) -> Any:
    """Content of a pickle file that was written for arrays, without running code of the file.

    A pickle may name any function of any module, which ``pickle.load`` calls. Here the names under
    which numpy stores arrays stand for the two classes below, which take bytes and shapes and check
    them; every other name is refused.

    Parameters
    ----------
    data : bytes
        The file, of Python 2 or 3, protocol 0 to 4.
    what : str
        Name of the file, for the message.

    Returns
    -------
    object
        dict, list, tuple, str, bytes, numbers, and ndarrays of numbers.

    Raises
    ------
    ValueError
        If the file names anything else, or is damaged.

    Examples
    --------
    >>> read_array_pickle(pickle.dumps({"label": [0, 1]}, protocol=2), "S2.pkl")
    {'label': [0, 1]}
    """
    try:
        return _arrays_of(_Unpickler(io.BytesIO(data), encoding="latin1").load())
    except ValueError as error:
        raise ValueError(f"{what} cannot be read: {error}") from error
    except Exception as error:  # a damaged pickle raises almost anything
        raise ValueError(
            f"{what} cannot be read as a pickle of arrays ({type(error).__name__}: {error}). It "
            "may be damaged: download it again."
        ) from error


class _Dtype:
    """Stands for ``numpy.dtype``: the kind and size of numbers, and the order of their bytes."""

    def __init__(self, name: str, align: Any = False, copy: Any = False) -> None:
        if not (isinstance(name, str) and re.fullmatch(r"[biuf][1248]", name)):
            raise ValueError(f"it has an array of type {name!r}; only numbers are read.")
        self.name = name
        self.order = "<"

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        self.order = ">" if state[1] == ">" else "<"

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(self.order + self.name)


class _Array:
    """Stands for an ndarray that has not got its content yet."""

    array: NDArray[Any]

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, is_fortran, content = state
        if not isinstance(dtype, _Dtype) or not all(isinstance(n, int) and n >= 0 for n in shape):
            raise ValueError("it has an array without a type or shape.")
        raw = content.encode("latin1") if isinstance(content, str) else content
        if not isinstance(raw, bytes) or len(raw) != dtype.dtype.itemsize * int(np.prod(shape)):
            raise ValueError(f"it has an array of shape {shape} with another number of bytes.")
        flat = np.frombuffer(raw, dtype.dtype)
        self.array = flat.reshape(shape, order="F" if is_fortran else "C")


def _reconstruct(kind: Any, shape: Any, code: Any) -> _Array:
    return _Array()


def _encode(text: str, encoding: str) -> bytes:
    """Bytes, which Python 3 writes as text in the protocols of Python 2."""
    if encoding != "latin1":
        raise ValueError(f"it has text in the encoding {encoding!r}.")
    return text.encode("latin1")


def _no_bytes() -> bytes:
    """What Python 3 writes in those protocols for bytes without content."""
    return b""


_NAMES: Mapping[tuple[str, str], Any] = MappingProxyType(
    {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _Dtype,
        ("numpy.core.multiarray", "_reconstruct"): _reconstruct,
        ("numpy._core.multiarray", "_reconstruct"): _reconstruct,
        ("_codecs", "encode"): _encode,
        ("__builtin__", "bytes"): _no_bytes,
    }
)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if (module, name) not in _NAMES:
            raise ValueError(
                f"it names {module}.{name}, and no file of arrays does. Do not load it with pickle."
            )
        return _NAMES[module, name]


def _arrays_of(content: Any) -> Any:
    """The content with arrays in place of what stands for them."""
    if isinstance(content, _Array):
        return content.array
    if isinstance(content, dict):
        return {key: _arrays_of(value) for key, value in content.items()}
    if isinstance(content, (list, tuple)):
        return type(content)(_arrays_of(value) for value in content)
    return content
