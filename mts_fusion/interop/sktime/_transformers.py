"""SktimeTransformer, SktimeImputer and SktimeFeatures: transformers of this library in sktime."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import clone
from sktime.transformations.base import BaseTransformer

from ...panel import Panel, as_panel
from ...panel._frames import as_frame
from ...transforms import MissingnessMasker, PanelImputer, PanelScaler, PanelSummarizer
from ._estimators import MTYPES

__all__ = ["SktimeFeatures", "SktimeImputer", "SktimeTransformer"]

_TAGS = {
    "scitype:instancewise": False,
    "fit_is_empty": False,
    "y_inner_mtype": "None",
    "capability:multivariate": True,
    "capability:unequal_length": True,
    "capability:missing_values": True,
    "capability:categorical_in_X": False,
}


def _rows_of(index: Any, rate: float | None) -> np.ndarray:
    """Timepoint of the panel at which each row of a sample's frame is."""
    stamps = index.to_timestamp() if hasattr(index, "to_timestamp") else index
    elapsed = stamps - stamps[0]
    if rate is None or not hasattr(elapsed, "total_seconds"):
        return np.arange(len(index))
    return np.round(np.asarray(elapsed.total_seconds()) * rate).astype(int)


def _transform_frames(fitted: Any, frames: list[Any]) -> list[Any]:
    """What a transformer makes of sktime's frames, with their index and columns."""
    panel = as_panel(frames, schema=fitted)
    (name,) = panel.schema.names
    result = fitted.transform(panel)
    values = result.values.get(name) if isinstance(result, Panel) else None
    if values is None or values.shape != panel.values[name].shape:
        raise TypeError(
            f"{type(fitted).__name__} does not keep channels and timepoints. Take SktimeFeatures "
            "for features, and a Pipeline in SktimeClassifier for what groups or shortens."
        )
    rate = panel.schema[name].rate
    filled = []
    for sample, frame in zip(values, frames, strict=True):
        filled.append(frame.astype(float))
        filled[-1].loc[:, :] = sample[:, _rows_of(frame.index, rate)].T
    return filled


class SktimeTransformer(BaseTransformer):
    """Transformer of sktime that is one of this library, from series to series.

    Parameters
    ----------
    transformer : transformer
        One of :mod:`mts_fusion.transforms` that keeps channels and timepoints, such as
        ``PanelScaler`` and ``MissingnessMasker``. It is cloned in ``fit``.

    Attributes
    ----------
    transformer_ : transformer
        The fitted clone.

    See Also
    --------
    SktimeImputer : The same for imputers, with the tag that no gaps are left.
    SktimeFeatures : For transformers that give a row of features for each sample.

    Examples
    --------
    >>> from sktime.datasets import load_unit_test
    >>> from mts_fusion import PanelScaler
    >>> from mts_fusion.interop.sktime import SktimeTransformer
    >>> X, _ = load_unit_test(split="train")
    >>> SktimeTransformer(PanelScaler()).fit_transform(X).shape
    (20, 1)
    """

    _tags: ClassVar[dict[str, Any]] = {**_TAGS, "X_inner_mtype": "df-list"}

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer
        super().__init__()

    def _fit(self, X: list[Any], y: Any = None) -> Self:
        self.transformer_ = clone(self.transformer).fit(X)
        return self

    def _transform(self, X: list[Any], y: Any = None) -> list[Any]:
        return _transform_frames(self.transformer_, X)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for sktime's checks.

        Parameters
        ----------
        parameter_set : str, default="default"
            Ignored.

        Returns
        -------
        list of dict
            Two sets of parameters.
        """
        masker = MissingnessMasker(pattern="point", fraction=0.2, random_state=0)
        return [{"transformer": PanelScaler()}, {"transformer": masker}]


class SktimeImputer(BaseTransformer):
    """Imputer of sktime that is one of this library.

    Parameters
    ----------
    imputer : imputer
        ``PanelImputer``, ``GaussianProcessImputer`` or ``ConditionalDiffusionImputer``. It is
        cloned in ``fit``.

    Attributes
    ----------
    imputer_ : imputer
        The fitted clone.

    Examples
    --------
    >>> from sktime.datasets import load_unit_test
    >>> from mts_fusion import PanelImputer
    >>> from mts_fusion.interop.sktime import SktimeImputer
    >>> X, _ = load_unit_test(split="train")
    >>> SktimeImputer(PanelImputer()).fit_transform(X).shape
    (20, 1)
    """

    _tags: ClassVar[dict[str, Any]] = {
        **_TAGS,
        "X_inner_mtype": "df-list",
        "capability:missing_values:removes": True,
    }

    def __init__(self, imputer: Any) -> None:
        self.imputer = imputer
        super().__init__()

    def _fit(self, X: list[Any], y: Any = None) -> Self:
        self.imputer_ = clone(self.imputer).fit(X)
        return self

    def _transform(self, X: list[Any], y: Any = None) -> list[Any]:
        return _transform_frames(self.imputer_, X)

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for sktime's checks.

        Parameters
        ----------
        parameter_set : str, default="default"
            Ignored.

        Returns
        -------
        list of dict
            Two sets of parameters.
        """
        return [{"imputer": PanelImputer()}, {"imputer": PanelImputer(strategy="linear")}]


class SktimeFeatures(BaseTransformer):
    """Transformer of sktime from series to a row of features, after one of this library.

    Parameters
    ----------
    transformer : transformer
        ``PanelSummarizer`` or ``RocketFeatures``. It is cloned in ``fit``.

    Attributes
    ----------
    transformer_ : transformer
        The fitted clone.

    Examples
    --------
    >>> from sktime.datasets import load_unit_test
    >>> from mts_fusion import PanelSummarizer
    >>> from mts_fusion.interop.sktime import SktimeFeatures
    >>> X, _ = load_unit_test(split="train")
    >>> SktimeFeatures(PanelSummarizer()).fit_transform(X).shape
    (20, 14)
    """

    _tags: ClassVar[dict[str, Any]] = {
        **_TAGS,
        "X_inner_mtype": MTYPES,
        "scitype:transform-output": "Primitives",
    }

    def __init__(self, transformer: Any) -> None:
        self.transformer = transformer
        super().__init__()

    def _fit(self, X: Any, y: Any = None) -> Self:
        self.transformer_ = clone(self.transformer).fit(X)
        return self

    def _transform(self, X: Any, y: Any = None) -> Any:
        rows = self.transformer_.transform(X)
        names = self.transformer_.get_feature_names_out()
        return as_frame(dict(zip(names, rows.T, strict=True)))

    @classmethod
    def get_test_params(cls, parameter_set: str = "default") -> list[dict[str, Any]]:
        """Parameters for sktime's checks.

        Parameters
        ----------
        parameter_set : str, default="default"
            Ignored.

        Returns
        -------
        list of dict
            Two sets of parameters.
        """
        return [
            {"transformer": PanelSummarizer()},
            {"transformer": PanelSummarizer(statistics=("mean", "sd"))},
        ]
