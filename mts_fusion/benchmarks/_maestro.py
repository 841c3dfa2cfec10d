"""Table ``maestro``: MAESTRO as published, its ablations and its baselines, beside the paper."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from ._classification import classify, cost_table, difference_table, notices, score_table
from ._data import load_data
from ._folds import Data, Fold, subsample
from ._maestro_extras import attention_costs, pretraining, search
from ._methods import CLASSIFIERS, choose
from ._protocol import Method, evaluate_classifier
from ._tables import Settings, Table, markdown, mean_and_spread, page, summarise

__all__ = ["TABLE"]

_FRACTIONS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.6)
_NOISES = ("random", "additive", "spikes", "first_quarter", "last_quarter")
# Data sets, and those of the paper whose settings they get.
_SETTINGS = {"dsads": "dsads", "stress_predict": "wesad", "wesad": "wesad"}
_PARTS = ("scores", "costs", "search", "pretraining")
_PAPER, _NO_SYMBOLS, _DEFAULT = "paper", "paper, without symbols", "Maestro"
# Of the preset, one change a row, with what the paper prints for it: macro-F1 on WESAD with
# modalities missing at a rate of .4.
_ABLATIONS: dict[str, tuple[dict[str, Any], str]] = {
    _PAPER: ({}, ".71"),
    _NO_SYMBOLS: ({"symbols": False}, ".66"),
    "paper, without modality embedding": ({"embedding": False}, ".55"),
    "paper, without modality dropout": ({"modality_dropout": 0.0}, ".62"),
    "paper, without budget": ({"attention_budget": 5.0}, ".67"),
    "paper, without experts": ({"n_experts": 1}, ".50"),
}
_FULL_WITHIN, _FULL_ACROSS = {"attention_budget": float("inf")}, {"cross_budget": float("inf")}
# The same for the attention: accuracy on WESAD, and MMAC of a batch of 32.
_ATTENTION: dict[str, tuple[dict[str, Any], str, str]] = {
    _PAPER: ({}, ".77", "3066"),
    "paper, full attention within": (_FULL_WITHIN, ".80", "3769"),
    "paper, full attention across": (_FULL_ACROSS, ".77", "3496"),
    "paper, full attention": ({**_FULL_WITHIN, **_FULL_ACROSS}, ".75", "4205"),
    "paper, full attention, without experts": (
        {**_FULL_WITHIN, **_FULL_ACROSS, "n_experts": 1},
        ".78",
        "4390",
    ),
}
_BASELINES = (
    "Transformer, all channels",
    "iTransformer, all channels",
    "Transformer with modality dropout",
    "MulT",
    "ShaSpec",
    "FuseMoE",
)
# Macro-F1 on DSADS. The last printed figure is for .5.
_PUBLISHED = {
    "published, with symbols": (".88", ".86", ".84", ".82", "- (.79 at .5)", "-"),
    "published, without symbols": (".77", *"-----"),
    "published, best multimodal baseline": (".85", *"-----"),
    "published, best multivariate baseline": (".83", *"-----"),
}


def _paper(
    setting: str,
    *,
    seed: int,
    quick: bool,
    symbols: bool = True,
    embedding: bool = True,
    segment: int | None = None,
    **changes: Any,
) -> Any:
    """The preset of the paper with some parameters changed; ``segment`` timepoints a token."""
    from ..estimators import MaestroClassifier

    cls = MaestroClassifier if embedding else _without_embedding()
    model = cls.from_paper(setting, symbols=symbols, random_state=seed)
    model[-1].set_params(**changes)
    if segment is not None:
        where = "sax__segment_length" if symbols else "clf__patch_length"
        model.set_params(**{where: segment})
    return _shorten(model, 2) if quick else model


def _without_embedding() -> Any:
    """The classifier whose tokens do not tell their modality: its vectors are 0 and stay so."""
    from ..estimators import MaestroClassifier

    class WithoutModalityEmbedding(MaestroClassifier):
        def _make_module(self, context: Any, features: Any, member: int) -> Any:
            module = super()._make_module(context, features, member)
            module.modality.requires_grad_(False).zero_()
            return module

    return WithoutModalityEmbedding


def _shorten(estimator: Any, epochs: int) -> Any:
    """The estimator with fewer epochs; a curriculum with a fixed length shrinks with them."""
    given = estimator.get_params()
    changes: dict[str, Any] = {}
    for name in given:
        prefix, is_epochs, _ = name.rpartition("max_epochs")
        if not is_epochs or not name.endswith("max_epochs"):
            continue
        changes[name] = epochs
        warmup, length = f"{prefix}n_warmup_epochs", f"{prefix}n_curriculum_epochs"
        if isinstance(given.get(length), int) and isinstance(given[name], int):
            changes[warmup] = round(given[warmup] * epochs / given[name])
            changes[length] = round(given[length] * epochs / given[name])
    return estimator.set_params(**changes)


def _methods(setting: str, segment: int | None = None) -> dict[str, Method]:
    """All rows, the presets first."""
    changes = {name: change for name, (change, _) in _ABLATIONS.items()}
    changes |= {name: change for name, (change, _, _) in _ATTENTION.items()}
    # Early stopping is on whole subjects, as in the paper.
    presets = {
        name: Method(partial(_paper, setting, segment=segment, **of), groups=True)
        for name, of in changes.items()
    }
    first = (_PAPER, _NO_SYMBOLS)
    return {
        **{name: presets[name] for name in first},
        **{name: CLASSIFIERS[name] for name in (_DEFAULT, "Maestro, SAX")},
        **presets,
        **{name: CLASSIFIERS[name] for name in _BASELINES},
    }


def _of_epochs(make: Callable[..., Any], epochs: int, *, seed: int, quick: bool) -> Any:
    return _shorten(make(seed=seed, quick=quick), epochs)


def _limited(fold: Fold, data: Data, n: int) -> Fold:
    """The fold with about ``n`` windows to train on and ``n`` to test on."""
    parts = [
        getattr(subsample(fold, data, max(1, round(len(rows) / n))), part)
        for part, rows in (("train", fold.train), ("test", fold.test))
    ]
    return Fold(f"{fold.name}, {n} windows", *parts)


def _arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--datasets", nargs="+", choices=list(_SETTINGS), default=["dsads", "stress_predict"]
    )
    parser.add_argument("--parts", nargs="+", choices=_PARTS, default=list(_PARTS))
    parser.add_argument("--folds", type=int, help="folds to compute, the first ones; default: all")
    parser.add_argument("--epochs", type=int, help="epochs of each fit, for a shortened run")
    parser.add_argument("--rows", type=int, help="windows of a fold, for a shortened run")
    parser.add_argument(
        "--segment", type=int, help="timepoints of a token of the paper, for a shortened run"
    )


def _run(settings: Settings) -> str:
    wanted = settings.options
    parts: list[str] = []
    if "costs" in wanted["parts"]:
        variants = {name: (change, mmac) for name, (change, _, mmac) in _ATTENTION.items()}
        parts += attention_costs(variants, settings)
    for name in wanted["datasets"]:
        if "scores" in wanted["parts"]:
            parts += _scores(name, settings)
    if "search" in wanted["parts"]:
        parts += search(settings)
    if "pretraining" in wanted["parts"]:
        parts += pretraining(settings)
    return page(parts)


def _scores(name: str, settings: Settings) -> list[str]:
    """Paragraphs and tables of one data set."""
    data, folds = load_data(name, settings.data_home)
    limits = {key: settings.options[key] for key in ("folds", "epochs", "rows", "segment")}
    shortened = []
    if (n_folds := limits["folds"]) and n_folds < len(folds):
        shortened.append(f"{n_folds} of {len(folds)} folds")
        folds = folds[:n_folds]
    methods = _methods(_SETTINGS[name], limits["segment"])
    methods = choose(methods, settings.methods, list(methods))
    names, suffix = list(methods), ""
    if epochs := limits["epochs"]:
        shortened.append(f"{epochs} epochs, with the curriculum of the paper shortened alike")
        suffix += f", {epochs} epochs"
        methods = {
            key: replace(method, make=partial(_of_epochs, method.make, epochs))
            for key, method in methods.items()
        }
    if n_rows := limits["rows"]:
        shortened.append(f"about {n_rows} windows to train on and {n_rows} to test on")
        folds = [_limited(fold, data, n_rows) for fold in folds]
    if segment := limits["segment"]:
        shortened.append(f"tokens of {segment} timepoints in the rows 'paper'")
        suffix += f", segments of {segment}"
    methods = {key + suffix: method for key, method in methods.items()}
    evaluate = partial(evaluate_classifier, noises=_NOISES)
    rows = classify(f"maestro-{name}", data, folds, methods, _FRACTIONS, settings, evaluate)
    parts = [
        f"{name}, subjects held out, folds {[fold.name for fold in folds]}, seeds "
        f"{list(settings.seeds)}: each of {len(data.panel.schema)} modalities hidden with "
        "probability p; mean (sd over folds, sd over seeds). Rows 'paper' are "
        f"MaestroClassifier.from_paper({_SETTINGS[name]!r}).",
        *notices(rows, settings),
        *([f"SHORTENED: {'; '.join(shortened)}."] if shortened else []),
        *_tables(rows, names, suffix, _PUBLISHED if name == "dsads" else None),
    ]
    if _PAPER in names and len(names) > 1:
        parts.append("Paired differences:")
        reference = _PAPER + suffix
        parts.append(difference_table(rows, list(methods), "macro_f1", _FRACTIONS, reference))
    return parts


def _tables(
    rows: list[dict[str, Any]], names: list[str], suffix: str, published: dict[str, Any] | None
) -> list[str]:
    full = [name + suffix for name in names]
    return [
        score_table(rows, full, "macro_f1", _FRACTIONS, published=published),
        score_table(rows, full, "ece", _FRACTIONS),
        _ablation_table(rows, names, suffix),
        _attention_table(rows, names, suffix),
        _noise_table(rows, full),
        cost_table(rows, full),
    ]


def _ablation_table(rows: list[dict[str, Any]], names: list[str], suffix: str) -> str:
    scores = summarise(rows, ["method", "fraction"], "macro_f1")
    lines = [
        [name + suffix, mean_and_spread(scores.get((name + suffix, 0.4))), published]
        for name, (_, published) in _ABLATIONS.items()
        if name in names
    ]
    return markdown(["ablation", "macro_f1, p = 0.4", "published, WESAD at .4"], lines)


def _attention_table(rows: list[dict[str, Any]], names: list[str], suffix: str) -> str:
    scores = summarise(rows, ["method", "fraction"], "accuracy")
    lines = [
        [name + suffix, mean_and_spread(scores.get((name + suffix, 0.0))), published]
        for name, (_, published, _) in _ATTENTION.items()
        if name in names
    ]
    return markdown(["attention", "accuracy, p = 0", "published, WESAD"], lines)


def _noise_table(rows: list[dict[str, Any]], names: list[str]) -> str:
    """Macro-F1 on noisy or cut test windows; the training is without."""
    noisy = [row for row in rows if "noise" in row]
    scores = summarise(noisy, ["method", "noise"], "noisy_macro_f1")
    lines = [
        [name, *(mean_and_spread(scores.get((name, noise))) for noise in _NOISES)] for name in names
    ]
    return markdown(["macro_f1", *(noise.replace("_", " ") for noise in _NOISES)], lines)


TABLE = Table(
    summary="MAESTRO as published, its ablations, baselines, noise, costs, search, pre-training",
    run=_run,
    arguments=_arguments,
    seeds=(0,),
)
