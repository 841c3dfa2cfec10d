"""Table ``ablation``: what each part of ``MaestroClassifier()`` gives, taken away one at a time."""

from __future__ import annotations

import argparse
from functools import partial
from typing import Any

from ._classification import classify, cost_table, difference_table, notices, score_table
from ._data import DATA, load_data
from ._methods import CLASSIFIERS, choose
from ._protocol import Method
from ._tables import Settings, Table, page

__all__ = ["TABLE"]

_FRACTIONS = (0.0, 0.2, 0.4, 0.6)
_DEFAULT = "Maestro"
_CHANGES: dict[str, dict[str, Any]] = {
    "without convolutions": {"feature_tokens": ("statistics",)},
    "without statistics": {"feature_tokens": ("multirocket",)},
    "without fixed features": {"feature_tokens": ()},
    "one network": {"n_estimators": 1},
    "one expert": {"n_experts": 1},
    "no modality dropout": {"modality_dropout": 0.0},
    "no dropout of kinds": {"token_type_dropout": 0.0},
    "no dropout of features": {"feature_dropout": 0.0},
    "label smoothing": {"label_smoothing": 0.05},
    "no temperature": {"calibration": None},
}


def _make(changes: dict[str, Any], *, seed: int, quick: bool) -> Any:
    return CLASSIFIERS[_DEFAULT].make(seed=seed, quick=quick).set_params(**changes)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset", choices=list(DATA), default="dsads_small", help="default: dsads_small"
    )


def _run(settings: Settings) -> str:
    name = settings.options["dataset"]
    data, folds = load_data(name, settings.data_home)
    rows_there_are = {
        _DEFAULT: CLASSIFIERS[_DEFAULT],
        **{row: Method(partial(_make, changes)) for row, changes in _CHANGES.items()},
        "Maestro, SAX": CLASSIFIERS["Maestro, SAX"],
    }
    methods = choose(rows_there_are, settings.methods, [*rows_there_are])
    rows = classify(f"ablation-{name}", data, folds, methods, _FRACTIONS, settings)
    names = list(methods)
    parts = [
        f"{name}, folds {[fold.name for fold in folds]}, seeds {list(settings.seeds)}: each of "
        f"{len(data.panel.schema)} modalities hidden with probability p; mean (sd over folds, sd "
        "over seeds). Each row changes one thing of the first.",
        *notices(rows, settings),
        *(score_table(rows, names, column, _FRACTIONS) for column in ("macro_f1", "ece")),
    ]
    if _DEFAULT in methods and len(methods) > 1:
        parts.append("Paired differences:")
        parts.append(difference_table(rows, names, "macro_f1", _FRACTIONS, _DEFAULT))
    parts.append(cost_table(rows, names))
    return page(parts)


TABLE = Table(
    summary="what each part of MaestroClassifier() gives, at 0-60 %% missing sensors",
    run=_run,
    arguments=_arguments,
)
