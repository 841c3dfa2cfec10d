"""ImputeThenScale: the preprocessor of TRACE."""

from __future__ import annotations

from typing import Any, Self

from sklearn.base import BaseEstimator, TransformerMixin, clone

from mts_fusion.panel import Panel, as_panel
from mts_fusion.transforms import PanelScaler

__all__ = ["ImputeThenScale"]


class ImputeThenScale(TransformerMixin, BaseEstimator):
    """Impute a panel, then scale it by what was observed in training.

    ``transform`` returns the imputation that the networks are trained on, ``draws`` those that a
    prediction is averaged over.

    Parameters
    ----------
    imputer : transformer of panels or None
        Fitted on a clone; None leaves gaps as they are.
    n_imputations : int
        1 uses ``imputer.transform``; more use ``imputer.sample``.
    """

    def __init__(self, imputer: Any, n_imputations: int) -> None:
        self.imputer = imputer
        self.n_imputations = n_imputations

    def fit(self, X: Panel, y: Any) -> Self:
        """Fit the imputer, and the scaler to the observed values."""
        self.imputer_ = None
        if self.imputer is not None:
            self.imputer_ = clone(self.imputer).fit(X, y)
        numbers = [m.name for m in X.schema if m.vocabulary is None]
        self.scaler_ = PanelScaler().fit(X.select(numbers)) if numbers else None
        return self

    def transform(self, X: Panel) -> Panel:
        """One imputation, scaled."""
        if self.n_imputations > 1:
            return next(iter(self.draws(X, 1)))
        if self.imputer_ is None:
            return self._scale(X)
        return self._scale(self._checked(self.imputer_.transform(X), X))

    def draws(self, X: Panel, n: int) -> list[Panel]:
        """``n`` imputations, scaled."""
        if self.imputer_ is None:
            return [self._scale(X)] * n
        return [self._scale(self._checked(drawn, X)) for drawn in self.imputer_.sample(X, n)]

    def _checked(self, imputed: Any, X: Panel) -> Panel:
        panel = as_panel(imputed)
        X.schema.check_matches(panel.schema, owner="The panel that was imputed")
        return panel.replace(observed=X.observed)  # not every imputer keeps it

    def _scale(self, panel: Panel) -> Panel:
        if self.scaler_ is None:
            return panel
        scaled = self.scaler_.transform(panel.select(self.scaler_.schema_.names))
        return panel.replace(values=scaled.values, observed=panel.observed)
