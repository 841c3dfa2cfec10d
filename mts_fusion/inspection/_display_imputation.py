"""ImputationDisplay: a channel of one sample, its gaps, and what may have been there."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from mts_fusion.inspection._display import COLORS, label_time, new_axes
from mts_fusion.metrics import quantiles_from_samples
from mts_fusion.panel import PanelLike, as_panel
from mts_fusion.panel._arguments import check_at_least, check_types

__all__ = ["ImputationDisplay"]


class ImputationDisplay:
    """Observed values of a channel, and the band, the median and draws where it has gaps.

    Parameters
    ----------
    times : array of shape (L,)
        Time of each entry.
    observed : array of shape (L,)
        Observed values, NaN elsewhere.
    draws : array of shape (S, L)
        Draws; where a value was observed, all are equal to it.
    truth : array of shape (L,) or None, default=None
        What the values were.
    level : float, default=0.9
        What the band promises to hold.
    label : str, default="value"
        Of the vertical axis.
    time_label : str, default="time (s)"
        Of the horizontal axis. Of a long span ``(s)`` becomes minutes, hours or days.

    Attributes
    ----------
    band_ : matplotlib FillBetweenPolyCollection
        The band of the draws.
    lines_ : list of matplotlib Line2D
        Draws, the median, and the truth where it is known.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> draws = np.array([[0.0, 1.0, 2.0], [0.0, 1.5, 2.0], [0.0, 0.5, 2.0]])
    >>> display = ImputationDisplay(np.arange(3.0), np.array([0.0, np.nan, 2.0]), draws)
    >>> display.plot().ax_.get_xlabel()
    'time (s)'
    """

    def __init__(
        self,
        times: NDArray[Any],
        observed: NDArray[Any],
        draws: NDArray[Any],
        *,
        truth: NDArray[Any] | None = None,
        level: float = 0.9,
        label: str = "value",
        time_label: str = "time (s)",
    ) -> None:
        check_types(ImputationDisplay.__init__, locals())
        _check_level(level)
        n = len(times) if np.ndim(times) == 1 else -1
        given: dict[str, Any] = {
            "times": times,
            "observed": observed,
            "draws": draws,
            "truth": truth,
        }
        for name, array in given.items():
            wanted = 2 if name == "draws" else 1
            if name == "truth" and array is None:
                continue
            if np.ndim(array) != wanted or np.shape(array)[-1] != n:
                raise ValueError(
                    f"{name} has shape {np.shape(array)}; times (L,), observed (L,), draws (S, L) "
                    "and truth (L,) belong together."
                )
        self.times = times
        self.observed = observed
        self.draws = draws
        self.truth = truth
        self.level = level
        self.label = label
        self.time_label = time_label

    @classmethod
    def from_estimator(
        cls,
        imputer: Any,
        X: PanelLike,
        *,
        modality: str | None = None,
        channel: int | str = 0,
        sample: int = 0,
        truth: PanelLike | None = None,
        level: float = 0.9,
        n_samples: int = 100,
        n_shown: int = 3,
        ax: Any = None,
    ) -> ImputationDisplay:
        """Draw what may have been in the gaps of one sample, and show it.

        Parameters
        ----------
        imputer : imputer
            Fitted, with ``sample``.
        X : Panel or what ``as_panel`` takes
            Samples with gaps.
        modality : str or None, default=None
            Name of the modality; None for the first one.
        channel : int or str, default=0
            Number or name of the channel.
        sample : int, default=0
            Which sample.
        truth : Panel, what ``as_panel`` takes, or None, default=None
            The same samples with what is hidden, where it is known.
        level : float, default=0.9
            What the band promises to hold, in (0, 1).
        n_samples : int, default=100
            Number of draws behind the band.
        n_shown : int, default=3
            Number of draws shown as lines.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        ImputationDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            If the modality or the channel is unknown, or ``level`` is out of range.
        """
        check_types(cls.from_estimator, locals())
        panel = as_panel(X)
        name = panel.schema.names[0] if modality is None else modality
        if name not in panel.schema:
            raise ValueError(
                f"modality={name!r} is unknown; choose one of {list(panel.schema.names)}."
            )
        if not hasattr(imputer, "sample"):
            raise TypeError(f"imputer is a fitted imputer with 'sample', got {imputer!r}.")
        _check_level(level)
        check_at_least(1, n_samples=n_samples)
        check_at_least(0, n_shown=n_shown)
        if not 0 <= sample < len(panel):
            raise ValueError(f"sample is in [0, {len(panel) - 1}], got {sample}.")
        one = panel[sample]
        schema, clock = one.schema[name], one.times[name]
        known = [*schema.channel_names, *range(schema.n_channels)]
        if channel not in known:
            raise ValueError(f"channel={channel!r} is unknown; choose one of {known}.")
        c = known.index(channel) % schema.n_channels
        draws = np.stack([x.values[name][0, c] for x in imputer.sample(one, n_samples)])
        steps = np.arange(draws.shape[1])
        times = steps / (schema.rate or 1.0) if clock is None else clock[0]
        values = np.where(one.observed[name][0, c], one.values[name][0, c], np.nan)
        display = cls(
            times,
            values,
            draws,
            truth=None if truth is None else as_panel(truth)[sample].values[name][0, c],
            level=level,
            label=f"{name}: {schema.channel_names[c]}",
            time_label="timepoint" if clock is None and schema.rate is None else "time (s)",
        )
        return display.plot(ax=ax, n_shown=n_shown)

    def plot(self, ax: Any = None, *, n_shown: int = 3) -> ImputationDisplay:
        """Draw the channel.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw; None: a new figure.
        n_shown : int, default=3
            Number of draws shown as lines.

        Returns
        -------
        ImputationDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_types(ImputationDisplay.plot, locals())
        check_at_least(0, n_shown=n_shown)
        self.figure_, self.ax_ = new_axes("ImputationDisplay.plot", ax, (7.2, 3.2))
        ax, color = self.ax_, COLORS[0]
        exists = ~np.isnan(self.times)  # padding has no time
        t, draws = self.times[exists], self.draws[:, exists]
        tail = (1 - self.level) / 2
        low, median, high = quantiles_from_samples(draws, [tail, 0.5, 1 - tail])
        self.band_ = ax.fill_between(
            t, low, high, color=color, alpha=0.2, lw=0, label=f"{100 * self.level:g} % band"
        )
        self.lines_ = ax.plot(t, draws[:n_shown].T, color=color, lw=0.6, alpha=0.7)
        if self.lines_:
            self.lines_[0].set_label("draws")
        self.lines_ += ax.plot(t, median, color=color, lw=1.6, label="median")
        if self.truth is not None:
            self.lines_ += ax.plot(
                t, self.truth[exists], color=COLORS[5], ls="--", lw=1.2, label="truth"
            )
        ax.plot(t, self.observed[exists], "o", color="black", ms=3, label="observed")
        ax.set_ylabel(self.label)
        label_time(ax, self.time_label)
        if len(self.figure_.axes) == 1:
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize="small")
        else:  # other axes are beside these
            ax.legend(loc="best", fontsize="x-small", framealpha=0.8)
        return self


def _check_level(level: float) -> None:
    if not 0 < level < 1:
        raise ValueError(f"level is between 0 and 1, got {level!r}.")
