"""Checks of X, y and weights that all estimators share."""

from __future__ import annotations

from collections.abc import Mapping, Set
from typing import Any

import numpy as np
from sklearn.utils import check_array
from sklearn.utils.validation import (
    _check_sample_weight,
    check_consistent_length,
    column_or_1d,
    validate_data,
)

from mts_fusion.panel import SERIES, Panel, Schema, as_panel
from mts_fusion.panel._arguments import as_floats
from mts_fusion.panel._frames import is_frame
from mts_fusion.panel._targets import check_order, missing_rows, plain_column
from mts_fusion.panel._timepoints import observed_timepoints

from ._lengths import names_of_one_length, warn_of_lengths

__all__ = [
    "check_X",
    "check_numbers",
    "check_weight",
    "check_y",
]


def check_X(estimator: Any, X: Any, *, reset: bool) -> Panel:
    """Convert X to a panel. In a first fit store its schema, later align X to the stored one.

    Parameters
    ----------
    estimator : estimator
        Has ``schema_`` and ``n_features_in_``, or gets them with ``reset``. One that fills gaps
        says so by ``_FILLS_GAPS``: it needs the times at which values are wanted.
    X : Panel, or whatever :func:`as_panel` takes
        n samples.
    reset : bool
        Whether this is a first fit.

    Returns
    -------
    Panel
        n samples, without the timepoints of irregular modalities at which nothing was observed
        unless the estimator fills gaps.

    Raises
    ------
    ValueError
        If X does not match the schema seen in ``fit``, or a modality of X is never observed in a
        first fit.

    Warns
    -----
    UserWarning
        If all windows seen in ``fit`` had one length, and these are at most half or at least twice
        as long.
    """
    if not reset and _is_table(X, estimator.schema_, estimator.n_features_in_):
        validate_data(estimator, X, reset=False, skip_check_array=True)
    panel = as_panel(X, schema=None if reset else estimator)
    if not reset:
        warn_of_lengths(estimator, panel)
    else:
        estimator.schema_ = panel.schema
        missing = np.array(panel.schema.names)[~panel.available.any(0)].tolist()
        if missing and len(missing) < len(panel.schema):
            raise ValueError(
                f"Modality {missing[0]!r} is never observed in the {len(panel)} training "
                f"samples, so nothing can be learnt from it. Leave it out with "
                f"X.drop({missing})."
            )
        if missing:
            raise ValueError(
                f"Nothing is observed in any of the {len(panel)} training samples: all values "
                "are NaN. Check how X was read."
            )
        table = _as_table(X, panel)
        validate_data(estimator, panel if table is None else table, skip_check_array=True)
        estimator._one_length = names_of_one_length(panel)
    return panel if getattr(estimator, "_FILLS_GAPS", False) else observed_timepoints(panel)


def check_y(estimator: Any, y: Any, panel: Panel) -> np.ndarray:
    """Convert targets to a plain array with one entry for each sample.

    Parameters
    ----------
    estimator : estimator
        Named in the message if y is None.
    y : array of shape (n,) or (n, n_outputs)
        From numpy, pandas, polars or torch, or a list.
    panel : Panel
        n samples.

    Returns
    -------
    array of shape (n,) or (n, n_outputs)
        Integers and booleans of nullable columns keep their type.

    Raises
    ------
    ValueError
        If y is None, has another length, or an entry is None, NaN, NaT, NA or masked; if its index
        has the ids of the samples in another order.
    """
    if y is None:
        name = type(estimator).__name__
        raise ValueError(f"{name} requires y to be passed, but the target y is None.")
    is_list = hasattr(y, "__len__") or hasattr(y, "__array__")
    if not is_list or isinstance(y, (str, Mapping, Set)) or getattr(y, "ndim", 1) == 0:
        raise TypeError(f"y holds one target a sample, got {y!r}.")
    check_order("y", y, panel)
    missing = missing_rows(y)
    if missing.size:
        raise ValueError(
            f"Input y contains NaN: {missing.size} of the targets are None, NaN, NA or masked, the "
            f"first is that of sample {missing[0]}. Leave those samples out."
        )
    y = check_array(
        plain_column(y),
        ensure_2d=False,
        dtype=None,
        input_name="y",
        ensure_all_finite=True,
        ensure_min_samples=0,
    )
    if y.ndim == 2 and y.shape[1] == 1:
        y = column_or_1d(y, warn=True)
    check_consistent_length(panel, y)
    return y


