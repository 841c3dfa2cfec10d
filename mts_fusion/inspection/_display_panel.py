"""PanelDisplay: the streams of one sample, with what is missing."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mts_fusion.inspection._display import COLORS, label_time, new_axes
from mts_fusion.panel import Modality, Panel, PanelLike, as_panel
from mts_fusion.panel._arguments import check_types

__all__ = ["PanelDisplay"]

_GAP = "#D9D9D9"


class PanelDisplay:
    """The streams of one sample, a row a channel, with its gaps in grey.

    Each channel is scaled to its own row; a modality with irregular times is drawn as points.

    Parameters
    ----------
    X : Panel or what ``as_panel`` takes
        Samples, before they are scaled or imputed.
    sample : int, default=0
        The sample to draw.

    Attributes
    ----------
    lines_ : dict of str to list of matplotlib Line2D
        The channels of each modality.
    gaps_ : list of matplotlib PolyCollection
        What is missing, of each channel that lacks anything.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If ``sample`` is not in [0, n - 1].

    Examples
    --------
    >>> x = np.array([[[0.0, 1.0, np.nan, 2.0]]])
    >>> display = PanelDisplay({"acc": x, "pulse": x[:, :, ::2]}).plot()
    >>> [text.get_text() for text in display.ax_.get_yticklabels()]
    ['acc', 'pulse']
    """

    def __init__(self, X: PanelLike, *, sample: int = 0) -> None:
        check_types(PanelDisplay.__init__, locals())
        self.panel: Panel = as_panel(X)
        if not 0 <= sample < len(self.panel):
            raise ValueError(f"sample={sample} is not in [0, {len(self.panel) - 1}].")
        self.sample = sample

    def plot(self, ax: Any = None) -> PanelDisplay:
        """Draw the streams.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        PanelDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        schema = self.panel.schema
        height = min(12.0, 1.0 + 0.45 * sum(m.n_channels for m in schema))
        self.figure_, self.ax_ = new_axes("PanelDisplay.plot", ax, (8.0, height))
        ax, row = self.ax_, 0
        self.lines_: dict[str, list[Any]] = {}
        self.gaps_: list[Any] = []
        ticks = []
        for index, modality in enumerate(schema):
            color = COLORS[index % len(COLORS)]
            times, values = _stream(self.panel, modality, self.sample)
            ticks.append(row + (modality.n_channels - 1) / 2)
            self.lines_[modality.name] = []
            for channel in values:
                self._draw_channel(ax, row, times, channel, modality.name, color)
                row += 1
            ax.axhline(row - 0.5, color="#BBBBBB", lw=0.8)
        ax.set_yticks(ticks, labels=list(schema.names))
        ax.set_ylim(row - 0.5, -0.5)  # the first modality at the top
        clocks = [m.rate is None and self.panel.times[m.name] is None for m in schema]
        label_time(ax, "Timepoint" if all(clocks) else "Time (s)")
        if self.gaps_:
            self.gaps_[0].set_label("missing")
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize="small")
        return self

    def _draw_channel(
        self, ax: Any, row: int, times: NDArray[Any], values: NDArray[Any], name: str, color: str
    ) -> None:
        missing = np.isnan(values) if len(values) else np.array([True])
        if missing.any():
            edges = _edges(times)
            change = np.diff(np.concatenate([[0], missing, [0]]).astype(int))
            starts, ends = edges[np.flatnonzero(change == 1)], edges[np.flatnonzero(change == -1)]
            stretches = list(zip(starts, ends - starts, strict=True))
            self.gaps_.append(ax.broken_barh(stretches, (row - 0.45, 0.9), color=_GAP, lw=0))
        irregular = self.panel.times[name] is not None
        style = {"marker": ".", "ls": ""} if irregular else {"lw": 1.0}
        self.lines_[name] += ax.plot(times, row - _scaled(values), color=color, **style)


def _stream(
    panel: Panel, modality: Modality, sample: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Times ``(L,)`` and values ``(C, L)`` of a sample, NaN where nothing was observed."""
    name = modality.name
    observed = panel.observed[name][sample]
    values = np.where(observed, panel.values[name][sample].astype(np.float64), np.nan)
    clock = panel.times[name]
    if clock is None:
        return np.arange(values.shape[1]) / (modality.rate or 1.0), values
    exists = ~np.isnan(clock[sample])
    return clock[sample][exists], values[:, exists]


def _edges(times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Ends of the stretches that the timepoints stand for, one more than they are."""
    if len(times) < 2:
        return np.array([0.0, 1.0]) if not len(times) else np.array([times[0], times[0] + 1.0])
    middle = (times[1:] + times[:-1]) / 2
    return np.concatenate([[2 * times[0] - middle[0]], middle, [2 * times[-1] - middle[-1]]])


def _scaled(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Values between -.4 and .4 of a row; a constant is its middle."""
    if np.isnan(values).all():
        return values
    low, high = np.nanmin(values), np.nanmax(values)
    return 0.8 * (values - low) / (high - low) - 0.4 if high > low else values - low
