"""MaestroClassifier and MaestroRegressor: MAESTRO as scikit-learn estimators."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.pipeline import Pipeline
from sklearn.utils._param_validation import Interval, StrOptions

from mts_fusion.nn import Maestro
from mts_fusion.nn.features import FEATURE_KINDS
from mts_fusion.panel._arguments import check_types
from mts_fusion.training import FixedFeatures, ModalityCurriculum, pick_device

from ._context import FitContext
from ._docs import CLASSIFIER_ATTRIBUTES, REGRESSOR_ATTRIBUTES
from ._maestro_docs import MAESTRO_PARAMETERS
from ._maestro_paper import paper_settings
from ._mixins import PanelClassifierMixin, PanelRegressorMixin
from ._predictor import PanelPredictor
from ._pretrained import PretrainedNetwork

__all__ = ["MaestroClassifier", "MaestroRegressor"]


class _Maestro(PanelPredictor):
    """Abstract: the parameters and the network of MAESTRO."""

    _KEEPS_LAST_EPOCH: ClassVar[bool] = True

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PanelPredictor._parameter_constraints,
        "d_model": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "n_intra_layers": [Interval(Integral, 0, None, closed="left")],
        "n_cross_layers": [Interval(Integral, 0, None, closed="left")],
        "d_hidden": [Interval(Integral, 1, None, closed="left"), None],
        "n_experts": [Interval(Integral, 1, None, closed="left")],
        "n_active_experts": [Interval(Integral, 1, None, closed="left")],
        # "both" lets infinity in
        "attention_budget": [StrOptions({"learnt"}), Interval(Real, 0, None, closed="both"), dict],
        "max_budget": [Interval(Real, 0, None, closed="neither")],
        "cross_budget": [Interval(Real, 0, None, closed="both"), None],
        "distil": ["boolean"],
        "modality_dropout_spread": ["boolean"],
        "n_warmup_epochs": [Interval(Integral, 0, None, closed="left")],
        "n_curriculum_epochs": [Interval(Integral, 0, None, closed="left"), StrOptions({"auto"})],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "balance_weight": [Interval(Real, 0, None, closed="left")],
        "missing": [StrOptions({"mask", "token"})],
        "patch_length": [Interval(Integral, 1, None, closed="left"), dict, None],
        "feature_tokens": [list, tuple],
        "feature_dropout": [Interval(Real, 0, 1, closed="left")],
        "n_groups": [Interval(Integral, 2, None, closed="left")],
        "linear_head": ["boolean"],
        "token_type_dropout": [Interval(Real, 0, 1, closed="left")],
        "series_dropout": [Interval(Real, 0, 1, closed="left")],
        "max_tokens": [Interval(Integral, 1, None, closed="left")],
        "pretrained": [PretrainedNetwork, None],
    }

    def __init__(
        self,
        *,
        d_model: int = 64,
        n_heads: int = 4,
        n_intra_layers: int = 2,
        n_cross_layers: int = 2,
        d_hidden: int | None = None,
        n_experts: int = 4,
        n_active_experts: int = 1,
        attention_budget: str | float | Mapping[str, float] = "learnt",
        max_budget: float = 5.0,
        cross_budget: float | None = None,
        distil: bool = True,
        modality_dropout: float = 0.3,
        modality_dropout_spread: bool = True,
        n_warmup_epochs: int = 0,
        n_curriculum_epochs: int | str = "auto",
        dropout: float = 0.3,
        balance_weight: float = 0.0,
        missing: str = "mask",
        patch_length: int | Mapping[str, int] | None = None,
        max_tokens: int = 4,
        feature_tokens: Sequence[str] = ("statistics", "multirocket"),
        feature_dropout: float = 0.5,
        n_groups: int = 8,
        linear_head: bool = False,
        token_type_dropout: float = 0.3,
        series_dropout: float = 0.5,
        pretrained: PretrainedNetwork | None = None,
        optimizer: str | Callable[..., Any] = "adamw",
        lr: float = 2e-3,
        weight_decay: float = 0.05,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        patience: int | None = None,
        validation_fraction: float | str = "auto",
        class_weight: Mapping[Any, float] | str | None = None,
        label_smoothing: float | str = 0.0,
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
        self.d_model = d_model
        self.n_heads = n_heads
        self.n_intra_layers = n_intra_layers
        self.n_cross_layers = n_cross_layers
        self.d_hidden = d_hidden
        self.n_experts = n_experts
        self.n_active_experts = n_active_experts
        self.attention_budget = attention_budget
        self.max_budget = max_budget
        self.cross_budget = cross_budget
        self.distil = distil
        self.modality_dropout = modality_dropout
        self.modality_dropout_spread = modality_dropout_spread
        self.n_warmup_epochs = n_warmup_epochs
        self.n_curriculum_epochs = n_curriculum_epochs
        self.dropout = dropout
        self.balance_weight = balance_weight
        self.missing = missing
        self.patch_length = patch_length
        self.max_tokens = max_tokens
        self.feature_tokens = feature_tokens
        self.feature_dropout = feature_dropout
        self.n_groups = n_groups
        self.linear_head = linear_head
        self.token_type_dropout = token_type_dropout
        self.series_dropout = series_dropout
        self.pretrained = pretrained
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

    def _fit_preprocessor(self, panel: Any, y: Any, groups: Any, seed: int) -> Any:
        if self.pretrained is None:
            return super()._fit_preprocessor(panel, y, groups, seed)
        return self.pretrained.preprocessor_for(panel.schema)

    def _highest_modality_dropout(self) -> float:
        factor = 2 if self.modality_dropout_spread else 1
        return min(factor * self.modality_dropout, 1.0)

    def _make_features(self, context: FitContext) -> FixedFeatures | None:
        unknown = [kind for kind in self.feature_tokens if kind not in FEATURE_KINDS]
        if unknown:
            raise ValueError(
                f"feature_tokens has {unknown}, but the kinds of fixed features are "
                f"{list(FEATURE_KINDS)}; () is none."
            )
        features = FixedFeatures(
            context.schema,
            tuple(self.feature_tokens),
            n_groups=self.n_groups,
            scales=context.scales,
            random_state=context.seed,
            device=pick_device(self.device),
        )
        return features if any(features.n_features) else None

    def _make_curriculum(self, max_epochs: int) -> ModalityCurriculum:
        n_warmup, n_epochs = self.n_warmup_epochs, self.n_curriculum_epochs
        if isinstance(n_epochs, str):
            n_epochs = n_warmup + math.ceil(max(0, max_epochs - n_warmup) / 4)
        return ModalityCurriculum(n_warmup_epochs=n_warmup, n_epochs=n_epochs)

    def _make_module(
        self, context: FitContext, features: FixedFeatures | None, member: int
    ) -> Maestro:
        module = Maestro(
            context.schema,
            context.n_outputs,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_intra_layers=self.n_intra_layers,
            n_cross_layers=self.n_cross_layers,
            d_hidden=self.d_hidden,
            n_experts=self.n_experts,
            n_active_experts=self.n_active_experts,
            attention_budget=self.attention_budget,
            max_budget=self.max_budget,
            cross_budget=self.cross_budget,
            distil=self.distil,
            modality_dropout=self.modality_dropout,
            modality_dropout_spread=self.modality_dropout_spread,
            dropout=self.dropout,
            balance_weight=self.balance_weight,
            missing=self.missing,
            patch_length=self.patch_length,
            feature_widths=None if features is None else features.widths,
            feature_dropout=self.feature_dropout,
            linear_head=self.linear_head,
            token_type_dropout=self.token_type_dropout,
            series_dropout=self.series_dropout,
            max_tokens=self.max_tokens,
        )
        if self.pretrained is not None:
            self.pretrained.start(module)
        return module


class MaestroClassifier(PanelClassifierMixin, _Maestro):
    __doc__ = f"""Classifier of multimodal time series with missing sensors, after MAESTRO [1]_.

    In each network, symbols or patches of the values of a modality become tokens, which attend to
    each other within their modality, limited by a learnt attention budget, then across modalities,
    and are processed by sparse experts. Tokens of fixed features pass through the layers across
    modalities beside them, and the head reads both. Missing modalities are left out.

    Parameters
    ----------
    {MAESTRO_PARAMETERS}

    Attributes
    ----------
    {CLASSIFIER_ATTRIBUTES}

    References
    ----------
    .. [1] Mohapatra et al., "MAESTRO: Adaptive Sparse Attention and Robust Learning for Multimodal
       Dynamic Time Series", NeurIPS, 2025. https://arxiv.org/abs/2509.25278
    .. [2] Tan, Dempster, Bergmeir and Webb, "MultiRocket: multiple pooling operators and
       transformations for fast and effective time series classification", Data Mining and
       Knowledge Discovery, 2022. https://arxiv.org/abs/2102.00457

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, y = make_panel_classification(n_samples=60, random_state=0)
    >>> clf = MaestroClassifier(d_model=16, max_epochs=2, random_state=0).fit(X, y)
    >>> clf.predict_proba(X[:5]).shape
    (5, 3)
    """

    @classmethod
    def from_paper(
        cls,
        dataset: str,
        *,
        symbols: bool = True,
        random_state: int | np.random.RandomState | None = None,
    ) -> Pipeline:
        """MAESTRO as published: SAX symbols, one network, nothing that this library adds.

        Symbols become tokens; attention within each modality, with learnt budgets and distilling;
        sparse attention across modalities; four experts, one for each token; a learnt vector for
        what is missing; modality dropout with a curriculum. No fixed features, no ensemble, no
        calibration. ``docs/maestro.md`` lists what still differs from the paper.

        Parameters
        ----------
        dataset : {"wesad", "dalia", "dsads", "mimic3"}
            Whose settings: WESAD, DaliaHAR, DSADS or MIMIC-III.
        symbols : bool, default=True
            Whether there is a :class:`SAXTokenizer`. False is the paper's "without SAX": each
            timepoint is a token.
        random_state : int, RandomState or None, default=None
            Seed of all random numbers.

        Returns
        -------
        Pipeline
            With the steps ``"sax"`` and ``"clf"``. ``set_params(clf__max_epochs=50)`` changes a
            setting; ``fit(X, y, clf__groups=subjects)`` holds out whole subjects, as the paper.

        Raises
        ------
        ValueError
            If the data set is not one of the paper.

        Examples
        --------
        >>> from mts_fusion.datasets import make_panel_classification
        >>> X, y = make_panel_classification(n_samples=60, random_state=0)
        >>> clf = MaestroClassifier.from_paper("wesad", random_state=0)
        >>> clf.set_params(clf__max_epochs=2).fit(X, y).predict_proba(X[:5]).shape
        (5, 3)
        """
        check_types(cls.from_paper, locals())
        tokenizer, settings = paper_settings(dataset)
        clf = cls(**settings, random_state=random_state)
        return Pipeline([("sax", tokenizer if symbols else "passthrough"), ("clf", clf)])


class MaestroRegressor(PanelRegressorMixin, _Maestro):
    __doc__ = f"""Regressor of multimodal time series with missing sensors, after MAESTRO [1]_.

    As :class:`MaestroClassifier`, for one or several numeric targets.

    Parameters
    ----------
    {MAESTRO_PARAMETERS}

    Attributes
    ----------
    {REGRESSOR_ATTRIBUTES}

    References
    ----------
    .. [1] Mohapatra et al., "MAESTRO: Adaptive Sparse Attention and Robust Learning for Multimodal
       Dynamic Time Series", NeurIPS, 2025. https://arxiv.org/abs/2509.25278
    .. [2] Tan, Dempster, Bergmeir and Webb, "MultiRocket: multiple pooling operators and
       transformations for fast and effective time series classification", Data Mining and
       Knowledge Discovery, 2022. https://arxiv.org/abs/2102.00457

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_regression
    >>> X, y = make_panel_regression(n_samples=60, random_state=0)
    >>> MaestroRegressor(d_model=16, max_epochs=2, random_state=0).fit(X, y).predict(X[:5]).shape
    (5,)
    """
