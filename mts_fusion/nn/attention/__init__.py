"""Attention inside and across modalities."""

from ._budgeted import BudgetedAttention, BudgetGate, attend, budgeted_attend, sample_keys
from ._cross_modal import CrossModalLayer, CrossModalOutput
from ._intra_modal import Distilling, IntraModalLayer, distilled_times
from ._routed import RoutedLayer

__all__ = [
    "BudgetGate",
    "BudgetedAttention",
    "CrossModalLayer",
    "CrossModalOutput",
    "Distilling",
    "IntraModalLayer",
    "RoutedLayer",
    "attend",
    "budgeted_attend",
    "distilled_times",
    "sample_keys",
]
