"""Table ``trace-ablation``: the parts of TRACE, one at a time."""

from __future__ import annotations

import argparse
import math
from functools import partial
from typing import Any

from ._classification import classify, cost_table, notices, score_table
from ._data import DATA, load_data
from ._folds import Data, Fold, subsample
from ._imputation import SSSD
from ._methods import SMALL_IMPUTER, choose
from ._protocol import Method
from ._tables import Settings, Table, page

__all__ = ["TABLE"]

_FRACTIONS = (0.0, 0.2, 0.4)
_ROUTERS = ("joint", "per_modality", "disjoint")
_GATES = ("softmax", "laplace", "gaussian")

# Which parameters each row has beside those of TraceClassifier(statistics=False): statistics of
# what was observed would hide what an imputer does. "imputer__" is for its diffusion.
_GROUPS: dict[str, dict[str, dict[str, Any]]] = {
    "routers": {
        f"{router}, {gate}": {"router": router, "gate": gate, "imputer": None}
        for router in _ROUTERS
        for gate in _GATES
    },
    "entropy": {
        f"eq. 8 times {weight:g}": {
            "router": "per_modality",
            "entropy_weight": weight,
            "imputer": None,
        }
        for weight in (0.0, 0.01, 0.1, 1.0)
    },
    # Figure 4 and table 4 of the paper
    "conditions": {
        "FuseMoE, observed only": {"imputer": None},
        "naive imputation": {"imputer": "nearest"},
        "unconditional": {"imputer__conditioning": "none"},
        "target only (CSDI)": {"imputer__conditioning": "target"},
        "target only (SSSD)": {f"imputer__{key}": value for key, value in SSSD.items()},
        "fixed weights": {"imputer__gating": "fixed"},
        "one expert": {"imputer__n_experts": 1},
        "inner products (eq. 1)": {"imputer__gating": "inner_product"},
        "TRACE": {},
    },
    # Figure 5
    "experts": {f"{n} experts": {"imputer__n_experts": n} for n in (2, 3, 5, 7, 9, 11)},
    # Table 7
    "draws": {f"median of {n} draws": {"imputer__n_samples": n} for n in (1, 5, 10, 20, 30)},
    # What the paper leaves open: the answer averaged over draws
    "imputations": {f"{n} imputations": {"n_imputations": n} for n in (1, 5, 20)},
    # Table 5
    "steps": {
        "observed only": {"imputer": None},
        "10 steps": {"imputer__sampler": "dpm++2m", "imputer__n_steps": 10},
        "50 steps": {"imputer__sampler": "ddpm", "imputer__n_steps": 50},
        "2 steps": {"imputer__n_steps": 2},
    },
    "masks": {
        f"hidden in training: {mask}": {"imputer__mask_strategy": mask}
        for mask in ("random", "block", "modality", "historical", "mix")
    },
}
_SCORES = ("auroc", "auprc", "macro_f1", "nll", "ece", "entropy", "doubt_of_imputation", "coverage")


def _make(changes: dict[str, Any], n_modalities: int, *, seed: int, quick: bool) -> Any:
    from ..estimators import ConditionalDiffusionImputer
    from ._trace_sets import TraceWithSets

    short: dict[str, Any] = {"max_epochs": 1 if quick else 12}
    imputer = ConditionalDiffusionImputer(**{**SMALL_IMPUTER, "fill_absent": False, **short})
    few: dict[str, Any] = {"max_epochs": 2} if quick else {}
    clf = TraceWithSets(imputer=imputer, statistics=False, random_state=seed, **few)
    if changes.get("router") == "disjoint":
        # At least as many experts as the others have, the same number for each modality.
        clf.set_params(n_experts=math.ceil(clf.n_experts / n_modalities) * n_modalities)
    return clf.set_params(**changes)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--dataset", choices=list(DATA), default="physionet2012", help="default: physionet2012"
    )
    parser.add_argument(
        "--group", choices=list(_GROUPS), default="routers", help="default: routers"
    )
    parser.add_argument("--folds", type=int, help="folds to compute; default: all")
    parser.add_argument(
        "--n-train", type=int, help="about how many samples to train on, for a shortened run"
    )


def _thinned(fold: Fold, data: Data, n_train: int) -> Fold:
    """The fold with about so many training samples; its test part is whole."""
    few = subsample(fold, data, max(1, len(fold.train) // n_train))
    return Fold(fold.name, few.train, fold.test)


def _run(settings: Settings) -> str:
    name, group = settings.options["dataset"], settings.options["group"]
    data, folds = load_data(name, settings.data_home)
    folds = folds[: settings.options.get("folds") or len(folds)]
    n_train = settings.options.get("n_train")
    if n_train is not None:
        folds = [_thinned(fold, data, n_train) for fold in folds]
    rows_there_are = {
        row: Method(partial(_make, changes, len(data.panel.schema)))
        for row, changes in _GROUPS[group].items()
    }
    methods = choose(rows_there_are, settings.methods, [*rows_there_are])
    shortened = "" if n_train is None else f"-{n_train}-train"
    table = f"trace-ablation-{group}-{name}{shortened}"
    rows = classify(table, data, folds, methods, _FRACTIONS, settings)
    names = list(methods)
    scored = [column for column in _SCORES if any(column in row for row in rows)]
    return page(
        [
            f"{name}, TRACE without statistics, trained on four fifths (the rest sets the "
            f"thresholds of the conformal sets), {group}, folds "
            f"{[fold.name for fold in folds]}, seeds {list(settings.seeds)}: each of "
            f"{len(data.panel.schema)} modalities hidden with probability p; mean (sd over folds, "
            "sd over seeds).",
            *([] if n_train is None else [f"SHORTENED (--n-train {n_train})."]),
            *notices(rows, settings),
            *(score_table(rows, names, column, _FRACTIONS) for column in scored),
            cost_table(rows, names),
        ]
    )


TABLE = Table(
    summary="routers and gates, conditions, experts, draws, steps and masks of TRACE",
    run=_run,
    arguments=_arguments,
)
