"""PanelTransformer: the checks of X that all transformers of panels share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import Panel, Schema, as_panel
from mts_fusion.panel._align import has_value
from mts_fusion.persistence import Saveable

from ._doc_link import LinkedReprMixin

__all__ = [
    "PanelTransformer",
    "by_modality",
    "check_integers",
    "check_parameters",
    "filled_masks",
]


class PanelTransformer(LinkedReprMixin, Saveable, TransformerMixin, BaseEstimator):
    """Abstract: stores the schema in ``fit``, and compares X with it afterwards.

    Attributes
    ----------
    schema_ : Schema
        The modalities seen in ``fit``.
    n_features_in_ : int
        Columns of X, where X was a 2-D array.
    """

    schema_: Schema
    n_features_in_: int

    # Types of the parameters; the values are checked in fit.
    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {}

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = []  # as_panel converts all numbers to float32
        return tags

    def _check_fit(self, X: Any) -> Panel:
        """X as a panel, its schema remembered."""
        check_parameters(self)
        panel = as_panel(X)
        self.schema_ = panel.schema
        columns = _count_columns(X)
        if columns is not None:
            self.n_features_in_ = columns
        elif hasattr(self, "n_features_in_"):
            del self.n_features_in_  # fitted again, on another kind of X
        return panel

    def _check_transform(self, X: Any) -> Panel:
        """X as a panel of the schema seen in fit; the number of timepoints may differ.

        Modalities that X lacks become missing, and those in another order are put in that of fit.
        """
        check_is_fitted(self)
        columns, wanted = _count_columns(X), getattr(self, "n_features_in_", None)
        if columns is not None and wanted is not None and columns != wanted:
            # The message of scikit-learn, which its tests expect.
            raise ValueError(
                f"X has {columns} features, but {type(self).__name__} is expecting {wanted} "
                "features as input."
            )
        return as_panel(X, schema=self)


def check_parameters(estimator: Any) -> None:
    """Raise unless each parameter meets the constraints of its class.

    Parameters
    ----------
    estimator : estimator
        With ``_parameter_constraints``.

    Raises
    ------
    ValueError
        Names the parameter, what is wanted and what came; a truth value is no number.
    """
    estimator._validate_params()
    for name, constraints in estimator._parameter_constraints.items():
        value = getattr(estimator, name)
        takes_bool = any(isinstance(c, str) and c in ("boolean", "verbose") for c in constraints)
        if isinstance(value, (bool, np.bool_)) and not takes_bool:
            raise ValueError(
                f"The {name!r} parameter of {type(estimator).__name__} is {value!r}, but a truth "
                "value is neither a number nor a name. Give one of those."
            )


def by_modality(parameter: str, given: Any, schema: Schema) -> dict[str, Any]:
    """One value a modality, from one for all or a dict that names each.

    Parameters
    ----------
    parameter : str
        Name of the parameter, for the message.
    given : object or dict of str to object
        One value for all modalities, or one for each.
    schema : Schema
        The modalities.

    Returns
    -------
    dict of str to object
        In schema order.

    Raises
    ------
    ValueError
        If a dict leaves out a modality or names an unknown one.
    """
    if not isinstance(given, Mapping):
        return dict.fromkeys(schema.names, given)
    unknown = [name for name in given if name not in schema]
    if unknown:
        raise ValueError(
            f"{parameter} names {unknown}, but the modalities are {list(schema.names)}. "
            "Remove them from the dict."
        )
    absent = [name for name in schema.names if name not in given]
    if absent:
        raise ValueError(
            f"{parameter} has no value for {absent}. Name every modality of {list(schema.names)}, "
            "or give one value for all."
        )
    return {name: given[name] for name in schema.names}


def check_integers(
    parameter: str, given: Any, schema: Schema, least: int, most: int | None = None
) -> None:
    """Raise unless a parameter is an integer within bounds for each modality.

    Parameters
    ----------
    parameter : str
        Name of the parameter, for the message.
    given : object or dict of str to object
        As :func:`by_modality` takes it.
    schema : Schema
        The modalities.
    least : int
        Smallest value.
    most : int or None, default=None
        Largest value; None for any.

    Raises
    ------
    ValueError
        Names the modality and its value.
    """
    wanted = f"of at least {least}" if most is None else f"from {least} to {most}"
    for name, value in by_modality(parameter, given, schema).items():
        is_integer = isinstance(value, (int, np.integer))
        if not is_integer or value < least or (most is not None and value > most):
            raise ValueError(
                f"{parameter} is an integer {wanted}, got {value!r} for modality {name!r}."
            )


def filled_masks(panel: Panel) -> dict[str, np.ndarray]:
    """What was observed, of those modalities only whose values alone do not show it.

    Parameters
    ----------
    panel : Panel
        Samples.

    Returns
    -------
    dict of str to bool array of shape (n, C, L)
        Of the modalities in which an imputer filled something.
    """
    masks = {}
    for modality in panel.schema:
        values, observed = panel.values[modality.name], panel.observed[modality.name]
        if not np.array_equal(has_value(modality, values), observed):
            masks[modality.name] = observed
    return masks


def _count_columns(X: Any) -> int | None:
    """Columns of a 2-D array, which are features in scikit-learn; None for other input."""
    return int(X.shape[1]) if isinstance(X, np.ndarray) and X.ndim == 2 else None
