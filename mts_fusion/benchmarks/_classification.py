"""What tables of classifiers share: cells of methods x folds x seeds, and their text."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from ._cells import run_cells
from ._folds import Data, Fold, subsample
from ._protocol import Method, evaluate_classifier
from ._tables import Settings, failures, markdown, mean_and_spread, summarise

__all__ = [
    "classify",
    "cost_table",
    "difference_table",
    "notices",
    "pooled_error_table",
    "score_table",
]

# A shortened run takes the first fold and every sixth sample of a class and group.
_THIN = 6

# Every second one, or all, where the test part would have fewer samples: too few for a calibration.
_LEAST_TEST = 20
_COSTS = {
    "fit, s": ("fit_seconds", 1.0, 1),
    "predict, ms a sample": ("predict_ms", 1.0, 3),
    "peak memory, MB": ("peak_mb", 1.0, 0),
    "parameters, k": ("parameters", 1e-3, 1),
    "MACs a sample, M": ("macs", 1e-6, 2),
}


def classify(
    table: str,
    data: Data,
    folds: Sequence[Fold],
    methods: Mapping[str, Method],
    fractions: Sequence[float],
    settings: Settings,
    evaluate: Callable[..., list[dict[str, Any]]] = evaluate_classifier,
) -> list[dict[str, Any]]:
    """Rows of every method, fold and seed; shortened where the settings say so.

    Parameters
    ----------
    table : str
        Name of the table, and of the files that keep its cells.
    data : Data
        The samples.
    folds : sequence of Fold
        Which are trained on and which are tested.
    methods : dict of str to Method
        The rows.
    fractions : sequence of float
        Probabilities with which each modality is hidden in the test part.
    settings : Settings
        Seeds, folder of the cells, whether to shorten.
    evaluate : callable, default=evaluate_classifier
        What gives the rows of a method and a fold.

    Returns
    -------
    list of dict
        Columns ``data``, ``method``, ``fold``, ``seed``, ``quick`` and those of
        :func:`evaluate_classifier`; ``error`` for a cell that failed.
    """
    if settings.quick:
        step = max(1, min(_THIN, len(folds[0].test) // _LEAST_TEST))
        folds = [subsample(folds[0], data, step)]
    by_name = {fold.name: fold for fold in folds}
    cells = [
        {
            "data": data.name,
            "method": name,
            "fold": fold,
            "seed": seed,
            "fractions": list(fractions),
            "quick": settings.quick,
        }
        for fold in by_name
        for seed in settings.seeds
        for name in methods
    ]

    def work(cell: dict[str, Any]) -> list[dict[str, Any]]:
        return evaluate(
            methods[cell["method"]],
            data,
            by_name[cell["fold"]],
            seed=cell["seed"],
            fractions=cell["fractions"],
            quick=cell["quick"],
        )

    return run_cells(cells, work, table=table, out=settings.out, isolate=settings.isolate)


def notices(rows: Sequence[dict[str, Any]], settings: Settings) -> list[str]:
    """Notices above the numbers: shortened, incomplete.

    Parameters
    ----------
    rows : sequence of dict
        Of :func:`classify`.
    settings : Settings
        Of the run.

    Returns
    -------
    list of str
        Paragraphs; none for a complete run in full.
    """
    shortened = "SHORTENED (--quick): one fold, some of the samples, little training; not a result."
    return ([shortened] if settings.quick else []) + failures(rows)


def score_table(
    rows: Sequence[dict[str, Any]],
    names: Sequence[str],
    column: str,
    fractions: Sequence[float],
    *,
    published: Mapping[str, Sequence[str]] | None = None,
) -> str:
    """A score against the share of hidden modalities.

    Parameters
    ----------
    rows : sequence of dict
        Of :func:`classify`.
    names : sequence of str
        The methods, in order.
    column : str
        The score.
    fractions : sequence of float
        The columns.
    published : dict of str to sequence of str or None, default=None
        Rows from elsewhere, as text.

    Returns
    -------
    str
        Markdown: mean (sd over folds, sd over seeds).
    """
    entries = summarise(rows, ["method", "fraction"], column)
    lines = [
        [name, *(mean_and_spread(entries.get((name, f))) for f in fractions)] for name in names
    ]
    lines += [[name, *figures] for name, figures in (published or {}).items()]
    return markdown([column, *(f"p = {f:g}" for f in fractions)], lines)


def pooled_error_table(
    rows: Sequence[dict[str, Any]], names: Sequence[str], fractions: Sequence[float]
) -> str:
    """Expected calibration error of all test samples at once, folds and seeds together.

    Of few samples chance alone makes an error, which the mean over folds keeps.

    Parameters
    ----------
    rows : sequence of dict
        Of :func:`classify`.
    names : sequence of str
        The methods, in order.
    fractions : sequence of float
        The columns.

    Returns
    -------
    str
        Markdown; ``-`` where a method has no probabilities.
    """
    lines = []
    for name in names:
        line = [name]
        for fraction in fractions:
            sums = [
                row["reliability"]
                for row in rows
                if (row["method"], row.get("fraction")) == (name, fraction) and "reliability" in row
            ]
            if not sums:
                line.append("-")
                continue
            n_samples, stated, right = np.sum(sums, axis=0)
            error = np.abs(stated - right).sum() / n_samples.sum()
            line.append(f"{error:.3f}".removeprefix("0"))
        lines.append(line)
    return markdown(["ece, all at once", *(f"p = {f:g}" for f in fractions)], lines)


def cost_table(rows: Sequence[dict[str, Any]], names: Sequence[str]) -> str:
    """Seconds, memory, parameters and multiply-accumulates.

    Parameters
    ----------
    rows : sequence of dict
        Of :func:`classify`.
    names : sequence of str
        The methods, in order.

    Returns
    -------
    str
        Markdown: means over folds, seeds and fractions; ``-`` where a method has no network.
    """
    lines = []
    for name in names:
        line = [name]
        for column, scale, digits in _COSTS.values():
            entry = summarise(rows, ["method"], column).get((name,))
            line.append("-" if entry is None else f"{scale * entry['mean']:.{digits}f}")
        lines.append(line)
    return markdown(["cost", *_COSTS], lines)


def difference_table(
    rows: Sequence[dict[str, Any]],
    names: Sequence[str],
    column: str,
    fractions: Sequence[float],
    baseline: str,
) -> str:
    """Differences of a score to that of one method, paired by fold, seed and fraction.

    Parameters
    ----------
    rows : sequence of dict
        Of :func:`classify`.
    names : sequence of str
        The methods, in order.
    column : str
        The score.
    fractions : sequence of float
        The columns.
    baseline : str
        The method that is taken off the others.

    Returns
    -------
    str
        Markdown: mean (sd over folds, sd over seeds) of the differences.
    """
    cells = ("fold", "seed", "fraction")
    scored = [row for row in rows if row.get(column) is not None]
    of_baseline = {
        tuple(row[c] for c in cells): row[column] for row in scored if row["method"] == baseline
    }
    paired = [
        {**row, "difference": row[column] - of_baseline[key]}
        for row in scored
        if (key := tuple(row[c] for c in cells)) in of_baseline and row["method"] != baseline
    ]
    entries = summarise(paired, ["method", "fraction"], "difference")
    lines = [
        [name, *(mean_and_spread(entries.get((name, f))) for f in fractions)]
        for name in names
        if name != baseline
    ]
    return markdown([f"{column} minus {baseline}", *(f"p = {f:g}" for f in fractions)], lines)
