"""Equal samples become one row of their summed weight, in an order that follows from content."""

from __future__ import annotations

import numpy as np

from mts_fusion.panel import Panel
from mts_fusion.panel._stored import loaded_parts
from mts_fusion.training import GroupFolds, TrainingRows, run_folds
from mts_fusion.transforms._draws import mix, sample_keys

__all__ = ["content_keys", "distinct_rows"]


def distinct_rows(
    panel: Panel,
    targets: np.ndarray,
    weight: np.ndarray,
    labels: np.ndarray | None,
    folds: GroupFolds | None,
    n_folds: int | None = None,
) -> tuple[TrainingRows, np.ndarray]:
    """Training rows without their features, and the sample that each of them stands for.

    Parameters
    ----------
    panel : Panel
        n samples.
    targets : array of shape (n, C)
        Targets of the regressions, float64.
    weight : array of shape (n,)
        Weights; samples of weight 0 are left out.
    labels : array of shape (n,) or None
        Group of each sample; None without groups.
    folds : GroupFolds or None
        Folds of the groups; None without groups: folds are then runs of neighbouring samples.
    n_folds : int or None, default=None
        Number of folds of an earlier fit without groups; None in the first one.

    Returns
    -------
    rows : TrainingRows
        Ordered by their keys, so that the order of the samples does not matter.
    index : int array of shape (k,)
        Index of the first sample that is equal to each row.
    """
    used = np.flatnonzero(weight > 0)
    content = np.concatenate([content_keys(part) for part in loaded_parts(panel)])[used]
    targets = targets[used]
    group = np.full(len(used), -1)
    if folds is not None and labels is not None:
        fold_of_group = folds(labels[used])  # first: it numbers new groups
        group = folds.numbers(labels[used])
    keys = content
    for column in np.ascontiguousarray(targets).view(np.uint64).T:
        keys = mix(keys ^ column, 0)
    keys = mix(keys, group + 1)
    keys, first, inverse = np.unique(keys, return_index=True, return_inverse=True)
    if folds is None:
        position = np.argsort(np.argsort(first))  # in the order of the samples
        fold = run_folds(len(keys))[position]
        fold = fold if n_folds is None else fold % n_folds
    else:
        fold = fold_of_group[first]
    rows = TrainingRows(
        [],
        targets[first],
        np.bincount(inverse.ravel(), weights=weight[used]),
        fold.astype(np.int64),
        panel.available[used[first]],
        keys,
        content[first],
        group[first],
    )
    return rows, used[first]


def content_keys(panel: Panel) -> np.ndarray:
    """Hash the observed values of each sample, and when they were observed.

    Parameters
    ----------
    panel : Panel
        n samples.

    Returns
    -------
    uint64 array of shape (n,)
        Equal for equal samples.
    """
    keys = sample_keys(panel, 0)
    for m, (name, clock) in enumerate(panel.times.items()):
        if clock is not None:
            observed = panel.observed[name].any(1)
            since = np.where(observed, clock, np.nan)[:, None].astype(np.float32)
            keys = mix(keys ^ sample_keys(Panel({"times": since}), m + 1), 0)
    return keys
