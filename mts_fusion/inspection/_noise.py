"""noise_robustness: scores on input that is noisy or cut short."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from mts_fusion.inspection._evaluate import (
    check_panel_and_scorer,
    draw_repeats,
    evaluate,
    tidy,
)
from mts_fusion.panel import Panel, PanelLike
from mts_fusion.panel._arguments import check_types
from mts_fusion.transforms import mask_panel

__all__ = ["noise_robustness"]


def noise_robustness(
    estimator: Any,
    X: PanelLike,
    y: ArrayLike,
    *,
    noises: Sequence[str] = ("random", "additive", "spikes", "first_quarter", "last_quarter"),
    sigma: float = 0.5,
    spike_fraction: float = 0.02,
    spike_size: float = 5.0,
    per_modality: bool = False,
    n_repeats: int = 5,
    scoring: str | Callable[..., Any] | Sequence[str] | Mapping[str, Any] | None = None,
    n_jobs: int | None = None,
    random_state: int | np.random.RandomState | None = None,
    verbose: bool | int = 0,
) -> Any:
    """Scores of a fitted estimator on input that is noisy or cut short, without refitting.

    Tables 4 and 18 of [1]_. The unit of all noise is the standard deviation of the channel over
    what is observed in X. Missing values stay missing.

    Parameters
    ----------
    estimator : estimator
        Fitted; takes a Panel.
    X : Panel or what ``as_panel`` takes
        Test samples: numbers, not tokens.
    y : array-like of shape (n,) or (n, n_outputs)
        Their targets.
    noises : sequence of str, default=all of them
        "random" replaces the values by normal noise with the mean and standard deviation of the
        channel; "additive" adds normal noise; "spikes" adds normal noise and spikes;
        "first_quarter" and "last_quarter" hide that quarter of the timepoints of a sample.
    sigma : float, default=0.5
        Standard deviation of the additive noise; 0 adds none.
    spike_fraction : float, default=0.02
        Fraction of the values to which a spike is added.
    spike_size : float, default=5.0
        Height of a spike, positive or negative.
    per_modality : bool, default=False
        Whether to change one modality at a time; False changes all at once.
    n_repeats : int, default=5
        Number of draws of the noise. Hidden quarters are not random and scored once.
    scoring : str, callable, list, dict or None, default=None
        As in ``sklearn.model_selection.cross_validate``; None for ``estimator.score``.
    n_jobs : int or None, default=None
        Processes of joblib. None is 1 unless in a ``joblib.parallel_config``; -1 is all processors.
    random_state : int, RandomState instance or None, default=None
        Seed of the noise.
    verbose : int, default=0
        Whether to show a progress bar over the predictions.

    Returns
    -------
    DataFrame
        One row per noise, modality, repeat and metric: ``noise`` ("none" for unchanged input),
        ``modality`` ("all" or a name), ``repeat``, ``metric``, ``score``.

    Raises
    ------
    ValueError
        If a noise is unknown, its size is negative, or noise is to be added to tokens.

    References
    ----------
    .. [1] Mohapatra et al., "MAESTRO: Adaptive Sparse Attention and Robust Learning for Multimodal
       Dynamic Time Series", NeurIPS, 2025. https://arxiv.org/abs/2509.25278

    Examples
    --------
    >>> from sklearn.ensemble import HistGradientBoostingClassifier
    >>> from sklearn.pipeline import make_pipeline
    >>> from mts_fusion.datasets import make_panel_classification
    >>> from mts_fusion.transforms import PanelSummarizer
    >>> X, y = make_panel_classification(60, random_state=0)
    >>> model = make_pipeline(PanelSummarizer(), HistGradientBoostingClassifier(max_iter=5))
    >>> table = noise_robustness(model.fit(X, y), X, y, noises=["additive", "last_quarter"],
    ...                          n_repeats=2, random_state=0)
    >>> table["noise"].tolist()
    ['none', 'additive', 'additive', 'last_quarter']
    """
    check_types(noise_robustness, locals())
    panel, scorer = check_panel_and_scorer(estimator, X, y, scoring)
    unknown = [noise for noise in noises if noise not in (*_NOISES, *_QUARTERS)]
    if unknown:
        raise ValueError(f"noises has the unknown {unknown}. Choose from {[*_NOISES, *_QUARTERS]}.")
    sizes = {"sigma": sigma, "spike_fraction": spike_fraction, "spike_size": spike_size}
    for name, size in sizes.items():
        if not 0 <= size < np.inf or (name == "spike_fraction" and size > 1):
            raise ValueError(
                f"{name} is a number of at least 0 (a fraction up to 1), got {size!r}."
            )
    drawn = [noise for noise in noises if noise in _NOISES]
    tokens = [m.name for m in panel.schema if m.vocabulary is not None]
    if drawn and tokens:
        raise ValueError(
            f"Modality {tokens[0]!r} holds tokens, to which {drawn[0]!r} noise cannot be added. "
            "Pass the panel before its tokenizer, and a pipeline that begins with it."
        )
    seeds = draw_repeats(random_state, n_repeats)
    targets: dict[str, tuple[str, ...]] = {"all": panel.schema.names}
    if per_modality:
        targets = {name: (name,) for name in panel.schema.names}
    cells = [("none", "all", 0)] + [
        (noise, target, repeat)
        for noise in noises
        for target in targets
        for repeat in range(n_repeats if noise in drawn else 1)
    ]
    scores = evaluate(
        [
            (_add_noise, (noise, targets.get(target, panel.schema.names), seeds[repeat], sizes))
            for noise, target, repeat in cells
        ],
        estimator,
        panel,
        y,
        scorer,
        n_jobs=n_jobs,
        verbose=verbose,
        description="noise_robustness",
    )
    labels = [{"noise": noise, "modality": m, "repeat": repeat} for noise, m, repeat in cells]
    return tidy(labels, scores)


def _random(
    values: NDArray[Any], observed: NDArray[np.bool_], rng: np.random.Generator, sizes: dict
) -> NDArray[Any]:
    mean, deviation = _moments(values, observed)
    return mean + deviation * rng.normal(size=values.shape)


def _additive(
    values: NDArray[Any], observed: NDArray[np.bool_], rng: np.random.Generator, sizes: dict
) -> NDArray[Any]:
    _, deviation = _moments(values, observed)
    return values + sizes["sigma"] * deviation * rng.normal(size=values.shape)


def _spikes(
    values: NDArray[Any], observed: NDArray[np.bool_], rng: np.random.Generator, sizes: dict
) -> NDArray[Any]:
    _, deviation = _moments(values, observed)
    has_spike = rng.random(values.shape) < sizes["spike_fraction"]
    sign = rng.choice([-1.0, 1.0], size=values.shape)
    spikes = has_spike * sign * sizes["spike_size"] * deviation
    return _additive(values, observed, rng, sizes) + spikes


_NOISES: dict[str, Callable[..., NDArray[Any]]] = {
    "random": _random,
    "additive": _additive,
    "spikes": _spikes,
}
_QUARTERS = {"first_quarter": "start", "last_quarter": "end"}


def _moments(
    values: NDArray[Any], observed: NDArray[np.bool_]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Mean and standard deviation of the observed values of each channel, ``(1, C, 1)``."""
    filled = np.where(observed, values, 0.0).astype(np.float64)
    n_observed = np.maximum(observed.sum(axis=(0, 2), keepdims=True), 1)
    mean = filled.sum(axis=(0, 2), keepdims=True) / n_observed
    square = (np.where(observed, filled - mean, 0.0) ** 2).sum(axis=(0, 2), keepdims=True)
    return mean, np.sqrt(square / n_observed)


def _add_noise(
    panel: Panel, noise: str, names: Sequence[str], seed: int, sizes: dict[str, float]
) -> Panel:
    if noise == "none":
        return panel
    if noise in _QUARTERS:
        fraction = {name: 0.25 * (name in names) for name in panel.schema.names}
        return mask_panel(panel, pattern="block", fraction=fraction, keep=0, place=_QUARTERS[noise])
    values, observed = {}, {}
    for name in names:
        index = panel.schema.names.index(name)
        rng = np.random.default_rng([seed, index])  # the same with or without noise in others
        clean, mask = panel.values[name], panel.observed[name]
        noisy = _NOISES[noise](clean, mask, rng, sizes)
        values[name] = np.where(mask, noisy, np.nan).astype(clean.dtype)
        observed[name] = mask
    return panel.replace(values=values, observed=observed)
