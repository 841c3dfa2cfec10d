"""Arrays and tensors as arrays that safetensors holds, and a note of what they were.

numpy becomes torch here, and torch numpy.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ._classes import imported_torch

__all__ = ["from_plain_array", "is_tensor", "listed_to_array", "to_plain_array"]

# Kinds of numpy that safetensors has: bool, int, unsigned int, float.
_KINDS = "biuf"


def is_tensor(value: Any) -> bool:
    """Whether a value is a tensor; torch is not imported to find out."""
    torch = imported_torch()
    return torch is not None and isinstance(value, torch.Tensor)


def to_plain_array(value: Any) -> tuple[dict[str, Any], np.ndarray]:
    """What an array or a tensor is, and its numbers.

    Parameters
    ----------
    value : array or Tensor
        Of numbers, truth values or dates; on any device.

    Returns
    -------
    note : dict
        For :func:`from_plain_array`.
    array : array
        Contiguous, of a type that safetensors has.
    """
    note: dict[str, Any] = {}
    if is_tensor(value):
        import torch

        note["tensor"] = "parameter" if isinstance(value, torch.nn.Parameter) else "tensor"
        note["requires_grad"] = value.requires_grad
        note["device"] = value.device.type
        value = value.detach().cpu()
        if value.dtype == torch.bfloat16:
            note["dtype"], value = "bfloat16", value.view(torch.int16)
        array = value.numpy()
    else:
        array = value
        if array.dtype.kind in "mM":
            note["dtype"], array = array.dtype.str, array.view(np.int64)
    if array.dtype.kind not in _KINDS or array.dtype.itemsize > 8:
        raise TypeError(f"an array of {array.dtype} cannot be stored")
    if not array.flags.c_contiguous:  # the order of the memory decides the last bits of a product
        axes = np.argsort([-abs(stride) for stride in array.strides], kind="stable")
        note["axes"] = axes.tolist()
        array = np.ascontiguousarray(array.transpose(axes))
    return note, array.astype(array.dtype.newbyteorder("="), copy=False)


def from_plain_array(note: dict[str, Any], array: np.ndarray) -> Any:
    """The array or tensor that :func:`to_plain_array` was given.

    Parameters
    ----------
    note : dict
        As from there.
    array : array
        As from there.

    Returns
    -------
    array or Tensor
        A tensor is on the kind of device it was on, or on the CPU if there is none.

    Raises
    ------
    ValueError
        If the note does not fit the array.
    """
    if not array.flags.writeable:
        array = array.copy()
    if "axes" in note:
        array = array.transpose(np.argsort(note["axes"]))
    if "tensor" not in note:
        return array.view(_date_type(note["dtype"])) if "dtype" in note else array
    import torch

    tensor = torch.from_numpy(array)
    if note.get("dtype") == "bfloat16":
        tensor = tensor.view(torch.bfloat16)
    if note["device"] == "cuda" and torch.cuda.is_available():
        tensor = tensor.cuda()
    if note["tensor"] == "parameter":
        return torch.nn.Parameter(tensor, requires_grad=bool(note["requires_grad"]))
    return tensor.requires_grad_(bool(note["requires_grad"]))


def _date_type(name: str) -> np.dtype:
    dtype = np.dtype(str(name))
    if dtype.kind not in "mM":
        raise ValueError(f"{name!r} is no type of dates")
    return dtype


def listed_to_array(kind: str, shape: list[int], items: list[Any]) -> np.ndarray:
    """An array of objects (``kind`` "O") or of strings ("U", "S") from its entries in order."""
    if kind not in ("O", "U", "S") or math.prod(shape) != len(items):
        raise ValueError(f"{len(items)} entries do not make an array {kind!r} of shape {shape}")
    array = np.empty(len(items), dtype=object)
    for i, item in enumerate(items):
        array[i] = item
    return array.astype(kind).reshape(shape)
