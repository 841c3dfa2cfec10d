"""RocketFeatures: random convolutions and statistics of each modality as a table."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils import check_random_state
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._stored import loaded_parts
from mts_fusion.panel._timepoints import observed_timepoints
from mts_fusion.runs import fitting, predicting
from mts_fusion.training import FixedFeatures
from mts_fusion.transforms import PanelScaler
from mts_fusion.transforms._base import PanelTransformer

from ._lengths import names_of_one_length, warn_of_lengths

__all__ = ["RocketFeatures"]


class RocketFeatures(PanelTransformer):
    """Features of random convolutions and summary statistics, a row for each sample.

    The fixed features of :class:`FusionClassifier` and :class:`MaestroClassifier`, for any
    classifier or regressor of tables: MultiRocket [1]_, [2]_ and Hydra [3]_ over the observed
    timepoints of each modality, and summary statistics of its channels.

    Parameters
    ----------
    kinds : sequence of str, or dict of str to sequence of str, \
default=("multirocket", "statistics")
        Kinds of features, for all modalities or by name: ``"multirocket"`` (proportion of positive
        values and run length of each kernel), ``"hydra"`` (counts of competing kernels) and
        ``"statistics"`` (level, spread, quantiles, shape, spectrum, autocorrelation, correlations).
        A modality that a dict leaves out has no columns, and one with irregular times has no
        convolutions.
    n_groups : int, default=32
        Number of groups of random convolutions, even: ``16 * n_groups`` features for each modality
        and dilation. Time and memory grow linearly with it.
    scale : bool, default=True
        Whether to scale the channels with a :class:`PanelScaler` first.
    random_state : int, RandomState instance or None, default=None
        Seed of the convolutions. The same seed and samples give the same features.
    verbose : int, default=0
        Whether to show a progress bar over the samples; in ``transform`` if it takes seconds.

    Attributes
    ----------
    features_ : FixedFeatures
        The fitted features of each modality.
    scaler_ : PanelScaler or None
        The fitted scaler; None with ``scale=False``.
    schema_ : Schema
        The modalities seen in ``fit``.

    Raises
    ------
    ValueError
        If a kind or a modality is unknown, ``n_groups`` is odd or below 2, or no column is left.

    Notes
    -----
    Convolutions are standardised and clipped at 10 standard deviations; statistics are the normal
    scores of their ranks in training. Both are learnt in ``fit``, so fit on the training samples
    only. The columns of a modality that a sample lacks are NaN.

    References
    ----------
    .. [1] Dempster, Schmidt and Webb, "MiniRocket: a very fast (almost) deterministic transform
       for time series classification", KDD, 2021. https://arxiv.org/abs/2012.08791
    .. [2] Tan, Dempster, Bergmeir and Webb, "MultiRocket: multiple pooling operators and
       transformations for fast and effective time series classification", Data Mining and
       Knowledge Discovery, 2022. https://arxiv.org/abs/2102.00457
    .. [3] Dempster, Schmidt and Webb, "Hydra: competing convolutional kernels for fast and
       accurate time series classification", Data Mining and Knowledge Discovery, 2023.
       https://arxiv.org/abs/2203.13652

    Examples
    --------
    >>> from sklearn.impute import SimpleImputer
    >>> from sklearn.linear_model import RidgeClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, y = make_panel_classification(80, missing_modality_fraction=0.2, random_state=0)
    >>> features = RocketFeatures(n_groups=4, random_state=0)
    >>> features.fit_transform(X).shape
    (80, 534)
    >>> features.get_feature_names_out()[0]
    'm0__multirocket__dilation1__series__ppv__group0_kernel0'
    >>> clf = make_pipeline(features, SimpleImputer(), RidgeClassifier(100.0)).fit(X[:60], y[:60])
    >>> clf.score(X[60:], y[60:]) > 0.8
    True
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "kinds": [str, list, tuple, dict],
        "n_groups": [Integral],
        "scale": ["boolean"],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        kinds: Sequence[str] | Mapping[str, Sequence[str]] = ("multirocket", "statistics"),
        n_groups: int = 32,
        scale: bool = True,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.kinds = kinds
        self.n_groups = n_groups
        self.scale = scale
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: PanelLike, y: object = None) -> Self:
        """Learn scales, biases and the distribution of each feature.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            Training samples.
        y : None
            Ignored.

        Returns
        -------
        RocketFeatures
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter is out of range, or no column is left.
        """
        self._fit(X)
        return self

    def fit_transform(self, X: PanelLike, y: object = None) -> np.ndarray:
        """Fit, and return the features of the training samples, each computed once.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            Training samples.
        y : None
            Ignored.

        Returns
        -------
        array of shape (n, F)
            As :meth:`transform` returns it.

        Raises
        ------
        ValueError
            If a parameter is out of range, or no column is left.
        """
        return np.concatenate(self._fit(X), axis=1)

    def _fit(self, X: Any) -> list[np.ndarray]:
        panel = observed_timepoints(self._check_fit(X))
        self._one_length = names_of_one_length(panel)
        scales: dict[str, list[float]] = {}
        self.scaler_ = None
        if self.scale:
            self.scaler_ = PanelScaler().fit(panel)
            scales = {name: part.tolist() for name, part in self.scaler_.scale_.items()}
        seed = check_random_state(self.random_state).randint(np.iinfo(np.int32).max)
        self.features_ = FixedFeatures(
            panel.schema, self.kinds, n_groups=self.n_groups, scales=scales, random_state=int(seed)
        )
        if not any(self.features_.n_features):
            n_values = sum(m.n_channels * m.n_timepoints for m in panel.schema)
            raise ValueError(
                f"kinds={self.kinds!r} leaves no column: convolutions need modalities with a "
                f"regular clock and several timepoints, but X has {list(panel.schema.names)}, a "
                f"sample of {n_values} feature(s). Add 'statistics'."
            )
        with fitting(self, panel):
            return self.features_.fit_transform(self._scaled(panel))

    def transform(self, X: PanelLike) -> np.ndarray:
        """Compute the features of each sample.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            Samples of the schema seen in ``fit``; the number of timepoints may differ. A panel
            that stays in a folder is read a part at a time.

        Returns
        -------
        array of shape (n, F)
            float32; the columns are in the order of ``get_feature_names_out``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the schema differs from that of ``fit``; the message names the modality.
        """
        panel = self._check_transform(X)
        warn_of_lengths(self, panel)
        with predicting(self, panel):
            parts = [self.features_.transform(self._scaled(part)) for part in loaded_parts(panel)]
        return np.concatenate([np.concatenate(part, axis=1) for part in parts])

    def _scaled(self, panel: Panel) -> Panel:
        panel = observed_timepoints(panel)
        return panel if self.scaler_ is None else self.scaler_.transform(panel)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Names of the columns: modality, kind, and the name that the kind gives the feature.

        Parameters
        ----------
        input_features : None
            Ignored; the names of the modalities are those seen in ``fit``.

        Returns
        -------
        array of str
            One for each column.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        check_is_fitted(self)
        return np.array(self.features_.names(), dtype=object)
