"""MaestroPretrainer: the network of MAESTRO trained on windows without targets."""

from __future__ import annotations

from dataclasses import replace
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.base import BaseEstimator, ClassNamePrefixFeaturesOutMixin, TransformerMixin
from sklearn.utils import Tags
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.nn.networks import MaskedReconstruction
from mts_fusion.panel import PanelLike
from mts_fusion.panel._targets import check_groups
from mts_fusion.persistence import Saveable
from mts_fusion.runs import phase, predicting, run
from mts_fusion.training import FixedFeatures, Regression
from mts_fusion.transforms._base import check_parameters
from mts_fusion.transforms._doc_link import LinkedReprMixin

from ._checks import check_X
from ._context import FitContext
from ._maestro import MaestroClassifier, _Maestro
from ._mixins import PanelRegressorMixin
from ._pretrained import PretrainedNetwork

__all__ = ["MaestroPretrainer"]


class MaestroPretrainer(
    LinkedReprMixin, ClassNamePrefixFeaturesOutMixin, TransformerMixin, Saveable, BaseEstimator
):
    """Weights for :class:`MaestroClassifier`, and features, from windows without targets.

    Of each window, whole modalities and a stretch of time of each other modality are hidden, and
    the network learns to tell what they were, from what is left. What is missing in X looks the
    same to the network, but has no loss: only what was hidden and is known is asked for, as in the
    adaptive masking of [1]_. A classifier or regressor with ``pretrained=pretrainer.network_``
    starts from these weights; ``transform`` gives what the network makes of a window. It is meant
    for much data with few labels; ``docs/benchmarks/maestro.md`` says what it gave.

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
    verbose : int, default=0
        Whether to show a progress bar over the epochs.

    Attributes
    ----------
    network_ : PretrainedNetwork
        What ``pretrained=`` takes: weights, and the scale of X.
    schema_ : Schema
        The modalities seen in ``fit``.
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
    >>> pretrainer = MaestroPretrainer(estimator=clf, max_epochs=2, random_state=0).fit(X)
    >>> clf.set_params(pretrained=pretrainer.network_).fit(X[:10], y[:10]).predict(X[:5]).shape
    (5,)
    >>> pretrainer.transform(X[:5]).shape
    (5, 16)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "estimator": [_Maestro, None],
        "modality_rate": [Interval(Real, 0, 1, closed="left")],
        "hidden_fraction": [Interval(Real, 0, 1, closed="left")],
        "max_epochs": [Interval(Integral, 1, None, closed="left"), StrOptions({"auto"})],
        "validation_fraction": [Interval(Real, 0, 1, closed="left"), StrOptions({"auto"})],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    def __init__(
        self,
        *,
        estimator: Any = None,
        modality_rate: float = 0.3,
        hidden_fraction: float = 0.5,
        max_epochs: int | str = "auto",
        validation_fraction: float | str = "auto",
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.estimator = estimator
        self.modality_rate = modality_rate
        self.hidden_fraction = hidden_fraction
        self.max_epochs = max_epochs
        self.validation_fraction = validation_fraction
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: PanelLike, y: object = None, groups: ArrayLike | None = None) -> Self:
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
        check_parameters(self)
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
        panel, verbose = check_X(self, X, reset=True), self.verbose or template.verbose
        with run(f"{type(self).__name__}.fit", panel, verbose=verbose):
            learner.fit(panel, groups=groups)
        net = learner.nets_[0]
        learnt = net.module_.network.named_parameters()
        self.network_ = PretrainedNetwork(
            learner.schema_,
            learner.preprocessor_,
            {
                name: weight.detach().cpu()
                for name, weight in learnt
                if not name.startswith("head.")  # of means, not of targets
            },
        )
        net.module_ = net.module_.without_head()
        self._learner = learner
        self._n_features_out = learner.d_model
        self.history_ = learner.history_
        return self

    def transform(self, X: PanelLike) -> np.ndarray:
        """What the network makes of each window: the mean of its tokens.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n windows of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n, d_model)
            float32. What is missing changes it as the network has learnt; no value is NaN.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``.
        """
        check_is_fitted(self)
        panel = self._learner._panels(check_X(self, X, reset=False))[0]
        with predicting(self, panel), phase("prediction", len(panel)):
            return self._learner.nets_[0].predict_raw(self._learner._datasets(panel))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        tags.input_tags.allow_nan = True
        return tags


class _Learner(PanelRegressorMixin, _Maestro):
    """The networks of a Maestro estimator in the training without targets."""

    _MIN_EPOCHS: ClassVar[int] = 30

    modality_rate: float
    hidden_fraction: float

    def fit(
        self,
        X: PanelLike,
        y: ArrayLike | None = None,
        sample_weight: ArrayLike | None = None,
        groups: ArrayLike | None = None,
    ) -> Self:
        self._begin_fit()
        panel = check_X(self, X, reset=True)
        groups = check_groups(groups, panel)
        seeds = self._draw_seeds()
        panel = self._preprocess(panel, None, groups, seeds[-1], continues=False)
        context = self._make_context(panel, np.zeros(len(panel), dtype=int), groups, seeds)
        nets, _ = self._fit_networks(context, False)
        return self._end_fit(context, nets)

    def _make_module(  # type: ignore[override]
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
