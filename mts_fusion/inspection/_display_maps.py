"""AttentionMapDisplay and ExpertRoutingDisplay: heatmaps of attention and of routing."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from itertools import groupby
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from mts_fusion.inspection._display import (
    check_table,
    draw_heatmap,
    name_ticks,
    new_axes,
    turn_long_labels,
)
from mts_fusion.inspection._records import AttentionMaps, attention_maps, expert_routing
from mts_fusion.panel import PanelLike
from mts_fusion.panel._arguments import check_types

__all__ = ["AttentionMapDisplay", "ExpertRoutingDisplay"]

MAX_ANNOTATED = 12  # rows and columns in which a number still fits


class AttentionMapDisplay:
    """Heatmap of the attention between modalities, or between tokens.

    Parameters
    ----------
    maps : AttentionMaps
        From :func:`attention_maps`.
    sample : int or None, default=None
        The sample to draw; None for the mean over the samples that have the row.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        The heatmap; rows that no sample has are grey. Between modalities its colours go from 0 to
        100 %, and a line in the colour bar marks what each would get if all got the same.
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
    >>> class Fitted:
    ...     def explain(self, X):
    ...         return {"attention": np.array([[[0.9, 0.1], [0.5, 0.5]]])}
    >>> X = {"acc": np.zeros((1, 3, 8)), "hr": np.zeros((1, 1, 2))}
    >>> AttentionMapDisplay.from_estimator(Fitted(), X).ax_.get_xlabel()
    'Attended modality (key)'
    """

    def __init__(self, maps: AttentionMaps, *, sample: int | None = None) -> None:
        check_types(AttentionMapDisplay.__init__, locals())
        n = len(maps.attention)
        if sample is not None and not 0 <= sample < n:
            raise ValueError(f"sample={sample} is not in [0, {n - 1}], the samples of X.")
        self.maps = maps
        self.sample = sample

    @classmethod
    def from_estimator(
        cls,
        estimator: Any,
        X: PanelLike,
        *,
        level: Literal["modality", "token"] = "modality",
        modality: str | None = None,
        sample: int | None = None,
        ax: Any = None,
        cmap: str = "Blues",
    ) -> AttentionMapDisplay:
        """Draw the attention that a fitted estimator records.

        Parameters
        ----------
        estimator : estimator
            Fitted; see :func:`attention_maps`.
        X : Panel or what ``as_panel`` takes
            Samples.
        level, modality
            As in :func:`attention_maps`.
        sample : int or None, default=None
            The sample to draw; None for the mean.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        cmap : str, default="Blues"
            Colour map.

        Returns
        -------
        AttentionMapDisplay
            The display, drawn.
        """
        check_types(cls.from_estimator, locals())
        maps = attention_maps(estimator, X, level=level, modality=modality)
        return cls(maps, sample=sample).plot(ax=ax, cmap=cmap)

    def plot(self, ax: Any = None, *, cmap: str = "Blues") -> AttentionMapDisplay:
        """Draw the heatmap.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        cmap : str, default="Blues"
            Colour map.

        Returns
        -------
        AttentionMapDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_types(AttentionMapDisplay.plot, locals())
        rows, columns = self.maps.rows, self.maps.columns
        by_modality = len(set(rows)) == len(rows) and len(set(columns)) == len(columns)
        size = min(9.0, 2.8 + 0.45 * len(rows)) if by_modality else 6.0
        self.figure_, self.ax_ = new_axes("AttentionMapDisplay.plot", ax, (size + 0.8, size))
        ax = self.ax_
        self.image_ = draw_heatmap(
            ax,
            _mean(self.maps.attention, self.sample),
            cmap=cmap,
            label="Attention (% of the row; line: even)"
            if by_modality
            else "Attention (% of the row)",
            annotate=by_modality and len(rows) <= MAX_ANNOTATED,
            vmax=1.0 if by_modality else None,
            even=1 / len(columns) if by_modality else None,
        )
        if by_modality:
            name_ticks(ax.xaxis, columns)
            turn_long_labels(ax.xaxis)
            name_ticks(ax.yaxis, rows)
            ax.set(xlabel="Attended modality (key)", ylabel="Attending modality (query)")
            return self
        if len(set(rows)) == 1 and rows[0] == "reference":
            ax.set(xlabel=f"Timepoint of {columns[0]}", ylabel="Reference time")
            return self
        _name_token_groups(ax, ax.xaxis, columns)
        _name_token_groups(ax, ax.yaxis, rows)
        ax.set(xlabel="Attended token (key)", ylabel="Attending token (query)")
        return self


