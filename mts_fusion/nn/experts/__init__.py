"""Mixtures of experts: for tokens, and for modalities."""

from ._modality_moe import ModalityMoE, routing_entropy_loss
from ._token_moe import Routing, SparseMoE

__all__ = [
    "ModalityMoE",
    "Routing",
    "SparseMoE",
    "routing_entropy_loss",
]
