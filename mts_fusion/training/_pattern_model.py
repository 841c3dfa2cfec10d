"""PatternModel: the model of one set of modalities, from the regressions of all heads.

Sizes: n kept rows, M modalities, F features of a modality, L landmarks, K heads, C targets.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from torch import Tensor

from mts_fusion.nn.ridge import RidgeSolution

from ._boosting import BoostedTrees
from ._links import Coupling, ScoreLink
from ._pattern_head import RidgeHead, comparable_rows
from ._pattern_rows import TrainingRows, as_array, as_tensor

__all__ = ["PatternModel", "make_model"]


class PatternModel(NamedTuple):
    """The model of one set of modalities.

    Parameters
    ----------
    members : tuple of int
        Indices of the modalities.
    solutions : list of K RidgeSolution or None
        The regression of each head; None if the head has no features of these modalities.
    factors : array of shape (K,)
        Factors of the scores of the heads in their sum; one more with boosted trees.
    coupling : array of shape (C, C)
        Matrix that this sum is multiplied by.
    offset : array of shape (C,)
        Added to the product.
    held_out : array of shape (n, C)
        Scores of the kept rows, each by the models without its fold; NaN for rows with none of the
        modalities, and for rows of a class that no other fold has.
    loss : float
        Mean loss of the held-out scores.
    base_coef : list of K dicts of int to Tensor of shape (F or L, C)
        By modality, coefficients of its features, or of its kernel to the landmarks; the factor of
        the head and the coupling are applied already.
    constant : Tensor of shape (1, C)
        Added to the products with them; has the offset.
    """

    members: tuple[int, ...]
    solutions: list[RidgeSolution | None]
    factors: np.ndarray
    coupling: np.ndarray
    offset: np.ndarray
    held_out: np.ndarray
    loss: float
    base_coef: list[dict[int, Tensor]]
    constant: Tensor


def make_model(
    members: tuple[int, ...],
    heads: Sequence[RidgeHead],
    trees: BoostedTrees | None,
    link: ScoreLink,
    kept: TrainingRows,
) -> PatternModel | None:
    """Fit the regressions of all heads on a set of modalities, and weight their scores.

    Parameters
    ----------
    members : tuple of int
        Indices of the modalities, in increasing order.
    heads : sequence of K RidgeHead
        Fitted heads.
    trees : BoostedTrees or None
        One more head.
    link : ScoreLink
        Learns the factors of the heads and the coupling from their held-out scores.
    kept : TrainingRows
        The n rows that have held-out scores.

    Returns
    -------
    PatternModel or None
        None if no training row has any of the modalities.
    """
    if not members or not heads[0].system.has_rows(members):
        return None
    solutions = [head.best_solution(members) for head in heads]
    scores = [None if one is None else as_array(one.held_out) for one in solutions]
    if all(one is None for one in scores):
        return None
    if trees is not None:
        scores.append(trees.held_out(members))
    factors, (coupling, offset), held_out, loss = _combine(scores, link, kept)
    base_coef: list[dict[int, Tensor]] = [{} for _ in heads]
    constant = as_tensor(offset[None])
    for k, (head, solution) in enumerate(zip(heads, solutions, strict=True)):
        if solution is not None:
            mixing = as_tensor(factors[k] * coupling)
            base_coef[k], intercept = head.base_coef(solution, members, mixing)
            constant = constant + intercept
    return PatternModel(
        members, solutions, factors, coupling, offset, held_out, loss, base_coef, constant
    )


def _combine(
    scores: Sequence[np.ndarray | None], link: ScoreLink, kept: TrainingRows
) -> tuple[np.ndarray, Coupling, np.ndarray, float]:
    """Factors, coupling, combined held-out scores and their loss, from those of each head."""
    targets, weight = kept.targets, kept.weight
    used = [k for k, one in enumerate(scores) if one is not None]
    given = [one for one in scores if one is not None]
    factors = np.zeros(len(scores))
    coupling, offset = np.eye(targets.shape[1]), np.zeros(targets.shape[1])
    held_out = np.full_like(targets, np.nan)
    rows = comparable_rows(np.concatenate(given, axis=1), targets, kept.fold, link.is_numeric)
    if not rows.any():
        factors[used] = 1 / len(used)
        return factors, (coupling, offset), held_out, np.nan
    targets, weight, given = targets[rows], weight[rows], [one[rows] for one in given]
    factors[used] = link.weights(given, targets, weight)
    added = np.tensordot(factors[used], np.stack(given), 1)
    coupling, offset = link.coupling(added, targets, weight)
    held_out[rows] = added @ coupling + offset
    return factors, (coupling, offset), held_out, link.loss(held_out[rows], targets, weight)
