"""PanelEstimator: networks that are trained on panels. A method adds its parameters and module."""

from __future__ import annotations

import math
import warnings
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import Panel, PanelLike, Schema
from mts_fusion.persistence import Saveable
from mts_fusion.runs import phase, predicting
from mts_fusion.training import (
    OPTIMIZERS,
    PRECISIONS,
    BestWeights,
    CosineSchedule,
    EpochProgress,
    FixedFeatures,
    ModalityCurriculum,
    PanelDataset,
    PanelNet,
    StopOnNaN,
    Task,
    WeightAverage,
    check_callbacks,
    check_monitors,
    check_net_params,
    choose_fraction,
    choose_schedule,
    has_lr_scheduler,
    pick_device,
    seeded,
    simulate_sensor_loss,
    split_rows,
    with_targets_of,
)
from mts_fusion.transforms import PanelScaler
from mts_fusion.transforms._base import check_parameters
from mts_fusion.transforms._doc_link import LinkedReprMixin
from mts_fusion.transforms._scaler import scaled_as_read

from ._checks import check_X
from ._context import FitContext

__all__ = ["PanelEstimator"]

# Samples whose features are computed at a time to predict: a multiple of a batch.
_ROWS_AT_ONCE = 1024


class PanelEstimator(LinkedReprMixin, Saveable, BaseEstimator, metaclass=ABCMeta):
    """Abstract: an ensemble of networks trained on a panel, with or without targets.

    A subclass has ``__init__`` (assignments only), ``_make_module``, and ``fit``, which
    :class:`PanelPredictor` has for those with targets. ``fit`` makes one :class:`FitContext`, which
    it passes to the hooks.

    Attributes
    ----------
    schema_ : Schema
        The modalities seen in ``fit``.
    preprocessor_ : transformer or None
        What is applied to X before the networks.
    features_ : FixedFeatures or None
        The fixed features that the networks read; None if they read none.
    nets_ : list of PanelNet
        The trained networks, ``n_estimators`` of them.
    history_ : list of list of dict
        Losses, by network and epoch.
    n_training_ : int
        Number of samples trained on, without those held out.
    n_iter_ : int
        Number of epochs run.
    n_features_in_ : int
        Columns of a 2-D X, channels of a 3-D X, otherwise the number of modalities.
    """

    schema_: Schema
    preprocessor_: Any
    features_: FixedFeatures | None
    nets_: list[PanelNet]

    # What "auto" means: at least that many epochs and steps, and that many networks.
    _MIN_EPOCHS: ClassVar[int] = 12
    _MIN_STEPS: ClassVar[int] = 600
    _N_ESTIMATORS: ClassVar[int] = 3

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "n_estimators": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "callbacks": [list, tuple, None],
        "device": [str],
        "precision": [StrOptions(set(PRECISIONS))],
        "warm_start": ["boolean"],
        "net_params": [dict, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # Hooks of a method

    @abstractmethod
    def _make_module(self, context: FitContext, features: FixedFeatures | None, member: int) -> Any:
        """The network, from explicit arguments; ``member`` is its index in the ensemble."""

    def _fit_preprocessor(
        self, panel: Panel, y: np.ndarray | None, groups: np.ndarray | None, seed: int
    ) -> Any:
        """What is applied to X before the networks: a fitted transformer of panels, or None."""
        return PanelScaler().fit(panel, y)

    def _make_features(self, context: FitContext) -> FixedFeatures | None:
        """Fixed features, not fitted yet, that the networks read in addition; or None."""
        return None

    def _make_dataset(
        self, panel: Panel, target: np.ndarray | None = None, weight: np.ndarray | None = None
    ) -> PanelDataset:
        """The dataset from which the networks are given batches."""
        return PanelDataset(panel, target, weight, schema=self.schema_)

    def _keeps_best_epoch(self, context: FitContext) -> bool:
        """Whether the weights of the epoch with the lowest validation loss are kept."""
        return context.has_validation

    def _make_curriculum(self, max_epochs: int) -> ModalityCurriculum:
        """How modality dropout grows over the epochs."""
        return ModalityCurriculum(n_warmup_epochs=0, n_epochs=math.ceil(max_epochs / 4))

    # Steps of fit

    def _begin_fit(self) -> bool:
        """Check the parameters. Return whether the fit continues with the networks of the last."""
        check_parameters(self)
        check_callbacks(self.callbacks)
        optimizer = OPTIMIZERS.get(self.optimizer, self.optimizer)
        check_net_params(self.net_params, optimizer, type(self).__name__)
        continues = bool(self.warm_start and getattr(self, "nets_", None))
        if not continues:
            self.nets_ = []  # so that a fit that fails half way leaves the estimator unfitted
        return continues

    def _draw_seeds(self) -> list[int]:
        """Draw one seed for each network, and a last one for what they share."""
        n_estimators = self.n_estimators
        if n_estimators == "auto":
            n_estimators = self._N_ESTIMATORS
        random_state = check_random_state(self.random_state)
        return random_state.randint(np.iinfo(np.int32).max, size=n_estimators + 1).tolist()

    def _preprocess(
        self,
        panel: Panel,
        y: np.ndarray | None,
        groups: np.ndarray | None,
        seed: int,
        continues: bool,
    ) -> Panel:
        """Apply the preprocessor, which is fitted first unless the fit continues another."""
        if not continues:
            self.preprocessor_ = self._fit_preprocessor(panel, y, groups, seed)
        return panel if self.preprocessor_ is None else scaled_as_read(self.preprocessor_, panel)

    def _make_context(
        self,
        panel: Panel,
        strata: np.ndarray,
        groups: np.ndarray | None,
        seeds: list[int],
        *,
        task: Task | None = None,
        target: np.ndarray | None = None,
        weight: np.ndarray | None = None,
        needed: np.ndarray | None = None,
        sensor_loss_rate: float = 0.0,
        needs_validation: bool = False,
    ) -> FitContext:
        """Split the rows, and resolve the parameters that are "auto"."""
        *net_seeds, seed = seeds
        required = needs_validation or self.patience is not None
        fraction = choose_fraction(self.validation_fraction, len(panel), required=required)
        needed = np.concatenate([panel.available, *([] if needed is None else [needed])], axis=1)
        training, validation = split_rows(strata, fraction, groups=groups, needed=needed, seed=seed)
        check_monitors(self.callbacks, has_validation=len(validation) > 0)
        if self.patience is not None and not len(validation):
            warnings.warn(
                f"patience={self.patience} has no effect: none of the {len(panel)} samples are "
                f"held out (validation_fraction={self.validation_fraction!r}). Hold out at least "
                "10 samples and one of each class, or set patience=None.",
                UserWarning,
                stacklevel=4,
            )
        silenced = simulate_sensor_loss(panel.available[validation], sensor_loss_rate, seed)
        batch_size, max_epochs = choose_schedule(
            len(training),
            batch_size=self.batch_size,
            max_epochs=self.max_epochs,
            min_epochs=self._MIN_EPOCHS,
            min_steps=self._MIN_STEPS,
        )
        scales = getattr(self.preprocessor_, "scale_", {})
        return FitContext(
            panel=panel,
            scales={name: scale.tolist() for name, scale in scales.items()},
            task=task,
            target=target,
            weight=weight,
            training=training,
            validation=np.resize(validation, len(silenced)),  # once or twice
            silenced=silenced,
            has_groups=groups is not None,
            batch_size=batch_size,
            max_epochs=max_epochs,
            net_seeds=net_seeds,
            seed=seed,
        )

    def _fit_networks(
        self, context: FitContext, continues: bool
    ) -> tuple[list[PanelNet], PanelDataset | None]:
        """Train the networks. Return them, and the held-out samples if there are any."""
        if not continues:
            self.features_ = self._make_features(context)
        nets = self._make_nets(context, self.nets_ if continues else [])
        dataset = self._make_dataset(context.panel, context.target, context.weight)
        if self.features_ is not None:  # computed once for all networks
            dataset = dataset.with_features(
                self.features_.transform(context.panel)
                if continues
                else self.features_.fit_transform(context.panel, context.training)
            )
        training, validation = dataset.take(context.training), None
        if context.has_validation:
            validation = dataset.take(context.validation, context.silenced)
        trained: list[PanelNet] = []
        for net in nets:
            label = f"network {len(trained) + 1} of {len(nets)}"
            with phase("network", context.max_epochs, "epoch", label):
                net.train(training, validation)
            if context.task is not None:
                self._check_finite(net, training)
            trained.append(net)
            if net.interrupted:
                break
        return trained, validation

    def _check_finite(self, net: PanelNet, training: PanelDataset) -> None:
        """Raise if a net has weights so large that it predicts no numbers."""
        few = training.take(np.arange(min(len(training), net.batch_size)))
        if not np.isfinite(net.predict_raw([few])).all():
            raise ValueError(
                f"The training of {type(self).__name__} diverged: the predictions of its training "
                f"samples are not finite. Lower lr={self.lr:g}, or set precision='float32'."
            )

    def _make_nets(self, context: FitContext, previous: list[PanelNet]) -> list[PanelNet]:
        """Networks to train, the first ones with the weights of the previous networks."""
        n_nets = len(context.net_seeds)
        if n_nets < len(previous):
            raise ValueError(
                f"warm_start continues with the {len(previous)} networks of the last fit, but "
                f"n_estimators={n_nets}. Raise n_estimators, or set warm_start=False to start anew."
            )
        nets = [self._make_net(context, member) for member in range(n_nets)]
        for net, before in zip(nets, previous, strict=False):
            net.continue_from(before)
        return nets

    def _end_fit(self, context: FitContext, nets: list[PanelNet]) -> Self:
        """Set the fitted attributes. After Ctrl-C, let the interrupt go on."""
        self.nets_ = nets
        self.history_ = [net.losses() for net in nets]
        self.n_iter_ = max(len(losses) for losses in self.history_)
        self.n_training_ = context.n_training
        if not self.warm_start:
            for net in nets:
                net.trim_for_prediction()
        if nets[-1].interrupted:
            warnings.warn(
                f"The fit of {type(self).__name__} was interrupted in epoch {self.n_iter_ + 1} of "
                f"network {len(nets)}. It is fitted with the weights so far.",
                UserWarning,
                stacklevel=3,
            )
            raise KeyboardInterrupt  # so that a search or a pipeline stops too
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return bool(getattr(self, "nets_", None))

    # One network

    def _make_net(self, context: FitContext, member: int) -> PanelNet:
        seed = context.net_seeds[member]
        with seeded(seed):
            module = self._make_module(context, self.features_, member)
        own = {
            "task": context.task,
            "precision": self.precision,
            "seed": seed,
            "optimizer": OPTIMIZERS.get(self.optimizer, self.optimizer),
            "optimizer__weight_decay": self.weight_decay,
            "lr": self.lr,
            "batch_size": context.batch_size,
            "max_epochs": context.max_epochs,
            "device": pick_device(self.device),
            "callbacks": [
                *self._make_callbacks(context),
                *with_targets_of(context.task, self.callbacks),
            ],
        }
        # Fused steps take a fifth of the time for networks of many small parameters.
        fused = {"optimizer__fused": True} if self.optimizer in OPTIMIZERS else {}
        others = {"gradient_clip": 1.0, "verbose": 0, **fused, **(self.net_params or {})}
        net = PanelNet(module, callbacks__print_log=None, **own, **others)
        return net.initialize()

    def _make_callbacks(self, context: FitContext) -> list[Any]:
        max_epochs = context.max_epochs
        n_steps = max_epochs * math.ceil(context.n_training / context.batch_size)
        curriculum = self._make_curriculum(max_epochs)
        callbacks: list[Any] = [curriculum, StopOnNaN()]
        if not has_lr_scheduler(self.callbacks):
            callbacks.insert(0, CosineSchedule(n_steps))
        if self._keeps_best_epoch(context):
            callbacks.append(BestWeights(self.patience))
        return [*callbacks, WeightAverage(), EpochProgress()]

    # Prediction

    def _panels(self, X: Any) -> list[Panel]:
        """X after the preprocessor, once for each imputation that predictions average over."""
        check_is_fitted(self)
        panel = check_X(self, X, reset=False)
        return [panel if self.preprocessor_ is None else self.preprocessor_.transform(panel)]

    def _datasets(self, panel: Panel) -> Iterator[PanelDataset]:
        """The samples in order with their features, a part at a time to bound the memory."""
        if self.features_ is None:
            yield self._make_dataset(panel)
            return
        for start in range(0, len(panel), _ROWS_AT_ONCE):
            part = panel[start : start + _ROWS_AT_ONCE]
            yield self._make_dataset(part).with_features(self.features_.transform(part))

    def explain(self, X: PanelLike) -> dict[str, np.ndarray]:
        """What the network records for each sample, such as attention and routing.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        dict of str to array of shape (n, ...)
            The record of the network, of the first one if there are several.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``.
        """
        panel = self._panels(X)[0]
        with predicting(self, panel), phase("prediction", len(panel)):
            return self.nets_[0].predict_record(self._datasets(panel))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags
