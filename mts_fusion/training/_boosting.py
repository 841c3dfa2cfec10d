"""Boosted trees next to the ridge regressions, cross-fitted like them.

Sizes: n samples, F features of all modalities, C targets, B folds.
"""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from mts_fusion.runs import advance, phase

__all__ = ["TREE_SETTINGS", "BoostedTrees"]

TREE_SETTINGS: dict[str, Any] = {
    "learning_rate": 0.05,
    "max_iter": 200,
    "max_features": 0.3,
    "early_stopping": False,
}
"""Of scikit-learn's boosted trees: each split looks at 30 % of the columns, which are hundreds and
much alike, and steps are small (docs/decisions/0038)."""

# Probability with which a modality is hidden in the second copy of a training row.
_HIDDEN = 0.3

# Lower limit of the log probabilities, negated.
_MAX_SCORE = 10.0


class BoostedTrees:
    """Boosted trees on the features of all modalities: a model without each fold, and one of all.

    Features of a missing modality are NaN, which the trees handle. So that they learn to, they are
    trained on the rows and on a copy of them whose modalities are hidden with probability 0.3.

    Parameters
    ----------
    columns : list of M lists of int
        Columns of the features of each modality that are used.
    last_times : list of M lists of int
        Columns of the times of the last observations of its channels, in seconds. The trees see
        them as the time since then, up to the last observation of any modality that is there.
    is_regression : bool
        Whether the targets are numbers; otherwise they are 1 for the class and -1 for others.
    seed : int, default=0
        Seed of the hidden modalities and of the trees.
    n_threads : int or None, default=1
        Threads of the trees; None uses those of scikit-learn.
    """

    def __init__(
        self,
        columns: list[list[int]],
        last_times: list[list[int]],
        *,
        is_regression: bool,
        seed: int = 0,
        n_threads: int | None = 1,
    ) -> None:
        self.columns = columns
        self.last_times = last_times
        self.is_regression = is_regression
        self.seed = seed
        self.n_threads = n_threads

    def fit(
        self,
        features: list[np.ndarray],
        targets: np.ndarray,
        weight: np.ndarray,
        fold: np.ndarray,
        available: np.ndarray,
        n_folds: int,
    ) -> Self:
        """Train the models.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where nothing was observed.
        targets : array of shape (n, C)
            As for the ridge regressions.
        weight : array of shape (n,)
            Weights of the rows.
        fold : int array of shape (n,)
            Fold of each row.
        available : bool array of shape (n, M)
            Modalities that each row has.
        n_folds : int
            Number of folds B.

        Returns
        -------
        BoostedTrees
            The fitted trees.
        """
        self.table, self.fold, self.n_targets = self._table(features), fold, targets.shape[1]
        generator = np.random.default_rng(self.seed)
        hidden = generator.random(available.shape) < _HIDDEN
        last = np.where(available, generator.random(available.shape), -1.0).argmax(1)
        hidden[np.arange(len(hidden)), last] = False
        both = np.concatenate([self.table, self._masked(self.table, ~hidden)])
        y = targets if self.is_regression else targets.argmax(1)
        twice = np.concatenate([np.arange(len(fold))] * 2)
        with phase("trees", n_folds + 1, "model"), self._threads():
            self.fold_models = [
                self._train(both, y, weight, twice, fold[twice] != b) if (fold == b).any() else None
                for b in range(n_folds)
            ]
            self.model = self._train(both, y, weight, twice, np.ones(len(twice), dtype=bool))
        return self

    def _threads(self) -> threadpool_limits:
        """A block in which the trees use ``n_threads`` threads, beside those of torch."""
        return threadpool_limits(self.n_threads, user_api="openmp")

    def _train(
        self, table: np.ndarray, y: np.ndarray, weight: np.ndarray, row: np.ndarray, use: np.ndarray
    ) -> list[Any]:
        """One classifier, or one regressor for each target."""
        advance("trees")
        row, table = row[use], self._since_last(table[use])
        # The binning of scikit-learn 1.9 fails on a column that is NaN in all training rows.
        has_numbers = ~np.isnan(table).all(0)
        table = np.where(has_numbers, table, 0.0)
        if self.is_regression:
            return [
                HistGradientBoostingRegressor(**TREE_SETTINGS, random_state=self.seed).fit(
                    table, y[row, c], sample_weight=weight[row]
                )
                for c in range(self.n_targets)
            ]
        if len(np.unique(y[row])) == 1:  # the fold has all rows of other classes
            return [DummyClassifier().fit(table, y[row])]
        trees = HistGradientBoostingClassifier(**TREE_SETTINGS, random_state=self.seed)
        return [trees.fit(table, y[row], sample_weight=weight[row])]

    def _table(self, features: list[np.ndarray]) -> np.ndarray:
        parts = [
            part[:, index]
            for columns in (self.columns, self.last_times)
            for part, index in zip(features, columns, strict=True)
        ]
        return np.concatenate(parts, axis=1)

    def _since_last(self, table: np.ndarray) -> np.ndarray:
        """The table with times since the last observations in place of their times."""
        n_times = sum(map(len, self.last_times))
        if n_times == 0:
            return table
        times = table[:, -n_times:]
        end = np.fmax.reduce(times, axis=1, keepdims=True)  # NaN where nothing was observed
        return np.concatenate([table[:, :-n_times], end - times], axis=1)

    def _masked(self, table: np.ndarray, kept: np.ndarray) -> np.ndarray:
        each = [
            np.repeat(kept, [len(index) for index in columns], axis=1)
            for columns in (self.columns, self.last_times)
        ]
        return np.where(np.concatenate(each, axis=1), table, np.nan).astype(np.float32)

    def _predict(self, models: list[Any], table: np.ndarray) -> np.ndarray:
        table = self._since_last(table)
        with self._threads():
            if self.is_regression:
                return np.stack([model.predict(table) for model in models], axis=1)
            p = models[0].predict_proba(table)
        scores = np.full((len(table), self.n_targets), -_MAX_SCORE)
        scores[:, models[0].classes_] = np.maximum(np.log(np.maximum(p, 1e-12)), -_MAX_SCORE)
        return scores

    def held_out(self, members: tuple[int, ...]) -> np.ndarray:
        """Scores of the training rows from some modalities, by models trained without their fold.

        Parameters
        ----------
        members : tuple of int
            Indices of the modalities.

        Returns
        -------
        array of shape (n, C)
            Log probabilities, or standardised numbers.
        """
        kept = np.isin(np.arange(len(self.columns)), members)
        table = self._masked(self.table, np.broadcast_to(kept, (len(self.table), len(kept))))
        scores = np.zeros((len(table), self.n_targets))
        for b, models in enumerate(self.fold_models):
            if models is not None:
                scores[self.fold == b] = self._predict(models, table[self.fold == b])
        return scores

    def scores(self, features: list[np.ndarray]) -> np.ndarray:
        """Scores of samples.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where nothing was observed.

        Returns
        -------
        array of shape (n, C)
            Log probabilities, or standardised numbers.
        """
        return self._predict(self.model, self._table(features))

    def fold_scores(self, features: list[np.ndarray]) -> np.ndarray:
        """Scores of samples by the model without each fold.

        Parameters
        ----------
        features : list of M arrays of shape (n, F)
            NaN where nothing was observed.

        Returns
        -------
        array of shape (B, n, C)
            Log probabilities, or standardised numbers.
        """
        table = self._table(features)
        return np.stack([self._predict(m or self.model, table) for m in self.fold_models])
