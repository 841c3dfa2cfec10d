"""Attention budgets of the modalities, learnt or given.

Sizes: B batch, M modalities.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor, nn

from mts_fusion.panel._schema import Schema

__all__ = ["BudgetGate", "fixed_budgets"]

# Width of the hidden layer of the gate, and its input for an absent modality (eps in the paper).
_GATE_WIDTH = 32
_ABSENT = 0.01


class BudgetGate(nn.Module):
    """Attention budget of each modality, from which modalities a sample has.

    Section 3 of the method in [1]_: ``u = sigmoid(G(m + eps (1 - m))) beta``, with eps = .01.

    Parameters
    ----------
    n_modalities : int
        Modalities M.
    max_budget : float, default=5.0
        Largest budget ``beta``.
    fixed : sequence of M floats or None, default=None
        Budgets that are given instead of learnt; NaN where it is learnt. None: all are learnt.
    spends_if_absent : bool, default=False
        Whether a modality has a budget where it is absent too, for its missing tokens.

    Attributes
    ----------
    largest : float
        The largest budget of a modality that can occur.
    learns : bool
        Whether the budget of some modality is learnt.

    Raises
    ------
    ValueError
        If ``max_budget`` is not above 0.

    Notes
    -----
    Input ``available (B, M)`` bool; output ``(B, M)`` in ``[0, max_budget]``, 0 where absent unless
    ``spends_if_absent``.

    References
    ----------
    .. [1] Mohapatra et al., "MAESTRO: Adaptive Sparse Attention and Robust Learning for Multimodal
       Dynamic Time Series", NeurIPS, 2025. https://arxiv.org/abs/2509.25278

    Examples
    --------
    >>> gate = BudgetGate(3)
    >>> float(gate(torch.tensor([[True, True, False]]))[0, 2].detach())
    0.0
    """

    fixed: Tensor
    is_learnt: Tensor

    def __init__(
        self,
        n_modalities: int,
        *,
        max_budget: float = 5.0,
        fixed: list[float] | None = None,
        spends_if_absent: bool = False,
    ) -> None:
        super().__init__()
        if max_budget <= 0:
            raise ValueError(f"max_budget is above 0, got {max_budget}.")
        self.spends_if_absent = spends_if_absent
        self.max_budget = max_budget
        given = [math.nan] * n_modalities if fixed is None else fixed
        self.largest = max(max_budget if math.isnan(budget) else budget for budget in given)
        is_learnt = [math.isnan(budget) for budget in given]
        self.learns = any(is_learnt)
        self.register_buffer("is_learnt", torch.tensor(is_learnt))
        fixed = [0.0 if math.isnan(budget) else budget for budget in given]
        self.register_buffer("fixed", torch.tensor(fixed, dtype=torch.float32))
        # There too where no budget is learnt, so that networks with other budgets have the same
        # weights at the start.
        self.gate = nn.Sequential(
            nn.Linear(n_modalities, _GATE_WIDTH),
            nn.Tanh(),
            nn.Linear(_GATE_WIDTH, n_modalities),
        )

    def forward(self, available: Tensor) -> Tensor:
        """Budget of each sample and modality."""
        present = available.to(self.fixed.dtype)
        # NOTE[DIFF] The paper rounds ``u`` down; here it stays real, and has a gradient. The
        # released code has one budget for a batch, from a gate of M hidden units.
        # NOTE[DIFF] In the paper an absent modality has a budget. Here it has none, unless it has
        # learnt tokens.
        spends = torch.ones_like(present) if self.spends_if_absent else present
        if not self.learns:
            return torch.where(spends > 0, self.fixed, 0.0)
        learnt = torch.sigmoid(self.gate(present + _ABSENT * (1 - present))) * self.max_budget
        return torch.where(self.is_learnt, learnt, self.fixed) * spends


def fixed_budgets(
    schema: Schema, attention_budget: str | float | Mapping[str, float] | None
) -> list[float]:
    """Attention budgets that are given instead of learnt.

    Parameters
    ----------
    schema : Schema
        The modalities.
    attention_budget : "learnt", float, dict of str to float or None
        One for all modalities, or by name.

    Returns
    -------
    list of M float
        NaN where the budget is learnt.

    Raises
    ------
    ValueError
        If a budget is negative or not a number, or a dict names an unknown modality.

    Examples
    --------
    >>> from mts_fusion.panel._schema import Modality
    >>> schema = Schema((Modality("acc", 3, 100), Modality("temp", 1, 16)))
    >>> fixed_budgets(schema, {"temp": 2.0})
    [nan, 2.0]
    """
    if attention_budget is None or attention_budget == "learnt":
        return [math.nan] * len(schema)
    if isinstance(attention_budget, str):
        raise ValueError(
            "attention_budget is 'learnt', None, a number or a dict of modality to number, got "
            f"{attention_budget!r}."
        )
    if not isinstance(attention_budget, Mapping):
        if not attention_budget >= 0:
            raise ValueError(f"attention_budget is at least 0, got {attention_budget}.")
        return [float(attention_budget)] * len(schema)
    unknown = [name for name in attention_budget if name not in schema]
    if unknown:
        raise ValueError(
            f"attention_budget names {unknown}, but the modalities are {list(schema.names)}. "
            "Give budgets by those names; modalities without one have theirs learnt."
        )
    for name, budget in attention_budget.items():
        if isinstance(budget, str) or not 0 <= budget < math.inf:
            raise ValueError(
                f"attention_budget of modality {name!r} is a number of at least 0, got {budget!r}."
            )
    return [float(attention_budget.get(name, math.nan)) for name in schema.names]
