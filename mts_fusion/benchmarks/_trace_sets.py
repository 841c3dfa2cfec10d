"""TRACE with conformal sets, whose thresholds are learnt on samples that were held out."""

from __future__ import annotations

import math
from typing import Any, Self, cast

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.model_selection import train_test_split

from ..estimators import TraceClassifier
from ..panel import PanelLike

__all__ = ["TraceWithSets"]

# Share of the samples that ``fit`` is given, held out for the thresholds.
_SHARE = 0.2


class TraceWithSets(TraceClassifier):
    """TraceClassifier, trained on four fifths of its samples; the rest tells how sure it may be.

    Split conformal prediction: a set has the classes whose probability is at least as high as that
    of the true class in a share ``coverage`` of the held-out samples. Nothing is held out where a
    class has fewer than five samples: then the sets have all classes.
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
        self.held_out_ = np.zeros(0)
        if len(held_out):
            p = self.predict_proba(panel[held_out])
            self.held_out_ = p[np.arange(len(p)), np.searchsorted(self.classes_, y[held_out])]
        return self

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
        n_below = math.floor((1 - coverage) * (len(self.held_out_) + 1))
        threshold = np.sort(self.held_out_)[n_below - 1] if n_below else 0.0
        return np.asarray(self.predict_proba(X) >= threshold)
