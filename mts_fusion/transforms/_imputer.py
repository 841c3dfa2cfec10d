"""PanelImputer: gaps filled by simple rules, as baselines of imputation."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import numpy as np

from mts_fusion.panel import Modality, Panel, PanelLike

from ._base import PanelTransformer
from ._moments import channel_moments, sample_chunks

__all__ = ["PanelImputer"]

_STRATEGIES = ("nearest", "linear", "mean", "zero")


class PanelImputer(PanelTransformer):
    """Panels whose gaps are filled; ``observed`` still marks what was measured.

    Each channel of each sample is filled from its own observed values; other channels and samples
    do not matter, but for the mean of the training samples.

    Parameters
    ----------
    strategy : {"nearest", "linear", "mean", "zero"}, default="nearest"
        ``"nearest"``: the observed value nearest in time, the earlier of two equally near.
        ``"linear"``: a straight line between the observed values before and after; before the
        first and after the last, that value. ``"mean"``: the mean of the channel over all training
        samples. ``"zero"``: 0, which is the mean after :class:`PanelScaler`.
    fill_absent : bool, default=True
        What happens where a channel of a sample has no observed value at all. True: the training
        mean is filled in (0 with ``"zero"``). False: it stays NaN, so that a sensor that is wholly
        silent is still absent to a network that reads imputed values.

    Attributes
    ----------
    mean_ : dict of str to array of shape (C,)
        Means of the observed training values, by modality; NaN for a channel never observed, and
        for all channels of tokens.
    schema_ : Schema
        What X was in ``fit``.

    Raises
    ------
    ValueError
        If ``strategy`` is unknown, or would average tokens.

    See Also
    --------
    ConditionalDiffusionImputer : Samples of what the values may have been, learnt from data.

    Notes
    -----
    Values that are not missing are never changed. What stays NaN: padding of irregular series,
    where no time is given; channels never observed in ``fit`` where the mean is wanted; tokens of a
    channel without any. The end of a regular series padded with NaN looks like a gap, and is
    filled.

    Examples
    --------
    >>> import numpy as np
    >>> X = {"hr": np.array([[[60.0, np.nan, np.nan, 90.0]]])}
    >>> PanelImputer().fit_transform(X).values["hr"]
    array([[[60., 60., 90., 90.]]], dtype=float32)
    >>> PanelImputer(strategy="linear").fit_transform(X).values["hr"]
    array([[[60., 70., 80., 90.]]], dtype=float32)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "strategy": [str],
        "fill_absent": ["boolean"],
    }

    def __init__(self, *, strategy: str = "nearest", fill_absent: bool = True) -> None:
        self.strategy = strategy
        self.fill_absent = fill_absent

    def fit(self, X: PanelLike, y: object = None) -> Self:
        """Learn the mean of each channel.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Training samples.
        y : None
            Ignored.

        Returns
        -------
        PanelImputer
            The fitted transformer.

        Raises
        ------
        ValueError
            If ``strategy`` is unknown, or would average tokens.
        """
        panel = self._check_fit(X)
        if self.strategy not in _STRATEGIES:
            raise ValueError(
                f"strategy={self.strategy!r} is unknown; choose one of {list(_STRATEGIES)}."
            )
        self.mean_: dict[str, np.ndarray] = {}
        for modality in panel.schema:
            name = modality.name
            if modality.vocabulary is not None:
                if self.strategy != "nearest":
                    raise ValueError(
                        f"Modality {name!r} holds tokens, of which strategy={self.strategy!r} "
                        "would make numbers. Use strategy='nearest', or put PanelImputer before "
                        "the tokenizer."
                    )
                self.mean_[name] = np.full(modality.n_channels, np.nan)
                continue
            self.mean_[name], _ = channel_moments(panel.values[name], panel.observed[name])
        return self

    def transform(self, X: PanelLike) -> Panel:
        """Fill the gaps.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Samples of the schema seen in ``fit``.

        Returns
        -------
        Panel
            The same panel, ``observed`` included, with values where they were missing.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the schema differs from that of ``fit``; the message names the modality.
        """
        panel = self._check_transform(X)
        values = {m.name: self._fill(panel, m) for m in panel.schema}
        return panel.replace(values=values, observed=panel.observed)

    def _fill(self, panel: Panel, modality: Modality) -> np.ndarray:
        values, observed = panel.values[modality.name], panel.observed[modality.name]
        times = panel.times[modality.name]
        if modality.vocabulary is None:
            gaps = np.isnan(values)
            constant = 0.0 if self.strategy == "zero" else self.mean_[modality.name][:, None]
            constant = np.broadcast_to(constant, values.shape[1:])
        else:
            gaps = values == modality.vocabulary.missing
            constant = np.full(values.shape[1:], modality.vocabulary.missing)
        if times is None:
            times = np.broadcast_to(np.arange(values.shape[2], dtype=float), values[:, 0].shape)
        else:
            gaps = gaps & ~np.isnan(times)[:, None]
        available = observed.any(2, keepdims=True)
        if self.strategy in ("mean", "zero"):
            filled = np.where(available | self.fill_absent, constant, np.nan)
        else:
            filled = np.empty_like(values)
            for rows in sample_chunks(values.shape):
                filled[rows] = _from_neighbours(
                    values[rows], observed[rows], times[rows], linear=self.strategy == "linear"
                )
            if self.fill_absent or modality.vocabulary is not None:
                filled = np.where(available, filled, constant)
            else:
                filled = np.where(available, filled, np.nan)
        return np.where(gaps, filled, values).astype(values.dtype)


def _from_neighbours(
    values: np.ndarray, observed: np.ndarray, times: np.ndarray, *, linear: bool
) -> np.ndarray:
    """Each entry from the observed ones before and after it; undefined where there is neither."""
    last = values.shape[2] - 1
    index = np.arange(last + 1)
    before = np.maximum.accumulate(np.where(observed, index, -1), axis=2)
    after = np.where(observed, index, last + 1)
    after = np.minimum.accumulate(after[:, :, ::-1], axis=2)[:, :, ::-1]
    has_before, has_after = before >= 0, after <= last
    before, after = np.clip(before, 0, last), np.clip(after, 0, last)
    clock = np.broadcast_to(times[:, None], values.shape)
    since = clock - np.take_along_axis(clock, before, 2)
    until = np.take_along_axis(clock, after, 2) - clock
    low, high = np.take_along_axis(values, before, 2), np.take_along_axis(values, after, 2)
    if linear:
        span = since + until
        weight = np.divide(since, span, out=np.zeros_like(span), where=span > 0)
        between = (1 - weight) * low + weight * high
    else:
        between = np.where(since <= until, low, high)
    between = np.where(has_after, between, low)
    return np.where(has_before, between, high)
