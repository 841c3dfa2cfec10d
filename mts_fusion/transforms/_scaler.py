"""PanelScaler: every channel to a comparable range."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from functools import partial
from numbers import Real
from typing import Any, ClassVar, Self

import numpy as np

from mts_fusion.panel import Modality, Panel, PanelLike
from mts_fusion.panel._stored import StoredPanel

from ._base import PanelTransformer, filled_masks
from ._moments import channel_moments, chunk_moments, no_spread, sample_chunks

__all__ = ["PanelScaler", "scaled_as_read"]

# Scaled values are at most so large: the squares and fourth powers of features stay finite.
MAX_SCALED = 1e6

# Larger training values than this are no measurements: netCDF fills with 9.97e36.
_MAX_MEASURED = 1e30

# Interquartile range of a standard normal variable: makes the robust scale a standard deviation.
_NORMAL_IQR = 1.3489795003921634


class PanelScaler(PanelTransformer):
    """Channels shifted and scaled by statistics of all training samples.

    One center and one scale a channel, learnt from observed values only, so that the level of a
    channel (the direction of gravity, a resting temperature) is kept. Values that an imputer
    filled in do not enter the statistics, but are scaled along. Tokens have no scale and pass as
    they are.

    Parameters
    ----------
    method : {"standard", "robust"}, default="standard"
        ``"standard"``: mean and standard deviation. ``"robust"``: median and interquartile range,
        divided by that of a normal distribution (1.349), so that both agree on normal data.
    clip_quantiles : tuple of two float or None, default=None
        Bounds of each channel, as quantiles of the training values, such as ``(0.001, 0.999)``.
        What lies outside is set to the bound, before center and scale are learnt. None leaves
        outliers alone; ``(0, 1)`` clips to the range in training.

    Attributes
    ----------
    center_, scale_ : dict of str to array of shape (C,)
        By modality. A constant channel has scale 1, so it becomes 0; a channel never observed has
        center 0 and scale 1, so later values of it pass unchanged.
    bounds_ : dict of str to array of shape (2, C)
        Lowest and highest value of each channel; infinite without ``clip_quantiles``.
    schema_ : Schema
        What X was in ``fit``.

    Raises
    ------
    ValueError
        If a parameter is out of range.

    Warns
    -----
    UserWarning
        If an observed value is so large that it can only be a fill value: above 1e30 in ``fit``, or
        more than a million scales from the center later. Such values are set to that bound.

    Examples
    --------
    >>> import numpy as np
    >>> X = {"acc": np.array([[[9.0, 11.0]], [[np.nan, 10.0]]])}
    >>> PanelScaler().fit_transform(X).values["acc"][1, 0]
    array([nan,  0.], dtype=float32)
    """

    _parameter_constraints: ClassVar[dict[str, list[Any]]] = {
        "method": [str],
        "clip_quantiles": [tuple, list, None],
    }

    def __init__(
        self,
        *,
        method: str = "standard",
        clip_quantiles: tuple[float, float] | None = None,
    ) -> None:
        self.method = method
        self.clip_quantiles = clip_quantiles

    def fit(self, X: PanelLike, y: object = None) -> Self:
        """Learn center and scale of each channel.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Training samples.
        y : None
            Ignored.

        Returns
        -------
        PanelScaler
            The fitted transformer.

        Raises
        ------
        ValueError
            If a parameter is out of range.
        """
        panel = self._check_fit(X)
        if self.method not in ("standard", "robust"):
            raise ValueError(f"method is 'standard' or 'robust', got {self.method!r}.")
        if self.clip_quantiles is not None:
            pair = self.clip_quantiles
            is_pair = len(pair) == 2 and all(isinstance(bound, Real) for bound in pair)
            if not (is_pair and 0 <= pair[0] < pair[1] <= 1):
                raise ValueError(
                    "clip_quantiles is an increasing pair within [0, 1], got "
                    f"{self.clip_quantiles!r}."
                )
        self.center_: dict[str, np.ndarray] = {}
        self.scale_: dict[str, np.ndarray] = {}
        self.bounds_: dict[str, np.ndarray] = {}
        for modality in panel.schema:
            name = modality.name
            if modality.vocabulary is not None:
                continue
            has_quantiles = self.method == "robust" or self.clip_quantiles is not None
            if isinstance(panel, StoredPanel) and not has_quantiles:
                center, scale, silent = _as_read(panel, modality)
                bounds = _free_bounds(modality.n_channels)
            else:
                center, scale, silent, bounds = self._at_once(panel, modality)
            center = np.where(silent, 0.0, center)
            self.center_[name] = center
            self.scale_[name] = np.where(silent | no_spread(center, scale), 1.0, scale)
            self.bounds_[name] = bounds
        return self

    def _at_once(self, panel: Panel, modality: Modality) -> tuple[np.ndarray, ...]:
        """Center and scale of each channel, whether it is silent, and its bounds."""
        values, observed = panel.values[modality.name], panel.observed[modality.name]
        extreme = observed & (np.abs(values) > _MAX_MEASURED)
        _warn_of_extremes(modality, values, extreme, f"above {_MAX_MEASURED:g}")
        bounds = self._learn_bounds(values, observed)
        if self.clip_quantiles is not None:
            values = np.clip(values, bounds[0][:, None], bounds[1][:, None])
        if self.method == "standard":
            center, scale = channel_moments(values, observed)
        else:
            low, center, high = _quantiles(values, observed, (0.25, 0.5, 0.75))
            scale = (high - low) / _NORMAL_IQR
        return center, scale, np.asarray(~observed.any((0, 2))), bounds

    def _learn_bounds(self, values: np.ndarray, observed: np.ndarray) -> np.ndarray:
        free = _free_bounds(values.shape[1])
        if self.clip_quantiles is None:
            return free
        bounds = _quantiles(values, observed, self.clip_quantiles)
        return np.where(np.isnan(bounds), free, bounds)

    def transform(self, X: PanelLike) -> Panel:
        """Scaled values.

        Parameters
        ----------
        X : Panel or anything as_panel takes
            Samples of the schema seen in ``fit``.

        Returns
        -------
        Panel
            The same panel with ``(x - center) / scale`` for values, at most a million in size, and
            NaN where they were.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the schema differs from that of ``fit``; the message names the modality.
        """
        panel = self._check_transform(X)
        values = {}
        for name in self.center_:
            given = panel.values[name]
            values[name], extreme = self._scaled(name, given)
            bound = f"more than {MAX_SCALED:g} scales from the center in fit, and set to that bound"
            extreme &= panel.observed[name]
            _warn_of_extremes(panel.schema[name], given, extreme, bound)
        return panel.replace(values=values, observed=filled_masks(panel))

    def _scaled(self, name: str, values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Scaled values of a modality, and which of them were beyond the bound."""
        low, high = self.bounds_[name][:, :, None]
        center, scale = self.center_[name][:, None], self.scale_[name][:, None]
        scaled, extreme = np.empty(values.shape, np.float32), np.empty(values.shape, bool)
        for rows in sample_chunks(values.shape):  # no float64 copy of everything
            part = values[rows].astype(np.float64)
            if self.clip_quantiles is not None:
                part = np.clip(part, low, high)
            part = (part - center) / scale
            extreme[rows] = np.abs(part) > MAX_SCALED
            scaled[rows] = np.clip(part, -MAX_SCALED, MAX_SCALED)
        return scaled, extreme

    def inverse_transform(self, X: PanelLike) -> Panel:
        """Values in their own units again.

        Parameters
        ----------
        X : Panel
            What ``transform`` gave, or an imputer made of it.

        Returns
        -------
        Panel
            The same panel with ``x * scale + center``. What was clipped stays at its bound.

        Raises
        ------
        NotFittedError
            Before ``fit``.
        ValueError
            If the schema differs from that of ``fit``; the message names the modality.
        """
        panel = self._check_transform(X)
        values = {}
        for name in self.center_:
            center, scale = self.center_[name][:, None], self.scale_[name][:, None]
            own = panel.values[name].astype(np.float64) * scale + center
            values[name] = own.astype(np.float32)
        return panel.replace(values=values, observed=filled_masks(panel))


