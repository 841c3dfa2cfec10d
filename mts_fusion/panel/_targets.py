"""What comes with the samples of a panel, one a sample: its order, what it lacks, its groups."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np

from ._arrays import as_array, is_missing
from ._frames import as_pandas
from ._panel import Panel

__all__ = ["check_groups", "check_order", "group_labels", "missing_rows", "plain_column"]


def check_groups(groups: Any, panel: Panel) -> np.ndarray | None:
    """Convert groups to a plain array with one label for each sample.

    Parameters
    ----------
    groups : array of shape (n,) or None
        Labels that can be sorted: numbers, strings, dates or tuples.
    panel : Panel
        n samples.

    Returns
    -------
    array of shape (n,) or None
        None if no groups are given.

    Raises
    ------
    ValueError
        If a sample has no label or several, or the labels have different types; if the index has
        the ids of the samples in another order.
    """
    if groups is None:
        return None
    groups = as_pandas(groups)
    if not hasattr(groups, "__len__") or isinstance(groups, (str, bytes, Mapping)):
        raise TypeError(f"groups is one label a sample, got {groups!r}.")
    if len(groups) != len(panel):
        raise ValueError(  # the second sentence is that of scikit-learn
            "groups is one label a sample. Found input variables with inconsistent numbers of "
            f"samples: [{len(panel)}, {len(groups)}]"
        )
    check_order("groups", groups, panel)
    missing = missing_rows(groups)
    if missing.size:
        raise ValueError(
            f"groups is one label a sample, got none for sample {missing[0]}. Give it a group, or "
            "leave it out."
        )
    return group_labels(groups)


def group_labels(groups: Any, wanted: str = "one label a sample") -> np.ndarray:
    """Convert labels of groups, which have one type, to a plain array.

    Parameters
    ----------
    groups : array, column or list of shape (k,)
        Labels that can be sorted: numbers, strings, dates or tuples.
    wanted : str, default="one label a sample"
        What ``groups`` is, for messages.

    Returns
    -------
    array of shape (k,)
        Tuples as objects; dates in microseconds, so that the unit of a date does not matter.

    Raises
    ------
    ValueError
        If there are several axes, or the labels have different types.
    """
    labels = plain_column(as_pandas(groups))
    if isinstance(labels, (list, tuple)):
        given, labels = labels, np.empty(len(labels), dtype=object)
        for i, label in enumerate(given):  # tuples stay tuples
            labels[i] = label
    labels = np.asarray(labels)
    if labels.ndim != 1:
        raise ValueError(f"groups is {wanted}, got shape {labels.shape}.")
    if labels.dtype == object:
        entries = labels.tolist()
        several = [label for label in entries if not isinstance(label, Hashable)]
        if several:
            raise ValueError(f"groups is {wanted}, got {several[0]!r} for a label.")
        kinds = {"number" if isinstance(e, (int, float, np.number)) else type(e) for e in entries}
        if len(kinds) > 1:
            names = sorted({type(label).__name__ for label in entries})
            raise ValueError(f"groups mixes {names}. Give all labels as strings, or as numbers.")
        labels = labels if tuple in kinds else np.asarray(entries)
    return labels.astype("M8[us]") if labels.dtype.kind == "M" else labels


def check_order(what: str, x: Any, panel: Panel) -> None:
    """Raise if the index of a column has the ids of the samples in another order.

    Parameters
    ----------
    what : str
        Its name, for the message.
    x : object
        Of any kind; a frame or series has an index.
    panel : Panel
        n samples.

    Raises
    ------
    ValueError
        If the index has the same ids in another order.
    """
    if panel.sample_ids is None or not (hasattr(x, "iloc") and hasattr(x, "index")):
        return
    ids, index = panel.sample_ids.tolist(), x.index.tolist()
    if ids != index and len(ids) == len(index) and set(ids) == set(index):
        raise ValueError(
            f"The index of {what} holds the ids of the samples of X in another order: {index[:3]} "
            f"come first there, {ids[:3]} in X. Give {what}.loc[as_panel(X).sample_ids], or "
            f"{what}.to_numpy() if its order is that of X."
        )


def plain_column(x: Any) -> Any:
    """Convert columns of pandas and polars, masked arrays and tensors to plain arrays.

    Parameters
    ----------
    x : object
        A column of any library.

    Returns
    -------
    object
        An array; a list as it is.
    """
    x = as_array(as_pandas(x))
    dtype = getattr(x, "dtype", None)
    if dtype is None or isinstance(dtype, np.dtype):
        return x
    kind = getattr(dtype, "kind", "O")  # of a nullable or arrow column
    return x.to_numpy(dtype=getattr(dtype, "numpy_dtype", None) if kind in "iufb" else None)


def missing_rows(x: Any) -> np.ndarray:
    """Rows in which an entry is None, NaN, NaT, NA or masked.

    Parameters
    ----------
    x : object
        A column, a frame or a list.

    Returns
    -------
    array of int
        Their positions.
    """
    if isinstance(x, np.ma.MaskedArray):
        masked = np.ma.getmaskarray(x)
        if masked.any():
            return np.flatnonzero(masked.reshape(len(x), -1).any(1))
    x = as_pandas(x)
    if hasattr(x, "iloc"):  # a frame or series, whatever its dtypes
        missing = x.isna().to_numpy()
    elif isinstance(x, (list, tuple)):
        missing = np.array([_holds_missing(entry) for entry in x], dtype=bool)
    else:
        x = np.atleast_1d(np.asarray(as_array(x)))
        if x.dtype.kind in "fc":
            missing = np.isnan(x)
        elif x.dtype.kind in "mM":
            missing = np.isnat(x)
        elif x.dtype == object:
            cells = [_holds_missing(entry) for entry in x.ravel()]
            missing = np.array(cells, dtype=bool).reshape(x.shape)
        else:
            return np.zeros(0, dtype=int)
    return np.flatnonzero(missing.reshape(len(missing), -1).any(1)) if missing.size else missing


def _holds_missing(entry: Any) -> bool:
    if isinstance(entry, (list, tuple, np.ndarray)) and np.ndim(entry) > 0:
        return bool(missing_rows(entry).size)
    return is_missing(entry)
