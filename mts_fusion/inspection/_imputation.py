"""Scores of an imputer by channel, on entries whose truth is known."""

from __future__ import annotations

from typing import Any

import numpy as np

from mts_fusion.metrics import (
    band_coverage,
    band_width,
    crps_from_samples,
    gap_means,
    lag_correlation,
    mae_at_missing,
    quantiles_from_samples,
)
from mts_fusion.panel import PanelLike, as_panel
from mts_fusion.panel._arguments import check_at_least, check_types
from mts_fusion.panel._frames import as_frame

__all__ = ["imputation_scores"]


def imputation_scores(
    imputer: Any, X: PanelLike, truth: PanelLike, *, level: float = 0.9, n_samples: int = 100
) -> Any:
    """Errors, bands and correlations of draws for each channel, in its own unit.

    Parameters
    ----------
    imputer : imputer
        Fitted, with ``sample``, such as :class:`GaussianProcessImputer`.
    X : Panel or what ``as_panel`` takes
        Test samples of which something is hidden, as from :class:`MissingnessMasker`.
    truth : Panel or what ``as_panel`` takes
        The same samples with what is hidden.
    level : float, default=0.9
        What the bands promise to hold, in (0, 1).
    n_samples : int, default=100
        Number of draws; bands are their quantiles.

    Returns
    -------
    DataFrame
        One row a channel in which something is hidden. ``modality``, ``channel``; ``n_hidden``
        entries; ``mae`` of the median and ``crps``; ``coverage`` and ``width`` of the bands of
        entries, ``mean_coverage`` and ``mean_width`` of those of the mean of each gap;
        ``lag_correlation`` of the draws of neighbouring entries, NaN where no two are hidden.

    Raises
    ------
    TypeError
        If the imputer cannot draw.
    ValueError
        If a parameter is out of range, the panels do not match, or nothing is hidden.

    Examples
    --------
    >>> from mts_fusion.datasets import make_panel_classification
    >>> from mts_fusion.estimators import GaussianProcessImputer
    >>> from mts_fusion.transforms import MissingnessMasker
    >>> truth, _ = make_panel_classification(n_samples=40, random_state=0)
    >>> X = MissingnessMasker(pattern="block", random_state=0).fit_transform(truth)
    >>> imputer = GaussianProcessImputer(max_iter=20, random_state=0).fit(X)
    >>> imputation_scores(imputer, X, truth, n_samples=10).columns[:4].tolist()
    ['modality', 'channel', 'n_hidden', 'mae']
    """
    check_types(imputation_scores, locals())
    if not hasattr(imputer, "sample"):
        raise TypeError(
            f"{type(imputer).__name__} gives one value for each gap and cannot draw, but scores of "
            "bands need draws: an imputer with 'sample', such as GaussianProcessImputer."
        )
    if not 0 < level < 1:
        raise ValueError(f"level is between 0 and 1, got {level!r}.")
    check_at_least(1, n_samples=n_samples)
    panel, complete = as_panel(X), as_panel(truth)
    panel.schema.check_matches(complete.schema, owner="X")
    if len(panel) != len(complete):
        raise ValueError(f"truth has {len(complete)} samples, but X has {len(panel)}.")
    draws = imputer.sample(panel, n_samples)
    rows = []
    for modality in panel.schema:
        name = modality.name
        hidden = complete.observed[name] & ~panel.observed[name]
        drawn = np.stack([one.values[name] for one in draws])  # (S, n, C, L)
        for c, channel in enumerate(modality.channel_names):
            own = hidden[:, [c]]
            if own.any():
                scores = _scores(complete.values[name][:, [c]], drawn[:, :, [c]], own, level)
                rows.append({"modality": name, "channel": channel, **scores})
    if not rows:
        raise ValueError(
            "Nothing that truth has is missing in X, so there is nothing to score. Hide some of "
            "it, for instance with MissingnessMasker."
        )
    return as_frame({key: [row[key] for row in rows] for key in rows[0]})


def _scores(
    truth: np.ndarray, draws: np.ndarray, hidden: np.ndarray, level: float
) -> dict[str, Any]:
    """Scores of one channel; ``truth (n, 1, L)``, ``draws (S, n, 1, L)``."""
    tail = (1 - level) / 2
    entries = quantiles_from_samples(draws[:, hidden], [tail, 0.5, 1 - tail])
    low, high = quantiles_from_samples(gap_means(draws, hidden), [tail, 1 - tail])
    pairs = hidden[..., 1:] & hidden[..., :-1]
    known = truth[hidden]
    return {
        "n_hidden": int(hidden.sum()),
        "mae": mae_at_missing(known, entries[1], np.ones(len(known), bool), average="entries"),
        "crps": crps_from_samples(truth, draws, hidden),
        "coverage": band_coverage(known, entries[0], entries[2]),
        "width": band_width(entries[0], entries[2]),
        "mean_coverage": band_coverage(gap_means(truth, hidden), low, high),
        "mean_width": band_width(low, high),
        "lag_correlation": lag_correlation(draws, hidden) if pairs.any() else np.nan,
    }
