"""ModalityImportanceDisplay and BudgetDisplay: bars of importance, boxes of attention budgets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike

from mts_fusion.inspection._display import (
    COLORS,
    check_table,
    metric_label,
    name_ticks,
    new_axes,
    turn_long_labels,
)
from mts_fusion.inspection._importance import modality_importance
from mts_fusion.inspection._records import attention_budgets
from mts_fusion.panel import PanelLike
from mts_fusion.panel._arguments import check_types

__all__ = ["BudgetDisplay", "ModalityImportanceDisplay"]

_MEANING = {
    "removal": "Fall in {} without the modality",
    "permutation": "Fall in {} with the modality shuffled",
    "shapley": "Shapley value: part of {} due to the modality",
}


class ModalityImportanceDisplay:
    """Bars of the importance of each modality, with the largest at the top.

    Parameters
    ----------
    importance : DataFrame
        From :func:`modality_importance`.
    metric : str or None, default=None
        Metric to draw; None if there is only one.

    Attributes
    ----------
    bars_ : matplotlib BarContainer
        One for each modality; negative ones in another colour, and grey where the interval over
        groups has 0 in it.
    errors_ : matplotlib ErrorbarContainer or None
        95 % intervals over resampled groups, if the table has them, else over the random draws;
        None if there are neither.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the axes.

    Raises
    ------
    ValueError
        If the table does not have the metric, or has several and ``metric`` is None.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from mts_fusion.datasets import make_panel_classification
    >>> from mts_fusion.transforms import PanelSummarizer
    >>> X, y = make_panel_classification(60, random_state=0)
    >>> model = make_pipeline(PanelSummarizer(), HistGradientBoostingClassifier(max_iter=5))
    >>> display = ModalityImportanceDisplay.from_estimator(model.fit(X, y), X, y)
    >>> display.ax_.get_xlabel()
    'Fall in score without the modality'
    """

    def __init__(self, importance: Any, *, metric: str | None = None) -> None:
        check_types(ModalityImportanceDisplay.__init__, locals())
        check_table("importance", importance, ["modality", "metric", "importance"])
        metrics = list(dict.fromkeys(importance["metric"]))
        if metric is None and len(metrics) > 1:
            raise ValueError(
                f"The table has the metrics {metrics}. Choose one: metric={metrics[0]!r}."
            )
        if metric is not None and metric not in metrics:
            raise ValueError(f"metric={metric!r} is not in the table, which has {metrics}.")
        self.importance = importance
        self.metric = metrics[0] if metric is None else metric

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: PanelLike,
        y: ArrayLike,
        *,
        method: Literal["removal", "permutation", "shapley"] = "removal",
        n_repeats: int = 20,
        groups: ArrayLike | None = None,
        n_resamples: int = 200,
        scoring: str | Callable[..., Any] | Sequence[str] | Mapping[str, Any] | None = None,
        n_jobs: int | None = None,
        random_state: int | np.random.RandomState | None = None,
        verbose: bool | int = 0,
        ax: Any = None,
        **bar_kwargs: Any,
    ) -> ModalityImportanceDisplay:
        """Compute the importances of a fitted estimator and draw them.

        Parameters
        ----------
        estimator : estimator
            Fitted; takes a Panel.
        X : Panel or what ``as_panel`` takes
            Test samples.
        y : array-like of shape (n,) or (n, n_outputs)
            Their targets.
        method, n_repeats, groups, n_resamples, scoring, n_jobs, random_state, verbose
            As in :func:`modality_importance`, with one metric.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **bar_kwargs : dict
            Passed to ``ax.barh``.

        Returns
        -------
        ModalityImportanceDisplay
            The display, drawn.
        """
        check_types(cls.from_estimator, locals())
        importance = modality_importance(
            estimator,
            X,
            y,
            method=method,
            n_repeats=n_repeats,
            groups=groups,
            n_resamples=n_resamples,
            scoring=scoring,
            n_jobs=n_jobs,
            random_state=random_state,
            verbose=verbose,
        )
        return cls(importance).plot(ax=ax, **bar_kwargs)

    def plot(self, ax: Any = None, **bar_kwargs: Any) -> ModalityImportanceDisplay:
        """Draw the bars.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        **bar_kwargs : dict
            Passed to ``ax.barh``.

        Returns
        -------
        ModalityImportanceDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        rows = self.importance[self.importance["metric"] == self.metric]
        rows = rows.sort_values("importance", kind="stable")
        height = 1.2 + 0.35 * len(rows)
        self.figure_, self.ax_ = new_axes("ModalityImportanceDisplay.plot", ax, (5.5, height))
        ax = self.ax_
        value = rows["importance"].to_numpy()
        position = np.arange(len(rows))
        colors = np.where(value < 0, COLORS[1], COLORS[0])
        if "low" in rows:
            low, high = rows["low"].to_numpy(), rows["high"].to_numpy()
            error = np.maximum([value - low, high - value], 0.0)
            label = "95 % interval, groups resampled"
            colors = np.where((low <= 0) & (high >= 0), "#A8A8A8", colors)
        else:
            error = np.tile(1.96 * rows["standard_error"].to_numpy(), (2, 1))
            label = "95 % interval of the draws"
        self.bars_ = ax.barh(position, value, **{"color": colors, "height": 0.7, **bar_kwargs})
        self.errors_ = None
        if np.nansum(error) > 0:
            self.errors_ = ax.errorbar(
                value, position, xerr=error, fmt="none", ecolor="#333333", capsize=3, lw=1.2
            )
            self.errors_.set_label(label)
            ax.legend(frameon=False, loc="lower right", fontsize="small")
        name_ticks(ax.yaxis, rows["modality"].tolist())
        ax.axvline(0, color="#333333", lw=0.8)
        ax.grid(axis="x", alpha=0.3)
        ax.set_axisbelow(True)
        ax.set_xlabel(_MEANING[rows["method"].iloc[0]].format(metric_label(self.metric)))
        return self


