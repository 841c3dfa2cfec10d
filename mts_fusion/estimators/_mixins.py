"""The two mixins: what is asked of a network, and the answers in the words of y."""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import entr, logit
from sklearn.base import ClassifierMixin, RegressorMixin
from sklearn.utils import Tags
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted

from mts_fusion.training import Multiclass, Multilabel, Regression, Task

from ._base import ENOUGH_TO_VALIDATE
from ._checks import check_numbers

__all__ = ["PanelClassifierMixin", "PanelRegressorMixin"]

# label_smoothing="auto", where a temperature repairs what it does to probabilities.
_SMOOTHING = 0.05

# calibration="auto" without groups: nats a sample that a temperature of 1 / e has to be worth.
_SHARPENING_COST = 0.05


class PanelClassifierMixin(ClassifierMixin):
    """Abstract: classes, or any number of labels, of each sample."""

    _task: Any

    def _make_task(self, y: np.ndarray) -> Task:
        check_classification_targets(y)
        if type_of_target(y) == "multilabel-indicator":
            self.classes_ = np.arange(y.shape[1])
            return Multilabel(y.shape[1])
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
        smoothing = self.label_smoothing
        if smoothing == "auto":
            smoothing = _SMOOTHING if len(y) >= ENOUGH_TO_VALIDATE else 0.0
        return Multiclass(self.classes_, label_smoothing=smoothing)

    @property
    def temperature_(self) -> np.ndarray:
        """By which logits are divided, with every modality and with none."""
        check_is_fitted(self)
        return np.array(getattr(self._task, "temperature", np.ones(2)))

    def predict(self, X: Any) -> np.ndarray:
        """The class of each sample.

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
        ValueError
            If X has another schema than in ``fit``.
        """
        answers = self._answers(X)
        return self._task.decode(answers)

    def predict_proba(self, X: Any) -> np.ndarray:
        """The probability of each class.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n, n_classes) or (n, n_labels)
            Rows sum to 1, in the order of ``classes_``; for labels, each is for itself.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        return self._answers(X)

    def decision_function(self, X: Any) -> np.ndarray:
        """Log odds of each class.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n,), (n, n_classes) or (n, n_labels)
            Log probabilities of the classes; log odds of the second of two classes; log odds
            of each label.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        p = np.clip(self._answers(X), 1e-300, 1.0)
        if isinstance(self._task, Multilabel):
            return logit(np.clip(p, 1e-15, 1 - 1e-15))
        scores = np.log(p)
        return scores[:, 1] - scores[:, 0] if p.shape[1] == 2 else scores

    def predict_uncertainty(self, X: Any, *, n_samples: int = 20) -> dict[str, np.ndarray]:
        """The entropy of the prediction, split into noise of the data and doubt of the network.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n_samples : int, default=20
            Networks drawn by dropout [1]_; with ``n_estimators > 1`` the trained ones are taken.

        Returns
        -------
        dict of str to array of shape (n,)
            In nats: ``total``, the entropy of the mean probability; ``aleatoric``, the mean
            entropy; ``epistemic``, their difference, the mutual information.

        Raises
        ------
        ValueError
            If ``n_samples`` is below 2, or X has another schema than in ``fit``.

        References
        ----------
        .. [1] Gal, Ghahramani, "Dropout as a Bayesian Approximation", ICML, 2016.
           https://arxiv.org/abs/1506.02142
        """
        p = self._passes(X, n_samples)[0]  # (S, n, K)
        total = self._entropy(p.mean(0))
        aleatoric = self._entropy(p).mean(0)
        return {"total": total, "aleatoric": aleatoric, "epistemic": total - aleatoric}

    def _entropy(self, p: np.ndarray) -> np.ndarray:
        if isinstance(self._task, Multilabel):
            p = np.stack([p, 1 - p], axis=-1)
            return entr(p).sum(-1).mean(-1)
        return entr(p).sum(-1)

    def _calibrate(self, logits: list[np.ndarray], target: np.ndarray, missing: np.ndarray) -> None:
        demanded = self.calibration == "temperature"
        if self.calibration is None:
            return
        if not isinstance(self._task, Multiclass):
            if demanded:
                raise ValueError(
                    "calibration='temperature' is for one class a sample, but y holds labels. "
                    "Set calibration=None."
                )
            return
        n_absent = self._task.n_outputs - len(np.unique(target))
        if demanded and (not logits or n_absent):
            what = "is empty" if not logits else f"lacks {n_absent} of the classes"
            raise ValueError(
                f"calibration='temperature' needs held-out samples of every class, but the inner "
                f"validation split (validation_fraction={self.validation_fraction}) {what}. "
                "Raise validation_fraction, give more samples, or set calibration='auto'."
            )
        if logits:
            # Held-out samples of subjects that were trained on look easier than new subjects are.
            known = self.calibration == "auto" and not self._held_out_subjects
            self._task.calibrate(
                self._task.combine(logits),
                target,
                missing,
                sharpening_cost=_SHARPENING_COST if known else 0.0,
            )

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_label = True
        tags.target_tags.multi_output = False
        return tags


class PanelRegressorMixin(RegressorMixin):
    """Abstract: one or several numbers of each sample."""

    _task: Any

    def _make_task(self, y: np.ndarray) -> Task:
        return Regression(check_numbers(y))

    def predict(self, X: Any) -> np.ndarray:
        """The number, or numbers, of each sample.

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
        ValueError
            If X has another schema than in ``fit``.
        """
        answers = self._answers(X)
        return self._task.decode(answers)
