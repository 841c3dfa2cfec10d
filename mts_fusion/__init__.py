"""Classification of multimodal time series whose sensors fail."""

from __future__ import annotations

import importlib
from typing import Any

__version__ = "0.1.0"

_ROOMS = {
    "Modality": "panel",
    "Panel": "panel",
    "Schema": "panel",
    "Vocabulary": "panel",
    "as_panel": "panel",
}
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

__all__ = [*_ROOMS, *_PACKAGES, "__version__"]


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for (PEP 562)."""
    if name in _PACKAGES:
        return importlib.import_module(f"{__name__}.{name}")
    if name in _ROOMS:
        return getattr(importlib.import_module(f"{__name__}.{_ROOMS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
