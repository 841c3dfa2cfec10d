"""Attention inside and across modalities, within a budget."""

from ._budgeted import BudgetedAttention, BudgetGate, attend, budgeted_attend, sample_keys
from ._cross_modal import CrossModalLayer, CrossModalOutput
from ._intra_modal import Distilling, IntraModalLayer, distilled_times

__all__ = [
    "BudgetGate",
    "BudgetedAttention",
    "CrossModalLayer",
    "CrossModalOutput",
    "Distilling",
    "IntraModalLayer",
    "attend",
    "budgeted_attend",
    "distilled_times",
    "sample_keys",
]
