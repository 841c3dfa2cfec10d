"""TrainingCurveDisplay: losses by epoch of the networks of an estimator."""

from __future__ import annotations

from typing import Any

import numpy as np
from sklearn.pipeline import Pipeline

from mts_fusion.inspection._display import COLORS, new_axes
from mts_fusion.panel._arguments import check_types

__all__ = ["TrainingCurveDisplay"]

_LOSSES = {"train_loss": ("training", "-"), "valid_loss": ("held out", "--")}


class TrainingCurveDisplay:
    """Loss by epoch, in training and on held-out samples, a colour a network.

    Parameters
    ----------
    history : list of list of dict
        ``history_`` of a fitted estimator: by network and epoch, ``train_loss`` and, where
        samples were held out, ``valid_loss``.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        Of each network the training loss, then that of the held-out samples.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> history = [[{"epoch": 1, "train_loss": 1.1}, {"epoch": 2, "train_loss": 0.7}]]
    >>> TrainingCurveDisplay(history).plot().lines_[0].get_ydata()
    array([1.1, 0.7])
    """

    def __init__(self, history: list) -> None:
        check_types(TrainingCurveDisplay.__init__, locals())
        rows = [row for net in history for row in net] if _is_nested(history) else [None]
        if not rows or not all(isinstance(row, dict) and "train_loss" in row for row in rows):
            raise TypeError(f"history is history_ of a fitted estimator, got {history!r}.")
        self.history = history

    @classmethod
    def from_estimator(cls, estimator: Any, *, ax: Any = None) -> TrainingCurveDisplay:
        """Draw the losses of a fitted estimator.

        Parameters
        ----------
        estimator : estimator
            Fitted, with networks; or a Pipeline that ends with one.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        TrainingCurveDisplay
            The display, drawn.

        Raises
        ------
        TypeError
            If the estimator has no ``history_``.
        """
        last = estimator[-1] if isinstance(estimator, Pipeline) else estimator
        if not hasattr(last, "history_"):
            raise TypeError(f"estimator is fitted and has networks (history_), got {estimator!r}.")
        return cls(last.history_).plot(ax=ax)

    def plot(self, ax: Any = None) -> TrainingCurveDisplay:
        """Draw the losses.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        TrainingCurveDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.figure_, self.ax_ = new_axes("TrainingCurveDisplay.plot", ax, (6.0, 3.8))
        ax = self.ax_
        self.lines_ = []
        several = len(self.history) > 1
        for index, net in enumerate(self.history):
            for key, (label, style) in _LOSSES.items():
                rows = [row for row in net if key in row]
                if rows:
                    epochs = np.arange(1, len(net) + 1)[[key in row for row in net]]
                    self.lines_ += ax.plot(
                        epochs,
                        [row[key] for row in rows],
                        color=COLORS[index % len(COLORS)],
                        ls=style,
                        label=f"network {index + 1}, {label}" if several else label,
                    )
        ax.set(xlabel="Epoch", ylabel="Loss")
        ax.xaxis.get_major_locator().set_params(integer=True)
        ax.grid(alpha=0.3)
        ax.legend(frameon=False, fontsize="small")
        return self


def _is_nested(history: list) -> bool:
    return all(isinstance(net, list) for net in history)
