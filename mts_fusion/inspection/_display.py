"""What all displays share: the import of matplotlib, colours, labels and heatmaps."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.pipeline import Pipeline

__all__ = [
    "COLORS",
    "check_table",
    "draw_heatmap",
    "estimator_name",
    "label_time",
    "metric_label",
    "name_ticks",
    "new_axes",
    "percent",
    "turn_long_labels",
]

# The palette of Okabe and Ito, for readers with any colour vision.
COLORS = ("#0072B2", "#E69F00", "#009E73", "#CC79A7", "#56B4E9", "#D55E00", "#7F7F7F", "#000000")

_METRICS = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "f1_macro": "macro-F1",
    "f1_score": "F1",
    "neg_log_loss": "log-likelihood (nats)",
    "negative_log_likelihood": "log-likelihood (nats)",
    "neg_brier_score": "negative Brier score",
    "brier_score": "negative Brier score",
    "roc_auc": "AUROC",
    "r2": "R²",
}


def new_axes(caller: str, ax: Any, figsize: tuple[float, float]) -> tuple[Any, Any]:
    """``(figure, axes)``: those given, or new ones of ``figsize`` in inches."""
    try:
        import matplotlib.pyplot as plt
    except ImportError as error:
        raise ImportError(
            f"{caller} requires matplotlib: pip install 'mts-fusion[plot]'."
        ) from error
    if ax is None:
        figure, ax = plt.subplots(figsize=figsize, layout="constrained")
        return figure, ax
    if not hasattr(ax, "figure"):
        raise TypeError(f"ax is an Axes of matplotlib or None, got {ax!r}.")
    return ax.figure, ax


# Seconds of a unit, and how far apart its ticks may be; a unit is taken from two of it on.
_UNITS = {
    "d": (86_400, (1, 2, 7, 14, 30, 90, 365)),
    "h": (3600, (0.5, 1, 2, 3, 6, 12)),
    "min": (60, (0.5, 1, 2, 5, 10, 20)),
}


def label_time(ax: Any, label: str) -> None:
    """Label the horizontal axis, which is in seconds, in a unit that suits its span.

    Parameters
    ----------
    ax : matplotlib Axes
        Whose data are drawn, and whose limits are final.
    label : str
        Its ``(s)`` becomes the unit; without it the axis stays as it is.
    """
    from matplotlib.ticker import FuncFormatter, MultipleLocator

    low, high = ax.get_xlim()
    for unit, (seconds, steps) in _UNITS.items():
        if "(s)" in label and high - low >= 2 * seconds:
            fits = [step for step in steps if (high - low) / (step * seconds) <= 9]
            ax.xaxis.set_major_locator(MultipleLocator(seconds * (fits or steps[-1:])[0]))
            ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _, of=seconds: f"{x / of:g}"))
            label = label.replace("(s)", f"({unit})")
            break
    ax.set_xlabel(label)


def check_table(name: str, table: Any, columns: Sequence[str]) -> None:
    """Raise unless a table has these columns."""
    if not set(columns) <= set(getattr(table, "columns", ())):
        raise TypeError(f"{name} is a DataFrame with the columns {list(columns)}, got {table!r}.")


def estimator_name(estimator: Any) -> str:
    """Name of the class of an estimator, or of the last step of a Pipeline."""
    if isinstance(estimator, Pipeline):
        estimator = estimator[-1]
    return type(estimator).__name__


def metric_label(metric: str) -> str:
    """Name of a metric for a label."""
    return _METRICS.get(metric, metric.replace("_", " "))


def percent(value: float, position: int | None = None) -> str:
    """Format a fraction in percent, for the ticks of an axis."""
    return f"{100 * value:.3g}"


def draw_heatmap(
    ax: Any,
    values: NDArray[Any],
    *,
    cmap: str,
    label: str,
    annotate: bool,
    vmax: float | None = None,
    even: float | None = None,
) -> Any:
    """Draw fractions as an image with a colour bar from 0; NaN is grey. Returns the image.

    ``even``, if given, is the fraction that each would have, and a line in the colour bar.
    """
    shown = np.ma.masked_invalid(values)
    ax.set_facecolor("#E4E4E4")
    highest = vmax if vmax is not None else (float(shown.max()) if shown.count() else 1.0)
    image = ax.imshow(shown, cmap=cmap, vmin=0, vmax=highest or 1.0, aspect="auto")
    bar = ax.figure.colorbar(image, ax=ax, label=label, fraction=0.05, pad=0.03)
    bar.ax.yaxis.set_major_formatter(percent)
    if even is not None:
        bar.ax.axhline(even, color="#D55E00", lw=2)
    if annotate:
        for (row, column), value in np.ndenumerate(values):
            if np.isnan(value):
                text, color = "–", "#555555"
            else:
                red, green, blue, _ = image.cmap(image.norm(value))
                dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
                text, color = f"{100 * value:.0f}", "white" if dark else "black"
            ax.text(column, row, text, ha="center", va="center", color=color, fontsize="small")
    return image


def name_ticks(axis: Any, names: Sequence[str]) -> None:
    """Set one tick for each name."""
    axis.set_ticks(range(len(names)), labels=list(names))


def turn_long_labels(axis: Any) -> None:
    """Rotate the labels of an x axis if they would overlap."""
    labels = axis.get_ticklabels()
    if sum(len(text.get_text()) for text in labels) > 30:
        axis.set_tick_params(rotation=45)
        for text in labels:
            text.set_horizontalalignment("right")
            text.set_rotation_mode("anchor")
