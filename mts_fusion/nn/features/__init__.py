"""Fixed features of modalities, which training of a network does not change: torch only."""

from mts_fusion.nn.features._all import FEATURE_KINDS, LAST_TIMES, SchemaFeatures
from mts_fusion.nn.features._base import FeatureBlock
from mts_fusion.nn.features._convolution import has_clock
from mts_fusion.nn.features._hydra import HydraFeatures
from mts_fusion.nn.features._multirocket import MultiRocketFeatures
from mts_fusion.nn.features._statistics import StatisticFeatures, channel_statistics
from mts_fusion.nn.features._timing import TimingFeatures

__all__ = [
    "FEATURE_KINDS",
    "LAST_TIMES",
    "FeatureBlock",
    "HydraFeatures",
    "MultiRocketFeatures",
    "SchemaFeatures",
    "StatisticFeatures",
    "TimingFeatures",
    "channel_statistics",
    "has_clock",
]
