"""Attention inside and across modalities."""

from ._budget import BudgetGate, fixed_budgets
from ._budgeted import (
    BudgetedAttention,
    attend,
    budgeted_attend,
    key_factor,
    picking_saves,
    sample_keys,
    scaled_attend,
)
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
    "fixed_budgets",
    "key_factor",
    "picking_saves",
    "sample_keys",
    "scaled_attend",
]
