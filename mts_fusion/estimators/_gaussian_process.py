"""GaussianProcessImputer: gaps are filled from an exact conditional normal distribution."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from numbers import Integral
from typing import Any, ClassVar, Self

import numpy as np
from scipy.special import ndtri
from sklearn.base import BaseEstimator
from sklearn.utils import check_random_state
from sklearn.utils._param_validation import Interval, StrOptions

from mts_fusion.panel import Panel, PanelLike
from mts_fusion.persistence import Saveable
from mts_fusion.runs import fitting, phase, predicting
from mts_fusion.training import GaussianProcessModel
from mts_fusion.transforms import PanelScaler
from mts_fusion.transforms._base import check_parameters
from mts_fusion.transforms._doc_link import LinkedReprMixin
from mts_fusion.transforms._normal_scores import NormalScores

from ._checks import check_X
from ._gaps import (
    Restore,
    check_can_be_imputed,
    fill_gaps,
    find_gaps,
    rows_with_gaps,
    shortest_interval,
    unscale,
)
from ._imputer_mixin import ImputerMixin

__all__ = ["GaussianProcessImputer"]

# Levels whose quantiles are averaged to the mean of a warped distribution.
_LEVELS = (np.arange(50) + 0.5) / 50
# A level of 0 or 1 is at this distance from the mean, in standard deviations.
_OUTERMOST = 8.0


class GaussianProcessImputer(LinkedReprMixin, ImputerMixin, Saveable, BaseEstimator):
    """Impute panels from the exact conditional distribution of a Gaussian process.

    One process describes all channels of all modalities at all times, whatever their clocks: a
    covariance of the channels at each of several time scales [1]_, on values whose distribution
    is made normal first, channel by channel [2]_. What is missing follows from what is observed
    in closed form: its quantiles, and draws that hang together over time and channels.

    Parameters
    ----------
    n_samples : int, default=20
        Number of draws of ``sample`` and ``score``. ``transform`` and ``quantiles`` need none.
    statistic : {"median", "mean"}, default="median"
        What fills a gap: the median (best for absolute errors) or the mean (best for squared
        errors).
    fill_absent : bool, default=True
        What happens with a modality of a sample of which nothing was observed. True: it is imputed
        from the others. False: it stays NaN, so that it is still absent to a network that reads
        imputed values.
    margins : {"rank", "normal"}, default="rank"
        ``"rank"``: the values of each channel are mapped to normal scores by their rank in
        training, and mapped back in the end; skewed, coarse and bounded channels, and outliers, do
        no harm. ``"normal"``: they are standardised only, for data that are normal.
    residuals : {"learned", "normal"}, default="learned"
        How errors are distributed around what is expected, in units of their expected width.
        ``"learned"``: as those of entries hidden in training samples, for each channel and width;
        draws keep their ranks. ``"normal"``: normally, as the process has it.
    n_scales : int, default=6
        Number of time scales, evenly spaced on a log scale from the shortest sampling interval to
        the duration of the longest sample; every second one is of smooth changes. There is one more
        covariance for the levels of the samples. Time grows linearly with it.
    rank : int, default=12
        Rank of the part of each covariance that channels share, at most their number.
    max_iter : int, default=300
        Number of steps of the optimiser.
    batch_size : int, default=16
        Samples a step.
    max_train_entries : int, default=200
        Observed entries of a sample that a step reads at most. Time and memory of a step grow with
        its square.
    max_entries : int, default=2000
        Entries of a sample, observed and missing, up to which predictions are exact. Longer ones
        are filled block by block, each from the nearest entries in time, and draws from those drawn
        before too. It bounds the memory, which grows with its square: about 300 MB at 2,000.
    random_state : int, RandomState or None, default=None
        Seed of the batches and of the draws. The same int gives the same bits.
    verbose : int, default=0
        Whether to show progress bars: steps; gaps, where filling them takes seconds.

    Attributes
    ----------
    schema_ : Schema
        The modalities seen in ``fit``.
    margins_ : transformer
        The map of each channel to a normal variable.
    model_ : GaussianProcessModel
        The fitted process; ``model_.kernel`` has its covariances.
    scaler_ : PanelScaler
        Mean and standard deviation of each channel, the unit of ``score``.
    losses_ : list of float
        Minus the log likelihood of an entry in each step, in nats.
    n_iter_ : int
        Number of steps taken.
    seed_ : int
        Seed of the draws; those of a sample depend on it and on the content of the sample.
    n_features_in_ : int
        Columns of a 2-D X, channels of a 3-D X, otherwise the number of modalities.

    See Also
    --------
    ConditionalDiffusionImputer : Networks, for distributions that this cannot describe.
    PanelImputer : Simple and fast rules.

    Notes
    -----
    Parameters of the kernel maximise the marginal likelihood of mini-batches, with gradients in
    closed form. A gap is a measurement that was not made: its distribution includes noise. The
    filled values depend neither on the order of the samples nor on other samples. An entry without
    a time (padding of an irregular modality) does not exist, and stays NaN. Far from everything
    observed, values are those of the channel in training, given the level of the sample.

    References
    ----------
    .. [1] Bonilla, Chai and Williams, "Multi-task Gaussian process prediction", NeurIPS, 2007.
    .. [2] Snelson, Rasmussen and Ghahramani, "Warped Gaussian processes", NeurIPS, 2003.

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_classification
    >>> X, _ = make_panel_classification(n_samples=40, missing_fraction=0.2, random_state=0)
    >>> imputer = GaussianProcessImputer(max_iter=20, random_state=0).fit(X)
    >>> filled = imputer.transform(X)
    >>> any(np.isnan(x).any() for x in filled.values.values())
    False
    >>> low, high = imputer.quantiles(X[:5], [0.05, 0.95])
    >>> len(imputer.sample(X[:5], n=3))
    3
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "n_samples": [Interval(Integral, 1, None, closed="left")],
        "statistic": [StrOptions({"median", "mean"})],
        "fill_absent": ["boolean"],
        "margins": [StrOptions({"rank", "normal"})],
        "residuals": [StrOptions({"learned", "normal"})],
        "n_scales": [Interval(Integral, 1, None, closed="left")],
        "rank": [Interval(Integral, 1, None, closed="left")],
        "max_iter": [Interval(Integral, 1, None, closed="left")],
        "batch_size": [Interval(Integral, 1, None, closed="left")],
        "max_train_entries": [Interval(Integral, 1, None, closed="left")],
        "max_entries": [Interval(Integral, 2, None, closed="left")],
        "random_state": ["random_state"],
        "verbose": ["verbose"],
    }

    model_: GaussianProcessModel

    def __init__(
        self,
        *,
        n_samples: int = 20,
        statistic: str = "median",
        fill_absent: bool = True,
        margins: str = "rank",
        residuals: str = "learned",
        n_scales: int = 6,
        rank: int = 12,
        max_iter: int = 300,
        batch_size: int = 16,
        max_train_entries: int = 200,
        max_entries: int = 2000,
        random_state: int | np.random.RandomState | None = None,
        verbose: int = 0,
    ) -> None:
        self.n_samples = n_samples
        self.statistic = statistic
        self.fill_absent = fill_absent
        self.margins = margins
        self.residuals = residuals
        self.n_scales = n_scales
        self.rank = rank
        self.max_iter = max_iter
        self.batch_size = batch_size
        self.max_train_entries = max_train_entries
        self.max_entries = max_entries
        self.random_state = random_state
        self.verbose = verbose

    def fit(self, X: PanelLike, y: object = None) -> Self:
        """Learn the distribution of each channel, and their covariance.

        Parameters
        ----------
        X : Panel, or whatever :func:`as_panel` takes
            n samples; NaN marks what is missing.
        y : None
            Ignored.

        Returns
        -------
        GaussianProcessImputer
            The fitted imputer.

        Raises
        ------
        ValueError
            If a parameter is out of range, a modality has tokens or negative times, or a channel
            is never observed.
        """
        check_parameters(self)
        if hasattr(self, "model_"):
            del self.model_  # so that a fit that fails half way leaves the imputer unfitted
        panel = check_X(self, X, reset=True)
        check_can_be_imputed(panel)
        model_seed, seed = check_random_state(self.random_state).randint(
            np.iinfo(np.int32).max, size=2
        )
        with fitting(self, panel):
            margins = NormalScores() if self.margins == "rank" else PanelScaler()
            model = GaussianProcessModel(
                n_scales=self.n_scales,
                rank=self.rank,
                interval=shortest_interval(panel),
                max_iter=self.max_iter,
                batch_size=self.batch_size,
                max_train_entries=self.max_train_entries,
                max_entries=self.max_entries,
                seed=int(model_seed),
            ).fit(margins.fit_transform(panel))
            self.scaler_ = PanelScaler().fit(panel)
            self.margins_, self.model_, self.seed_ = margins, model, int(seed)
            self.losses_, self.n_iter_ = model.losses, len(model.losses)
        return self

    # Imputation

    def _center(self, panel: Panel) -> Panel:
        if self.statistic == "median":
            return self._quantiles(panel, np.array([0.5]))[0]
        return self._fill_quantiles(panel, _LEVELS, average=True)[0]

    def _quantiles(self, panel: Panel, levels: np.ndarray) -> list[Panel]:
        return self._fill_quantiles(panel, levels, average=False)

    def _draw(self, panel: Panel, n: int) -> list[Panel]:
        def restore(name: str, channel: np.ndarray, drawn: np.ndarray) -> np.ndarray:
            mean, width = drawn[:2]
            return self._from_errors(name, channel, mean, width, (drawn[2:] - mean) / width)

        def predict(scores: Panel, gaps: dict[str, np.ndarray]) -> Iterator[np.ndarray]:
            moments = self.model_.moments(scores, gaps)
            draws = self.model_.draws(scores, gaps, n, self.seed_)
            return map(np.concatenate, zip(moments, draws, strict=True))

        return self._fill(panel, n, predict, restore)

    def _fill_quantiles(self, panel: Panel, levels: np.ndarray, *, average: bool) -> list[Panel]:
        """Panels whose gaps are filled with quantiles, or with the average of these."""
        normal = ndtri(levels).clip(-_OUTERMOST, _OUTERMOST)[:, None]

        def restore(name: str, channel: np.ndarray, moments: np.ndarray) -> np.ndarray:
            levelled = np.broadcast_to(normal, (len(normal), len(channel)))
            values = self._from_errors(name, channel, moments[0], moments[1], levelled)
            return values.mean(axis=0, keepdims=True) if average else values

        return self._fill(panel, 1 if average else len(levels), self.model_.moments, restore)

    def _fill(
        self,
        panel: Panel,
        n: int,
        predict: Callable[[Panel, dict[str, np.ndarray]], Iterator[np.ndarray]],
        restore: Restore,
    ) -> list[Panel]:
        """n panels whose gaps are filled with what ``restore`` makes of predictions."""
        gaps = find_gaps(panel, fill_absent=self.fill_absent)
        rows = rows_with_gaps(gaps)
        if not len(rows):
            return [panel] * n
        scores = self.margins_.transform(panel[rows])
        predicted = predict(scores, {name: gap[rows] for name, gap in gaps.items()})
        with predicting(self, panel), phase("gaps", len(rows)):
            return fill_gaps(panel, rows, predicted, lambda z: z, gaps=gaps, restore=restore)

    def _from_errors(
        self,
        name: str,
        channel: np.ndarray,
        mean: np.ndarray,
        width: np.ndarray,
        normal: np.ndarray,
    ) -> np.ndarray:
        """Values of entries from normal errors around what the process expects.

        Parameters
        ----------
        name : str
            Of the modality.
        channel : int array of shape (k,)
            Channel of each entry.
        mean, width : arrays of shape (k,)
            What the process expects, in its own unit.
        normal : array of shape (K, k)
            Standard normal numbers.

        Returns
        -------
        float64 array of shape (K, k)
            In the unit of each channel.
        """
        if self.residuals == "learned":
            names = self.schema_.names
            before = sum(m.n_channels for m in list(self.schema_)[: names.index(name)])
            normal = self.model_.shapes.quantiles(normal, before + channel, width)
        scores = mean + width * normal
        if isinstance(self.margins_, NormalScores):
            return self.margins_.inverse(name, channel, scores)
        return unscale(self.margins_)(name, channel, scores)

    def _unit(self) -> PanelScaler:
        return self.scaler_

    def __sklearn_is_fitted__(self) -> bool:
        return hasattr(self, "model_")
