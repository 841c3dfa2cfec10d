"""ImputeThenScale: the preprocessor of TRACE."""

from __future__ import annotations

from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.frozen import FrozenEstimator
from sklearn.utils.validation import has_fit_parameter

from mts_fusion.panel import Panel, as_panel
from mts_fusion.panel._timepoints import observed_timepoints
from mts_fusion.runs import phase
from mts_fusion.transforms import PanelScaler
from mts_fusion.transforms._timing import own_lengths

__all__ = ["ImputeThenScale"]


class ImputeThenScale(TransformerMixin, BaseEstimator):
    """Impute a panel, then scale it by what was observed in training.

    ``transform`` returns the imputation that the networks are trained on, ``draws`` those that a
    prediction is averaged over.

    Timepoints that a modality with a regular clock lacks at its end, against ``fit``, are gaps: so
    a sample is imputed alike whether or not a longer one is beside it. The imputer is not given
    channels that were never observed in training: nothing is known of them, and their gaps stay.
        X = observed_timepoints(X)

    Parameters
    ----------
    imputer : transformer of panels or None
        Fitted on a clone; None leaves gaps as they are.
    n_imputations : int
        1 uses ``imputer.transform``; more use ``imputer.sample``.
    numbers_only : bool
        Whether the imputer is given no modality with tokens, whose gaps then stay.
    random_state : int
        From which every ``random_state`` of the imputer that is None gets a seed.
    """

    def __init__(
        self, imputer: Any, n_imputations: int, *, numbers_only: bool, random_state: int
    ) -> None:
        self.imputer = imputer
        self.n_imputations = n_imputations
        self.numbers_only = numbers_only
        self.random_state = random_state

    def fit(self, X: Panel, y: Any, groups: np.ndarray | None = None) -> Self:
        """Fit the imputer, and the scaler to the observed values.

        An imputer whose ``fit`` takes ``groups`` is given them.
        """
        X = _observed_only(X)
        numbers = [m.name for m in X.schema if m.vocabulary is None]
        self.imputed_ = numbers if self.numbers_only else list(X.schema.names)
        self.schema_ = X.schema
        has_all = isinstance(self.imputer, FrozenEstimator)  # fitted on other samples
        self.known_: dict[str, np.ndarray] = {
            name: np.asarray(X.observed[name].any((0, 2)) | has_all) for name in self.imputed_
        }
        self.imputer_ = None
        if self.imputer is not None and self.imputed_:
            given = {"groups": groups} if has_fit_parameter(self.imputer, "groups") else {}
            imputer = _seeded(clone(self.imputer), self.random_state)
            with phase("imputer"):
                self.imputer_ = imputer.fit(self._part(X), y, **given)
        X = observed_timepoints(X)
        self.scaler_ = PanelScaler().fit(X.select(numbers)) if numbers else None
        return self

    def transform(self, X: Panel) -> Panel:
        """One imputation, scaled."""
        if self.n_imputations > 1:
            return next(iter(self.draws(X, 1)))
        if self.imputer_ is None:
            return self._scale(X)
        X = self._as_long_as_in_fit(X)
        part = self._part(X)
        with phase("imputation"):
            imputed = self.imputer_.transform(part)
        return self._scale(self._checked(imputed, part, X))

    def draws(self, X: Panel, n: int) -> list[Panel]:
        """``n`` imputations, scaled."""
        if self.imputer_ is None:
            return [self._scale(X)] * n
        X = self._as_long_as_in_fit(X)
        part = self._part(X)
        with phase("imputation"):
            drawn = self.imputer_.sample(part, n)
        return [self._scale(self._checked(one, part, X)) for one in drawn]

    def _as_long_as_in_fit(self, X: Panel) -> Panel:
        X = _observed_only(X)
        values = {}
        for name in self.imputed_:
            lacking = self.schema_[name].n_timepoints - X.schema[name].n_timepoints
            if lacking > 0 and X.times[name] is None and X.schema[name].vocabulary is None:
                end = ((0, 0), (0, 0), (0, lacking))
                values[name] = np.pad(X.values[name], end, constant_values=np.nan)
        return X.replace(values=values) if values else X

    def _part(self, X: Panel) -> Panel:
        """What the imputer is given: its modalities, with the channels of which it knows."""
        part = X.select(self.imputed_)
        some = {name: known for name, known in self.known_.items() if not known.all()}
        if not some:
            return part
        return part.replace(
            values={name: part.values[name][:, known] for name, known in some.items()},
            observed={name: part.observed[name][:, known] for name, known in some.items()},
            channels={
                name: [c for c, is_known in zip(names, known, strict=True) if is_known]
                for name, known in some.items()
                if (names := part.schema[name].channels) is not None
            },
        )

    def _checked(self, imputed: Any, part: Panel, X: Panel) -> Panel:
        panel = as_panel(imputed)
        part.schema.check_matches(panel.schema, owner="The panel that was imputed")
        values = {}
        for name, x in panel.values.items():
            known = self.known_[name]
            if not known.all():
                x, given = X.values[name].astype(x.dtype), x  # a copy
                x[:, known] = given
            values[name] = self._without_padding(name, x, X)
        return X.replace(values=values, observed=X.observed)  # not every imputer keeps it

    def _without_padding(self, name: str, imputed: np.ndarray, X: Panel) -> np.ndarray:
        """Imputed values, missing again where a longer sample has made this one longer."""
        modality, length = X.schema[name], imputed.shape[2]
        in_fit = self.schema_[name].n_timepoints
        if X.times[name] is not None or length <= in_fit:
            return imputed
        own = own_lengths(X.observed[name], in_fit)
        missing = np.nan if modality.vocabulary is None else modality.vocabulary.missing
        return np.where(np.arange(length) < own[:, None, None], imputed, missing).astype(
            imputed.dtype
        )

    def _scale(self, panel: Panel) -> Panel:
        panel = observed_timepoints(panel, filled=self.imputer_ is not None)
        if self.scaler_ is None:
            return panel
        scaled = self.scaler_.transform(panel.select(self.scaler_.schema_.names))
        return panel.replace(values=scaled.values, observed=panel.observed)


def _observed_only(X: Panel) -> Panel:
    """The panel without values that were not observed, and without the times of silent sensors.

    An imputer fills only where there is a time, so that a silent sensor with irregular times stays
    absent, whatever clock came with it.
    """
    times, values = {}, {}
    for m, available in zip(X.schema, X.available.T, strict=True):
        missing = np.nan if m.vocabulary is None else m.vocabulary.missing
        x = X.values[m.name]
        values[m.name] = np.where(X.observed[m.name], x, missing).astype(x.dtype)
        clock = X.times[m.name]
        if clock is not None and not available.all():
            times[m.name] = np.where(available[:, None], clock, np.nan)
    return X.replace(values=values, times=times)


def _seeded(imputer: Any, seed: int) -> Any:
    """The imputer, each ``random_state`` that is None set to a seed of its own."""
    unset = sorted(
        name
        for name, value in imputer.get_params(deep=True).items()
        if name.rpartition("__")[2] == "random_state" and value is None
    )
    seeds = np.random.RandomState(seed).randint(np.iinfo(np.int32).max, size=len(unset))
    imputer.set_params(**dict(zip(unset, seeds.tolist(), strict=True)))
    return imputer
