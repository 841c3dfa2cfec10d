"""Estimators as sktime calls them, and data of the UEA archive: ``'mts-fusion[sktime]'``."""

try:
    import sktime as _sktime  # noqa: F401
except ImportError as error:
    raise ImportError(
        "mts_fusion.interop.sktime requires sktime: pip install 'mts-fusion[sktime]'."
    ) from error

from ._estimators import SktimeClassifier, SktimeRegressor
from ._load import load_uea
from ._transformers import SktimeFeatures, SktimeImputer, SktimeTransformer

__all__ = [
    "SktimeClassifier",
    "SktimeFeatures",
    "SktimeImputer",
    "SktimeRegressor",
    "SktimeTransformer",
    "load_uea",
]
