"""Data: synthetic panels, loaders of public sets, and the way from recordings to windows."""

from ._segment import segment
from ._synthetic import (
    make_panel_classification,
    make_panel_regression,
    make_trace_benchmark,
)

__all__ = [
    "make_panel_classification",
    "make_panel_regression",
    "make_trace_benchmark",
    "segment",
]
