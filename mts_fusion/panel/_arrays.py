"""Arrays of any library as numpy's: what is masked is NaN, what is on a device comes back."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

__all__ = ["as_array", "is_dict", "is_missing", "library_of", "unmask"]


def library_of(x: Any) -> str:
    """The library an object comes from, asked without importing it."""
    return type(x).__module__.partition(".")[0]


def is_missing(x: Any) -> bool:
    """Whether a cell is None, NaN or another library's sign for nothing."""
    if x is None or type(x).__name__ in ("NAType", "NaTType", "MaskedConstant"):
        return True
    return isinstance(x, (float, np.floating, np.datetime64, np.timedelta64)) and bool(x != x)


def is_dict(x: Any) -> bool:
    """Whether x maps names to parts; a sparse matrix of scipy may be a mapping of its entries."""
    return isinstance(x, Mapping) and not hasattr(x, "shape")


def as_array(x: Any) -> Any:
    """Masked arrays, tensors and lists of them as plain arrays; anything else as it is.

    Parameters
    ----------
    x : object
        Whatever may hold numbers.

    Returns
    -------
    object
        A masked entry is NaN (NaT for dates); a tensor is detached and on the CPU.
    """
    if isinstance(x, np.ma.MaskedArray):
        return unmask(x)
    if hasattr(x, "detach") and hasattr(x, "cpu"):
        x = x.detach().cpu()
        return np.asarray(x.float() if "bfloat" in str(x.dtype) else x)
    if library_of(x) == "polars":
        return np.asarray(x.to_numpy())
    if isinstance(x, (list, tuple)) and any(_is_foreign(item) for item in x):
        return [as_array(item) for item in x]
    return x


def _is_foreign(x: Any) -> bool:
    return (
        isinstance(x, np.ma.MaskedArray)
        or x is np.ma.masked
        or hasattr(x, "detach")
        or (isinstance(x, (list, tuple)) and any(_is_foreign(item) for item in x))
    )


def unmask(array: np.ma.MaskedArray) -> np.ndarray:
    """A masked array as a plain one with NaN, or NaT, where it is masked."""
    if not np.ma.is_masked(array):
        return np.asarray(array.data)
    kind = array.dtype.kind
    if kind in "mM":
        return np.where(np.ma.getmaskarray(array), np.array("NaT", array.dtype), array.data)
    plain = array.data.astype(
        array.dtype if kind in "fcO" else object if kind in "US" else np.float64
    )
    plain[np.ma.getmaskarray(array)] = np.nan
    return plain
