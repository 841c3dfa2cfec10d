"""Table ``clinical``: mortality and sepsis, five random splits, with intervals."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import Any

import numpy as np
from scipy.stats import t as student

from ._classification import classify, cost_table, notices, score_table
from ._data import load_data
from ._methods import CLASSIFIERS, choose
from ._tables import Settings, Table, markdown, page

__all__ = ["TABLE", "corrected_interval"]

_FRACTIONS = (0.0, 0.4)
_DATASETS = {"mortality": "physionet2012_splits", "sepsis": "sepsis"}
_BASELINE = "HistGradientBoosting on summaries"
_OURS = ("Trace, default", "Trace, boosting head")
_ROWS = [
    *_OURS,
    "FuseMoE",
    "Maestro",
    "PatternRidge",
    _BASELINE,
    "ExtraTrees on summaries",
    "HAIM",
    "GRU-D",
    "MISTS",
    "Flex-MoE",
    "TFN",
]


def corrected_interval(
    scores: Sequence[float], share: float, coverage: float = 0.95
) -> tuple[float, float]:
    """Interval of a mean score over random splits, whose training parts overlap.

    Nadeau and Bengio, "Inference for the Generalization Error", Machine Learning, 2003: the
    variance of the mean of k splits is ``(1 / k + n_test / n_train) s**2``.

    Parameters
    ----------
    scores : sequence of float
        One a split, at least 2.
    share : float
        ``n_test / n_train``.
    coverage : float, default=0.95
        Of the interval.

    Returns
    -------
    low, high : float
        Bounds.

    Examples
    --------
    >>> low, high = corrected_interval([0.8, 0.82, 0.84], 1 / 8)
    >>> round(low, 3), round(high, 3)
    (0.762, 0.878)
    """
    k = len(scores)
    error = np.std(scores, ddof=1) * np.sqrt(1 / k + share)
    half = student.ppf((1 + coverage) / 2, k - 1) * error
    return float(np.mean(scores) - half), float(np.mean(scores) + half)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--tasks", nargs="+", choices=list(_DATASETS), help="default: both")
    parser.add_argument("--folds", type=int, help="splits of five to compute; default: all")


def _run(settings: Settings) -> str:
    methods = choose(CLASSIFIERS, settings.methods, _ROWS)
    names = list(methods)
    parts = []
    for task in settings.options["tasks"] or list(_DATASETS):
        data, folds = load_data(_DATASETS[task], settings.data_home)
        folds = folds[: settings.options["folds"] or len(folds)]
        rows = classify(f"clinical-{task}", data, folds, methods, _FRACTIONS, settings)
        parts += [
            f"{task}: {len(data)} patients, {data.y.mean():.1%} positive, {len(folds)} random "
            f"splits 80/10/10, seeds {list(settings.seeds)}: each of {len(data.panel.schema)} "
            "modalities hidden with probability p; mean over splits, in brackets its 95 % "
            "interval, corrected for the overlap of the training parts.",
            *notices(rows, settings),
            *(_interval_table(rows, names, column) for column in ("auroc", "auprc")),
            score_table(rows, names, "ece", _FRACTIONS),
            cost_table(rows, names),
        ]
        if not settings.quick:
            parts += _verdicts(rows, task)
    return page(parts)


def _by_split(rows: Sequence[dict[str, Any]], name: str, fraction: float, column: str) -> Any:
    """Scores of the splits, means over seeds, and the ratio of test to training samples."""
    found = [
        row
        for row in rows
        if (row["method"], row.get("fraction")) == (name, fraction) and row.get(column) is not None
    ]
    splits = dict.fromkeys(row["fold"] for row in found)
    scores = [np.mean([row[column] for row in found if row["fold"] == s]) for s in splits]
    return scores, (found[0]["n_test"] / found[0]["n_train"] if found else np.nan)


def _interval_table(rows: Sequence[dict[str, Any]], names: Sequence[str], column: str) -> str:
    lines = []
    for name in names:
        line = [name]
        for fraction in _FRACTIONS:
            scores, share = _by_split(rows, name, fraction, column)
            text = "-" if not scores else f"{np.mean(scores):.3f}"
            if len(scores) > 1:
                low, high = corrected_interval(scores, share)
                text += f" ({low:.3f} to {high:.3f})"
            line.append(text)
        lines.append(line)
    return markdown([column, *(f"p = {f:g}" for f in _FRACTIONS)], lines)


def _verdicts(rows: Sequence[dict[str, Any]], task: str) -> list[str]:
    """Whether TRACE, without and with trees beside it, is level with boosted trees on summaries."""
    verdicts = []
    for name in _OURS:
        for fraction in _FRACTIONS:
            ours, _ = _by_split(rows, name, fraction, "auroc")
            trees, _ = _by_split(rows, _BASELINE, fraction, "auroc")
            if ours and trees:
                word = "reached" if np.mean(ours) >= np.mean(trees) else "NOT reached"
                verdicts.append(
                    f"Required, {task} at p = {fraction:g}: AUROC of TRACE at least that of "
                    f"boosting; {name}: {word} with {np.mean(ours):.3f} against "
                    f"{np.mean(trees):.3f}."
                )
    return verdicts


TABLE = Table(
    summary="AUROC and AUPRC of mortality (2012) and sepsis (2019) with intervals, five splits",
    run=_run,
    arguments=_arguments,
    seeds=(0,),
)
