"""PanelSummarizer: statistics of each channel -> a table, NaN where a sensor was silent."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, ClassVar, Self

import numpy as np
import scipy.fft
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._stored import loaded_parts
from mts_fusion.panel._timepoints import observed_timepoints

from ._base import PanelTransformer
from ._moments import row_moments, sample_chunks
from ._symbols import symbol_values
from ._timing import clock, own_lengths, sample_ends, shares_observed, timing

__all__ = ["PanelSummarizer"]

_STATISTICS = (
    "mean",
    "sd",
    "min",
    "max",
    "q05",
    "q25",
    "q50",
    "q75",
    "q95",
    "mean_abs_diff",
    "band1",
    "band2",
    "band3",
    "band4",
)
# Of what happens between the timepoints of an irregular clock.
_TIMING = (
    "count",
    "observed_fraction",
    "first_time",
    "last_time",
    "since_last",
    "first",
    "last",
    "slope",
    "last_minus_first",
)
_TIMED = frozenset(_TIMING) - {"observed_fraction"}
_QUANTILE = re.compile(r"q\d\d")


class PanelSummarizer(PanelTransformer):
    """A row of statistics for each sample: every statistic of every channel of every modality.

    What HAIM [1]_ does with time series, and a strong start on sensors: trees on such a table,
    which handle NaN by themselves, need no training on a GPU.

    Parameters
    ----------
    statistics : sequence of str or None, default=None
        Names of the columns a channel gets. None takes the fourteen of the first three lines, and
        for a modality with irregular times also the nine of the others, which describe when
        something was observed:

        - ``"mean"``, ``"sd"``, ``"min"``, ``"max"``; ``"q05"``, ``"q25"``, ``"q50"``, ``"q75"``,
          ``"q95"`` or any other two-digit quantile;
        - ``"mean_abs_diff"``: mean absolute difference between neighbours in time, both observed;
        - ``"band1"`` to ``"band4"``: variance of the frequencies up to 1/8, from 1/8 to 1/4, from
          1/4 to 1/2 and above 1/2 of half the sampling rate;
        - ``"count"``: observations; ``"observed_fraction"``: share of the timepoints at which the
          channel was observed;
        - ``"first_time"``, ``"last_time"``: seconds from the start of the sample to the first and
          the last observation; ``"since_last"``: seconds from the last one to the end of the
          sample, which is the last observation of any channel of any modality;
        - ``"first"``, ``"last"``: observed values; ``"last_minus_first"``: their difference;
          ``"slope"``: of the straight line through the observations by least squares, in units of
          the channel per second.

    Attributes
    ----------
    statistics_ : dict of str to tuple of str
        The names used, by modality.
    schema_ : Schema
        What X was in ``fit``.

    Raises
    ------
    ValueError
        If a statistic is unknown or named twice, or a modality holds tokens without centers.

    Notes
    -----
    Only observed values enter. A channel that is silent in a sample has NaN in all columns but
    ``"count"`` and ``"observed_fraction"``, which are 0; ``"mean_abs_diff"`` is NaN also where no
    two neighbours were observed, ``"slope"`` where all observations are of one time.
    The start of a sample is 0 on the clock of irregular times; a regular clock starts there and
    counts timepoints divided by the rate. Without a rate the times, ``"since_last"`` and
    ``"slope"`` are in timepoints, and the end of the sample is that of the modality.
    With irregular times, ``"observed_fraction"`` is of the timepoints at which any channel of the
    modality was observed; others are left out before anything is computed. So padding changes none
    of the statistics, and on a regular clock alone do timepoints at which nothing was observed
    part two neighbours in ``"mean_abs_diff"`` and count in the bands.
    The times of measurements depend on those who decide to measure, and the end of a sample on why
    it ended: check that both are known at the time of a prediction.
    The bands come from a periodogram in which an unobserved value is set to the channel's mean, and
    which is divided by the number of observed values: the four add up to the variance whatever the
    gaps, though a gap spreads some of it to other bands. They count timepoints, so for a modality
    with irregular times the sampling rate is that of its timepoints, not of its clock.
    A window of a regular clock with fewer timepoints than in ``fit`` is missing at its end; one
    with more ends with its last observation, as do irregular times.
    Tokens are replaced by the centers of their symbols.

    References
    ----------
    .. [1] L. R. Soenksen et al., "Integrated multimodal artificial intelligence framework for
       healthcare applications", npj Digital Medicine, 2022.

    Examples
    --------
    >>> import numpy as np
    >>> X = {"acc": np.array([[[1.0, 2.0, np.nan, 6.0]], [[np.nan] * 4]])}
    >>> summarizer = PanelSummarizer(statistics=["mean", "max"]).fit(X)
    >>> summarizer.transform(X)
    array([[ 3.,  6.],
           [nan, nan]])
    >>> summarizer.get_feature_names_out().tolist()
    ['acc__0__mean', 'acc__0__max']

    A creatinine, in mg/dl, 2 and 26 hours after the admission:

    >>> from mts_fusion.panel import Panel
    >>> X = Panel({"renal": [[[1.0, 1.6]]]}, times={"renal": [[7200.0, 93600.0]]})
    >>> PanelSummarizer(statistics=["count", "first_time", "slope"]).fit_transform(X).round(7)
    array([[2.0e+00, 7.2e+03, 6.9e-06]])
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "statistics": [list, tuple, None],
    }

    def __init__(self, *, statistics: Sequence[str] | None = None) -> None:
        self.statistics = statistics

    def fit(self, X: PanelLike, y: object = None) -> Self:
        """Remember the schema; there is nothing else to learn.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Training samples.
        y : None
            Ignored.

        Returns
        -------
        PanelSummarizer
            The fitted transformer.

        Raises
        ------
        ValueError
            If a statistic is unknown or named twice, or a modality holds tokens without centers.
        """
        panel = self._check_fit(X)
        statistics = _STATISTICS if self.statistics is None else tuple(self.statistics)
        for name in statistics:
            if not (name in _STATISTICS + _TIMING or _QUANTILE.fullmatch(str(name))):
                raise ValueError(
                    f"Statistic {name!r} is unknown; choose from "
                    f"{', '.join(_STATISTICS + _TIMING)}, or another quantile such as 'q10'."
                )
        if not statistics or len(set(statistics)) < len(statistics):
            raise ValueError(
                f"statistics names each statistic once, at least one, got {list(statistics)}."
            )
        for modality in panel.schema:
            if modality.vocabulary is not None and modality.vocabulary.centers is None:
                raise ValueError(
                    f"Modality {modality.name!r} holds tokens whose vocabulary has no centers, so "
                    "they have no statistics. Put PanelSummarizer before the tokenizer."
                )
        of_irregular = statistics + (_TIMING if self.statistics is None else ())
        self.statistics_ = {
            modality.name: of_irregular if modality.irregular else statistics
            for modality in panel.schema
        }
        return self

    def transform(self, X: PanelLike) -> np.ndarray:
        """The statistics of each sample.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Samples of the schema seen in ``fit``; the number of timepoints may differ. A panel
            that stays in a folder is read a part at a time.

        Returns
        -------
        array of shape (n, sum of C * number of statistics)
            float64, modality after modality, channel after channel, in the order of
            ``get_feature_names_out``.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the schema differs from that of ``fit``; the message names the modality.
        """
        return np.concatenate(
            [self._table(part) for part in loaded_parts(self._check_transform(X))]
        )

    def _table(self, panel: Panel) -> np.ndarray:
        panel = self._filled_up(observed_timepoints(panel))
        ends = sample_ends(panel)
        tables = [self._summarize(panel, name, ends[name]) for name in panel.schema.names]
        return np.concatenate(tables, axis=1)

    def _filled_up(self, panel: Panel) -> Panel:
        """Shorter windows of regular clocks than in fit with the rest missing at their end.

        So bands and shares are of the same window, whatever else is in the batch.
        """
        values, observed = {}, {}
        for modality in self.schema_:
            name = modality.name
            n = modality.n_timepoints - panel.schema[name].n_timepoints
            if n > 0 and not modality.irregular:
                missing = np.nan if modality.vocabulary is None else modality.vocabulary.missing
                ends = ((0, 0), (0, 0), (0, n))
                values[name] = np.pad(panel.values[name], ends, constant_values=missing)
                observed[name] = np.pad(panel.observed[name], ends)
        return panel.replace(values=values, observed=observed) if values else panel

    def _summarize(self, panel: Panel, name: str, end: np.ndarray) -> np.ndarray:
        values, observed = panel.values[name], panel.observed[name]
        irregular = panel.schema[name].irregular
        at = np.broadcast_to(clock(panel, name), (len(panel), values.shape[2]))
        vocabulary = panel.schema[name].vocabulary
        if vocabulary is not None:
            values = symbol_values(vocabulary).astype(np.float32)[values]
        wanted = self.statistics_[name]
        lengths = own_lengths(observed, 1 if irregular else self.schema_[name].n_timepoints)
        table = np.empty((*values.shape[:2], len(wanted)))
        for rows in sample_chunks(values.shape):
            result = _statistics(values[rows], observed[rows], lengths[rows], wanted)
            if "observed_fraction" in wanted:
                result["observed_fraction"] = shares_observed(
                    observed[rows], lengths[rows], irregular
                )
            if not _TIMED.isdisjoint(wanted):
                exact = values[rows].astype(np.float64)
                result |= timing(exact, observed[rows], at[rows], end[rows])
            for column, statistic in enumerate(wanted):
                table[rows, :, column] = result[statistic]
        return table.reshape(len(panel), -1)  # (n, C, statistics) -> (n, C * statistics)

    def get_feature_names_out(self, input_features: object = None) -> np.ndarray:
        """Names of the columns, as ``modality__channel__statistic``.

        A channel without a name has its number from 0.

        Parameters
        ----------
        input_features : None
            Ignored: the modalities have their names from ``fit``.

        Returns
        -------
        array of str
            One a column.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        """
        check_is_fitted(self)
        return np.array(
            [
                f"{modality.name}__{channel}__{statistic}"
                for modality in self.schema_
                for channel in modality.channel_names
                for statistic in self.statistics_[modality.name]
            ],
            dtype=object,
        )


