"""Table ``patterns``: PatternRidge, our networks and the baselines on every data set."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from ._classification import (
    classify,
    cost_table,
    difference_table,
    notices,
    pooled_error_table,
    score_table,
)
from ._data import load_data
from ._methods import CLASSIFIERS, REGRESSORS, choose
from ._protocol import evaluate_classifier
from ._regression import evaluate_regressor
from ._tables import Settings, Table, page, summarise

__all__ = ["TABLE"]

_FRACTIONS = (0.0, 0.2, 0.4, 0.6)

_DATA = (
    "dsads",
    "stress_predict",
    "physionet2012",
    "sepsis",
    "hydraulic_cooler",
    "hydraulic_valve",
    "hydraulic_pump",
    "hydraulic_accumulator",
    "engines",
    "dsads_phone",
    "dsads_actions",
    "dsads_gestures",
    "basic_motions",
    "japanese_vowels",
)
_NUMBERS = ("engines",)

_ROWS = (
    "PatternRidge",
    "PatternRidge, balanced decision",
    "Maestro",
    "Fusion",
    "ExtraTrees on summaries",
    "HistGradientBoosting on summaries",
    "MultiRocketHydra, filled",
)
_SCORES = ("macro_f1", "auroc", "auprc", "ece", "coverage", "set_size")
_ERRORS = ("rmse", "coverage", "width")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--datasets", nargs="+", choices=_DATA, default=list(_DATA))
    parser.add_argument("--folds", type=int, help="folds to compute, the first ones; default: all")


def _run(settings: Settings) -> str:
    parts = [_one(name, settings) for name in settings.options["datasets"]]
    return page(parts)


def _one(name: str, settings: Settings) -> str:
    """The text of one data set."""
    data, folds = load_data(name, settings.data_home)
    n_all = len(folds)
    folds = folds[: settings.options.get("folds")]
    is_regression = name in _NUMBERS
    rows_of_kind = REGRESSORS if is_regression else CLASSIFIERS
    wanted = [row for row in settings.methods or _ROWS if row in rows_of_kind]
    methods = choose(rows_of_kind, wanted, wanted)
    rows = classify(
        f"patterns-{name}",
        data,
        folds,
        methods,
        _FRACTIONS,
        settings,
        evaluate=evaluate_regressor if is_regression else evaluate_classifier,
    )
    names = list(methods)
    columns = _ERRORS if is_regression else _SCORES
    parts = [
        f"## {name}\n\n{len(data)} samples, folds {[fold.name for fold in folds]}, seeds "
        f"{list(settings.seeds)}: each of {len(data.panel.schema)} modalities hidden with "
        "probability p; mean (sd over folds, sd over seeds).",
        *([f"SHORTENED: {len(folds)} of {n_all} folds."] if len(folds) < n_all else []),
        *notices(rows, settings),
    ]
    for column in columns:
        with_column = [row for row in rows if row.get(column) is not None]
        having = [n for n in names if any(row["method"] == n for row in with_column)]
        if having:
            parts.append(score_table(with_column, having, column, _FRACTIONS))
    if any("reliability" in row for row in rows):
        parts.append(pooled_error_table(rows, names, _FRACTIONS))
    baselines = [n for n in names if methods[n].is_baseline]
    main = columns[0]
    if baselines and len(names) > len(baselines):
        means = summarise(rows, ["method"], main)
        baselines = [n for n in baselines if (n,) in means]
        order = min if is_regression else max
        best = order(baselines, key=lambda n: means[(n,)]["mean"])
        parts.append(f"Paired differences to the best baseline ({best}, mean over p):")
        parts.append(difference_table(rows, names, main, _FRACTIONS, best))
    parts.append(cost_table(rows, names))
    if settings.out is not None:
        path = settings.out / f"patterns-{name}.png"
        _figure(rows, names, {n for n in names if methods[n].is_baseline}, main, path)
        parts.append(f"Figure: {path}")
    return "\n\n".join(parts)


def _figure(
    rows: list[dict[str, Any]], names: list[str], baselines: set[str], column: str, path: Path
) -> None:
    """Score against the share of sensors that are missing."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "The figure of the table patterns requires matplotlib: pip install 'mts-fusion[plot]'."
        ) from None
    scores = summarise(rows, ["method", "fraction"], column)
    figure = Figure(figsize=(6, 4), layout="constrained")
    axes = figure.subplots()
    for i, name in enumerate(names):
        line = [(f, scores[name, f]["mean"]) for f in _FRACTIONS if (name, f) in scores]
        if line:
            style = "--" if name in baselines else "-"
            width = 2.5 if name.startswith("PatternRidge") else 1.5
            axes.plot(
                *zip(*line, strict=True), style, marker="o", lw=width, color=f"C{i}", label=name
            )
    axes.set(xlabel="probability of each sensor to be missing", ylabel=column.replace("_", "-"))
    if axes.lines:
        axes.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


TABLE = Table(
    summary="PatternRidge, our networks and baselines on every data set, 0-60 %% missing sensors",
    run=_run,
    seeds=(0,),
    arguments=_arguments,
)
