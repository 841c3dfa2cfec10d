"""How every method of a table is evaluated: same folds, same hidden sensors, same scores."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import entr
from sklearn.metrics import (
    accuracy_score,
    average_precision_score,
    f1_score,
    roc_auc_score,
)

from ..inspection import modality_importance, modality_subsets, noise_robustness
from ..metrics import (
    ReliabilityCurve,
    chance_calibration_error,
    expected_calibration_error,
    negative_log_likelihood,
    reliability_curve,
)
from ..panel import Panel
from ..transforms import mask_panel
from ._costs import count_macs, count_parameters, peak_memory
from ._folds import Data, Fold

__all__ = [
    "Method",
    "evaluate_classifier",
    "fit_method",
    "hide",
]

# Test masks and training masks are drawn from different seeds.
_TEST_MASK_SEED = 1_000
# Test samples at most for the scores of each set of modalities.
_N_BY_SENSORS = 1000
# Samples of which the multiply-accumulates are counted.
_N_COUNTED = 4
# Draws of the calibration error of right probabilities.
_N_DRAWS = 50


@dataclass(frozen=True)
class Method:
    """A row of a table.

    Parameters
    ----------
    make : callable
        ``make(seed=..., quick=...)`` gives an unfitted estimator that takes a Panel.
    copies : bool, default=False
        Whether it trains on two copies of the data: complete, and with each modality hidden with
        probability .3. For baselines that have no modality dropout of their own.
    is_baseline : bool, default=False
        Whether it is what a user would pick instead of ours.
    groups : bool, default=False
        Whether ``fit`` takes ``groups``, the subjects of the training samples.
    """

    make: Callable[..., Any]
    copies: bool = False
    is_baseline: bool = False
    groups: bool = False


def evaluate_classifier(
    method: Method,
    data: Data,
    fold: Fold,
    *,
    seed: int,
    fractions: Sequence[float],
    quick: bool = False,
    noises: Sequence[str] = (),
    by_sensors: bool = False,
) -> list[dict[str, Any]]:
    """Scores of one method on one fold, with more and more sensors missing, and what it costs.

    Parameters
    ----------
    method : Method
        What is fitted.
    data : Data
        All samples.
    fold : Fold
        Which of them are trained on and which are tested.
    seed : int
        Of the method and of the masks. The masks depend on it and on the sample alone, so all
        methods see the same.
    fractions : sequence of float
        Probabilities with which each modality of a test sample is hidden; each sample keeps one.
    quick : bool, default=False
        Handed to the method, for a shorter training.
    noises : sequence of str, default=()
        Of :func:`noise_robustness`: what the complete test windows are changed by in turn.
    by_sensors : bool, default=False
        Whether every set of modalities is scored, and each modality and its attention.

    Returns
    -------
    list of dict
        One per fraction: ``fraction``; ``macro_f1``, ``accuracy``, ``ece``, ``nll``; ``entropy`` of
        the probabilities, in nats; ``ece_chance``, the mean error if the probabilities were right,
        and ``reliability``, for each bin of ``ece`` samples, sum of the confidence and samples that
        were right; of ours also ``temperature``, the mean of the samples, and ``ece_plain``, the
        error without it; with several imputations ``doubt_of_imputation``, their mutual information
        in nats; with two classes ``auroc``, ``auprc`` and ``f1`` of the second; ``fit_seconds``;
        ``predict_ms``, milliseconds a sample; ``peak_mb``, memory above that of the data, and
        ``gpu_peak_mb``;
        ``parameters``; ``macs``, multiply-accumulates a sample. The last two are None where the
        method has no network. And one per noise: ``noise``, ``noisy_macro_f1``, and the same costs.
        By sensors, one per set of modalities: ``sensors``, ``sensors_accuracy``; one per modality:
        ``modality``, ``importance``; of a method with attention between modalities one per pair:
        ``modality``, ``source``, ``attention``.
    """
    test, y_test = data.panel[fold.test], data.y[fold.test]
    with peak_memory() as memory:
        estimator, fit_seconds = fit_method(method, data, fold, seed=seed, quick=quick)
        rows = []
        _predict(
            estimator, test[:2]
        )  # what is compiled or started once is not the time of a sample
        for fraction in fractions:
            hidden = hide(test, fraction, seed)
            start = time.perf_counter()
            output = _predict(estimator, hidden)
            seconds = time.perf_counter() - start
            rows.append(
                {
                    "fraction": float(fraction),
                    **_scores(y_test, output, estimator.classes_, _temperature(estimator, hidden)),
                    **_decided(y_test, estimator, hidden),
                    **_sets(y_test, estimator, hidden),
                    **_doubt(estimator, hidden),
                    "predict_ms": 1e3 * seconds / len(test),
                }
            )
        rows += _under_noise(estimator, test, y_test, noises, seed)
        if by_sensors:
            rows += _by_sensors(estimator, test, y_test)
    costs = {
        "fit_seconds": fit_seconds,
        "peak_mb": memory.peak_mb,
        "gpu_peak_mb": memory.gpu_peak_mb,
        "parameters": count_parameters(estimator),
        "macs": count_macs(estimator, test[:_N_COUNTED]),
        "n_train": len(fold.train) * (1 + method.copies),
        "n_test": len(test),
    }
    return [{**row, **costs} for row in rows]


def fit_method(
    method: Method, data: Data, fold: Fold, *, seed: int, quick: bool
) -> tuple[Any, float]:
    """A fitted estimator, and the seconds that the fit took.

    Parameters
    ----------
    method : Method
        What is fitted.
    data : Data
        All samples.
    fold : Fold
        Which of them are trained on.
    seed : int
        Of the method, and of what copies hide.
    quick : bool
        Handed to the method, for a shorter training.

    Returns
    -------
    estimator : object
        Fitted.
    seconds : float
        Of ``fit`` alone.
    """
    train, y_train = data.panel[fold.train], data.y[fold.train]
    estimator = method.make(seed=seed, quick=quick)
    if method.copies:
        train = train.concat(mask_panel(train, fraction=0.3, seed=seed))
        y_train = np.concatenate([y_train, y_train])
    last = f"{estimator.steps[-1][0]}__" if hasattr(estimator, "steps") else ""
    given = {f"{last}groups": data.groups[fold.train]} if method.groups else {}
    start = time.perf_counter()
    estimator.fit(train, y_train, **given)
    return estimator, time.perf_counter() - start


def hide(panel: Panel, fraction: float, seed: int) -> Panel:
    """A test panel with each modality hidden with a probability, the same for every method.

    Parameters
    ----------
    panel : Panel
        n samples.
    fraction : float
        Probability; each sample keeps one modality.
    seed : int
        Of the run.

    Returns
    -------
    Panel
        The panel itself at 0.
    """
    return mask_panel(panel, fraction=fraction, seed=_TEST_MASK_SEED + seed)


def _under_noise(
    estimator: Any, test: Panel, y: NDArray[Any], noises: Sequence[str], seed: int
) -> list[dict[str, Any]]:
    """Macro-F1 on test windows that are noisy or cut, one draw each."""
    if not noises:
        return []
    scores = noise_robustness(
        estimator,
        test,
        y,
        noises=noises,
        n_repeats=1,
        scoring="f1_macro",
        random_state=_TEST_MASK_SEED + seed,
        verbose=0,
    )
    pairs = zip(scores["noise"], scores["score"], strict=True)
    return [{"noise": name, "noisy_macro_f1": float(score)} for name, score in pairs]


class _Known:
    """A classifier that predicts a panel once for each set of modalities that is left of it."""

    def __init__(self, estimator: Any) -> None:
        self._estimator = estimator
        self._predictions: dict[bytes, NDArray[Any]] = {}

    def __getattr__(self, name: str) -> Any:
        return getattr(self._estimator, name)

    def predict(self, X: Panel) -> NDArray[Any]:
        """Classes; ``X`` differs from others in what is silent, and in nothing else."""
        left = X.available.tobytes()
        if left not in self._predictions:
            self._predictions[left] = self._estimator.predict(X)
        return self._predictions[left]


def _by_sensors(estimator: Any, test: Panel, y: NDArray[Any]) -> list[dict[str, Any]]:
    """Accuracy of each set of modalities, Shapley values of it, and attention between them.

    Of at most 1,000 test samples, evenly spread: each set is predicted once.
    """
    every = np.arange(0, len(test), math.ceil(len(test) / _N_BY_SENSORS))
    test, y = test[every], y[every]
    known = _Known(estimator)
    subsets = modality_subsets(known, test, y, scoring="accuracy", verbose=0)
    shapley = modality_importance(known, test, y, method="shapley", scoring="accuracy", verbose=0)
    rows: list[dict[str, Any]] = [
        {"sensors": " + ".join(subset), "sensors_accuracy": float(score)}
        for subset, score in zip(subsets["subset"], subsets["score"], strict=True)
    ]
    rows += [
        {"modality": name, "importance": float(value)}
        for name, value in zip(shapley["modality"], shapley["importance"], strict=True)
    ]
    record = estimator.explain(test) if hasattr(estimator, "explain") else {}
    names = test.schema.names
    if record.get("attention", np.empty(0)).shape[1:] == (len(names), len(names)):
        mean = record["attention"].mean(0)
        rows += [
            {"modality": one, "source": other, "attention": float(mean[i, j])}
            for i, one in enumerate(names)
            for j, other in enumerate(names)
        ]
    return rows


def _decided(y: NDArray[Any], estimator: Any, panel: Panel) -> dict[str, float]:
    """Scores of classes, where ``predict`` is not the class of the largest probability."""
    if getattr(estimator, "decision", "probability") == "probability":
        return {}
    predicted = estimator.predict(panel)
    return {
        "macro_f1": float(f1_score(y, predicted, labels=np.unique(y), average="macro")),
        "accuracy": float(accuracy_score(y, predicted)),
    }


def _sets(y: NDArray[Any], estimator: Any, panel: Panel) -> dict[str, float]:
    """How often conformal sets of 90 % hold the class, and how many classes they hold."""
    if not hasattr(estimator, "predict_set"):
        return {}
    sets = estimator.predict_set(panel, coverage=0.9)
    column = np.searchsorted(estimator.classes_, y)
    return {
        "coverage": float(sets[np.arange(len(y)), column].mean()),
        "set_size": float(sets.sum(axis=1).mean()),
    }


def _doubt(estimator: Any, panel: Panel) -> dict[str, float]:
    """How far the answers to several imputations are apart, in nats."""
    if getattr(estimator, "n_imputations", 1) == 1:
        return {}
    p = estimator.predict_draws(panel)  # (I, n, K)
    apart = _entropy(p.mean(0)) - _entropy(p).mean(0)
    return {"doubt_of_imputation": float(apart.mean())}


def _entropy(p: NDArray[Any]) -> NDArray[Any]:
    """Entropy along the last axis, in nats."""
    return np.asarray(entr(p).sum(axis=-1))


def _predict(estimator: Any, panel: Panel) -> NDArray[Any]:
    """Probabilities; of a baseline that has none, classes."""
    if hasattr(estimator, "predict_proba"):
        return np.asarray(estimator.predict_proba(panel))
    return np.asarray(estimator.predict(panel))


def _temperature(estimator: Any, panel: Panel) -> NDArray[Any] | None:
    """Of each sample, by an estimator of ours, also where it is the last step of a Pipeline."""
    last = estimator[-1] if hasattr(estimator, "steps") else estimator
    if not hasattr(last, "temperature_"):
        return None
    whole, none = last.temperature_
    missing = 1 - panel.available.mean(axis=1)
    return np.asarray(whole ** (1 - missing) * none**missing)


def _scores(
    y: NDArray[Any],
    output: NDArray[Any],
    classes: NDArray[Any],
    temperature: NDArray[Any] | None,
) -> dict[str, Any]:
    """Scores of probabilities (n, K), or of classes (n,)."""
    predicted = output if output.ndim == 1 else classes[output.argmax(axis=1)]
    scores: dict[str, Any] = {
        # Over the classes that occur in the test part: one that no test subject did has no recall.
        "macro_f1": float(f1_score(y, predicted, labels=np.unique(y), average="macro")),
        "accuracy": float(accuracy_score(y, predicted)),
    }
    if output.ndim == 2 and np.isin(y, classes).all():
        scores["ece"] = float(expected_calibration_error(y, output, labels=classes))
        scores["entropy"] = float(_entropy(output).mean())
        scores["reliability"] = _sums(reliability_curve(y, output, labels=classes))
        chance = chance_calibration_error(output, n_draws=_N_DRAWS, random_state=0)
        scores["ece_chance"] = float(chance.mean())
        if temperature is not None:
            plain = output.astype(np.float64) ** temperature[:, None]
            plain = plain / plain.sum(axis=1, keepdims=True)
            error = expected_calibration_error(y, plain, labels=classes)
            scores |= {"ece_plain": float(error), "temperature": float(temperature.mean())}
        scores["nll"] = float(negative_log_likelihood(y, output, labels=classes))
        if len(classes) == 2 and len(np.unique(y)) == 2:
            is_second = y == classes[1]
            scores["auroc"] = float(roc_auc_score(is_second, output[:, 1]))
            scores["auprc"] = float(average_precision_score(is_second, output[:, 1]))
            scores["f1"] = float(f1_score(is_second, predicted == classes[1]))
    return scores


def _sums(curve: ReliabilityCurve) -> list[list[float]]:
    """Samples, confidence and hits of each bin, which can be added up over folds."""
    means = np.nan_to_num(np.stack([np.ones(len(curve.n_samples)), *curve[:2]]))
    sums: list[list[float]] = (means * curve.n_samples).tolist()
    return sums