class BudgetDisplay:
    """Boxes of the attention budget of each modality, in samples that have it and that lack it.

    A learnt budget depends on which modalities are available, so that samples that have all of them
    have one budget; a bar shows it where the box has no height, and its median is written above.

    Parameters
    ----------
    budgets : DataFrame
        From :func:`attention_budgets`.

    Attributes
    ----------
    boxes_ : dict of str to dict
        The boxes of matplotlib: ``"available"``, and ``"silent"`` if a modality is missing.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> class Fitted:
    ...     def explain(self, X):
    ...         return {"budget": np.array([[3.0, 1.5], [2.0, 0.5]])}
    >>> X = {"acc": np.zeros((2, 3, 8)), "hr": np.zeros((2, 1, 2))}
    >>> list(BudgetDisplay.from_estimator(Fitted(), X).boxes_)
    ['available']
    """

    def __init__(self, budgets: Any) -> None:
        check_table("budgets", budgets, ["modality", "available", "budget"])
        self.budgets = budgets

    @classmethod
    def from_estimator(cls, estimator: Any, X: PanelLike, *, ax: Any = None) -> BudgetDisplay:
        """Draw the attention budgets that a fitted estimator records.

        Parameters
        ----------
        estimator : estimator
            Fitted; see :func:`attention_budgets`.
        X : Panel or what ``as_panel`` takes
            Samples.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        BudgetDisplay
            The display, drawn.
        """
        return cls(attention_budgets(estimator, X)).plot(ax=ax)

    def plot(self, ax: Any = None) -> BudgetDisplay:
        """Draw the boxes.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.

        Returns
        -------
        BudgetDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        names = list(dict.fromkeys(self.budgets["modality"]))
        width = max(4.0, 1.5 + 0.7 * len(names))
        self.figure_, self.ax_ = new_axes("BudgetDisplay.plot", ax, (width, 3.8))
        ax = self.ax_
        modality = self.budgets["modality"].to_numpy()
        available = self.budgets["available"].to_numpy(dtype=bool)
        budget = self.budgets["budget"].to_numpy()
        silent = not available.all()
        self.boxes_: dict[str, Any] = {}
        kinds = [("available", available, COLORS[0], -0.18)]
        if silent:
            kinds.append(("silent", ~available, "#606060", 0.18))
        for kind, rows, color, shift in kinds:
            samples = [budget[rows & (modality == name)] for name in names]
            place = np.arange(len(names)) + (shift if silent else 0.0)
            self.boxes_[kind] = _draw_boxes(ax, samples, place, 0.3 if silent else 0.5, color)
            self.boxes_[kind]["boxes"][0].set_label(f"modality {kind}")
        name_ticks(ax.xaxis, names)
        turn_long_labels(ax.xaxis)
        ax.set_xlim(-0.6, len(names) - 0.4)
        highest = float(np.nanmax(budget, initial=0.0)) or 1.0
        ax.set_ylim(-0.04 * highest, 1.12 * highest)  # so that a budget of 0 is visible
        ax.set_ylabel("Attention budget c\n(c ln(n) of n tokens attend)")
        ax.grid(axis="y", alpha=0.3)
        if silent:
            ax.legend(
                frameon=False, ncols=2, loc="lower right", bbox_to_anchor=(1.0, 1.0), borderpad=0.2
            )
        return self


def _draw_boxes(ax: Any, samples: list[Any], place: Any, width: float, color: str) -> Any:
    """A box on a bar up to the median, which is written above it."""
    medians = [float(np.nanmedian(some)) if len(some) else np.nan for some in samples]
    ax.bar(place, medians, width=width, color=color, alpha=0.2)
    for x, median, some in zip(place, medians, samples, strict=True):
        if len(some):
            ax.annotate(
                f"{median:.1f}",
                (x, float(np.nanmax(some))),
                (0, 3),
                textcoords="offset points",
                ha="center",
                fontsize="small",
            )
    return ax.boxplot(
        samples,
        positions=place,
        widths=width,
        patch_artist=True,
        boxprops={"facecolor": color, "alpha": 0.5, "edgecolor": color},
        medianprops={"color": "#222222", "lw": 1.5},
        whiskerprops={"color": color},
        capprops={"color": color},
        flierprops={"marker": ".", "markersize": 3, "markeredgecolor": color},
        manage_ticks=False,
    )