def _statistics(
    values: np.ndarray, observed: np.ndarray, lengths: np.ndarray, wanted: Sequence[str]
) -> dict[str, np.ndarray]:
    """Every statistic wanted, each ``(n, C)``."""
    count = observed.sum(2)
    silent = count == 0
    exact = values.astype(np.float64)
    result: dict[str, np.ndarray] = {}
    mean, sd = row_moments(exact, observed)
    result["mean"], result["sd"] = mean[..., 0], sd[..., 0]
    quantiles = [name for name in wanted if _QUANTILE.fullmatch(name)]
    if quantiles or "min" in wanted or "max" in wanted:
        ordered = np.sort(np.where(observed, values, np.nan), axis=2)  # NaN goes to the end
        result["min"] = ordered[..., 0].astype(np.float64)
        result["max"] = _take(ordered, np.maximum(count - 1, 0))
        for name in quantiles:
            result[name] = _quantile(ordered, count, int(name[1:]) / 100)
    if "mean_abs_diff" in wanted:
        both = observed[..., 1:] & observed[..., :-1]
        steps = np.where(both, np.abs(np.diff(exact, axis=2)), 0.0).sum(2)
        with np.errstate(invalid="ignore"):
            result["mean_abs_diff"] = steps / both.sum(2)
    if any(name.startswith("band") for name in wanted):
        away = np.where(observed, exact - mean, 0.0)
        for number, power in enumerate(_bands(away, count, lengths), start=1):
            result[f"band{number}"] = np.where(silent, np.nan, power)
    return result


