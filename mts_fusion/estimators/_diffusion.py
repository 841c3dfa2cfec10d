"""ConditionalDiffusionImputer: gaps are filled with draws from a diffusion model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike
from sklearn.utils import check_random_state

from mts_fusion.metrics import quantiles_from_samples
from mts_fusion.nn.diffusion import HideObserved
from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._targets import check_groups
from mts_fusion.runs import fitting, phase, predicting
from mts_fusion.training import GaussianExamples
from mts_fusion.transforms import PanelScaler

from ._checks import check_X
from ._context import FitContext
from ._diffusion_base import DiffusionEstimator
from ._gaps import (
    check_can_be_imputed,
    draw_entries,
    fill_gaps,
    find_gaps,
    rows_with_gaps,
    shortest_interval,
    unscale,
)
from ._gaussian_base import check_transport, correction_weight, draw_from_base, fit_base
from ._imputer_mixin import ImputerMixin
from ._trace_paper import diffusion_settings

__all__ = ["ConditionalDiffusionImputer"]


class ConditionalDiffusionImputer(ImputerMixin, DiffusionEstimator):
    """Impute panels by conditional diffusion, stage 1 of TRACE [1]_.

    The networks learn from incomplete data: part of the observed entries is hidden and predicted
    from the rest, in the same modality and in the others. ``transform`` fills each gap with the
    median of several draws; ``sample`` returns the draws themselves, so that a classifier can
    account for the uncertainty of the imputation.

    Parameters
    ----------
    n_samples : int, default=20
        Number of draws behind each imputed value. More approximate the median or mean better.
    statistic : {"median", "mean"}, default="median"
        What fills a gap: the median of the draws (best for absolute errors) or their mean (best
        for squared errors).
    fill_absent : bool, default=True
        What happens with a modality of a sample of which nothing was observed. True: it is imputed
        from the others. False: it stays NaN, as in the paper, so that it is still absent to a
        network that reads imputed values.
    n_steps : int, default=5
        Number of steps of the sampler, at most ``n_train_steps``. Time grows linearly with it.
    sampler : {"flow2m", "dpm++2m", "ddim", "ddpm"}, default="flow2m"
        ``"flow2m"`` and ``"dpm++2m"`` are second-order solvers for few steps, ``"ddim"`` is a
        first-order solver, ``"ddpm"`` the ancestral sampling of the paper, for 50 steps.
    d_model : int, default=64
        Width of the tokens.
    n_heads : int, default=8
        Number of attention heads; divides ``d_model`` and 128.
    n_layers : int, default=2
        Number of layers of the denoiser, which runs in each step of each draw.
    denoiser : {"attention", "state_space"}, default="attention"
        What mixes the tokens in the denoiser: attention along time and channels, or state spaces
        along time, as in SSSD [3]_.
    n_encoder_layers : int, default=3
        Number of layers of the encoder of the observed entries, which runs once. With 0 there is
        no encoder.
    patch_length : int or None, default=None
        Number of consecutive timepoints in a token. 1 is finest and slowest; None makes at most 64
        tokens of each group of channels.
    channels_per_token : int or None, default=None
        Number of consecutive channels in a token. None puts all channels of a modality into one
        token, which is fast; 1 has attention between channels, as in the paper, and is many times
        slower.
    n_experts : int, default=5
        Number of experts that encode the context from the other modalities.
    conditioning : {"cross", "target", "none"}, default="cross"
        What a gap is imputed from: the observed entries of all modalities, those of its own
        modality, or its time and channel only. ``from_paper()`` with ``"target"``, on one modality,
        is CSDI [2]_.
    gating : {"moe", "inner_product", "fixed"}, default="moe"
        How the other modalities are read: by attention, weighted by a learnt gate (``"moe"``) or
        equally; ``"inner_product"`` is eq. 1 and 2 of the paper, a weighted sum of their values.
    mask_strategy : {"mix", "random", "block", "modality", "historical"}, default="mix"
        What is hidden in training: entries, rectangles, whole modalities, the entries that another
        sample lacks, or a mixture of these. Only ``"modality"`` and ``"mix"`` train for a modality
        that is missing altogether.
    hidden_fraction : float or None, default=None
        Fraction that is hidden; None draws it from U(0, 1) for each sample.
    schedule : {"quad", "linear", "cosine"}, default="quad"
        How the noise level grows with the step.
    n_train_steps : int, default=50
        Number of steps of the diffusion in training.
    parameterization : {"velocity", "noise"}, default="velocity"
        What the denoiser predicts. ``"noise"`` is that of the paper, and needs more steps.
    prior : {"learned", "standard", "gaussian_process"}, default="learned"
        ``"learned"``: the encoder predicts the mean and the spread of each gap, and the diffusion
        starts from them, which needs few steps. ``"standard"`` is that of the paper.
        ``"gaussian_process"``: it starts from joint draws of a :class:`GaussianProcessImputer`,
        and an encoder and a flow [4]_ correct them; without training they stay as they are. On
        3,200 stays 3,000 steps, four times the default, were better (docs/decisions/0033).
    base : GaussianProcessImputer or None, default=None
        Parameters of that process; None takes its defaults. A copy of it is fitted.
    optimizer, lr, weight_decay, batch_size, max_epochs, patience, validation_fraction
        As for :class:`MaestroClassifier`, without classes. ``max_epochs="auto"`` is 30, or as many
        as make 300 steps if that is more. ``batch_size`` also limits the draws made at a time.
    n_estimators : int or "auto", default="auto"
        Number of networks, trained from different initial weights; each makes an equal part of
        the draws. ``"auto"`` is 1.
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
    n_training_ : int
        Number of samples trained on, without those held out.
    n_iter_ : int
        Number of epochs run.
    time_unit_ : float
        Shortest sampling interval in seconds; 1 where neither rates nor times are known.
    base_ : GaussianProcessImputer
        The fitted process, with ``prior="gaussian_process"``.
    correction_weight_ : float
        With that prior: weight of the corrections that the networks make to draws of the process,
        in [0, 1]; the one with the lowest energy score on held-out samples, 1 without these.
    seed_ : int
        Seed of the noise; the noise of a sample depends on it and on the content of the sample.
    n_features_in_ : int
        Columns of a 2-D X, channels of a 3-D X, otherwise the number of modalities.

    See Also
    --------
    GaussianProcessImputer : Exact conditional distributions, fitted in less time.
    PanelImputer : Simple and fast rules.

    Notes
    -----
    The noise of a sample is a function of its observed content and of ``random_state``: the imputed
    values depend neither on the order of the samples nor on the batch size nor on other samples.
    Each channel is scaled by its observed training values, and the imputed values are scaled back.
    An entry without a time (padding of an irregular modality) does not exist, and stays NaN.

    References
    ----------
    .. [1] Kan et al., "TRACE: A Temporal Conditional Estimation for Multimodal Time Series
       Foundation Models", ICML, 2026. https://arxiv.org/abs/2606.06285
    .. [2] Tashiro et al., "CSDI: Conditional Score-based Diffusion Models for Probabilistic Time
       Series Imputation", NeurIPS, 2021. https://arxiv.org/abs/2107.03502
    .. [3] Alcaraz and Strodthoff, "Diffusion-based Time Series Imputation and Forecasting with
       Structured State Space Models", TMLR, 2023. https://arxiv.org/abs/2208.09399
    .. [4] Lipman et al., "Flow Matching for Generative Modeling", ICLR, 2023.
       https://arxiv.org/abs/2210.02747

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

    @classmethod
    def from_paper(
        cls, dataset: str = "mimic4", *, random_state: int | np.random.RandomState | None = None
    ) -> Self:
        """Stage 1 of TRACE as published: CSDI's denoiser, conditioned on the other modalities.

        A token of each entry, four layers with attention along time and along channels, context
        from the other modalities by eq. 1 to 3, noise prediction (eq. 7), 50 ancestral steps with
        the quadratic schedule. On a CPU it is many times slower than the default.
        ``docs/trace.md`` lists what still differs from the paper.

        Parameters
        ----------
        dataset : {"mimic4", "mosi", "mosei"}, default="mimic4"
            Whose settings: MIMIC-IV (median of 20 draws), CMU-MOSI or CMU-MOSEI (one draw).
        random_state : int, RandomState or None, default=None
            Seed of all random numbers.

        Returns
        -------
        ConditionalDiffusionImputer
            Not fitted.

        Raises
        ------
        ValueError
            If the data set is not one of the paper.

        Examples
        --------
        >>> imputer = ConditionalDiffusionImputer.from_paper("mimic4", random_state=0)
        >>> imputer.n_train_steps, imputer.schedule, imputer.n_experts
        (50, 'quad', 5)
        """
        return cls(**diffusion_settings(dataset), random_state=random_state)

    # Fitting

    def fit(self, X: PanelLike, y: object = None, groups: ArrayLike | None = None) -> Self:
        """Learn to fill gaps.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples; NaN marks what is missing.
        y : None
            Ignored.
        groups : array of shape (n,), default=None
            The subject of each sample. The inner validation split then keeps subjects whole.

        Returns
        -------
        ConditionalDiffusionImputer
            The fitted imputer.

        Raises
        ------
        ValueError
            If a parameter is out of range, a modality has tokens or negative times, or a channel
            is never observed.
        KeyboardInterrupt
            On Ctrl-C. The imputer is fitted with the weights so far, and a warning says so.
        """
        continues = self._begin_fit()
        if self.n_steps > self.n_train_steps:
            raise ValueError(
                f"n_steps={self.n_steps}, but the diffusion is trained with "
                f"n_train_steps={self.n_train_steps}. Lower n_steps or raise n_train_steps."
            )
        if self.prior == "gaussian_process":
            check_transport(self)
        panel = check_X(self, X, reset=not continues)
        check_can_be_imputed(panel)
        groups = check_groups(groups, panel)
        with fitting(self, panel):
            seed = int(check_random_state(self.random_state).randint(np.iinfo(np.int32).max))
            seeds = self._draw_seeds()
            panel = self._preprocess(panel, None, groups, seeds[-1], continues)
            strata = np.zeros(len(panel), dtype=int)
            context = self._make_context(panel, strata, groups, seeds)
            nets, held_out = self._fit_networks(context, continues)
            if self.prior == "gaussian_process":
                self.correction_weight_ = correction_weight(nets, held_out, panel, **self._solver())
            self.time_unit_ = shortest_interval(panel)
            if not continues:
                self.seed_ = seed
            return self._end_fit(context, nets)

    def _fit_preprocessor(self, panel: Panel, y: Any, groups: Any, seed: int) -> Any:
        if self.prior != "gaussian_process":
            return super()._fit_preprocessor(panel, y, groups, seed)
        with phase("process"):
            self.base_ = fit_base(self.base, panel, seed)
        return self.base_.margins_

    def _make_features(self, context: FitContext) -> Any:
        if self.prior != "gaussian_process":
            return super()._make_features(context)
        hide = HideObserved(self.mask_strategy, self.hidden_fraction)
        return GaussianExamples(self.base_.model_, hide, context.seed)

    # Imputation

    def _center(self, panel: Panel) -> Panel:
        summarise = np.median if self.statistic == "median" else np.mean
        return self._fill(panel, self.n_samples, lambda draws: summarise(draws, axis=0)[None])[0]

    def _draw(self, panel: Panel, n: int) -> list[Panel]:
        return self._fill(panel, n, lambda draws: draws)

    def _quantiles(self, panel: Panel, levels: np.ndarray) -> list[Panel]:
        return self._fill(
            panel, self.n_samples, lambda draws: quantiles_from_samples(draws, levels)
        )

    def _unit(self) -> PanelScaler:
        by_base = self.prior == "gaussian_process"
        scaler: PanelScaler = self.base_.scaler_ if by_base else self.preprocessor_
        return scaler

    def _solver(self) -> dict[str, Any]:
        return {"n_steps": self.n_steps, "sampler": self.sampler}

    def _fill(
        self, panel: Panel, n_samples: int, reduce: Callable[[np.ndarray], np.ndarray]
    ) -> list[Panel]:
        """Panels whose gaps are filled with what ``reduce`` returns for draws ``(S, entries)``."""
        gaps = find_gaps(panel, fill_absent=self.fill_absent)
        rows = rows_with_gaps(gaps)
        if not len(rows):
            return [panel] * len(reduce(np.zeros((n_samples, 1))))
        scaled = self.preprocessor_.transform(panel[rows])
        solver = self._solver()
        with predicting(self, panel), phase("gaps", len(rows), label="draws"):
            if self.prior != "gaussian_process":
                draws = draw_entries(self.nets_, scaled, n_samples, seed=self.seed_, **solver)
                back = unscale(self.preprocessor_)
                return fill_gaps(panel, rows, draws, reduce, gaps=gaps, restore=back)
            base = self.base_
            every = find_gaps(scaled, fill_absent=True)
            solver["weight"] = self.correction_weight_
            draws = draw_from_base(base, self.nets_, scaled, every, n_samples, **solver)

            def restore(name: str, channel: np.ndarray, drawn: np.ndarray) -> np.ndarray:
                return reduce(base._from_errors(name, channel, drawn[0], drawn[1], drawn[2:]))

            return fill_gaps(panel, rows, draws, lambda z: z, gaps=gaps, restore=restore)
