"""Diagnostics of fitted estimators: robustness, importances, records of networks, displays."""

from mts_fusion.inspection._costs import model_costs
from mts_fusion.inspection._display_degradation import DegradationDisplay
from mts_fusion.inspection._display_imputation import ImputationDisplay
from mts_fusion.inspection._display_maps import AttentionMapDisplay, ExpertRoutingDisplay
from mts_fusion.inspection._display_modalities import BudgetDisplay, ModalityImportanceDisplay
from mts_fusion.inspection._display_panel import PanelDisplay
from mts_fusion.inspection._display_recording import RecordingDisplay
from mts_fusion.inspection._display_reliability import ReliabilityDisplay
from mts_fusion.inspection._display_training import TrainingCurveDisplay
from mts_fusion.inspection._importance import modality_importance
from mts_fusion.inspection._imputation import imputation_scores
from mts_fusion.inspection._noise import noise_robustness
from mts_fusion.inspection._records import (
    AttentionMaps,
    attention_budgets,
    attention_maps,
    expert_routing,
)
from mts_fusion.inspection._robustness import missingness_curve, modality_subsets

__all__ = [
    "AttentionMapDisplay",
    "AttentionMaps",
    "BudgetDisplay",
    "DegradationDisplay",
    "ExpertRoutingDisplay",
    "ImputationDisplay",
    "ModalityImportanceDisplay",
    "PanelDisplay",
    "RecordingDisplay",
    "ReliabilityDisplay",
    "TrainingCurveDisplay",
    "attention_budgets",
    "attention_maps",
    "expert_routing",
    "imputation_scores",
    "missingness_curve",
    "model_costs",
    "modality_importance",
    "modality_subsets",
    "noise_robustness",
]
