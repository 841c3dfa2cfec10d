"""ConditionalDiffusionImputer: gaps filled by samples of what the values may have been."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from numbers import Integral, Real
from typing import Any, ClassVar, Self, cast

import numpy as np
from sklearn.base import TransformerMixin
from sklearn.utils import Tags, check_random_state
from sklearn.utils._param_validation import Interval, StrOptions
from sklearn.utils.validation import check_is_fitted

from mts_fusion.metrics import crps_from_samples
from mts_fusion.nn import ConditionalDiffusion, DiffusionSampler
from mts_fusion.panel import Panel, Schema
from mts_fusion.training import PanelDataset, PanelNet
from mts_fusion.transforms import MissingnessMasker, PanelScaler

from ._base import PanelEstimator

__all__ = ["ConditionalDiffusionImputer"]


class _OwnLoss:
    """The task of a network that has its loss within: nothing is asked of it."""

    n_outputs = 0

    def encode(self, y: np.ndarray) -> np.ndarray:
        return y

    def loss(self, prediction: Any, y: Any, weight: Any) -> Any:
        return prediction.sum() * 0

    def link(self, prediction: np.ndarray, missing: np.ndarray | float = 0.0) -> np.ndarray:
        return prediction

    def decode(self, p: np.ndarray) -> np.ndarray:
        return p


class ConditionalDiffusionImputer(TransformerMixin, PanelEstimator):
    """Panels whose gaps are filled by conditional diffusion, stage 1 of TRACE [1]_.

    Learns from incomplete data: a part of what is observed is hidden and has to be found again
    from the rest, in the modality itself and in the others. ``transform`` fills each gap with the
    median of samples; ``sample`` gives the samples, so that a fusion can use the doubt too.

    Parameters
    ----------
    n_samples : int, default=20
        Samples behind each filled value. 1 is a single draw; more is nearer to the best guess.
    statistic : {"median", "mean"}, default="median"
        What fills a gap: the median of the samples (best for absolute errors) or their mean (best
        for squared errors).
    n_steps : int, default=5
        Steps of the sampler, at most ``n_train_steps``. Time grows with it.
    sampler : {"flow2m", "dpm++2m", "ddim", "ddpm"}, default="flow2m"
        ``"flow2m"`` and ``"dpm++2m"`` are solvers of second order for few steps, ``"ddim"`` is one
        of first order, ``"ddpm"`` the ancestral sampling of the paper, for 50 steps.
    d_model : int, default=64
        Width of the tokens.
    n_heads : int, default=8
        Heads of the attention; divides ``d_model`` and 128.
    n_layers : int, default=2
        Layers of the denoiser, which runs in each step on each sample.
    n_encoder_layers : int, default=3
        Layers of the encoder of what is observed, which runs once. 0: the denoiser does all.
    patch_length : int or None, default=None
        Consecutive timepoints in a token. 1 is finest and slowest; None makes at most 64 tokens of
        each channel group.
    channels_per_token : int or None, default=None
        Consecutive channels in a token. None: all of a modality, which is fast; 1 has attention
        between channels, as in the paper, and is many times slower.
    n_experts : int, default=5
        Experts of the context that the other modalities give.
    conditioning : {"cross", "target", "none"}, default="cross"
        What a gap is filled from: the observed entries of all modalities, those of its own, or
        nothing but when and where it is. ``"target"`` on one modality, with
        ``n_encoder_layers=0, n_layers=4, patch_length=1, channels_per_token=1, prior="standard",
        parameterization="noise"`` is CSDI [2]_.
    gating : {"moe", "fixed"}, default="moe"
        Whether the other modalities are weighed by a learnt gate or all alike.
    mask_strategy : {"mix", "random", "block", "modality", "historical"}, default="mix"
        What is hidden in training: entries, rectangles, whole modalities, what another sample
        lacks, or a mixture of these. Without ``"modality"`` or ``"mix"``, a wholly absent modality
        is a case never seen.
    hidden_fraction : float or None, default=None
        Share hidden; None draws it from U(0, 1) for each sample.
    schedule : {"quad", "linear", "cosine"}, default="quad"
        How the noise grows.
    n_train_steps : int, default=50
        Steps of the diffusion in training.
    parameterization : {"velocity", "noise"}, default="velocity"
        What the denoiser predicts. ``"noise"`` is the paper's, and needs more steps.
    prior : {"learned", "standard"}, default="learned"
        ``"learned"``: the encoder says where each gap is expected and how widely, and the diffusion
        draws the rest, which takes few steps. ``"standard"`` is the paper's.
    optimizer, lr, weight_decay, batch_size, max_epochs, patience, validation_fraction
        As for :class:`MaestroClassifier`; no classes, so held-out samples are drawn at random.
        ``max_epochs="auto"`` is 30 passes, and at least 300 steps. ``batch_size`` also bounds the
        samples that are drawn at once.
    n_estimators : int or "auto", default="auto"
        ``"auto"`` is 1. Networks trained from different first weights; each gives its share of
        the samples.
    callbacks, device, precision, warm_start, net_params, random_state, verbose
        As for :class:`MaestroClassifier`.

    Attributes
    ----------
    schema_ : Schema
        The modalities seen in ``fit``.
    nets_ : list of PanelNet
        The trained networks.
    history_ : list of list of dict
        Losses and seconds, by network and epoch.
    n_iter_ : int
        Epochs run.
    time_unit_ : float
        Shortest sampling interval in seconds; 1 where no clock is known.
    seed_ : int
        Of the noise; with the content of a sample it decides its draws.
    n_features_in_ : int
        Columns of a 2-D X, channels of a 3-D one, else modalities.

    See Also
    --------
    PanelImputer : Simple rules, in no time.

    Notes
    -----
    The noise of a sample is a function of its observed content and of ``random_state``: neither
    order nor batch size nor the other samples change what is filled in. Each channel is scaled in
    ``fit`` by its observed entries, and back on the way out. An entry without a time (padding of
    an irregular modality) does not exist, and stays NaN.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285
    .. [2] Tashiro et al., "CSDI: Conditional Score-based Diffusion Models for Probabilistic Time
       Series Imputation", NeurIPS, 2021. https://arxiv.org/abs/2107.03502

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, _ = make_panel_classification(n_samples=40, missing_fraction=0.2, random_state=0)
    >>> imputer = ConditionalDiffusionImputer(d_model=16, max_epochs=2, random_state=0).fit(X)
    >>> filled = imputer.transform(X)
    >>> any(np.isnan(x).any() for x in filled.values.values())
    False
    >>> len(imputer.sample(X[:5], n=3))
    3
    """

    # The network has no task, so the parameters of the tasks are not its own.
    class_weight: None = None
    calibration: None = None

    _MIN_EPOCHS: ClassVar[int] = 30
    _MIN_STEPS: ClassVar[int] = 300
    _N_ESTIMATORS: ClassVar[int] = 1

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        **PanelEstimator._parameter_constraints,
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "statistic": [StrOptions({"median", "mean"})],
        "n_steps": [Interval(Integral, 1, None, closed="left")],
        "sampler": [StrOptions({"flow2m", "dpm++2m", "ddim", "ddpm"})],
        "d_model": [Interval(Integral, 1, None, closed="left")],
        "n_heads": [Interval(Integral, 1, None, closed="left")],
        "n_layers": [Interval(Integral, 1, None, closed="left")],
        "n_encoder_layers": [Interval(Integral, 0, None, closed="left")],
        "patch_length": [Interval(Integral, 1, None, closed="left"), None],
        "channels_per_token": [Interval(Integral, 1, None, closed="left"), None],
        "n_experts": [Interval(Integral, 1, None, closed="left")],
        "conditioning": [StrOptions({"cross", "target", "none"})],
        "gating": [StrOptions({"moe", "fixed"})],
        "mask_strategy": [StrOptions({"mix", "random", "block", "modality", "historical"})],
        "hidden_fraction": [Interval(Real, 0, 1, closed="neither"), None],
        "schedule": [StrOptions({"quad", "linear", "cosine"})],
        "n_train_steps": [Interval(Integral, 2, None, closed="left")],
        "parameterization": [StrOptions({"velocity", "noise"})],
        "prior": [StrOptions({"learned", "standard"})],
    }

    def __init__(
        self,
        *,
        n_samples: int = 20,
        statistic: str = "median",
        n_steps: int = 5,
        sampler: str = "flow2m",
        d_model: int = 64,
        n_heads: int = 8,
        n_layers: int = 2,
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
        random_state: Any = None,
        verbose: int = 0,
    ) -> None:
        self.n_samples = n_samples
        self.statistic = statistic
        self.n_steps = n_steps
        self.sampler = sampler
        self.d_model = d_model
        self.n_heads = n_heads
        self.n_layers = n_layers
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

    # Fitting

    def fit(  # type: ignore[override]
        self, X: Any, y: Any = None, groups: Any = None
    ) -> Self:
        """Learn to fill gaps.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples; NaN marks what is missing.
        y : None
            Ignored.
        groups : array of shape (n,), default=None
            The subject of each sample. The inner validation split then keeps a subject whole.

        Returns
        -------
        ConditionalDiffusionImputer
            Itself.

        Raises
        ------
        ValueError
            If a parameter is out of range, a modality holds tokens or negative times, or a channel
            is never observed.
        """
        self._validate_params()
        if self.n_steps > self.n_train_steps:
            raise ValueError(
                f"n_steps={self.n_steps}, but the diffusion is trained with "
                f"n_train_steps={self.n_train_steps}. Lower n_steps or raise n_train_steps."
            )
        return super().fit(X, y, groups=groups)

    def _check_y(self, y: Any, panel: Panel) -> np.ndarray:
        """No y is needed; what the panel must have, though, is looked at here."""
        for modality in panel.schema:
            name, times = modality.name, panel.times[modality.name]
            if modality.vocabulary is not None:
                raise ValueError(
                    f"Modality {name!r} holds tokens, but a diffusion fills numbers. Impute before "
                    "the tokenizer, or leave it out with X.drop(...)."
                )
            if times is not None and np.nanmin(times, initial=0.0) < 0:
                raise ValueError(
                    f"Modality {name!r} has negative times (lowest {np.nanmin(times):g} s). Count "
                    "them from the start of each sample: X.replace(times={...})."
                )
            silent = np.flatnonzero(~panel.observed[name].any((0, 2)))
            if len(silent):
                labels = modality.channels or range(modality.n_channels)
                unknown = [labels[i] for i in silent]
                raise ValueError(
                    f"Channel {unknown[0]!r} of modality {name!r} is never observed in the "
                    f"{len(panel)} training samples, so nothing is known of its values. Leave out "
                    f"channels {unknown}, or fit on samples that have them."
                )
        self.time_unit_ = _time_unit(panel)
        self.seed_ = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
        return np.zeros(len(panel))

    def _make_task(self, y: np.ndarray) -> Any:
        return _OwnLoss()

    def _make_module(self, schema: Schema, n_outputs: int, member: int) -> ConditionalDiffusion:
        return ConditionalDiffusion(
            schema,
            n_outputs,
            d_model=self.d_model,
            n_heads=self.n_heads,
            n_layers=self.n_layers,
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
            time_unit=self.time_unit_,
        )

    # Filling

    def transform(self, X: Any) -> Panel:
        """Fill the gaps with the median (or mean) of samples.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.

        Returns
        -------
        Panel
            The same panel, ``observed`` included; observed entries as they came. If nothing is
            missing, the panel itself.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``; the message names the modality.
        """
        summarise = np.median if self.statistic == "median" else np.mean
        panel = self._check_fitted(X)
        return self._fill(panel, self.n_samples, lambda draws: summarise(draws, axis=0)[None])[0]

    def sample(self, X: Any, n: int | None = None) -> list[Panel]:
        """Fill the gaps several times.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        n : int or None, default=None
            Draws; None takes ``n_samples``. With one network, more draws begin with those of fewer.

        Returns
        -------
        list of Panel
            One complete panel a draw, ``observed`` as in X.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If ``n`` is below 1, or X has another schema than in ``fit``.
        """
        n = self.n_samples if n is None else n
        if n < 1:
            raise ValueError(f"n={n}; at least 1 sample can be drawn.")
        return self._fill(self._check_fitted(X), n, lambda draws: draws)

    def quantiles(self, X: Any, q: Sequence[float] = (0.05, 0.5, 0.95)) -> list[Panel]:
        """Quantiles of the samples at each gap.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        q : sequence of float, default=(0.05, 0.5, 0.95)
            Levels in [0, 1]. Levels beyond ``1 / n_samples`` of the ends need more samples.

        Returns
        -------
        list of Panel
            One panel a level, ``observed`` as in X; observed entries are the same in all.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If a level is outside [0, 1], or X has another schema than in ``fit``.
        """
        levels = np.atleast_1d(np.asarray(q, dtype=np.float64))
        if levels.size == 0 or not ((levels >= 0) & (levels <= 1)).all():
            raise ValueError(f"q is a list of levels in [0, 1], got {q!r}.")
        panel = self._check_fitted(X)
        return self._fill(panel, self.n_samples, lambda draws: np.quantile(draws, levels, axis=0))

    def score(self, X: Any, y: Any = None) -> float:
        """How well a tenth of what is observed is found again; higher is better.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples of the schema seen in ``fit``.
        y : None
            Ignored.

        Returns
        -------
        float
            Minus the continuous ranked probability score of ``n_samples`` draws, in standard
            deviations of each channel, mean over the hidden entries.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X has another schema than in ``fit``, or nothing of it can be hidden.
        """
        panel, scaler = self._check_fitted(X), cast(PanelScaler, self.front_)
        masker = MissingnessMasker(pattern="point", fraction=0.1, random_state=self.seed_)
        masked = masker.fit_transform(panel)
        truth = scaler.transform(panel)
        filled = self._fill(masked, self.n_samples, lambda draws: draws)
        draws = [scaler.transform(one) for one in filled]
        hidden = {k: panel.observed[k] & ~masked.observed[k] for k in panel.schema.names}
        if not any(h.any() for h in hidden.values()):
            raise ValueError(
                "Too little is observed in X to hide a tenth of it. Give more samples."
            )
        parts = [
            (truth.values[k][h], np.stack([drawn.values[k][h] for drawn in draws]))
            for k, h in hidden.items()
        ]
        return -crps_from_samples(
            np.concatenate([t for t, _ in parts]), np.concatenate([d for _, d in parts], axis=1)
        )

    def _check_fitted(self, X: Any) -> Panel:
        check_is_fitted(self)
        return self._check_X(X, reset=False)

    def _fill(self, panel: Panel, n_samples: int, reduce: Callable[..., np.ndarray]) -> list[Panel]:
        """Panels whose gaps hold what ``reduce`` makes of the draws ``(S, entries)``."""
        gaps = {name: _gaps(panel, name) for name in panel.schema.names}
        names = panel.schema.names
        rows = np.flatnonzero(np.any([gaps[k].any((1, 2)) for k in names], axis=0))
        if not len(rows):
            return [panel] * len(reduce(np.zeros((n_samples, 1))))
        scaler = cast(PanelScaler, self.front_)
        scaled = scaler.transform(panel[rows])
        filled: dict[str, np.ndarray] = {}
        for start, draws in self._draw(scaled, n_samples):
            stop = start + draws.shape[1]
            first = 0
            for modality in scaled.schema:
                name, width = modality.name, modality.n_channels * modality.n_timepoints
                part = draws[:, :, first : first + width]
                part = part.reshape(*part.shape[:2], modality.n_timepoints, modality.n_channels)
                first += width
                gap = gaps[name][rows[start:stop]]
                found = reduce(np.moveaxis(part, 3, 2)[:, gap])  # (k, gaps)
                center, scale = scaler.center_[name], scaler.scale_[name]
                channel = np.nonzero(gap)[1]
                found = found.astype(np.float64) * scale[channel] + center[channel]
                if name not in filled:
                    filled[name] = np.stack([panel.values[name]] * len(found))
                at = rows[start:stop][np.nonzero(gap)[0]], channel, np.nonzero(gap)[2]
                filled[name][:, at[0], at[1], at[2]] = found
        return [
            panel.replace(
                values={name: values[k] for name, values in filled.items()},
                observed=panel.observed,
            )
            for k in range(len(filled[names[0]]))
        ]

    def _draw(self, panel: Panel, n_samples: int) -> Iterator[tuple[int, np.ndarray]]:
        """First row and draws ``(S, rows, entries)``, for a few rows at a time."""
        batch_size = self.nets_[0].batch_size
        at_once = max(16, batch_size // n_samples)
        # Networks share the draws; the first ones give one more where they do not come out even.
        shares = [
            n_samples // len(self.nets_) + (i < n_samples % len(self.nets_))
            for i in range(len(self.nets_))
        ]
        samplers = [
            PanelNet(
                DiffusionSampler(
                    net.module_,
                    n_samples=share,
                    n_steps=self.n_steps,
                    sampler=self.sampler,
                    seed=self.seed_ + i,
                    batch_size=batch_size,
                ).eval(),
                precision=self.precision,
                batch_size=at_once,
                device=net.device,
                callbacks=None,
                verbose=0,
            ).initialize()
            for i, (net, share) in enumerate(zip(self.nets_, shares, strict=True))
            if share
        ]
        dataset = PanelDataset(panel)
        for start in range(0, len(panel), at_once):
            part = dataset.take(np.arange(start, min(start + at_once, len(panel))))
            draws = [
                net.collect(part).reshape(len(part), net.module.n_samples, -1) for net in samplers
            ]
            yield start, np.moveaxis(np.concatenate(draws, axis=1), 1, 0)

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.target_tags.required = False
        assert tags.transformer_tags is not None
        tags.transformer_tags.preserves_dtype = []  # the door makes float32 of all numbers
        return tags


def _gaps(panel: Panel, name: str) -> np.ndarray:
    """Entries to fill: not observed, and with a time where there is an irregular clock."""
    times = panel.times[name]
    missing = ~panel.observed[name]
    return missing if times is None else missing & ~np.isnan(times)[:, None]


def _time_unit(panel: Panel) -> float:
    """Shortest sampling interval of the modalities, in seconds; 1 where no clock is known."""
    intervals = []
    for modality in panel.schema:
        times = panel.times[modality.name]
        if modality.rate is not None:
            intervals.append(1 / modality.rate)
        elif times is not None:
            gaps = np.diff(times, axis=1)
            gaps = gaps[gaps > 0]
            if len(gaps):
                intervals.append(float(np.median(gaps)))
    return min(intervals, default=1.0)
