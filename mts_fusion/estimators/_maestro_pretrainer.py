"""MaestroPretrainer: the network of MAESTRO trained on windows without targets."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions

from mts_fusion.nn.networks import MaskedReconstruction
from mts_fusion.training import FixedFeatures, PanelDataset, PanelNet, Regression, Task

from ._checks import check_groups, check_X
from ._context import FitContext
from ._maestro import MaestroClassifier, _Maestro

__all__ = ["MaestroPretrainer"]


class MaestroPretrainer(BaseEstimator):
    """Weights for :class:`MaestroClassifier` from windows without targets.

    Of each window, whole modalities and a stretch of time of each other modality are hidden, and
    the network learns to tell what they were, from what is left. What is missing in X looks the
    same to the network, but has no loss: only what was hidden and is known is asked for, as in the
    adaptive masking of [1]_. A classifier or regressor with ``pretrained=`` starts from these
    weights. It is meant for much data with few labels; the user guide has figures.

    Parameters
    ----------
    estimator : MaestroClassifier, MaestroRegressor or None, default=None
        Unfitted; its parameters are those of the network and the training. It has to have the
        tokens and layers of the estimator that continues. None: ``MaestroClassifier()``. Its fixed
        features, modality dropout, ensemble and calibration are not used.
    modality_rate : float, default=0.3
        Rate at which a modality of a window is hidden as a whole; one always stays.
    hidden_fraction : float, default=0.5
        Share of the timepoints in the stretch that is hidden of each other modality.
    max_epochs : int or "auto", default="auto"
        Epochs. ``"auto"``: at least 30, and more for few windows.
    validation_fraction : float or "auto", default="auto"
        Share of the windows that are held out; the weights of the epoch with their lowest loss
        are kept.
    random_state : int, RandomState or None, default=None
        Seed of all random numbers.

    Attributes
    ----------
    schema_ : Schema
        The modalities seen in ``fit``.
    preprocessor_ : PanelScaler
        Scales X, also for the estimator that continues.
    nets_ : list of PanelNet
        The trained network, one.
    history_ : list of list of dict
        Losses, by network and epoch: mean squared errors in units of the variance of a channel.
    n_features_in_ : int
        Columns of a 2-D X, channels of a 3-D X, otherwise the number of modalities.

    See Also
    --------
    MaestroClassifier : Its parameter ``pretrained``.

    References
    ----------
    .. [1] Xu et al., "LSM-2: Learning from Incomplete Wearable Sensor Data", 2025.
       https://arxiv.org/abs/2506.05321

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, y = make_panel_classification(n_samples=60, random_state=0)
    >>> clf = MaestroClassifier(d_model=16, max_epochs=2, random_state=0)
    >>> pretrainer = MaestroPretrainer(clf, max_epochs=2, random_state=0).fit(X)
    >>> clf.set_params(pretrained=pretrainer).fit(X[:10], y[:10]).predict(X[:5]).shape
    (5,)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [_Maestro, None],
        "modality_rate": [Interval(Real, 0, 1, closed="left")],
        "hidden_fraction": [Interval(Real, 0, 1, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "random_state": ["random_state"],
    }

    def __init__(
        self,
        estimator: Any = None,
        *,
        modality_rate: float = 0.3,
        hidden_fraction: float = 0.5,
        max_epochs: int | str = "auto",
        validation_fraction: float | str = "auto",
        random_state: Any = None,
    ) -> None:
        self.estimator = estimator
        self.modality_rate = modality_rate
        self.hidden_fraction = hidden_fraction
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.random_state = random_state

    def fit(self, X: Any, y: Any = None, groups: Any = None) -> Self:
        """Train the network.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n windows of numbers; NaN marks what is missing.
        y : None
            Ignored.
        groups : array of shape (n,), default=None
            The subject of each window. The inner validation split then keeps subjects whole.

        Returns
        -------
        MaestroPretrainer
            The fitted estimator.

        Raises
        ------
        ValueError
            If a parameter or X cannot be used, or a modality holds symbols.
        """
        self._validate_params()
        template = MaestroClassifier() if self.estimator is None else self.estimator
        learner = _Learner(**template.get_params(deep=False))
        learner.set_params(
            pretrained=None,
            feature_tokens=(),
            modality_dropout=0.0,
            n_estimators=1,
            warm_start=False,
            max_epochs=self.max_epochs,
            validation_fraction=self.validation_fraction,
            random_state=self.random_state,
        )
        learner.modality_rate = self.modality_rate
        learner.hidden_fraction = self.hidden_fraction
        learner.fit(X, groups=groups)
        for name in ("schema_", "preprocessor_", "nets_", "history_", "n_features_in_"):
            setattr(self, name, getattr(learner, name))
        return self

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags


class _Learner(_Maestro):
    """The networks of a Maestro estimator in the training without targets."""

    _MIN_EPOCHS: ClassVar[int] = 30

    modality_rate: float
    hidden_fraction: float

    def fit(self, X: Any, y: Any = None, sample_weight: Any = None, groups: Any = None) -> Self:
        self._begin_fit()
        panel = check_X(self, X, reset=True)
        groups = check_groups(groups, panel)
        seeds = self._draw_seeds()
        panel = self._preprocess(panel, None, False)
        context = self._make_context(panel, np.zeros(len(panel), dtype=int), groups, seeds)
        nets, _ = self._fit_networks(context, False)
        return self._end_fit(context, nets)

    def _make_module(
        self, context: FitContext, features: FixedFeatures | None, member: int
    ) -> MaskedReconstruction:
        n_targets = MaskedReconstruction.n_targets(context.schema)
        task = Regression(np.zeros((2, n_targets)))  # for its number of outputs alone
        network = super()._make_module(replace(context, task=task), features, member)
        return MaskedReconstruction(
            network,
            context.schema,
            modality_rate=self.modality_rate,
            hidden_fraction=self.hidden_fraction,
        )

    def _keeps_best_epoch(self, context: FitContext) -> bool:
        return context.has_validation

    def _make_task(self, y: np.ndarray) -> Task:
        raise NotImplementedError("There are no targets.")

    def _class_weight(self, y: np.ndarray) -> None:
        return None

    def _calibrate(
        self, context: FitContext, nets: list[PanelNet], validation: PanelDataset | None
    ) -> None:
        """Do nothing: there are no probabilities."""
