"""Numbers, symbols, times and fixed features of each modality as vectors of one width."""

from ._feature_tokens import FeatureLogits, FeatureTokens, mask_and_drop
from ._feature_types import FeatureTypes, MaskedFeatures
from ._missing_tokens import MissingTokens
from ._mtand import MTANDTimeEmbedding, MultiTimeAttention
from ._patch_tokens import PatchTokens, TokenBatch
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
    "FeatureTypes",
    "MaskedFeatures",
    "MissingTokens",
    "MultiTimeAttention",
    "PatchEmbedding",
    "PatchTokens",
    "ReferenceSeries",
    "SymbolEmbedding",
    "TokenBatch",
    "MTANDTimeEmbedding",
    "FourierTimeEncoding",
    "mask_and_drop",
    "patch_lengths",
    "token_times",
]
