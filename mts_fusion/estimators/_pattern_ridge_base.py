"""What PatternRidgeClassifier and PatternRidgeRegressor share: rows, models, explanations."""

from __future__ import annotations

from abc import ABCMeta, abstractmethod
from copy import deepcopy
from math import comb
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Bunch, Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.nn.features import FEATURE_KINDS
from mts_fusion.panel import Panel
from mts_fusion.panel._frames import as_frame
from mts_fusion.training import (
    FixedFeatures,
    GroupFolds,
    Head,
    PatternModels,
    TrainingRows,
    pick_device,
    run_folds,
)
from mts_fusion.training._pattern_head import N_SEARCHED
from mts_fusion.transforms import PanelScaler
from mts_fusion.transforms._draws import mix, sample_keys

from ._checks import check_groups, check_weight, check_X, check_y, group_labels

__all__ = ["PatternRidge"]

# Bandwidths of the Gaussian kernel on normal scores, of which the best is kept.
_BANDWIDTHS = (0.3, 1.0)

# Rows from which features and kernels are learnt, and rows that are added at a time after them.
_FIRST_ROWS, _ROWS_AT_ONCE = 20_000, 8192

# Kinds of features that boosted trees are trained on.
_BOOSTED_KINDS = ("statistics", "timing")

# Rows that the dual form may grow to.
_MOST_DUAL = 5000

# Rows whose features are computed at a time in prediction.
_PREDICTED_AT_ONCE = 2048

# Sensors up to which all subsets are looked at, and orders drawn beyond.
_MOST_EXACT, _N_ORDERS = 10, 40


