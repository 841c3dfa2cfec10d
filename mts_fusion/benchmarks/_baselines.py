"""Classifiers of other libraries, given what they need: one length, and no gaps if need be."""

from __future__ import annotations

import warnings
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin, clone
from sklearn.linear_model import RidgeCV
from sklearn.pipeline import make_pipeline, make_union
from sklearn.preprocessing import StandardScaler
from sklearn.utils.metaestimators import available_if

from ..panel import Panel

__all__ = [
    "FilledClassifier",
    "gru_d",
    "inception_time",
    "multirocket_hydra",
    "transformer_of_all_channels",
]


class FilledClassifier(ClassifierMixin, BaseEstimator):
    """A classifier of numpy 3-D arrays, on panels: one clock, gaps filled with training means.

    Every channel is brought to ``n_timepoints`` equally spaced over the sample by linear
    interpolation between its observed values; a channel without any gets its mean in training. That
    is what a user of such a classifier has to do first.

    Parameters
    ----------
    classifier : estimator
        Takes arrays (n, C, L).
    n_timepoints : int or None, default=None
        Length L of the common clock; None is that of the longest modality, at most 512.
    leave_nan : bool, default=False
        Whether missing channels stay NaN, for a classifier that takes them; the others then have
        mean 0 and deviation 1 in training.
    probabilities : bool, default=False
        Whether what the classifier calls probabilities are some. A ridge classifier of aeon answers
        0 and 1, which have no calibration error worth printing.

    Attributes
    ----------
    classes_ : ndarray
        Of the classifier.
    """

    def __init__(
        self,
        classifier: Any,
        *,
        n_timepoints: int | None = None,
        leave_nan: bool = False,
        probabilities: bool = False,
    ) -> None:
        self.classifier = classifier
        self.n_timepoints = n_timepoints
        self.leave_nan = leave_nan
        self.probabilities = probabilities

    def fit(self, X: Panel, y: Any) -> Self:
        """Fit the classifier.

        Parameters
        ----------
        X : Panel
            n samples.
        y : ndarray of shape (n,)
            Classes.

        Returns
        -------
        FilledClassifier
            Itself.
        """
        longest = max(modality.n_timepoints for modality in X.schema)
        self.length_ = self.n_timepoints or min(longest, 512)
        self.ends_ = {
            name: float(np.nanmax(times)) for name, times in X.times.items() if times is not None
        }
        with warnings.catch_warnings():  # of a channel that is never observed
            warnings.filterwarnings(
                "ignore", "Mean of empty slice|Degrees of freedom", RuntimeWarning
            )
            means = [np.nanmean(values, axis=(0, 2)) for values in X.values.values()]
            spreads = [np.nanstd(values, axis=(0, 2)) for values in X.values.values()]
        self.means_ = np.nan_to_num(np.concatenate(means))
        self.spreads_ = np.nan_to_num(np.concatenate(spreads)) + 1e-6
        self.classifier_ = clone(self.classifier).fit(self._fill(X), y)
        self.classes_ = np.unique(y)
        return self

    @property
    def estimator_(self) -> Any:
        """The fitted classifier, whose networks are counted."""
        return self.classifier_

    def predict(self, X: Panel) -> NDArray[Any]:
        """Classes.

        Parameters
        ----------
        X : Panel
            n samples.

        Returns
        -------
        ndarray of shape (n,)
            One each.
        """
        return np.asarray(self.classifier_.predict(self._fill(X)))

    @available_if(lambda self: self.probabilities)
    def predict_proba(self, X: Panel) -> NDArray[Any]:
        """Probabilities, where the classifier has some.

        Parameters
        ----------
        X : Panel
            n samples.

        Returns
        -------
        ndarray of shape (n, K)
            Of the classes, in the order of ``classes_``.
        """
        return np.asarray(self.classifier_.predict_proba(self._fill(X)))

    def _fill(self, X: Panel) -> NDArray[np.float32]:
        """(n, C, L) of all channels."""
        filled = [
            _interpolate(X.values[m.name], X.times[m.name], self.length_, self.ends_.get(m.name))
            for m in X.schema
        ]
        array = np.concatenate(filled, axis=1)
        if self.leave_nan:
            scaled = (array - self.means_[:, None]) / self.spreads_[:, None]
            return np.asarray(scaled, dtype=np.float32)
        return np.where(np.isnan(array), self.means_[:, None], array).astype(np.float32)


class FilledRegressor(RegressorMixin, FilledClassifier):
    """The same for a regressor: one clock, gaps filled with training means."""


def _interpolate(
    values: NDArray[Any], times: NDArray[Any] | None, length: int, end: float | None
) -> NDArray[Any]:
    """Values (n, C, L) on a clock of ``length`` timepoints; NaN where a channel is missing."""
    n, n_channels, n_timepoints = values.shape
    if times is None and n_timepoints == length and not np.isnan(values).any():
        return values
    out = np.full((n, n_channels, length), np.nan, dtype=np.float32)
    clock = np.linspace(0, n_timepoints - 1 if end is None else end, length)
    for i, c in np.argwhere(~np.isnan(values).all(axis=2)):
        observed = ~np.isnan(values[i, c])
        at = np.flatnonzero(observed) if times is None else times[i, observed]
        out[i, c] = np.interp(clock, at, values[i, c, observed])
    return out


