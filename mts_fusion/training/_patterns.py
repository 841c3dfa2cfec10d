"""PatternModels: one exact model for every set of modalities, made when the set first occurs.

Sizes: n samples, M modalities, F features of a modality, K heads, C targets, B folds.
"""

from __future__ import annotations

import zlib
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from typing import Any, Self

import numpy as np
from torch import Tensor

from mts_fusion.nn.features import LAST_TIMES
from mts_fusion.persistence import PackedState
from mts_fusion.runs import advance, phase

from ._boosting import BoostedTrees
from ._links import ScoreLink
from ._pattern_forms import DualHead, PrimalHead
from ._pattern_head import RidgeHead
from ._pattern_model import PatternModel, make_model
from ._pattern_rows import Head, TrainingRows, as_array, as_tensor, kept_rows
from ._runtime import available_device, isolated

__all__ = ["DUAL_ROWS", "PatternModels"]

DUAL_ROWS = 800
"""``form="auto"``: dual with up to this many training rows in the first fit, primal with more."""

# Samples whose scores are computed at a time.
_CHUNK = 2048


class PatternModels(PackedState):
    """Ridge regressions on the features of every set of modalities that occurs.

    Parameters
    ----------
    heads : sequence of K Head
        Regressions whose scores are added up.
    columns : list of M dicts of str to list of int
        By modality and kind, the columns of the features.
    link : ScoreLink
        Targets of the regressions, and predictions from their scores.
    form : {"auto", "dual", "primal"}, default="auto"
        One unknown for each training row, or one for each coordinate. ``"auto"``: dual with up to
        800 rows in the first fit.
    penalty : float or None, default=None
        Penalty of all regressions; None searches for the one of the lowest held-out squared error.
    max_patterns : int, default=512
        Models kept; the least recently used are dropped, and made again when needed.
    n_threads : int or None, default=None
        Threads of the algebra; None for those that torch has.
    device : str, default="cpu"
        Device of the algebra.
    boosted_kinds : tuple of str or None, default=None
        Kinds of features of boosted trees whose scores are added as those of one more head;
        None for no trees. With trees, rows cannot be added or removed.
    seed : int, default=0
        Seed of the trees.

    Attributes
    ----------
    heads : list of RidgeHead
        Those of the heads that have features of any modality.
    kept : TrainingRows
        Rows with held-out scores, without features: all if dual, up to 20,000 if primal.
    n_rows : int
        Number of training rows.

    Notes
    -----
    A set of modalities none of which any training row has gets no model.
    """

    def __init__(
        self,
        heads: Sequence[Head],
        columns: list[dict[str, list[int]]],
        link: ScoreLink,
        *,
        form: str = "auto",
        penalty: float | None = None,
        max_patterns: int = 512,
        n_threads: int | None = None,
        device: str = "cpu",
        boosted_kinds: tuple[str, ...] | None = None,
        seed: int = 0,
    ) -> None:
        self.settings = list(heads)
        self.columns = columns
        self.link = link
        self.form = form
        self.penalty = penalty
        self.max_patterns = max_patterns
        self.n_threads = n_threads
        self.device = device
        self.boosted_kinds = boosted_kinds
        self.seed = seed
        self.heads: list[RidgeHead] = []
        self.trees: BoostedTrees | None = None
        self.models: OrderedDict[tuple[int, ...], PatternModel | None] = OrderedDict()

    # Learning

    def fit(self, rows: TrainingRows, n_folds: int) -> Self:
        """Learn kernels and penalties; the model of a set is made when the set first occurs.

        Parameters
        ----------
        rows : TrainingRows
            n distinct rows, in an order that follows from their content.
        n_folds : int
            Number of folds B.

        Returns
        -------
        PatternModels
            The fitted models.
        """
        self.n_folds = n_folds
        self.is_dual = self.form == "dual" or (self.form == "auto" and len(rows.keys) <= DUAL_ROWS)
        parts = (rows.keys, rows.weight, rows.fold)
        self.fingerprint = zlib.crc32(b"".join(part.tobytes() for part in parts))
        self.kept = rows._replace(features=[])
        self.n_rows, self.total = len(rows.keys), rows.sums()
        settings = [head for head in self.settings if any(self._columns_of(head.kinds))]
        n_kernels = sum(len(head.bandwidths) for head in settings)
        with phase("kernels", n_kernels, "kernel"), isolated(self.n_threads, device=self.device):
            self.heads = [self._fit_head(head, rows) for head in settings]
        self._fit_trees(rows)
        self._rows_changed()
        return self

    def _fit_head(self, head: Head, rows: TrainingRows) -> RidgeHead:
        """The head with its best bandwidth."""
        form = DualHead if self.is_dual else PrimalHead
        fitted = [
            form(
                self._columns_of(head.kinds),
                bandwidth=bandwidth,
                n_folds=self.n_folds,
                is_numeric=self.link.is_numeric,
                penalty=self.penalty,
                n_threads=self.n_threads,
            ).fit(rows)
            for bandwidth in head.bandwidths
        ]
        return min(fitted, key=lambda one: one.error)

    def _fit_trees(self, rows: TrainingRows) -> None:
        if self.boosted_kinds is not None:
            self.trees = BoostedTrees(
                *map(self._columns_of, (self.boosted_kinds, (LAST_TIMES,))),
                is_regression=self.link.is_numeric,
                seed=self.seed,
                n_threads=self.n_threads,
            ).fit(rows.features, *rows[1:5], self.n_folds)

    def _columns_of(self, kinds: tuple[str, ...]) -> list[list[int]]:
        """Columns of some kinds, of each modality."""
        return [[i for kind in kinds for i in by_kind.get(kind, [])] for by_kind in self.columns]

    # The model of one set of modalities

    def model(self, members: tuple[int, ...]) -> PatternModel | None:
        """The model of a set of modalities, made now if it is not kept.

        Parameters
        ----------
        members : tuple of int
            Indices of the modalities, in increasing order.

        Returns
        -------
        PatternModel or None
            None if no training row has any of them.
        """
        if members in self.models:
            self.models.move_to_end(members)
            return self.models[members]
        with isolated(self.n_threads, device=self.device):
            model = make_model(members, self.heads, self.trees, self.link, self.kept)
        self.models[members] = model
        advance("prediction", 0, models=len(self.models))
        if len(self.models) > self.max_patterns:
            self.models.popitem(last=False)
        return model

    # Scores

    def scores(self, features: Sequence[np.ndarray], available: np.ndarray) -> np.ndarray:
        """Scores before the link.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where the modality is missing.
        available : bool array of shape (n, M)
            Modalities that each sample has.

        Returns
        -------
        array of shape (n, C)
            float64; NaN where there is no model.
        """
        scores = np.full((len(available), self.kept.targets.shape[1]), np.nan)
        for rows, model, terms in self._terms(features, available):
            total = sum((term for _, term in terms), model.constant.expand(len(rows), -1))
            scores[rows] = as_array(total)
            if self.trees is not None:
                added = self.trees.scores([part[rows] for part in features])
                scores[rows] += model.factors[-1] * added @ model.coupling
        return scores

    def contributions(
        self, features: Sequence[np.ndarray], available: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """What each modality adds to each score, and the constant.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where the modality is missing.
        available : bool array of shape (n, M)
            Modalities that each sample has.

        Returns
        -------
        contributions : array of shape (n, M, C)
            0 for a missing modality.
        constant : array of shape (n, C)
            Added to the contributions it gives `scores`; NaN where there is no model.
        """
        contributions = np.zeros((*available.shape, self.kept.targets.shape[1]))
        for rows, _, terms in self._terms(features, available):
            for m, term in terms:
                contributions[rows, m] += as_array(term)
        return contributions, self.scores(features, available) - contributions.sum(1)

    def _terms(
        self, features: Sequence[np.ndarray], available: np.ndarray
    ) -> Iterator[tuple[np.ndarray, PatternModel, list[tuple[int, Tensor]]]]:
        """Rows of each set of modalities, its model, and what each modality adds, ``(k, C)``."""
        for start in range(0, len(available), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            few = features if len(available) <= _CHUNK else [part[chunk] for part in features]
            with isolated(self.n_threads, device=self.device):
                bases = [head.bases(few, np.any(available[chunk], axis=0)) for head in self.heads]
            for rows, model in self.models_of(available[chunk]):
                with isolated(self.n_threads):
                    index = slice(None) if len(rows) == len(few[0]) else as_tensor(rows)
                    terms = [
                        (m, base[m][index] @ coef)
                        for base, by_modality in zip(bases, model.base_coef, strict=True)
                        for m, coef in by_modality.items()
                    ]
                yield rows + start, model, terms

    def fold_scores(self, features: Sequence[np.ndarray], available: np.ndarray) -> np.ndarray:
        """Scores before the link, by the models without each fold.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where the modality is missing.
        available : bool array of shape (n, M)
            Modalities that each sample has.

        Returns
        -------
        array of shape (B, n, C)
            float64; NaN where there is no model.
        """
        n_targets = self.kept.targets.shape[1]
        scores = np.full((self.n_folds, len(available), n_targets), np.nan)
        for start in range(0, len(available), _CHUNK):
            chunk = slice(start, start + _CHUNK)
            with isolated(self.n_threads, device=self.device):
                few = [part[chunk] for part in features]
                coordinates = [head.coordinates(few) for head in self.heads]
            for rows, model in self.models_of(available[chunk]):
                total = self._ridge_fold_scores(model, coordinates, rows)
                if self.trees is not None:
                    total += model.factors[-1] * self.trees.fold_scores([p[rows] for p in few])
                scores[:, rows + start] = total @ model.coupling + model.offset
        return scores

    def _ridge_fold_scores(
        self, model: PatternModel, coordinates: list[list[Tensor]], rows: np.ndarray
    ) -> np.ndarray:
        """Weighted sum ``(B, k, C)`` of the scores of the ridge heads, for some rows of a chunk."""
        total = np.zeros((self.n_folds, len(rows), len(model.coupling)))
        with isolated(self.n_threads):
            index = slice(None) if len(rows) == len(coordinates[0][0]) else as_tensor(rows)
        for k, (head, solution) in enumerate(zip(self.heads, model.solutions, strict=True)):
            if solution is not None:
                own = head.members(model.members)
                with isolated(self.n_threads):
                    design = head.system.design([coordinates[k][m][index] for m in own])
                    total += model.factors[k] * as_array(design @ solution.fold_coef)
        return total

    def models_of(self, available: np.ndarray) -> Iterator[tuple[np.ndarray, PatternModel]]:
        """Rows of each set of modalities and its model; rows without a model are left out.

        Parameters
        ----------
        available : bool array of shape (n, M)
            Modalities that each sample has.

        Yields
        ------
        rows : int array of shape (k,)
            Indices of the samples with this set.
        model : PatternModel
            Model of this set.
        """
        patterns, which = np.unique(available, axis=0, return_inverse=True)
        for p, pattern in enumerate(patterns):
            model = self.model(tuple(np.flatnonzero(pattern).tolist()))
            if model is not None:
                yield np.flatnonzero(which.ravel() == p), model

    def prior(self) -> np.ndarray:
        """Mean of the targets in training.

        Returns
        -------
        array of shape (C,)
            Weighted mean.
        """
        return self.total[1:] / max(self.total[0], 1e-300)

    # Rows that are added, removed and merged

    def add(self, rows: TrainingRows) -> None:
        """Learn from more rows, as if they had been in the first fit; kernels do not change.

        Parameters
        ----------
        rows : TrainingRows
            k rows.
        """
        self._count(rows, 1)
        self.kept = self.kept.join(rows)
        with isolated(self.n_threads, device=self.device):
            for head in self.heads:
                head.add(rows)
        self._rows_changed()

    def forget(self, index: np.ndarray) -> None:
        """Remove kept rows, as if they had never been there; kernels do not change.

        Parameters
        ----------
        index : int array of shape (k,)
            Indices among the kept rows.
        """
        self._count(self.kept.take(index), -1)
        self.kept = self.kept.take(np.setdiff1d(np.arange(len(self.kept.keys)), index))
        with isolated(self.n_threads, device=self.device):
            for head in self.heads:
                head.forget(index)
        self._rows_changed()

    def merge(self, other: PatternModels) -> None:
        """Learn from the rows of other models with the same kernels.

        Parameters
        ----------
        other : PatternModels
            With the same fingerprint.
        """
        self.total = self.total + (other.kept.sums() if self.is_dual else other.total)
        self.n_rows += other.n_rows
        self.kept = self.kept.join(other.kept)
        with isolated(self.n_threads, device=self.device):
            for head, others in zip(self.heads, other.heads, strict=True):
                head.merge(others)
        self._rows_changed()

    def _count(self, rows: TrainingRows, sign: int) -> None:
        """Add rows to ``n_rows`` and ``total``, or subtract them."""
        self.total = self.total + sign * rows.sums()
        self.n_rows += sign * len(rows.keys)
        if not self.n_rows:  # rounding errors would be left
            self.total = np.zeros_like(self.total)

    def _load_state(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, device=available_device(state["device"]))

    def _rows_changed(self) -> None:
        """Bound the kept rows, and drop the models: they are made again when they are needed."""
        if not self.is_dual:
            self.kept = self.kept.take(kept_rows(self.kept.keys))
        self.models.clear()
