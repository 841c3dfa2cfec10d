"""Fitted objects as JSON and arrays: files that hold no code, and the state that is pickled."""

from ._file import load, save
from ._state import PackedState, Saveable

__all__ = ["PackedState", "Saveable", "load", "save"]
