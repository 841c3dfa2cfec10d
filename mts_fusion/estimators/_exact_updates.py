"""ExactUpdatesMixin: samples are added, removed and merged as if they had been fitted together."""

from __future__ import annotations

from copy import deepcopy
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import PanelLike
from mts_fusion.panel._targets import group_labels
from mts_fusion.runs import fitting
from mts_fusion.training import GroupFolds, PatternModels

from ._checks import check_weight, check_X, check_y
from ._distinct_rows import content_keys

__all__ = ["ExactUpdatesMixin"]

# Number of training rows up to which the dual form may grow.
_MOST_DUAL = 5000


class ExactUpdatesMixin:
    """Abstract: ``partial_fit``, ``forget``, ``blank`` and ``merge`` of PatternRidge."""

    # What PatternRidge has
    head: str
    models_: PatternModels
    fit: Any
    __sklearn_is_fitted__: Any
    _folds: GroupFolds | None
    _origin: tuple[Any, ...]
    _add_rows: Any
    _check_groups: Any
    _check_same_kind: Any
    _reweight: Any
    _training_rows: Any

    def partial_fit(
        self,
        X: PanelLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
        *,
        classes: ArrayLike | None = None,
    ) -> Self:
        """Learn from more samples, exactly as if they had been there from the first call.

        Features, kernels, scales of penalties and class weights are those of the first call.
        Everything else is the same, up to rounding, as after one fit on all samples with those.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples.
        y : array of shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array of shape (n,), default=None
            Weights of the samples.
        groups : array of shape (n,), default=None
            Required if the first call had groups, and not accepted otherwise.
        classes : array of shape (n_classes,), default=None
            All classes that will ever occur, in the first call of a classifier; None for those in
            the first y.

        Returns
        -------
        object
            The fitted estimator.

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
        if classes is not None:
            known = getattr(self, "classes_", np.empty(0)).tolist()
            given = np.asarray(classes, dtype=object).ravel().tolist()
            if len(given) != len(known) or any(label not in known for label in given):
                raise ValueError(f"classes are None or those of the first call, {known}.")
        panel = check_X(self, X, reset=False)
        y = check_y(self, y, panel)
        self._check_same_kind(y)
        weight = self._reweight(check_weight(sample_weight, panel), y)
        labels = self._check_groups(groups, panel)
        if (labels is None) != (self._folds is None):
            had = "no groups" if self._folds is None else "groups"
            raise ValueError(f"The first call had {had}; give partial_fit the same.")
        n_rows = self.models_.n_rows + len(panel)
        if self.models_.is_dual and n_rows > _MOST_DUAL:
            raise ValueError(
                f"{n_rows} samples are too many for the dual form, which the first call of "
                f"{type(self).__name__} has chosen. Begin with form='primal'."
            )
        with fitting(self, panel, "partial_fit"):
            rows, index = self._training_rows(panel, y, weight, labels)
            self._add_rows(self.models_, panel, rows, index)
        return self

    def forget(self, X: PanelLike | None = None, *, groups: ArrayLike | None = None) -> Self:
        """Remove samples, as if they had never been there; features and kernels do not change.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes, default=None
            Samples that were fitted to.
        groups : array or single label, default=None
            Groups whose samples are all removed. Where labels are tuples, one tuple is a single
            label. Give X or groups.

        Returns
        -------
        object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a sample or a group was not fitted to, or is not kept (only 20,000 samples are kept),
            or no sample would be left.
        """
        check_is_fitted(self)
        self._check_exact("forget")
        if (X is None) == (groups is None):
            raise ValueError("forget takes samples X or groups, one of the two.")
        if groups is None:
            index = self._rows_of_samples(X)
        else:
            index = self._rows_of_groups(groups)
        if self.models_.n_rows - len(index) < 1:
            raise ValueError("No sample would be left. Fit again on other samples instead.")
        self.models_.forget(index)
        return self

    def _rows_of_samples(self, X: Any) -> np.ndarray:
        """Indices of the kept rows that are equal to the samples."""
        kept = self.models_.kept
        panel = check_X(self, X, reset=False)
        content = content_keys(panel)
        unknown = np.flatnonzero(~np.isin(content, kept.content))
        if unknown.size:
            raise ValueError(
                f"{unknown.size} of {len(panel)} samples to forget are not among the "
                f"{len(kept.content)} that are kept, the first is sample {unknown[0]}. Give "
                "samples as they were fitted to, value by value."
            )
        return np.flatnonzero(np.isin(kept.content, content))

    def _rows_of_groups(self, groups: Any) -> np.ndarray:
        """Indices of the kept rows of the groups."""
        if self._folds is None:
            raise ValueError("fit had no groups; forget samples with forget(X).")
        groups = groups[()] if isinstance(groups, np.ndarray) else groups  # 0-d array -> scalar
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
                "kept in part. Forget its samples with forget(X), or forget groups before there "
                "are more than 20,000 samples."
            )
        return np.flatnonzero(np.isin(kept.group, numbers))

    def blank(self) -> Self:
        """Copy features and kernels without any sample, for another site to fit.

        Returns
        -------
        object
            A copy for ``partial_fit``, which :meth:`merge` then takes.

        Examples
        --------
        >>> from mts_fusion import PatternRidgeClassifier, make_panel_classification
        >>> X, y = make_panel_classification(n_samples=90, random_state=0)
        >>> clf = PatternRidgeClassifier(n_groups=2, random_state=0).fit(X[:60], y[:60])
        >>> other_site = clf.blank().partial_fit(X[60:], y[60:])
        >>> clf.merge(other_site).models_.n_rows
        90
        """
        check_is_fitted(self)
        self._check_exact("blank")
        copy = deepcopy(self)
        n = len(copy.models_.kept.keys)
        if n < copy.models_.n_rows:
            raise ValueError(
                "Of more than 20,000 samples not all are kept. Make the blank copy earlier."
            )
        copy.models_.forget(np.arange(n))
        return copy

    def merge(self, other: Any) -> Self:
        """Learn from the samples of another estimator, exactly.

        Parameters
        ----------
        other : PatternRidgeClassifier or PatternRidgeRegressor
            Made by :meth:`blank` of this estimator, or of one with the same first fit.

        Returns
        -------
        object
            The fitted estimator.

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
            by_number: list[Any] = [*other._folds.labels, None]  # type: ignore[union-attr]
            labels = np.array(by_number, dtype=object)[models.kept.group]
            self._folds(labels)  # numbers the new groups
            models.kept = models.kept._replace(group=self._folds.numbers(labels))
        self.models_.merge(models)
        return self

    def _check_exact(self, method: str) -> None:
        if self.head == "boosting":
            raise ValueError(
                f"{method} is for head='ridge': boosted trees cannot learn or forget exactly. Fit "
                "again on all samples."
            )


def _is_label(groups: Any, like: Any) -> bool:
    """Whether ``groups`` is a single label, of the type of ``like``, and no list of labels."""
    if isinstance(groups, tuple):
        return isinstance(like, tuple) and not all(isinstance(label, tuple) for label in groups)
    return isinstance(groups, str) or np.asarray(groups, dtype=object).ndim == 0
