"""TraceEstimator: parameters and network of TRACE, and the average over imputations."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils._param_validation import HasMethods, Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.nn import Trace
from mts_fusion.panel import Panel, PanelLike
from mts_fusion.runs import predicting
from mts_fusion.training import FixedFeatures, Multilabel, PanelDataset, choose_schedule
from mts_fusion.transforms import PanelImputer

from ._boosted_head import BoostedHead
from ._checks import check_X
from ._context import FitContext
from ._diffusion import ConditionalDiffusionImputer
from ._impute_then_scale import ImputeThenScale
from ._predictor import PanelPredictor
from ._trace_paper import fusion_settings

__all__ = ["TraceEstimator"]


# Of what statistics=True reads: with irregular times also when and how often it was observed.
_KINDS = ("statistics", "timing")

# What imputer="diffusion" is: long patches, few and short draws. A sensor that is wholly silent is
# left to the fusion, as in the paper: generated, it made predictions worse (docs/trace.md).
_SMALL_DIFFUSION: dict[str, Any] = {
    "d_model": 32,
    "n_encoder_layers": 2,
    "patch_length": 8,
    "n_samples": 5,
    "n_steps": 2,
    "mask_strategy": "random",
}
# Least epochs of it with max_epochs="auto"; up to 3,200 samples 300 steps are 12 or more.
_IMPUTER_EPOCHS = 3


class TraceEstimator(PanelPredictor):
    """Abstract: parameters and network of TRACE, and the average over imputations."""

    # More steps overfit (PhysioNet 2012, JapaneseVowels).
    _MIN_STEPS: ClassVar[int] = 300
    _N_ESTIMATORS: ClassVar[int] = 1
    _FILLS_GAPS: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PanelPredictor._parameter_constraints,
        "imputer": [HasMethods(["fit", "transform"]), StrOptions({"diffusion", "nearest"}), None],
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
        "head": [StrOptions({"network", "boosting"})],
        "horizon_seconds": [Interval(Real, 0, None, closed="neither"), None],
    }

    preprocessor_: ImputeThenScale

    def __init__(
        self,
        *,
        imputer: Any = "diffusion",
        n_imputations: int = 1,
        d_model: int = 64,
        d_time: int = 64,
        n_reference: int = 16,
        n_heads: int = 4,
        n_layers: int = 2,
        n_experts: int = 8,
        n_active_experts: int = 2,
        d_hidden: int = 64,
        router: str = "per_modality",
        gate: str = "laplace",
        entropy_weight: float = 1.0,
        modality_dropout: float = 0.2,
        dropout: float = 0.1,
        statistics: bool | str = "auto",
        head: str = "network",
        horizon_seconds: float | None = None,
        optimizer: str | Callable[..., Any] = "adamw",
        lr: float = 2e-3,
        weight_decay: float = 0.05,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        patience: int | None = None,
        validation_fraction: float | str = "auto",
        class_weight: Mapping[Any, float] | str | None = None,
        label_smoothing: float | str = "auto",
        calibration: str | None = "auto",
        n_estimators: int | str = "auto",
        callbacks: Sequence[Any] | None = None,
        device: str = "auto",
        precision: str = "float32",
        warm_start: bool = False,
        net_params: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
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
        self.head = head
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

    @classmethod
    def from_paper(
        cls, dataset: str, *, random_state: int | np.random.RandomState | None = None
    ) -> Self:
        """TRACE as published: both stages with the sizes of table 6, nothing that is added here.

        Stage 1 is :meth:`ConditionalDiffusionImputer.from_paper`; stage 2 has no statistics, no
        modality dropout and no calibration. On a CPU it is many times slower than the default.
        ``docs/trace.md`` lists what still differs from the paper.

        Parameters
        ----------
        dataset : {"mimic4", "mosi", "mosei"}
            Whose settings: MIMIC-IV, CMU-MOSI or CMU-MOSEI.
        random_state : int, RandomState or None, default=None
            Seed of all random numbers, of both stages.

        Returns
        -------
        estimator
            Not fitted; every setting is an ordinary parameter, those of the imputer with the
            prefix ``imputer__``.

        Raises
        ------
        ValueError
            If the data set is not one of the paper.
        """
        imputer = ConditionalDiffusionImputer.from_paper(dataset)
        return cls(imputer=imputer, **fusion_settings(dataset), random_state=random_state)

    def _fit_preprocessor(
        self, panel: Panel, y: np.ndarray | None, groups: np.ndarray | None, seed: int
    ) -> ImputeThenScale:
        imputer = self.imputer
        if imputer == "nearest":
            imputer = PanelImputer()
        elif imputer == "diffusion":
            batch_size, max_epochs = choose_schedule(
                len(panel),
                batch_size=self.batch_size,
                max_epochs=self.max_epochs,
                min_epochs=_IMPUTER_EPOCHS,
                min_steps=self._MIN_STEPS,
            )
            imputer = ConditionalDiffusionImputer(
                **_SMALL_DIFFUSION,
                fill_absent=False,
                batch_size=batch_size,
                max_epochs=max_epochs,
                device=self.device,
                precision=self.precision,
            )
        if self.n_imputations > 1 and not hasattr(imputer, "sample"):
            raise ValueError(
                f"n_imputations={self.n_imputations} needs an imputer with sample(X, n), such as "
                f"ConditionalDiffusionImputer; imputer={self.imputer!r} has none. Set "
                "n_imputations=1."
            )
        preprocessor = ImputeThenScale(
            imputer,
            self.n_imputations,
            numbers_only=self.imputer == "diffusion",
            random_state=seed,
        )
        return preprocessor.fit(panel, y, groups)

    def _make_features(self, context: FitContext) -> FixedFeatures | None:
        has_statistics = self.statistics
        if has_statistics == "auto":
            has_statistics = self.n_imputations == 1
        return FixedFeatures(context.schema, _KINDS) if has_statistics else None

    def _make_trees(self, context: FitContext) -> BoostedHead | None:
        if self.head == "network":
            return None
        if isinstance(self._task, Multilabel):
            raise ValueError(
                "head='boosting' is for one class a sample or for numbers, but y holds labels. "
                "Set head='network'."
            )
        return BoostedHead(
            context.n_outputs, has_softmax=context.has_softmax, seed=context.seed % 2**32
        )

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
        has_imputed = self.imputer_ is not None
        return PanelDataset(panel, target, weight, has_imputed=has_imputed, schema=self.schema_)

    @property
    def imputer_(self) -> Any:
        """The fitted imputer; None without one."""
        return self.preprocessor_.imputer_

    def _panels(self, X: Any) -> list[Panel]:
        check_is_fitted(self)
        panel = check_X(self, X, reset=False)
        with predicting(self, panel):
            if self.n_imputations == 1:
                return [self.preprocessor_.transform(panel)]
            return self.preprocessor_.draws(panel, self.n_imputations)

    def predict_draws(self, X: PanelLike) -> np.ndarray:
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
