"""PanelEstimator: what every method shares. A method adds its parameters and its network."""

from __future__ import annotations

import math
from abc import ABCMeta, abstractmethod
from collections.abc import Iterator
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import (
    BaseEstimator,
    clone,
    is_classifier,
)
from sklearn.model_selection import StratifiedGroupKFold
from sklearn.utils import Tags, check_random_state, compute_sample_weight
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import Panel, Schema
from mts_fusion.training import (
    OPTIMIZERS,
    PRECISIONS,
    BestWeights,
    CosineSchedule,
    EpochProgress,
    FixedFeatures,
    ModalityCurriculum,
    Multiclass,
    PanelDataset,
    PanelNet,
    StopOnNaN,
    Task,
    WeightAverage,
    pick_device,
    seeded,
)
from mts_fusion.transforms import PanelScaler

from ._checks import check_groups, check_weight, check_X, check_y

__all__ = ["MANY_SAMPLES", "PanelEstimator"]

MANY_SAMPLES, SMALL_BATCH, LARGE_BATCH = 1500, 32, 128
"""``batch_size="auto"``: small batches below that many training samples, large ones from there."""

ENOUGH_TO_VALIDATE, VALIDATION_FRACTION = 500, 0.1
"""``validation_fraction="auto"``: a tenth is held out from so many samples on, none below."""

MIN_VALIDATION = 10
"""Fewer held-out samples say nothing: then all samples are trained on, for all epochs."""

# Runs of neighbours that are held out of each class, fewer where they would be shorter.
_N_RUNS = 3
_RUN_LENGTH = 5

# Samples whose features are computed at a time to predict: a multiple of a batch.
_ROWS_AT_ONCE = 1024


