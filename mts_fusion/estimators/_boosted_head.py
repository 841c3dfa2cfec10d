"""BoostedHead: boosted trees on summaries of the samples, added to the outputs of networks."""

from __future__ import annotations

import numpy as np
from scipy.optimize import minimize
from scipy.special import log_softmax, softmax
from sklearn.ensemble import HistGradientBoostingClassifier, HistGradientBoostingRegressor
from threadpoolctl import threadpool_limits

from mts_fusion.panel import Panel
from mts_fusion.panel._align import without_modalities
from mts_fusion.runs import advance, phase
from mts_fusion.training import TREE_SETTINGS
from mts_fusion.training._task import end_weights
from mts_fusion.transforms import PanelSummarizer, mask_panel

from ._context import FitContext

__all__ = ["BoostedHead"]

# Share of the modalities hidden in the second copy of a training sample.
_HIDDEN = 0.3

# Lower limit of the log probabilities, negated.
_MAX_SCORE = 15.0

# Bounds of the logarithm of twice a share.
_LOG_BOUNDS = (-5.0, 3.0)


class BoostedHead:
    """Boosted trees on ``PanelSummarizer``, whose scores are added to the outputs of networks.

    ``outputs = a * network + b * trees``: log probabilities, or standardised numbers. The trees are
    trained on the samples and on a copy with 30 % of the modalities hidden. The shares ``a`` and
    ``b`` of a sample lie between those with all modalities and those with none, on a log scale, by
    the fraction that is missing. They are learnt on the held-out samples, from trees that were
    trained without them; the trees kept are those of all samples. Where nothing is held out, each
    share is one half.

    Parameters
    ----------
    n_outputs : int
        Outputs K of the networks.
    has_softmax : bool
        Whether the outputs are logits of classes; otherwise they are standardised numbers.
    seed : int, default=0
        Seed of the hidden modalities and of the trees.

    Attributes
    ----------
    shares : array of shape (2, 2)
        Of the networks and of the trees, the columns; with all modalities and with none, the rows.
    """

    def __init__(self, n_outputs: int, *, has_softmax: bool, seed: int = 0) -> None:
        self.n_outputs = n_outputs
        self.has_softmax = has_softmax
        self.seed = seed
        self.shares = np.full((2, 2), 0.5)

    def fit(self, context: FitContext) -> np.ndarray:
        """Train the trees: without the held-out samples for their scores, and on all samples.

        Parameters
        ----------
        context : FitContext
            The samples.

        Returns
        -------
        array of shape (v, K)
            Scores for the v held-out samples, with what is silenced in them.
        """
        with phase("trees", 1 + context.has_validation, "model"):
            held_out = np.zeros((0, self.n_outputs))
            if context.has_validation:
                self._train(context, context.training)
                held_out = self.held_out_scores(context)
            self._train(context, np.union1d(context.training, context.validation))
        return held_out

    def held_out_scores(self, context: FitContext) -> np.ndarray:
        """Scores for the held-out samples, with what is silenced in them.

        Parameters
        ----------
        context : FitContext
            The samples.

        Returns
        -------
        array of shape (v, K)
            As :meth:`scores`.
        """
        return self.scores(without_modalities(context.panel[context.validation], context.silenced))

    def _train(self, context: FitContext, rows: np.ndarray) -> None:
        """Train a classifier, or a regressor for each output."""
        advance("trees")
        panel = context.panel[rows]
        both = panel.concat(mask_panel(panel, fraction=_HIDDEN, seed=self.seed))
        target = np.concatenate([context.target[rows]] * 2)
        weight = None if context.weight is None else np.concatenate([context.weight[rows]] * 2)
        self.summarizer = PanelSummarizer().fit(both)
        table = self.summarizer.transform(both)
        # The binning of scikit-learn 1.9 fails on a column without any number in training.
        self.columns = np.flatnonzero(~np.isnan(table).all(0))
        table = table[:, self.columns]
        kind, targets = HistGradientBoostingClassifier, [target]
        if not self.has_softmax:
            kind, targets = HistGradientBoostingRegressor, [*target.T]
        with _one_thread():
            self.trees = [
                kind(**TREE_SETTINGS, random_state=self.seed).fit(table, y, sample_weight=weight)
                for y in targets
            ]

    def learn_shares(
        self, context: FitContext, outputs: np.ndarray, scores: np.ndarray, missing: np.ndarray
    ) -> None:
        """The shares of the lowest loss on held-out samples, all above 0.

        Parameters
        ----------
        context : FitContext
            The samples.
        outputs : array of shape (v, K)
            Of the networks, for the held-out samples.
        scores : array of shape (v, K)
            Of trees that were trained without them.
        missing : array of shape (v,)
            Fraction of the modalities that are missing or silenced.
        """
        target = context.target[context.validation]
        n = len(target)
        weight = np.ones(n) if context.weight is None else context.weight[context.validation]
        weight = weight / weight.sum()
        terms = np.stack([self._as_scores(outputs), scores])  # (2, v, K)
        ends = end_weights(missing)

        def loss(flat: np.ndarray) -> tuple[float, np.ndarray]:
            logs = flat.reshape(2, 2)  # of twice the shares
            shares = np.exp(ends @ logs) / 2  # (v, 2)
            added = np.einsum("nk,knc->nc", shares, terms)
            if self.has_softmax:
                truth = target[:, None] == np.arange(self.n_outputs)
                each = -log_softmax(added, axis=1)[truth]
                slope = softmax(added, axis=1) - truth
            else:
                slope = added - target
                each = (slope**2).sum(1) / 2
            # Weak pulls, worth one sample: to one half each, and to the same with and without.
            apart = logs[1] - logs[0]
            pull = np.stack([logs[0] - apart, apart])
            gradient = ends.T @ (np.einsum("knc,nc,n->nk", terms, slope, weight) * shares)
            cost = (logs[0] @ logs[0] + apart @ apart) / (2 * n)
            return float(weight @ each + cost), (gradient + pull / n).ravel()

        result = minimize(
            loss,
            np.zeros(4),
            jac=True,
            method="L-BFGS-B",
            bounds=[_LOG_BOUNDS] * 4,
            options={"ftol": 1e-13, "gtol": 1e-8},
        )
        self.shares = np.exp(np.asarray(result.x)).reshape(2, 2) / 2

    def _as_scores(self, outputs: np.ndarray) -> np.ndarray:
        outputs = outputs.astype(np.float64)
        return log_softmax(outputs, axis=1) if self.has_softmax else outputs

    def scores(self, panel: Panel) -> np.ndarray:
        """Scores of the trees alone.

        Parameters
        ----------
        panel : Panel
            n samples.

        Returns
        -------
        array of shape (n, K)
            Log probabilities, or standardised numbers.
        """
        table = self.summarizer.transform(panel)[:, self.columns]
        with _one_thread():
            if not self.has_softmax:
                return np.stack([one.predict(table) for one in self.trees], axis=1)
            p = self.trees[0].predict_proba(table)
        scores = np.full((len(table), self.n_outputs), -_MAX_SCORE)
        scores[:, self.trees[0].classes_] = np.log(np.maximum(p, np.exp(-_MAX_SCORE)))
        return scores

    def add(self, outputs: np.ndarray, scores: np.ndarray, missing: np.ndarray) -> np.ndarray:
        """Outputs of a network and scores of the trees, by their shares.

        Parameters
        ----------
        outputs : array of shape (n, K)
            Of a network.
        scores : array of shape (n, K)
            Of the trees, for the same samples.
        missing : array of shape (n,)
            Fraction of the modalities that are missing.

        Returns
        -------
        array of shape (n, K)
            Log probabilities but for a constant of each sample, or standardised numbers.
        """
        network, trees = np.exp(end_weights(missing) @ np.log(self.shares)).T[..., None]
        return network * self._as_scores(outputs) + trees * scores


def _one_thread() -> threadpool_limits:
    """A block in which the trees use one thread, as the networks do."""
    return threadpool_limits(1, user_api="openmp")
