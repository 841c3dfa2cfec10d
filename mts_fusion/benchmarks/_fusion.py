"""Table ``fusion``: every strategy with every encoder, and what a temperature does to the ECE."""

from __future__ import annotations

import argparse
from dataclasses import replace
from functools import partial
from typing import Any

from ._classification import classify, cost_table, difference_table, notices, score_table
from ._data import load_data
from ._methods import CLASSIFIERS, choose
from ._protocol import Method
from ._tables import Settings, Table, page, summarise

__all__ = ["TABLE"]

_FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.4)
# Those of mts_fusion.nn, named here so that torch is first imported where a cell runs.
_STRATEGIES = (
    "early",
    "late",
    "hybrid",
    "uncertainty",
    "tensor",
    "low_rank",
    "mag",
    "mult",
    "mists",
    "flex_moe",
    "shaspec",
)
_ENCODERS = ("multirocket", "hydra", "cnn", "gru", "lstm", "transformer", "utde")
_BASELINE = "ExtraTrees on summaries"
_MARGIN = 0.01
_REQUIRED_ECE = {0.0: 0.03, 0.4: 0.05}


def _make(strategy: str, encoder: str, *, seed: int, quick: bool, epochs: int | None = None) -> Any:
    from ..estimators import FusionClassifier

    short: dict[str, Any] = {"max_epochs": 2, "n_groups": 8} if quick else {}
    if epochs is not None:
        short["max_epochs"] = epochs
    return FusionClassifier(
        strategy=strategy,
        encoder=encoder,
        random_state=seed,
        verbose=0,
        **short,
    )


def _methods() -> dict[str, Method]:
    """Each combination; first those of the default encoder."""
    result = {
        f"{strategy}, {encoder}": Method(partial(_make, strategy, encoder))
        for encoder in _ENCODERS
        for strategy in _STRATEGIES
    }
    return {**result, _BASELINE: CLASSIFIERS[_BASELINE]}


def _shortened(method: Method, epochs: int) -> Method:
    return replace(method, make=partial(method.make, epochs=epochs))


def _arguments(parser: argparse.ArgumentParser) -> None:
    names = ["dsads", "dsads_small", "stress_predict"]
    parser.add_argument("--dataset", choices=names, default="dsads", help="default: dsads")
    parser.add_argument("--epochs", type=int, help="epochs of each fit, for a shortened run")


def _run(settings: Settings) -> str:
    name = settings.options["dataset"]
    data, folds = load_data(name, settings.data_home)
    methods = _methods()
    default = (
        [f"{strategy}, {_ENCODERS[0]}" for strategy in _STRATEGIES]
        if settings.quick
        else [*methods]
    )
    chosen = choose(methods, settings.methods, default)
    if (epochs := settings.options["epochs"]) is not None:
        chosen = {
            f"{name}, {epochs} epochs": _shortened(method, epochs)
            for name, method in chosen.items()
            if name != _BASELINE
        }
    rows = classify(f"fusion-{name}", data, folds, chosen, _FRACTIONS, settings)
    names = list(chosen)
    parts = [
        f"{name}, subjects held out, folds {[fold.name for fold in folds]}, seeds "
        f"{list(settings.seeds)}: each modality hidden with probability p; mean (sd over folds, "
        "sd over seeds).",
        *notices(rows, settings),
        *([f"SHORTENED (--epochs {epochs}): a fit has more."] if epochs is not None else []),
    ]
    parts += [score_table(rows, names, column, _FRACTIONS) for column in ("macro_f1", "accuracy")]
    parts.append(score_table(rows, names, "ece", _FRACTIONS))
    parts.append("Without the temperature:")
    parts.append(score_table(rows, names, "ece_plain", _FRACTIONS))
    parts.append(cost_table(rows, names))
    if _BASELINE in chosen and len(chosen) > 1:
        parts.append(f"Paired differences to {_BASELINE}:")
        parts.append(difference_table(rows, names, "macro_f1", _FRACTIONS, _BASELINE))
        if not settings.quick:
            parts += _verdicts(rows, names)
    return page(parts)


def _verdicts(rows: list[dict[str, Any]], names: list[str]) -> list[str]:
    """Whether the best strategy holds with the trees, and whether its probabilities do."""
    scores = summarise(rows, ["method", "fraction"], "macro_f1")
    errors = summarise(rows, ["method", "fraction"], "ece")
    ours = [name for name in names if name != _BASELINE and (name, 0.0) in scores]
    if not ours:
        return []
    best = max(ours, key=lambda name: sum(scores[name, p]["mean"] for p in _FRACTIONS))
    behind = max(scores[_BASELINE, p]["mean"] - scores[best, p]["mean"] for p in _FRACTIONS)
    word = "reached" if behind <= _MARGIN else "NOT reached"
    verdicts = [
        f"Required: the best strategy ({best}) within {_MARGIN:g} of the trees at every p; {word}, "
        f"at most {behind:+.3f} behind."
    ]
    for p, required in _REQUIRED_ECE.items():
        ece = errors[best, p]["mean"]
        word = "reached" if ece <= required else "NOT reached"
        verdicts.append(f"Required at p = {p:g}: ECE {required:g}; {word} with {ece:.3f}.")
    return verdicts


TABLE = Table(
    summary="every fusion strategy with every encoder, ECE with and without a temperature",
    run=_run,
    arguments=_arguments,
    seeds=(0,),
)
