"""Classification of multimodal time series whose sensors fail.

The names that a first script needs stand here; all others in their package. Everything is imported
when it is first asked for (PEP 562).
"""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

if TYPE_CHECKING:  # type checkers read this; the tables below are for those who run it
    from . import (
        datasets as datasets,
        estimators as estimators,
        inspection as inspection,
        interop as interop,
        metrics as metrics,
        nn as nn,
        panel as panel,
        persistence as persistence,
        training as training,
        transforms as transforms,
    )
    from .datasets import (
        LiveSegmenter as LiveSegmenter,
        fetch_cmapss as fetch_cmapss,
        fetch_dsads as fetch_dsads,
        fetch_hydraulic as fetch_hydraulic,
        fetch_pamap2 as fetch_pamap2,
        fetch_physionet2012 as fetch_physionet2012,
        fetch_physionet2019 as fetch_physionet2019,
        fetch_stress_predict as fetch_stress_predict,
        fetch_wesad as fetch_wesad,
        make_panel_classification as make_panel_classification,
        make_panel_regression as make_panel_regression,
        segment as segment,
    )
    from .estimators import (
        ConditionalDiffusionImputer as ConditionalDiffusionImputer,
        FusionClassifier as FusionClassifier,
        FusionRegressor as FusionRegressor,
        GaussianProcessImputer as GaussianProcessImputer,
        MaestroClassifier as MaestroClassifier,
        MaestroPretrainer as MaestroPretrainer,
        MaestroRegressor as MaestroRegressor,
        PatternRidgeClassifier as PatternRidgeClassifier,
        PatternRidgeRegressor as PatternRidgeRegressor,
        RocketFeatures as RocketFeatures,
        TraceClassifier as TraceClassifier,
        TraceRegressor as TraceRegressor,
    )
    from .panel import (
        Modality as Modality,
        Panel as Panel,
        Schema as Schema,
        Vocabulary as Vocabulary,
        as_panel as as_panel,
        save_panels as save_panels,
    )
    from .persistence import (
        load as load,
        save as save,
    )
    from .transforms import (
        MissingnessMasker as MissingnessMasker,
        ModalityGrouper as ModalityGrouper,
        PanelImputer as PanelImputer,
        PanelScaler as PanelScaler,
        PanelSummarizer as PanelSummarizer,
        SAXTokenizer as SAXTokenizer,
    )

__version__ = "0.1.0"

logging.getLogger(__name__).addHandler(logging.NullHandler())

_PACKAGES = (
    "datasets",
    "estimators",
    "inspection",
    "interop",
    "metrics",
    "nn",
    "panel",
    "persistence",
    "training",
    "transforms",
)
_FIRST_NAMES = {
    "panel": ("Modality", "Panel", "Schema", "Vocabulary", "as_panel", "save_panels"),
    "persistence": ("load", "save"),
    "datasets": (
        "LiveSegmenter",
        "fetch_cmapss",
        "fetch_dsads",
        "fetch_hydraulic",
        "fetch_pamap2",
        "fetch_physionet2012",
        "fetch_physionet2019",
        "fetch_stress_predict",
        "fetch_wesad",
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
        "GaussianProcessImputer",
        "MaestroClassifier",
        "MaestroPretrainer",
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


if not TYPE_CHECKING:  # a checker would take any name for one of these

    def __getattr__(name: str) -> object:
        """Import a public name when it is first asked for."""
        if name in _PACKAGES:
            return importlib.import_module(f"{__name__}.{name}")
        if name in _HOME:
            return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
