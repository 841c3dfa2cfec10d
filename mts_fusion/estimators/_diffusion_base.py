"""DiffusionEstimator: the parameters of the imputer by diffusion, and its network."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar

import numpy as np
from sklearn.utils._param_validation import Interval, StrOptions

from mts_fusion.nn import ConditionalDiffusion, GaussianTransport
from mts_fusion.training import FixedFeatures

from ._base import PanelEstimator
from ._context import FitContext
from ._gaps import shortest_interval
from ._gaussian_base import make_transport
from ._gaussian_process import GaussianProcessImputer

__all__ = ["DiffusionEstimator"]


class DiffusionEstimator(PanelEstimator):
    """Abstract: parameters and network of :class:`ConditionalDiffusionImputer`, described there."""

    _MIN_EPOCHS: ClassVar[int] = 30
    _MIN_STEPS: ClassVar[int] = 300
    _N_ESTIMATORS: ClassVar[int] = 1

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PanelEstimator._parameter_constraints,
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "statistic": [StrOptions({"median", "mean"})],
        "fill_absent": ["boolean"],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "sampler": [StrOptions({"flow2m", "dpm++2m", "ddim", "ddpm"})],
        "d_model": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "denoiser": [StrOptions({"attention", "state_space"})],
        "n_encoder_layers": [Interval(Integral, 0, None, closed="left")],
        "patch_length": [Interval(Integral, 1, None, closed="left"), None],
        "channels_per_token": [Interval(Integral, 1, None, closed="left"), None],
        "n_experts": [Interval(Integral, 1, None, closed="left")],
        "conditioning": [StrOptions({"cross", "target", "none"})],
        "gating": [StrOptions({"moe", "inner_product", "fixed"})],
        "mask_strategy": [StrOptions({"mix", "random", "block", "modality", "historical"})],
        "hidden_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "schedule": [StrOptions({"quad", "linear", "cosine"})],
        "n_train_steps": [Interval(Integral, 2, None, closed="left")],
        "parameterization": [StrOptions({"velocity", "noise"})],
        "prior": [StrOptions({"learned", "standard", "gaussian_process"})],
        "base": [GaussianProcessImputer, None],
    }

    def __init__(
        self,
        *,
        n_samples: int = 20,
        statistic: str = "median",
        fill_absent: bool = True,
        n_steps: int = 5,
        sampler: str = "flow2m",
        d_model: int = 64,
        n_heads: int = 8,
        n_layers: int = 2,
        denoiser: str = "attention",
        n_encoder_layers: int = 3,
        patch_length: int | None = None,
        channels_per_token: int | None = None,
        n_experts: int = 5,
        conditioning: str = "cross",
        gating: str = "moe",
        mask_strategy: str = "mix",
        hidden_fraction: float | None = None,
        schedule: str = "quad",
        n_train_steps: int = 50,
        parameterization: str = "velocity",
        prior: str = "learned",
        base: GaussianProcessImputer | None = None,
        optimizer: str | Callable[..., Any] = "adamw",
        lr: float = 2e-3,
        weight_decay: float = 0.05,
        batch_size: int | str = "auto",
        max_epochs: int | str = "auto",
        patience: int | None = None,
        validation_fraction: float | str = "auto",
        n_estimators: int | str = "auto",
        callbacks: Sequence[Any] | None = None,
        device: str = "auto",
        precision: str = "float32",
        warm_start: bool = False,
        net_params: Mapping[str, Any] | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_samples = n_samples
        self.statistic = statistic
        self.fill_absent = fill_absent
        self.n_steps = n_steps
        self.sampler = sampler
        self.d_model = d_model
        self.n_heads = n_heads
        self.n_layers = n_layers
        self.denoiser = denoiser
        self.n_encoder_layers = n_encoder_layers
        self.patch_length = patch_length
        self.channels_per_token = channels_per_token
        self.n_experts = n_experts
        self.conditioning = conditioning
        self.gating = gating
        self.mask_strategy = mask_strategy
        self.hidden_fraction = hidden_fraction
        self.schedule = schedule
        self.n_train_steps = n_train_steps
        self.parameterization = parameterization
        self.prior = prior
        self.base = base
        self.optimizer = optimizer
        self.lr = lr
        self.weight_decay = weight_decay
        self.batch_size = batch_size
        self.max_epochs = max_epochs
        self.patience = patience
        self.validation_fraction = validation_fraction
        self.n_estimators = n_estimators
        self.callbacks = callbacks
        self.device = device
        self.precision = precision
        self.warm_start = warm_start
        self.net_params = net_params
        self.random_state = random_state
        self.verbose = verbose

    def _make_module(
        self, context: FitContext, features: FixedFeatures | None, member: int
    ) -> ConditionalDiffusion | GaussianTransport:
        if self.prior == "gaussian_process":
            return make_transport(self, context)
        return ConditionalDiffusion(
            context.schema,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
            denoiser=self.denoiser,
            n_encoder_layers=self.n_encoder_layers,
            patch_length=self.patch_length,
            channels_per_token=self.channels_per_token,
            n_experts=self.n_experts,
            conditioning=self.conditioning,
            gating=self.gating,
            mask_strategy=self.mask_strategy,
            hidden_fraction=self.hidden_fraction,
            schedule=self.schedule,
            n_train_steps=self.n_train_steps,
            parameterization=self.parameterization,
            prior=self.prior,
            time_unit=shortest_interval(context.panel),
        )