class PanelEstimator(BaseEstimator, metaclass=ABCMeta):
    """Abstract: a network that is fitted to a panel.

    A method gives ``__init__`` (assignments only) and ``_make_module``; the mixins give the task.

    Attributes
    ----------
    schema_ : Schema
        The modalities seen in ``fit``.
    nets_ : list of PanelNet
        One trained network each for ``n_estimators``.
    features_ : FixedFeatures or None
        What gives the fixed features that the networks take; None where they take none.
    history_ : list of list of dict
        Losses, by network and epoch.
    n_features_in_ : int
        Columns of X for a 2-D array, channels for a 3-D one, else modalities.
    """

    schema_: Schema
    nets_: list[PanelNet]
    features_: FixedFeatures | None
    _task: Any

    # "auto": at least so many epochs and steps; so many networks.
    _MIN_EPOCHS: ClassVar[int] = 12
    _MIN_STEPS: ClassVar[int] = 600
    _N_ESTIMATORS: ClassVar[int] = 3
    # Whether the weights of the end are kept, not of the best epoch, where a temperature follows.
    _KEEPS_LAST: ClassVar[bool] = False

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "optimizer": [StrOptions(set(OPTIMIZERS)), callable],
        "lr": [Interval(Real, 0, None, closed="neither")],
        "weight_decay": [Interval(Real, 0, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "patience": [Interval(Integral, 1, None, closed="left"), None],
        "validation_fraction": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "class_weight": [dict, list, StrOptions({"balanced"}), None],
        "label_smoothing": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "calibration": [StrOptions({"auto", "temperature"}), None],
        "n_estimators": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "callbacks": [list, tuple, None],
        "device": [str],
        "precision": [StrOptions(set(PRECISIONS))],
        "warm_start": ["boolean"],
        "net_params": [dict, None],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    # What a method says

    @abstractmethod
    def _make_module(self, schema: Schema, n_outputs: int, member: int) -> Any:
        """Its network, from explicit arguments; the first of an ensemble is member 0."""

    @abstractmethod
    def _make_task(self, y: np.ndarray) -> Task:
        """What is asked of the network; from the mixin."""

    def _make_front(self, schema: Schema) -> Any:
        """What X passes before the network: a transformer of panels, or None."""
        return PanelScaler()

    def _make_features(self, schema: Schema) -> FixedFeatures | None:
        """Fixed features that its network takes beside the values, not fitted; none by default."""
        return None

    def _scales(self) -> dict[str, list[float]]:
        """What the numbers of each channel have been divided by on their way to the network."""
        return {name: scale.tolist() for name, scale in getattr(self.front_, "scale_", {}).items()}

    # Fitting

    def fit(self, X: Any, y: Any, sample_weight: Any = None, groups: Any = None) -> Self:
        """Fit the network.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples; NaN marks what is missing.
        y : array of shape (n,) or (n, n_outputs)
            Targets.
        sample_weight : array of shape (n,), default=None
            Weights of the samples in the loss; None for all alike.
        groups : array of shape (n,), default=None
            The subject of each sample. The inner validation split then keeps a subject whole.

        Returns
        -------
        object
            The estimator itself. Interrupted with Ctrl-C, it is fitted with the weights so far.

        Raises
        ------
        ValueError
            If X or y cannot be used; the message says what was wanted and what came.
        """
        self._validate_params()
        continues = bool(self.warm_start and getattr(self, "nets_", None))
        if not continues:
            self.nets_ = []  # not fitted until the end, so that a fit that breaks off leaves none
        panel = self._check_X(X, reset=not continues)
        y = self._check_y(y, panel)
        weight = self._check_weight(sample_weight, y, panel)
        groups = check_groups(groups, panel)
        random_state = check_random_state(self.random_state)
        n_estimators = self.n_estimators
        if n_estimators == "auto":
            n_estimators = self._N_ESTIMATORS
        seeds = random_state.randint(np.iinfo(np.int32).max, size=n_estimators + 1)
        if continues:
            _check_continues(self._task, y)
        else:
            self._task = self._make_task(y)
            front = self._make_front(panel.schema)
            self.front_ = None if front is None else clone(front).fit(panel, y)
        if self.front_ is not None:
            panel = self.front_.transform(panel)
        self._held_out_subjects = groups is not None
        training, validation = self._split(y, groups, int(seeds[-1]))
        target = self._task.encode(y)
        dataset = PanelDataset(panel, target, weight)
        held_out = None
        if len(validation):
            held_out = self._as_in_training(panel.available[validation], int(seeds[-1]))
            validation = np.tile(validation, len(held_out) // len(validation))
        nets = self.nets_
        if not continues:
            self.n_training_ = len(training)
            self._features_seed = int(seeds[-1])
            self.features_ = self._make_features(panel.schema)
            nets = [
                self._make_net(panel.schema, i, int(seed), len(training), held_out is not None)
                for i, seed in enumerate(seeds[:-1])
            ]
        if self.features_ is not None:  # of all samples once, for all networks
            features = self.features_
            given = (
                features.transform(panel) if continues else features.fit_transform(panel, training)
            )
            dataset = dataset.with_features(given)
        checked = None if held_out is None else dataset.take(validation, held_out)
        trained: list[PanelNet] = []
        logits, missing = [], np.zeros(0)  # of the held-out samples
        for net in nets:
            net.train(dataset.take(training), checked)
            if checked is not None:
                logits.append(net.collect(checked))
                missing = checked.missing
            trained.append(net)
            if net.interrupted:
                break
        self._calibrate(logits, target[validation], missing)
        self.nets_ = trained
        self.history_ = [net.losses() for net in self.nets_]
        self.n_iter_ = max(len(losses) for losses in self.history_)
        if not self.warm_start:
            for net in self.nets_:
                net.trim_for_prediction()
        return self

    def __sklearn_is_fitted__(self) -> bool:
        return bool(getattr(self, "nets_", None))

    def _plan(self, n_training: int) -> tuple[int, int]:
        """Samples a step and epochs: as given, or by the number of training samples."""
        batch_size = self.batch_size
        if batch_size == "auto":
            batch_size = SMALL_BATCH if n_training < MANY_SAMPLES else LARGE_BATCH
        if self.max_epochs != "auto":
            return batch_size, self.max_epochs
        n_batches = math.ceil(n_training / batch_size)
        return batch_size, max(self._MIN_EPOCHS, math.ceil(self._MIN_STEPS / n_batches))

    def _make_net(
        self, schema: Schema, member: int, seed: int, n_training: int, has_validation: bool
    ) -> PanelNet:
        with seeded(seed):
            module = self._make_module(schema, self._task.n_outputs, member)
        batch_size, max_epochs = self._plan(n_training)
        n_steps = max_epochs * math.ceil(n_training / batch_size)
        curriculum = ModalityCurriculum(n_warmup_epochs=0, n_epochs=math.ceil(max_epochs / 4))
        callbacks: list[Any] = [CosineSchedule(n_steps), curriculum, StopOnNaN()]
        # The loss of held-out samples rises as soon as a network is too sure, long before its
        # answers are at their best; a temperature repairs the former.
        is_repaired = isinstance(self._task, Multiclass) and self.calibration is not None
        if has_validation and not (self._KEEPS_LAST and is_repaired and self.patience is None):
            callbacks.append(BestWeights(self.patience))
        callbacks.append(WeightAverage())
        if self.verbose:
            callbacks.append(EpochProgress(max_epochs))
        own = {
            "task": self._task,
            "precision": self.precision,
            "seed": seed,
            "optimizer": OPTIMIZERS.get(self.optimizer, self.optimizer),
            "optimizer__weight_decay": self.weight_decay,
            "lr": self.lr,
            "batch_size": batch_size,
            "max_epochs": max_epochs,
            "device": pick_device(self.device),
            "callbacks": [*callbacks, *(self.callbacks or [])],
        }
        # All parameters in one call: a fifth of the time for networks of many small ones.
        fused = {"optimizer__fused": True} if self.optimizer in OPTIMIZERS else {}
        others = {"gradient_clip": 1.0, "verbose": 0, **fused, **(self.net_params or {})}
        if clash := sorted(own.keys() & others):
            raise ValueError(
                f"net_params names {clash}, which {type(self).__name__} sets itself. Give them as "
                "parameters of its own, where it has them."
            )
        net = PanelNet(module, callbacks__print_log=None, **own, **others)
        return net.initialize()

    def _split(
        self, y: np.ndarray, groups: np.ndarray | None, seed: int
    ) -> tuple[np.ndarray, np.ndarray]:
        """Rows to train on and rows to look at after each epoch (none, where there are too few)."""
        every, none = np.arange(len(y)), np.arange(0)
        fraction = self.validation_fraction
        if fraction == "auto":
            demanded = getattr(self, "calibration", None) == "temperature"
            enough = demanded or len(y) >= ENOUGH_TO_VALIDATE
            fraction = VALIDATION_FRACTION if enough else 0.0
        n_validation = round(fraction * len(y))
        strata = _strata(y, is_classifier(self))
        counts = np.bincount(strata)
        if n_validation < max(MIN_VALIDATION, len(counts)) or counts.min() < 2:
            return every, none
        if groups is not None:
            n_splits = min(round(1 / fraction), len(np.unique(groups)))
            if n_splits < 2:
                raise ValueError(
                    "The inner validation split keeps groups whole, but groups names only one. "
                    "Pass no groups, or set validation_fraction=0."
                )
            splitter = StratifiedGroupKFold(n_splits, shuffle=True, random_state=seed)
            training, validation = next(splitter.split(every, strata, groups))
            return np.sort(training), np.sort(validation)
        # Neighbours are alike, of one recording or even of the same seconds: of each class a few
        # runs of neighbours are held out, at the same places of all classes.
        n_runs = int(np.clip(fraction * counts.min() / _RUN_LENGTH, 1, _N_RUNS))
        strata = strata * n_runs + _rank_in_class(strata) * n_runs // counts[strata]
        counts = np.bincount(strata)
        lengths = np.minimum(np.round(fraction * counts), counts - 1)
        places = np.tile(np.random.default_rng(seed).random(n_runs), len(counts) // n_runs)
        starts = np.round(places * (counts - lengths))
        place = _rank_in_class(strata) - starts[strata]
        held_out = (place >= 0) & (place < lengths[strata])
        return every[~held_out], every[held_out]

    def _as_in_training(self, available: np.ndarray, seed: int) -> np.ndarray:
        """What to silence in held-out samples: first nothing, then what training would hide.

        The best epoch and the temperature are chosen on both, so that they hold when sensors fail.
        """
        rate = getattr(self, "modality_dropout", 0.0)
        nothing = np.zeros_like(available)
        if not rate or available.shape[1] < 2:
            return nothing
        draw = np.random.default_rng(seed).random(available.shape)
        silenced = draw < rate
        last = np.where(available, draw, -1.0).argmax(1)
        silenced[np.arange(len(available)), last] = False
        return np.concatenate([nothing, silenced])

    def _calibrate(self, logits: list[np.ndarray], target: np.ndarray, missing: np.ndarray) -> None:
        """Learn the temperature from the outputs of each network for held-out samples, if any.

        ``missing (n,)`` is the share of modalities that they lack. Only classifiers have one.
        """

    # Checks

    def _check_X(self, X: Any, *, reset: bool) -> Panel:
        return check_X(self, X, reset=reset)

    def _check_y(self, y: Any, panel: Panel) -> np.ndarray:
        return check_y(self, y, panel)

    def _check_weight(self, sample_weight: Any, y: np.ndarray, panel: Panel) -> np.ndarray | None:
        """Weights of mean 1, those of the classes included; None for all alike."""
        if self.class_weight is not None and not is_classifier(self):
            raise ValueError("class_weight is for classifiers; set class_weight=None.")
        if sample_weight is None and self.class_weight is None:
            return None
        weight = check_weight(sample_weight, panel)
        if self.class_weight is not None:
            weight = weight * compute_sample_weight(self.class_weight, y)
        return weight / weight.mean()

    # Predicting

    def _panels(self, X: Any) -> list[Panel]:
        """X as the networks read it, once for each completion that an answer is averaged over."""
        check_is_fitted(self)
        panel = self._check_X(X, reset=False)
        return [panel if self.front_ is None else self.front_.transform(panel)]

    def _parts(self, panel: Panel) -> Iterator[PanelDataset]:
        """The samples in order, with their features: some at a time, so that memory is bounded."""
        if self.features_ is None:
            yield PanelDataset(panel)
            return
        for start in range(0, len(panel), _ROWS_AT_ONCE):
            part = panel[start : start + _ROWS_AT_ONCE]
            yield PanelDataset(part).with_features(self.features_.transform(part))

    def _logits(self, X: Any) -> tuple[list[np.ndarray], np.ndarray]:
        """Outputs ``(n, n_outputs)``, completion after completion, of each network.

        And the share ``(n,)`` of the modalities that are silent.
        """
        panels, net = self._panels(X), self.nets_[0]
        logits = [x for panel in panels for x in net.collect_each(self.nets_, self._parts(panel))]
        return logits, _missing(panels[0])

    def _passes(self, X: Any, n_samples: int) -> np.ndarray:
        """Answers of every completion and network, or draw by dropout: ``(I, S, n, K)``."""
        if n_samples < 2:
            raise ValueError(f"n_samples={n_samples}; at least 2 are needed for a spread.")
        answers = []
        for panel in self._panels(X):
            net, parts = self.nets_[0], self._parts(panel)
            if len(self.nets_) > 1:
                logits = np.stack(net.collect_each(self.nets_, parts))
            else:
                logits = net.collect_dropout(parts, n_samples, seed=0)
            answers.append(np.stack([self._task.link(one, _missing(panel)) for one in logits]))
        return np.stack(answers)

    def _answers(self, X: Any) -> np.ndarray:
        """Probabilities, or numbers in the unit of y, averaged over the networks."""
        logits, missing = self._logits(X)
        return self._task.link(self._task.combine(logits), missing)

    def explain(self, X: Any) -> dict[str, np.ndarray]:
        """What the network saw in each sample.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        dict of str to array of shape (n, ...)
            The record of the network, of the first one where there are several.

        Raises
        ------
        ValueError
            If X has another schema than in ``fit``.
        """
        return self.nets_[0].collect_record(self._parts(self._panels(X)[0]))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = True
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        tags.target_tags.multi_output = True
        return tags


def _check_continues(task: Task | None, y: np.ndarray) -> None:
    """Raise unless y can be coded by the task of the first fit."""
    if isinstance(task, Multiclass):
        unknown = np.setdiff1d(y, task.classes)
        if y.ndim > 1 or unknown.size:
            raise ValueError(
                f"warm_start goes on with the classes {task.classes.tolist()} of the first fit, "
                f"but y holds {unknown.tolist()}. Set warm_start=False to begin again."
            )
    elif task is not None and y.reshape(len(y), -1).shape[1] != task.n_outputs:
        raise ValueError(
            f"warm_start goes on with the {task.n_outputs} targets of the first fit, but y has the "
            f"shape {y.shape}. Set warm_start=False to begin again."
        )


def _strata(y: np.ndarray, classes: bool) -> np.ndarray:
    """Class numbers to stratify by: of equal labels, or of fifths of the first target."""
    if not classes:
        first = y.reshape(len(y), -1)[:, 0].astype(float)
        y = np.searchsorted(np.unique(np.quantile(first, [0.2, 0.4, 0.6, 0.8])), first)
    return np.unique(y, axis=0, return_inverse=True)[1].reshape(-1)


def _rank_in_class(classes: np.ndarray) -> np.ndarray:
    """How many samples of its class stand before each sample."""
    order, counts = np.argsort(classes, kind="stable"), np.bincount(classes)
    rank = np.empty(len(classes), dtype=int)
    rank[order] = np.arange(len(classes)) - np.repeat(counts.cumsum() - counts, counts)
    return rank


def _missing(panel: Panel) -> np.ndarray:
    """Share ``(n,)`` of the modalities of each sample of which nothing is observed."""
    return (~panel.available).mean(1)
