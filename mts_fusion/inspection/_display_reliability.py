"""ReliabilityDisplay: accuracy by confidence."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mts_fusion.inspection._display import COLORS, estimator_name, new_axes
from mts_fusion.metrics import ReliabilityCurve, expected_calibration_error, reliability_curve
from mts_fusion.panel import PanelLike
from mts_fusion.panel._arguments import check_types

__all__ = ["ReliabilityDisplay"]


class ReliabilityDisplay:
    """Accuracy by confidence, in bins; calibrated probabilities lie on the diagonal.

    Parameters
    ----------
    curves : dict of str to ReliabilityCurve
        The curve of the predicted class, or of each class.
    errors : dict of str to float
        Calibration error of each curve, shown in the legend.

    Attributes
    ----------
    lines_ : list of matplotlib Line2D
        One for each curve.
    bars_ : matplotlib StepPatch or None
        Fraction of the samples in each bin, in small axes below; None if there are several curves.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> rng = np.random.default_rng(0)
    >>> proba = rng.dirichlet(np.ones(3), size=200)
    >>> y = (proba.cumsum(axis=1) > rng.random((200, 1))).argmax(axis=1)
    >>> display = ReliabilityDisplay.from_predictions(y, proba, n_bins=5)
    >>> display.ax_.get_ylabel()
    'Accuracy'
    """

    def __init__(self, curves: Mapping[str, ReliabilityCurve], errors: Mapping[str, float]) -> None:
        check_types(ReliabilityDisplay.__init__, locals())
        if not all(isinstance(curve, ReliabilityCurve) for curve in curves.values()):
            raise TypeError(f"curves is a dict of ReliabilityCurve, got {curves!r}.")
        if set(curves) != set(errors):
            raise ValueError(f"errors has {list(errors)}, but curves has {list(curves)}.")
        self.curves = dict(curves)
        self.errors = dict(errors)

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: PanelLike,
        y: ArrayLike,
        *,
        n_bins: int = 10,
        strategy: Literal["uniform", "quantile"] = "uniform",
        kind: Literal["top-label", "classwise"] = "top-label",
        name: str | None = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> ReliabilityDisplay:
        """Predict probabilities with a fitted classifier and draw its curve.

        Parameters
        ----------
        estimator : classifier
            Fitted, with ``predict_proba``.
        X : Panel or whatever the estimator takes
            Test samples.
        y : array-like of shape (n,)
            Their classes.
        n_bins, strategy, kind
            As in :func:`mts_fusion.metrics.expected_calibration_error`.
        name : str or None, default=None
            Name in the legend of the top-label curve; None for the class of the estimator, or of
            the last step of a Pipeline.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **line_kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        ReliabilityDisplay
            The display, drawn.
        """
        check_types(cls.from_estimator, locals())
        if not hasattr(estimator, "predict_proba"):
            raise TypeError(f"estimator is a fitted classifier of panels, got {estimator!r}.")
        return cls.from_predictions(
            y,
            estimator.predict_proba(X),
            labels=estimator.classes_,
            n_bins=n_bins,
            strategy=strategy,
            kind=kind,
            name=estimator_name(estimator) if name is None else name,
            ax=ax,
            **line_kwargs,
        )

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        y_proba: ArrayLike,
        *,
        labels: ArrayLike | None = None,
        n_bins: int = 10,
        strategy: Literal["uniform", "quantile"] = "uniform",
        kind: Literal["top-label", "classwise"] = "top-label",
        name: str | None = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> ReliabilityDisplay:
        """Draw the curve of probabilities.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            True classes.
        y_proba : array-like of shape (n, n_classes) or (n,)
            Probabilities.
        labels : array-like of shape (n_classes,) or None, default=None
            The class of each column; None for the sorted classes of ``y_true``.
        n_bins, strategy, kind
            As in :func:`mts_fusion.metrics.expected_calibration_error`.
        name : str or None, default=None
            Name in the legend of the top-label curve.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **line_kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        ReliabilityDisplay
            The display, drawn.

        Raises
        ------
        ValueError
            As :func:`mts_fusion.metrics.expected_calibration_error`.
        """
        check_types(cls.from_predictions, locals())
        error = expected_calibration_error(
            y_true, y_proba, n_bins=n_bins, strategy=strategy, kind=kind, labels=labels
        )
        bins = {"n_bins": n_bins, "strategy": strategy, "labels": labels}
        if kind == "top-label":
            key = "top label" if name is None else name
            curve = reliability_curve(y_true, y_proba, **bins)  # type: ignore[arg-type]
            return cls({key: curve}, {key: error}).plot(ax=ax, **line_kwargs)
        classes = np.unique(np.asarray(y_true)) if labels is None else np.asarray(labels)
        curves = {
            str(c): reliability_curve(y_true, y_proba, pos_label=c, **bins)  # type: ignore[arg-type]
            for c in classes
        }
        errors = {key: _error(curve) for key, curve in curves.items()}
        return cls(curves, errors).plot(ax=ax, **line_kwargs)

    def plot(self, ax: Any = None, **line_kwargs: Any) -> ReliabilityDisplay:
        """Draw the curves.

        A dot is the larger the more samples its bin has. A single curve also gets Wilson's
        intervals of 95 % of the accuracy, and below the share of the samples in each bin.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Where to draw, such as ``ax_`` of another display; None: a new figure.
        **line_kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        ReliabilityDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.figure_, self.ax_ = new_axes("ReliabilityDisplay.plot", ax, (7.2, 4.6))
        ax = self.ax_
        if not ax.get_lines():
            ax.plot([0, 1], [0, 1], color="#888888", ls="--", lw=1, label="calibrated")
        self.lines_, self.bars_ = [], None
        several = len(self.curves) > 1
        for key, curve in self.curves.items():
            index = len(ax.get_lines()) - 1
            label = f"{key} (ECE {self.errors[key]:.3f})"
            full = curve.n_samples > 0
            confidence, accuracy = curve.confidence[full], curve.accuracy[full]
            share = curve.n_samples / curve.n_samples.sum()
            style = {"color": COLORS[index % len(COLORS)], "label": label, **line_kwargs}
            style.setdefault("ls", "-" if index < len(COLORS) else ":")
            (line,) = ax.plot(confidence, accuracy, **style)
            color = line.get_color()
            # The size of a dot grows with the number of samples in its bin.
            ax.scatter(confidence, accuracy, s=8 + 60 * np.sqrt(share[full]), color=color, zorder=3)
            if not several:
                low, high = _wilson(accuracy, curve.n_samples[full])
                ax.vlines(confidence, low, high, color=color, lw=1, alpha=0.6)
                self.bars_ = _histogram_axes(ax).stairs(share, curve.edges, color=color, lw=1.5)
            self.lines_.append(line)
        which = "of the class" if several else "of the predicted class"
        ax.set(
            xlim=(-0.02, 1.02),
            ylim=(-0.02, 1.02),
            ylabel="Share in which the class is true" if several else "Accuracy",
        )
        lowest = _histogram_axes(ax) if ax.child_axes else ax
        lowest.set_xlabel(f"Confidence: probability {which}")
        if len(self.figure_.axes) == 1:
            ax.legend(loc="upper left", bbox_to_anchor=(1.01, 1.0), frameon=False, fontsize="small")
        else:  # other axes are beside these
            ax.legend(loc="lower right", fontsize="x-small", framealpha=0.8)
        return self


def _histogram_axes(ax: Any) -> Any:
    """Small axes below, with the same confidence, for the share of the samples in each bin."""
    if not ax.child_axes:
        below = ax.inset_axes([0.0, -0.27, 1.0, 0.22], sharex=ax)
        below.set_ylabel("Share of\nsamples", fontsize="small")
        below.spines[["top", "right"]].set_visible(False)
        ax.tick_params(labelbottom=False)
    return ax.child_axes[0]


def _error(curve: ReliabilityCurve) -> float:
    full = curve.n_samples > 0
    gap = np.abs(curve.accuracy - curve.confidence)[full]
    return float((gap * curve.n_samples[full]).sum() / curve.n_samples.sum())


def _wilson(
    share: NDArray[np.float64], n: NDArray[np.intp]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % Wilson interval of a proportion of n samples."""
    z = 1.96
    center = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    return center - half, center + half
