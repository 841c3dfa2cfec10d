"""TraceClassifier and TraceRegressor: impute, fuse, and propagate the uncertainty of imputation."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.nn import Trace
from mts_fusion.panel import Panel
from mts_fusion.training import FixedFeatures, PanelDataset
from mts_fusion.transforms import PanelImputer

from ._checks import check_X
from ._context import FitContext
from ._docs import CLASSIFIER_ATTRIBUTES, REGRESSOR_ATTRIBUTES, TRAINING_PARAMETERS
from ._impute_then_scale import ImputeThenScale
from ._mixins import PanelClassifierMixin, PanelRegressorMixin
from ._predictor import PanelPredictor

__all__ = ["TraceClassifier", "TraceRegressor"]

_PARAMETERS = f"""imputer : transformer of panels, "nearest" or None, default=None
        Stage 1, fitted with ``(X, y)`` before the network; with
        :class:`ConditionalDiffusionImputer` the estimator is TRACE. Pass one that is already fitted
        as ``FrozenEstimator(imputer)``. ``"nearest"`` is ``PanelImputer()``. With None the network
        reads observed values only; with ``statistics=False`` this is FuseMoE.
    n_imputations : int, default=1
        Number of imputations that each prediction is averaged over. 1 uses ``imputer.transform``.
        Above 1 the network is trained on one draw of ``imputer.sample(X, n)`` and predicts from
        ``n_imputations`` of them, which takes that many times as long.
    d_model : int, default=64
        Width of the tokens; a multiple of ``n_heads``.
    d_time : int, default=64
        Width of the time embedding; a multiple of ``n_heads``.
    n_reference : int, default=16
        Number of reference times at which every series is interpolated. More resolve faster
        changes and cost more.
    n_heads : int, default=4
        Number of heads, of the attention over time and of that between modalities.
    n_layers : int, default=2
        Number of layers of attention and experts.
    n_experts : int, default=8
        Number of experts in each layer; with ``router="disjoint"`` a multiple of the number of
        modalities.
    n_active_experts : int, default=2
        Number of experts that process each token.
    d_hidden : int, default=64
        Hidden width of an expert.
    router : {{"joint", "per_modality", "disjoint"}}, default="joint"
        ``"joint"``: one router reads all modalities. ``"per_modality"``: each has its own router
        and all share the experts. ``"disjoint"``: each has its own router and experts.
    gate : {{"softmax", "laplace", "gaussian"}}, default="laplace"
        Score of an expert: inner product, negative distance, or negative squared distance.
    entropy_weight : float, default=0.01
        Weight of the regulariser that assigns modalities to different experts. It has an effect on
        the per-modality router only. 0 turns it off.
    modality_dropout : float, default=0.2
        Rate at which each modality of a sample, imputed values included, is dropped in training;
        reached after a quarter of the epochs. The papers have 0.
    dropout : float, default=0.1
        Dropout in all layers.
    statistics : bool or "auto", default="auto"
        Whether summary statistics of the observed values of each modality are read too, as a token
        and by a linear term of the logits. They do not depend on the imputed values, so ``"auto"``
        is True with ``n_imputations=1`` and False where an average over imputations carries their
        uncertainty. The papers have False.
    horizon_seconds : float or None, default=None
        Span of the reference times, from 0 s. None is the longest duration of the regular
        modalities; with irregular ones it is the time span of each sample, so that only the order
        and spacing of times matter.
    {TRAINING_PARAMETERS}"""


class _Trace(PanelPredictor):
    """Abstract: parameters and network of TRACE, and the average over imputations."""

    # More steps overfit (PhysioNet 2012, JapaneseVowels).
    _MIN_STEPS: ClassVar[int] = 300
    _N_ESTIMATORS: ClassVar[int] = 1

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PanelPredictor._parameter_constraints,
        "imputer": [HasMethods(["fit", "transform"]), StrOptions({"nearest"}), None],
        "n_imputations": [Interval(Integral, 1, None, closed="left")],
        "d_model": [Interval(Integral, 1, None, closed="left")],
        "d_time": [Interval(Integral, 2, None, closed="left")],
        "n_reference": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 0, None, closed="left")],
        "n_experts": [Interval(Integral, 1, None, closed="left")],
        "n_active_experts": [Interval(Integral, 1, None, closed="left")],
        "d_hidden": [Interval(Integral, 1, None, closed="left")],
        "router": [StrOptions({"joint", "per_modality", "disjoint"})],
        "gate": [StrOptions({"softmax", "laplace", "gaussian"})],
        "entropy_weight": [Interval(Real, 0, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "statistics": ["boolean", StrOptions({"auto"})],
        "horizon_seconds": [Interval(Real, 0, None, closed="neither"), None],
    }

    preprocessor_: ImputeThenScale

    def __init__(
        self,
        *,
        imputer: Any = None,
        n_imputations: int = 1,
        d_model: int = 64,
        d_time: int = 64,
        n_reference: int = 16,
        n_heads: int = 4,
        n_layers: int = 2,
        n_experts: int = 8,
        n_active_experts: int = 2,
        d_hidden: int = 64,
        router: str = "joint",
        gate: str = "laplace",
        entropy_weight: float = 0.01,
        modality_dropout: float = 0.2,
        dropout: float = 0.1,
        statistics: bool | str = "auto",
        horizon_seconds: float | None = None,
        optimizer: str | Callable[..., Any] = "adamw",
        lr: float = 2e-3,
        weight_decay: float = 0.05,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        patience: int | None = None,
        validation_fraction: float | str = "auto",
        class_weight: Any = None,
        label_smoothing: float | str = "auto",
        calibration: str | None = "auto",
        n_estimators: int | str = "auto",
        callbacks: Sequence[Any] | None = None,
        device: str = "auto",
        precision: str = "float32",
        warm_start: bool = False,
        net_params: Mapping[str, Any] | None = None,
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.imputer = imputer
        self.n_imputations = n_imputations
        self.d_model = d_model
        self.d_time = d_time
        self.n_reference = n_reference
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.n_experts = n_experts
        self.n_active_experts = n_active_experts
        self.d_hidden = d_hidden
        self.router = router
        self.gate = gate
        self.entropy_weight = entropy_weight
        self.modality_dropout = modality_dropout
        self.dropout = dropout
        self.statistics = statistics
        self.horizon_seconds = horizon_seconds
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.class_weight = class_weight
        self.label_smoothing = label_smoothing
        self.calibration = calibration
        self.n_estimators = n_estimators
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.warm_start = warm_start
        self.net_params = net_params
        self.random_state = random_state
        self.verbose = verbose

    def _make_preprocessor(self) -> ImputeThenScale:
        imputer = PanelImputer() if isinstance(self.imputer, str) else self.imputer
        if self.n_imputations > 1 and not hasattr(imputer, "sample"):
            raise ValueError(
                f"n_imputations={self.n_imputations} needs an imputer with sample(X, n), such as "
                f"ConditionalDiffusionImputer; imputer={self.imputer!r} has none. Set "
                "n_imputations=1."
            )
        return ImputeThenScale(imputer, self.n_imputations)

    def _make_features(self, context: FitContext) -> FixedFeatures | None:
        has_statistics = self.statistics
        if has_statistics == "auto":
            has_statistics = self.n_imputations == 1
        return FixedFeatures(context.schema, ("statistics",)) if has_statistics else None

    def _make_module(
        self, context: FitContext, features: FixedFeatures | None, member: int
    ) -> Trace:
        return Trace(
            context.schema,
            context.n_outputs,
            d_model=self.d_model,
            d_time=self.d_time,
            n_reference=self.n_reference,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            n_experts=self.n_experts,
            n_active_experts=self.n_active_experts,
            d_hidden=self.d_hidden,
            router=self.router,
            gate=self.gate,
            entropy_weight=self.entropy_weight,
            dropout=self.dropout,
            modality_dropout=self.modality_dropout,
            feature_widths=None if features is None else features.widths,
            horizon_seconds=self.horizon_seconds,
        )

    def _make_dataset(
        self, panel: Panel, target: np.ndarray | None = None, weight: np.ndarray | None = None
    ) -> PanelDataset:
        return PanelDataset(panel, target, weight, has_imputed=self.imputer_ is not None)

    @property
    def imputer_(self) -> Any:
        """The fitted imputer; None without one."""
        return self.preprocessor_.imputer_

    def _panels(self, X: Any) -> list[Panel]:
        if self.n_imputations == 1:
            return super()._panels(X)
        check_is_fitted(self)
        return self.preprocessor_.draws(check_X(self, X, reset=False), self.n_imputations)

    def predict_draws(self, X: Any) -> np.ndarray:
        """Predictions for each imputation of X, before they are averaged.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n_imputations, n, n_outputs)
            Probabilities, or numbers in the unit of y; means over the networks.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``.
        """
        raw, missing = self._raw_predict(X)
        outputs = np.stack([self._task.link(one, missing) for one in raw])
        return outputs.reshape(-1, len(self.nets_), *outputs.shape[1:]).mean(1)


class TraceClassifier(PanelClassifierMixin, _Trace):
    __doc__ = f"""Classifier of time series with gaps and irregular times, after TRACE [1]_.

    Stage 1, ``imputer``, fills gaps from all modalities. Stage 2, FuseMoE [2]_, interpolates every
    series at common reference times by attention, and fuses the modalities by attention between
    them and sparse experts. With ``n_imputations > 1`` the probabilities account for the
    uncertainty of the imputation.

    Parameters
    ----------
    {_PARAMETERS}

    Attributes
    ----------
    {CLASSIFIER_ATTRIBUTES}
    imputer_ : transformer or None
        The fitted imputer.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285
    .. [2] Han et al., "FuseMoE: Mixture-of-Experts Transformers for Fleximodal Fusion", NeurIPS,
       2024. https://arxiv.org/abs/2402.03226

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, y = make_panel_classification(n_samples=60, random_state=0)
    >>> clf = TraceClassifier(imputer="nearest", d_model=16, max_epochs=2, random_state=0)
    >>> clf.fit(X, y).predict_proba(X[:5]).shape
    (5, 3)
    """

    def predict_uncertainty(self, X: Any, *, n_samples: int = 20) -> dict[str, np.ndarray]:
        """The entropy of the prediction, split by source.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n_samples : int, default=20
            Draws of dropout for each imputation; with ``n_estimators > 1`` the trained networks
            are used instead.

        Returns
        -------
        dict of str to array of shape (n,)
            In nats. ``total``, the entropy of the mean probability, is the sum of ``aleatoric``,
            the mean entropy; ``epistemic``, the disagreement of the networks given the imputation;
            and ``imputation``, the disagreement of the imputations, 0 with ``n_imputations=1``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is below 2, or X has another schema than in ``fit``.
        """
        p = self._predictive_samples(X, n_samples)  # (I, S, n, K)
        total = self._task.entropy(p.mean((0, 1)))
        given_imputation = self._task.entropy(p.mean(1)).mean(0)
        aleatoric = self._task.entropy(p).mean((0, 1))
        return {
            "total": total,
            "aleatoric": aleatoric,
            "epistemic": given_imputation - aleatoric,
            "imputation": total - given_imputation,
        }


class TraceRegressor(PanelRegressorMixin, _Trace):
    __doc__ = f"""Regressor of time series with gaps and irregular times, after TRACE [1]_.

    As :class:`TraceClassifier`, for one or several numeric targets.

    Parameters
    ----------
    {_PARAMETERS}

    Attributes
    ----------
    {REGRESSOR_ATTRIBUTES}
    imputer_ : transformer or None
        The fitted imputer.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_regression
    >>> X, y = make_panel_regression(n_samples=60, random_state=0)
    >>> TraceRegressor(d_model=16, max_epochs=2, random_state=0).fit(X, y).predict(X[:5]).shape
    (5,)
    """

    def predict_uncertainty(self, X: Any, *, n_samples: int = 20) -> dict[str, np.ndarray]:
        """The standard deviation of the prediction, split by source.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n_samples : int, default=20
            Draws of dropout for each imputation; with ``n_estimators > 1`` the trained networks
            are used instead.

        Returns
        -------
        dict of str to array of shape (n,) or (n, n_outputs)
            In the unit of y: ``epistemic``, the disagreement of the networks given the imputation;
            ``imputation``, the disagreement of the imputations, 0 with ``n_imputations=1``; and
            ``total``, the root of the sum of their squares. The noise of y itself is not included.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is below 2, or X has another schema than in ``fit``.
        """
        samples = self._predictive_samples(X, n_samples)  # (I, S, n, K)
        epistemic = samples.var(1).mean(0)
        imputation = samples.mean(1).var(0)
        variances = {
            "total": epistemic + imputation,
            "epistemic": epistemic,
            "imputation": imputation,
        }
        return {key: self._task.decode(np.sqrt(variance)) for key, variance in variances.items()}
