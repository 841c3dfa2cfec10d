"""PanelPredictor: networks that predict a target, whichever it is."""

from __future__ import annotations

from abc import abstractmethod
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._arguments import check_types
from mts_fusion.panel._stored import loaded_parts
from mts_fusion.panel._targets import check_groups
from mts_fusion.runs import fitting, phase, predicting
from mts_fusion.training import Task

from ._base import PanelEstimator
from ._boosted_head import BoostedHead
from ._checks import check_weight, check_X, check_y
from ._context import FitContext

__all__ = ["PanelPredictor"]


class PanelPredictor(PanelEstimator):
    """Abstract: a :class:`PanelEstimator` with a target.

    The mixins of classifiers and regressors add the task, and the types of the predictions.
    """

    _task: Any
    trees_: BoostedHead | None = None

    # Whether the weights of the last epoch are kept, not of the best, if a temperature is learnt.
    _KEEPS_LAST_EPOCH: ClassVar[bool] = False

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PanelEstimator._parameter_constraints,
        "modality_dropout": [Interval(Real, 0, 1, closed="left")],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "calibration": [StrOptions({"auto", "temperature"}), None],
    }

    # Hooks of the mixins

    @abstractmethod
    def _make_task(self, y: np.ndarray, weight: np.ndarray | None) -> Task:
        """How y is encoded, what is minimised, and how outputs become predictions."""

    @abstractmethod
    def _class_weight(self, y: np.ndarray) -> np.ndarray | None:
        """The weight ``(n,)`` of the class of each sample; None for equal weights."""

    @abstractmethod
    def _check_calibration(self, context: FitContext) -> None:
        """Before the training, check that what was asked for can be learnt from the split."""

    @abstractmethod
    def _calibrate(self, context: FitContext, outputs: np.ndarray, missing: np.ndarray) -> None:
        """Calibrate the task on the outputs ``(v, K)`` for the held-out samples."""

    def _make_trees(self, context: FitContext) -> BoostedHead | None:
        """Boosted trees, not fitted yet, whose scores are added to those of the networks."""
        return None

    def _highest_modality_dropout(self) -> float:
        """The highest rate at which a sample may lose its modalities in training."""
        return self.modality_dropout

    # Fitting

    def fit(
        self,
        X: PanelLike,
        y: ArrayLike,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        """Fit the networks.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples; NaN marks what is missing.
        y : array of shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array of shape (n,), default=None
            Weights of the samples in all that is learnt; None for equal weights. A sample of weight
            0 is left out.
        groups : array of shape (n,), default=None
            The subject of each sample. The inner validation split then keeps subjects whole.

        Returns
        -------
        object
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter, X, y, the weights or the groups cannot be used; the message says what
            was expected and what was given.
        KeyboardInterrupt
            On Ctrl-C. The estimator is fitted with the weights so far, and a warning says so.
        """
        continues = self._begin_fit()
        panel = check_X(self, X, reset=not continues)
        y = check_y(self, y, panel)
        groups = check_groups(groups, panel)
        weight = self._check_weight(sample_weight, y, panel)
        if weight is not None and not weight.all():
            used = weight > 0
            panel, y, weight = panel[used], y[used], weight[used]
            groups = None if groups is None else groups[used]
        with fitting(self, panel):
            seeds = self._draw_seeds()
            if continues:
                self._task.check_targets(y)
            else:
                self._task = self._make_task(y, weight)
            panel = self._preprocess(panel, y, groups, seeds[-1], continues)
            context = self._make_context(
                panel,
                self._task.strata(y),
                groups,
                seeds,
                task=self._task,
                target=self._task.encode(y),
                weight=weight,
                needed=self._task.needed(y),
                sensor_loss_rate=self._highest_modality_dropout(),
                needs_validation=self.calibration == "temperature",
            )
            self._check_calibration(context)
            scores = self._fit_trees(context, continues)
            nets, validation = self._fit_networks(context, continues)
            if validation is not None:
                raw = nets[0].predict_ensemble(nets, [validation])
                if self.trees_ is not None and scores is not None:
                    if not continues:
                        combined = self._task.combine(raw)
                        self.trees_.learn_shares(context, combined, scores, validation.missing)
                    raw = [self.trees_.add(one, scores, validation.missing) for one in raw]
                self._calibrate(context, self._task.combine(raw), validation.missing)
            return self._end_fit(context, nets)

    def _fit_trees(self, context: FitContext, continues: bool) -> np.ndarray | None:
        """Fit the trees, if there are any. Return their scores for the held-out samples."""
        if continues:
            return None if self.trees_ is None else self.trees_.held_out_scores(context)
        self.trees_ = self._make_trees(context)
        return None if self.trees_ is None else self.trees_.fit(context)

    def _check_weight(self, sample_weight: Any, y: np.ndarray, panel: Panel) -> np.ndarray | None:
        """Weights ``(n,)`` of samples and classes; None for equal weights.

        Their mean is 1 over the samples that have a weight.
        """
        if sample_weight is None and self.class_weight is None:
            return None
        weight = check_weight(sample_weight, panel)
        used = weight > 0
        class_weight = self._class_weight(y[used])
        if class_weight is not None:
            weight[used] *= class_weight
            weight = check_weight(weight, panel)
        return weight / weight[weight > 0].mean()

    def _keeps_best_epoch(self, context: FitContext) -> bool:
        # The validation loss rises as soon as a network is overconfident, long before its
        # predictions are at their best; a temperature corrects the confidence.
        is_corrected = self._task.has_softmax and self.calibration is not None
        keeps_last = self._KEEPS_LAST_EPOCH and is_corrected and self.patience is None
        return context.has_validation and not keeps_last

    # Prediction

    def _raw_predict(self, X: Any) -> tuple[list[np.ndarray], np.ndarray]:
        """Raw predictions ``(n, n_outputs)`` for each imputation and network, in this order.

        And the fraction ``(n,)`` of the modalities that are missing.
        """
        panels, net = self._panels(X), self.nets_[0]
        n_passes = len(panels) * len(panels[0])
        with predicting(self, panels[0]), phase("prediction", n_passes):
            raw = [
                one
                for panel in panels
                for one in net.predict_ensemble(self.nets_, self._datasets(panel))
            ]
        return self._with_trees(raw, panels[0]), _missing(panels[0])

    def _with_trees(self, raw: list[np.ndarray], panel: Panel) -> list[np.ndarray]:
        """Raw predictions with the scores of the trees added to each, if there are any."""
        if self.trees_ is None:
            return raw
        scores = self.trees_.scores(panel)
        return [self.trees_.add(one, scores, _missing(panel)) for one in raw]

    def _predict_outputs(self, X: Any) -> np.ndarray:
        """Probabilities, or numbers in the unit of y, averaged over imputations and networks."""
        outputs = []
        for part in loaded_parts(X):
            raw, missing = self._raw_predict(part)
            outputs.append(self._task.link(self._task.combine(raw), missing))
        return np.concatenate(outputs)

    def _predictive_samples(self, X: Any, n_samples: int, method: str) -> np.ndarray:
        """Outputs for each imputation and network, or draw of dropout: ``(I, S, n, K)``."""
        check_types(PanelPredictor._predictive_samples, locals())
        if method not in ("auto", "ensemble", "dropout"):
            raise ValueError(
                f"method={method!r} is unknown; choose one of ['auto', 'ensemble', 'dropout']."
            )
        check_is_fitted(self)
        n_nets = len(self.nets_)
        if method == "ensemble" and n_nets == 1:
            raise ValueError(
                "method='ensemble' needs several networks, but n_estimators is 1. Set "
                "method='dropout', or fit with n_estimators=3."
            )
        if n_samples < 2:
            raise ValueError(f"n_samples={n_samples}; at least 2 are needed for a spread.")
        n_draws = n_samples if method == "dropout" or n_nets == 1 else None
        parts = []
        for part in loaded_parts(X):
            panels = self._panels(part)
            n_passes = len(panels) * len(panels[0]) * (n_draws or 1)
            with predicting(self, panels[0]), phase("prediction", n_passes):
                parts.append(np.stack([self._outputs_apart(one, n_draws) for one in panels]))
        return np.concatenate(parts, axis=2)

    def _outputs_apart(self, panel: Panel, n_draws: int | None) -> np.ndarray:
        """Outputs ``(S, n, K)`` of each network, or of each draw of dropout."""
        if n_draws is None:
            raw = self.nets_[0].predict_ensemble(self.nets_, self._datasets(panel))
        else:
            # Each network makes an equal part of the draws, the first ones one more.
            n_nets = len(self.nets_)
            counts = np.bincount(np.arange(n_draws) % n_nets, minlength=n_nets)
            raw = [
                one
                for seed, (member, count) in enumerate(zip(self.nets_, counts, strict=True))
                if count
                for one in member.predict_dropout(self._datasets(panel), count, seed=seed)
            ]
        raw = self._with_trees(raw, panel)
        return np.stack([self._task.link(one, _missing(panel)) for one in raw])

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        return tags


def _missing(panel: Panel) -> np.ndarray:
    """Fraction ``(n,)`` of the modalities of each sample of which nothing is observed."""
    return (~panel.available).mean(1)