def _free_bounds(n_channels: int) -> np.ndarray:
    return np.stack([np.full(n_channels, -np.inf), np.full(n_channels, np.inf)])


def _as_read(panel: Panel, modality: Modality) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean and standard deviation of each channel and whether it is silent, chunk by chunk."""
    name, has_extremes = modality.name, False
    silent = np.ones(modality.n_channels, bool)

    def chunks() -> Iterator[tuple[np.ndarray, np.ndarray]]:
        for rows in sample_chunks((len(panel), modality.n_channels, modality.n_timepoints)):
            part = panel[rows]
            yield part.values[name], part.observed[name]

    for values, observed in chunks():
        silent &= ~observed.any((0, 2))
        has_extremes |= bool((observed & (np.abs(values) > _MAX_MEASURED)).any())
    if has_extremes:
        values, observed = panel.values[name], panel.observed[name]
        extreme = observed & (np.abs(values) > _MAX_MEASURED)
        _warn_of_extremes(modality, values, extreme, f"above {_MAX_MEASURED:g}")
    return (*chunk_moments(chunks), silent)


def scaled_as_read(scaler: Any, panel: Panel) -> Panel:
    """The panel after a transformer; a stored one after a PanelScaler is scaled as it is read.

    Parameters
    ----------
    scaler : transformer
        Fitted.
    panel : Panel
        Samples of its schema.

    Returns
    -------
    Panel
        As ``scaler.transform(panel)``. Of values that are read later no warning is given.
    """
    if isinstance(panel, StoredPanel) and isinstance(scaler, PanelScaler):
        return panel.mapped(partial(_scaled_values, scaler))
    return scaler.transform(panel)


def _scaled_values(scaler: PanelScaler, name: str, values: np.ndarray) -> np.ndarray:
    return scaler._scaled(name, values)[0] if name in scaler.center_ else values


def _warn_of_extremes(
    modality: Modality, values: np.ndarray, extreme: np.ndarray, what: str
) -> None:
    """Warn of the first of the values that are marked as extreme, if there is one."""
    if not extreme.any():
        return
    sample, channel, timepoint = np.argwhere(extreme)[0]
    warnings.warn(
        f"Modality {modality.name!r} has {extreme.sum()} values that are {what}: "
        f"{values[sample, channel, timepoint]:.4g} in channel "
        f"{modality.channel_names[channel]!r} of sample {sample} is the first. If it stands for a "
        "missing value, set it to NaN.",
        UserWarning,
        stacklevel=3,
    )


def _quantiles(
    values: np.ndarray, observed: np.ndarray, probabilities: tuple[float, ...]
) -> np.ndarray:
    """Quantiles of the observed values of each channel, ``(len(probabilities), C)``."""
    quantiles = np.full((len(probabilities), values.shape[1]), np.nan)
    for channel in range(values.shape[1]):  # each channel has its own number of observed values
        available = values[:, channel][observed[:, channel]]
        if available.size:
            quantiles[:, channel] = np.quantile(available.astype(np.float64), probabilities)
    return quantiles
