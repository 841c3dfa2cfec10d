"""TraceClassifier and TraceRegressor: impute, fuse, and carry the doubt of the first through."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.base import BaseEstimator, TransformerMixin, clone
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.nn import Trace
from mts_fusion.panel import Panel, Schema, as_panel
from mts_fusion.training import FixedFeatures
from mts_fusion.transforms import PanelImputer, PanelScaler

from ._base import PanelEstimator
from ._docs import CLASSIFIER_ATTRIBUTES, REGRESSOR_ATTRIBUTES, TRAINING_PARAMETERS
from ._mixins import PanelClassifierMixin, PanelRegressorMixin

__all__ = ["TraceClassifier", "TraceRegressor"]

_NEARLY_ZERO = np.float32(1e-6)

_PARAMETERS = f"""imputer : transformer of panels, "nearest" or None, default=None
        Stage 1, fitted with ``(X, y)`` before the network: :class:`ConditionalDiffusionImputer`
        makes the estimator TRACE. A fitted one goes in as ``FrozenEstimator(imputer)``.
        ``"nearest"`` is ``PanelImputer()``. None: the network reads observed values only, which is
        FuseMoE where ``statistics=False``.
    n_imputations : int, default=1
        Completions behind each answer. 1 takes ``imputer.transform``. Above 1, the network is
        trained on one draw of each sample, and answers are averaged over so many draws; this needs
        an imputer with ``sample(X, n)``. Prediction takes ``n_imputations`` times as long.
    d_model : int, default=64
        Width of the tokens; a multiple of ``n_heads``.
    d_time : int, default=64
        Width of the embedding of times; a multiple of ``n_heads``.
    n_reference : int, default=16
        Times at which every series is read off. More see faster changes and cost more.
    n_heads : int, default=4
        Heads of the attention over time and of that between modalities.
    n_layers : int, default=2
        Layers of attention and experts.
    n_experts : int, default=8
        Experts in each layer; with ``router="disjoint"`` a multiple of the number of modalities.
    n_active_experts : int, default=2
        Experts a token passes through.
    d_hidden : int, default=64
        Hidden width of an expert.
    router : {{"joint", "per_modality", "disjoint"}}, default="joint"
        ``"joint"``: one router reads all modalities. ``"per_modality"``: each has a router, all
        share the experts. ``"disjoint"``: each has a router and experts of its own.
    gate : {{"softmax", "laplace", "gaussian"}}, default="laplace"
        Nearness of an expert: inner product, minus distance, or minus squared distance.
    entropy_weight : float, default=0.01
        Weight of the regulariser that parts the modalities between the experts. It moves the
        per-modality router only. 0 turns it off.
    modality_dropout : float, default=0.2
        Rate at which each modality of a sample is hidden from the network in training, reached
        after half the epochs, imputed values included. 0 trains on what is there, as the papers.
    dropout : float, default=0.1
        Dropout in all layers.
    statistics : bool or "auto", default="auto"
        Whether fixed statistics of what was observed of each modality stand beside its series, as
        a token and as a linear vote: what makes trees strong. They know nothing of the doubt about
        what is missing, so ``"auto"`` has them with ``n_imputations=1`` and leaves them out where
        completions are averaged to carry it. False is the papers' network.
    horizon_seconds : float or None, default=None
        Span of the reference times, counted from 0 s. None: the longest duration of the regular
        modalities, and with irregular ones the span of each sample, so that only the order and
        spacing of times matter.
    {TRAINING_PARAMETERS}"""


class _Completion(TransformerMixin, BaseEstimator):
    """What X passes before the network: the imputer, if there is one, then the scaler.

    ``transform`` gives the completion that the network is trained on, ``draws`` those that an
    answer is averaged over.
    """

    def __init__(self, imputer: Any, n_imputations: int) -> None:
        self.imputer = imputer
        self.n_imputations = n_imputations

    def fit(self, X: Panel, y: Any) -> Self:
        """Fit the imputer, and the scaler to what is observed."""
        self.imputer_ = None
        if self.imputer is not None:
            self.imputer_ = clone(self.imputer).fit(X, y)
        numbers = [m.name for m in X.schema if m.vocabulary is None]
        self.scaler_ = PanelScaler().fit(X.select(numbers)) if numbers else None
        return self

    def transform(self, X: Panel) -> Panel:
        """One completion, scaled."""
        if self.n_imputations > 1:
            return next(iter(self.draws(X, 1)))
        filled = X if self.imputer_ is None else self._checked(self.imputer_.transform(X), X)
        return self._scale(filled)

    def draws(self, X: Panel, n: int) -> list[Panel]:
        """``n`` completions, scaled."""
        if self.imputer_ is None:
            return [self._scale(X)] * n
        return [self._scale(self._checked(drawn, X)) for drawn in self.imputer_.sample(X, n)]

    def _checked(self, filled: Any, X: Panel) -> Panel:
        panel = as_panel(filled)
        X.schema.check_matches(panel.schema, owner="The panel that was imputed")
        return panel.replace(observed=X.observed)  # an imputer of others may not hand it on

    def _scale(self, panel: Panel) -> Panel:
        if self.scaler_ is None:
            return panel
        scaled = self.scaler_.transform(panel.select(self.scaler_.schema_.names)).values
        # To the network an unobserved 0 is an empty entry. An imputed value that happens to be the
        # mean of its channel is 0 after scaling, and has to be told from it.
        values = {
            name: np.where((x == 0) & ~panel.observed[name], _NEARLY_ZERO, x)
            for name, x in scaled.items()
        }
        return panel.replace(values=values, observed=panel.observed)


class _Trace(PanelEstimator):
    """Abstract: the parameters of TRACE, its two stages, and the average over completions."""

    # NOTE[DIFF] from Maestro's: more steps learn by heart (PhysioNet 2012, JapaneseVowels).
    _MIN_STEPS: ClassVar[int] = 300
    _N_ESTIMATORS: ClassVar[int] = 1

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PanelEstimator._parameter_constraints,
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
        "modality_dropout": [Interval(Real, 0, 1, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "statistics": ["boolean", StrOptions({"auto"})],
        "horizon_seconds": [Interval(Real, 0, None, closed="neither"), None],
    }

    front_: _Completion

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

    def _make_front(self, schema: Schema) -> _Completion:
        imputer = PanelImputer() if isinstance(self.imputer, str) else self.imputer
        if self.n_imputations > 1 and not hasattr(imputer, "sample"):
            raise ValueError(
                f"n_imputations={self.n_imputations} needs an imputer with sample(X, n), such as "
                f"ConditionalDiffusionImputer; imputer={self.imputer!r} has one completion at "
                "most. Set n_imputations=1."
            )
        return _Completion(imputer, self.n_imputations)

    def _make_features(self, schema: Schema) -> FixedFeatures | None:
        averages = self.n_imputations > 1
        statistics = not averages if self.statistics == "auto" else bool(self.statistics)
        return FixedFeatures(schema, ("statistics",)) if statistics else None

    def _make_module(self, schema: Schema, n_outputs: int, member: int) -> Trace:
        return Trace(
            schema,
            n_outputs,
            d_model=self.d_model,
            d_time=self.d_time,
            n_reference=self.n_reference,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            n_experts=self.n_experts,
            k=self.n_active_experts,
            d_hidden=self.d_hidden,
            router=self.router,
            gate=self.gate,
            entropy_weight=self.entropy_weight,
            dropout=self.dropout,
            modality_dropout=self.modality_dropout,
            imputed=self.imputer is not None,
            feature_widths=None if self.features_ is None else self.features_.widths,
            horizon_seconds=self.horizon_seconds,
        )

    @property
    def imputer_(self) -> Any:
        """The fitted imputer; None without one."""
        return self.front_.imputer_

    def _panels(self, X: Any) -> list[Panel]:
        if self.n_imputations == 1:
            return super()._panels(X)
        check_is_fitted(self)
        return self.front_.draws(self._check_X(X, reset=False), self.n_imputations)

    def predict_draws(self, X: Any) -> np.ndarray:
        """The answer to each completion of X, of which ``predict`` takes the mean.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        array of shape (n_imputations, n, n_outputs)
            Probabilities, or numbers in the unit of y.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``.
        """
        logits, missing = self._logits(X)
        answers = np.stack([self._task.link(one, missing) for one in logits])
        return answers.reshape(-1, len(self.nets_), *answers.shape[1:]).mean(1)


class TraceClassifier(PanelClassifierMixin, _Trace):
    __doc__ = f"""Classifier of time series with gaps and irregular clocks, after TRACE [1]_.

    Gaps are filled from all modalities (stage 1, ``imputer``); every series is then read off at
    common times by attention, and fused by attention between modalities and experts to which they
    are routed (stage 2, FuseMoE [2]_). With ``n_imputations > 1`` the doubt about what was missing
    reaches the probabilities.

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
        """The entropy of the prediction, split by where it comes from.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n_samples : int, default=20
            Networks drawn by dropout for each imputation; with ``n_estimators > 1`` the trained
            ones are taken.

        Returns
        -------
        dict of str to array of shape (n,)
            In nats. ``total``, the entropy of the mean probability, is the sum of ``aleatoric``,
            the mean entropy; ``epistemic``, what the networks disagree on, given the completion;
            and ``imputation``, what the completions disagree on, 0 with ``n_imputations=1``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is below 2, or X has another schema than in ``fit``.
        """
        p = self._passes(X, n_samples)  # (I, S, n, K)
        total = self._entropy(p.mean((0, 1)))
        completed = self._entropy(p.mean(1)).mean(0)
        aleatoric = self._entropy(p).mean((0, 1))
        return {
            "total": total,
            "aleatoric": aleatoric,
            "epistemic": completed - aleatoric,
            "imputation": total - completed,
        }


class TraceRegressor(PanelRegressorMixin, _Trace):
    __doc__ = f"""Regressor of time series with gaps and irregular clocks, after TRACE [1]_.

    As :class:`TraceClassifier`, for one or several numbers a sample.

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
        """The standard deviation of the prediction, split by where it comes from.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n_samples : int, default=20
            Networks drawn by dropout for each imputation; with ``n_estimators > 1`` the trained
            ones are taken.

        Returns
        -------
        dict of str to array of shape (n,) or (n, n_outputs)
            In the unit of y: ``epistemic``, by which the networks disagree, given the completion;
            ``imputation``, by which the completions disagree, 0 with ``n_imputations=1``; and
            ``total``, the root of the sum of their squares. Noise of y itself is not in it.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n_samples`` is below 2, or X has another schema than in ``fit``.
        """
        answers = self._passes(X, n_samples)  # (I, S, n, K)
        epistemic = answers.var(1).mean(0)
        imputation = answers.mean(1).var(0)
        parts = {
            "total": epistemic + imputation,
            "epistemic": epistemic,
            "imputation": imputation,
        }
        return {key: self._task.decode(np.sqrt(variance)) for key, variance in parts.items()}
