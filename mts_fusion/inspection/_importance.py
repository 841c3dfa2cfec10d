"""modality_importance: how much of the score is due to each modality."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from itertools import combinations
from math import factorial
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mts_fusion.inspection._evaluate import (
    Scores,
    check_panel_and_scorer,
    draw_seeds,
    evaluate,
    hide_modalities,
)
from mts_fusion.inspection._resampling import draw_rows, interval
from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._arguments import check_types
from mts_fusion.panel._frames import as_frame

__all__ = ["modality_importance"]

MAX_EXACT = 8  # modalities: 256 subsets to score

Subset = frozenset[str]
Evaluate = Callable[[Sequence[tuple[Callable[..., Panel], tuple[Any, ...]]]], list[Scores]]


def modality_importance(
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
) -> Any:
    """How much of the score of a fitted estimator is due to each modality.

    Parameters
    ----------
    estimator : estimator
        Fitted; takes a Panel.
    X : Panel or what ``as_panel`` takes
        Test samples of at least two modalities.
    y : array-like of shape (n,) or (n, n_outputs)
        Their targets.
    method : {"removal", "permutation", "shapley"}, default="removal"
        "removal" is the decrease of the score when the modality is missing; it is low if another
        modality has the same information. "permutation" is the decrease when the samples of the
        modality are shuffled [1]_, so that it contradicts the others. "shapley" is the mean
        increase of the score when the modality is added to those before it, over all orders [2]_:
        the values sum to the score with all modalities minus the score with none. They are exact
        for at most 8 modalities, and estimated from random orders for more.
    n_repeats : int, default=20
        Number of shuffles of "permutation", or of pairs of opposite orders of estimated "shapley".
        At least 2 for a standard error. Not used where nothing is random.
    groups : array-like of shape (n,) or None, default=None
        Person, patient or machine of each sample, for an interval: whole groups are drawn anew.
    n_resamples : int, default=200
        Number of such draws; predictions are computed once for all of them.
    scoring : str, callable, list, dict or None, default=None
        As in ``sklearn.model_selection.cross_validate``; None for ``estimator.score``.
    n_jobs : int or None, default=None
        Processes of joblib. None is 1 unless in a ``joblib.parallel_config``; -1 is all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the shuffles or orders.
    verbose : int, default=0
        Whether to show a progress bar over the predictions.

    Returns
    -------
    DataFrame
        One row per modality and metric: ``modality``, ``method``, ``metric``, ``importance`` in
        units of the score, ``standard_error`` over the draws (0 if nothing is random, NaN for a
        single draw), ``n_draws``. The error does not include that of the finite number of samples;
        with groups ``low`` and ``high``, a 95 % interval over resampled groups, do.

    Raises
    ------
    ValueError
        If a single modality is observed in X, or ``method`` is unknown.

    References
    ----------
    .. [1] Breiman, "Random Forests", Machine Learning, 2001.
    .. [2] Covert, Lundberg and Lee, "Understanding Global Feature Contributions With Additive
       Importance Measures", NeurIPS, 2020. https://arxiv.org/abs/2004.00668

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from mts_fusion.datasets import make_panel_classification
    >>> from mts_fusion.transforms import PanelSummarizer
    >>> X, y = make_panel_classification(90, informative=["m0"], random_state=0)
    >>> model = make_pipeline(PanelSummarizer(), HistGradientBoostingClassifier(max_iter=5))
    >>> table = modality_importance(model.fit(X, y), X, y, method="shapley")
    >>> table.loc[table["importance"].idxmax(), "modality"]
    'm0'
    """
    check_types(modality_importance, locals())
    panel, scorer = check_panel_and_scorer(estimator, X, y, scoring)
    names = panel.schema.names
    present = np.flatnonzero(panel.available.any(axis=0))
    if len(names) == 1 or len(present) == 1:
        only = names[present[0] if len(present) else 0]
        raise ValueError(
            f"X has the single modality {only!r}, but importance compares at least two. "
            "Split its channels with ModalityGrouper, or see missingness_curve(pattern='point')."
        )
    if method not in _METHODS:
        raise ValueError(f"method={method!r} is unknown. Choose from {sorted(_METHODS)}.")
    if n_repeats < 1:
        raise ValueError(f"n_repeats is at least 1, got {n_repeats!r}.")

    seeds = draw_seeds(random_state, n_repeats)
    resamples = draw_rows(groups, panel, n_resamples, seeds[0])

    def score_all(tasks: Sequence[tuple[Callable[..., Panel], tuple[Any, ...]]]) -> list[Scores]:
        return evaluate(
            tasks,
            estimator,
            panel,
            y,
            scorer,
            n_jobs=n_jobs,
            verbose=verbose,
            description=f"modality_importance({method})",
            rows=resamples,
        )

    draws = _METHODS[method](names, seeds, score_all)  # metric -> (n_draws, M, 1 + n_resamples)
    drawn = method == "permutation" or (method == "shapley" and len(names) > MAX_EXACT)
    return as_frame(_columns(names, method, draws, drawn))


def _columns(names: Sequence[str], method: str, draws: Scores, drawn: bool) -> dict[str, list[Any]]:
    """Columns of the table, from the importance in each draw and each resample."""
    columns: dict[str, list[Any]] = {}
    for metric, importance in draws.items():
        n_draws = len(importance)
        error = np.full(len(names), np.nan if drawn else 0.0)
        if drawn and n_draws > 1:
            error = importance[..., 0].std(axis=0, ddof=1) / np.sqrt(n_draws)
        mean = importance.mean(axis=0)
        rows = {
            "modality": list(names),
            "method": [method] * len(names),
            "metric": [metric] * len(names),
            "importance": mean[:, 0].tolist(),
            "standard_error": error.tolist(),
            "n_draws": [n_draws if drawn else 0] * len(names),
        }
        if mean.shape[1] > 1:
            low, high = interval(mean)
            rows |= {"low": low.tolist(), "high": high.tolist()}
        for name, values in rows.items():
            columns.setdefault(name, []).extend(values)
    return columns


def _by_removal(
    names: Sequence[str], seeds: Sequence[int], score_all: Evaluate
) -> dict[str, NDArray[np.float64]]:
    complete, *without = score_all([(hide_modalities, (hidden,)) for hidden in [(), *zip(names)]])
    return {
        metric: np.array([[score - without[m][metric] for m in range(len(names))]])
        for metric, score in complete.items()
    }


def _by_permutation(
    names: Sequence[str], seeds: Sequence[int], score_all: Evaluate
) -> dict[str, NDArray[np.float64]]:
    cells = [(name, seed) for seed in seeds for name in names]
    complete, *shuffled = score_all([(hide_modalities, ((),))] + [(_shuffle, c) for c in cells])
    return {
        metric: score
        - np.array([other[metric] for other in shuffled]).reshape(len(seeds), len(names), -1)
        for metric, score in complete.items()
    }


def _by_shapley(
    names: Sequence[str], seeds: Sequence[int], score_all: Evaluate
) -> dict[str, NDArray[np.float64]]:
    if len(names) <= MAX_EXACT:
        value = _values(
            (frozenset(s) for size in range(len(names) + 1) for s in combinations(names, size)),
            names,
            score_all,
        )
        return {metric: _exact(names, value, metric)[None] for metric in value[frozenset()]}
    # The errors of an order and of its reverse partly cancel.
    orders = [np.random.default_rng(seed).permutation(len(names)) for seed in seeds]
    chains = [[names[m] for m in order] for order in orders]
    both = chains + [chain[::-1] for chain in chains]
    value = _values(
        (frozenset(chain[:k]) for chain in both for k in range(len(names) + 1)), names, score_all
    )
    draws = {}
    for metric in value[frozenset()]:
        rises = np.array([_rises(names, chain, value, metric) for chain in both])
        draws[metric] = (rises[: len(seeds)] + rises[len(seeds) :]) / 2
    return draws


_METHODS: dict[str, Callable[..., dict[str, NDArray[np.float64]]]] = {
    "removal": _by_removal,
    "permutation": _by_permutation,
    "shapley": _by_shapley,
}


def _values(
    subsets: Iterable[Subset], names: Sequence[str], score_all: Evaluate
) -> dict[Subset, Scores]:
    """Score of each distinct subset of modalities, with the others missing."""
    unique = list(dict.fromkeys(subsets))
    hidden = [tuple(name for name in names if name not in subset) for subset in unique]
    scores = score_all([(hide_modalities, (silent,)) for silent in hidden])
    return dict(zip(unique, scores, strict=True))


def _exact(names: Sequence[str], value: dict[Subset, Scores], metric: str) -> NDArray[np.float64]:
    """Shapley values: ``sum_S |S|! (M - |S| - 1)! / M! (v(S + m) - v(S))``."""
    n_modalities = len(names)
    importance = np.zeros((n_modalities, len(value[frozenset()][metric])))
    for m, name in enumerate(names):
        for subset in value:
            if name not in subset:
                size = len(subset)
                weight = factorial(size) * factorial(n_modalities - size - 1)
                rise = value[subset | {name}][metric] - value[subset][metric]
                importance[m] += weight / factorial(n_modalities) * rise
    return importance


def _rises(
    names: Sequence[str], chain: Sequence[str], value: dict[Subset, Scores], metric: str
) -> NDArray[np.float64]:
    """Increase of the score as each modality of ``chain`` is added, in schema order."""
    scores = [value[frozenset(chain[:k])][metric] for k in range(len(chain) + 1)]
    rise = dict(zip(chain, np.diff(scores, axis=0), strict=True))
    return np.array([rise[name] for name in names])


def _shuffle(panel: Panel, name: str, seed: int) -> Panel:
    """Shuffle the samples of one modality: values, times and mask together."""
    order = np.random.default_rng([seed, panel.schema.names.index(name)]).permutation(len(panel))
    clock = panel.times[name]
    return panel.replace(
        values={name: panel.values[name][order]},
        times=None if clock is None else {name: clock[order]},
        observed={name: panel.observed[name][order]},
    )
