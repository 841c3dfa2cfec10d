"""RecordingDisplay: probabilities along a recording while its sensors fail."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mts_fusion.inspection._display import COLORS, label_time, name_ticks, new_axes
from mts_fusion.inspection._evaluate import read_panel
from mts_fusion.panel import PanelLike
from mts_fusion.panel._arguments import as_floats, check_types

__all__ = ["RecordingDisplay"]


class RecordingDisplay:
    """Probabilities of the classes over the windows of a recording; below, which sensors worked.

    Parameters
    ----------
    y_proba : array of shape (n, n_classes)
        Probabilities of the windows, in the order of time.
    available : bool array of shape (n, M)
        Whether anything of each modality was observed in each window.
    classes : sequence of length n_classes
        Names of the classes.
    modalities : sequence of length M
        Names of the modalities.
    y_true : array-like of shape (n,) or None, default=None
        The class of each window, drawn above the probabilities.
    seconds : array-like of shape (n,) or None, default=None
        Time of each window; None counts them.

    Attributes
    ----------
    areas_ : list of matplotlib PolyCollection
        One for each class, on top of each other.
    image_ : matplotlib QuadMesh
        Modalities by windows: coloured where the modality was available.
    ax_ : matplotlib Axes
        The axes of the probabilities.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If the shapes do not belong together.

    Examples
    --------
    >>> proba = np.array([[0.9, 0.1], [0.4, 0.6], [0.5, 0.5]])
    >>> works = np.array([[True, True], [True, True], [True, False]])
    >>> display = RecordingDisplay(proba, works, classes=["rest", "walk"],
    ...                            modalities=["acc", "pulse"]).plot()
    >>> len(display.areas_)
    2
    """

    def __init__(
        self,
        y_proba: ArrayLike,
        available: ArrayLike,
        *,
        classes: Sequence[Any],
        modalities: Sequence[str],
        y_true: ArrayLike | None = None,
        seconds: ArrayLike | None = None,
    ) -> None:
        check_types(RecordingDisplay.__init__, locals())
        if isinstance(classes, (set, frozenset)):
            raise TypeError(f"classes are in the order of the columns of y_proba, got {classes!r}.")
        self.y_proba = as_floats("y_proba", y_proba)
        self.available = as_floats("available", available).astype(bool)
        n = len(self.y_proba) if self.y_proba.ndim == 2 else -1
        self.seconds = np.arange(float(n)) if seconds is None else as_floats("seconds", seconds)
        self.classes, self.modalities = list(classes), list(modalities)
        self.y_true = None if y_true is None else np.asarray(y_true)
        shapes = {
            "y_proba": (self.y_proba.shape, (n, len(self.classes))),
            "available": (self.available.shape, (n, len(self.modalities))),
            "seconds": (self.seconds.shape, (n,)),
            "y_true": ((n,) if self.y_true is None else self.y_true.shape, (n,)),
        }
        for name, (shape, wanted) in shapes.items():
            if shape != wanted or n < 1:
                raise ValueError(
                    f"{name} has shape {shape}; y_proba (n, n_classes), available (n, M), seconds "
                    f"and y_true (n,) belong together, with {len(self.classes)} classes and "
                    f"{len(self.modalities)} modalities."
                )

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: PanelLike,
        *,
        y: ArrayLike | None = None,
        seconds: ArrayLike | None = None,
        ax: Any = None,
    ) -> RecordingDisplay:
        """Predict the windows of a recording and draw them.

        Parameters
        ----------
        estimator : classifier
            Fitted, with ``predict_proba``; takes a Panel.
        X : Panel or what ``as_panel`` takes
            Windows in the order of time.
        y : array-like of shape (n,) or None, default=None
            Their classes.
        seconds : array-like of shape (n,) or None, default=None
            Time of each window; None counts them.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        RecordingDisplay
            The display, drawn.
        """
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(f"estimator is a fitted classifier of panels, got {estimator!r}.")
        panel = read_panel(estimator, X)
        return cls(
            estimator.predict_proba(panel),
            panel.available,
            classes=list(estimator.classes_),
            modalities=panel.schema.names,
            y_true=y,
            seconds=seconds,
        ).plot(ax=ax)

    def plot(self, ax: Any = None) -> RecordingDisplay:
        """Draw the probabilities and the sensors.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        RecordingDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.figure_, self.ax_ = new_axes("RecordingDisplay.plot", ax, (8.0, 4.2))
        is_new, ax, t = ax is None, self.ax_, self.seconds
        colors = [COLORS[k % len(COLORS)] for k in range(len(self.classes))]
        names = [str(c) for c in self.classes]
        self.areas_ = ax.stackplot(t, self.y_proba.T, colors=colors, labels=names, alpha=0.75)
        if self.y_true is not None:
            for color, label in zip(colors, self.classes, strict=True):
                here = self.y_true == label
                ax.plot(t[here], np.full(here.sum(), 1.05), "s", color=color, ms=4)
            ax.text(t[0], 1.12, "truth", va="center", fontsize="small")
        ax.set(
            ylim=(0, 1 if self.y_true is None else 1.18),
            xlim=(t.min(), t.max() if len(t) > 1 else t.min() + 1),
        )
        ax.set_yticks([0, 0.5, 1], labels=["0", ".5", "1"])
        ax.set_ylabel("Probability")
        ax.legend(loc="upper left", bbox_to_anchor=(1.01, 0.98), frameon=False, fontsize="small")
        height = 0.07 * len(self.modalities)
        below = ax.inset_axes([0.0, -height - 0.06, 1.0, height], sharex=ax)
        works = np.where(self.available, 1.0, 0.0).T
        edges = np.append(t, 2 * t[-1] - t[-2] if len(t) > 1 else t[-1] + 1)
        self.image_ = below.pcolormesh(
            edges, np.arange(len(works) + 1) - 0.5, works, cmap="Greys", vmin=0, vmax=1.6
        )
        below.invert_yaxis()
        name_ticks(below.yaxis, self.modalities)
        below.tick_params(axis="y", labelsize="small")
        label_time(below, "Time (s); grey: the sensor works, white: it is missing")
        ax.tick_params(labelbottom=False)
        if is_new:  # the layout sees the axes below from its second pass on
            self.figure_.draw_without_rendering()
        return self
