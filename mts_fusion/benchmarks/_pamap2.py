"""Table ``pamap2``: activities from three motion sensors and heart rate, split in two ways."""

from __future__ import annotations

from ._classification import classify, cost_table, notices, score_table
from ._data import load_data
from ._methods import CLASSIFIERS, choose
from ._tables import Settings, Table, page

__all__ = ["TABLE"]

_FRACTIONS = (0.0, 0.2, 0.4)
_ROWS = ["Maestro", "ExtraTrees on summaries"]
_SPLITS = {
    "pamap2_random": (
        "Windows split at random, as published. They overlap by half: nearly every test window "
        "shares its seconds with windows that were trained on, so the figures tell how well a "
        "method remembers, not how well it does on a new person."
    ),
    "pamap2": "Subjects held out, two at a time: how well it does on a new person.",
}
_PUBLISHED = {
    "early fusion, published": (".955", "-", "-"),
    "late fusion, published": (".953", "-", "-"),
    "hybrid fusion, published": (".961", "-", "-"),
}


def _run(settings: Settings) -> str:
    methods = choose(CLASSIFIERS, settings.methods, _ROWS)
    names = list(methods)
    parts = [
        f"PAMAP2, windows of 1 s every .5 s, seeds {list(settings.seeds)}: each of 4 modalities "
        "hidden with probability p; mean (sd over folds, sd over seeds)."
    ]
    for name, meaning in _SPLITS.items():
        data, folds = load_data(name, settings.data_home)
        rows = classify(f"pamap2-{name}", data, folds, methods, _FRACTIONS, settings)
        published = _PUBLISHED if name == "pamap2_random" else None
        parts += [
            *notices(rows, settings),
            meaning,
            score_table(rows, names, "accuracy", _FRACTIONS, published=published),
            score_table(rows, names, "macro_f1", _FRACTIONS),
            score_table(rows, names, "ece", _FRACTIONS),
            cost_table(rows, names),
        ]
    return page(parts)


TABLE = Table(
    summary="accuracy on PAMAP2 with its published random split and with subjects held out",
    run=_run,
)
