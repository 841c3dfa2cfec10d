"""Links between y and the scores of ridge regressions, fitted to their held-out scores.

Sizes: n samples, K heads, C targets.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import numpy as np
from scipy.linalg import solve_triangular
from scipy.optimize import minimize, nnls
from scipy.special import expit, log_expit, log_softmax, softmax

# Maps scaled scores (n, C) to the loss of each sample (n,) and its gradient (n, C).
Loss = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]

# A matrix (C, C) and an offset (C,): scores s become s @ matrix + offset.
Coupling = tuple[np.ndarray, np.ndarray]

__all__ = ["Coupling", "IdentityLink", "ScoreLink", "SigmoidLink", "SoftmaxLink"]

# Penalty on the squared deviations of the log weights of the heads from their mean, in nats a
# sample: weights differ only as far as the held-out samples support it.
_SPREAD_COST = 0.01

# Penalty on the coupling of classes: half of this times the squares of its entries, beside the log
# loss summed over all samples. Scores are level from 30 to 120 (decision 23).
_COUPLING_COST = 50.0

# The offset of a class is the coefficient of this constant and shares that penalty: half of 2 times
# the square of the offset, as if it had a normal prior of standard deviation .7.
_CONSTANT = 5.0

# Options of scipy's L-BFGS-B; gtol bounds the gradient of the mean loss.
_COUPLING_OPTIONS = {"maxiter": 500, "gtol": 1e-6, "ftol": 1e-13}

# Bounds of the logarithm of the factors of the scores.
_LOG_BOUNDS = (-5.0, 6.0)


class ScoreLink(Protocol):
    """Targets of the regressions, weights of the heads, and predictions from their scores.

    Attributes
    ----------
    is_numeric : bool
        Whether the targets are numbers; otherwise they are 1 for a class or label and -1.
    """

    is_numeric: bool

    def targets(self, y: np.ndarray) -> np.ndarray:
        """Targets that the regressions are fitted to, float64 ``(n, C)``."""

    def weights(
        self, scores: Sequence[np.ndarray], targets: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Factors ``(K,)`` of the heads, from the held-out scores ``(n, C)`` of each."""

    def coupling(self, scores: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> Coupling:
        """Matrix ``(C, C)`` that the weighted sum of the scores is multiplied by, and an offset."""

    def loss(self, scores: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> float:
        """Mean loss of scores to which factors and coupling are applied."""

    def predictions(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities, or numbers, ``(n, C)``."""


class SoftmaxLink:
    """One class of several; the weights of the heads are inverse temperatures.

    Parameters
    ----------
    n_classes : int
        C.

    Examples
    --------
    >>> SoftmaxLink(3).targets(np.array([2]))
    array([[-1., -1.,  1.]])
    """

    is_numeric = False

    def __init__(self, n_classes: int) -> None:
        self.n_classes = n_classes

    def targets(self, y: np.ndarray) -> np.ndarray:
        """1 for the class, -1 for the others."""
        return np.where(y[:, None] == np.arange(self.n_classes), 1.0, -1.0)

    def weights(
        self, scores: Sequence[np.ndarray], targets: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Factors of the lowest log loss."""
        truth = _smoothed(targets > 0, weight)

        def loss(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            log_p = log_softmax(scaled, axis=1)
            return -(truth * log_p).sum(1), np.exp(log_p) - truth

        return _minimise(loss, scores, weight)

    def coupling(self, scores: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> Coupling:
        """Matrix and offset of the lowest log loss.

        Each column of a ridge regression is fitted to its own class only, by squared error. With a
        matrix ``I + E`` and an offset ``b`` the scores ``s (I + E) + b`` are a multinomial logistic
        regression on the scores; the penalty keeps ``E`` and ``b`` near 0. Both are 0 for a class
        without a held-out sample.
        """
        truth = targets > 0
        observed = np.flatnonzero(truth.any(0))
        matrix, offset = _no_coupling(scores.shape[1])
        if len(observed) > 1:
            added, offset[observed] = _minimise_coupling(
                scores[:, observed], truth[:, observed], weight
            )
            matrix[np.ix_(observed, observed)] += added
        return matrix, offset

    def loss(self, scores: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> float:
        """Log loss, in nats."""
        each = -log_softmax(scores, axis=1)[targets > 0]
        return float(np.average(each, weights=weight))

    def predictions(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities; rows sum to 1."""
        return softmax(scores, axis=1)


class SigmoidLink:
    """Any number of labels for each sample, independently.

    Examples
    --------
    >>> SigmoidLink().targets(np.array([[1, 0]]))
    array([[ 1., -1.]])
    """

    is_numeric = False

    def targets(self, y: np.ndarray) -> np.ndarray:
        """1 for a label that is set, -1 otherwise."""
        return 2.0 * np.asarray(y, dtype=np.float64) - 1.0

    def weights(
        self, scores: Sequence[np.ndarray], targets: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Factors of the lowest cross-entropy, averaged over the labels."""

        share = _smoothed(np.stack([targets < 0, targets > 0], axis=-1), weight)[..., 1]

        def loss(scaled: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
            each = -share * log_expit(scaled) - (1 - share) * log_expit(-scaled)
            return each.mean(1), (expit(scaled) - share) / targets.shape[1]

        return _minimise(loss, scores, weight)

    def coupling(self, scores: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> Coupling:
        """A factor and an offset for each label, of the lowest cross-entropy.

        They are those of `SoftmaxLink` for the two classes "not set" and "set". A label keeps
        its own score only, and that score as it is where all held-out samples agree.
        """
        matrix, offset = _no_coupling(scores.shape[1])
        for label, target in enumerate(targets.T):
            truth = np.stack([target < 0, target > 0], axis=1)
            if truth.any(0).all():
                halves = np.outer(scores[:, label], [-0.5, 0.5])
                added, shift = _minimise_coupling(halves, truth, weight)
                matrix[label, label] += (np.trace(added) - added[0, 1] - added[1, 0]) / 2
                offset[label] = shift[1] - shift[0]
        return matrix, offset

    def loss(self, scores: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> float:
        """Cross-entropy, in nats a label."""
        return float(np.average(-log_expit(targets * scores).mean(1), weights=weight))

    def predictions(self, scores: np.ndarray) -> np.ndarray:
        """Probabilities of the labels."""
        return expit(scores)


class IdentityLink:
    """Numbers; the regressions are fitted to targets of mean 0 and standard deviation 1.

    Parameters
    ----------
    mean, scale : array of shape (C,)
        Mean and standard deviation of the targets in training.

    Examples
    --------
    >>> IdentityLink(np.array([2.0]), np.array([3.0])).predictions(np.array([[1.0]]))
    array([[5.]])
    """

    is_numeric = True

    def __init__(self, mean: np.ndarray, scale: np.ndarray) -> None:
        self.mean = mean
        self.scale = scale

    def targets(self, y: np.ndarray) -> np.ndarray:
        """Standardised numbers."""
        y = np.asarray(y, dtype=np.float64).reshape(len(y), -1)
        return (y - self.mean) / self.scale

    def weights(
        self, scores: Sequence[np.ndarray], targets: np.ndarray, weight: np.ndarray
    ) -> np.ndarray:
        """Factors of the lowest squared error, at least 0; one head has weight 1."""
        if len(scores) == 1:
            return np.ones(1)
        root = np.sqrt(np.repeat(weight, targets.shape[1]))
        columns = np.stack([score.ravel() for score in scores], axis=1)
        factors = nnls(columns * root[:, None], targets.ravel() * root)[0]
        return factors if factors.sum() > 0 else np.full(len(scores), 1 / len(scores))

    def coupling(self, scores: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> Coupling:
        """The identity and no offset: each column has its own score only."""
        return _no_coupling(scores.shape[1])

    def loss(self, scores: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> float:
        """Mean squared error, in units of the variance of y."""
        return _squared_error(scores, targets, weight)

    def predictions(self, scores: np.ndarray) -> np.ndarray:
        """In the unit of y."""
        return scores * self.scale + self.mean


def _smoothed(truth: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Shares of the classes, along the last axis, as if half a sample more had a class at random.

    With n samples each truth is ``1 - 1 / (2 n + 1)`` sure. Otherwise the best factor is infinite
    where all held-out samples are right. After Platt, "Probabilistic outputs for support vector
    machines", 1999, section 2.2.
    """
    doubt = 1 / (2 * weight.sum() + 1)
    return (1 - doubt) * truth + doubt / truth.shape[-1]


def _squared_error(scores: np.ndarray, targets: np.ndarray, weight: np.ndarray) -> float:
    return float(np.average(((scores - targets) ** 2).mean(1), weights=weight))


def _minimise(loss: Loss, scores: Sequence[np.ndarray], weight: np.ndarray) -> np.ndarray:
    """Factors of several scores that minimise a loss of their sum.

    First the best factor of each head alone, then all together, starting from equal weights.
    """
    fraction = weight / weight.sum()
    alone = [_factors(loss, [score], fraction, 0.0)[0] for score in scores]
    if len(scores) == 1:
        return np.array(alone)
    scaled = [factor * score for factor, score in zip(alone, scores, strict=True)]
    return np.array(alone) * _factors(loss, scaled, fraction, _SPREAD_COST)


def _factors(
    loss: Loss, scores: Sequence[np.ndarray], fraction: np.ndarray, cost: float
) -> np.ndarray:
    stacked = np.stack(scores)  # (K, n, C)

    def objective(logs: np.ndarray) -> tuple[float, np.ndarray]:
        factors = np.exp(logs)
        each, slope = loss(np.tensordot(factors, stacked, 1))
        gradient = np.einsum("knc,nc,n->k", stacked, slope, fraction) * factors
        spread = logs - logs.mean()
        return fraction @ each + cost * (spread**2).sum(), gradient + 2 * cost * spread

    start = np.full(len(scores), -np.log(len(scores)))
    result = minimize(
        objective, start, jac=True, method="L-BFGS-B", bounds=[_LOG_BOUNDS] * len(scores)
    )
    return np.asarray(np.exp(result.x))


def _no_coupling(n_targets: int) -> Coupling:
    return np.eye(n_targets), np.zeros(n_targets)


def _minimise_coupling(scores: np.ndarray, truth: np.ndarray, weight: np.ndarray) -> Coupling:
    """E and b of the lowest mean log loss of ``s + s E + b``, plus the penalty on their squares.

    Solved in the coordinates in which a bound of the curvature, ``S^T W S / 2 + p I`` (Boehning,
    "Multinomial logistic regression algorithm", 1992), is the identity: few steps are needed.
    """
    n_classes, smoothed = scores.shape[1], _smoothed(truth, weight)
    fraction, penalty = weight / weight.sum(), _COUPLING_COST / weight.sum()
    inputs = np.column_stack([scores, np.full(len(scores), _CONSTANT)])
    bound = (inputs * fraction[:, None]).T @ inputs / 2 + penalty * np.eye(n_classes + 1)
    root = np.linalg.cholesky(bound)
    design = solve_triangular(root, inputs.T, lower=True).T
    inverse = solve_triangular(root, np.eye(n_classes + 1), lower=True)
    shrink = penalty * inverse @ inverse.T

    def objective(flat: np.ndarray) -> tuple[float, np.ndarray]:
        matrix = flat.reshape(-1, n_classes)
        shifted = scores + design @ matrix
        shifted -= shifted.max(1, keepdims=True)
        slope = np.exp(shifted)
        total = slope.sum(1)
        loss = fraction @ (np.log(total) - (smoothed * shifted).sum(1))
        slope *= (fraction / total)[:, None]
        slope -= smoothed * fraction[:, None]
        shrunk = shrink @ matrix
        return loss + (matrix * shrunk).sum() / 2, (design.T @ slope + shrunk).ravel()

    start = np.zeros((n_classes + 1) * n_classes)
    result = minimize(objective, start, jac=True, method="L-BFGS-B", options=_COUPLING_OPTIONS)
    solution = inverse.T @ np.asarray(result.x).reshape(-1, n_classes)
    return solution[:-1], _CONSTANT * solution[-1]
