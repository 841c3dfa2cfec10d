"""Score an estimator on changed copies of a panel, in parallel and with a progress bar."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import joblib
import numpy as np
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import check_scoring
from sklearn.utils import check_consistent_length

from mts_fusion.inspection._resampling import score_rows
from mts_fusion.panel import Panel, PanelLike, as_panel
from mts_fusion.panel._align import without_modalities
from mts_fusion.panel._arguments import check_seed
from mts_fusion.panel._frames import as_frame
from mts_fusion.panel._model import has_schema
from mts_fusion.panel._targets import check_order
from mts_fusion.runs import advance, keeping, phase, run

__all__ = [
    "check_panel_and_scorer",
    "draw_repeats",
    "draw_seeds",
    "evaluate",
    "hide_modalities",
    "read_panel",
    "tidy",
]

Scorer = Callable[[Any, Panel, ArrayLike], dict[str, float]]
Change = tuple[Callable[..., Panel], tuple[Any, ...]]  # and its arguments
Scores = dict[str, NDArray[np.float64]]  # metric -> score of all samples, then of each resample


class _NamedScores:
    """Wrap a scorer of scikit-learn so that it always returns a dict of metric to score."""

    def __init__(self, scorer: Any, name: str) -> None:
        self.scorer = scorer
        self.name = name

    def __call__(self, estimator: Any, X: Panel, y: ArrayLike) -> dict[str, float]:
        scores = self.scorer(estimator, X, y)
        if not isinstance(scores, dict):
            scores = {self.name: scores}
        return {name: float(score) for name, score in scores.items()}


def read_panel(estimator: Any, X: PanelLike) -> Panel:
    """``X`` as the estimator reads it: its modalities in its order, or as it is.

    Parameters
    ----------
    estimator : estimator
        Fitted; any that takes a panel.
    X : Panel or what ``as_panel`` takes
        Samples.

    Returns
    -------
    Panel
        What X lacks is silent, if the estimator knows its modalities.
    """
    return as_panel(X, schema=estimator if has_schema(estimator) else None)


def check_panel_and_scorer(
    estimator: Any, X: PanelLike, y: ArrayLike, scoring: Any
) -> tuple[Panel, Scorer]:
    """``X`` as a panel as long as ``y``, and ``scoring`` as a scorer that returns a dict."""
    if not hasattr(estimator, "fit"):
        raise TypeError(f"estimator is a fitted estimator of panels, got {estimator!r}.")
    panel = read_panel(estimator, X)
    if not hasattr(y, "__len__") or isinstance(y, str):
        raise TypeError(f"y holds the targets of the samples of X, got {y!r}.")
    check_consistent_length(panel, y)
    check_order("y", y, panel)
    if isinstance(scoring, str):
        name = scoring
    elif scoring is None:
        name = "score"
    else:
        name = getattr(scoring, "__name__", None) or _metric_name(scoring)
    return panel, _NamedScores(check_scoring(estimator, scoring=scoring), name)


def _metric_name(scoring: Any) -> str:
    """Name of the metric of a scorer object of scikit-learn or of ``metrics``."""
    metric = getattr(scoring, "_score_func", None) or getattr(scoring, "_metric", None)
    return getattr(metric, "__name__", "score")


def draw_seeds(random_state: int | np.random.RandomState | None, n: int) -> list[int]:
    """Draw ``n`` seeds, the same for the same ``random_state``."""
    return [int(seed) for seed in check_seed(random_state).randint(2**31 - 1, size=n)]


def evaluate(
    tasks: Sequence[Change],
    estimator: Any,
    panel: Panel,
    y: ArrayLike,
    scorer: Scorer,
    *,
    n_jobs: int | None,
    verbose: int,
    description: str,
    rows: Sequence[NDArray[np.intp]] = (),
) -> list[Scores]:
    """The scores of ``change(panel, *arguments)`` for each ``(change, arguments)``, in order.

    Each is an array: the score of all samples, then of each of ``rows``. Fixed features of what a
    change leaves as it was are computed once; with several processes, once in each.
    """
    n_workers = min(joblib.effective_n_jobs(n_jobs), len(tasks))
    scores: list[Scores] = [{} for _ in tasks]
    with run(description, panel, verbose=verbose), phase("predictions", len(tasks), "prediction"):
        if n_workers == 1:
            with keeping():
                for i, task in enumerate(tasks):
                    scores[i] = _score(estimator, panel, y, scorer, task, list(rows))
                    advance("predictions")
            return scores
        parallel = joblib.Parallel(n_jobs=n_jobs, return_as="generator")
        groups = [list(tasks[first::n_workers]) for first in range(n_workers)]
        results = parallel(
            joblib.delayed(_score_group)(estimator, panel, y, scorer, group, list(rows))
            for group in groups
        )
        for first, group in enumerate(results):
            scores[first::n_workers] = group
            advance("predictions", len(group))
    return scores


def _score_group(
    estimator: Any,
    panel: Panel,
    y: ArrayLike,
    scorer: Scorer,
    tasks: Sequence[Change],
    rows: list[NDArray[np.intp]],
) -> list[Scores]:
    """Scores of several tasks in one process, which keeps features from one to the next."""
    with keeping():
        return [_score(estimator, panel, y, scorer, task, rows) for task in tasks]


def _score(
    estimator: Any,
    panel: Panel,
    y: ArrayLike,
    scorer: Scorer,
    task: Change,
    rows: list[NDArray[np.intp]],
) -> Scores:
    change, arguments = task
    return score_rows(estimator, change(panel, *arguments), y, scorer, rows)


def hide_modalities(panel: Panel, names: Sequence[str]) -> Panel:
    """A copy of the panel in which the named modalities are missing in all samples."""
    hidden = np.isin(panel.schema.names, names)
    return without_modalities(panel, np.broadcast_to(hidden, (len(panel), len(hidden))))


def draw_repeats(random_state: int | np.random.RandomState | None, n_repeats: int) -> list[int]:
    """Draw one seed for each repeat."""
    if n_repeats < 1:
        raise ValueError(f"n_repeats is at least 1, got {n_repeats!r}.")
    return draw_seeds(random_state, n_repeats)


def tidy(
    labels: Sequence[dict[str, Any]],
    scores: Sequence[Scores],
    bounds: Sequence[dict[str, tuple[float, float]]] = (),
) -> Any:
    """A DataFrame with one row for each label and metric; with bounds, ``low`` and ``high``."""
    rows = [
        {**label, "metric": metric, "score": float(score[0])}
        for label, by_metric in zip(labels, scores, strict=True)
        for metric, score in by_metric.items()
    ]
    ends = [end for by_metric in bounds for end in by_metric.values()]
    for row, (low, high) in zip(rows, ends, strict=bool(ends)):
        row |= {"low": low, "high": high}
    return as_frame({column: [row[column] for row in rows] for column in rows[0]})