class PatternRidge(BaseEstimator, metaclass=ABCMeta):
    """Abstract: parameters, fitting and what follows from the models of all sets of modalities."""

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
    }

    _link: Any

    @abstractmethod
    def _make_link(self, y: np.ndarray, weight: np.ndarray) -> Any:
        """How scores become answers; what y was is noted in attributes."""

    @abstractmethod
    def _encode(self, y: np.ndarray) -> np.ndarray:
        """y as the link takes it."""

    @abstractmethod
    def _check_known(self, y: np.ndarray) -> None:
        """Raise unless y is of the kind that the first call had."""

    @abstractmethod
    def _prior_scores(self) -> np.ndarray:
        """Scores ``(C,)`` where nothing is known of a sample."""

    def _class_factors(self, weight: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        """Weights of the classes, from the first call; None for all alike."""
        return None

    def _reweight(self, weight: np.ndarray, y: np.ndarray) -> np.ndarray:
        """Weights of the samples with those of their classes."""
        return (
            weight if self._class_factor is None else weight * self._class_factor[self._encode(y)]
        )

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit features, kernels and penalties; the model of a set of sensors comes when it is met.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples; NaN marks what is missing.
        y : array of shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array of shape (n,), default=None
            Weights of the samples. 0 leaves a sample out, 2 is the sample twice, exactly.
        groups : array of shape (n,), default=None
            The subject, patient or machine of each sample. Penalties, probabilities and conformal
            sets are then learnt from whole groups that are held out, otherwise from runs of
            neighbouring samples.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError
            If X, y, weights or groups cannot be used; the message says what was wanted.
        """
        self._validate_params()
        self.__dict__.pop("models_", None)  # not fitted until the end; nothing of an earlier fit
        panel = check_X(self, X, reset=True)
        y = check_y(self, y, panel)
        weight = check_weight(sample_weight, panel)
        self._link = self._make_link(y, weight)
        self._class_factor = self._class_factors(weight, y)
        weight = self._reweight(weight, y)
        labels = self._check_groups(groups, panel)
        some = np.flatnonzero(weight > 0)
        seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        many = len(panel.schema) > N_SEARCHED
        self._folds = None if labels is None else GroupFolds(labels[some], weight[some], few=many)
        meta, where = self._distinct(panel, y, weight, labels)
        if len(where) > _FIRST_ROWS:
            self._check_exact(f"A fit on more than {_FIRST_ROWS} distinct samples")
        first = meta.take(np.arange(min(len(where), _FIRST_ROWS)))
        few = panel[where[:_FIRST_ROWS]]
        self.scaler_ = PanelScaler().fit(few)
        scales = {name: scale.tolist() for name, scale in self.scaler_.scale_.items()}
        self.features_ = FixedFeatures(
            few.schema,
            self._checked_kinds(),
            n_groups=self.n_groups,
            scales=scales,
            random_state=seed,
            device=pick_device(self.device),
        )
        if not any(self.features_.n_features):
            raise ValueError(
                f"kinds={list(self.kinds)} gives no features of any of {list(few.schema.names)}: "
                "convolutions want a regular clock, 'timing' irregular times. Add 'statistics'."
            )
        features = self.features_.fit_transform(self.scaler_.transform(few))
        models = PatternModels(
            self._heads(),
            _columns(self.features_),
            self._link,
            form=self.form,
            penalty=self.penalty,
            max_patterns=self.max_patterns,
            n_threads=self.n_threads,
            device=pick_device(self.device),
            boosted_kinds=_BOOSTED_KINDS if self.head == "boosting" else None,
            seed=seed,
        )
        n_folds = int(meta.fold.max()) + 1 if self._folds is None else self._folds.n_folds
        self._origin = (self._checked_kinds(), self.n_groups, seed)
        models.fit(first._replace(features=features), n_folds)
        for start in range(_FIRST_ROWS, len(where), _ROWS_AT_ONCE):
            piece = np.arange(start, min(start + _ROWS_AT_ONCE, len(where)))
            models.add(meta.take(piece)._replace(features=self._featurize(panel[where[piece]])))
        self.models_ = models
        return self

    def partial_fit(
        self,
        X: Any,
        y: Any,
        sample_weight: Any = None,
        groups: Any = None,
        *,
        classes: Any = None,
    ) -> Self:
        """Learn from more samples, exactly as if they had been there from the first.

        Features, kernels, penalties' scales and weights of classes are those of the first call;
        the rest is the same, up to rounding, as one fit on all samples with those.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples.
        y : array of shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array of shape (n,), default=None
            Weights of the samples.
        groups : array of shape (n,), default=None
            Wanted where the first call had groups, and only there.
        classes : array of shape (n_classes,), default=None
            All classes that will ever come, in the first call of a classifier; None for those in
            the first y.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError
            If X has another schema than in the first call, or y a class that it had not.
        """
        if not self.__sklearn_is_fitted__():
            self._all_classes = classes
            try:
                return self.fit(X, y, sample_weight, groups)
            finally:
                del self._all_classes
        self._check_exact("partial_fit")
        panel = check_X(self, X, reset=False)
        y = check_y(self, y, panel)
        self._check_known(y)
        weight = self._reweight(check_weight(sample_weight, panel), y)
        labels = self._check_groups(groups, panel)
        if (labels is None) != (self._folds is None):
            had = "no groups" if self._folds is None else "groups"
            raise ValueError(f"The first call had {had}; give partial_fit the same.")
        if self.models_.is_dual and self.models_.n_rows + len(panel) > _MOST_DUAL:
            raise ValueError(
                f"{self.models_.n_rows + len(panel)} samples are too many for the dual form, which "
                f"the first call of {type(self).__name__} has chosen. Begin with form='primal'."
            )
        meta, where = self._distinct(panel, y, weight, labels)
        for start in range(0, len(where), _ROWS_AT_ONCE):
            piece = np.arange(start, min(start + _ROWS_AT_ONCE, len(where)))
            self.models_.add(
                meta.take(piece)._replace(features=self._featurize(panel[where[piece]]))
            )
        return self

    def forget(self, X: Any = None, *, groups: Any = None) -> Self:
        """Take samples away, as if they had never been there; features and kernels stay.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes, default=None
            Samples that were fitted to.
        groups : array or single label, default=None
            Groups all samples of which are to be forgotten. Where labels are tuples, one tuple is
            a single label. Give X or groups.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError
            If a sample or a group was never seen, or is not kept any more (of more than 20,000
            samples some are kept), or nothing would be left.
        """
        check_is_fitted(self)
        self._check_exact("forget")
        if (X is None) == (groups is None):
            raise ValueError("forget takes samples X or groups, one of the two.")
        kept = self.models_.kept
        if groups is not None:
            index = self._rows_of_groups(groups)
        else:
            panel = check_X(self, X, reset=False)
            content = _content(panel)
            unknown = np.flatnonzero(~np.isin(content, kept.content))
            if unknown.size:
                raise ValueError(
                    f"{unknown.size} of {len(panel)} samples to forget are not among the "
                    f"{len(kept.content)} that are kept, the first is sample {unknown[0]}. Give "
                    "samples as they were fitted to, value by value."
                )
            index = np.flatnonzero(np.isin(kept.content, content))
        if self.models_.n_rows - len(index) < 1:
            raise ValueError("No sample would be left. Fit again on other samples instead.")
        self.models_.forget(index)
        return self

    def _rows_of_groups(self, groups: Any) -> np.ndarray:
        if self._folds is None:
            raise ValueError("fit had no groups; forget samples with forget(X).")
        groups = groups[()] if isinstance(groups, np.ndarray) else groups  # of no axis: a scalar
        labels = group_labels(
            [groups] if _is_label(groups, self._folds.labels[0]) else groups,
            "one label, or a list of labels",
        )
        numbers = self._folds.numbers(labels)
        kept = self.models_.kept
        unknown = labels[~np.isin(numbers, kept.group) | (numbers < 0)]
        if unknown.size:
            raise ValueError(
                f"Groups {unknown.tolist()} have no samples here; the groups are "
                f"{[self._folds.labels[i] for i in np.unique(kept.group)]}."
            )
        if self.models_.n_rows > len(kept.keys):
            raise ValueError(
                f"Of {self.models_.n_rows} samples {len(kept.keys)} are kept, so a group may be "
                "kept in part. Forget its samples with forget(X) before more than 20,000 are seen."
            )
        return np.flatnonzero(np.isin(kept.group, numbers))

    def blank(self) -> Self:
        """The same features and kernels without any sample, for another site to fill.

        Returns
        -------
        object
            A copy for ``partial_fit``, which :meth:`merge` then takes.

        Examples
        --------
        >>> from mts_fusion import PatternRidgeClassifier, make_panel_classification
        >>> X, y = make_panel_classification(n_samples=90, random_state=0)
        >>> here = PatternRidgeClassifier(n_groups=2, random_state=0).fit(X[:60], y[:60])
        >>> there = here.blank().partial_fit(X[60:], y[60:])
        >>> here.merge(there).models_.n_rows
        90
        """
        check_is_fitted(self)
        self._check_exact("blank")
        copy = deepcopy(self)
        n = len(copy.models_.kept.keys)
        if n < copy.models_.n_rows:
            raise ValueError(
                "Of more than 20,000 samples not all are kept. Take the blank copy earlier."
            )
        copy.models_.forget(np.arange(n))
        return copy

    def merge(self, other: Any) -> Self:
        """Learn from the samples of another estimator, exactly.

        Parameters
        ----------
        other : PatternRidgeClassifier or PatternRidgeRegressor
            From :meth:`blank` of this one, or of one that this one came from.

        Returns
        -------
        object
            The estimator itself.

        Raises
        ------
        ValueError
            If the other has other features and kernels.
        """
        check_is_fitted(self)
        self._check_exact("merge")
        if type(other) is not type(self) or not other.__sklearn_is_fitted__():
            raise ValueError(f"merge takes a fitted {type(self).__name__}, got {other!r}.")
        same = other._origin == self._origin and other.models_.is_dual == self.models_.is_dual
        if not same or other.models_.fingerprint != self.models_.fingerprint:
            raise ValueError(
                "The other has features and kernels of another first fit. Make it with "
                "blank().partial_fit(...) of this one."
            )
        models = deepcopy(other.models_)
        if self._folds is not None:
            known: list[Any] = [*other._folds.labels, None]  # type: ignore[union-attr]
            labels = np.array(known, dtype=object)[models.kept.group]
            self._folds(labels)
            models.kept = models.kept._replace(group=self._folds.numbers(labels))
        self.models_.merge(models)
        return self

    def _check_exact(self, method: str) -> None:
        if self.head == "boosting":
            raise ValueError(
                f"{method} is for head='ridge': boosted trees cannot learn or forget exactly. Fit "
                "again on all samples."
            )

    # What goes in

    def _heads(self) -> list[Head]:
        kinds = self._checked_kinds()
        smooth = tuple(kind for kind in kinds if kind in ("statistics", "timing"))
        heads = [Head((kind,), (None,)) for kind in kinds if kind not in smooth]
        return [*heads, Head(smooth, _BANDWIDTHS)] if smooth else heads

    def _checked_kinds(self) -> tuple[str, ...]:
        kinds = tuple(self.kinds)
        if self.head == "boosting" and not set(kinds) & set(_BOOSTED_KINDS):
            raise ValueError(
                f"head='boosting' has trees on {list(_BOOSTED_KINDS)}, but kinds={list(kinds)} "
                "names none of them. Add 'statistics'."
            )
        unknown = [kind for kind in kinds if kind not in FEATURE_KINDS]
        if unknown or not kinds or len(set(kinds)) < len(kinds):
            raise ValueError(
                f"kinds names each of {list(FEATURE_KINDS)} at most once and at least one, got "
                f"{list(kinds)}."
            )
        return kinds

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

    def _distinct(
        self, panel: Panel, y: np.ndarray, weight: np.ndarray, labels: np.ndarray | None
    ) -> tuple[TrainingRows, np.ndarray]:
        """Rows that differ, equal ones as one of their summed weight, and where they stand.

        In an order that follows from their content, so that the order of X does not matter.
        """
        some = np.flatnonzero(weight > 0)
        content = _content(panel)[some]
        targets = self._link.targets(self._encode(y[some]))
        rounded = np.ascontiguousarray(targets).view(np.uint64)
        fold_of = None if self._folds is None else self._folds(labels[some])  # type: ignore[index]
        group = np.full(len(some), -1)
        if self._folds is not None:
            group = self._folds.numbers(labels[some])  # type: ignore[index]
        keys = content
        for column in rounded.T:
            keys = mix(keys ^ column, 0)
        keys = mix(keys, group + 1)
        keys, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
        summed = np.bincount(inverse.ravel(), weights=weight[some])
        if fold_of is None:
            position = np.argsort(np.argsort(first))  # in the order in which they came
            fold = run_folds(len(keys))[position]
            if hasattr(self, "models_"):
                fold = fold % self.models_.n_folds
        else:
            fold = fold_of[first]
        rows = TrainingRows(
            [],
            targets[first],
            summed,
            fold.astype(np.int64),
            panel.available[some[first]],
            keys,
            content[first],
            group[first],
        )
        return rows, some[first]

    def _featurize(self, panel: Panel) -> list[np.ndarray]:
        return self.features_.transform(self.scaler_.transform(panel))

    def _ready(self, X: Any) -> Panel:
        check_is_fitted(self)
        return check_X(self, X, reset=False)

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "models_")

    # What comes out

    def _scores(self, panel: Panel) -> np.ndarray:
        """Scores before the link, ``(n, C)``; those of the prior where there is no model."""
        parts = [self.models_.scores(f, a) for f, a in self._pieces(panel)]
        scores = np.concatenate(parts)
        return np.where(np.isnan(scores), self._prior_scores(), scores)

    def _pieces(self, panel: Panel) -> Any:
        for start in range(0, max(len(panel), 1), _PREDICTED_AT_ONCE):
            part = panel[start : start + _PREDICTED_AT_ONCE]
            yield self._featurize(part), part.available

    def _answers(self, X: Any) -> np.ndarray:
        panel = self._ready(X)
        return np.asarray(self._link.answers(self._scores(panel)))

    def _fold_answers(self, panel: Panel) -> np.ndarray:
        """Answers of the models without each fold, ``(B, n, C)``."""
        parts = [self.models_.fold_scores(f, a) for f, a in self._pieces(panel)]
        scores = np.concatenate(parts, axis=1)
        scores = np.where(np.isnan(scores), self._prior_scores(), scores)
        flat = self._link.answers(scores.reshape(-1, scores.shape[2]))
        return flat.reshape(scores.shape)

    def explain(self, X: Any) -> dict[str, np.ndarray]:
        """What each modality says of each sample, and how good the model of its sensors is.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        dict of str to array of shape (n, ...)
            ``contribution (n, M, C)`` and ``constant (n, C)``, which add up to ``score (n, C)``,
            what the softmax (the sigmoid, the mean and spread of y) is applied to;
            ``available (n, M)``; of each head of the regression (convolutions, statistics)
            ``penalty (n, K)`` and ``factor (n, K)``, by which its scores are multiplied (before the
            coupling of three or more classes, which contributions and score include); and
            ``held_out_loss (n,)`` of the model of these sensors: nats, or squared error in units of
            the variance of y. NaN where there is no model.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        panel = self._ready(X)
        parts = [self._explain_piece(f, a) for f, a in self._pieces(panel)]
        return {key: np.concatenate([part[key] for part in parts]) for key in parts[0]}

    def _explain_piece(
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
        """What each sensor is worth, from the training samples alone.

        Of a set of sensors the value is how much the held-out loss falls below that of knowing
        nothing, in closed form; no test set and no forward pass is needed. A sensor's share of the
        value of all is its Shapley value [1]_: exact up to 10 sensors, from 40 drawn orders beyond.

        Returns
        -------
        Bunch
            ``subsets``, a DataFrame with a row a set looked at: ``modalities``, ``n_modalities``,
            ``value``; and ``shapley``, one with a row a modality: ``modality``, ``value``,
            ``standard_error`` (0 where exact), ``alone``. In nats (classes, labels) or units of the
            variance of y (numbers).

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
                f"This blank copy of {type(self).__name__} has no samples. Fill it with "
                "partial_fit(X, y)."
            )
        names = self.schema_.names
        n = len(names)
        values: dict[tuple[int, ...], float] = {(): 0.0}
        nothing = self._loss_of_nothing()

        def value(members: tuple[int, ...]) -> float:
            if members not in values:
                model = self.models_.model(members)
                known = model is not None and np.isfinite(model.loss)
                values[members] = nothing - model.loss if known else 0.0  # type: ignore[union-attr]
            return values[members]

        if n <= _MOST_EXACT:
            shares = _exact_shapley(n, value)
            errors = np.zeros(n)
        else:
            shares, errors = _sampled_shapley(n, value)
        sets = sorted(values, key=lambda members: (len(members), members))
        subsets: dict[str, list[Any]] = {
            "modalities": [", ".join(names[m] for m in members) for members in sets],
            "n_modalities": [len(members) for members in sets],
            "value": [values[members] for members in sets],
        }
        shapley: dict[str, list[Any]] = {
            "modality": list(names),
            "value": shares.tolist(),
            "standard_error": errors.tolist(),
            "alone": [value((m,)) for m in range(n)],
        }
        return Bunch(subsets=as_frame(subsets), shapley=as_frame(shapley))

    def _loss_of_nothing(self) -> float:
        kept = self.models_.kept
        prior = np.broadcast_to(self._prior_scores(), kept.targets.shape)
        return self._link.loss(prior, kept.targets, kept.weight)

    def _check_coverage(self, coverage: float) -> None:
        if not 0 < coverage < 1:
            raise ValueError(f"coverage is above 0 and below 1, got {coverage}.")

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags


def _columns(features: FixedFeatures) -> list[dict[str, list[int]]]:
    """By modality and kind, the columns of the features."""
    columns = []
    for widths in features.widths:
        ends = np.cumsum([0, *(sum(width) for width in widths.values())]).tolist()
        spans = zip(widths, ends[:-1], ends[1:], strict=True)
        columns.append({kind: list(range(start, end)) for kind, start, end in spans})
    return columns


def _is_label(groups: Any, like: Any) -> bool:
    """Whether ``groups`` is a single label, of the kind of ``like``, and no list of labels."""
    if isinstance(groups, tuple):
        return isinstance(like, tuple) and not all(isinstance(label, tuple) for label in groups)
    return isinstance(groups, str) or np.asarray(groups, dtype=object).ndim == 0


def _content(panel: Panel) -> np.ndarray:
    """A key for each sample, from what was observed in it, and when."""
    keys = sample_keys(panel, 0)
    for m, (name, clock) in enumerate(panel.times.items()):
        if clock is not None:
            observed = panel.observed[name].any(1)
            since = np.where(observed, clock, np.nan)[:, None].astype(np.float32)
            keys = mix(keys ^ sample_keys(Panel({"times": since}), m + 1), 0)
    return keys


def _exact_shapley(n: int, value: Any) -> np.ndarray:
    """Mean gain of each player over all orders, from the values of all sets."""
    masks = np.arange(2**n)
    members = masks[:, None] >> np.arange(n) & 1
    values = np.array([value(tuple(np.flatnonzero(row).tolist())) for row in members])
    size = members.sum(1)
    shares = np.zeros(n)
    for m in range(n):
        without = np.flatnonzero(members[:, m] == 0)
        weight = np.array([1 / (n * comb(n - 1, int(k))) for k in size[without]])
        shares[m] = weight @ (values[without | 1 << m] - values[without])
    return shares


def _sampled_shapley(n: int, value: Any) -> tuple[np.ndarray, np.ndarray]:
    """The same from drawn orders, each with its reverse, and standard errors."""
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
