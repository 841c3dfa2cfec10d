"""Table ``comparison``: ours and what a user would pick instead, on the same folds and masks."""

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
from ._data import DATA, load_data
from ._methods import CLASSIFIERS, choose
from ._tables import Settings, Table, page, summarise

__all__ = ["TABLE"]

_FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6)
_SCORES = ("macro_f1", "accuracy", "ece", "auroc")


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--dataset", choices=list(DATA), default="dsads", help="default: dsads")
    parser.add_argument("--folds", type=int, help="folds to compute, the first ones; default: all")


def _run(settings: Settings) -> str:
    name = settings.options["dataset"]
    data, folds = load_data(name, settings.data_home)
    n_all = len(folds)
    folds = folds[: settings.options.get("folds")]
    methods = choose(CLASSIFIERS, settings.methods, list(CLASSIFIERS))
    rows = classify(f"comparison-{name}", data, folds, methods, _FRACTIONS, settings)
    names = list(methods)
    parts = [
        f"{name}, {len(data)} samples, folds {[fold.name for fold in folds]}, seeds "
        f"{list(settings.seeds)}: each of {len(data.panel.schema)} modalities hidden with "
        "probability p; mean (sd over folds, sd over seeds).",
        *([f"SHORTENED: {len(folds)} of {n_all} folds."] if len(folds) < n_all else []),
        *notices(rows, settings),
    ]
    parts += [
        score_table(rows, names, column, _FRACTIONS)
        for column in _SCORES
        if any(row.get(column) is not None for row in rows)
    ]
    if any("reliability" in row for row in rows):
        parts.append(pooled_error_table(rows, names, _FRACTIONS))
    best = _best_peer(rows, names)
    if best is not None and len(names) > 1:
        parts.append(f"Paired differences to the best baseline ({best}, mean over p):")
        parts.append(difference_table(rows, names, "macro_f1", _FRACTIONS, best))
    parts.append(cost_table(rows, names))
    if settings.out is not None:
        path = settings.out / f"comparison-{name}.png"
        _figure(rows, names, path)
        parts.append(f"Figure: {path}")
    return page(parts)


def _best_peer(rows: list[dict[str, Any]], names: list[str]) -> str | None:
    """The method that is not ours with the highest macro-F1, mean over what is hidden."""
    means = {
        name: entry["mean"]
        for (name,), entry in summarise(rows, ["method"], "macro_f1").items()
        if name in names and CLASSIFIERS[name].is_baseline
    }
    return max(means, key=means.__getitem__) if means else None


def _figure(rows: list[dict[str, Any]], names: list[str], path: Path) -> None:
    """Score against what is hidden, and against the seconds of the fit."""
    try:
        from matplotlib.figure import Figure
    except ImportError:
        raise ImportError(
            "The figure of this table requires matplotlib: pip install 'mts-fusion[plot]'."
        ) from None
    scores = summarise(rows, ["method", "fraction"], "macro_f1")
    seconds = summarise(rows, ["method"], "fit_seconds")
    figure = Figure(figsize=(10, 4), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    for i, name in enumerate(names):
        line = [(f, scores[name, f]["mean"]) for f in _FRACTIONS if (name, f) in scores]
        if not line:
            continue
        style = {"color": f"C{i % 10}", "linestyle": "--" if CLASSIFIERS[name].is_baseline else "-"}
        left.plot(*zip(*line, strict=True), marker="o", label=name, **style)
        # One mark with everything, a smaller one at .4, for each method.
        for fraction, size in ((0.0, 60), (0.4, 20)):
            if (name, fraction) in scores:
                at = seconds[(name,)]["mean"]
                right.scatter(at, scores[name, fraction]["mean"], s=size, color=style["color"])
    left.set(xlabel="probability of each modality to be hidden", ylabel="macro-F1")
    right.set(xlabel="fit (seconds); large: nothing hidden, small: .4 hidden", xscale="log")
    if left.lines:
        left.legend(fontsize="small")
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120)


TABLE = Table(
    summary="ours and the baselines on one data set, at 0-60 %% missing sensors",
    run=_run,
    arguments=_arguments,
)
