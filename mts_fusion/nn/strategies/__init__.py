"""Ways to fuse the embeddings of modalities of which any may be missing."""

from mts_fusion.nn.strategies._base import Fusion, FusionOutput, Tokens
from mts_fusion.nn.strategies._early import EarlyFusion
from mts_fusion.nn.strategies._flex_moe import FlexMoEFusion
from mts_fusion.nn.strategies._hybrid import HybridFusion
from mts_fusion.nn.strategies._late import LateFusion
from mts_fusion.nn.strategies._low_rank import LowRankFusion
from mts_fusion.nn.strategies._mag import MAGFusion
from mts_fusion.nn.strategies._mists import MISTSFusion
from mts_fusion.nn.strategies._mult import MulTFusion
from mts_fusion.nn.strategies._registry import STRATEGIES, get_strategy, register_strategy
from mts_fusion.nn.strategies._shaspec import ShaSpecFusion
from mts_fusion.nn.strategies._tensor import TensorFusion
from mts_fusion.nn.strategies._uncertainty import UncertaintyFusion

__all__ = [
    "EarlyFusion",
    "FlexMoEFusion",
    "Fusion",
    "FusionOutput",
    "HybridFusion",
    "LateFusion",
    "LowRankFusion",
    "MAGFusion",
    "MISTSFusion",
    "MulTFusion",
    "STRATEGIES",
    "ShaSpecFusion",
    "TensorFusion",
    "Tokens",
    "UncertaintyFusion",
    "get_strategy",
    "register_strategy",
]
