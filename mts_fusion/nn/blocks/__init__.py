"""Parts of which networks are built: torch only, no task, no estimator."""

from mts_fusion.nn.blocks._attention import BudgetedAttention, BudgetGate, attend, budgeted_attend
from mts_fusion.nn.blocks._diffusion import (
    CrossModalContext,
    GridAttention,
    GridEncoderLayer,
    ResidualDenoiserLayer,
    StepEmbedding,
)
from mts_fusion.nn.blocks._embedding import (
    PatchEmbedding,
    SymbolEmbedding,
    TimeEncoding,
    patch_lengths,
    token_times,
)
from mts_fusion.nn.blocks._encoder import (
    CrossModalLayer,
    Distilling,
    IntraModalLayer,
    distilled_times,
)
from mts_fusion.nn.blocks._filling import fill_between
from mts_fusion.nn.blocks._hiding import HideObserved
from mts_fusion.nn.blocks._linear import ModalityLinear
from mts_fusion.nn.blocks._missing import ModalityDropout, available_modalities, curriculum_rate
from mts_fusion.nn.blocks._moe import Routing, SparseMoE
from mts_fusion.nn.blocks._mtand import MultiTimeAttention, TimeEmbedding
from mts_fusion.nn.blocks._noise import content_keys, keyed_normal
from mts_fusion.nn.blocks._output import ModuleOutput
from mts_fusion.nn.blocks._random import Dropout, set_generator
from mts_fusion.nn.blocks._router import ModalityMoE, routing_entropy_loss
from mts_fusion.nn.blocks._sampler import SAMPLERS
from mts_fusion.nn.blocks._schedule import NoiseSchedule
from mts_fusion.nn.blocks._sequence import ENCODERS, Encoded, Encoder

__all__ = [
    "ENCODERS",
    "Encoded",
    "Encoder",
    "SAMPLERS",
    "BudgetGate",
    "BudgetedAttention",
    "CrossModalContext",
    "CrossModalLayer",
    "Distilling",
    "Dropout",
    "GridAttention",
    "GridEncoderLayer",
    "HideObserved",
    "IntraModalLayer",
    "ModalityDropout",
    "ModalityLinear",
    "ModalityMoE",
    "ModuleOutput",
    "MultiTimeAttention",
    "NoiseSchedule",
    "PatchEmbedding",
    "ResidualDenoiserLayer",
    "Routing",
    "SparseMoE",
    "StepEmbedding",
    "SymbolEmbedding",
    "TimeEmbedding",
    "TimeEncoding",
    "attend",
    "available_modalities",
    "budgeted_attend",
    "content_keys",
    "curriculum_rate",
    "distilled_times",
    "fill_between",
    "keyed_normal",
    "patch_lengths",
    "routing_entropy_loss",
    "set_generator",
    "token_times",
]
