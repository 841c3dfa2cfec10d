"""Classification of multimodal time series whose sensors fail.

The names that a first script needs stand here; all others in their package. Everything is imported
when it is first asked for (PEP 562).
"""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_PACKAGES = (
    "datasets",
    "estimators",
    "inspection",
    "metrics",
    "nn",
    "panel",
    "training",
    "transforms",
)
_FIRST_NAMES = {
    "panel": ("Modality", "Panel", "Schema", "Vocabulary", "as_panel"),
    "datasets": (
        "fetch_cmapss",
        "fetch_dsads",
        "fetch_hydraulic",
        "fetch_pamap2",
        "fetch_physionet2012",
        "fetch_physionet2019",
        "fetch_stress_predict",
        "make_panel_classification",
        "make_panel_regression",
        "segment",
    ),
    "transforms": (
        "MissingnessMasker",
        "ModalityGrouper",
        "PanelImputer",
        "PanelScaler",
        "PanelSummarizer",
        "SAXTokenizer",
    ),
    "estimators": (
        "ConditionalDiffusionImputer",
        "FusionClassifier",
        "FusionRegressor",
        "MaestroClassifier",
        "PatternRidgeClassifier",
        "PatternRidgeRegressor",
        "MaestroRegressor",
        "RocketFeatures",
        "TraceClassifier",
        "TraceRegressor",
    ),
}
_HOME = {name: package for package, names in _FIRST_NAMES.items() for name in names}

__all__ = [*_HOME, *_PACKAGES, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for."""
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _HOME:
        return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
