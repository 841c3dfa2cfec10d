"""Numbers, symbols, times and fixed features of each modality as vectors of one width."""

from ._feature_tokens import FeatureLogits, FeatureTokens, mask_and_drop
from ._mtand import MTANDTimeEmbedding, MultiTimeAttention
from ._reference_series import ReferenceSeries
from ._tokens import (
    FourierTimeEncoding,
    PatchEmbedding,
    SymbolEmbedding,
    patch_lengths,
    token_times,
)

__all__ = [
    "FeatureLogits",
    "FeatureTokens",
    "MultiTimeAttention",
    "PatchEmbedding",
    "ReferenceSeries",
    "SymbolEmbedding",
    "MTANDTimeEmbedding",
    "FourierTimeEncoding",
    "mask_and_drop",
    "patch_lengths",
    "token_times",
]
