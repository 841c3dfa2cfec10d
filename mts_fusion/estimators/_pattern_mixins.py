"""The mixins of PatternRidge: the link between y and scores, and predictions of the type of y."""

from __future__ import annotations

from functools import partial
from typing import Any

import numpy as np
from scipy.special import entr, logit
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target

from mts_fusion.panel import PanelLike
from mts_fusion.training import (
    IdentityLink,
    PatternModels,
    SigmoidLink,
    SoftmaxLink,
    check_labels,
    conformal_intervals,
    conformal_sets,
    mean_and_scale,
)

from ._checks import check_numbers

__all__ = ["PatternClassifierMixin", "PatternRegressorMixin"]


class PatternClassifierMixin(ClassifierMixin):
    """Abstract: predicts one of several classes, or any number of labels, for each sample."""

    models_: PatternModels
    _link: Any

    def _make_link(self, y: np.ndarray, weight: np.ndarray) -> Any:
        check_classification_targets(y)
        if type_of_target(y) == "multilabel-indicator":
            if self.head == "boosting":
                raise ValueError(
                    "head='boosting' is for one class a sample, but y holds labels. Set "
                    "head='ridge', or fit one classifier a label."
                )
            check_labels(y)
            self.classes_ = np.arange(y.shape[1])
            return SigmoidLink()
        if y.ndim > 1:
            raise ValueError(
                f"y has shape {y.shape} with more than two values a column; classes (n,) or "
                "labels (n, n_labels) of 0 and 1 are wanted. Fit one classifier a column."
            )
        classes = getattr(self, "_all_classes", None)  # of partial_fit
        self.classes_ = np.unique(y[weight > 0] if classes is None else classes)
        unknown = np.setdiff1d(y, self.classes_)
        if classes is not None and unknown.size:
            raise ValueError(f"classes lacks {unknown.tolist()}, which y holds.")
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes, but y holds 1 class: "
                f"{self.classes_.tolist()[0]!r}."
            )
        return SoftmaxLink(len(self.classes_))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = False
        return tags

    def _is_multilabel(self) -> bool:
        return isinstance(self._link, SigmoidLink)

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return y if self._is_multilabel() else np.searchsorted(self.classes_, y)

    def _check_same_kind(self, y: np.ndarray) -> None:
        if self._is_multilabel():
            if y.ndim != 2 or y.shape[1] != len(self.classes_):
                raise ValueError(
                    f"y has shape {y.shape}, but the first call had {len(self.classes_)} labels."
                )
            check_labels(y)
            return
        unknown = np.setdiff1d(y, self.classes_)
        if y.ndim > 1 or unknown.size:
            raise ValueError(
                f"The classes of the first call are {self.classes_.tolist()}, but y holds "
                f"{unknown.tolist()}. Name all classes in the first partial_fit(classes=...)."
            )

    def _class_factors(self, weight: np.ndarray, y: np.ndarray) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        if self._is_multilabel():
            raise ValueError("class_weight is for one class a sample; set class_weight=None.")
        if self.class_weight == "balanced":
            code = self._encode(y)
            sums = np.bincount(code, weights=weight, minlength=len(self.classes_))
            present = (sums > 0).sum()
            return np.where(sums > 0, weight.sum() / (present * np.where(sums > 0, sums, 1)), 1.0)
        if not isinstance(self.class_weight, dict):
            raise ValueError(f"class_weight is a dict, 'balanced' or None: {self.class_weight!r}.")
        classes = self.classes_.tolist()
        unknown = [label for label in self.class_weight if label not in classes]
        if unknown:
            raise ValueError(f"class_weight names {unknown}, but the classes are {classes}.")
        factors = np.array([self.class_weight.get(label, 1.0) for label in classes], dtype=float)
        if not np.isfinite(factors).all() or (factors < 0).any():
            raise ValueError(f"class_weight needs to be >= 0, got {self.class_weight}.")
        if not (weight * factors[self._encode(y)] > 0).any():
            raise ValueError(f"class_weight {self.class_weight} leaves no sample any weight.")
        return factors

    def _prior(self) -> np.ndarray:
        """Frequencies of the classes, or of each label, in training."""
        return np.clip((1 + self.models_.prior()) / 2, 1e-6, 1 - 1e-6)

    def _prior_scores(self) -> np.ndarray:
        return logit(self._prior()) if self._is_multilabel() else np.log(self._prior())

    def predict_proba(self, X: PanelLike) -> np.ndarray:
        """Predict the probability of each class.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``; any sensors may be missing.

        Returns
        -------
        array of shape (n, n_classes) or (n, n_labels)
            Columns are in the order of ``classes_``. Rows sum to 1, except for labels, each of
            which has its own probability.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        return self._predict_outputs(X)

    def decision_function(self, X: PanelLike) -> np.ndarray:
        """Log probabilities of the classes, or log odds of two classes or of labels.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n,), (n, n_classes) or (n, n_labels)
            For two classes the log odds of the second one, ``(n,)``; for more the log probability
            of each; for labels the log odds of each.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        scores = self._scores(self._check_fitted_X(X))
        if self._is_multilabel():
            return scores
        scores = scores - np.logaddexp.reduce(scores, axis=1, keepdims=True)
        if self.decision == "balanced":
            scores = scores - np.log(self._prior())
        return scores[:, 1] - scores[:, 0] if scores.shape[1] == 2 else scores

    def predict(self, X: PanelLike) -> np.ndarray:
        """Predict the class of each sample.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n,) or (n, n_labels)
            Classes as in y, chosen by ``decision``; or 0 and 1 for each label.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        p = self._predict_outputs(X)
        if self._is_multilabel():
            return (p > 0.5).astype(int)
        if self.decision == "balanced":
            p = p / self._prior()
        return self.classes_[p.argmax(axis=1)]

    def predict_uncertainty(self, X: PanelLike) -> dict[str, np.ndarray]:
        """The entropy of the prediction, split into aleatoric and epistemic uncertainty.

        The epistemic part is how much the models without each fold of the training samples differ.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        dict of str to array of shape (n,)
            In nats: ``total``, the entropy of the mean probability; ``aleatoric``, the mean
            entropy; ``epistemic``, their difference, the mutual information.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        p = self._fold_outputs(self._check_fitted_X(X))
        total, aleatoric = self._entropy(p.mean(0)), self._entropy(p).mean(0)
        return {"total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}

    def _entropy(self, p: np.ndarray) -> np.ndarray:
        if self._is_multilabel():
            return (entr(p) + entr(1 - p)).mean(-1)
        return entr(p).sum(-1)

    def predict_set(self, X: PanelLike, *, coverage: float = 0.9) -> np.ndarray:
        """Predict sets of classes that contain the true class with a given frequency.

        Cross-validation+ [1]_ on the held-out scores of the model of a sample's sensors, so that
        sets are larger where sensors fail.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        coverage : float, default=0.9
            Fraction of the samples whose set is to contain their class.

        Returns
        -------
        bool array of shape (n, n_classes)
            Whether each of ``classes_`` is in the set; at least one is.

        Raises
        ------
        ValueError
            If ``coverage`` is not above 0 and below 1, or y holds labels.

        Notes
        -----
        Theorem 4 of [1]_ guarantees ``1 - 2 * (1 - coverage)``, less a term of the order of
        ``1 / n``, for samples exchangeable with those in training; the actual coverage is near
        ``coverage``. With enough groups, ``coverage / (1 - coverage)`` or more (9 for .9), each
        group has the same weight, and the coverage is that of samples of a new group; with fewer it
        is that of new samples, each held out with its group.

        References
        ----------
        .. [1] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+",
           Annals of Statistics 49, 2021. https://arxiv.org/abs/1905.02928
        """
        self._check_coverage(coverage)
        if self._is_multilabel():
            raise ValueError("predict_set is for one class a sample, but y held labels.")
        sets = partial(conformal_sets, self.models_, coverage=coverage)
        return np.concatenate(self._of_chunks(sets, self._check_fitted_X(X)))


class PatternRegressorMixin(RegressorMixin):
    """Abstract: predicts one or several numbers for each sample."""

    models_: PatternModels
    _link: Any

    def _make_link(self, y: np.ndarray, weight: np.ndarray) -> Any:
        numbers = check_numbers(y)
        self._is_flat = y.ndim == 1
        numbers = numbers.reshape(len(y), -1)
        self._n_targets = numbers.shape[1]
        return IdentityLink(*mean_and_scale(numbers, weight))

    def _encode(self, y: np.ndarray) -> np.ndarray:
        return check_numbers(y)

    def _check_same_kind(self, y: np.ndarray) -> None:
        n_targets = y.reshape(len(y), -1).shape[1]
        if n_targets != self._n_targets:
            raise ValueError(
                f"y has shape {y.shape}, but the first call had {self._n_targets} targets."
            )

    def _class_factors(self, weight: np.ndarray, y: np.ndarray) -> None:
        return None

    def _prior_scores(self) -> np.ndarray:
        return self.models_.prior()

    def _shape(self, outputs: np.ndarray) -> np.ndarray:
        return outputs[:, 0] if self._is_flat else outputs

    def predict(self, X: PanelLike) -> np.ndarray:
        """Predict the number, or numbers, of each sample.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``; any sensors may be missing.

        Returns
        -------
        array of shape (n,) or (n, n_outputs)
            In the unit of y.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        return self._shape(self._predict_outputs(X))

    def predict_uncertainty(self, X: PanelLike) -> dict[str, np.ndarray]:
        """The deviation of the prediction, split into aleatoric and epistemic uncertainty.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        dict of str to array of shape (n,) or (n, n_outputs)
            Standard deviations in the unit of y: ``aleatoric``, of the held-out residuals of the
            model of a sample's sensors; ``epistemic``, of the models without each fold of the
            training samples; ``total``, of both.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        panel = self._check_fitted_X(X)
        epistemic = self._fold_outputs(panel).std(0)
        residual = np.empty_like(epistemic)
        spread = np.array(self._link.scale)
        residual[:] = spread
        for rows, model in self.models_.models_of(panel.available):
            residual[rows] = spread * np.sqrt(model.loss)
        total = np.sqrt(residual**2 + epistemic**2)
        parts = {"total": total, "aleatoric": residual, "epistemic": epistemic}
        return {key: self._shape(part) for key, part in parts.items()}

    def predict_interval(self, X: PanelLike, *, coverage: float = 0.9) -> np.ndarray:
        """Predict intervals that contain the true number with a given frequency.

        Cross-validation+ [1]_ on the held-out scores of the model of a sample's sensors, so that
        intervals are wider where sensors fail.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        coverage : float, default=0.9
            Fraction of the samples whose interval is to contain their number.

        Returns
        -------
        array of shape (n, 2) or (n, n_outputs, 2)
            Lower and upper ends, in the unit of y; infinite if there are too few training samples.

        Raises
        ------
        ValueError
            If ``coverage`` is not above 0 and below 1.

        Notes
        -----
        Theorem 4 of [1]_ guarantees ``1 - 2 * (1 - coverage)``, less a term of the order of
        ``1 / n``, for samples exchangeable with those in training; the actual coverage is near
        ``coverage``. With enough groups, ``coverage / (1 - coverage)`` or more (9 for .9), each
        group has the same weight, and the coverage is that of samples of a new group.

        References
        ----------
        .. [1] Barber, Candes, Ramdas and Tibshirani, "Predictive inference with the jackknife+",
           Annals of Statistics 49, 2021. https://arxiv.org/abs/1905.02928
        """
        self._check_coverage(coverage)
        intervals = partial(conformal_intervals, self.models_, coverage=coverage)
        ends = np.concatenate(self._of_chunks(intervals, self._check_fitted_X(X)))
        return ends[:, 0] if self._is_flat else ends
