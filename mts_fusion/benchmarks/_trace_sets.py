"""TRACE with conformal sets, whose thresholds are learnt on samples that were held out."""

from __future__ import annotations

import math
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import train_test_split

from ..estimators import TraceClassifier
from ..panel import Panel, PanelLike
from ..panel._align import without_modalities

__all__ = ["TraceWithSets"]

# Share of the samples that ``fit`` is given, held out for the thresholds.
_SHARE = 0.2


class TraceWithSets(TraceClassifier):
    """TraceClassifier, trained on four fifths of its samples; the rest tells how sure it may be.

    Split conformal prediction: a set has the classes whose probability is at least as high as that
    of the true class in a share ``coverage`` of the held-out samples, in which as many modalities
    are missing: of those that lack fewer, some are hidden. Nothing is held out where a class has
    fewer than five samples: then the sets have all classes.
    """

    def fit(
        self,
        X: PanelLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit, and keep the probabilities of the true classes of the held-out samples.

        Parameters
        ----------
        X : Panel
            n samples.
        y : array of shape (n,)
            Classes.
        sample_weight, groups : array of shape (n,), default=None
            As those of :class:`TraceClassifier`.

        Returns
        -------
        TraceWithSets
            Itself.
        """
        y, panel = np.asarray(y), cast(Any, X)
        kept, held_out = np.arange(len(y)), np.arange(0)
        if np.unique(y, return_counts=True)[1].min() >= 1 / _SHARE:
            kept, held_out = train_test_split(kept, test_size=_SHARE, stratify=y, random_state=0)
        kept = np.sort(kept)
        given = [None if x is None else np.asarray(x)[kept] for x in (sample_weight, groups)]
        super().fit(panel[kept], y[kept], *given)
        of_truth = np.searchsorted(self.classes_, y[held_out])
        self.held_out_ = [
            self._true_probabilities(panel[held_out], of_truth, n_missing)
            for n_missing in range(len(panel.schema) if len(held_out) else 0)
        ]
        return self

    def _true_probabilities(
        self, panel: Panel, of_truth: NDArray[Any], n_missing: int
    ) -> NDArray[Any]:
        """Probabilities of the true classes, of samples with so many modalities missing."""
        able = (~panel.available).sum(1) <= n_missing
        panel, of_truth = panel[able], of_truth[able]
        if not len(panel):
            return np.zeros(0)
        # What is missing comes first, then the others by chance.
        draws = np.random.default_rng(n_missing).random(panel.available.shape)
        order = np.where(panel.available, draws, -1.0).argsort(1).argsort(1)
        p = self.predict_proba(without_modalities(panel, order < n_missing))
        return np.sort(p[np.arange(len(p)), of_truth])

    def predict_set(self, X: PanelLike, *, coverage: float) -> NDArray[np.bool_]:
        """Which classes are in the set of each sample.

        Parameters
        ----------
        X : Panel
            n samples.
        coverage : float
            Wanted share of the samples whose set has the true class.

        Returns
        -------
        bool array of shape (n, n_classes)
            Columns in the order of ``classes_``.
        """
        panel = cast(Any, X)
        of_missing = [0.0 if not len(one) else _threshold(one, coverage) for one in self.held_out_]
        n_missing = (~panel.available).sum(1)
        # Nothing is known of samples without any modality.
        thresholds = np.array([*of_missing, 0.0] if of_missing else [0.0])
        least = thresholds[np.minimum(n_missing, len(thresholds) - 1)]
        return np.asarray(self.predict_proba(X) >= least[:, None])


def _threshold(held_out: NDArray[Any], coverage: float) -> float:
    """The lowest probability in a set, from those of the true classes, sorted."""
    n_below = math.floor((1 - coverage) * (len(held_out) + 1))
    return float(held_out[n_below - 1]) if n_below else 0.0
