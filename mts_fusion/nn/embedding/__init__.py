"""Numbers, symbols, times and fixed features of each modality as vectors of one width."""

from ._feature_tokens import FeatureLogits, FeatureTokens, mask_and_drop
from ._mtand import MultiTimeAttention, TimeEmbedding
from ._tokens import PatchEmbedding, SymbolEmbedding, TimeEncoding, patch_lengths, token_times

__all__ = [
    "FeatureLogits",
    "FeatureTokens",
    "MultiTimeAttention",
    "PatchEmbedding",
    "SymbolEmbedding",
    "TimeEmbedding",
    "TimeEncoding",
    "mask_and_drop",
    "patch_lengths",
    "token_times",
]
