"""Table ``physionet2012-mortality``: death in hospital from 48 irregular hours, by organ system."""

from __future__ import annotations

import argparse
from typing import Any

from ._classification import classify, cost_table, difference_table, notices, score_table
from ._data import load_data
from ._methods import CLASSIFIERS, choose
from ._tables import Settings, Table, page, summarise

__all__ = ["TABLE"]

_FRACTIONS = (0.0, 0.2, 0.4)
_BASELINE = "HistGradientBoosting on summaries"
_OURS = ("Trace", "Trace, small imputer", "Trace, no imputer", "FuseMoE", "Maestro")
_ROWS = ["Trace", "Trace, no imputer", "FuseMoE", "Maestro", _BASELINE, "ExtraTrees on summaries"]
# How far below the trees the best of ours may be.
_MARGIN = 0.02


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--folds", type=int, help="folds of five to compute; default: all")


def _run(settings: Settings) -> str:
    data, folds = load_data("physionet2012", settings.data_home)
    n_folds = settings.options.get("folds") or len(folds)
    methods = choose(CLASSIFIERS, settings.methods, _ROWS)
    rows = classify("physionet2012-mortality", data, folds[:n_folds], methods, _FRACTIONS, settings)
    names = list(methods)
    parts = [
        f"PhysioNet 2012, {len(data)} stays, {data.y.mean():.1%} died in hospital, stratified five "
        f"folds, seeds {list(settings.seeds)}: each of {len(data.panel.schema)} modalities hidden "
        "with probability p; mean (sd over folds, sd over seeds).",
        *notices(rows, settings),
        *([f"SHORTENED: {n_folds} of the five folds."] if n_folds < len(folds) else []),
        *(
            score_table(rows, names, column, _FRACTIONS)
            for column in ("auroc", "auprc", "f1", "ece")
        ),
        cost_table(rows, names),
    ]
    if _BASELINE in methods and len(methods) > 1:
        parts.append("Paired differences:")
        parts.append(difference_table(rows, names, "auroc", _FRACTIONS, _BASELINE))
    if not settings.quick:
        parts += _verdict(rows)
    return page(parts)


def _verdict(rows: list[dict[str, Any]]) -> list[str]:
    """Whether the best of ours is where it has to be, with everything there."""
    auroc = summarise(rows, ["method", "fraction"], "auroc")
    ours = {name: auroc[name, 0.0]["mean"] for name in _OURS if (name, 0.0) in auroc}
    if not ours or (_BASELINE, 0.0) not in auroc:
        return []
    best = max(ours, key=ours.__getitem__)
    trees = auroc[_BASELINE, 0.0]["mean"]
    word = "reached" if ours[best] >= trees - _MARGIN else "NOT reached"
    return [
        f"Required: AUROC no more than {_MARGIN:g} below the trees' {trees:.3f}; {word} by "
        f"{best} with {ours[best]:.3f}."
    ]


TABLE = Table(
    summary="AUROC, AUPRC and F1 of death in hospital on PhysioNet 2012, at 0-40 %% missing",
    run=_run,
    arguments=_arguments,
)
