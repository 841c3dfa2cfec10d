"""PatternExplanationsMixin: contributions of modalities to scores, and values of sensors."""

from __future__ import annotations

from collections.abc import Callable
from math import comb
from typing import Any

import numpy as np
from sklearn.utils import Bunch
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import PanelLike, Schema
from mts_fusion.panel._frames import as_frame
from mts_fusion.runs import advance, phase, predicting
from mts_fusion.training import PatternModels

__all__ = ["PatternExplanationsMixin"]

# Number of sensors up to which all subsets are evaluated, and number of orders drawn for more.
_MOST_EXACT, _N_ORDERS = 10, 40

# Value of a set of modalities.
_Value = Callable[[tuple[int, ...]], float]


class PatternExplanationsMixin:
    """Abstract: ``explain`` and ``sensor_values`` of PatternRidge."""

    # What PatternRidge has
    schema_: Schema
    models_: PatternModels
    _link: Any
    _check_fitted_X: Any
    _of_chunks: Any
    _prior_scores: Any

    def explain(self, X: PanelLike) -> dict[str, np.ndarray]:
        """What each modality adds to the scores, and how good the model of these sensors is.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        dict of str to array of shape (n, ...)
            ``contribution (n, M, C)`` and ``constant (n, C)``, which add up to ``score (n, C)``,
            the argument of the softmax (of the sigmoid; for numbers, y without mean and spread);
            ``available (n, M)``; of each head of the regression (convolutions, statistics)
            ``penalty (n, K)`` and ``factor (n, K)``, by which its scores are multiplied (before the
            coupling of the classes and the offset, which contribution and score include); and
            ``held_out_loss (n,)`` of the model of these sensors: nats, or squared error in units of
            the variance of y. NaN where there is no model.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        panel = self._check_fitted_X(X)
        chunks = self._of_chunks(self._explain_chunk, panel)
        return {key: np.concatenate([chunk[key] for chunk in chunks]) for key in chunks[0]}

    def _explain_chunk(
        self, features: list[np.ndarray], available: np.ndarray
    ) -> dict[str, np.ndarray]:
        contribution, constant = self.models_.contributions(features, available)
        constant = np.where(np.isnan(constant), self._prior_scores(), constant)
        n, n_heads = len(available), len(self.models_.heads)
        n_factors = n_heads + (self.models_.trees is not None)
        penalty, factor = np.full((n, n_heads), np.nan), np.full((n, n_factors), np.nan)
        loss = np.full(n, np.nan)
        for rows, model in self.models_.models_of(available):
            penalty[rows] = [np.nan if s is None else s.penalty for s in model.solutions]
            factor[rows], loss[rows] = model.factors, model.loss
        return {
            "contribution": contribution,
            "constant": constant,
            "score": contribution.sum(1) + constant,
            "available": available,
            "penalty": penalty,
            "factor": factor,
            "held_out_loss": loss,
        }

    def sensor_values(self) -> Bunch:
        """How much each sensor lowers the held-out loss, from the training samples alone.

        The value of a set of sensors is the held-out loss without any sensor minus the one with
        these, in closed form: neither a test set nor a forward pass is needed. The value of a
        sensor is its Shapley value [1]_: exact with up to 10 sensors, from 40 random orders with
        more.

        Returns
        -------
        Bunch
            ``subsets``, a DataFrame with a row for each set that was evaluated: ``modalities``,
            ``n_modalities``, ``value``; and ``shapley``, one with a row for each modality:
            ``modality``, ``value``, ``standard_error`` (0 where exact), ``alone``. In nats
            (classes, labels) or units of the variance of y (numbers).

        Raises
        ------
        ValueError
            If the estimator is a blank copy without any sample.

        References
        ----------
        .. [1] Shapley, "A value for n-person games", Contributions to the Theory of Games II, 1953.
        """
        check_is_fitted(self)
        if not self.models_.n_rows:
            raise ValueError(
                f"This blank copy of {type(self).__name__} has no samples. Fit it with "
                "partial_fit(X, y)."
            )
        names = self.schema_.names
        n = len(names)
        values: dict[tuple[int, ...], float] = {(): 0.0}
        loss_without_sensors = self._prior_loss()

        def value(members: tuple[int, ...]) -> float:
            if members not in values:
                model = self.models_.model(members)
                advance("models")
                loss = np.nan if model is None else model.loss
                values[members] = loss_without_sensors - loss if np.isfinite(loss) else 0.0
            return values[members]

        is_exact = n <= _MOST_EXACT
        with predicting(self, None), phase("models", 2**n - 1 if is_exact else None, "model"):
            shapley_values, errors = (_exact_shapley if is_exact else _sampled_shapley)(n, value)
        sets = sorted(values, key=lambda members: (len(members), members))
        subsets: dict[str, list[Any]] = {
            "modalities": [", ".join(names[m] for m in members) for members in sets],
            "n_modalities": [len(members) for members in sets],
            "value": [values[members] for members in sets],
        }
        shapley: dict[str, list[Any]] = {
            "modality": list(names),
            "value": shapley_values.tolist(),
            "standard_error": errors.tolist(),
            "alone": [value((m,)) for m in range(n)],
        }
        return Bunch(subsets=as_frame(subsets), shapley=as_frame(shapley))

    def _prior_loss(self) -> float:
        """Loss of the prior on the kept samples."""
        kept = self.models_.kept
        prior = np.broadcast_to(self._prior_scores(), kept.targets.shape)
        return self._link.loss(prior, kept.targets, kept.weight)


def _exact_shapley(n: int, value: _Value) -> tuple[np.ndarray, np.ndarray]:
    """Mean gain of each player over all orders, from the values of all sets; errors of 0."""
    masks = np.arange(2**n)
    members = masks[:, None] >> np.arange(n) & 1
    values = np.array([value(tuple(np.flatnonzero(row).tolist())) for row in members])
    size = members.sum(1)
    result = np.zeros(n)
    for m in range(n):
        without = np.flatnonzero(members[:, m] == 0)
        weight = np.array([1 / (n * comb(n - 1, int(k))) for k in size[without]])
        result[m] = weight @ (values[without | 1 << m] - values[without])
    return result, np.zeros(n)


def _sampled_shapley(n: int, value: _Value) -> tuple[np.ndarray, np.ndarray]:
    """The same from random orders, each with its reverse, and standard errors."""
    generator = np.random.default_rng(0)
    gains = np.zeros((_N_ORDERS, n))
    order = np.arange(n)
    for i in range(_N_ORDERS):
        order = generator.permutation(n) if i % 2 == 0 else order[::-1]
        before = 0.0
        for k in range(n):
            after = value(tuple(sorted(order[: k + 1].tolist())))
            gains[i, order[k]] = after - before
            before = after
    pairs = gains.reshape(-1, 2, n).mean(1)
    return gains.mean(0), pairs.std(0, ddof=1) / np.sqrt(len(pairs))
