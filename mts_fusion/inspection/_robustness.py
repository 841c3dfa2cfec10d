"""missingness_curve and modality_subsets: scores when part of the input is missing."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping, Sequence
from itertools import combinations
from math import comb
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from mts_fusion.inspection._evaluate import (
    Scores,
    check_panel_and_scorer,
    draw_repeats,
    draw_seeds,
    evaluate,
    hide_modalities,
    tidy,
)
from mts_fusion.inspection._resampling import draw_rows, interval
from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._arguments import check_types
from mts_fusion.transforms import mask_panel

__all__ = ["missingness_curve", "modality_subsets"]


def missingness_curve(
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
) -> Any:
    """Scores of a fitted estimator by the fraction of its input that is hidden.

    Parameters
    ----------
    estimator : estimator
        Fitted; takes a Panel.
    X : Panel or what ``as_panel`` takes
        Test samples. Missing values stay missing.
    y : array-like of shape (n,) or (n, n_outputs)
        Their targets.
    fractions : sequence of float, default=(0.0, 0.1, 0.2, 0.3, 0.4)
        Fractions to hide, each in [0, 1). 0 hides nothing and is scored once.
    pattern : {"modality", "point", "block", "span"}, default="modality"
        What is hidden together, as in :class:`mts_fusion.transforms.MissingnessMasker`.
    n_repeats : int, default=5
        Number of random draws of what is hidden, for each fraction. A draw has the same seed for
        all fractions and estimators, so that curves can be compared.
    groups : array-like of shape (n,) or None, default=None
        Person, patient or machine of each sample, for an interval: whole groups are drawn anew.
    n_resamples : int, default=200
        Number of such draws; predictions are computed once for all of them.
    scoring : str, callable, list, dict or None, default=None
        As in ``sklearn.model_selection.cross_validate``; None for ``estimator.score``.
    n_jobs : int or None, default=None
        Processes of joblib. None is 1 unless in a ``joblib.parallel_config``; -1 is all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of what is hidden.
    verbose : int, default=0
        Whether to show a progress bar over the predictions.

    Returns
    -------
    DataFrame
        One row per fraction, repeat and metric: ``pattern``, ``fraction``, ``repeat``, ``metric``,
        ``score``. With groups also ``low`` and ``high``: the 95 % interval of the mean over the
        repeats of a fraction.

    Raises
    ------
    ValueError
        If a fraction is not in [0, 1), ``n_repeats`` is below 1, X, y and groups differ in length,
        or y or groups has an index with the samples of X in another order.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from mts_fusion.datasets import make_panel_classification
    >>> from mts_fusion.transforms import PanelSummarizer
    >>> X, y = make_panel_classification(60, random_state=0)
    >>> model = make_pipeline(PanelSummarizer(), HistGradientBoostingClassifier(max_iter=5))
    >>> curve = missingness_curve(model.fit(X, y), X, y, fractions=[0, 0.4], n_repeats=2,
    ...                           random_state=0)
    >>> curve["fraction"].tolist()
    [0.0, 0.4, 0.4]
    """
    check_types(missingness_curve, locals())
    panel, scorer = check_panel_and_scorer(estimator, X, y, scoring)
    hidden = [float(fraction) for fraction in fractions]
    if not hidden or not all(0 <= fraction < 1 for fraction in hidden):
        raise ValueError(
            f"fractions are numbers in [0, 1), got {list(fractions)}. "
            "Divide percentages by 100; to hide everything use modality_subsets."
        )
    seeds = draw_repeats(random_state, n_repeats)
    cells = [
        (fraction, repeat)
        for fraction in hidden
        for repeat in range(1 if fraction == 0 else n_repeats)
    ]
    rows = draw_rows(groups, panel, n_resamples, seeds[0])
    scores = evaluate(
        [(_hide, (fraction, pattern, seeds[repeat])) for fraction, repeat in cells],
        estimator,
        panel,
        y,
        scorer,
        n_jobs=n_jobs,
        verbose=verbose,
        description="missingness_curve",
        rows=rows,
    )
    labels = [{"pattern": pattern, "fraction": s, "repeat": repeat} for s, repeat in cells]
    means = [
        _mean_over([s for s, (f, _) in zip(scores, cells, strict=True) if f == fraction])
        for fraction, _ in cells
    ]
    return tidy(labels, scores, _bounds(means) if rows else ())


def modality_subsets(
    estimator: Any,
    X: PanelLike,
    y: ArrayLike,
    *,
    max_size: int | None = None,
    max_subsets: int = 512,
    groups: ArrayLike | None = None,
    n_resamples: int = 200,
    scoring: str | Callable[..., Any] | Sequence[str] | Mapping[str, Any] | None = None,
    n_jobs: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    verbose: bool | int = 0,
) -> Any:
    """Scores of a fitted estimator for all subsets of its modalities.

    Parameters
    ----------
    estimator : estimator
        Fitted; takes a Panel.
    X : Panel or what ``as_panel`` takes
        Test samples. The modalities outside a subset are hidden in all of them.
    y : array-like of shape (n,) or (n, n_outputs)
        Their targets.
    max_size : int or None, default=None
        Number of modalities in the largest subset; None for all of them.
    max_subsets : int, default=512
        Maximum number of subsets to score. If there are more, the sizes with few subsets stay
        complete and the others are sampled, equally many of each size; a warning is raised.
    groups : array-like of shape (n,) or None, default=None
        Person, patient or machine of each sample, for an interval: whole groups are drawn anew.
    n_resamples : int, default=200
        Number of such draws; predictions are computed once for all of them.
    scoring : str, callable, list, dict or None, default=None
        As in ``sklearn.model_selection.cross_validate``; None for ``estimator.score``.
    n_jobs : int or None, default=None
        Processes of joblib. None is 1 unless in a ``joblib.parallel_config``; -1 is all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the sampled subsets.
    verbose : int, default=0
        Whether to show a progress bar over the predictions.

    Returns
    -------
    DataFrame
        One row per subset and metric: ``subset`` (tuple of names), ``n_modalities``, ``sampled``
        (whether the subsets of this size are a random sample), ``metric``, ``score``. With groups
        also ``low`` and ``high``, a 95 % interval.

    Raises
    ------
    ValueError
        If ``max_size`` is not in [1, M], or ``max_subsets`` is smaller than the number of sizes;
        if X, y and groups differ in length or order.

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from mts_fusion.datasets import make_panel_classification
    >>> from mts_fusion.transforms import PanelSummarizer
    >>> X, y = make_panel_classification(60, random_state=0)
    >>> model = make_pipeline(PanelSummarizer(), HistGradientBoostingClassifier(max_iter=5))
    >>> modality_subsets(model.fit(X, y), X, y)["subset"].tolist()[:4]
    [('m0',), ('m1',), ('m2',), ('m0', 'm1')]
    """
    check_types(modality_subsets, locals())
    panel, scorer = check_panel_and_scorer(estimator, X, y, scoring)
    names = panel.schema.names
    largest = len(names) if max_size is None else max_size
    if not 1 <= largest <= len(names):
        raise ValueError(
            f"max_size={max_size} is not in [1, {len(names)}], the number of modalities of X."
        )
    if max_subsets < largest:
        raise ValueError(
            f"max_subsets={max_subsets} is less than one for each of the {largest} sizes. "
            f"Set it to at least {largest}, or lower max_size."
        )
    seed = draw_seeds(random_state, 1)[0]
    rng = np.random.default_rng(seed)
    rows = draw_rows(groups, panel, n_resamples, seed)
    subsets = _choose_subsets(names, largest, max_subsets, rng)
    labels = [
        {"subset": subset, "n_modalities": len(subset), "sampled": sampled}
        for subset, sampled in subsets
    ]
    scores = evaluate(
        [(_keep, (subset,)) for subset, _ in subsets],
        estimator,
        panel,
        y,
        scorer,
        n_jobs=n_jobs,
        verbose=verbose,
        description="modality_subsets",
        rows=rows,
    )
    return tidy(labels, scores, _bounds(scores) if rows else ())


def _mean_over(scores: Sequence[Scores]) -> Scores:
    """Mean over the repeats, resample by resample."""
    return {metric: np.mean([score[metric] for score in scores], axis=0) for metric in scores[0]}


def _bounds(scores: Sequence[Scores]) -> list[dict[str, tuple[float, float]]]:
    return [
        {metric: (float(low), float(high)) for metric, (low, high) in ends.items()}
        for ends in ({metric: interval(x) for metric, x in score.items()} for score in scores)
    ]


def _hide(panel: Panel, fraction: float, pattern: str, seed: int) -> Panel:
    if fraction == 0:
        return panel
    return mask_panel(panel, pattern=pattern, fraction=fraction, seed=seed)


def _keep(panel: Panel, names: Sequence[str]) -> Panel:
    return hide_modalities(panel, [name for name in panel.schema.names if name not in names])


def _choose_subsets(
    names: Sequence[str], largest: int, max_subsets: int, rng: np.random.Generator
) -> list[tuple[tuple[str, ...], bool]]:
    """Subsets, smallest first, each with whether its size is sampled."""
    n_all = {size: comb(len(names), size) for size in range(1, largest + 1)}
    total, budget = sum(n_all.values()), max_subsets
    chosen: dict[int, list[tuple[str, ...]]] = {}
    for i, size in enumerate(sorted(n_all, key=lambda size: n_all[size])):
        quota = min(n_all[size], budget // (largest - i))
        budget -= quota
        if quota == n_all[size]:
            chosen[size] = list(combinations(names, size))
        else:
            drawn: set[tuple[int, ...]] = set()
            while len(drawn) < quota:
                drawn.add(tuple(sorted(rng.choice(len(names), size, replace=False).tolist())))
            chosen[size] = [tuple(names[m] for m in subset) for subset in sorted(drawn)]
    n_chosen = sum(map(len, chosen.values()))
    if n_chosen < total:
        warnings.warn(
            f"{len(names)} modalities have {total} subsets of at most {largest}; "
            f"{n_chosen} of them are scored, drawn at random where a size has too many. "
            f"Raise max_subsets={max_subsets} for more.",
            UserWarning,
            stacklevel=3,
        )
    return [
        (subset, len(chosen[size]) < n_all[size])
        for size in sorted(chosen)
        for subset in chosen[size]
    ]
