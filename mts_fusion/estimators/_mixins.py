"""The mixins of classifiers and regressors: the task, and predictions of the type of y."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags, compute_sample_weight
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import PanelLike
from mts_fusion.training import (
    ENOUGH_TO_VALIDATE,
    ClassificationTask,
    Multiclass,
    Multilabel,
    Regression,
    Task,
)

from ._checks import check_numbers
from ._context import FitContext

__all__ = ["PanelClassifierMixin", "PanelRegressorMixin"]

# label_smoothing="auto", where a temperature corrects its effect on the probabilities.
_SMOOTHING = 0.05

# calibration="auto" without groups: the penalty, in nats a sample, of a temperature of 1 / e.
_SHARPENING_COST = 0.05


class PanelClassifierMixin(ClassifierMixin):
    """Abstract: predicts one of several classes, or any number of labels, for each sample."""

    _task: Any

    def _make_task(self, y: np.ndarray, weight: np.ndarray | None) -> ClassificationTask:
        check_classification_targets(y)
        if type_of_target(y) == "multilabel-indicator":
            self.classes_ = np.arange(y.shape[1])
            return Multilabel(y.shape[1], frequencies=np.average(y, axis=0, weights=weight))
        if y.ndim > 1:
            raise ValueError(
                f"y has shape {y.shape} with more than two values a column; classes (n,) or "
                "labels (n, n_labels) of 0 and 1 are wanted. Fit one classifier a column."
            )
        self.classes_ = np.unique(y)
        if len(self.classes_) < 2:
            raise ValueError(
                f"{type(self).__name__} needs at least two classes, but y holds 1 class: "
                f"{self.classes_.tolist()[0]!r}."
            )
        is_class = y[:, None] == self.classes_
        return Multiclass(self.classes_, frequencies=np.average(is_class, axis=0, weights=weight))

    @property
    def temperature_(self) -> np.ndarray:
        """What the logits are divided by, with all modalities and with none."""
        check_is_fitted(self)
        return self._task.temperature.copy() if self._task.has_softmax else np.ones(2)

    def predict(self, X: PanelLike) -> np.ndarray:
        """Predict the class of each sample.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n,) or (n, n_labels)
            Classes as in y, or 0 and 1 for each label.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``.
        """
        outputs = self._predict_outputs(X)
        return self._task.decode(outputs)

    def predict_proba(self, X: PanelLike) -> np.ndarray:
        """Predict the probability of each class.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n, n_classes) or (n, n_labels)
            Columns are in the order of ``classes_``. Rows sum to 1, except for labels, each of
            which has its own probability.

        Raises
        ------
        NotFittedError
            Before ``fit``.
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
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``.
        """
        p = self._predict_outputs(X)
        return self._task.decision_scores(p)

    def predict_uncertainty(
        self, X: PanelLike, *, n_samples: int = 20, method: str = "auto"
    ) -> dict[str, np.ndarray]:
        """The entropy of the prediction, split into aleatoric and epistemic uncertainty.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n_samples : int, default=20
            Draws of dropout [1]_, shared out evenly between the networks.
        method : {"auto", "ensemble", "dropout"}, default="auto"
            What disagrees: the trained networks, or draws of dropout in each of them. ``"auto"`` is
            ``"ensemble"`` with ``n_estimators > 1`` and ``"dropout"`` otherwise.

        Returns
        -------
        dict of str to array of shape (n,)
            In nats: ``total``, the entropy of the mean probability; ``aleatoric``, the mean
            entropy; ``epistemic``, their difference, the mutual information.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is below 2, ``method`` is unknown or ``"ensemble"`` with
            one network, or X has another schema than in ``fit``.

        References
        ----------
        .. [1] Gal, Ghahramani, "Dropout as a Bayesian Approximation", ICML, 2016.
           https://arxiv.org/abs/1506.02142
        """
        p = self._predictive_samples(X, n_samples, method)[0]  # (S, n, K)
        total = self._task.entropy(p.mean(0))
        aleatoric = self._task.entropy(p).mean(0)
        return {"total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}

    def _class_weight(self, y: np.ndarray) -> np.ndarray | None:
        if self.class_weight is None:
            return None
        try:
            return compute_sample_weight(self.class_weight, y)
        except ValueError as error:
            raise ValueError(
                f"class_weight={self.class_weight!r} cannot be used: {error}"
            ) from error

    def _check_calibration(self, context: FitContext) -> None:
        required = self.calibration == "temperature"
        if not self._task.has_softmax:
            if required:
                raise ValueError(
                    "calibration='temperature' is for one class a sample, but y holds labels. "
                    "Set calibration=None."
                )
            return
        n_absent = self._task.n_outputs - len(np.unique(context.target[context.validation]))
        if required and n_absent:
            what = f"lacks {n_absent} of the classes" if context.has_validation else "is empty"
            raise ValueError(
                f"calibration='temperature' needs held-out samples of every class, but the inner "
                f"validation split (validation_fraction={self.validation_fraction}) {what}. "
                "Raise validation_fraction, give more samples, or set calibration='auto'."
            )
        smoothing = self.label_smoothing
        if smoothing == "auto":
            is_calibrated = context.has_validation and self.calibration is not None
            is_many = len(context.target) >= ENOUGH_TO_VALIDATE
            smoothing = _SMOOTHING if is_calibrated and is_many else 0.0
        self._task.label_smoothing = smoothing

    def _calibrate(self, context: FitContext, outputs: np.ndarray, missing: np.ndarray) -> None:
        if self.calibration is None or not self._task.has_softmax:
            return
        target = context.target[context.validation]
        weight = None if context.weight is None else context.weight[context.validation]
        # Held-out samples of subjects that were trained on are easier than those of new subjects.
        optimistic = self.calibration != "temperature" and not context.has_groups
        some = missing < 1  # elsewhere the networks are not asked
        if not some.any():
            return
        self._task.calibrate(
            outputs[some],
            target[some],
            missing[some],
            weight=None if weight is None else weight[some],
            sharpening_cost=_SHARPENING_COST if optimistic else 0.0,
        )
        if self._task.is_at_bound:
            temperature = self._task.temperature.round(2).tolist()
            warnings.warn(
                f"The temperature of the calibration is {temperature}, at a bound of the search: "
                "the held-out samples are predicted no better than at random, or without error, so "
                "that they say little of the confidence. Hold out more samples or groups, or set "
                "calibration=None.",
                UserWarning,
                stacklevel=4,
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = False
        return tags


class PanelRegressorMixin(RegressorMixin):
    """Abstract: predicts one or several numbers for each sample."""

    _task: Any

    def _make_task(self, y: np.ndarray, weight: np.ndarray | None) -> Task:
        return Regression(check_numbers(y), weight)

    def _class_weight(self, y: np.ndarray) -> None:
        if self.class_weight is not None:
            raise ValueError("class_weight is for classifiers; set class_weight=None.")

    def _check_calibration(self, context: FitContext) -> None:
        """Do nothing: numbers have no temperature."""

    def _calibrate(self, context: FitContext, outputs: np.ndarray, missing: np.ndarray) -> None:
        """Do nothing: numbers have no temperature."""

    def predict(self, X: PanelLike) -> np.ndarray:
        """Predict the number, or numbers, of each sample.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n,) or (n, n_outputs)
            In the unit of y.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``.
        """
        outputs = self._predict_outputs(X)
        return self._task.decode(outputs)

    def predict_uncertainty(
        self, X: PanelLike, *, n_samples: int = 20, method: str = "auto"
    ) -> dict[str, np.ndarray]:
        """The standard deviation of the prediction over networks, or over draws of dropout.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n_samples : int, default=20
            Draws of dropout [1]_, shared out evenly between the networks.
        method : {"auto", "ensemble", "dropout"}, default="auto"
            What disagrees: the trained networks, or draws of dropout in each of them. ``"auto"`` is
            ``"ensemble"`` with ``n_estimators > 1`` and ``"dropout"`` otherwise.

        Returns
        -------
        dict of str to array of shape (n,) or (n, n_outputs)
            ``epistemic``, in the unit of y. The noise of y itself is not included.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is below 2, ``method`` is unknown or ``"ensemble"`` with
            one network, or X has another schema than in ``fit``.

        References
        ----------
        .. [1] Gal, Ghahramani, "Dropout as a Bayesian Approximation", ICML, 2016.
           https://arxiv.org/abs/1506.02142
        """
        samples = self._predictive_samples(X, n_samples, method)[0]  # (S, n, K)
        return {"epistemic": self._task.decode(samples.std(0))}