def check_numbers(y: np.ndarray) -> np.ndarray:
    """Convert targets of a regressor to float64.

    Parameters
    ----------
    y : array
        From :func:`check_y`.

    Returns
    -------
    array
        float64, of the same shape.

    Raises
    ------
    ValueError
        If y has other values than numbers.
    """
    try:
        if y.dtype.kind in "fiubO":
            return y.astype(np.float64)
    except (TypeError, ValueError):
        pass
    raise ValueError(
        f"y holds {y.dtype} values; numbers are wanted. Encode it as numbers, or take a classifier."
    )


def check_weight(sample_weight: Any, panel: Panel) -> np.ndarray:
    """Convert weights to float64; None to ones.

    Parameters
    ----------
    sample_weight : array of shape (n,) or None
        From any container.
    panel : Panel
        n samples.

    Returns
    -------
    array of shape (n,)
        Not negative, with a positive sum.

    Raises
    ------
    ValueError
        If there is not one weight for each sample, a weight is missing, masked or negative, or all
        are 0; if the index has the ids of the samples in another order.
    """
    if sample_weight is not None:
        check_order("sample_weight", sample_weight, panel)
        missing = missing_rows(sample_weight)
        if missing.size:
            raise ValueError(
                f"sample_weight contains NaN: that of sample {missing[0]} is None, NaN, NA or "
                "masked. Give 0 to leave a sample out."
            )
        sample_weight = as_floats("sample_weight", plain_column(sample_weight))
        if sample_weight.shape != (len(panel),):
            raise ValueError(
                f"sample_weight has shape {sample_weight.shape}; ({len(panel)},) is wanted."
            )
    n_rows = np.empty((len(panel), 1))
    weight = np.asarray(_check_sample_weight(sample_weight, n_rows, dtype=np.float64))
    if not (weight >= 0).all() or not weight.sum() > 0:
        raise ValueError("sample_weight needs to be >= 0 with a positive sum. Check its signs.")
    return weight


def _as_table(X: Any, panel: Panel) -> Any:
    """X or its array, if it is a plain table whose columns scikit-learn counts; else None."""
    if panel.schema.names != (SERIES,) or isinstance(X, (Panel, Mapping)):
        return None
    values = panel.values[SERIES]
    if values.shape[1] > 1:
        return values
    if is_frame(X) or hasattr(X, "columns"):
        return X if X.shape[1] == values.shape[2] else None
    n_axes = np.ndim(X[0]) + 1 if isinstance(X, (list, tuple)) else getattr(X, "ndim", 2)
    return values[:, 0] if n_axes == 2 else values


def _is_table(X: Any, schema: Schema, n_features: int) -> bool:
    """Whether X is a table as in ``fit``, so that scikit-learn can check its columns."""
    if schema.names != (SERIES,) or n_features != schema[SERIES].n_timepoints:
        return False
    if schema[SERIES].n_channels > 1 or isinstance(X, (Panel, Mapping)):
        return False
    if hasattr(X, "columns"):
        plain = getattr(getattr(X, "index", None), "nlevels", 1) == 1
        return plain and all(getattr(dtype, "kind", "f") != "O" for dtype in X.dtypes)
    if isinstance(X, (list, tuple)):
        return bool(len(X)) and all(np.ndim(row) == 1 and len(row) == len(X[0]) for row in X)
    return getattr(X, "ndim", 0) == 2
