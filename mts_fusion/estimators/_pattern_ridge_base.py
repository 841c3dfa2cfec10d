"""PatternRidge: fit of features, kernels and penalties; scores of samples."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from collections.abc import Callable
from numbers import Integral, Real
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.nn.features import FEATURE_KINDS, LAST_TIMES
from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._arguments import check_types
from mts_fusion.panel._targets import check_groups
from mts_fusion.persistence import Saveable
from mts_fusion.runs import advance, fitting, phase, predicting
from mts_fusion.training import (
    FixedFeatures,
    GroupFolds,
    Head,
    PatternModels,
    TrainingRows,
    pick_device,
)
from mts_fusion.training._pattern_head import N_SEARCHED
from mts_fusion.transforms import PanelScaler
from mts_fusion.transforms._base import check_parameters
from mts_fusion.transforms._doc_link import LinkedReprMixin

from ._checks import check_weight, check_X, check_y
from ._distinct_rows import distinct_rows
from ._exact_updates import ExactUpdatesMixin
from ._pattern_explanations import PatternExplanationsMixin

__all__ = ["PatternRidge"]

_Answer = TypeVar("_Answer")

# Bandwidths of the Gaussian kernel on normal scores, of which the best is used.
_BANDWIDTHS = (0.3, 1.0)

# Kinds of features that have one head together, with Gaussian kernels, and that trees are on.
_SMOOTH_KINDS = ("statistics", "timing")

# Rows to which features and kernels are fitted, and rows that are added at a time after them.
_FIRST_ROWS, _ROWS_AT_ONCE = 20_000, 8192

# Samples whose features are computed at a time in prediction.
_PREDICTED_AT_ONCE = 2048

# And the values of these samples: 256 MB.
_VALUES_AT_ONCE = 2**26


class PatternRidge(
    LinkedReprMixin,
    ExactUpdatesMixin,
    PatternExplanationsMixin,
    Saveable,
    BaseEstimator,
    metaclass=ABCMeta,
):
    """Abstract: parameters, fit, and scores from the models of all sets of modalities.

    The mixins of classifiers and regressors add the link between y and scores, and the types of
    the predictions.
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "kinds": [list, tuple],
        "n_groups": [Interval(Integral, 2, None, closed="left")],
        "head": [StrOptions({"ridge", "boosting"})],
        "penalty": [Interval(Real, 0, None, closed="neither"), None],
        "form": [StrOptions({"auto", "dual", "primal"})],
        "max_patterns": [Interval(Integral, 1, None, closed="left")],
        "n_threads": [Interval(Integral, 1, None, closed="left"), None],
        "device": [str],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    _link: Any

    # Hooks of the mixins

    @abstractmethod
    def _make_link(self, y: np.ndarray, weight: np.ndarray) -> Any:
        """The link between y and scores; sets the attributes that describe y."""

    @abstractmethod
    def _encode(self, y: np.ndarray) -> np.ndarray:
        """y in the form that the link takes."""

    @abstractmethod
    def _check_same_kind(self, y: np.ndarray) -> None:
        """Raise unless y has the classes, or the number of targets, of the first call."""

    @abstractmethod
    def _class_factors(self, weight: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """Weights of the classes, from the first call; None for equal weights."""

    @abstractmethod
    def _prior_scores(self) -> np.ndarray:
        """Scores ``(C,)`` of a sample without any observed value."""

    # Fitting

    def fit(
        self,
        X: PanelLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit features, kernels and penalties; a set of sensors is fitted when it first occurs.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples; NaN marks what is missing.
        y : array of shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array of shape (n,), default=None
            Weights of the samples. A sample of weight 0 is left out, one of weight 2 counts
            exactly as two samples.
        groups : array of shape (n,), default=None
            The subject, patient or machine of each sample. Penalties, probabilities and conformal
            sets are then learnt from whole groups that are held out, otherwise from runs of
            neighbouring samples.

        Returns
        -------
        object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, X, y, the weights or the groups cannot be used; the message says what
            was expected and what was given.
        """
        self._begin_fit()
        panel = check_X(self, X, reset=True)
        y = check_y(self, y, panel)
        weight = self._fit_target(y, check_weight(sample_weight, panel))
        labels = self._check_groups(groups, panel)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        self._folds = self._make_folds(labels, weight, panel)
        with fitting(self, panel):
            rows, index = self._training_rows(panel, y, weight, labels)
            first = self._first_rows(rows)
            features = self._fit_features(panel[index[:_FIRST_ROWS]], seed)
            n_folds = int(rows.fold.max()) + 1 if self._folds is None else self._folds.n_folds
            models = self._make_models(seed).fit(first._replace(features=features), n_folds)
            self._add_rows(models, panel, rows, index, start=_FIRST_ROWS)
        self.models_ = models
        return self

    # Steps of fit

    def _begin_fit(self) -> None:
        """Check the parameters, and leave the estimator unfitted until the end of the fit."""
        check_parameters(self)
        self.__dict__.pop("models_", None)

    def _fit_target(self, y: np.ndarray, weight: np.ndarray) -> np.ndarray:
        """Fit the link and the class weights. Return the weights of samples and classes."""
        self._link = self._make_link(y, weight)
        self._class_factor = self._class_factors(weight, y)
        return self._reweight(weight, y)

    def _reweight(self, weight: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Weights of the samples, multiplied by those of their classes."""
        if self._class_factor is None:
            return weight
        return weight * self._class_factor[self._encode(y)]

    def _check_groups(self, groups: Any, panel: Panel) -> np.ndarray | None:
        groups = check_groups(groups, panel)
        if groups is None:
            return None
        labels = np.unique(groups)
        if len(labels) < 2 and not self.__sklearn_is_fitted__():
            raise ValueError(
                f"groups names only {labels.tolist()}, so no group is left to learn "
                "from when it is held out. Pass no groups."
            )
        return groups

    def _make_folds(
        self, labels: np.ndarray | None, weight: np.ndarray, panel: Panel
    ) -> GroupFolds | None:
        """Folds of the groups; None without groups."""
        if labels is None:
            return None
        used = weight > 0
        return GroupFolds(labels[used], weight[used], few=len(panel.schema) > N_SEARCHED)

    def _training_rows(
        self, panel: Panel, y: np.ndarray, weight: np.ndarray, labels: np.ndarray | None
    ) -> tuple[TrainingRows, np.ndarray]:
        """Distinct rows without features, and the sample that each of them stands for."""
        targets = self._link.targets(self._encode(y))
        n_folds = self.models_.n_folds if self.__sklearn_is_fitted__() else None
        return distinct_rows(panel, targets, weight, labels, self._folds, n_folds)

    def _first_rows(self, rows: TrainingRows) -> TrainingRows:
        """The rows to which features and kernels are fitted."""
        if len(rows.keys) > _FIRST_ROWS:
            self._check_exact(f"A fit on more than {_FIRST_ROWS} distinct samples")
        return rows.take(np.arange(min(len(rows.keys), _FIRST_ROWS)))

    def _fit_features(self, panel: Panel, seed: int) -> list[np.ndarray]:
        """Fit scaler and features. Return the features of each modality."""
        self.scaler_ = PanelScaler().fit(panel)
        scales = {name: scale.tolist() for name, scale in self.scaler_.scale_.items()}
        kinds = self._checked_kinds()
        self._origin = (kinds, self.n_groups, seed)
        self.features_ = FixedFeatures(
            panel.schema,
            (*kinds, LAST_TIMES) if self.head == "boosting" and "timing" in kinds else kinds,
            n_groups=self.n_groups,
            scales=scales,
            random_state=seed,
            device=pick_device(self.device),
        )
        if not any(self.features_.n_features):
            raise ValueError(
                f"kinds={list(kinds)} gives no features of any of {list(panel.schema.names)}: "
                "convolutions need a regular clock, 'timing' irregular times. Add 'statistics'."
            )
        return self.features_.fit_transform(self.scaler_.transform(panel))

    def _checked_kinds(self) -> tuple[str, ...]:
        kinds = tuple(self.kinds)
        if self.head == "boosting" and not set(kinds) & set(_SMOOTH_KINDS):
            raise ValueError(
                f"head='boosting' has trees on {list(_SMOOTH_KINDS)}, but kinds={list(kinds)} "
                "names none of them. Add 'statistics'."
            )
        unknown = [kind for kind in kinds if kind not in FEATURE_KINDS]
        if unknown or not kinds or len(set(kinds)) < len(kinds):
            raise ValueError(
                f"kinds names each of {list(FEATURE_KINDS)} at most once and at least one, got "
                f"{list(kinds)}."
            )
        return kinds

    def _make_models(self, seed: int) -> PatternModels:
        kinds = self._checked_kinds()
        smooth = tuple(kind for kind in kinds if kind in _SMOOTH_KINDS)
        heads = [Head((kind,), (None,)) for kind in kinds if kind not in smooth]
        return PatternModels(
            [*heads, Head(smooth, _BANDWIDTHS)] if smooth else heads,
            _columns(self.features_),
            self._link,
            form=self.form,
            penalty=self.penalty,
            max_patterns=self.max_patterns,
            n_threads=self.n_threads,
            device=pick_device(self.device),
            boosted_kinds=_SMOOTH_KINDS if self.head == "boosting" else None,
            seed=seed,
        )

    def _add_rows(
        self,
        models: PatternModels,
        panel: Panel,
        rows: TrainingRows,
        index: np.ndarray,
        start: int = 0,
    ) -> None:
        """Add the rows from ``start`` on to the models, a chunk at a time."""
        step = _rows_at_once(panel, _ROWS_AT_ONCE)
        if start >= len(index):
            return
        with phase("more samples", len(index) - start):
            for i in range(start, len(index), step):
                chunk = np.arange(i, min(i + step, len(index)))
                features = self._featurize(panel[index[chunk]])
                models.add(rows.take(chunk)._replace(features=features))
                advance("more samples", len(chunk))

    def _featurize(self, panel: Panel) -> list[np.ndarray]:
        return self.features_.transform(self.scaler_.transform(panel))

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "models_")

    # Prediction

    def _check_fitted_X(self, X: Any) -> Panel:
        check_is_fitted(self)
        return check_X(self, X, reset=False)

    def _of_chunks(
        self, answer: Callable[[list[np.ndarray], np.ndarray], _Answer], panel: Panel
    ) -> list[_Answer]:
        """Answers to features and available modalities of a chunk of samples at a time."""
        step, answers = _rows_at_once(panel, _PREDICTED_AT_ONCE), []
        with predicting(self, panel), phase("prediction", len(panel)):
            for start in range(0, max(len(panel), 1), step):
                chunk = panel[start : start + step]
                answers.append(answer(self._featurize(chunk), chunk.available))
                advance("prediction", len(chunk))
        return answers

    def _scores(self, panel: Panel) -> np.ndarray:
        """Scores before the link, ``(n, C)``; those of the prior where there is no model."""
        scores = np.concatenate(self._of_chunks(self.models_.scores, panel))
        return np.where(np.isnan(scores), self._prior_scores(), scores)

    def _predict_outputs(self, X: Any) -> np.ndarray:
        """Probabilities, or numbers in the unit of y, ``(n, C)``."""
        panel = self._check_fitted_X(X)
        return np.asarray(self._link.predictions(self._scores(panel)))

    def _fold_outputs(self, panel: Panel) -> np.ndarray:
        """The same from the models without each fold, ``(B, n, C)``."""
        scores = np.concatenate(self._of_chunks(self.models_.fold_scores, panel), axis=1)
        scores = np.where(np.isnan(scores), self._prior_scores(), scores)
        flat = self._link.predictions(scores.reshape(-1, scores.shape[2]))
        return flat.reshape(scores.shape)

    def _check_coverage(self, coverage: float) -> None:
        check_types(type(self)._check_coverage, locals())
        if not 0 < coverage < 1:
            raise ValueError(f"coverage is above 0 and below 1, got {coverage}.")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags


def _rows_at_once(panel: Panel, most: int) -> int:
    """Samples whose features are computed at a time; fewer where samples are large."""
    size = sum(m.n_channels * m.n_timepoints for m in panel.schema)
    return max(1, min(most, _VALUES_AT_ONCE // max(size, 1)))


def _columns(features: FixedFeatures) -> list[dict[str, list[int]]]:
    """By modality and kind, the columns of the features."""
    columns = []
    for widths in features.widths:
        ends = np.cumsum([0, *(sum(width) for width in widths.values())]).tolist()
        spans = zip(widths, ends[:-1], ends[1:], strict=True)
        columns.append({kind: list(range(start, end)) for kind, start, end in spans})
    return columns
