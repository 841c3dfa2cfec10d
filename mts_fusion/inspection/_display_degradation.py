"""DegradationDisplay: the score by the fraction of the input that is missing."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score

from mts_fusion.inspection._display import (
    COLORS,
    check_table,
    estimator_name,
    metric_label,
    new_axes,
    percent,
)
from mts_fusion.inspection._robustness import missingness_curve
from mts_fusion.panel import PanelLike
from mts_fusion.panel._arguments import check_types
from mts_fusion.panel._frames import as_frame

__all__ = ["DegradationDisplay"]

_HIDDEN = {
    "modality": "Modalities hidden (%)",
    "block": "Time hidden, one block a modality (%)",
    "span": "Time hidden, one span a channel (%)",
    "point": "Values hidden (%)",
}


class DegradationDisplay:
    """Curve of the score by the hidden fraction of the input, or by the number of modalities left.

    Parameters
    ----------
    curve : DataFrame
        From :func:`missingness_curve`, or from :func:`modality_subsets`.
    metric : str or None, default=None
        Metric to draw; None if the curve has only one.
    name : str or None, default=None
        Name in the legend; None for no legend.

    Attributes
    ----------
    line_ : matplotlib Line2D
        Mean over the repeats, or over the subsets of one size.
    band_ : matplotlib PolyCollection or None
        The 95 % interval over resampled groups, if the curve has one; else one standard deviation
        of the repeats, or of the subsets of one size, around the mean. None if there are neither.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If the curve does not have the metric, or has several and ``metric`` is None.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from mts_fusion.datasets import make_panel_classification
    >>> from mts_fusion.inspection import missingness_curve
    >>> from mts_fusion.transforms import PanelSummarizer
    >>> X, y = make_panel_classification(60, random_state=0)
    >>> model = make_pipeline(PanelSummarizer(), HistGradientBoostingClassifier(max_iter=5))
    >>> curve = missingness_curve(model.fit(X, y), X, y, n_repeats=2, random_state=0)
    >>> display = DegradationDisplay(curve, name="trees").plot()
    >>> display.ax_.get_xlabel()
    'Modalities hidden (%)'
    """

    def __init__(self, curve: Any, *, metric: str | None = None, name: str | None = None) -> None:
        check_types(DegradationDisplay.__init__, locals())
        check_table("curve", curve, ["metric", "score"])
        metrics = list(dict.fromkeys(curve["metric"]))
        if metric is None and len(metrics) > 1:
            raise ValueError(
                f"The curve has the metrics {metrics}. Choose one: metric={metrics[0]!r}."
            )
        if metric is not None and metric not in metrics:
            raise ValueError(f"metric={metric!r} is not in the curve, which has {metrics}.")
        self.curve = curve
        self.metric = metrics[0] if metric is None else metric
        self.name = name

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: PanelLike,
        y: ArrayLike,
        *,
        fractions: Sequence[float] = (0.0, 0.1, 0.2, 0.3, 0.4),
        pattern: str = "modality",
        n_repeats: int = 5,
        groups: ArrayLike | None = None,
        n_resamples: int = 200,
        scoring: str | Callable[..., Any] | Sequence[str] | Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        name: str | None = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> DegradationDisplay:
        """Compute the curve of a fitted estimator and draw it.

        Parameters
        ----------
        estimator : estimator
            Fitted; takes a Panel.
        X : Panel or what ``as_panel`` takes
            Test samples.
        y : array-like of shape (n,) or (n, n_outputs)
            Their targets.
        fractions, pattern, n_repeats, groups, n_resamples, scoring, n_jobs, random_state, verbose
            As in :func:`missingness_curve`, with one metric.
        name : str or None, default=None
            Name in the legend; None for the class of the estimator, or of the last step of a
            Pipeline.
        ax : matplotlib Axes or None, default=None
            Axes to draw in, such as ``ax_`` of another display; None for a new figure.
        **line_kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        DegradationDisplay
            The display, drawn.
        """
        check_types(cls.from_estimator, locals())
        curve = missingness_curve(
            estimator,
            X,
            y,
            fractions=fractions,
            pattern=pattern,
            n_repeats=n_repeats,
            groups=groups,
            n_resamples=n_resamples,
            scoring=scoring,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
        )
        name = estimator_name(estimator) if name is None else name
        return cls(curve, name=name).plot(ax=ax, **line_kwargs)

    @classmethod
    def from_predictions(
        cls,
        y_true: ArrayLike,
        predictions: Mapping[float, Sequence[ArrayLike]],
        *,
        metric: Callable[[ArrayLike, ArrayLike], float] = accuracy_score,
        pattern: str = "modality",
        name: str | None = None,
        ax: Any = None,
        **line_kwargs: Any,
    ) -> DegradationDisplay:
        """Draw the curve of given predictions.

        Parameters
        ----------
        y_true : array-like of shape (n,)
            Targets.
        predictions : dict of float to sequence of array-like of shape (n,)
            For each hidden fraction, the predictions of each repeat.
        metric : callable, default=accuracy_score
            ``metric(y_true, y_pred)``.
        pattern : {"modality", "point", "block", "span"}, default="modality"
            What was hidden.
        name : str or None, default=None
            Name in the legend.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **line_kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        DegradationDisplay
            The display, drawn.
        """
        check_types(cls.from_predictions, locals())
        if not all(isinstance(repeats, (list, tuple)) for repeats in predictions.values()):
            raise TypeError(f"predictions is a dict of fraction to lists, got {predictions!r}.")
        cells = [
            (float(fraction), repeat, float(metric(y_true, y_pred)))
            for fraction, repeats in predictions.items()
            for repeat, y_pred in enumerate(repeats)
        ]
        curve = as_frame(
            {
                "pattern": [pattern] * len(cells),
                "fraction": [cell[0] for cell in cells],
                "repeat": [cell[1] for cell in cells],
                "metric": [getattr(metric, "__name__", "score")] * len(cells),
                "score": [cell[2] for cell in cells],
            }
        )
        return cls(curve, name=name).plot(ax=ax, **line_kwargs)

    def plot(self, ax: Any = None, **line_kwargs: Any) -> DegradationDisplay:
        """Draw the curve.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in, such as ``ax_`` of another display; None for a new figure.
        **line_kwargs : dict
            Passed to ``ax.plot``.

        Returns
        -------
        DegradationDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        self.figure_, self.ax_ = new_axes("DegradationDisplay.plot", ax, (5.5, 4.0))
        ax = self.ax_
        rows = self.curve[self.curve["metric"] == self.metric]
        by_subset = "n_modalities" in rows
        x = rows["n_modalities" if by_subset else "fraction"].to_numpy()
        score = rows["score"].to_numpy()
        levels = np.unique(x)
        mean = np.array([score[x == level].mean() for level in levels])
        color = COLORS[len(ax.get_lines()) % len(COLORS)]
        style = {"color": color, "marker": "o", "label": self.name, **line_kwargs}
        (self.line_,) = ax.plot(levels, mean, **style)
        self._draw_band(ax, rows, x, levels, mean)
        ticks = levels if len(ax.get_lines()) == 1 else np.union1d(levels, ax.get_xticks())
        ax.set_xticks(ticks)
        if by_subset:
            ax.set_xlabel("Modalities left (the others missing)")
            ax.set_xlim(ticks.max() + 0.3, ticks.min() - 0.3)  # all first
        else:
            pattern = rows["pattern"].iloc[0]
            ax.set_xlabel(_HIDDEN.get(pattern, f"Hidden, {pattern} (%)"))
            ax.xaxis.set_major_formatter(percent)
        label = metric_label(self.metric)
        ax.set_ylabel(label[:1].upper() + label[1:])
        ax.grid(alpha=0.3)
        if self.name is not None:
            ax.legend(frameon=False)
        return self

    def _draw_band(
        self, ax: Any, rows: Any, x: NDArray[Any], levels: NDArray[Any], mean: NDArray[Any]
    ) -> None:
        """The interval of people around the curve; without it the spread of the draws."""
        by_subset = "n_modalities" in rows
        if "low" in rows and not by_subset:
            first = [int(np.flatnonzero(x == level)[0]) for level in levels]
            low, high = (rows[end].to_numpy()[first] for end in ("low", "high"))
            drawn = "95 % interval, groups resampled"
        else:
            score = rows["score"].to_numpy()
            deviation = np.array([score[x == level].std() for level in levels])
            low, high = mean - deviation, mean + deviation
            drawn = "subsets" if by_subset else f"{rows['repeat'].nunique()} draws"
            drawn = f"± 1 sd of the {drawn}"
        self.band_ = None
        if (high > low).any():
            color = self.line_.get_color()
            self.band_ = ax.fill_between(levels, low, high, color=color, alpha=0.15, lw=0)
            if len(ax.collections) == 1:
                self.band_.set_label(drawn)