class ExpertRoutingDisplay:
    """Heatmap of the fraction of each modality that is routed to each expert.

    Parameters
    ----------
    routing : DataFrame
        From :func:`expert_routing`.

    Attributes
    ----------
    image_ : matplotlib AxesImage
        The heatmap; modalities that no sample has are grey.
    ax_ : matplotlib Axes
        The axes of the plot.
    figure_ : matplotlib Figure
        The figure of the axes.

    Examples
    --------
    >>> class Fitted:
    ...     def explain(self, X):
    ...         return {"gate": np.array([[[0.75, 0.25]]])}
    >>> display = ExpertRoutingDisplay.from_estimator(Fitted(), np.zeros((1, 1, 8)))
    >>> display.ax_.get_xlabel()
    'Expert'
    """

    def __init__(self, routing: Any) -> None:
        check_table("routing", routing, ["modality", "expert", "share"])
        self.routing = routing

    @classmethod
    def from_estimator(
        cls, estimator: Any, X: PanelLike, *, ax: Any = None, cmap: str = "Greens"
    ) -> ExpertRoutingDisplay:
        """Draw the routing that a fitted estimator records.

        Parameters
        ----------
        estimator : estimator
            Fitted; see :func:`expert_routing`.
        X : Panel or what ``as_panel`` takes
            Samples.
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        cmap : str, default="Greens"
            Colour map.

        Returns
        -------
        ExpertRoutingDisplay
            The display, drawn.
        """
        check_types(cls.from_estimator, locals())
        return cls(expert_routing(estimator, X)).plot(ax=ax, cmap=cmap)

    def plot(self, ax: Any = None, *, cmap: str = "Greens") -> ExpertRoutingDisplay:
        """Draw the heatmap.

        Parameters
        ----------
        ax : matplotlib Axes or None, default=None
            Axes to draw in; None for a new figure.
        cmap : str, default="Greens"
            Colour map.

        Returns
        -------
        ExpertRoutingDisplay
            The display, drawn.

        Raises
        ------
        ImportError
            If matplotlib is not installed.
        """
        check_types(ExpertRoutingDisplay.plot, locals())
        names = list(dict.fromkeys(self.routing["modality"]))
        n_experts = int(self.routing["expert"].max()) + 1
        share = self.routing["share"].to_numpy().reshape(-1, len(names), n_experts)
        size = (2.6 + 0.5 * n_experts, 1.6 + 0.38 * len(names))
        self.figure_, self.ax_ = new_axes("ExpertRoutingDisplay.plot", ax, size)
        ax = self.ax_
        self.image_ = draw_heatmap(
            ax,
            _mean(share, None),
            cmap=cmap,
            label="Share of the modality (%)",
            annotate=n_experts <= MAX_ANNOTATED,
            vmax=1.0,
        )
        name_ticks(ax.xaxis, [str(expert) for expert in range(n_experts)])
        name_ticks(ax.yaxis, names)
        ax.set(xlabel="Expert", ylabel="Modality")
        return self


def _mean(values: NDArray[Any], sample: int | None) -> NDArray[Any]:
    """One sample, or the mean of those that are not NaN."""
    if sample is not None:
        return values[sample]
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Mean of empty slice")  # in no sample: stays NaN
        return np.nanmean(values, axis=0)


def _name_token_groups(ax: Any, axis: Any, names: Sequence[str]) -> None:
    """Write the name of each modality at the middle of its tokens, with lines between them."""
    centers, labels, first = [], [], 0
    draw = ax.axvline if axis is ax.xaxis else ax.axhline
    for name, tokens in groupby(names):
        last = first + len(list(tokens))
        centers.append((first + last - 1) / 2)
        labels.append(name)
        if last < len(names):
            draw(last - 0.5, color="#555555", lw=0.8)
        first = last
    axis.set_ticks(centers, labels=labels)
    axis.set_tick_params(length=0)
    if axis is ax.xaxis:
        axis.set_tick_params(rotation=90)
