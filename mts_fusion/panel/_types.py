"""PanelLike: what every estimator takes for X."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeAlias

from numpy.typing import ArrayLike

from ._panel import Panel

__all__ = ["PanelLike"]

PanelLike: TypeAlias = Panel | Mapping[str, Any] | ArrayLike
"""A panel, or what :func:`as_panel` makes one of: arrays by name, an array, a DataFrame."""