def _requires(package: str, what: str) -> ImportError:
    return ImportError(
        f"The row {what!r} requires {package}: pip install 'mts-fusion[benchmarks]'. Where its "
        "requirements do not fit beside ours, compute the row in an environment of its own with "
        "the same --out, then the table in this one."
    )


def multirocket_hydra(*, seed: int, quick: bool) -> Any:
    """MultiRocketHydra of aeon.

    Parameters
    ----------
    seed : int
        Of its kernels.
    quick : bool
        Fewer kernels.

    Returns
    -------
    FilledClassifier
        Unfitted.
    """
    try:
        from aeon.classification.convolution_based import MultiRocketHydraClassifier
    except ImportError:
        raise _requires("aeon", "MultiRocketHydra") from None
    few: dict[str, Any] = {"n_groups": 8} if quick else {}
    return FilledClassifier(MultiRocketHydraClassifier(random_state=seed, n_jobs=-1, **few))


def multirocket_hydra_regressor(*, seed: int, quick: bool) -> Any:
    """A ridge regression on the features of aeon's MultiRocket and Hydra.

    Parameters
    ----------
    seed : int
        Of the kernels.
    quick : bool
        Fewer kernels.

    Returns
    -------
    FilledRegressor
        Unfitted.
    """
    try:
        from aeon.transformations.collection.convolution_based import HydraTransformer, MultiRocket
    except ImportError:
        raise _requires("aeon", "MultiRocketHydra") from None
    few: dict[str, Any] = {"n_groups": 8} if quick else {}
    kernels: dict[str, Any] = {"n_kernels": 500} if quick else {}
    features = make_union(
        HydraTransformer(random_state=seed, n_jobs=-1, **few),
        MultiRocket(random_state=seed, n_jobs=-1, **kernels),
    )
    ridge = make_pipeline(features, StandardScaler(), RidgeCV(np.logspace(-3, 3, 10)))
    return FilledRegressor(ridge)


def inception_time(*, seed: int, quick: bool, n_epochs: int = 1500) -> Any:
    """InceptionTime of aeon, an ensemble of five networks.

    Parameters
    ----------
    seed : int
        Of its networks.
    quick : bool
        Fewer epochs, and one network.
    n_epochs : int, default=1500
        Of each network. The default is aeon's, and takes hours on a processor.

    Returns
    -------
    FilledClassifier
        Unfitted.
    """
    try:
        from aeon.classification.deep_learning import InceptionTimeClassifier
    except ImportError:
        raise _requires("aeon and tensorflow", "InceptionTime") from None
    short: dict[str, Any] = {"n_epochs": n_epochs}
    if quick:
        short = {"n_epochs": 5, "n_classifiers": 1}
    networks = InceptionTimeClassifier(random_state=seed, **short)
    return FilledClassifier(networks, probabilities=True)


class _GRUD(ClassifierMixin, BaseEstimator):
    """GRU-D of PyPOTS as a classifier of numpy 3-D arrays with NaN."""

    def __init__(self, *, epochs: int, seed: int) -> None:
        self.epochs = epochs
        self.seed = seed

    def fit(self, X: NDArray[Any], y: Any) -> Self:
        from pypots.classification import GRUD
        from pypots.utils.random import set_random_seed

        set_random_seed(self.seed)
        self.classes_, codes = np.unique(y, return_inverse=True)
        _, n_channels, length = X.shape
        self.model_ = GRUD(
            n_steps=length,
            n_features=n_channels,
            n_classes=len(self.classes_),
            rnn_hidden_size=64,
            batch_size=32,
            epochs=self.epochs,
            verbose=False,
        )
        self.model_.fit({"X": X.transpose(0, 2, 1), "y": codes})
        return self

    def predict(self, X: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.classes_[self.predict_proba(X).argmax(axis=1)])

    def predict_proba(self, X: NDArray[Any]) -> NDArray[Any]:
        return np.asarray(self.model_.predict_proba({"X": X.transpose(0, 2, 1)}))


def gru_d(*, seed: int, quick: bool) -> Any:
    """GRU-D of PyPOTS, a recurrent network that decays what it saw towards the mean.

    Parameters
    ----------
    seed : int
        Of its weights; PyPOTS sets the global one.
    quick : bool
        Fewer epochs.

    Returns
    -------
    FilledClassifier
        Unfitted.
    """
    from importlib.util import find_spec

    if find_spec("pypots") is None:
        raise _requires("pypots", "GRU-D")
    network = _GRUD(epochs=2 if quick else 20, seed=seed)
    return FilledClassifier(network, leave_nan=True, probabilities=True)


def transformer_of_all_channels(*, seed: int, quick: bool, inverted: bool = False) -> Any:
    """A transformer that takes the channels of all modalities as those of one series.

    Parameters
    ----------
    seed : int
        Of its weights.
    quick : bool
        Fewer epochs.
    inverted : bool, default=False
        Whether the tokens are channels (iTransformer) and not timepoints.

    Returns
    -------
    FilledClassifier
        Unfitted.
    """
    from ..estimators import FusionClassifier

    encoder = "transformer"
    if inverted:
        from ..nn import register_encoder
        from ._itransformer import ITransformerEncoder

        encoder = "itransformer"
        register_encoder(encoder, ITransformerEncoder)
    short: dict[str, Any] = {"max_epochs": 2} if quick else {}
    # One modality, of which nothing can be dropped: it is trained on copies with hidden sensors.
    network = FusionClassifier(encoder=encoder, modality_dropout=0.0, random_state=seed, **short)
    return FilledClassifier(network, leave_nan=True, probabilities=True)
