"""Fitted models in the formats of other software, and a package of adapters for each other library.

A package imports its library, and nothing else does.
"""

from ._export import export_onnx, export_program

__all__ = ["export_onnx", "export_program"]
