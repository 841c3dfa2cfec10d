"""Estimators as aeon calls them: ``'mts-fusion[aeon]'``."""

try:
    import aeon as _aeon  # noqa: F401
except ImportError as error:
    raise ImportError(
        "mts_fusion.interop.aeon requires aeon: pip install 'mts-fusion[aeon]'."
    ) from error

from ._estimators import AeonClassifier, AeonRegressor

__all__ = ["AeonClassifier", "AeonRegressor"]
