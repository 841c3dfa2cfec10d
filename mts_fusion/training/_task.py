"""Tasks: how y is encoded, which loss is minimised, how outputs become predictions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar, Protocol

import numpy as np
import torch.nn.functional as F
from scipy.special import entr, expit, log_softmax, logit, logsumexp, softmax
from torch import Tensor

from ._targets import check_labels, check_n_targets, mean_and_scale, numbered, where_nothing

__all__ = ["ClassificationTask", "Multiclass", "Multilabel", "Regression", "Task"]

# Lowest and highest temperature that calibration searches.
_TEMPERATURES = (0.05, 20.0)


class Task(Protocol):
    """Encode y, compute the loss, and turn the outputs of a network into predictions.

    Attributes
    ----------
    n_outputs : int
        Outputs that the network needs.
    has_softmax : bool
        Whether the outputs are logits of classes that exclude each other. Only then do they have
        one temperature and one entropy.
    """

    n_outputs: int
    has_softmax: ClassVar[bool]

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Targets as the loss expects them, first axis the samples."""

    def restore(self, target: np.ndarray) -> np.ndarray:
        """What was encoded, of the type of y."""

    def check_targets(self, y: np.ndarray) -> None:
        """Raise a ValueError unless y, of a later fit, can be encoded as that of the first."""

    def strata(self, y: np.ndarray) -> np.ndarray:
        """The stratum ``(n,)`` of each sample in a stratified split: 0, 1 and so on."""

    def needed(self, y: np.ndarray) -> np.ndarray:
        """What each sample has that must not be missing in training, bool ``(n, R)``."""

    def loss(self, prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Mean loss of a batch; ``weight (B,)`` has mean 1 over the training set."""

    def combine(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Outputs ``(n, n_outputs)`` of several networks as those of one."""

    def link(self, prediction: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
        """Outputs ``(n, n_outputs)`` as probabilities, or in the unit of y.

        ``missing (n,)`` is the fraction of the modalities that are missing. Where it is 1 the
        answer is what is known without any of them: the mean of the encoded targets.
        """

    def decode(self, p: np.ndarray) -> np.ndarray:
        """Predictions of the type of y, from what ``link`` returned."""


class ClassificationTask(Task, Protocol):
    """A task whose predictions are probabilities."""

    def decision_scores(self, p: np.ndarray) -> np.ndarray:
        """What ``decision_function`` returns for the probabilities ``p``."""

    def entropy(self, p: np.ndarray) -> np.ndarray:
        """Entropy of the probabilities ``(..., n, n_outputs)`` in nats, ``(..., n)``."""


class Multiclass:
    """One of several classes for each sample; softmax cross-entropy.

    Parameters
    ----------
    classes : array of shape (K,)
        The labels, sorted, at least two.
    label_smoothing : float, default=0.0
        Fraction of the target that is spread evenly over all classes, in [0, 1).
    frequencies : array of shape (K,), default=None
        Shares of the classes in training, the answer where all modalities are missing; None for
        that of the network.

    Attributes
    ----------
    temperature : array of shape (2,)
        Divides the logits before the softmax: with all modalities, and with none. In between it is
        interpolated on a log scale, by the fraction of missing modalities. Ones until calibrated.

    Examples
    --------
    >>> task = Multiclass(np.array(["run", "walk"]))
    >>> task.encode(np.array(["walk", "run"]))
    array([1, 0])
    >>> task.decode(np.array([[0.3, 0.7]]))
    array(['walk'], dtype='<U4')
    """

    has_softmax: ClassVar[bool] = True

    def __init__(
        self,
        classes: np.ndarray,
        *,
        label_smoothing: float = 0.0,
        frequencies: np.ndarray | None = None,
    ) -> None:
        self.classes = classes
        self.n_outputs = len(classes)
        self.label_smoothing = label_smoothing
        self.frequencies = frequencies
        self.temperature = np.ones(2)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Indices into ``classes``, int64 ``(n,)``."""
        return np.searchsorted(self.classes, y).astype(np.int64)

    def restore(self, target: np.ndarray) -> np.ndarray:
        """The labels ``(n,)``."""
        return self.classes[target]

    def check_targets(self, y: np.ndarray) -> None:
        """Raise if y has classes that were not in the first fit."""
        unknown = np.setdiff1d(y, self.classes)
        if y.ndim > 1 or unknown.size:
            raise ValueError(
                f"warm_start continues with the classes {self.classes.tolist()} of the first fit, "
                f"but y has {unknown.tolist()}. Set warm_start=False to start anew."
            )

    def strata(self, y: np.ndarray) -> np.ndarray:
        """One stratum for each class in y."""
        return numbered(y)

    def needed(self, y: np.ndarray) -> np.ndarray:
        """The class of each sample, ``(n, K)``."""
        return y[:, None] == self.classes

    def loss(self, prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Weighted cross-entropy of the logits."""
        each = F.cross_entropy(
            prediction.float(), y, reduction="none", label_smoothing=self.label_smoothing
        )
        return (each * weight).mean()

    def combine(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """The logarithm of the mean probability; no temperature changes its largest class."""
        logs = [log_softmax(one.astype(np.float64), axis=1) for one in predictions]
        return logs[0] if len(logs) == 1 else logsumexp(logs, axis=0) - np.log(len(logs))

    def link(self, prediction: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
        """Probabilities ``(n, K)``."""
        ends = end_weights(np.broadcast_to(missing, len(prediction)))
        temperature = np.exp(ends @ np.log(self.temperature))
        p = softmax(prediction.astype(np.float64) / temperature[:, None], axis=1)
        return where_nothing(missing, self.frequencies, p)

    def decode(self, p: np.ndarray) -> np.ndarray:
        """The label of the largest probability."""
        return self.classes[p.argmax(axis=1)]

    def decision_scores(self, p: np.ndarray) -> np.ndarray:
        """Log probabilities; of two classes the log odds of the second, ``(n,)``."""
        scores = np.log(np.clip(p, 1e-300, 1.0))
        return scores[:, 1] - scores[:, 0] if p.shape[1] == 2 else scores

    def entropy(self, p: np.ndarray) -> np.ndarray:
        """Entropy of the distribution over the classes."""
        return entr(p).sum(-1)

    def calibrate(
        self,
        prediction: np.ndarray,
        y: np.ndarray,
        missing: np.ndarray | float = 0.0,
        *,
        weight: np.ndarray | None = None,
        sharpening_cost: float = 0.0,
    ) -> None:
        """Set ``temperature`` to minimise the log loss of held-out samples.

        Temperature scaling, Sec. 4.2 of [1]_: all classes of a sample have one temperature, so the
        predicted class stays the same.

        Parameters
        ----------
        prediction : array of shape (n, K)
            Logits.
        y : array of shape (n,)
            Encoded targets.
        missing : array of shape (n,) or float, default=0.0
            Fraction of the modalities that are missing in each sample.
        weight : array of shape (n,), default=None
            Weights of the samples; None for equal weights.
        sharpening_cost : float, default=0.0
            Penalty of a temperature below 1, in nats a sample, times its squared logarithm.

        References
        ----------
        .. [1] Guo et al., "On Calibration of Modern Neural Networks", ICML, 2017.
           https://arxiv.org/abs/1706.04599
        """
        # NOTE[DIFF] from Guo et al.: two temperatures, since networks that are underconfident with
        # all modalities are overconfident with few of them (docs/decisions/0004).
        from scipy.optimize import minimize

        logits, rows = prediction.astype(np.float64), np.arange(len(y))
        ends = end_weights(np.broadcast_to(missing, len(y)))
        factor = 1.0 if weight is None else weight
        total = len(y) if weight is None else weight.sum()

        def loss(log_ends: np.ndarray) -> tuple[float, np.ndarray]:
            scaled = logits * np.exp(-ends @ log_ends)[:, None]
            log_p = log_softmax(scaled, axis=1)
            excess = scaled[rows, y] - (np.exp(log_p) * scaled).sum(1)
            # Prior of the two temperatures: log(T1 / T0) ~ N(0, 1).
            difference = (log_ends[1] - log_ends[0]) / total
            gradient = ((factor * excess) @ ends) / total + difference * np.array([-1.0, 1.0])
            sharpening = np.minimum(log_ends, 0.0)
            cost = difference**2 * total / 2 + sharpening_cost * (sharpening**2).sum()
            mean = np.average(log_p[rows, y], weights=weight)
            return cost - mean, gradient + 2 * sharpening_cost * sharpening

        bounds = [np.log(_TEMPERATURES)] * 2
        result = minimize(loss, np.zeros(2), jac=True, bounds=bounds, method="L-BFGS-B")
        self.temperature = np.exp(result.x)

    @property
    def is_at_bound(self) -> bool:
        """Whether a temperature is the lowest or the highest that is searched."""
        low, high = _TEMPERATURES
        return bool(
            (self.temperature <= low * 1.001).any() or (self.temperature >= high / 1.001).any()
        )


def end_weights(missing: np.ndarray) -> np.ndarray:
    """Weights of what was learnt for all modalities and for none, to interpolate between them.

    Parameters
    ----------
    missing : array of shape (n,)
        Fraction of the modalities that are missing in each sample.

    Returns
    -------
    array of shape (n, 2)
        ``1 - missing`` and ``missing``.
    """
    return np.stack([1 - missing, missing], axis=1)


class Multilabel:
    """Any number of labels for each sample; sigmoid cross-entropy of each label.

    Parameters
    ----------
    n_outputs : int
        Number of labels.
    frequencies : array of shape (n_outputs,), default=None
        As for :class:`Multiclass`.

    Examples
    --------
    >>> Multilabel(2).decode(np.array([[0.3, 0.7]]))
    array([[0, 1]])
    """

    has_softmax: ClassVar[bool] = False

    def __init__(self, n_outputs: int, *, frequencies: np.ndarray | None = None) -> None:
        self.n_outputs = n_outputs
        self.frequencies = frequencies

    def encode(self, y: np.ndarray) -> np.ndarray:
        """float32 ``(n, n_outputs)``."""
        check_labels(y)
        return np.asarray(y, dtype=np.float32)

    def restore(self, target: np.ndarray) -> np.ndarray:
        """0 and 1, int ``(n, n_outputs)``."""
        return target.astype(int)

    def check_targets(self, y: np.ndarray) -> None:
        """Raise if y has another number of labels than the first fit."""
        check_n_targets(y, self.n_outputs)

    def strata(self, y: np.ndarray) -> np.ndarray:
        """One stratum for each combination of labels."""
        return numbered(y)

    def needed(self, y: np.ndarray) -> np.ndarray:
        """Which labels each sample has, and which not, ``(n, 2 * n_outputs)``."""
        return np.concatenate([y > 0, y == 0], axis=1)

    def loss(self, prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Weighted binary cross-entropy, mean over the labels."""
        each = F.binary_cross_entropy_with_logits(prediction.float(), y, reduction="none")
        return (each.mean(1) * weight).mean()

    def combine(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """The mean logit of each label."""
        return np.mean(predictions, axis=0)

    def link(self, prediction: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
        """Probabilities ``(n, n_outputs)`` of the labels."""
        return where_nothing(missing, self.frequencies, expit(prediction.astype(np.float64)))

    def decode(self, p: np.ndarray) -> np.ndarray:
        """1 where the probability is above 0.5, else 0."""
        return (p > 0.5).astype(int)

    def decision_scores(self, p: np.ndarray) -> np.ndarray:
        """Log odds of each label."""
        return logit(np.clip(p, 1e-15, 1 - 1e-15))

    def entropy(self, p: np.ndarray) -> np.ndarray:
        """Mean over the labels of the entropy of each."""
        return entr(np.stack([p, 1 - p], axis=-1)).sum(-1).mean(-1)


class Regression:
    """One or several numbers for each sample; squared error of the standardised targets.

    Parameters
    ----------
    y : array of shape (n,) or (n, n_outputs)
        Training targets, for their mean and standard deviation.
    weight : array of shape (n,), default=None
        Weights of the samples; None for equal weights.

    Examples
    --------
    >>> task = Regression(np.array([1.0, 3.0]))
    >>> task.link(task.encode(np.array([2.0])))
    array([[2.]])
    """

    has_softmax: ClassVar[bool] = False

    def __init__(self, y: np.ndarray, weight: np.ndarray | None = None) -> None:
        self.is_flat = y.ndim == 1
        y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        self.n_outputs = y.shape[1]
        self.mean, self.scale = mean_and_scale(y, weight)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Standardised targets, float32 ``(n, n_outputs)``."""
        y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        return ((y - self.mean) / self.scale).astype(np.float32)

    def restore(self, target: np.ndarray) -> np.ndarray:
        """In the unit of y, ``(n,)`` if y was, else ``(n, n_outputs)``."""
        return self.decode(self.link(target))

    def check_targets(self, y: np.ndarray) -> None:
        """Raise if y has another number of targets than the first fit."""
        check_n_targets(y, self.n_outputs)

    def strata(self, y: np.ndarray) -> np.ndarray:
        """Five strata of about equal size: the quintiles of the first target."""
        first = y.reshape(len(y), -1)[:, 0].astype(float)
        limits = np.unique(np.quantile(first, [0.2, 0.4, 0.6, 0.8]))
        return numbered(np.searchsorted(limits, first))

    def needed(self, y: np.ndarray) -> np.ndarray:
        """Nothing: numbers are interpolated."""
        return np.zeros((len(y), 0), dtype=bool)

    def loss(self, prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Weighted mean squared error."""
        return ((prediction.float() - y).square().mean(1) * weight).mean()

    def combine(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """The mean."""
        return np.mean(predictions, axis=0)

    def link(self, prediction: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
        """Predictions in the unit of y, ``(n, n_outputs)``."""
        given = prediction.astype(np.float64) * self.scale + self.mean
        return where_nothing(missing, self.mean, given)

    def decode(self, p: np.ndarray) -> np.ndarray:
        """``(n,)`` if y was, else ``(n, n_outputs)``."""
        return p[:, 0] if self.is_flat else p
