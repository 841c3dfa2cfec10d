"""Ridge regression on kernels of modalities, for every set of them: torch only."""

from mts_fusion.nn.ridge._dual import DualSystem
from mts_fusion.nn.ridge._maps import KernelMap
from mts_fusion.nn.ridge._primal import PrimalSystem
from mts_fusion.nn.ridge._solution import INTERCEPT, RidgeRows, RidgeSolution, RidgeSystem

__all__ = [
    "INTERCEPT",
    "DualSystem",
    "KernelMap",
    "PrimalSystem",
    "RidgeRows",
    "RidgeSolution",
    "RidgeSystem",
]
