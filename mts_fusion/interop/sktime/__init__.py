"""Estimators as sktime calls them, and data of the UEA archive: ``'mts-fusion[sktime]'``."""

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
