"""What is asked of a network: how y is coded, what is minimised, how outputs become answers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch.nn.functional as F
from scipy.special import expit, log_softmax, logsumexp, softmax
from torch import Tensor

__all__ = ["Multiclass", "Multilabel", "Regression", "Task"]


class Task(Protocol):
    """Codes y, gives the loss, and turns outputs into answers.

    Attributes
    ----------
    n_outputs : int
        Outputs that the network needs.
    """

    n_outputs: int

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Targets as the loss wants them, first axis the samples."""

    def loss(self, prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Mean loss of a batch; ``weight (B,)`` has mean 1 over the training set."""

    def combine(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """Outputs ``(n, n_outputs)`` of several networks as those of one."""

    def link(self, prediction: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
        """Outputs ``(n, n_outputs)`` as probabilities, or in the unit of y.

        ``missing (n,)`` is the share of silent modalities.
        """

    def decode(self, p: np.ndarray) -> np.ndarray:
        """What ``link`` gave as answers in the words of y."""


class Multiclass:
    """One class of several a sample; softmax cross-entropy.

    Parameters
    ----------
    classes : array of shape (K,)
        The labels, sorted, at least two.
    label_smoothing : float, default=0.0
        Share of the target spread over all classes, in [0, 1).

    Attributes
    ----------
    temperature : array of shape (2,)
        Divides the logits before the softmax: with every modality, and with none. Between them it
        is exponential in the share of silent modalities. Ones until calibrated.

    Examples
    --------
    >>> task = Multiclass(np.array(["run", "walk"]))
    >>> task.encode(np.array(["walk", "run"]))
    array([1, 0])
    >>> task.decode(np.array([[0.3, 0.7]]))
    array(['walk'], dtype='<U4')
    """

    def __init__(self, classes: np.ndarray, *, label_smoothing: float = 0.0) -> None:
        self.classes = classes
        self.n_outputs = len(classes)
        self.label_smoothing = label_smoothing
        self.temperature = np.ones(2)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Positions in ``classes``, int64 ``(n,)``."""
        return np.searchsorted(self.classes, y).astype(np.int64)

    def loss(self, prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Weighted cross-entropy of the logits."""
        each = F.cross_entropy(
            prediction.float(), y, reduction="none", label_smoothing=self.label_smoothing
        )
        return (each * weight).mean()

    def combine(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """The logarithm of the mean probability: a temperature then changes no answer."""
        logs = [log_softmax(one.astype(np.float64), axis=1) for one in predictions]
        return logs[0] if len(logs) == 1 else logsumexp(logs, axis=0) - np.log(len(logs))

    def link(self, prediction: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
        """Probabilities ``(n, K)``."""
        ends = _ends(np.broadcast_to(missing, len(prediction)))
        temperature = np.exp(ends @ np.log(self.temperature))
        return softmax(prediction.astype(np.float64) / temperature[:, None], axis=1)

    def decode(self, p: np.ndarray) -> np.ndarray:
        """The label of the largest probability."""
        return self.classes[p.argmax(axis=1)]

    def calibrate(
        self,
        prediction: np.ndarray,
        y: np.ndarray,
        missing: np.ndarray | float = 0.0,
        *,
        sharpening_cost: float = 0.0,
    ) -> None:
        """Set ``temperature`` to the one that minimises the log loss of held-out samples.

        Temperature scaling, Sec. 4.2 of [1]_: a sample has one temperature for all classes, so its
        answer stays the same.

        Parameters
        ----------
        prediction : array of shape (n, K)
            Logits.
        y : array of shape (n,)
            Encoded targets.
        missing : array of shape (n,) or float, default=0.0
            Share of the modalities that are silent in each sample.
        sharpening_cost : float, default=0.0
            Nats a sample, times the squared logarithm, that a temperature below 1 has to be worth.

        References
        ----------
        .. [1] Guo et al., "On Calibration of Modern Neural Networks", ICML, 2017.
           https://arxiv.org/abs/1706.04599
        """
        # NOTE[DIFF] from Guo et al.: two numbers, since networks that are too modest with every
        # modality are too sure with few of them (docs/decisions/0004).
        from scipy.optimize import minimize

        logits, rows = prediction.astype(np.float64), np.arange(len(y))
        ends = _ends(np.broadcast_to(missing, len(y)))

        def loss(log_ends: np.ndarray) -> tuple[float, np.ndarray]:
            scaled = logits * np.exp(-ends @ log_ends)[:, None]
            log_p = log_softmax(scaled, axis=1)
            above = scaled[rows, y] - (np.exp(log_p) * scaled).sum(1)
            # The two ends are alike unless samples tell them apart: log(T1 / T0) ~ N(0, 1).
            apart = (log_ends[1] - log_ends[0]) / len(y)
            gradient = (above @ ends) / len(y) + apart * np.array([-1.0, 1.0])
            below = np.minimum(log_ends, 0.0)
            cost = apart**2 * len(y) / 2 + sharpening_cost * (below**2).sum()
            return cost - log_p[rows, y].mean(), gradient + 2 * sharpening_cost * below

        bounds = [(np.log(0.05), np.log(20.0))] * 2
        found = minimize(loss, np.zeros(2), jac=True, bounds=bounds, method="L-BFGS-B")
        self.temperature = np.exp(found.x)


def _ends(missing: np.ndarray) -> np.ndarray:
    """How near ``(n, 2)`` a sample is to having every modality, and to having none."""
    return np.stack([1 - missing, missing], axis=1)


class Multilabel:
    """Any number of labels a sample; sigmoid cross-entropy of each.

    Parameters
    ----------
    n_outputs : int
        Number of labels.

    Examples
    --------
    >>> Multilabel(2).decode(np.array([[0.3, 0.7]]))
    array([[0, 1]])
    """

    def __init__(self, n_outputs: int) -> None:
        self.n_outputs = n_outputs

    def encode(self, y: np.ndarray) -> np.ndarray:
        """float32 ``(n, n_outputs)``."""
        return np.asarray(y, dtype=np.float32)

    def loss(self, prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Weighted binary cross-entropy, mean over the labels."""
        each = F.binary_cross_entropy_with_logits(prediction.float(), y, reduction="none")
        return (each.mean(1) * weight).mean()

    def combine(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """The mean logit of each label."""
        return np.mean(predictions, axis=0)

    def link(self, prediction: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
        """Probabilities ``(n, n_outputs)``, each label for itself."""
        return expit(prediction.astype(np.float64))

    def decode(self, p: np.ndarray) -> np.ndarray:
        """1 where the probability is above one half."""
        return (p > 0.5).astype(int)


class Regression:
    """Numbers; squared error of the standardised targets.

    Parameters
    ----------
    y : array of shape (n,) or (n, n_outputs)
        Training targets, for their mean and spread.

    Examples
    --------
    >>> task = Regression(np.array([1.0, 3.0]))
    >>> task.link(task.encode(np.array([2.0])))
    array([[2.]])
    """

    def __init__(self, y: np.ndarray) -> None:
        self.is_flat = y.ndim == 1
        y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        self.n_outputs = y.shape[1]
        self.mean = y.mean(0)
        spread = y.std(0)
        self.scale = np.where(spread > 0, spread, 1.0)

    def encode(self, y: np.ndarray) -> np.ndarray:
        """Standardised targets, float32 ``(n, n_outputs)``."""
        y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        return ((y - self.mean) / self.scale).astype(np.float32)

    def loss(self, prediction: Tensor, y: Tensor, weight: Tensor) -> Tensor:
        """Weighted mean squared error."""
        return ((prediction.float() - y).square().mean(1) * weight).mean()

    def combine(self, predictions: Sequence[np.ndarray]) -> np.ndarray:
        """The mean."""
        return np.mean(predictions, axis=0)

    def link(self, prediction: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
        """Predictions in the unit of y, ``(n, n_outputs)``."""
        return prediction.astype(np.float64) * self.scale + self.mean

    def decode(self, p: np.ndarray) -> np.ndarray:
        """``(n,)`` where y was flat."""
        return p[:, 0] if self.is_flat else p
