"""Gaussian processes over the channels and times of a sample: torch only."""

from mts_fusion.nn.gaussian_process._conditional import (
    Conditional,
    conditional,
    leave_one_out,
)
from mts_fusion.nn.gaussian_process._covariance import near_products, shrunk_covariance
from mts_fusion.nn.gaussian_process._entries import Entries, pack_entries
from mts_fusion.nn.gaussian_process._kernel import CoregionalKernel
from mts_fusion.nn.gaussian_process._likelihood import negative_log_likelihood

__all__ = [
    "Conditional",
    "CoregionalKernel",
    "Entries",
    "conditional",
    "leave_one_out",
    "near_products",
    "negative_log_likelihood",
    "pack_entries",
    "shrunk_covariance",
]
