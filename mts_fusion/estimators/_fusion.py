"""FusionClassifier and FusionRegressor: all fusion strategies as scikit-learn estimators."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval

from mts_fusion.nn import FusionNet
from mts_fusion.nn.networks import encoder_names
from mts_fusion.nn.strategies import get_strategy
from mts_fusion.training import FixedFeatures, pick_device

from ._context import FitContext
from ._docs import CLASSIFIER_ATTRIBUTES, REGRESSOR_ATTRIBUTES, TRAINING_PARAMETERS
from ._mixins import PanelClassifierMixin, PanelRegressorMixin
from ._predictor import PanelPredictor

__all__ = ["FusionClassifier", "FusionRegressor"]

_PARAMETERS = f"""strategy : str, default="early"
        How the modalities are fused. ``"early"``: one network over all embeddings. ``"late"``: a
        learnt average of the logits of each modality. ``"hybrid"``: both those logits and attention
        between the modalities. ``"uncertainty"``: an average of logits weighted by their certainty.
        ``"tensor"``, ``"low_rank"``: products of modalities. ``"mag"``: the embedding of one
        modality shifted by the others. ``"mult"``: a transformer for each ordered pair of
        modalities. ``"mists"``: attention within and between modalities in turn. ``"shaspec"``:
        features that all modalities share and features of their own. ``"flex_moe"``: learnt vectors
        for what is missing, and an expert for each combination of modalities.
        Or a name given to ``mts_fusion.nn.register_strategy``.
    encoder : str or dict of str to str, default="multirocket"
        What makes the embedding of each modality: ``"multirocket"`` (proportions of positive values
        and run lengths of fixed random convolutions [1]_, [2]_, and statistics of the channels,
        computed once), ``"hydra"`` (counts of competing convolutions [3]_, and the same
        statistics), ``"lstm"``, ``"gru"``, ``"cnn"``, ``"transformer"`` or, for irregular times,
        ``"utde"`` (last values and attention over time, mixed by a gate); or a name given to
        ``mts_fusion.nn.register_encoder``. A dict names the encoders of some modalities; the others
        have the default.
    d_model : int, default=64
        Width of the embeddings.
    n_heads : int, default=4
        Number of attention heads; divides ``d_model`` if encoder or strategy has attention.
    modality_dropout : float, default=0.3
        Fraction of the modalities that is hidden in training, on average; each sample has a rate of
        its own, drawn uniformly between 0 and twice that. The rates grow over the first quarter of
        the epochs. With 0 the networks do not learn to predict without a sensor that is always
        there in training.
    dropout : float, default=0.1
        Dropout in encoders and strategy.
    feature_dropout : float, default=0.5
        Dropout on the fixed features.
    token_type_dropout : float, default=0.8
        Rate at which either the convolutions or the statistics of a modality with fixed features
        are dropped from a sample in training, so that neither depends on the other. 0 is for
        comparisons: it generalises less to new subjects.
    n_groups : int, default=32
        Number of groups of random convolutions, even. Time and memory grow linearly with it.
    pooled : bool, default=False
        Whether ``"hydra"`` also has the convolution features of ``"multirocket"``.
    strategy_params : dict or None, default=None
        Additional parameters of the strategy, such as ``{{"rank": 8}}`` for ``"low_rank"``.
    {TRAINING_PARAMETERS}"""


class _Fusion(PanelPredictor):
    """Abstract: the parameters and the network of the fusion estimators."""

    _N_ESTIMATORS: ClassVar[int] = 1

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PanelPredictor._parameter_constraints,
        "strategy": [str],
        "encoder": [str, dict],
        "d_model": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "dropout": [Interval(Real, 0, 1, closed="left")],
        "feature_dropout": [Interval(Real, 0, 1, closed="left")],
        "token_type_dropout": [Interval(Real, 0, 1, closed="left")],
        "n_groups": [Interval(Integral, 2, None, closed="left")],
        "pooled": ["boolean"],
        "strategy_params": [dict, None],
    }

    def __init__(
        self,
        *,
        strategy: str = "early",
        encoder: str | Mapping[str, str] = "multirocket",
        d_model: int = 64,
        n_heads: int = 4,
        modality_dropout: float = 0.3,
        dropout: float = 0.1,
        feature_dropout: float = 0.5,
        token_type_dropout: float = 0.8,
        n_groups: int = 32,
        pooled: bool = False,
        strategy_params: Mapping[str, Any] | None = None,
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
        self.strategy = strategy
        self.encoder = encoder
        self.d_model = d_model
        self.n_heads = n_heads
        self.modality_dropout = modality_dropout
        self.dropout = dropout
        self.feature_dropout = feature_dropout
        self.token_type_dropout = token_type_dropout
        self.n_groups = n_groups
        self.pooled = pooled
        self.strategy_params = strategy_params
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

    def _highest_modality_dropout(self) -> float:
        return min(2 * self.modality_dropout, 1.0)

    def _make_features(self, context: FitContext) -> FixedFeatures | None:
        hydra = ("hydra", "multirocket") if self.pooled else ("hydra",)
        kinds = {"multirocket": ("multirocket", "statistics"), "hydra": (*hydra, "statistics")}
        schema = context.schema
        names = encoder_names(schema, self.encoder)
        features = FixedFeatures(
            schema,
            {m: kinds.get(name, ()) for m, name in zip(schema.names, names, strict=True)},
            n_groups=self.n_groups,
            scales=context.scales,
            random_state=context.seed,
            device=pick_device(self.device),
        )
        return features if any(features.n_features) else None

    def _make_module(
        self, context: FitContext, features: FixedFeatures | None, member: int
    ) -> FusionNet:
        strategy = get_strategy(self.strategy)
        known = inspect.signature(strategy.__init__).parameters
        if unknown := [name for name in self.strategy_params or {} if name not in known]:
            raise ValueError(
                f"strategy_params names {unknown}, which {strategy.__name__} does not have; it has "
                f"{[name for name in known if name != 'self'][3:]}."
            )
        _check_types_of_defaults("strategy_params", self.strategy_params or {}, strategy.__init__)
        defaults = {} if context.has_softmax else strategy.params_without_softmax
        return FusionNet(
            context.schema,
            context.n_outputs,
            strategy=self.strategy,
            encoder=self.encoder,
            d_model=self.d_model,
            n_heads=self.n_heads,
            modality_dropout=self.modality_dropout,
            dropout=self.dropout,
            feature_dropout=self.feature_dropout,
            token_type_dropout=self.token_type_dropout,
            strategy_params={**defaults, **(self.strategy_params or {})},
            feature_widths=None if features is None else features.widths,
        )


class FusionClassifier(PanelClassifierMixin, _Fusion):
    __doc__ = f"""Classifier of multimodal time series with missing sensors and a choice of fusion.

    Each modality, with its own length and sampling rate, becomes an embedding, and the embeddings
    of the available modalities are fused. By default the embeddings are made of fixed random
    convolutions [1]_, [2]_, so that a fit takes seconds. Nothing has to be imputed.

    Parameters
    ----------
    {_PARAMETERS}

    Attributes
    ----------
    {CLASSIFIER_ATTRIBUTES}

    Notes
    -----
    ``explain(X)`` returns, depending on the strategy, ``weight (n, M)``, the weight of each
    modality; ``modality_logits (n, M, n_classes)``, the logits of each alone; ``uncertainty
    (n, M)``; and ``attention (n, M, M)``.

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
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, y = make_panel_classification(n_samples=60, random_state=0)
    >>> clf = FusionClassifier(n_groups=8, d_model=16, max_epochs=2, random_state=0).fit(X, y)
    >>> clf.predict_proba(X[:5]).shape
    (5, 3)
    """


class FusionRegressor(PanelRegressorMixin, _Fusion):
    __doc__ = f"""Regressor of multimodal time series with missing sensors and a choice of fusion.

    As :class:`FusionClassifier`, for one or several numeric targets.

    Parameters
    ----------
    {_PARAMETERS}

    Attributes
    ----------
    {REGRESSOR_ATTRIBUTES}

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
    >>> from mts_fusion.datasets import make_panel_regression
    >>> X, y = make_panel_regression(n_samples=60, random_state=0)
    >>> reg = FusionRegressor(n_groups=8, d_model=16, max_epochs=2, random_state=0).fit(X, y)
    >>> reg.predict(X[:5]).shape
    (5,)
    """


def _check_types_of_defaults(name: str, given: Mapping[str, Any], function: Callable) -> None:
    """Raise unless arguments are of the type of their defaults, where that is a number or bool.

    Parameters
    ----------
    name : str
        What holds the arguments, for the message.
    given : dict of str to object
        Arguments of the function.
    function : callable
        Has the defaults.

    Raises
    ------
    ValueError
        Names the argument.
    """
    for key, parameter in inspect.signature(function).parameters.items():
        value, default = given.get(key, parameter.default), parameter.default
        is_bool = isinstance(value, (bool, np.bool_))
        if isinstance(default, bool):
            wanted, fits = "True or False", is_bool
        elif isinstance(default, int):
            wanted, fits = "an int", isinstance(value, Integral) and not is_bool
        elif isinstance(default, float):
            fits = isinstance(value, Real) and not is_bool and math.isfinite(value)
            wanted = "a finite number"
        else:
            continue
        if not fits:
            raise ValueError(f"{name}[{key!r}] is {wanted}, got {value!r}. Default: {default!r}.")
