"""Table ``trace-synthetic``: blocks of a series imputed, with and without other modalities."""

from __future__ import annotations

import argparse
from typing import Any

from ..datasets import make_trace_benchmark
from ._cells import run_cells
from ._imputation import IMPUTERS, Hidden, add_budget, budget_notice, budget_of, evaluate_imputer
from ._methods import choose
from ._tables import Settings, Table, failures, markdown, mean_and_spread, page, summarise

__all__ = ["TABLE"]

_FRACTIONS = (0.05, 0.1, 0.2, 0.3, 0.4, 0.5)
# One training serves all rates: what is hidden in training varies from sample to sample anyway.
_TRAIN_FRACTION = 0.3
_ROWS = [
    "nearest",
    "mean",
    "linear",
    "Gaussian process",
    "Diffusion, target only",
    "TRACE",
    "TRACE, eq. 1 and 2",
]
_QUICK = {"n_train": 100, "n_test": 10, "epochs": 1}


def _arguments(parser: argparse.ArgumentParser) -> None:
    add_budget(parser)


def _run(settings: Settings) -> str:
    options = {key: settings.options.get(key) for key in ("n_train", "n_test", "epochs")}
    if settings.quick:
        options = {key: options[key] or _QUICK[key] for key in options}
    imputers = choose(IMPUTERS, settings.methods, _ROWS)
    fractions = _FRACTIONS[3:4] if settings.quick else _FRACTIONS
    n_train, n_test = options["n_train"] or 20_000, options["n_test"] or 2_000

    def work(cell: dict[str, Any]) -> list[dict[str, Any]]:
        parts = {
            fraction: make_trace_benchmark(
                n_train, 1, n_test, missing_fraction=fraction, random_state=cell["seed"]
            )
            for fraction in fractions
        }
        hidden = {
            fraction: Hidden(part.test.data, part.test.complete.values["series"], part.test.masked)
            for fraction, part in parts.items()
        }
        return evaluate_imputer(
            imputers[cell["method"]],
            parts[_TRAIN_FRACTION].train.data,
            hidden,
            "series",
            **budget_of(cell),
        )

    cells = [
        {
            "method": name,
            "fold": "given",
            "seed": seed,
            "n_train": n_train,
            "n_test": n_test,
            "epochs": options["epochs"],
            "precision": settings.options.get("precision"),
            "quick": settings.quick,
        }
        for seed in settings.seeds
        for name in imputers
    ]
    rows = run_cells(
        cells, work, table="trace-synthetic", out=settings.out, isolate=settings.isolate
    )
    parts = [
        f"Synthetic benchmark of TRACE, {n_train} / {n_test} samples to train / test, seeds "
        f"{list(settings.seeds)}: blocks of 30 x 50 entries hidden, trained at "
        f"{_TRAIN_FRACTION:g}; mean (sd over folds, sd over seeds).",
        *budget_notice(settings.options, quick=settings.quick),
        *failures(rows),
        *imputation_tables(rows, ("mae", "crps", "coverage", "energy", "improved"), fractions),
        *_verdicts(rows, settings),
    ]
    return page(parts)


def imputation_tables(
    rows: list[dict[str, Any]], columns: tuple[str, ...], fractions: tuple[float, ...]
) -> list[str]:
    """A table for each score against the share hidden, and one of the costs.

    Parameters
    ----------
    rows : list of dict
        Of :func:`evaluate_imputer`.
    columns : tuple of str
        The scores.
    fractions : tuple of float
        The shares.

    Returns
    -------
    list of str
        Markdown.
    """
    rows = [row for row in rows if "error" not in row]
    names = list(dict.fromkeys((row["method"], row["setting"]) for row in rows))
    texts = []
    for column in columns:
        entries = summarise(rows, ["method", "setting", "fraction"], column)
        lines = [
            [
                " ".join(filter(None, name)),
                *(mean_and_spread(entries.get((*name, f))) for f in fractions),
            ]
            for name in names
            if any((*name, f) in entries for f in fractions)
        ]
        if lines:
            texts.append(markdown([column, *(f"{f:g} hidden" for f in fractions)], lines))
    costs = {"fit, s": ("fit_seconds", 0), "impute, ms a sample": ("impute_ms", 2)}
    costs |= {"peak memory, MB": ("peak_mb", 0), "parameters": ("parameters", 0)}
    lines = []
    for name in names:
        line = [" ".join(filter(None, name))]
        for column, digits in costs.values():
            entry = summarise(rows, ["method", "setting"], column).get(name)
            line.append("-" if entry is None else f"{entry['mean']:.{digits}f}")
        lines.append(line)
    return [*texts, markdown(["cost", *costs], lines)] if lines else texts


def _verdicts(rows: list[dict[str, Any]], settings: Settings) -> list[str]:
    """Whether the claims of the paper are seen."""
    if settings.quick:
        return []
    improved = summarise(rows, ["method", "fraction"], "improved")
    mae = summarise(rows, ["method", "fraction"], "mae")
    verdicts = []
    for fraction in (f for f in _FRACTIONS if f >= 0.3):
        if ("TRACE", fraction) in improved:
            share = improved["TRACE", fraction]["mean"]
            word = "reached" if share > 0.99 else "NOT reached"
            verdicts.append(
                f"Required at {fraction:g}: TRACE below nearest filling on more than 99 % of the "
                f"samples; {word} with {100 * share:.1f} %."
            )
        if ("Diffusion, target only", fraction) in mae and ("TRACE", fraction) in mae:
            cross, target = mae["TRACE", fraction], mae["Diffusion, target only", fraction]
            word = "reached" if cross["mean"] < target["mean"] else "NOT reached"
            verdicts.append(
                f"Required at {fraction:g}: cross-modal conditioning below target only; {word}, "
                f"{cross['mean']:.4f} against {target['mean']:.4f}."
            )
    return verdicts


TABLE = Table(
    summary="MAE@Missing on the synthetic benchmark of TRACE, 5-50 %% hidden in blocks",
    run=_run,
    arguments=_arguments,
)