def _take(array: np.ndarray, index: np.ndarray) -> np.ndarray:
    """One timepoint a channel: ``(n, C, L)``, ``(n, C) -> (n, C)``."""
    return np.take_along_axis(array, index[..., None], axis=2)[..., 0].astype(np.float64)


def _quantile(ordered: np.ndarray, count: np.ndarray, probability: float) -> np.ndarray:
    """Linear interpolation between order statistics, as ``numpy.nanquantile``."""
    position = probability * np.maximum(count - 1, 0)
    below = np.floor(position).astype(np.intp)
    low, high = _take(ordered, below), _take(ordered, np.ceil(position).astype(np.intp))
    return low + (high - low) * (position - below)


def _bands(away: np.ndarray, count: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Variance in four bands, ``(4, n, C)``; ``away`` is 0 where nothing was observed."""
    result = np.empty((4, *count.shape))
    for length in np.unique(lengths).tolist():
        rows = lengths == length
        power = np.abs(scipy.fft.rfft(away[rows, :, :length], axis=2)) ** 2
        # A frequency and its negative are one; zero and half the sampling rate occur once.
        power[..., 1 : (length + 1) // 2] *= 2
        share = 2 * np.arange(power.shape[2]) / length  # of half the sampling rate
        scale = np.maximum(count[rows], 1) * float(length)
        cuts = np.searchsorted(share, [1 / 8, 1 / 4, 1 / 2], side="right")
        result[:, rows] = [part.sum(2) / scale for part in np.split(power, cuts, axis=2)]
    return result
