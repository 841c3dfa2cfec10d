"""SAXTokenizer: segments of a channel -> ordered symbols, with one symbol for what is missing."""

from __future__ import annotations

from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np
from sklearn.utils.validation import check_is_fitted

from mts_fusion.panel import Panel, PanelLike, Schema, Vocabulary, as_panel
from mts_fusion.panel._arguments import check_types
from mts_fusion.panel._timepoints import observed_timepoints

from ._base import PanelTransformer, by_modality, check_integers
from ._moments import channel_moments, no_spread, row_moments, sample_chunks
from ._segments import count_segments, least_observed, segment_means, segment_times
from ._symbols import (
    MISSING,
    find_symbols,
    gaussian_vocabulary,
    quantile_vocabulary,
    squared_gaps,
    symbol_values,
)

__all__ = ["SAXTokenizer"]

_LARGEST_ALPHABET = 2**15 - 1  # tokens are int16


class SAXTokenizer(PanelTransformer):
    """Segments of each channel as symbols: 0 for missing, 1 to ``alphabet_size`` by height.

    Symbolic aggregate approximation [1]_ with a symbol for missing segments, as in section 3.1 of
    [2]_: each channel is normalised, averaged over segments of ``segment_length`` timepoints, and
    each average is named by the interval between two breakpoints in which it lies.

    Parameters
    ----------
    alphabet_size : int or dict of str to int, default=20
        Symbols besides the missing one, from 2 to 32767. Few make a coarse sketch, many follow the
        values closely. A dict names each modality.
    segment_length : int or dict of str to int, default=2
        Timepoints a symbol stands for; of a modality of one timepoint, such as an age, always 1. 1
        keeps the resolution, the length of the series leaves one symbol a channel. A dict names
        each modality, and is taken as it is.
    scope : {"dataset", "instance"}, default="dataset"
        What is normalised with what. ``"dataset"``: each channel with its mean and standard
        deviation over the training samples, so a sample's level is kept. ``"instance"``: each
        channel of each sample with its own, as in [2]_, so only the shape is kept.
    breakpoints : {"gaussian", "quantile"}, default="gaussian"
        ``"gaussian"``: bounds that make symbols equally likely under a standard normal
        distribution. ``"quantile"``: bounds that make them equally frequent in the training
        segments of a modality, all channels together.
    min_observed : float, default=0.5
        Smallest share of a segment's ``segment_length`` timepoints that has to be observed for a
        symbol; below it, the segment is missing. 1 requires all; near 0, one timepoint is enough.

    Attributes
    ----------
    vocabularies_ : dict of str to Vocabulary
        Size, breakpoints and centers of each modality, in normalised units. They travel on in the
        schema of what ``transform`` gives.
    center_, scale_ : dict of str to array of shape (C,)
        What ``scope="dataset"`` normalises with. A constant channel has scale 1, one never
        observed has center 0 and scale 1. Zeros and ones with ``scope="instance"``.
    schema_ : Schema
        What X was in ``fit``.
    tokens_schema_ : Schema
        What ``transform`` makes of it.

    Raises
    ------
    ValueError
        If a parameter is out of range, a modality is shorter than a segment, or holds tokens.

    Notes
    -----
    Averages are over the observed timepoints of a segment. Timepoints that are left over at the
    end make a last, shorter segment where they are at least ``min_observed`` of a whole one, and
    are left out otherwise. Segments count timepoints, not seconds; the times of an irregular clock
    are averaged over each segment, and a rate is divided by ``segment_length``. On an irregular
    clock they count the timepoints at which any channel was observed; others say nothing and are
    left out first. A value that an imputer filled in counts as not observed.

    References
    ----------
    .. [1] J. Lin, E. Keogh, S. Lonardi, B. Chiu, "A symbolic representation of time series, with
       implications for streaming algorithms", DMKD, 2003.
    .. [2] P. Mohapatra et al., "MAESTRO: Adaptive Sparse Attention and Robust Learning for
       Multimodal Dynamic Time Series", NeurIPS, 2025. https://arxiv.org/abs/2509.25278

    Examples
    --------
    >>> import numpy as np
    >>> X = {"acc": np.array([[[0.0, 0.0, 5.0, 5.0, np.nan, np.nan]]])}
    >>> tokens = SAXTokenizer(alphabet_size=4).fit_transform(X)
    >>> tokens.values["acc"]
    array([[[1, 4, 0]]], dtype=int16)
    >>> tokens.schema["acc"].vocabulary.size
    4
    """

    # NOTE[DIFF] MAESTRO: their code normalises each window and channel by itself, which erases the
    # level, and leaves symbol 0 unused: a single NaN makes the whole channel symbol 1. Here scope
    # is "dataset" by default, and averages and symbols are aware of what is missing.

    vocabularies_: dict[str, Vocabulary]

    _parameter_constraints: ClassVar[dict[str, Any]] = {
        "alphabet_size": "no_validation",
        "segment_length": "no_validation",
        "scope": [str],
        "breakpoints": [str],
        "min_observed": [Real],
    }

    def __init__(
        self,
        *,
        alphabet_size: int | dict[str, int] = 20,
        segment_length: int | dict[str, int] = 2,
        scope: str = "dataset",
        breakpoints: str = "gaussian",
        min_observed: float = 0.5,
    ) -> None:
        self.alphabet_size = alphabet_size
        self.segment_length = segment_length
        self.scope = scope
        self.breakpoints = breakpoints
        self.min_observed = min_observed

    def fit(self, X: PanelLike, y: object = None) -> Self:
        """Learn how to normalise, and the breakpoints.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Training samples.
        y : None
            Ignored.

        Returns
        -------
        SAXTokenizer
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter is out of range, a modality is shorter than a segment, or holds tokens.
        """
        panel = self._check_fit(X)
        self._check_parameters(panel.schema)
        panel = self._without_empty_timepoints(panel)
        sizes = by_modality("alphabet_size", self.alphabet_size, panel.schema)
        self.center_: dict[str, np.ndarray] = {}
        self.scale_: dict[str, np.ndarray] = {}
        self.vocabularies_ = {}
        for modality in panel.schema:
            name = modality.name
            values, observed = panel.values[name], panel.observed[name]
            center, scale = np.zeros(modality.n_channels), np.ones(modality.n_channels)
            if self.scope == "dataset":
                mean, sd = channel_moments(values, observed)
                center = np.where(np.isnan(mean), 0.0, mean)
                scale = np.where(no_spread(mean, sd), 1.0, sd)
            self.center_[name], self.scale_[name] = center, scale
            vocabulary = gaussian_vocabulary(sizes[name])
            if self.breakpoints == "quantile":
                means = [means for _, means in self._segment_means(panel, name)]
                available = np.concatenate([m[~np.isnan(m)] for m in means])
                if available.size:
                    vocabulary = quantile_vocabulary(sizes[name], available)
            self.vocabularies_[name] = vocabulary
        self.tokens_schema_ = self.transform(panel[:1]).schema
        return self

    def transform(self, X: PanelLike) -> Panel:
        """The symbols of each segment.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Samples of the schema seen in ``fit``; the number of timepoints may differ.

        Returns
        -------
        Panel
            Tokens ``(n, C, ceil(L / segment_length))`` in int16, or one fewer where the last
            segment is too short; each modality with its vocabulary.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the schema differs from that of ``fit``, or a modality is shorter than a segment.
        """
        panel = self._without_empty_timepoints(self._check_transform(X))
        lengths = self._lengths()
        tokens, times, rates = {}, {}, {}
        for modality in panel.schema:
            name, length = modality.name, lengths[modality.name]
            least = least_observed(length, self.min_observed)
            n_segments = count_segments(modality.n_timepoints, length, least)
            symbols = np.empty((len(panel), modality.n_channels, n_segments), np.int16)
            bounds = np.asarray(self.vocabularies_[name].breakpoints)
            for rows, means in self._segment_means(panel, name):
                symbols[rows] = find_symbols(means, bounds)
                symbols[rows][np.isnan(means)] = MISSING
            tokens[name] = symbols
            rates[name] = None if modality.rate is None else modality.rate / length
            clock = panel.times[name]
            times[name] = None if clock is None else segment_times(clock, length, n_segments)
        return panel.replace(
            values=tokens, times=times, rates=rates, vocabularies=self.vocabularies_
        )

    def inverse_transform(self, X: PanelLike) -> Panel:
        """The average that each symbol stands for.

        Parameters
        ----------
        X : Panel
            Tokens, as ``transform`` gives them.

        Returns
        -------
        Panel
            Numbers ``(n, C, segments)``, NaN where missing: the center of each symbol, in the
            units of the data with ``scope="dataset"``, in normalised units with
            ``scope="instance"``, which does not keep the level.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If X does not hold tokens of this vocabulary; the message names the modality.
        """
        check_is_fitted(self)
        panel = as_panel(X)
        self.tokens_schema_.check_matches(panel.schema, owner=type(self).__name__)
        values = {}
        for name in panel.schema.names:
            heights = symbol_values(self.vocabularies_[name])
            center, scale = self.center_[name][:, None], self.scale_[name][:, None]
            values[name] = (heights[panel.values[name]] * scale + center).astype(np.float32)
        return panel.replace(values=values, vocabularies=dict.fromkeys(panel.schema.names))

    def mindist(self, A: PanelLike, B: PanelLike, *, modality: str | None = None) -> np.ndarray:
        """Lower bound of the Euclidean distance between normalised series, from symbols alone.

        Section 3 of [1]_, over all channels: the square root of the sum, over segments, of
        timepoints times squared gap between the intervals of the two symbols.

        Parameters
        ----------
        A : Panel of n_a samples or anything as_panel takes
            Tokens, or numbers, which are tokenised first.
        B : Panel of n_b samples or anything as_panel takes
            Tokens, or numbers. As many segments as A, or irregular times: then the rest is missing.
        modality : str or None, default=None
            The distance within one modality; None for all of them together.

        Returns
        -------
        array of shape (n_a, n_b)
            Distances in standard deviations. A segment missing in either adds nothing.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If a modality is unknown, or one of a regular clock has more segments in A than in B.

        Notes
        -----
        The bound holds over the segments of which every timepoint was observed in both. A segment
        observed in part gets the symbol of what was observed (see ``min_observed``), and counts
        with all its timepoints: then the distance is an estimate. ``min_observed=1`` gives no
        symbol to such segments, and the bound holds always.

        By corollary 3.2 of the MAESTRO paper, where the bounds of two modalities are at most
        ``e_1`` and ``e_2`` below their distances, the difference between the two bounds is at most
        ``e_1 + e_2`` away from the difference between the two distances.

        References
        ----------
        .. [1] J. Lin, E. Keogh, S. Lonardi, B. Chiu, "A symbolic representation of time series,
           with implications for streaming algorithms", DMKD, 2003.

        Examples
        --------
        >>> import numpy as np
        >>> X = {"acc": np.array([[[-1.0, -1.0, 1.0, 1.0]], [[1.0, 1.0, -1.0, -1.0]]])}
        >>> SAXTokenizer(alphabet_size=4).fit(X).mindist(X, X).round(2)
        array([[0.  , 2.7],
               [2.7, 0.  ]])
        """
        check_types(SAXTokenizer.mindist, locals())
        check_is_fitted(self)
        if modality is not None and modality not in self.schema_:
            raise ValueError(
                f"Modality {modality!r} is unknown; the tokenizer was fitted on "
                f"{list(self.schema_.names)}."
            )
        first, second = self._as_tokens(A), self._as_tokens(B)
        squares = np.zeros((len(first), len(second)))
        for name in self.schema_.names if modality is None else (modality,):
            a, b = first.values[name], second.values[name]
            n_segments = min(a.shape[2], b.shape[2])
            if a.shape[2] != b.shape[2] and not self.schema_[name].irregular:
                raise ValueError(
                    f"Modality {name!r} has {a.shape[2]} segments in A and {b.shape[2]} in B; "
                    "distances want equal lengths. Cut or pad one of them."
                )
            gaps = squared_gaps(self.vocabularies_[name])
            weights = self._segment_weights(name, n_segments)
            b = b[..., :n_segments]  # on an irregular clock the rest is missing
            for row, symbols in enumerate(a[..., :n_segments]):
                squares[row] += gaps[symbols, b].sum(1) @ weights  # (n_b, C, S) -> (n_b,)
        return np.sqrt(squares)

    def _as_tokens(self, X: Any) -> Panel:
        panel = as_panel(X)
        if all(modality.vocabulary is None for modality in panel.schema):
            return self.transform(panel)
        self.tokens_schema_.check_matches(panel.schema, owner=type(self).__name__)
        return panel

    def _lengths(self) -> dict[str, int]:
        """Timepoints of a segment of each modality."""
        if isinstance(self.segment_length, dict):
            return by_modality("segment_length", self.segment_length, self.schema_)
        return {m.name: self.segment_length if m.n_timepoints > 1 else 1 for m in self.schema_}

    def _segment_weights(self, name: str, n_segments: int) -> np.ndarray:
        """Timepoints of each segment; the last may be shorter."""
        length = self._lengths()[name]
        weights = np.full(n_segments, float(length))
        if n_segments == self.tokens_schema_[name].n_timepoints:
            weights[-1] = min(length, self.schema_[name].n_timepoints - (n_segments - 1) * length)
        else:  # tokens do not say how long the last segment was: the least it can be
            weights[-1] = least_observed(length, self.min_observed)
        return weights

    def _segment_means(self, panel: Panel, name: str) -> Any:
        """Slices of samples with their normalised segment means ``(rows, C, S)``, NaN if missing.

        Means of normalised values are normalised means of values: there are fewer of these.
        """
        length = self._lengths()[name]
        least = least_observed(length, self.min_observed)
        n_segments = count_segments(panel.schema[name].n_timepoints, length, least)
        all_values, all_observed = panel.values[name], panel.observed[name]
        center, scale = self.center_[name][:, None], self.scale_[name][:, None]
        for rows in sample_chunks(all_values.shape):
            values, observed = all_values[rows].astype(np.float64), all_observed[rows]
            means = segment_means(values, observed, length, n_segments, least)
            if self.scope == "instance":
                center, scale = row_moments(values, observed)
                scale = np.where(no_spread(center, scale), 1.0, scale)
            yield rows, (means - center) / scale

    def _check_parameters(self, schema: Schema) -> None:
        check_integers("alphabet_size", self.alphabet_size, schema, 2, _LARGEST_ALPHABET)
        check_integers("segment_length", self.segment_length, schema, 1)
        if self.scope not in ("dataset", "instance"):
            raise ValueError(f"scope is 'dataset' or 'instance', got {self.scope!r}.")
        if self.breakpoints not in ("gaussian", "quantile"):
            raise ValueError(f"breakpoints is 'gaussian' or 'quantile', got {self.breakpoints!r}.")
        least = self.min_observed
        if not isinstance(least, (int, float, np.number)) or not 0 < least <= 1:
            raise ValueError(f"min_observed is above 0 and at most 1, got {least!r}.")
        for modality in schema:
            if modality.vocabulary is not None:
                raise ValueError(
                    f"Modality {modality.name!r} holds tokens already; SAXTokenizer wants numbers. "
                    "Leave one of the tokenizers out."
                )

    def _without_empty_timepoints(self, panel: Panel) -> Panel:
        """The panel without what :func:`observed_timepoints` leaves out, as long as a segment."""
        lengths = self._lengths()
        for modality in panel.schema:
            name, length = modality.name, lengths[modality.name]
            if modality.n_timepoints < length:
                columns = getattr(self, "n_features_in_", None)
                table = "" if columns is None else f" (n_features = {columns})"
                raise ValueError(
                    f"Modality {name!r} has {modality.n_timepoints} timepoints{table}, fewer than "
                    f"segment_length={length}. Give it at most {modality.n_timepoints} by a dict, "
                    f"segment_length={{{name!r}: {modality.n_timepoints}, ...}}, or give longer "
                    "windows."
                )
        return observed_timepoints(panel, shortest=lengths)
